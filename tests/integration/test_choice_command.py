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
    assert {each["policy_version"] for each in rows} == {"2026-01"}
    assert min(each["evidence"] for each in rows if each["evidence"]) == "'=form 4711"
    found = sluss(broker, "choice", "import", str(out))
    assert (found["unchanged"], found["recorded"]) == (4, 0)
    assert "exists already" in str(sluss(broker, "choice", "export", "--out", str(out), exits=2))


def test_a_spreadsheets_list_is_mapped_reviewed_imported_and_comes_back(broker, tmp_path):
    people = [broker.register(customer_number=f"K-{n}", email=f"r{n}@example.com") for n in (1, 2, 3)]
    header = "Kundnummer;Ändamål;Kanal;Samtycke;Datum;Anteckning"
    lines = [
        "K-1;Enkäter till våra kunder;E-post, SMS;Nej;2026-11-02 10:15;Åsa ringde",
        "K-2;Enkäter till våra kunder;alla;nej;2026-11-02;",
        "K-2;partners;E-post;Ja;2026-11-02;",
        "K-3;partners;fax;ja;2026-11-02;",
        "K-3;partners;E-post;kanske;2026-11-02;",
        "K-3;partners;E-post;ja;2 november;",
        "K-4;partners;E-post;ja;;",
    ]
    file, mapping = tmp_path / "val.csv", tmp_path / "val.toml"
    file.write_bytes("\r\n".join([header, *lines, ""]).encode("utf-8-sig"))
    unmapped = sluss(broker, "choice", "import", str(file), exits=2)["error"]["detail"]
    assert "--guess" in unmapped
    mapping.write_text(sluss(broker, "choice", "import", str(file), "--guess")["mapping"])
    mapped = ("choice", "import", str(file), "--mapping", str(mapping))
    for extra, recorded in ((["--dry-run"], 3), ([], 3), ([], 0)):
        found = sluss(broker, *mapped, *extra, exits=1)
        counts = [found[name] for name in ("recorded", "unchanged", "nobody", "faulty", "without_choice")]
        assert counts == [recorded, 3 - recorded, 1, 3, 0]
        told = [(each["line"], each["field"]) for each in found["faults"]]
        assert told == [(5, "Kanal"), (6, "Samtycke"), (7, "Datum")]
    copied = (tmp_path / "val.faulty.csv").read_text(encoding="utf-8-sig").splitlines()
    assert copied == [header, *lines[3:6]]
    corrected = (tmp_path / "val.faulty.csv").read_text("utf-8").replace("fax", "sms").replace("kanske", "nej")
    (tmp_path / "val.faulty.csv").write_text(corrected.replace("2 november", "2026-11-03"))
    again = sluss(broker, "choice", "import", str(tmp_path / "val.faulty.csv"), "--mapping", str(mapping))
    assert (again["recorded"], again["faulty"]) == (3, 0)
    (held,) = sluss(broker, "choice", "list", people[0], profile="legal/anna")["in_force"]
    assert (held["purpose"], held["state"], held["decides"]) == ("surveys", "out", ["email", "sms"])
    assert held["chosen_at"] == "2026-11-02T09:15:00.000000Z"
    # What goes out comes in and changes nothing, however persons are named.
    for key in ("person", "customer_number", "email"):
        out = tmp_path / f"{key}.csv"
        exported = sluss(broker, "choice", "export", "--key", key, "--out", str(out))["choices"]
        found = sluss(broker, "choice", "import", str(out))
        assert (found["unchanged"], found["recorded"], found["faulty"]) == (exported, 0, 0)
