"""An export verifies without the store, and shows tampering as the store does."""

from __future__ import annotations

import pytest

from broker.errors import SlussError
from broker.ledger.export import export
from broker.ledger.findings import Kind
from broker.ledger.verify import verify_export
from tests.unit.ledger.world import OTHER, SIGNER, VERIFIER, fill, new_ledger


@pytest.fixture
def folder(store_engine, tmp_path):
    ledger = new_ledger(store_engine)
    fill(ledger, 700)
    assert export(store_engine, tmp_path / "export", VERIFIER) == 701
    store_engine.dispose()
    return tmp_path / "export"


def found(folder, checkpoint=None):
    report = verify_export(folder, checkpoint, VERIFIER)
    return {(finding.kind, finding.index) for finding in report.findings}


def edit(folder, change):
    path = folder / "entries-000000000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines)
    path.write_bytes(b"".join(lines))


def test_an_export_verifies_with_its_own_keys_or_with_keys_from_elsewhere(folder):
    for report in (verify_export(folder), verify_export(folder, None, VERIFIER)):
        assert report.ok
        assert (report.size, report.checkpoints) == (701, 7)


def test_the_folder_holds_one_canonical_line_per_entry(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint",
        "checkpoints.jsonl",
        "entries-000000000.jsonl",
        "keys.txt",
        "leaf-hashes.bin",
    ]
    assert (folder / "entries-000000000.jsonl").read_bytes().count(b"\n") == 701
    assert (folder / "leaf-hashes.bin").stat().st_size == 701 * 32


@pytest.mark.parametrize("index", [1, 300, 700])
def test_an_altered_line_is_named(folder, index):
    edit(folder, lambda lines: lines.__setitem__(index, lines[index].replace(b"billing", b"selling")))
    assert found(folder) == {(Kind.ALTERED, index)}


def test_swapped_lines_are_named(folder):
    edit(folder, lambda lines: lines.__setitem__(slice(5, 7), [lines[6], lines[5]]))
    assert found(folder) == {(Kind.SWAPPED, 5), (Kind.SWAPPED, 6)}


def test_lost_lines_at_the_end_are_found(folder):
    edit(folder, lambda lines: lines.__delitem__(slice(600, None)))
    assert found(folder) == {(Kind.TRUNCATED, 600)}


def test_a_line_added_at_the_end_is_found(folder):
    edit(folder, lambda lines: lines.append(lines[3]))
    assert found(folder) == {(Kind.EXTRA, 701)}


def test_a_line_without_end_is_found_and_not_read_whole(folder):
    edit(folder, lambda lines: lines.__setitem__(3, b"x" * 1_000_000 + b"\n"))
    assert (Kind.MALFORMED, 3) in found(folder)


def test_altered_leaf_hashes_do_not_pass_for_altered_entries(folder):
    path = folder / "leaf-hashes.bin"
    data = bytearray(path.read_bytes())
    data[32 * 300] ^= 1
    path.write_bytes(data)
    assert found(folder) == {(Kind.TILE, 256)}


@pytest.mark.parametrize("change", [b"", b"x"])
def test_leaf_hashes_of_another_length_are_found(folder, change):
    path = folder / "leaf-hashes.bin"
    path.write_bytes(path.read_bytes()[:-32] + change)
    assert Kind.TILE in {kind for kind, _ in found(folder)}


def test_a_forged_head_is_found(folder):
    (folder / "checkpoint").write_text(OTHER.sign(701, bytes(32)))
    assert (Kind.HEAD, None) in found(folder)


def test_an_export_made_with_other_keys_fails_against_the_known_ones(folder):
    (folder / "keys.txt").write_text("".join(vkey + "\n" for vkey in OTHER.vkeys()))
    assert Kind.HEAD in {finding.kind for finding in verify_export(folder).findings}
    assert found(folder) == set()


def test_an_older_export_is_found_by_a_later_checkpoint(folder):
    assert found(folder, SIGNER.sign(800, bytes(32))) == {(Kind.ROLLED_BACK, 701)}


@pytest.mark.parametrize("name", ["checkpoint", "leaf-hashes.bin", "keys.txt", "checkpoints.jsonl"])
def test_a_folder_that_is_not_an_export_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(SlussError, match="MALFORMED"):
        verify_export(folder)


def test_an_existing_folder_is_never_written_to(store_engine, tmp_path):
    new_ledger(store_engine)
    (tmp_path / "export").mkdir()
    with pytest.raises(SlussError, match="INVALID_REQUEST"):
        export(store_engine, tmp_path / "export", VERIFIER)
    assert not (tmp_path / "export.partial").exists()
    assert list((tmp_path / "export").iterdir()) == []
