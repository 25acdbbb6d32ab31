from __future__ import annotations

import pytest

from broker.errors import SlussError
from broker.ledger.signer import LedgerKeys
from tests.unit.ledger.world import KEYS, ORIGIN


def test_keys_come_back_from_their_file(tmp_path):
    path = tmp_path / "ledger.json"
    keys = LedgerKeys.generate(ORIGIN)
    keys.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert LedgerKeys.load(path) == keys
    assert LedgerKeys.load(path).signer().vkeys() == keys.signer().vkeys()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o601, 0o660])
def test_a_key_file_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "ledger.json"
    KEYS.save(path)
    path.chmod(mode)
    with pytest.raises(SlussError, match=r"KEYS_UNAVAILABLE.*chmod 600"):
        LedgerKeys.load(path)


def test_an_existing_key_file_is_never_replaced(tmp_path):
    path = tmp_path / "ledger.json"
    KEYS.save(path)
    with pytest.raises(SlussError, match="KEYS_UNAVAILABLE"):
        LedgerKeys.generate(ORIGIN).save(path)
    assert LedgerKeys.load(path) == KEYS


def test_a_missing_key_file_is_an_error_and_not_a_new_key(tmp_path):
    with pytest.raises(SlussError, match="KEYS_UNAVAILABLE"):
        LedgerKeys.load(tmp_path / "ledger.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        KEYS.data().replace(b'"v":1', b'"v":2'),
        KEYS.data().replace(b"AAEC", b"AAE"),
        KEYS.data().replace(b"{", b'{"x":1,', 1),
    ],
)
def test_a_malformed_key_file_is_refused(data):
    with pytest.raises(SlussError, match="KEYS_UNAVAILABLE"):
        LedgerKeys.parse(data)


def test_seeds_do_not_show_when_keys_are_printed():
    assert KEYS.ed25519_seed.hex() not in repr(KEYS)
    assert repr(KEYS.ed25519_seed) not in repr(KEYS)
