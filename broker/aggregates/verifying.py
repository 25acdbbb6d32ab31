"""Whether the kept answers and what was spent of privacy budgets are what the ledger's entries say.

Whoever can write rows could give a budget back, or take an answer away so that the same question gets other noise.
The entries tell everything: the first one with a question is the one for which its noise was drawn, and everybody's
budget paid; the first one with a question and a recipient is the one for which the recipient's budget paid; and each
says what its own budget paid, and what that comes to.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from broker.aggregates.budget import bounds, months
from broker.aggregates.rules import ANALYSIS, EVERYBODY
from broker.catalogue.usage import Period
from broker.clock import SECOND, micros
from broker.ledger.entry import base64url, parse
from broker.ledger.findings import Kind
from broker.store.driver import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

    from broker.ledger.findings import Report

RUN: Final = 500
"""Rows read in one statement: each ends well within a store's time for an answer."""

_ANSWERS: Final = "SELECT question, answer, entry FROM aggregate_answer WHERE question > ? ORDER BY question LIMIT ?"
_RELEASES: Final = (
    "SELECT owner, recipient, purpose, question, entry FROM aggregate_release"
    " WHERE (owner, recipient, purpose, question) > (?, ?, ?, ?)"
    " ORDER BY owner, recipient, purpose, question LIMIT ?"
)
_SPENT: Final = (
    "SELECT owner, start, micro, delta_nano FROM aggregate_spent WHERE (owner, start) > (?, ?)"
    " ORDER BY owner, start LIMIT ?"
)


class Aggregates:
    """Answers, releases and budgets, beside the entries of aggregate releases."""

    def __init__(self, connection: Connection, report: Report) -> None:
        self._connection = connection
        self._report = report
        self._answers: dict[str, tuple[str, int]] = {}
        self._had: set[tuple[str, str]] = set()
        self._releases: dict[tuple[str, str, str, str], int] = {}
        self._spent: dict[tuple[str, int], tuple[int, int]] = {}

    def take(self, index: int, entry: bytes, type: str) -> None:  # noqa: A002 - the member's name in the entry
        """As `Follower.take`."""
        if type == "aggregate":
            self._release(index, parse(entry))

    def finish(self) -> None:
        """As `Follower.finish`."""
        self._compare_answers()
        self._compare_releases()
        self._compare_spent()

    def _release(self, index: int, said: Mapping[str, Any]) -> None:
        question, recipient, owner = said["question"], said["recipient"], said["contract"] or ANALYSIS
        payers = [owner]
        if question not in self._answers:
            self._answers[question] = said["sha256"], index
            payers.append(EVERYBODY)
        elif self._answers[question][0] != said["sha256"]:
            self._add(index, f"entry {index} has another answer to the question of entry {self._answers[question][1]}")
        if said["contract"] and (question, recipient) not in self._had:
            payers.append(recipient)
        self._had.add((question, recipient))
        self._releases[owner, recipient, said["purpose"], question] = index
        month = bounds(Period.MONTH, micros(said["at"]))[1]
        for payer in payers:
            micro, delta_nano = self._spent.get((payer, month), (0, 0))
            self._spent[payer, month] = micro + said["epsilon_micro"], delta_nano + said["delta_nano"]
        spent = [self._spent.get((owner, start), (0, 0)) for start in months(said["period"])]
        if (sum(micro for micro, _ in spent), sum(delta for _, delta in spent)) != (
            said["spent_micro"],
            said["spent_delta_nano"],
        ):
            self._add(
                index, f"what entry {index} says that the budget of {owner} has spent is not the sum of its entries"
            )

    def _compare_answers(self) -> None:
        for question, answer, entry in self._rows(_ANSWERS, b""):
            meant = self._answers.pop(base64url(bytes(question)), None)
            kept = base64url(hashlib.sha256(bytes(answer)).digest()), entry
            if meant != kept:
                self._add(meant[1] if meant else None, f"a kept answer names entry {entry}, which is of another answer")
        for _, entry in sorted(self._answers.values(), key=lambda each: each[1]):
            self._add(entry, f"the answer of entry {entry} is not kept: its question would get other noise")

    def _compare_releases(self) -> None:
        for owner, recipient, purpose, question, entry in self._rows(_RELEASES, "", "", "", b""):
            name = owner, recipient, purpose, base64url(bytes(question))
            if self._releases.pop(name, None) != entry:
                self._add(
                    entry, f"a row says that {recipient} got an answer for {purpose} with entry {entry}; it did not"
                )
        for (_, recipient, purpose, _), entry in sorted(self._releases.items(), key=lambda each: each[1]):
            self._add(entry, f"{recipient} got an answer for {purpose} with entry {entry}, and has no row")

    def _compare_spent(self) -> None:
        for owner, start, *spent in self._rows(_SPENT, "", 0):
            self._differ(owner, start, (int(spent[0]), int(spent[1])), self._spent.pop((owner, start), (0, 0)))
        for (owner, start), meant in sorted(self._spent.items()):
            self._differ(owner, start, (0, 0), meant)

    def _differ(self, owner: str, start: int, stored: tuple[int, int], meant: tuple[int, int]) -> None:
        if stored != meant:
            month = bounds(Period.MONTH, start * SECOND)[0]
            self._add(
                None,
                f"in {month} the budget of {owner} has spent, in millionths of epsilon and thousand-millionths of"
                f" delta, {meant[0]} and {meant[1]} by the entries, {stored[0]} and {stored[1]} by its row",
            )

    def _add(self, entry: int | None, said: str) -> None:
        self._report.add(Kind.SPENT, entry, said)

    def _rows(self, text: str, *first: Any) -> Iterator[tuple[Any, ...]]:
        after: tuple[Any, ...] = first
        while found := fetch(self._connection, text, (*after, RUN)):
            yield from found
            after = tuple(found[-1][: len(first)])
