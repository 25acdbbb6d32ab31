from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256
from struct import pack

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from broker.errors import SlussError
from broker.ledger.checkpoint import Checkpoint, Signer, Verifier, VerifierKey, open_checkpoint, parse_note
from tests.unit.ledger.world import ORIGIN, OTHER, SIGNER, VERIFIER

ROOT = sha256(b"root").digest()
NOTE = SIGNER.sign(7, ROOT)
COSIGNED = SIGNER.cosign(NOTE, 1_795_473_237)
# The key and the note of the Go note package's documentation.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="


def test_the_key_and_signature_of_another_implementation_verify():
    key = VerifierKey.parse(GO_KEY)
    data = b64decode(GO_SIGNATURE)
    assert data[:4] == key.id
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(data[4:], GO_TEXT.encode())


def test_a_note_is_laid_out_byte_by_byte_as_c2sp_says():
    key = SIGNER.ed25519_key.public_key
    body, signature = NOTE.split("\n\n")
    assert body == f"example.com/sluss\n7\n{b64encode(ROOT).decode()}"
    dash, name, encoded = signature.removesuffix("\n").split(" ")
    data = b64decode(encoded)
    assert (dash, name) == ("\u2014", ORIGIN)
    assert data[:4] == sha256(ORIGIN.encode() + b"\n\x01" + key).digest()[:4]
    Ed25519PublicKey.from_public_bytes(key).verify(data[4:], body.encode() + b"\n")


def test_a_cosignature_signs_the_structure_that_c2sp_says():
    public = SIGNER.mldsa44_key.public_key
    data = b64decode(COSIGNED.splitlines()[-1].split(" ")[2])
    assert data[:4] == sha256(ORIGIN.encode() + b"\n\x06" + public).digest()[:4]
    assert data[4:12] == pack(">Q", 1_795_473_237)
    name = bytes([17]) + b"example.com/sluss"
    message = b"subtree/v1\n\x00" + name + data[4:12] + name + pack(">QQ", 0, 7) + ROOT
    MLDSA44PublicKey.from_public_bytes(public).verify(data[12:], message)


def test_checkpoints_open_with_their_keys():
    assert open_checkpoint(NOTE, VERIFIER) == Checkpoint(ORIGIN, 7, ROOT)
    assert open_checkpoint(COSIGNED, VERIFIER, cosigned=True) == Checkpoint(ORIGIN, 7, ROOT)
    for vkey in SIGNER.vkeys():
        assert open_checkpoint(COSIGNED, Verifier([vkey])).size == 7


def test_a_missing_cosignature_is_refused_where_one_is_required():
    with pytest.raises(SlussError, match="INVALID_SIGNATURE"):
        open_checkpoint(NOTE, VERIFIER, cosigned=True)
    only = COSIGNED.splitlines(keepends=True)
    with pytest.raises(SlussError, match="INVALID_SIGNATURE"):
        open_checkpoint("".join(only[:4] + only[5:]), VERIFIER, cosigned=True)


def test_one_bad_signature_of_a_known_key_spoils_the_note():
    other = SIGNER.cosign(SIGNER.sign(8, ROOT), 1_795_473_237).splitlines(keepends=True)[-1]
    with pytest.raises(SlussError, match="INVALID_SIGNATURE"):
        open_checkpoint(NOTE + other, VERIFIER)


def test_signatures_of_unknown_keys_are_ignored_and_prove_nothing():
    foreign = OTHER.sign(7, ROOT)
    assert open_checkpoint(NOTE + foreign.splitlines(keepends=True)[-1], VERIFIER).size == 7
    with pytest.raises(SlussError, match="INVALID_SIGNATURE"):
        open_checkpoint(foreign, VERIFIER)


def test_a_checkpoint_of_another_origin_is_refused_whoever_signed_it():
    stranger = Signer("example.org/other", bytes(range(32)), bytes(range(32, 64)))
    with pytest.raises(SlussError, match="INVALID_SIGNATURE"):
        open_checkpoint(stranger.sign(7, ROOT), VERIFIER)


def test_a_signer_does_not_cosign_what_it_has_not_signed():
    with pytest.raises(SlussError, match="INVALID_SIGNATURE"):
        SIGNER.cosign(OTHER.sign(7, ROOT), 1)


def test_no_byte_of_a_note_can_be_changed():
    for position in range(len(NOTE)):
        for piece in ("", "A", "\n", " ", "0"):
            changed = NOTE[:position] + piece + NOTE[position + 1 :]
            if changed != NOTE:
                with pytest.raises(SlussError, match=r"MALFORMED|INVALID_SIGNATURE"):
                    open_checkpoint(changed, VERIFIER)


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note + "\n",
        lambda note: note.removesuffix("\n"),
        lambda note: note.replace("\n7\n", "\n07\n"),
        lambda note: note.replace("\n7\n", "\n+7\n"),
        lambda note: note.replace("\n7\n", "\n\u0667\n"),
        lambda note: note.replace("\n7\n", "\n99999999999999999999\n"),
        lambda note: note.replace("\n\n", "\nextension\n\n"),
        lambda note: note.replace("\u2014", "-"),
        lambda note: note.replace("\n", "\r\n"),
        lambda note: note + "\u2014 a+b AAAAAAAA\n",
        lambda note: note + "\u2014 a AAAA\n",
        lambda note: note + "\u2014 a AAAAAAAB\n" * 16,
        lambda note: note * 200,
        lambda note: note.split("\n\n")[0] + "\n\n",
    ],
)
def test_a_note_written_in_any_other_way_is_malformed(change):
    with pytest.raises(SlussError, match="MALFORMED"):
        parse_note(change(NOTE))


@pytest.mark.parametrize("vkey", ["", "a+b", "a+00000000+AQ==", GO_KEY.replace("c74f", "c74e"), GO_KEY + "="])
def test_a_malformed_public_key_is_refused(vkey):
    with pytest.raises(SlussError, match="MALFORMED"):
        VerifierKey.parse(vkey)


def test_keys_of_two_ledgers_make_no_verifier():
    for vkeys in ([], [GO_KEY, *SIGNER.vkeys()]):
        with pytest.raises(SlussError, match="MALFORMED"):
            Verifier(vkeys)


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "ä", "a\n", "x" * 256])
def test_an_origin_that_a_note_can_not_carry_is_refused(origin):
    with pytest.raises(SlussError, match="MALFORMED"):
        Signer(origin, bytes(32), bytes(32))
