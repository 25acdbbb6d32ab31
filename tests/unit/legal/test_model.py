"""The JSON of a case's body: what is written is read again, and anything else is refused."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest

from broker.contracts import FieldGrant, Population, Predicate
from broker.errors import Reason, SlussError
from broker.legal.model import (
    INSTRUMENTS,
    Begun,
    Body,
    Delivery,
    Emergency,
    Instrument,
    Key,
    Requester,
    Scope,
    Secrecy,
    canonical,
    parse,
)

TEXTS = ("Polisen", "Åklagare ”Ö”", 'L\'état \\ "x"', "裁判所", "x" * 300, "a\u2028b", "\U0001d518")
PEOPLE = ("legal/anna", "legal/bo", "legal/cleo")


def some_day(chance):
    return date(1, 1, 1) + timedelta(days=chance.randrange((date.max - date.min).days + 1))


def some_key(chance):
    return Key(chance.choice([1, 2]), chance.randbytes(chance.choice([0, 32, 1216])))


def some_scope(chance):
    fields = tuple(FieldGrant(name, chance.choice(["full", "masked"])) for name in ("email", "phone"))
    population = None
    if chance.random() < 0.5:
        predicates = (Predicate("address.country", frozenset(chance.sample(["SE", "NO", "DK"], 2))),)
        population = chance.choice([Population(everyone=True), Population(predicates=predicates)])
    persons = () if population else tuple(sorted(chance.sample(range(1, 1 << 60), chance.randint(1, 20))))
    return Scope(persons, population, fields, *(chance.choice([None, some_day(chance)]) for _ in range(2)))


def some_body(chance):
    def maybe(made):
        return chance.choice([None, made])

    return Body(
        requester=Requester(*(chance.choice(TEXTS) for _ in range(2)), "SE", chance.choice(TEXTS)),
        instrument=Instrument(chance.choice(sorted(INSTRUMENTS)), chance.choice(TEXTS), some_day(chance)),
        scope=some_scope(chance),
        received=some_day(chance),
        deadline=some_day(chance),
        delivery=maybe(Delivery(maybe(some_key(chance)), some_day(chance))),
        secrecy=maybe(Secrecy(some_day(chance), chance.randrange(1 << 62), chance.choice(TEXTS))),
        editors=tuple(sorted(chance.sample(PEOPLE, chance.randint(0, 3)))),
        prepared_by=chance.choice(["", *PEOPLE]),
        approved_by=chance.choice(["", *PEOPLE]),
        emergency=maybe(Emergency(PEOPLE[0], chance.randrange(1 << 62), chance.choice(["", *PEOPLE]), disputed=True)),
        elsewhere=chance.choice([True, False]),
        begun=maybe(Begun(chance.randrange(1 << 62), some_key(chance))),
    )


def test_a_body_is_read_as_it_was_written(campaign):
    chance = random.Random(1)
    for _ in range(5_000 if campaign else 500):
        body = some_body(chance)
        assert parse(canonical(body)) == body
        assert canonical(parse(canonical(body))) == canonical(body)


def reads_as(data):
    """The body, or None for a refusal; nothing else than this refusal may come out."""
    try:
        return parse(data)
    except SlussError as error:
        if error.reason is not Reason.INTERNAL:
            raise
        return None


def test_any_changed_byte_is_refused_or_is_another_body_written_so(campaign):
    chance = random.Random(2)
    for _ in range(30 if campaign else 3):
        body = some_body(chance)
        data = canonical(body)
        for place in range(len(data)):
            altered = bytearray(data)
            altered[place] ^= 1 << chance.randrange(8)
            found = reads_as(bytes(altered))
            assert found is None or (found != body and canonical(found) == altered)


@pytest.mark.parametrize("place", ["start", "middle", "end"])
@pytest.mark.parametrize("data", [b"", b" ", b"}", b"null", b"\x00", b'{"v":1}'])
def test_anything_added_is_refused(data, place):
    made = canonical(some_body(random.Random(3)))
    where = {"start": 0, "middle": len(made) // 2, "end": len(made)}[place]
    if data:
        assert reads_as(made[:where] + data + made[where:]) is None
    assert reads_as(made[: where or 1]) is None or place == "end"


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b'{"v":2}', b"1", b'"x"', b"\xff", b"[" * 100_000])
def test_what_is_no_body_is_refused(data):
    assert reads_as(data) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1', b'"v":2'),
        (b'"editors":[', b'"editors":{'),
        (b'"country":"SE"', b'"country":"SE","more":1'),
        (b'"scope":{', b'"scope":[{'),
        (b'"received":"', b'"received":"0'),
        (b'"prepared_by":', b'"prepared_for":'),
        (b'"persons":[', b'"persons":[true,'),
    ],
)
def test_another_shape_is_refused(old, new):
    data = canonical(some_body(random.Random(4)))
    assert old in data
    assert reads_as(data.replace(old, new, 1)) is None
