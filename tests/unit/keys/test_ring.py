"""Key rings: what was wrapped opens with the same ring and associated data, and with nothing else."""

from __future__ import annotations

import os
import threading

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.errors import Reason, SlussError
from broker.keys.ring import KeyRing

SECRET, AAD = b"s" * 64, b"person 1"


@pytest.fixture
def ring():
    return KeyRing("records", {1: os.urandom(32)})


def test_wrapped_secret_opens_again(ring):
    assert ring.unwrap(ring.wrap(SECRET, AAD), AAD) == SECRET


def test_two_wraps_of_one_secret_differ_and_neither_shows_it(ring):
    one, two = ring.wrap(SECRET, AAD), ring.wrap(SECRET, AAD)
    assert one != two
    assert SECRET[:8] not in one


def test_format_is_version_nonce_ciphertext_and_tag(ring):
    key = os.urandom(32)
    blob = KeyRing("epochs", {1: os.urandom(32), 258: key}).wrap(SECRET, AAD)
    assert blob[:2] == b"\x01\x02"
    assert AESGCM(key).decrypt(blob[2:14], blob[14:], AAD) == SECRET


def test_every_flipped_bit_and_every_truncation_is_refused(ring):
    blob = ring.wrap(SECRET, AAD)
    for at in range(len(blob)):
        with pytest.raises(SlussError):
            ring.unwrap(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :], AAD)
        with pytest.raises(SlussError):
            ring.unwrap(blob[:at], AAD)


def test_other_associated_data_is_refused(ring):
    with pytest.raises(SlussError) as caught:
        ring.unwrap(ring.wrap(SECRET, AAD), b"person 2")
    assert caught.value.reason is Reason.INTERNAL


def test_blob_of_another_ring_is_refused(ring):
    other = KeyRing("financial", {1: os.urandom(32)})
    with pytest.raises(SlussError) as caught:
        other.unwrap(ring.wrap(SECRET, AAD), AAD)
    assert caught.value.reason is Reason.INTERNAL


def test_rotation_keeps_old_blobs_readable_and_rewrap_moves_them(ring):
    old = ring.wrap(SECRET, AAD)
    assert ring.rotate() == 2
    assert ring.unwrap(old, AAD) == SECRET
    new = ring.rewrap(old, AAD)
    assert (new[:2], ring.unwrap(new, AAD)) == (b"\x00\x02", SECRET)
    assert ring.rewrap(new, AAD) == new


def test_rewrap_of_altered_blob_is_refused(ring):
    old = ring.wrap(SECRET, AAD)
    ring.rotate()
    with pytest.raises(SlussError):
        ring.rewrap(old[:-1] + bytes([old[-1] ^ 1]), AAD)


def test_unknown_version_is_reported_as_unavailable(ring):
    ahead = KeyRing("records", {7: os.urandom(32)}).wrap(SECRET, AAD)
    with pytest.raises(SlussError) as caught:
        ring.unwrap(ahead, AAD)
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE


def test_version_made_by_another_process_is_fetched_once_needed():
    keys = {1: os.urandom(32)}
    mine = KeyRing("records", dict(keys), lambda: keys)
    theirs = KeyRing("records", dict(keys))
    keys[2] = os.urandom(32)
    theirs.rotate(keys[2])
    assert mine.unwrap(theirs.wrap(SECRET, AAD), AAD) == SECRET
    assert mine.version == 2


def test_digest_stays_the_same_through_rotation_and_labels_separate_it(ring):
    before = ring.digest(b"a\x00", b"data")
    ring.rotate()
    assert ring.digest(b"a\x00", b"data") == before
    assert ring.digest(b"b\x00", b"data") != before
    assert len(before) == 32


def test_digest_without_version_1_is_refused():
    with pytest.raises(SlussError) as caught:
        KeyRing("index", {2: os.urandom(32)}).digest(b"a", b"b")
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE


@pytest.mark.parametrize(
    "versions", [{}, {0: bytes(32)}, {1: bytes(16)}, {1: b""}, {65536: bytes(32)}, {-1: bytes(32)}]
)
def test_malformed_rings_are_refused(versions):
    with pytest.raises(SlussError) as caught:
        KeyRing("records", versions)
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE


def test_repr_shows_no_key():
    key = b"K" * 32
    shown = repr(KeyRing("records", {1: key}))
    assert "KKK" not in shown
    assert key.hex() not in shown


def test_wraps_beside_rotations_all_open(ring):
    blobs = []
    threads = [
        threading.Thread(target=lambda: blobs.extend(ring.wrap(SECRET, AAD) for _ in range(300))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for _ in range(50):
        ring.rotate()
    for thread in threads:
        thread.join()
    assert {ring.unwrap(blob, AAD) for blob in blobs} == {SECRET}
