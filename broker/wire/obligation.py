"""Obligations on the wire."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sluss.v1 import obligation_pb2 as pb

from broker.errors import invalid
from broker.obligations import answering, retention
from broker.obligations.answering import Signed
from broker.obligations.owing import day_after
from broker.obligations.report import Filter, RecipientReport, days_overdue
from broker.obligations.rows import DIGEST_BYTES
from broker.obligations.rules import Kind, State
from broker.slice_terms import unbase64
from broker.watching import check_principal
from broker.wire import checks

if TYPE_CHECKING:
    from broker.desk import View
    from broker.identity import Caller
    from broker.obligations.rows import Held

MAX_ID: Final = 40
_CAUSE: Final = re.compile(r"[RK]-[0-9]{4}-[0-9]{4,9}")
MAX_SIGNATURE: Final = 80


def obligation(view: View, held: Held) -> pb.Obligation:
    """An obligation as the caller may see it: handle and salt for its recipient, the cause for everybody else."""
    account = held.account
    is_theirs = view.principal.name == account.recipient
    last = 0
    if account.kind is Kind.DELETE_BY:
        last = account.through or retention.last_entry(view.connection, account.contract, account.until)
    return pb.Obligation(
        obligation_id=account.id,
        kind=account.kind,
        state=account.state,
        contract_id=account.contract,
        recipient=account.recipient,
        instruction=answering.instruction(view, account),
        handle=held.handle if is_theirs else b"",
        fields=account.fields,
        due=account.due,
        until=account.until,
        first_entry=held.first,
        last_entry=last,
        owed=unbase64(account.owed, DIGEST_BYTES),
        salt=held.salt if is_theirs else b"",
        created_at=account.created_at,
        acknowledged_at=account.acknowledged_at,
        outcome=account.answer,
        answered_at=account.answered_at,
        outcome_time=account.answer_time,
        answer_entry=account.answer_entry,
        delay_asked=account.delay,
        delay_reason=account.delay_reason,
        delay_refused=account.delay_refused,
        reminders=len(account.reminders),
        escalated_at=account.escalated_at,
        close_proposed_by="" if is_theirs else account.proposed_by,
        days_overdue=days_overdue(account, day_after(view.now_us, 0)),
        cause="" if view.principal.kind == "subcontractor" else held.cause,
    )


def wanted(view: View, request: pb.ListObligationsRequest) -> Filter:
    """The filter asked for.

    Raises:
        SlussError: INVALID_REQUEST, of a subcontractor that asks for another's or by a cause too.
    """
    for state in request.states:
        checks.among(state, frozenset(State), "states")
    recipient, cause = request.recipient, request.cause
    if recipient:
        check_principal(recipient, "recipient")
    if view.principal.kind == "subcontractor":
        if recipient not in ("", view.principal.name):
            raise invalid("recipient", "leave it empty: you see your own")
        if cause:
            raise invalid("cause", "not for subcontractors")
        recipient = view.principal.name
    if cause and not _CAUSE.fullmatch(cause):
        raise invalid("cause", "a request or a complaint, such as R-2026-0001 or K-2026-0001")
    contract = checks.text(request.contract_id, "contract_id", MAX_ID) if request.contract_id else ""
    return Filter(recipient, frozenset(request.states), contract, cause, request.overdue, request.escalated)


def signed(
    caller: Caller, request: pb.AcknowledgeObligationRequest | pb.AttestObligationRequest | pb.AskDelayRequest
) -> Signed:
    """What a recipient signed, and with which certificate it calls.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not 1 <= len(request.signature) <= MAX_SIGNATURE:
        raise invalid("signature", f"1 to {MAX_SIGNATURE} bytes")
    return Signed(request.time, request.signature, caller.evidence.certificate_der)


def day(text: str, field: str) -> str:
    """A day, YYYY-MM-DD."""
    return checks.day(text, field).isoformat()


def since(view: View, text: str, days: int) -> str:
    """The first day of a report; so many days ago if none is given."""
    return checks.day(text, "since").isoformat() if text else day_after(view.now_us, -days)


def recipient(report: RecipientReport) -> pb.RecipientReport:
    """A line of the report."""
    return pb.RecipientReport(
        recipient=report.recipient,
        waiting=report.waiting,
        overdue=report.overdue,
        unanswered=report.unanswered,
        delays_asked=report.delays_asked,
        answered=report.answered,
        not_confirmed=report.not_confirmed,
        worst_days=report.worst_days,
        worst=report.worst,
        escalated=report.escalated,
    )
