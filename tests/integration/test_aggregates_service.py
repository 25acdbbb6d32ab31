"""AggregateService over real gRPC and mutual TLS: recording, asking, budgets, refusals, retries, a killed broker."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sluss.v1 import aggregate_pb2 as pb
from sluss.v1 import aggregate_pb2_grpc, contract_pb2

from broker.ledger.receipt import verify_receipt
from tests.faults.siege import verifier_of
from tests.support.broker import BrokerProcess

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


def counted(budget=4_000_000, min_persons=20, dimensions=("advertisement", "country"), purpose=PURPOSE):
    """A grant to count."""
    return contract_pb2.Grant(
        purpose=purpose,
        population=contract_pb2.Population(everyone=True),
        aggregate=contract_pb2.AggregateTerms(
            events=[contract_pb2.EventGrant(event=EVENT, dimensions=dimensions)],
            min_persons=min_persons,
            budget_micro=budget,
            period="month",
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


def fill(broker):
    """`PEOPLE` persons who saw an advertisement in spring, a third of them in Norway, and three who saw another."""
    people = [broker.register() for _ in range(PEOPLE)]
    events = [used(person, country="NO" if n % 3 == 0 else "SE") for n, person in enumerate(people)]
    events += [used(person, advertisement="webinar_week") for person in people[:3]]
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
    assert all(cell.suppressed for key, cell in cells.items() if key != ("spring_trial",))
    assert (reply.spent_micro, reply.budget.spent_micro) == (250_000, 250_000)
    entry = json.loads(reply.entry)
    assert (entry["type"], entry["contract"], entry["recipient"]) == ("aggregate", broker.contract, ACME)
    assert (entry["cells"], entry["suppressed"], entry["epsilon_micro"]) == (1, 4, 250_000)
    verify_receipt(reply.receipt, reply.entry, verifier_of(broker.home))
