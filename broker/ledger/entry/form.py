"""The form of an entry: canonical JSON, made in one place and parsed by round trip."""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from broker.clock import micros, rfc3339
from broker.errors import Reason, SlussError
from broker.ledger.shapes import DIGEST_LISTS, DIGESTS, FIELD, NAMES, OPTIONAL_DIGESTS, SHAPES, SLICE, TERMS, WORDS

VERSION = 1
MAX_ENTRY = 65_536
"""Bytes of the longest entry."""
MAX_SLICES = 256
"""Persons in one disclosure."""

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
DIGEST = "[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"
"""A pattern of 32 bytes in base64url without padding."""
_DIGEST = re.compile(DIGEST)
_HOLDS = re.compile("[01]+")

TYPES = frozenset(SHAPES)
"""Every entry type of version 1."""
SLICED = frozenset({"disclosure", "release"})
"""The types that stand for slices."""


class Slice(NamedTuple):
    """What an entry says of one slice: the person's commitment and the SHA-256 of its bytes, 32 bytes each.

    `holds` has a digit for each field of the terms, in their order: 1 if the slice holds it, 0 if not.
    """

    person: bytes
    sha256: bytes
    holds: str


class Columns(NamedTuple):
    """What the store repeats of an entry for search: `at` in microseconds, the rest empty if it has none."""

    type: str
    contract: str
    recipient: str
    at: int


def _malformed(what: str) -> SlussError:
    return SlussError(Reason.MALFORMED, what)


def canonical(obj: Mapping[str, Any]) -> bytes:
    """The canonical JSON of an object (RFC 8785): ASCII keys; strings, integers, booleans, lists, objects.

    Raises:
        SlussError: MALFORMED for floats, null, integers beyond 2^53, keys that are not ASCII, other types.
    """
    _check_plain(obj)
    return _dump(obj)


def _check_plain(value: object) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not (isinstance(key, str) and key.isascii()):
                raise _malformed("a key in canonical JSON is not ASCII")
            _check_plain(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(item)
    elif type(value) not in (str, int, bool):
        raise _malformed("canonical JSON holds strings, integers, booleans, lists and objects only")


def _dump(obj: object) -> bytes:
    try:
        return orjson.dumps(obj, option=_OPTIONS)
    except orjson.JSONEncodeError:
        raise _malformed("the object can't be written as canonical JSON") from None


def digest_texts(digests: Sequence[bytes]) -> list[str]:
    """Base64url without padding of many 32-byte values: 43 characters each.

    Raises:
        SlussError: MALFORMED, if one is not 32 bytes long.
    """
    if any(len(digest) != 32 for digest in digests):  # noqa: PLR2004 - SHA-256
        raise _malformed("a digest is not 32 bytes long")
    # 33 bytes make 44 characters exactly, so one call encodes all of them.
    joined = b2a_base64(b"".join([digest + b"\x00" for digest in digests]), newline=False)
    text = joined.translate(_URL_SAFE).decode()
    return [text[i : i + 43] for i in range(0, len(text), 44)]


def slice_list(slices: Sequence[Slice]) -> list[dict[str, str]]:
    """The member `slices` of an entry.

    Raises:
        SlussError: MALFORMED, if a commitment or a SHA-256 is not 32 bytes long.
    """
    persons = digest_texts([each.person for each in slices])
    digests = digest_texts([each.sha256 for each in slices])
    return [
        {"holds": each.holds, "person": person, "sha256": sha}
        for each, person, sha in zip(slices, persons, digests, strict=True)
    ]


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5)."""
    return b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()


def make(kind: str, at: int, /, **members: Any) -> bytes:
    """An entry of a type: only the constructors of this package call it.

    Raises:
        SlussError: MALFORMED, if it is too long or holds what canonical JSON does not.
    """
    data = _dump({"at": rfc3339(at), "type": kind, "v": VERSION, **members})
    if len(data) > MAX_ENTRY:
        raise _malformed(f"an entry is longer than {MAX_ENTRY} bytes")
    return data


def parse(data: bytes) -> dict[str, Any]:
    """Read an entry, refusing whatever is not exactly as FORMAT.md says.

    Raises:
        SlussError: MALFORMED; UNSUPPORTED_VERSION for an unknown type or version.
    """
    if len(data) > MAX_ENTRY:
        raise _malformed(f"an entry is longer than {MAX_ENTRY} bytes")
    try:
        entry = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise _malformed("an entry is not JSON") from None
    if type(entry) is not dict:
        raise _malformed("an entry is not an object")
    _check_members(entry)
    # Integers beyond 2^53 have passed until here: strict dumping refuses them.
    if _dump(entry) != data:
        raise _malformed("an entry is not in canonical form")
    micros(entry["at"])
    return entry


def _shape(obj: Mapping[str, Any]) -> dict[str, type]:
    return dict(zip(obj, map(type, obj.values()), strict=True))


def _check_members(entry: dict[str, Any]) -> None:
    kind = str(entry.get("type"))
    expected = SHAPES.get(kind)
    version = entry.get("v")
    if expected is None or type(version) is not int or version != VERSION:
        raise SlussError(Reason.UNSUPPORTED_VERSION, "an entry is of an unknown type or version")
    if _shape(entry) != expected:
        raise _malformed(f"a {kind} entry does not have the members of its type")
    _check_words(kind, entry)
    if kind in SLICED:
        _check_terms(entry["terms"])
        _check_slices(entry["slices"], len(entry["terms"]["fields"]))
    elif kind == "refusals":
        _check_counts(entry["counts"])
    for member in NAMES.get(kind, ()):
        _check_strings(entry[member])
    for member in DIGEST_LISTS.get(kind, ()):
        _check_digests(entry[member])


def _check_words(kind: str, entry: dict[str, Any]) -> None:
    for (type_, member), words in WORDS.items():
        if type_ == kind and entry[member] not in words:
            raise _malformed(f"a {kind} entry has an unknown {member}")
    for member in DIGESTS.get(kind, ()):
        if not _DIGEST.fullmatch(entry[member]):
            raise _malformed(f"the {member} of a {kind} entry is not 32 bytes in base64url")
    for member in OPTIONAL_DIGESTS.get(kind, ()):
        if entry[member] and not _DIGEST.fullmatch(entry[member]):
            raise _malformed(f"the {member} of a {kind} entry is neither empty nor 32 bytes in base64url")


def _check_terms(terms: dict[str, Any]) -> None:
    if _shape(terms) != TERMS:
        raise _malformed("the terms of a disclosure do not have the members of terms")
    if terms["v"] != VERSION:
        raise SlussError(Reason.UNSUPPORTED_VERSION, "the terms of a disclosure are of an unknown version")
    if not good_fields(_dump(terms["fields"])):
        raise _malformed("the terms of a disclosure name a field without name or transform, or out of order")


@lru_cache(maxsize=1024)
def good_fields(data: bytes) -> bool:
    """Whether a canonical list, which thousands of entries share, is one of fields, their names ascending."""
    fields = orjson.loads(data)
    if not fields or any(type(field) is not dict or _shape(field) != FIELD for field in fields):
        return False
    names = [field["name"] for field in fields]
    return names == sorted(set(names))


def _check_slices(slices: list[Any], fields: int) -> None:
    if not 1 <= len(slices) <= MAX_SLICES:
        raise _malformed("a disclosure has 1 to 256 slices")
    for item in slices:
        if type(item) is not dict or _shape(item) != SLICE:
            raise _malformed("a slice of a disclosure is not a person's commitment, a SHA-256 and what it holds")
        if not (_DIGEST.fullmatch(item["person"]) and _DIGEST.fullmatch(item["sha256"])):
            raise _malformed("a slice's commitment or SHA-256 is not 32 bytes in base64url")
        if len(item["holds"]) != fields or not _HOLDS.fullmatch(item["holds"]):
            raise _malformed("what a slice holds is not a 0 or a 1 for each field of the terms")


def _check_strings(items: list[Any]) -> None:
    if any(type(item) is not str for item in items):
        raise _malformed("an entry's list of names holds something else")


def _check_digests(items: list[Any]) -> None:
    if not 1 <= len(items) <= MAX_SLICES:
        raise _malformed("an entry lists 1 to 256 commitments")
    if any(type(item) is not str or not _DIGEST.fullmatch(item) for item in items):
        raise _malformed("a listed commitment is not 32 bytes in base64url")


def _check_counts(counts: dict[str, Any]) -> None:
    if any(type(count) is not int or not reason.isascii() for reason, count in counts.items()):
        raise _malformed("refusals are not counted by reason")


def columns(entry: Mapping[str, Any]) -> Columns:
    """The search columns of a parsed entry.

    Raises:
        SlussError: MALFORMED, if `at` is not a time.
    """
    source = entry["terms"] if entry["type"] in SLICED else entry
    recipient = source.get("recipient") or source.get("principal") or source.get("subcontractor") or ""
    contract = source.get("contract") or source.get("case") or ""
    return Columns(entry["type"], contract, recipient, micros(entry["at"]))
