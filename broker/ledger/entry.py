"""Entries of the ledger: canonical JSON, one constructor per type, and a parser that rejects by round trip.

FORMAT.md shows every type. Constructors take times in microseconds since 1970 UTC and digests as bytes, and
return the entry's bytes; `parse` says what an entry is, for the writer, the verifier and the client alike.
"""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from broker.clock import micros, rfc3339
from broker.errors import Reason, SlussError
from broker.ledger.shapes import DIGESTS, FIELD, SHAPES, SLICE, TERMS, WORDS

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

TYPES = frozenset(SHAPES)
"""Every entry type of version 1."""
SLICED = frozenset({"disclosure", "release"})
"""The types that stand for slices."""
SEALED_LABEL = b"sluss/v1 sealed entry\x00"


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


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5)."""
    return b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()


def _entry(kind: str, at: int, **members: Any) -> bytes:
    data = _dump({"at": rfc3339(at), "type": kind, "v": VERSION, **members})
    if len(data) > MAX_ENTRY:
        raise _malformed(f"an entry is longer than {MAX_ENTRY} bytes")
    return data


def disclosure(at: int, terms: Mapping[str, Any], slices: Sequence[tuple[bytes, bytes]], unavailable: int) -> bytes:
    """One disclosure: 1 to 256 persons under one contract, purpose, recipient key and field set.

    Args:
        at: when.
        terms: the terms object, whose canonical JSON is bound into every slice.
        slices: per person the commitment and the SHA-256 of the slice bytes, 32 bytes each, in order.
        unavailable: how many persons were asked for and not available.
    """
    persons = digest_texts([commitment for commitment, _ in slices])
    digests = digest_texts([digest for _, digest in slices])
    listed = [{"person": person, "sha256": sha} for person, sha in zip(persons, digests, strict=True)]
    return _entry("disclosure", at, slices=listed, terms=terms, unavailable=unavailable)


def case(
    at: int,
    event: str,
    case: str,
    ground: str,
    country: str,
    state: str,
    by: str,
    *,
    body: bytes,
    text: bytes,
    document: bytes = b"",
) -> bytes:
    """A step of a legal case (POLICY 6). What was written stays out: `body` and `text` are commitments to it.

    Args:
        at: when.
        event: one of `CASE_EVENTS`.
        case: the case's id.
        ground: one of `GROUNDS`.
        country: the requester's, ISO 3166-1 alpha-2.
        state: the state after it.
        by: who.
        body: HMAC of what the case is about after it, 32 bytes.
        text: HMAC of the reason or note, 32 bytes.
        document: SHA-256 of a document that was added, or empty.
    """
    return _entry(
        "case",
        at,
        event=event,
        case=case,
        ground=ground,
        country=country,
        state=state,
        by=by,
        body=base64url(body),
        text=base64url(text),
        document=base64url(document),
    )


def release(
    at: int,
    terms: Mapping[str, Any],
    slices: Sequence[tuple[bytes, bytes]],
    unavailable: int,
    *,
    ground: str,
    by: str,
    second_person: str,
    emergency: bool,
) -> bytes:
    """A release on a legal ground: as `disclosure`, with the ground, who released and who approved.

    In an emergency nobody had approved, and `second_person` is empty.
    """
    persons = digest_texts([commitment for commitment, _ in slices])
    digests = digest_texts([digest for _, digest in slices])
    listed = [{"person": person, "sha256": sha} for person, sha in zip(persons, digests, strict=True)]
    return _entry(
        "release",
        at,
        slices=listed,
        terms=terms,
        unavailable=unavailable,
        ground=ground,
        by=by,
        second_person=second_person,
        emergency=emergency,
    )


def release_elsewhere(
    at: int,
    case: str,
    ground: str,
    by: str,
    fields: Sequence[str],
    persons: Sequence[bytes],
    medium: str,
    released_on: str,
) -> bytes:
    """A release that was made outside the broker, on `released_on` (a date), recorded after the fact."""
    return _entry(
        "release_elsewhere",
        at,
        case=case,
        ground=ground,
        by=by,
        fields=list(fields),
        persons=digest_texts(persons),
        medium=medium,
        released_on=released_on,
    )


def sealed(at: int, commitment: bytes) -> bytes:
    """An entry that is hidden for a time: a commitment to the entry that it is (`sealed_commitment`)."""
    return _entry("sealed", at, commitment=base64url(commitment))


def sealed_commitment(salt: bytes, entry: bytes) -> bytes:
    """What a sealed entry says of the entry that it hides; `salt` is 32 random bytes."""
    return hashlib.sha256(SEALED_LABEL + salt + entry).digest()


def refusal(
    at: int,
    principal: str,
    reason: str,
    contract: str,
    purpose: str,
    fields: Sequence[str],
    method: str,
    persons: int,
) -> bytes:
    """A refusal. Names that the caller made up stay out: `purpose` and `fields` hold catalogue names only."""
    return _entry(
        "refusal",
        at,
        principal=principal,
        reason=str(reason),
        contract=contract,
        purpose=purpose,
        fields=list(fields),
        method=method,
        persons=persons,
    )


def refusals(at: int, since: int, until: int, principal: str, counts: Mapping[str, int]) -> bytes:
    """Refusals of one caller beyond the first few of a window, folded into a count per reason."""
    named = {str(reason): count for reason, count in counts.items()}
    return _entry("refusals", at, since=rfc3339(since), until=rfc3339(until), principal=principal, counts=named)


def contract(
    at: int,
    event: str,
    contract: str,
    version: int,
    subcontractor: str,
    by: str,
    reason: str,
    terms_sha256: bytes,
    signature: bytes = b"",
) -> bytes:
    """A step of a contract: proposed, accepted, suspended, resumed, amended or terminated.

    `signature` is the subcontractor's over the canonical terms; only an acceptance has one.
    """
    return _entry(
        "contract",
        at,
        event=event,
        contract=contract,
        version=version,
        subcontractor=subcontractor,
        by=by,
        reason=reason,
        terms_sha256=base64url(terms_sha256),
        signature=base64url(signature),
    )


def key(at: int, event: str, subcontractor: str, key_id: bytes, suite: int, by: str, reason: str) -> bytes:
    """A recipient's encryption key was registered, or rotated: it took the place of the one before.

    `key_id` is the SHA-256 of the public key.
    """
    return _entry(
        "key",
        at,
        event=event,
        subcontractor=subcontractor,
        key=base64url(key_id),
        suite=suite,
        by=by,
        reason=reason,
    )


def certificate(at: int, event: str, principal: str, spki: bytes, by: str, reason: str) -> bytes:
    """A certificate was pinned or revoked; `spki` is the SHA-256 of its SubjectPublicKeyInfo."""
    return _entry("certificate", at, event=event, principal=principal, spki=base64url(spki), by=by, reason=reason)


def choice(
    at: int,
    person_commitment: bytes,
    purpose: str,
    state: str,
    channel: str,
    source: str,
    policy: str,
    by: str,
) -> bytes:
    """A person's choice, `state` "in" or "out"; the person appears as a 32-byte commitment only."""
    return _entry(
        "choice",
        at,
        person=base64url(person_commitment),
        purpose=purpose,
        state=state,
        channel=channel,
        source=source,
        policy=policy,
        by=by,
    )


def catalogue(at: int, sha256: bytes, by: str) -> bytes:
    """A field catalogue came into force; `sha256` is that of its file."""
    return _entry("catalogue", at, sha256=base64url(sha256), by=by)


def policy(at: int, version: str, effective: int, sha256: bytes, by: str) -> bytes:
    """A policy version was set to apply from `effective` on; `sha256` is that of its text."""
    return _entry("policy", at, version=version, effective=rfc3339(effective), sha256=base64url(sha256), by=by)


def genesis(at: int, origin: str, ed25519_key: bytes, mldsa44_key: bytes) -> bytes:
    """The first entry: whose ledger this is and by which public keys (raw, 32 and 1312 bytes) it signs."""
    return _entry("genesis", at, origin=origin, ed25519=base64url(ed25519_key), mldsa44=base64url(mldsa44_key))


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
    kind = entry.get("type")
    expected = SHAPES.get(kind) if type(kind) is str else None
    version = entry.get("v")
    if expected is None or type(version) is not int or version != VERSION:
        raise SlussError(Reason.UNSUPPORTED_VERSION, "an entry is of an unknown type or version")
    if _shape(entry) != expected:
        raise _malformed(f"a {kind} entry does not have the members of its type")
    _check_words(str(kind), entry)
    if kind in SLICED:
        _check_terms(entry["terms"])
        _check_slices(entry["slices"])
    elif kind == "release_elsewhere":
        _check_strings(entry["fields"])
        _check_persons(entry["persons"])
    elif kind == "case":
        _check_document(entry["document"])
    elif kind == "refusal":
        _check_strings(entry["fields"])
    elif kind == "refusals":
        _check_counts(entry["counts"])


def _check_words(kind: str, entry: dict[str, Any]) -> None:
    for (type_, member), words in WORDS.items():
        if type_ == kind and entry[member] not in words:
            raise _malformed(f"a {kind} entry has an unknown {member}")
    for member in DIGESTS.get(kind, ()):
        if not _DIGEST.fullmatch(entry[member]):
            raise _malformed(f"the {member} of a {kind} entry is not 32 bytes in base64url")


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


def _check_slices(slices: list[Any]) -> None:
    if not 1 <= len(slices) <= MAX_SLICES:
        raise _malformed("a disclosure has 1 to 256 slices")
    for item in slices:
        if type(item) is not dict or _shape(item) != SLICE:
            raise _malformed("a slice of a disclosure is not a person's commitment and a SHA-256")
        if not (_DIGEST.fullmatch(item["person"]) and _DIGEST.fullmatch(item["sha256"])):
            raise _malformed("a slice's commitment or SHA-256 is not 32 bytes in base64url")


def _check_strings(items: list[Any]) -> None:
    if any(type(item) is not str for item in items):
        raise _malformed("an entry's fields are not names")


def _check_persons(items: list[Any]) -> None:
    if not 1 <= len(items) <= MAX_SLICES:
        raise _malformed("a release made elsewhere is of 1 to 256 persons")
    if any(type(item) is not str or not _DIGEST.fullmatch(item) for item in items):
        raise _malformed("a person's commitment is not 32 bytes in base64url")


def _check_document(digest: str) -> None:
    if digest and not _DIGEST.fullmatch(digest):
        raise _malformed("a document's SHA-256 is not 32 bytes in base64url")


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
