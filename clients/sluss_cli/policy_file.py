"""A policy version as a TOML file: read strictly, every mistake named by its place in the file."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from sluss.v1 import policy_pb2 as pb

from sluss_cli.toml_file import known_members, member, read_toml, table_of, text_of, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = """\
# A version of the privacy policy. `sluss policy publish FILE.toml` publishes it; what was published never changes.

version = "2026-02"
# effective = 2027-01-01T00:00:00+01:00   # when it takes effect, with a zone; without this line, now

[texts.sv]                                # one table per language
text = '''
# Integritetspolicy

Personuppgifter är ...
'''
changes = "Punkt 3: hur du får en bekräftelse."

[texts.en]
text = '''
# Privacy policy

Personal information is ...
'''
changes = "Clause 3: how you get a confirmation."
"""


def parse_policy(text: str) -> pb.PublishPolicyVersionRequest:
    """The version from a TOML text.

    Raises:
        Problem: USAGE, naming the line (TOML syntax) or the place (`texts.sv.text`) and what is expected.
    """
    top = read_toml(text)
    known_members(top, {"version", "effective", "texts"}, "")
    texts = member(top, "texts", "", dict) if "texts" in top else {}
    return pb.PublishPolicyVersionRequest(
        version=text_of(top, "version"),
        effective=_moment(top),
        texts=[_text(language, table, f"texts.{language}") for language, table in texts.items()],
    )


def _text(language: str, value: object, at: str) -> pb.PolicyText:
    table = table_of(value, at)
    known_members(table, {"text", "changes"}, at)
    changes = text_of(table, "changes", at, required=False)
    return pb.PolicyText(language=language, text=text_of(table, "text", at), changes=changes)


def _moment(top: Mapping[str, Any]) -> str:
    """The time in RFC 3339, from a TOML time or a text; empty if there is none."""
    if "effective" not in top:
        return ""
    value = member(top, "effective", "", object)
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.isoformat()
    if isinstance(value, str) and value:
        return value
    raise wrong("effective", "a time with a zone such as 2027-01-01T00:00:00+01:00")
