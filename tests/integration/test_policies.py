"""Policy versions in the spine: an entry pins what was in force when it was written; acceptance is kept and proven."""

from __future__ import annotations

import hashlib
import itertools
import uuid

import pytest
from sqlalchemy import delete, insert, select, update

from broker.asks import Answer
from broker.catalogue import default_catalogue_text
from broker.choices import recording
from broker.choices.model import ChoiceMade, Recording
from broker.clock import SECOND, rfc3339
from broker.companions import ROOMS
from broker.erasure.erasing import erase
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.ledger.entry import base64url
from broker.ledger.verify import verify_store
from broker.operator.catalogues import put_in_force
from broker.outbox import consumers
from broker.outbox.queue import ITEM
from broker.outbox.queue import forget as forget_messages
from broker.policies import acceptances, notices, versions
from broker.policies.model import Accepting, Publication, Text
from broker.rights import POLICY, Rights
from broker.scope import describe
from broker.store import tables
from broker.store.engine import writing
from broker.store.queries import PERSON
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

    def accept(self, person, version, source="web", evidence="", request_id=None):
        asked = Accepting(request_id or uuid.uuid4().bytes, person, version, source, evidence)
        return self.world.desk.change(self.registration.caller(), lambda change: acceptances.record(change, asked))

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
        self.world.desk.change(change, lambda c: notices.delivered(c.connection, person, version, c.now_us))


@pytest.fixture
def scene(store_engine, vault):
    return Scene(store_engine, vault)


@pytest.fixture
def lite(sqlite_engine, vault):
    return Scene(sqlite_engine, vault)


def scope_of(view, contract):
    held = view.snapshot.contract(view.connection, contract)
    return describe(view, held.facts, held.facts.terms)


def reason(work, *given, **more):
    with pytest.raises(SlussError) as caught:
        work(*given, **more)
    return caught.value.reason


# --- publishing ------------------------------------------------------------------------------------


def test_a_version_is_published_once_with_the_digest_of_its_texts(scene):
    standing, index = scene.publish("2026-02", START + HOUR)
    canonical = {
        "texts": [
            {"changes": EN.changes, "language": "en", "text": EN.text},
            {"changes": SV.changes, "language": "sv", "text": SV.text},
        ],
        "version": "2026-02",
    }
    digest = base64url(hashlib.sha256(entry.canonical(canonical)).digest())
    said = scene.world.entries(type="policy")[-1]
    assert (said["version"], said["sha256"], said["by"]) == ("2026-02", digest, "privacy/team")
    assert said["effective"] == rfc3339(START + HOUR)
    assert (standing.version.sha256, standing.languages, standing.in_force) == (digest, ("en", "sv"), False)
    assert scene.publish("2026-02", START + HOUR) == (standing, index)
    assert scene.publish("2026-02", texts=()) == (standing, index)
    assert len(scene.world.entries(type="policy")) == 2
    assert [each.version.id for each in scene.all()] == ["2026-01", "2026-02"]


def test_the_text_is_in_the_language_wanted_or_the_best_there_is(lite):
    fi = Text("fi", "Lupaamme.", "")
    lite.publish("2026-02", texts=(SV, EN, fi))
    assert lite.show()[0].version.id == "2026-02"
    assert [lite.show("", wanted)[1].language for wanted in ("sv", "sv-FI", "de", "")] == ["sv", "sv", "en", "en"]
    lite.publish("2026-03", texts=(fi, SV))
    assert lite.show("2026-03", "de")[1] == fi
    assert reason(lite.show, "2031-01") is Reason.POLICY_UNKNOWN
    assert reason(lite.show, "2026-01") is Reason.POLICY_UNKNOWN
    assert reason(lite.show, "no version") is Reason.INVALID_REQUEST


def test_texts_of_the_founding_version_and_languages_are_added_and_nothing_ever_changes(lite):
    founded = lite.all()[0].version
    standing, index = lite.publish("2026-01", texts=(SV,))
    assert (standing.languages, standing.in_force) == (("sv",), True)
    assert standing.version.effective_at == founded.effective_at
    standing, later = lite.publish("2026-01", texts=(EN,))
    assert (standing.languages, later > index) == (("en", "sv"), True)
    assert lite.publish("2026-01", texts=(SV, EN)) == (standing, later)
    assert lite.publish("2026-01", texts=(SV,)) == (standing, later)
    assert reason(lite.publish, "2026-01", texts=(Text("sv", "Other.", ""),)) is Reason.POLICY_EXISTS
    assert reason(lite.publish, "2026-01", START + HOUR) is Reason.POLICY_EXISTS
    assert lite.show("2026-01", "sv")[1] == SV


@pytest.mark.parametrize("effective_at", [1, START, START + 6 * 366 * 24 * HOUR])
def test_a_version_takes_effect_neither_in_the_past_nor_in_a_far_future(lite, effective_at):
    assert reason(lite.publish, "2026-02", effective_at) is Reason.INVALID_REQUEST
    assert len(lite.all()) == 1


def test_two_versions_never_take_effect_at_the_same_moment(lite):
    lite.publish("2026-02", START + HOUR)
    assert reason(lite.publish, "2026-03", START + HOUR) is Reason.INVALID_REQUEST
    assert reason(lite.publish, "2026-03", texts=()) is Reason.INVALID_REQUEST


def test_a_catalogue_brings_no_version_but_the_founding_one(lite):
    other = default_catalogue_text().replace('version = "2026-01"', 'version = "2026-02"')
    assert reason(lite.world.ledger.run, lambda tx: put_in_force(tx, other)) is Reason.INVALID_TERMS
    assert reason(lite.require, "billing", "2026-02") is Reason.INVALID_TERMS


# --- the store grants nothing ----------------------------------------------------------------------


FORGED = {
    "a version made up": lambda: insert(POLICY).values(id="2026-00", effective_at=2, digest=bytes(32)),
    "a version that takes effect earlier": lambda: (
        update(POLICY).where(POLICY.c.id == "2026-02").values(effective_at=START)
    ),
    "a version taken away": lambda: delete(POLICY).where(POLICY.c.id == "2026-02"),
    "a version with another digest": lambda: update(POLICY).where(POLICY.c.id == "2026-02").values(digest=bytes(32)),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_row_that_the_ledger_does_not_say_is_refused(scene, forged):
    _, handle = scene.person()
    scene.publish("2026-02", START + HOUR)
    assert scene.available(handle)
    scene.write(forged())
    assert reason(scene.world.disclose, scene.acme, scene.contract, [handle]) is Reason.LEDGER_INCONSISTENT


FORGED_TEXTS = {
    "changed": lambda: update(versions.TEXT).where(versions.TEXT.c.language == "sv").values(text="Vi lovar inget."),
    "added": lambda: insert(versions.TEXT).values(version="2026-02", language="fi", text="x", changes=""),
    "taken away": lambda: delete(versions.TEXT).where(versions.TEXT.c.language == "sv"),
    "moved": lambda: update(versions.TEXT).values(version="2026-01"),
}


@pytest.mark.parametrize("forged", FORGED_TEXTS.values(), ids=FORGED_TEXTS)
def test_a_text_that_was_not_published_is_not_shown(lite, forged):
    lite.publish("2026-02")
    lite.write(forged())
    version = "2026-01" if forged is FORGED_TEXTS["moved"] else "2026-02"
    assert reason(lite.show, version, "en") is Reason.LEDGER_INCONSISTENT


# --- the version in force when it is written -------------------------------------------------------


def test_a_batch_decided_before_a_version_takes_effect_and_committed_after_carries_the_new_one(scene):
    _, handle = scene.person()
    moment = START + HOUR
    scene.publish("2026-02", moment)
    scene.clock.us = moment - 1000
    prepared = scene.world.spine._prepare
    times = []

    def slow(connection, snapshot, asks, now_us):
        plans = prepared(connection, snapshot, asks, now_us)
        times.append(now_us)
        scene.clock.us = max(scene.clock.us, moment + 10)
        return plans

    scene.world.spine._prepare = slow
    answer = scene.world.disclose(scene.acme, scene.contract, [handle])
    assert [at < moment for at in times] == [True, False]
    said = scene.world.entries(type="disclosure")[-1]
    assert (said["terms"]["policy"], said["at"] >= rfc3339(moment)) == ("2026-02", True)
    assert entry.parse(answer.sealed[0].entry) == said
    assert scene.world.opened(answer)[handle]["email"]


def test_a_broker_whose_clock_is_behind_pins_what_the_ledger_has_reached(scene):
    _, handle = scene.person()
    moment = START + HOUR
    scene.publish("2026-02", moment)
    ahead = World(scene.world.engine, scene.world.vault, clock=lambda: moment + 5 * SECOND, keys=scene.world.keys)
    ahead.ledger.run(lambda tx: tx.append(entry.sealed(tx.at, bytes(32))))
    scene.clock.us = moment - SECOND
    scene.world.disclose(scene.acme, scene.contract, [handle])
    said = scene.world.entries(type="disclosure")[-1]
    assert (said["terms"]["policy"], said["at"] >= rfc3339(moment)) == ("2026-02", True)


def test_at_every_microsecond_around_the_moment_the_entry_pins_what_its_own_time_says(lite):
    _, handle = lite.person()
    moment = START + HOUR
    lite.publish("2026-02", moment)
    for offset in range(-8, 8):
        lite.clock.us = max(lite.clock.us, moment + offset)
        lite.world.disclose(lite.acme, lite.contract, [handle])
    said = lite.world.entries(type="disclosure")
    assert {each["terms"]["policy"] for each in said} == {"2026-01", "2026-02"}
    for each in said:
        assert each["terms"]["policy"] == ("2026-02" if each["at"] >= rfc3339(moment) else "2026-01")


def test_choices_and_confirmations_are_pinned_to_the_version_of_their_own_time(lite):
    person, _ = lite.person()
    moment = START + HOUR
    lite.publish("2026-02", moment)

    def choose():
        asked = Recording(uuid.uuid4().bytes, person, ChoiceMade("offers", "out"), "web")
        return lite.world.desk.change(lite.registration.caller(), lambda c: recording.record(c, asked)).policy

    assert choose() == "2026-01"
    lite.clock.us = moment
    assert choose() == "2026-02"
    later, _ = lite.person()
    with lite.world.engine.connect() as connection:
        refs = connection.execute(select(ITEM.c.refs).where(ITEM.c.person == later)).scalars().all()
    assert refs == ['{"policy":"2026-02"}']


# --- acceptance ------------------------------------------------------------------------------------


def test_a_person_without_the_acceptance_that_a_purpose_asks_for_is_unavailable(scene):
    (person, handle), (other, theirs) = scene.person(), scene.person()
    assert scene.available(handle)
    scene.publish("2026-02", START + HOUR)
    scene.publish("2026-03", START + 2 * HOUR)
    scene.require("billing", "2026-02")
    assert not scene.available(handle)
    scene.accept(person, "2026-01")
    assert not scene.available(handle)
    done = scene.accept(person, "2026-02")
    assert scene.available(handle)
    assert not scene.available(theirs)
    scene.accept(other, "2026-03")
    assert scene.available(theirs)
    # An older one, recorded later, takes nothing away.
    assert scene.accept(person, "2026-01").newest == done.newest == "2026-02"
    assert scene.available(handle)


def test_what_one_broker_recorded_holds_on_every_other_from_the_moment_it_returned(scene):
    person, handle = scene.person()
    scene.require("billing", "2026-01")
    other = World(scene.world.engine, scene.world.vault, clock=scene.clock, keys=scene.world.keys)

    def available():
        (outcome,) = other.spine.run([scene.world.ask(scene.acme, scene.contract, [handle])])
        return bool(outcome.sealed)

    assert not available()
    scene.accept(person, "2026-01")
    assert available()
    scene.publish("2026-02")
    scene.require("billing", "2026-02")
    assert not available()


def test_a_registration_can_bring_the_acceptance(scene):
    scene.require("billing", "2026-01")
    assert scene.available(scene.person(accepted="2026-01")[1])
    assert not scene.available(scene.person()[1])
    assert [each["source"] for each in scene.world.entries(type="acceptance")] == ["registration"]
    assert reason(scene.person, accepted="2031-01") is Reason.POLICY_UNKNOWN


@pytest.mark.parametrize(("asks", "wanted"), [("billing", "billing.collection"), ("billing.collection", "billing")])
def test_what_any_purpose_on_the_line_asks_for_counts(sqlite_engine, vault, asks, wanted):
    scene = Scene(sqlite_engine, vault, purpose=wanted)
    person, handle = scene.person()
    scene.require(asks, "2026-01")
    told = scene.world.desk.read(scene.acme.caller(), lambda view: scope_of(view, scene.contract))
    assert {each.purpose.code for each in told.purposes if each.accepted_since == "2026-01"} >= {wanted}
    assert not scene.available(handle)
    scene.accept(person, "2026-01")
    assert scene.available(handle)


def test_an_acceptance_is_recorded_once_and_shown_with_its_evidence(scene):
    person, _ = scene.person()
    request_id = uuid.uuid4().bytes
    first = scene.accept(person, "2026-01", evidence="form 12, box ticked by Zwolfcanary", request_id=request_id)
    again = scene.accept(person, "2026-01", evidence="form 12, box ticked by Zwolfcanary", request_id=request_id)
    assert first == again
    assert reason(scene.accept, person, "2026-01", request_id=request_id) is Reason.REQUEST_ID_REUSED
    (line,) = scene.history(person)
    assert (line.version, line.source, line.entry) == ("2026-01", "web", first.entry)
    assert line.evidence == "form 12, box ticked by Zwolfcanary"
    assert scene.history(person, scene.world.actor("legal/anna"))[0].evidence == ""
    said = scene.world.entries(type="acceptance")
    assert len(said) == 1
    assert "Zwolfcanary" not in str(said)
    with scene.world.engine.connect() as connection:
        assert b"Zwolfcanary" not in connection.execute(select(acceptances.ACCEPTANCE.c.evidence)).scalar_one()


def test_nothing_is_accepted_that_is_not_there(lite):
    person, _ = lite.person()
    assert reason(lite.accept, person, "2031-01") is Reason.POLICY_UNKNOWN
    assert reason(lite.accept, person, "") is Reason.INVALID_REQUEST
    assert reason(lite.accept, person, "2026-01", "No Source") is Reason.INVALID_REQUEST
    assert reason(lite.accept, 4711, "2026-01") is Reason.PERSON_UNKNOWN


def test_going_on_to_use_the_service_accepts_only_what_is_in_force_and_was_told(lite):
    person, _ = lite.person()
    lite.publish("2026-02", START + HOUR)
    lite.tell(person, "2026-02")
    assert reason(lite.accept, person, "2026-02", "continued_use") is Reason.NOTICE_MISSING
    assert reason(lite.accept, person, "2026-01", "continued_use") is Reason.NOTICE_MISSING
    lite.clock.us = START + HOUR
    assert lite.accept(person, "2026-02", "continued_use").newest == "2026-02"
    other, _ = lite.person()
    assert reason(lite.accept, other, "2026-02", "continued_use") is Reason.NOTICE_MISSING


def test_no_row_accepts_for_a_person(scene):
    (person, handle), (other, theirs) = scene.person(), scene.person()
    scene.publish("2026-02")
    scene.require("billing", "2026-02")
    scene.accept(person, "2026-01")
    scene.accept(other, "2026-02")
    with scene.world.engine.connect() as connection:
        good = dict(connection.execute(select(PERSON.c.id, PERSON.c.accepted)).all())
    forged = ["2026-02", "2026-02:", "2026-02:" + "0" * 64, "2026-02:å", good[other], "2026-02:" + good[person][8:], ""]
    for text in forged:
        scene.write(update(PERSON).where(PERSON.c.id == person).values(accepted=text))
        assert not scene.available(handle), text
    assert scene.available(theirs)


def test_a_line_of_the_history_that_the_ledger_does_not_have_is_refused(lite):
    person, _ = lite.person()
    lite.publish("2026-02")
    lite.accept(person, "2026-01")
    lite.write(update(acceptances.ACCEPTANCE).values(version="2026-02"))
    assert reason(lite.history, person) is Reason.LEDGER_INCONSISTENT


@pytest.mark.parametrize(
    ("order", "needed"), list(itertools.product([("a", "b", "c"), ("c", "a", "b")], ["a", "b", "c"]))
)
def test_the_rule_is_that_of_a_simple_model(sqlite_engine, vault, order, needed):
    """Versions take effect in order of time, whatever they are called and whenever they were published."""
    scene = Scene(sqlite_engine, vault)
    for number, version in reversed(list(enumerate(order, 1))):
        scene.publish(version, START + number * HOUR)
    scene.require("billing", needed)
    for accepted in itertools.permutations(order, 2):
        person, handle = scene.person()
        for version in accepted:
            scene.accept(person, version)
        assert scene.available(handle) == (max(map(order.index, accepted)) >= order.index(needed))


# --- telling everybody ------------------------------------------------------------------------------


def messages(scene, kind="policy_changed"):
    with scene.world.engine.connect() as connection:
        return connection.execute(select(ITEM.c.person).where(ITEM.c.kind == kind).order_by(ITEM.c.id)).scalars().all()


def go_on(scene):
    rights = Rights(scene.world.vault)
    while scene.world.ledger.run(lambda tx: notices.go_on(tx, rights.at(tx.connection))):
        pass


def test_everybody_on_record_is_told_once_and_who_comes_later_with_the_registration(scene, monkeypatch):
    monkeypatch.setattr(notices, "PART", 2)
    before = [scene.person()[0] for _ in range(5)]
    scene.publish("2026-02", START + HOUR, notify=True)
    after = scene.person()[0]
    go_on(scene)
    scene.publish("2026-02", START + HOUR, notify=True)
    go_on(scene)
    assert sorted(messages(scene)) == sorted([*before, after])
    scene.clock.us = START + HOUR
    scene.person()
    assert len(messages(scene)) == 6


def test_what_was_delivered_counts_as_told(lite):
    person, _ = lite.person()
    caller = lite.registration.caller()
    lite.world.desk.change(caller, lambda c: consumers.enlist(c, "mail", (), skip_earlier=False))
    lite.publish("2026-02", notify=True)
    go_on(lite)
    assert reason(lite.accept, person, "2026-02", "continued_use") is Reason.NOTICE_MISSING
    with lite.world.engine.connect() as connection:
        item = connection.execute(select(ITEM.c.id).where(ITEM.c.kind == "policy_changed")).scalar_one()
    lite.world.desk.change(caller, lambda c: consumers.acknowledge(c, "mail", [(item, None)], SECOND))
    lite.accept(person, "2026-02", "continued_use")
    told = lite.world.desk.read(caller, lambda view: notices.told(view.connection, person))
    assert [version for version, _ in told] == ["2026-02"]


# --- what goes with an erasure, and with time ---------------------------------------------------------


def test_nothing_is_left_of_a_person_who_is_forgotten(scene):
    person, handle = scene.person(accepted="2026-01")
    scene.tell(person, "2026-01")
    stays, _ = scene.person(accepted="2026-01")
    with writing(scene.world.engine) as connection:
        acceptances.forget(connection, person)
        forget_messages(connection, person)
        left = [
            connection.execute(select(table.c.person).where(table.c.person == person)).all()
            for table in (acceptances.ACCEPTANCE, notices.NOTICE, ITEM)
        ]
        assert left == [[], [], []]
        assert connection.execute(select(PERSON.c.accepted).where(PERSON.c.id == person)).scalar_one() is None
        assert connection.execute(select(ITEM.c.person)).scalars().all() == [stays]
    scene.require("billing", "2026-01")
    assert not scene.available(handle)


def test_an_erasure_takes_acceptances_notices_and_messages_with_it(scene):
    person, _ = scene.person(accepted="2026-01")
    scene.accept(person, "2026-01", evidence="signed in the shop")
    scene.tell(person, "2026-01")
    scene.world.desk.change(scene.privacy.caller(), lambda change: erase(change, person, "R-2026-0001"))
    with scene.world.engine.connect() as connection:
        for table in (acceptances.ACCEPTANCE, notices.NOTICE, ITEM):
            assert connection.execute(select(table.c.person).where(table.c.person == person)).all() == []
        assert connection.execute(select(PERSON.c.accepted).where(PERSON.c.id == person)).scalar_one() is None
    assert verify_store(scene.world.engine, scene.world.keys.signer().verifier, rooms=ROOMS).ok
    assert reason(scene.history, person) is Reason.PERSON_UNKNOWN


def test_what_nobody_delivers_in_time_is_given_up_and_its_contents_destroyed(lite):
    person, _ = lite.person()
    caller = lite.registration.caller()
    lite.world.desk.change(caller, lambda c: consumers.enlist(c, "mail", (), skip_earlier=False))

    def state():
        with lite.world.engine.connect() as connection:
            items = connection.execute(select(ITEM.c.settled_at > 0, ITEM.c.body != b"")).all()
            said = connection.execute(select(consumers.DELIVERY.c.state, consumers.DELIVERY.c.reason)).all()
        return [tuple(map(bool, item)) for item in items], [tuple(each) for each in said]

    def expire():
        lite.world.ledger.run(lambda tx: consumers.expire(tx.connection, tx.at))

    expire()
    assert state() == ([(False, True)], [])
    lite.clock.us += consumers.LIFE_US + HOUR
    expire()
    assert state() == ([(True, False)], [("dead", "expired")])
    lite.clock.us += consumers.KEPT_US + HOUR
    expire()
    assert state() == ([], [])
    assert person
