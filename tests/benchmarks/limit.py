"""What no broker in Python can beat: open and seal each field with AES-GCM, hash the entries, nothing else."""

from __future__ import annotations

import os
from hashlib import sha256
from time import process_time

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

AAD = 60
"""Bytes that a value is bound to, about as many as in the vault and in a slice."""


class Loop:
    """Persons' values under keys of their own, ready to be opened and sealed again under others."""

    def __init__(self, values, fields, entries):
        self._entries = entries
        self._aads = [os.urandom(AAD) for _ in fields]
        self._nonces = [bytes(11) + bytes([ordinal]) for ordinal in range(len(fields))]
        self._persons = [self._sealed(row) for row in values]

    def _sealed(self, row):
        key = os.urandom(32)
        encrypt = AESGCM(key).encrypt
        nonces = [os.urandom(12) for _ in row]
        sealed = [encrypt(n, v.encode(), aad) for n, v, aad in zip(nonces, row, self._aads, strict=True)]
        return key, os.urandom(32), list(zip(nonces, sealed, self._nonces, self._aads, strict=True))

    def run(self):
        """CPU seconds for everybody."""
        begun = process_time()
        for key, slice_key, items in self._persons:
            decrypt, encrypt = AESGCM(key).decrypt, AESGCM(slice_key).encrypt
            for nonce, sealed, slice_nonce, aad in items:
                encrypt(slice_nonce, decrypt(nonce, sealed, aad), aad)
        for entry in self._entries:
            sha256(entry).digest()
        return process_time() - begun
