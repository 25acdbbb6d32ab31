"""Text that shows what it holds, whichever field it stands in, or none. Pure.

Letters of every script are welcome; characters that are invisible or turn the reading direction are not: whoever reads
a record must see what it holds.
"""

from __future__ import annotations

import unicodedata
from typing import Final

MAX_LENGTH: Final = 4096
"""Characters of the longest text."""
_ZWNJ, _ZWJ = "\u200c", "\u200d"
_VIRAMA: Final = 9
_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f")
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Unfit(Exception):  # noqa: N818 - no error of a caller's: whoever checks a text turns it into one
    """A text does not fit: `why` is a stable word, `text` the public sentence."""

    def __init__(self, why: str, text: str) -> None:
        self.why, self.text = why, text


def plain(text: str, max_length: int = MAX_LENGTH) -> str:
    """The text without outer spaces, in NFC, of visible characters only.

    Raises:
        Unfit: longer than `max_length` characters, empty, or with a character that is not to be seen.
    """
    if len(text) > max_length:
        raise Unfit("too_long", f"longer than {max_length} characters")
    if not (text.isascii() and text.isprintable()):
        # Checked before the strip, which would swallow a trailing control character unseen.
        for position, character in enumerate(text):
            if not character.isprintable() or character in _BLANK_LETTERS:
                _refuse_unless_harmless(text, position)
        text = unicodedata.normalize("NFC", text)
    text = text.strip()
    if not text:
        raise Unfit("empty", "empty")
    return text


def is_plain_text(text: str, max_length: int) -> bool:
    """Whether a text is written as `plain` writes it: normal form C, no blanks around, 1 to `max_length` characters."""
    try:
        return plain(text, max_length) == text
    except Unfit:
        return False


def _refuse_unless_harmless(text: str, position: int) -> None:
    """Name the invisible character at `position`, unless it is a space or a joiner that its script needs."""
    character = text[position]
    category = unicodedata.category(character)
    if category == "Zs" or (character in (_ZWNJ, _ZWJ) and _joins(text, position)):
        return
    mark = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "")
    if category == "Cs":
        raise Unfit("surrogate", f"holds a lone surrogate ({mark}): the text was not decoded rightly")
    if character in _BIDI:
        raise Unfit("bidi_control", f"holds the bidirectional control {name} ({mark})")
    if category == "Cc":
        raise Unfit("control_character", f"holds a control character ({mark})")
    if category in ("Cn", "Co"):
        raise Unfit("unassigned_character", f"holds an unassigned or private character ({mark})")
    raise Unfit("invisible_character", f"holds the invisible character {name} ({mark})")


def _joins(text: str, position: int) -> bool:
    """Whether a joiner stands where Indic and Arabic spelling need one (RFC 5892, appendices A.1 and A.2)."""
    before, after = text[position - 1 : position], text[position + 1 : position + 2]
    if not before or not after:
        return False
    if unicodedata.combining(before) == _VIRAMA:
        return True
    arabic = unicodedata.bidirectional(before) == "AL" and unicodedata.bidirectional(after) == "AL"
    return arabic and text[position] == _ZWNJ
