"""An invented population: the same persons for the same seed, in many languages and scripts, streamed.

Nothing in it is anybody's: names are put together at random, e-mail domains are example.* (RFC 2606), IP addresses
are of documentation ranges (RFC 5737, RFC 3849), telephone numbers unassigned, card numbers of test ranges, banks
invented. All have the form and the check digits of the real thing, so that validation is at work.
"""

from __future__ import annotations

import csv
import unicodedata
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Final, TypeVar

from broker.catalogue import default_catalogue
from broker.data.locales import LOCALES, Locale
from broker.values import iban_remainder, luhn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

_Item = TypeVar("_Item")
Person = dict[str, str]
"""A person's values in normal form, by field name."""

_TODAY: Final = date(2026, 11, 1)
_CARDS: Final = (("411111", 16), ("555555", 16), ("378282", 15), ("601111", 16))
_DOMAINS: Final = ("example.com", "example.net", "example.org")
_PLANS: Final = ("free", "basic", "basic", "team", "team", "enterprise")
_SUBJECTS: Final = (
    "Echo on the line",
    "Invoice question",
    "Can't dial in",
    "Change of plan",
    "Recording lost",
)
_COMMENTS: Final = (
    "Good sound",
    "Bra ljud, men dyrt",
    "Zu viele E-Mails",
    "Très bien",
    "使いやすい",
    "ممتاز",
)
_BROWSERS: Final = ("Firefox 132", "Chrome 130", "Safari 18", "Edge 130")
_COMPANIES: Final = ("Exempel AB", "Muster & Söhne GmbH", "Sample Ltd", "Société Modèle", "サンプル株式会社")
_SCHEDULE: Final = tuple(locale for locale in LOCALES for _ in range(locale.weight))


def persons(count: int, seed: int = 1) -> Iterator[Person]:
    """`count` persons, in order of their customer numbers; the same for the same seed, whatever the count."""
    rng = Random(seed)  # noqa: S311 - reproducible on purpose, protects nothing
    for number in range(1, count + 1):
        yield _person(rng, number)


def _person(rng: Random, number: int) -> Person:
    locale = _pick(rng, _SCHEDULE)
    person = _identity(rng, locale, number)
    person |= _contact(rng, locale, person, number)
    person |= _account(rng, number)
    person |= _invoice(rng, locale, number)
    person |= _payment(rng, locale, person)
    person |= _technical(rng)
    return person


def _identity(rng: Random, locale: Locale, number: int) -> Person:
    given, family = _pick(rng, locale.given), _pick(rng, locale.family)
    family_first = locale.country in ("CN", "JP", "VN")
    person = {
        "customer_number": f"K-{number:07d}",
        "name.given": given,
        "name.family": family,
        "name.display": f"{family} {given}" if family_first else f"{given} {family}",
        "birth_date": (date(1940, 1, 1) + timedelta(int(rng.random() * 24800))).isoformat(),
        "language": locale.language,
    }
    if rng.random() < 0.3:  # noqa: PLR2004 - share of business customers
        person["company"] = _pick(rng, _COMPANIES)
    return person


def _contact(rng: Random, locale: Locale, person: Person, number: int) -> Person:
    local = _ascii(f"{person['name.given']}.{person['name.family']}") or "customer"
    return {
        "email": f"{local}.{number}@{_pick(rng, _DOMAINS)}",
        "phone": _filled(rng, locale.phone),
        "mobile": _filled(rng, locale.phone),
        "address.street": _pick(rng, locale.streets).replace("#", str(1 + int(rng.random() * 120))),
        "address.postal_code": _filled(rng, locale.postal),
        "address.city": _pick(rng, locale.cities),
        "address.country": locale.country,
    }


def _account(rng: Random, number: int) -> Person:
    minutes = int(rng.expovariate(1 / 180))
    account = {
        "account.id": f"A{number:08d}",
        "account.plan": _pick(rng, _PLANS),
        "account.opened": (_TODAY - timedelta(1 + int(rng.random() * 5000))).isoformat(),
        "usage.minutes_month": str(minutes),
        "usage.conferences_month": str(minutes // 30),
        "usage.last_conference": _moment(rng),
        "usage.last_duration": str(60 * int(rng.random() * 120)),
        "usage.participants": str(2 + int(rng.random() * 40)),
    }
    if rng.random() < 0.2:  # noqa: PLR2004 - share with a support case
        account["support.last_ticket"] = f"T-{int(rng.random() * 1_000_000):06d}"
        account["support.subject"] = _pick(rng, _SUBJECTS)
    if rng.random() < 0.15:  # noqa: PLR2004 - share that answered the survey
        account["survey.satisfaction"] = str(1 + int(rng.random() * 5))
        account["survey.comment"] = _pick(rng, _COMMENTS)
    return account


def _invoice(rng: Random, locale: Locale, number: int) -> Person:
    overdue = max(0, int(rng.gauss(-20, 25)))
    return {
        "invoice.last_number": f"F{number:08d}",
        "invoice.amount": f"{int(rng.expovariate(1 / 400)) + 9}.{int(rng.random() * 100):02d}",
        "invoice.currency": locale.currency,
        "invoice.due_date": (_TODAY - timedelta(overdue or -int(rng.random() * 30))).isoformat(),
        "invoice.overdue_days": str(overdue),
    }


def _payment(rng: Random, locale: Locale, person: Person) -> Person:
    payment: Person = {}
    if rng.random() < 0.7:  # noqa: PLR2004 - share that pays by card
        payment["payment.card_number"] = card_number(rng)
        payment["payment.card_holder"] = person["name.display"]
        payment["payment.card_expiry"] = f"{2027 + int(rng.random() * 5)}-{1 + int(rng.random() * 12):02d}"
    if locale.bban:
        payment["payment.iban"] = iban(locale.country, _filled(rng, locale.bban))
        payment["payment.bic"] = locale.bic
    return payment


def _technical(rng: Random) -> Person:
    technical = {
        "technical.cookie_id": f"ck-{rng.getrandbits(64):016x}",
        "technical.browser": _pick(rng, _BROWSERS),
    }
    if rng.random() < 0.25:  # noqa: PLR2004 - share on IPv6
        technical["technical.last_ip"] = f"2001:db8:{1 + rng.getrandbits(12):x}::{1 + rng.getrandbits(12):x}"
    else:
        net = _pick(rng, ("192.0.2", "198.51.100", "203.0.113"))
        technical["technical.last_ip"] = f"{net}.{1 + int(rng.random() * 254)}"
    return technical


def card_number(rng: Random) -> str:
    """A card number of a test range, with its Luhn digit."""
    start, length = _pick(rng, _CARDS)
    body = start + _filled(rng, "#" * (length - len(start) - 1))
    return body + str((10 - luhn(body + "0")) % 10)


def iban(country: str, bban: str) -> str:
    """The IBAN of an account, with its check digits."""
    return f"{country}{98 - iban_remainder(f'{country}00{bban}'):02d}{bban}"


def _pick(rng: Random, items: Sequence[_Item]) -> _Item:
    return items[int(rng.random() * len(items))]


def _filled(rng: Random, pattern: str) -> str:
    """A pattern with a digit for every `#`."""
    blanks = pattern.count("#")
    digits = iter(f"{rng.getrandbits(96) % 10**blanks:0{blanks}d}")
    return "".join([next(digits) if c == "#" else c for c in pattern])


def _moment(rng: Random) -> str:
    day = _TODAY - timedelta(int(rng.random() * 90))
    return f"{day.isoformat()}T{7 + int(rng.random() * 12):02d}:{int(rng.random() * 12) * 5:02d}:00.000000Z"


def _ascii(name: str) -> str:
    folded = unicodedata.normalize("NFKD", name.lower().replace("\u0131", "i").replace("ł", "l"))
    return "".join(c for c in folded if c.isascii() and (c.isalnum() or c == ".")).strip(".")


# --- the file -------------------------------------------------------------------------------------

FIELDS: Final = (
    "customer_number",
    "name.given",
    "name.family",
    "name.display",
    "birth_date",
    "language",
    "company",
    "email",
    "phone",
    "mobile",
    "address.street",
    "address.postal_code",
    "address.city",
    "address.country",
    "account.id",
    "account.plan",
    "account.opened",
    "usage.minutes_month",
    "usage.conferences_month",
    "usage.last_conference",
    "usage.last_duration",
    "usage.participants",
    "support.last_ticket",
    "support.subject",
    "survey.satisfaction",
    "survey.comment",
    "invoice.last_number",
    "invoice.amount",
    "invoice.currency",
    "invoice.due_date",
    "invoice.overdue_days",
    "payment.card_number",
    "payment.card_holder",
    "payment.card_expiry",
    "payment.iban",
    "payment.bic",
    "technical.last_ip",
    "technical.cookie_id",
    "technical.browser",
)
"""The columns of the file, in order; the headers are the catalogue's English labels, which `guess` knows."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault that `write_csv` planted: the line where its row starts, the field, the first word of the reason."""

    line: int
    field: str
    why: str


_FAULTS: Final[tuple[tuple[str, str, str], ...]] = (
    ("email", "not_an_email", "no-at-sign.example.com"),
    ("payment.iban", "iban_check_digits", "SE4550000000058398257467"),
    ("payment.card_number", "card_check_digit", "4111111111111112"),
    ("name.given", "control_character", "An\x07na"),
    ("name.family", "bidi_control", "Berg\u202egnal"),
    ("company", "invisible_character", "Exem\u200bpel AB"),
    ("address.street", "control_character", "Storgatan 1\nc/o Berg"),
    ("customer_number", "missing_key", ""),
    ("customer_number", "duplicate_key", "K-0000001"),
    ("address.country", "unknown_country", "Atlantis"),
    ("address.city", "too_long", "Llanfairpwllgwyngyll" * 6),
    ("birth_date", "not_a_date", "1985-02-30"),
    ("phone", "not_a_phone_number", "+46 12"),
    ("account.plan", "not_a_word", "platinum"),
    ("technical.last_ip", "not_an_ip", "203.0.113.999"),
)
"""(field, reason, value) of the faulty rows, in the order in which they are planted."""


def write_csv(path: Path, people: Iterable[Person], *, faulty: bool = False) -> list[Planted]:
    """Write persons as the company's CSV file (UTF-8, comma, one header line), streamed.

    Args:
        path: the file, replaced.
        people: what `persons` gives.
        faulty: plant one row of every documented fault, one after every fifth person, the rest at the end.

    Returns:
        What was planted, in the order of the file; empty without `faulty`.
    """
    catalogue, planted = default_catalogue(), list[Planted]()
    waiting = iter(_FAULTS if faulty else ())
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([catalogue.field(name).label_en for name in FIELDS])
        line = 2
        for number, person in enumerate(people, 1):
            writer.writerow([person.get(name, "") for name in FIELDS])
            line += 1
            if number % 5 == 0:
                line = _plant(writer.writerow, islice(waiting, 1), line, planted)
        _plant(writer.writerow, waiting, line, planted)
    return planted


def _plant(
    write: Callable[[list[str]], object],
    faults: Iterable[tuple[str, str, str]],
    line: int,
    planted: list[Planted],
) -> int:
    """Write a row per fault, otherwise good; gives the number of the next line."""
    for field, why, value in faults:
        person = next(persons(1, seed=1000 + len(planted)))
        person |= {"customer_number": f"X-{len(planted):07d}", field: value}
        write([person.get(name, "") for name in FIELDS])
        planted.append(Planted(line, field, why))
        line += 1 + value.count("\n")
    return line
