"""What the console shows of the ledger is proven first: a broker that tells tales is not believed."""

import pytest
from sluss.v1 import contract_pb2
from sluss.v1 import legal_pb2 as pb

from broker.clock import system_clock
from broker.ledger import entry as entries
from tests.support.memory_legal import PERSONS, today

ASA = next(iter(PERSONS))
UNPROVEN = "does not prove itself"


@pytest.fixture
def row(team):
    """The only row of Åsa's accounting; whatever a test makes of it is forgotten."""
    granted = contract_pb2.FieldGrant(field="email", transform="masked")
    team.world.disclosed(ASA, [granted], today(-30))
    yield team.world.received[ASA][0][1]
    team.world.received.clear()


def test_an_accounting_is_shown_proven_and_in_words(row, anna):
    status, _, body = anna.get(f"/persons/{ASA}")
    assert status == 200
    assert "Each row is proven" in body
    assert "Collect overdue debts" in body
    assert 'href="/contracts/C-2026-0001"' in body


@pytest.mark.parametrize(
    "lie",
    [
        {"authority": "C-2026-0099"},
        {"entry_index": 0},
        {"kind": pb.RECEIVED_KIND_RELEASE},
        {"entry": b"{}"},
        {"slice_index": 1},
    ],
)
@pytest.mark.parametrize("path", ["", "/accounting.csv"])
def test_a_row_that_its_entry_does_not_bear_out_is_not_shown(row, anna, lie, path):
    for name, value in lie.items():
        setattr(row, name, value)
    status, _, body = anna.get(f"/persons/{ASA}{path}")
    assert status == 502
    assert UNPROVEN in body
    assert "Acme Pay AB" not in body


@pytest.mark.parametrize(
    "fields", [{}, {"email": "masked", "phone": "full"}, {"phone": "masked"}, {"email": "full"}], ids=str
)
def test_a_row_of_other_fields_than_the_slice_holds_is_not_shown(row, anna, fields):
    del row.fields[:]
    row.fields.extend(contract_pb2.FieldGrant(field=name, transform=form) for name, form in fields.items())
    assert anna.get(f"/persons/{ASA}")[0] == 502


def test_a_row_that_names_no_slice_is_not_shown(row, anna):
    row.ClearField("slice_index")
    assert anna.get(f"/persons/{ASA}")[0] == 502


def test_a_report_of_another_tree_is_not_shown(team, anna, monkeypatch):
    team.open_case()
    assert anna.get("/report")[0] == 200
    older = team.world.ledger.note()
    team.open_case()
    monkeypatch.setattr(team.world.ledger, "note", lambda: older)
    status, _, body = anna.get("/report")
    assert status == 502
    assert UNPROVEN in body


@pytest.fixture
def hidden(team):
    """The index of a commitment, and the entry that it is to."""
    said = entries.policy(system_clock(), "2026-02", 0, bytes(32), "operator/host")
    opening = pb.Opening()
    index = team.world.append(said, None, opening)
    return index, said


def test_an_entry_that_was_hidden_is_shown_as_what_it_was(hidden, anna):
    index, _ = hidden
    status, _, body = anna.get(f"/disclosures/{index}")
    assert status == 200
    assert "commits to exactly this" in body
    assert "operator/host" in body


def test_an_entry_that_is_hidden_says_no_more_than_that(team, hidden, anna):
    index, _ = hidden
    del team.world.openings[index]
    status, _, body = anna.get(f"/disclosures/{index}")
    assert status == 200
    assert "hidden now" in body
    assert "operator/host" not in body


def test_an_opening_that_the_ledger_does_not_commit_to_is_not_shown(team, hidden, anna):
    index, said = hidden
    team.world.openings[index].entry = said.replace(b"operator/host", b"operator/hans")
    status, _, body = anna.get(f"/disclosures/{index}")
    assert status == 502
    assert "operator/hans" not in body
