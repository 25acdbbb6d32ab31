"""Steps 3 and 4 of the spine: values in the form that the contract grants, sealed to the recipient."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from broker import transforms
from broker.asks import Sealed
from broker.choices.rule import NO_FIELDS
from broker.errors import Reason, SlussError
from broker.ids import new_disclosure_id
from broker.ledger import entry
from broker.sealing import Sealer
from broker.slice_terms import Terms
from broker.vault import COMMITMENT_LABEL, commitment

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    from sqlalchemy import Row

    from broker.contracts import Decision
    from broker.rights import HeldContract, Snapshot
    from broker.sealing import Epoch
    from broker.vault import Vault

HASHED_KEY_LABEL = b"sluss/v1 hashed key\x00"


class Opened(NamedTuple):
    """A person's values in the form that leaves: (ordinal, field, UTF-8), and the secret for the commitment."""

    handle: bytes
    id: int
    values: list[tuple[int, str, bytes]]
    secret: bytes


class Candidate(NamedTuple):
    """A person who may be in a disclosure, the fields that are left out for them, and the secret."""

    handle: bytes
    row: Row[Any]
    without: frozenset[str]
    secret: bytes


class SliceMaker:
    """Steps 3 and 4: makes the slices of one request. Holds what all its persons share.

    Args:
        vault: opens records.
        snapshot: with the catalogue.
        held: the recipient and the key of its handles.
        decision: what may leave.
        period: only values collected within it, in seconds since 1970 UTC, its end not included; None for all.
    """

    def __init__(
        self,
        vault: Vault,
        snapshot: Snapshot,
        held: HeldContract,
        decision: Decision,
        period: tuple[int, int] | None = None,
    ) -> None:
        self._vault = vault
        self._period = period
        self._names = tuple(granted.field for granted in decision.fields)
        self._financial = decision.financial
        key = hmac.digest(held.handle_key, HASHED_KEY_LABEL, "sha256")
        self._fields = [
            (
                ordinal,
                granted.field,
                None
                if granted.transform == "full"
                else transforms.compile(granted.transform, snapshot.catalogue.field(granted.field).type),
            )
            for ordinal, granted in enumerate(decision.fields)
        ]
        self._key = key
        self._whole = "1" * len(self._fields)
        self._terms = Terms(
            contract=decision.contract,
            contract_version=decision.version,
            disclosure="",
            epoch=b"",
            key=b"",
            fields=tuple((granted.field, granted.transform) for granted in decision.fields),
            issued="",
            policy="",
            purpose=decision.purpose,
            recipient=held.facts.subcontractor,
            retain_until=decision.retain_until.isoformat(),
        )

    def open(self, handle: bytes, row: Row[Any], without: frozenset[str] = NO_FIELDS) -> Opened:
        """Step 3 for one person; the fields of `without` are left out as if they were not on record.

        Raises:
            SlussError: INTERNAL for a record that does not open, KEYS_UNAVAILABLE.
        """
        names: Sequence[str] = self._names if self._period is None else self._within(row, *self._period)
        if without:
            names = [name for name in names if name not in without]
        values, secret = self._vault.open_for_disclosure(row, names, allow_financial=self._financial)
        key = self._key
        items = []
        for ordinal, name, transform in self._fields:
            value = values.get(name)
            if value is not None:
                text = value if transform is None else transform(value, key)
                items.append((ordinal, name, text.encode()))
        return Opened(handle, row.id, items, secret)

    def _within(self, row: Row[Any], first: int, end: int) -> Sequence[str]:
        origins = self._vault.metadata(row)
        return [name for name in self._names if name in origins and first <= origins[name].collected_at < end]

    def terms(self, epoch: Epoch, policy: str, issued: str) -> Terms:
        """The terms of a new disclosure (protos/SLICE.md); `issued` is RFC 3339."""
        return self._terms._replace(
            disclosure=new_disclosure_id(), epoch=epoch.id, key=epoch.key_id, issued=issued, policy=policy
        )

    def make(self, epoch: Epoch, terms: Terms, persons: Sequence[Opened]) -> Sealed:
        """Step 4: one disclosure of up to 256 persons."""
        label = COMMITMENT_LABEL + terms.disclosure.encode("ascii")
        members = terms.members()
        seal = Sealer(epoch, orjson.dumps(members, option=orjson.OPT_SORT_KEYS), terms).seal
        slices = [seal(person.handle, person.values) for person in persons]
        listed = [
            entry.Slice(
                hmac.digest(person.secret, label, "sha256"), hashlib.sha256(made).digest(), self._holds(person.values)
            )
            for person, made in zip(persons, slices, strict=True)
        ]
        return Sealed(terms.disclosure, members, epoch.blob, slices, listed, [person.id for person in persons])

    def _holds(self, values: Sequence[tuple[int, str, bytes]]) -> str:
        if len(values) == len(self._fields):
            return self._whole
        return entry.holds({ordinal for ordinal, _, _ in values}, len(self._fields))

    def remake(self, epoch: Epoch, first: dict[str, Any], persons: deque[Candidate]) -> Sealed:
        """The same disclosure again, from its entry.

        Args:
            epoch: that of its terms.
            first: the entry.
            persons: who may be in it, in the order of then. Who is in it is taken out, and who was passed on the way
                to them is put behind all others: each person is looked at once, whoever came to be available since.

        Raises:
            SlussError: RECORD_CHANGED if terms, persons or values are no longer what they were.
        """
        terms = Terms.parse(orjson.dumps(first["terms"], option=orjson.OPT_SORT_KEYS))
        changed = SlussError(Reason.RECORD_CHANGED, disclosure=terms.disclosure)
        if terms.fields != self._terms.fields or terms.contract_version != self._terms.contract_version:
            raise changed
        chosen = []
        for item in first["slices"]:
            person = _take(persons, item["person"], terms.disclosure)
            if person is None:
                raise changed
            chosen.append(self.open(person.handle, person.row, person.without))
        sealed = self.make(epoch, terms, chosen)
        if entry.slice_list(sealed.listed) != first["slices"]:
            raise changed
        return sealed


def _take(persons: deque[Candidate], wanted: str, disclosure: str) -> Candidate | None:
    """Takes the person out whose commitment this is."""
    for _ in range(len(persons)):
        person = persons.popleft()
        if entry.base64url(commitment(person.secret, disclosure)) == wanted:
            return person
        persons.append(person)
    return None
