"""The file provider: one file, for the owner's eyes only, never half written."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from broker.errors import Reason, SlussError
from broker.keys import secret_file
from broker.keys.file import FileProvider
from broker.keys.provider import RINGS
from broker.keys.secret_file import read_secret, write_secret

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rings.json"


@pytest.fixture
def provider(path):
    return FileProvider.create(path)


def refused(path):
    with pytest.raises(SlussError) as caught:
        FileProvider(path)
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE
    return caught.value.detail


def test_new_file_has_every_ring_and_mode_0600(provider, path):
    assert set(provider.rings) == set(RINGS) == {"records", "financial", "epochs", "index"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["rings.json"]


def test_rings_have_different_keys(path, provider):
    keys = [key for ring in json.loads(path.read_bytes())["rings"].values() for key in ring.values()]
    assert len(set(keys)) == len(RINGS)


def test_loaded_again_it_opens_what_was_wrapped(provider, path):
    blob = provider.rings["records"].wrap(b"secret", b"aad")
    assert FileProvider(path).rings["records"].unwrap(blob, b"aad") == b"secret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601, 0o610, 0o777])
def test_wider_mode_is_refused_and_the_cure_named(provider, path, mode):
    path.chmod(mode)
    assert "chmod 600" in refused(path)


def test_file_of_another_user_is_refused(provider, path, monkeypatch):
    monkeypatch.setattr(secret_file.os, "geteuid", lambda: 12345)
    if path.stat().st_uid == 0:
        os.chown(path, 4242, 4242)
    assert "another user" in refused(path)


def test_existing_file_is_never_overwritten(provider, path):
    before = path.read_bytes()
    with pytest.raises(SlussError, match="exists already"):
        FileProvider.create(path)
    assert path.read_bytes() == before


def test_missing_file_is_refused(path):
    assert "can't be read" in refused(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(v=2),
        lambda d: d.update(extra=1),
        lambda d: d.pop("v"),
        lambda d: d["rings"].update(surprise={"1": "A" * 43}),
        lambda d: d["rings"].pop("index"),
        lambda d: d["rings"].update(records={}),
        lambda d: d["rings"].update(records={"0": d["rings"]["records"]["1"]}),
        lambda d: d["rings"].update(records={"-1": d["rings"]["records"]["1"]}),
        lambda d: d["rings"].update(records={"65536": d["rings"]["records"]["1"]}),
        lambda d: d["rings"].update(records={" 1": d["rings"]["records"]["1"]}),
        lambda d: d["rings"].update(index={"2": d["rings"]["index"]["1"]}),
        lambda d: d["rings"]["index"].update({"2": d["rings"]["index"]["1"]}),
        lambda d: d["rings"].update(records={"1": "short"}),
        lambda d: d["rings"].update(records={"1": "=" * 44}),
        lambda d: d["rings"].update(records={"one": d["rings"]["records"]["1"]}),
        lambda d: d["rings"].update(records={"1": d["rings"]["records"]["1"], "01": d["rings"]["records"]["1"]}),
        lambda d: d["rings"].update(records=[1]),
        lambda d: d.update(rings=None),
    ],
)
def test_anything_unexpected_in_the_file_is_refused_and_not_quoted(provider, path, change):
    document = json.loads(path.read_bytes())
    key = document["rings"]["records"]["1"]
    change(document)
    path.write_text(json.dumps(document))
    assert refused(path) == "the key file is malformed"
    assert key not in refused(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'"rings"'])
def test_garbage_is_refused(provider, path, content):
    path.write_bytes(content)
    assert refused(path) == "the key file is malformed"


def test_rotation_is_in_the_file_before_it_is_used(provider, path):
    old = provider.rings["records"].wrap(b"secret", b"aad")
    assert provider.rotate("records") == 2
    fresh = FileProvider(path)
    assert fresh.rings["records"].version == 2
    assert fresh.rings["records"].unwrap(provider.rings["records"].wrap(b"new", b""), b"") == b"new"
    assert fresh.rings["records"].unwrap(old, b"aad") == b"secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_failed_write_leaves_ring_and_file_as_they_were(provider, path, monkeypatch):
    before = path.read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(secret_file.os, "fsync", full)
    with pytest.raises(SlussError) as caught:
        provider.rotate("records")
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE
    assert provider.rings["records"].version == 1
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["rings.json"]


@pytest.mark.parametrize("name", ["index", "surprise", ""])
def test_index_and_unknown_rings_do_not_rotate(provider, name):
    with pytest.raises(SlussError) as caught:
        provider.rotate(name)
    assert caught.value.reason is Reason.INVALID_REQUEST


def test_rotation_in_another_process_reaches_this_one(provider, path):
    code = f"""
from pathlib import Path
from broker.keys.file import FileProvider
provider = FileProvider(Path({str(path)!r}))
provider.rotate("epochs")
print(provider.rings["epochs"].wrap(b"secret", b"aad").hex())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    blob = bytes.fromhex(done.stdout)
    assert provider.rings["epochs"].unwrap(blob, b"aad") == b"secret"


def test_rotations_of_several_processes_lose_no_version(provider, path):
    code = f"""
from pathlib import Path
from broker.keys.file import FileProvider
provider = FileProvider(Path({str(path)!r}))
for _ in range(10):
    provider.rotate("records")
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert FileProvider(path).rings["records"].version == 31


def test_secret_file_is_replaced_whole(tmp_path):
    path = tmp_path / "secret"
    write_secret(path, b"one", replace=False)
    inode = path.stat().st_ino
    write_secret(path, b"two", replace=True)
    assert read_secret(path) == b"two"
    assert path.stat().st_ino != inode


def test_secret_in_a_missing_folder_is_a_named_error(tmp_path):
    with pytest.raises(SlussError) as caught:
        write_secret(tmp_path / "nowhere" / "secret", b"x", replace=False)
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE


def test_old_versions_are_gone_from_the_file_and_from_memory_and_their_numbers_never_come_back(provider, path):
    ring = provider.rings["records"]
    first = ring.wrap(b"secret", b"aad")
    assert provider.rotate("records") == 2
    kept = ring.rewrap(first, b"aad")
    for _ in range(2):
        provider.destroy("records", [1])
    for each in (ring, FileProvider(path).rings["records"]):
        assert each.versions == (2,)
        assert each.unwrap(kept, b"aad") == b"secret"
        with pytest.raises(SlussError) as caught:
            each.unwrap(first, b"aad")
        assert caught.value.reason is Reason.KEYS_UNAVAILABLE
    assert provider.rotate("records") == 3
    assert FileProvider(path).rings["financial"].versions == (1,)


def test_a_full_disk_destroys_nothing(provider, path, monkeypatch):
    provider.rotate("records")
    before = path.read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(secret_file.os, "fsync", full)
    with pytest.raises(SlussError) as caught:
        provider.destroy("records", [1])
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE
    assert (provider.rings["records"].versions, path.read_bytes()) == ((1, 2), before)


def test_what_a_killed_process_was_writing_is_destroyed_with_the_old_versions(provider, path):
    code = f"""
import os, signal
from pathlib import Path
from broker.keys import secret_file
from broker.keys.file import FileProvider
secret_file.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
FileProvider(Path({str(path)!r})).rotate("records")
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -signal.SIGKILL
    old = json.loads(path.read_bytes())["rings"]["records"]["1"].encode()
    assert sum(old in each.read_bytes() for each in path.parent.iterdir()) == 2
    provider.rotate("financial")
    provider.rotate("records")
    provider.destroy("records", [1])
    assert not any(old in each.read_bytes() for each in path.parent.iterdir())
    assert [each.name for each in path.parent.iterdir()] == ["rings.json"]


def test_index_is_never_destroyed(provider):
    with pytest.raises(SlussError) as caught:
        provider.destroy("index", [1])
    assert caught.value.reason is Reason.INVALID_REQUEST


def test_the_next_key_is_wrapped_under_a_version_that_another_process_has_added(provider, path):
    FileProvider(path).rotate("records")
    assert provider.rings["records"].wrap(b"secret", b"aad")[:2] == b"\x00\x02"


def test_nothing_is_wrapped_once_the_file_is_gone_and_what_was_wrapped_still_opens(provider, path):
    ring = provider.rings["records"]
    kept = ring.wrap(b"secret", b"aad")
    path.rename(path.with_name("moved"))
    with pytest.raises(SlussError) as caught:
        ring.wrap(b"more", b"aad")
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE
    assert ring.unwrap(kept, b"aad") == b"secret"
    path.with_name("moved").rename(path)
    assert ring.unwrap(ring.wrap(b"more", b"aad"), b"aad") == b"more"


def test_nothing_is_wrapped_once_others_can_read_a_new_file(provider, path):
    FileProvider(path).rotate("records")
    path.chmod(0o644)
    with pytest.raises(SlussError) as caught:
        provider.rings["records"].wrap(b"secret", b"aad")
    assert "chmod 600" in caught.value.detail


def test_only_the_versions_that_are_named_are_destroyed_and_never_the_newest(provider, path):
    other = FileProvider(path)
    provider.rotate("records")
    other.rotate("records")
    provider.destroy("records", [1])
    assert FileProvider(path).rings["records"].versions == (2, 3)
    with pytest.raises(SlussError) as caught:
        provider.destroy("records", [2, 3])
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert FileProvider(path).rings["records"].versions == (2, 3)


def test_a_new_version_has_a_number_above_what_is_known_elsewhere(provider):
    assert provider.rotate("records", 4) == 5
    assert provider.rotate("records", 4) == 6


def older(path):
    """The file of before, put back."""
    before = path.read_bytes()
    FileProvider(path).rotate("records")
    return before


def fewer(path):
    """A file that was rotated apart: it has a version of its own, and lacks one of before."""
    before = older(path)
    lacking = json.loads(path.read_bytes())
    lacking["rings"]["records"] = {**json.loads(before)["rings"]["records"], "3": lacking["rings"]["records"]["2"]}
    return json.dumps(lacking).encode()


def another(path):
    """Another home's."""
    FileProvider(path).rotate("records")
    elsewhere = FileProvider.create(path.with_name("elsewhere"))
    elsewhere.rotate("records")
    return path.with_name("elsewhere").read_bytes()


@pytest.mark.parametrize(("replace", "told"), [(older, "older"), (fewer, "lacks version 2"), (another, "another key")])
def test_nothing_is_wrapped_once_an_older_file_or_anothers_is_in_its_place(provider, path, replace, told):
    ring = provider.rings["records"]
    replacement = replace(path)
    right = path.read_bytes()
    kept = ring.wrap(b"secret", b"aad")
    assert kept[:2] == b"\x00\x02"
    for _ in range(2):
        write_secret(path, replacement, replace=True)
        with pytest.raises(SlussError) as caught:
            ring.wrap(b"more", b"aad")
        assert caught.value.reason is Reason.KEYS_UNAVAILABLE
        assert told in caught.value.detail
        with pytest.raises(SlussError):
            provider.rotate("records")
        assert path.read_bytes() == replacement
        assert ring.unwrap(kept, b"aad") == b"secret"
    write_secret(path, right, replace=True)
    assert FileProvider(path).rings["records"].unwrap(ring.wrap(b"more", b"aad"), b"aad") == b"more"


def test_a_file_from_which_old_versions_are_gone_is_taken_up(provider, path):
    other = FileProvider(path)
    other.rotate("records")
    other.destroy("records", [1])
    assert provider.rings["records"].wrap(b"secret", b"aad")[:2] == b"\x00\x02"


def test_the_log_says_once_why_nothing_is_wrapped(provider, path, caplog):
    ring, right = provider.rings["records"], path.read_bytes()
    path.unlink()
    for _ in range(3):
        with pytest.raises(SlussError):
            ring.wrap(b"more", b"aad")
    write_secret(path, b"{}", replace=True)
    for _ in range(3):
        with pytest.raises(SlussError):
            ring.wrap(b"more", b"aad")
    assert [record.message for record in caplog.records] == [
        "nothing is wrapped any more: the key file rings.json can't be read",
        "nothing is wrapped any more: the key file is malformed",
    ]
    write_secret(path, right, replace=True)
    assert ring.unwrap(ring.wrap(b"more", b"aad"), b"aad") == b"more"
