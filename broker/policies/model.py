"""What is asked of the policies' room and what it answers; canonical texts; where versions stand by entries. Pure.

    canonical texts   {"texts":[{"changes":"...","language":"en","text":"..."}, ...],"version":"2026-02"}

in canonical JSON (RFC 8785), the texts in order of language. The ledger's entry of a version has the SHA-256 of that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from broker.catalogue.model import VERSION
from broker.clock import DAY, micros
from broker.errors import Reason, SlussError, invalid
from broker.ledger.entry import base64url, canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_TEXTS: Final = 32
MAX_TEXT: Final = 200_000
MAX_CHANGES: Final = 20_000
MAX_EVIDENCE: Final = 2_000
FURTHEST_US: Final = 5 * 366 * DAY
"""How far ahead a version may take effect: further is a slip, and nothing that was published is taken back."""
CONTINUED_USE: Final = "continued_use"
ENGLISH: Final = "en"


@dataclass(frozen=True, slots=True)
class Text:
    """A version in one language."""

    language: str
    text: str
    changes: str


@dataclass(frozen=True, slots=True)
class Publication:
    """A version to publish; `effective_at` in microseconds since 1970 UTC, 0 for at once, or for one on record."""

    version: str
    effective_at: int
    texts: Sequence[Text]
    notify: bool


@dataclass(frozen=True, slots=True)
class Version:
    """A version as the ledger says it stands: `sha256` in base64url."""

    id: str
    effective_at: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A version as it is shown: with its languages, in order."""

    version: Version
    languages: tuple[str, ...]
    in_force: bool


@dataclass(frozen=True, slots=True)
class Accepting:
    """An acceptance to record."""

    request_id: bytes
    person: int
    version: str
    source: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A recorded acceptance: its entry, and the newest version that the person accepted."""

    entry: int
    newest: str


@dataclass(frozen=True, slots=True)
class AcceptanceShown:
    """An acceptance on record; `at` in microseconds since 1970 UTC."""

    version: str
    source: str
    evidence: str
    at: int
    entry: int


def digest(version: str, texts: Iterable[Text]) -> bytes:
    """SHA-256 of a version's canonical texts."""
    listed = [
        {"changes": each.changes, "language": each.language, "text": each.text}
        for each in sorted(texts, key=lambda text: text.language)
    ]
    return hashlib.sha256(canonical({"texts": listed, "version": version})).digest()


def replay(said: Iterable[Mapping[str, Any]]) -> dict[str, Version]:
    """The versions that `policy` entries stand for, oldest entry first.

    The first entry of a version says when it takes effect, the last one what its texts are.

    Raises:
        SlussError: LEDGER_INCONSISTENT for a version that is said to take effect at two times.
    """
    found: dict[str, Version] = {}
    for each in said:
        version = Version(each["version"], micros(each["effective"]), each["sha256"])
        before = found.get(version.id)
        if before is not None and before.effective_at != version.effective_at:
            raise SlussError(Reason.LEDGER_INCONSISTENT, "a policy version takes effect at two times")
        found[version.id] = version
    return found


def stored(rows: Iterable[tuple[str, int, bytes]]) -> dict[str, Version]:
    """The versions that rows (id, time, digest) tell of, to compare."""
    return {name: Version(name, effective_at, base64url(bytes(sha256))) for name, effective_at, sha256 in rows}


def check_version(version: str) -> str:
    """A version's name.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not VERSION.fullmatch(version):
        raise invalid("version", "letters, digits and . _ -, at most 32")
    return version


def merged(version: str, before: Mapping[str, Text], given: Sequence[Text]) -> dict[str, Text]:
    """The texts of a version once these have been added to those on record.

    Raises:
        SlussError: POLICY_EXISTS where a text on record would change.
    """
    after = dict(before)
    for text in given:
        if before.get(text.language, text) != text:
            raise SlussError(Reason.POLICY_EXISTS, version=version, language=text.language)
        after[text.language] = text
    return after


def best(texts: Mapping[str, Text], wanted: str) -> Text:
    """The text in the language wanted, without its region if need be; else in English; else the first there is."""
    for language in (wanted, wanted.partition("-")[0], ENGLISH):
        if language in texts:
            return texts[language]
    return texts[min(texts)]
