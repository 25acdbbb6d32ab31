"""Profiles, keys and the checkpoint file: what is refused, and what survives a crash."""

import multiprocessing
import stat
import threading
import time
from pathlib import Path

import pytest
from sluss_client import errors, files
from sluss_client import profile as profile_module
from sluss_client.files import write_atomic
from sluss_client.heads import NOTHING_SEEN, CheckpointFile, Head
from sluss_client.keys import KeyStore
from sluss_client.profile import Profile

from broker import pki
from broker.clock import system_clock
from broker.ledger.checkpoint import Signer
from broker.sealing import SUITE_X25519, SUITE_XWING
from tests.unit.client.memory_broker import ORIGIN, Company

SIGNER = Signer(ORIGIN, b"\1" * 32, b"\1" * 32)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def profile(tmp_path, company):
    return Profile.create(
        tmp_path / "profile",
        endpoint="broker.example.com:7443",
        principal="subcontractor/acme-pay",
        origin=ORIGIN,
        ledger_keys=SIGNER.vkeys(),
        ca=company.ca.certificate,
    )


@pytest.fixture
def store(tmp_path):
    return KeyStore(tmp_path / "keys.json")


# --- profile.toml -------------------------------------------------------------------------------------------


def test_a_profile_loads_as_it_was_created(profile):
    assert Profile.load(profile.folder) == profile
    assert mode(profile.folder) == 0o700


def test_a_profile_is_not_overwritten(profile, company):
    with pytest.raises(errors.ProfileError, match="already"):
        Profile.create(
            profile.folder,
            endpoint="x:1",
            principal="subcontractor/x",
            origin=ORIGIN,
            ledger_keys=SIGNER.vkeys(),
            ca=company.ca.certificate,
        )


def test_a_folder_without_a_profile_is_said(tmp_path):
    with pytest.raises(FileNotFoundError):
        Profile.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("endpoint", "endpiont"),
        ('origin = "example.com/sluss"', 'origin = "example.com/other"'),
        ('origin = "example.com/sluss"', ""),
        ('principal = "subcontractor/acme-pay"', "principal = 7"),
        ("ledger_keys = [", "ledger_keys = [7, "),
        ("ledger_keys", 'extra = "x"\nledger_keys'),
        ("+", "-"),
        ("=", ""),
    ],
    ids=str,
)
def test_settings_that_are_not_right_are_refused(profile, old, new):
    path = profile.folder / "profile.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(errors.ProfileError):
        Profile.load(profile.folder)


# --- certificate and key ------------------------------------------------------------------------------------


def test_a_certificate_is_requested_and_installed(profile, company):
    certificate = company.certify(profile.certificate_request())
    profile.install_certificate(certificate)
    key, installed = profile.identity()
    assert installed == certificate
    assert b"PRIVATE KEY" in key
    assert mode(profile.folder / "key.pem") == 0o600
    assert not (profile.folder / "key.new.pem").exists()


def test_asking_twice_asks_for_the_same_key(profile):
    first, second = profile.certificate_request(), profile.certificate_request()
    assert pki.spki_sha256(first) == pki.spki_sha256(second)
    profile.create_key()
    assert pki.spki_sha256(profile.certificate_request()) != pki.spki_sha256(first)


def test_the_old_key_stays_in_use_until_the_new_certificate_is_there(profile, company):
    profile.install_certificate(company.certify(profile.certificate_request()))
    before = profile.identity()
    request = profile.certificate_request()
    assert profile.identity() == before
    profile.install_certificate(company.certify(request))
    assert profile.identity() != before


def test_an_installation_that_stopped_half_way_is_finished(profile, company):
    profile.install_certificate(company.certify(profile.certificate_request()))
    certificate = company.certify(profile.certificate_request())
    (profile.folder / "certificate.pem").write_bytes(certificate)
    assert profile.identity()[1] == certificate
    assert not (profile.folder / "key.new.pem").exists()


def test_a_certificate_of_another_key_is_not_installed(profile, company):
    profile.create_key()
    with pytest.raises(errors.ProfileError, match="key"):
        profile.install_certificate(company.certify(pki.make_request().csr))


def test_a_certificate_for_another_principal_is_not_installed(profile, company):
    request = profile.certificate_request()
    for kind, name in (("subcontractor", "other"), ("operator", "acme-pay")):
        with pytest.raises(errors.ProfileError, match="principal"):
            profile.install_certificate(company.certify(request, kind, name))


def test_a_certificate_by_another_authority_is_not_installed(profile):
    with pytest.raises(errors.ProfileError, match="authority"):
        profile.install_certificate(Company().certify(profile.certificate_request()))


@pytest.mark.parametrize("pem", [b"", b"not a certificate"])
def test_what_is_no_certificate_is_not_installed(profile, pem):
    profile.create_key()
    with pytest.raises(errors.ProfileError):
        profile.install_certificate(pem)


def test_a_key_open_to_others_is_refused(profile, company):
    profile.install_certificate(company.certify(profile.certificate_request()))
    for wider in (0o640, 0o604, 0o660):
        (profile.folder / "key.pem").chmod(wider)
        with pytest.raises(errors.ProfileError, match="open to others"):
            profile.identity()


def test_a_key_that_does_not_belong_to_the_certificate_is_refused(profile, company):
    profile.install_certificate(company.certify(profile.certificate_request()))
    write_atomic(profile.folder / "key.pem", pki.make_request().key, 0o600)
    with pytest.raises(errors.ProfileError, match="together"):
        profile.identity()


def test_a_missing_file_is_named(profile):
    with pytest.raises(errors.ProfileError, match=r"certificate\.pem"):
        profile.identity()


# --- encryption keys ----------------------------------------------------------------------------------------


def test_keys_come_back_as_they_were_made(store):
    made = [store.generate(), store.generate(SUITE_X25519)]
    assert store.all() == made
    assert store.current() == made[1]
    assert made[0].key.suite == SUITE_XWING
    assert mode(store._path) == 0o600


def test_a_key_file_open_to_others_is_refused(store):
    store.generate()
    store._path.chmod(0o644)
    with pytest.raises(errors.ProfileError, match="open to others"):
        store.all()


def test_a_key_file_open_to_others_is_not_written_either(store):
    store.generate()
    store._path.chmod(0o644)
    with pytest.raises(errors.ProfileError):
        store.generate()


def test_no_keys_is_said(store):
    assert store.all() == []
    with pytest.raises(errors.ProfileError, match="register"):
        store.current()


def test_an_old_key_can_be_destroyed_and_the_current_one_not(store):
    old, new = store.generate(SUITE_X25519), store.generate(SUITE_X25519)
    with pytest.raises(errors.ProfileError, match="rotate"):
        store.destroy(new.id)
    store.destroy(old.id)
    assert store.all() == [new]
    with pytest.raises(errors.ProfileError, match="no such"):
        store.destroy(old.id)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"v":2,"keys":[]}',
        '{"v":1,"keys":[7]}',
        '{"v":1,"keys":[{}]}',
        '{"v":1,"keys":[{"suite":"P-256","private":"AA","created":"x"}]}',
        '{"v":1,"keys":[{"suite":"X25519","private":"AA","created":"2026-11-23T22:33:57.123456Z"}]}',
        '{"v":1,"keys":[{"suite":"X25519","private":7,"created":"2026-11-23T22:33:57.123456Z"}]}',
    ],
)
def test_a_key_file_that_is_not_right_is_refused(store, text):
    write_atomic(store._path, text.encode(), 0o600)
    with pytest.raises(errors.ProfileError):
        store.all()


def test_secrets_are_not_shown(store):
    made = store.generate()
    assert repr(made.key.data)[2:-1] not in repr(made)


# --- files --------------------------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_content_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(files.os, "fsync", lambda _handle: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(errors.ProfileError, match="full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# --- the checkpoint -----------------------------------------------------------------------------------------


def head(size, fill=1):
    root = bytes([fill]) * 32
    return Head(size, root, SIGNER.sign(size, root))


def checkpoint_file(folder):
    return CheckpointFile(Path(folder) / "checkpoint", SIGNER.verifier)


def test_the_checkpoint_never_moves_backwards(tmp_path):
    file = checkpoint_file(tmp_path)
    assert file.load() == NOTHING_SEEN
    assert file.save(head(5)) == NOTHING_SEEN
    assert file.save(head(3)) == head(5)
    assert file.load() == head(5)


def test_two_trees_of_one_size_are_a_fork(tmp_path):
    file = checkpoint_file(tmp_path)
    file.save(head(5, 1))
    with pytest.raises(errors.LedgerInconsistent):
        file.save(head(5, 2))


@pytest.mark.parametrize("text", ["", "hello", head(5).note.replace("5", "6"), head(5).note[:-3]])
def test_a_checkpoint_file_that_is_not_signed_is_refused(tmp_path, text):
    (tmp_path / "checkpoint").write_text(text)
    with pytest.raises(errors.ProfileError):
        checkpoint_file(tmp_path).load()


def save_many(folder, sizes):
    for size in sizes:
        checkpoint_file(folder).save(head(size))


def test_processes_that_save_at_once_keep_the_largest(tmp_path):
    context = multiprocessing.get_context("spawn")
    parts = [range(1, 31, 3), range(2, 31, 3), range(3, 31, 3)]
    processes = [context.Process(target=save_many, args=(str(tmp_path), part)) for part in parts]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert checkpoint_file(tmp_path).load() == head(30)


def test_the_clock_of_a_key_is_its_creation(store):
    before = system_clock()
    assert before <= store.generate(SUITE_X25519).created <= system_clock()


# --- a rotation that is cut off or watched ------------------------------------------------------------------


@pytest.mark.parametrize("step", ["write_atomic", "_take_new_key"])
@pytest.mark.parametrize("done", [False, True], ids=["before it", "after it"])
def test_an_installation_that_stops_anywhere_leaves_a_whole_identity(profile, company, monkeypatch, step, done):
    profile.install_certificate(company.certify(profile.certificate_request()))
    before = profile.identity()
    pem = company.certify(profile.certificate_request())
    place = profile_module if step == "write_atomic" else Profile
    real = getattr(place, step)

    def stops(*arguments, **options):
        if done:
            real(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, step, stops)
        with pytest.raises(KeyboardInterrupt):
            profile.install_certificate(pem)
    installed = done or step == "_take_new_key"
    after = profile.identity()
    assert after == before if not installed else (after.certificate == pem and after.key != before.key)
    assert profile_module._is_pair(after.certificate, after.key)
    # The next rotation neither loses the key of this one nor asks for it again.
    request = profile.certificate_request()
    assert (pki.spki_sha256(request) == pki.spki_sha256(pem)) is not installed
    assert profile.identity() == after


def rotate_often(folder, stop, company):
    profile = Profile.load(folder)
    while not stop.is_set():
        profile.install_certificate(company.certify(profile.certificate_request()))


def test_whoever_reads_during_a_rotation_finds_a_whole_identity(profile, company):
    profile.install_certificate(company.certify(profile.certificate_request()))
    stop = threading.Event()
    rotating = threading.Thread(target=rotate_often, args=(profile.folder, stop, company))
    rotating.start()
    try:
        seen, deadline = set(), time.monotonic() + 30
        while len(seen) < 40 and time.monotonic() < deadline:
            seen.add(profile.identity())
    finally:
        stop.set()
        rotating.join()
    assert len(seen) == 40
    assert all(profile_module._is_pair(one.certificate, one.key) for one in seen)


def test_an_identity_shows_no_key(profile, company):
    profile.install_certificate(company.certify(profile.certificate_request()))
    assert "PRIVATE" not in repr(profile.identity())
