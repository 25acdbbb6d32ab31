"""A release carried out: proven before it is kept, resumable, opened only at the end; a package that others open."""

import json
import re
import shutil
import stat
import subprocess
import zipfile
from hashlib import sha256
from io import BytesIO

import pytest
from sluss.v1 import contract_pb2, disclosure_pb2
from sluss.v1 import legal_pb2 as pb
from sluss_client.errors import IntegrityError, InvalidRequest, ProfileError, ReceiptInvalid, SlussClientError
from sluss_legal import checking
from sluss_legal.data_files import csv_lines
from sluss_legal.package import archive, build
from sluss_legal.passphrases import ALPHABET, make_passphrase
from sluss_legal.releasing import Person, open_file, release

from broker.ledger import entry as entries
from broker.ledger.checkpoint import Signer
from broker.sealing import SUITE_XWING, RecipientPrivateKey
from tests.support.memory_legal import PERSONS, today
from tests.unit.client.memory_broker import ORIGIN

ASA, BJORN, IDA = PERSONS
CANARY = "asa@example.org"


def run(team, anna, case, path, progress=lambda *_: None):
    """The zip, before a passphrase is on it, and its cover."""
    with open_file(path, case) as file:
        return archive(release(team.legal("anna"), anna, case, file, progress), "en")


def pack(team, anna, case, path):
    """The package as it is handed over."""
    with open_file(path, case) as file:
        return build(release(team.legal("anna"), anna, case, file, lambda *_: None), "en")


def members(content):
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def fields(*names):
    return [contract_pb2.FieldGrant(field=name, transform="full") for name in names]


@pytest.fixture
def state(tmp_path):
    return tmp_path / "out.release"


def test_a_package_holds_what_was_approved_and_proves_it(team, anna, state):
    case = team.approved()
    seen = []
    content, about = run(team, anna, case, state, lambda *at: seen.append(at))
    files = members(content)
    assert seen == [(2, 2)]
    rows = [json.loads(line) for line in files["data.jsonl"].splitlines()]
    assert [(row["person"], row["values"]) for row in rows] == [
        (ASA, {"email": CANARY}),
        (BJORN, {"email": "bjorn@example.org"}),
    ]
    assert files["cover.pdf"].startswith(b"%PDF")
    assert CANARY in files["data.csv"].decode("utf-8-sig")
    checked = checking.check(content, anna.ledger_keys)
    assert checked.opened
    assert [person.values for _, person in checked.persons] == [row["values"] for row in rows]
    assert about.number == f"{case.case_id}/{checked.entries[0]}"


def test_nothing_readable_is_on_disk_while_a_release_is_under_way(team, anna, state):
    case = team.approved()
    with open_file(state, case) as file:
        release(team.legal("anna"), anna, case, file, lambda *_: None)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert CANARY.encode() not in state.read_bytes()


def test_the_entry_is_in_the_ledger_before_the_package_exists(team, anna, state, monkeypatch):
    case = team.approved()
    before = len(team.world.ledger.entries)
    held = []

    def written(_):
        held.extend(team.world.ledger.entries[before:])
        return b""

    monkeypatch.setattr("sluss_legal.package._zip", written)
    run(team, anna, case, state)
    assert [entries.parse(data)["type"] for data in held] == ["release"]


def test_a_release_goes_on_where_it_stopped_with_the_same_key_and_no_second_entry(team, anna, state):
    team.world.chunk = 1
    case = team.approved()
    team.world.lies.append(fail_at := FailAt(2))
    with pytest.raises(IntegrityError):
        run(team, anna, case, state)
    begun = len(team.world.ledger.entries)
    fail_at.place = None
    content, _ = run(team, anna, case, state)
    first, *_, last = team.world.calls
    assert (last.resume_after, last.request_id) == ("1", first.request_id)
    assert last.package_key == first.package_key
    assert len(team.world.ledger.entries) == begun
    assert len(members(content)["data.jsonl"].splitlines()) == 2


class FailAt:
    """Makes one message lie about its receipt."""

    def __init__(self, place):
        self.place = place

    def __call__(self, message):
        if message.done == self.place:
            message.parts[0].disclosure.receipt = message.parts[0].disclosure.receipt.replace("index ", "index 1")


def test_a_broken_line_goes_on_by_itself(team, anna, state):
    team.world.chunk, team.world.break_after = 1, 1
    content, _ = run(team, anna, team.approved(), state)
    assert len(members(content)["data.jsonl"].splitlines()) == 2
    assert [call.resume_after for call in team.world.calls] == ["", "1"]


def test_a_message_that_a_crash_cut_short_is_asked_for_again(team, anna, state):
    team.world.chunk = 1
    case = team.approved()
    with open_file(state, case) as file:
        release(team.legal("anna"), anna, case, file, lambda *_: None)
    state.write_bytes(state.read_bytes()[:-7])
    assert len(members(run(team, anna, case, state)[0])["data.jsonl"].splitlines()) == 2
    assert team.world.calls[-1].resume_after == "1"


def test_a_state_file_cut_anywhere_holds_whole_messages_only(team, anna, state):
    team.world.chunk = 1
    case = team.approved()
    with open_file(state, case) as file:
        release(team.legal("anna"), anna, case, file, lambda *_: None)
        whole = [message.cursor for message in file.messages()]
    data = state.read_bytes()
    for size in range(data.index(b"\n") + 1, len(data), 97):
        state.write_bytes(data[:size])
        with open_file(state, case) as file:
            kept = [message.cursor for message in file.messages()]
            assert kept == whole[: len(kept)]
            assert file.cursor == (kept[-1] if kept else "")
        assert len(state.read_bytes()) <= size


def test_the_same_release_gives_the_same_zip_and_another_passphrase(team, anna, state):
    case = team.approved()
    one, two = pack(team, anna, case, state), pack(team, anna, case, state)
    assert one.passphrase != two.passphrase
    assert one.content != two.content
    assert checking.decrypt(one.content, one.passphrase) == checking.decrypt(two.content, two.passphrase)
    with pytest.raises(InvalidRequest, match="passphrase"):
        checking.decrypt(one.content, two.passphrase)


def test_a_hidden_release_proves_itself_by_the_commitment_in_the_ledger(team, anna, state):
    case = team.approved(hidden_until=today(90), secrecy_reason="The court says so")
    content, _ = run(team, anna, case, state)
    files = members(content)
    receipt = json.loads(files["proof/receipts.jsonl"])
    assert json.loads(receipt["sealed_entry"])["type"] == "sealed"
    assert json.loads(receipt["entry"])["type"] == "release"
    checking.check(content, anna.ledger_keys)


def other_entry(message):
    message.parts[0].opening.entry = message.parts[0].opening.entry.replace(b"legal/anna", b"legal/anne")


def other_salt(message):
    message.parts[0].opening.salt = bytes(32)


def no_opening(message):
    message.parts[0].ClearField("opening")


@pytest.mark.parametrize("lie", [other_entry, other_salt, no_opening])
def test_an_opening_that_does_not_open_the_commitment_is_refused(team, anna, state, lie):
    case = team.approved(hidden_until=today(90), secrecy_reason="The court says so")
    team.world.lies.append(lie)
    with pytest.raises(ReceiptInvalid):
        run(team, anna, case, state)


def swapped(message):
    slices = message.parts[0].disclosure.slices
    slices[0], slices[1] = slices[1], slices[0]


def stranger(message):
    message.parts[0].person_ids[0] = IDA


def twice(message):
    message.parts[0].person_ids[1] = ASA


def one_short(message):
    del message.parts[0].person_ids[1]


def repeated(message):
    message.parts.append(message.parts[0])


def other_epoch(message):
    message.parts[0].disclosure.epoch = message.parts[0].disclosure.epoch[:-1] + b"!"


def no_epoch(message):
    message.parts[0].disclosure.epoch = b""


def no_consistency(message):
    message.consistency_proof[:] = [bytes(32)]


@pytest.mark.parametrize("lie", [swapped, stranger, twice, one_short, repeated, other_epoch, no_epoch, no_consistency])
def test_what_does_not_prove_itself_is_neither_kept_nor_opened(team, anna, state, lie):
    case = team.approved()
    team.world.lies.append(lie)
    with pytest.raises(IntegrityError):
        run(team, anna, case, state)
    with open_file(state, case) as file:
        assert list(file.messages()) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"scope": pb.Scope(listed=pb.CasePersons(person_ids=[ASA, BJORN]), fields=fields("phone"))},
        {"scope": pb.Scope(listed=pb.CasePersons(person_ids=[ASA]), fields=fields("email"))},
        {"delivery": pb.Delivery(package=True, retain_until=today(1))},
        {"ground": pb.GROUND_PROTECTION},
        {"case_id": "L-2026-0009"},
    ],
)
def test_a_release_of_something_else_than_was_approved_is_refused(team, anna, state, changed):
    """The broker releases one thing; whoever releases has read another."""
    case = team.approved()
    shown = pb.Case()
    shown.CopyFrom(case)
    for name, value in changed.items():
        getattr(shown, name).CopyFrom(value) if hasattr(value, "CopyFrom") else setattr(shown, name, value)
    team.world.cases[shown.case_id] = team.world.cases[case.case_id]
    with pytest.raises(IntegrityError):
        run(team, anna, shown, state)


def test_a_form_that_was_not_approved_is_refused(team, anna, state):
    case = team.approved()
    case.scope.fields[0].transform = "masked"
    with pytest.raises(ReceiptInvalid, match="form"):
        run(team, anna, case, state)


def test_a_stream_that_ends_early_is_no_release(team, anna, state):
    case = team.approved()

    def lie(message):
        message.done = 1

    team.world.lies.append(lie)
    with pytest.raises(IntegrityError, match="ended before"):
        run(team, anna, case, state)


def test_nobody_on_record_makes_no_package(team, anna, state):
    case = team.approved()
    team.world.persons.clear()
    with pytest.raises(InvalidRequest, match="nobody in the scope"):
        run(team, anna, case, state)


def test_a_case_that_is_not_approved_is_not_asked_for(team, state):
    case = team.open_case()
    with pytest.raises(InvalidRequest, match="not approved"):
        open_file(state, case)
    assert not state.exists()


def test_a_state_file_of_another_case_open_to_others_or_in_use_is_refused(team, anna, state):
    case, other = team.approved(), team.approved()
    with open_file(state, case), pytest.raises(ProfileError, match="in use"):
        open_file(state, case)
    with pytest.raises(ProfileError, match="another release"):
        open_file(state, other)
    state.chmod(0o644)
    with pytest.raises(ProfileError, match="chmod 600"):
        open_file(state, case)
    state.chmod(0o600)
    state.write_bytes(b"{}\n")
    with pytest.raises(ProfileError, match="not a release"):
        open_file(state, case)


# --- sealed to the authority's own key ---


def to_authority(suite=SUITE_XWING):
    key = RecipientPrivateKey.generate(suite)
    public = pb.RecipientKey(suite=disclosure_pb2.Suite.ValueType(suite), public_key=key.public().data)
    return key, pb.Delivery(key=public, retain_until=today(365))


@pytest.mark.parametrize("suite", [1, 2])
def test_sealed_to_the_authority_only_its_key_opens_it(team, anna, state, suite):
    key, delivery = to_authority(suite)
    made = pack(team, anna, team.approved(delivery), state)
    assert made.passphrase == ""
    assert made.name.endswith(".zip")
    files = members(made.content)
    assert {"data.csv", "data.jsonl", "proof/package.key"} & files.keys() == set()
    assert CANARY.encode() not in b"".join(files.values())
    assert not checking.check(made.content, anna.ledger_keys).opened
    checked = checking.check(made.content, anna.ledger_keys, key)
    assert [person.values["email"] for _, person in checked.persons] == [CANARY, "bjorn@example.org"]
    with pytest.raises(SlussClientError):
        checking.check(made.content, anna.ledger_keys, RecipientPrivateKey.generate(suite))


# --- a merger ---


def test_a_merger_is_released_person_by_person_with_an_entry_each(team, anna, state):
    scope = pb.Scope(population=contract_pb2.Population(everyone=True), fields=fields("email", "name.family"))
    team.world.chunk = 2
    case = team.approved(ground=pb.GROUND_MERGER_OR_SALE, scope=scope)
    seen = []
    _, about = run(team, anna, case, state, lambda *at: seen.append(at))
    assert seen == [(2, 3), (3, 3)]
    assert len(about.indexes) == about.persons == 3


# --- the package ---


def rezip(content, **changed):
    """The zip with files replaced, and the sums made to fit."""
    return zipped(members(content) | {name.replace("__", "/").replace("_", "."): d for name, d in changed.items()})


def zipped(files):
    out = BytesIO()
    files["SHA256SUMS"] = b"".join(
        f"{sha256(data).hexdigest()}  {name}\n".encode() for name, data in files.items() if name != "SHA256SUMS"
    )
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_a_package_that_was_altered_does_not_check(team, anna, state):
    content, _ = run(team, anna, team.approved(), state)
    files = members(content)
    altered = files["data.jsonl"].replace(b"asa@", b"eva@")
    with pytest.raises(IntegrityError, match=r"data\.jsonl"):
        checking.check(rezip(content, **{"data.jsonl": altered}), anna.ledger_keys)
    with pytest.raises(IntegrityError):
        checking.check(rezip(content, **{"proof/parts.bin": files["proof/parts.bin"][:-9]}), anna.ledger_keys)
    with pytest.raises(InvalidRequest):
        checking.check(rezip(content, **{"release.json": b"{}"}), anna.ledger_keys)
    with pytest.raises(InvalidRequest, match="no zip"):
        checking.check(b"not a zip", anna.ledger_keys)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("data.csv", lambda data: data.replace(b"asa@", b"eva@")),
        ("proof/parts.bin", lambda data: data * 2),
        ("proof/parts.bin", lambda _: b""),
        ("release.json", lambda data: data.replace(b'"persons": 2', b'"persons": 3')),
    ],
    ids=["data.csv", "twice", "nothing", "count"],
)
def test_a_package_that_shows_something_else_than_it_proves_does_not_check(team, anna, state, name, change):
    content, _ = run(team, anna, team.approved(), state)
    files = members(content)
    for other in () if name == "data.csv" else ("data.jsonl", "data.csv"):
        del files[other]
    files[name] = change(files[name])
    with pytest.raises(IntegrityError):
        checking.check(zipped(files), anna.ledger_keys)


@pytest.mark.parametrize("fields", [{"email": ["full"]}, {"email": {}}, {"email": None}])
def test_facts_of_another_shape_are_no_package(team, anna, state, fields):
    content, _ = run(team, anna, team.approved(), state)
    facts = json.loads(members(content)["release.json"]) | {"fields": fields}
    with pytest.raises(InvalidRequest):
        checking.check(rezip(content, **{"release.json": json.dumps(facts).encode()}), anna.ledger_keys)


def test_a_zip_that_swells_beyond_all_measure_is_not_unpacked():
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("release.json", bytes(64 << 20))
    with pytest.raises(InvalidRequest, match="far more"):
        checking.files_of(out.getvalue())


def test_a_package_proves_nothing_under_another_ledgers_key(team, anna, state):
    content, _ = run(team, anna, team.approved(), state)
    with pytest.raises((ReceiptInvalid, InvalidRequest)):
        checking.check(content, Signer(ORIGIN, bytes([9]) * 32, bytes([9]) * 32).vkeys())


def test_no_cell_of_the_csv_is_a_formula_and_the_jsonl_is_exact(team, anna, state):
    evil = '=HYPERLINK("http://x.example","\u202ehere")'
    team.world.persons[ASA] = {**PERSONS[ASA], "email": evil}
    files = members(run(team, anna, team.approved(), state)[0])
    assert json.loads(files["data.jsonl"].splitlines()[0])["values"]["email"] == evil
    assert "'=HYPERLINK" in files["data.csv"].decode("utf-8-sig")
    assert ",=" not in files["data.csv"].decode("utf-8-sig")
    assert "\u202e" not in files["data.csv"].decode("utf-8-sig")


@pytest.mark.parametrize("text", ["x;=1+1", "x; =1+1", "x;\t@SUM(A1)", "\uff1d1+1", " =1+1", "x\n-1", 'x";+1'])
@pytest.mark.parametrize("cut", [",", ";", "\t"])
def test_no_cell_is_a_formula_wherever_a_spreadsheet_cuts_the_line(text, cut):
    line = b"".join(csv_lines(["email"], [(7, Person("P-1", {"email": text}))])).decode("utf-8-sig").splitlines()
    cells = [cell.strip(' "') for each in line for cell in each.split(cut)]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\uff1d"))]


def test_passphrases_are_long_distinct_and_readable():
    made = {make_passphrase() for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch(f"([{ALPHABET}]{{4}}-){{5}}[{ALPHABET}]{{4}}", one) for one in made)
    assert not set("ILOU01") & set(ALPHABET)


@pytest.mark.skipif(not (shutil.which("age") and shutil.which("script")), reason="`age` and `script` are not installed")
def test_debians_age_opens_the_package(team, anna, state, tmp_path):
    made = pack(team, anna, team.approved(), state)
    (tmp_path / "p.age").write_bytes(made.content)
    command = f"age -d -o {tmp_path / 'p.zip'} {tmp_path / 'p.age'}"
    # age reads a passphrase from a terminal only; `script` is one.
    subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        input=made.passphrase.encode() + b"\n",
        timeout=60,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert (tmp_path / "p.zip").read_bytes() == checking.decrypt(made.content, made.passphrase)
