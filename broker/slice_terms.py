"""The terms of a disclosure: what the ledger entry names and what travels with every slice. Pure.

Canonical JSON (RFC 8785), version 1. The ledger entry holds the object, and its canonical bytes go into the
keys of the slices (`protos/SLICE.md`): no other terms open them.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from broker.errors import Reason, SlussError

VERSION: Final = 1
MAX_FIELDS: Final = 255
FORBIDDEN: Final = "forbidden"
AS_LAW_REQUIRES: Final = "as_law_requires"
CASE_PREFIX: Final = "L-"
"""Of a legal case's id, which stands in the terms of a release where a contract's id stands otherwise."""

_MEMBERS: Final = {
    "contract": str,
    "contract_version": int,
    "disclosure": str,
    "epoch": str,
    "fields": list,
    "issued": str,
    "key": str,
    "onward_transfer": str,
    "policy": str,
    "purpose": str,
    "recipient": str,
    "retain_until": str,
    "v": int,
}
_FIELD_MEMBERS: Final = {"name", "transform"}


def _malformed(detail: str) -> SlussError:
    return SlussError(Reason.MALFORMED, detail)


class Terms(NamedTuple):
    """The terms that travel with a disclosure, parsed from their canonical bytes.

    Attributes:
        contract: contract id.
        contract_version: its version.
        disclosure: disclosure id.
        epoch: epoch id, 16 bytes.
        key: recipient key id, 32 bytes.
        fields: (name, transform) in ordinal order.
        issued: time of the disclosure, RFC 3339.
        policy: policy version in force.
        purpose: purpose code.
        recipient: principal id.
        retain_until: date on which the recipient has deleted the slice.

    A subcontractor must not pass a slice on; who got it under a legal case may as far as law requires.
    """

    contract: str
    contract_version: int
    disclosure: str
    epoch: bytes
    key: bytes
    fields: tuple[tuple[str, str], ...]
    issued: str
    policy: str
    purpose: str
    recipient: str
    retain_until: str

    def members(self) -> dict[str, Any]:
        """The JSON object, as the ledger entry holds it."""
        return {
            "contract": self.contract,
            "contract_version": self.contract_version,
            "disclosure": self.disclosure,
            "epoch": base64url(self.epoch),
            "fields": _field_members(self.fields),
            "issued": self.issued,
            "key": base64url(self.key),
            "onward_transfer": onward_transfer(self.contract),
            "policy": self.policy,
            "purpose": self.purpose,
            "recipient": self.recipient,
            "retain_until": self.retain_until,
            "v": VERSION,
        }

    @classmethod
    def parse(cls, data: bytes) -> Terms:
        """Terms from their canonical bytes (RFC 8785).

        Raises:
            SlussError: UNSUPPORTED_VERSION for terms of another version; MALFORMED for other members or types
                than version 1 has: an unknown term, or another onward transfer, is refused.
        """
        terms = _terms_object(data)
        return cls(
            contract=terms["contract"],
            contract_version=terms["contract_version"],
            disclosure=terms["disclosure"],
            epoch=unbase64(terms["epoch"], 16),
            key=unbase64(terms["key"], 32),
            fields=_fields(terms["fields"]),
            issued=terms["issued"],
            policy=terms["policy"],
            purpose=terms["purpose"],
            recipient=terms["recipient"],
            retain_until=terms["retain_until"],
        )


def onward_transfer(contract: str) -> str:
    """What the terms say of passing a slice on, under a contract or a legal case."""
    return AS_LAW_REQUIRES if contract.startswith(CASE_PREFIX) else FORBIDDEN


@lru_cache(maxsize=1024)
def _field_members(fields: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    """The same few field sets are asked for again and again. Nobody changes the list."""
    return [{"name": name, "transform": transform} for name, transform in fields]


def _terms_object(data: bytes) -> dict[str, Any]:
    try:
        terms = orjson.loads(data)
        canonical = orjson.dumps(terms, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        raise _malformed("the terms are not JSON") from None
    if canonical != data or not isinstance(terms, dict):
        raise _malformed("the terms are not a canonical JSON object")
    if terms.get("v") != VERSION:
        raise SlussError(Reason.UNSUPPORTED_VERSION, "unknown version of terms")
    if {name: type(value) for name, value in terms.items()} != _MEMBERS:
        raise _malformed("the terms have other members than version 1 defines")
    wrong = terms["contract_version"] < 1 or terms["onward_transfer"] != onward_transfer(terms["contract"])
    if wrong or "" in terms.values() or not terms["contract"].isascii():
        raise _malformed("the terms hold a value that version 1 does not define")
    return terms


def _fields(items: list[object]) -> tuple[tuple[str, str], ...]:
    fields = tuple(_field(item) for item in items)
    names = [name for name, _ in fields]
    if not 0 < len(names) <= MAX_FIELDS or names != sorted(set(names)):
        raise _malformed("the fields of the terms are empty, too many, out of order or repeated")
    return fields


def _field(item: object) -> tuple[str, str]:
    if type(item) is dict and item.keys() == _FIELD_MEMBERS:
        name, transform = item["name"], item["transform"]
        if type(name) is str and type(transform) is str and name and transform:
            return name, transform
    raise _malformed("a field of the terms is not a name and a transform")


def unbase64(text: str, size: int) -> bytes:
    """Exactly `size` bytes from base64url without padding; MALFORMED for any other text."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _malformed("not base64url without padding") from None
    if len(data) != size or base64url(data) != text:
        raise _malformed(f"not the base64url of {size} bytes")
    return data


def base64url(data: bytes) -> str:
    """Base64url (RFC 4648, 5) without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
