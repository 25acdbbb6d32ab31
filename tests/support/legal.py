"""Legal cases over a `World`: two of the legal team, persons, and the steps of a case by name."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from broker.contracts import FieldGrant, Population
from broker.ledger import entry
from broker.legal import recipients, releasing, report
from broker.legal.cases import Cases, Changes, NewCase
from broker.legal.model import CaseStep, Delivery, Ground, Instrument, Key, Requester, Scope
from broker.legal.rows import load
from broker.pages import Cursors
from broker.sealing import Opener, RecipientPrivateKey

RELEASE = "/sluss.v1.LegalService/Release"
ALWAYS = (0, 1 << 62)


class Bar:
    """The legal team of a world. Anna opens and prepares; Bo is the second person."""

    def __init__(self, world):
        self.world = world
        self.anna = world.actor("legal/anna")
        self.bo = world.actor("legal/bo")
        self.registration = world.actor("internal/registration")
        self.cases = Cases()
        self.cursors = Cursors(bytes(32))
        self.key = RecipientPrivateKey.generate()

    @property
    def today(self):
        return datetime.fromtimestamp(self.world.clock() // 1_000_000, UTC).date()

    def person(self, **extra):
        return self.world.person(self.registration, **extra)

    def scope(self, persons=(), fields=("email=full", "name.given=full"), population=None, **extra):
        granted = tuple(FieldGrant(*field.split("=")) for field in sorted(fields))
        return Scope(tuple(sorted(persons)), population, granted, **extra)

    def new(self, scope, ground=Ground.PROCESS, **changes):
        found = NewCase(
            ground=ground,
            requester=Requester("Polisen", "Box 12256, 102 26 Stockholm", "SE", "registrator@example.org"),
            instrument=Instrument("court_order", "B 1234-26", date(2026, 1, 2)),
            scope=scope,
            listed=scope.persons,
            received=date(2026, 1, 3),
            deadline=date(2099, 1, 1),
            handler="",
            note="",
            secrecy_until=None,
            secrecy_reason="",
        )
        return replace(found, **changes)

    def change(self, actor, work):
        return self.world.desk.change(actor.caller(), work)

    def read(self, work, actor=None):
        return self.world.desk.read((actor or self.anna).caller(), work)

    def open(self, scope, actor=None, request_id=None, **changes):
        new = self.new(scope, **changes)
        held = self.change(actor or self.anna, lambda c: self.cases.open_case(c, new, request_id or uuid.uuid4().bytes))
        return held.case.id

    def case(self, case):
        return self.read(lambda view: load(view, case)).case

    def etag(self, case):
        return str(self.case(case).etag)

    def step(self, actor, case, step, reason="because", etag=None):
        based_on = etag or self.etag(case)
        return self.change(actor, lambda c: self.cases.step(c, case, step, reason, based_on))[0].case

    def edit(self, actor, case, **changes):
        based_on = self.etag(case)
        return self.change(actor, lambda c: self.cases.change(c, case, Changes(**changes), based_on))[0].case

    def deliver(self, actor, case, key=None):
        """To the authority's key, which is this one's unless another is given."""
        public = (key or self.key).public()
        delivery = Delivery(Key(public.suite, public.data), self.today + timedelta(days=30))
        return self.edit(actor, case, delivery=delivery)

    def approved(self, scope, **changes):
        """A case that Anna has prepared and Bo has approved."""
        case = self.open(scope, **changes)
        self.deliver(self.anna, case)
        self.step(self.anna, case, CaseStep.REVIEW)
        self.step(self.anna, case, CaseStep.PREPARE)
        self.step(self.bo, case, CaseStep.APPROVE)
        return case

    def hide(self, actor, case, until, reason="the investigation would suffer"):
        based_on = self.etag(case)
        return self.change(actor, lambda c: self.cases.set_secrecy(c, case, until, reason, based_on))[0].case

    def release(self, actor, case, resume_after="", most=None, key=None):
        """The messages of a release; at most so many."""
        caller = actor.caller(RELEASE)

        def begin(change):
            held = self.cases.begin_release(change, case, key)
            return releasing.Parts(caller, held, self.cursors, 0, resume_after)

        parts = self.world.desk.change(caller, begin)
        messages = []
        while (ask := parts.next()) is not None:
            (answer,) = self.world.spine.run([ask])
            if isinstance(answer, Exception):
                raise answer
            messages.append(parts.reply(ask, answer))
            if most is not None and len(messages) == most:
                return messages
        self.world.desk.change(caller, lambda c: self.cases.complete_release(c, case))
        return messages

    def opened(self, case, messages, key=None):
        """person id text -> values of every slice of the messages."""
        found = {}
        for message in messages:
            for part in message.parts:
                opener = Opener([key or self.key], case)
                terms = _terms(part.disclosure.entry)
                for made, person in zip(part.disclosure.slices, part.person_ids, strict=True):
                    found[person] = dict(opener.open(terms, part.disclosure.epoch, made).values)
        return found

    def received(self, person, actor=None, period=ALWAYS, after=-1, limit=1_000):
        return self.read(lambda view: recipients.received(view, person, period, after, limit), actor)

    def report(self, *, hidden=False, period=ALWAYS):
        return self.read(lambda view: report.report(view, period, include_hidden=hidden))

    def everyone(self, **extra):
        return self.scope(population=Population(everyone=True), **extra)


def _terms(data):
    return entry.canonical(entry.parse(data)["terms"])
