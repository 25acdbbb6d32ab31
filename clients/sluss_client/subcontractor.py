"""The subcontractor's client.

    with Subcontractor.from_profile("/etc/sluss/acme-pay") as sluss:
        for person in sluss.disclose("C-2026-0001", "billing.collection", ["email", "phone"], handles):
            ...

Every reply is verified before anything of it is opened (`core.py`, `watch.py`). May be shared among threads.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
from sluss.v1 import contract_pb2, disclosure_pb2, ledger_pb2, obligation_pb2

from broker.sealing import SUITE_XWING
from sluss_client import aggregates
from sluss_client.calls import Calls
from sluss_client.channel import channel
from sluss_client.contract import acceptance, offer_of
from sluss_client.core import MAX_CHUNK, BulkCall, Core, DiscloseCall
from sluss_client.errors import TransportError, from_rpc_error
from sluss_client.fulfilling import fulfil
from sluss_client.lines import Lines
from sluss_client.obligations import Duties, acknowledgement, attestation, delay
from sluss_client.obligations import read as read_obligation
from sluss_client.profile import Profile
from sluss_client.results import Offer, RegisteredKey
from sluss_client.retry import ATTEMPT_S, DEADLINE_S, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path
    from threading import Event

    from sluss_client.aggregates import Counted
    from sluss_client.heads import Head, Lane
    from sluss_client.keys import StoredKey
    from sluss_client.obligations import Obligation
    from sluss_client.profile import Identity
    from sluss_client.results import Chunk, OpenedPerson, Result

_Q = TypeVar("_Q")
_R = TypeVar("_R")


class Subcontractor(Calls):
    """A subcontractor at a broker. A context manager; see `AsyncSubcontractor` for asyncio.

    Every verb raises exceptions of `sluss_client.errors` and nothing else. `deadline_s` is seconds for all
    attempts together.
    """

    def __init__(self, profile: Profile, line: grpc.Channel | None = None) -> None:
        """Args: a profile, and a channel to use instead of our own, which is then never replaced."""
        super().__init__(Lines(profile, channel, line))
        self._core = Core(profile)

    @classmethod
    def from_profile(cls, path: str | Path) -> Self:
        """A client for a profile folder."""
        return cls(Profile.load(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel."""
        for line in self._lines.all():
            line.close()

    @property
    def profile(self) -> Profile:
        """The profile that the client was made from."""
        return self._core.profile

    # --- our certificate ---

    def certificate_request(self) -> bytes:
        """A request (PEM) for the next certificate; its new key is kept aside until `install_certificate`.

        Raises:
            ProfileError: the profile can't be written.
        """
        return self.profile.certificate_request()

    def install_certificate(self, pem: bytes) -> str:
        """Put a certificate in use that the company has issued: every later call is made and signed with it.

        Calls and streams that are in flight end as they began. After them the company may revoke the old one.
        A certificate that another process installs in the same folder is taken up in the same way.

        Returns:
            The serial number of the certificate that it replaces, for the company to revoke.

        Raises:
            ProfileError: it is not of the requested key, not of this principal, or not by this company's authority;
                the old one stays in use.
        """
        return self.profile.install_certificate(pem)

    # --- contracts and keys ---

    def describe_scope(self, contract: str) -> disclosure_pb2.DescribeScopeResponse:
        """What may be asked for under a contract, now. No personal data."""
        request = disclosure_pb2.DescribeScopeRequest(contract_id=contract)
        scope: disclosure_pb2.DescribeScopeResponse = self._retried(
            lambda line: line.disclosures.DescribeScope, request
        )
        return scope

    def proposed_terms(self, contract: str) -> Offer:
        """The version that waits for our signature, read from the very bytes that will be signed."""
        request = contract_pb2.GetContractRequest(contract_id=contract)
        return offer_of(self._retried(lambda line: line.contracts.GetContract, request), self.profile.principal)

    def accept_contract(self, contract: str, offer: Offer | None = None) -> contract_pb2.AcceptContractResponse:
        """Sign the proposed terms with the key of our certificate.

        Args:
            contract: the contract id.
            offer: what `proposed_terms` returned and somebody has read; fetched if left out.

        Raises:
            ProfileError: nothing waits for our signature, or the key of our certificate can't be used.
            IntegrityError: the offer was fetched and is not what the broker says that it is.
            Refused, TransportError: see `sluss_client.errors`. The call is not made again by itself.
        """
        offer = offer or self.proposed_terms(contract)
        with self._line() as line:
            accepted: contract_pb2.AcceptContractResponse = _once(
                line.contracts.AcceptContract, acceptance(offer, line.identity)
            )
        return accepted

    def register_key(self, suite: int = SUITE_XWING) -> RegisteredKey:
        """Register the newest encryption key of the profile; makes one of `suite` if there is none.

        Raises:
            ProfileError: `keys.json` or the key of our certificate can't be used.
            Refused, TransportError: see `sluss_client.errors`. The key stays in the profile; call again.
        """
        keys = self._core.store.all()
        return self._register(keys[-1] if keys else self._core.store.generate(suite))

    def rotate_key(self, suite: int = SUITE_XWING) -> RegisteredKey:
        """Make a new encryption key and register it. Older keys stay, to open what was sealed to them.

        Raises:
            ProfileError: `keys.json` or the key of our certificate can't be used.
            Refused, TransportError: see `sluss_client.errors`. The new key stays in the profile: `register_key`
                registers it.
        """
        return self._register(self._core.store.generate(suite))

    def _register(self, stored: StoredKey) -> RegisteredKey:
        self._core.reload_keys()
        with self._line() as line:
            reply = _once(line.disclosures.RegisterKey, self._core.registration(stored, line.identity))
        return RegisteredKey(reply.key_id, reply.entry_index)

    # --- disclosures ---

    def disclose(
        self,
        contract: str,
        purpose: str,
        fields: Sequence[str],
        handles: Iterable[str | bytes],
        *,
        request_id: str | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> list[Result]:
        """Slices of up to 10,000 persons: one result per handle, in the order asked.

        Args:
            contract: contract id.
            purpose: purpose code.
            fields: field names.
            handles: `h_...` or 16 bytes each.
            request_id: UUID4; the same id with the same arguments gives the same slices and no second
                entry. Give one of your own to go on safely after a crash.
            deadline_s: for all attempts.

        Raises:
            Refused, TransportError, IntegrityError: see `sluss_client.errors`.
        """
        call = DiscloseCall(self._core, contract, purpose, fields, handles=handles, request_id=request_id)
        with self._core.heads.lane() as lane:
            reply = self._retried(lambda line: line.disclosures.Disclose, call.request(lane.head.size), deadline_s)
            results = call.finish(reply, lane)
        self._settle()
        return results

    def dry_run(
        self, contract: str, purpose: str, fields: Sequence[str], handles: Iterable[str | bytes]
    ) -> disclosure_pb2.DryRun:
        """What `disclose` would do, succeeding or refused as it would be. Nothing is disclosed.

        Raises:
            InvalidRequest: a handle is none, or stands twice; nothing was sent.
            Refused, TransportError: see `sluss_client.errors`.
        """
        call = DiscloseCall(self._core, contract, purpose, fields, handles=handles)
        reply: disclosure_pb2.DiscloseResponse = self._retried(
            lambda line: line.disclosures.Disclose, call.request(0, dry_run=True)
        )
        return reply.dry_run

    def bulk(
        self,
        contract: str,
        purpose: str,
        fields: Sequence[str],
        handles: Iterable[str | bytes] | None = None,
        *,
        resume: str | None = None,
        request_id: str | None = None,
        chunk_size: int = MAX_CHUNK,
    ) -> Iterator[Chunk]:
        """Slices of many persons, chunk by chunk. A stream that breaks, or lay idle, goes on after its last chunk.

        Args:
            contract: contract id.
            purpose: purpose code.
            fields: field names.
            handles: up to 100,000; None for everybody in the grant's population.
            resume: the `cursor` of the last chunk that was dealt with, to go on in another process.
            request_id: UUID4; give the same one when resuming, so that a chunk that was in flight is not
                disclosed twice.
            chunk_size: persons per chunk, 1 to 256.

        Raises:
            InvalidRequest: the call can't be made as it stands; raised when the first chunk is asked for.
            Refused, TransportError: see `sluss_client.errors`; chunks that came before stand.
            IntegrityError: a chunk, or the end of the stream, does not prove itself; nothing of that chunk was opened.
            ProfileError: the checkpoint can't be written.
        """
        call = BulkCall(
            self._core,
            contract,
            purpose,
            fields,
            handles=handles,
            resume=resume,
            request_id=request_id,
            chunk_size=chunk_size,
        )
        with self._core.heads.lane() as lane:
            yield from self._streams(call, lane)
        self._settle()

    def _streams(self, call: BulkCall, lane: Lane) -> Iterator[Chunk]:
        retry = Retry()
        while True:
            try:
                for message in self._stream(call.request(lane.head.size)):
                    yield call.chunk(message, lane)
                    retry.progressed()
            except grpc.RpcError as error:
                delay = retry.wait_s(from_rpc_error(error))
            else:
                call.finished()
                return
            time.sleep(delay)

    def _stream(self, request: disclosure_pb2.DiscloseBulkRequest) -> Iterator[disclosure_pb2.DiscloseBulkResponse]:
        """One stream, on one line from its first message to its last."""
        with self._line() as line:
            stream = line.disclosures.DiscloseBulk(request)
            try:
                yield from stream
            finally:
                stream.cancel()

    def open_stored(self, sealed: bytes) -> list[OpenedPerson]:
        """Verify and open a stored disclosure (`Chunk.sealed`, `OpenedPerson.sealed`). Makes no call.

        Raises:
            SliceInvalid: it is no stored disclosure, its slices are not those of its entry, or do not open.
            ReceiptInvalid: its entry is not proven, is not for us, or is for a key that is not in the profile.
            ProfileError: `keys.json` can't be used.
        """
        return self._core.open_stored(sealed)

    # --- anonymous counts ---

    def aggregate(
        self,
        contract: str,
        purpose: str,
        event: str,
        measures: Sequence[str] = ("persons",),
        *,
        first_day: str,
        last_day: str,
        by: Sequence[str] = (),
        where: Mapping[str, Sequence[str]] | None = None,
        noise: str = "",
        deadline_s: float = DEADLINE_S,
    ) -> Counted:
        """Counts with noise, of nobody in particular; the same question gets the same answer and costs once.

        Args:
            contract: contract id.
            purpose: a purpose of class anonymous that the contract grants.
            event: what to count, such as `advertisement.visited`.
            measures: of `persons`, `events`, `seconds`, `mean_seconds`.
            first_day: `YYYY-MM-DD`, UTC.
            last_day: likewise; it must be over and closed.
            by: dimensions to group by, `day` or `month` among them.
            where: dimension -> the values to look at.
            noise: `laplace` or `gaussian`; empty as the catalogue says.
            deadline_s: for all attempts.

        Raises:
            InvalidRequest: a measure or a kind of noise is none; nothing was sent.
            Refused: also BUDGET_EXCEEDED, with `retry_after_s` until the period ends.
            TransportError, IntegrityError: see `sluss_client.errors`.
        """
        asked = aggregates.question(
            contract,
            purpose,
            event,
            measures,
            first_day=first_day,
            last_day=last_day,
            by=by,
            where=where or {},
            noise=noise,
        )
        reply = self._retried(lambda line: line.aggregates.QueryAggregate, asked, deadline_s)
        counted, head = aggregates.proven(reply, asked, self.profile.principal, self.profile.verifier())
        with self._core.heads.lane(head) as lane:
            self._checkpoint(lane)
        self._settle()
        return counted

    # --- what we owe ---

    def obligations(self, *, states: Iterable[str] = ("open", "acknowledged", "unanswered")) -> Iterator[Obligation]:
        """What we owe, page by page; by default whatever waits for an answer.

        Raises:
            IntegrityError: one of them is not what its digest says.
            Refused, TransportError: see `sluss_client.errors`.
        """
        request = obligation_pb2.ListObligationsRequest(states=states)
        while True:
            reply = self._retried(lambda line: line.obligations.ListObligations, request)
            for message in reply.obligations:
                yield read_obligation(message, self.profile.principal)
            if not reply.next_page_token:
                return
            request.page_token = reply.next_page_token

    def obligation(self, obligation: str) -> Obligation:
        """One of our obligations, by its id."""
        request = obligation_pb2.GetObligationRequest(obligation_id=obligation)
        reply = self._retried(lambda line: line.obligations.GetObligation, request)
        return read_obligation(reply.obligation, self.profile.principal)

    def watch_obligations(
        self, *, resume: str = "", timeout_s: float | None = None
    ) -> Iterator[tuple[Obligation | None, str]]:
        """What waits for our answer, then what is new, as it comes. One stream; it ends after `timeout_s`.

        Yields:
            An obligation, or None once everything that waited has come; and the token to resume behind it.

        Raises:
            IntegrityError: one of them is not what its digest says.
            Refused, TransportError: see `sluss_client.errors`; begin anew with the last token.
        """
        request = obligation_pb2.WatchObligationsRequest(resume_token=resume)
        with self._line() as line:
            stream = line.obligations.WatchObligations(request, timeout=timeout_s)
            try:
                for message in stream:
                    found = message.HasField("obligation")
                    shown = read_obligation(message.obligation, self.profile.principal) if found else None
                    yield shown, message.resume_token
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED or timeout_s is None:
                    raise from_rpc_error(error) from None
            finally:
                stream.cancel()

    def acknowledge(self, obligation: Obligation) -> Obligation:
        """Say that we know of it; again changes nothing."""
        return self._answered("AcknowledgeObligation", lambda identity: acknowledgement(obligation, identity))

    def attest(self, obligation: Obligation, outcome: str = "", note: str = "") -> Obligation:
        """Say that it is done; again changes nothing.

        Args:
            obligation: it.
            outcome: `deleted`, `corrected` or `never_held_any_more`; by default what its kind means.
            note: for the ledger; no personal data.

        Raises:
            Refused: `CORRECTION_NOT_FETCHED`, if `corrected` is attested of values that were not fetched;
                `OBLIGATION_WRONG_STATE`, if something else was attested before; others of `sluss_client.errors`.
        """
        said = outcome or obligation.outcome
        return self._answered("AttestObligation", lambda identity: attestation(obligation, said, note, identity))

    def ask_delay(self, obligation: Obligation, until: date, reason: str) -> Obligation:
        """Ask for time until a day; the company decides."""
        return self._answered("AskDelay", lambda identity: delay(obligation, until, reason, identity))

    def fulfil(
        self,
        *,
        on_delete: Callable[[Obligation], object] | None = None,
        on_correct: Callable[[Obligation], object] | None = None,
        on_erase: Callable[[Obligation], object] | None = None,
        once: bool = False,
        days_ahead: int = 0,
        stop: Event | None = None,
    ) -> int:
        """Watch what we owe and fulfil it by callbacks; gives how many were fulfilled.

        A callback that returns has done it, and only then it is attested: as `deleted` or `corrected`, or as what it
        returns. One that raises is called again later; one that raises `NeedTime` asks for time, or is called again on
        that day if it is not after the day when it is due. After a crash, whatever was not attested comes again. What
        others have answered meanwhile is left alone.

        Args:
            on_delete: called when the day has come by which something is to be deleted.
            on_correct: called for a person whose fields were wrong, or must be deleted (`instruction` says which).
            on_erase: called for a person who is to be erased.
            once: do what can be done now and return, for programs that are called at times. A broker that does not
                answer, or takes no answers, is waited for a minute.
            days_ahead: call `on_delete` so many days before.
            stop: return soon after it is set.

        Raises:
            InvalidRequest: there is no callback, or one returned a text that is no outcome of what is owed, or a
                coroutine or generator, which has done nothing.
            TransportError: with `once`, the broker has not answered in time; what was attested stands.
            Refused: the company has cut us off; others of `sluss_client.errors`.
        """
        return fulfil(self, Duties(on_delete, on_correct, on_erase, ahead=days_ahead), once=once, stop=stop)

    def _answered(self, method: str, request: Callable[[Identity], Any]) -> Obligation:
        """A signed answer, by the key of the line that it goes on; it may be made again."""
        retry = Retry()
        while True:
            try:
                with self._line() as line:
                    reply = getattr(line.obligations, method)(request(line.identity), timeout=retry.attempt_s)
                return read_obligation(reply.obligation, self.profile.principal)
            except grpc.RpcError as error:
                delay_s = retry.wait_s(from_rpc_error(error))
            time.sleep(delay_s)

    # --- the ledger ---

    def check_ledger(self) -> Head:
        """Fetch the latest checkpoint and prove that it extends what was seen, and what the ledger has published.

        What is published carries an ML-DSA-44 cosignature, which a forger of the other signatures can't make.

        Raises:
            LedgerInconsistent: it does not, no known key has signed it, or what is published is not cosigned.
            Refused, TransportError: see `sluss_client.errors`.
            ProfileError: the checkpoint can't be written, or the profile has no ML-DSA-44 key of the ledger.
        """
        heads = self._core.heads
        with heads.lane() as lane:
            published = self._checkpoint(lane)
            head = lane.head
        if published.size < head.size:
            with heads.lane(published) as lane:
                self._checkpoint(lane)
                head = lane.head
        self._settle()
        return head

    def _settle(self) -> None:
        """Let heads that were seen side by side meet in one tree; left for later if the broker is busy."""
        heads = self._core.heads
        with suppress(TransportError):
            for _ in range(3 * heads.unsettled()):
                if heads.unsettled():
                    with heads.lane() as lane:
                        self._checkpoint(lane)

    def _checkpoint(self, lane: Lane) -> Head:
        request = ledger_pb2.GetCheckpointRequest(seen_size=lane.head.size)
        return self._core.take_checkpoint(self._retried(lambda line: line.ledger.GetCheckpoint, request), lane)


def _once(method: grpc.UnaryUnaryMultiCallable[_Q, _R], request: _Q) -> _R:
    """A call that is not made again."""
    try:
        return method(request, timeout=ATTEMPT_S)
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None
