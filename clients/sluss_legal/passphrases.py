"""Passphrases for packages: made here, shown once, short enough to be read out on the telephone."""

from __future__ import annotations

import secrets

ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""30 letters and digits that nobody takes for another: without I, L, O, U, 0 and 1."""
GROUPS = 6
GROUP = 4


def make_passphrase() -> str:
    """A fresh passphrase such as `K7QM-2XBT-...`: 24 characters, 117 bits (24 log2 30)."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))
