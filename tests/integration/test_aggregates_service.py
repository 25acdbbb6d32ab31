"""AggregateService over real gRPC and mutual TLS: recording, asking, budgets, refusals, retries, a killed broker."""

from __future__ import annotations

import json
import re
import sys
import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from sluss.v1 import aggregate_pb2 as pb
from sluss.v1 import aggregate_pb2_grpc, contract_pb2, person_pb2

from broker.ledger.receipt import verify_receipt
from tests.faults.siege import verifier_of
from tests.integration.bad_input import refused
from tests.support import sluss_command
from tests.support.broker import BrokerProcess
from tests.support.nursery import start_anew

PEOPLE = 300
EVENT = "advertisement.visited"
PURPOSE = "anonymous.advertising"
ACME = "subcontractor/acme"


def last_month():
    """The first and the last day of the last month that is closed for good."""
    today = datetime.now(UTC).date()
    last = (today - timedelta(days=3)).replace(day=1) - timedelta(days=1)
    return last.replace(day=1), last


FIRST, LAST = last_month()


def at(day, hour=12):
    return f"{day.isoformat()}T{hour:02d}:00:00.000000Z"


def counted(budget=4_000_000, min_persons=20, dimensions=("advertisement", "country"), purpose=PURPOSE, delta=0):
    """A grant to count."""
    return contract_pb2.Grant(
        purpose=purpose,
        population=contract_pb2.Population(everyone=True),
        aggregate=contract_pb2.AggregateTerms(
            events=[contract_pb2.EventGrant(event=EVENT, dimensions=dimensions)],
            min_persons=min_persons,
            budget_micro=budget,
            period="month",
            delta_nano=delta,
        ),
    )


def stub(broker, name=ACME):
    return aggregate_pb2_grpc.AggregateServiceStub(broker.channel(name))


def used(person, *, day=FIRST, event=EVENT, seconds=30, **attributes):
    named = {"advertisement": "spring_trial", "country": "SE", **attributes}
    return pb.UsageEvent(person_id=person, event=event, at=at(day), seconds=seconds, attributes=named)


def record(broker, events, request_id=""):
    request = pb.RecordUsageRequest(request_id=request_id or str(uuid.uuid4()), events=events)
    return stub(broker, "internal/import").RecordUsage(request, timeout=30)


def question(contract="", **changes):
    asked = {
        "contract_id": contract,
        "purpose": PURPOSE,
        "event": EVENT,
        "measures": [pb.MEASURE_PERSONS],
        "group_by": ["advertisement"],
        "first_day": FIRST.isoformat(),
        "last_day": LAST.isoformat(),
    }
    return pb.QueryAggregateRequest(**{**asked, **changes})


def sign(broker, *grants):
    """A live contract with these grants; no encryption key is needed for it."""
    contract = broker.propose(*grants)
    broker.subcontractor().accept_contract(contract)
    return contract


def registered(broker, count):
    """So many persons."""
    rows = [
        person_pb2.ImportRow(
            line=n + 1, values=[person_pb2.FieldValue(field="customer_number", value=f"U-{uuid.uuid4().hex[:12]}")]
        )
        for n in range(count)
    ]
    (answer,) = broker.persons().ImportPersons(
        iter([person_pb2.ImportPersonsRequest(source="registration", rows=rows)]), timeout=60
    )
    return [found.person_id for found in answer.results]


def fill(broker):
    """`PEOPLE` persons who saw an advertisement in spring, a third of them in Norway, and three who saw another."""
    people = registered(broker, PEOPLE)
    events = [used(person, country="NO" if n % 3 == 0 else "SE") for n, person in enumerate(people)]
    events += [used(person, advertisement="conference_phone") for person in people[:3]]
    for start in range(0, len(events), 1000):
        assert record(broker, events[start : start + 1000]).recorded == len(events[start : start + 1000])
    return people


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home") as running:
        running.people = fill(running)
        running.contract = sign(running, counted())
        yield running


def by(reply, *names):
    return {tuple(cell.key[name] for name in names): cell for cell in reply.cells}


def test_an_answer_is_near_the_truth_and_proves_itself(broker):
    reply = stub(broker).QueryAggregate(question(broker.contract), timeout=30)
    cells = by(reply, "advertisement")
    assert len(cells) == 5
    assert abs(cells["spring_trial",].persons - PEOPLE) < 150
    published = {key for (key,), cell in cells.items() if not cell.suppressed}
    # Another test has everybody see the webinar's.
    assert {"spring_trial"} <= published <= {"spring_trial", "webinar_week"}
    assert (reply.spent_micro, reply.budget.spent_micro) == (250_000, 250_000)
    entry = json.loads(reply.entry)
    assert (entry["type"], entry["contract"], entry["recipient"]) == ("aggregate", broker.contract, ACME)
    assert (entry["cells"], entry["suppressed"]) == (len(published), 5 - len(published))
    assert entry["epsilon_micro"] == 250_000
    verify_receipt(reply.receipt, reply.entry, verifier_of(broker.home))


def test_the_same_question_gets_the_same_bytes_and_costs_once_in_whatever_order(broker):
    contract = sign(broker, counted())
    asked = question(
        contract,
        measures=[pb.MEASURE_MEAN_SECONDS],
        group_by=["month", "advertisement"],
        filters=[pb.AggregateFilter(dimension="country", values=["SE", "NO"])],
    )
    first = stub(broker).QueryAggregate(asked, timeout=30)
    assert first.spent_micro == 750_000
    again = question(
        contract,
        measures=[pb.MEASURE_SECONDS, pb.MEASURE_EVENTS, pb.MEASURE_PERSONS],
        group_by=["advertisement", "month"],
        filters=[pb.AggregateFilter(dimension="country", values=["NO", "SE"])],
    )
    second = stub(broker).QueryAggregate(again, timeout=30)
    assert (second.answer, second.entry, second.spent_micro) == (first.answer, first.entry, 0)
    assert second.budget.spent_micro == 750_000
    # Events that come late change no answer that was given.
    late = [used(person, advertisement="webinar_week", seconds=31) for person in broker.people]
    assert record(broker, late).recorded == PEOPLE
    assert stub(broker).QueryAggregate(again, timeout=30).answer == first.answer


def test_another_contract_gets_the_same_noise_and_pays_from_its_own_budget(broker):
    ours, theirs = sign(broker, counted()), sign(broker, counted())
    asked = {"group_by": ["country"], "filters": [pb.AggregateFilter(dimension="country", values=["SE", "NO", "FI"])]}
    one = stub(broker).QueryAggregate(question(ours, **asked), timeout=30)
    other = stub(broker).QueryAggregate(question(theirs, **asked), timeout=30)
    assert (one.answer, one.spent_micro) == (other.answer, other.spent_micro)
    assert one.entry != other.entry


def test_gaussian_noise_costs_delta_from_every_budget_that_pays(broker):
    contract = sign(broker, counted(delta=3))
    asked = question(contract, noise=pb.NOISE_GAUSSIAN, measures=[pb.MEASURE_EVENTS])
    reply = stub(broker).QueryAggregate(asked, timeout=30)
    assert (reply.spent_micro, reply.spent_delta_nano) == (500_000, 2)
    assert (reply.budget.spent_delta_nano, reply.budget.limit_delta_nano) == (2, 3)
    said = json.loads(reply.entry)
    assert (said["noise"], said["delta_nano"], said["spent_delta_nano"]) == ("gaussian", 2, 2)
    assert json.loads(reply.answer)["question"]["delta_nano"] == 1
    told = refused(
        stub(broker).QueryAggregate,
        question(contract, noise=pb.NOISE_GAUSSIAN, measures=[pb.MEASURE_EVENTS], group_by=["country"]),
    )
    assert (told.code, told.reason, told.metadata["left_delta_nano"]) == ("RESOURCE_EXHAUSTED", "BUDGET_EXCEEDED", "1")
    found = stub(broker).GetBudget(pb.GetBudgetRequest(contract_id=contract), timeout=10)
    assert found.recipient.spent_delta_nano >= 2
    assert found.recipient.limit_micro == 6_000_000
    assert not found.HasField("everybody")
    privacy = stub(broker, "privacy/team").GetBudget(pb.GetBudgetRequest(contract_id=contract), timeout=10)
    assert privacy.everybody.spent_delta_nano >= found.recipient.spent_delta_nano
    told = refused(stub(broker).QueryAggregate, question(broker.contract, noise=pb.NOISE_GAUSSIAN))
    assert (told.reason, told.metadata["field"]) == ("INVALID_REQUEST", "noise")


def test_the_companys_own_analysis_is_counted_in_the_same_way(broker):
    internal = stub(broker, "internal/import")
    reply = internal.QueryAggregate(question(purpose="anonymous.improvement"), timeout=30)
    entry = json.loads(reply.entry)
    assert (entry["contract"], entry["contract_version"], entry["recipient"]) == ("", 0, "internal/import")
    budget = internal.GetBudget(pb.GetBudgetRequest(), timeout=10)
    assert budget.budget.spent_micro >= 250_000
    assert budget.everybody.spent_micro >= budget.budget.spent_micro
    privacy = stub(broker, "privacy/team").QueryAggregate(question(purpose="anonymous.improvement"), timeout=30)
    assert (privacy.answer, privacy.spent_micro) == (reply.answer, 0)
    assert json.loads(privacy.entry)["recipient"] == "privacy/team"


def test_a_budget_is_never_overspent_and_says_when_the_next_begins(broker):
    contract = sign(broker, counted(budget=600_000))
    asked = [
        question(contract, filters=[pb.AggregateFilter(dimension="country", values=[c])]) for c in ("SE", "NO", "FI")
    ]
    for each in asked[:2]:
        stub(broker).QueryAggregate(each, timeout=30)
    told = refused(stub(broker).QueryAggregate, asked[2])
    assert (told.code, told.reason) == ("RESOURCE_EXHAUSTED", "BUDGET_EXCEEDED")
    assert told.metadata["left_micro"] == "100000"
    now = datetime.now(UTC)
    ends = (now.replace(day=28) + timedelta(days=4)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert abs(told.retry_s - (ends - now).total_seconds()) < 30
    assert stub(broker).QueryAggregate(asked[0], timeout=30).spent_micro == 0, "what was answered stays so"


def test_what_may_be_asked_is_told_as_it_is_kept(broker):
    contract = sign(broker, counted(dimensions=("advertisement",), min_persons=77))
    found = stub(broker).DescribeAggregates(pb.DescribeAggregatesRequest(contract_id=contract), timeout=10)
    (scope,) = found.scopes
    assert (scope.purpose, scope.min_persons, found.not_live_reason) == (PURPOSE, 77, "")
    (event,) = scope.events
    assert ([d.name for d in event.dimensions], event.epsilon_micro) == (["advertisement"], 250_000)
    assert (event.delta_nano, found.budget.limit_delta_nano, event.persons_needed) == (1, 0, 77 - 1 + 131)
    kept = found.first_kept_day
    assert kept < FIRST.isoformat() < found.last_closed_day
    early = question(contract, first_day=(date.fromisoformat(kept) - timedelta(days=1)).isoformat())
    assert refused(stub(broker).QueryAggregate, early).metadata["field"] == "first_day"
    assert found.budget.limit_micro == 4_000_000
    stub(broker).QueryAggregate(question(contract), timeout=30)
    assert json.loads(stub(broker).QueryAggregate(question(contract), timeout=30).entry)["min_persons"] == 77


OPEN = datetime.now(UTC).date().isoformat()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"contract_id": "C-2026-9999"}, "NOT_YOUR_CONTRACT"),
        ({"contract_id": ""}, "NOT_YOUR_CONTRACT"),
        ({"purpose": "billing"}, "PURPOSE_OUT_OF_SCOPE"),
        ({"purpose": "anonymous.improvement"}, "PURPOSE_OUT_OF_SCOPE"),
        ({"purpose": "anonymous.unheard"}, "PURPOSE_UNKNOWN"),
        ({"purpose": "NOT A CODE"}, "INVALID_REQUEST"),
        ({"event": "meeting.joined", "group_by": []}, "FIELD_OUT_OF_SCOPE"),
        ({"event": "unheard.of"}, "FIELD_UNKNOWN"),
        ({"group_by": ["ip_address"]}, "TECHNICAL_IDENTIFIER"),
        ({"last_day": OPEN}, "PERIOD_NOT_CLOSED"),
        ({"first_day": "2026-13-01"}, "INVALID_REQUEST"),
        ({"measures": []}, "INVALID_REQUEST"),
        ({"measures": [9]}, "INVALID_REQUEST"),
        ({"noise": 9}, "INVALID_REQUEST"),
    ],
)
def test_what_is_out_of_scope_is_refused_by_name(broker, changes, reason):
    told = refused(stub(broker).QueryAggregate, question(**{"contract_id": broker.contract, **changes}))
    assert told.reason == reason


def test_a_dimension_that_the_contract_does_not_grant_is_out_of_scope(broker):
    contract = sign(broker, counted(dimensions=("advertisement",)))
    for changes in (
        {"group_by": ["country"]},
        {"filters": [pb.AggregateFilter(dimension="country", values=["SE"])]},
    ):
        told = refused(stub(broker).QueryAggregate, question(contract, **changes))
        assert (told.reason, told.metadata["field"]) == ("FIELD_OUT_OF_SCOPE", "country")


def test_a_suspended_contract_gets_nothing_not_even_what_was_answered(broker):
    contract = sign(broker, counted())
    stub(broker).QueryAggregate(question(contract), timeout=30)
    step = contract_pb2.SuspendContractRequest(contract_id=contract, reason="a test")
    broker.contracts().SuspendContract(step, timeout=10)
    assert refused(stub(broker).QueryAggregate, question(contract)).reason == "CONTRACT_SUSPENDED"


def test_an_operator_asks_nothing_and_a_subcontractor_records_nothing(broker):
    operator = stub(broker, "operator/admin")
    assert refused(operator.QueryAggregate, question()).reason == "ROLE_NOT_ALLOWED"
    events = [used(broker.people[0])]
    request = pb.RecordUsageRequest(request_id=str(uuid.uuid4()), events=events)
    assert refused(stub(broker).RecordUsage, request).reason == "ROLE_NOT_ALLOWED"


def test_a_grant_of_fields_opens_no_counts_and_a_grant_of_counts_no_fields(broker):
    contract = sign(broker, counted())
    scope = broker.subcontractor().describe_scope(contract)
    assert not scope.purposes
    with pytest.raises(Exception, match="PURPOSE_OUT_OF_SCOPE"):
        broker.subcontractor().dry_run(contract, PURPOSE, ["email"], ["h_" + "A" * 22])


# --- recording ------------------------------------------------------------------------------------------


def test_a_time_is_taken_in_any_spelling_of_rfc_3339(broker):
    written = (f"{FIRST}T10:00:00Z", f"{FIRST}T10:00:00.5Z", f"{FIRST}T23:30:00+01:00")
    events = [pb.UsageEvent(event=EVENT, at=text, attributes=used("").attributes) for text in written]
    done = record(broker, events)
    assert (done.without_person, list(done.faults)) == (len(written), [])


def test_each_event_is_stored_or_has_a_fault_and_a_retry_stores_nothing_twice(broker):
    person = broker.people[0]
    events = [
        used(person),
        used(person, ip_address="10.0.0.1"),
        used(person, cookie="abc"),
        used(""),
        used("P-0000000000001"),
        used("nobody"),
        used(person, country="Sweden"),
        used(person, event="unheard.of"),
        used(person, seconds=86_401),
        used(person, day=date(2010, 1, 1)),
        used(person, day=datetime.now(UTC).date() + timedelta(days=2)),
        pb.UsageEvent(person_id=person, event=EVENT, at="yesterday", attributes={}),
        pb.UsageEvent(person_id=person, event=EVENT, at=at(FIRST), attributes={"country": "SE"}),
    ]
    request_id = str(uuid.uuid4())
    done = record(broker, events, request_id)
    assert (done.recorded, done.without_person) == (1, 1)
    assert [(fault.index, fault.reason) for fault in done.faults] == [
        (1, "TECHNICAL_IDENTIFIER"),
        (2, "TECHNICAL_IDENTIFIER"),
        (4, "PERSON_UNKNOWN"),
        (5, "INVALID_REQUEST"),
        (6, "INVALID_VALUE"),
        (7, "FIELD_UNKNOWN"),
        (8, "INVALID_VALUE"),
        (9, "INVALID_VALUE"),
        (10, "INVALID_VALUE"),
        (11, "INVALID_VALUE"),
        (12, "FIELD_UNKNOWN"),
    ]
    assert done.faults[0].field == "attributes.ip_address"
    assert "10.0.0.1" not in str(done)
    assert "Sweden" not in str(done)
    assert record(broker, events, request_id) == done
    request = pb.RecordUsageRequest(request_id=request_id, events=events[:1])
    assert refused(stub(broker, "internal/import").RecordUsage, request).reason == "REQUEST_ID_REUSED"
    for events in ([], [used(person)] * 1001):
        request = pb.RecordUsageRequest(request_id=str(uuid.uuid4()), events=events)
        assert refused(stub(broker, "internal/import").RecordUsage, request).reason == "INVALID_REQUEST"


def identified(event, name):
    named = pb.UsageEvent()
    named.CopyFrom(event)
    named.id = name
    return named


def test_the_same_event_counts_once_in_whatever_request_it_comes_again(broker):
    person, other = registered(broker, 2)
    first, later = used(person, seconds=10), used(person, seconds=20)

    def told(*events, by="internal/import"):
        request = pb.RecordUsageRequest(request_id=str(uuid.uuid4()), events=events)
        done = stub(broker, by).RecordUsage(request, timeout=30)
        faults = [(fault.index, fault.reason, fault.field) for fault in done.faults]
        return done.recorded, done.repeated, faults

    assert told(first, first, later) == (2, 1, [])
    assert told(later, first, used(other, seconds=10)) == (1, 2, [])
    # Who it says it happened to, when, for how long and with what: one that differs is another event.
    assert told(used(person, seconds=10, country="NO"), used(person, seconds=10, day=LAST)) == (2, 0, [])
    # By its sender's id for it, whatever looks alike; another sender's, and another person's, is another.
    one, two = identified(first, "web1-1"), identified(first, "web1-2")
    assert told(one, two, one) == (2, 1, [])
    assert told(two, one) == (0, 2, [])
    assert told(one, by="internal/registration") == (1, 0, [])
    assert told(identified(used(other, seconds=10), "web1-1")) == (1, 0, [])
    # An id that stands for something else is a fault, in the store and within a request.
    changed = [identified(later, "web1-1"), identified(used(person, day=LAST), "web1-1")]
    assert told(*changed) == (0, 0, [(0, "INVALID_VALUE", "id"), (1, "INVALID_VALUE", "id")])
    assert told(identified(first, "new"), identified(later, "new")) == (1, 0, [(1, "INVALID_VALUE", "id")])
    bad = [identified(first, name) for name in ("x" * 65, "a b", "å", "a\n")]
    assert told(*bad) == (0, 0, [(index, "INVALID_VALUE", "id") for index in range(len(bad))])


# --- the SDK and the command ----------------------------------------------------------------------------


def test_the_sdk_proves_an_answer(broker):
    contract = sign(broker, counted())
    client = broker.subcontractor()
    asked = {"by": ["advertisement"], "first_day": FIRST.isoformat(), "last_day": LAST.isoformat()}
    found = client.aggregate(contract, PURPOSE, EVENT, ["persons"], **asked)
    assert (found.spent_micro, found.left_micro) == (250_000, 3_750_000)
    (shown,) = [cell for cell in found.cells if cell.key == {"advertisement": "spring_trial"}]
    assert shown.values["persons"] >= found.threshold
    assert client.aggregate(contract, PURPOSE, EVENT, ["persons"], **asked).sealed == found.sealed


@pytest.fixture(scope="module")
def run(broker):
    def sluss(*words, by=ACME):
        result = sluss_command.invoke(
            sluss_command.clients(), ["aggregate", *words, "--profile", str(broker.profile(by))]
        )
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return result

    return sluss


PERIOD = ("--from", FIRST.isoformat(), "--until", LAST.isoformat())


def test_the_command_asks_and_draws(broker, run, tmp_path):
    contract = sign(broker, counted())
    words = (
        "query",
        PURPOSE,
        EVENT,
        "--contract",
        contract,
        "--by",
        "advertisement",
        "--measure",
        "mean_seconds",
        *PERIOD,
    )
    shown = run(*words)
    assert shown.exit_code == 0, shown.output
    assert "spring_trial" in shown.stdout
    assert "cells, behind which, with the noise, fewer than 20 persons may be" in shown.stdout
    assert "epsilon 0.75 of 4 spent" in shown.stdout
    assert "it moves 19 of 20 numbers by at most: events 180, persons 36, seconds " in shown.stdout
    found = json.loads(run(*words, "--json").stdout)
    assert (found["spent_micro"], found["proven"]) == (0, True)
    assert f"published from {found['threshold']} persons on" in shown.stdout
    rows = run(*words, "--csv").stdout.splitlines()
    assert rows[0] == (
        "advertisement,published,events,persons,seconds,mean_milliseconds,"
        "events_within_95_percent,persons_within_95_percent,seconds_within_95_percent"
    )
    assert [row for row in rows if row.startswith("spring_trial,yes,")]
    assert [row for row in rows if row.startswith(("webinar_week,no,,,,", "webinar_week,yes"))]
    for name, first in (("chart.svg", b"<svg"), ("chart.png", b"\x89PNG")):
        assert f"Wrote {tmp_path / name}." in run(*words, "--chart", tmp_path / name).stdout
        assert (tmp_path / name).read_bytes().startswith(first)
        assert "not overwritten" in run(*words, "--chart", tmp_path / name).stderr
    drawn = (tmp_path / "chart.svg").read_text()
    (cell,) = [each for each in found["cells"] if each["key"]["advertisement"] == "spring_trial"]
    most = {name: max(each.get(name, 0) for each in found["cells"]) for name in ("seconds", "mean_milliseconds")}
    seconds = ("minutes", 60) if most["seconds"] >= 600 else ("seconds", 1)
    mean = ("mean seconds", 1000) if most["mean_milliseconds"] >= 10_000 else ("mean milliseconds", 1)
    measures = (("persons", 1, "persons"), ("events", 1, "events"), (*seconds, "seconds"), (*mean, "mean_milliseconds"))
    for shown, divisor, name in measures:
        noise = "" if name == "mean_milliseconds" else r" ± [\d,]+"
        assert re.search(
            f'font-weight="bold">{EVENT}: {shown}{noise}, {FIRST.isoformat()} to {LAST.isoformat()}<', drawn
        )
        if cell[name]:
            assert f"<title>spring_trial, {shown}: {round(cell[name] / divisor)}</title>" in drawn
    assert "cells" in run("describe", contract).stdout
    told = run("budget", contract).stdout
    assert "left until" in told
    assert "All contracts of the recipient together:" in told
    gaussian = run(*words, "--noise", "gaussian")
    assert gaussian.exit_code != 0
    granted = sign(broker, counted(delta=6))
    again = [granted if word == contract else word for word in words]
    shown = run(*again, "--noise", "gaussian", "--by", "country").stdout
    assert "and delta 3e-09" in shown
    assert "and delta 3e-09 of 6e-09 spent" in shown
    assert "everybody" in json.loads(run("budget", "--json", by="privacy/team").stdout)
    assert run(*words[:-1], OPEN).exit_code == 3
    assert run(*words, "--chart", tmp_path / "chart.gif").exit_code == 2


def test_the_command_records_an_event_once_in_whatever_file_it_stands(broker, run, tmp_path):
    file = tmp_path / "usage.csv"
    (person,) = registered(broker, 1)
    line = f"{person},{EVENT},{at(FIRST)},30,spring_trial,SE"
    header = "person,event,at,seconds,advertisement,country"
    file.write_text(f"{header}\n{line}\n{line.replace('SE', 'XX')}\n{line.replace(',30,', ',half,')}\n{line},1\n")
    for recorded in (1, 1):
        done = run("record", file, "--json", by="internal/import")
        assert done.exit_code == 1
        told = json.loads(done.stdout)
        assert (told["recorded"], told["repeated"]) == (recorded, 0)  # the same requests: the same answers
        assert [(fault["line"], fault["detail"].split(":")[0]) for fault in told["faults"]] == [
            (3, "attributes.country"),
            (4, "seconds"),
            (5, "columns"),
        ]
    # Another file, as a spreadsheet writes it, with the same row and a further one.
    rows = (header, line, line.replace(",30,", ",31,"), line.replace(",30,", ",,"))
    file.write_bytes("\r\n".join(rows).replace(",", ";").encode("utf-8-sig"))
    told = json.loads(run("record", file, "--json", by="internal/import").stdout)
    assert (told["recorded"], told["repeated"], told["faults"]) == (2, 1, [])
    file.write_text(f"id,{header}\n1,{line}\n2,{line}\n1,{line}\n")
    shown = run("record", file, by="internal/import")
    assert shown.exit_code == 0, shown.output
    assert "2 recorded, 1 on record already, 0 of nobody known and not kept, 0 faulty." in shown.stdout
    for wrong in ("person,event\n", header + "\n", "", "person,person,event,at,seconds\n"):
        file.write_text(wrong)
        assert run("record", file, by="internal/import").exit_code == 2


# --- a broker without the extra -------------------------------------------------------------------------


def test_a_broker_without_opendp_names_the_reason_and_does_the_rest(tmp_path):
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text('import sys\nsys.modules["opendp"] = None\n')
    paths = ":".join([str(hiding), *filter(None, sys.path)])
    with BrokerProcess(tmp_path / "home", environment={"PYTHONPATH": paths}, begin=start_anew) as bare:
        contract = sign(bare, counted())
        told = refused(stub(bare).QueryAggregate, question(contract))
        assert (told.code, told.reason) == ("UNIMPLEMENTED", "AGGREGATES_NOT_INSTALLED")
        scopes = stub(bare).DescribeAggregates(pb.DescribeAggregatesRequest(contract_id=contract), timeout=10).scopes
        assert [event.persons_needed for scope in scopes for event in scope.events] == [0]
        assert stub(bare).GetBudget(pb.GetBudgetRequest(contract_id=contract), timeout=10).budget.spent_micro == 0
        assert record(bare, [used(bare.register())]).recorded == 1
