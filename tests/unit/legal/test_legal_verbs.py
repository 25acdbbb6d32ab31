"""`sluss legal`: the way of a case by the command, what it prints, and what it says to wrong input."""

import csv
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sluss.v1 import legal_pb2 as pb
from sluss_cli.exits import Exit
from sluss_cli.legal.case_file import EXAMPLE, parse_case, parse_scope
from sluss_cli.problems import Problem

from broker.sealing import SUITE_XWING, RecipientPrivateKey
from broker.slice_terms import base64url
from tests.support.memory_legal import PERSONS, today

ASA, BJORN, IDA = PERSONS
CASE = "L-2026-0001"
REASON = ("--reason", "as the law asks")


@pytest.fixture
def as_bo(sluss, team):
    """Runs `sluss WORDS` as Bo."""
    return lambda *words, **options: sluss(*words, "--profile", team.folder("bo"), **options)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "request.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


def good(result):
    assert result.exit_code == 0, result.output
    return result


def document(result):
    return orjson.loads(good(result).stdout)


@pytest.fixture
def opened(sluss, file):
    return document(sluss("legal", "open", file, "--json"))["case"]


@pytest.fixture
def approved(team):
    return team.approved().case_id


# --- the way of a case ---


def test_a_case_goes_from_intake_to_a_package_that_checks(sluss, as_bo, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Opened L-2026-0001" in good(sluss("legal", "open", file)).stdout
    assert "1 person" in good(sluss("legal", "show", CASE)).stdout
    good(sluss("legal", "review", CASE, *REASON))
    good(sluss("legal", "change", CASE, "--drop-field", "name.family", "--package", "--retain-until", today(200)))
    assert "somebody else" in good(sluss("legal", "prepare", CASE, *REASON)).stdout
    refused = sluss("legal", "approve", CASE, *REASON, "--yes")
    assert (refused.exit_code, "SECOND_PERSON_NEEDED" in refused.stderr) == (Exit.REFUSED, True)
    shown = good(as_bo("legal", "approve", CASE, *REASON, input="y\n"))
    assert shown.stdout.index("email") < shown.stdout.index("is approved")
    released = document(sluss("legal", "release", CASE, "--json"))
    package = tmp_path / f"{CASE}.zip.age"
    assert stat.S_IMODE(package.stat().st_mode) == 0o600
    assert not package.with_name(package.name + ".release").exists()
    checked = document(
        sluss(
            "legal", "check", package, "--passphrase-file", "-", "--json", "--out", "out", input=released["passphrase"]
        )
    )
    assert (checked["persons"], checked["entries"]) == (1, released["entries"])
    row = json.loads((tmp_path / "out" / "data.jsonl").read_text())
    assert row == {"person": ASA, "entry": released["entries"][0], "values": {"email": "asa@example.org"}}
    good(sluss("legal", "close", CASE, *REASON))


def test_the_passphrase_is_printed_once_and_is_nowhere_on_disk(sluss, approved, tmp_path):
    out = tmp_path / "court.zip.age"
    said = good(sluss("legal", "release", approved, "--out", out, "--language", "sv")).stdout
    secret = said.split("this once: ")[1].split()[0]
    assert said.count(secret) == 1
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_package_can_be_made_again_while_its_state_is_kept(sluss, team, approved, tmp_path):
    out = tmp_path / "p.zip.age"
    first = document(sluss("legal", "release", approved, "--out", out, "--keep", "--json"))
    again = document(sluss("legal", "release", approved, "--out", out, "--json"))
    assert again["entries"] == first["entries"]
    assert again["passphrase"] != first["passphrase"]
    assert not (tmp_path / "p.zip.age.release").exists()


def test_an_interrupted_release_goes_on_by_running_it_again(sluss, team, approved, tmp_path):
    team.world.chunk = 1
    out, lies = tmp_path / "p.zip.age", team.world.lies

    def lie(message):
        if message.done == 2:
            message.parts[0].disclosure.epoch = b""

    lies.append(lie)
    result = sluss("legal", "release", approved, "--out", out)
    assert result.exit_code == Exit.INTEGRITY, result.output
    assert not out.exists()
    lies.clear()
    good(sluss("legal", "release", approved, "--out", out))
    assert [call.resume_after for call in team.world.calls] == ["", "1"]


def test_a_release_never_writes_over_another_file(sluss, approved, tmp_path):
    out = tmp_path / "mine.age"
    out.write_text("mine")
    result = sluss("legal", "release", approved, "--out", out)
    assert (result.exit_code, out.read_text()) == (Exit.USAGE, "mine")


def test_an_emergency_is_asked_for_stands_out_and_is_answered_by_another(sluss, as_bo, team):
    case = team.open_case(ground=pb.GROUND_PROTECTION).case_id
    good(sluss("legal", "change", case, "--package", "--retain-until", today(30)))
    no = sluss("legal", "emergency", case, *REASON, input="n\n")
    assert no.exit_code == Exit.FOUND_WRONG
    assert "must confirm by" in good(sluss("legal", "emergency", case, *REASON, "--yes")).stdout
    assert "EMERGENCY, not confirmed yet" in good(sluss("legal", "list")).stdout
    assert "EMERGENCY: released by legal/anna" in good(sluss("legal", "show", case)).stdout
    good(as_bo("legal", "dispute", case, *REASON))
    assert "EMERGENCY, disputed" in good(sluss("legal", "list")).stdout


def test_the_list_says_what_is_due_and_on_which_ground_in_words(sluss, team):
    for days in (-1, 0, 1, 3, 4):
        team.open_case(deadline=today(days))
    lines = good(sluss("legal", "list")).stdout.splitlines()
    marks = {line.split()[2]: line for line in lines if line.startswith("L-")}
    assert "OVERDUE" in marks[today(-1)]
    assert "due today" in marks[today(0)]
    assert "due in 1 day" in marks[today(1)]
    assert "due in 3 days" in marks[today(3)]
    assert "due" not in marks[today(4)]
    assert "Law or legal process" in marks[today(4)]


@pytest.mark.parametrize("step", ["ask-information", "challenge", "reject"])
def test_every_step_says_where_the_case_stands_and_its_entry(sluss, opened, step):
    found = document(sluss("legal", step, CASE, *REASON, "--json"))
    assert found["case"]["state"].startswith(step.replace("ask-information", "information_asked")[:6])
    assert isinstance(found["entry_index"], int)


def test_a_step_on_a_case_that_has_moved_on_is_refused(sluss, opened):
    result = sluss("legal", "review", CASE, *REASON, "--etag", "0")
    assert (result.exit_code, "ETAG_STALE" in result.stderr) == (Exit.REFUSED, True)


def test_secrecy_is_set_prolonged_and_lifted(sluss, opened):
    assert "hidden until" in good(sluss("legal", "hide", CASE, "--until", today(30), *REASON)).stdout
    sooner = sluss("legal", "prolong", CASE, "--until", today(20), *REASON)
    assert (sooner.exit_code, "already" in sooner.stderr) == (Exit.USAGE, True)
    assert today(60) in good(sluss("legal", "prolong", CASE, "--until", today(60), *REASON)).stdout
    assert "is lifted" in good(sluss("legal", "lift", CASE, *REASON)).stdout
    assert sluss("legal", "prolong", CASE, "--until", today(90), *REASON).exit_code == Exit.USAGE


def test_a_scope_only_gets_narrower(sluss, team):
    case = team.open_case().case_id
    found = document(sluss("legal", "change", case, "--drop-person", BJORN, "--collected-from", "2026-01-01", "--json"))
    assert found["case"]["scope"]["persons"] == [ASA]
    assert found["case"]["scope"]["collected_from"] == "2026-01-01"


def test_a_wider_scope_is_refused_by_the_broker(sluss, opened, file):
    file.write_text(EXAMPLE.replace('["P-04CVZ6HGRM5PX"]', f'["P-04CVZ6HGRM5PX", "{IDA}"]'))
    result = sluss("legal", "change", CASE, "--scope", file)
    assert (result.exit_code, "SCOPE_WIDENED" in result.stderr) == (Exit.REFUSED, True)


def test_cases_are_listed_by_state_handler_and_ground(sluss, team, opened):
    team.open_case(ground=pb.GROUND_RIGHTS_AND_PROPERTY)

    def listed(*words):
        return [case["case"] for case in document(sluss("legal", "list", *words, "--json"))["cases"]]

    assert listed() == ["L-2026-0002", CASE]
    assert listed("--ground", "rights_and_property") == ["L-2026-0002"]
    assert listed("--handler", "legal/bo") == []
    assert listed("--state", "closed") == []


def test_documents_come_back_as_they_went_in(sluss, opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "order.pdf").write_bytes(b"%PDF order")
    added = document(sluss("legal", "document", "add", CASE, "order.pdf", "--json"))["document"]
    assert (added["media_type"], added["number"]) == ("application/pdf", 1)
    good(sluss("legal", "document", "get", CASE, "1", "--out", "again.pdf"))
    assert (tmp_path / "again.pdf").read_bytes() == b"%PDF order"
    assert sluss("legal", "document", "get", CASE, "1").exit_code == Exit.USAGE


def test_a_document_of_another_content_than_its_digest_is_not_kept(sluss, opened, team, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "order.pdf").write_bytes(b"%PDF order")
    good(sluss("legal", "document", "add", CASE, "order.pdf"))
    kept = team.world.documents[CASE]
    kept[0] = (kept[0][0], b"%PDF other")
    result = sluss("legal", "document", "get", CASE, "1", "--out", "again.pdf")
    assert (result.exit_code, (tmp_path / "again.pdf").exists()) == (Exit.INTEGRITY, False)


def test_a_documents_name_can_not_choose_another_place(sluss, opened, team, tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "order.pdf").write_bytes(b"%PDF")
    good(sluss("legal", "document", "add", CASE, "order.pdf"))
    team.world.documents[CASE][0][0].name = "../../\u202efdp.exe"
    good(sluss("legal", "document", "get", CASE, "1"))
    assert sorted(path.name for path in folder.iterdir()) == ["_.._\u005ffdp.exe", "order.pdf"]


def test_persons_are_found_and_previewed_masked(sluss, opened, file):
    found = good(sluss("legal", "find", "--name", "-", input="lindqvist\n")).stdout
    assert ASA in found
    preview = good(sluss("legal", "preview", CASE)).stdout
    assert "email" in preview
    assert "asa@example.org" not in found + preview
    assert document(sluss("legal", "preview", "--file", file, "--json"))["persons"] == 1


def test_a_release_made_elsewhere_is_recorded(sluss, opened):
    said = good(
        sluss("legal", "record", CASE, "--on", today(-2), "--person", ASA, "-f", "email", "--medium", "paper", *REASON)
    )
    assert "made elsewhere" in said.stdout
    assert document(sluss("legal", "show", CASE, "--json"))["case"]["elsewhere"]


# --- sealed to the authority's key ---


def key_files():
    curve, lattice = X25519PrivateKey.generate(), RecipientPrivateKey.generate(SUITE_XWING)
    public, private = curve.public_key(), curve.private_bytes_raw()
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    yield public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), pem
    yield public.public_bytes_raw(), private
    yield public.public_bytes_raw().hex().encode() + b"\n", private.hex().encode()
    yield base64url(lattice.public().data).encode(), base64url(lattice.data).encode()


@pytest.mark.parametrize(("public", "private"), list(key_files()), ids=["pem", "raw", "hex", "base64"])
def test_a_package_sealed_to_a_key_in_any_usual_form_opens_with_its_private_half(
    sluss, as_bo, team, tmp_path, public, private
):
    (tmp_path / "public").write_bytes(public)
    (tmp_path / "private").write_bytes(private)
    (tmp_path / "private").chmod(0o600)
    case, out = team.open_case().case_id, tmp_path / "p.zip"
    good(sluss("legal", "change", case, "--to-key", tmp_path / "public", "--retain-until", today(30)))
    good(sluss("legal", "review", case, *REASON))
    good(sluss("legal", "prepare", case, *REASON))
    good(as_bo("legal", "approve", case, *REASON, "--yes"))
    assert "nobody else can open it" in good(sluss("legal", "release", case, "--out", out)).stdout
    assert not document(sluss("legal", "check", out, "--json"))["opened"]
    folder = tmp_path / "released"
    good(sluss("legal", "check", out, "--private-key", tmp_path / "private", "--out", folder))
    assert "asa@example.org" in (folder / "data.csv").read_text("utf-8-sig")
    assert "asa@example.org" in (folder / "data.jsonl").read_text()
    (tmp_path / "private").chmod(0o644)
    assert sluss("legal", "check", out, "--private-key", tmp_path / "private").exit_code == Exit.USAGE


# --- who received what, the report, openings ---


def to_a_key():
    """A delivery that takes no passphrase, which is slow to make by design."""
    public = RecipientPrivateKey.generate(SUITE_XWING).public().data
    return pb.Delivery(key=pb.RecipientKey(suite=SUITE_XWING, public_key=public), retain_until=today(365))


@pytest.fixture
def released(sluss, team, tmp_path):
    case = team.approved(to_a_key()).case_id
    good(sluss("legal", "release", case, "--out", tmp_path / "p.zip"))
    return case


def test_recipients_are_shown_proven(sluss, released):
    shown = good(sluss("legal", "recipients", ASA)).stdout
    assert "Stockholms tingsrätt" in shown
    assert "each proven" in shown
    row = document(sluss("legal", "recipients", ASA, "--json"))["received"][0]
    assert (row["kind"], row["ground"], row["authority"]) == ("release", "law_or_process", released)
    assert row["receipt"].startswith("c2sp.org/tlog-proof@v1")


@pytest.mark.parametrize("kind", ["pdf", "html", "csv", "json"])
@pytest.mark.parametrize("language", ["sv", "en"])
def test_an_accounting_is_written_in_every_form_and_language(sluss, released, tmp_path, kind, language):
    out = tmp_path / f"accounting.{kind}"
    good(sluss("legal", "recipients", ASA, "--out", out, "--language", language))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    content = out.read_bytes()
    if kind == "pdf":
        assert content.startswith(b"%PDF")
    else:
        assert "Stockholms tingsrätt" in content.decode("utf-8-sig")


def test_csv_and_json_can_go_to_standard_output(sluss, released):
    rows = list(
        csv.reader(io.StringIO(good(sluss("legal", "recipients", ASA, "--format", "csv")).stdout.lstrip("\ufeff")))
    )
    assert rows[1][2] == "Stockholms tingsrätt"
    assert json.loads(good(sluss("legal", "recipients", ASA, "--format", "json")).stdout)["person"] == ASA


@pytest.mark.parametrize(
    "lie",
    [
        {"authority": "L-2026-0099"},
        {"entry_index": 1},
        {"ground": pb.GROUND_PROTECTION},
        {"kind": pb.RECEIVED_KIND_DISCLOSURE},
        {"entry": b"{}"},
    ],
)
def test_a_row_that_its_entry_does_not_bear_out_is_not_shown(sluss, team, released, lie):
    for name, value in lie.items():
        setattr(team.world.received[ASA][0][1], name, value)
    result = sluss("legal", "recipients", ASA)
    assert result.exit_code == Exit.INTEGRITY, result.output
    assert "Stockholms" not in result.stdout


def test_a_hidden_release_is_in_no_accounting_until_lifted_and_then_proves_what_it_was(sluss, team, tmp_path):
    case = team.approved(to_a_key(), hidden_until=today(90), secrecy_reason="The court says so").case_id
    entry = document(sluss("legal", "release", case, "--out", tmp_path / "p.age", "--json"))["entries"][0]
    assert document(sluss("legal", "recipients", ASA, "--json"))["received"] == []
    good(sluss("legal", "lift", case, *REASON))
    assert document(sluss("legal", "recipients", ASA, "--json"))["received"][0]["opening"]["salt"]
    shown = good(sluss("legal", "opening", entry)).stdout
    assert "commits to exactly this" in shown
    assert case in shown


@pytest.mark.parametrize("part", ["salt", "entry", "sealed_entry"])
def test_an_opening_that_does_not_fit_the_commitment_is_refused(sluss, team, tmp_path, part):
    case = team.approved(to_a_key(), hidden_until=today(90), secrecy_reason="The court says so").case_id
    entry = document(sluss("legal", "release", case, "--out", tmp_path / "p.age", "--json"))["entries"][0]
    kept = team.world.openings[entry]
    setattr(kept, part, getattr(kept, part)[:-1] + b"!")
    assert sluss("legal", "opening", entry).exit_code == Exit.INTEGRITY


def test_the_report_comes_as_table_and_in_every_form(sluss, released, tmp_path):
    period = ("--from", today(-365), "--until", today())
    assert "Law or legal process" in good(sluss("legal", "report", *period)).stdout
    assert document(sluss("legal", "report", *period, "--json"))["rows"][0]["ground"] == "law_or_process"
    for kind in ("pdf", "html", "csv", "json"):
        out = tmp_path / f"report.{kind}"
        good(sluss("legal", "report", *period, "--out", out, "--language", "sv"))
        assert out.stat().st_size > 60
    assert "<svg" in (tmp_path / "report.html").read_text()


# --- bad input ---


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("open",), "--example"),
        (("open", "/nowhere.toml"), "no such file"),
        (("show",), "CASE"),
        (("list", "--state", "asleep"), "--state is one of received"),
        (("list", "--ground", "curiosity"), "--ground is one of law_or_process"),
        (("review", CASE), "--reason"),
        *(
            ((step, CASE, "--reason", "  "), "--reason must not be empty")
            for step in ("review", "reject", "close", "approve")
        ),
        (("approve", CASE, *REASON, "--json"), "--yes"),
        (("change", CASE), "nothing to change"),
        (("change", CASE, "--deadline", "tomorrow"), "--deadline takes a day"),
        (("change", CASE, "--retain-until", "2026-02-30"), "--retain-until takes a day"),
        (("change", CASE, "--collected-from", "1/1/26"), "--collected-from takes a day"),
        (("change", CASE, "--package", "--to-key", "/nowhere"), "either --package or --to-key"),
        (("change", CASE, "--to-key", "/nowhere", "--retain-until", "2027-01-01"), "no such file"),
        (("change", CASE, "--to-key", "NOKEY", "--retain-until", "2027-01-01"), "no public key"),
        (("change", CASE, "--to-key", "P256", "--retain-until", "2027-01-01"), "no public key"),
        (("change", CASE, "--package"), "--retain-until"),
        (("change", CASE, "--retain-until", "2027-01-01"), "--package or --to-key"),
        (("change", CASE, "--drop-field", "shoe_size"), "not in the scope"),
        (("change", CASE, "--drop-field", "email"), "no field would be left"),
        (("change", CASE, "--drop-person", IDA), "not named in the scope"),
        (("change", CASE, "--drop-person", ASA, "--drop-person", BJORN), "no person would be left"),
        (("change", CASE, "--scope", "NOKEY"), "not TOML"),
        (("note", CASE, " "), "must not be empty"),
        (("hide", CASE, *REASON), "--until"),
        (("hide", CASE, *REASON, "--until", ""), "secrecy has an end"),
        (("hide", CASE, *REASON, "--until", "never"), "--until takes a day"),
        (("prolong", CASE, *REASON, "--until", "2027-01-01"), "not hidden"),
        (("lift", CASE, "--reason", ""), "--reason must not be empty"),
        (("document", "add", CASE, "/nowhere.pdf"), "no such file"),
        (("document", "add", CASE, "EMPTY"), "empty"),
        (("document", "add", CASE, "BIG"), "16 MiB"),
        (("document", "get", CASE, "0"), "Invalid value"),
        (("find",), "exactly one"),
        (("find", "--name", "x"), "two characters"),
        (("find", "--name", "anna", "--email", "a@b.c"), "exactly one"),
        (("preview",), "name a case"),
        (("preview", CASE, "--file", "NOKEY"), "name a case"),
        (("preview", "--file", "NOKEY"), "not TOML"),
        (("release", CASE), "not approved"),
        (("release", CASE, "--language", "tlh"), "--language is one of"),
        (("record", CASE, "--on", "2026-11-01", "-f", "email", "--medium", "paper", *REASON), "at least one person"),
        (
            ("record", CASE, "--on", "x", "--person", ASA, "-f", "email", "--medium", "paper", *REASON),
            "--on takes a day",
        ),
        (
            ("record", CASE, "--on", "2026-11-01", "--person", ASA, "-f", "email", "--medium", "fax", *REASON),
            "--medium",
        ),
        (("record", CASE, "--on", "2026-11-01", "--person", ASA, "--medium", "paper", *REASON), "--field"),
        (("check", "/nowhere.zip"), "no such file"),
        (("check", "NOKEY", "--passphrase-file", "NOKEY"), "no package of a release"),
        (("check", "AGED", "--passphrase-file", "EMPTY"), "nothing is in the file"),
        (("check", "AGED", "--passphrase-file", "NOKEY"), "does not open"),
        (("recipients", ASA, "--from", "2026-13-01"), "--from takes a day"),
        (("recipients", ASA, "--from", "2026-02-01", "--until", "2026-01-01"), "ends before it begins"),
        (("recipients", ASA, "--format", "docx"), "the format is one of"),
        (("recipients", ASA, "--out", "a.docx"), "the format is one of"),
        (("recipients", ASA, "--format", "pdf"), "--out FILE"),
        (("recipients", ASA, "--language", "tlh"), "--language is one of"),
        (("report",), "--from"),
        (("report", "--from", "2026-02-01", "--until", "2026-01-01"), "ends before it begins"),
        (("report", "--from", "2026-01-01", "--until", ""), "of a period"),
        (("opening", "--", "-1"), "Invalid value"),
        (("opening", "x"), "integer"),
    ],
)
def test_wrong_input_ends_with_exit_code_2_says_what_is_wrong_and_changes_nothing(
    sluss, team, tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    team.open_case()
    (tmp_path / "NOKEY").write_bytes(b"= not a key")
    (tmp_path / "AGED").write_bytes(b"age-encryption.org/v1\n-> scrypt cut off")
    (tmp_path / "EMPTY").touch()
    with (tmp_path / "BIG").open("wb") as big:
        big.truncate(16 * 1024 * 1024 + 1)
    curve = generate_private_key(SECP256R1()).public_key()
    (tmp_path / "P256").write_bytes(curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    before = len(team.world.ledger.entries)
    result = sluss("legal", *words)
    assert result.exit_code == Exit.USAGE, result.output
    assert said in result.output
    assert len(team.world.ledger.entries) == before


@pytest.mark.parametrize(
    "words",
    [
        ("show", "L-2026-0404"),
        ("review", "L-2026-0404", *REASON),
        ("note", "L-2026-0404", "x"),
        ("release", "L-2026-0404"),
        ("recipients", "P-0000000000000"),
        ("opening", "0"),
    ],
)
def test_what_the_broker_refuses_is_exit_code_3_with_its_reason(sluss, words):
    result = sluss("legal", *words)
    assert result.exit_code == Exit.REFUSED, result.output
    assert result.stderr.split(":")[0] in {"CASE_UNKNOWN", "PERSON_UNKNOWN", "ENTRY_UNKNOWN"}


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('ground = "law_or_process"', 'ground = "curiosity"', "ground"),
        ('ground = "law_or_process"', "", "ground"),
        ("received = 2026-11-17", 'received = "17/11"', "received"),
        ("received = 2026-11-17", "received = 2026-11-17T10:00:00Z", "received"),
        ('name = "Stockholms tingsrätt"', 'name = " "', "requester.name"),
        ('country = "SE"', "country = 46", "requester.country"),
        ('kind = "court_order"', 'kind = "postcard"', "instrument.kind"),
        ("date = 2026-11-16", "", "instrument.date"),
        ('persons = ["P-04CVZ6HGRM5PX"]', "persons = []", "scope.persons"),
        ('persons = ["P-04CVZ6HGRM5PX"]', "", "scope"),
        ('persons = ["P-04CVZ6HGRM5PX"]', 'persons = ["P-1"]\npopulation = "everyone"', "scope"),
        ('persons = ["P-04CVZ6HGRM5PX"]', 'population = "some"', "scope.population"),
        ('email = "full"', "email = 1", "scope.fields.email"),
        ("collected_from = 2025-01-01", "collected_from = 2025", "scope.collected_from"),
        ("[scope.fields]", "[secrecy]\nuntil = 2027-01-01\n[scope.fields]", "secrecy.reason"),
        ("[scope.fields]", '[secrecy]\nreason = "x"\n[scope.fields]', "secrecy.until"),
        ("[requester]", "secret = true\n[requester]", "secret"),
    ],
)
def test_a_mistake_in_the_file_is_named_by_its_place(old, new, place):
    assert old in EXAMPLE
    with pytest.raises(Problem) as wrong:
        parse_case(EXAMPLE.replace(old, new), "id")
    assert wrong.value.exit == Exit.USAGE
    assert wrong.value.metadata["place"] == place


def test_the_example_is_a_request_and_its_scope_stands_alone():
    request = parse_case(EXAMPLE, "id")
    assert (request.ground, request.requester.country, request.deadline) == (1, "SE", "2026-12-01")
    assert not request.hidden_until
    hidden = parse_case(
        EXAMPLE.replace("# [secrecy]", "[secrecy]").replace("# until", "until").replace("# reason", "reason"), "id"
    )
    assert (hidden.hidden_until, bool(hidden.secrecy_reason)) == ("2027-02-28", True)
    assert parse_scope(EXAMPLE) == (request.scope, pb.GROUND_LAW_OR_PROCESS)


def test_what_is_missing_is_named_with_what_to_install(sluss, approved, monkeypatch):
    monkeypatch.setattr("sluss_cli.legal.asking.find_spec", lambda name: None if name == "typst" else True)
    for words in (("release", approved), ("recipients", ASA, "--out", "x.pdf")):
        result = sluss("legal", *words)
        assert (result.exit_code, "sluss[legal]" in result.stderr) == (Exit.USAGE, True)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_a_key_by_openssl_is_taken(sluss, team, tmp_path):
    subprocess.run(["openssl", "genpkey", "-algorithm", "x25519", "-out", tmp_path / "k.pem"], check=True)
    subprocess.run(["openssl", "pkey", "-in", tmp_path / "k.pem", "-pubout", "-out", tmp_path / "p.pem"], check=True)
    case = team.open_case().case_id
    good(sluss("legal", "change", case, "--to-key", tmp_path / "p.pem", "--retain-until", today(30)))


def test_an_authority_without_a_profile_must_name_the_ledgers_key(sluss, team, released, tmp_path, monkeypatch, anna):
    monkeypatch.delenv("SLUSS_PROFILE")
    result = sluss("legal", "check", tmp_path / "p.zip")
    assert (result.exit_code, "--ledger-key" in result.stderr) == (Exit.USAGE, True)
    assert "proven" in good(sluss("legal", "check", tmp_path / "p.zip", "--ledger-key", anna.ledger_keys[0])).stdout


def test_an_altered_package_is_exit_code_5(sluss, released, tmp_path):
    content = (tmp_path / "p.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        files = {name: package.read(name) for name in package.namelist()}
    files["release.json"] = files["release.json"].replace(b"L-2026-0001/", b"L-2026-0001/9")
    with zipfile.ZipFile(tmp_path / "q.zip", "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    result = sluss("legal", "check", tmp_path / "q.zip", "--out", tmp_path / "out")
    assert result.exit_code == Exit.INTEGRITY, result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("typed", "words"),
    [("sluss legal rec", {"record", "recipients"}), ("sluss legal list --state c", {"challenged", "closed"})],
)
def test_words_are_completed(typed, words):
    environment = {"_SLUSS_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    command = [sys.executable, "-m", "sluss_cli"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) == words
