"""Reading an entry's search columns fast: what `columns(parse(entry))` says, with the same refusals.

Disclosures are almost all of a ledger, and their canonical bytes fit one regular expression, a third of the
cost of reading JSON. Whatever does not fit it (other types, other characters, faults) goes to `parse`, which
decides.
"""

from __future__ import annotations

import re
from functools import lru_cache

import orjson

from broker.clock import micros
from broker.ledger.entry import DIGEST, MAX_ENTRY, MAX_SLICES, Columns, columns, good_fields, parse

_TEXT = r'"[ !#-\[\]-~]*"'
_COUNT = r"(?:0|[1-9][0-9]{0,14})"  # below 2^53


def _object(**members: str) -> str:
    return r"\{" + ",".join(f'"{name}":{members[name]}' for name in sorted(members)) + r"\}"


def _captured(pattern: str) -> str:
    return f'"({pattern[1:-1]})"'


_TERMS = _object(
    contract=_captured(_TEXT),
    contract_version=_COUNT,
    disclosure=_TEXT,
    epoch=_TEXT,
    fields=r"(\[[^\]]*\])",
    issued=_TEXT,
    key=_TEXT,
    onward_transfer=_TEXT,
    policy=_TEXT,
    purpose=_TEXT,
    recipient=_captured(_TEXT),
    retain_until=_TEXT,
    v="1",
)
_MOST_FIELDS = 255
_A_FIELD = b'"transform":'
"""Quotes within a canonical string are escaped, so this is a member's name, which only the fields of terms have."""


@lru_cache(maxsize=_MOST_FIELDS)
def _disclosure(fields: int) -> re.Pattern[bytes]:
    """A disclosure whose terms have so many fields: what a slice holds has as many digits."""
    held = _object(holds=f'"[01]{{{fields}}}"', person=f'"{DIGEST}"', sha256=f'"{DIGEST}"')
    slices = rf"\[{held}(?:,{held}){{0,{MAX_SLICES - 1}}}\]"
    members = {"at": _captured(_TEXT), "slices": slices, "terms": _TERMS, "type": '"disclosure"'}
    return re.compile(_object(**members, unavailable=_COUNT, v="1").encode())


def scan(entry: bytes) -> Columns:
    """The search columns of an entry, checked as `parse` checks it.

    Raises:
        SlussError: MALFORMED, UNSUPPORTED_VERSION.
    """
    fields = entry.count(_A_FIELD)
    fits = fields <= _MOST_FIELDS and len(entry) <= MAX_ENTRY
    found = _disclosure(fields).fullmatch(entry) if fits else None
    if found is None or not _canonical_fields(found[3]):
        return columns(parse(entry))
    at, contract, _, recipient = found.groups()
    return Columns("disclosure", contract.decode(), recipient.decode(), micros(at.decode()))


@lru_cache(maxsize=1024)
def _canonical_fields(data: bytes) -> bool:
    """Whether a field list is one and is written canonically; thousands of entries share it."""
    try:
        return orjson.dumps(orjson.loads(data), option=orjson.OPT_SORT_KEYS) == data and good_fields(data)
    except orjson.JSONDecodeError:
        return False
