"""A contract's terms as a TOML file: read strictly, every mistake named by its place in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss.v1 import contract_pb2 as pb

from sluss_cli.toml_file import (
    count_of,
    day_of,
    field_grant,
    flat_fields,
    known_members,
    member,
    population_of,
    read_toml,
    table_of,
    text_of,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = """\
# The terms of a contract. `sluss contract propose FILE.toml` sends them; the subcontractor signs them.

subcontractor = "subcontractor/acme-pay"      # the name in the recipient's certificate
recipient_name = "Acme Payments AB"           # as a person reads it in an accounting of disclosures
recipient_address = "Storgatan 1, 111 22 Stockholm, Sweden"
valid_from = 2026-01-01                       # first day, UTC
valid_until = 2030-12-31                      # last day, UTC
reference = "DPA-2026-17"                     # where the signed paper is to be found

[[grants]]
purpose = "billing"                           # covers billing.collection and the other descendants
population = "everyone"                       # or: population.persons = ["P-..."]
retention_days = 30                           # the recipient deletes after this many days
volume = { day = 10000, month = 100000 }      # persons per window: hour, day, month
[grants.fields]                               # field = the form in which it leaves
name.display = "full"
email = "full"
phone = "full"
payment.card_number = "last4"

[[grants]]
purpose = "service.delivery"
retention_days = 7
volume = { day = 500 }
[grants.population.where]                     # every condition must hold; the values never leave
address.country = ["SE", "NO"]
[grants.fields]
name.given = "first"
phone = "full"

[[grants]]
purpose = "anonymous.advertising"             # counts only, no data of a person: sluss aggregate
[grants.aggregate]
min_persons = 50                              # the fewest distinct persons behind a published number
budget_micro = 1500000                        # millionths of epsilon that may be spent in a period
period = "month"                              # or quarter
delta_nano = 6                                # thousand-millionths of delta likewise; left out: no gaussian noise
[grants.aggregate.events]                     # event = the attributes to group and filter by
advertisement.visited = ["advertisement", "country"]
"""

_TOP = {
    "subcontractor",
    "recipient_name",
    "recipient_address",
    "valid_from",
    "valid_until",
    "reference",
    "grants",
}
_GRANT = {"purpose", "population", "retention_days", "volume", "fields"}
_COUNTED = {"purpose", "aggregate"}
_AGGREGATE = {"events", "min_persons", "budget_micro", "period", "delta_nano"}
_WINDOWS = ("hour", "day", "month")


def parse_contract(text: str) -> pb.ContractTerms:
    """The terms from a TOML text.

    Raises:
        Problem: USAGE, naming the line (TOML syntax) or the place (`grants[2].volume.week`) and what is
            expected.
    """
    top = read_toml(text)
    known_members(top, _TOP, "")
    grants = member(top, "grants", "", list)
    if not grants:
        raise wrong("grants", "at least one [[grants]] is needed")
    return pb.ContractTerms(
        subcontractor=text_of(top, "subcontractor"),
        recipient_name=text_of(top, "recipient_name"),
        recipient_address=text_of(top, "recipient_address"),
        valid_from=day_of(top, "valid_from"),
        valid_until=day_of(top, "valid_until"),
        reference=text_of(top, "reference", required=False),
        grants=[_grant(each, f"grants[{number}]") for number, each in enumerate(grants, 1)],
    )


def _grant(value: object, at: str) -> pb.Grant:
    grant = table_of(value, at)
    if "aggregate" in grant:
        return _counted(grant, at)
    known_members(grant, _GRANT, at)
    fields = flat_fields(member(grant, "fields", at, dict), f"{at}.fields")
    return pb.Grant(
        purpose=text_of(grant, "purpose", at),
        fields=[field_grant(name, transform, at) for name, transform in sorted(fields.items())],
        population=population_of(member(grant, "population", at, object), f"{at}.population"),
        retention_days=count_of(member(grant, "retention_days", at, int), f"{at}.retention_days", 3650),
        volumes=_volumes(member(grant, "volume", at, dict), f"{at}.volume"),
    )


def _volumes(windows: Mapping[str, object], at: str) -> list[pb.Volume]:
    known_members(windows, set(_WINDOWS), at)
    if not windows:
        raise wrong(at, "at least one of hour, day, month")
    return [
        pb.Volume(window=window, persons=count_of(windows[window], f"{at}.{window}", 10**9))
        for window in _WINDOWS
        if window in windows
    ]


def _counted(grant: Mapping[str, object], at: str) -> pb.Grant:
    """A purpose of class anonymous: what may be counted, of everyone."""
    known_members(grant, _COUNTED, at)
    place = f"{at}.aggregate"
    terms = table_of(grant["aggregate"], place)
    known_members(terms, _AGGREGATE, place)
    events = flat_fields(member(terms, "events", place, dict), f"{place}.events")
    return pb.Grant(
        purpose=text_of(grant, "purpose", at),
        population=pb.Population(everyone=True),
        aggregate=pb.AggregateTerms(
            events=[
                pb.EventGrant(event=name, dimensions=_dimensions(names, f"{place}.events.{name}"))
                for name, names in sorted(events.items())
            ],
            min_persons=count_of(member(terms, "min_persons", place, int), f"{place}.min_persons", 1_000_000),
            budget_micro=count_of(member(terms, "budget_micro", place, int), f"{place}.budget_micro", 100_000_000),
            period=text_of(terms, "period", place),
            delta_nano=count_of(terms["delta_nano"], f"{place}.delta_nano", 100_000) if "delta_nano" in terms else 0,
        ),
    )


def _dimensions(value: object, at: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise wrong(at, "must be a list of attributes; it may be empty")
    return value
