"""LegalService over real gRPC: finding persons, previews, documents, pages, openings, the report, emergencies."""

from __future__ import annotations

import time
import unicodedata
from types import SimpleNamespace

import grpc
import pytest
from sluss.v1 import contract_pb2, legal_pb2, person_pb2

from broker.ledger import entry
from broker.ledger.receipt import parse_receipt, verify_receipt
from tests.faults.siege import info, verifier_of
from tests.support.broker import BrokerProcess
from tests.support.legal_callers import ANNA, BO, PRIVACY, Team, in_days

GIVEN = ("Åsa", "Zoë", "Jörg", "Đặng", "Łukasz", "Anna", "Weiß", "İpek")
FAMILY = ("Ek", "Öberg", "Nuñez", "Strauß", "van der Berg", "ANDERSSON", "O'Brien")
COUNTRIES = ("SE", "NO", "DE")
PEOPLE = 3_000


def values_of(n):
    """The values of the n-th person; not everybody has all of them."""
    found = {"customer_number": f"F-{n:05d}", "email": f"f{n}@example.com", "name.given": GIVEN[n % 8]}
    if n % 3:
        found["name.family"] = FAMILY[n % 7]
    if n % 5 == 0:
        found["name.display"] = f"{FAMILY[n % 7]} {n} {GIVEN[n % 8]}"
    if n % 4:
        found["address.country"] = COUNTRIES[n % 3]
    if n % 11 == 0:
        found["payment.iban"] = "SE4550000000058398257466"
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A broker with thousands of persons: (team, person id -> values)."""
    environment = {"SLUSS_EMERGENCY_CONFIRM_S": "1"}
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home", environment=environment) as broker:
        rows = [
            person_pb2.ImportRow(
                line=n + 1,
                values=[person_pb2.FieldValue(field=name, value=text) for name, text in values_of(n).items()],
            )
            for n in range(PEOPLE)
        ]
        batches = [
            person_pb2.ImportPersonsRequest(source="registration", rows=rows[start : start + 500])
            for start in range(0, PEOPLE, 500)
        ]
        results = [found for answer in broker.persons().ImportPersons(iter(batches), timeout=120)
                   for found in answer.results]  # fmt: skip
        people = {found.person_id: values_of(n) for n, found in enumerate(results)}
        assert len(people) == PEOPLE
        yield SimpleNamespace(broker=broker, team=Team(broker), people=people)


@pytest.fixture
def team(world):
    return world.team


# --- finding persons ------------------------------------------------------------------------------------


def plain(text):
    """A reader's idea of a name without case and accents."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return bare.casefold()


def named(world, wanted):
    """Persons with a name that has the text in it, by looking at each."""
    found = set()
    for person, values in world.people.items():
        both = " ".join(values[name] for name in ("name.given", "name.family") if name in values)
        if plain(wanted) in plain(values.get("name.display", "")) or plain(wanted) in plain(both):
            found.add(person)
    return found


@pytest.mark.parametrize(
    "wanted",
    ["asa oberg", "ÅSA ÖBERG", "zoe", "nunez", "Strauss", "weiss VAN DER", "o'brien", "ipek ek", "berg 2", "nobody",
     "Zoe\u0308 Ek", "  jorg   andersson "],
)  # fmt: skip
def test_a_name_is_found_whatever_its_case_and_accents(world, team, wanted):
    messages = list(team.call("FindPersons", name=wanted))
    found = [each for message in messages for each in message.persons]
    expected = named(world, " ".join(wanted.split()))
    if len(expected) <= 1_000:
        assert {each.person_id for each in found} == expected
        assert not messages[-1].more
        assert messages[-1].done == messages[-1].total == PEOPLE
    assert len({each.person_id for each in found}) == len(found)
    told = [message.done for message in messages]
    assert told == sorted(told)


def test_a_name_that_too_many_have_says_so(world, team):
    messages = list(team.call("FindPersons", name="an"))
    assert len(named(world, "an")) > 1_000
    assert (sum(len(message.persons) for message in messages), messages[-1].more) == (1_000, True)


def test_no_value_is_shown_in_full(world, team):
    for message in team.call("FindPersons", name="asa"):
        for each in message.persons:
            values = world.people[each.person_id]
            assert all(shown.masked != values[shown.field] for shown in each.values)
    (message,) = team.call("FindPersons", email="f7@example.com")
    assert len(message.persons) == 1
    assert "f7@example.com" not in str(message)
    assert not next(team.call("FindPersons", customer_number="F-99999")).persons


# --- previews -------------------------------------------------------------------------------------------


def test_a_preview_counts_what_is_there(world, team):
    people = list(world.people)[:700]
    fields = ("email=full", "name.family=full", "payment.iban=last4", "phone=full")
    shown = team.call("PreviewScope", scope=team.scope([*people, "P-0000000000001"], fields), ground=1)
    assert (shown.persons, shown.unknown, shown.partial) == (700, 1, False)
    for counted in shown.fields:
        expected = sum(counted.field.field in world.people[person] for person in people)
        assert counted.persons == expected, counted.field.field
    assert len(shown.sample) == 10
    for each in shown.sample:
        assert all(value.masked != world.people[each.person_id][value.field] for value in each.values)


def test_a_preview_of_a_population_counts_those_for_whom_it_holds(world, team):
    listed = [contract_pb2.Predicate(field="address.country", values=["SE", "NO"])]
    population = contract_pb2.Population(predicates=contract_pb2.PredicateList(predicates=listed))
    scope = team.scope(population=population, fields=("name.family=full",))
    shown = team.call("PreviewScope", scope=scope, ground=legal_pb2.GROUND_MERGER_OR_SALE)
    found = [values for values in world.people.values() if values.get("address.country") in ("SE", "NO")]
    assert (shown.persons, shown.fields[0].persons) == (len(found), sum("name.family" in each for each in found))


def test_a_preview_of_a_time_without_collection_is_empty(world, team):
    scope = team.scope(list(world.people)[:5], collected_until="2020-01-01")
    shown = team.call("PreviewScope", scope=scope, ground=1)
    assert (shown.persons, shown.fields[0].persons) == (5, 0)


# --- documents ------------------------------------------------------------------------------------------


def test_documents_of_many_megabytes_come_back_as_they_were(world, team):
    case = team.open(team.scope(list(world.people)[:1]))
    contents = [bytes([n]) * (10 << 20) for n in range(2)]
    for n, content in enumerate(contents):
        team.call("AddDocument", case_id=case, name=f"{n}.pdf", media_type="application/pdf", content=content)
    for n, content in enumerate(contents):
        found = team.call("GetDocument", BO, case_id=case, number=n + 1)
        assert (found.document.name, found.document.size) == (f"{n}.pdf", len(content))
        assert found.content == content
    shown = team.call("GetCase", case_id=case)
    assert [document.number for document in shown.documents] == [1, 2]
    assert [event.event for event in shown.timeline] == ["opened", "document_added", "document_added"]
    assert all(event.proven for event in shown.timeline)


# --- who received what ----------------------------------------------------------------------------------


def all_pages(team, person, size, who=PRIVACY):
    found, token = [], ""
    while True:
        page = team.call("ListRecipients", who, person_id=person, page_size=size, page_token=token)
        found.append(page)
        if not (token := page.next_page_token):
            return found


def without_proof(page):
    """A page without what moves with the ledger: its receipts, and a token's random part."""
    kept = legal_pb2.ListRecipientsResponse()
    kept.CopyFrom(page)
    for received in kept.received:
        received.receipt = ""
    kept.next_page_token = "x" * len(page.next_page_token)
    return kept.SerializeToString(deterministic=True)


def test_a_hidden_release_changes_no_byte_of_a_persons_pages_but_the_size_of_the_ledger(world, team):
    person, other = list(world.people)[30:32]
    for _ in range(3):
        list(team.release(team.approved(team.scope([person]))))
    before = {size: all_pages(team, person, size) for size in (1, 2, 3, 500)}
    case = team.approved(team.scope([person]), hidden_until=in_days(30), secrecy_reason="an investigation")
    list(team.release(case))
    after = {size: all_pages(team, person, size) for size in (1, 2, 3, 500)}
    assert len(before[1]) == 3
    for size, pages in before.items():
        assert [without_proof(page) for page in pages] == [without_proof(page) for page in after[size]]
    # Anything else makes the receipts grow the same way.
    list(team.release(team.approved(team.scope([other]))))
    later = all_pages(team, person, 500)[0].received[0].receipt
    verify_receipt(later, after[500][0].received[0].entry, verifier_of(world.broker.home))


def test_an_opening_is_for_the_legal_team_until_the_secrecy_is_lifted(world, team):
    person = list(world.people)[3]
    case = team.approved(team.scope([person]), hidden_until=in_days(30), secrecy_reason="an investigation")
    (message,) = [message for message in team.release(case) if message.parts]
    index = parse_receipt(message.parts[0].disclosure.receipt).index
    shown = team.call("GetOpening", ANNA, index=index)
    assert shown.opening == message.parts[0].opening
    with pytest.raises(grpc.RpcError) as hidden:
        team.call("GetOpening", PRIVACY, index=index)
    with pytest.raises(grpc.RpcError) as absent:
        team.call("GetOpening", PRIVACY, index=0)
    assert (info(hidden.value).reason, hidden.value.code()) == (info(absent.value).reason, absent.value.code())
    assert hidden.value.details() == absent.value.details()
    team.secrecy(case, "")
    found = team.call("GetOpening", PRIVACY, index=index)
    verify_receipt(found.receipt, found.opening.sealed_entry, verifier_of(world.broker.home))
    commitment = entry.sealed_commitment(found.opening.salt, found.opening.entry)
    assert entry.parse(found.opening.sealed_entry)["commitment"] == entry.base64url(commitment)
    (received,) = all_pages(team, person, 1)[0].received
    assert received.opening == found.opening


# --- the report -----------------------------------------------------------------------------------------


def report(team, who=PRIVACY, **extra):
    found = team.call("GetTransparencyReport", who, first_day=in_days(-1), last_day=in_days(1), **extra)
    return {(row.ground, row.country, row.outcome): (row.requests, row.persons) for row in found.rows}


def test_the_report_counts_a_hidden_case_once_it_is_lifted(world, team):
    before, whole = report(team), report(team, ANNA, include_hidden=True)
    people = list(world.people)[10:13]
    key = (legal_pb2.GROUND_RIGHTS_AND_PROPERTY, "SE", "released")
    extra = {"hidden_until": in_days(3), "secrecy_reason": "an investigation"}
    case = team.approved(team.scope(people), ground=legal_pb2.GROUND_RIGHTS_AND_PROPERTY, **extra)
    list(team.release(case))
    assert report(team) == before
    assert report(team, ANNA, include_hidden=True) == {**whole, key: (1, 3)}
    team.secrecy(case, "")
    assert report(team) == {**before, key: (1, 3)}


# --- emergencies ----------------------------------------------------------------------------------------


def listed(team, case):
    (found,) = [each for each in team.call("ListCases", page_size=200).cases if each.case_id == case]
    return found


def test_an_emergency_that_nobody_answered_in_time_is_overdue_in_every_list(world, team):
    case = team.open(team.scope(list(world.people)[:1]), ground=legal_pb2.GROUND_PROTECTION)
    team.deliver(case)
    begun = team.step(case, legal_pb2.CASE_STEP_EMERGENCY).case
    assert not begun.emergency.overdue
    list(team.release(case))
    time.sleep(1.1)
    assert listed(team, case).emergency.overdue
    assert team.case(case).emergency.overdue
    assert legal_pb2.CASE_STEP_CLOSE not in listed(team, case).possible
    team.step(case, legal_pb2.CASE_STEP_CONFIRM, BO)
    answered = listed(team, case).emergency
    assert (answered.overdue, answered.answered_by, answered.disputed) == (False, BO, False)


# --- lists ----------------------------------------------------------------------------------------------


def test_cases_that_name_very_many_persons_come_in_more_pages_and_none_is_missed(world, team):
    opened = [team.open(team.scope(list(world.people)), handler="legal/cleo") for _ in range(20)]
    pages, token = [], ""
    while not pages or token:
        page = team.call("ListCases", handler="legal/cleo", page_size=200, page_token=token)
        pages.append([case.case_id for case in page.cases])
        token = page.next_page_token
    assert [case for page in pages for case in page] == opened[::-1]
    assert len(pages) > 1
    assert all(page for page in pages)


# --- what is written ------------------------------------------------------------------------------------


def test_what_a_lawyer_writes_and_whom_a_case_concerns_stand_nowhere_in_the_clear(world, team):
    person = list(world.people)[20]
    requester = legal_pb2.Requester(name="Canary Zq1", address="Canary Zq2", country="SE", contact="Canary Zq3")
    instrument = legal_pb2.Instrument(kind="warrant", reference="Canary Zq4", date=in_days(-3))
    case = team.open(team.scope([person]), requester=requester, instrument=instrument, note="Canary Zq5")
    etag = team.case(case).etag
    team.call("StepCase", case_id=case, step=legal_pb2.CASE_STEP_REJECT, reason="Canary Zq6", etag=etag)
    team.call("AddDocument", case_id=case, name="Canary Zq7", media_type="text/plain", content=b"Canary Zq8")
    etag = team.case(case).etag
    team.call("SetSecrecy", case_id=case, until=in_days(3), reason="Canary Zq9", etag=etag)
    team.call("ListRecipients", PRIVACY, person_id=person)
    assert "Canary Zq" in str(team.call("GetCase", case_id=case))
    files = [path for path in world.broker.home.rglob("*") if path.is_file()]
    assert any(path.name.startswith("sluss.db") for path in files)
    for path in files:
        data = path.read_bytes()
        assert b"Canary Zq" not in data, path
        assert person.encode() not in data, path
