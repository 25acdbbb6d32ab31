"""The terms that bind a slice, and the keys that it is sealed to."""

import dataclasses
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem

from broker import sealing
from broker.errors import Reason, SlussError
from broker.sealing import SUITE_X25519, SUITE_XWING, RecipientPrivateKey, RecipientPublicKey
from broker.slice_terms import Terms
from tests.unit.sealing_world import CONTRACT, FIELDS, World, canonical, terms_for

SUITES = pytest.mark.parametrize("suite", [SUITE_X25519, SUITE_XWING], ids=["x25519", "xwing"])


@pytest.fixture
def light():
    return World()


# --- terms --------------------------------------------------------------------------------------------------


def test_terms_tell_what_they_say(light):
    terms = Terms.parse(light.terms)
    assert (terms.contract, terms.purpose, terms.retain_until) == (
        CONTRACT,
        "billing.collection",
        "2026-12-23",
    )
    assert terms.fields == tuple((name, "full") for name in FIELDS)
    assert (terms.epoch, terms.key) == (light.epoch.id, light.epoch.key_id)


@pytest.mark.parametrize(
    "change",
    [
        {"onward_transfer": "allowed"},
        {"extra": "term"},
        {"purpose": ""},
        {"purpose": 7},
        {"contract_version": "1"},
        {"contract": "C-2026-000Ä"},
        {"epoch": "short"},
        {"key": "A" * 42 + "B"},
        {"key": "!" * 43},
        {"fields": []},
        {"fields": ["email"]},
        {"fields": [{"name": "email"}]},
        {"fields": [{"name": "email", "transform": ""}]},
        {"fields": [{"name": "email", "transform": "full", "also": "this"}]},
        {"fields": [{"name": "b", "transform": "full"}, {"name": "a", "transform": "full"}]},
        {"fields": [{"name": "a", "transform": "full"}, {"name": "a", "transform": "last4"}]},
        {"fields": [{"name": f"f{n:03}", "transform": "full"} for n in range(256)]},
        {"v": True},
        {"v": 1.0},
    ],
    ids=str,
)
def test_terms_that_version_1_does_not_define_are_refused(light, change):
    with pytest.raises(SlussError) as caught:
        Terms.parse(terms_for(light.epoch, **change))
    assert caught.value.reason is Reason.MALFORMED


def test_a_missing_term_is_refused(light):
    terms = json.loads(light.terms)
    for name in terms:
        with pytest.raises(SlussError):
            Terms.parse(canonical({key: value for key, value in terms.items() if key != name}))


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b'"x"', b"{", b"\xff", b'{"v":1}', b"null"])
def test_what_is_not_an_object_of_terms_is_refused(data):
    with pytest.raises(SlussError):
        Terms.parse(data)


def test_a_repeated_member_is_refused(light):
    doubled = light.terms.replace(b'"v":1}', b'"v":1,"v":1}')
    with pytest.raises(SlussError):
        Terms.parse(doubled)


# --- keys ---------------------------------------------------------------------------------------------------


@SUITES
def test_portable_private_bytes_give_the_same_key_again(suite):
    key = RecipientPrivateKey.generate(suite)
    assert RecipientPrivateKey(suite, key.data).public() == key.public()


def test_public_key_sizes_are_those_of_the_suites():
    sizes = [len(RecipientPrivateKey.generate(suite).public().data) for suite in (SUITE_X25519, SUITE_XWING)]
    assert sizes == [32, 1216]


@SUITES
def test_a_public_key_of_another_length_is_refused(suite):
    data = RecipientPrivateKey.generate(suite).public().data
    for wrong in (b"", data[:-1], data + b"\0"):
        with pytest.raises(SlussError):
            RecipientPublicKey(suite, wrong)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)], ids=["zero", "one"])
def test_a_low_order_point_is_refused(point):
    lattice = mlkem.MLKEM768PrivateKey.generate().public_key().public_bytes_raw()
    for suite, data in ((SUITE_X25519, point), (SUITE_XWING, lattice + point)):
        with pytest.raises(SlussError):
            RecipientPublicKey(suite, data)


def test_a_lattice_key_that_fails_the_modulus_check_is_refused():
    data = RecipientPrivateKey.generate(SUITE_XWING).public().data
    with pytest.raises(SlussError):
        RecipientPublicKey(SUITE_XWING, b"\xff" * 1152 + data[1152:])


def test_unknown_suites_are_refused():
    for call in (
        lambda: RecipientPrivateKey(3, bytes(32)),
        lambda: RecipientPublicKey(0, bytes(32)),
        lambda: sealing.suite_named("P-256"),
    ):
        with pytest.raises(SlussError) as caught:
            call()
        assert caught.value.reason is Reason.UNSUPPORTED_VERSION


def test_suites_have_names():
    assert sealing.suite_named("X-Wing") == SUITE_XWING
    assert sealing.suite_named("X25519") == SUITE_X25519


def test_secrets_and_values_are_not_shown(light):
    opened = light.open()
    shown = repr((light.key, light.epoch, opened))
    assert repr(light.epoch.secret)[2:-1] not in shown
    assert repr(light.key.data)[2:-1] not in shown
    assert "example.com" not in shown


def test_an_epoch_is_rebuilt_only_from_whole_parts(light):
    for secret, blob in ((light.epoch.secret[:-1], light.epoch.blob), (light.epoch.secret, b"")):
        with pytest.raises(SlussError):
            dataclasses.replace(light.epoch, secret=secret, blob=blob)
