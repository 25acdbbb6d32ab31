"""A legal request as a TOML file: what `sluss legal open`, `preview` and `change --scope` read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluss.v1 import legal_pb2 as pb
from sluss_legal.words import GROUND_NAMES, INSTRUMENTS

from sluss_cli.toml_file import (
    day_of,
    field_grant,
    flat_fields,
    known_members,
    member,
    population_of,
    read_toml,
    table_of,
    text_of,
    texts_of,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = """\
# A legal request. `sluss legal open FILE.toml` opens a case with it.

ground = "law_or_process"        # or rights_and_property, protection, merger_or_sale
received = 2026-11-17            # when the request arrived
deadline = 2026-12-01            # by when it must be answered
handler = "legal/anna"           # who works on it; leave out for yourself
note = "Arrived by registered post."

[requester]                      # who asks
name = "Stockholms tingsrätt"
address = "Box 8307, 104 20 Stockholm"
country = "SE"                   # ISO 3166-1 alpha-2
contact = "registry@court.example"

[instrument]                     # by what
kind = "court_order"             # subpoena, warrant, statute, regulator_order, police_request, claim, agreement, other
reference = "B 4711-26"
date = 2026-11-16

[scope]                          # what is asked for; on the way it only ever gets narrower
persons = ["P-04CVZ6HGRM5PX"]    # on merger_or_sale: population = "everyone", or population.where = { ... }
collected_from = 2025-01-01      # leave out for no limit
[scope.fields]                   # field = the form in which it leaves
email = "full"
name.family = "full"

# [secrecy]                      # hide the case from the persons concerned
# until = 2027-02-28
# reason = "The court forbids telling."
"""

_TOP = {"ground", "received", "deadline", "handler", "note", "requester", "instrument", "scope", "secrecy"}
_REQUESTER = {"name", "address", "country", "contact"}
_INSTRUMENT = {"kind", "reference", "date"}
_SCOPE = {"persons", "population", "collected_from", "collected_until", "fields"}
_SECRECY = {"until", "reason"}


def parse_case(text: str, request_id: str) -> pb.OpenCaseRequest:
    """The request for a case from a TOML text.

    Raises:
        Problem: USAGE, naming the place in the file and what is expected.
    """
    top = read_toml(text)
    known_members(top, _TOP, "")
    secrecy = table_of(top.get("secrecy", {}), "secrecy")
    known_members(secrecy, _SECRECY, "secrecy")
    return pb.OpenCaseRequest(
        request_id=request_id,
        ground=_ground(top),
        requester=_requester(table_of(member(top, "requester", "", object), "requester")),
        instrument=_instrument(table_of(member(top, "instrument", "", object), "instrument")),
        scope=_scope(top),
        received=day_of(top, "received"),
        deadline=day_of(top, "deadline"),
        handler=text_of(top, "handler", required=False),
        note=text_of(top, "note", required=False),
        hidden_until=day_of(secrecy, "until", "secrecy") if secrecy else "",
        secrecy_reason=text_of(secrecy, "reason", "secrecy") if secrecy else "",
    )


def parse_scope(text: str) -> tuple[pb.Scope, pb.Ground.ValueType]:
    """The scope and the ground from a case's file, whatever else is in it; the ground may be absent.

    Raises:
        Problem: as `parse_case`.
    """
    top = read_toml(text)
    known_members(top, _TOP, "")
    return _scope(top), _ground(top) if "ground" in top else pb.GROUND_UNSPECIFIED


def ground_named(name: str) -> pb.Ground.ValueType | None:
    """The ground of a name such as `law_or_process`; None for no ground of the policy."""
    return next((ground for ground, known in GROUND_NAMES.items() if known == name), None)


def _ground(top: Mapping[str, Any]) -> pb.Ground.ValueType:
    ground = ground_named(text_of(top, "ground"))
    if ground is None:
        raise wrong("ground", f"one of {', '.join(GROUND_NAMES.values())}")
    return ground


def _requester(table: Mapping[str, Any]) -> pb.Requester:
    known_members(table, _REQUESTER, "requester")
    return pb.Requester(
        name=text_of(table, "name", "requester"),
        address=text_of(table, "address", "requester"),
        country=text_of(table, "country", "requester"),
        contact=text_of(table, "contact", "requester"),
    )


def _instrument(table: Mapping[str, Any]) -> pb.Instrument:
    known_members(table, _INSTRUMENT, "instrument")
    kind = text_of(table, "kind", "instrument")
    if kind not in INSTRUMENTS:
        raise wrong("instrument.kind", f"one of {', '.join(INSTRUMENTS)}")
    return pb.Instrument(
        kind=kind, reference=text_of(table, "reference", "instrument"), date=day_of(table, "date", "instrument")
    )


def _scope(top: Mapping[str, Any]) -> pb.Scope:
    table = table_of(member(top, "scope", "", object), "scope")
    known_members(table, _SCOPE, "scope")
    if ("persons" in table) == ("population" in table):
        raise wrong("scope", "either persons or population")
    fields = flat_fields(table_of(member(table, "fields", "scope", object), "scope.fields"), "scope.fields")
    scope = pb.Scope(
        fields=[field_grant(name, form, "scope") for name, form in sorted(fields.items())],
        collected_from=day_of(table, "collected_from", "scope", required=False),
        collected_until=day_of(table, "collected_until", "scope", required=False),
    )
    if "persons" in table:
        scope.listed.person_ids.extend(texts_of(table["persons"], "scope.persons"))
    else:
        scope.population.CopyFrom(population_of(table["population"], "scope.population"))
    return scope
