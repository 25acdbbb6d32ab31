"""Promise 4: a sealed field opens only with the recipient's key and the very terms it was sealed under."""

import hashlib
import itertools

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker import sealing
from broker.errors import Reason, SlussError
from broker.sealing import SUITE_X25519, SUITE_XWING, Opener, RecipientPrivateKey, Sealer
from broker.slice_terms import base64url
from tests.unit.sealing_world import CONTRACT, FIELDS, HANDLE, VALUES, World, flips, join, split, terms_for
from tests.vectors import independent_opener, make_slices


@pytest.fixture(params=[SUITE_X25519, SUITE_XWING], ids=["x25519", "xwing"])
def world(request):
    return World(request.param)


@pytest.fixture
def light():
    return World()


# --- round trip ---------------------------------------------------------------------------------------------


def test_what_was_sealed_opens_with_the_recipients_key(world):
    opened = world.open()
    assert opened.handle == HANDLE
    assert opened.values == {"email": "a@example.com", "name": "Åsa Öberg", "phone": "+4612345678"}


def test_the_independent_opener_opens_what_sealing_seals(world):
    opened = independent_opener.open_slice(world.key.data, CONTRACT, world.terms, world.epoch.blob, world.slice)
    assert opened == (HANDLE, world.open().values)


def test_fields_without_a_value_are_left_out(light):
    data = light.seal(VALUES[1:2])
    assert light.open(data=data).values == {"name": "Åsa Öberg"}
    assert light.open(data=light.seal(())).values == {}


def test_an_empty_value_is_a_value(light):
    assert light.open(data=light.seal(((0, "email", b""),))).values == {"email": ""}


def test_retry_after_a_restart_gives_the_same_bytes(world):
    rebuilt = sealing.Epoch(world.epoch.secret, world.epoch.blob)
    assert world.seal(epoch=rebuilt) == world.slice


def test_one_opener_opens_many_disclosures_and_epochs(light):
    opener = Opener([light.key], CONTRACT)
    for disclosure in ("D-" + "01" * 16, "D-" + "02" * 16):
        epoch = sealing.new_epoch(CONTRACT, light.key.public())
        terms = terms_for(epoch, disclosure=disclosure)
        data = light.seal(terms=terms, epoch=epoch)
        assert opener.open(terms, epoch.blob, data) == opener.open(terms, epoch.blob, data)
        assert opener.open(light.terms, light.epoch.blob, light.slice).handle == HANDLE


def test_an_opener_with_a_new_key_still_opens_old_slices(world):
    opener = Opener([RecipientPrivateKey.generate(), world.key], CONTRACT)
    assert opener.open(world.terms, world.epoch.blob, world.slice).handle == HANDLE


def test_more_epochs_than_an_opener_remembers_still_open(light, monkeypatch):
    monkeypatch.setattr(sealing, "_KNOWN_EPOCHS", 2)
    opener = Opener([light.key], CONTRACT)
    epochs = [sealing.new_epoch(CONTRACT, light.key.public()) for _ in range(5)]
    for epoch in epochs + epochs:
        assert opener.open_epoch(epoch.blob) == epoch.secret
    assert len(opener._secrets) <= 2


# --- swapping one thing -------------------------------------------------------------------------------------


def test_another_contract_does_not_open(world):
    world.shut(contract="C-2026-0002")
    world.shut(terms=terms_for(world.epoch, contract="C-2026-0002"))
    world.shut(contract="C-2026-0002", terms=terms_for(world.epoch, contract="C-2026-0002"))


@pytest.mark.parametrize(
    "change",
    [
        {"contract_version": 2},
        {"disclosure": "D-" + "01" * 16},
        {"issued": "2026-11-23T22:33:57.123457Z"},
        {"policy": "2026-02"},
        {"purpose": "billing"},
        {"recipient": "subcontractor/other"},
        {"retain_until": "2027-12-23"},
        {"fields": [{"name": name, "transform": "full"} for name in ("email", "name", "sms")]},
        {"fields": [{"name": name, "transform": "masked"} for name in FIELDS]},
        {"fields": [{"name": name, "transform": "full"} for name in ("aaa", *FIELDS)]},
    ],
    ids="".join,
)
def test_other_terms_do_not_open(world, change):
    world.shut(terms=terms_for(world.epoch, **change))


def test_another_persons_handle_does_not_open(world):
    other = bytes(reversed(HANDLE))
    data = world.seal(handle=other)
    world.shut(data=world.slice[:1] + other + world.slice[17:])
    world.shut(data=data[:17] + world.slice[17:])


def test_a_slice_of_another_disclosure_of_the_same_epoch_does_not_open(world):
    other = terms_for(world.epoch, disclosure="D-" + "01" * 16)
    world.shut(data=world.seal(terms=other))


def test_a_field_of_another_person_does_not_open(light):
    header, parts = split(light.slice)
    _, others = split(light.seal(handle=bytes(reversed(HANDLE))))
    light.shut(data=join(header, [parts[0], others[1], parts[2]]))


def test_fields_that_change_places_do_not_open(light):
    header, parts = split(light.slice)
    swapped = [parts[0][:1] + parts[1][1:], parts[1][:1] + parts[0][1:], parts[2]]
    light.shut(data=join(header, swapped))


def test_another_recipients_key_does_not_open(world):
    other = RecipientPrivateKey.generate(world.key.suite)
    world.shut(reasons=(Reason.KEY_UNKNOWN,), key=other)
    relabelled = world.epoch.blob[:2] + other.public().id + world.epoch.blob[34:]
    world.shut(key=other, blob=relabelled)
    world.shut(key=other, blob=relabelled, terms=terms_for(world.epoch, key=base64url(other.public().id)))


def test_another_epoch_of_the_same_key_does_not_open(world):
    other = sealing.new_epoch(CONTRACT, world.key.public())
    world.shut(blob=other.blob)
    world.shut(blob=other.blob, terms=terms_for(other))
    world.shut(terms=terms_for(other))


def test_an_epoch_of_another_contract_does_not_open_although_the_key_is_the_same(world):
    other = sealing.new_epoch("C-2026-0002", world.key.public())
    world.shut(blob=other.blob, terms=terms_for(other))


def test_a_broker_cannot_sell_two_secrets_under_one_epoch_id(light):
    forged = make_slices.encapsulate(light.key)
    blob = forged[:34] + light.epoch.id + forged[50:]
    light.shut(blob=blob)


def test_every_authentication_failure_says_the_same_thing(light):
    other = sealing.new_epoch(CONTRACT, light.key.public())
    swaps = [
        {"data": light.slice[:-1] + bytes([light.slice[-1] ^ 1])},
        {"data": light.seal(handle=bytes(reversed(HANDLE)))[:17] + light.slice[17:]},
        {"terms": terms_for(light.epoch, purpose="billing")},
        {"contract": "C-2026-0002"},
        {"blob": other.blob},
        {"blob": light.epoch.blob[:-1] + bytes([light.epoch.blob[-1] ^ 1])},
    ]
    assert len({str(light.shut(**swap)) for swap in swaps}) == 1


def test_an_opener_that_has_just_opened_one_disclosure_is_no_softer_on_the_next(world):
    opener = Opener([world.key], CONTRACT)
    other = sealing.new_epoch(CONTRACT, world.key.public())
    again = terms_for(world.epoch, disclosure="D-" + "01" * 16)
    for terms, blob, data in (
        (again, world.epoch.blob, world.slice),
        (world.terms, other.blob, world.slice),
        (terms_for(other), other.blob, world.slice),
        (world.terms, world.epoch.blob, world.seal(terms=again)),
    ):
        assert opener.open(world.terms, world.epoch.blob, world.slice).handle == HANDLE
        with pytest.raises(SlussError):
            opener.open(terms, blob, data)


def seal_freely(world, order):
    """A slice as a broker might make it that holds all keys and keeps no rule of order."""
    secret, digest = world.epoch.secret, hashlib.sha256(world.terms).digest()
    salt_key = independent_opener.expand(secret, b"sluss/v1 salt\0" + digest, 32)
    content = b"".join(bytes([o]) + len(v).to_bytes(4, "big") + v for o, _, v in order)
    salt = independent_opener.mac(salt_key, HANDLE + content)[:16]
    disclosure_key = independent_opener.expand(secret, b"sluss/v1 disclosure\0" + digest, 32)
    key = AESGCM(independent_opener.mac(disclosure_key, b"sluss/v1 slice\0" + HANDLE + salt))
    aad = b"sluss/v1 field\0" + digest + HANDLE
    sealed = [(o, key.encrypt(bytes(11) + bytes([o]), v, aad + name.encode())) for o, name, v in order]
    parts = [bytes([o]) + len(c).to_bytes(4, "big") + c for o, c in sealed]
    return join(b"\x01" + HANDLE + salt, parts)


def test_a_broker_that_seals_fields_out_of_order_or_twice_is_refused(light):
    assert seal_freely(light, VALUES) == light.slice
    for order in ([VALUES[1], VALUES[0]], [VALUES[0], VALUES[0]]):
        light.shut(data=seal_freely(light, order))


# --- damaged bytes ------------------------------------------------------------------------------------------


def test_every_flipped_bit_of_a_slice_is_found(light):
    for at, data in flips(light.slice):
        light.shut((Reason.UNSUPPORTED_VERSION,) if at == 0 else (Reason.MALFORMED,), data=data)


def test_every_flipped_bit_of_an_epoch_is_found(light):
    for at, blob in flips(light.epoch.blob):
        expected = {0: Reason.UNSUPPORTED_VERSION, 1: Reason.UNSUPPORTED_VERSION}.get(
            at, Reason.KEY_UNKNOWN if at < 34 else Reason.MALFORMED
        )
        reasons = (expected, Reason.MALFORMED) if at == 1 else (expected,)
        light.shut(reasons, blob=blob)


def test_every_flipped_byte_of_an_xwing_epoch_is_found():
    world = World(SUITE_XWING)
    reasons = (Reason.MALFORMED, Reason.KEY_UNKNOWN, Reason.UNSUPPORTED_VERSION)
    for at in range(len(world.epoch.blob)):
        blob = bytearray(world.epoch.blob)
        blob[at] ^= 0x40
        world.shut(reasons, blob=bytes(blob))


def test_every_flipped_bit_of_the_terms_is_found(light):
    for _, terms in flips(light.terms):
        light.shut((Reason.MALFORMED, Reason.UNSUPPORTED_VERSION), terms=terms)


def test_every_truncation_is_found(world):
    reasons = (Reason.MALFORMED,)
    for length in range(len(world.slice)):
        world.shut(reasons, data=world.slice[:length])
    for length in range(1, len(world.epoch.blob)):
        world.shut(reasons, blob=world.epoch.blob[:length])
    with pytest.raises(SlussError):
        Opener([world.key], CONTRACT).open_epoch(b"")


def test_bytes_after_the_end_are_found(world):
    world.shut(data=world.slice + b"\0")
    world.shut(blob=world.epoch.blob + b"\0")
    world.shut(terms=world.terms + b"\n")


def test_a_dropped_field_is_found(light):
    header, parts = split(light.slice)
    for kept in itertools.chain.from_iterable(itertools.combinations(parts, n) for n in range(3)):
        light.shut(data=join(header, list(kept)))


def test_a_repeated_field_is_found(light):
    header, parts = split(light.slice)
    light.shut(data=join(header, [parts[0], parts[0], *parts[1:]]))


def test_reordered_fields_are_found(light):
    header, parts = split(light.slice)
    for order in itertools.permutations(parts):
        if list(order) != parts:
            light.shut(data=join(header, list(order)))


def test_an_ordinal_outside_the_terms_is_found(light):
    header, parts = split(light.slice)
    light.shut(data=join(header, [*parts[:2], b"\x03" + parts[2][1:]]))


def test_a_count_that_claims_more_fields_is_found(light):
    header, parts = split(light.slice)
    light.shut(data=header + b"\x04" + b"".join(parts))
    light.shut(data=header + b"\xff" + b"".join(parts))


def test_a_length_beyond_the_slice_is_found(light):
    header, parts = split(light.slice)
    light.shut(data=join(header, [*parts[:2], parts[2][:1] + b"\xff\xff\xff\xff" + parts[2][5:]]))


def test_a_sealed_value_shorter_than_its_tag_is_found(light):
    light.shut(data=join(light.slice[:33], [b"\x00\x00\x00\x00\x0f" + bytes(15)]))


def test_a_value_that_is_not_utf8_does_not_open(light):
    light.shut(data=light.seal(((0, "email", b"\xff\xfe"),)))


def test_unknown_versions_are_refused_by_name(light):
    light.shut((Reason.UNSUPPORTED_VERSION,), data=b"\x02" + light.slice[1:])
    light.shut((Reason.UNSUPPORTED_VERSION,), blob=b"\x02" + light.epoch.blob[1:])
    light.shut((Reason.UNSUPPORTED_VERSION,), blob=b"\x01\x03" + light.epoch.blob[2:])
    light.shut((Reason.UNSUPPORTED_VERSION,), terms=terms_for(light.epoch, v=2))


# --- the nonce argument -------------------------------------------------------------------------------------


def test_other_content_gets_another_key_so_no_nonce_repeats(light):
    changed = light.seal((*VALUES[:2], (2, "phone", b"+4612345679")))
    assert changed[17:33] != light.slice[17:33]
    _, parts = split(light.slice)
    _, others = split(changed)
    assert parts[0] != others[0], "an unchanged field is sealed under another key too"


def test_one_bit_of_content_changes_every_ciphertext_beyond_a_keystream_xor(light):
    first, second = light.seal(((0, "email", b"\0" * 32),)), light.seal(((0, "email", b"\0" * 31 + b"\1"),))
    xor = bytes(a ^ b for a, b in zip(first[39:71], second[39:71], strict=True))
    assert xor != b"\0" * 31 + b"\1", "the same keystream would show the difference of the values"


def test_moving_a_byte_between_neighbouring_values_changes_the_salt(light):
    first = light.seal(((0, "email", b"ab"), (1, "name", b"c")))
    second = light.seal(((0, "email", b"a"), (1, "name", b"bc")))
    assert first[17:33] != second[17:33]


# --- the sealer refuses what it should never be asked -------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [(1, "email", b"x")],
        [(3, "sms", b"x")],
        [(-1, "phone", b"x")],
        [(1, "name", b"x"), (0, "email", b"x")],
        [(0, "email", b"x"), (0, "email", b"x")],
    ],
    ids=["name of another ordinal", "outside the terms", "negative", "descending", "twice"],
)
def test_sealer_refuses_values_that_are_not_the_terms(light, values):
    with pytest.raises(SlussError, match="ordinal"):
        light.seal(values)


@pytest.mark.parametrize("handle", [b"", bytes(15), bytes(17)])
def test_sealer_refuses_a_handle_of_another_length(light, handle):
    with pytest.raises(SlussError, match="16 bytes"):
        light.seal(handle=handle)


def test_sealer_refuses_terms_of_another_epoch_key_or_contract(light):
    other = World()
    for terms in (
        other.terms,
        terms_for(light.epoch, key=base64url(other.epoch.key_id)),
        terms_for(light.epoch, contract="C-2026-0002"),
    ):
        with pytest.raises(SlussError):
            Sealer(light.epoch, terms)
