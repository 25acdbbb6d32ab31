"""What the ledger says that recipients got of persons: by its ties, as the accounting of disclosures does.

Releases that are hidden are left out in the query itself: with or without one, a trace is the same.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import and_, func, or_, select

from broker.clock import SECOND
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.legal import hiding
from broker.legal.recipients import ENTRY, TIES, TYPES
from broker.legal.releasing import FOREVER, period
from broker.legal.rows import load
from broker.slices import HASHED_KEY_LABEL
from broker.store.driver import parts
from broker.store.queries import LEGAL_CASE, read_persons
from broker.tracing import forms
from broker.tracing.model import Source
from broker.vault import commitment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Row, Select

    from broker.desk import View
    from broker.legal.rows import HeldCase
    from broker.tracing.model import Claim

Place = tuple[int, int]
"""Person and entry: where reading of ties goes on."""
START: Final[Place] = (0, -1)
KEPT: Final = 200_000
"""Entries that are kept in memory, without their bytes, and persons in them of whom a field was missing."""
READ: Final = 200
"""Entries in one statement: each may be 64 KiB."""
_CASE: Final = func.coalesce(hiding.SEALED_ENTRY.c.case, ENTRY.c.contract)


@dataclass(frozen=True, slots=True)
class Got:
    """What a person's recipient got by an entry.

    Attributes:
        source: to whom, by its bit.
        fields: which, in which form.
        at: when, microseconds since 1970 UTC.
        retain_until: to be deleted by this day.
        collected: seconds since 1970 UTC within which values were collected to be in it, the end not included.
        disclosure: its id; empty for a release made elsewhere.
        others: what persons got of whom a field was missing, by their commitments.
    """

    source: int
    fields: Mapping[str, str]
    at: int
    retain_until: str
    collected: tuple[int, int]
    disclosure: str = ""
    others: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def holds(self, claim: Claim) -> bool:
        """Whether the claim's value was in it, in a form in which it can be known."""
        since = claim.since // SECOND
        return (
            claim.since <= self.at < claim.until
            and self.fields.get(claim.field) in claim.transforms
            and self.collected[0] <= since < self.collected[1]
        )


class Ties:
    """Reads what persons' recipients got, and remembers who they are. Of one trace.

    Attributes:
        sources: whoever received anything of somebody who was looked at, by their bits.
        whose: the recipient of each source, by its number: a recipient may have several contracts.
    """

    def __init__(self, before_us: int) -> None:
        self.sources: list[Source] = []
        self.whose: list[int] = []
        self._recipients: dict[str, int] = {}
        self._before_us = before_us
        self._bits: dict[str, int] = {}
        self._got: dict[int, Got] = {}
        self._weight = 0
        self._fields: dict[tuple[bytes, str], dict[str, str]] = {}
        self._cases: dict[str, HeldCase] = {}
        self._hash_keys: dict[int, bytes] = {}

    def page(self, view: View, persons: Collection[int], after: Place, limit: int) -> list[tuple[int, int, Got]]:
        """Up to `limit` ties of the persons behind a place: person, entry, and what was got of the person."""
        behind = or_(TIES.c.person > after[0], and_(TIES.c.person == after[0], TIES.c.entry > after[1]))
        query = self._ties(view, TIES.c.person, ENTRY.c.id).where(TIES.c.person.in_(sorted(persons)), behind)
        found = view.connection.execute(query.order_by(TIES.c.person, TIES.c.entry).limit(limit)).all()
        if self._weight > KEPT:
            self._got.clear()
            self._weight = 0
        self._load(view, sorted({row.id for row in found} - self._got.keys()))
        secrets = _secrets(view, {row.person for row in found if self._got[row.id].others})
        return [(row.person, row.id, _of_person(self._got[row.id], secrets.get(row.person))) for row in found]

    def held(self, view: View, after: Place, limit: int) -> list[Row[Any]]:
        """Up to `limit` ties of everybody behind a place: `person`, `id` of the entry, and the contract or case."""
        behind = or_(TIES.c.person > after[0], and_(TIES.c.person == after[0], TIES.c.entry > after[1]))
        query = self._ties(view, TIES.c.person, ENTRY.c.id, _CASE.label("under")).where(behind)
        return list(view.connection.execute(query.order_by(TIES.c.person, TIES.c.entry).limit(limit)).all())

    def bit(self, under: str) -> int:
        """The bit of a contract or a case; -1 if it is no source."""
        return self._bits.get(under, -1)

    def is_hash(self, view: View, got: Got, claim: Claim) -> bool:
        """Whether the claim's text is what this contract's recipient got through `hashed`."""
        contract = self.sources[got.source].contract
        if claim.hash_of is None or not contract or got.fields.get(claim.field) != forms.HASHED:
            return False
        if not claim.since <= got.at < claim.until:
            return False
        key = self._hash_keys.get(got.source)
        if key is None:
            handle_key = view.snapshot.contract(view.connection, contract).handle_key
            key = self._hash_keys[got.source] = hmac.digest(handle_key, HASHED_KEY_LABEL, "sha256")
        return forms.hashed(*claim.hash_of, key) == claim.text

    # --- steps ------------------------------------------------------------------------------------

    def _ties(self, view: View, *columns: Any) -> Select[Any]:
        return (
            select(*columns)
            .select_from(
                TIES.join(ENTRY, ENTRY.c.id == TIES.c.entry)
                .outerjoin(hiding.SEALED_ENTRY, hiding.SEALED_ENTRY.c.entry == ENTRY.c.id)
                .outerjoin(LEGAL_CASE, LEGAL_CASE.c.id == _CASE)
            )
            .where(
                ENTRY.c.type.in_(TYPES),
                ENTRY.c.at < self._before_us,
                or_(LEGAL_CASE.c.id.is_(None), LEGAL_CASE.c.hidden_until <= view.now_us),
            )
        )

    def _load(self, view: View, entries: Sequence[int]) -> None:
        query = select(ENTRY, hiding.SEALED_ENTRY.c.case.label("case")).select_from(
            ENTRY.outerjoin(hiding.SEALED_ENTRY, hiding.SEALED_ENTRY.c.entry == ENTRY.c.id)
        )
        for some in parts(entries, READ):
            for row in view.connection.execute(query.where(ENTRY.c.id.in_(some))):
                got = self._got[row.id] = self._read(view, row)
                self._weight += 1 + len(got.others)

    def _read(self, view: View, row: Row[Any]) -> Got:
        if row.type == "disclosure":
            bit = self._bits.get(row.contract)
            if bit is None:
                bit = self._add(row.contract, Source(row.contract, "", row.recipient, _name(view, row.contract)))
            return self._slices(bit, entry.parse(row.entry), row.at, (0, FOREVER))
        return self._release(view, row)

    def _release(self, view: View, row: Row[Any]) -> Got:
        case = row.case or row.contract
        if case not in self._cases:
            self._cases[case] = load(view, case)
        held = self._cases[case]
        said = hiding.said(view.connection, case, held.keys, hiding.stored(row))
        bit = self._bits.get(case)
        if bit is None:
            bit = self._add(case, Source("", case, "", held.case.body.requester.name))
        if said["type"] == "release_elsewhere":
            return Got(bit, dict.fromkeys(said["fields"], forms.FULL), row.at, "", (0, FOREVER))
        collected = period(held.case.body.scope) or (0, FOREVER)
        return self._slices(bit, said, row.at, collected)

    def _slices(self, bit: int, said: dict[str, Any], at: int, collected: tuple[int, int]) -> Got:
        terms = said["terms"]
        whole = "1" * len(terms["fields"])
        others = {
            each["person"]: self._granted(terms["fields"], each["holds"])
            for each in said["slices"]
            if each["holds"] != whole
        }
        fields = self._granted(terms["fields"], whole)
        return Got(bit, fields, at, terms["retain_until"], collected, terms["disclosure"], others)

    def _add(self, under: str, source: Source) -> int:
        self.sources.append(source)
        self.whose.append(self._recipients.setdefault(source.who, len(self._recipients)))
        bit = self._bits[under] = len(self.sources) - 1
        return bit

    def _granted(self, fields: list[dict[str, str]], holds: str) -> dict[str, str]:
        """Fields and transforms of a slice; one object for all slices that are alike."""
        return self._fields.setdefault((orjson.dumps(fields), holds), entry.held_fields(fields, holds))


def _of_person(got: Got, secret: bytes | None) -> Got:
    """What was got of one person; everything that left of anybody, if the person's row is damaged."""
    if not got.others or secret is None:
        return got
    mark = entry.base64url(commitment(secret, got.disclosure))
    return replace(got, fields=got.others.get(mark, got.fields), others={})


def _secrets(view: View, persons: Collection[int]) -> dict[int, bytes]:
    found = {}
    for row in read_persons(view.connection, sorted(persons)):
        try:
            found[row.id] = view.snapshot.vault.person_secret(row)
        except SlussError as error:
            if error.reason not in {Reason.INTERNAL, Reason.PERSON_UNAVAILABLE}:
                raise
    return found


def _name(view: View, contract: str) -> str:
    terms = view.snapshot.contract(view.connection, contract).facts.terms
    return terms.recipient_name if terms is not None else ""
