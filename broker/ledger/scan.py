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
_SLICE = _object(person=f'"{DIGEST}"', sha256=f'"{DIGEST}"')
_SLICES = rf"\[{_SLICE}(?:,{_SLICE}){{0,{MAX_SLICES - 1}}}\]"
_DISCLOSURE = re.compile(
    _object(at=_captured(_TEXT), slices=_SLICES, terms=_TERMS, type='"disclosure"', unavailable=_COUNT, v="1").encode()
)


def scan(entry: bytes) -> Columns:
    """The search columns of an entry, checked as `parse` checks it.

    Raises:
        SlussError: MALFORMED, UNSUPPORTED_VERSION.
    """
    found = _DISCLOSURE.fullmatch(entry) if len(entry) <= MAX_ENTRY else None
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
