"""Properties of slices over arbitrary contents: round trip, determinism, agreement of two implementations."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import sealing
from broker.errors import SlussError
from broker.slice_terms import Terms, base64url
from tests.vectors import independent_opener

CONTRACT = "C-2026-0001"
KEY = sealing.RecipientPrivateKey(sealing.SUITE_X25519, bytes(range(32)))
EPOCH = sealing.new_epoch(CONTRACT, KEY.public())

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
values = st.text(st.characters(codec="utf-8"), max_size=200)
records = st.dictionaries(names, st.none() | values, min_size=1, max_size=12)
handles = st.binary(min_size=16, max_size=16)


def disclosure(record, number=0):
    """Canonical terms for these fields, and the present values with their ordinals."""
    fields = sorted(record)
    terms = {
        "contract": CONTRACT,
        "contract_version": 1,
        "disclosure": f"D-{number:032x}",
        "epoch": base64url(EPOCH.id),
        "fields": [{"name": name, "transform": "full"} for name in fields],
        "issued": "2026-11-23T22:33:57.123456Z",
        "key": base64url(EPOCH.key_id),
        "onward_transfer": "forbidden",
        "policy": "2026-01",
        "purpose": "billing",
        "recipient": "subcontractor/acme-pay",
        "retain_until": "2026-12-23",
        "v": 1,
    }
    present = [(at, name, record[name].encode()) for at, name in enumerate(fields) if record[name] is not None]
    return orjson.dumps(terms, option=orjson.OPT_SORT_KEYS), present


def present(record):
    return {name: value for name, value in record.items() if value is not None}


@given(records, handles)
def test_what_is_sealed_opens_to_the_same_values(record, handle):
    terms, sealed_values = disclosure(record)
    data = sealing.Sealer(EPOCH, terms).seal(handle, sealed_values)
    opened = sealing.Opener([KEY], CONTRACT).open(terms, EPOCH.blob, data)
    assert (opened.handle, opened.values) == (handle, present(record))


@settings(max_examples=40)
@given(records, handles)
def test_two_implementations_agree(record, handle):
    terms, sealed_values = disclosure(record)
    data = sealing.Sealer(EPOCH, terms).seal(handle, sealed_values)
    opened = independent_opener.open_slice(KEY.data, CONTRACT, terms, EPOCH.blob, data)
    assert opened == (handle, present(record))


@given(records, records, handles, handles, st.booleans())
def test_equal_bytes_mean_equal_content(first, second, one, other, same):
    number = 0 if same else 1
    terms, sealed = disclosure(first)
    others, sealed_other = disclosure(second, number)
    left = sealing.Sealer(EPOCH, terms).seal(one, sealed)
    right = sealing.Sealer(EPOCH, others).seal(other, sealed_other)
    assert (left == right) == ((terms, one, sealed) == (others, other, sealed_other))


@given(records, handles, st.data())
def test_any_splice_of_two_slices_stays_shut(record, handle, data):
    terms, sealed_values = disclosure(record)
    sealer = sealing.Sealer(EPOCH, terms)
    one, two = sealer.seal(handle, sealed_values), sealer.seal(bytes(16), sealed_values)
    at = data.draw(st.integers(1, len(one) - 1))
    spliced = one[:at] + two[at:]
    if spliced in (one, two):
        return
    with pytest.raises(SlussError):
        sealing.Opener([KEY], CONTRACT).open(terms, EPOCH.blob, spliced)


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_our_error(data):
    terms, _ = disclosure({"email": "x"})
    opener = sealing.Opener([KEY], CONTRACT)
    for arguments in ((terms, EPOCH.blob, data), (terms, data, b"\1"), (data, EPOCH.blob, b"\1")):
        with pytest.raises(SlussError):
            opener.open(*arguments)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(orjson.loads(disclosure({"email": "x"})[0]))), json_values)
def test_terms_parse_only_to_what_they_say(name, value):
    terms = orjson.loads(disclosure({"email": "x"})[0]) | {name: value}
    data = orjson.dumps(terms, option=orjson.OPT_SORT_KEYS)
    try:
        parsed = Terms.parse(data)
    except SlussError:
        return
    if name not in {"epoch", "key", "fields", "onward_transfer", "v"}:
        assert getattr(parsed, name) == value
        assert value


@given(st.binary(min_size=32, max_size=32), st.lists(st.integers(1, 2**62 - 1), max_size=30))
def test_handles_lead_back_to_persons(key, persons):
    handles_made = sealing.handles_of(key, persons)
    assert sealing.persons_of(key, handles_made) == persons
    assert [sealing.parse_handle(sealing.handle_text(handle)) for handle in handles_made] == handles_made
