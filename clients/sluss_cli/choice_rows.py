"""From a row of a preference list to the choices that it makes: words, channels, times and numbers put in form. Pure.

A time without a zone is one of the list's zone. Of a day alone nobody knows the order in which things were said on it:
a no counts as of the day's end, a yes as of its beginning, so that in doubt the no stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from sluss.v1 import choice_pb2 as pb

from broker.channels import CHANNELS
from broker.intake.convert import day_reader, international
from broker.intake.faults import Fault, Record
from broker.values import mask
from sluss_cli.choice_mapping import COLUMNS, KEYS
from sluss_cli.row_file import spreadsheet_cell
from sluss_cli.values import CHOICES, is_utf8, parse_channels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluss_cli.choice_mapping import Column, ListMapping

_MOMENT: Final = re.compile(
    r"(?P<day>[0-9./-]+)"
    r"(?:(?:[Tt]|[ \u00a0]+)(?P<hour>[0-9]{1,2})[:.](?P<minute>[0-9]{2})"
    r"(?:[:.](?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,6}))?)?[ ]?(?P<zone>[Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_SPLIT: Final = re.compile(r"[\s,;/+&]+")
_DEFAULTS: Final = {"medium": "list", "source": "import"}


class _Wrong(Exception):  # noqa: N818 - what is wrong with a cell; its row is told as faulty
    """The column as the file or this command calls it, why, and the cell."""


@dataclass(frozen=True)
class Reader:
    """Reads the rows of one list.

    Attributes:
        mapping: which column says what.
        given: what is said once for every row that does not say it, by column.
        country: of telephone numbers without a country code.
        zone: of times that name none; empty if none is known.
        as_of: when the list was true: nothing in it was said later.
    """

    mapping: ListMapping
    given: Mapping[str, str]
    country: str
    zone: str
    as_of: datetime

    def read(self, record: Record) -> tuple[list[pb.ChoiceRow], list[Fault]]:
        """The choices of a row, as the broker takes them, and what is wrong with it; both empty if it makes none."""
        if record.problem:
            return [], [Fault(record.line, "", record.problem)]
        if not all(is_utf8(cell) for cell in record.columns.values()):
            return [], [Fault(record.line, "", "encoding: not UTF-8 text")]
        cells = {name: _plain(cell).strip() for name, cell in record.columns.items()}
        rows, faults = [], []
        for header in self.mapping.headers("state") or [""]:
            try:
                row = self._row(cells, header)
            except _Wrong as wrong:
                column, why, cell = wrong.args
                faults.append(Fault(record.line, column, why, mask(cell) if cell else ""))
            else:
                rows += [row] if row is not None else []
        return rows, faults

    def _row(self, cells: Mapping[str, str], header: str) -> pb.ChoiceRow | None:
        column = self.mapping.columns.get(header)
        state = self._state(cells, header, column)
        if not state:
            return None
        said = {
            each.column: cells[name]
            for name, each in self.mapping.columns.items()
            if each.column != "state" and cells.get(name)
        }
        keys = [name for name in KEYS if said.get(name)]
        if len(keys) != 1:
            raise _Wrong("", f"exactly one of {', '.join(KEYS)} is needed", "")
        name, key = keys[0], said[keys[0]]
        texts = {name: said.get(name) or self.given.get(name) or _DEFAULTS.get(name, "") for name in COLUMNS}
        purpose = column.purpose if column else ""
        choice = pb.ChoiceMade(
            purpose=purpose or self._worded("purpose", said) or self.given.get("purpose", ""),
            state=CHOICES[state],
            channels=self._channels(column, said),
            medium=texts["medium"],
        )
        row = pb.ChoiceRow(
            choice=choice,
            source=texts["source"],
            evidence=texts["evidence"],
            chosen_at=self._moment(said.get("chosen_at", ""), state),
        )
        setattr(row, KEYS[name], international(key, self.country) if name == "phone" else key)
        return row

    def _state(self, cells: Mapping[str, str], header: str, column: Column | None) -> str:
        """`in` or `out`; nothing for a row that makes no choice there."""
        cell = cells.get(header, "")
        if column is None or not cell:
            if column is not None and (column.purpose or column.channels):
                return ""  # one of several choices of the row, and not made
            if not self.given.get("state"):
                raise _Wrong(header, "a choice is `in` or `out`: it says neither", "")
            return self.given["state"]
        if column.words:
            if cell.casefold() not in column.words:
                raise _Wrong(header, f"none of the mapping's words: {', '.join(column.words)}", cell)
            return column.words[cell.casefold()]
        if cell.lower() not in CHOICES:
            why = "a choice is `in` or `out`; other words, such as ja and nej, need a mapping: see --guess"
            raise _Wrong(header, why, cell)
        return cell.lower()

    def _worded(self, name: str, said: Mapping[str, str]) -> str:
        """A cell, or what the mapping has for it."""
        cell = said.get(name, "")
        words = self.mapping.columns[self.mapping.headers(name)[0]].words if cell else {}
        if not words:
            return cell
        # What is a purpose's code or a list of channels already needs no word.
        return words.get(cell.casefold(), cell)

    def _channels(self, column: Column | None, said: Mapping[str, str]) -> list[str]:
        if column is not None and column.channels:
            return parse_channels(column.channels)
        cell = said.get("channels", "")
        if not cell:
            return parse_channels(self.given.get("channels", ""))
        header = self.mapping.headers("channels")[0]
        words = self.mapping.columns[header].words
        if cell.casefold() in words:
            return parse_channels(words[cell.casefold()])
        found = []
        for part in filter(None, _SPLIT.split(cell)):
            meant = words.get(part.casefold(), part.lower())
            if meant not in CHANNELS:
                raise _Wrong(header, f"channels are {', '.join(CHANNELS)}, or the mapping's words for them", cell)
            found.append(meant)
        return list(dict.fromkeys(found))

    def _moment(self, cell: str, state: str) -> str:
        """RFC 3339, in UTC; empty if the row does not say."""
        if not cell:
            return ""
        header = self.mapping.headers("chosen_at")[0]
        order = self.mapping.columns[header].date
        found = _MOMENT.fullmatch(cell)
        day = day_reader(order or "YYYY-MM-DD")(found["day"]) if found else ""
        try:
            said = datetime.fromisoformat(day)
            clock = _clock(found) if found else None
            moment = self._placed(said, clock, found["zone"] if found else "", state)
            return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        except _NoZoneError:
            why = "a time without a zone: say it once, --zone Europe/Stockholm or `zone` of the mapping"
            raise _Wrong(header, why, cell) from None
        except (ValueError, OverflowError):
            shape = order or "2026-11-02"
            why = f"no time: {shape}, {shape} 10:15, or RFC 3339 such as 2026-11-02T10:15:00+01:00"
            raise _Wrong(header, why, cell) from None

    def _placed(self, day: datetime, clock: time | None, zone: str | None, state: str) -> datetime:
        """The moment that is meant by a day, a time of it and a zone."""
        if zone:
            text = "+00:00" if zone in "Zz" else zone
            return datetime.fromisoformat(f"{day:%Y-%m-%d}T{clock or time()}{text}")
        if not self.zone:
            raise _NoZoneError
        place, late = ZoneInfo(self.zone), state == "out"
        if clock is not None:
            # An hour that there is twice, in autumn, is read with the same caution as a day.
            return datetime.combine(day, clock, place).replace(fold=int(late))
        first = datetime.combine(day, time(), place)
        last = datetime.combine(day, time.max, place)
        return min(last, max(first, self.as_of)) if late else first


class _NoZoneError(Exception):
    """A time that could be any of a day's length."""


def _clock(found: re.Match[str]) -> time | None:
    """The time of day; None for a day alone."""
    if found["hour"] is None:
        return None
    fraction = int(f"{found['fraction'] or 0:0<6}")
    return time(int(found["hour"]), int(found["minute"]), int(found["second"] or 0), fraction)


def _plain(cell: str) -> str:
    """A cell as it was before a spreadsheet was kept from running it."""
    return cell[1:] if cell.startswith("'") and spreadsheet_cell(cell[1:]) == cell else cell
