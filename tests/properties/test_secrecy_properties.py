"""Secrecy, against a world where what is hidden never happened: over any sequence of events, a person sees the same.

The model is as naive as can be: a list of what was done, and for each case the moment at which its secrecy ends.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sluss.v1 import legal_pb2

from broker.clock import rfc3339
from broker.contracts import Population
from broker.identity import KINDS
from broker.ids import person_text
from broker.ledger import entry
from broker.ledger.receipt import verify_receipt
from broker.ledger.verify import verify_store
from broker.legal.cases import Elsewhere
from broker.legal.model import CaseState, CaseStep, Ground
from broker.rpc.legal import Legal
from broker.store.engine import open_engine
from broker.wire.legal import GROUNDS
from tests.support.legal import Bar
from tests.support.world import World

START_US = 1_800_000_000_000_000
DAY_US = 86_400_000_000
LAST_US = START_US + 300 * DAY_US
"""The certificates of the world are good for longer than this."""
PEOPLE, STEPS = 3, 35
COUNTRIES = ("SE", "NO", "DE")


@dataclass
class Known:
    """A case as the model knows it. `hidden_until` in microseconds; `released` counts persons, -1 before a release."""

    case: str
    ground: Ground
    country: str
    persons: list[int]
    hidden_until: int = 0
    state: str = "pending"
    released: int = -1
    elsewhere: int = 0

    @property
    def line(self):
        outcome = self.state
        if self.released >= 0:
            outcome = "released"
        elif self.elsewhere:
            outcome = "elsewhere"
        return self.ground, self.country, outcome


@dataclass
class Left:
    """What left about a person: the row that the accounting owes, and the case that it belongs to, if any."""

    person: int
    row: tuple
    known: Known | None = None


@dataclass
class Model:
    """A world of cases and a list of what was done in it."""

    bar: Bar
    times: list[int]
    chance: random.Random
    people: list[int] = field(default_factory=list)
    cases: list[Known] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def hidden(self, known):
        return self.times[0] < known.hidden_until

    def owed(self, person):
        """The accounting in the world where what is hidden now never happened."""
        return [
            left.row for left in self.left if left.person == person and not (left.known and self.hidden(left.known))
        ]

    def report(self, *, hidden):
        """line -> (requests, persons) of the same world; of the whole one, if `hidden`."""
        requests, persons = Counter(), Counter()
        for known in self.cases:
            if hidden or not self.hidden(known):
                requests[known.line] += 1
                persons[known.line] += max(known.released, 0) + known.elsewhere
        return {line: (requests[line], persons[line]) for line in requests}


def world(engine, vault, seed):
    times = [START_US]
    bar = Bar(World(engine, vault, clock=lambda: times[0]))
    model = Model(bar, times, random.Random(seed))
    model.people = [bar.person() for _ in range(PEOPLE)]
    model.operator, model.acme = bar.world.actor("operator/olle"), bar.world.actor("subcontractor/acme")
    model.privacy = bar.world.actor("privacy/team")
    model.contract = bar.world.contract(model.acme, model.operator)
    model.servicer = Legal(bar.world.desk, bar.world.ledger, None, bar.cases, bar.cursors, at_once)
    return model


async def at_once(work, *args):
    return work(*args)


# --- events ---------------------------------------------------------------------------------------------


def some_people(model):
    return model.chance.sample(model.people, model.chance.randint(1, PEOPLE))


def some_day(model, least=0):
    return model.bar.today + timedelta(days=least + model.chance.randint(0, 40))


def end_of(day):
    return int(datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).timestamp()) * 1_000_000


def disclose(model):
    people = some_people(model)
    handles = [model.bar.world.handle(model.contract, person) for person in people]
    model.bar.world.disclose(model.acme, model.contract, handles)
    row = ("disclosure", model.contract, rfc3339(model.times[0]), ("email",), "billing", "Acme Pay AB")
    model.left += [Left(person, row) for person in people]


def open_case(model):
    people, until = some_people(model), model.chance.choice([None, some_day(model)])
    ground, country = model.chance.choice(list(Ground)), model.chance.choice(COUNTRIES)
    new = model.bar.new(model.bar.scope())
    scope = model.bar.scope(people)
    if ground is Ground.MERGER and model.chance.random() < 0.5:
        people, scope = list(model.people), model.bar.scope(population=Population(everyone=True))
    secrecy = {"secrecy_until": until, "secrecy_reason": "the investigation"} if until else {}
    requester = type(new.requester)(f"Authority {len(model.cases)}", "Box 1", country, "registrator")
    case = model.bar.open(scope, ground=ground, requester=requester, **secrecy)
    model.cases.append(Known(case, ground, country, people, end_of(until) if until else 0))


def take(model, *states):
    """A case in one of the model's states whose release has not begun; None if there is none."""
    fit = [known for known in model.cases if known.state in states and known.released < 0]
    return model.chance.choice(fit) if fit else None


def approve(model):
    if (known := take(model, "pending")) is None:
        return
    bar = model.bar
    if bar.case(known.case).state is CaseState.RECEIVED:
        bar.deliver(bar.anna, known.case)
        bar.step(bar.anna, known.case, CaseStep.REVIEW)
        bar.step(bar.anna, known.case, CaseStep.PREPARE)
        bar.step(bar.bo, known.case, CaseStep.APPROVE)


def release(model):
    known = take(model, "pending")
    if known is None or model.bar.case(known.case).state is not CaseState.APPROVED:
        return
    model.bar.release(model.chance.choice([model.bar.anna, model.bar.bo]), known.case)
    known.released = len(known.persons)
    name = f"Authority {model.cases.index(known)}"
    row = ("release", known.case, rfc3339(model.times[0]), ("email", "name.given"), known.ground, name)
    model.left += [Left(person, row, known) for person in known.persons]


def record(model):
    fit = [known for known in model.cases if known.state != "rejected"]
    if not fit:
        return
    known, people, bar = model.chance.choice(fit), some_people(model), model.bar
    made = Elsewhere(date(2026, 2, 3), tuple(people), ("phone",), "paper", "by letter")
    etag = bar.etag(known.case)
    bar.change(bar.bo, lambda c: bar.cases.record_elsewhere(c, known.case, made, uuid.uuid4().bytes, etag))
    known.elsewhere += len(people)
    name = f"Authority {model.cases.index(known)}"
    row = ("release_elsewhere", known.case, "2026-02-03", ("phone",), known.ground, name)
    model.left += [Left(person, row, known) for person in people]


def hide_or_prolong(model):
    if not model.cases:
        return
    known = model.chance.choice(model.cases)
    so_far = datetime.fromtimestamp(known.hidden_until // 1_000_000, UTC).date()
    day = max(some_day(model), so_far) if model.hidden(known) else some_day(model)
    model.bar.hide(model.bar.anna, known.case, day)
    known.hidden_until = end_of(day)


def lift(model):
    if fit := [known for known in model.cases if model.hidden(known)]:
        known = model.chance.choice(fit)
        model.bar.hide(model.bar.bo, known.case, None)
        known.hidden_until = model.times[0]


def end(model):
    if known := take(model, "pending"):
        step, known.state = model.chance.choice([(CaseStep.REJECT, "rejected"), (CaseStep.CLOSE, "withdrawn")])
        if model.bar.case(known.case).state is CaseState.APPROVED:
            step, known.state = CaseStep.REJECT, "rejected"
        model.bar.step(model.bar.anna, known.case, step)


def pass_time(model):
    jump = model.chance.choice([1, DAY_US // 2, DAY_US, 20 * DAY_US])
    ends = [known.hidden_until for known in model.cases if model.hidden(known)]
    if ends and model.chance.random() < 0.5:
        jump = max(min(ends) - model.times[0] - model.chance.choice([0, 1]), 0)
    model.times[0] = min(model.times[0] + jump, LAST_US)


EVENTS = (disclose, open_case, open_case, approve, approve, release, release, record, hide_or_prolong, lift, end)


def run(model, check):
    """Random events, with time between them; `check` after each."""
    for _ in range(STEPS):
        model.chance.choice(EVENTS)(model)
        model.times[0] += 1
        check(model)
        if model.chance.random() < 0.4:
            pass_time(model)
            check(model)


# --- what is seen ---------------------------------------------------------------------------------------


def pages(model, person, size):
    """All pages of the accounting, as the privacy team gets them from the servicer."""
    found, token = [], ""
    caller = model.privacy.caller("/sluss.v1.LegalService/ListRecipients", KINDS)
    while True:
        asked = legal_pb2.ListRecipientsRequest(person_id=person_text(person), page_size=size, page_token=token)
        page = asyncio.run(model.servicer.list_recipients(caller, asked, 10.0))
        found.append(page)
        if not (token := page.next_page_token):
            return found


def seen(received):
    kind = legal_pb2.ReceivedKind.Name(received.kind).removeprefix("RECEIVED_KIND_").lower()
    fields = tuple(granted.field for granted in received.fields)
    return kind, received.authority, received.at, fields, received.purpose, received.recipient_name


def check_view(model):
    for person in model.people:
        owed = model.owed(person)
        for size in {1, 2, max(len(owed) - 1, 1), len(owed) or 1, len(owed) + 1, 500}:
            found = pages(model, person, size)
            assert [seen(each) for page in found for each in page.received] == owed
            assert len(found) == max(-(-len(owed) // size), 1)


def check_report(model):
    for hidden in (False, True):
        found = model.bar.report(hidden=hidden)
        told = {(line.ground, line.country, line.outcome): (n.requests, n.persons) for line, n in found}
        assert told == model.report(hidden=hidden)


def check_openings(model):
    """Each row proves itself: its entry by the receipt, and what was hidden by the entry's commitment."""
    verifier, opened = model.bar.world.keys.signer().verifier, 0
    for person in model.people:
        for found in (each for page in pages(model, person, 0) for each in page.received):
            verify_receipt(found.receipt, found.entry, verifier)
            said = entry.parse(found.entry)
            if said["type"] == "sealed":
                opening, opened = found.opening, opened + 1
                assert opening.sealed_entry == found.entry
                commitment = entry.sealed_commitment(opening.salt, opening.entry)
                assert said == {**said, "commitment": entry.base64url(commitment)}
                said = entry.parse(opening.entry)
            assert GROUNDS.get(said.get("ground"), 0) == found.ground
            assert found.authority == (said["case"] if "case" in said else said["terms"]["contract"])
    return opened


def lift_all(model):
    while any(model.hidden(known) for known in model.cases):
        lift(model)
        model.times[0] += 1


ROUNDS, LONG = 3, 60


@contextmanager
def fresh_store(template, folder, seed):
    path = folder / f"{seed}.db"
    shutil.copy(template, path)
    engine = open_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


def test_a_person_sees_a_world_where_what_is_hidden_never_happened(sqlite_template, tmp_path, vault, campaign):
    opened = 0
    for seed in range(LONG if campaign else ROUNDS):
        with fresh_store(sqlite_template, tmp_path, seed) as engine:
            model = world(engine, vault, seed)
            run(model, lambda model: (check_view(model), check_report(model)))
            lift_all(model)
            check_view(model)
            opened += check_openings(model)
            model.bar.world.ledger.publish()
            assert verify_store(engine, model.bar.world.keys.signer().verifier).findings == []
    assert opened, "no sequence hid a release: the test has tested nothing"
