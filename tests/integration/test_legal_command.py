"""`sluss legal` against a real broker: a request from intake to a package, seen by the court and by the person."""

import json
import uuid

import orjson
import pytest
from sluss.v1 import person_pb2
from sluss.v1.legal_pb2 import GetCaseRequest
from sluss.v1.legal_pb2_grpc import LegalServiceStub
from sluss_cli.exits import Exit
from sluss_client.profile import Profile
from sluss_legal.releasing import open_file, release

from tests.support import sluss_command
from tests.support.broker import BrokerProcess
from tests.support.memory_legal import today

REASON = ("--reason", "as the law asks")
ASA = {"email": "asa@example.org", "phone": "+46701234567", "name.given": "Åsa", "name.family": "Lindqvist"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def person(broker):
    values = [person_pb2.FieldValue(field=name, value=value) for name, value in ASA.items()]
    request = person_pb2.RegisterPersonRequest(request_id=str(uuid.uuid4()), values=values, source="registration")
    return broker.persons().RegisterPerson(request, timeout=10).person_id


@pytest.fixture(scope="module")
def run(broker):
    def sluss(*words, by="anna", **options):
        profile = broker.profile(f"legal/{by}")
        result = sluss_command.invoke(sluss_command.clients(), ["legal", *words, "--profile", str(profile)], **options)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return result

    return sluss


def good(result):
    assert result.exit_code == 0, result.output
    return result


def document(result):
    return orjson.loads(good(result).stdout)


def request_file(folder, person, *, ground="law_or_process", hidden=""):
    path = folder / "request.toml"
    secrecy = f'[secrecy]\nuntil = {hidden}\nreason = "The court forbids telling."\n' if hidden else ""
    path.write_text(
        f"""
ground = "{ground}"
received = {today(-2)}
deadline = {today(20)}
[requester]
name = "Stockholms tingsrätt"
address = "Box 8307, 104 20 Stockholm"
country = "SE"
contact = "registry@court.example"
[instrument]
kind = "court_order"
reference = "B 4711-26"
date = {today(-3)}
[scope]
persons = ["{person}"]
[scope.fields]
email = "full"
phone = "last4"
name.family = "full"
{secrecy}""",
        encoding="utf-8",
    )
    return path


def approved(run, folder, person, **how):
    """A case that Anna has prepared and Bo has approved, with the family name dropped on the way."""
    case = document(run("open", request_file(folder, person, **how), "--json"))["case"]["case"]
    good(run("review", case, *REASON))
    good(run("change", case, "--drop-field", "name.family", "--package", "--retain-until", today(200)))
    good(run("prepare", case, *REASON))
    refused = run("approve", case, *REASON, "--yes")
    assert (refused.exit_code, refused.stderr.split(":")[0]) == (Exit.REFUSED, "SECOND_PERSON_NEEDED")
    good(run("approve", case, *REASON, "--yes", by="bo"))
    return case


def test_a_request_goes_from_intake_to_a_package_and_an_accounting(run, person, tmp_path):
    assert document(run("find", "--name", "lindqvist", "--json"))["persons"][0]["person"] == person
    case = approved(run, tmp_path, person)
    assert document(run("preview", case, "--json"))["persons"] == 1
    out = tmp_path / "court.zip.age"
    released = document(run("release", case, "--out", out, "--language", "sv", "--json"))
    checked = document(
        run("check", out, "--passphrase-file", "-", "--out", tmp_path / "out", "--json", input=released["passphrase"])
    )
    assert (checked["opened"], checked["entries"]) == (True, released["entries"])
    row = json.loads((tmp_path / "out" / "data.jsonl").read_text())
    assert row["values"] == {"email": "asa@example.org", "phone": "4567"}
    rows = document(run("recipients", person, "--json"))["received"]
    assert [(r["recipient"], r["entry_index"]) for r in rows if r["authority"] == case] == [
        ("Stockholms tingsrätt", released["entries"][0])
    ]
    good(run("recipients", person, "--out", tmp_path / "accounting.pdf", "--language", "sv"))
    report = document(run("report", "--from", today(-30), "--until", today(), "--json"))
    line = {"ground": "law_or_process", "country": "SE", "outcome": "released"}
    assert [row for row in report["rows"] if line.items() <= row.items()]
    good(run("close", case, *REASON))
    events = [event["event"] for event in document(run("show", case, "--json"))["timeline"]]
    assert events[0] == "opened"
    assert events[-1] == "closed"
    assert {"prepared", "approved", "release_began", "release_completed"} <= set(events)


def without_receipts(run, person):
    """A person's rows without their receipts, which stand on the tree of the moment."""
    rows = document(run("recipients", person, "--json"))["received"]
    return [{name: value for name, value in row.items() if name != "receipt"} for row in rows]


def test_a_hidden_release_is_in_no_accounting_until_lifted_and_proves_what_it_was(run, person, tmp_path):
    before = without_receipts(run, person)
    case = approved(run, tmp_path, person, hidden=today(60))
    entry = document(run("release", case, "--out", tmp_path / "p.zip.age", "--json"))["entries"][0]
    assert without_receipts(run, person) == before
    assert "commits to exactly this" in good(run("opening", entry)).stdout
    good(run("lift", case, *REASON))
    after = document(run("recipients", person, "--json"))["received"]
    assert [row["entry_index"] for row in after] == [*(row["entry_index"] for row in before), entry]
    assert after[-1]["opening"]["sealed_entry"]


def test_an_emergency_is_released_at_once_and_answered_by_another(run, person, tmp_path):
    case = document(run("open", request_file(tmp_path, person, ground="protection"), "--json"))["case"]["case"]
    good(run("change", case, "--package", "--retain-until", today(20)))
    good(run("review", case, *REASON))
    good(run("emergency", case, *REASON, "--yes"))
    good(run("release", case, "--out", tmp_path / "p.zip.age"))
    assert run("confirm", case, *REASON, "--yes").exit_code == Exit.REFUSED
    good(run("confirm", case, *REASON, "--yes", by="bo"))
    assert document(run("show", case, "--json"))["case"]["emergency"]["answered_by"] == "legal/bo"


def test_documents_and_releases_elsewhere_are_on_record(run, person, tmp_path):
    case = document(run("open", request_file(tmp_path, person), "--json"))["case"]["case"]
    (tmp_path / "order.pdf").write_bytes(b"%PDF-1.7 order")
    good(run("document", "add", case, tmp_path / "order.pdf"))
    good(run("document", "get", case, 1, "--out", tmp_path / "again.pdf"))
    assert (tmp_path / "again.pdf").read_bytes() == b"%PDF-1.7 order"
    words = ("--on", today(-1), "--person", person, "-f", "email", "--medium", "court")
    good(run("record", case, *words, *REASON))
    assert document(run("recipients", person, "--json"))["received"][-1]["kind"] == "release_elsewhere"


class PulledOutError(Exception):
    """Somebody has pulled the plug."""


def test_a_merger_cut_off_in_the_middle_goes_on_and_releases_everybody_once(broker, run, tmp_path):
    # More than one part of a release.
    registered = {broker.register(email=f"person{number}@example.org") for number in range(301)}
    path = request_file(tmp_path, "P-0000000000000", ground="merger_or_sale")
    path.write_text(path.read_text().replace('persons = ["P-0000000000000"]', 'population = "everyone"'))
    case = document(run("open", path, "--json"))["case"]["case"]
    good(run("review", case, *REASON))
    good(run("change", case, "--package", "--retain-until", today(200)))
    good(run("prepare", case, *REASON))
    good(run("approve", case, *REASON, "--yes", by="bo"))

    def pulled(done, total):
        raise PulledOutError

    asked = document(run("preview", case, "--json"))["persons"]
    profile, legal = Profile.load(broker.profile("legal/anna")), LegalServiceStub(broker.channel("legal/anna"))
    shown = legal.GetCase(GetCaseRequest(case_id=case)).case
    state = tmp_path / "p.zip.age.release"
    with pytest.raises(PulledOutError), open_file(state, shown) as file:
        release(legal, profile, shown, file, pulled)
    broker.kill()
    broker.start()
    released = document(run("release", case, "--out", tmp_path / "p.zip.age", "--json"))
    assert released["persons"] == len(released["entries"]) == asked >= len(registered)
    assert len(set(released["entries"])) == len(released["entries"])
    assert document(run("show", case, "--json"))["case"]["release"]["complete"]
