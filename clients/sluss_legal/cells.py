"""Cells of CSV files."""

import re

_FORMULA = re.compile(r"(^|[;\t\r\n])(\s*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20\t\r])")
"""Where a formula could begin: also behind a semicolon, at which spreadsheets of many countries, Sweden among them, cut
lines; and with the wide forms of the signs."""


def cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula, wherever it cuts the line."""
    return _FORMULA.sub(r"\1\2'", text)
