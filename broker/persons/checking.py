"""Whether values and sources are what the catalogue and the ledger take. No fault repeats a value. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broker.errors import Reason, SlussError
from broker.persons.model import Fault
from broker.values import index_form, mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.catalogue import Catalogue, Field
    from broker.persons.model import Given

NUMBER: Final = "customer_number"
"""The kind of index that names one person."""

_WORD: Final = re.compile(r"[a-z][a-z0-9._:-]{0,63}", re.ASCII)
"""Starts with a letter: a telephone or customer number sent by mistake must not get into the ledger."""

_SHOWN_FAULTS: Final = 10
_ALL_MASKED: Final = "***"
_GRAVITY: Final = (Reason.FIELD_FORBIDDEN, Reason.FIELD_UNKNOWN, Reason.INVALID_VALUE)


def accept(catalogue: Catalogue, given: Iterable[Given]) -> tuple[dict[str, str], list[Fault]]:
    """The values that fit, in normal form by field, and the faults of the others, in order."""
    accepted: dict[str, str] = {}
    faults: list[Fault] = []
    seen: set[str] = set()
    for name, text in given:
        try:
            field = catalogue.field(name)
            value = field.accept(text)
            if field.index:
                _require_index(field, value)
            _require_first(name, seen)
            accepted[name] = value
        except SlussError as error:
            faults.append(_fault(error, text))
        seen.add(name)
    return accepted, faults


def require(catalogue: Catalogue, given: Iterable[Given]) -> dict[str, str]:
    """All values in normal form by field.

    Raises:
        SlussError: one for all faults together, with the first field in its metadata: FIELD_FORBIDDEN if there
            is such a one, else FIELD_UNKNOWN, else INVALID_VALUE.
    """
    accepted, faults = accept(catalogue, given)
    if faults:
        raise _refused(faults)
    return accepted


def number_field(catalogue: Catalogue) -> str:
    """The name of the field that holds the customer number, whether the catalogue has one or not."""
    return next((field.name for field in catalogue.indexed(NUMBER)), NUMBER)


def no_number(catalogue: Catalogue) -> Fault:
    """The fault of a row that names nobody."""
    name = number_field(catalogue)
    return Fault(name, Reason.INVALID_VALUE, f"{name}: a row without it names no person", "")


def number_twice(catalogue: Catalogue, number: str) -> Fault:
    """The fault of a row that names a person whom an earlier one names: nobody can tell which of them is right."""
    name = number_field(catalogue)
    return Fault(name, Reason.INVALID_VALUE, f"{name}: it stands twice in this batch", mask(number))


def check_source(source: str) -> None:
    """Refuse a source that is not a word: it stands in the ledger.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    check_word(source, "source")


def check_word(text: str, field: str) -> None:
    """Refuse what is not a word: it stands in the ledger.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not _WORD.fullmatch(text):
        raise SlussError(Reason.INVALID_REQUEST, f"{field}: a letter, then up to 63 of a-z 0-9 . _ : -", field=field)


def _require_first(name: str, seen: set[str]) -> None:
    if name in seen:
        raise SlussError(Reason.INVALID_VALUE, f"{name}: given twice", field=name)


def _require_index(field: Field, value: str) -> None:
    """A number of fillers only would be everybody's."""
    if not index_form(field.index, value):
        raise SlussError(Reason.INVALID_VALUE, f"{field.name}: neither a letter nor a digit", field=field.name)


def _fault(error: SlussError, text: str) -> Fault:
    masked = _ALL_MASKED if error.reason is Reason.FIELD_FORBIDDEN else mask(text)
    return Fault(error.metadata["field"], error.reason, error.detail, masked)


def _refused(faults: Sequence[Fault]) -> SlussError:
    reason = min((fault.reason for fault in faults), key=_GRAVITY.index)
    first = next(fault for fault in faults if fault.reason is reason)
    details = [first.detail, *(fault.detail for fault in faults if fault is not first)]
    more = len(details) - _SHOWN_FAULTS
    text = "; ".join(details[:_SHOWN_FAULTS]) + (f"; and {more} more" if more > 0 else "")
    return SlussError(reason, text, field=first.field, faults=str(len(faults)))
