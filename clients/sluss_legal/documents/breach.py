"""The facts for a breach notice (GDPR Art. 33(3) and 33(5)): PDF and HTML to read, JSON to use.

What the ledger knows is computed. What only people know is written by them, or stands as a place to be filled in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from broker.errors import SlussError
from broker.ledger import entry
from sluss_legal.dates import moment
from sluss_legal.documents import writers
from sluss_legal.documents.cover import ranges
from sluss_legal.documents.model import Document, Facts, Heading, Table, Text
from sluss_legal.fields import label_of, purpose_label
from sluss_legal.plain import plain
from sluss_legal.tongue import tongue_of
from sluss_legal.words import CATEGORIES, N_

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluss.v1 import compromise_pb2 as pb

    from sluss_legal.documents.model import Block
    from sluss_legal.tongue import Tongue

HOUR = timedelta(hours=1)
SUBJECTS = {
    "certificate": N_("A certificate"),
    "principal": N_("All certificates of a principal"),
    "key": N_("An encryption key"),
    "person": N_("A person's password or other credential"),
}
CUTS = {"certificate": N_("Certificate revoked"), "key": N_("Encryption key retired")}
EVENTS = {
    "reported": N_("Reported, and cut off"),
    "reinstated": N_("This report's lock on the credential ended"),
    "closed": N_("Report closed"),
}
PLACES = {
    "nature": N_(
        "To be written: what happened, how, which kinds of persons are concerned (such as customers), and whether"
        " confidentiality, integrity or availability is hit."
    ),
    "consequences": N_("To be written: what the persons concerned may suffer, and how likely that is."),
    "measures": N_("To be written: what else was done or is planned, also to soften the consequences."),
    "contact": N_("To be written: name, address and telephone of the data protection officer or another contact."),
    "delay": N_("To be written: why the authority was not notified within 72 hours (GDPR Art. 33(1))."),
}
"""What people write, and what stands there until they have."""
EXPORT = "person_request"
"""The entries by which access exports left; of the others of that type none is among the suspects."""
ACCESS = "access_export"
"""What stands in the place of an access export's purpose."""
LEFT = ("disclosure", "release", "release_elsewhere", EXPORT)


@dataclass(frozen=True)
class Written:
    """What people write; empty until they have."""

    nature: str = ""
    consequences: str = ""
    measures: str = ""
    contact: str = ""
    delay: str = ""


@dataclass(frozen=True)
class Breach:
    """What a facts sheet is made of.

    Attributes:
        facts: as the broker computed them.
        suspects: the entries of the suspect window.
        written: what people have written.
        origin: the ledger's name.
        made: when, UTC.
    """

    facts: pb.GetFactsSheetResponse
    suspects: Sequence[pb.SuspectEntry]
    written: Written
    origin: str
    made: datetime

    @property
    def late(self) -> bool:
        """Whether the 72 hours were over when it was made."""
        return self.made > datetime.fromisoformat(self.facts.report.notify_by)

    @property
    def hours_left(self) -> int:
        """Whole hours until the authority must be notified; below 0 once that is past."""
        return (datetime.fromisoformat(self.facts.report.notify_by) - self.made) // HOUR


def files(about: Breach, language: str) -> dict[str, bytes]:
    """The sheet in all its forms, by the end of the file's name."""
    said = document(about, tongue_of(language))
    return {
        "json": json.dumps(as_document(about), ensure_ascii=False, indent=2).encode(),
        f"{language}.pdf": writers.pdf(said, about.made),
        f"{language}.html": writers.html(said),
    }


def as_document(about: Breach) -> dict[str, Any]:
    """The sheet for programs; `to_be_written` names what people have still to write."""
    facts = plain(about.facts)
    facts["cut_off"] = [{"entry_index": each.entry_index, "entry": _said(each)} for each in about.facts.cut_off]
    written = {name: getattr(about.written, name) for name in _asked(about)}
    return {
        **facts,
        "hours_left": about.hours_left,
        "ledger": about.origin,
        "made": about.made.astimezone(UTC).isoformat(),
        "left": [
            {"to": to, "under": under, "purpose": purpose, "records": records, "entries": indexes}
            for (to, under, purpose), (records, indexes) in _left(about).items()
        ],
        "written": written,
        "to_be_written": [name for name, text in written.items() if not text],
    }


def document(about: Breach, tongue: Tongue) -> Document:
    """The sheet, in a language."""
    say, report = tongue.say, about.facts.report
    blocks: list[Block] = [
        Heading(say(N_("When"))),
        Facts(_when(about, tongue)),
        *_delay(about, tongue),
        Heading(say(N_("Nature of the breach"))),
        Text(_written(about, "nature", tongue)),
        Facts(_stolen(report, tongue)),
        Heading(say(N_("What is cut off"))),
        _cut_off(about, tongue),
        Heading(say(N_("Persons and data concerned"))),
        Facts(_counts(about, tongue)),
        _categories(about, tongue),
        *[Text(text) for text in _limits(about, tongue)],
        Heading(say(N_("Who received what in the suspect window"))),
        _received(about, tongue),
        Heading(say(N_("Likely consequences"))),
        Text(_written(about, "consequences", tongue)),
        Heading(say(N_("Measures taken"))),
        _measures(about, tongue),
        Text(_written(about, "measures", tongue)),
        Heading(say(N_("Contact"))),
        Text(_written(about, "contact", tongue)),
        Heading(say(N_("How this was computed"))),
        Text(say(N_("From the entries of the ledger {ledger} in the suspect window, by index. Of persons who were"
                    " erased since, nobody can tell which records were of the same one. Releases that are secret are"
                    " left out."), ledger=about.origin)),
    ]  # fmt: skip
    return Document(
        language=tongue.language,
        title=say(N_("Facts for a breach notice")),
        lead=say(N_("For the notice to the supervisory authority and the company's own record (GDPR Art. 33(3) and"
                    " 33(5)). Numbers and times are from the ledger; what stands in brackets is to be written.")),
        blocks=blocks,
        page=say(N_("Page")),
        of=say(N_("of")),
        note=f"{report.report_id} · {about.made:%Y-%m-%d %H:%M} UTC",
    )  # fmt: skip


def _asked(about: Breach) -> list[str]:
    """What people have to write; of a delay only if there is one."""
    return [name for name in PLACES if name != "delay" or about.late]


def _written(about: Breach, name: str, tongue: Tongue) -> str:
    return getattr(about.written, name) or f"[{tongue.say(PLACES[name])}]"


def _delay(about: Breach, tongue: Tongue) -> list[Block]:
    """Why the notice is late (GDPR Art. 33(1)); nothing while it is not."""
    if not about.late:
        return []
    return [Heading(tongue.say(N_("Reasons for the delay"))), Text(_written(about, "delay", tongue))]


def _when(about: Breach, tongue: Tongue) -> dict[str, str]:
    say, report = tongue.say, about.facts.report
    left = say(N_("{hours} hours"), hours=about.hours_left)
    over = say(N_("none: {hours} hours too late"), hours=-about.hours_left)
    return {
        say(N_("Report")): report.report_id,
        say(N_("Noticed")): f"{moment(report.noticed_at)} UTC",
        say(N_("Notify the authority by")): f"{moment(report.notify_by)} UTC",
        say(N_("Time left")): over if about.late else left,
        say(N_("Made")): f"{about.made:%Y-%m-%d %H:%M} UTC",
    }


def _stolen(report: pb.CompromiseReport, tongue: Tongue) -> dict[str, str]:
    say = tongue.say
    return {
        say(N_("What was stolen")): say(SUBJECTS.get(report.subject, report.subject)),
        say(N_("Whose it is")): report.principal or report.person_id,
        say(N_("How it was noticed")): report.how,
        say(N_("Suspect window")): say(
            N_("{first} to {last}"), first=moment(report.suspect_from), last=f"{moment(report.suspect_until)} UTC"
        ),
    }


def _cut_off(about: Breach, tongue: Tongue) -> Table:
    say = tongue.say
    rows = []
    for each in about.facts.cut_off:
        said = _said(each)
        what = say(CUTS.get(said.get("type", ""), ""))
        which = str(said.get("spki") or said.get("key") or "")
        rows.append((_second(str(said.get("at", ""))), what, which, str(each.entry_index)))
    first = next(iter(about.facts.measures), None)
    if about.facts.report.subject == "person" and first is not None:
        rows.append((_second(first.at), say(N_("Credential locked")), "", str(first.entry_index)))
    heads = (N_("When (UTC)"), N_("What"), N_("Which"), N_("Entry"))
    nothing = say(N_("Nothing was in force any more."))
    return Table([say(head) for head in heads], rows, (20, 24, 46, 8), nothing, (3,))


def _counts(about: Breach, tongue: Tongue) -> dict[str, str]:
    say, facts = tongue.say, about.facts
    return {
        say(N_("Persons still on record")): str(facts.persons),
        say(N_("Records")): str(facts.records),
        say(N_("Records of persons erased since")): str(facts.erased_records),
        say(N_("Persons concerned, at most")): str(facts.persons + facts.erased_records),
        say(N_("Disclosures")): str(facts.disclosures),
        **({say(N_("Of them access exports")): str(facts.exports)} if facts.exports else {}),
        say(N_("Recipients")): ", ".join(facts.recipients),
    }


def _limits(about: Breach, tongue: Tongue) -> list[str]:
    """What the numbers and categories leave open."""
    say, found = tongue.say, []
    if about.facts.exports:
        found.append(
            say(N_("An access export holds everything that was held on the person: besides the fields, choices,"
                   " messages, requests, complaints, usage, and who received what. Its fields are told as they are on"
                   " record now; of persons erased since, they are not known any more."))
        )  # fmt: skip
    if about.facts.reads_unrecorded:
        found.append(
            say(N_("Reading is not recorded: what the company's own services and teams looked up or showed in that time"
                   " is not counted here, and more may have been seen."))
        )  # fmt: skip
    return found


def _nothing(about: Breach, tongue: Tongue) -> str:
    if about.facts.reads_unrecorded:
        return tongue.say(N_("The ledger knows of no data that left in the suspect window."))
    return tongue.say(N_("No data left in the suspect window."))


def _categories(about: Breach, tongue: Tongue) -> Table:
    say = tongue.say
    rows = [
        (
            say(CATEGORIES.get(each.category, each.category)),
            ", ".join(label_of(name, tongue.language) for name in each.fields),
        )
        for each in about.facts.by_category
    ]
    heads = (N_("Category"), N_("Fields"))
    return Table([say(head) for head in heads], rows, (30, 70), _nothing(about, tongue))


def _received(about: Breach, tongue: Tongue) -> Table:
    say = tongue.say
    rows = [
        (to, under, _purpose(purpose, tongue), str(len(indexes)), str(records), ranges(indexes))
        for (to, under, purpose), (records, indexes) in _left(about).items()
    ]
    heads = (
        N_("Recipient"), N_("Contract or case"), N_("Purpose or ground"), N_("Disclosures"), N_("Records"),
        N_("Entries"),
    )  # fmt: skip
    columns = [say(head) for head in heads]
    return Table(columns, rows, (22, 16, 22, 15, 11, 14), _nothing(about, tongue), (3, 4))


def _purpose(code: str, tongue: Tongue) -> str:
    return tongue.say(N_("Access export")) if code == ACCESS else purpose_label(code, tongue.language)


def _measures(about: Breach, tongue: Tongue) -> Table:
    say = tongue.say
    rows = [
        (_second(each.at), say(EVENTS.get(each.event, each.event)), each.by, each.text, str(each.entry_index))
        for each in about.facts.measures
    ]
    heads = (N_("When (UTC)"), N_("What"), N_("By"), N_("Reason"), N_("Entry"))
    return Table([say(head) for head in heads], rows, (20, 26, 18, 28, 8), "", (4,))


def _left(about: Breach) -> dict[tuple[str, str, str], tuple[int, list[int]]]:
    """By recipient, contract or case, and purpose: records, and the entries' indexes."""
    found: dict[tuple[str, str, str], tuple[int, list[int]]] = {}
    person = about.facts.report.subject == "person"
    for each in about.suspects:
        said = _said(each)
        if said.get("type") not in LEFT:
            continue
        terms = said.get("terms", {})
        under = str(terms.get("contract") or said.get("case", ""))
        to = {"disclosure": str(terms.get("recipient", "")), EXPORT: str(said.get("by", ""))}.get(said["type"], under)
        key = (to, under, ACCESS if said["type"] == EXPORT else str(said.get("ground") or terms.get("purpose", "")))
        records, indexes = found.get(key, (0, []))
        found[key] = (records + (1 if person else each.persons), [*indexes, each.entry_index])
    return found


def _said(found: pb.SuspectEntry) -> dict[str, Any]:
    """What an entry says; nothing if this version does not know its form."""
    try:
        return dict(entry.parse(found.entry))
    except SlussError:
        return {}


def _second(text: str) -> str:
    """A time of the wire to the second."""
    return text[:19].replace("T", " ")
