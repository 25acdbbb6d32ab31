"""The access export: everything that is held on a person (POLICY 3; GDPR Art. 15), as canonical JSON (ACCESS.md).

What is hidden for a time is left out as `legal.recipients` leaves it out: an export reads the same with or without it.
The salt makes the digest that stays in the ledger tell nothing to whoever does not hold the document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from broker.catalogue import Kind as PurposeKind
from broker.clock import SECOND, rfc3339
from broker.errors import Reason, SlussError
from broker.ids import person_text
from broker.ledger import entry
from broker.legal import recipients
from broker.person_requests import following, holdings, rules
from broker.person_requests.model import CORRECTION
from broker.person_requests.rows import of_person, timeline
from broker.persons import rows as persons
from broker.policies import acceptances
from broker.store import tables
from broker.values import mask

if TYPE_CHECKING:
    from broker.desk import View
    from broker.legal.recipients import Received
    from broker.person_requests.rows import Held

NOTICE: Final = tables.core(tables.PolicyNotice)
OUTBOX: Final = tables.core(tables.OutboxItem)
VERSION: Final = 1
PAGE: Final = 500
ALWAYS: Final = (0, 1 << 62)

BASIS: Final = {
    PurposeKind.PRIMARY: "GDPR Art. 6(1)(b), 6(1)(f)",
    PurposeKind.SECONDARY_OWN: "GDPR Art. 6(1)(f), unless the person says no",
    PurposeKind.SECONDARY_THIRD_PARTY: "GDPR Art. 6(1)(a), only if the person says yes",
    PurposeKind.LEGAL: "GDPR Art. 6(1)(c), 6(1)(f)",
    PurposeKind.ANONYMOUS: "none: numbers about many persons, which tell nothing about one (GDPR recital 26)",
}
"""On what each class of purposes rests; all of them."""

RIGHTS: Final = (
    "rectification: GDPR Art. 16",
    "erasure: GDPR Art. 17",
    "restriction: GDPR Art. 18",
    "data portability: GDPR Art. 20",
    "objection: GDPR Art. 21(2), offers stop at once; Art. 21(1), of other legitimate interests reasons are weighed",
    "withdrawal of consent: GDPR Art. 7(3)",
    "complaint to a supervisory authority: GDPR Art. 77",
)
AUTHORITY: Final = {"name": "Integritetsskyddsmyndigheten (IMY)", "web": "https://www.imy.se"}
"""Where a person in Sweden complains; elsewhere, the authority of the place."""

KEEPING: Final = (
    "Values are kept until their erasure; where the law requires it, or a legal claim needs it, they may have to be"
    " kept longer (GDPR Art. 17(3)). Whether they have to is decided when erasure is asked for."
)
"""The same for everybody: a line that only some exports had would tell of a hold, or of a case that is hidden."""

DECIDED: Final = {
    "person": "fields, registered, changed",
    "choice": "choices",
    "ledger_person": "received",
    "legal_case": "received, unless hidden",
    "acceptance": "acceptances",
    "policy_notice": "policy_notices",
    "outbox_item": "messages",
    "outbox_delivery": "left out: attempts to deliver `messages`",
    "policy_fan_out": "left out: how far telling everybody has come; `person` is a place, not a person",
    "person_request": "requests",
    "person_request_event": "requests",
    "blind_index": "left out: keyed digests of values that are shown",
    "unique_number": "left out: a keyed digest of the customer number, which is shown",
    "erasure": "left out: only of persons of whom nothing else is held",
    "legal_hold": "left out: a hold may come with a case that the law keeps hidden; `keeping` tells everybody the same",
    "usage_event": "usage",
    "former_index": "former_values: which, and how long the digest is kept",
    "case_file": "complaints, compromises; left out: notes of investigations, and links, some to what is hidden",
    "case_file_event": "complaints: what the person was told; left out: notes",
    "credential_lock": "compromises",
    "canary": "left out: a canary is no person",
    "canary_index": "left out: a canary is no person",
    "obligation": "received: `deletion`; recipients_told; left out: the handle by which the recipient knows the person",
}
"""Every table that holds something of a person, and where it is shown or why it is not. A test walks the tables."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export.

    Attributes:
        data: canonical JSON.
        record: the version of the person's record that it shows.
        masked: whether it shows less than what is held.
    """

    data: bytes
    record: int
    masked: bool


def export(view: View, held: Held, origin: str) -> Export:
    """The export for a request.

    Financial values are whole for the privacy team, who hands the export to the person; an internal service gets them
    masked, since it is no place for card numbers (POLICY 4).

    Args:
        view: to read with.
        held: the request.
        origin: the ledger's name.

    Raises:
        SlussError: PERSON_UNKNOWN, LEDGER_INCONSISTENT; INTERNAL for a damaged record.
    """
    if held.keys is None:
        raise SlussError(Reason.PERSON_UNKNOWN)
    row = persons.active(view.connection, held.person)
    made, fields = rfc3339(view.now_us), _fields(view, row)
    received = _received(view, row.id)
    requests = of_person(view, row.id)
    found = {
        "v": VERSION,
        "type": "access",
        "made": made,
        "salt": entry.base64url(held.keys.commit_text(made, "access export")),
        "ledger": origin,
        "request": held.id,
        "person": person_text(row.id),
        "registered": rfc3339(row.created_at),
        "changed": rfc3339(row.updated_at),
        "policy": view.snapshot.policy(view.now_us),
        "fields": fields,
        "choices": holdings.choices(view, row.id),
        "acceptances": _acceptances(view, row.id),
        "policy_notices": _notices(view, row.id),
        "messages": _messages(view, row.id),
        "requests": [_request(view, each) for each in requests if each.facts.channel != CORRECTION],
        "complaints": holdings.complaints(view, row.id),
        "compromises": holdings.compromises(view, row.id),
        "usage": holdings.usage(view, row.id),
        "former_values": holdings.former(view, row.id),
        "received": following.deletions(view, received),
        "recipients_told": following.told(view, row.id, requests, received),
        "purposes": _purposes(view),
        "keeping": KEEPING,
        "rights": list(RIGHTS),
        "supervisory_authority": AUTHORITY,
    }
    return Export(entry.canonical(found), row.version, any(each["masked"] for each in fields))


def _fields(view: View, row: Any) -> list[dict[str, Any]]:
    catalogue, vault = view.snapshot.catalogue, view.snapshot.vault
    origins, whole = vault.metadata(row), view.principal.kind == "privacy"
    shown = []
    for name, value in sorted(vault.open_record(row).items()):
        masked = origins[name].financial and not whole
        field = catalogue.fields.get(name)
        shown.append(
            {
                "field": name,
                "label_en": field.label_en if field else name,
                "label_sv": field.label_sv if field else name,
                "category": str(field.category) if field else "",
                "value": mask(value.text) if masked else value.text,
                "masked": masked,
                "source": value.source,
                "collected_at": rfc3339(value.collected_at * SECOND),
            }
        )
    return shown


def _acceptances(view: View, person: int) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    before = 0
    while True:
        page, before = acceptances.history(view, person, before, PAGE)
        shown += [
            {
                "at": rfc3339(each.at),
                "version": each.version,
                "source": each.source,
                "evidence": each.evidence,
                "entry": each.entry,
            }
            for each in page
        ]
        if not before:
            return shown


def _notices(view: View, person: int) -> list[dict[str, Any]]:
    query = select(NOTICE).where(NOTICE.c.person == person).order_by(NOTICE.c.at, NOTICE.c.version)
    return [{"at": rfc3339(row.at), "version": row.version} for row in view.connection.execute(query)]


def _messages(view: View, person: int) -> list[dict[str, Any]]:
    """What the company has told the person, or is about to, by the kind; its values are those of the fields."""
    query = select(OUTBOX).where(OUTBOX.c.person == person).order_by(OUTBOX.c.id)
    return [
        {"at": rfc3339(row.at), "kind": row.kind, "settled_at": rfc3339(row.settled_at) if row.settled_at else ""}
        for row in view.connection.execute(query)
    ]


def _request(view: View, held: Held) -> dict[str, Any]:
    words = held.words
    return {
        "request": held.id,
        "kind": str(held.facts.kind),
        "state": str(held.state),
        "received": held.facts.received.isoformat(),
        "deadline": rules.deadline(held.facts).isoformat(),
        "channel": held.facts.channel,
        "identity": str(held.facts.identity),
        "asked": words.asked if words else "",
        "requester": words.requester if words else "",
        "told": words.told if words else "",
        # Who was told is said apart, as it is now: a line here would stay after a release has become secret.
        "events": [
            {"at": each.at, "event": each.event, "text": each.text}
            for each in timeline(view, held)
            if each.event != rules.Step.TELL
        ],
    }


def _received(view: View, person: int) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    after = -1
    while True:
        page = recipients.received(view, person, ALWAYS, after, PAGE)
        shown += [_row(each) for each in page]
        if len(page) < PAGE:
            return shown
        after = page[-1].index


def _row(found: Received) -> dict[str, Any]:
    said = found.said
    elsewhere = said["type"] == "release_elsewhere"
    terms = {} if elsewhere else said["terms"]
    row = {
        "at": said["released_on"] if elsewhere else said["at"],
        "kind": said["type"],
        "fields": [{"field": name, "transform": transform} for name, transform in found.fields.items()],
        "purpose": said["ground"] if elsewhere else terms["purpose"],
        "retain_until": terms.get("retain_until", ""),
        "authority": found.case.id if found.case else terms["contract"],
        "entry": found.index,
    }
    if found.case is not None:
        who = found.case.body.requester
        return row | {"recipient": who.name, "address": who.address}
    if found.terms is None:
        raise SlussError(Reason.LEDGER_INCONSISTENT, "a disclosure without a contract")
    return row | {"recipient": found.terms.recipient_name, "address": found.terms.recipient_address}


def _purposes(view: View) -> list[dict[str, Any]]:
    return [
        {
            "purpose": purpose.code,
            "label_en": purpose.label_en,
            "label_sv": purpose.label_sv,
            "class": str(purpose.kind),
            "basis": BASIS[purpose.kind],
        }
        for _, purpose in sorted(view.snapshot.catalogue.purposes.items())
    ]
