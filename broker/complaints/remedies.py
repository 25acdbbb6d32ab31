"""How far a remedy has come: done is what recipients have answered for and what has been scrubbed, and nothing else.

Erased data and corrected values are with recipients, too (GDPR Art. 19). A recipient who is silent keeps the remedy
undone, and the complaint open, and so does one of a legal release whom people have not told of an erasure. One whose
obligation two people closed without an answer is counted apart: nobody is waited for any more, but the remedy is never
called done. Neither is a correction whose request was refused or taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from broker.complaints.rules import RECIPIENTS_TOLD
from broker.erasure.erasing import ERASURE
from broker.obligations.owing import Progress, progress
from broker.person_requests import rows as request_rows
from broker.person_requests import rules as request_rules
from broker.person_requests.model import REQUEST_ID, Kind, State, Telling, ToTell

if TYPE_CHECKING:
    from broker.case_files import File
    from broker.desk import View

NOBODY: Final = Progress(0, 0)
NOTHING: Final = frozenset({State.REFUSED, State.WITHDRAWN})
"""States in which a request has come to nothing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a remedy stands.

    Attributes:
        done: whether it is, confirmed by every recipient.
        settled: whether nothing more is waited for; only then the complaint can be closed.
        owed: how far the recipients have come.
    """

    done: bool
    settled: bool
    owed: Progress = NOBODY


def standing(view: View, file: File, made: dict[str, Any]) -> Standing:
    """Where one of the remedies of a complaint stands."""
    if made["kind"] == "erase_data":
        return _erasure(view, file, made)
    if made["kind"] == "correct":
        return _correction(view, file, made)
    return Standing(done=True, settled=True)


def to_tell(file: File, made: dict[str, Any]) -> list[ToTell]:
    """The cases whose recipients people have to tell of an erasure, or have told."""
    told = any(each["kind"] == RECIPIENTS_TOLD for each in file.body["remedies"])
    return [ToTell(case, Telling.TOLD if told else "") for case in made.get("tell", ())]


def _erasure(view: View, file: File, made: dict[str, Any]) -> Standing:
    times = view.connection.execute(select(ERASURE.c.scrubbed_at).where(ERASURE.c.cause == file.id)).scalars().all()
    scrubbed = bool(times) and all(times)
    owed = progress(view.connection, file.id)
    whole = scrubbed and all(each.outcome for each in to_tell(file, made))
    return Standing(whole and owed.complete, whole and not owed.waiting, owed)


def correcting(view: View, file: File) -> list[str]:
    """The linked requests by which its person's values are corrected, or can be: neither refused nor taken back."""
    return [
        held.id
        for held in _rectifications(view, file)
        if held.person and held.person == file.person and held.state not in NOTHING
    ]


def _rectifications(view: View, file: File) -> list[request_rows.Held]:
    linked = [link for link in file.body["links"] if REQUEST_ID.fullmatch(link)]
    requests = [request_rows.load(view, link) for link in linked]
    return [held for held in requests if held.facts.kind is Kind.RECTIFICATION]


def _correction(view: View, file: File, made: dict[str, Any]) -> Standing:
    """By the requests that the remedy names: done once each of them is."""
    named = made.get("requests", file.body["links"])
    requests = [held for held in _rectifications(view, file) if held.id in named]
    settled = [
        held.state in request_rules.FINAL or (held.state is State.WAITING and not held.owed.waiting)
        for held in requests
    ]
    owed = Progress(
        sum(held.owed.total for held in requests),
        sum(held.owed.answered for held in requests),
        sum(held.owed.not_confirmed for held in requests),
    )
    done = bool(requests) and all(held.state is State.DONE for held in requests)
    return Standing(done, bool(requests) and all(settled), owed)
