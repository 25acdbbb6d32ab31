"""Customer files: merged, counted, masked, durable, and nothing twice."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import catalogue
from broker.errors import Reason, SlussError
from broker.persons import checking, rows
from broker.persons.importing import Importer
from broker.persons.model import Batch, Outcome, Row
from tests.unit.persons.world import CANARIES, World, caller, catalogue_without

CREATED, UPDATED, UNCHANGED, FAULTY = Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.FAULTY


def row(number, **more):
    return {
        "customer_number": f"K-{number}",
        "name.given": "Anna",
        "email": f"a{number}@example.com",
        "payment.iban": "SE4550000000058398257466",
        **{name.replace("__", "."): value for name, value in more.items()},
    }


def outcomes(results):
    return [result.outcome for result in results]


def test_new_rows_become_persons_that_look_up_finds(world):
    results = world.load([row(n) for n in range(5)])
    assert outcomes(results) == [CREATED] * 5
    assert [result.line for result in results] == [1, 2, 3, 4, 5]
    assert world.look_up("email", "a3@example.com") == [results[3].person]
    assert world.texts(results[0].person) == row(0)
    assert {field.source for field in world.get(results[0].person).fields} == {"import:crm"}


def test_new_persons_alone_move_no_rights_and_append_nothing(world):
    before = world.table("head")
    world.load([row(n) for n in range(5)])
    assert world.table("head") == before


def test_importing_the_same_file_again_changes_not_a_byte(world):
    first = world.load([row(n) for n in range(20)])
    tables = [world.table(name) for name in ("person", "blind_index", "unique_number", "head")]
    again = world.load([row(n) for n in range(20)], source="import:other")
    assert outcomes(again) == [UNCHANGED] * 20
    assert [result.person for result in again] == [result.person for result in first]
    assert [world.table(name) for name in ("person", "blind_index", "unique_number", "head")] == tables


def test_an_unchanged_row_opens_no_record(world, monkeypatch):
    world.load([row(1)])
    monkeypatch.setattr(world.vault, "_records", None)
    assert outcomes(world.load([row(1)])) == [UNCHANGED]
    monkeypatch.undo()


def test_a_part_of_what_is_on_record_changes_nothing(world):
    (first,) = world.load([row(1)])
    before = world.table("person")
    assert outcomes(world.load([{"customer_number": "K-1", "name.given": "Anna"}])) == [UNCHANGED]
    assert world.table("person") == before
    assert world.texts(first.person) == row(1)


def test_an_update_merges_and_moves_rights_indexes_and_etag(world):
    (first,) = world.load([row(1)])
    rights = world.rights()
    (again,) = world.load([{"customer_number": "k1", "email": "nova@example.com", "title": "Dr"}], source="import:b")
    assert (again.outcome, again.person) == (UPDATED, first.person)
    expected = {**row(1), "customer_number": "k1", "email": "nova@example.com", "title": "Dr"}
    assert world.texts(first.person) == expected
    sources = {field.name: field.source for field in world.get(first.person).fields}
    assert (sources["name.given"], sources["email"]) == ("import:crm", "import:b")
    assert world.rights() == rights + 1
    assert world.get(first.person).etag == "2"
    assert world.look_up("email", "a1@example.com") == []
    assert world.look_up("email", "nova@example.com") == [first.person]


def test_a_customer_number_that_stands_twice_in_a_batch_is_a_fault_of_the_later_row(world):
    twice = [row(1), row(2), row(1, title="Dr"), {"customer_number": "k 1", "title": "Prof", "email": "x"}]
    results = world.load(twice)
    assert outcomes(results) == [CREATED, CREATED, FAULTY, FAULTY]
    assert [(f.field, f.reason) for f in results[2].faults] == [("customer_number", Reason.INVALID_VALUE)]
    assert "twice" in results[2].faults[0].detail
    assert [f.field for f in results[3].faults] == ["email", "customer_number"]
    assert "K-1" not in repr(results)
    assert world.texts(results[0].person) == row(1)


def test_a_row_counts_for_its_customer_number_even_if_something_else_in_it_is_faulty(world):
    assert outcomes(world.load([row(1, email="nonsense"), row(1)])) == [FAULTY, FAULTY]
    assert world.table("person") == []


def test_a_customer_number_of_an_earlier_batch_is_an_update(world):
    (first,) = world.load([row(1)])
    (second,) = world.load([row(1, title="Dr")])
    assert (second.outcome, second.person) == (UPDATED, first.person)


@pytest.mark.parametrize("dry_run", [False, True])
def test_parts_of_one_batch_share_the_numbers_that_they_have_seen(world, dry_run):
    seen = set()

    def load(given):
        batch = Batch([Row(1, list(given.items()))], "import:crm", dry_run)
        return outcomes(world.importer.run(caller("ImportPersons"), lambda: batch, seen))

    assert load(row(1)) == [CREATED]
    assert load(row(1, title="Dr")) == [FAULTY]
    assert load(row(2)) == [CREATED]


def test_new_changed_unchanged_and_faulty_rows_live_in_one_batch(world):
    world.load([row(1), row(2)])
    results = world.load([row(1), row(2, title="Dr"), row(3), row(4, email="nonsense")])
    assert outcomes(results) == [UNCHANGED, UPDATED, CREATED, FAULTY]
    assert len(world.table("person")) == 3
    assert results[3].person == 0


def test_all_faults_of_a_row_are_told_masked_and_nothing_of_it_is_stored(lite):
    values = [
        ("customer_number", "K-7"),
        ("email", "canary at example"),
        ("payment.iban", "SE0012345678901234567"),
        ("payment.card_cvc", "98765432109"),
        ("shoe_size", "Quastenflosser"),
        ("name.given", "Anna"),
        ("name.given", "Annabella"),
    ]
    (result,) = lite.load([values])
    assert result.outcome is FAULTY
    assert [(fault.field, fault.reason) for fault in result.faults] == [
        ("email", Reason.INVALID_VALUE),
        ("payment.iban", Reason.INVALID_VALUE),
        ("payment.card_cvc", Reason.FIELD_FORBIDDEN),
        ("shoe_size", Reason.FIELD_UNKNOWN),
        ("name.given", Reason.INVALID_VALUE),
    ]
    assert result.faults[2].masked == "***"
    told = repr(result)
    assert not any(text in told for _, text in values if text not in ("K-7", "Anna"))
    assert lite.table("person") == lite.table("unique_number") == []


@given(text=st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=40))
def test_no_fault_ever_holds_its_value(text):
    names = ("email", "payment.iban", "birth_date", "cvc", "no_such_field", "customer_number")
    _, faults = checking.accept(catalogue.default_catalogue(), [(name, text) for name in names])
    for fault in faults:
        told = f"{fault.detail} {fault.masked}"
        assert len(text) < 6 or text not in told
        assert set(fault.masked) <= {"*"} or len(text) >= 6
        assert fault.field != "cvc" or fault.masked == "***"


@pytest.mark.parametrize("values", [{}, {"name.given": "Anna"}, {"customer_number": " - "}, {"customer_number": ""}])
def test_a_row_that_names_nobody_is_faulty(lite, values):
    (result,) = lite.load([values])
    assert result.outcome is FAULTY
    assert [(fault.field, fault.reason) for fault in result.faults] == [("customer_number", Reason.INVALID_VALUE)]


def test_a_dry_run_says_what_would_be_and_stores_nothing(world):
    world.load([row(1), row(4)])
    tables = [world.table(name) for name in ("person", "blind_index", "unique_number", "head")]
    results = world.load([row(1), row(4, title="Dr"), row(2), row(3, email="x")], dry_run=True)
    assert outcomes(results) == [UNCHANGED, UPDATED, CREATED, FAULTY]
    assert {result.person for result in results} == {0}
    assert [world.table(name) for name in ("person", "blind_index", "unique_number", "head")] == tables


def test_an_import_never_brings_an_erased_person_back(world):
    (first,) = world.load([row(1)])
    table = world.table_of("person")
    world.change_rights(table.update().values(state="erased"))
    (result,) = world.load([row(1, title="Dr")])
    assert result.outcome is FAULTY
    assert result.faults[0].reason is Reason.PERSON_UNAVAILABLE
    assert "K-1" not in repr(result)
    (stored,) = world.table("person")
    assert (stored.id, stored.version) == (first.person, 1)


def test_a_revocation_ends_the_import_at_the_next_batch(world):
    world.load([row(1)])
    world.revoke("internal")
    with pytest.raises(SlussError) as caught:
        world.load([row(2)])
    assert caught.value.reason is Reason.CERTIFICATE_REVOKED
    assert len(world.table("person")) == 1


@pytest.mark.parametrize("existing", [False, True])
def test_a_revocation_between_plan_and_write_stores_nothing(world, monkeypatch, existing):
    world.load([row(1)])
    before = world.table("person")
    write = Importer._write

    def revoked_first(self, who, plan):
        world.revoke("internal")
        return write(self, who, plan)

    monkeypatch.setattr(Importer, "_write", revoked_first)
    with pytest.raises(SlussError) as caught:
        world.load([row(2), row(1, title="Dr")] if existing else [row(2)])
    assert caught.value.reason is Reason.CERTIFICATE_REVOKED
    assert world.table("person") == before


def test_rights_that_move_all_the_time_do_not_stop_an_import(world, monkeypatch):
    person = world.register({"email": "b@example.com"}).person
    states = itertools.cycle(["in", "out"])
    write = Importer._write

    def choice_first(self, who, plan):
        world.choose(person, "offers", next(states))
        return write(self, who, plan)

    monkeypatch.setattr(Importer, "_write", choice_first)
    for number in range(5):
        assert outcomes(world.load([row(number)])) == [CREATED]


@pytest.mark.parametrize("meanwhile", ["registered", "updated", "erased", "catalogue"])
def test_what_moves_between_plan_and_write_is_planned_anew(world, monkeypatch, meanwhile):
    (first,) = world.load([row(1)])
    table = world.table_of("person")
    deeds = {
        "registered": lambda: world.register({"customer_number": "K-2", "name.family": "Berg"}),
        "updated": lambda: world.update(first.person, "1", {"name.given": "Berta"}),
        "erased": lambda: world.change_rights(table.update().values(state="erased")),
        "catalogue": lambda: world.replace_catalogue(catalogue.default_catalogue_text() + "\n# reviewed\n"),
    }
    write, once = Importer._write, iter([deeds[meanwhile]])

    def moved_first(self, who, plan):
        next(once, lambda: None)()
        return write(self, who, plan)

    monkeypatch.setattr(Importer, "_write", moved_first)
    results = world.load([row(2), {"customer_number": "K-1", "title": "Dr"}])
    expected = {
        "registered": [UPDATED, UPDATED],
        "updated": [CREATED, UPDATED],
        "erased": [CREATED, FAULTY],
        "catalogue": [CREATED, UPDATED],
    }
    assert outcomes(results) == expected[meanwhile]
    if meanwhile == "updated":
        texts = world.texts(first.person)
        assert (texts["name.given"], texts["title"]) == ("Berta", "Dr")
    if meanwhile == "registered":
        assert world.texts(results[0].person) == {**row(2), "name.family": "Berg"}


@pytest.mark.parametrize("existing", [False, True])
def test_a_catalogue_that_is_replaced_between_plan_and_write_decides(world, monkeypatch, existing):
    if existing:
        world.load([row(1, payment__iban="SE3550000000054910000003")])
    write, once = Importer._write, iter([catalogue_without("payment.iban")])

    def replaced_first(self, who, plan):
        for text in once:
            world.replace_catalogue(text)
        return write(self, who, plan)

    monkeypatch.setattr(Importer, "_write", replaced_first)
    (result,) = world.load([row(1)])
    assert result.outcome is FAULTY
    assert result.faults[0].reason is Reason.FIELD_UNKNOWN
    assert len(world.table("person")) == existing


def test_a_financial_value_keeps_its_ring_when_its_field_has_left_the_catalogue(world):
    world.load([row(1)])
    world.replace_catalogue(catalogue_without("payment.iban"))
    assert outcomes(world.load([{"customer_number": "K-1", "title": "Dr"}])) == [UPDATED]
    (stored,) = world.table("person")
    assert world.vault.metadata(stored)["payment.iban"].financial
    with pytest.raises(SlussError):
        world.vault.open_fields(stored, ["payment.iban"], allow_financial=False)


def test_importers_of_one_file_in_many_threads_create_each_person_once(world):
    files = [[row(n) for n in (range(40) if k % 2 else reversed(range(40)))] for k in range(6)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(world.load, files))
    counts = Counter(itertools.chain(*map(outcomes, results)))
    assert counts == {CREATED: 40, UNCHANGED: 200}
    assert len(world.table("person")) == 40


def test_a_crash_before_the_commit_leaves_no_trace_and_the_batch_can_be_sent_again(world, monkeypatch):
    monkeypatch.setattr(rows, "_INSERT_INDEX", "INSERT INTO nothing VALUES (?, ?, ?)")
    with pytest.raises(SlussError):
        world.load([row(1)])
    monkeypatch.undo()
    assert world.table("person") == world.table("unique_number") == []
    assert outcomes(world.load([row(1)])) == [CREATED]


def test_what_was_answered_is_there_after_a_restart(world):
    (result,) = world.load([row(1)])
    assert World(world.engine).texts(result.person) == row(1)


def test_the_batch_is_parsed_only_for_who_may_call(lite):
    def parse():
        raise AssertionError

    for kind in ("privacy", "legal", "operator", "subcontractor"):
        with pytest.raises(SlussError) as caught:
            lite.importer.run(caller("ImportPersons", kind), parse)
        assert caught.value.reason is Reason.ROLE_NOT_ALLOWED


def test_a_malformed_source_stores_nothing_and_is_not_repeated(lite):
    with pytest.raises(SlussError) as caught:
        lite.load([row(1)], source="Canary File")
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert "Canary" not in str(caught.value)
    assert lite.table("person") == []


def test_no_repr_on_the_way_shows_a_value():
    batch = Batch([Row(1, list(CANARIES.items()))], "import:crm")
    assert not re.search("anary|" + re.escape(CANARIES["payment.iban"]), repr(batch))


def test_a_file_of_a_thousand_rows_in_one_batch(world):
    results = world.load([row(n) for n in range(1000)])
    assert Counter(outcomes(results)) == {CREATED: 1000}
    results = world.load([row(n, title="Dr", email=f"b{n}@example.com") for n in range(1000)])
    assert Counter(outcomes(results)) == {UPDATED: 1000}
