from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import SlussError
from broker.ledger import entry
from broker.ledger.scan import scan
from tests.unit.ledger.world import START, TERMS, disclosure, every_type

ENTRIES = every_type()


def test_there_is_a_constructor_for_every_type():
    assert set(ENTRIES) == entry.TYPES


@pytest.mark.parametrize("kind", sorted(ENTRIES))
def test_every_type_is_one_canonical_line_that_begins_with_its_time(kind):
    data = ENTRIES[kind]
    assert data.startswith(b'{"at":"2026-11-23T22:33:57.123456Z",')
    assert b"\n" not in data
    plain = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert data == plain
    assert entry.canonical(entry.parse(data)) == data
    assert scan(data) == entry.columns(entry.parse(data))


@pytest.mark.parametrize("kind", sorted(ENTRIES))
def test_a_member_more_or_less_or_of_another_type_is_refused(kind):
    obj = json.loads(ENTRIES[kind])
    changed = [{**obj, "extra": 1}, *[{k: v for k, v in obj.items() if k != name} for name in obj]]
    changed += [{**obj, name: [] if not isinstance(obj[name], list) else {}} for name in obj]
    changed += [{**obj, name: True} for name, value in obj.items() if type(value) is int]
    changed += [{**obj, name: int(value)} for name, value in obj.items() if type(value) is bool]
    for wrong in changed:
        data = entry.canonical(wrong)
        for read in (entry.parse, scan):
            with pytest.raises(SlussError, match=r"MALFORMED|UNSUPPORTED_VERSION"):
                read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        ENTRIES["catalogue"] + b"\n",
        b" " + ENTRIES["catalogue"],
        ENTRIES["catalogue"].replace(b'"by"', b'"b\\u0079"'),
        ENTRIES["catalogue"].replace(b'"by":"', b'"by":"\xff'),
        ENTRIES["catalogue"].replace(b'"v":1', b'"v":1.0'),
        ENTRIES["catalogue"].replace(b'"v":1', b'"v":1e0'),
        ENTRIES["catalogue"].replace(b'"v":1', b'"v":2'),
        ENTRIES["catalogue"].replace(b'"v":1', b'"v":1,"v":1'),
        ENTRIES["catalogue"].replace(b'"catalogue"', b'"diary"'),
        ENTRIES["catalogue"].replace(b'"catalogue"', b"null"),
        ENTRIES["catalogue"].replace(b".123456Z", b".123Z"),
        ENTRIES["disclosure"].replace(b'"unavailable":0', b'"unavailable":0.5'),
        ENTRIES["disclosure"].replace(b'"unavailable":0', b'"unavailable":9007199254740993'),
        ENTRIES["disclosure"].replace(b'"unavailable":0', b'"unavailable":18446744073709551616'),
        ENTRIES["disclosure"].replace(b'"unavailable":0', b'"unavailable":00'),
        ENTRIES["disclosure"].replace(b'"unavailable":0', b'"unavailable":-0'),
        ENTRIES["disclosure"].replace(b'"name":"email"', b'"name":"zip"'),
        ENTRIES["disclosure"].replace(b'"name":"phone"', b'"name":"email"'),
        ENTRIES["disclosure"].replace(b'"transform":"full"', b'"transform":"full","x":"y"'),
        ENTRIES["disclosure"].replace(b'"v":1},"type"', b'"v":2},"type"'),
        *(
            ENTRIES["disclosure"].replace(b'"holds":"11"', b'"holds":"%b"' % digits)
            for digits in (b"", b"1", b"111", b"12", b"1 ", b"\xd9\xa1\xd9\xa1")
        ),
        disclosure(persons=3).replace(b'"holds":"11"', b'"holds":"1"', 1),
        disclosure(persons=2).replace(b'"holds":"11"', b'"holds":"1"', 1).replace(b'"holds":"11"', b'"holds":"111"'),
        ENTRIES["release"].replace(b'"holds":"10"', b'"holds":"101"'),
        ENTRIES["disclosure"].replace(b'"holds":"11",', b""),
        ENTRIES["refusals"].replace(b":7", b":null"),
        ENTRIES["refusal"].replace(b'["email"]', b"[1]"),
    ],
)
def test_what_is_not_exactly_canonical_is_refused(data):
    for read in (entry.parse, scan):
        with pytest.raises(SlussError, match=r"MALFORMED|UNSUPPORTED_VERSION"):
            read(data)


@pytest.mark.parametrize("value", [1.5, None, 1 << 53, {"ä": 1}, {1: 2}, [None], {"a": {"b": 1.0}}, b"x", "\ud800"])
def test_canonical_refuses_what_the_subset_does_not_have(value):
    with pytest.raises(SlussError, match="MALFORMED"):
        entry.canonical({"a": value})


def test_256_persons_fit_and_one_more_or_none_is_refused():
    entry.parse(disclosure(persons=256))
    for persons in (0, 257):
        with pytest.raises(SlussError, match="MALFORMED"):
            entry.parse(disclosure(persons=persons))
        with pytest.raises(SlussError, match="MALFORMED"):
            scan(disclosure(persons=persons))


def test_an_entry_longer_than_64_kib_is_neither_made_nor_read():
    with pytest.raises(SlussError, match="MALFORMED"):
        entry.catalogue(START, bytes(32), "x" * 65_536)
    long = entry.canonical({**json.loads(ENTRIES["catalogue"]), "by": "x" * 65_536})
    with pytest.raises(SlussError, match="MALFORMED"):
        entry.parse(long)


@pytest.mark.parametrize("text", ["A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "+", "A" * 42 + "="])
def test_a_digest_that_is_not_32_bytes_in_base64url_is_refused(text):
    data = ENTRIES["disclosure"]
    good = json.loads(data)["slices"][0]["person"]
    for read in (entry.parse, scan):
        with pytest.raises(SlussError, match="MALFORMED"):
            read(data.replace(good.encode(), text.encode()))


@given(st.data())
def test_the_fast_scan_and_the_parser_agree_on_every_mutation(data):
    original = disclosure(purpose=data.draw(st.text(max_size=5)))
    position = data.draw(st.integers(0, len(original) - 1))
    piece = data.draw(
        st.sampled_from([b"", b'"', b"]", b"}", b",", b"0", b"\\", b" ", b"\x7f", b"\xc3\xa4", b":", b"["])
    )
    wide = data.draw(st.integers(0, 2))
    mutated = original[:position] + piece + original[position + wide :]
    assert outcome(scan, mutated) == outcome(lambda raw: entry.columns(entry.parse(raw)), mutated)


def outcome(read, data):
    try:
        return read(data)
    except SlussError as error:
        return str(error)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=9))
def test_many_digests_are_written_as_each_alone(digests):
    assert entry.digest_texts(digests) == [entry.base64url(digest) for digest in digests]


def test_a_digest_of_another_length_is_not_written():
    with pytest.raises(SlussError, match="MALFORMED"):
        entry.digest_texts([bytes(31)])


def test_terms_come_back_from_the_entry_byte_by_byte():
    assert entry.canonical(entry.parse(disclosure())["terms"]) == entry.canonical(TERMS)
