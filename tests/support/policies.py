"""A contract, persons and policy versions over a real store, with a clock that a test sets."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import update

from broker.asks import Answer
from broker.catalogue import default_catalogue_text
from broker.clock import SECOND
from broker.errors import SlussError
from broker.operator.catalogues import put_in_force
from broker.policies import acceptances, notices, versions
from broker.policies.model import Accepting, Publication, Text
from broker.scope import describe
from broker.store import tables
from broker.store.engine import writing
from tests.support.world import World

HEAD = tables.core(tables.Head)
START = 1_795_000_000 * SECOND
HOUR = 3_600 * SECOND
SV = Text("sv", "# Policy\n\nVi lovar.", "Ny lydelse i punkt 3.")
EN = Text("en", "# Policy\n\nWe promise.", "Clause 3 reworded.")


class Clock:
    """A clock that a test sets; it moves a microsecond whenever it is read."""

    def __init__(self):
        self.us = START

    def __call__(self):
        self.us += 1
        return self.us


class Scene:
    def __init__(self, engine, vault, purpose="billing", clock=None):
        self.clock = clock or Clock()
        self.world = World(engine, vault, clock=self.clock)
        self.privacy = self.world.actor("privacy/team")
        self.operator = self.world.actor("operator/olle")
        self.acme = self.world.actor("subcontractor/acme")
        self.registration = self.world.actor("internal/registration")
        terms = self.world.terms(self.acme.name, self.world.grant(purpose=purpose, fields=("email=full",)))
        self.purpose = purpose
        self.contract = self.world.contract(self.acme, self.operator, terms)

    def publish(self, version, effective_at=0, texts=(SV, EN), *, notify=False):
        asked = Publication(version, effective_at, texts, notify)
        return self.world.desk.change(self.privacy.caller(), lambda change: versions.publish(change, asked))

    def show(self, version="", language=""):
        return self.world.desk.read(self.privacy.caller(), lambda view: versions.show(view, version, language))

    def all(self):
        return self.world.desk.read(self.privacy.caller(), versions.list_all)

    def accept(self, person, version, source="web", evidence="", request_id=None, by=None):
        asked = Accepting(request_id or uuid.uuid4().bytes, person, version, source, evidence)
        caller = (by or self.registration).caller()
        return self.world.desk.change(caller, lambda change: acceptances.record(change, asked))

    def history(self, person, who=None):
        caller = (who or self.registration).caller()
        return self.world.desk.read(caller, lambda view: acceptances.history(view, person, 0, 50))[0]

    def require(self, purpose, version):
        """A catalogue in which a purpose asks for the acceptance of a version."""
        code = f'code = "{purpose}"\n'
        text = default_catalogue_text().replace(code, f'{code}accepted_since = "{version}"\n')
        assert text.count("accepted_since") == 1
        self.world.ledger.run(lambda tx: put_in_force(tx, text))

    def person(self, **extra):
        person = self.world.person(self.registration, **extra)
        return person, self.world.handle(self.contract, person)

    def available(self, handle):
        outcome = self.world.spine.run([self.world.ask(self.acme, self.contract, [handle], purpose=self.purpose)])[0]
        assert isinstance(outcome, Answer), outcome
        return bool(outcome.sealed)

    def write(self, *statements):
        """By hand at the database's console, so that every broker loads the rights anew."""
        with writing(self.world.engine) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.execute(update(HEAD).values(rights=HEAD.c.rights + 1))

    def tell(self, person, version):
        """A message about the version is delivered."""
        change = self.registration.caller()
        self.world.desk.change(change, lambda c: notices.delivered(c.connection, [(person, version)], c.now_us))


def scope_of(view, contract):
    held = view.snapshot.contract(view.connection, contract)
    return describe(view, held.facts, held.facts.terms)


def reason(work, *given, **more):
    with pytest.raises(SlussError) as caught:
        work(*given, **more)
    return caught.value.reason
