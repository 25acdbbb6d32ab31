"""LegalService: every bad input gets its precise reason, and nothing is written but the refusal."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import grpc
import pytest
from sluss.v1 import contract_pb2, legal_pb2, legal_pb2_grpc

from broker.sealing import RecipientPrivateKey
from tests.integration.bad_input import (
    BELL,
    NUL,
    REQUEST_IDS,
    RLM,
    RLO,
    TIMEOUT_S,
    Row,
    check_refused,
    first_answer,
    ledger_size,
    new_id,
    open_book,
    refused,
    rows,
)

SERVICE = "/sluss.v1.LegalService/"
ANNA, BO, PRIVACY = "legal/anna", "legal/bo", "privacy/team"
UNALLOWED = ("subcontractor/acme", "operator/admin", "internal/import")
NOBODY = "P-0000000000001"
TOMORROW = (datetime.now(UTC).date() + timedelta(days=2)).isoformat()
YESTERDAY = (datetime.now(UTC).date() - timedelta(days=2)).isoformat()
CASE_IDS = (
    "",
    "L-2026-9999",
    "l-2026-0001",
    "C-2026-0001",
    "L" * 100_000,
    f"L-2026-0001{NUL}",
    f"{RLM}L-2026-0001",
    "L-\u0662\u0660\u0662\u0666-\u0660\u0660\u0660\u0661",
    "' OR 1=1",
)
DATES = ("2026", "2026-13-01", "2026-02-29", "20260101", "2026-1-1", "01/01/2026", "2026-W01-1", "0000-01-01",
         "10000-01-01", "2026-01-01T00:00:00Z", f"2026-01-01{NUL}", f"{RLM}2026-01-01", "x" * 100_000)  # fmt: skip
TEXTS = {
    "too-long": "x" * 2_001,
    "a-megabyte": "x" * 1_000_000,
    "nul": f"be{NUL}cause",
    "bell": f"be{BELL}cause",
    "newline": "be\ncause",
    "right-to-left-override": f"{RLO}because",
    "right-to-left-mark": f"because{RLM}",
    "blank": "   ",
    "invisible": "be\u200bcause",
}
KEY = RecipientPrivateKey.generate().public()
SUITE = legal_pb2.RecipientKey(suite=KEY.suite, public_key=KEY.data)


# --- the world ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Cases in several states, and a stub per caller."""
    with open_book(tmp_path_factory.mktemp("broker")) as broker:
        people = [broker.register(email=f"p{n}@example.com", name__given="Åsa") for n in range(3)]
        stubs = {
            name: legal_pb2_grpc.LegalServiceStub(broker.channel(name)) for name in (ANNA, BO, PRIVACY, *UNALLOWED)
        }
        found = SimpleNamespace(broker=broker, people=people, stubs=stubs, ledger=broker.ledger(), cases={})
        for name in ("open", "other", "rejected", "closed", "prepared", "released", "package"):
            found.cases[name] = stubs[ANNA].OpenCase(good_case(found), timeout=TIMEOUT_S).case.case_id
        move(found, "rejected", legal_pb2.CASE_STEP_REJECT)
        move(found, "closed", legal_pb2.CASE_STEP_CLOSE)
        for name in ("prepared", "released", "package"):
            deliver(found, name)
            move(found, name, legal_pb2.CASE_STEP_REVIEW)
            move(found, name, legal_pb2.CASE_STEP_PREPARE)
        for name in ("released", "package"):
            move(found, name, legal_pb2.CASE_STEP_APPROVE, who=BO)
        release = legal_pb2.ReleaseRequest(request_id=new_id(), case_id=found.cases["released"])
        found.cursor = list(stubs[ANNA].Release(release, timeout=TIMEOUT_S))[-1].cursor
        found.cases["hidden"] = (
            stubs[ANNA]
            .OpenCase(good_case(found, hidden_until=TOMORROW, secrecy_reason="an investigation"), timeout=TIMEOUT_S)
            .case.case_id
        )
        found.sealed = ledger_size(found.ledger) - 1
        yield found


def good_scope(world, people=None, fields=(("email", "full"),), **changes):
    listed = legal_pb2.CasePersons(person_ids=world.people[:2] if people is None else people)
    granted = [contract_pb2.FieldGrant(field=name, transform=form) for name, form in fields]
    return legal_pb2.Scope(**{"listed": listed, "fields": granted, **changes})


def good_case(world, **changes):
    requester = legal_pb2.Requester(name="Polisen", address="Box 1, Stockholm", country="SE", contact="a@example.org")
    given = {
        "request_id": new_id(),
        "ground": legal_pb2.GROUND_LAW_OR_PROCESS,
        "requester": requester,
        "instrument": legal_pb2.Instrument(kind="warrant", reference="B 1-26", date=YESTERDAY),
        "scope": good_scope(world),
        "received": YESTERDAY,
        "deadline": TOMORROW,
    }
    return legal_pb2.OpenCaseRequest(**{**given, **{k: v(world) if callable(v) else v for k, v in changes.items()}})


def etag(world, name):
    return shown(world, name).etag


def shown(world, name):
    request = legal_pb2.GetCaseRequest(case_id=world.cases[name])
    return world.stubs[ANNA].GetCase(request, timeout=TIMEOUT_S).case


def move(world, name, step, who=ANNA):
    request = legal_pb2.StepCaseRequest(case_id=world.cases[name], step=step, reason="because", etag=etag(world, name))
    world.stubs[who].StepCase(request, timeout=TIMEOUT_S)


def deliver(world, name):
    how = {"package": True} if name == "package" else {"key": SUITE}
    delivery = legal_pb2.Delivery(retain_until=TOMORROW, **how)
    request = legal_pb2.ChangeCaseRequest(case_id=world.cases[name], etag=etag(world, name), delivery=delivery)
    world.stubs[ANNA].ChangeCase(request, timeout=TIMEOUT_S)


GOOD = {
    "OpenCase": lambda _world: {},
    "GetCase": lambda world: {"case_id": world.cases["open"]},
    "ListCases": lambda _world: {},
    "StepCase": lambda world: {
        "case_id": world.cases["open"],
        "step": legal_pb2.CASE_STEP_REVIEW,
        "reason": "because",
        "etag": etag(world, "open"),
    },
    "ChangeCase": lambda world: {"case_id": world.cases["open"], "etag": etag(world, "open"), "note": "a note"},
    "AddDocument": lambda world: {
        "case_id": world.cases["open"],
        "name": "order.pdf",
        "media_type": "application/pdf",
        "content": b"%PDF",
    },
    "GetDocument": lambda world: {"case_id": world.cases["open"], "number": 1},
    "SetSecrecy": lambda world: {
        "case_id": world.cases["open"],
        "until": TOMORROW,
        "reason": "because",
        "etag": etag(world, "open"),
    },
    "FindPersons": lambda _world: {"name": "Åsa"},
    "PreviewScope": lambda world: {"scope": good_scope(world), "ground": legal_pb2.GROUND_LAW_OR_PROCESS},
    "Release": lambda world: {"request_id": new_id(), "case_id": world.cases["released"]},
    "RecordRelease": lambda world: {
        "request_id": new_id(),
        "case_id": world.cases["open"],
        "released_on": YESTERDAY,
        "person_ids": world.people[:1],
        "fields": ["email"],
        "medium": "paper",
        "reason": "by letter",
        "etag": etag(world, "open"),
    },
    "ListRecipients": lambda world: {"person_id": world.people[0]},
    "GetTransparencyReport": lambda _world: {"first_day": YESTERDAY, "last_day": TOMORROW},
    "GetOpening": lambda world: {"index": world.sealed},
}


def asked(world, method, changes):
    """A good request of a method, changed; what is callable is made of the world."""
    if method == "OpenCase":
        return good_case(world, **changes)
    given = {**GOOD[method](world), **{k: v(world) if callable(v) else v for k, v in changes.items()}}
    return getattr(legal_pb2, f"{method}Request")(**given)


# --- the table ------------------------------------------------------------------------------------------


class Bad(Row):
    """A row of a method of the service; the row's name says which."""

    @property
    def method(self):
        return self.name.split("-")[0]


def bad(method, name, field, reason="INVALID_REQUEST", /, *, who=ANNA, logged=False, **request):
    return Bad(f"{method}-{name}", reason, request, {"field": field} if field else {}, field, who, logged)


def scope_with(**changes):
    return lambda world: good_scope(world, **changes)


def predicates(*pairs, **changes):
    listed = [contract_pb2.Predicate(field=name, values=values) for name, values in pairs]
    population = contract_pb2.Population(predicates=contract_pb2.PredicateList(predicates=listed))
    return lambda _world: legal_pb2.Scope(population=population, fields=[grant()], **changes)


def grant(field="email", transform="full"):
    return contract_pb2.FieldGrant(field=field, transform=transform)


def requester(**changes):
    good = {"name": "Polisen", "address": "Box 1", "country": "SE", "contact": "a@example.org"}
    return legal_pb2.Requester(**{**good, **changes})


def instrument(**changes):
    return legal_pb2.Instrument(**{"kind": "warrant", "reference": "B 1-26", "date": YESTERDAY, **changes})


EVERYONE = legal_pb2.Scope(population=contract_pb2.Population(everyone=True), fields=[grant()])
MERGER = legal_pb2.GROUND_MERGER_OR_SALE


def scopes(method, field="scope", **extra):
    """Bad scopes, for each method that takes one."""
    many = [f"P-{n:013d}" for n in range(1, 10_002)]
    made = {
        "none": (f"{field}.persons", legal_pb2.Scope(fields=[grant()])),
        "0-persons": (f"{field}.persons", scope_with(people=[])),
        "10001-persons": (f"{field}.persons", scope_with(people=many)),
        "a-person-twice": (f"{field}.persons", lambda world: good_scope(world, people=world.people[:1] * 2)),
        "no-id": (f"{field}.persons", scope_with(people=["4711"])),
        "a-small-id": (f"{field}.persons", lambda world: good_scope(world, people=[world.people[0].lower()])),
        "an-id-with-a-mark": (f"{field}.persons", lambda world: good_scope(world, people=[world.people[0] + RLM])),
        "no-fields": (f"{field}.fields", scope_with(fields=[])),
        "65-fields": (f"{field}.fields", scope_with(fields=[("email", "full")] * 65)),
        "a-field-twice": (f"{field}.fields", scope_with(fields=[("email", "full"), ("email", "masked")])),
        "ends-before-it-begins": (
            f"{field}.collected_until",
            scope_with(collected_from="2026-01-02", collected_until="2026-01-01"),
        ),
        "a-population-on-another-ground": (f"{field}.population", EVERYONE),
        **{
            f"{name}-{n}": (f"{field}.{name}", scope_with(**{name: text}))
            for name in ("collected_from", "collected_until")
            for n, text in enumerate(DATES)
        },
    }
    return [bad(method, f"scope-{name}", place, scope=scope, **extra) for name, (place, scope) in made.items()]


def bad_fields(method, **extra):
    """Fields and forms that there are not."""
    unknown = [("unknown", "shoe_size"), ("empty", ""), ("nul", f"email{NUL}"), ("long", "x" * 100_000)]
    return [
        *(
            bad(method, f"field-{name}", None, "FIELD_UNKNOWN", logged=True,
                scope=scope_with(fields=[(text, "full")]), **extra)
            for name, text in unknown
        ),
        *(
            bad(method, f"form-{n}", "scope.fields", "INVALID_TERMS",
                scope=scope_with(fields=[("email", text)]), **extra)
            for n, text in enumerate(["", "FULL", "last4", "x" * 100_000, f"full{RLM}"])
        ),
    ]  # fmt: skip


def populations(method):
    return [
        bad(method, "a-population-of-nobody", "scope.population", "INVALID_TERMS", ground=MERGER,
            scope=legal_pb2.Scope(population=contract_pb2.Population(), fields=[grant()])),
        bad(method, "no-predicates", "scope.population", ground=MERGER, scope=predicates()),
        bad(method, "9-predicates", "scope.population", ground=MERGER,
            scope=predicates(*[("address.country", ["SE"])] * 9)),
        bad(method, "a-predicate-twice", "scope.population", ground=MERGER,
            scope=predicates(*[("address.country", ["SE"])] * 2)),
        bad(method, "a-financial-predicate", "scope.population", ground=MERGER,
            scope=predicates(("payment.iban", ["SE4550000000058398257466"]))),
        bad(method, "a-predicate-without-values", "scope.population", ground=MERGER,
            scope=predicates(("address.country", []))),
        bad(method, "persons-in-the-population", "scope.population", ground=MERGER, scope=lambda world: legal_pb2.Scope(
            population=contract_pb2.Population(persons=contract_pb2.PersonList(person_ids=world.people)),
            fields=[grant()])),
    ]  # fmt: skip


def texts(method, field, make=lambda text: text, most=2_000, **extra):
    """Bad texts in a field; `make` puts one into the request's member."""
    given = {**TEXTS, "too-long": "x" * (most + 1)}
    member = field.split(".")[0]
    return [bad(method, f"{field}-{name}", field, **{member: make(text)}, **extra) for name, text in given.items()]


OPEN = [
    *(bad("OpenCase", f"request_id-{n}", "request_id", request_id=text) for n, text in enumerate(REQUEST_IDS)),
    *(bad("OpenCase", f"ground-{value}", "ground", ground=value) for value in (0, 5, 4711)),
    *scopes("OpenCase"),
    *bad_fields("OpenCase"),
    *populations("OpenCase"),
    *(row for name in ("name", "address", "contact")
      for row in texts("OpenCase", f"requester.{name}", lambda text, name=name: requester(**{name: text}), 300)),
    *(bad("OpenCase", f"requester-no-{name}", f"requester.{name}", requester=requester(**{name: ""}))
      for name in ("name", "address", "contact")),
    *(bad("OpenCase", f"country-{n}", "requester.country", requester=requester(country=text))
      for n, text in enumerate(["", "se", "XX", "SWE", "S", f"SE{NUL}", "x" * 100_000, "\uff33\uff25"])),
    *(bad("OpenCase", f"kind-{n}", "instrument.kind", instrument=instrument(kind=text))
      for n, text in enumerate(["", "Warrant", "letter", f"warrant{RLM}", "x" * 100_000])),
    *texts("OpenCase", "instrument.reference", lambda text: instrument(reference=text), 100),
    bad("OpenCase", "no-reference", "instrument.reference", instrument=instrument(reference="")),
    *(bad("OpenCase", f"instrument-date-{n}", "instrument.date", instrument=instrument(date=text))
      for n, text in enumerate(["", TOMORROW, *DATES])),
    *(bad("OpenCase", f"received-{n}", "received", received=text) for n, text in enumerate(["", TOMORROW, *DATES])),
    *(bad("OpenCase", f"deadline-{n}", "deadline", deadline=text) for n, text in enumerate(["", "2020-01-01", *DATES])),
    *(bad("OpenCase", f"hidden_until-{n}", "hidden_until", hidden_until=text, secrecy_reason="so")
      for n, text in enumerate([YESTERDAY, "2099-01-01", "9999-12-31", *DATES])),
    bad("OpenCase", "hidden-without-a-reason", "secrecy_reason", hidden_until=TOMORROW),
    bad("OpenCase", "a-reason-without-an-end", "hidden_until", secrecy_reason="so"),
    *texts("OpenCase", "secrecy_reason", hidden_until=TOMORROW),
    *texts("OpenCase", "note"),
    *(bad("OpenCase", f"handler-{n}", "handler", handler=text)
      for n, text in enumerate(["anna", "operator/admin", "legal/", "legal/Anna", f"legal/anna{RLM}", "x" * 100_000])),
    Bad("OpenCase-a-person-not-on-record", "PERSON_UNKNOWN",
        {"scope": lambda world: good_scope(world, people=[*sorted(world.people, reverse=True), NOBODY])},
        {"position": "3"}, None, ANNA, False),
    Bad("OpenCase-the-second-person-not-on-record", "PERSON_UNKNOWN",
        {"scope": lambda world: good_scope(world, people=[world.people[0], NOBODY, world.people[1]])},
        {"position": "1"}, None, ANNA, False),
]  # fmt: skip


def case_ids(method):
    return [bad(method, f"case_id-{n}", None, "CASE_UNKNOWN", case_id=text) for n, text in enumerate(CASE_IDS)]


def etags(method):
    return [
        bad(method, f"etag-{n}", None, "ETAG_STALE", etag=text)
        for n, text in enumerate(["", "0", "4711", "01", f"1{NUL}", "x" * 100_000])
    ]


def in_case(name):
    """Fields of a request about another case."""
    return {"case_id": lambda world: world.cases[name], "etag": lambda world: etag(world, name)}


STEP = [
    *case_ids("StepCase"),
    *etags("StepCase"),
    *(bad("StepCase", f"step-{value}", "step", step=value) for value in (0, 11, 4711)),
    *texts("StepCase", "reason"),
    bad("StepCase", "no-reason", "reason", reason=""),
    *(bad("StepCase", f"wrong-state-{name}", None, "CASE_WRONG_STATE", logged=True, step=step, **in_case(name))
      for name, step in (("closed", legal_pb2.CASE_STEP_REVIEW), ("rejected", legal_pb2.CASE_STEP_APPROVE),
                         ("open", legal_pb2.CASE_STEP_PREPARE), ("open", legal_pb2.CASE_STEP_CONFIRM),
                         ("released", legal_pb2.CASE_STEP_REJECT))),
    bad("StepCase", "own-approval", None, "SECOND_PERSON_NEEDED", logged=True,
        step=legal_pb2.CASE_STEP_APPROVE, **in_case("prepared")),
    bad("StepCase", "an-emergency-on-another-ground", None, "CASE_WRONG_STATE", logged=True,
        step=legal_pb2.CASE_STEP_EMERGENCY, **in_case("prepared")),
]  # fmt: skip
STEP = [row for n, row in enumerate(STEP) if row.name not in {other.name for other in STEP[:n]}]


def wider(what, scope):
    return Bad(f"ChangeCase-wider-{what}", "SCOPE_WIDENED", {"scope": scope}, {"field": f"scope.{what}"}, None, ANNA)


CHANGE = [
    *case_ids("ChangeCase"),
    *etags("ChangeCase"),
    *[row for row in scopes("ChangeCase") if row.name != "ChangeCase-scope-10001-persons"],
    *bad_fields("ChangeCase"),
    wider("persons", lambda world: good_scope(world, people=world.people)),
    wider("fields", scope_with(fields=[("phone", "full")])),
    bad("ChangeCase", "nothing", "note", note=""),
    *texts("ChangeCase", "note"),
    *(bad("ChangeCase", f"deadline-{n}", "deadline", deadline=text) for n, text in enumerate(["2020-01-01", *DATES])),
    *(bad("ChangeCase", f"handler-{n}", "handler", handler=text) for n, text in enumerate(["anna", "privacy/team"])),
    bad("ChangeCase", "no-delivery", "delivery", delivery=legal_pb2.Delivery(retain_until=TOMORROW)),
    bad("ChangeCase", "no-package", "delivery", delivery=legal_pb2.Delivery(package=False, retain_until=TOMORROW)),
    *(bad("ChangeCase", f"retain_until-{n}", "delivery.retain_until",
          delivery=legal_pb2.Delivery(package=True, retain_until=text))
      for n, text in enumerate(["", YESTERDAY, *DATES])),
    *(bad("ChangeCase", f"key-{n}", "delivery.key",
          delivery=legal_pb2.Delivery(retain_until=TOMORROW, key=legal_pb2.RecipientKey(suite=suite, public_key=data)))
      for n, (suite, data) in enumerate([(0, KEY.data), (99, KEY.data), (KEY.suite, b""), (KEY.suite, KEY.data[:-1]),
                                         (KEY.suite, KEY.data + b"x"), (KEY.suite, bytes(1_000_000))])),
    bad("ChangeCase", "a-closed-case", None, "CASE_WRONG_STATE", logged=True, **in_case("closed")),
    bad("ChangeCase", "the-scope-of-a-released-case", None, "CASE_WRONG_STATE", logged=True,
        scope=scope_with(), **in_case("released")),
]  # fmt: skip

DOCUMENTS = [
    *case_ids("AddDocument"),
    *texts("AddDocument", "name", most=200),
    *(bad("AddDocument", f"name-{n}", "name", name=text)
      for n, text in enumerate(["", "a/b", "..", ".", "a\\b", "/etc/passwd"])),
    *(bad("AddDocument", f"media_type-{n}", "media_type", media_type=text)
      for n, text in enumerate(["", "pdf", "/", "application/", "/pdf", "a/b/c", "text/html\n", f"text/{RLM}html",
                                "text/html; x=y", f"application/{'x' * 200}", "x" * 100_000])),
    bad("AddDocument", "no-content", "content", content=b""),
    bad("AddDocument", "16-MiB-and-a-byte", "content", content=bytes((16 << 20) + 1)),
    bad("AddDocument", "a-closed-case", None, "CASE_WRONG_STATE", logged=True,
        case_id=lambda world: world.cases["closed"]),
    *case_ids("GetDocument"),
    *(bad("GetDocument", f"number-{n}", None, "CASE_UNKNOWN", number=number)
      for n, number in enumerate([0, 4711, 2**31 - 1, 2**31, 2**32 - 1])),
]  # fmt: skip

SECRECY = [
    *case_ids("SetSecrecy"),
    *etags("SetSecrecy"),
    *texts("SetSecrecy", "reason"),
    bad("SetSecrecy", "no-reason", "reason", reason=""),
    *(
        bad("SetSecrecy", f"until-{n}", "until", until=text)
        for n, text in enumerate([YESTERDAY, "2099-01-01", "9999-12-31", *DATES])
    ),
    bad("SetSecrecy", "nothing-to-lift", None, "CASE_WRONG_STATE", logged=True, until=""),
    bad("SetSecrecy", "not-shorter", "until", **{**in_case("hidden"), "until": datetime.now(UTC).date().isoformat()}),
    bad("SetSecrecy", "not-the-same-day", "until", **{**in_case("hidden"), "until": TOMORROW}),
]

PERSONS = [
    bad("FindPersons", "by-nothing", "by", name=None),
    *(bad("FindPersons", f"name-{n}", "name", name=text)
      for n, text in enumerate(["", "a", " a ", "x" * 201, "x" * 1_000_000, f"as{NUL}a", f"as{BELL}a", f"{RLO}asa",
                                f"asa{RLM}", "\u0301\u0301", "   "])),
    *(bad("FindPersons", f"email-{n}", "email", "INVALID_VALUE", name=None, email=text)
      for n, text in enumerate(["", "a", "a@b@c", f"a@example.com{NUL}", f"{RLM}a@example.com", "x" * 100_000])),
    *(bad("FindPersons", f"phone-{n}", "phone", "INVALID_VALUE", name=None, phone=text)
      for n, text in enumerate(["", "08-123", "+", "+46 70", "x" * 100_000])),
    *(bad("FindPersons", f"customer_number-{n}", "customer_number", "INVALID_VALUE", name=None, customer_number=text)
      for n, text in enumerate(["", f"K{NUL}", "x" * 100_000])),
    *scopes("PreviewScope"),
    *bad_fields("PreviewScope"),
    *populations("PreviewScope"),
    *(bad("PreviewScope", f"ground-{value}", "ground", ground=value) for value in (0, 5, 4711)),
]  # fmt: skip

RELEASES = [
    *case_ids("Release"),
    *(bad("Release", f"request_id-{n}", "request_id", request_id=text) for n, text in enumerate(REQUEST_IDS)),
    bad("Release", "a-key-where-none-belongs", "package_key", package_key=SUITE),
    bad("Release", "a-package-without-a-key", "package_key", case_id=lambda world: world.cases["package"]),
    bad("Release", "a-package-with-half-a-key", "package_key", case_id=lambda world: world.cases["package"],
        package_key=legal_pb2.RecipientKey(suite=KEY.suite, public_key=KEY.data[:16])),
    bad("Release", "not-approved", None, "CASE_WRONG_STATE", logged=True,
        case_id=lambda world: world.cases["prepared"]),
    bad("Release", "not-delivered", None, "CASE_WRONG_STATE", logged=True,
        case_id=lambda world: world.cases["open"]),
    *(bad("Release", f"resume_after-{n}", "resume_after", resume_after=text)
      for n, text in enumerate(["x", "0", "0,0,0", "x" * 100_000, f"a{NUL}", "\u0660"])),
    bad("Release", "the-cursor-of-another-case", "resume_after", resume_after=lambda world: world.cursor,
        case_id=lambda world: world.cases["package"], package_key=SUITE),
    bad("Release", "seen_size", "seen_size", seen_size=2**64 - 1),
    *(bad("RecordRelease", f"request_id-{n}", "request_id", request_id=text) for n, text in enumerate(REQUEST_IDS)),
    *case_ids("RecordRelease"),
    *etags("RecordRelease"),
    *(bad("RecordRelease", f"released_on-{n}", "released_on", released_on=text)
      for n, text in enumerate(["", TOMORROW, *DATES])),
    bad("RecordRelease", "0-persons", "person_ids", person_ids=[]),
    bad("RecordRelease", "257-persons", "person_ids", person_ids=[f"P-{n:013d}" for n in range(1, 258)]),
    bad("RecordRelease", "a-person-twice", "person_ids", person_ids=lambda world: world.people[:1] * 2),
    bad("RecordRelease", "no-person", "person_ids", person_ids=["somebody"]),
    Bad("RecordRelease-a-person-not-on-record", "PERSON_UNKNOWN",
        {"person_ids": lambda world: [world.people[0], NOBODY]}, {"position": "1"}, None, ANNA, False),
    bad("RecordRelease", "no-fields", "fields", fields=[]),
    bad("RecordRelease", "65-fields", "fields", fields=[f"f{n}" for n in range(65)]),
    bad("RecordRelease", "a-field-twice", "fields", fields=["email", "email"]),
    bad("RecordRelease", "an-unknown-field", None, "FIELD_UNKNOWN", logged=True, fields=["shoe_size"]),
    *(bad("RecordRelease", f"medium-{n}", "medium", medium=text)
      for n, text in enumerate(["", "Paper", "fax", f"paper{RLM}", "x" * 100_000])),
    *texts("RecordRelease", "reason"),
    bad("RecordRelease", "no-reason", "reason", reason=""),
    bad("RecordRelease", "a-rejected-case", None, "CASE_WRONG_STATE", logged=True, **in_case("rejected")),
]  # fmt: skip

READING = [
    *case_ids("GetCase"),
    *(bad("ListCases", f"states-{n}", "states", states=values) for n, values in enumerate([[0], [9], [1, 4711]])),
    *(bad("ListCases", f"handler-{n}", "handler", handler=text)
      for n, text in enumerate(["anna", "operator/admin", f"legal/anna{NUL}", "x" * 100_000])),
    *(bad("ListCases", f"ground-{value}", "ground", ground=value) for value in (5, 4711)),
    *(bad("ListCases", f"page_size-{n}", "page_size", page_size=value) for n, value in enumerate([201, 2**32 - 1])),
    *(bad("ListRecipients", f"page_size-{n}", "page_size", page_size=value)
      for n, value in enumerate([501, 2**32 - 1])),
    *(bad(method, f"page_token-{n}", "page_token", page_token=text)
      for method in ("ListCases", "ListRecipients")
      for n, text in enumerate(["x", "0", "AAAA", "x" * 100_000, f"a{NUL}", "\u0660"])),
    *(bad("ListRecipients", f"person_id-{n}", "person_id", person_id=text)
      for n, text in enumerate(["", "P-1", "p-0000000000001", f"{NOBODY}{NUL}", f"{RLM}{NOBODY}", "x" * 100_000])),
    bad("ListRecipients", "nobody", None, "PERSON_UNKNOWN", person_id=NOBODY),
    *(bad(method, f"{name}-{n}", name, **{name: text})
      for method in ("ListRecipients", "GetTransparencyReport") for name in ("first_day", "last_day")
      for n, text in enumerate(DATES)),
    *(bad("GetTransparencyReport", f"no-{name}", name, **{name: ""}) for name in ("first_day", "last_day")),
    *(bad(method, "ends-before-it-begins", "last_day", first_day="2026-01-02", last_day="2026-01-01")
      for method in ("ListRecipients", "GetTransparencyReport")),
    *(bad("GetOpening", f"index-{n}", None, "ENTRY_UNKNOWN", index=index)
      for n, index in enumerate([0, 1 << 40, 2**53, 2**63 - 1, 2**63, 2**64 - 1])),
    *(bad("GetOpening", f"while-hidden-{n}", None, "ENTRY_UNKNOWN", who=PRIVACY, index=index)
      for n, index in enumerate([0, lambda world: world.sealed])),
    bad("GetTransparencyReport", "hidden-cases-for-the-privacy-team", None, "ROLE_NOT_ALLOWED", who=PRIVACY,
        logged=True, include_hidden=True),
]  # fmt: skip

ROLES = [
    *(bad(method, f"role-{who.split('/')[0]}", None, "ROLE_NOT_ALLOWED", who=who, logged=True)
      for method in GOOD for who in UNALLOWED),
    *(bad(method, "role-privacy", None, "ROLE_NOT_ALLOWED", who=PRIVACY, logged=True)
      for method in GOOD if method not in ("ListRecipients", "GetTransparencyReport", "GetOpening")),
]  # fmt: skip


@rows([*OPEN, *STEP, *CHANGE, *DOCUMENTS, *SECRECY, *PERSONS, *RELEASES, *READING, *ROLES])
def test_bad_input_is_refused_by_name_and_leaves_nothing(world, row):
    request = asked(world, row.method, row.request)
    before = cases(world)
    check_refused(world.ledger, row, getattr(world.stubs[row.who], row.method), f"{SERVICE}{row.method}", request)
    assert cases(world) == before


def cases(world):
    """Every case, whole, as the legal team sees it; a cursor is sealed anew each time."""
    found = world.stubs[ANNA].ListCases(legal_pb2.ListCasesRequest(page_size=200), timeout=TIMEOUT_S)
    for case in found.cases:
        case.release.cursor = ""
    return list(found.cases)


# --- what needs two calls -------------------------------------------------------------------------------


def test_every_method_is_in_the_table_and_its_good_request_is_taken(world):
    methods = {method.name for method in legal_pb2.DESCRIPTOR.services_by_name["LegalService"].methods}
    assert methods == set(GOOD)
    for method in ("AddDocument", *(name for name in GOOD if name not in ("AddDocument", "SetSecrecy"))):
        first_answer(getattr(world.stubs[ANNA], method), asked(world, method, {}))


@pytest.mark.parametrize("method", ["OpenCase", "RecordRelease"])
def test_a_request_id_that_was_used_with_another_body_is_refused(world, method):
    request = asked(world, method, {})
    first_answer(getattr(world.stubs[ANNA], method), request)
    if method == "OpenCase":
        request.note = "another"
    else:
        request.reason, request.etag = "by another letter", etag(world, "open")
    size = ledger_size(world.ledger)
    assert refused(getattr(world.stubs[ANNA], method), request).reason == "REQUEST_ID_REUSED"
    assert ledger_size(world.ledger) == size


@pytest.mark.parametrize(
    ("method", "changes"),
    [("ListCases", {"handler": ANNA}), ("ListCases", {"ground": 1}), ("ListCases", {"states": [1]}),
     ("ListRecipients", {"first_day": "2020-01-01"}), ("ListRecipients", {"last_day": TOMORROW}),
     ("ListRecipients", {"person_id": lambda world: world.people[1]})],
)  # fmt: skip
def test_a_page_token_is_good_for_its_filter_only(world, method, changes):
    for _ in range(2):
        record = asked(world, "RecordRelease", {})
        world.stubs[ANNA].RecordRelease(record, timeout=TIMEOUT_S)
    page = first_answer(getattr(world.stubs[ANNA], method), asked(world, method, {"page_size": 1}))
    assert page.next_page_token
    request = asked(world, method, {"page_size": 1, "page_token": page.next_page_token, **changes})
    told = refused(getattr(world.stubs[ANNA], method), request)
    assert (told.reason, told.violations) == ("INVALID_REQUEST", ["page_token"])


def test_a_document_of_16_mib_comes_back_as_it_was(world):
    content = bytes(range(256)) * (1 << 16)
    request = asked(world, "AddDocument", {"content": content})
    document = world.stubs[ANNA].AddDocument(request, timeout=TIMEOUT_S).document
    found = legal_pb2.GetDocumentRequest(case_id=world.cases["open"], number=document.number)
    assert world.stubs[ANNA].GetDocument(found, timeout=TIMEOUT_S).content == content


def test_what_is_larger_than_a_message_is_refused_by_grpc(world):
    request = asked(world, "AddDocument", {"content": bytes(33 << 20)})
    with pytest.raises(grpc.RpcError) as caught:
        world.stubs[ANNA].AddDocument(request, timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_secrecy_never_reaches_further_than_five_years(world):
    far = date.today() + timedelta(days=5 * 366 + 1)  # noqa: DTZ011 - a day more or less does not matter here
    told = refused(world.stubs[ANNA].SetSecrecy, asked(world, "SetSecrecy", {"until": (far).isoformat()}))
    assert told.violations == ["until"]
