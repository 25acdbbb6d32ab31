"""Legal holds over real gRPC and the command; a hidden case forbids erasure and shows nowhere else."""

from __future__ import annotations

import uuid

import grpc
import pytest
from sluss.v1 import erasure_pb2 as pb
from sluss.v1.erasure_pb2_grpc import ErasureServiceStub

from tests.faults.siege import info
from tests.support import sluss_command
from tests.support.broker import BrokerProcess
from tests.support.legal_callers import Team, in_days

TIMEOUT_S = 10
WHY = "claim 12"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def stubs(broker):
    names = ("legal/anna", "privacy/team", "internal/import", "operator/admin", "subcontractor/acme")
    return {name: ErasureServiceStub(broker.channel(name)) for name in names}


def place(stub, person, **changes):
    fields = {"request_id": str(uuid.uuid4()), "person_id": person, "reason": WHY, **changes}
    return stub.PlaceHold(pb.PlaceHoldRequest(**fields), timeout=TIMEOUT_S).hold


def lift(stub, hold, **changes):
    fields = {"request_id": str(uuid.uuid4()), "hold_id": hold, "reason": "settled", **changes}
    return stub.LiftHold(pb.LiftHoldRequest(**fields), timeout=TIMEOUT_S)


def listed(stub, **fields):
    return stub.ListHolds(pb.ListHoldsRequest(**fields), timeout=TIMEOUT_S)


def reason_of(action):
    with pytest.raises(grpc.RpcError) as caught:
        action()
    return info(caught.value).reason


def test_the_legal_team_sees_a_hold_and_the_privacy_team_that_there_is_something(broker, stubs):
    person = broker.register(email="held@example.com")
    anna, privacy = stubs["legal/anna"], stubs["privacy/team"]
    hold = place(anna, person, until=in_days(3))
    seen = listed(anna, person_id=person)
    assert (list(seen.holds), seen.erasure_forbidden) == ([hold], True)
    assert hold.state == pb.HOLD_STATE_IN_FORCE
    told = listed(privacy, person_id=person)
    assert told == pb.ListHoldsResponse(erasure_forbidden=True)
    assert lift(anna, hold.hold_id).hold.state == pb.HOLD_STATE_LIFTED
    assert not listed(privacy, person_id=person).erasure_forbidden
    assert [each.hold_id for each in listed(anna, person_id=person, include_ended=True).holds] == [hold.hold_id]


def test_a_hidden_case_looks_to_the_privacy_team_like_a_hold(broker, stubs):
    team = Team(broker)
    held, named = broker.register(email="a@example.com"), broker.register(email="b@example.com")
    place(stubs["legal/anna"], held)
    secrecy = {"hidden_until": in_days(100), "secrecy_reason": "the court forbids telling"}
    case = team.open(team.scope([named]), **secrecy)
    privacy = stubs["privacy/team"]
    assert listed(privacy, person_id=held).SerializeToString() == listed(privacy, person_id=named).SerializeToString()
    assert list(listed(stubs["legal/anna"], person_id=named).case_ids) == [case]


@pytest.mark.parametrize("name", ["internal/import", "operator/admin", "subcontractor/acme", "privacy/team"])
def test_nobody_else_places_or_lifts(broker, stubs, name):
    person = broker.register()
    assert reason_of(lambda: place(stubs[name], person)) == "ROLE_NOT_ALLOWED"
    assert reason_of(lambda: lift(stubs[name], "H-2026-0001")) == "ROLE_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("request_id", "", "INVALID_REQUEST"),
        ("person_id", "P-1", "INVALID_REQUEST"),
        ("person_id", "P-0000000000001", "PERSON_UNKNOWN"),
        ("reason", "", "INVALID_REQUEST"),
        ("reason", "x" * 2_001, "INVALID_REQUEST"),
        ("reason", "a\x00b", "INVALID_REQUEST"),
        ("until", "2026-1-1", "INVALID_REQUEST"),
        ("until", "2020-01-01", "INVALID_REQUEST"),
        ("until", "9999-12-31", "INVALID_REQUEST"),
        ("until", "x" * 10_000, "INVALID_REQUEST"),
    ],
)
def test_bad_input_is_refused_by_name(broker, stubs, field, value, reason):
    given = {"person_id": broker.register(), field: value}
    assert reason_of(lambda: place(stubs["legal/anna"], given.pop("person_id"), **given)) == reason


def test_lists_refuse_what_they_cant_answer(stubs):
    assert reason_of(lambda: listed(stubs["privacy/team"])) == "INVALID_REQUEST"
    assert reason_of(lambda: listed(stubs["legal/anna"], page_size=201)) == "INVALID_REQUEST"
    assert reason_of(lambda: listed(stubs["legal/anna"], page_token="x")) == "INVALID_REQUEST"
    assert reason_of(lambda: lift(stubs["legal/anna"], "H-2026-9999")) == "HOLD_UNKNOWN"


def test_the_command_places_lists_and_lifts(broker):
    person = broker.register(email="cli@example.com")

    def sluss(*words, by="legal/anna"):
        profile = str(broker.profile(by))
        result = sluss_command.invoke(sluss_command.clients(), ["hold", *words, "--profile", profile])
        assert result.exit_code == 0, result.output
        return result.output

    told = sluss("place", person, "--reason", WHY)
    hold = told.split(":")[0]
    assert "can't be erased until it is lifted" in told
    assert hold in sluss("list", "--person", person)
    assert f"{person} can not be erased now." in sluss("list", "--person", person, by="privacy/team")
    assert "is lifted" in sluss("lift", hold, "--reason", "settled")
    assert f"{person} can be erased now." in sluss("list", "--person", person, by="privacy/team")
