"""Every text of the console and of the documents is there in Swedish, and takes the same values."""

import ast
import re
from pathlib import Path

import pytest
import sluss_legal
from sluss_legal import tongue, words
from sluss_legal.tongue import tongue_of
from sluss_legal.web import render
from sluss_legal.web.render import Renderer

from broker.ledger import shapes

HERE = Path(sluss_legal.__file__).parent
LITERAL = r"""\(\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""


def marked():
    """The texts that templates and code mark for translation."""
    for path in (HERE / "web" / "templates").rglob("*.html"):
        yield from (ast.literal_eval(found) for found in re.findall(r"\b_" + LITERAL, path.read_text("utf-8")))
    for path in HERE.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        yield from (ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func).endswith("N_"))


def values(text):
    return set(re.findall(r"{\w+}", text))


def test_every_text_has_its_swedish_with_the_same_values():
    texts, swedish = set(marked()), tongue_of("sv").texts
    assert len(texts) > 400
    assert texts - swedish.keys() == set()
    assert [text for text in texts if values(text) != values(swedish[text])] == []


def test_no_swedish_is_left_over():
    assert tongue_of("sv").texts.keys() - set(marked()) == set()


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("sv-SE,sv;q=0.9,en;q=0.8", "sv"), ("de,sv;q=0.5", "sv"), ("fr", "en"), ("", "en"), ("../sv", "en")],
)
def test_the_language_is_the_first_that_the_browser_accepts(accepted, language):
    assert Renderer().tongue("", accepted).language == language


def test_languages_that_nobody_speaks_fill_no_memory():
    for number in range(1_000):
        assert tongue.tongue_of(f"x{number}").language == "en"
        assert render._preferred(f"x{number}") == "en"
    assert tongue._read.cache_info().currsize <= len(tongue.LANGUAGES)
    assert render._preferred.cache_info().currsize <= 64


def test_every_type_of_entry_and_every_event_of_one_has_its_word():
    assert words.ENTRY_TYPES.keys() == shapes.SHAPES.keys()
    named = {event for (_, member), events in shapes.WORDS.items() if member == "event" for event in events}
    assert named - shapes.CASE_EVENTS - words.ENTRY_EVENTS.keys() == set()
    assert words.EVENTS.keys() == shapes.CASE_EVENTS
