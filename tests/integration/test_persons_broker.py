"""The persons' room in a whole broker: power cuts, restarts, and choices that no later disclosure contradicts."""

from __future__ import annotations

import contextlib
import uuid

import grpc
from sluss.v1 import choice_pb2, person_pb2

from tests.support.broker import grant

CANARIES = {
    "customer_number": "KX-774411-CANARY",
    "name.given": "Zwolfcanary",
    "email": "canary.zq7@example.com",
    "payment.iban": "SE4550000000058398257466",
}
OUT, IN = choice_pb2.CHOICE_STATE_OPTED_OUT, choice_pb2.CHOICE_STATE_OPTED_IN


def file_row(number):
    values = {
        **CANARIES,
        "customer_number": f"{CANARIES['customer_number']}-{number}",
        "email": f"canary.zq7.{number}@example.com",
    }
    given = [person_pb2.FieldValue(field=field, value=value) for field, value in values.items()]
    return person_pb2.ImportRow(line=number, values=given)


def batch(start, size=500):
    rows = [file_row(number) for number in range(start, start + size)]
    return person_pb2.ImportPersonsRequest(rows=rows, source="import:crm")


def choose(broker, person, purpose, state):
    request = choice_pb2.RecordChoiceRequest(
        person_id=person,
        choice=choice_pb2.ChoiceMade(purpose=purpose, state=state, medium="web"),
        source="preferences",
        request_id=str(uuid.uuid4()),
    )
    return broker.choices().RecordChoice(request, timeout=10)


def outcomes(reply):
    return {person_pb2.ImportResult.Outcome.Name(result.outcome)[8:] for result in reply.results}


def test_what_an_import_answered_survives_a_power_cut_and_the_file_can_be_sent_again(broker):
    call = broker.persons().ImportPersons(map(batch, range(0, 20_000, 500)), timeout=60)
    answered = [next(call), next(call)]
    broker.kill()
    with contextlib.suppress(grpc.RpcError):
        answered += list(call)
    broker.log.close()
    broker.start()
    again = list(broker.persons("internal/second").ImportPersons(map(batch, range(0, 1500, 500)), timeout=60))
    for before, after in zip(answered, again, strict=False):
        assert outcomes(after) == {"UNCHANGED"}
        assert [r.person_id for r in before.results] == [r.person_id for r in after.results]
    found = broker.persons("internal/second").LookUpPersons(
        person_pb2.LookUpPersonsRequest(email="canary.zq7.3@example.com"), timeout=10
    )
    assert list(found.person_ids) == [answered[0].results[3].person_id]


def test_a_registration_sent_again_after_a_power_cut_gives_the_same_person(broker):
    values = [person_pb2.FieldValue(field=field, value=value) for field, value in CANARIES.items()]
    request = person_pb2.RegisterPersonRequest(request_id=str(uuid.uuid4()), values=values, source="web")
    first = broker.persons().RegisterPerson(request, timeout=10)
    broker.kill()
    broker.log.close()
    broker.start()
    assert broker.persons().RegisterPerson(request, timeout=10, wait_for_ready=True) == first
    broker.stop()
    assert not any(text in (broker.home / "serve.log").read_text() for text in CANARIES.values())


def test_no_disclosure_contradicts_a_choice_that_has_returned(broker):
    contract, client = broker.live_contract(grant("partners", ("email=full",)))
    person = broker.register(email=CANARIES["email"])
    (handle,) = broker.handles(contract, person)

    def disclosed():
        return sum(one.available for one in client.disclose(contract, "partners", ["email"], [handle]))

    assert disclosed() == 0
    for _ in range(5):
        choose(broker, person, "partners", IN)
        assert disclosed() == 1
        choose(broker, person, "partners", OUT)
        assert disclosed() == 0
