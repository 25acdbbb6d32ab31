"""Leaks over a `World`: subcontractors with contracts, persons disclosed to them, traces, canaries."""

from __future__ import annotations

import uuid

from sqlalchemy import select

from broker.asks import Page
from broker.contracts import Population, Predicate
from broker.persons import update
from broker.persons.model import Correction
from broker.sealing import RecipientPrivateKey
from broker.store.queries import CANARY, PERSON
from broker.tracing import canaries
from broker.tracing.canaries import Planting, Retiring
from broker.tracing.invention import Template
from broker.tracing.likelihood import Assumptions
from broker.tracing.model import FOREVER_US, Leaked, Tracing
from broker.tracing.tracing import PART, Trace

TEMPLATE = Template(("example.com", "example.net"), (), "K-9########", "")
WHY = "a list on a forum"


class Scene:
    """A privacy officer, an operator, and subcontractors by name, each with contracts by name."""

    def __init__(self, world):
        self.world = world
        self.operator = world.actor("operator/olle")
        self.privacy = world.actor("privacy/pia")
        self.registration = world.actor("internal/registration")
        self.acting = {}
        self.keys = {}

    def actor(self, name):
        if name not in self.acting:
            self.acting[name] = self.world.actor(f"subcontractor/{name}")
            self.keys[name] = RecipientPrivateKey.generate()
        return self.acting[name]

    def contract(self, name, *grants):
        """A live contract of a subcontractor."""
        actor = self.actor(name)
        wanted = grants or (self.world.grant(fields=("email=full", "phone=full", "name.given=full")),)
        return self.world.contract(actor, self.operator, self.world.terms(actor.name, *wanted), self.keys[name])

    def person(self, email, **values):
        given = {"customer_number": f"K-{uuid.uuid4().hex[:10]}", "email": email, "address.country": "SE"}
        return self.world.person(
            self.registration, given | {name.replace("__", "."): value for name, value in values.items()}
        )

    def correct(self, person, **values):
        def work(change):
            row = change.connection.execute(select(PERSON.c.version).where(PERSON.c.id == person)).one()
            given = [(name.replace("__", "."), value) for name, value in values.items()]
            return update.update(change, Correction(person, given, (), "web", str(row.version)))

        return self.world.desk.change(self.registration.caller(), work)

    def disclose(self, name, contract, persons, fields=("email",), **extra):
        handles = [self.world.handle(contract, person) for person in persons]
        return self.world.disclose(self.actor(name), contract, handles, fields=fields, **extra)

    def everyone(self, name, contract, fields=("email",), stream=None, **extra):
        """What a bulk disclosure of everyone gives: values by handle; a `stream` of the same id is a retry."""
        got, after = {}, 0
        while True:
            if stream:
                extra["request_id"] = uuid.uuid5(stream, str(after)).bytes
            answer = self.world.disclose(self.actor(name), contract, (), fields=fields, who=Page(after, 50), **extra)
            got.update(self.world.opened(answer, self.keys[name]))
            if not answer.last:
                return got
            after = answer.last

    # Traces.

    def trace(self, *rows, before=FOREVER_US, actor=None, reason=WHY):
        """Summary and rows; a row is an e-mail address or a mapping."""
        leaked = [
            Leaked(place, list(({"email": row} if isinstance(row, str) else row).items()))
            for place, row in enumerate(rows)
        ]
        trace = Trace(Tracing(reason, before, Assumptions()))
        caller, desk = (actor or self.privacy).caller(), self.world.desk
        for start in range(0, len(leaked), PART):
            desk.read(caller, lambda view, start=start: trace.begin_part(view, leaked[start : start + PART]))
            while not desk.read(caller, trace.tie):
                pass
            trace.end_part()
        while not desk.read(caller, trace.hold):
            pass
        summary = desk.change(caller, trace.conclude)
        return summary, trace.rows

    def had(self, *row, **extra):
        """Under which contracts or cases the values of one row were received, value by value."""
        summary, (traced,) = self.trace(*row, **extra)
        return [
            {s.contract or s.case for bit, s in enumerate(summary.sources) if mask >> bit & 1}
            for _, _, mask, _ in traced.values
        ]

    # Canaries.

    def plant(self, contract, count=1, template=TEMPLATE, request_id=None, reason="watch for leaks", actor=None):
        asked = Planting(request_id or uuid.uuid4().bytes, contract, count, template, reason)
        return self.world.desk.change((actor or self.privacy).caller(), lambda c: canaries.plant(c, asked))

    def retire(self, contract, numbers=(), request_id=None, reason="no longer needed"):
        asked = Retiring(request_id or uuid.uuid4().bytes, contract, tuple(numbers), reason)
        return self.world.desk.change(self.privacy.caller(), lambda c: canaries.retire(c, asked))

    def canaries(self, contract=""):
        return self.world.desk.read(self.privacy.caller(), lambda view: canaries.listed(view, contract, ("", 0), 1000))

    def canary_ids(self):
        with self.world.engine.connect() as connection:
            return list(connection.execute(select(CANARY.c.person)).scalars())

    @staticmethod
    def country(*codes):
        return Population(predicates=(Predicate("address.country", frozenset(codes)),))
