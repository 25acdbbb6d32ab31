"""`sluss choice` against a broker: what a person types at each of its verbs, and files that go out and come in."""

from __future__ import annotations

import csv
import json

from tests.support import nursery


def sluss(broker, *arguments, profile="internal/import", exits=0):
    done = nursery.run(["--json", "--profile", broker.profile(profile), *arguments])
    assert done.returncode == exits, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def test_choices_are_recorded_listed_exported_and_imported(broker, tmp_path):
    people = [broker.register(phone=f"+4670174060{n}", email=f"canary{n}@example.com") for n in range(3)]
    form = tmp_path / "form.pdf"
    form.write_bytes(b"a form")
    sluss(broker, "choice", "record", people[0], "partners", "in", "--channel", "email", "--document", str(form))
    sluss(broker, "choice", "record", people[0], "offers.post", "out", "--evidence", "=form 4711")
    listed = sluss(broker, "choice", "list", people[0], "--history", profile="legal/anna")
    assert [(each["purpose"], each["decides"]) for each in listed["in_force"]] == [
        ("offers.post", ["post"]),
        ("partners", ["email"]),
    ]
    assert len(listed["history"]) == 2
    reach = {each["purpose"]: each["channels"] for each in listed["reach"]}
    assert (reach["partners.email"], reach["partners.post"], reach["offers.post"]) == (["email"], [], [])
    assert reach["offers"] == ["email", "phone", "sms"]

    register = tmp_path / "register.txt"
    register.write_text("070-174 06 01\n070-174 06 02\n070-999 99 99\nno number\n")
    told = [
        "choice",
        "import",
        str(register),
        "--key",
        "phone",
        "--country",
        "se",
        "--purpose",
        "offers",
        "--state",
        "out",
    ]
    outcome = {"recorded": 2, "unchanged": 0, "superseded": 0, "nobody": 1, "faulty": 1}
    for extra, expected in ((["--dry-run"], outcome), ([], outcome), ([], outcome | {"recorded": 0, "unchanged": 2})):
        found = sluss(broker, *told, *extra, exits=1)
        assert {name: found[name] for name in expected} == expected
    assert (tmp_path / "register.faulty.txt").read_text() == "no number\n"

    out = tmp_path / "choices.csv"
    assert sluss(broker, "choice", "export", "--out", str(out))["choices"] == 4
    assert out.stat().st_mode & 0o777 == 0o600
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert min(each["evidence"] for each in rows if each["evidence"]) == "'=form 4711"
    found = sluss(broker, "choice", "import", str(out))
    assert (found["unchanged"], found["recorded"]) == (4, 0)
    assert "exists already" in str(sluss(broker, "choice", "export", "--out", str(out), exits=2))
