"""One recipient, one epoch, one disclosure, one slice: everything that an attack on a slice may swap."""

import itertools

import orjson
import pytest

from broker import sealing
from broker.errors import Reason, SlussError
from broker.sealing import SUITE_X25519, Opener, RecipientPrivateKey, Sealer
from broker.slice_terms import base64url
from tests.vectors import independent_opener

CONTRACT = "C-2026-0001"
FIELDS = ("email", "name", "phone")
VALUES = ((0, "email", b"a@example.com"), (1, "name", "Åsa Öberg".encode()), (2, "phone", b"+4612345678"))
HANDLE = bytes(range(16))


def terms_for(epoch, /, **changes):
    terms = {
        "contract": CONTRACT,
        "contract_version": 1,
        "disclosure": "D-" + "00" * 16,
        "epoch": base64url(epoch.id),
        "fields": [{"name": name, "transform": "full"} for name in FIELDS],
        "issued": "2026-11-23T22:33:57.123456Z",
        "key": base64url(epoch.key_id),
        "onward_transfer": "forbidden",
        "policy": "2026-01",
        "purpose": "billing.collection",
        "recipient": "subcontractor/acme-pay",
        "retain_until": "2026-12-23",
        "v": 1,
    }
    return canonical(terms | changes)


def canonical(terms):
    return orjson.dumps(terms, option=orjson.OPT_SORT_KEYS)


class World:
    """One recipient, one epoch, one disclosure, one slice: everything that an attack may swap."""

    def __init__(self, suite=SUITE_X25519):
        self.key = RecipientPrivateKey.generate(suite)
        self.epoch = sealing.new_epoch(CONTRACT, self.key.public())
        self.terms = terms_for(self.epoch)
        self.slice = self.seal()

    def seal(self, values=VALUES, handle=HANDLE, terms=None, epoch=None):
        return Sealer(epoch or self.epoch, terms or self.terms).seal(handle, values)

    def open(self, *, data=None, terms=None, blob=None, key=None, contract=CONTRACT):
        opener = Opener([key or self.key], contract)
        return opener.open(terms or self.terms, blob or self.epoch.blob, self.slice if data is None else data)

    def shut(self, reasons=(Reason.MALFORMED,), **swap):
        with pytest.raises(SlussError) as caught:
            self.open(**swap)
        assert caught.value.reason in reasons
        return caught.value


def flips(data):
    for at, bit in itertools.product(range(len(data)), range(8)):
        yield at, bytes([*data[:at], data[at] ^ (1 << bit), *data[at + 1 :]])


def split(data):
    """(header without count, [raw part]) of a slice."""
    _, _, parts = independent_opener.split(data)
    return data[:33], [bytes([o]) + len(c).to_bytes(4, "big") + c for o, c in parts]


def join(header, parts):
    return header + bytes([len(parts)]) + b"".join(parts)
