import re

import orjson
import pytest
from sluss_cli.output import Output, json_line, safe

HOSTILE = "a\x1b[2J\x07b\u202ec\u2066d\x9b0m\r\ne\nf\x00"


def test_control_characters_never_reach_a_terminal():
    shown = safe(HOSTILE)
    assert all(ord(char) >= 0x20 for char in shown)
    assert not set(shown) & set("\x7f\x9b\u202e\u2066")
    for mark in "\u200e\u200f\u061c\u2028\u2029\udcff":
        assert safe(f"a{mark}b") == "a\ufffdb"


@pytest.mark.parametrize("text", ["Zoë", "שלום", "مرحبا", "李", "Ωμέγα", "Łódź"])
def test_scripts_of_any_language_pass_unchanged(text):
    assert safe(text) == text


def test_every_way_of_printing_is_safe(capsys):
    output = Output(as_json=False)
    output.line(HOSTILE)
    output.heading(HOSTILE)
    output.facts({"name": HOSTILE})
    output.table(("one",), [(HOSTILE,)])
    output.note(HOSTILE)
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err


def test_json_prints_one_document_and_nothing_else(capsys):
    output = Output(as_json=True)
    output.line("not this")
    output.heading("nor this")
    output.facts({"nor": "this"})
    output.table(("nor",), [("this",)])
    output.result({"a": [1, HOSTILE]})
    assert orjson.loads(capsys.readouterr().out) == {"a": [1, HOSTILE]}


def test_pipe_gets_aligned_columns_without_borders_or_colour(capsys):
    Output(as_json=False).table(("field", "form"), [("email", "full"), ("payment.card_number", "last4")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "FIELD                FORM",
        "email                full",
        "payment.card_number  last4",
    ]


def test_terminal_gets_a_table_without_markup_being_read(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    Output(as_json=False).table(("field",), [("[red]not red[/red]",)])
    assert "[red]not red[/red]" in capsys.readouterr().out


def test_empty_table_says_so(capsys):
    Output(as_json=False).table(("a",), [], empty="no contracts")
    assert capsys.readouterr().out == "no contracts\n"


@pytest.fixture
def terminal(monkeypatch):
    def of(columns):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns))
        return Output(as_json=False)

    return of


IDS = ("O-2026-0001", "delete by date", "acknowledged", "2026-12-30", "C-2026-0001", "subcontractor/acme-pay")
NAMES = ("obligation", "what", "state", "due", "contract", "recipient")


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
def test_an_id_is_never_cut_off_or_broken_however_narrow_a_terminal_is(terminal, capsys, columns):
    terminal(columns).table(NAMES, [IDS, IDS])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "\u2026" not in shown
    for word in (each for cell in IDS for each in cell.split()):
        assert shown.split().count(word) >= 2, word
    if columns >= 80:
        assert max(map(len, shown.splitlines())) <= columns


def test_a_row_that_is_too_wide_for_a_terminal_is_a_block_without_what_is_empty(terminal, capsys):
    terminal(40).table(
        ("request", "stands out", "person"), [("R-2026-0001", "", "P" * 30), ("R-2026-0002", "OVERDUE", "-")]
    )
    assert capsys.readouterr().out.splitlines() == [
        "request     R-2026-0001",
        f"person      {'P' * 30}",
        "",
        "request     R-2026-0002",
        "stands out  OVERDUE",
        "person      -",
    ]


def test_a_line_of_json_shows_letters_and_moves_no_cursor():
    document = {"name": "Åsa Öberg", "hostile": HOSTILE.replace("\udcff", "")}
    line = json_line(document)
    assert "Åsa Öberg" in line
    assert not set(line) & set("\x1b\x9b\u202e\u2066\n")
    assert orjson.loads(line) == document
