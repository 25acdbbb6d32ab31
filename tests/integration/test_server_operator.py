"""The operator's verbs on a real home folder, without a broker and beside one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import grpc
import orjson
import pytest
import typer
from google.protobuf import empty_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from broker import cli, pki
from broker.catalogue import default_catalogue_text
from broker.operator.office import opened
from broker.settings import load
from tests.support import sluss_command

ROOT = Path(__file__).resolve().parents[2]
INIT = ["--trust-domain", "example.com", "--origin", "example.com/sluss"]


def operators():
    app = typer.Typer(pretty_exceptions_show_locals=False)

    @app.callback()
    def options(*, as_json: Annotated[bool, typer.Option("--json")] = False): ...

    cli.register(app)
    return app


APP = operators()


class Ended:
    def __init__(self, result):
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception

    @property
    def json(self):
        return orjson.loads(self.out)


def run(*words, exits=0):
    ended = Ended(sluss_command.invoke(APP, words))
    assert ended.code == exits, (ended.out, ended.err)
    return ended


@pytest.fixture(scope="module")
def founded(tmp_path_factory):
    home = tmp_path_factory.mktemp("operator") / "home"
    run("init", "--home", home, *INIT, "--profile", "legal/anna", "--host", "broker.example.com")
    return home


@pytest.fixture
def home(founded, tmp_path):
    return Path(shutil.copytree(founded, tmp_path / "home"))


def entries(home):
    with opened(home) as office:
        return [orjson.loads(row.entry) for row in office.ledger.entries(0, 100)]


def rights(home):
    with closing(sqlite3.connect(home / "sluss.db")) as store:
        return store.execute("SELECT rights FROM head").fetchone()[0]


# --- init ----------------------------------------------------------------------------------------


def test_init_makes_a_home_that_nobody_else_can_read(founded):
    assert stat.S_IMODE(founded.stat().st_mode) == 0o700
    secret = ["ca/key.pem", "server/key.pem", "keys/rings.json", "keys/ledger.json", "sluss.db"]
    secret += ["settings.toml", "profiles/operator-admin/key.pem"]
    assert {name: stat.S_IMODE((founded / name).stat().st_mode) for name in secret} == dict.fromkeys(secret, 0o600)
    assert not list(founded.parent.glob(".home*")), "nothing is left beside it"


def test_init_begins_a_ledger_with_policy_catalogue_and_pins(founded):
    found = entries(founded)
    assert [e["type"] for e in found] == ["genesis", "policy", "catalogue"] + ["certificate"] * 3
    assert [e["principal"] for e in found[3:]] == ["operator/admin", "internal/import", "legal/anna"]
    assert {e["by"] for e in found[1:]} == {"operator/host"}
    assert rights(founded) > 0
    assert run("ledger", "verify", "--home", founded, "--json").json["ok"]


def test_init_tells_programs_what_it_made_and_what_to_back_up(tmp_path):
    home = tmp_path / "new"
    told = run("init", "--home", home, *INIT, "--json").json
    assert told["home"] == str(home)
    assert "ca/key.pem" in told["files"]
    assert set(told["back_up"]) == {
        "ca/key.pem",
        "keys/rings.json",
        "keys/erased.jsonl",
        "keys/ledger.json",
        "the database",
    }
    assert all((home / name).is_file() for name in told["files"])


def test_init_tells_people_what_to_back_up(tmp_path):
    told = run("init", "--home", tmp_path / "new", *INIT).out
    assert "Back up" in told
    assert "keys/rings.json" in told
    assert "PRIVATE KEY" not in told


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_init_overwrites_nothing(tmp_path, there):
    home = tmp_path / "home"
    if there == "file":
        home.write_text("mine")
    elif there == "folder":
        home.mkdir()
        (home / "mine").write_text("mine")
    else:
        home.symlink_to(tmp_path / "elsewhere")
    before = sorted(str(p) for p in tmp_path.rglob("*"))
    assert "nothing is overwritten" in run("init", "--home", home, *INIT, exits=2).err
    assert sorted(str(p) for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "words",
    [
        ["--trust-domain", "Example.com", "--origin", "o"],
        ["--trust-domain", "example.com", "--origin", "a b"],
        [*INIT, "--listen", "7443"],
        [*INIT, "--database", "mysql://root:canary@h/d"],
        [*INIT, "--database", "::canary::"],
        [*INIT, "--profile", "root/a"],
        [*INIT, "--profile", "legal/Anna"],
        [*INIT, "--host", "a b"],
    ],
)
def test_init_refuses_what_is_malformed_and_leaves_nothing(tmp_path, words):
    ended = run("init", "--home", tmp_path / "home", *words, exits=2)
    assert "canary" not in ended.err + ended.out
    assert list(tmp_path.iterdir()) == []


def test_init_refuses_a_database_with_a_ledger_in_it(home, tmp_path):
    url = f"sqlite:///{home / 'sluss.db'}"
    ended = run("init", "--home", tmp_path / "second", *INIT, "--database", url, exits=2)
    assert "holds a ledger already" in ended.err
    assert not (tmp_path / "second").exists()
    assert run("ledger", "verify", "--home", home, "--json").json["ok"]


# --- certificates --------------------------------------------------------------------------------


def test_a_certificate_from_a_request_is_pinned_and_logged(home, tmp_path):
    request = pki.make_request()
    (tmp_path / "r.pem").write_bytes(request.csr)
    before = rights(home)
    words = ["certificate", "issue", "subcontractor", "acme-pay", "--csr", tmp_path / "r.pem", "--home", home]
    told = run(*words, "--out", tmp_path / "c.pem", "--json").json
    facts = pki.describe((tmp_path / "c.pem").read_bytes())
    assert facts.uri == "spiffe://example.com/subcontractor/acme-pay"
    assert facts.spki == pki.spki_sha256(request.csr)
    assert told["spki"] == facts.spki.hex()
    entry = entries(home)[told["entry"]]
    assert (entry["type"], entry["event"], entry["principal"]) == (
        "certificate",
        "pinned",
        "subcontractor/acme-pay",
    )
    assert rights(home) == before + 1
    assert run("ledger", "verify", "--home", home, "--json").json["ok"]


def test_a_certificate_goes_to_standard_output_alone(home, tmp_path):
    (tmp_path / "r.pem").write_bytes(pki.make_request().csr)
    out = run("certificate", "issue", "legal", "bo", "--csr", tmp_path / "r.pem", "--home", home).out
    assert out.startswith("-----BEGIN CERTIFICATE-----")
    assert out.endswith("-----END CERTIFICATE-----\n")
    assert pki.describe(out.encode()).uri.endswith("/legal/bo")


def test_a_renewal_with_the_same_key_keeps_its_pin(home, tmp_path):
    (tmp_path / "r.pem").write_bytes(pki.make_request().csr)
    words = ["certificate", "issue", "legal", "bo", "--csr", tmp_path / "r.pem", "--home", home, "--json"]
    first, second = run(*words).json, run(*words).json
    listed = run("certificate", "list", "--principal", "legal/bo", "--home", home, "--json").json
    assert [c["serial"] for c in listed["certificates"]] == [second["serial"]]
    assert first["spki"] == second["spki"]


def test_a_key_is_never_pinned_to_two_principals_nor_after_its_revocation(home, tmp_path):
    (tmp_path / "r.pem").write_bytes(pki.make_request().csr)
    issue = ["--csr", tmp_path / "r.pem", "--home", home]
    run("certificate", "issue", "legal", "bo", *issue)
    before = len(entries(home))
    other = run("certificate", "issue", "legal", "eva", *issue, exits=3)
    assert "CERTIFICATE_MISMATCH" in other.err
    run("certificate", "revoke", "--principal", "legal/bo", "--reason", "lost", "--home", home)
    again = run("certificate", "issue", "legal", "bo", *issue, exits=3)
    assert "CERTIFICATE_REVOKED" in again.err
    assert len(entries(home)) == before + 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["root", "a", "--out", "x"], 2),
        (["legal", "A", "--out", "x"], 2),
        (["legal", "a"], 2),
        (["legal", "a", "--csr", "missing.pem"], 2),
        (["legal", "a", "--csr", str(ROOT / "pyproject.toml")], 2),
        (["legal", "a", "--out", "x", "--days", "0"], 2),
        (["legal"], 2),
    ],
)
def test_a_wrong_issue_writes_nothing(home, words, code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = entries(home)
    run("certificate", "issue", *words, "--home", home, exits=code)
    assert entries(home) == before
    assert not (tmp_path / "x").exists()


def test_a_profile_folder_is_complete_and_private(home, tmp_path):
    folder = tmp_path / "eva"
    run("certificate", "issue", "privacy", "eva", "--out", folder, "--home", home, "--endpoint", "b.example.com:1")
    assert {p.name for p in folder.iterdir()} == {"ca.pem", "certificate.pem", "key.pem", "profile.toml"}
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    assert 'endpoint = "b.example.com:1"' in (folder / "profile.toml").read_text()
    again = run("certificate", "issue", "privacy", "eva", "--out", folder, "--home", home, exits=2)
    assert "exists already" in again.err


def test_the_sdk_loads_the_profiles_that_are_made(founded):
    client = pytest.importorskip("sluss_client.profile")
    profile = client.Profile.load(founded / "profiles" / "legal-anna")
    assert profile.principal == "legal/anna"
    assert profile.endpoint == "broker.example.com:7443"
    key, certificate = profile.identity()
    assert b"PRIVATE KEY" in key
    assert pki.describe(certificate).uri == "spiffe://example.com/legal/anna"


@pytest.mark.parametrize("how", ["principal", "serial", "profile"])
def test_revocation_is_logged_and_lasting(home, how):
    folder = home / "profiles" / "legal-anna"
    facts = pki.describe((folder / "certificate.pem").read_bytes())
    which = {"principal": "legal/anna", "serial": facts.serial.upper(), "profile": folder}[how]
    before = rights(home)
    words = ["certificate", "revoke", f"--{how}", which, "--reason", "left", "--home", home, "--json"]
    (done,) = run(*words).json["revoked"]
    assert done["principal"] == "legal/anna"
    entry = entries(home)[done["entry"]]
    assert (entry["event"], entry["reason"], entry["by"]) == ("revoked", "left", "operator/host")
    assert rights(home) == before + 1
    listed = run("certificate", "list", "--home", home, "--json").json["certificates"]
    assert {c["principal"]: c["state"] for c in listed}["legal/anna"] == "revoked"
    assert len(done["serial"]) == 40
    again = run(*words, exits=3)
    assert (again.json["error"]["reason"], again.json["error"]["metadata"]["serial"]) == (
        "CERTIFICATE_REVOKED",
        done["serial"],
    )
    assert "already" in again.err
    good = run("certificate", "list", "--good", "--home", home, "--json").json["certificates"]
    assert [c["principal"] for c in good] == ["internal/import", "operator/admin"]
    run(*words, exits=3)


@pytest.mark.parametrize(
    "words",
    [
        ["--reason", "x"],
        ["--principal", "legal/anna", "--serial", "1", "--reason", "x"],
        ["--principal", "legal/anna", "--reason", ""],
        ["--principal", "legal/anna", "--reason", "x" * 501],
        ["--principal", "legal/anna", "--reason", "a\u202eb"],
        ["--principal", "legal/anna", "--reason", "anna@example.com left"],
        ["--principal", "legal/anna", "--reason", "lost, call 070-123 45 67"],
        ["--principal", "legal/anna"],
        ["--principal", "legal", "--reason", "x"],
        ["--profile", "missing", "--reason", "x"],
    ],
)
def test_a_wrong_revocation_changes_nothing(home, words):
    run("certificate", "revoke", *words, "--home", home, exits=2)
    assert all(e.get("event") != "revoked" for e in entries(home))


def test_the_servers_certificate_is_renewed_for_the_same_hosts(home):
    path = home / "server" / "certificate.pem"
    before = path.read_bytes()
    told = run("certificate", "renew-server", "--home", home, "--json").json
    assert told["hosts"] == ["broker.example.com", "localhost", "127.0.0.1", "::1"]
    assert pki.hosts_of(path.read_bytes()) == pki.hosts_of(before)
    assert path.read_bytes() != before
    run("certificate", "renew-server", "--host", "new.example.com", "--home", home)
    assert pki.hosts_of(path.read_bytes()) == ("new.example.com",)


def test_the_authoritys_key_is_refused_if_others_can_read_it(home, tmp_path):
    (home / "ca" / "key.pem").chmod(0o640)
    ended = run("certificate", "issue", "legal", "a", "--out", tmp_path / "a", "--home", home, exits=4)
    assert "KEYS_UNAVAILABLE" in ended.err
    assert not (tmp_path / "a").exists()


# --- catalogue -----------------------------------------------------------------------------------


def test_the_catalogue_in_force_is_shown_as_it_was_imported(founded):
    assert run("catalogue", "show", "--home", founded).out == default_catalogue_text()


def effective(time):
    text, count = re.subn(r"(?m)^effective = .*$", f'effective = "{time}"', default_catalogue_text())
    assert count == 1
    return text


def test_a_catalogue_is_put_in_force_and_brings_no_policy_version_but_the_first(home, tmp_path):
    file = tmp_path / "new.toml"
    file.write_text(effective("2026-02-01T00:00:00Z").replace('version = "2026-01"', 'version = "2026-02"'))
    before = rights(home)
    ended = run("catalogue", "import", file, "--home", home, exits=2)
    assert "publish it first" in ended.err
    file.write_text(default_catalogue_text() + "\n# reviewed again\n")
    tried = run("catalogue", "import", file, "--dry-run", "--home", home, "--json").json
    assert (tried["policy"], tried["entries"], rights(home)) == ("", [], before)
    told = run("catalogue", "import", file, "--home", home, "--json").json
    found = entries(home)
    assert [found[index]["type"] for index in told["entries"]] == ["catalogue"]
    assert rights(home) == before + 1
    assert run("catalogue", "import", file, "--home", home, "--json").json["unchanged"]
    assert len(entries(home)) == len(found)
    assert run("ledger", "verify", "--home", home, "--json").json["ok"]


def test_a_policy_version_never_changes_its_time(home, tmp_path):
    file = tmp_path / "new.toml"
    file.write_text(effective("2027-01-01T00:00:00Z"))
    ended = run("catalogue", "import", file, "--home", home, exits=2)
    assert "another effective time" in ended.err


def test_taking_a_field_away_must_be_said(home, tmp_path):
    blocks = default_catalogue_text().split("[[field]]")
    at = next(n for n, block in enumerate(blocks) if '"survey.' in block or '"draw.' in block)
    name = re.search(r'name = "([^"]+)"', blocks[at])[1]
    file = tmp_path / "less.toml"
    file.write_text("[[field]]".join(blocks[:at] + blocks[at + 1 :]))
    ended = run("catalogue", "import", file, "--home", home, exits=2)
    assert f"takes away {name}" in ended.err
    told = run("catalogue", "import", file, "--allow-removal", "--home", home, "--json").json
    assert told["removed"] == [name]


@pytest.mark.parametrize("content", [b"not = [toml", b"\xff\xfe", b'[[field]]\nname = "x"\n'])
def test_a_broken_catalogue_is_refused(home, tmp_path, content):
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    before = entries(home)
    run("catalogue", "import", file, "--home", home, exits=2)
    run("catalogue", "import", tmp_path / "missing", "--home", home, exits=2)
    assert entries(home) == before


# --- the ledger, offline ---------------------------------------------------------------------------


def test_an_altered_byte_is_found_and_the_entry_named(home):
    with closing(sqlite3.connect(home / "sluss.db")) as store, store:
        (entry,) = store.execute("SELECT entry FROM ledger_entry WHERE id = 4").fetchone()
        store.execute(
            "UPDATE ledger_entry SET entry = ? WHERE id = 4", (entry.replace(b"internal/import", b"internal/imports"),)
        )
    told = run("ledger", "verify", "--home", home, "--json", exits=1).json
    assert not told["ok"]
    assert 4 in [finding["index"] for finding in told["findings"]]
    assert "entry 4" in run("ledger", "verify", "--home", home, exits=1).out.lower()


def test_an_export_verifies_alone_and_shows_a_rollback(home, tmp_path):
    out = tmp_path / "export"
    assert run("ledger", "export", out, "--home", home, "--json").json["size"] == 6
    assert run("ledger", "verify", "--export", out, "--json").json["size"] == 6
    kept = out / "checkpoint"
    assert run("ledger", "verify", "--home", home, "--checkpoint", kept, "--json").json["ok"]
    run("ledger", "export", out, "--home", home, exits=2)
    run("certificate", "issue", "legal", "bo", "--out", tmp_path / "bo", "--home", home)
    later = tmp_path / "later"
    run("ledger", "export", later, "--home", home)
    rolled = run("ledger", "verify", "--export", out, "--checkpoint", later / "checkpoint", "--json", exits=1)
    assert "rolled back" in [finding["kind"] for finding in rolled.json["findings"]]


def test_verify_wants_one_ledger(home):
    run("ledger", "verify", exits=2)
    run("ledger", "verify", "--home", home, "--export", home, exits=2)
    run("ledger", "verify", "--home", home, "--checkpoint", home / "missing", exits=2)


def test_a_clients_verify_keeps_its_own_way_and_gains_the_offline_ones(home, monkeypatch, tmp_path):
    client = pytest.importorskip("sluss_cli.main")
    monkeypatch.delenv("SLUSS_PROFILE", raising=False)
    monkeypatch.chdir(tmp_path)
    whole = client.build(plugins="none")
    cli.register(whole)
    cli.register(whole)

    def verify(*words):
        return Ended(sluss_command.invoke(whole, ["ledger", "verify", *words]))

    assert verify("--home", home, "--json").json["size"] == 6
    assert verify("--json", "--home", tmp_path).code == 2
    online = verify("--profile", tmp_path / "nobody", "--json")
    assert online.code == 2, "asks a broker as the profile says, and there is no profile"
    assert "profile" in online.err.lower()
    assert "--contract" in verify("--help").out
    assert "--checkpoint" in verify("--help").out


def test_init_on_postgresql_makes_the_same_broker(postgres_engine, tmp_path):
    url = postgres_engine.url.render_as_string(hide_password=False)
    home = tmp_path / "home"
    run("init", "--home", home, *INIT, "--database", url)
    assert not (home / "sluss.db").exists()
    issued = run("certificate", "issue", "legal", "bo", "--out", tmp_path / "bo", "--home", home, "--json").json
    assert entries(home)[issued["entry"]]["principal"] == "legal/bo"
    assert run("ledger", "verify", "--home", home, "--json").json["size"] == 6
    assert "holds a ledger already" in run("init", "--home", tmp_path / "b", *INIT, "--database", url, exits=2).err


# --- every verb ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["certificate", "list"],
        ["certificate", "renew-server"],
        ["catalogue", "show"],
        ["ledger", "verify"],
        ["serve"],
    ],
)
def test_a_folder_that_is_no_home_is_refused_in_one_sentence(tmp_path, words):
    ended = run(*words, "--home", tmp_path, exits=2)
    assert ended.err.count("\n") == 1
    assert "sluss init" in ended.err
    told = run("--json", *words, "--home", tmp_path, exits=2)
    assert told.json["error"]["reason"] == "INVALID_REQUEST"
    assert told.json["exit"] == 2


def test_a_store_that_is_gone_is_exit_code_4(home):
    (home / "sluss.db").unlink()
    (home / "sluss.db").mkdir()
    ended = run("certificate", "list", "--home", home, exits=4)
    assert "LEDGER_UNAVAILABLE" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ["init"],
        ["serve"],
        ["certificate", "issue"],
        ["certificate", "revoke"],
        ["certificate", "list"],
        ["certificate", "renew-server"],
        ["catalogue", "import"],
        ["catalogue", "show"],
        ["ledger", "verify"],
        ["ledger", "export"],
    ],
)
def test_the_help_of_every_verb_has_examples_that_parse(words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = run(*words, "--help").out
    assert "--json" in out
    examples = [line.strip(" │") for line in out.splitlines() if line.strip(" │").startswith("sluss ")]
    assert examples
    assert all(line.split()[1 : 1 + len(words)] == words for line in examples)


def test_the_module_loads_without_the_server_and_adds_nothing_then():
    code = (
        "import sys, typer\n"
        "sys.modules['sqlmodel'] = None\n"
        "from broker import cli\n"
        "cli.find_spec = lambda name: None if name == 'sqlmodel' else object()\n"
        "app = typer.Typer(); cli.register(app)\n"
        "assert not app.registered_commands and not app.registered_groups\n"
        "heavy = {'sqlalchemy', 'grpc', 'pydantic', 'alembic', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# --- serve -----------------------------------------------------------------------------------------

MAIN = """
import typer
from broker import cli
app = typer.Typer()
cli.register(app)
if __name__ == "__main__":
    app()
"""


@pytest.fixture
def serve(home, tmp_path):
    script = tmp_path / "main.py"
    script.write_text(MAIN)
    started = []

    def starter(*words):
        process = subprocess.Popen(
            [sys.executable, script, "serve", "--home", home, "--listen", "127.0.0.1:0", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"},
        )
        started.append(process)
        line = process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), line + process.stderr.read()
        return process, int(line.rpartition(":")[2])

    yield starter
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def channel(home, port, profile):
    folder = home / "profiles" / profile
    credentials = grpc.ssl_channel_credentials(
        (folder / "ca.pem").read_bytes(),
        (folder / "key.pem").read_bytes(),
        (folder / "certificate.pem").read_bytes(),
    )
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_home_serves_and_a_revocation_beside_it_holds_at_once(home, serve, workers):
    process, port = serve("--workers", str(workers))
    assert load(home).folder.port.read_text() == f"{port}\n"
    with channel(home, port, "legal-anna") as open_channel:
        health = health_pb2_grpc.HealthStub(open_channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        run("certificate", "revoke", "--principal", "legal/anna", "--reason", "left", "--home", home)
        with pytest.raises(grpc.RpcError) as refused:
            health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    with channel(home, port, "operator-admin") as other:
        assert health_pb2_grpc.HealthStub(other).Check(health_pb2.HealthCheckRequest(), timeout=10)
        hidden = other.unary_unary("/sluss.v1.DisclosureService/Disclose", empty_pb2.Empty.SerializeToString, None)
        with pytest.raises(grpc.RpcError) as wrong_kind:
            hidden(empty_pb2.Empty(), timeout=10)
        assert wrong_kind.value.code() == grpc.StatusCode.PERMISSION_DENIED
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert run("ledger", "verify", "--home", home, "--json").json["ok"]
