"""Values of persons who do not exist, drawn from a contract's own key: whoever lacks it can't guess them. Pure.

A canary has the fields that somebody on record has, as far as they can be invented, so that it stands out by none that
it has. It has no financial values: a recipient would try to use them.
"""

from __future__ import annotations

import hmac
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from broker.data.fictitious import PHONES
from broker.data.locales import LOCALES, Locale
from broker.errors import Reason, SlussError
from broker.values import index_form

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import date

    from broker.catalogue import Catalogue, Field

T = TypeVar("T")
DRAW_LABEL: Final = b"sluss/v1 canary values\x00"
ATTEMPTS: Final = 100
"""Draws of an address or a number before there is none left."""

_NAMED: Final = frozenset(
    {"name.given", "name.family", "name.display", "customer_number", "address.street", "address.postal_code"}
    | {"address.city", "birth_date"}
)
_TYPES: Final = frozenset(
    {"email", "phone", "enum", "duration_s", "date", "datetime", "country", "language", "currency", "boolean"}
)
_COUNTS: Final = {
    "survey.satisfaction": (1, 5),
    "usage.minutes_month": (0, 400),
    "usage.conferences_month": (0, 20),
    "usage.participants": (2, 12),
    "invoice.overdue_days": (0, 1),
}
"""Whole numbers that anybody could have, from and to; of others nobody knows what is plausible."""
_FAMILY_FIRST: Final = frozenset({"CN", "JP", "VN"})
_ADULT_DAYS: Final = 18 * 366
_LIFE_DAYS: Final = 60 * 365
_YEARS_DAYS: Final = 5 * 365
_COUNTRY: Final = "address.country"
_BY_COUNTRY: Final = {locale.country: locale for locale in LOCALES}
_SCHEDULE: Final = tuple(locale for locale in LOCALES for _ in range(locale.weight))
_LATIN: Final = ("info", "kontakt", "mail", "post", "office")


@dataclass(frozen=True, slots=True)
class Template:
    """What canaries are made of; see `CanaryTemplate` in trace.proto."""

    email_domains: tuple[str, ...] = ()
    phone_patterns: tuple[str, ...] = ()
    customer_number_pattern: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """Whom a canary is to look like.

    Attributes:
        fields: that somebody on record has.
        country: where they live; empty if that is not known.
        among: fields whose values must be among these, since the contract's population asks for them.
    """

    fields: frozenset[str]
    country: str
    among: Mapping[str, frozenset[str]]


class Draw:
    """An endless row of numbers that follows from a key and a number, and from nothing else."""

    def __init__(self, key: bytes, number: int) -> None:
        self._key = key
        self._seed = DRAW_LABEL + number.to_bytes(8, "big")
        self._count = 0

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1; its bias is below 2^-90 for what is drawn here."""
        self._count += 1
        drawn = hmac.digest(self._key, self._seed + self._count.to_bytes(8, "big"), "sha256")
        return int.from_bytes(drawn[:16], "big") % limit

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def filled(self, pattern: str) -> str:
        """A pattern with a digit for each `#`."""
        return "".join(str(self.below(10)) if c == "#" else c for c in pattern)


def inventable(catalogue: Catalogue, template: Template) -> frozenset[str]:
    """The fields that canaries of this template can have."""
    return frozenset(name for name, field in catalogue.fields.items() if _can(field, template))


def _can(field: Field, template: Template) -> bool:
    if field.financial or field.forbidden:
        return False
    if field.index == "email" or field.type == "email":
        return bool(template.email_domains)
    if field.index == "customer_number":
        return bool(template.customer_number_pattern)
    return field.name in _NAMED or field.name in _COUNTS or field.type in _TYPES


def check_template(template: Template, catalogue: Catalogue) -> None:
    """Refuse domains, patterns and countries of which no value can be made.

    Raises:
        SlussError: INVALID_REQUEST with the field of the template.
    """
    draw = Draw(bytes(32), 0)
    tried = [("email_domains", "email", f"a.b@{domain}") for domain in template.email_domains]
    tried += [("phone_patterns", "phone", draw.filled(pattern)) for pattern in template.phone_patterns]
    number = template.customer_number_pattern
    tried += [("customer_number_pattern", "customer_number", draw.filled(number))] if number else []
    for name, kind, text in tried:
        for field in catalogue.indexed(kind)[:1]:
            try:
                makes = bool(index_form(kind, field.accept(text)))
            except SlussError:
                makes = False
            if not makes:
                raise _invalid(name, f"it makes no value of {field.name}")
    if template.country and template.country not in _BY_COUNTRY:
        raise _invalid("country", f"one of {', '.join(sorted(_BY_COUNTRY))}")


def invent(
    draw: Draw,
    catalogue: Catalogue,
    template: Template,
    model: Model,
    today: date,
    is_free: Callable[[str, str], bool],
) -> dict[str, str]:
    """The values of one canary, in normal form by field.

    Args:
        draw: where its values come from.
        catalogue: fields and their types.
        template: what it is made of.
        model: whom it is to look like.
        today: the latest of its dates.
        is_free: whether nobody has this value of an index (kind, value in normal form).

    Raises:
        SlussError: INVALID_REQUEST if a pattern has no free number left, or no names are known for the country: one
            with another country's name would be known for what it is.
    """
    maker = _Maker(draw, template, model, today, is_free)
    values: dict[str, str] = {}
    for name in sorted((model.fields & inventable(catalogue, template)) | model.among.keys()):
        field = catalogue.field(name)
        drawn = name in model.among and name != _COUNTRY
        text = draw.pick(sorted(model.among[name])) if drawn else maker.make(field)
        if text:
            values[name] = field.accept(text)
    return values


class _Maker:
    """Makes the values of one canary, which go with each other: one name, one country."""

    def __init__(
        self,
        draw: Draw,
        template: Template,
        model: Model,
        today: date,
        is_free: Callable[[str, str], bool],
    ) -> None:
        self._draw, self._template, self._today, self._is_free = draw, template, today, is_free
        self._locale = _locale(draw, template, model)
        self._given = draw.pick(self._locale.given)
        self._family = draw.pick(self._locale.family)
        self._named = {
            "name.given": self._given,
            "name.family": self._family,
            "name.display": self._display(),
            "address.street": draw.pick(self._locale.streets).replace("#", str(1 + draw.below(120))),
            "address.postal_code": draw.filled(self._locale.postal),
            "address.city": draw.pick(self._locale.cities),
            "birth_date": (today - timedelta(_ADULT_DAYS + draw.below(_LIFE_DAYS))).isoformat(),
        }

    def make(self, field: Field) -> str:
        """A value for a field; empty if there is none."""
        if field.index == "customer_number":
            return self._unused(field, (self._template.customer_number_pattern,), "customer_number_pattern")
        if field.name in self._named:
            return self._named[field.name]
        if field.type == "email":
            return self._email(field)
        if field.type == "phone":
            return self._phone(field)
        return self._plain(field)

    def _display(self) -> str:
        first = self._locale.country in _FAMILY_FIRST
        return f"{self._family} {self._given}" if first else f"{self._given} {self._family}"

    def _email(self, field: Field) -> str:
        local = ".".join(filter(None, (_ascii(self._given), _ascii(self._family)))) or self._draw.pick(_LATIN)
        domain = self._draw.pick(self._template.email_domains)
        patterns = (f"{local}@{domain}", f"{local}##@{domain}", f"{local}####@{domain}")
        return self._unused(field, patterns, "email_domains")

    def _phone(self, field: Field) -> str:
        patterns = self._template.phone_patterns or PHONES.get(self._locale.country, ())
        return self._unused(field, patterns, "phone_patterns") if patterns else ""

    def _unused(self, field: Field, patterns: Sequence[str], told: str) -> str:
        """Nobody's value of an index."""
        for _ in range(ATTEMPTS):
            value = field.accept(self._draw.filled(self._draw.pick(patterns)))
            if not field.index or self._is_free(field.index, value):
                return value
        raise _invalid(told, "hardly a free number is left: give others")

    def _plain(self, field: Field) -> str:
        draw = self._draw
        ago = timedelta(draw.below(_YEARS_DAYS))
        simple = {
            "country": self._locale.country,
            "language": self._locale.language,
            "currency": self._locale.currency,
            "duration_s": str(60 * (1 + draw.below(120))),
            "boolean": draw.pick(("true", "false")),
            "date": (self._today - ago).isoformat(),
            "datetime": f"{(self._today - ago).isoformat()}T{8 + draw.below(10):02d}:{draw.below(60):02d}:00Z",
        }
        if field.name in _COUNTS:
            first, last = _COUNTS[field.name]
            return str(first + draw.below(last - first + 1))
        if field.type == "enum":
            return draw.pick(field.words) if field.words else ""
        return simple.get(field.type, "")


def _locale(draw: Draw, template: Template, model: Model) -> Locale:
    asked = [template.country] if template.country else sorted(model.among.get(_COUNTRY, ()))
    known = [_BY_COUNTRY[country] for country in asked or [model.country] if country in _BY_COUNTRY]
    if asked and not known:
        named = ", ".join(sorted(_BY_COUNTRY))
        raise _invalid("country", f"no names and places are known for {', '.join(asked)}; they are for {named}")
    return draw.pick(known or _SCHEDULE)


def _ascii(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in plain if c.isascii() and c.isalnum())


def _invalid(field: str, why: str) -> SlussError:
    return SlussError(Reason.INVALID_REQUEST, f"template.{field}: {why}", field=f"template.{field}")


def left_out(granted: Collection[str], catalogue: Catalogue, template: Template) -> list[str]:
    """Granted fields that canaries of this template do not have."""
    return sorted(set(granted) - inventable(catalogue, template))
