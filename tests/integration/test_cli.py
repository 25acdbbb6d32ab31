"""The `sluss` command against a broker in a process of its own: what a person or a script sees."""

import csv
import re
import shutil
import stat
import subprocess
import sys
import time
from contextlib import contextmanager

import orjson
import pytest
from sluss_cli import row_file
from sluss_cli.contract_file import EXAMPLE
from sluss_client.keys import KeyStore
from sluss_client.profile import Profile

from broker.demo.population import persons, write_csv
from broker.ledger.receipt import verify_receipt
from tests.support import sluss_command
from tests.support.broker import free_port

COUNT = 600
ACME = "subcontractor/acme-pay"
ASK = ("--purpose", "billing.collection", "-f", "email,name.display")


class Place:
    """A home folder, profiles, and the command run in this process."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "home"
        self.operator = self.home / "profiles" / "operator-admin"
        self.internal = self.home / "profiles" / "internal-import"
        self.legal = folder / "anna"
        self.privacy = folder / "eva"
        self.acme = folder / "acme"

    def run(self, *words, profile=None, exits=0, **options):
        argv = [str(word) for word in words] + (["--profile", str(profile)] if profile else [])
        result = sluss_command.invoke(sluss_command.whole(), argv, **options)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert result.exit_code == exits, result.output
        return result

    def tried(self, *words):
        """The result, whatever it is."""
        return sluss_command.invoke(sluss_command.whole(), words)

    def json(self, *words, **options):
        return orjson.loads(self.run(*words, "--json", **options).stdout)

    def refused(self, *words, **options):
        return self.json(*words, exits=3, **options)["error"]["reason"]

    @contextmanager
    def serving(self):
        words = [sys.executable, "-m", "sluss_cli", "serve", "--home", str(self.home)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as broker:
            try:
                assert broker.stdout.readline().startswith("listening on")
                yield broker
            finally:
                broker.terminate()

    def found(self):
        listen = f"127.0.0.1:{free_port()}"
        origin = ("--trust-domain", "example.com", "--origin", "example.com/sluss")
        self.run("init", "--home", self.home, *origin, "--listen", listen)
        self.run("certificate", "issue", "subcontractor", "acme-pay", "--out", self.acme, "--home", self.home)
        self.run("certificate", "issue", "legal", "anna", "--out", self.legal, "--home", self.home)
        self.run("certificate", "issue", "privacy", "eva", "--out", self.privacy, "--home", self.home)

    def populate(self):
        self.file = self.folder / "customers.csv"
        self.planted = write_csv(self.file, persons(COUNT), faulty=True)
        self.mapping = self.folder / "mapping.toml"
        self.mapping.write_text(self.run("import", self.file, "--guess").stdout, encoding="utf-8")
        return self.json("import", self.file, "--mapping", self.mapping, profile=self.internal, exits=1)

    def agree(self, text=EXAMPLE):
        contract = self.propose(text)
        self.run("contract", "accept", contract, "--yes", profile=self.acme)
        self.run("key", "register", profile=self.acme)
        return contract

    def propose(self, text=EXAMPLE):
        terms = self.folder / "terms.toml"
        terms.write_text(text, encoding="utf-8")
        return self.json("contract", "propose", terms, profile=self.operator)["contract"]["contract"]

    def person(self, number):
        found = self.json("person", "look-up", "--customer-number", f"K-{number:07d}", profile=self.internal)
        return found["persons"][0]

    def handle(self, contract, number):
        found = self.json("person", "handles", contract, self.person(number), profile=self.internal)
        return found["handles"][0]["handle"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("place"))
    made.found()
    with made.serving():
        made.imported = made.populate()
        made.contract = made.agree()
        yield made


def test_faulty_rows_are_written_out_corrected_and_imported_again(place):
    assert place.imported["created"] == COUNT
    assert place.imported["faulty"] == len(place.planted)
    lines = {fault.line for fault in place.planted}
    assert {fault["line"] for fault in place.imported["faults"]} == lines
    faulty = place.folder / "customers.faulty.csv"
    assert stat.S_IMODE(faulty.stat().st_mode) == 0o600
    again = place.json("import", faulty, "--mapping", place.mapping, profile=place.internal, exits=1)
    assert again["created"] == 0
    assert place.run("import", place.file, "--mapping", place.mapping, profile=place.internal, exits=1)
    with faulty.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    good = next(persons(1, seed=77))
    corrected = place.folder / "corrected.csv"
    with corrected.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerow(rows[0] | {"E-mail": good["email"], "Customer number": "X-corrected"})
    done = place.json("import", corrected, "--mapping", place.mapping, profile=place.internal)
    assert (done["created"], done["faulty"]) == (1, 0)


def test_importing_the_same_file_again_changes_nothing_and_a_dry_run_stores_nothing(place):
    again = place.json("import", place.file, "--mapping", place.mapping, profile=place.internal, exits=1)
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, COUNT)
    new = place.folder / "new.csv"
    people = [person | {"customer_number": f"N-{number}"} for number, person in enumerate(persons(5, seed=9))]
    write_csv(new, people)
    words = ("import", new, "--mapping", place.mapping)
    assert place.json(*words, "--dry-run", profile=place.internal)["created"] == 5
    missing = ("person", "look-up", "--customer-number", "N-1")
    assert place.json(*missing, profile=place.internal)["persons"] == []


def test_terms_are_shown_in_full_before_the_question_and_no_leaves_them_unsigned(place):
    contract = place.propose()
    shown = place.run("contract", "accept", contract, profile=place.acme, input="n\n", exits=1).output
    for word in ("billing", "payment.card_number", "last4", "30 days", "10000 persons per day", "forbidden"):
        assert word in shown
    assert shown.index("SHA-256") < shown.index("Sign these terms?")
    assert place.json("contract", "show", contract, profile=place.acme)["contract"]["state"] == "proposed"
    place.run("contract", "accept", contract, profile=place.acme, input="y\n")
    assert place.json("contract", "show", contract, profile=place.acme)["contract"]["state"] == "active"


def test_contract_goes_from_proposal_to_end_and_each_wrong_step_is_refused(place):
    contract = place.agree()
    why = ("--reason", "test")
    place.run("contract", "suspend", contract, *why, profile=place.operator)
    assert place.refused("contract", "suspend", contract, *why, profile=place.operator) == "CONTRACT_WRONG_STATE"
    place.run("contract", "resume", contract, *why, profile=place.operator)
    old = place.json("contract", "show", contract, profile=place.operator)["contract"]["etag"]
    terms = place.folder / "terms.toml"
    place.run("contract", "amend", contract, terms, profile=place.operator)
    stale = ("contract", "amend", contract, terms, "--etag", old)
    assert place.refused(*stale, profile=place.operator) == "ETAG_STALE"
    place.run("contract", "accept", contract, "--yes", profile=place.acme)
    assert place.json("contract", "explain", contract, profile=place.acme)["contract"]["version"] == 2
    place.run("contract", "terminate", contract, *why, profile=place.operator)
    handle = place.handle(place.contract, 1)
    ended = ("disclose", contract, *ASK, "--handle", handle)
    assert place.refused(*ended, profile=place.acme) == "CONTRACT_TERMINATED"


@pytest.mark.parametrize(
    ("words", "profile", "reason"),
    [
        (("contract", "propose", "TERMS"), "acme", "ROLE_NOT_ALLOWED"),
        (("person", "show", "P-0000000000001"), "acme", "ROLE_NOT_ALLOWED"),
        (("person", "show", "P-0000000000001"), "internal", "PERSON_UNKNOWN"),
        (("contract", "show", "C-2026-9999"), "operator", "CONTRACT_UNKNOWN"),
        (("ledger", "receipt", "999999"), "operator", "ENTRY_UNKNOWN"),
        (("ledger", "receipt", "1"), "acme", "ENTRY_UNKNOWN"),
    ],
)
def test_broker_that_says_no_is_exit_code_3_with_its_reason(place, words, profile, reason):
    (place.folder / "example.toml").write_text(EXAMPLE, encoding="utf-8")
    argv = [str(place.folder / "example.toml") if word == "TERMS" else word for word in words]
    assert place.refused(*argv, profile=getattr(place, profile)) == reason


def test_person_is_registered_changed_and_shown_without_values_on_the_command_line(place):
    values = "# a new customer\ncustomer_number=R-1\nemail=new@example.com\nlanguage=sv\n"
    words = ("person", "register", "--values-file", "-", "--opt-out", "offers.email")
    registered = place.json(*words, profile=place.internal, input=values)
    person, confirmed = registered["person"], registered["confirmation"]
    assert [each["value"] for each in confirmed["values"]] == ["R-1", "new@example.com", "sv"]
    assert [(each["purpose"], each["channels"]) for each in confirmed["choices"]] == [("offers.email", [])]
    found = place.json("person", "look-up", "--email", "-", profile=place.internal, input="NEW@example.com\n")
    assert found["persons"] == [person]
    place.run(
        "person",
        "update",
        person,
        "--values-file",
        "-",
        "--remove",
        "language",
        profile=place.internal,
        input="phone=+46701234567\n",
    )
    shown = place.json("person", "show", person, "--values", profile=place.internal)
    assert {field["field"]: field["value"] for field in shown["fields"]} == {
        "customer_number": "R-1",
        "email": "new@example.com",
        "phone": "+46701234567",
    }
    assert shown["choices"] == [{"purpose": "offers.email", "state": "out", "channels": ["email"], "medium": "web"}]
    hidden = place.run("person", "show", person, profile=place.internal).output
    assert "email" in hidden
    assert "new@example.com" not in hidden


def test_faulty_value_is_refused_by_field_and_never_repeated(place):
    words = ("person", "register", "--values-file", "-", "--json")
    result = place.run(*words, profile=place.internal, input="email=canary-no-at-sign\n", exits=2)
    assert "canary" not in result.output
    assert orjson.loads(result.stdout)["error"]["reason"] == "INVALID_VALUE"


@pytest.mark.parametrize("name", ["slices.csv", "slices.jsonl"])
def test_stream_to_a_file_holds_everybody_once_and_is_closed_to_others(place, tmp_path, name):
    out = tmp_path / name
    done = place.json("disclose", place.contract, *ASK, "--all", "--out", out, profile=place.acme)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert not out.with_name(name + ".resume").exists()
    handles = handles_in(out)
    assert len(handles) == len(set(handles)) == done["slices"] >= COUNT


def handles_in(out):
    if out.suffix == ".csv":
        with out.open(encoding="utf-8", newline="") as file:
            return [row["handle"] for row in csv.DictReader(file)]
    return [orjson.loads(line)["handle"] for line in out.read_bytes().splitlines()]


def test_stream_that_is_cut_off_goes_on_with_resume_and_nobody_is_there_twice(place, tmp_path, monkeypatch):
    out, append, chunks = tmp_path / "slices.csv", row_file.ResumableFile.append, []

    def cut(self, rows, cursor):
        if len(chunks) == 2:
            raise KeyboardInterrupt
        chunks.append(cursor)
        append(self, rows, cursor)

    words = ("disclose", place.contract, *ASK, "--all", "--out", out)
    with monkeypatch.context() as patch:
        patch.setattr(row_file.ResumableFile, "append", cut)
        place.run(*words, profile=place.acme, exits=130)
    assert len(handles_in(out)) == 512
    place.run(*words, profile=place.acme, exits=2)
    done = place.json(*words, "--resume", profile=place.acme)
    handles = handles_in(out)
    assert len(handles) == len(set(handles)) == done["slices"] >= COUNT


def test_stream_that_is_cut_off_goes_on_though_who_was_on_the_way_has_changed(place, tmp_path, monkeypatch):
    out, append, lost = tmp_path / "slices.jsonl", row_file.ResumableFile.append, []

    def cut(self, rows, cursor):
        if self.progress.rows:
            lost.extend(rows)
            raise KeyboardInterrupt
        append(self, rows, cursor)

    words = ("disclose", place.contract, *ASK, "--all", "--out", out)
    with monkeypatch.context() as patch:
        patch.setattr(row_file.ResumableFile, "append", cut)
        place.run(*words, profile=place.acme, exits=130)
    told = lost[0].values["email"] + "\n"
    (person,) = place.json("person", "look-up", "--email", "-", profile=place.internal, input=told)["persons"]
    place.run(
        "person", "update", person, "--values-file", "-", profile=place.internal, input="email=moved@example.com\n"
    )
    place.json(*words, "--resume", profile=place.acme)
    found = {row["handle"]: row for row in map(orjson.loads, out.read_bytes().splitlines())}
    assert len(found) >= COUNT
    assert "moved@example.com" in str(found[lost[0].handle])


def test_stream_that_is_refused_leaves_no_file_behind(place, tmp_path):
    out = tmp_path / "slices.csv"
    words = ("disclose", place.contract, "--purpose", "partners.email", "-f", "email", "--all", "--out", out)
    assert place.refused(*words, profile=place.acme) == "PURPOSE_OUT_OF_SCOPE"
    assert list(tmp_path.iterdir()) == []


def test_volume_that_is_used_up_says_what_still_goes_and_until_when(place, tmp_path):
    contract = place.agree(EXAMPLE.replace("day = 10000, month = 100000", "day = 100"))
    words = ("disclose", contract, *ASK, "--all", "--out", tmp_path / "slices.csv")
    refused = place.run(*words, profile=place.acme, exits=3)
    assert "VOLUME_EXCEEDED" in refused.stderr
    assert "--chunk-size 100" in refused.stderr
    assert re.search(r"The window ends at \d{4}-\d\d-\d\d 00:00:\d\d UTC", refused.stderr)
    assert "--resume" not in refused.stderr
    again = place.run(*words, "--chunk-size", 60, profile=place.acme, exits=3)
    assert "--chunk-size 40" in again.stderr
    assert "--resume" in again.stderr
    place.run(*words, "--resume", "--chunk-size", 40, profile=place.acme, exits=3)
    assert len(handles_in(tmp_path / "slices.csv")) == 100


def test_import_that_is_refused_is_not_told_to_try_again(place):
    told = place.run("import", place.file, "--mapping", place.mapping, profile=place.acme, exits=3)
    assert "again" not in told.stderr


def test_removing_what_is_not_on_record_says_so(place):
    words = ("person", "register", "--set", "language=sv", "--set", "customer_number=K-absent")
    person = place.json(*words, profile=place.internal)["person"]
    update = ("person", "update", person)
    told = place.json(*update, "--remove", "phone", profile=place.internal)
    assert (told["changed"], told["absent"]) == (False, ["phone"])
    told = place.json(*update, "--remove", "phone", "--remove", "language", profile=place.internal)
    assert (told["changed"], told["absent"]) == (True, ["phone"])
    assert "is as it was" in place.run(*update, "--remove", "language", profile=place.internal).stdout


def test_one_slice_is_one(place, tmp_path):
    handle, out = place.handle(place.contract, 1), tmp_path / "one.jsonl"
    told = place.run("disclose", place.contract, *ASK, "--handle", handle, "--out", out, profile=place.acme)
    assert "Wrote 1 slice to" in told.stdout


def test_dry_run_tells_what_would_happen_and_writes_nothing(place):
    before = place.json("ledger", "checkpoint", profile=place.acme)["size"]
    handle = place.handle(place.contract, 1)
    answer = place.json("disclose", place.contract, *ASK, "--handle", handle, "--dry-run", profile=place.acme)
    assert answer["fields"] == {"email": "full", "name.display": "full"}
    assert place.json("ledger", "checkpoint", profile=place.acme)["size"] == before


def test_kept_slice_opens_again_without_the_broker_and_not_with_another_key(place, tmp_path):
    handle, kept = place.handle(place.contract, 1), tmp_path / "kept.sealed"
    first = place.json("disclose", place.contract, *ASK, "--handle", handle, "--sealed", kept, profile=place.acme)
    assert place.json("open", kept, profile=place.acme) == first
    stranger = tmp_path / "stranger"
    shutil.copytree(place.acme, stranger)
    (stranger / "keys.json").unlink()
    KeyStore(stranger / "keys.json").generate()
    place.run("open", kept, profile=stranger, exits=5)


def test_unavailable_handle_is_exit_code_1_and_the_others_still_come(place):
    known, unknown = place.handle(place.contract, 1), "h_" + "A" * 22
    words = ("disclose", place.contract, *ASK, "--handle", known, "--handle", unknown)
    answer = place.json(*words, profile=place.acme, exits=1)
    assert [item["handle"] for item in answer["slices"]] == [known]
    assert answer["unavailable"] == [{"handle": unknown, "reason": "PERSON_UNAVAILABLE"}]


def test_receipt_written_to_a_file_verifies_with_nothing_but_the_published_keys(place, tmp_path):

    index = place.json("ledger", "show", "--limit", 1, profile=place.acme)["entries"][0]["index"]
    out = tmp_path / "entry.tlog-proof"
    place.run("ledger", "receipt", index, "--out", out, profile=place.acme)
    entry = (tmp_path / "entry.tlog-proof.json").read_bytes()
    verify_receipt(out.read_text(encoding="utf-8"), entry, Profile.load(place.acme).verifier())


def test_page_of_the_ledger_is_filtered_by_type_contract_and_recipient(place):
    everything = place.json("ledger", "show", "--limit", 0, profile=place.operator)["entries"]
    refusals = place.json("ledger", "show", "--type", "refusal", profile=place.operator)["entries"]
    assert refusals == [item for item in everything if item["entry"]["type"] == "refusal"]
    raw = place.run("ledger", "show", "--limit", 0, "--raw", profile=place.operator).stdout
    assert [orjson.loads(line) for line in raw.splitlines()] == [item["entry"] for item in everything]
    mine = place.json("ledger", "show", "--limit", 0, profile=place.acme)["entries"]
    assert 0 < len(mine) < len(everything)
    assert ACME in str(mine[-1])


def test_ledger_that_was_rolled_back_behind_its_back_is_exit_code_5(tmp_path):
    place = Place(tmp_path)
    place.found()
    earlier = tmp_path / "earlier.db"
    shutil.copy(place.home / "sluss.db", earlier)
    with place.serving():
        place.propose()
        grown = place.json("ledger", "verify", profile=place.acme)
        assert grown["ok"]
    for leftover in place.home.glob("sluss.db*"):
        leftover.unlink()
    shutil.copy(earlier, place.home / "sluss.db")
    with place.serving():
        for verb in ("verify", "checkpoint"):
            place.run("ledger", verb, profile=place.acme, exits=5)
        for _ in range(4):
            place.propose(EXAMPLE.replace("DPA-2026-17", "DPA-2026-18"))
        place.run("ledger", "verify", profile=place.acme, exits=5)


def test_revoked_certificate_is_refused_at_once(tmp_path):
    place = Place(tmp_path)
    place.found()
    with place.serving():
        place.run("contract", "list", profile=place.acme)
        revoke = ("certificate", "revoke", "--principal", ACME, "--reason", "stolen laptop")
        place.run(*revoke, "--home", place.home)
        assert place.refused("contract", "list", profile=place.acme) == "CERTIFICATE_REVOKED"


def test_import_that_the_broker_drops_says_how_far_it_came_and_goes_on_when_repeated(tmp_path):
    place = Place(tmp_path)
    place.found()
    file, mapping = tmp_path / "many.csv", tmp_path / "mapping.toml"
    write_csv(file, persons(4000))
    mapping.write_text(place.run("import", file, "--guess").stdout, encoding="utf-8")
    words = [sys.executable, "-m", "sluss_cli", "import", str(file), "--mapping", str(mapping)]
    words += ["--profile", str(place.internal)]
    with place.serving() as broker:
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as importing:
            wait_for(lambda: place.json(*look_up("K-0000100"), profile=place.internal)["persons"])
            broker.kill()
            told = importing.communicate(timeout=30)[1]
        assert importing.returncode == 4, told
        assert "Cut off after" in told
    with place.serving():
        again = place.json("import", file, "--mapping", mapping, profile=place.internal)
    assert again["created"] + again["unchanged"] == 4000
    assert again["unchanged"] >= 100


def look_up(number):
    return ("person", "look-up", "--customer-number", number)


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_stream_that_is_terminated_says_how_it_goes_on_and_does(place, tmp_path):
    out = tmp_path / "slices.csv"
    ask = [
        "disclose",
        place.contract,
        *ASK,
        "--all",
        "--chunk-size",
        "2",
        "--out",
        str(out),
        "--profile",
        str(place.acme),
    ]
    words = [sys.executable, "-m", "sluss_cli", *ask]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asking:
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") > 3)
        asking.terminate()
        told = asking.communicate(timeout=30)[1]
    assert asking.returncode == 130, told
    assert "--resume" in told
    place.run(*ask, "--resume")
    handles = handles_in(out)
    assert len(handles) == len(set(handles)) >= COUNT
