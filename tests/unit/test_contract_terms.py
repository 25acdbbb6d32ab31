"""The canonical bytes of a contract's terms, and the terms that can't be kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import contract_terms
from broker.catalogue import default_catalogue
from broker.contracts import FieldGrant, Grant, Population, Predicate, Terms, Volume, Window
from broker.errors import Reason, SlussError

CATALOGUE = default_catalogue()
GRANT = Grant("billing", (FieldGrant("email", "full"),), Population(everyone=True), 30, (Volume(Window.DAY, 1000),))
TERMS = Terms(
    "subcontractor/acme-pay", "Acme Pay AB", "Storgatan 1", date(2026, 1, 1), date(2026, 12, 31), (GRANT,), "4711"
)
CANONICAL = (
    b'{"contract":"C-2026-0001","grants":[{"fields":[{"field":"email","transform":"full"}],"population":'
    b'{"everyone":true},"purpose":"billing","retention_days":30,"volumes":[{"persons":1000,"window":"day"}]}],'
    b'"onward_transfer":"forbidden","recipient":{"address":"Storgatan 1","name":"Acme Pay AB"},"reference":"4711",'
    b'"subcontractor":"subcontractor/acme-pay","use":"only for the purposes granted","v":1,'
    b'"valid_from":"2026-01-01","valid_until":"2026-12-31","version":1}'
)


def granted(**changes):
    return replace(TERMS, grants=(replace(GRANT, **changes),))


def fields(*names):
    return tuple(FieldGrant(*name.split("=")) for name in names)


def predicate(name, *values):
    return Population(predicates=(Predicate(name, frozenset(values)),))


# --- check -----------------------------------------------------------------------------------------

EVERY_FIELD = tuple(FieldGrant(name, "presence") for name in CATALOGUE.fields if not CATALOGUE.fields[name].forbidden)
GOOD = {
    "plain": TERMS,
    "one day": replace(TERMS, valid_until=TERMS.valid_from),
    "300 characters": replace(TERMS, recipient_name="x" * 300, recipient_address="å" * 300, reference="字" * 300),
    "longest id": replace(TERMS, subcontractor="subcontractor/" + "a" * 63),
    "one field of every name": granted(fields=EVERY_FIELD[:64]),
    "financial for payment": granted(fields=fields("payment.iban=last4", "payment.card_number=last4")),
    "secondary purposes": replace(TERMS, grants=(replace(GRANT, purpose="offers"), replace(GRANT, purpose="partners"))),
    "parent and child": replace(TERMS, grants=(GRANT, replace(GRANT, purpose="billing.collection"))),
    "1000 persons": granted(population=Population(persons=frozenset(range(1, 1001)))),
    "8 predicates of 300 values": granted(
        population=Population(predicates=(Predicate("address.city", frozenset(f"c{n}" for n in range(300))),) * 8)
    ),
    "bounds": granted(retention_days=3650, volumes=tuple(Volume(window, 10**9) for window in Window)),
    "least": granted(retention_days=1, volumes=(Volume(Window.MONTH, 1),)),
}


@pytest.mark.parametrize("terms", GOOD.values(), ids=GOOD.keys())
def test_terms_that_can_be_kept_are_accepted(terms):
    contract_terms.check(terms, CATALOGUE)
    data = contract_terms.canonical("C-2026-0001", 2, terms)
    assert contract_terms.parse(data) == ("C-2026-0001", 2, terms)


UNREADABLE = ["", "   ", "x" * 301, " " * 301 + "x", "a\x00", "a\nb", "a\tb", "a\x7f", "a\x85", "a\u200e", "a\u200f",
              "a\u061c", "a\u2028", "\u202aa", "\u202ea", "\u2066a", "\u2069a", "a\u200bb", "\ufeffa"]  # fmt: skip
REFUSED = [
    *(("subcontractor", replace(TERMS, subcontractor=text))
      for text in ("", "acme", "subcontractor/", "subcontractor/A", "subcontractor/-a", "subcontractor/a_b",
                   "subcontractor/" + "a" * 64, "subcontractor/a\n", "subcontractor/a/b", "legal/a",
                   "subcontractor/\u00e5")),
    *((name, replace(TERMS, **{name: text}))
      for name in ("recipient_name", "recipient_address", "reference") for text in UNREADABLE),
    ("valid_until", replace(TERMS, valid_until=date(2025, 12, 31))),
    ("grants", replace(TERMS, grants=())),
    ("grants", replace(TERMS, grants=(GRANT,) * 65)),
    ("grants", replace(TERMS, grants=(GRANT, replace(GRANT, retention_days=1)))),
    ("grants[1].retention_days", replace(TERMS, grants=(GRANT, replace(GRANT, purpose="support", retention_days=0)))),
    ("grants[0].purpose", granted(purpose="legal")),
    ("grants[0].purpose", granted(purpose="anonymous.advertising")),
    ("grants[0].fields", granted(fields=())),
    ("grants[0].fields", granted(fields=tuple(FieldGrant(f"f{n}", "full") for n in range(65)))),
    ("grants[0].fields", granted(fields=fields("email=full", "email=masked"))),
    ("grants[0].fields", granted(fields=fields("email="))),
    ("grants[0].fields", granted(fields=fields("email=FULL"))),
    ("grants[0].fields", granted(fields=fields("email=last4"))),
    ("grants[0].fields", granted(fields=fields("birth_date=truncated_ip"))),
    ("grants[0].fields", granted(purpose="support", fields=fields("payment.iban=presence"))),
    ("grants[0].fields", granted(purpose="credit_check", fields=fields("invoice.amount=rounded"))),
    ("grants[0].population", granted(population=Population())),
    ("grants[0].population", granted(population=Population(everyone=True, persons=frozenset({1})))),
    ("grants[0].population", granted(population=replace(predicate("email", "a"), persons=frozenset({1})))),
    ("grants[0].population", granted(population=Population(persons=frozenset(range(1, 1002))))),
    ("grants[0].population", granted(population=Population(predicates=(Predicate("email", frozenset("a")),) * 9))),
    ("grants[0].population", granted(population=predicate("payment.bank_name", "Bank"))),
    ("grants[0].population", granted(population=predicate("address.city"))),
    ("grants[0].population", granted(population=predicate("address.city", *map(str, range(301))))),
    ("grants[0].retention_days", granted(retention_days=0)),
    ("grants[0].retention_days", granted(retention_days=-1)),
    ("grants[0].retention_days", granted(retention_days=3651)),
    ("grants[0].volumes", granted(volumes=())),
    ("grants[0].volumes", granted(volumes=(Volume(Window.DAY, 1), Volume(Window.DAY, 2)))),
    ("grants[0].volumes", granted(volumes=(Volume(Window.DAY, 0),))),
    ("grants[0].volumes", granted(volumes=(Volume(Window.DAY, 10**9 + 1),))),
    ("grants[0].volumes", granted(volumes=(Volume(Window.HOUR, 1), Volume(Window.DAY, 0)))),
]  # fmt: skip


@pytest.mark.parametrize(("place", "terms"), REFUSED, ids=[f"{n}-{place}" for n, (place, _) in enumerate(REFUSED)])
def test_terms_that_could_not_be_kept_are_refused_with_their_place(place, terms):
    with pytest.raises(SlussError) as caught:
        contract_terms.check(terms, CATALOGUE)
    assert caught.value.reason is Reason.INVALID_TERMS
    assert caught.value.metadata == {"field": place}
    assert caught.value.detail.startswith(f"{place}: ")


OUTSIDE = [
    (Reason.PURPOSE_UNKNOWN, granted(purpose="")),
    (Reason.PURPOSE_UNKNOWN, granted(purpose="billing.")),
    (Reason.PURPOSE_UNKNOWN, granted(purpose="Billing")),
    (Reason.FIELD_UNKNOWN, granted(fields=fields("shoe_size=full"))),
    (Reason.FIELD_UNKNOWN, granted(fields=fields("email=full", "=full"))),
    (Reason.FIELD_FORBIDDEN, granted(fields=fields("payment.card_security_code=full"))),
    (Reason.FIELD_FORBIDDEN, granted(fields=fields("cvv=full"))),
    (Reason.FIELD_UNKNOWN, granted(population=predicate("shoe_size", "44"))),
    (Reason.FIELD_FORBIDDEN, granted(population=predicate("cvc", "123"))),
]


@pytest.mark.parametrize(("reason", "terms"), OUTSIDE)
def test_names_outside_the_catalogue_are_refused_by_name(reason, terms):
    with pytest.raises(SlussError) as caught:
        contract_terms.check(terms, CATALOGUE)
    assert caught.value.reason is reason


# --- canonical and parse ---------------------------------------------------------------------------


def test_the_canonical_bytes_are_as_documented_and_carry_the_ban_on_onward_transfer():
    assert contract_terms.canonical("C-2026-0001", 1, TERMS) == CANONICAL
    assert contract_terms.parse(CANONICAL) == ("C-2026-0001", 1, TERMS)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
POPULATIONS = st.one_of(
    st.just(Population(everyone=True)),
    st.frozensets(st.integers(1, (1 << 62) - 1), min_size=1, max_size=5).map(lambda ids: Population(persons=ids)),
    st.lists(st.builds(Predicate, TEXTS, st.frozensets(TEXTS, max_size=4)), max_size=3).map(
        lambda found: Population(predicates=tuple(found))
    ),
)
GRANTS = st.builds(
    Grant,
    purpose=TEXTS,
    fields=st.lists(st.builds(FieldGrant, TEXTS, TEXTS), max_size=3).map(tuple),
    population=POPULATIONS,
    retention_days=st.integers(0, 2**32 - 1),
    volumes=st.lists(st.builds(Volume, st.sampled_from(Window), st.integers(0, 2**53 - 1)), max_size=3).map(tuple),
)
ALL_TERMS = st.builds(
    Terms,
    subcontractor=TEXTS,
    recipient_name=TEXTS,
    recipient_address=TEXTS,
    valid_from=st.dates(),
    valid_until=st.dates(),
    grants=st.lists(GRANTS, max_size=3).map(tuple),
    reference=TEXTS,
)


@given(TEXTS, st.integers(1, 2**32 - 1), ALL_TERMS)
def test_terms_come_back_from_their_bytes_and_two_terms_never_have_the_same(contract, version, terms):
    data = contract_terms.canonical(contract, version, terms)
    assert contract_terms.parse(data) == (contract, version, terms)
    assert data == orjson.dumps(orjson.loads(data), option=orjson.OPT_SORT_KEYS)
    assert contract_terms.canonical(contract, version + 1, terms) != data


def changed(**members):
    return orjson.dumps({**orjson.loads(CANONICAL), **members}, option=orjson.OPT_SORT_KEYS)


def without(member):
    return orjson.dumps({k: v for k, v in orjson.loads(CANONICAL).items() if k != member}, option=orjson.OPT_SORT_KEYS)


def grant_changed(**members):
    (found,) = orjson.loads(CANONICAL)["grants"]
    return changed(grants=[{**found, **members}])


MUTATIONS = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "no UTF-8": b'{"v":"\xff"}',
    "space": CANONICAL.replace(b":", b": ", 1),
    "newline": CANONICAL + b"\n",
    "garbage behind": CANONICAL + b"{}",
    "other order": orjson.dumps(dict(reversed(orjson.loads(CANONICAL).items()))),
    "duplicate member": CANONICAL[:-1] + b',"version":1}',
    "escaped letter": CANONICAL.replace(b"Acme", b"\\u0041cme"),
    "another member": changed(extra=1),
    "onward transfer permitted": changed(onward_transfer="permitted"),
    "any use": changed(use="for anything"),
    "version as text": changed(version="1"),
    "version as float": CANONICAL.replace(b'"version":1', b'"version":1.0'),
    "version true": changed(version=True),
    "version null": changed(version=None),
    "version as list": changed(version=[1]),
    "contract null": changed(contract=None),
    "contract as list": changed(contract=["C-2026-0001"]),
    "subcontractor null": changed(subcontractor=None),
    "reference as number": changed(reference=4711),
    "recipient as text": changed(recipient="Acme"),
    "recipient with more": changed(recipient={"name": "Acme Pay AB", "address": "Storgatan 1", "phone": "1"}),
    "date as number": changed(valid_from=2026),
    "date in another form": changed(valid_from="20260101"),
    "date with time": changed(valid_from="2026-01-01T00:00:00"),
    "grants as object": changed(grants={}),
    "grants as text": changed(grants="billing"),
    "a grant as text": changed(grants=["billing"]),
    "a grant with more": grant_changed(onward_transfer="permitted"),
    "retention as text": grant_changed(retention_days="30"),
    "retention true": grant_changed(retention_days=True),
    "purpose null": grant_changed(purpose=None),
    "everyone as number": grant_changed(population={"everyone": 1}),
    "everyone false": grant_changed(population={"everyone": False}),
    "everyone and persons": grant_changed(population={"everyone": True, "persons": ["P-0000000000001"]}),
    "population empty": grant_changed(population={}),
    "population null": grant_changed(population=None),
    "persons unsorted": grant_changed(population={"persons": ["P-0000000000002", "P-0000000000001"]}),
    "persons twice": grant_changed(population={"persons": ["P-0000000000001", "P-0000000000001"]}),
    "no persons": grant_changed(population={"persons": []}),
    "malformed person": grant_changed(population={"persons": ["P-1"]}),
    "person as number": grant_changed(population={"persons": [1]}),
    "values unsorted": grant_changed(population={"predicates": [{"field": "address.city", "values": ["b", "a"]}]}),
    "values as text": grant_changed(population={"predicates": [{"field": "address.city", "values": "ab"}]}),
    "values as lists": grant_changed(population={"predicates": [{"field": "address.city", "values": [["a"]]}]}),
    "unknown window": grant_changed(volumes=[{"persons": 1, "window": "year"}]),
    "volume as text": grant_changed(volumes=[{"persons": "1", "window": "day"}]),
    "volume beyond 2^64": CANONICAL.replace(b'"persons":1000', b'"persons":' + b"9" * 30),
    "field with more": grant_changed(fields=[{"field": "email", "transform": "full", "x": 1}]),
    "field as text": grant_changed(fields=["email"]),
    **{f"without {member}": without(member) for member in orjson.loads(CANONICAL)},
}


@pytest.mark.parametrize("data", MUTATIONS.values(), ids=MUTATIONS.keys())
def test_bytes_that_canonical_would_not_write_are_no_terms(data):
    with pytest.raises(SlussError) as caught:
        contract_terms.parse(data)
    assert caught.value.reason is Reason.MALFORMED
    assert caught.value.metadata == {"format": "contract terms"}


@pytest.mark.parametrize("version", [0, 2, -1, "1", None])
def test_terms_of_another_format_version_are_refused_as_such(version):
    with pytest.raises(SlussError) as caught:
        contract_terms.parse(changed(v=version))
    assert caught.value.reason is Reason.UNSUPPORTED_VERSION


@given(st.data())
def test_one_changed_byte_gives_other_terms_or_none(data):
    place = data.draw(st.integers(0, len(CANONICAL) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda found: found != CANONICAL[place]))
    mutated = CANONICAL[:place] + bytes([byte]) + CANONICAL[place + 1 :]
    try:
        contract, version, terms = contract_terms.parse(mutated)
    except SlussError:
        return
    assert (contract, version, terms) != ("C-2026-0001", 1, TERMS)
    assert contract_terms.canonical(contract, version, terms) == mutated
