"""PolicyService: protos to what is asked, and answers to protos."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sluss.v1 import policy_pb2

from broker.clock import SECOND, rfc3339
from broker.errors import SlussError, invalid
from broker.free_text import personal
from broker.ids import parse_person, parse_request_id
from broker.policies.model import (
    MAX_CHANGES,
    MAX_EVIDENCE,
    MAX_TEXT,
    MAX_TEXTS,
    Accepting,
    Publication,
    Text,
    check_version,
)
from broker.values import validate
from broker.wire import checks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.policies.model import AcceptanceShown, Standing

# Controls but for the line feed and the tab, halves of characters, and what turns the direction of the text around it.
_NO_TEXT: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def publication(message: policy_pb2.PublishPolicyVersionRequest) -> Publication:
    """The version to publish.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if len(message.texts) > MAX_TEXTS:
        raise invalid("texts", f"at most {MAX_TEXTS}")
    texts = [_text(text) for text in message.texts]
    if len({text.language for text in texts}) < len(texts):
        raise invalid("texts", "two in one language")
    effective_at = moment(message.effective, "effective") if message.effective else 0
    found = personal(check_version(message.version))
    if found:
        raise invalid("version", f"it looks like {found}, and the ledger never forgets")
    return Publication(message.version, effective_at, texts, message.notify)


def accepting(message: policy_pb2.RecordAcceptanceRequest) -> Accepting:
    """The acceptance to record.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    return Accepting(
        parse_request_id(message.request_id),
        parse_person(message.person_id),
        check_version(message.version),
        message.source,
        checks.text(message.evidence, "evidence", MAX_EVIDENCE) if message.evidence else "",
    )


def language(text: str, field: str) -> str:
    """A language tag in its customary form.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    try:
        return validate("language", text)
    except SlussError as error:
        raise invalid(field, error.detail) from None


def moment(text: str, field: str) -> int:
    """An RFC 3339 time, in microseconds since 1970 UTC.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    try:
        found = datetime.fromisoformat(validate("datetime", text))
    except (SlussError, ValueError):
        raise invalid(field, "a time such as 2027-01-01T00:00:00Z is needed") from None
    return round(found.timestamp() * SECOND)


def version(standing: Standing) -> policy_pb2.PolicyVersion:
    """A version as it stands."""
    return policy_pb2.PolicyVersion(
        version=standing.version.id,
        effective=rfc3339(standing.version.effective_at),
        in_force=standing.in_force,
        languages=standing.languages,
        sha256=standing.version.sha256,
    )


def text(found: Text) -> policy_pb2.PolicyText:
    """A text."""
    return policy_pb2.PolicyText(language=found.language, text=found.text, changes=found.changes)


def acceptance(found: AcceptanceShown) -> policy_pb2.Acceptance:
    """An acceptance on record."""
    return policy_pb2.Acceptance(
        version=found.version,
        source=found.source,
        evidence=found.evidence,
        at=rfc3339(found.at),
        entry_index=found.entry,
    )


def notices(told: Iterable[tuple[str, int]]) -> list[policy_pb2.PolicyNotice]:
    """Of which versions a person was told."""
    return [policy_pb2.PolicyNotice(version=name, at=rfc3339(at)) for name, at in told]


def _text(message: policy_pb2.PolicyText) -> Text:
    tag = language(message.language, "texts.language")
    if tag != message.language:
        raise invalid("texts.language", f"written as {tag}")
    if not message.text.strip():
        raise invalid("texts.text", "empty")
    _check_body(message.text, "texts.text", MAX_TEXT)
    _check_body(message.changes, "texts.changes", MAX_CHANGES)
    return Text(tag, message.text, message.changes)


def _check_body(body: str, field: str, most: int) -> None:
    if len(body) > most:
        raise invalid(field, f"at most {most:,} characters")
    if _NO_TEXT.search(body):
        raise invalid(field, "has a control character; lines end with a line feed alone")
