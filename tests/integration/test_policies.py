"""Policy versions in the spine: an entry pins what was in force when it was written; no row makes a version."""

from __future__ import annotations

import hashlib
import uuid

import pytest
from sqlalchemy import delete, insert, select, update

from broker.catalogue import default_catalogue_text
from broker.choices import importing as lists
from broker.choices import recording
from broker.choices.exporting import page
from broker.choices.model import Batch, ChoiceMade, ListRow, Outcome, Recording
from broker.clock import SECOND, rfc3339
from broker.errors import Reason
from broker.ids import person_text
from broker.ledger import entry
from broker.ledger.entry import base64url
from broker.operator.catalogues import put_in_force
from broker.outbox.queue import ITEM
from broker.policies import versions
from broker.policies.model import Text
from broker.rights import POLICY
from tests.support.policies import EN, HOUR, START, SV, Scene, reason
from tests.support.world import World


@pytest.fixture
def scene(store_engine, vault):
    return Scene(store_engine, vault)


@pytest.fixture
def lite(sqlite_engine, vault):
    return Scene(sqlite_engine, vault)


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


def test_nobody_is_told_of_a_change_without_what_has_changed(lite):
    silent = Text("fi", "Lupaamme.", "")
    assert reason(lite.publish, "2026-02", texts=(SV, silent), notify=True) is Reason.INVALID_REQUEST
    lite.publish("2026-02", texts=(SV, silent))
    assert reason(lite.publish, "2026-02", texts=(), notify=True) is Reason.INVALID_REQUEST
    assert lite.publish("2026-03", notify=True)


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


def test_a_choice_out_of_a_list_is_pinned_to_the_version_that_was_in_force_when_it_was_made(lite):
    (person, _), moment, started = lite.person(), START + HOUR, lite.all()[0].version.effective_at
    lite.publish("2026-02", moment)
    lite.clock.us = moment + HOUR
    times = {"offers": moment + 1, "partners": moment - 1, "surveys": started - 1}
    rows = [
        ListRow(n, "person", person_text(person), ChoiceMade(purpose, "out", (), "list"), "crm", "", rfc3339(at))
        for n, (purpose, at) in enumerate(times.items())
    ]
    found = lists.run(lite.world.desk, lite.registration.caller(), lambda: Batch(rows))
    assert [each.outcome for each in found] == [Outcome.RECORDED] * 3
    pinned = {"offers": "2026-02", "partners": "2026-01", "surveys": ""}
    assert {said["purpose"]: said["policy"] for said in lite.world.entries(type="choice")} == pinned
    exported, _ = lite.world.desk.read(lite.registration.caller(), lambda view: page(view, 0, "", ""))
    assert {each.line.choice.purpose: each.line.policy for each in exported} == pinned
