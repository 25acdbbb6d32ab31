"""What the verbs return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluss.v1.contract_pb2 import ContractTerms

    from broker.sealing import Terms


@dataclass(frozen=True)
class OpenedPerson:
    """A person's slice, verified and opened.

    Attributes:
        handle: the person's handle under the contract, `h_...`.
        values: field -> text; a field without a value on record is not there. Never shown by `repr`.
        terms: what the values are bound to: purpose, `retain_until`, ...
        entry_index: the disclosure's entry in the ledger.
        sealed: the disclosure as it came, to store and open later with `open_stored`; it holds the slices of
            all persons of the same disclosure.
    """

    handle: str
    values: Mapping[str, str] = field(repr=False)
    terms: Terms
    entry_index: int
    sealed: bytes = field(repr=False)

    available: ClassVar[Literal[True]] = True


@dataclass(frozen=True)
class UnavailablePerson:
    """A handle that got no slice.

    Attributes:
        handle: as asked.
        reason: always `PERSON_UNAVAILABLE`; nothing is told about a person who is not disclosed.
    """

    handle: str
    reason: str

    available: ClassVar[Literal[False]] = False


Result: TypeAlias = OpenedPerson | UnavailablePerson


@dataclass(frozen=True)
class Chunk:
    """One message of a bulk disclosure.

    Attributes:
        persons: the opened slices.
        unavailable: handles of the list that got no slice.
        sealed: the disclosure as it came, for `open_stored`; empty if nobody in this chunk was available.
        entry_index: its entry in the ledger; None if there is no disclosure.
        cursor: pass it as `resume` to go on after this chunk, in another process too.
        done: persons looked at so far; when everybody was asked for under a grant for a part of them, those disclosed.
        total: persons in all; an estimate when everybody was asked for, 0 (not told) under a grant for a part of them.
    """

    persons: list[OpenedPerson]
    unavailable: list[UnavailablePerson]
    sealed: bytes = field(repr=False)
    entry_index: int | None
    cursor: str
    done: int
    total: int


@dataclass(frozen=True)
class Offer:
    """A version of a contract that waits for our signature, as its canonical bytes say.

    Attributes:
        contract_id: such as `C-2026-0001`.
        version: the proposed version.
        terms: for reading; rebuilt from the very bytes that are signed.
        canonical: those bytes.
        sha256: their SHA-256, in hexadecimal.
    """

    contract_id: str
    version: int
    terms: ContractTerms
    canonical: bytes
    sha256: str


@dataclass(frozen=True)
class RegisteredKey:
    """An encryption key that the broker seals to from now on.

    Attributes:
        key_id: SHA-256 of the public key.
        entry_index: its entry in the ledger.
    """

    key_id: bytes
    entry_index: int
