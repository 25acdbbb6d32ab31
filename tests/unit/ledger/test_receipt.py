from __future__ import annotations

import pytest

from broker.errors import SlussError
from broker.ledger.merkle import leaf_hash
from broker.ledger.receipt import format_receipt, parse_receipt, verify_receipt
from tests.unit.ledger.world import OTHER, SIGNER, VERIFIER, naive_path, naive_root

ENTRIES = [b"entry %d" % i for i in range(7)]
LEAVES = [leaf_hash(data) for data in ENTRIES]
NOTE = SIGNER.sign(7, naive_root(LEAVES))
RECEIPTS = [format_receipt(i, naive_path(i, LEAVES), NOTE) for i in range(7)]


def test_a_receipt_is_laid_out_as_c2sp_says():
    lines = RECEIPTS[6].split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 6"]
    assert lines[4] == ""
    assert "\n".join(lines[5:]) == NOTE


@pytest.mark.parametrize("index", range(7))
def test_a_receipt_proves_its_entry_and_no_other(index):
    assert verify_receipt(RECEIPTS[index], ENTRIES[index], VERIFIER).size == 7
    for other in set(range(7)) - {index}:
        with pytest.raises(SlussError, match="LEDGER_INCONSISTENT"):
            verify_receipt(RECEIPTS[index], ENTRIES[other], VERIFIER)


def test_a_receipt_of_a_ledger_of_one_entry_has_no_hashes():
    note = SIGNER.sign(1, LEAVES[0])
    text = format_receipt(0, [], note)
    assert text.startswith("c2sp.org/tlog-proof@v1\nindex 0\n\nexample.com/sluss\n1\n")
    assert verify_receipt(text, ENTRIES[0], VERIFIER).size == 1


def test_a_receipt_under_another_key_proves_nothing():
    text = format_receipt(0, naive_path(0, LEAVES), OTHER.sign(7, naive_root(LEAVES)))
    with pytest.raises(SlussError, match="INVALID_SIGNATURE"):
        verify_receipt(text, ENTRIES[0], VERIFIER)


def test_no_character_of_a_receipt_can_be_changed():
    text = RECEIPTS[3]
    for position in range(len(text)):
        for piece in ("", "A", "\n", " "):
            changed = text[:position] + piece + text[position + 1 :]
            if changed != text:
                with pytest.raises(SlussError, match=r"MALFORMED|UNSUPPORTED_|INVALID_SIG|LEDGER_INC"):
                    verify_receipt(changed, ENTRIES[3], VERIFIER)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("index 3", "extra AAAA\nindex 3"),
        lambda text: text.replace("index 3", "index 03"),
        lambda text: text.replace("index 3", "index -3"),
        lambda text: text.replace("index 3", "index 33333333333333333"),
        lambda text: text.replace("index 3\n", "index 3\n" + ("A" * 43 + "=\n") * 65),
        lambda text: text.replace("index 3\n", "index 3\nAAAA\n"),
        lambda text: "",
        lambda text: text[: text.index("\n\n")],
    ],
)
def test_a_receipt_written_in_any_other_way_is_refused(change):
    with pytest.raises(SlussError, match=r"MALFORMED|UNSUPPORTED_VERSION"):
        parse_receipt(change(RECEIPTS[3]))
