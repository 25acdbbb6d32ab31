"""A new request: the form, finding persons for it, the preview of its scope, and opening the case."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import grpc
from sluss.v1 import legal_pb2 as pb
from sluss_client.errors import from_rpc_error

from sluss_legal.dates import is_day
from sluss_legal.urgency import today
from sluss_legal.web.lines import DEADLINE_S, SEARCH_S
from sluss_legal.web.page import Page, read_file
from sluss_legal.web.scope_form import PERSON_ID, ScopeForm, choices
from sluss_legal.words import GROUNDS, N_

if TYPE_CHECKING:
    from starlette.responses import Response

TEXTS = (
    "requester.name",
    "requester.address",
    "requester.country",
    "requester.contact",
    "instrument.kind",
    "instrument.reference",
    "instrument.date",
    "received",
    "deadline",
    "handler",
    "note",
    "hidden_until",
    "secrecy_reason",
)
"""The form's text fields, named as in OpenCaseRequest, so that the broker's complaint finds its place."""
_NEEDED = TEXTS[:9]
_DAYS = ("instrument.date", "received", "deadline", "hidden_until")
_SCOPE = ("scope.persons", "scope.population", "scope.fields", "scope.collected_from", "scope.collected_until")
_COUNTRY_LETTERS = 2
FINDERS = {
    "name": N_("Name, or part of it"),
    "email": N_("E-mail address"),
    "phone": N_("Telephone number"),
    "customer_number": N_("Customer number"),
}


def blank(page: Page) -> Response:
    """The empty form."""
    values = dict.fromkeys(TEXTS, "") | {"received": today().isoformat(), "ground": "", "request_id": str(uuid.uuid4())}
    return _form(page, values, ScopeForm())


def submit(page: Page) -> Response:
    """What a button of the form does; whatever was typed is on the next page again."""
    values = {name: page.typed(name) for name in (*TEXTS, "ground", "request_id")}
    scope = ScopeForm.of_form(page.form)
    action = page.typed("action")
    if action == "default":  # the Enter key
        action = "find" if page.typed("find_value") else "preview"
    if action == "find":
        found = find(page)
        return _form(page, values, scope, **found)
    if action == "add":
        scope.add(str(person) for person in page.form.getlist("found"))
        return _form(page, values, scope)
    if action == "upload":
        return _form(page, values, scope, errors=upload(page, scope))
    if action == "preview":
        return _form(page, values, scope, **previewed(page, scope, ground_of(values["ground"])))
    return _open(page, values, scope)


def preview(page: Page) -> Response:
    """The live preview: the part of the page that HTMX asks for."""
    ground = ground_of(page.typed("ground"))
    return page.render("parts/preview.html", **previewed(page, ScopeForm.of_form(page.form), ground))


def previewed(page: Page, scope: ScopeForm, ground: pb.Ground.ValueType) -> dict[str, Any]:
    """What the scope would release, or what is missing for that."""
    faults = scope.faults(ground)
    if faults:
        return {"preview": None, "missing": [page.say(text, **values) for text, values in faults.values()]}
    request = pb.PreviewScopeRequest(scope=scope.scope(), ground=ground)
    try:
        return {"preview": page.line.legal.PreviewScope(request, timeout=DEADLINE_S), "missing": []}
    except grpc.RpcError as error:
        return {"preview": None, "missing": [page.trouble(error).text]}


def find(page: Page) -> dict[str, Any]:
    """Persons by what was typed, masked; or what is wrong with it."""
    by, value = page.typed("find_by"), page.typed("find_value")
    typed = {"find_by": by, "find_value": value}
    if by not in FINDERS or not value:
        return typed | {"errors": {"find_value": page.say(N_("Say whom to look for."))}}
    try:
        replies = list(page.line.legal.FindPersons(pb.FindPersonsRequest(**{by: value}), timeout=SEARCH_S))
    except grpc.RpcError as error:
        return typed | {"errors": {"find_value": page.trouble(error).text}}
    found = [person for reply in replies for person in reply.persons]
    return typed | {"found": found, "more": any(reply.more for reply in replies)}


def upload(page: Page, scope: ScopeForm) -> dict[str, str]:
    """Adds the ids of an uploaded file to the scope; what is wrong with the file, if anything."""
    file = read_file(page, "ids")
    if file is None:
        return {"ids": page.say(N_("Choose a file with person ids, one a line."))}
    ids = PERSON_ID.findall(file[2].decode("utf-8", "replace"))
    if not ids:
        return {"ids": page.say(N_("There is no person id in this file. An id looks like P-04CVZ6HGRM5PX."))}
    scope.add(ids)
    return {}


def ground_of(text: str) -> pb.Ground.ValueType:
    """The ground of the form; 0 if none was chosen."""
    return next((ground for ground in GROUNDS if str(ground) == text), pb.GROUND_UNSPECIFIED)


def faults(page: Page, values: dict[str, str], scope: ScopeForm) -> dict[str, str]:
    """What is wrong with the form before the broker is asked, by field."""
    errors = {
        name: page.say(text, **given) for name, (text, given) in scope.faults(ground_of(values["ground"])).items()
    }
    if not ground_of(values["ground"]):
        errors["ground"] = page.say(N_("Choose the ground of the request."))
    errors |= {name: page.say(N_("This is needed.")) for name in _NEEDED if not values[name]}
    for name in _DAYS:
        if values[name] and not is_day(values[name]):
            errors[name] = page.say(N_("Write the day as year-month-day, such as 2026-11-25."))
    country = values["requester.country"]
    if country and (len(country) != _COUNTRY_LETTERS or not country.isalpha()):
        errors["requester.country"] = page.say(N_("Two letters, such as SE."))
    for name in ("received", "instrument.date"):
        if name not in errors and values[name] > today().isoformat():
            errors[name] = page.say(N_("This day has not come yet."))
    if not {"received", "deadline"} & errors.keys() and values["deadline"] < values["received"]:
        errors["deadline"] = page.say(N_("The deadline is before the request arrived."))
    return errors | _secrecy_faults(page, values)


def _secrecy_faults(page: Page, values: dict[str, str]) -> dict[str, str]:
    until, reason = values["hidden_until"], values["secrecy_reason"]
    if until and not reason:
        return {"secrecy_reason": page.say(N_("Say why it is hidden."))}
    if reason and not until:
        return {"hidden_until": page.say(N_("Secrecy needs an end: give its last day."))}
    if until and is_day(until) and until < today().isoformat():
        return {"hidden_until": page.say(N_("This day has passed."))}
    return {}


def _open(page: Page, values: dict[str, str], scope: ScopeForm) -> Response:
    errors = faults(page, values, scope)
    if errors:
        return _form(page, values, scope, errors=errors)
    try:
        case = page.line.legal.OpenCase(_request(values, scope), timeout=DEADLINE_S).case
    except grpc.RpcError as error:
        trouble = page.trouble(error)
        place = place_of(trouble.field)
        detail = getattr(from_rpc_error(error), "detail", "")
        errors = {place: detail[:1].upper() + detail[1:] or trouble.text} if place else {"form": trouble.text}
        return _form(page, values, scope, errors=errors)
    return page.go(f"/cases/{case.case_id}", page.say(N_("Case {case} is open."), case=case.case_id))


def place_of(field: str) -> str:
    """The form's field for one that the broker complains of; empty if there is none."""
    known = (*TEXTS, *_SCOPE, "ground")
    exact = [name for name in known if field == name or field.startswith((f"{name}.", f"{name}["))]
    if exact:
        return max(exact, key=len)
    return "scope.persons" if field.startswith("scope.listed") else ""


def _request(values: dict[str, str], scope: ScopeForm) -> pb.OpenCaseRequest:
    return pb.OpenCaseRequest(
        request_id=values["request_id"],
        ground=ground_of(values["ground"]),
        requester=pb.Requester(
            name=values["requester.name"],
            address=values["requester.address"],
            country=values["requester.country"].upper(),
            contact=values["requester.contact"],
        ),
        instrument=pb.Instrument(
            kind=values["instrument.kind"],
            reference=values["instrument.reference"],
            date=values["instrument.date"],
        ),
        scope=scope.scope(),
        received=values["received"],
        deadline=values["deadline"],
        handler=values["handler"],
        note=values["note"],
        hidden_until=values["hidden_until"],
        secrecy_reason=values["secrecy_reason"],
    )


def _form(page: Page, values: dict[str, str], scope: ScopeForm, **more: Any) -> Response:
    shown = {
        "errors": {},
        "find_by": page.typed("find_by") or "name",
        "find_value": page.typed("find_value"),
        "found": None,
        "more": False,
        "preview": None,
        "missing": None,
    } | more
    status = 422 if shown["errors"] else 200
    return page.render("intake.html", status, values=values, scope=scope, choices=choices(), finders=FINDERS, **shown)
