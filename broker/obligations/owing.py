"""Who has to be told of a rectification or an erasure, and how far that has come (GDPR Art. 19).

Exactly those recipients owe who got one of the fields, by the ledger: what the entries of disclosures say that the
person's slices hold, less what a recipient has attested since that it no longer has. Releases under a legal ground
have a recipient without a contract; they make no obligation, and whether there are any does not show.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import bindparam, select, update

from broker.clock import day_of
from broker.handles import handle_of
from broker.held import held, terms_of
from broker.ledger import entry
from broker.ledger.rows import MAX_READ, stored_entries
from broker.ledger.standing import Standing
from broker.obligations import rows
from broker.obligations.rules import DELETED, Disclosed, Gone, Kept, Kind, State, owing
from broker.store import tables
from broker.store.driver import parts
from broker.store.queries import read_persons

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any

    from sqlalchemy import Connection

    from broker.desk import Change, View
    from broker.obligations.rules import Account

ENTRY: Final = tables.core(tables.LedgerEntry)
TIES: Final = tables.core(tables.LedgerPerson)
ANSWER_DAYS: Final = 14
"""Days within which a recipient has to answer for a correction or an erasure."""
MAX_LISTED: Final = 1_000
"""Obligations named in one entry."""
NOTHING_KEPT: Final = Kept(frozenset(), 0)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the obligations of one cause have come. Complete is only what `answered` says.

    Attributes:
        total: recipients who owe, or owed.
        answered: how many have answered for good, with their signature.
        not_confirmed: how many never answered and were closed by two people. They are no part of `answered`.
    """

    total: int
    answered: int
    not_confirmed: int = 0

    @property
    def complete(self) -> bool:
        """Whether every recipient has answered."""
        return self.answered == self.total

    @property
    def waiting(self) -> int:
        """How many are waited for."""
        return self.total - self.answered - self.not_confirmed


def owe(
    change: Change,
    person: int,
    kind: Literal["correct", "erase"],
    fields: Collection[str],
    cause: str,
    kept: Kept = NOTHING_KEPT,
    known: Sequence[Disclosed] = (),
) -> int:
    """Make the obligations of the recipients who got one of `fields` (for `erase`: anything); gives how many.

    For `erase` it is called before the person's ties are destroyed. What it keeps of the person is the handle under
    each contract, until that recipient has answered; no obligation names the person afterwards.

    Args:
        change: to write with.
        person: id.
        kind: what they owe.
        fields: names of fields; not looked at for `erase`.
        cause: the id of the person's request or complaint; empty if there is none.
        kept: those of `fields` whose values this does not change. Whoever got them right does not owe, and nobody is
            told of them twice for one cause.
        known: the first of the person's disclosures, as `disclosed` gave them before the lock.
    """
    connection, tx, by = change.connection, change.tx, change.principal.name
    disclosures = [kept.without(each) for each in disclosed(change, person, known)]
    days = {(each.contract, each.until) for each in disclosures}
    gone = list(_gone(connection, days, [person], change.snapshot.standing))
    if kept.fields:
        gone += _told(change, person, cause, kept.fields)
    found = owing(disclosures, gone, None if kind == "erase" else fields)
    until = day_after(change.now_us, ANSWER_DAYS)
    made = []
    for (contract, recipient), names in sorted(found.items()):
        handle = handle_of(change.snapshot.contract(connection, contract).handle_key, person)
        new = rows.New(
            Kind(kind),
            contract,
            recipient,
            until,
            first=min(each.index for each in disclosures if each.contract == contract),
            fields=tuple(sorted(names)),
            person=0 if kind == "erase" else person,
            handle=handle,
            cause=cause,
        )
        made.append(rows.add(tx, new, by))
    if cause:
        for start in range(0, max(len(made), 1), MAX_LISTED):
            tx.append(entry.owed(tx.at, cause, kind, made[start : start + MAX_LISTED], by))
    if kind == "erase":
        forget(connection, person)
    return len(made)


def forget(connection: Connection, person: int) -> None:
    """Let no obligation name the person any more; what recipients still owe stays, under their handles."""
    connection.execute(update(rows.OBLIGATION).where(rows.OBLIGATION.c.person == person).values(person=0))


def progress(connection: Connection, cause: str) -> Progress:
    """How many recipients owe for a cause, and how many have answered for good.

    Raises:
        SlussError: LEDGER_INCONSISTENT if what is kept is not what the ledger says.
    """
    accounts, total = of_cause(connection, cause, Standing())
    return Progress(
        total,
        sum(account.state is State.ANSWERED for account in accounts),
        sum(account.state is State.NOT_CONFIRMED for account in accounts),
    )


def of_cause(connection: Connection, cause: str, standing: Standing) -> tuple[list[Account], int]:
    """The obligations of a cause that are in the ledger, and how many there are with those of this very transaction.

    Raises:
        SlussError: LEDGER_INCONSISTENT, if one of those that the ledger lists is gone.
    """
    query = select(ENTRY.c.id).where(ENTRY.c.contract == cause, ENTRY.c.type == "owed").order_by(ENTRY.c.id)
    found = stored_entries(connection, list(connection.execute(query).scalars()))
    standing.prove(connection, found)
    names = {name for row in found for name in entry.parse(row.entry)["obligations"]}
    kept = connection.execute(select(rows.OBLIGATION.c.id).where(rows.OBLIGATION.c.cause == cause)).scalars()
    accounts = rows.replayed(connection, sorted(names), standing)
    return list(accounts.values()), len(names.union(kept))


def disclosed(view: View, person: int, known: Sequence[Disclosed] = (), after: int = -1) -> Iterator[Disclosed]:
    """The disclosures of a person to subcontractors, in the order of the ledger; none of an erased person.

    Of a person with very many this takes seconds. Who needs them under the head's lock reads them before it, and then
    again with what is known: only what was appended in between is read there.

    Args:
        view: to read with.
        person: id.
        known: what this gave in an earlier transaction, whole or the first of it.
        after: only what stands behind this entry, if nothing is known.

    Raises:
        SlussError: LEDGER_INCONSISTENT for a tie to an entry that does not speak of the person.
    """
    rows = read_persons(view.connection, [person])
    if not rows or not rows[0].keys:
        return
    secret = view.snapshot.vault.person_secret(rows[0])
    yield from known
    for index, at, data in _entries(view.connection, person, known[-1].index if known else after):
        terms = terms_of(data)
        fields = frozenset(held(data, terms, secret).fields)
        asked = frozenset(each["name"] for each in terms["fields"])
        yield Disclosed(index, terms["contract"], terms["recipient"], fields, terms["retain_until"], asked, at)


def _entries(connection: Connection, person: int, after: int) -> Iterator[tuple[int, int, bytes]]:
    """The entries of a person's disclosures behind an index, read a few at a time: they are large."""
    query = (
        select(ENTRY.c.id, ENTRY.c.at, ENTRY.c.entry)
        .select_from(TIES.join(ENTRY, ENTRY.c.id == TIES.c.entry))
        .where(TIES.c.person == person, TIES.c.entry > bindparam("after"), ENTRY.c.type == "disclosure")
        .order_by(TIES.c.entry)
        .limit(MAX_READ)
    )
    while page := connection.execute(query, {"after": after}).all():
        yield from ((row.id, row.at, bytes(row.entry)) for row in page)
        after = page[-1].id


def is_gone(
    connection: Connection, standing: Standing, index: int, terms: Mapping[str, Any], persons: Sequence[int]
) -> bool:
    """Whether the recipient has attested that it no longer has a disclosure, or some of it of one of these persons.

    What was attested to be gone can't be given again as if it had never been: nobody would owe for it.
    """
    contract, until = terms["contract"], terms["retain_until"]
    fields = frozenset(each["name"] for each in terms["fields"])
    given = Disclosed(index, contract, terms["recipient"], fields, until, fields)
    found = _gone(connection, {(contract, until)}, persons, standing)
    return any(each.covers(given) and (each.fields is None or each.fields & fields) for each in found)


def _gone(
    connection: Connection, days: Collection[tuple[str, str]], persons: Sequence[int], standing: Standing
) -> Iterator[Gone]:
    """What recipients have attested that they no longer have: of contracts' days of deletion, and of persons."""
    table = rows.OBLIGATION.c
    names: set[str] = set()
    contracts = {contract for contract, _ in days}
    for some in parts(persons):
        of_persons = select(table.id, table.contract).where(table.person.in_(some))
        names |= {row.id for row in connection.execute(of_persons) if row.contract in contracts}
    for contract in contracts:
        query = select(table.id, table.until).where(
            table.contract == contract, table.kind == Kind.DELETE_BY, table.settled == 1
        )
        names |= {row.id for row in connection.execute(query) if (contract, row.until) in days}
    for account in rows.replayed(connection, sorted(names), standing).values():
        if account.state is not State.ANSWERED or account.answer not in DELETED:
            continue
        if account.kind is Kind.DELETE_BY:
            yield Gone(account.contract, account.through, until=account.until)
        else:
            yield Gone(account.contract, account.created, frozenset(account.fields))


def _told(change: Change, person: int, cause: str, fields: frozenset[str]) -> Iterator[Gone]:
    """What recipients have been told to correct for a cause, as far as it is about `fields`."""
    table = rows.OBLIGATION.c
    query = select(table.id).where(table.person == person, table.kind == Kind.CORRECT, table.cause == cause)
    names = sorted(change.connection.execute(query).scalars())
    for account in rows.replayed(change.connection, names, change.snapshot.standing).values():
        yield Gone(account.contract, account.created, fields.intersection(account.fields))


def day_after(now_us: int, days: int) -> str:
    """The day so many days after a time, UTC, YYYY-MM-DD."""
    return (day_of(now_us) + timedelta(days=days)).isoformat()
