"""Known answers, the specification's example and the second implementation."""

import itertools
import json
import re
from pathlib import Path

import pytest

from broker import sealing
from broker.sealing import SUITE_X25519, SUITE_XWING, Opener, RecipientPrivateKey
from tests.unit.sealing_world import CONTRACT, World, flips
from tests.vectors import independent_opener, make_slices

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["x25519", "xwing"])
def test_vectors_open_with_both_openers(name):
    vector = json.loads((ROOT / f"tests/vectors/slice-{name}.json").read_text())
    raw = {key: bytes.fromhex(vector[key]) for key in ("private_key", "epoch", "slice", "handle")}
    terms = vector["terms"].encode()
    key = RecipientPrivateKey(sealing.suite_named(vector["suite"]), raw["private_key"])
    opened = Opener([key], vector["contract"]).open(terms, raw["epoch"], raw["slice"])
    assert (opened.handle, opened.values) == (raw["handle"], vector["values"])
    assert key.public().data.hex() == vector["public_key"]
    assert independent_opener.open_slice(key.data, vector["contract"], terms, raw["epoch"], raw["slice"]) == (
        raw["handle"],
        vector["values"],
    )


@pytest.mark.parametrize(("name", "suite"), [("x25519", SUITE_X25519), ("xwing", SUITE_XWING)])
def test_vectors_are_what_the_code_derives_today(name, suite):
    path, text = make_slices.render(name, suite)
    assert path.read_text() == text


def test_the_example_in_the_specification_is_the_vector():
    page = (ROOT / "protos/SLICE.md").read_text()
    vector = json.loads((ROOT / "tests/vectors/slice-x25519.json").read_text())
    blocks = re.findall(r"```\n(01 .*?)```", page, re.DOTALL)
    lines = [[re.sub(r" {4,}.*| ordinal .*", "", line) for line in block.splitlines()] for block in blocks]
    shown = [re.sub(r"[^0-9a-f]", "", "".join(line for line in block)) for block in lines]
    for found, name in zip(shown, ("slice", "epoch"), strict=True):
        assert found == vector[name]
    assert f"```json\n{vector['terms']}\n```" in page
    for name in ("private_key", "epoch_secret", "terms_digest", "disclosure_key", "salt_key", "slice_key"):
        assert vector[name] in page


def test_the_independent_opener_shares_no_code_with_sealing():
    source = (ROOT / "tests/vectors/independent_opener.py").read_text()
    assert not re.search(r"^\s*(from|import) broker", source, re.MULTILINE)


def test_the_independent_opener_finds_flipped_bits_too():
    world = World(SUITE_XWING)
    for _, data in itertools.islice(flips(world.slice), 0, None, 37):
        with pytest.raises((independent_opener.ShutError, UnicodeDecodeError)):
            independent_opener.open_slice(world.key.data, CONTRACT, world.terms, world.epoch.blob, data)
