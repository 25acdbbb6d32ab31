"""Writes `slice-x25519.json` and `slice-xwing.json`: known answers for `protos/SLICE.md`.

    python tests/vectors/make_slices.py

HPKE draws fresh randomness at each encapsulation, so an epoch already in the file is kept; everything else is
derived anew, and a run that changes nothing proves that the code still produces the published bytes.
"""

import hashlib
import hmac
import json
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from broker import sealing
from broker.handles import handle_of
from broker.slice_terms import base64url

FOLDER = Path(__file__).parent
CONTRACT = "C-2026-0001"
HANDLE_KEY = bytes(range(32))
PERSON = 1234567890123456789
SECRET = hashlib.sha256(b"sluss slice vector: epoch secret").digest()
FIELDS = [("card_number", "last4"), ("email", "full"), ("name", "full"), ("phone", "full")]
VALUES = [(0, "card_number", "4242"), (1, "email", "åsa@example.com"), (2, "name", "Åsa Öberg")]
SUITES = {sealing.SUITE_X25519: KEM.X25519, sealing.SUITE_XWING: KEM.MLKEM768_X25519}


def mac(key, data):
    return hmac.digest(key, data, "sha256")


def encapsulate(key):
    """An epoch of the fixed secret, which `sealing.new_epoch` would draw at random."""
    epoch_id = mac(SECRET, b"sluss/v1 epoch id\x00" + CONTRACT.encode())[:16]
    header = bytes([1, key.suite]) + key.public().id + epoch_id
    suite = Suite(SUITES[key.suite], KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    info = b"sluss/v1 epoch\x00" + header + b"\x00" + CONTRACT.encode()
    return header + suite.encrypt(SECRET, key.hpke_key().public_key(), info=info)


def terms_of(epoch):
    terms = {
        "contract": CONTRACT,
        "contract_version": 1,
        "disclosure": "D-000102030405060708090a0b0c0d0e0f",
        "epoch": base64url(epoch.id),
        "fields": [{"name": name, "transform": transform} for name, transform in FIELDS],
        "issued": "2026-11-23T22:33:57.123456Z",
        "key": base64url(epoch.key_id),
        "onward_transfer": "forbidden",
        "policy": "2026-01",
        "purpose": "billing.collection",
        "recipient": "subcontractor/acme-pay",
        "retain_until": "2026-12-23",
        "v": 1,
    }
    return orjson.dumps(terms, option=orjson.OPT_SORT_KEYS)


def vector(name, suite, blob):
    """Every input, intermediate value and output, bytes in hexadecimal."""
    key = sealing.RecipientPrivateKey(suite, hashlib.sha256(name.encode()).digest())
    epoch = sealing.Epoch(SECRET, blob or encapsulate(key))
    terms, handle = terms_of(epoch), handle_of(HANDLE_KEY, PERSON)
    values = [(ordinal, field, value.encode()) for ordinal, field, value in VALUES]
    sealed = sealing.Sealer(epoch, terms).seal(handle, values)
    digest = hashlib.sha256(terms).digest()
    disclosure_key = mac(SECRET, b"sluss/v1 disclosure\x00" + digest + b"\x01")
    return {
        "suite": sealing.SUITE_NAMES[suite],
        "private_key": key.data.hex(),
        "public_key": key.public().data.hex(),
        "contract": CONTRACT,
        "handle_key": HANDLE_KEY.hex(),
        "person": str(PERSON),
        "handle": handle.hex(),
        "epoch_secret": SECRET.hex(),
        "epoch": epoch.blob.hex(),
        "terms": terms.decode(),
        "terms_digest": digest.hex(),
        "disclosure_key": disclosure_key.hex(),
        "salt_key": mac(SECRET, b"sluss/v1 salt\x00" + digest + b"\x01").hex(),
        "slice_key": mac(disclosure_key, b"sluss/v1 slice\x00" + handle + sealed[17:33]).hex(),
        "values": {field: value for _, field, value in VALUES},
        "slice": sealed.hex(),
    }


def render(name, suite):
    """The text of one vector file, around the epoch that the file holds already."""
    path = FOLDER / f"slice-{name}.json"
    blob = bytes.fromhex(json.loads(path.read_text())["epoch"]) if path.exists() else b""
    return path, json.dumps(vector(name, suite, blob), indent=2, ensure_ascii=False) + "\n"


def main():
    for name, suite in (("x25519", sealing.SUITE_X25519), ("xwing", sealing.SUITE_XWING)):
        path, text = render(name, suite)
        path.write_text(text)


if __name__ == "__main__":
    main()
