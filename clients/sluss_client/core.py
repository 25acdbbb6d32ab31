"""What the synchronous and the asynchronous client share: everything but waiting. No call is made here.

A call object builds its request, and turns the reply into results in this order: verify every disclosure,
prove the new checkpoint to extend what was seen, save it, and only then open slices.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from sluss.v1 import disclosure_pb2 as pb

from broker.errors import SlussError
from broker.ledger.checkpoint import open_checkpoint
from broker.sealing import Opener, handle_text, parse_handle
from sluss_client.contract import registration_message
from sluss_client.errors import InvalidRequest, LedgerInconsistent, SliceInvalid
from sluss_client.heads import CheckpointFile, Heads, open_published
from sluss_client.keys import KeyStore
from sluss_client.results import Chunk, OpenedPerson, Result, UnavailablePerson
from sluss_client.watch import Expectation, Verified, verify_disclosure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
    from sluss.v1.ledger_pb2 import GetCheckpointResponse

    from sluss_client.heads import Head, Lane
    from sluss_client.keys import StoredKey
    from sluss_client.profile import Identity, Profile

MAX_CHUNK = 256
_UUID4 = 4


class Core:
    """One profile at work: its keys, its view of the ledger, and the openers of its contracts."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.store = KeyStore(profile.keys_path)
        self.verifier = profile.verifier()
        self.heads = Heads(CheckpointFile(profile.checkpoint_path, self.verifier))
        self._openers: dict[str, Opener] = {}
        self.reload_keys()

    def reload_keys(self) -> None:
        """Take up the keys on file: after a rotation, or when another process has rotated."""
        self._keys = {stored.id: stored.key for stored in self.store.all()}
        self._openers = {}

    def expectation(
        self, contract: str | None = None, purpose: str | None = None, fields: Sequence[str] | None = None
    ) -> Expectation:
        """What a disclosure to us has to be about."""
        asked = None if fields is None else frozenset(fields)
        return Expectation(self.profile.principal, self._keys.keys(), contract, purpose, asked)

    def registration(self, stored: StoredKey, identity: Identity) -> pb.RegisterKeyRequest:
        """The request that registers a key, signed by the key of the certificate that the call is made with."""
        return pb.RegisterKeyRequest(
            suite=pb.Suite.ValueType(stored.key.suite),
            public_key=stored.key.public().data,
            signature=identity.sign(registration_message(stored)),
        )

    def verify(self, disclosure: pb.Disclosure, expected: Expectation) -> Verified:
        """`verify_disclosure` with the ledger keys of the profile; a key made by another process is found.

        Raises:
            ReceiptInvalid, SliceInvalid: as `verify_disclosure`.
            ProfileError: `keys.json` can't be used.
        """
        if disclosure.epoch[2:34] not in expected.key_ids:
            self.reload_keys()
            expected = replace(expected, key_ids=self._keys.keys())
        return verify_disclosure(disclosure, expected, self.verifier)

    def open(self, disclosure: pb.Disclosure, verified: Verified) -> list[OpenedPerson]:
        """Open every slice of a verified disclosure.

        Raises:
            SliceInvalid: one of them does not open, or holds other fields than the entry says; then none is returned.
        """
        opener, sealed = self._opener(verified.terms.contract), disclosure.SerializeToString()
        return [
            OpenedPerson(handle_text(one.handle), one.values, verified.terms, verified.index, sealed)
            for one in verified.open(opener, disclosure)
        ]

    def open_stored(self, sealed: bytes) -> list[OpenedPerson]:
        """Verify and open a disclosure that was stored as it came. Needs no broker.

        Raises:
            SliceInvalid: it is no stored disclosure, its slices are not those of its entry, or do not open.
            ReceiptInvalid, ProfileError: as `verify`.
        """
        try:
            disclosure = pb.Disclosure.FromString(sealed)
        except DecodeError:
            raise SliceInvalid("not a stored disclosure") from None
        return self.open(disclosure, self.verify(disclosure, self.expectation()))

    def take_checkpoint(self, reply: GetCheckpointResponse, lane: Lane) -> Head:
        """Prove the latest checkpoint to extend what was seen, and save it; the published one that came with it.

        Raises:
            LedgerInconsistent: it does not, no known key has signed it, or the published one is not cosigned.
            ProfileError: the profile has no key to check the cosignature with.
        """
        try:
            checkpoint = open_checkpoint(reply.checkpoint, self.verifier)
        except SlussError as error:
            raise LedgerInconsistent(error.detail) from None
        published = open_published(reply.published, checkpoint, self.verifier)
        lane.advance(checkpoint, reply.checkpoint, reply.consistency_proof)
        return published

    def _opener(self, contract: str) -> Opener:
        opener = self._openers.get(contract)
        if opener is None:
            opener = self._openers[contract] = Opener(self._keys.values(), contract)
        return opener


def handle_bytes(handle: str | bytes) -> bytes:
    """A handle given as text or as its 16 bytes; InvalidRequest for anything else."""
    try:
        return parse_handle(handle) if isinstance(handle, str) else parse_handle(handle_text(handle))
    except SlussError as error:
        raise InvalidRequest(error.detail) from None


def check_request_id(request_id: str | None) -> str:
    """A UUID4 in text form, made if none is given."""
    if request_id is None:
        return str(uuid.uuid4())
    try:
        parsed = uuid.UUID(request_id)
    except ValueError:
        parsed = None
    if parsed is None or parsed.version != _UUID4 or str(parsed) != request_id:
        raise InvalidRequest("a request id is a UUID4 in lower case")
    return request_id


class _Asked:
    """Which handles were asked for and are still to be answered, each exactly once."""

    def __init__(self, handles: Iterable[str | bytes]) -> None:
        self.handles = [handle_bytes(handle) for handle in handles]
        self._open = {handle_text(handle) for handle in self.handles}
        if not self.handles or len(self._open) != len(self.handles):
            raise InvalidRequest("handles: at least one, none twice")

    def answered(self, results: Iterable[Result]) -> None:
        for result in results:
            if result.handle not in self._open:
                raise SliceInvalid("a handle was answered that was not asked for, or twice")
            self._open.discard(result.handle)

    def finished(self) -> None:
        if self._open:
            raise SliceInvalid("not every handle was answered")


class DiscloseCall:
    """One unary disclosure, with all its attempts."""

    def __init__(
        self,
        core: Core,
        contract: str,
        purpose: str,
        fields: Sequence[str],
        *,
        handles: Iterable[str | bytes],
        request_id: str | None = None,
    ) -> None:
        self._core = core
        self._asked = _Asked(handles)
        self._expected = core.expectation(contract, purpose, fields)
        self._request = pb.DiscloseRequest(
            request_id=check_request_id(request_id),
            contract_id=contract,
            purpose=purpose,
            fields=fields,
            handles=self._asked.handles,
        )

    def request(self, seen_size: int, *, dry_run: bool = False) -> pb.DiscloseRequest:
        """The request, the same for every attempt."""
        self._request.seen_size = seen_size
        self._request.dry_run = dry_run
        return self._request

    def finish(self, reply: pb.DiscloseResponse, lane: Lane) -> list[Result]:
        """Verify, save the checkpoint, open. Results are in the order asked.

        Raises:
            IntegrityError: the reply does not prove itself; nothing was opened.
        """
        core = self._core
        verified = [core.verify(disclosure, self._expected) for disclosure in reply.disclosures]
        advance(lane, verified, reply.consistency_proof)
        results: list[Result] = [*_unavailable(reply.unavailable)]
        for disclosure, proven in zip(reply.disclosures, verified, strict=True):
            results += core.open(disclosure, proven)
        self._asked.answered(results)
        self._asked.finished()
        by_handle = {result.handle: result for result in results}
        return [by_handle[handle_text(handle)] for handle in self._asked.handles]


class BulkCall:
    """One bulk disclosure, over all the streams that it takes."""

    def __init__(
        self,
        core: Core,
        contract: str,
        purpose: str,
        fields: Sequence[str],
        *,
        handles: Iterable[str | bytes] | None,
        resume: str | None,
        request_id: str | None,
        chunk_size: int,
    ) -> None:
        if not 1 <= chunk_size <= MAX_CHUNK:
            raise InvalidRequest("chunk_size: 1 to 256")
        self._core = core
        self._expected = core.expectation(contract, purpose, fields)
        self._asked = None if handles is None else _Asked(handles)
        self._whole = not resume
        self._request = pb.DiscloseBulkRequest(
            request_id=check_request_id(request_id),
            contract_id=contract,
            purpose=purpose,
            fields=fields,
            chunk_size=chunk_size,
            resume_after=resume or "",
        )
        if self._asked is None:
            self._request.everyone = True
        else:
            self._request.handles.handles.extend(self._asked.handles)

    def request(self, seen_size: int) -> pb.DiscloseBulkRequest:
        """The request for the next stream: it goes on after the last chunk that arrived."""
        self._request.seen_size = seen_size
        return self._request

    def chunk(self, message: pb.DiscloseBulkResponse, lane: Lane) -> Chunk:
        """Verify, save the checkpoint, open.

        Raises:
            IntegrityError: the message does not prove itself; nothing of it was opened.
        """
        disclosures = [message.disclosure] if message.HasField("disclosure") else []
        verified = [self._core.verify(disclosure, self._expected) for disclosure in disclosures]
        advance(lane, verified, message.consistency_proof)
        persons = self._core.open(disclosures[0], verified[0]) if disclosures else []
        unavailable = _unavailable(message.unavailable)
        if self._asked is not None:
            self._asked.answered([*persons, *unavailable])
        self._request.resume_after = message.cursor
        return Chunk(
            persons=persons,
            unavailable=unavailable,
            sealed=persons[0].sealed if persons else b"",
            entry_index=verified[0].index if verified else None,
            cursor=message.cursor,
            done=message.done,
            total=message.total,
        )

    def finished(self) -> None:
        """The stream has ended well: of a list that was asked for from its start, nobody may be missing."""
        if self._asked is not None and self._whole:
            self._asked.finished()


def advance(lane: Lane, verified: Sequence[Verified], proof: Sequence[bytes]) -> None:
    """Move on to the one checkpoint of all receipts of a reply; a reply without any moves nothing.

    Raises:
        LedgerInconsistent: they stand on several, or it is no extension of what was seen.
    """
    if not verified:
        return
    first = verified[0]
    if any(one.checkpoint != first.checkpoint for one in verified):
        raise LedgerInconsistent("the receipts of one reply stand on different checkpoints")
    lane.advance(first.checkpoint, first.note, proof)


def _unavailable(statuses: RepeatedCompositeFieldContainer[pb.PersonStatus]) -> list[UnavailablePerson]:
    return [UnavailablePerson(handle_text(status.handle), status.reason) for status in statuses]
