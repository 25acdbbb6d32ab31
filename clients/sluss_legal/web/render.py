"""Templates to HTML, in the reader's language. Everything is escaped unless a template says otherwise; none does."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sluss.v1 import legal_pb2

from sluss_legal import dates, words
from sluss_legal.fields import label_of, purpose_label
from sluss_legal.tongue import LANGUAGES, Tongue, tongue_of

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent


class Renderer:
    """All templates."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {"pb": legal_pb2, "words": words, "languages": LANGUAGES}
        self._environment.filters |= {"moment": dates.moment, "merged": _merged}

    def tongue(self, chosen: str, accepted: str) -> Tongue:
        """The language that was chosen, or else the first that the browser accepts."""
        return tongue_of(chosen or _preferred(accepted))

    def render(self, template: str, tongue: Tongue, **values: Any) -> str:
        """The HTML of a template."""
        return self._environment.get_template(template).render(
            _=tongue.say,
            language=tongue.language,
            label=lambda name: label_of(name, tongue.language),
            purpose=lambda code: purpose_label(code, tongue.language),
            options=lambda table: [(code, tongue.say(text)) for code, text in table.items()],
            word=lambda table, key: _word(table, key, tongue),
            **values,
        )


def _merged(one: Mapping[str, str], **other: str) -> dict[str, str]:
    return {**one, **other}


def _word(table: Mapping[Any, str], key: Any, tongue: Tongue) -> str:
    """The word for a code; the code itself if this version does not know it."""
    return tongue.say(table[key]) if key in table else str(key)


@lru_cache(maxsize=64)
def _preferred(accepted: str) -> str:
    """The first language of an Accept-Language header that there is a translation to; `en` if none."""
    for part in accepted.lower().split(","):
        code = part.split(";")[0].strip().partition("-")[0]
        if code in LANGUAGES:
            return code
    return "en"
