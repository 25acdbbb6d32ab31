"""What goes into the spine and what comes out of it: plain data, one `Ask` per call or per chunk of a stream."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from broker.contracts import Decision
    from broker.identity import Caller
    from broker.ledger.entry import Slice

MAX_HANDLES = 10_000
CHUNK = 256
HANDLE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Named:
    """Persons named by handles of 16 bytes."""

    handles: tuple[bytes, ...]

    @property
    def persons(self) -> int:
        """How many are asked for."""
        return len(self.handles)


def check_handles(handles: tuple[bytes, ...], most: int = MAX_HANDLES) -> None:
    """Refuse none, too many, a handle of another length, duplicates.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not 1 <= len(handles) <= most:
        raise SlussError(Reason.INVALID_REQUEST, f"handles: 1 to {most} are needed", field="handles")
    if any(len(handle) != HANDLE_BYTES for handle in handles):
        raise SlussError(Reason.INVALID_REQUEST, "handles: 16 bytes each", field="handles")
    if len(set(handles)) != len(handles):
        raise SlussError(Reason.INVALID_REQUEST, "handles: duplicates", field="handles")


@dataclass(frozen=True, slots=True)
class Page:
    """Whoever is on record with an id above `after`, at most `limit` persons."""

    after: int
    limit: int

    @property
    def persons(self) -> int:
        """How many are asked for at the most."""
        return self.limit


@dataclass(frozen=True, slots=True)
class ReleasePart:
    """Where in a release an ask stands.

    Attributes:
        place: where the part begins: a position in the list of persons, or the id before the part's first.
        done: persons looked at before it.
        released: persons released before it.
    """

    place: int
    done: int
    released: int


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a sealed entry: the entry as the ledger holds it, the salt, and the entry that it was."""

    sealed_entry: bytes
    salt: bytes
    entry: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for slices.

    Attributes:
        caller: the evidence of who asks.
        request_id: 16 bytes; with the caller it identifies the request.
        contract: contract id; of a release, the legal case's.
        purpose: purpose code.
        fields: field names, as asked.
        who: the persons.
        seen_size: the size of the tree that the caller verified last; 0 for none.
        dry_run: decide only, write nothing.
        invalid: what is wrong with the request itself; told, and logged, once the caller is known.
        release: of a release on a legal ground, which part of it; only LegalService asks so.
    """

    caller: Caller
    request_id: bytes
    contract: str
    purpose: str
    fields: tuple[str, ...]
    who: Named | Page
    seen_size: int = 0
    dry_run: bool = False
    invalid: SlussError | None = None
    release: ReleasePart | None = None

    def digest(self) -> bytes:
        """SHA-256 over what is asked; the tree that was seen is no part of it, since a retry may have seen more."""
        body = hashlib.sha256(orjson.dumps([self.contract, self.purpose, self.fields]))
        if isinstance(self.who, Named):
            body.update(b"named\x00" + b"".join(self.who.handles))
        else:
            body.update(b"page\x00%d,%d" % (self.who.after, self.who.limit))
        return body.digest()


@dataclass(slots=True)
class Sealed:
    """One disclosure on its way out. `entry`, `index` and `receipt` are set once the entry is durable.

    `listed` is what the entry says of each of the `slices`.

    Under secrecy `entry` is what was released, and `opening` holds the entry that the receipt is of.
    """

    disclosure: str
    terms: dict[str, object]
    epoch: bytes
    slices: list[bytes]
    listed: list[Slice]
    persons: list[int]
    unavailable: int = 0
    entry: bytes = b""
    index: int = -1
    receipt: str = ""
    opening: Opening | None = None


@dataclass(slots=True)
class Answer:
    """The answer to an `Ask`.

    Attributes:
        sealed: the disclosures, in the order asked.
        unavailable: handles that got no slice.
        consistency: hashes that prove the receipts' tree to extend the tree of `seen_size`.
        decision: what was decided.
        last: for a page, the id of the last person looked at; 0 when nobody is left.
        looked_at: persons looked at.
        size: the size of the receipts' tree.
    """

    decision: Decision
    sealed: list[Sealed] = field(default_factory=list)
    unavailable: list[bytes] = field(default_factory=list)
    consistency: list[bytes] = field(default_factory=list)
    last: int = 0
    looked_at: int = 0
    size: int = 0
