"""Releasing what was approved, and recording what was released elsewhere."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import grpc
from sluss.v1 import legal_pb2 as pb
from sluss_client.errors import SlussClientError

from broker.errors import SlussError
from sluss_legal.dates import is_day
from sluss_legal.urgency import today
from sluss_legal.web.jobs import Job
from sluss_legal.web.lines import DEADLINE_S
from sluss_legal.web.page import Page, download
from sluss_legal.web.scope_form import PERSON_ID, ScopeForm, choices
from sluss_legal.words import MEDIA, N_

if TYPE_CHECKING:
    from starlette.responses import Response

MAX_ELSEWHERE = 256
"""Persons in one recorded release."""


def show(page: Page) -> Response:
    """Where the release of a case stands."""
    return _shown(page)


def _shown(page: Page, error: str = "") -> Response:
    case = page.get_case().case
    job = page.session.jobs.get(case.case_id)
    running = job is not None and job.running
    begun = case.state in {pb.CASE_STATE_APPROVED, pb.CASE_STATE_RELEASED}
    return page.render(
        "release.html",
        422 if error else 200,
        case=case,
        case_id=case.case_id,
        job=job,
        running=running,
        failure="" if running else failure(page, job),
        startable=begun and not (case.HasField("release") and case.release.complete),
        able=page.desk.releaser is not None,
        error=error,
    )


def progress(page: Page) -> Response:
    """The part of the page that HTMX asks for while a release runs."""
    job = page.session.jobs.get(page.path("case"))
    if job is None:
        return page.go(f"/cases/{page.path('case')}/release")
    # Looked at in this order: what has stopped has its failure by then.
    running = job.running
    why = "" if running else failure(page, job)
    part = page.render("parts/progress_box.html", job=job, case_id=job.case, running=running, failure=why)
    if not running:
        # The case has moved on: what else the page says of it is old.
        part.headers["HX-Refresh"] = "true"
    return part


def failure(page: Page, job: Job | None) -> str:
    """Why a release stopped, in plain words; empty if it did not."""
    error = job.failure if job else None
    if isinstance(error, (grpc.RpcError, SlussClientError, SlussError)):
        return page.trouble(error).text
    return page.say(N_("Something unforeseen happened. What left before is in the ledger.")) if error else ""


def start(page: Page) -> Response:
    """Starts the release in a thread, or resumes one that stopped."""
    case = page.get_case().case
    job = page.session.jobs.get(case.case_id)
    releaser, language = page.desk.releaser, page.typed("language") or page.tongue.language
    if releaser is not None and (job is None or not job.running):
        job = page.session.jobs[case.case_id] = Job(case.case_id)
        job.start(lambda started: releaser(page.line, case, language, started))
    return page.go(f"/cases/{case.case_id}/release")


def package(page: Page) -> Response:
    """The package, to save."""
    job = page.session.jobs.get(page.path("case"))
    if job is None or not job.package:
        return page.go(f"/cases/{page.path('case')}/release")
    return download(job.take_package(), "application/octet-stream", job.name)


def passphrase(page: Page) -> Response:
    """The passphrase, once."""
    job = page.session.jobs.get(page.path("case"))
    secret = job.take_passphrase() if job else ""
    return page.render("passphrase.html", case=page.get_case().case, passphrase=secret)


def elsewhere(page: Page) -> Response:
    """The form for a release made elsewhere."""
    return _elsewhere(page, {})


def record(page: Page) -> Response:
    """Records a release made elsewhere."""
    ids = ScopeForm(persons=page.typed("person_ids")).person_ids()
    errors = _faults(page, ids)
    if errors:
        return _elsewhere(page, errors)
    request = pb.RecordReleaseRequest(
        request_id=page.typed("request_id"),
        case_id=page.path("case"),
        released_on=page.typed("released_on"),
        person_ids=ids,
        fields=_fields(page),
        medium=page.typed("medium"),
        reason=page.typed("reason"),
        etag=page.typed("etag"),
    )
    try:
        page.line.legal.RecordRelease(request, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        trouble = page.trouble(error)
        place = trouble.field.partition("[")[0]
        return _elsewhere(page, {place if place in _PLACES else "form": trouble.text})
    return page.go(f"/cases/{page.path('case')}", page.say(N_("The release made elsewhere is recorded.")))


_PLACES = {"released_on", "person_ids", "fields", "medium", "reason"}


def _fields(page: Page) -> list[str]:
    return [name for name in page.form.getlist("field") if isinstance(name, str)]


def _faults(page: Page, ids: list[str]) -> dict[str, str]:
    errors = {}
    day = page.typed("released_on")
    if not is_day(day):
        errors["released_on"] = page.say(N_("Write the day as year-month-day, such as 2026-11-25."))
    elif day > today().isoformat():
        errors["released_on"] = page.say(N_("This day has not come yet."))
    if page.typed("medium") not in MEDIA:
        errors["medium"] = page.say(N_("Choose how it was released."))
    wrong = next((one for one in ids if not PERSON_ID.fullmatch(one)), None)
    if not ids:
        errors["person_ids"] = page.say(N_("Name at least one person."))
    elif wrong is not None:
        errors["person_ids"] = page.say(N_("“{id}” is no person id. An id looks like P-04CVZ6HGRM5PX."), id=wrong[:40])
    elif len(ids) > MAX_ELSEWHERE:
        errors["person_ids"] = page.say(N_("At most {most} persons at once."), most=MAX_ELSEWHERE)
    if not _fields(page):
        errors["fields"] = page.say(N_("Choose at least one field."))
    if not page.typed("reason"):
        errors["reason"] = page.say(N_("Say by whom and why it was released."))
    return errors


def _elsewhere(page: Page, errors: dict[str, str]) -> Response:
    case = page.get_case().case
    shown: dict[str, Any] = {
        "case": case,
        "errors": errors,
        "typed": page.typed,
        "choices": choices(),
        "chosen": set(_fields(page)) if page.form else {granted.field for granted in case.scope.fields},
        "request_id": page.typed("request_id") or str(uuid.uuid4()),
    }
    return page.render("elsewhere.html", 422 if errors else 200, **shown)
