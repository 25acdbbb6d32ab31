"""TraceService: protos to what is asked, and answers to protos."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sluss.v1 import person_pb2, trace_pb2

from broker import free_text
from broker.clock import micros, rfc3339
from broker.errors import SlussError, invalid
from broker.ids import parse_request_id, person_text
from broker.tracing.canaries import MAX_PLANTED, Planting, Retiring
from broker.tracing.invention import Template
from broker.tracing.likelihood import ELSEWHERE_PPM, MILLION, NOISE_PPM, Assumptions
from broker.tracing.model import FOREVER_US, MAX_ROWS_SENT, MAX_VALUES, Leaked, Status, Tracing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.tracing.canaries import Shown
    from broker.tracing.model import Recipient, Source, Summary, Traced

MAX_REASON: Final = 500
MAX_LISTED: Final = 20
MAX_TEXT: Final = 4096
MAX_PATTERN: Final = 254
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.([0-9]{1,6}))?Z")
_STATUSES: Final = {
    Status.RECEIVED: trace_pb2.TracedValue.STATUS_RECEIVED,
    Status.NOT_DISCLOSED: trace_pb2.TracedValue.STATUS_NOT_DISCLOSED,
    Status.DIFFERS: trace_pb2.TracedValue.STATUS_DIFFERS,
    Status.UNKNOWN: trace_pb2.TracedValue.STATUS_UNKNOWN,
    Status.UNREADABLE: trace_pb2.TracedValue.STATUS_UNREADABLE,
}


def tracing(message: trace_pb2.TraceHeader) -> Tracing:
    """What a trace is made for.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    before = _time(message.leaked_before, "leaked_before") if message.leaked_before else FOREVER_US
    noise = _share(message.noise_ppm, NOISE_PPM, "noise_ppm")
    elsewhere = _share(message.elsewhere_ppm, ELSEWHERE_PPM, "elsewhere_ppm")
    return Tracing(free_text.reason(message.reason, most=MAX_REASON), before, Assumptions(noise, elsewhere))


def leaked(messages: Sequence[trace_pb2.LeakedRow], first: int) -> list[Leaked]:
    """Rows of a list, the first of which is number `first`.

    Raises:
        SlussError: INVALID_REQUEST, naming the row and never what is in it.
    """
    if len(messages) > MAX_ROWS_SENT:
        raise invalid("rows", f"at most {MAX_ROWS_SENT:,} in one message")
    return [_row(message, first + place) for place, message in enumerate(messages)]


def _row(message: trace_pb2.LeakedRow, row: int) -> Leaked:
    if not 1 <= len(message.values) <= MAX_VALUES:
        raise invalid("rows", f"row {row}: 1 to {MAX_VALUES} values")
    values = [(value.field, value.value.strip()) for value in message.values]
    if len({name for name, _ in values}) < len(values):
        raise invalid("rows", f"row {row}: a field stands there twice")
    if not all(1 <= len(text) <= MAX_TEXT for _, text in values):
        raise invalid("rows", f"row {row}: a value has 1 to {MAX_TEXT:,} characters")
    return Leaked(row, values)


def planting(message: trace_pb2.PlantCanariesRequest) -> Planting:
    """The canaries to plant.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not 1 <= message.count <= MAX_PLANTED:
        raise invalid("count", f"1 to {MAX_PLANTED}")
    return Planting(
        parse_request_id(message.request_id),
        message.contract_id,
        message.count,
        Template(
            _listed(message.template.email_domains, "email_domains"),
            _listed(message.template.phone_patterns, "phone_patterns"),
            _pattern(message.template.customer_number_pattern, "customer_number_pattern"),
            message.template.country.upper(),
        ),
        free_text.reason(message.reason, most=MAX_REASON),
    )


def retiring(message: trace_pb2.RetireCanariesRequest) -> Retiring:
    """The canaries to retire.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if len(message.numbers) > MAX_PLANTED or len(set(message.numbers)) < len(message.numbers):
        raise invalid("numbers", f"up to {MAX_PLANTED}, each once")
    return Retiring(
        parse_request_id(message.request_id),
        message.contract_id,
        tuple(message.numbers),
        free_text.reason(message.reason, most=MAX_REASON),
    )


def _listed(texts: Sequence[str], field: str) -> tuple[str, ...]:
    if len(texts) > MAX_LISTED:
        raise invalid(f"template.{field}", f"up to {MAX_LISTED}")
    if not all(texts):
        raise invalid(f"template.{field}", "an empty one")
    return tuple(_pattern(text, field) for text in texts)


def _pattern(text: str, field: str) -> str:
    if len(text) > MAX_PATTERN or not text.isprintable():
        raise invalid(f"template.{field}", f"up to {MAX_PATTERN} printable characters")
    return text.strip()


def _share(ppm: int, default: int, field: str) -> float:
    if ppm >= MILLION:
        raise invalid(field, f"up to {MILLION - 1:,}, in millionths")
    return (ppm or default) / MILLION


def _time(text: str, field: str) -> int:
    """Microseconds since 1970 UTC of an RFC 3339 time in UTC, with up to six decimals."""
    match = _TIME.fullmatch(text)
    try:
        if match:
            return micros(f"{text[:19]}.{match[1] or '':0<6}Z")
    except SlussError:
        pass
    raise invalid(field, "a time in UTC (RFC 3339), such as 2026-11-23T22:33:57Z")


def canary(shown: Shown, *, values: bool) -> trace_pb2.Canary:
    """A canary."""
    return trace_pb2.Canary(
        contract_id=shown.contract,
        number=shown.number,
        handle=shown.handle,
        planted_at=rfc3339(shown.planted_at),
        retired_at=rfc3339(shown.retired_at) if shown.retired_at else "",
        intact=shown.intact,
        values=[person_pb2.FieldValue(field=name, value=text) for name, text in sorted(shown.values.items())]
        if values
        else [],
    )


class Places:
    """The places in a summary of the sources that a mask names; rows of a list share few masks."""

    def __init__(self, found: Summary) -> None:
        self._order = found.order
        self._known: dict[int, list[int]] = {}

    def of(self, mask: int) -> list[int]:
        """In order."""
        if mask not in self._known:
            self._known[mask] = [place for place, bit in enumerate(self._order) if mask >> bit & 1]
        return self._known[mask]


def summary(found: Summary) -> trace_pb2.TraceSummary:
    """The summary."""
    return trace_pb2.TraceSummary(
        entry_index=found.entry,
        rows=found.rows,
        values=found.values,
        found=found.found,
        received=found.received,
        canaries=found.canaries,
        canaries_undisclosed=found.canaries_undisclosed,
        persons=found.persons,
        sources=[_source(found.sources[bit]) for bit in found.order],
        recipients=[_recipient(each) for each in found.recipients],
        likelihood_elsewhere_ppm=_ppm(found.elsewhere),
        noise_ppm=round(found.assumed.noise * MILLION),
        elsewhere_ppm=round(found.assumed.elsewhere * MILLION),
    )


def _ppm(chance: float) -> int:
    """A chance in millionths; nothing is told as certain."""
    return min(max(round(chance * MILLION), 1), MILLION - 1) if chance else 0


def _source(source: Source) -> trace_pb2.TraceSource:
    return trace_pb2.TraceSource(
        contract_id=source.contract,
        case_id=source.case,
        recipient=source.recipient,
        recipient_name=source.name,
        rows=source.rows,
        rows_partly=source.rows_partly,
        values=source.values,
        canaries=source.canaries,
        held=source.held,
        held_estimated=source.estimated,
        forms=[
            trace_pb2.TraceForm(field=field, transform=transform, values=count)
            for (field, transform), count in sorted(source.forms.items())
        ],
        first_at=rfc3339(source.first_at),
        last_at=rfc3339(source.last_at),
        retain_until=source.retain_until,
        likelihood_ppm=_ppm(source.likelihood),
    )


def _recipient(found: Recipient) -> trace_pb2.TraceRecipient:
    return trace_pb2.TraceRecipient(
        recipient=found.name, rows=found.rows, everything=found.everything, likelihood_ppm=_ppm(found.likelihood)
    )


def traced(row: Traced, places: Places) -> trace_pb2.TracedRow:
    """A row. A canary's id is nobody's to know."""
    return trace_pb2.TracedRow(
        row=row.row,
        person_ids=[] if row.canary else [person_text(person) for person in row.persons],
        canary=row.canary,
        values=[
            trace_pb2.TracedValue(
                field=field,
                status=_STATUSES[status],
                sources=places.of(mask),
                former=former,
            )
            for field, status, mask, former in row.values
        ],
    )


def header_missing() -> SlussError:
    """The refusal of a trace that does not begin with its header."""
    return invalid("header", "needed in the first message")


def header_again() -> SlussError:
    """The refusal of a second header."""
    return invalid("header", "in the first message only")
