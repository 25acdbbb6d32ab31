"""Carries out a release: streams what was approved, proves every part, keeps it sealed, opens it for the package.

1. the state file is opened or begun, with the key for a package in it (stream_file.py)
2. each message is verified: receipt, entry, slices, and that the ledger has only grown
3. of a package, it must open too: nothing is kept on disk that would not open later
4. only then it is kept, sealed, and the stream goes on after it, also in another process
5. when it has come to its end, the parts are opened for the package, one by one
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import grpc
from sluss.v1 import disclosure_pb2
from sluss.v1 import legal_pb2 as pb
from sluss_client.core import advance
from sluss_client.errors import IntegrityError, InvalidRequest, ReceiptInvalid, SliceInvalid, from_rpc_error
from sluss_client.heads import CheckpointFile, Heads
from sluss_client.retry import Retry
from sluss_client.watch import Expectation, Verified, verify_disclosure

from broker.sealing import Opener
from sluss_legal.stream_file import StreamFile
from sluss_legal.words import PURPOSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sluss.v1 import legal_pb2_grpc
    from sluss_client.heads import Lane
    from sluss_client.profile import Profile

    from broker.ledger.checkpoint import Verifier

    Progress = Callable[[int, int], None]
    """Told how many persons have been looked at, and how many there are."""

_BOUND_TO = slice(2, 50)
"""Key id and epoch id in the header of an epoch (protos/SLICE.md)."""
_RELEASABLE = {pb.CASE_STATE_APPROVED, pb.CASE_STATE_RELEASED}


@dataclass(frozen=True)
class Person:
    """What was released of one person.

    Attributes:
        person_id: whose it is.
        values: field -> value, in the form that was approved.
    """

    person_id: str
    values: dict[str, str]


@dataclass(frozen=True)
class Part:
    """One entry of a release, verified.

    Attributes:
        sent: as it came.
        verified: its terms, its place in the ledger, the checkpoint of its receipt.
    """

    sent: pb.ReleasedPart
    verified: Verified

    def persons(self, opener: Opener) -> list[Person]:
        """What is in it.

        Raises:
            SliceInvalid: a slice does not open, or holds other fields than the entry says; then nothing is returned.
        """
        opened = self.verified.open(opener, self.sent.disclosure)
        return [Person(id_, one.values) for id_, one in zip(self.sent.person_ids, opened, strict=True)]


class Checker:
    """What every part of one case's release has to be about: exactly what was approved, and nobody twice."""

    def __init__(self, case: pb.Case, key_id: bytes, verifier: Verifier) -> None:
        fields = {granted.field: granted.transform for granted in case.scope.fields}
        self._case = case
        self._forms = fields.items()
        self._verifier = verifier
        self._listed = set(case.scope.listed.person_ids) if case.scope.HasField("listed") else None
        self._seen: set[str] = set()
        self._expected = Expectation(
            recipient=f"authority/{case.case_id.lower()}",
            key_ids={key_id},
            contract=case.case_id,
            purpose=PURPOSES.get(case.ground, ""),
            fields=fields.keys(),
            type="release",
        )

    def parts(self, message: pb.ReleaseResponse) -> list[Part]:
        """The parts of a message, each verified.

        Raises:
            ReceiptInvalid: an entry is not proven, or is not about what was approved.
            SliceInvalid: the slices are not those of the entry.
        """
        return [self._part(sent) for sent in message.parts]

    def _part(self, sent: pb.ReleasedPart) -> Part:
        opening = sent.opening if sent.HasField("opening") else None
        verified = verify_disclosure(sent.disclosure, self._expected, self._verifier, opening)
        terms = verified.terms
        if not set(terms.fields) <= self._forms:
            raise ReceiptInvalid("the entry names a field in a form that was not approved")
        if terms.retain_until != self._case.delivery.retain_until:
            raise ReceiptInvalid("the entry names another day of deletion")
        if sent.disclosure.epoch[_BOUND_TO] != terms.key + terms.epoch:
            raise SliceInvalid("the epoch is not the one that the entry names")
        self._check_persons(sent)
        return Part(sent, verified)

    def _check_persons(self, sent: pb.ReleasedPart) -> None:
        named = set(sent.person_ids)
        if not len(named) == len(sent.person_ids) == len(sent.disclosure.slices) or named & self._seen:
            raise SliceInvalid("a person stands in the release twice, or not beside a slice")
        if self._listed is not None and not named <= self._listed:
            raise SliceInvalid("a person was released whom the case does not name")
        self._seen |= named


@dataclass(frozen=True)
class Release:
    """A release that has come to its end, still sealed on disk.

    Attributes:
        case: its case, as it stood when the release went on.
        profile: who released.
        file: what came.
        done: persons looked at.
    """

    case: pb.Case
    profile: Profile
    file: StreamFile
    done: int

    def parts(self) -> Iterator[Part]:
        """Its parts, verified anew: they come from disk."""
        checker = checker_of(self.case, self.file, self.profile)
        for message in self.file.messages():
            yield from checker.parts(message)

    def opener(self) -> Opener | None:
        """Opens the parts; None when they are sealed to the authority's own key."""
        return opener_of(self.case, self.file)


def opener_of(case: pb.Case, file: StreamFile) -> Opener | None:
    """Opens what is sealed to the package's own key; None when it is sealed to the authority's."""
    key = file.under.key
    return Opener([key], case.case_id) if key else None


def check_releasable(case: pb.Case) -> None:
    """InvalidRequest if the case is not one to release."""
    if case.state not in _RELEASABLE or not case.delivery.WhichOneof("kind"):
        raise InvalidRequest(f"{case.case_id} is not approved: there is nothing to release")


def open_file(path: Path, case: pb.Case) -> StreamFile:
    """The state of a case's release, as it stands on disk, or begun.

    Raises:
        InvalidRequest: the case is not approved.
        ProfileError: the file can't be used.
    """
    check_releasable(case)
    return StreamFile(path, case.case_id, package=case.delivery.WhichOneof("kind") == "package")


def checker_of(case: pb.Case, file: StreamFile, profile: Profile) -> Checker:
    """What the parts have to be about."""
    key = file.under.key
    key_id = key.public().id if key else sha256(case.delivery.key.public_key).digest()
    return Checker(case, key_id, profile.verifier())


def release(
    legal: legal_pb2_grpc.LegalServiceStub, profile: Profile, case: pb.Case, file: StreamFile, progress: Progress
) -> Release:
    """Streams what is still to come, to the end.

    Args:
        legal: the service, as whoever releases.
        profile: whoever releases; its checkpoint moves on.
        case: what was approved.
        file: where it is kept.
        progress: told after each message.

    Raises:
        Refused, TransportError: see `sluss_client.errors`; what came before stands, and it can go on.
        IntegrityError: a message does not prove itself; nothing of it was kept.
    """
    checker, opener, done, total = checker_of(case, file, profile), opener_of(case, file), 0, 0
    for message in file.messages():
        checker.parts(message)
        done, total = message.done, message.total
        progress(done, total)
    heads = Heads(CheckpointFile(profile.checkpoint_path, profile.verifier()))
    with heads.lane() as lane:
        for message in _stream(legal, case, file, lane):
            parts = checker.parts(message)
            _check_opens(parts, opener)
            advance(lane, [part.verified for part in parts], message.consistency_proof)
            file.append(message)
            done, total = message.done, message.total
            progress(done, total)
    # Of a population the total is an estimate.
    if case.scope.HasField("listed") and done < total:
        raise IntegrityError("the stream has ended before everybody was looked at")
    return Release(case, profile, file, done)


def _check_opens(parts: list[Part], opener: Opener | None) -> None:
    """SliceInvalid if a part does not open; what is in it is dropped at once."""
    if opener is not None:
        for part in parts:
            part.persons(opener)


def _stream(
    legal: legal_pb2_grpc.LegalServiceStub, case: pb.Case, file: StreamFile, lane: Lane
) -> Iterator[pb.ReleaseResponse]:
    """Messages after the last one kept; a stream that breaks goes on by itself."""
    retry = Retry()
    while True:
        stream = legal.Release(_request(case, file, lane.head.size))
        try:
            for message in stream:
                yield message
                retry.progressed()
        except grpc.RpcError as error:
            delay = retry.wait_s(from_rpc_error(error))
        else:
            return
        finally:
            stream.cancel()
        time.sleep(delay)


def _request(case: pb.Case, file: StreamFile, seen_size: int) -> pb.ReleaseRequest:
    request = pb.ReleaseRequest(
        request_id=file.under.request_id, case_id=case.case_id, resume_after=file.cursor, seen_size=seen_size
    )
    if file.under.key:
        public = file.under.key.public()
        request.package_key.suite = disclosure_pb2.Suite.ValueType(public.suite)
        request.package_key.public_key = public.data
    return request
