"""The subcontractor's client for asyncio: the verbs of `Subcontractor`, awaited.

    async with AsyncSubcontractor.from_profile("/etc/sluss/acme-pay") as sluss:
        results = await sluss.disclose("C-2026-0001", "billing.collection", ["email"], handles)
        async for chunk in sluss.bulk("C-2026-0001", "billing.collection", ["email"]):
            ...

What is asked, verified, retried and opened is decided in the modules that both clients share. Verifying and
saving run on a thread, so that signatures and fsync do not hold up the event loop.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
from sluss.v1 import contract_pb2, disclosure_pb2, ledger_pb2, obligation_pb2

from broker.sealing import SUITE_XWING
from sluss_client import aggregates
from sluss_client.channel import aio_channel
from sluss_client.contract import acceptance, offer_of
from sluss_client.core import MAX_CHUNK, BulkCall, Core, DiscloseCall
from sluss_client.errors import TransportError, from_rpc_error
from sluss_client.fulfilling import fulfil_async
from sluss_client.lines import Lines
from sluss_client.obligations import Duties, acknowledgement, attestation, delay
from sluss_client.obligations import read as read_obligation
from sluss_client.profile import Profile
from sluss_client.results import Offer, RegisteredKey
from sluss_client.retry import ATTEMPT_S, DEADLINE_S, Retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from grpc import aio

    from sluss_client.aggregates import Counted
    from sluss_client.heads import Head, Lane
    from sluss_client.keys import StoredKey
    from sluss_client.lines import Line
    from sluss_client.obligations import Obligation
    from sluss_client.profile import Identity
    from sluss_client.results import Chunk, OpenedPerson, Result

_Q = TypeVar("_Q")
_R = TypeVar("_R")


class AsyncSubcontractor:
    """A subcontractor at a broker. An asynchronous context manager, to be made while the event loop runs."""

    def __init__(self, profile: Profile, line: aio.Channel | None = None) -> None:
        """Args: a profile, and a channel to use instead of our own, which is then never replaced."""
        self._core = Core(profile)
        self._lines = Lines(profile, aio_channel, line)

    @classmethod
    def from_profile(cls, path: str | Path) -> Self:
        """A client for a profile folder."""
        return cls(Profile.load(path))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel."""
        for line in self._lines.all():
            await line.close()

    @property
    def profile(self) -> Profile:
        """The profile that the client was made from."""
        return self._core.profile

    # --- our certificate ---

    async def certificate_request(self) -> bytes:
        """See `Subcontractor.certificate_request`."""
        return await asyncio.to_thread(self.profile.certificate_request)

    async def install_certificate(self, pem: bytes) -> str:
        """See `Subcontractor.install_certificate`."""
        return await asyncio.to_thread(self.profile.install_certificate, pem)

    # --- contracts and keys ---

    async def describe_scope(self, contract: str) -> disclosure_pb2.DescribeScopeResponse:
        """See `Subcontractor.describe_scope`."""
        request = disclosure_pb2.DescribeScopeRequest(contract_id=contract)
        return await self._retried(lambda line: line.disclosures.DescribeScope, request)

    async def proposed_terms(self, contract: str) -> Offer:
        """See `Subcontractor.proposed_terms`."""
        request = contract_pb2.GetContractRequest(contract_id=contract)
        return offer_of(await self._retried(lambda line: line.contracts.GetContract, request), self.profile.principal)

    async def accept_contract(self, contract: str, offer: Offer | None = None) -> contract_pb2.AcceptContractResponse:
        """See `Subcontractor.accept_contract`."""
        offer = offer or await self.proposed_terms(contract)
        async with self._line() as line:
            return await _once(line.contracts.AcceptContract, acceptance(offer, line.identity))

    async def register_key(self, suite: int = SUITE_XWING) -> RegisteredKey:
        """See `Subcontractor.register_key`."""
        keys = self._core.store.all()
        return await self._register(keys[-1] if keys else self._core.store.generate(suite))

    async def rotate_key(self, suite: int = SUITE_XWING) -> RegisteredKey:
        """See `Subcontractor.rotate_key`."""
        return await self._register(self._core.store.generate(suite))

    async def _register(self, stored: StoredKey) -> RegisteredKey:
        self._core.reload_keys()
        async with self._line() as line:
            reply = await _once(line.disclosures.RegisterKey, self._core.registration(stored, line.identity))
        return RegisteredKey(reply.key_id, reply.entry_index)

    # --- disclosures ---

    async def disclose(
        self,
        contract: str,
        purpose: str,
        fields: Sequence[str],
        handles: Iterable[str | bytes],
        *,
        request_id: str | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> list[Result]:
        """See `Subcontractor.disclose`."""
        call = DiscloseCall(self._core, contract, purpose, fields, handles=handles, request_id=request_id)
        with self._core.heads.lane() as lane:
            reply = await self._retried(
                lambda line: line.disclosures.Disclose, call.request(lane.head.size), deadline_s
            )
            results = await asyncio.to_thread(call.finish, reply, lane)
        await self._settle()
        return results

    async def dry_run(
        self, contract: str, purpose: str, fields: Sequence[str], handles: Iterable[str | bytes]
    ) -> disclosure_pb2.DryRun:
        """See `Subcontractor.dry_run`."""
        call = DiscloseCall(self._core, contract, purpose, fields, handles=handles)
        reply: disclosure_pb2.DiscloseResponse = await self._retried(
            lambda line: line.disclosures.Disclose, call.request(0, dry_run=True)
        )
        return reply.dry_run

    async def bulk(
        self,
        contract: str,
        purpose: str,
        fields: Sequence[str],
        handles: Iterable[str | bytes] | None = None,
        *,
        resume: str | None = None,
        request_id: str | None = None,
        chunk_size: int = MAX_CHUNK,
    ) -> AsyncIterator[Chunk]:
        """See `Subcontractor.bulk`."""
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
            async for chunk in self._streams(call, lane):
                yield chunk
        await self._settle()

    async def _streams(self, call: BulkCall, lane: Lane) -> AsyncIterator[Chunk]:
        retry = Retry()
        while True:
            async with self._line() as line:  # one stream is on one line from its first message to its last
                stream = line.disclosures.DiscloseBulk(call.request(lane.head.size))
                try:
                    async for message in stream:
                        yield await asyncio.to_thread(call.chunk, message, lane)
                        retry.progressed()
                except grpc.RpcError as error:
                    delay = retry.wait_s(from_rpc_error(error))
                else:
                    call.finished()
                    return
                finally:
                    stream.cancel()
            await asyncio.sleep(delay)

    async def open_stored(self, sealed: bytes) -> list[OpenedPerson]:
        """See `Subcontractor.open_stored`."""
        return await asyncio.to_thread(self._core.open_stored, sealed)

    # --- anonymous counts ---

    async def aggregate(
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
        """See `Subcontractor.aggregate`."""
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
        reply = await self._retried(lambda line: line.aggregates.QueryAggregate, asked, deadline_s)
        counted, head = aggregates.proven(reply, asked, self.profile.principal, self.profile.verifier())
        with self._core.heads.lane(head) as lane:
            await self._checkpoint(lane)
        await self._settle()
        return counted

    # --- what we owe ---

    async def obligations(
        self, *, states: Iterable[str] = ("open", "acknowledged", "unanswered")
    ) -> AsyncIterator[Obligation]:
        """See `Subcontractor.obligations`."""
        request = obligation_pb2.ListObligationsRequest(states=states)
        while True:
            reply = await self._retried(lambda line: line.obligations.ListObligations, request)
            for message in reply.obligations:
                yield read_obligation(message, self.profile.principal)
            if not reply.next_page_token:
                return
            request.page_token = reply.next_page_token

    async def obligation(self, obligation: str) -> Obligation:
        """See `Subcontractor.obligation`."""
        request = obligation_pb2.GetObligationRequest(obligation_id=obligation)
        reply = await self._retried(lambda line: line.obligations.GetObligation, request)
        return read_obligation(reply.obligation, self.profile.principal)

    async def watch_obligations(
        self, *, resume: str = "", timeout_s: float | None = None
    ) -> AsyncIterator[tuple[Obligation | None, str]]:
        """See `Subcontractor.watch_obligations`."""
        request = obligation_pb2.WatchObligationsRequest(resume_token=resume)
        async with self._line() as line:
            stream = line.obligations.WatchObligations(request, timeout=timeout_s)
            try:
                async for message in stream:
                    found = message.HasField("obligation")
                    shown = read_obligation(message.obligation, self.profile.principal) if found else None
                    yield shown, message.resume_token
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED or timeout_s is None:
                    raise from_rpc_error(error) from None
            finally:
                stream.cancel()

    async def acknowledge(self, obligation: Obligation) -> Obligation:
        """See `Subcontractor.acknowledge`."""
        return await self._answered("AcknowledgeObligation", lambda identity: acknowledgement(obligation, identity))

    async def attest(self, obligation: Obligation, outcome: str = "", note: str = "") -> Obligation:
        """See `Subcontractor.attest`."""
        said = outcome or obligation.outcome
        return await self._answered("AttestObligation", lambda identity: attestation(obligation, said, note, identity))

    async def ask_delay(self, obligation: Obligation, until: date, reason: str) -> Obligation:
        """See `Subcontractor.ask_delay`."""
        return await self._answered("AskDelay", lambda identity: delay(obligation, until, reason, identity))

    async def fulfil(
        self,
        *,
        on_delete: Callable[[Obligation], Awaitable[object]] | None = None,
        on_correct: Callable[[Obligation], Awaitable[object]] | None = None,
        on_erase: Callable[[Obligation], Awaitable[object]] | None = None,
        once: bool = False,
        days_ahead: int = 0,
    ) -> int:
        """See `Subcontractor.fulfil`; callbacks that can be awaited are, and cancelling the task stops it."""
        return await fulfil_async(self, Duties(on_delete, on_correct, on_erase, ahead=days_ahead), once=once)

    async def _answered(self, method: str, request: Callable[[Identity], Any]) -> Obligation:
        retry = Retry()
        while True:
            try:
                async with self._line() as line:
                    reply = await getattr(line.obligations, method)(request(line.identity), timeout=retry.attempt_s)
                return read_obligation(reply.obligation, self.profile.principal)
            except grpc.RpcError as error:
                delay_s = retry.wait_s(from_rpc_error(error))
            await asyncio.sleep(delay_s)

    # --- the ledger ---

    async def check_ledger(self) -> Head:
        """See `Subcontractor.check_ledger`."""
        heads = self._core.heads
        with heads.lane() as lane:
            published = await self._checkpoint(lane)
            head = lane.head
        if published.size < head.size:
            with heads.lane(published) as lane:
                await self._checkpoint(lane)
                head = lane.head
        await self._settle()
        return head

    async def _settle(self) -> None:
        heads = self._core.heads
        with suppress(TransportError):
            for _ in range(3 * heads.unsettled()):
                if heads.unsettled():
                    with heads.lane() as lane:
                        await self._checkpoint(lane)

    async def _checkpoint(self, lane: Lane) -> Head:
        request = ledger_pb2.GetCheckpointRequest(seen_size=lane.head.size)
        reply = await self._retried(lambda line: line.ledger.GetCheckpoint, request)
        return await asyncio.to_thread(self._core.take_checkpoint, reply, lane)

    # --- calls ---

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[Line[aio.Channel]]:
        line = self._lines.take()
        try:
            yield line
        finally:
            for over in self._lines.leave(line):
                await over.close()

    async def _retried(
        self,
        method: Callable[[Line[aio.Channel]], aio.UnaryUnaryMultiCallable[_Q, _R]],
        request: _Q,
        deadline_s: float = DEADLINE_S,
    ) -> _R:
        retry = Retry(deadline_s)
        while True:
            try:
                async with self._line() as line:
                    return await method(line)(request, timeout=retry.attempt_s)
            except grpc.RpcError as error:
                delay = retry.wait_s(from_rpc_error(error))
            await asyncio.sleep(delay)


async def _once(method: aio.UnaryUnaryMultiCallable[_Q, _R], request: _Q) -> _R:
    try:
        return await method(request, timeout=ATTEMPT_S)
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None
