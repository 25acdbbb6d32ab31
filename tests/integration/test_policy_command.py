"""`sluss policy` and `sluss outbox` against a broker in a process of its own."""

import json
import subprocess
import sys

import orjson
import pytest
from sluss_cli.policy_file import EXAMPLE

from tests.integration.test_cli import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("place"))
    made.found()
    made.privacy = made.folder / "team"
    made.run("certificate", "issue", "privacy", "team", "--out", made.privacy, "--home", made.home)
    with made.serving():
        yield made


def register(place, *more):
    values = ("--set", "email=asa@example.com", "--set", "name.given=Åsa", *more)
    return place.json("person", "register", *values, profile=place.internal)["person"]


def test_a_version_is_published_from_a_file_shown_and_accepted(place):
    file = place.folder / "policy.toml"
    file.write_text(place.run("policy", "publish", "--example").stdout, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == EXAMPLE
    done = place.json("policy", "publish", file, profile=place.privacy)
    assert (done["version"], done["languages"], done["in_force"]) == ("2026-02", ["en", "sv"], True)
    again = place.json("policy", "publish", file, profile=place.privacy)
    assert again == done
    versions = place.json("policy", "list", profile=place.acme)["versions"]
    assert [each["version"] for each in versions] == ["2026-01", "2026-02"]
    shown = place.run("policy", "show", "--language", "sv", profile=place.acme).stdout
    assert "# Integritetspolicy" in shown
    assert "Punkt 3" in shown
    file.write_text(EXAMPLE.replace("Personuppgifter", "Uppgifter"), encoding="utf-8")
    assert place.refused("policy", "publish", file, profile=place.privacy) == "POLICY_EXISTS"
    person = register(place, "--accept", "2026-01")
    words = ("policy", "accept", person, "2026-02")
    assert place.refused(*words, "--source", "continued_use", profile=place.internal) == "NOTICE_MISSING"
    accepted = place.json(*words, "--evidence", "-", profile=place.internal, input="form 12\n")
    assert accepted["newest_accepted"] == "2026-02"
    found = place.json("policy", "acceptances", person, profile=place.internal)["acceptances"]
    assert [(each["version"], each["source"], each["evidence"]) for each in found] == [
        ("2026-02", "web", "form 12"),
        ("2026-01", "registration", ""),
    ]
    readable = place.run("policy", "acceptances", person, profile=place.internal).stdout
    assert "form 12" in readable
    assert "told of no version" in readable
    said = place.run("ledger", "show", profile=place.privacy).stdout
    assert "a person accepted policy version 2026-02 (web)" in said


@pytest.mark.parametrize(
    ("before", "after", "place_named"),
    [
        ('version = "2026-02"', "version = 2", "version"),
        ("# effective = 2027-01-01T00:00:00+01:00", "effective = 2027-01-01", "effective"),
        ("# effective = 2027-01-01T00:00:00+01:00", "effective = 2027-01-01T00:00:00", "effective"),
        ("[texts.sv]", "[texts.sv.more]", "texts.sv"),
        ("changes =", "change =", "texts.sv.change"),
    ],
)
def test_a_mistake_in_the_file_is_named_by_its_place(place, before, after, place_named):
    file = place.folder / "bad.toml"
    file.write_text(EXAMPLE.replace(before, after, 1), encoding="utf-8")
    error = place.json("policy", "publish", file, profile=place.privacy, exits=2)["error"]
    assert place_named in error["detail"]


def test_a_time_in_the_past_is_refused_by_name(place):
    file = place.folder / "late.toml"
    text = EXAMPLE.replace("2026-02", "2026-03").replace("# effective = 2027-01-01", "effective = 2020-01-01")
    file.write_text(text, encoding="utf-8")
    error = place.json("policy", "publish", file, profile=place.privacy, exits=2)["error"]
    assert error["metadata"]["field"] == "effective"


def test_messages_are_lines_of_json_and_acknowledged_if_asked(place):
    people = {register(place), register(place)}
    # Other tests have persons and messages of their own.
    words = [sys.executable, "-m", "sluss_cli", "outbox", "watch", "archive", "--profile", str(place.internal)]

    def watch(*more):
        done = subprocess.run([*words, *more], capture_output=True, text=True, timeout=30, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    kinds = ("--kind", "registration_confirmation")
    listed = place.json("outbox", "list", "--limit", "500", profile=place.privacy)["items"]
    waiting = sum(each["kind"] == "registration_confirmation" for each in listed)
    seen = watch(*kinds, "--count", str(waiting))
    assert people <= {each["person_id"] for each in seen}
    assert {each["email"] for each in seen if each["person_id"] in people} == {"asa@example.com"}
    assert watch(*kinds, "--count", "1", "--acknowledge") == seen[:1]
    assert watch(*kinds, "--count", "1") == seen[1:2]
    listed = place.json("outbox", "list", "--state", "delivered", profile=place.privacy)
    assert [each["id"] for each in listed["items"]] == [int(seen[0]["id"])]
    (consumer,) = listed["consumers"]
    assert (consumer["principal"], consumer["waiting"]) == ("internal/import", waiting - 1)
    readable = place.run("outbox", "list", profile=place.privacy).stdout
    assert "asa@example.com" not in readable
    assert "archive" in readable


def test_an_import_confirms_if_asked(place):
    file = place.folder / "rows.csv"
    file.write_text("customer_number,email\nK-77,bo@example.com\n", encoding="utf-8")
    mapping = place.folder / "mapping.toml"
    mapping.write_text(place.run("import", file, "--guess").stdout, encoding="utf-8")
    before = len(place.json("outbox", "list", "--limit", "500", profile=place.privacy)["items"])
    place.run("import", file, "--mapping", mapping, "--confirm", profile=place.internal)
    after = place.json("outbox", "list", "--limit", "500", profile=place.privacy)["items"]
    assert len(after) == before + 1


def test_words_that_are_none_are_named(place):
    for words in (("outbox", "list", "--state", "gone"), ("outbox", "watch", "mail", "--kind", "letters")):
        told = place.run(*words, "--json", profile=place.internal, exits=2)
        assert "one of" in orjson.loads(told.stdout)["error"]["detail"]
