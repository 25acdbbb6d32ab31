"""The access export as a readable document (GDPR Art. 15): PDF and HTML from the broker's JSON (protos/ACCESS.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sluss_legal.dates import moment
from sluss_legal.documents import writers
from sluss_legal.documents.accounting import fields_text
from sluss_legal.documents.model import Document, Facts, Heading, Table, Text
from sluss_legal.tongue import tongue_of
from sluss_legal.words import CATEGORIES, N_

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluss_legal.documents.model import Block
    from sluss_legal.tongue import Tongue

VERSION = 1
STATES = {"in": N_("yes"), "out": N_("no")}
CHANNELS = {"email": N_("e-mail"), "phone": N_("phone"), "post": N_("post"), "sms": N_("SMS")}
KINDS = {
    "access": N_("Access"),
    "rectification": N_("Rectification"),
    "erasure": N_("Erasure"),
    "objection": N_("Objection"),
}
MESSAGES = {
    "registration_confirmation": N_("Your registration was confirmed"),
    "policy_changed": N_("The policy has changed"),
    "request_received": N_("Your request has come in"),
    "request_answered": N_("Your request has been answered"),
    "credential_reset": N_("Your password has to be chosen anew"),
    "complaint_received": N_("Your complaint has come in"),
    "complaint_answered": N_("Your complaint has been answered"),
    "deadline_extended": N_("Our answer takes longer"),
}
COMPLAINT_STATES = {
    "received": N_("Taken in"),
    "investigating": N_("Being looked into"),
    "decided": N_("Decided"),
    "closed": N_("Closed"),
}
OUTCOMES = {
    "upheld": N_("You were right"),
    "partly": N_("You were right in part"),
    "not_upheld": N_("We see it otherwise"),
    "withdrawn": N_("Withdrawn"),
}
STANDS = {
    "received": N_("Taken in"),
    "identity_checked": N_("Identity checked"),
    "in_progress": N_("In progress"),
    "waiting_for_recipients": N_("Waiting for recipients"),
    "done": N_("Done"),
    "refused": N_("Refused by the company"),
    "withdrawn": N_("Withdrawn"),
}
HOW = {
    "disclosure": N_("Disclosed under contract"),
    "release": N_("Released on a legal ground"),
    "release_elsewhere": N_("Released outside the broker"),
}
ANSWERS = {
    "deleted": N_("deleted"),
    "corrected": N_("corrected"),
    "never_held_any_more": N_("no longer held"),
    "not_confirmed": N_("not confirmed"),
    "unanswered": N_("no answer"),
    "told": N_("told"),
    "impossible": N_("could not be told"),
    "disproportionate": N_("telling takes disproportionate effort"),
}
CLASSES = {
    "primary": N_("Needed for the service, or a legitimate interest (GDPR Art. 6(1)(b) and (f))"),
    "secondary_own": N_("Our own offers, unless you say no (GDPR Art. 6(1)(f))"),
    "secondary_third_party": N_("Others' offers, only if you say yes (GDPR Art. 6(1)(a))"),
    "legal": N_("Required by law, or to defend rights (GDPR Art. 6(1)(c) and (f))"),
    "anonymous": N_("Numbers about many persons, which tell nothing about one"),
}
RIGHTS = (
    N_("You may have what is wrong corrected (GDPR Art. 16) and your data erased (Art. 17)."),
    N_("You may have the use of your data restricted (Art. 18), and take them elsewhere as JSON (Art. 20)."),
    N_("You may say no to offers (Art. 21(2)), which then stop at once, and take back a yes at any time (Art. 7(3))."),
    N_(
        "You may also object, with your reasons, to what else rests on a legitimate interest (Art. 21(1)). There is no"
        " switch for that: we weigh your reasons, and tell you why ours are stronger or erase your data."
    ),
)


@dataclass(frozen=True)
class Access:
    """An export: what it says, and its digest as the ledger holds it."""

    said: Mapping[str, Any]
    sha256: str


def access(data: bytes, sha256: str) -> Access:
    """The export in the broker's JSON.

    Raises:
        ValueError: it is none of this version.
    """
    said = json.loads(data)
    if not isinstance(said, dict) or (said.get("type"), said.get("v")) != ("access", VERSION):
        raise ValueError("this is no access export of version 1")
    return Access(said, sha256)


def pdf_of(about: Access, language: str) -> bytes:
    """The export as PDF in a language."""
    made = datetime.fromisoformat(about.said["made"]).astimezone(UTC)
    return writers.pdf(document(about, tongue_of(language)), made)


def html_of(about: Access, language: str) -> bytes:
    """The export as a web page in a language."""
    return writers.html(document(about, tongue_of(language)))


def document(about: Access, tongue: Tongue) -> Document:
    """The export to be read by the person."""
    said, say = about.said, tongue.say
    return Document(
        language=tongue.language,
        title=say(N_("Your personal data")),
        lead=say(N_("A copy of everything that is held about you, where it came from, and who received it.")),
        blocks=[
            _facts(said, tongue),
            *_tables(said, tongue),
            *_how_long(said, tongue),
            *_rights(said, tongue),
            *_check(about, tongue),
        ],
        page=say(N_("Page")),
        of=say(N_("of")),
        note=f"{said['person']} · {said['made'][:10]}",
        wide=True,
    )


def _facts(said: Mapping[str, Any], tongue: Tongue) -> Facts:
    say = tongue.say
    return Facts(
        {
            say(N_("Person")): said["person"],
            say(N_("Your request")): said["request"],
            say(N_("Registered")): f"{moment(said['registered'])} UTC",
            say(N_("Made")): f"{moment(said['made'])} UTC",
            say(N_("Policy version")): said["policy"],
        }
    )


def _tables(said: Mapping[str, Any], tongue: Tongue) -> list[Block]:
    """What is on record, each kind under its heading."""
    tables = {
        N_("What is held about you"): _fields(said, tongue),
        N_("Who received what"): _received(said, tongue),
        N_("Who was told of corrections"): _told(said, tongue),
        N_("Your choices"): _choices(said, tongue),
        N_("Policy versions"): _policies(said, tongue),
        N_("What you used"): _usage(said, tongue),
        N_("Messages to you"): _messages(said, tongue),
        N_("Your requests"): _requests(said, tongue),
        N_("Your complaints"): _complaints(said, tongue),
        N_("Reports that your password was stolen"): _compromises(said, tongue),
        N_("What your data may be used for"): _purposes(said, tongue),
    }
    return [block for heading, table in tables.items() if table for block in (Heading(tongue.say(heading)), table)]


def _how_long(said: Mapping[str, Any], tongue: Tongue) -> list[Block]:
    say = tongue.say
    return [
        Heading(say(N_("How long"))),
        Text(say(N_("Your data are kept until you ask for their erasure or the company no longer needs them."
                    " Each recipient has to delete them by the day that stands in its row."))),
        Text(say(N_("Where the law requires it, or a legal claim needs it, they may have to be kept longer (GDPR"
                    " Art. 17(3)). Whether they have to is decided when erasure is asked for; this is so for"
                    " everybody."))),
        _retention(said, tongue),
        *_former(said, tongue),
    ]  # fmt: skip


def _rights(said: Mapping[str, Any], tongue: Tongue) -> list[Block]:
    say = tongue.say
    told = N_("If you think that your data are handled wrongly, you may complain to {name}, {web}, or to the"
              " authority where you live.")  # fmt: skip
    return [
        Heading(say(N_("Your rights"))),
        *[Text(say(right)) for right in RIGHTS],
        Text(say(told, **said["supervisory_authority"])),
    ]


def _check(about: Access, tongue: Tongue) -> list[Block]:
    say = tongue.say
    told = N_("That this left is in the ledger {ledger}, with the SHA-256 of the JSON file beside it: {digest}.")
    return [
        Heading(say(N_("How to check it"))),
        Text(say(told, ledger=about.said["ledger"], digest=about.sha256)),
    ]


def _fields(said: Mapping[str, Any], tongue: Tongue) -> Table:
    say = tongue.say
    rows = [
        (
            each[f"label_{tongue.language}"],
            f"{each['value']} ({say(N_('masked'))})" if each["masked"] else each["value"],
            say(CATEGORIES.get(each["category"], each["category"])),
            each["source"],
            moment(each["collected_at"]),
        )
        for each in said["fields"]
    ]
    heads = (N_("Field"), N_("Value"), N_("Category"), N_("Source"), N_("Collected (UTC)"))
    return Table([say(head) for head in heads], rows, (20, 34, 14, 16, 16), say(N_("Nothing is held.")))


def _received(said: Mapping[str, Any], tongue: Tongue) -> Table:
    say = tongue.say
    labels = {each["purpose"]: each[f"label_{tongue.language}"] for each in said["purposes"]}
    rows = [
        (
            moment(each["at"]),
            f"{each['recipient']}\n{each['address']}",
            fields_text([(one["field"], one["transform"]) for one in each["fields"]], tongue),
            "\n".join((labels.get(each["purpose"], each["purpose"]), say(HOW.get(each["kind"], each["kind"])))),
            _until(each, tongue),
            str(each["entry"]),
        )
        for each in said["received"]
    ]
    heads = (N_("When (UTC)"), N_("Recipient"), N_("What"), N_("Purpose or ground"), N_("Delete by"), N_("Entry"))
    columns = [say(head) for head in heads]
    return Table(columns, rows, (15, 26, 26, 22, 12, 8), say(N_("Nobody has received your data.")), (5,))


def _until(each: Mapping[str, Any], tongue: Tongue) -> str:
    """The day to delete it by, and what the recipient says of that."""
    deletion = each["deletion"]
    word = ANSWERS.get(deletion["answer"] or deletion["state"], "")
    told = " ".join(filter(None, (tongue.say(word) if word else "", deletion["answered_at"][:10])))
    return "\n".join(filter(None, (each["retain_until"], told)))


def _told(said: Mapping[str, Any], tongue: Tongue) -> Table | None:
    """Who was told of corrections; None where nothing was corrected that anybody had."""
    say = tongue.say
    rows = [
        (
            each["recipient"],
            each["authority"],
            ", ".join(each["fields"]),
            each["since"][:10],
            f"{say(ANSWERS.get(each['answer'] or each['state'], N_('not yet')))} {each['answered_at'][:10]}".strip(),
        )
        for each in said["recipients_told"]
    ]
    heads = (N_("Recipient"), N_("Contract or case"), N_("Field"), N_("Since"), N_("What came of it"))
    return Table([say(head) for head in heads], rows, (28, 18, 20, 14, 20), "") if rows else None


def _choices(said: Mapping[str, Any], tongue: Tongue) -> Table:
    say = tongue.say
    labels = {each["purpose"]: each[f"label_{tongue.language}"] for each in said["purposes"]}
    rows = [
        (
            moment(each["chosen_at"]),
            labels.get(each["purpose"], each["purpose"]),
            say(STATES.get(each["state"], each["state"])),
            ", ".join(say(CHANNELS.get(one, one)) for one in each["channels"]) or say(N_("all")),
            ", ".join(
                filter(None, (say(CHANNELS.get(each["medium"], each["medium"])), each["source"], each["evidence"]))
            ),
            each["policy"],
            str(each["entry"]),
        )
        for each in said["choices"]
    ]
    heads = (
        N_("When (UTC)"), N_("Purpose"), N_("Your choice"), N_("Contact by"), N_("How it was made"),
        N_("Policy version"), N_("Entry"),
    )  # fmt: skip
    columns = [say(head) for head in heads]
    return Table(columns, rows, (16, 26, 10, 14, 22, 12, 8), say(N_("You have made no choices.")), (6,))


def _policies(said: Mapping[str, Any], tongue: Tongue) -> Table:
    say = tongue.say
    rows = [
        (moment(each["at"]), each["version"], say(N_("You accepted it")), each["source"], each["evidence"])
        for each in said["acceptances"]
    ] + [
        (moment(each["at"]), each["version"], say(N_("You were told of it")), "", "") for each in said["policy_notices"]
    ]
    heads = (N_("When (UTC)"), N_("Policy version"), N_("What happened"), N_("Source"), N_("Evidence"))
    columns = [say(head) for head in heads]
    return Table(columns, sorted(rows), (18, 16, 24, 18, 24), say(N_("You have accepted none and were told of none.")))


def _usage(said: Mapping[str, Any], tongue: Tongue) -> Table:
    """Per month: the days are in the JSON beside it."""
    say = tongue.say
    summed: dict[tuple[str, str, str], tuple[int, int]] = {}
    for each in said["usage"]:
        attributes = ", ".join(f"{name}: {value}" for name, value in sorted(each["attributes"].items()))
        key = each["day"][:7], each[f"label_{tongue.language}"], attributes
        events, seconds = summed.get(key, (0, 0))
        summed[key] = events + each["events"], seconds + each["seconds"]
    rows = [(*key, str(events), _minutes(seconds)) for key, (events, seconds) in sorted(summed.items())]
    heads = (N_("Month"), N_("What"), N_("More about it"), N_("Times"), N_("Minutes"))
    columns = [say(head) for head in heads]
    return Table(columns, rows, (10, 30, 36, 10, 12), say(N_("Nothing is held about what you used.")), (3, 4))


def _minutes(seconds: int) -> str:
    """Whole minutes, upwards, so that no use looks like none."""
    return str(-(-seconds // 60)) if seconds else ""


def _messages(said: Mapping[str, Any], tongue: Tongue) -> Table:
    say = tongue.say
    rows = [
        (
            moment(each["at"]),
            say(MESSAGES.get(each["kind"], each["kind"])),
            moment(each["settled_at"]) if each["settled_at"] else say(N_("not yet")),
        )
        for each in said["messages"]
    ]
    heads = (N_("Written (UTC)"), N_("Message"), N_("Sent (UTC)"))
    return Table([say(head) for head in heads], rows, (20, 55, 25), say(N_("There are none.")))


def _requests(said: Mapping[str, Any], tongue: Tongue) -> Table:
    say = tongue.say
    rows = [
        (
            each["request"],
            say(KINDS.get(each["kind"], each["kind"])),
            each["received"],
            each["deadline"],
            say(STANDS.get(each["state"], each["state"])),
            each["asked"],
            each["told"],
        )
        for each in said["requests"]
    ]
    heads = (
        N_("Number"), N_("Request"), N_("Came in"), N_("Answer by"), N_("State"), N_("In your words"), N_("Our answer"),
    )  # fmt: skip
    columns = [say(head) for head in heads]
    return Table(columns, rows, (13, 12, 11, 11, 14, 22, 22), say(N_("You have made no requests.")))


def _complaints(said: Mapping[str, Any], tongue: Tongue) -> Table:
    say = tongue.say
    rows = [
        (
            each["complaint"],
            each["received"],
            say(COMPLAINT_STATES.get(each["state"], each["state"])),
            each["about"],
            say(OUTCOMES.get(each["outcome"], each["outcome"])) if each["outcome"] else "",
            each["told"],
            moment(each["closed"]),
        )
        for each in said["complaints"]
    ]
    heads = (
        N_("Number"), N_("Came in"), N_("State"), N_("In your words"), N_("Outcome"), N_("Our answer"), N_("Closed"),
    )  # fmt: skip
    columns = [say(head) for head in heads]
    return Table(columns, rows, (13, 13, 13, 22, 13, 22, 13), say(N_("You have made no complaints.")))


def _compromises(said: Mapping[str, Any], tongue: Tongue) -> Table | None:
    """None where there are none: hardly anybody's password was stolen."""
    say = tongue.say
    rows = [
        (each["report"], moment(each["opened"]), say(N_("blocked")) if each["locked"] else say(N_("free")))
        for each in said["compromises"]
    ]
    heads = (N_("Number"), N_("Came in"), N_("Your password is"))
    return Table([say(head) for head in heads], rows, (25, 35, 40), "") if rows else None


def _retention(said: Mapping[str, Any], tongue: Tongue) -> Table:
    """The last day for each recipient and contract."""
    say = tongue.say
    last: dict[tuple[str, str], str] = {}
    for each in said["received"]:
        key = each["recipient"], each["authority"]
        last[key] = max(last.get(key, ""), each["retain_until"])
    rows = [(who, what, until or say(N_("as its law says"))) for (who, what), until in sorted(last.items())]
    heads = (N_("Recipient"), N_("Contract or case"), N_("Deletes the last of it by"))
    return Table([say(head) for head in heads], rows, (45, 25, 30), say(N_("Nobody has received your data.")))


def _former(said: Mapping[str, Any], tongue: Tongue) -> list[Block]:
    say = tongue.say
    labels = {each["field"]: each[f"label_{tongue.language}"] for each in said["fields"]}
    rows = [
        (
            labels.get(each["field"], each["field"]),
            moment(each["since"]),
            moment(each["until"]),
            each["kept_until"][:10],
        )
        for each in said["former_values"]
    ]
    heads = (N_("Field"), N_("Yours from (UTC)"), N_("Yours until (UTC)"), N_("Kept as a keyed digest until"))
    table = Table([say(head) for head in heads], rows, (30, 22, 22, 26), "")
    told = N_("Values that were corrected or removed are not kept. A keyed digest of each is, so that a leaked copy can"
              " be recognised; the value can't be read from it.")  # fmt: skip
    return [Text(say(told)), table] if rows else []


def _purposes(said: Mapping[str, Any], tongue: Tongue) -> Table:
    """A row for each class: for one purpose each, the reasons would be the same line again and again."""
    say = tongue.say
    grouped: dict[str, list[str]] = {}
    for each in said["purposes"]:
        grouped.setdefault(each["class"] if each["class"] in CLASSES else each["basis"], []).append(
            each[f"label_{tongue.language}"]
        )
    rows = [("; ".join(labels), say(CLASSES.get(why, why))) for why, labels in grouped.items()]
    heads = (N_("Purpose"), N_("Why that is allowed"))
    return Table([say(head) for head in heads], rows, (60, 40), say(N_("For nothing.")))
