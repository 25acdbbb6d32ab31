"""Rows about persons that somebody writes without a key: refused, found, or granting nothing."""

from __future__ import annotations

import re
import uuid

import pytest
from sqlalchemy import func, select, update

from broker.asks import Answer
from broker.clock import SECOND, system_clock
from broker.companions import ROOMS
from broker.erasure import erasing
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.ledger.findings import Kind
from broker.ledger.verify import verify_store
from broker.obligations import report, retention
from broker.obligations.rules import State
from broker.obligations.upkeep import Upkeep
from broker.own_keys import NO_CHOICES
from broker.store import tables
from broker.store.engine import writing
from broker.store.queries import LEGAL_CASE, PERSON
from tests.support.legal import Bar
from tests.support.obligations import Owing

CHOICE = tables.core(tables.Choice)
TIES = tables.core(tables.LedgerPerson)
ENTRY = tables.core(tables.LedgerEntry)
EVENT = tables.core(tables.ObligationEvent)
HEAD = tables.core(tables.Head)
OBLIGATION = tables.core(tables.Obligation)
RETENTION = tables.core(tables.Retention)


@pytest.fixture
def world(store_engine, vault):
    return Owing(store_engine, vault)


def write(world, *statements):
    """By hand, with the count of rights moved so that every broker loads the rights anew."""
    with writing(world.engine) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.execute(update(HEAD).values(rights=HEAD.c.rights + 1))


def column(world, person):
    with world.engine.connect() as connection:
        return connection.execute(select(PERSON.c.choices).where(PERSON.c.id == person)).scalar_one()


def refused(action):
    with pytest.raises(SlussError) as caught:
        action()
    return caught.value.reason


# --- choices --------------------------------------------------------------------------------------


class Asking:
    """A contract for partners' advertising, one person who wants it and one who does not."""

    def __init__(self, world):
        self.world = world
        grant = world.grant(purpose="partners.email", fields=("email=full",))
        self.actor = world.actor("subcontractor/third")
        terms = world.terms(self.actor.name, grant)
        self.contract = world.contract(self.actor, world.operator, terms, world.key_of("third"))
        self.yes, self.no = (world.person(world.registration) for _ in range(2))
        self.choose(self.yes, "in")
        self.choose(self.no, "out")

    def choose(self, person, state):
        self.world.choose(self.world.registration, person, "partners.email", state)

    def reached(self, person, request_id=None):
        extra = {"request_id": request_id} if request_id else {}
        handles = [self.world.handle(self.contract, person)]
        found = self.world.disclose(self.actor, self.contract, handles, purpose="partners.email", **extra)
        assert isinstance(found, Answer)
        return bool(found.sealed)


@pytest.fixture
def asking(world):
    return Asking(world)


def test_a_choice_left_alone_is_kept(asking):
    assert (asking.reached(asking.yes), asking.reached(asking.no)) == (True, False)


def _turned(asking):
    return column(asking.world, asking.no).replace('"out"', '"in"')


@pytest.mark.parametrize(
    "forged",
    [
        _turned,
        lambda asking: _turned(asking)[64:],
        lambda asking: column(asking.world, asking.yes),
        lambda asking: column(asking.world, asking.yes)[64:],
        lambda _: NO_CHOICES,
        lambda _: "",
    ],
    ids=["turned", "without a MAC", "another person's", "another's without a MAC", "none", "empty"],
)
def test_a_yes_that_is_written_into_the_store_gives_nothing(asking, forged):
    write(asking.world, update(PERSON).where(PERSON.c.id == asking.no).values(choices=forged(asking)))
    assert not asking.reached(asking.no)
    assert asking.reached(asking.yes)


def test_a_retry_gives_nothing_by_a_forged_yes(asking):
    request_id = uuid.uuid4().bytes
    assert asking.reached(asking.yes, request_id)
    asking.choose(asking.yes, "out")
    turned = column(asking.world, asking.yes).replace('"out"', '"in"')
    write(asking.world, update(PERSON).where(PERSON.c.id == asking.yes).values(choices=turned))
    handles = [asking.world.handle(asking.contract, asking.yes)]
    ask = asking.world.ask(asking.actor, asking.contract, handles, purpose="partners.email", request_id=request_id)
    (found,) = asking.world.spine.run([ask])
    assert isinstance(found, SlussError) or not any(sealed.slices for sealed in found.sealed)


def test_a_forged_choice_is_no_ground_to_build_on(asking):
    write(asking.world, update(PERSON).where(PERSON.c.id == asking.no).values(choices=_turned(asking)))
    assert refused(lambda: asking.choose(asking.no, "in")) is Reason.INTERNAL


class Advertised:
    """A contract for the company's own advertising, which persons may opt out of, and somebody who did."""

    def __init__(self, world):
        self.world = world
        grant = world.grant(purpose="offers.email", fields=("email=full",))
        self.actor = world.actor("subcontractor/third")
        terms = world.terms(self.actor.name, grant)
        self.contract = world.contract(self.actor, world.operator, terms, world.key_of("third"))
        self.silent, self.out = (world.person(world.registration) for _ in range(2))
        self.before = column(world, self.out)
        world.choose(world.registration, self.out, "offers.email", "out")

    def reached(self, person):
        handles = [self.world.handle(self.contract, person)]
        return bool(self.world.disclose(self.actor, self.contract, handles, purpose="offers.email").sealed)

    def put(self, person, choices):
        write(self.world, update(PERSON).where(PERSON.c.id == person).values(choices=choices))

    def findings(self):
        found = verify_store(self.world.engine, self.world.keys.signer().verifier, None, ROOMS).findings
        return [(finding.kind, finding.index) for finding in found]

    def last(self):
        with self.world.engine.connect() as connection:
            return connection.execute(select(func.max(CHOICE.c.entry))).scalar_one()


@pytest.fixture
def advertised(world):
    return Advertised(world)


def test_choices_left_alone_verify(advertised):
    assert (advertised.reached(advertised.silent), advertised.reached(advertised.out)) == (True, False)
    assert advertised.findings() == []


@pytest.mark.parametrize("text", [NO_CHOICES, "", "0.0{}", "0" * 64 + "0.0{}", "another's"])
def test_an_emptied_column_does_not_undo_an_opt_out(advertised, text):
    forged = column(advertised.world, advertised.silent) if text == "another's" else text
    advertised.put(advertised.out, forged)
    assert not advertised.reached(advertised.out)
    assert advertised.reached(advertised.silent)
    assert advertised.findings() == [(Kind.CHOICE, advertised.last())]


def test_an_emptied_column_of_who_never_chose_is_refused_and_found(advertised):
    advertised.put(advertised.silent, NO_CHOICES)
    assert not advertised.reached(advertised.silent)
    assert advertised.findings() == [(Kind.CHOICE, None)]


def test_an_older_value_that_is_put_back_is_found(advertised):
    advertised.put(advertised.out, advertised.before)
    assert advertised.findings() == [(Kind.CHOICE, advertised.last())]


def test_an_older_value_is_found_whatever_becomes_of_the_history(advertised):
    """The row of the history deleted, moved, or moved with its tie: somebody's count differs from the ledger's."""
    last, here = advertised.last(), CHOICE.c.person == advertised.out
    tied = (TIES.c.person == advertised.out) & (TIES.c.entry == last)
    kept = column(advertised.world, advertised.silent)
    advertised.put(advertised.out, advertised.before)
    write(advertised.world, update(CHOICE).where(here).values(person=advertised.silent))
    assert set(advertised.findings()) == {(Kind.CHOICE, last)}
    write(advertised.world, update(TIES).where(tied).values(person=advertised.silent))
    assert advertised.findings() == [(Kind.CHOICE, last)]
    advertised.put(advertised.silent, kept.replace("0.0{", f"1.{last}{{"))
    assert advertised.findings() == []
    assert not advertised.reached(advertised.silent), "a count without a MAC is refused"
    write(advertised.world, CHOICE.delete())
    assert (Kind.CHOICE, last) in advertised.findings()


def test_choices_recorded_later_count_on(advertised):
    for state in ("in", "out", "in"):
        advertised.world.choose(advertised.world.registration, advertised.out, "offers.email", state)
    with advertised.world.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(CHOICE)).scalar_one() == 4
    assert advertised.findings() == []
    assert advertised.reached(advertised.out)


def test_the_choices_of_who_is_erased_are_missed_by_nobody(advertised):
    world = advertised.world
    world.desk.change(world.privacy.caller(), lambda c: erasing.erase(c, advertised.out, "R-2026-0001"))
    assert advertised.findings() == []


# --- legal cases ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["closed", "rejected"])
def test_a_case_that_is_closed_by_hand_frees_nobody(world, state):
    bar = Bar(world)
    person = bar.person()
    bar.open(bar.scope([person]))

    def erase():
        world.desk.change(world.privacy.caller(), lambda c: erasing.erase(c, person, "R-2026-0001"))

    assert refused(erase) is Reason.LEGAL_HOLD
    write(world, update(LEGAL_CASE).values(state=state))
    assert refused(erase) is Reason.LEDGER_INCONSISTENT


# --- what recipients owe --------------------------------------------------------------------------


@pytest.fixture
def owed(world):
    """An erasure that a recipient owes for."""
    person = world.person(world.registration)
    world.give(world.acme, world.acme_contract, person)
    world.desk.change(world.privacy.caller(), lambda c: erasing.erase(c, person, "R-2026-0001"))
    assert (world.progress().total, world.progress().answered) == (1, 0)
    return world


def test_an_obligation_that_is_settled_by_hand_is_not_answered(owed):
    write(owed, update(OBLIGATION).values(settled=1))
    assert (owed.progress().total, owed.progress().answered) == (1, 0)
    caller = owed.privacy.caller()
    for wanted in (report.Filter(), report.Filter(states=frozenset({State.ANSWERED}))):
        look = lambda view, wanted=wanted: report.listed(view, wanted, -1, 10)  # noqa: E731 - named for its use
        assert refused(lambda look=look: owed.desk.read(caller, look)) is Reason.LEDGER_INCONSISTENT
    assert refused(lambda: owed.desk.read(caller, lambda view: report.part(view, "2020-01-01", report.NEVER))) is (
        Reason.LEDGER_INCONSISTENT
    )


@pytest.mark.parametrize("days", [{"due": "2099-01-01"}, {"recipient": "subcontractor/mail"}, {"kind": "correct"}])
def test_an_obligation_that_is_put_off_or_turned_on_another_is_refused(owed, days):
    write(owed, update(OBLIGATION).values(days))
    caller = owed.privacy.caller()
    look = lambda view: report.listed(view, report.Filter(), -1, 10)  # noqa: E731 - named for its use
    assert refused(lambda: owed.desk.read(caller, look)) is Reason.LEDGER_INCONSISTENT
    assert (owed.progress().total, owed.progress().answered) == (1, 0)


def test_an_obligation_that_is_deleted_is_missed(owed):
    with writing(owed.engine) as connection:
        connection.execute(OBLIGATION.delete())
        connection.execute(tables.core(tables.ObligationEvent).delete())
    assert refused(owed.progress) is Reason.LEDGER_INCONSISTENT


def test_retention_is_not_less_for_a_smaller_row(world):
    """The row only finds what to raise; what a recipient had by the ledger is owed at the erasure all the same."""
    person = world.person(world.registration)
    world.give(world.acme, world.acme_contract, person)
    write(world, update(RETENTION).values(last=0, raised=retention.OPEN))
    world.desk.change(world.privacy.caller(), lambda c: erasing.erase(c, person, "R-2026-0001"))
    assert world.progress().total == 1


def owed_findings(world):
    found = verify_store(world.engine, world.keys.signer().verifier, None, ROOMS).findings
    assert {finding.kind for finding in found} <= {Kind.OWED}
    return [finding.message for finding in found]


@pytest.mark.parametrize(
    "change",
    [{"settled": 1}, {"due": "2099-01-01"}, {"until": "2099-01-01"}, {"recipient": "subcontractor/mail"}, {"moved": 0}],
    ids=lambda change: next(iter(change)),
)
def test_verification_names_an_obligation_whose_row_says_something_else(owed, change):
    assert owed_findings(owed) == []
    write(owed, update(OBLIGATION).values(change))
    (said,) = owed_findings(owed)
    assert re.search(rf"obligation O-[0-9]{{4}}-0001 .*: {next(iter(change))}$", said)


def test_verification_names_an_obligation_that_is_deleted_or_made_up(owed):
    write(owed, EVENT.delete())
    (said,) = owed_findings(owed)
    assert "its 0 rows" in said
    write(owed, update(OBLIGATION).values(id="O-2026-0009"))
    assert [said.split(" has ")[1] for said in owed_findings(owed)] == ["a row, and no entry made it", "no row"]
    write(owed, OBLIGATION.delete())
    (said,) = owed_findings(owed)
    assert said.endswith("0001 has no row")


@pytest.mark.parametrize(
    "change",
    [{"last": 0}, {"raised": retention.OPEN}, {"first": 0}, {"recipient": "subcontractor/mail"}],
    ids=lambda change: next(iter(change)),
)
def test_verification_names_a_day_of_deletion_whose_row_says_something_else(world, change):
    person = world.person(world.registration)
    world.give(world.acme, world.acme_contract, person)
    assert owed_findings(world) == []
    write(world, update(RETENTION).values(change))
    (said,) = owed_findings(world)
    assert "under C-" in said


def test_verification_names_a_day_of_deletion_that_is_gone_or_made_up(world):
    person = world.person(world.registration)
    world.give(world.acme, world.acme_contract, person)
    write(world, update(RETENTION).values(until="2099-01-01"))
    assert [said.split(" has ")[1] for said in owed_findings(world)] == [
        "a row, and nothing was disclosed for it",
        "no row",
    ]


def test_a_day_of_deletion_verifies_however_often_it_is_raised(world):
    for _ in range(2):
        person = world.person(world.registration)
        world.give(world.acme, world.acme_contract, person)
        world.desk.change(world.privacy.caller(), lambda c: retention.raise_pending(c.tx))
        assert owed_findings(world) == []
    write(world, update(RETENTION).values(raised=retention.NONE_RAISED))
    assert len(owed_findings(world)) == 1


def test_maintenance_goes_on_past_an_obligation_that_was_tampered_with(store_engine, vault, caplog):
    """The first of two is turned on another by hand; the second's recipient is reminded all the same."""
    later = [0]
    world = Owing(store_engine, vault, clock=lambda: system_clock() + later[0])
    person = world.person(world.registration)
    world.give(world.acme, world.acme_contract, person)
    world.give(world.mail, world.mail_contract, person, fields=("name.given",))
    world.desk.change(world.privacy.caller(), lambda c: erasing.erase(c, person, "R-2026-0001"))
    write(world, update(OBLIGATION).where(OBLIGATION.c.number == 1).values(recipient="subcontractor/x"))
    later[0] = 40 * 86_400 * SECOND
    Upkeep(world.engine, world.ledger, world.vault, world.clock, (-7, 1), 7).run()
    query = select(ENTRY.c.entry).where(ENTRY.c.type == "obligation").order_by(ENTRY.c.id)
    with world.engine.connect() as connection:
        said = [entry.parse(bytes(data)) for data in connection.execute(query).scalars()]
    done = {(each["obligation"][-4:], each["event"]) for each in said if each["event"] != "created"}
    assert ("0002", "reminded") in done
    assert not any(name == "0001" for name, _ in done)
    assert "0001 is not what the ledger says" in caplog.text
