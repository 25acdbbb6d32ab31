"""What the mails say, in Swedish and English. Pure: a message of the outbox in, subject and text out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import choice_pb2, outbox_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

Letter = tuple[str, str]
"""Subject and text."""

SWEDISH: Final = "sv"
_YES: Final = {
    SWEDISH: {choice_pb2.CHOICE_STATE_OPTED_IN: "ja", choice_pb2.CHOICE_STATE_OPTED_OUT: "nej"},
    "en": {choice_pb2.CHOICE_STATE_OPTED_IN: "yes", choice_pb2.CHOICE_STATE_OPTED_OUT: "no"},
}


def tongue(language: str) -> str:
    """The language that a letter is written in: Swedish for whoever prefers it, else English."""
    return SWEDISH if language.partition("-")[0] == SWEDISH else "en"


def letter(item: outbox_pb2.OutboxItem, changes: str = "") -> Letter:
    """The letter for a message.

    Args:
        item: the message.
        changes: of a policy change, what changed, in the person's language.

    Raises:
        ValueError: of a kind that this program does not know.
    """
    write = _LETTERS.get(item.kind)
    if write is None:
        raise ValueError("a message of an unknown kind")
    language = tongue(item.language)
    subject, lines = write(item, language, changes)
    greeting = {SWEDISH: "Hej", "en": "Dear customer" if not item.name else "Dear"}[language]
    return subject, "\n".join([f"{greeting} {item.name}".strip() + ",", "", *lines, ""])


def _confirmation(item: outbox_pb2.OutboxItem, language: str, _changes: str) -> tuple[str, list[str]]:
    told = item.confirmation
    label = "label_sv" if language == SWEDISH else "label_en"
    values = [f"  {getattr(each, label)}: {each.value}" for each in told.values]
    choices = [f"  {getattr(each, label)}: {_YES[language].get(each.state, '?')}" for each in told.choices]
    if language == SWEDISH:
        lines = ["tack för din registrering. Det här är uppgifterna som vi har fått:", "", *values]
        lines += ["", "Dina val:", *choices] if choices else []
        lines += ["", f"De behandlas enligt vår integritetspolicy, version {told.policy_version}."]
        lines += ["Är något fel, eller vill du att vi tar bort uppgifterna? Svara på det här brevet."]
        return "Bekräftelse på din registrering", lines
    lines = ["thank you for registering. This is the information that we have received:", "", *values]
    lines += ["", "Your choices:", *choices] if choices else []
    lines += ["", f"It is handled under our privacy policy, version {told.policy_version}."]
    lines += ["Is something wrong, or do you want us to delete it? Just answer this mail."]
    return "Confirmation of your registration", lines


def _policy(item: outbox_pb2.OutboxItem, language: str, changes: str) -> tuple[str, list[str]]:
    version, day = item.references["version"], item.references["effective"][:10]
    if language == SWEDISH:
        lines = [f"vår integritetspolicy ändras den {day} (version {version}).", "", changes]
        lines += ["", "Fortsätter du använda tjänsten efter den dagen godkänner du ändringen."]
        return "Vår integritetspolicy ändras", lines
    lines = [f"our privacy policy changes on {day} (version {version}).", "", changes]
    lines += ["", "If you go on using the service after that day, you accept the change."]
    return "Our privacy policy changes", lines


def _received(item: outbox_pb2.OutboxItem, language: str, _changes: str) -> tuple[str, list[str]]:
    number = item.references.get("request", "")
    if language == SWEDISH:
        return f"Vi har tagit emot din begäran {number}", [f"vi har tagit emot din begäran {number} och återkommer."]
    return f"We have received your request {number}", [f"we have received your request {number} and will get back."]


def _answered(item: outbox_pb2.OutboxItem, language: str, _changes: str) -> tuple[str, list[str]]:
    number = item.references.get("request", "")
    if language == SWEDISH:
        return f"Din begäran {number} är besvarad", [f"din begäran {number} är besvarad. Logga in för att läsa svaret."]
    return f"Your request {number} is answered", [f"your request {number} is answered. Log in to read the answer."]


def _reset(_item: outbox_pb2.OutboxItem, language: str, _changes: str) -> tuple[str, list[str]]:
    if language == SWEDISH:
        return "Välj ett nytt lösenord", ["ditt lösenord är spärrat. Välj ett nytt nästa gång du loggar in."]
    return "Choose a new password", ["your password has been blocked. Choose a new one when you next log in."]


_LETTERS: Final[dict[int, Callable[[outbox_pb2.OutboxItem, str, str], tuple[str, list[str]]]]] = {
    outbox_pb2.OUTBOX_KIND_REGISTRATION_CONFIRMATION: _confirmation,
    outbox_pb2.OUTBOX_KIND_POLICY_CHANGED: _policy,
    outbox_pb2.OUTBOX_KIND_REQUEST_RECEIVED: _received,
    outbox_pb2.OUTBOX_KIND_REQUEST_ANSWERED: _answered,
    outbox_pb2.OUTBOX_KIND_CREDENTIAL_RESET: _reset,
}
