"""The cover sheet of a release: what was released, why, under which instrument, and where it stands in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluss.v1 import legal_pb2 as pb

from sluss_legal import words
from sluss_legal.documents.accounting import field_text, instrument_text
from sluss_legal.documents.model import Document, Facts, Heading, Table, Text
from sluss_legal.words import N_

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sluss.v1 import contract_pb2

    from broker.ledger.checkpoint import Checkpoint
    from sluss_legal.tongue import Tongue


@dataclass(frozen=True)
class Cover:
    """What a cover sheet is made of.

    Attributes:
        case: the case.
        number: of the release: the case and the index of its first entry.
        released_by: who released.
        persons: how many persons' data are in it.
        indexes: of the ledger entries, ascending.
        policy: the policy version in force.
        checkpoint: the tree that the last receipt stands on.
        sealed_to: the id of the authority's key, hex; empty for a package with a passphrase.
        made: when, UTC.
    """

    case: pb.Case
    number: str
    released_by: str
    persons: int
    indexes: Sequence[int]
    policy: str
    checkpoint: Checkpoint
    sealed_to: str
    made: datetime


def document(about: Cover, tongue: Tongue) -> Document:
    """The cover sheet, in a language."""
    say, case = tongue.say, about.case
    return Document(
        language=tongue.language,
        title=tongue.say(N_("Release {number}"), number=about.number),
        lead=say(N_("Personal data released on a legal ground. Keep this sheet with the data.")),
        blocks=[
            Heading(say(N_("To whom"))),
            Facts(_requester(case.requester, tongue)),
            Heading(say(N_("Why"))),
            Facts(_why(case, tongue)),
            Heading(say(N_("What"))),
            Facts(_what(about, tongue)),
            _fields(case.scope.fields, tongue),
            Heading(say(N_("Who decided"))),
            Facts(_who(about, tongue)),
            Heading(say(N_("In the ledger"))),
            Facts(_ledger(about, tongue)),
            Heading(say(N_("What the recipient owes"))),
            *_owed(case, tongue),
        ],
        page=say(N_("Page")),
        of=say(N_("of")),
        note=f"{about.number} · {about.made:%Y-%m-%d %H:%M} UTC",
    )


def _requester(requester: pb.Requester, tongue: Tongue) -> dict[str, str]:
    say = tongue.say
    return {
        say(N_("Name")): requester.name,
        say(N_("Address")): requester.address,
        say(N_("Country")): requester.country,
        say(N_("Contact")): requester.contact,
    }


def _why(case: pb.Case, tongue: Tongue) -> dict[str, str]:
    say = tongue.say
    return {
        say(N_("Case")): case.case_id,
        say(N_("Ground")): say(words.GROUNDS.get(case.ground, str(case.ground))),
        say(N_("The company's policy")): say(words.CLAUSES.get(case.ground, "")),
        say(N_("Instrument")): instrument_text(case.instrument, tongue),
        say(N_("Received")): case.received,
    }


def _what(about: Cover, tongue: Tongue) -> dict[str, str]:
    say, scope = tongue.say, about.case.scope
    return {
        say(N_("Persons")): str(about.persons),
        say(N_("Collected")): _collected(scope, tongue),
        say(N_("Sealed to the key")): about.sealed_to,
    }


def _collected(scope: pb.Scope, tongue: Tongue) -> str:
    first, last = scope.collected_from, scope.collected_until
    if first and last:
        return tongue.say(N_("{first} to {last}"), first=first, last=last)
    if first or last:
        return tongue.say(N_("from {first}") if first else N_("until {last}"), first=first, last=last)
    return tongue.say(N_("at any time"))


def _fields(fields: Sequence[contract_pb2.FieldGrant], tongue: Tongue) -> Table:
    return Table(
        columns=[tongue.say(N_("Field")), tongue.say(N_("Name in the data"))],
        rows=[[field_text(granted.field, granted.transform, tongue), granted.field] for granted in fields],
        widths=(3, 2),
        empty="",
    )


def _who(about: Cover, tongue: Tongue) -> dict[str, str]:
    say, case = tongue.say, about.case
    emergency = case.emergency
    answer = emergency.answered_by or tongue.say(N_("nobody yet; due by {when}"), when=emergency.confirm_by)
    return {
        say(N_("Prepared by")): case.prepared_by,
        say(N_("Approved by")): case.approved_by,
        say(N_("Released by")): about.released_by,
        say(N_("Emergency release by")): emergency.released_by,
        say(N_("Confirmed by")): answer if case.HasField("emergency") else "",
    }


def _ledger(about: Cover, tongue: Tongue) -> dict[str, str]:
    say = tongue.say
    return {
        say(N_("Release number")): about.number,
        say(N_("Entries")): ranges(about.indexes),
        say(N_("Ledger")): about.checkpoint.origin,
        say(N_("Entries in the ledger")): str(about.checkpoint.size),
        say(N_("Its root")): about.checkpoint.root.hex(),
        say(N_("Policy version")): about.policy,
        say(N_("Made")): f"{about.made:%Y-%m-%d %H:%M} UTC",
    }


def _owed(case: pb.Case, tongue: Tongue) -> list[Facts | Text]:
    say = tongue.say
    passing_on = N_("Not to be passed on beyond what the law requires, and not to be used for anything but this case.")
    hidden = N_("Secret until {until}: the persons concerned are not shown this release before.")
    owed: list[Facts | Text] = [Facts({say(N_("Delete by")): case.delivery.retain_until}), Text(say(passing_on))]
    if case.secrecy.state == pb.SECRECY_STATE_HIDDEN:
        owed.append(Text(tongue.say(hidden, until=case.secrecy.until)))
    return owed


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, consecutive ones together: `3, 5-9`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
