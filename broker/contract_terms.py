"""The canonical bytes of a contract's terms: what the subcontractor signs and what `contracts.decide` reads.

    {"contract":"C-2026-0001","grants":[{"fields":[{"field":"email","transform":"full"}],"population":{"everyone":true},
     "purpose":"billing","retention_days":30,"volumes":[{"persons":1000,"window":"day"}]}],"onward_transfer":"forbidden",
     "recipient":{"address":"...","name":"..."},"reference":"...","subcontractor":"subcontractor/acme-pay",
     "use":"only for the purposes granted","v":1,"valid_from":"2026-01-01","valid_until":"2026-12-31","version":1}

A grant of a purpose of class anonymous has no fields, no volumes and a retention of 0, and one member more:

    "aggregate":{"budget_micro":1500000,"events":[{"dimensions":["country"],"event":"advertisement.visited"}],
     "min_persons":50,"period":"month"}

and in it `"delta_nano":3`, if it is not 0.

The ban on onward transfer and the limit of use (POLICY 1e) are members of the terms, so nobody can accept a contract
without them. `parse` rejects by round trip: bytes that `canonical` would not write are no terms.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import orjson

from broker.choices.rule import CHOICE_RULES
from broker.contracts import (
    ONWARD_TRANSFER,
    AggregateTerms,
    EventGrant,
    FieldGrant,
    Grant,
    Population,
    Predicate,
    Terms,
    Volume,
    Window,
)
from broker.errors import Reason, SlussError
from broker.ids import parse_person, person_text
from broker.plain_text import is_plain_text

if TYPE_CHECKING:
    from broker.catalogue import Catalogue

T = TypeVar("T")
USE = "only for the purposes granted"
VERSION = 1
SUBCONTRACTOR = re.compile(r"subcontractor/[a-z0-9][a-z0-9-]{0,62}")
MAX_GRANTS = 64
MAX_FIELDS = 64
MAX_PERSONS = 1_000
MAX_PREDICATES = 8
MAX_PREDICATE_VALUES = 300
MAX_RETENTION_DAYS = 3_650
MAX_VOLUME = 10**9
MAX_TEXT = 300
MAX_EVENTS = 64
MAX_MIN_PERSONS = 1_000_000
MAX_BUDGET_MICRO = 100_000_000
MAX_DELTA_NANO = 100_000
PERIODS = ("month", "quarter")
ANONYMOUS = "anonymous"


def _population(population: Population) -> dict[str, Any]:
    if population.everyone:
        return {"everyone": True}
    if population.persons:
        return {"persons": sorted(person_text(person) for person in population.persons)}
    return {
        "predicates": [{"field": p.field, "values": sorted(p.values)} for p in population.predicates],
    }


def _grant(grant: Grant) -> dict[str, Any]:
    body: dict[str, Any] = {
        "purpose": grant.purpose,
        "fields": [{"field": f.field, "transform": f.transform} for f in grant.fields],
        "population": _population(grant.population),
        "retention_days": grant.retention_days,
        "volumes": [{"window": str(v.window), "persons": v.persons} for v in grant.volumes],
    }
    if grant.aggregate is not None:
        body["aggregate"] = _aggregate(grant.aggregate)
    return body


def _aggregate(terms: AggregateTerms) -> dict[str, Any]:
    return {
        "events": [{"event": e.event, "dimensions": list(e.dimensions)} for e in terms.events],
        "min_persons": terms.min_persons,
        "budget_micro": terms.budget_micro,
        "period": terms.period,
        **({"delta_nano": terms.delta_nano} if terms.delta_nano else {}),
    }


def canonical(contract: str, version: int, terms: Terms) -> bytes:
    """The canonical JSON (RFC 8785) of one version of a contract."""
    body = {
        "v": VERSION,
        "contract": contract,
        "version": version,
        "subcontractor": terms.subcontractor,
        "recipient": {"name": terms.recipient_name, "address": terms.recipient_address},
        "valid_from": terms.valid_from.isoformat(),
        "valid_until": terms.valid_until.isoformat(),
        "grants": [_grant(grant) for grant in terms.grants],
        "reference": terms.reference,
        "onward_transfer": ONWARD_TRANSFER,
        "use": USE,
    }
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def _member(body: Any, name: str, kind: type[T]) -> T:
    """A member of an object, of exactly this type: true is no number, and a text is no list.

    Raises:
        TypeError, KeyError: the caller makes them MALFORMED.
    """
    value = body[name]
    if type(value) is not kind:
        raise TypeError(name)
    return value


def _parse_population(body: dict[str, Any]) -> Population:
    if "everyone" in body:
        return Population(everyone=_member(body, "everyone", bool))
    if "persons" in body:
        return Population(persons=frozenset(parse_person(person) for person in _member(body, "persons", list)))
    predicates = _member(body, "predicates", list)
    return Population(
        predicates=tuple(Predicate(_member(p, "field", str), frozenset(_member(p, "values", list))) for p in predicates)
    )


def _parse_grant(body: dict[str, Any]) -> Grant:
    return Grant(
        purpose=_member(body, "purpose", str),
        fields=tuple(
            FieldGrant(_member(f, "field", str), _member(f, "transform", str)) for f in _member(body, "fields", list)
        ),
        population=_parse_population(_member(body, "population", dict)),
        retention_days=_member(body, "retention_days", int),
        volumes=tuple(
            Volume(Window(_member(v, "window", str)), _member(v, "persons", int))
            for v in _member(body, "volumes", list)
        ),
        aggregate=_parse_aggregate(_member(body, "aggregate", dict)) if "aggregate" in body else None,
    )


def _parse_aggregate(body: dict[str, Any]) -> AggregateTerms:
    return AggregateTerms(
        events=tuple(
            EventGrant(_member(e, "event", str), tuple(_texts(_member(e, "dimensions", list))))
            for e in _member(body, "events", list)
        ),
        min_persons=_member(body, "min_persons", int),
        budget_micro=_member(body, "budget_micro", int),
        period=_member(body, "period", str),
        delta_nano=_member(body, "delta_nano", int) if "delta_nano" in body else 0,
    )


def _texts(items: list[Any]) -> list[str]:
    if any(type(item) is not str for item in items):
        raise TypeError
    return items


def _parse_terms(body: dict[str, Any]) -> Terms:
    recipient = _member(body, "recipient", dict)
    return Terms(
        subcontractor=_member(body, "subcontractor", str),
        recipient_name=_member(recipient, "name", str),
        recipient_address=_member(recipient, "address", str),
        valid_from=date.fromisoformat(_member(body, "valid_from", str)),
        valid_until=date.fromisoformat(_member(body, "valid_until", str)),
        grants=tuple(_parse_grant(grant) for grant in _member(body, "grants", list)),
        reference=_member(body, "reference", str),
    )


def _check_version(body: dict[str, Any]) -> None:
    if type(body["v"]) is not int or body["v"] != VERSION:
        raise SlussError(Reason.UNSUPPORTED_VERSION, format="contract terms")


def parse(data: bytes) -> tuple[str, int, Terms]:
    """Contract id, version and terms behind canonical bytes.

    Raises:
        SlussError: UNSUPPORTED_VERSION or MALFORMED.
    """
    try:
        body = orjson.loads(data)
        _check_version(body)
        contract, version = _member(body, "contract", str), _member(body, "version", int)
        terms = _parse_terms(body)
        again = canonical(contract, version, terms)
    except SlussError as error:
        if error.reason is Reason.UNSUPPORTED_VERSION:
            raise
        raise SlussError(Reason.MALFORMED, format="contract terms") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SlussError(Reason.MALFORMED, format="contract terms") from error
    if again != data:
        raise SlussError(Reason.MALFORMED, format="contract terms")
    return contract, version, terms


def _invalid(field: str, why: str) -> NoReturn:
    raise SlussError(Reason.INVALID_TERMS, f"{field}: {why}", field=field)


def _check_text(field: str, text: str) -> None:
    if not is_plain_text(text, MAX_TEXT):
        _invalid(field, f"1 to {MAX_TEXT} characters are needed, no controls or direction marks, no blanks around")


def _check_population(where: str, population: Population, catalogue: Catalogue) -> None:
    kinds = [population.everyone, bool(population.persons), bool(population.predicates)]
    if sum(kinds) != 1:
        _invalid(where, "name everyone, persons or predicates")
    if len(population.persons) > MAX_PERSONS:
        _invalid(where, f"at most {MAX_PERSONS} persons")
    if len(population.predicates) > MAX_PREDICATES:
        _invalid(where, f"at most {MAX_PREDICATES} predicates")
    for predicate in population.predicates:
        catalogue.field(predicate.field)
        if catalogue.field(predicate.field).financial:
            _invalid(where, f"{predicate.field} is financial and can't be a predicate")
        if not 1 <= len(predicate.values) <= MAX_PREDICATE_VALUES:
            _invalid(where, f"1 to {MAX_PREDICATE_VALUES} values are needed")


def _check_fields(where: str, grant: Grant, catalogue: Catalogue) -> None:
    from broker import transforms  # noqa: PLC0415 - the SDK parses terms without the rules of transforms

    payment = catalogue.purpose(grant.purpose).payment
    if not 1 <= len(grant.fields) <= MAX_FIELDS:
        _invalid(f"{where}.fields", f"1 to {MAX_FIELDS} are needed")
    names = [granted.field for granted in grant.fields]
    if len(set(names)) != len(names):
        _invalid(f"{where}.fields", "duplicates")
    for granted in grant.fields:
        field = catalogue.field(granted.field)
        if granted.transform not in transforms.allowed(field.type):
            _invalid(f"{where}.fields", f"{granted.transform} is no transform for {field.name}")
        if field.financial and not payment:
            _invalid(f"{where}.fields", f"{field.name} is financial and goes out for payment purposes only")


def _check_volumes(where: str, grant: Grant) -> None:
    windows = [volume.window for volume in grant.volumes]
    if not windows or len(set(windows)) != len(windows):
        _invalid(where, "at least one volume is needed, and one per window")
    for volume in grant.volumes:
        if not 1 <= volume.persons <= MAX_VOLUME:
            _invalid(where, f"1 to {MAX_VOLUME} persons")


def _check_anonymous(where: str, grant: Grant, catalogue: Catalogue) -> None:
    """A purpose of class anonymous: what may be counted, and nothing that a person's data is granted by."""
    terms = grant.aggregate
    if terms is None:
        _invalid(f"{where}.purpose", f"{grant.purpose} is for counts: no field can be granted for it")
    if grant.fields or grant.volumes or grant.retention_days or not grant.population.everyone:
        _invalid(where, f"{grant.purpose} has an aggregate over everyone, and no fields, volumes or retention")
    _check_events(f"{where}.aggregate.events", terms, catalogue)
    if not 1 <= terms.min_persons <= MAX_MIN_PERSONS:
        _invalid(f"{where}.aggregate.min_persons", f"1 to {MAX_MIN_PERSONS}")
    if not 1 <= terms.budget_micro <= MAX_BUDGET_MICRO:
        _invalid(f"{where}.aggregate.budget_micro", f"1 to {MAX_BUDGET_MICRO} millionths of epsilon")
    if not 0 <= terms.delta_nano <= MAX_DELTA_NANO:
        _invalid(f"{where}.aggregate.delta_nano", f"0 to {MAX_DELTA_NANO} thousand-millionths of delta")
    if terms.period not in PERIODS:
        _invalid(f"{where}.aggregate.period", f"one of {', '.join(PERIODS)}")


def _check_events(where: str, terms: AggregateTerms, catalogue: Catalogue) -> None:
    if not 1 <= len(terms.events) <= MAX_EVENTS or len({e.event for e in terms.events}) < len(terms.events):
        _invalid(where, f"1 to {MAX_EVENTS}, each once")
    for granted in terms.events:
        known = catalogue.event(granted.event).attributes
        if len(set(granted.dimensions)) < len(granted.dimensions):
            _invalid(where, "a dimension stands twice")
        for name in granted.dimensions:
            if name not in known:
                _invalid(where, f"{granted.event} has the dimensions {', '.join(known) or 'none'}")


def check(terms: Terms, catalogue: Catalogue) -> None:
    """Refuse terms that could not be kept: unknown purposes, fields or transforms, impossible dates, no limit.

    Raises:
        SlussError: INVALID_TERMS with the place, PURPOSE_UNKNOWN, FIELD_UNKNOWN or FIELD_FORBIDDEN.
    """
    if not SUBCONTRACTOR.fullmatch(terms.subcontractor):
        _invalid("subcontractor", "subcontractor/<id> is needed")
    _check_text("recipient_name", terms.recipient_name)
    _check_text("recipient_address", terms.recipient_address)
    _check_text("reference", terms.reference)
    if terms.valid_until < terms.valid_from:
        _invalid("valid_until", "before valid_from")
    if not 1 <= len(terms.grants) <= MAX_GRANTS:
        _invalid("grants", f"1 to {MAX_GRANTS} are needed")
    purposes = [grant.purpose for grant in terms.grants]
    if len(set(purposes)) != len(purposes):
        _invalid("grants", "one grant per purpose")
    for number, grant in enumerate(terms.grants):
        where = f"grants[{number}]"
        kind = catalogue.purpose(grant.purpose).kind
        if kind == ANONYMOUS:
            _check_anonymous(where, grant, catalogue)
            continue
        if kind not in CHOICE_RULES:
            _invalid(f"{where}.purpose", f"{grant.purpose} can't be granted by a contract")
        if grant.aggregate is not None:
            _invalid(f"{where}.aggregate", f"{grant.purpose} is for data of persons, not for counts")
        _check_fields(where, grant, catalogue)
        _check_population(f"{where}.population", grant.population, catalogue)
        if not 1 <= grant.retention_days <= MAX_RETENTION_DAYS:
            _invalid(f"{where}.retention_days", f"1 to {MAX_RETENTION_DAYS}")
        _check_volumes(f"{where}.volumes", grant)
