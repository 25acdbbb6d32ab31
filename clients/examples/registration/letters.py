"""What the mails say, in Swedish and English. Pure: a message of the outbox in, subject and text out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluss.v1 import choice_pb2, outbox_pb2, person_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

Letter = tuple[str, str]
"""Subject and text."""

SWEDISH: Final = "sv"
_YES: Final = {
    SWEDISH: {choice_pb2.CHOICE_STATE_OPTED_IN: "ja", choice_pb2.CHOICE_STATE_OPTED_OUT: "nej"},
    "en": {choice_pb2.CHOICE_STATE_OPTED_IN: "yes", choice_pb2.CHOICE_STATE_OPTED_OUT: "no"},
}
_CHANNELS: Final = {
    SWEDISH: {"email": "e-post", "phone": "telefon", "post": "brev", "sms": "sms"},
    "en": {"email": "e-mail", "phone": "telephone", "post": "post", "sms": "text message"},
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
    choices = [f"  {getattr(each, label)}: {_chosen(each, language)}" for each in told.choices]
    if language == SWEDISH:
        lines = ["tack för din registrering. Det här är uppgifterna som vi har fått:", "", *values]
        lines += ["", "Dina val:", *choices] if choices else []
        lines += ["", f"De behandlas enligt vår integritetspolicy, version {told.policy_version}."]
        lines += [f"Du har godkänt version {told.accepted_policy}."] if told.accepted_policy else []
        lines += ["Är något fel, eller vill du att vi tar bort uppgifterna? Svara på det här brevet."]
        return "Bekräftelse på din registrering", lines
    lines = ["thank you for registering. This is the information that we have received:", "", *values]
    lines += ["", "Your choices:", *choices] if choices else []
    lines += ["", f"It is handled under our privacy policy, version {told.policy_version}."]
    lines += [f"You have accepted version {told.accepted_policy}."] if told.accepted_policy else []
    lines += ["Is something wrong, or do you want us to delete it? Just answer this mail."]
    return "Confirmation of your registration", lines


def _chosen(choice: person_pb2.ConfirmedChoice, language: str) -> str:
    """Yes or no, and by which channels, if not by all."""
    said = _YES[language].get(choice.state, "?")
    names = _CHANNELS[language]
    return f"{said} ({', '.join(names.get(each, each) for each in choice.channels)})" if choice.channels else said


def _policy(item: outbox_pb2.OutboxItem, language: str, changes: str) -> tuple[str, list[str]]:
    version, day = item.references["version"], item.references["effective"][:10]
    if language == SWEDISH:
        lines = [f"vår integritetspolicy ändras den {day} (version {version}).", "", changes]
        lines += ["", "Fortsätter du använda tjänsten efter den dagen godkänner du ändringen."]
        return "Vår integritetspolicy ändras", lines
    lines = [f"our privacy policy changes on {day} (version {version}).", "", changes]
    lines += ["", "If you go on using the service after that day, you accept the change."]
    return "Our privacy policy changes", lines


_RIGHTS: Final = {
    SWEDISH: "Är du inte nöjd med svaret kan du klaga hos Integritetsskyddsmyndigheten (IMY), www.imy.se, eller hos"
    " myndigheten där du bor, och du kan gå till domstol (artiklarna 77 och 79 i dataskyddsförordningen).",
    "en": "If you disagree, you may complain to the Swedish Authority for Privacy Protection (IMY), www.imy.se, or to"
    " the authority where you live, and you may go to court (GDPR Articles 77 and 79).",
}
_DONE: Final = {
    SWEDISH: {
        "access": "du har fått en kopia av dina uppgifter.",
        "rectification": "uppgifterna är rättade, och de som hade fått dem har underrättats där det är möjligt.",
        "erasure": "dina uppgifter är raderade.",
        "objection": "din invändning är registrerad och gäller från och med nu.",
    },
    "en": {
        "access": "you have been given a copy of your data.",
        "rectification": "the data has been corrected, and those who had received it have been told where possible.",
        "erasure": "your data has been erased.",
        "objection": "your objection is on record and holds from now on.",
    },
}
_GROUNDS: Final = {
    SWEDISH: {
        "manifestly_unfounded": "Begäran är uppenbart ogrundad (artikel 12.5).",
        "excessive": "Begäran är orimlig (artikel 12.5).",
        "identity_not_proven": "Vi har inte kunnat fastställa att du är den som uppgifterna gäller (artikel 12.2).",
        "nothing_on_record": "Vi har inga uppgifter om dig.",
        "rights_of_others": "Ett utdrag skulle inkräkta på andras rättigheter (artikel 15.4).",
        "accurate_as_it_is": "Uppgifterna är riktiga.",
        "freedom_of_expression": "Uppgifterna behövs för yttrande- och informationsfriheten (artikel 17.3 a).",
        "legal_obligation": "Vi är enligt lag skyldiga att behålla uppgifterna (artikel 17.3 b).",
        "public_interest": "Uppgifterna behövs för ett allmänt intresse (artikel 17.3 c och d).",
        "legal_claims": "Uppgifterna behövs för rättsliga anspråk (artiklarna 17.3 e och 21.1).",
        "overriding_grounds": "Våra skäl för användningen väger tyngre (artikel 21.1).",
        "contract_or_legal_duty": "Användningen behövs för ditt avtal eller enligt lag och går inte att invända mot.",
    },
    "en": {
        "manifestly_unfounded": "The request is manifestly unfounded (Article 12(5)).",
        "excessive": "The request is excessive (Article 12(5)).",
        "identity_not_proven": "We could not establish that you are the person whom the data is about (Article 12(2)).",
        "nothing_on_record": "We hold nothing on you.",
        "rights_of_others": "A copy would adversely affect the rights of others (Article 15(4)).",
        "accurate_as_it_is": "The data is accurate.",
        "freedom_of_expression": "The data is needed for freedom of expression and information (Article 17(3)(a)).",
        "legal_obligation": "The law obliges us to keep the data (Article 17(3)(b)).",
        "public_interest": "The data is needed in the public interest (Article 17(3)(c) and (d)).",
        "legal_claims": "The data is needed for legal claims (Articles 17(3)(e) and 21(1)).",
        "overriding_grounds": "Our grounds for the use outweigh yours (Article 21(1)).",
        "contract_or_legal_duty": "The use is needed for your contract or by law: there is no right to object to it.",
    },
}
"""The grounds of a refusal, by the words of RefuseRequest; of another one, what the person is told says why."""
_OUTCOMES: Final = {
    SWEDISH: {
        "upheld": "du har rätt.",
        "partly": "du har delvis rätt.",
        "not_upheld": "vi anser att vi har handlat rätt.",
        "withdrawn": "du har återkallat det.",
    },
    "en": {
        "upheld": "you are right.",
        "partly": "you are right in part.",
        "not_upheld": "we think that we acted correctly.",
        "withdrawn": "you have withdrawn it.",
    },
}


def _received(item: outbox_pb2.OutboxItem, language: str, _changes: str) -> tuple[str, list[str]]:
    number, due = item.references.get("request", ""), item.references.get("due", "")
    if language == SWEDISH:
        lines = [f"vi har tagit emot din begäran {number} och svarar senast den {due}."]
        return f"Vi har tagit emot din begäran {number}", lines
    return f"We have received your request {number}", [f"we have received your request {number} and answer by {due}."]


def _extended(item: outbox_pb2.OutboxItem, language: str, _changes: str) -> tuple[str, list[str]]:
    request, due = item.references.get("request", ""), item.references.get("due", "")
    number, why = request or item.references.get("complaint", ""), item.decision.told
    if language == SWEDISH:
        what = "din begäran" if request else "ditt klagomål"
        lines = [f"vi behöver mer tid för {what} {number} och svarar senast den {due}."]
        return f"Vårt svar på {what} {number} dröjer", lines + (["", f"Skälet: {why}"] if why else [])
    what = "your request" if request else "your complaint"
    lines = [f"we need more time for {what} {number} and answer by {due}."]
    return f"Our answer to {what} {number} takes longer", lines + (["", f"The reason: {why}"] if why else [])


def _answered(item: outbox_pb2.OutboxItem, language: str, _changes: str) -> tuple[str, list[str]]:
    number, told = item.references.get("request", ""), item.decision
    if told.outcome == "refused":
        lines = ["", _GROUNDS[language].get(told.ground, ""), told.told, "", _RIGHTS[language]]
        if language == SWEDISH:
            return f"Din begäran {number} har avslagits", [f"vi kan inte göra det som du begär i {number}.", *lines]
        return f"Your request {number} is refused", [f"we can't do what you ask for in {number}.", *lines]
    done = _DONE[language].get(told.about, "")
    if language == SWEDISH:
        return f"Din begäran {number} är klar", [f"din begäran {number} är klar: {done}"]
    return f"Your request {number} is done", [f"your request {number} is done: {done}"]


def _complained(item: outbox_pb2.OutboxItem, language: str, _changes: str) -> tuple[str, list[str]]:
    number, due = item.references.get("complaint", ""), item.references.get("due", "")
    if language == SWEDISH:
        lines = [f"vi har tagit emot ditt klagomål {number}, undersöker det och svarar senast den {due}."]
        return f"Vi har tagit emot ditt klagomål {number}", lines
    lines = [f"we have received your complaint {number}, look into it, and answer by {due}."]
    return f"We have received your complaint {number}", lines


def _decided(item: outbox_pb2.OutboxItem, language: str, _changes: str) -> tuple[str, list[str]]:
    number, told = item.references.get("complaint", ""), item.decision
    outcome = _OUTCOMES[language].get(told.outcome, "")
    rights = [] if told.outcome in {"upheld", "withdrawn"} else ["", _RIGHTS[language]]
    if language == SWEDISH:
        return f"Svar på ditt klagomål {number}", [f"om ditt klagomål {number}: {outcome}", "", told.told, *rights]
    return f"Our answer to your complaint {number}", [f"on your complaint {number}: {outcome}", "", told.told, *rights]


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
    outbox_pb2.OUTBOX_KIND_COMPLAINT_RECEIVED: _complained,
    outbox_pb2.OUTBOX_KIND_COMPLAINT_ANSWERED: _decided,
    outbox_pb2.OUTBOX_KIND_DEADLINE_EXTENDED: _extended,
}
