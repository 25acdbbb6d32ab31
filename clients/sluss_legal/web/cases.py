"""A case: its timeline and documents, the steps that can be taken, and the changes that can be made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from sluss.v1 import legal_pb2 as pb
from sluss_cli.legal.recipient_key import public_key

from sluss_legal.dates import is_day
from sluss_legal.urgency import days_left, is_overdue, is_unanswered
from sluss_legal.web.intake import previewed
from sluss_legal.web.lines import DEADLINE_S
from sluss_legal.web.page import Page, download, read_file
from sluss_legal.web.scope_form import ScopeForm, choices
from sluss_legal.words import N_, STEP_NAMES, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

MAX_DOCUMENT = 16 * 1024 * 1024
"""Bytes of the largest document."""
_APART = {pb.CASE_STEP_APPROVE, pb.CASE_STEP_EMERGENCY}
"""Steps with a page of their own, since data may leave by them."""
_KEY = "delivery-key"
"""Where a message about the recipient's key stands."""


def show(page: Page) -> Response:
    """The case."""
    return shown(page)


def shown(page: Page, place: str = "", error: str = "", template: str = "case.html", **more: Any) -> Response:
    """The case as it stands now, with what was typed and what was wrong with it at its place."""
    whole = page.get_case()
    case = whole.case
    return page.render(
        template,
        422 if error else 200,
        case=case,
        documents=whole.documents,
        timeline=whole.timeline[::-1],
        steps=[step for step in STEPS if step in case.possible and step not in _APART],
        possible=set(case.possible),
        late=is_overdue(case),
        left=days_left(case),
        urgent=is_unanswered(case),
        place=place,
        error=error,
        typed=page.typed,
        **more,
    )


def approval(page: Page) -> Response:
    """What exactly will leave, masked; to whom, and how."""
    return _approval(page)


def _approval(page: Page, place: str = "", error: str = "") -> Response:
    case = page.get_case().case
    request = pb.PreviewScopeRequest(scope=case.scope, ground=case.ground)
    preview = page.line.legal.PreviewScope(request, timeout=DEADLINE_S)
    return shown(page, place, error, "approval.html", preview=preview, missing=[])


def step(page: Page) -> Response:
    """Moves the case."""
    code = next((code for code, name in STEP_NAMES.items() if name == page.typed("step")), None)
    if code is None:
        return page.go(f"/cases/{page.path('case')}")
    again: Callable[[Page, str, str], Response] = _approval if code in _APART else shown
    place = f"step-{STEP_NAMES[code]}"
    if not page.typed("reason"):
        return again(page, place, page.say(N_("Say why. It is kept with the case, and the ledger commits to it.")))
    request = pb.StepCaseRequest(
        case_id=page.path("case"), step=code, reason=page.typed("reason"), etag=page.typed("etag")
    )
    try:
        page.line.legal.StepCase(request, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        return again(page, place, page.trouble(error).text)
    where = f"/cases/{page.path('case')}" + ("/release" if code == pb.CASE_STEP_EMERGENCY else "")
    return page.go(where, page.say(N_("Done: {step}."), step=page.say(STEPS[code])))


def change(page: Page) -> Response:
    """Changes handler, deadline, delivery, or adds a note."""
    what = page.typed("what")
    request = pb.ChangeCaseRequest(case_id=page.path("case"), etag=page.typed("etag"), note=page.typed("note"))
    place, error = _delivery(page, request) if what == "delivery" else (what, _fill(page, what, request))
    return shown(page, place, error) if error else _changed(page, what, request)


def _changed(page: Page, what: str, request: pb.ChangeCaseRequest) -> Response:
    try:
        page.line.legal.ChangeCase(request, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        trouble = page.trouble(error)
        return shown(page, _KEY if trouble.field.startswith("delivery.key") else what, trouble.text)
    return page.go(f"/cases/{page.path('case')}", page.say(N_("The change is in the ledger.")))


def _fill(page: Page, what: str, request: pb.ChangeCaseRequest) -> str:
    """Puts what was typed into the request; what is wrong with it, if anything."""
    if what == "deadline":
        request.deadline = page.typed("deadline")
        return "" if is_day(request.deadline) else page.say(N_("Write the day as year-month-day, such as 2026-11-25."))
    if what == "handler":
        request.handler = page.typed("handler")
        return "" if request.handler else page.say(N_("Name a member of the legal team, such as legal/anna."))
    return "" if request.note else page.say(N_("Write the note first."))


def _delivery(page: Page, request: pb.ChangeCaseRequest) -> tuple[str, str]:
    """Puts the delivery into the request; where something is wrong with it, and what."""
    if page.typed("kind") == "key":
        key = public_key(page.typed("public_key").encode())
        if key is None:
            return _KEY, page.say(N_("This is no X25519 or X-Wing public key. Paste it as PEM, base64 or hex."))
        request.delivery.key.CopyFrom(key)
    else:
        request.delivery.package = True
    request.delivery.retain_until = page.typed("retain_until")
    if is_day(request.delivery.retain_until):
        return "delivery", ""
    return "delivery", page.say(N_("Give the day by which the recipient is asked to delete, such as 2027-11-25."))


def add_document(page: Page) -> Response:
    """Adds a document."""
    file = read_file(page, "document")
    if file is None or not file[2]:
        return shown(page, "document", page.say(N_("Choose a file that is not empty.")))
    name, media_type, content = file
    if len(content) > MAX_DOCUMENT:
        return shown(page, "document", page.say(N_("The file is larger than 16 MiB.")))
    request = pb.AddDocumentRequest(
        case_id=page.path("case"), name=name.replace("/", "_")[-200:], media_type=media_type, content=content
    )
    try:
        page.line.legal.AddDocument(request, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        return shown(page, "document", page.trouble(error).text)
    return page.go(f"/cases/{page.path('case')}#documents", page.say(N_("The document is kept, encrypted.")))


def document(page: Page) -> Response:
    """A document, to save."""
    request = pb.GetDocumentRequest(case_id=page.path("case"), number=page.number("number", 9))
    reply = page.line.legal.GetDocument(request, timeout=DEADLINE_S)
    return download(reply.content, "application/octet-stream", reply.document.name)


def scope(page: Page) -> Response:
    """The form by which a scope is narrowed: only what is in it can stay in it."""
    case = page.get_case().case
    return _scope(page, case, ScopeForm.of_scope(case.scope))


def narrow(page: Page) -> Response:
    """Narrows the scope, or shows what would be left of it."""
    case = page.get_case().case
    form = ScopeForm.of_form(page.form)
    if page.typed("action") in {"preview", "default"}:
        return _scope(page, case, form, **previewed(page, form, case.ground))
    errors = {name: page.say(text, **values) for name, (text, values) in form.faults(case.ground).items()}
    if not page.typed("note"):
        errors["note"] = page.say(N_("Say why. It is kept with the case, and the ledger commits to it."))
    if errors:
        return _scope(page, case, form, errors)
    request = pb.ChangeCaseRequest(
        case_id=case.case_id, etag=page.typed("etag"), scope=form.scope(), note=page.typed("note")
    )
    try:
        page.line.legal.ChangeCase(request, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        return _scope(page, case, form, {"form": page.trouble(error).text})
    return page.go(f"/cases/{case.case_id}", page.say(N_("The scope is narrower now.")))


def _scope(page: Page, case: pb.Case, form: ScopeForm, errors: dict[str, str] | None = None, **more: Any) -> Response:
    return page.render(
        "scope.html",
        422 if errors else 200,
        case=case,
        scope=form,
        values={"ground": str(case.ground), "note": page.typed("note")},
        errors=errors or {},
        choices=choices(granted.field for granted in case.scope.fields),
        **({"preview": None, "missing": None} | more),
    )


def secrecy(page: Page) -> Response:
    """The form by which a case is hidden, and its secrecy prolonged or lifted."""
    return shown(page, template="secrecy.html")


def set_secrecy(page: Page) -> Response:
    """Hides, prolongs or lifts."""
    lift = page.typed("action") == "lift"
    place = "lift" if lift else "hide"
    until = "" if lift else page.typed("until")
    if not lift and not is_day(until):
        error = page.say(N_("Secrecy needs an end: give its last day."))
        return shown(page, "until", error, "secrecy.html")
    if not page.typed("reason"):
        return shown(
            page,
            place,
            page.say(N_("Say why. It is kept with the case, and the ledger commits to it.")),
            "secrecy.html",
        )
    request = pb.SetSecrecyRequest(
        case_id=page.path("case"), until=until, reason=page.typed("reason"), etag=page.typed("etag")
    )
    try:
        page.line.legal.SetSecrecy(request, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        trouble = page.trouble(error)
        if trouble.field == "until":
            place, told = "until", page.say(N_("Give a day from today to five years ahead."))
            return shown(page, place, told, "secrecy.html")
        return shown(page, place, trouble.text, "secrecy.html")
    notice = N_("The secrecy is lifted.") if lift else N_("The case is hidden until {until}.")
    return page.go(f"/cases/{page.path('case')}", page.say(notice, until=until))
