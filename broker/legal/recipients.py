"""Who received a person's data: the accounting of disclosures (POLICY 6; GDPR Art. 15(1)(c), 45 CFR 164.528).

What is hidden is left out before anything is counted or paged: with it or without it, the answer is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, or_, select

from broker import contract_terms
from broker.errors import Reason, SlussError
from broker.held import held
from broker.ledger import entry
from broker.legal import hiding
from broker.legal.rows import load
from broker.persons import rows as person_rows
from broker.rights import VERSION
from broker.store import tables
from broker.store.queries import LEGAL_CASE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from broker.asks import Opening
    from broker.contracts import Terms
    from broker.desk import View
    from broker.held import Held
    from broker.legal.model import Case

ENTRY: Final = tables.core(tables.LedgerEntry)
TIES: Final = tables.core(tables.LedgerPerson)
RELEASES: Final = ("release", "release_elsewhere", "sealed")
TYPES: Final = ("disclosure", *RELEASES)


@dataclass(frozen=True, slots=True)
class Received:
    """One row of the accounting.

    Attributes:
        index: of the entry.
        entry: as the ledger holds it.
        said: the entry's members; of a sealed one, those of the entry that it was.
        held: what was in the person's slice; None of a release made elsewhere.
        opening: what opens it, if it was sealed.
        terms: of the contract version that it was disclosed under; None of a release.
        case: of a release.
    """

    index: int
    entry: bytes
    said: dict[str, Any]
    held: Held | None
    opening: Opening | None
    terms: Terms | None
    case: Case | None

    @property
    def fields(self) -> dict[str, str]:
        """The fields of the person that were received, with their transforms; "" of a release made elsewhere."""
        return dict.fromkeys(self.said["fields"], "") if self.held is None else self.held.fields


def received(
    view: View, person: int, period: tuple[int, int], after: int, limit: int, types: Sequence[str] = TYPES
) -> list[Received]:
    """Up to `limit` rows of a person behind entry `after` (-1 for the first), in the order of the ledger.

    Args:
        view: to read with.
        person: id.
        period: microseconds since 1970 UTC, the end not included.
        after: an entry's index.
        limit: at most so many.
        types: of the entries.

    Raises:
        SlussError: PERSON_UNKNOWN; LEDGER_INCONSISTENT if what is kept is not what the ledger says.
    """
    secret = view.snapshot.vault.person_secret(person_rows.active(view.connection, person))
    case = func.coalesce(hiding.SEALED_ENTRY.c.case, ENTRY.c.contract)
    query = (
        select(ENTRY, hiding.SEALED_ENTRY.c.case.label("case"))
        .select_from(
            TIES.join(ENTRY, ENTRY.c.id == TIES.c.entry)
            .outerjoin(hiding.SEALED_ENTRY, hiding.SEALED_ENTRY.c.entry == ENTRY.c.id)
            .outerjoin(LEGAL_CASE, LEGAL_CASE.c.id == case)
        )
        .where(
            TIES.c.person == person,
            TIES.c.entry > after,
            ENTRY.c.type.in_(types),
            ENTRY.c.at >= period[0],
            ENTRY.c.at < period[1],
            or_(LEGAL_CASE.c.id.is_(None), LEGAL_CASE.c.hidden_until <= view.now_us),
        )
        .order_by(TIES.c.entry)
        .limit(limit)
    )
    terms: dict[tuple[str, int], Terms] = {}
    return [_row(view, row, secret, terms) for row in view.connection.execute(query).all()]


def _row(view: View, row: Row[Any], secret: bytes, terms: dict[tuple[str, int], Terms]) -> Received:
    if row.type == "disclosure":
        said = entry.parse(row.entry)
        name = (said["terms"]["contract"], said["terms"]["contract_version"])
        if name not in terms:
            terms[name] = _terms(view, *name)
        return Received(row.id, row.entry, said, held(row.entry, said["terms"], secret), None, terms[name], None)
    of_case = load(view, row.case or row.contract)
    found = hiding.stored(row)
    written, opening = hiding.opened(view.connection, of_case.case.id, of_case.keys, found)
    said = entry.parse(written)
    got = held(written, said["terms"], secret) if said["type"] in entry.SLICED else None
    return Received(row.id, row.entry, said, got, opening, None, of_case.case)


def _terms(view: View, contract: str, version: int) -> Terms:
    found = view.connection.execute(
        select(VERSION.c.terms).where(VERSION.c.contract == contract, VERSION.c.version == version)
    ).scalar_one_or_none()
    if found is None:
        raise SlussError(Reason.LEDGER_INCONSISTENT, "a contract that data were disclosed under is gone")
    return contract_terms.parse(found)[2]
