"""Value types: what a field's text may be, its one normal form, and its masked form for reports. Pure.

    validate("iban", "se45 5000 0000 0583 9825 7466") -> "SE4550000000058398257466"
    validate("email", "j.doe@")                       -> SlussError(INVALID_VALUE, why="not_an_email")

An error names what is wrong, never the value (DESIGN promise 5).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from broker.codes import COUNTRIES, CURRENCIES, IBAN_LENGTHS
from broker.errors import Reason, SlussError
from broker.plain_text import MAX_LENGTH, Unfit, plain

_YEARS: Final = range(1850, 2200)


def validate(type: str, text: str, *, field: str = "", max_length: int = MAX_LENGTH) -> str:  # noqa: A002 - its name in the catalogue
    """Check `text` against a value type and bring it into its normal form.

    Args:
        type: a name from `TYPES`.
        text: the value as it was given.
        field: the field's name, for the error's metadata.
        max_length: the most characters that the normal form may have.

    Returns:
        The normal form; `validate` of it gives the same again.

    Raises:
        SlussError: INVALID_VALUE with `field` and `why`; INVALID_TERMS for an unknown type.
    """
    check = TYPES.get(type)
    if check is None:
        raise SlussError(Reason.INVALID_TERMS, f"unknown value type {type!r}", field=field)
    try:
        return _bounded(check(plain(text)), max_length)
    except Unfit as unfit:
        what = f"{field}: {unfit.text}" if field else unfit.text
        raise SlussError(Reason.INVALID_VALUE, what, field=field, why=unfit.why) from None


def _bounded(value: str, max_length: int) -> str:
    if len(value) > max_length:
        raise Unfit("too_long", f"longer than {max_length} characters")
    return value


# --- identity and contact -------------------------------------------------------------------------


def _text(text: str) -> str:
    return text


def _name(text: str) -> str:
    if not any(map(str.isalpha, text)):
        raise Unfit("not_a_name", "a name has letters")
    return text if "  " not in text and text.isascii() else " ".join(text.split())


_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_ASCII_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])",
    re.ASCII,
)


def _email(text: str) -> str:
    """RFC 5321 mailbox without quoted local parts; the domain in lower case and A-labels (RFC 5890)."""
    local, at, domain = text.rpartition("@")
    if not at or not 1 <= len(local) <= 64 or len(text) > 254:  # noqa: PLR2004 - RFC 5321, 4.5.3.1
        raise Unfit("not_an_email", "not an e-mail address")
    value = f"{local}@{domain}"
    if not _ASCII_EMAIL.fullmatch(value):
        value = f"{_local_part(local)}@{_domain(domain)}"
    if len(value) > 254:  # noqa: PLR2004 - RFC 5321, 4.5.3.1
        raise Unfit("not_an_email", "not an e-mail address: too long")
    return value


def _local_part(text: str) -> str:
    ascii_shape = "".join(c if c.isascii() else "a" for c in text)
    letters = all(c.isascii() or c.isalnum() or unicodedata.combining(c) for c in text)
    if not (letters and _LOCAL.fullmatch(ascii_shape)):
        raise Unfit("not_an_email", "not an e-mail address: the part before the @")
    return text


def _domain(text: str) -> str:
    labels = [_a_label(label) for label in text.lower().split(".")]
    top = labels[-1]
    if len(labels) < 2 or len(top) < 2 or not top[0].isalpha():  # noqa: PLR2004 - two labels, two letters
        raise Unfit("not_an_email", "not an e-mail address: the domain")
    return ".".join(labels)


def _a_label(label: str) -> str:
    if not label.isascii():
        label = unicodedata.normalize("NFC", label)
        if not all(c.isalnum() or c == "-" or unicodedata.category(c).startswith("M") for c in label):
            raise Unfit("not_an_email", "not an e-mail address: the domain")
        label = "xn--" + label.encode("punycode").decode("ascii")
    if len(label) > 63 or not _LABEL.fullmatch(label):  # noqa: PLR2004 - RFC 1035, 2.3.4
        raise Unfit("not_an_email", "not an e-mail address: the domain")
    return label


_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_PHONE_FILLERS = str.maketrans("", "", " -./()\u00a0\u2007\u2009\u2010\u2011\u2012\u2013\u202f")


def _phone(text: str) -> str:
    """E.164 (ITU-T): a plus, then 7 to 15 digits. A national number needs its country, which intake adds."""
    if _E164.fullmatch(text):
        return text
    digits = text.removeprefix("tel:").replace("(0)", "").translate(_PHONE_FILLERS)
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    if not digits.startswith("+"):
        raise Unfit("national_number", "a telephone number without its country code (+46 ...)")
    if not _E164.fullmatch(digits):
        raise Unfit("not_a_phone_number", "not a telephone number: + and 7 to 15 digits")
    return digits


_POSTAL = re.compile(r"[A-Z0-9][A-Z0-9 -]{1,9}", re.ASCII)


def _postal_code(text: str) -> str:
    code = " ".join(text.upper().split())
    if not _POSTAL.fullmatch(code) or code[-1] in " -":
        raise Unfit("not_a_postal_code", "not a postal code")
    return code


def _country(text: str) -> str:
    code = text.upper()
    if code not in COUNTRIES:
        raise Unfit("unknown_country", "not an ISO 3166-1 alpha-2 country code")
    return code


_LANGUAGE = re.compile(r"([a-z]{2,3})(?:-([a-z]{4}))?(?:-([a-z]{2}|[0-9]{3}))?", re.ASCII)


def _language(text: str) -> str:
    """BCP 47: language, script, region, in their customary case."""
    match = _LANGUAGE.fullmatch(text.lower().replace("_", "-"))
    if match is None:
        raise Unfit("not_a_language", "not a language tag (sv, en-GB, zh-Hant-TW)")
    language, script, region = match.groups()
    return "-".join(filter(None, (language, script and script.title(), region and region.upper())))


# --- money ----------------------------------------------------------------------------------------

_SEPARATORS = str.maketrans("", "", " -\u00a0\u202f")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", re.ASCII)
_BIC = re.compile(r"[A-Z0-9]{4}([A-Z]{2})[A-Z0-9]{2}([A-Z0-9]{3})?", re.ASCII)
_CARD = re.compile(r"[0-9]{12,19}", re.ASCII)


def iban_remainder(iban: str) -> int:
    """ISO 7064 mod 97-10 of an IBAN in upper case: 1 when its check digits are right."""
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97


def _iban(text: str) -> str:
    """ISO 13616: the country's length, and check digits by ISO 7064 mod 97-10."""
    iban = text.translate(_SEPARATORS).upper()
    if not _IBAN.fullmatch(iban):
        raise Unfit("not_an_iban", "not an IBAN")
    if IBAN_LENGTHS.get(iban[:2]) != len(iban):
        raise Unfit("iban_length", "not the length that an IBAN of its country has")
    if iban_remainder(iban) != 1 or not 2 <= int(iban[2:4]) <= 98:  # noqa: PLR2004 - ISO 7064 mod 97-10
        raise Unfit("iban_check_digits", "the IBAN's check digits are wrong")
    return iban


def _bic(text: str) -> str:
    """ISO 9362, 8 or 11 characters."""
    bic = text.upper().replace(" ", "")
    match = _BIC.fullmatch(bic)
    if match is None or (match[1] not in COUNTRIES and match[1] != "XK"):
        raise Unfit("not_a_bic", "not a BIC")
    return bic


_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def luhn(digits: str) -> int:
    """The Luhn sum modulo 10 (ISO/IEC 7812-1): 0 when the last digit is the right check digit."""
    numbers = [int(c) for c in reversed(digits)]
    return (sum(numbers[0::2]) + sum(_DOUBLED[n] for n in numbers[1::2])) % 10


def _card_number(text: str) -> str:
    number = text.translate(_SEPARATORS)
    if not _CARD.fullmatch(number):
        raise Unfit("not_a_card_number", "a card number has 12 to 19 digits")
    if luhn(number) or not number.strip("0"):
        raise Unfit("card_check_digit", "the card number's check digit is wrong")
    return number


_EXPIRY = re.compile(r"(?:(20[0-9]{2})-(0[1-9]|1[0-2])|(0[1-9]|1[0-2]) ?/ ?(?:20)?([0-9]{2}))", re.ASCII)


def _card_expiry(text: str) -> str:
    match = _EXPIRY.fullmatch(text)
    if match is None:
        raise Unfit("not_an_expiry", "not a card's expiry (YYYY-MM or MM/YY)")
    year, month, short_month, short_year = match.groups()
    return f"{year}-{month}" if year else f"20{short_year}-{short_month}"


def _currency(text: str) -> str:
    code = text.upper()
    if code not in CURRENCIES:
        raise Unfit("unknown_currency", "not an ISO 4217 currency code")
    return code


# --- numbers and times ----------------------------------------------------------------------------

_DECIMAL = re.compile(r"(-?)0*([0-9]{1,15})(?:\.([0-9]{1,6}))?", re.ASCII)
_INTEGER = re.compile(r"(-?)0*([0-9]{1,15})", re.ASCII)
_DATE = re.compile(r"([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})", re.ASCII)
_DATETIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


def _decimal(text: str) -> str:
    """Up to 15 digits, a point, up to 6 digits; the digits after the point stay as they were given."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise Unfit("not_a_number", "not a decimal number (1234.50)")
    sign, whole, fraction = match.groups()
    if not (whole + (fraction or "")).strip("0"):
        sign = ""
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def _integer(text: str) -> str:
    match = _INTEGER.fullmatch(text)
    if match is None:
        raise Unfit("not_a_number", "not a whole number")
    return match[2] if match[2] == "0" else match[1] + match[2]


def _duration_s(text: str) -> str:
    value = _integer(text)
    if value.startswith("-") or len(value) > 10:  # noqa: PLR2004 - three centuries
        raise Unfit("not_a_duration", "not a duration in whole seconds")
    return value


def _year(text: str) -> str:
    if len(text) != 4 or not (text.isascii() and text.isdigit()) or int(text) not in _YEARS:  # noqa: PLR2004 - YYYY
        raise Unfit("not_a_year", "not a year (1850 to 2199)")
    return text


def _date(text: str) -> str:
    """ISO 8601, YYYY-MM-DD or YYYYMMDD; other orders of day and month are intake's to translate."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise Unfit("not_a_date", "not a date (YYYY-MM-DD)")
    try:
        day = date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        raise Unfit("not_a_date", "no such day in the calendar") from None
    if day.year not in _YEARS:
        raise Unfit("not_a_date", "a date outside 1850 to 2199")
    return day.isoformat()


def _datetime(text: str) -> str:
    """RFC 3339 with an offset, given back in UTC with microseconds."""
    if not _DATETIME.fullmatch(text):
        raise Unfit("not_a_time", "not a time with its offset (RFC 3339)")
    try:
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unfit("not_a_time", "no such moment in the calendar") from None
    if moment.year not in _YEARS:
        raise Unfit("not_a_time", "a time outside 1850 to 2199")
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- technical ------------------------------------------------------------------------------------

_TOKEN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{3,127}", re.ASCII)
_TRUE, _FALSE = frozenset({"true", "yes", "1", "ja", "y"}), frozenset({"false", "no", "0", "nej", "n"})


def _ip(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Unfit("not_an_ip", "not an IP address") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise Unfit("not_an_ip", "an IP address with a zone")
        return str(address.ipv4_mapped or address)
    return str(address)


def _url(text: str) -> str:
    """An http or https address with a host, without user name and password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Unfit("not_a_url", "not a web address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in text:
        raise Unfit("not_a_url", "not a web address")
    if parts.username is not None or parts.password is not None:
        raise Unfit("url_with_credentials", "a web address with a user name or a password")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts._replace(netloc=host if port is None else f"{host}:{port}").geturl()


def _boolean(text: str) -> str:
    word = text.lower()
    if word in _TRUE or word in _FALSE:
        return "true" if word in _TRUE else "false"
    raise Unfit("not_a_boolean", "neither true nor false")


def _enum(text: str) -> str:
    word = text.lower()
    if not _TOKEN.fullmatch(word):
        raise Unfit("not_a_word", "not one of the field's words")
    return word


def _device_code(text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise Unfit("not_a_code", "not a device code: 4 to 128 letters, digits and . _ : -")
    return text


TYPES: Final = MappingProxyType[str, Callable[[str], str]](
    {
        "text": _text,
        "name": _name,
        "email": _email,
        "phone": _phone,
        "iban": _iban,
        "bic": _bic,
        "card_number": _card_number,
        "card_expiry": _card_expiry,
        "date": _date,
        "year": _year,
        "datetime": _datetime,
        "country": _country,
        "postal_code": _postal_code,
        "language": _language,
        "currency": _currency,
        "decimal": _decimal,
        "integer": _integer,
        "duration_s": _duration_s,
        "ip": _ip,
        "url": _url,
        "boolean": _boolean,
        "enum": _enum,
        "device_code": _device_code,
    }
)
"""Every value type by its name in the catalogue."""

_INDEX_FILLERS = str.maketrans("", "", " -./")


def index_form(kind: str, value: str) -> str:
    """The form in which a value is looked up: case and fillers do not matter.

    Args:
        kind: `email`, `phone` or `customer_number`.
        value: a value in its type's normal form.

    Raises:
        SlussError: INVALID_REQUEST for another kind.
    """
    if kind == "email":
        return value.casefold()
    if kind == "phone":
        return value
    if kind == "customer_number":
        return value.translate(_INDEX_FILLERS).upper()
    raise SlussError(Reason.INVALID_REQUEST, f"no index of kind {kind!r}")


# --- masking --------------------------------------------------------------------------------------

_SHORT: Final = 6


def mask(text: str) -> str:
    """A value made fit for a report: recognisable to whoever holds the file, useless to anybody else.

    Shows at most the first letters of an address's two halves, or a country and the last two characters of a
    long number, or the first letter of anything else; nothing of what has under 6 characters. It has at
    most 16 characters, all visible, whatever comes in.
    """
    text = text.strip()
    if len(text) < _SHORT:
        return "***"
    local, at, domain = text.rpartition("@")
    if at:
        return f"{_letter(local)}***@{_letter(domain)}***"
    digits = sum(map(str.isdigit, text))
    if digits * 2 > len(text):
        country = text[:2].upper() if text[:2].isascii() and text[:2].isalpha() else ""
        shown = "".join(map(_letter, text[-2:])) if digits > 9 else "**"  # noqa: PLR2004 - a date has 8
        return f"{country}** **** {shown}"
    return f"{_letter(text)}***"


def _letter(text: str) -> str:
    first = text[:1]
    return first if first.isalnum() else "*"
