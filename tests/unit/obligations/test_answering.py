"""Answers: signed, by the recipient, for this obligation, once; and silence, which is never completion."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import select, update

from broker.clock import DAY, rfc3339, system_clock
from broker.contracts import Step
from broker.errors import Reason, SlussError
from broker.ledger.standing import Standing
from broker.obligations import answering, chasing, report, retention, rows
from broker.obligations.answering import Signed
from broker.obligations.owing import ANSWER_DAYS, day_after
from broker.obligations.report import Filter
from broker.obligations.rules import BROKER, Kind
from broker.obligations.statement import statement
from broker.sealing import RecipientPrivateKey


@pytest.fixture
def owed(world):
    """An erasure that both recipients owe; gives their obligations' ids."""
    person = world.person(world.registration)
    world.give(world.acme, world.acme_contract, person)
    world.give(world.mail, world.mail_contract, person)
    assert world.owe(person, "erase", ()) == 2
    with world.engine.connect() as connection:
        found = connection.execute(select(rows.OBLIGATION.c.recipient, rows.OBLIGATION.c.id)).all()
    return dict(map(tuple, found))


def held(world, name):
    with world.engine.connect() as connection:
        return rows.load(connection, name, Standing())


def attest(world, actor, name, *, signed_by=None, signed_for=None, outcome="deleted", certificate_of=None, through=0):
    account = held(world, signed_for or name).account
    said = {
        "contract": account.contract,
        "event": "attested",
        "kind": str(account.kind),
        "obligation": account.id,
        "outcome": outcome,
        "owed": account.owed,
        "reason": "",
        "recipient": account.recipient,
        "through": through,
        "time": rfc3339(world.clock()),
        "until": "",
    }
    signature = (signed_by or actor).sign(statement(said))
    signed = Signed(said["time"], signature, (certificate_of or actor).evidence.certificate_der)
    return world.desk.change(actor.caller(), lambda c: answering.attest(c, name, outcome, "", through, signed))


def test_nothing_is_complete_while_one_recipient_is_silent(world, owed):
    attest(world, world.acme, owed[world.acme.name])
    assert (world.progress().total, world.progress().answered, world.progress().complete) == (2, 1, False)
    attest(world, world.mail, owed[world.mail.name])
    assert world.progress().complete


def test_answering_twice_gives_the_first_answer_and_destroys_the_handle(world, owed):
    name = owed[world.acme.name]
    assert len(held(world, name).handle) == 16
    _, first = attest(world, world.acme, name)
    _, second = attest(world, world.acme, name)
    assert first == second
    assert (held(world, name).handle, held(world, name).salt) == (b"", b"")
    with pytest.raises(SlussError) as refused:
        attest(world, world.acme, name, outcome="never_held_any_more")
    assert refused.value.reason is Reason.OBLIGATION_WRONG_STATE


def test_a_wrong_a_replayed_or_an_old_keys_signature_fulfils_nothing(world, owed):
    name, other = owed[world.acme.name], owed[world.mail.name]
    rotated = world.actor(world.acme.name)
    for attack in (
        {"signed_by": world.mail},
        {"signed_for": other},
        {"signed_by": rotated},
    ):
        with pytest.raises(SlussError) as refused:
            attest(world, world.acme, name, **attack)
        assert refused.value.reason is Reason.INVALID_SIGNATURE
    with pytest.raises(SlussError) as refused:
        attest(world, world.mail, name)
    assert refused.value.reason is Reason.OBLIGATION_UNKNOWN
    assert world.progress().answered == 0


def test_a_row_written_into_the_store_fulfils_nothing(world, owed):
    with world.engine.begin() as connection:
        connection.execute(update(rows.OBLIGATION).values(settled=1))
    assert world.progress().answered == 0
    with world.engine.begin() as connection:
        connection.execute(rows.EVENT.delete().where(rows.EVENT.c.obligation == owed[world.acme.name]))
    with pytest.raises(SlussError) as refused:
        world.progress()
    assert refused.value.reason is Reason.LEDGER_INCONSISTENT


def test_a_suspended_or_terminated_recipient_can_still_answer(world, owed):
    world.step(world.operator, world.acme_contract)
    world.step(world.operator, world.mail_contract, Step.TERMINATE)
    attest(world, world.acme, owed[world.acme.name])
    attest(world, world.mail, owed[world.mail.name])
    assert world.progress().complete


def test_only_two_people_close_what_nobody_answers_for_and_it_is_never_complete(world, owed):
    name, second = owed[world.acme.name], world.actor("legal/anna")

    def close(by):
        return world.desk.change(by.caller(), lambda c: answering.close(c, name, "bankrupt"))

    def cannot():
        with pytest.raises(SlussError) as refused:
            close(world.privacy)
        assert refused.value.reason is Reason.OBLIGATION_WRONG_STATE

    cannot()
    waiting = held(world, name)
    world.ledger.run(lambda tx: rows.log(tx, waiting, "unanswered", BROKER))
    cannot()
    world.step(world.operator, world.acme_contract, Step.TERMINATE)
    until = day_after(world.clock(), ANSWER_DAYS + 3)
    for event, due in (("delay_asked", ""), ("delay_granted", until)):
        waiting = held(world, name)
        world.ledger.run(lambda tx: rows.log(tx, waiting, event, BROKER, due=due, until=until))  # noqa: B023 - at once
    cannot()
    world.clock = lambda: system_clock() + (ANSWER_DAYS + 4) * DAY
    world.reopen()
    close(world.privacy)
    with pytest.raises(SlussError) as refused:
        close(world.privacy)
    assert refused.value.reason is Reason.SECOND_PERSON_NEEDED
    close(second)
    attest(world, world.mail, owed[world.mail.name])
    found = world.progress()
    assert (found.total, found.answered, found.not_confirmed, found.complete) == (2, 1, 1, False)


def test_reminders_come_once_each_and_escalation_after_them(world, owed):
    account = held(world, owed[world.acme.name]).account

    def events(day, *, over=False):
        return chasing.events_due(account, day, (-7, 1), 7, over=over)

    after = answering.date.fromisoformat(account.due)
    assert events(account.created_at[:10]) == []
    assert events((after - answering.timedelta(days=7)).isoformat()) == ["reminded"]
    assert events((after + answering.timedelta(days=8)).isoformat(), over=True) == [
        "reminded",
        "escalated",
        "unanswered",
    ]


def test_what_was_escalated_is_listed_and_reported_until_it_is_answered(world, owed, caplog):
    name = owed[world.acme.name]
    at_once = -ANSWER_DAYS
    world.ledger.run(lambda tx: chasing.chase(tx, [name], Standing(), (1,), at_once, lambda _contract: False))
    assert f"{name} is overdue by far: {world.acme.name}" in caplog.text

    def listed():
        return world.desk.read(world.privacy.caller(), lambda view: report.listed(view, Filter(escalated=True), -1, 9))[
            0
        ]

    def counted():
        accounts, _ = world.desk.read(
            world.privacy.caller(), lambda view: report.part(view, "2020-01-01", report.NEVER)
        )
        tally = report.Tally("2026-01-01")
        tally.count(accounts)
        return {line.recipient: line.escalated for line in tally.recipients()}

    assert [each.account.id for each in listed()] == [name]
    assert counted() == {world.acme.name: 1, world.mail.name: 0}
    attest(world, world.acme, name)
    assert listed() == []
    assert counted() == {world.acme.name: 0, world.mail.name: 0}


def owed_many(world, count):
    """So many obligations more, the first and every tenth behind it answered; their ids."""

    def make(tx):
        made = (rows.New(Kind.ERASE, world.acme_contract, world.acme.name, "2099-01-01", 0) for _ in range(count))
        return [rows.add(tx, each, BROKER) for each in made]

    names = world.ledger.run(make)
    for name in names[::10]:
        attest(world, world.acme, name)
    return names


@pytest.mark.parametrize("size", [1, 2, 3, 200])
@pytest.mark.parametrize("states", [(), ("open",), ("answered",), ("not_confirmed",)])
def test_a_list_of_many_comes_page_by_page_whole_and_each_once(world, monkeypatch, size, states):
    monkeypatch.setattr(report, "TOGETHER", 2)
    monkeypatch.setattr(report, "LOOKED_AT", 4)
    names = owed_many(world, 23)
    wanted = Filter(states=frozenset(states))
    found, after, pages = [], report.NEVER, 0
    while after is not None:
        held, after = world.desk.read(
            world.privacy.caller(), lambda view, after=after: report.listed(view, wanted, after, size)
        )
        assert len(held) <= size
        found += [each.account.id for each in held]
        pages += 1
    assert sorted(found) == sorted(
        name for n, name in enumerate(names) if not states or states == (("answered",) if n % 10 == 0 else ("open",))
    )
    assert pages <= 25


def test_a_report_of_many_is_counted_part_by_part(world, monkeypatch):
    monkeypatch.setattr(report, "TOGETHER", 4)
    owed_many(world, 12)
    tally, after, parts = report.Tally("2099-01-03"), report.NEVER, 0
    while after is not None:
        accounts, after = world.desk.read(
            world.privacy.caller(), lambda view, after=after: report.part(view, "2020-01-01", after)
        )
        tally.count(accounts)
        parts += 1
    (line,) = tally.recipients()
    assert (line.waiting, line.answered, line.overdue, line.worst_days) == (10, 2, 10, 2)
    assert parts == 4


def delete_by(world):
    """The obligation to delete by a day, raised for whatever was disclosed."""
    world.ledger.run(retention.raise_pending)
    with world.engine.connect() as connection:
        return connection.execute(select(rows.OBLIGATION.c.id).where(rows.OBLIGATION.c.settled == 0)).scalar_one()


def test_what_was_attested_as_deleted_is_not_given_again_by_a_retry_but_owed_anew(world):
    people = [world.person(world.registration) for _ in range(2)]
    request = uuid.uuid4().bytes

    def ask(request_id):
        handles = [world.handle(world.acme_contract, person) for person in people]
        return world.disclose(world.acme, world.acme_contract, handles, request_id=request_id)

    first = ask(request)
    assert ask(request).sealed[0].entry == first.sealed[0].entry
    attest(world, world.acme, delete_by(world), through=first.sealed[0].index)
    with pytest.raises(SlussError) as refused:
        ask(request)
    assert refused.value.reason is Reason.RECORD_CHANGED
    second = uuid.uuid4().bytes
    given = ask(second)
    assert ask(second).sealed[0].entry == given.sealed[0].entry
    assert world.owe(people[0], "erase", ()) == 1


def test_a_field_that_was_deleted_for_a_correction_is_not_given_again_by_a_retry(world):
    person, request = world.person(world.registration), uuid.uuid4().bytes

    def ask(*fields, request_id=request):
        handle = world.handle(world.acme_contract, person)
        return world.disclose(world.acme, world.acme_contract, [handle], fields=fields, request_id=request_id)

    other = uuid.uuid4().bytes
    ask("email")
    ask("payment.iban", request_id=other)
    world.owe(person, "correct", ("email",))
    (name,) = said_to(world, world.acme)
    attest(world, world.acme, name)
    with pytest.raises(SlussError) as refused:
        ask("email")
    assert refused.value.reason is Reason.RECORD_CHANGED
    assert ask("payment.iban", request_id=other).sealed


def test_what_was_deleted_of_who_was_not_in_the_first_answer_hinders_no_retry(world, monkeypatch):
    people, request = [world.person(world.registration) for _ in range(2)], uuid.uuid4().bytes
    terms = world.terms(world.acme.name, world.grant("offers", ("email=full",)))
    contract = world.contract(world.acme, world.operator, terms, RecipientPrivateKey.generate())
    handles = [world.handle(contract, person) for person in people]

    def ask(handles, request_id):
        return world.disclose(world.acme, contract, handles, purpose="offers", request_id=request_id)

    world.choose(world.registration, people[1], "offers", "out")
    first = ask(handles, request)
    world.choose(world.registration, people[1], "offers", "in")
    ask(handles[1:], uuid.uuid4().bytes)
    world.give(world.mail, world.mail_contract, people[0])
    world.owe(people[0], "correct", ("email",))
    world.owe(people[1], "correct", ("email",))
    (theirs,) = said_to(world, world.mail)
    attest(world, world.mail, theirs)
    for name in said_to(world, world.acme):
        if held(world, name).person == people[1]:
            attest(world, world.acme, name)
    looked = []
    replayed = rows.replayed
    monkeypatch.setattr(rows, "replayed", lambda at, names, *more: looked.extend(names) or replayed(at, names, *more))
    assert ask(handles, request).sealed[0].slices == first.sealed[0].slices
    assert looked
    assert theirs not in looked


def said_to(world, actor):
    with world.engine.connect() as connection:
        query = select(rows.OBLIGATION.c.id).where(rows.OBLIGATION.c.recipient == actor.name)
        return list(connection.execute(query).scalars())


def test_delays_are_asked_for_ten_times_at_the_most(world, owed):
    name = owed[world.acme.name]
    account = held(world, name).account
    days = [day_after(world.clock(), ANSWER_DAYS + n) for n in (1, 2)]

    def ask(until):
        said = {
            "contract": account.contract,
            "event": "delay_asked",
            "kind": str(account.kind),
            "obligation": account.id,
            "outcome": "",
            "owed": account.owed,
            "reason": "a backup is rewritten",
            "recipient": account.recipient,
            "through": 0,
            "time": rfc3339(world.clock()),
            "until": until,
        }
        signed = Signed(said["time"], world.acme.sign(statement(said)), world.acme.evidence.certificate_der)
        world.desk.change(world.acme.caller(), lambda c: answering.ask_delay(c, name, until, said["reason"], signed))

    for number in range(10):
        ask(days[number % 2])
    with pytest.raises(SlussError, match="10 times"):
        ask(days[0])
    ask(days[1])
    assert held(world, name).account.delays == 10
