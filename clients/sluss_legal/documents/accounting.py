"""Who received a person's data (GDPR Art. 15(1)(c), 45 CFR 164.528): PDF and HTML to read, CSV and JSON to use."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluss_legal import words
from sluss_legal.cells import cell
from sluss_legal.dates import moment
from sluss_legal.documents.model import Document, Facts, Heading, Table, Text
from sluss_legal.fields import label_of, purpose_label
from sluss_legal.tongue import tongue_of
from sluss_legal.words import N_

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sluss.v1 import legal_pb2 as pb

    from sluss_legal.tongue import Tongue

KINDS: Mapping[str, str] = {
    "pdf": "application/pdf",
    "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
"""Forms, and their media types."""
_CSV_HEADS = (
    N_("When (UTC)"),
    N_("How it left"),
    N_("Recipient"),
    N_("Address"),
    N_("What"),
    N_("Purpose or ground"),
    N_("Contract or case"),
    N_("Instrument"),
    N_("Delete by"),
    N_("Entry"),
)
_HEADS = (
    N_("When (UTC)"),
    N_("Recipient"),
    N_("What"),
    N_("Purpose or ground"),
    N_("Contract or instrument"),
    N_("Delete by"),
    N_("Entry"),
)
_WIDTHS = (13, 24, 26, 20, 22, 11, 7)
_FULL = "full"


@dataclass(frozen=True)
class Accounting:
    """What an accounting is made of.

    Attributes:
        person: whose it is.
        first: first day, or empty for the beginning.
        last: last day, or empty for the day on which it was made.
        rows: in the order of the ledger.
        origin: the ledger's name.
        made: when, UTC.
    """

    person: str
    first: str
    last: str
    rows: Sequence[pb.Received]
    origin: str
    made: datetime


def accounting(kind: str, language: str, about: Accounting) -> bytes:
    """The accounting in one of `KINDS`.

    Args:
        kind: the form.
        language: `sv` or `en`.
        about: what it says.

    Raises:
        KeyError: no such form.
    """
    return _WRITERS[kind](about, tongue_of(language))


def _pdf(about: Accounting, tongue: Tongue) -> bytes:
    from sluss_legal.documents.pdf import pdf  # noqa: PLC0415 - typst is of the extra `legal`

    return pdf(document(about, tongue), about.made)


def _html(about: Accounting, tongue: Tongue) -> bytes:
    from sluss_legal.documents.html import html  # noqa: PLC0415 - jinja2 is of the extra `legal`

    return html(document(about, tongue))


def _csv(about: Accounting, tongue: Tongue) -> bytes:
    """With a byte order mark, by which spreadsheets know that it is UTF-8."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([tongue.say(head) for head in _CSV_HEADS])
    writer.writerows([[cell(text) for text in _cells(row, tongue)] for row in about.rows])
    return out.getvalue().encode("utf-8-sig")


def _json(about: Accounting, tongue: Tongue) -> bytes:
    document = {
        "person": about.person,
        "first_day": about.first,
        "last_day": about.last,
        "ledger": about.origin,
        "made": about.made.isoformat(),
        "language": tongue.language,
        "received": [item(row, tongue) for row in about.rows],
    }
    return json.dumps(document, ensure_ascii=False, indent=2).encode()


_WRITERS: Mapping[str, Callable[[Accounting, Tongue], bytes]] = {
    "pdf": _pdf,
    "html": _html,
    "csv": _csv,
    "json": _json,
}


def document(about: Accounting, tongue: Tongue) -> Document:
    """The accounting to be read by the person."""
    say = tongue.say
    until = about.last or about.made.date().isoformat()
    period = tongue.say(N_("{first} to {last}"), first=about.first or say(N_("the beginning")), last=until)
    facts = {
        say(N_("Person")): about.person,
        say(N_("Period")): period,
        say(N_("Made")): f"{about.made:%Y-%m-%d %H:%M} UTC",
        say(N_("Ledger")): about.origin,
        say(N_("Recipients")): str(len({(row.recipient_name, row.recipient_address) for row in about.rows})),
        say(N_("Times")): str(len(about.rows)),
    }
    proof = N_(
        "Each row is an entry of the ledger, which is append-only. The same accounting as JSON holds each entry with"
        " its receipt, by which anybody can check with the ledger's public key that it stands there."
    )
    return Document(
        language=tongue.language,
        title=say(N_("Accounting of disclosures")),
        lead=say(N_("Who received the data of one person: when, what, for what purpose or on which ground.")),
        blocks=[
            Facts(facts),
            Heading(say(N_("Who received what"))),
            table(about, tongue),
            Heading(say(N_("How to check it"))),
            Text(say(proof)),
        ],
        page=say(N_("Page")),
        of=say(N_("of")),
        note=f"{about.person} · {about.made:%Y-%m-%d}",
        wide=True,
    )


def table(about: Accounting, tongue: Tongue) -> Table:
    """Its rows, to be read."""
    return Table(
        columns=[tongue.say(head) for head in _HEADS],
        rows=[_shown(row, tongue) for row in about.rows],
        widths=_WIDTHS,
        empty=tongue.say(N_("Nobody received this person's data in this period.")),
        numbers=[len(_HEADS) - 1],
    )


def _shown(row: pb.Received, tongue: Tongue) -> list[str]:
    """A row to be read: what belongs together stands together."""
    cells = dict(zip(_CSV_HEADS, _cells(row, tongue), strict=True))
    return [
        moment(row.at),
        "\n".join(filter(None, (row.recipient_name, row.recipient_address))),
        cells["What"],
        "\n".join((cells["Purpose or ground"], cells["How it left"])),
        "\n".join(filter(None, (row.authority, cells["Instrument"]))),
        row.retain_until,
        str(row.entry_index),
    ]


def _cells(row: pb.Received, tongue: Tongue) -> list[str]:
    return [
        row.at,
        tongue.say(words.RECEIVED.get(row.kind, str(row.kind))),
        row.recipient_name,
        row.recipient_address,
        fields_text([(granted.field, granted.transform) for granted in row.fields], tongue),
        purpose_text(row, tongue),
        row.authority,
        instrument_text(row.instrument, tongue) if row.HasField("instrument") else "",
        row.retain_until,
        str(row.entry_index),
    ]


def field_text(field: str, transform: str, tongue: Tongue) -> str:
    """A field, with the form in which it left unless it left in full."""
    label = label_of(field, tongue.language)
    if transform in {"", _FULL}:
        return label
    return f"{label} ({tongue.say(words.TRANSFORMS.get(transform, transform))})"


def fields_text(fields: Sequence[tuple[str, str]], tongue: Tongue) -> str:
    """What left of a person, in a cell; of somebody who had none of the fields asked for, that the person is known."""
    texts = [field_text(field, transform, tongue) for field, transform in fields]
    return ", ".join(texts) or tongue.say(N_("No field; only that the person is on record"))


def purpose_text(row: pb.Received, tongue: Tongue) -> str:
    """What it was for: the ground of a release, the purpose of a disclosure."""
    if row.ground in words.GROUNDS:
        return tongue.say(words.GROUNDS[row.ground])
    return purpose_label(row.purpose, tongue.language)


def instrument_text(instrument: pb.Instrument, tongue: Tongue) -> str:
    """By what it was asked, such as `Court order B 4711-26, 2026-11-16`."""
    kind = tongue.say(words.INSTRUMENTS.get(instrument.kind, instrument.kind))
    return f"{kind} {instrument.reference}, {instrument.date}"


def item(row: pb.Received, tongue: Tongue) -> dict[str, Any]:
    """A row for programs, with its proof."""
    return {
        "at": row.at,
        "kind": words.RECEIVED_NAMES.get(row.kind, str(row.kind)),
        "recipient": row.recipient_name,
        "address": row.recipient_address,
        "fields": [{"field": granted.field, "transform": granted.transform} for granted in row.fields],
        "purpose": row.purpose,
        "purpose_text": purpose_text(row, tongue),
        "ground": words.GROUND_NAMES.get(row.ground, ""),
        "authority": row.authority,
        "instrument": _instrument(row.instrument) if row.HasField("instrument") else None,
        "retain_until": row.retain_until,
        "entry_index": row.entry_index,
        "entry": row.entry.decode("utf-8", "replace"),
        "receipt": row.receipt,
        "opening": _opening(row.opening) if row.HasField("opening") else None,
    }


def _instrument(instrument: pb.Instrument) -> dict[str, str]:
    return {"kind": instrument.kind, "reference": instrument.reference, "date": instrument.date}


def _opening(opening: pb.Opening) -> dict[str, str]:
    """What opens the commitment of an entry that was hidden; the salt in hexadecimal."""
    return {
        "sealed_entry": opening.sealed_entry.decode("utf-8", "replace"),
        "salt": opening.salt.hex(),
        "entry": opening.entry.decode("utf-8", "replace"),
    }
