"""Handles: pseudonyms that only their contract's key resolves."""

import re

import pytest

from broker import sealing
from broker.errors import Reason, SlussError
from tests.unit.sealing_world import HANDLE, flips

KEY = bytes(range(32))


def test_a_handle_leads_back_to_its_person():
    persons = [1, 2, 1 << 61, (1 << 62) - 1]
    handles = sealing.handles_of(KEY, persons)
    assert len(set(handles)) == 4
    assert sealing.persons_of(KEY, handles) == persons
    assert [sealing.handle_of(KEY, person) for person in persons] == handles
    assert [sealing.person_of(KEY, handle) for handle in handles] == persons


def test_a_forged_handle_leads_to_nobody():
    handle = sealing.handle_of(KEY, 42)
    forged = [data for _, data in flips(handle)]
    assert set(sealing.persons_of(KEY, forged)) == {None}
    assert sealing.persons_of(KEY, [forged[0], handle]) == [None, 42]


def test_a_handle_of_another_contract_leads_to_nobody():
    assert sealing.person_of(bytes(32), sealing.handle_of(KEY, 42)) is None


@pytest.mark.parametrize("person", [0, 1 << 62, (1 << 64) - 1])
def test_a_person_out_of_range_leads_to_nobody(person):
    assert sealing.person_of(KEY, sealing.handle_of(KEY, person)) is None


def test_no_handles_give_no_persons():
    assert sealing.handles_of(KEY, []) == []
    assert sealing.persons_of(KEY, []) == []


def test_a_handle_of_another_length_is_malformed():
    with pytest.raises(SlussError):
        sealing.persons_of(KEY, [bytes(16), bytes(15), bytes(17)])


def test_handles_have_one_text_form():
    text = sealing.handle_text(HANDLE)
    assert re.fullmatch(r"h_[A-Za-z0-9_-]{22}", text)
    assert sealing.parse_handle(text) == HANDLE


@pytest.mark.parametrize(
    "text",
    ["", "h_", "AAECAwQFBgcICQoLDA0ODw", "h_AAECAwQFBgcICQoLDA0ODx", "h_AAECAwQFBgcICQoLDA0OD/", "h_é"],
)
def test_other_texts_are_not_handles(text):
    with pytest.raises(SlussError) as caught:
        sealing.parse_handle(text)
    assert caught.value.reason is Reason.MALFORMED
