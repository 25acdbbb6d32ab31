"""The languages of console, documents and command: English as it is written, Swedish from the .po file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LANGUAGES = {"en": "English", "sv": "Svenska"}
FOLDER = Path(__file__).parent / "locale"


@dataclass(frozen=True)
class Tongue:
    """One language.

    Attributes:
        language: `sv` or `en`.
        texts: English to this language; what is absent is shown in English.
    """

    language: str
    texts: Mapping[str, str]

    def say(self, text: str, **values: object) -> str:
        """A text in this language, with values in its braces."""
        said = self.texts.get(text) or text
        return said.format(**values) if values else said


def tongue_of(language: str) -> Tongue:
    """The tongue of a code; English for one that there is no translation to."""
    return _read(language if language in LANGUAGES else "en")


@cache
def _read(language: str) -> Tongue:
    path = FOLDER / f"{language}.po"
    if not path.is_file():
        return Tongue("en", {})
    from babel.messages.pofile import read_po  # noqa: PLC0415 - English needs no Babel

    with path.open("rb") as file:
        catalogue = read_po(file, locale=language)
    return Tongue(language, {str(m.id): str(m.string) for m in catalogue if m.id and m.string})
