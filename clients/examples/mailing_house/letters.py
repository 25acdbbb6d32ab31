"""Who is written to, by which way, and what. Pure: the values that came in, a letter out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS: Final = (
    "name.given",
    "name.family",
    "address.street",
    "address.postal_code",
    "address.city",
    "email",
    "language",
)
"""What the letters need, and so all that is asked for."""

SWEDISH: Final = "sv"
_ADDRESS: Final = ("address.street", "address.postal_code", "address.city")


class Letter(NamedTuple):
    """A letter.

    Attributes:
        way: `post` or `email`.
        to: the lines of the address, or the e-mail address alone.
        text: what it says.
    """

    way: str
    to: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return "\n".join([f"[{self.way}]", *self.to, "", self.text, ""])


def letter(values: Mapping[str, str]) -> Letter | None:
    """The letter for a person: by post if the whole address came, else by e-mail if that came; else none.

    The broker leaves out the fields of a way that the person does not want. What did not come is never made up for from
    anywhere else.
    """
    name = " ".join(values[field] for field in ("name.given", "name.family") if field in values)
    if all(field in values for field in _ADDRESS):
        town = f"{values['address.postal_code']} {values['address.city']}"
        return Letter("post", (*([name] if name else []), values["address.street"], town), _text(name, values))
    if "email" in values:
        return Letter("email", (values["email"],), _text(name, values))
    return None


def _text(name: str, values: Mapping[str, str]) -> str:
    if values.get("language", "").partition("-")[0] == SWEDISH:
        return f"Hej {name},\n\nhöstens erbjudanden är här.".replace(" ,", ",")
    return f"Dear {name or 'customer'},\n\nour offers of this autumn are here."
