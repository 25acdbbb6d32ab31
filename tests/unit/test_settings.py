"""settings.py: where settings come from, which wins, and what is refused."""

from __future__ import annotations

import pickle

import pytest

from broker.errors import Reason, SlussError
from broker.settings import Address, Home, load, parse_address

REQUIRED = 'trust_domain = "example.com"\norigin = "example.com/sluss"\n'


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("SLUSS_HOME", "SLUSS_WORKERS", "SLUSS_DATABASE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "settings.toml").write_text(REQUIRED)
    return tmp_path


def write(home, text):
    (home / "settings.toml").write_text(REQUIRED + text)


def refusal(home, **overrides):
    with pytest.raises(SlussError) as error:
        load(home, **overrides)
    assert error.value.reason == Reason.INVALID_REQUEST
    return error.value.detail


def test_the_defaults_keep_the_promises(home):
    settings = load(home)
    assert settings.home == home
    assert settings.database_url == f"sqlite:///{home}/sluss.db"
    assert settings.address == Address("127.0.0.1", 7443)
    assert (settings.max_calls, settings.max_message_bytes) == (1024, 32 << 20)
    assert settings.commit_timeout_s <= 2
    assert settings.publish_s <= 1


def test_command_line_beats_environment_beats_credential_beats_file(home, tmp_path, monkeypatch):
    write(home, "workers = 2\n")
    assert load(home).workers == 2
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "sluss_workers").write_text("3\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert load(home).workers == 3
    monkeypatch.setenv("SLUSS_WORKERS", "4")
    assert load(home).workers == 4
    assert load(home, workers=5).workers == 5
    assert load(home, workers=None).workers == 4


def test_the_environment_does_not_move_the_home_folder(home, monkeypatch):
    monkeypatch.setenv("SLUSS_HOME", "/elsewhere")
    assert load(home).home == home


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("worker = 2\n", "worker"),
        ("workers = 0\n", "workers"),
        ("workers = 'two'\n", "workers"),
        ("listen = '7443'\n", "listen"),
        ("commit_timeout_s = 3\n", "commit_timeout_s"),
        ("commit_timeout_s = 0.9\n", "commit_timeout_s"),
        ("publish_s = 2\n", "publish_s"),
        ("max_connection_age_s = inf\n", "max_connection_age_s"),
        ("home = '/tmp'\n", "home"),
        ("[limits]\nworkers = 1\n", "limits"),
        ("epoch_disclosures = 1048577\n", "epoch_disclosures"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(home, text, name):
    write(home, text)
    assert f"settings: {name}: " in refusal(home)


@pytest.mark.parametrize(
    "text", ["origin = 'x'\n", "trust_domain = 'Example.com'\norigin = 'x'\n", "trust_domain = 'a.b'\n"]
)
def test_trust_domain_and_origin_are_needed_and_checked(home, text):
    (home / "settings.toml").write_text(text)
    assert "settings: " in refusal(home)


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\\nb", "a\\u202eb"])
def test_an_origin_that_no_checkpoint_can_carry_is_refused(home, origin):
    (home / "settings.toml").write_text(f'trust_domain = "a.b"\norigin = "{origin}"\n')
    assert "origin" in refusal(home)


def test_no_message_holds_a_value(home, monkeypatch):
    monkeypatch.setenv("SLUSS_DATABASE", "postgresql+psycopg://u:canary-4711@h/d")
    monkeypatch.setenv("SLUSS_WORKERS", "canary-4712")
    assert "canary" not in refusal(home)
    monkeypatch.delenv("SLUSS_WORKERS")
    assert "canary" not in repr(load(home))
    (home / "settings.toml").write_text("database = canary-4713\n")
    assert "canary" not in refusal(home)


def test_a_folder_without_settings_says_what_to_do(tmp_path):
    assert "sluss init" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::]:7443", ("::", 7443)), ("broker.example.com:1", None)],
)
def test_an_address_reads_as_it_is_written(text, address):
    read = parse_address(text)
    assert str(read) == text
    assert address is None or tuple(read) == address


@pytest.mark.parametrize(
    "text", ["", ":1", "a", "a:", "a:b", "a:65536", "::1:80", "[a]:1", "a:-1", " a:1", "a:1\n", "a:\u0661"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="host:port"):
        parse_address(text)


def test_settings_reach_another_process_unchanged(home):
    settings = load(home, workers=2)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert Home(home).port.parent.name == "run"
