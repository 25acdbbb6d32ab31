"""A second opener of slices, written from `protos/SLICE.md` alone; shares no code with `broker.sealing`.

HPKE over X25519 comes from pyhpke; over X-Wing from the key schedule below (RFC 9180, section 5.1) and an own
decapsulation (draft-connolly-cfrg-xwing-kem) out of ML-KEM-768, X25519 and SHA3. It opens, or raises
`ShutError`.
"""

import base64
import hashlib
import hmac
import json
import struct
import sys
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey
from pyhpke.exceptions import PyHPKEError

KEM_XWING = 0x647A
KDF_HKDF_SHA256 = 0x0001
AEAD_AES_256_GCM = 0x0002
XWING_LABEL = b"\\.//^\\"


class ShutError(Exception):
    """The slice does not open."""


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(secret, info, length):
    """HKDF-Expand (RFC 5869, section 2.3), block by block."""
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = mac(secret, block + info + bytes([counter]))
        out, counter = out + block, counter + 1
    return out[:length]


# --- X-Wing and the HPKE key schedule -----------------------------------------------------------------------


def xwing_decapsulate(seed, enc):
    """The shared secret; also the X25519 public key goes into the hash."""
    expanded = hashlib.shake_256(seed).digest(96)
    lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    curve = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
    shared_lattice = lattice.decapsulate(enc[:1088])
    shared_curve = curve.exchange(x25519.X25519PublicKey.from_public_bytes(enc[1088:]))
    own = curve.public_key().public_bytes_raw()
    return hashlib.sha3_256(shared_lattice + shared_curve + enc[1088:] + own + XWING_LABEL).digest()


def xwing_public(seed):
    expanded = hashlib.shake_256(seed).digest(96)
    lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).public_key().public_bytes_raw()
    curve = x25519.X25519PrivateKey.from_private_bytes(expanded[64:]).public_key().public_bytes_raw()
    return lattice + curve


def key_schedule(shared, info):
    """Key and nonce of the first message, base mode."""
    suite = b"HPKE" + struct.pack(">HHH", KEM_XWING, KDF_HKDF_SHA256, AEAD_AES_256_GCM)

    def extract(salt, label, ikm):
        return mac(salt, b"HPKE-v1" + suite + label + ikm)

    def labelled(secret, label, context, length):
        return expand(secret, struct.pack(">H", length) + b"HPKE-v1" + suite + label + context, length)

    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared, b"secret", b"")
    return labelled(secret, b"key", context, 32), labelled(secret, b"base_nonce", context, 12)


def open_xwing(seed, enc, sealed, info):
    key, nonce = key_schedule(xwing_decapsulate(seed, enc), info)
    return AESGCM(key).decrypt(nonce, sealed, b"")


def x25519_public(private):
    return x25519.X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def open_x25519(private, enc, sealed, info):
    suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
    key = KEMKey.from_pyca_cryptography_key(x25519.X25519PrivateKey.from_private_bytes(private))
    return suite.create_recipient_context(enc, key, info=info).open(sealed)


SUITES = {1: (32, x25519_public, open_x25519), 2: (1120, xwing_public, open_xwing)}


# --- the slice ----------------------------------------------------------------------------------------------


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def need(condition):
    if not condition:
        raise ShutError


def open_epoch(private, contract, blob):
    need(len(blob) > 50 and blob[0] == 1 and blob[1] in SUITES)
    enc_size, public_of, open_hpke = SUITES[blob[1]]
    need(len(blob) == 50 + enc_size + 48)
    need(hashlib.sha256(public_of(private)).digest() == blob[2:34])
    info = b"sluss/v1 epoch\x00" + blob[:50] + b"\x00" + contract.encode()
    try:
        secret = open_hpke(private, blob[50 : 50 + enc_size], blob[50 + enc_size :], info)
    except (InvalidTag, PyHPKEError, ValueError):
        raise ShutError from None
    need(mac(secret, b"sluss/v1 epoch id\x00" + contract.encode())[:16] == blob[34:50])
    return secret


def split(data):
    """Handle, salt and [(ordinal, ciphertext)], by the lengths in the slice."""
    need(len(data) >= 34 and data[0] == 1)
    parts, at = [], 34
    for _ in range(data[33]):
        need(len(data) >= at + 5)
        ordinal, length = struct.unpack_from(">BI", data, at)
        at += 5 + length
        need(len(data) >= at and (not parts or ordinal > parts[-1][0]))
        parts.append((ordinal, data[at - length : at]))
    need(at == len(data))
    return data[1:17], data[17:33], parts


def open_slice(private, contract, terms_bytes, blob, data):
    """The handle and {field: text} of a slice, given the recipient's private key."""
    secret = open_epoch(private, contract, blob)
    terms = json.loads(terms_bytes)
    onward = "as_law_requires" if contract.startswith("L-") else "forbidden"
    need(terms["v"] == 1 and terms["contract"] == contract and terms["onward_transfer"] == onward)
    need(unbase64(terms["key"]) == blob[2:34] and unbase64(terms["epoch"]) == blob[34:50])
    digest = hashlib.sha256(terms_bytes).digest()
    handle, salt, parts = split(data)
    slice_key = mac(expand(secret, b"sluss/v1 disclosure\x00" + digest, 32), b"sluss/v1 slice\x00" + handle + salt)
    values, content = {}, handle
    for ordinal, sealed in parts:
        need(ordinal < len(terms["fields"]))
        name = terms["fields"][ordinal]["name"]
        aad = b"sluss/v1 field\x00" + digest + handle + name.encode()
        try:
            value = AESGCM(slice_key).decrypt(bytes(11) + bytes([ordinal]), sealed, aad)
        except (InvalidTag, ValueError):
            raise ShutError from None
        content += struct.pack(">BI", ordinal, len(value)) + value
        values[name] = value.decode()
    need(mac(expand(secret, b"sluss/v1 salt\x00" + digest, 32), content)[:16] == salt)
    return handle, values


def main(paths):
    for path in paths:
        vector = json.loads(Path(path).read_text())
        opened = open_slice(
            bytes.fromhex(vector["private_key"]),
            vector["contract"],
            vector["terms"].encode(),
            bytes.fromhex(vector["epoch"]),
            bytes.fromhex(vector["slice"]),
        )
        sys.stdout.write(f"{path}: {opened[1]}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
