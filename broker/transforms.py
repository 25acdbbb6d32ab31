"""Transforms: what a grant lets through of a field instead of its full value. Pure.

    full          every type           the value; of financial fields for payment purposes only
    masked        every type           first letters, or the last two to four digits; `****` of most types
    last4         card, IBAN, phone,   the last four characters; `****` of what has fewer than eight
                  text
    first         name, text           the initial; `*` when the value is nothing but an initial
    year          date, datetime,      `1985`
                  card expiry
    month         date, datetime       `1985-04`
    age_band      date                 ten years of birth, `1980-1989`
    truncated_ip  ip                   its network: /24 of IPv4, /48 of IPv6
    country_only  IBAN, BIC            `SE`
    domain        e-mail               what stands after the @
    postal_area   postal code          its first two characters, at most half of them
    rounded       decimal, integer,    to ten, or to one significant digit from a hundred on
                  duration
    hashed        every type           a digest under the contract's own key, 22 characters
    presence      every type           `yes`; a field that the person has not gives nothing at all

A value comes in the normal form of its type (`values.validate`). All are deterministic and without a clock, so
that a retry reproduces the same bytes; that is why `age_band` is of birth years: an age changes on a birthday.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import unicodedata
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache, partial
from types import MappingProxyType
from typing import Final

from broker import values
from broker.errors import Reason, SlussError

HASH_LABEL: Final = b"sluss/v1 hashed\x00"
MIN_KEY: Final = 16
"""Fewest bytes of the key of `hashed`."""
MAX_OUTPUT: Final = 64
"""Most characters that a transform other than `full`, `domain` and `presence` gives."""

Transform = Callable[[str, bytes], str]
"""(value in normal form, the contract's key for `hashed`) -> what the recipient gets."""

_HIDDEN: Final = "****"
_TAIL: Final = 4


def apply(transform: str, value: str, *, type: str, key: bytes = b"") -> str:  # noqa: A002 - the catalogue's word
    """What the recipient gets of one value.

    Args:
        transform: a name from `NAMES`.
        value: the value in its type's normal form.
        type: the field's value type.
        key: the contract's own key, at least 16 bytes, for `hashed`; others ignore it.

    Raises:
        SlussError: INVALID_TERMS for an unknown transform, or one that the type has not.
    """
    return compile(transform, type)(value, key)


@cache
def compile(transform: str, type: str) -> Transform:  # noqa: A001, A002 - transforms.compile reads as re.compile does
    """The function of (value, key) for the hot path.

    Raises:
        SlussError: INVALID_TERMS for an unknown transform, or one that the type has not.
    """
    if transform not in _ALLOWED:
        raise SlussError(Reason.INVALID_TERMS, "unknown transform", transform=transform[:32])
    if type not in values.TYPES or type not in _ALLOWED[transform]:
        raise SlussError(Reason.INVALID_TERMS, f"a field of type {type} can't be {transform}", transform=transform)
    if transform == "hashed":
        return partial(_hashed, HASH_LABEL + type.encode("ascii") + b"\x00")
    if transform == "masked":
        return _unkeyed(_MASKS.get(type, values.mask))
    if transform == "country_only":
        return _unkeyed(_COUNTRY[type])
    return _unkeyed(_PLAIN[transform])


def allowed(type: str) -> frozenset[str]:  # noqa: A002 - the catalogue's word
    """The transforms that a field of this type can have; empty for an unknown type."""
    if type not in values.TYPES:
        return frozenset()
    return frozenset(name for name, types in _ALLOWED.items() if type in types)


def _unkeyed(function: Callable[[str], str]) -> Transform:
    return lambda value, _key: function(value)


def _full(value: str) -> str:
    return value


def _presence(value: str) -> str:
    return "yes" if value else "no"


def _hashed(prefix: bytes, value: str, key: bytes) -> str:
    """HMAC-SHA256 under the contract's key, cut to 128 bits: two subcontractors can't join on it."""
    if len(key) < MIN_KEY:
        raise SlussError(Reason.KEYS_UNAVAILABLE, "the contract has no key for hashed fields")
    digest = hmac.digest(key, prefix + value.encode("utf-8"), "sha256")[:16]
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _last4(value: str) -> str:
    return value[-_TAIL:] if len(value) >= 2 * _TAIL else _HIDDEN


def _first(value: str) -> str:
    """The first letter with its accents, in upper case."""
    end = 1
    while end < len(value) and unicodedata.combining(value[end]):
        end += 1
    initial = value[:end]
    return "*" if end == len(value) or not initial[0].isalpha() else initial.upper()[:4]


def _year(value: str) -> str:
    return value[:4]


def _month(value: str) -> str:
    return value[:7]


def _age_band(value: str) -> str:
    return f"{value[:3]}0-{value[:3]}9"


def _truncated_ip(value: str) -> str:
    address = ipaddress.ip_address(value)
    prefix = 24 if address.version == 4 else 48  # noqa: PLR2004 - IPv4
    return str(ipaddress.ip_network(f"{value}/{prefix}", strict=False))


def _iban_country(value: str) -> str:
    return value[:2]


def _bic_country(value: str) -> str:
    return value[4:6]


def _domain(value: str) -> str:
    return value.rpartition("@")[2]


def _postal_area(value: str) -> str:
    return value[: min(2, len(value) // 2)].rstrip(" -")


def _rounded(value: str) -> str:
    """To the nearest ten, or to one significant digit from a hundred on; half to even (IEEE 754)."""
    number = Decimal(value)
    step = Decimal(1).scaleb(max(1, number.adjusted()))
    rounded = (number / step).quantize(Decimal(1), ROUND_HALF_EVEN) * step
    return str(int(rounded))


# --- masks ----------------------------------------------------------------------------------------


def _mask_card(value: str) -> str:
    """PCI DSS 3.4.1 allows the first six and the last four; the last four are enough."""
    return f"**** {value[-4:]}"


def _mask_iban(value: str) -> str:
    return f"{value[:2]}** **** {value[-2:]}"


def _mask_phone(value: str) -> str:
    return f"+** **** {value[-2:]}"


def _mask_all(value: str) -> str:  # noqa: ARG001 - nothing of it is shown
    return _HIDDEN


_ALL_HIDDEN: Final = frozenset(values.TYPES) - {
    "card_number",
    "device_code",
    "email",
    "iban",
    "name",
    "phone",
    "text",
}
_MASKS: Final[dict[str, Callable[[str], str]]] = {
    "card_number": _mask_card,
    "iban": _mask_iban,
    "phone": _mask_phone,
    **dict.fromkeys(_ALL_HIDDEN, _mask_all),
}

_COUNTRY: Final[dict[str, Callable[[str], str]]] = {"iban": _iban_country, "bic": _bic_country}
_EVERY: Final = frozenset(values.TYPES)
_TIMES: Final = frozenset({"date", "datetime", "card_expiry"})
_NUMBERS: Final = frozenset({"decimal", "integer", "duration_s"})

_PLAIN: Final[dict[str, Callable[[str], str]]] = {
    "full": _full,
    "last4": _last4,
    "first": _first,
    "year": _year,
    "month": _month,
    "age_band": _age_band,
    "truncated_ip": _truncated_ip,
    "domain": _domain,
    "postal_area": _postal_area,
    "rounded": _rounded,
    "presence": _presence,
}

_ALLOWED: Final = MappingProxyType[str, frozenset[str]](
    {
        "full": _EVERY,
        "masked": _EVERY,
        "last4": frozenset({"card_number", "iban", "phone", "text"}),
        "first": frozenset({"name", "text"}),
        "year": _TIMES,
        "month": frozenset({"date", "datetime"}),
        "age_band": frozenset({"date"}),
        "truncated_ip": frozenset({"ip"}),
        "country_only": frozenset({"iban", "bic"}),
        "domain": frozenset({"email"}),
        "postal_area": frozenset({"postal_code"}),
        "rounded": _NUMBERS,
        "hashed": _EVERY,
        "presence": _EVERY,
    }
)

NAMES: Final = tuple(_ALLOWED)
"""Every transform."""
