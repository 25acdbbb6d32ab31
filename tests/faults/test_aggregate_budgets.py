"""Privacy budgets and kept answers: delta, recipients, the turn of a period, a crash before the commit, forged rows."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import func, select, update

from broker.aggregates import answering, budget, counting, describing, recording
from broker.aggregates.answering import ANSWER, RELEASE, Ask, Questions
from broker.aggregates.question import FREE, Cost
from broker.catalogue.usage import Noise, Period
from broker.companions import ROOMS
from broker.contracts import AggregateTerms, EventGrant, Grant, Population
from broker.erasure import erasing
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.ledger.findings import Kind
from broker.ledger.verify import verify_store
from broker.operator import backup
from broker.sealing import RecipientPrivateKey
from broker.store import tables
from broker.store.engine import open_engine, reading, writing
from tests.support.world import World
from tests.unit.aggregates.world import ASKED, CATALOGUE, EVENT, FIRST

SPENT = tables.core(tables.AggregateSpent)
PURPOSE = "anonymous.advertising"
COUNTRIES = CATALOGUE.attributes["country"].values
EPSILON = CATALOGUE.rules.epsilon_micro
KEPT = 25
NOVEMBER = datetime(2026, 11, 26, tzinfo=UTC)


class Clock:
    """A clock that a test sets."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return int(self.now.timestamp() * 1_000_000)


class Counting(World):
    """A broker at a time that a test sets, with one person who saw an advertisement, and questions to it."""

    def __init__(self, engine, vault):
        super().__init__(engine, vault, clock=Clock(NOVEMBER))
        self.internal, self.operator = self.actor("internal/counting"), self.actor("operator/ops")
        self.acme = self.actor("subcontractor/acme")
        self.known = self.person(self.internal)
        noon = (recording.day_number(FIRST) * 86_400 + 43_200) * 1_000_000
        used = recording.Used(self.known, EVENT, noon, 30, {"advertisement": "spring_trial", "country": "SE"})
        self.desk.change(self.internal.caller(), lambda c: recording.record(c, uuid.uuid4().bytes, [used], KEPT))

    def signed(self, micro=4_000_000, delta=0, period="month", by=None):
        terms = AggregateTerms((EventGrant(EVENT, ("advertisement", "country")),), 20, micro, period, delta)
        grant = Grant(PURPOSE, (), Population(everyone=True), 0, (), terms)
        actor = by or self.acme
        key = RecipientPrivateKey.generate() if by else None
        return self.contract(actor, self.operator, self.terms(actor.name, grant), key)

    def ask(self, contract="", months=KEPT, by=None, **changes):
        """Ask; about a country, and otherwise about all of them."""
        if "country" in changes:
            changes["filters"] = (("country", (COUNTRIES[changes.pop("country")],)),)
        asked = Ask(contract, PURPOSE, replace(ASKED, **changes))
        questions = Questions(self.engine, self.ledger, self.desk, months)
        return questions.answer(
            (by or (self.acme if contract else self.internal)).caller(), lambda: asked, lambda: None
        )

    def refused(self, contract="", **changes):
        with pytest.raises(SlussError) as caught:
            self.ask(contract, **changes)
        return caught.value

    def spent(self, owner):
        """What the store says, over all months."""
        query = select(func.sum(SPENT.c.micro), func.sum(SPENT.c.delta_nano)).where(SPENT.c.owner == owner)
        with reading(self.engine) as connection:
            micro, delta = connection.execute(query).one()
        return Cost(int(micro or 0), int(delta or 0))

    def findings(self):
        found = verify_store(self.engine, self.keys.signer().verifier, None, ROOMS).findings
        # Nothing publishes checkpoints here, while the clock jumps.
        assert {finding.kind for finding in found} <= {Kind.SPENT, Kind.UNPUBLISHED}
        return [finding.message for finding in found if finding.kind is Kind.SPENT]


@pytest.fixture
def world(store_engine, vault):
    return Counting(store_engine, vault)


# --- delta -----------------------------------------------------------------------------------------------


def test_delta_is_spent_with_epsilon_told_and_refused_when_it_is_used_up(world):
    contract = world.signed(delta=3)
    asked = {"noise": Noise.GAUSSIAN, "measures": ("events",)}
    first = world.ask(contract, country=0, **asked)
    assert (first.spent, first.budget.spent) == (Cost(2 * EPSILON, 2), Cost(2 * EPSILON, 2))
    said = entry.parse(first.entry)
    assert (said["noise"], said["delta_nano"], said["spent_delta_nano"]) == ("gaussian", 2, 2)
    for owner in (contract, world.acme.name, "everybody"):
        assert world.spent(owner) == Cost(2 * EPSILON, 2)
    told = world.refused(contract, country=1, **asked)
    assert (told.reason, told.metadata["budget"]) == (Reason.BUDGET_EXCEEDED, "contract")
    assert (told.metadata["left_delta_nano"], told.metadata["cost_delta_nano"]) == ("1", "2")
    other = world.ask(contract, country=1, measures=("events",))
    assert (other.spent, other.budget.spent) == (Cost(2 * EPSILON, 0), Cost(4 * EPSILON, 2))
    assert world.findings() == []


def test_a_contract_without_delta_has_no_gaussian_noise(world):
    told = world.refused(world.signed(), noise=Noise.GAUSSIAN)
    assert (told.reason, told.metadata["field"]) == (Reason.INVALID_REQUEST, "noise")


# --- one recipient, several contracts ----------------------------------------------------------------------


def test_another_contract_gives_a_recipient_nothing_more(world):
    one, other = world.signed(), world.signed()
    three = {"measures": ("mean_seconds",)}
    for place in range(5):
        world.ask(one, country=place, **three)
    for place in range(5, 8):
        world.ask(other, country=place, **three)
    assert world.spent(world.acme.name).micro == 8 * 3 * EPSILON == CATALOGUE.rules.budget_micro
    told = world.refused(other, country=9)
    assert (told.reason, told.metadata["budget"], told.metadata["left_micro"]) == (
        Reason.BUDGET_EXCEEDED,
        "recipient",
        "0",
    )
    # What it has learnt already costs it nothing, and the other contract its own price.
    again = world.ask(other, country=0, **three)
    assert again.spent.micro == 3 * EPSILON
    assert world.spent(world.acme.name).micro == 8 * 3 * EPSILON
    view = world.desk.read(world.acme.caller(), lambda v: describing.recipients_budget(v, _facts(v, one)))
    assert (view.left, view.limit.owner) == (Cost(0, CATALOGUE.rules.budget_delta_nano), world.acme.name)
    assert world.findings() == []


def _facts(view, contract):
    return describing.contract_facts(view, contract)


def test_recipients_who_put_their_answers_side_by_side_have_everybodys_budget(world):
    rules, places = CATALOGUE.rules, iter(range(100))
    left, three = rules.total_micro, {"measures": ("mean_seconds",)}
    for name in ("a", "b", "c"):
        recipient = world.actor(f"subcontractor/{name}")
        contract = world.signed(rules.budget_micro, by=recipient)
        while world.spent(recipient.name).micro < rules.budget_micro:
            world.ask(contract, by=recipient, country=next(places), **three)
        left -= rules.budget_micro
    last = world.actor("subcontractor/d")
    contract = world.signed(rules.budget_micro, by=last)
    while left >= 3 * EPSILON:
        world.ask(contract, by=last, country=next(places), **three)
        left -= 3 * EPSILON
    told = world.refused(contract, by=last, country=next(places), **three)
    assert (told.reason, told.metadata["budget"]) == (Reason.BUDGET_EXCEEDED, "everybody")
    assert "left_micro" not in told.metadata, "what others have spent is theirs"
    # What the others have had is no new noise: it costs the recipient alone.
    assert world.ask(contract, by=last, country=0, **three).spent.micro == 3 * EPSILON
    assert world.spent("everybody").micro == rules.total_micro - left
    assert world.findings() == []


# --- the turn of a period ----------------------------------------------------------------------------------


def test_a_budget_begins_anew_with_the_period_to_the_second(world):
    contract = world.signed(micro=EPSILON)
    world.clock.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    assert world.ask(contract, country=0).budget.name == "2026-11"
    told = world.refused(contract, country=1)
    assert (told.reason, told.metadata["retry_after_s"]) == (Reason.BUDGET_EXCEEDED, "1")
    world.clock.now = datetime(2026, 12, 1, tzinfo=UTC)
    found = world.ask(contract, country=1)
    assert (found.budget.name, found.budget.spent.micro) == ("2026-12", EPSILON)
    assert world.findings() == []


def test_what_is_counted_before_the_turn_and_settled_after_it_is_spent_after_it(world, monkeypatch):
    contract = world.signed(micro=EPSILON)
    world.clock.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    world.ask(contract, country=0, first_day=date(2026, 10, 2))
    real = counting.count

    def slowly(*given):
        world.clock.now = datetime(2026, 12, 1, 0, 0, 1, tzinfo=UTC)
        return real(*given)

    monkeypatch.setattr(answering, "count", slowly)
    assert world.refused(contract, country=1).reason is Reason.BUDGET_EXCEEDED, "refused before it is counted"
    other = world.signed(micro=EPSILON)
    found = world.ask(other, country=2)
    assert (found.budget.name, entry.parse(found.entry)["period"]) == ("2026-12", "2026-12")
    assert world.refused(other, country=3).reason is Reason.BUDGET_EXCEEDED


def test_an_answer_about_days_whose_events_went_while_it_was_counted_is_not_kept(world, monkeypatch):
    world.clock.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    real = counting.count

    def slowly(*given):
        world.clock.now = datetime(2026, 12, 1, 0, 0, 1, tzinfo=UTC)
        return real(*given)

    monkeypatch.setattr(answering, "count", slowly)
    told = world.refused(months=1)
    assert (told.reason, told.metadata["field"]) == (Reason.INVALID_REQUEST, "first_day")
    assert world.spent("everybody") == FREE


def test_a_quarter_is_the_sum_of_its_months(world):
    contract = world.signed(micro=2 * EPSILON, period="quarter")
    world.ask(contract, country=0)
    world.clock.now = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert world.ask(contract, country=1).budget.spent.micro == 2 * EPSILON
    assert world.refused(contract, country=2).reason is Reason.BUDGET_EXCEEDED
    world.clock.now = datetime(2027, 1, 1, tzinfo=UTC)
    assert world.ask(contract, country=2).budget.name == "2027-Q1"


@pytest.mark.parametrize("year", [1999, 2024, 2026])
def test_periods_follow_each_other_without_gap_or_overlap(year):
    for period, length in ((Period.MONTH, 12), (Period.QUARTER, 4)):
        at, names = int(datetime(year, 1, 1, tzinfo=UTC).timestamp()), []
        for _ in range(length):
            name, began, ends = budget.bounds(period, at * 1_000_000)
            assert began == at
            assert budget.bounds(period, ends * 1_000_000 - 1)[1] == began
            at = ends
            names.append(name)
            assert budget.months(name)[0] == began
            assert len(budget.months(name)) == 12 // length
        assert at == int(datetime(year + 1, 1, 1, tzinfo=UTC).timestamp())
        assert len(set(names)) == length


# --- between noise and commit ------------------------------------------------------------------------------


class CrashError(Exception):
    """What stands for the end of a process."""


@pytest.mark.parametrize("place", ["_entry", "insert"], ids=["before the entry", "after the entry"])
def test_noise_that_was_drawn_before_a_crash_is_never_seen(world, monkeypatch, place):
    contract = world.signed()
    drawn, real = [], answering.answers.draw

    def remembered(*given):
        drawn.append(real(*given))
        return drawn[-1]

    def crash(*_):
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(answering.answers, "draw", remembered)
        patch.setattr(answering, place, crash)
        with pytest.raises(CrashError):
            world.ask(contract, country=0)
    world.reopen()
    assert (len(drawn), world.entries(type="aggregate"), world.spent(contract)) == (1, [], FREE)
    with reading(world.engine) as connection:
        assert connection.execute(select(func.count()).select_from(ANSWER)).scalar_one() == 0
    found = world.ask(contract, country=0)
    assert found.spent.micro == EPSILON
    assert len(world.entries(type="aggregate")) == 1
    assert world.ask(contract, country=0).answer.data == found.answer.data
    assert world.findings() == []


# --- erasure and time --------------------------------------------------------------------------------------


def test_who_asks_after_an_erasure_what_another_asked_before_has_no_pair_to_compare(world):
    before = world.ask(world.signed())
    world.desk.change(world.internal.caller(), lambda c: erasing.erase(c, world.known, "R-2026-0001"))
    after = world.ask(world.signed())
    assert (after.answer.data, after.spent.micro) == (before.answer.data, EPSILON)
    assert world.spent("everybody").micro == EPSILON, "no noise was drawn for it"


def test_days_whose_events_are_gone_are_not_asked_about_and_what_was_answered_stays(world):
    before = world.ask()
    told = world.refused(months=0, country=0)
    assert (told.reason, told.metadata["field"]) == (Reason.INVALID_REQUEST, "first_day")
    assert "2026-11-01" in told.detail
    assert world.ask(months=0).answer.data == before.answer.data


# --- a backup that is put back ------------------------------------------------------------------------------


def test_a_restored_backup_spends_no_budget_twice(world, tmp_path, monkeypatch):
    monkeypatch.setattr(backup, "system_clock", world.clock)
    contract = world.signed(micro=2 * EPSILON)
    quarterly = world.signed(period="quarter")
    before = world.ask(contract, country=0)
    world.ask(quarterly, country=0)
    taken = backup.take(world.engine, tmp_path / "taken", world.keys.signer().origin)
    lost = world.ask(contract, country=1)
    assert lost.budget.left == FREE
    url = f"sqlite:///{tmp_path / 'restored.db'}"
    backup.put_back(tmp_path / "taken", url, taken)
    world.engine = open_engine(url)
    try:
        world.reopen()
        assert world.findings() == []
        # The same question would get other noise, out of a budget that knows nothing of the first.
        told = world.refused(contract, country=1)
        assert (told.reason, told.metadata["left_micro"]) == (Reason.BUDGET_EXCEEDED, "0")
        assert "a backup was restored" in told.detail
        again = world.ask(contract, country=0)
        assert (again.answer.data, again.spent, again.budget.closed) == (before.answer.data, FREE, True)
        world.clock.now = datetime(2026, 12, 1, tzinfo=UTC)
        assert world.ask(contract, country=1).budget.closed is False
        assert world.refused(quarterly, country=2).reason is Reason.BUDGET_EXCEEDED
        world.clock.now = datetime(2027, 1, 1, tzinfo=UTC)
        assert world.ask(quarterly, country=2).budget.closed is False
    finally:
        world.engine.dispose()


def test_a_backup_that_is_put_back_by_a_clock_that_is_behind_closes_the_ledgers_own_period(world):
    contract = world.signed(micro=2 * EPSILON)
    world.clock.now = datetime(2026, 12, 1, 0, 0, 1, tzinfo=UTC)
    world.ask(contract, country=0)
    with writing(world.engine) as connection:
        budget.close(connection, int(NOVEMBER.timestamp() * 1_000_000))
    for moment in (NOVEMBER, datetime(2026, 12, 31, tzinfo=UTC)):
        world.clock.now = moment
        assert "a backup was restored" in world.refused(contract, country=1).detail
    world.clock.now = datetime(2027, 1, 1, tzinfo=UTC)
    assert world.ask(contract, country=1).budget.closed is False


# --- rows that somebody writes without a key ---------------------------------------------------------------


def write(world, statement):
    with writing(world.engine) as connection:
        connection.execute(statement)


def test_a_budget_that_is_given_back_by_hand_is_found(world):
    contract = world.signed(delta=12)
    world.ask(contract, noise=Noise.GAUSSIAN)
    owners = [contract, "everybody", world.acme.name]
    for number, owner in enumerate(owners):
        write(world, update(SPENT).where(SPENT.c.owner == owner).values(micro=0 if number else EPSILON, delta_nano=0))
        found = world.findings()
        assert [f"the budget of {each} has spent" in said for each, said in zip(owners, found, strict=False)] == [
            True
        ] * (number + 1)
    write(world, SPENT.delete())
    assert len(world.findings()) == len(owners)


def test_an_answer_that_is_exchanged_is_refused_and_found(world):
    contract = world.signed()
    kept = world.ask(contract, country=0).answer.data
    other = world.ask(contract, country=1).answer.data
    write(world, update(ANSWER).where(ANSWER.c.answer == kept).values(answer=other))
    for asker in (contract, world.signed(), ""):
        assert world.refused(asker, country=0).reason is Reason.LEDGER_INCONSISTENT
    (said,) = world.findings()
    assert "another answer" in said


def test_an_answer_or_a_release_that_is_taken_away_is_found(world):
    world.ask(world.signed())
    write(world, ANSWER.delete())
    (said,) = world.findings()
    assert "is not kept" in said
    write(world, RELEASE.delete())
    assert ["has no row" in said for said in world.findings()] == [False, True]


@pytest.mark.parametrize(
    "changes", [{"spent_micro": 0}, {"spent_delta_nano": 5}, {"period": "2026-10"}, {"period": "?"}]
)
def test_an_entry_that_does_not_add_up_is_found(world, changes):
    """A broker that counts wrongly would be found out by its own entries."""
    world.ask(world.signed(period="quarter"))
    (said,) = world.entries(type="aggregate")
    body = {name: value for name, value in said.items() if name not in ("at", "type", "v", "sha256", "question")}
    digests = {"question": bytes(32), "answer": bytes(32)}
    told = {**body, **digests, "spent_micro": 2 * EPSILON, **changes}
    with world.ledger.transaction() as tx:
        tx.append(entry.aggregate(tx.at, **told), contract=told["contract"], recipient=told["recipient"])
    assert sum("is not the sum of its entries" in each for each in world.findings()) == 1


def test_a_release_that_is_made_up_to_pay_nothing_is_found(world):
    contract, other = world.signed(), world.signed()
    found = world.ask(contract)
    with reading(world.engine) as connection:
        question = connection.execute(select(ANSWER.c.question)).scalar_one()
    row = {"owner": other, "recipient": world.acme.name, "purpose": "anonymous", "question": question}
    write(world, RELEASE.insert().values(**row, entry=found.index))
    (said,) = world.findings()
    assert "it did not" in said
