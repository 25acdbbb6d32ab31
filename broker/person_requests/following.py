"""How recipients followed: what they attest to have deleted, and who was told of a correction (GDPR Art. 19).

The person is told of those recipients who were told, with an access export; of a hidden release nothing shows here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from broker.obligations.rows import OBLIGATION, replayed
from broker.obligations.rules import Kind, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.desk import View
    from broker.obligations.rules import Account
    from broker.person_requests.rows import Held

NO_ANSWER = {"state": "", "answer": "", "answered_at": ""}
"""Of what nobody owes a deletion for under a contract, or has not been told of it yet."""


def deletions(view: View, received: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the accounting, each with how its deletion stands.

    An attestation counts for the entries that it covers; what was received later under the same contract, to be deleted
    by the same day, is still open.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    days = {(row["authority"], row["retain_until"]) for row in received}
    contracts = sorted({contract for contract, _ in days})
    table = OBLIGATION.c
    query = select(table.id, table.contract, table.until).where(
        table.kind == Kind.DELETE_BY, table.contract.in_(contracts)
    )
    names = [row.id for row in view.connection.execute(query) if (row.contract, row.until) in days]
    owed: dict[tuple[str, str], list[tuple[Account, dict[str, str]]]] = {}
    accounts = replayed(view.connection, names, view.snapshot.standing).values()
    for account in sorted(accounts, key=lambda each: each.created):
        shown = {"state": str(account.state), "answer": account.answer, "answered_at": account.answered_at}
        owed.setdefault((account.contract, account.until), []).append((account, shown))
    return [{**row, "deletion": _deletion(row, owed)} for row in received]


def told(view: View, person: int, requests: Sequence[Held], received: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Who was told, or has to be, that values were corrected, with what came of it.

    Raises:
        SlussError: LEDGER_INCONSISTENT.
    """
    table = OBLIGATION.c
    query = select(table.id).where(table.person == person, table.kind == Kind.CORRECT)
    names = sorted(view.connection.execute(query).scalars())
    known = {row["authority"]: row["recipient"] for row in received}
    by_contract = [
        {
            "recipient": known.get(account.contract, account.recipient),
            "authority": account.contract,
            "fields": list(account.fields),
            "since": account.created_at,
            "state": str(account.state),
            "answer": account.answer,
            "answered_at": account.answered_at,
        }
        for account in replayed(view.connection, names, view.snapshot.standing).values()
    ]
    by_people: list[dict[str, Any]] = [
        {
            "recipient": each.name,
            "authority": each.case,
            "fields": [],
            "since": held.facts.fulfilled.isoformat() if held.facts.fulfilled else "",
            "state": "answered" if each.outcome else "open",
            "answer": each.outcome,
            "answered_at": "",
        }
        for held in requests
        for each in held.legal
    ]
    return [*by_contract, *by_people]


def _deletion(row: dict[str, Any], owed: dict[tuple[str, str], list[tuple[Account, dict[str, str]]]]) -> dict[str, str]:
    for account, shown in owed.get((row["authority"], row["retain_until"]), ()):
        last = account.through if account.state is State.ANSWERED else account.moved
        if not account.settled or row["entry"] <= last:
            return shown
    return NO_ANSWER
