"""Canaries: persons who do not exist, each on record for one contract only.

A canary is a row of `person` in the state `canary:<contract>`, which every other reader takes for somebody who is not
on record, and whose keys open in that state only (vault.py). Its addresses and numbers are in an index of their own,
where tracing looks and nobody else. What it is made of is kept sealed under the key of the contract's canaries, so that
neither a changed row nor one that was moved to another contract can accuse anybody: it does not open.

The ledger counts canaries and commits to which they are; it names no contract, since its readers include recipients.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import exists, func, insert, select, update

from broker import requests
from broker.clock import SECOND, day_of, rfc3339
from broker.contracts import State, canary_state, safe_contract
from broker.errors import Reason, SlussError, invalid
from broker.handles import handles_of
from broker.ids import new_person_id
from broker.ledger import entry
from broker.ledger.rows import read_entry
from broker.ledger.standing import differs
from broker.obligations.owing import owe
from broker.own_keys import NO_CHOICES
from broker.persons import rows as person_rows
from broker.store import tables
from broker.store.driver import change as run
from broker.store.queries import BLIND_INDEX, CANARY, PERSON, WHOLE, persons_after, read_persons
from broker.tracing import invention
from broker.tracing.invention import Draw, Model
from broker.values import index_form
from broker.vault import ERASED, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from broker.contracts import Terms
    from broker.desk import Change, View
    from broker.rights import HeldContract
    from broker.tracing.invention import Template
    from broker.vault import Vault

ENTRY_LABEL: Final = b"sluss/v1 canary entry\x00"
FACTS_LABEL: Final = b"sluss/v1 canary facts\x00"
CANARY_INDEX: Final = tables.core(tables.CanaryIndex)
RETIRED: Final = "retired"
"""The state of a canary's row once it is out of use."""
MAX_PLANTED: Final = 100
IN_USE: Final = -1
SOURCE: Final = "registration"
MODELS: Final = 200
"""Persons on record among whom canaries find whom to look like."""

_NONCE: Final = 12
_INDEX: Final = "INSERT INTO canary_index (kind, digest, person) VALUES (?, ?, ?)"
_NAMES_A_CONTRACT: Final = re.compile(r"C-[0-9]{4}-[0-9]{4}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Planting:
    """What is to be planted."""

    request_id: bytes
    contract: str
    count: int
    template: Template
    reason: str


@dataclass(frozen=True, slots=True)
class Retiring:
    """What is to be retired: these numbers, or all that are in use."""

    request_id: bytes
    contract: str
    numbers: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A canary as it is shown; times in microseconds since 1970 UTC."""

    contract: str
    number: int
    handle: bytes
    planted_at: int
    retired_at: int
    intact: bool
    values: Mapping[str, str]


# --- planting -------------------------------------------------------------------------------------


def plant(change: Change, asked: Planting) -> tuple[list[Shown], int, list[str]]:
    """Plant canaries: those planted, the entry's index, and the granted fields that they lack.

    Raises:
        SlussError: CONTRACT_UNKNOWN, CONTRACT_NOT_ACCEPTED, CONTRACT_TERMINATED; INVALID_REQUEST if nobody can be added
            to the contract's populations, or none of what it grants tells a canary; REQUEST_ID_REUSED.
    """
    held = _contract(change, asked.contract)
    terms, vault = _terms(held), change.snapshot.vault
    granted = {field.field for grant in terms.grants for field in grant.fields}
    lacking = invention.left_out(granted, change.snapshot.catalogue, asked.template)
    template = asked.template
    body = person_rows.request_body(
        vault, "plant", asked.contract, asked.count, list(template.email_domains), list(template.phone_patterns),
        template.customer_number_pattern, template.country, asked.reason,
    )  # fmt: skip
    name = change.principal.name
    known = requests.find_one(change, asked.request_id, body)
    if known is not None:
        return _planted_by(change, known.first_entry), known.first_entry, lacking
    _check_reason(asked.reason)
    invention.check_template(template, change.snapshot.catalogue)
    telling = _telling(change, terms, template)
    # 1. invent
    first = _last_number(change.connection, asked.contract) + 1
    made = _invent(change, terms, asked, telling, first)
    # 2. the entry
    numbers = list(range(first, first + asked.count))
    committed = _commitment(vault, asked.contract, "planted", numbers, rfc3339(change.now_us))
    index = change.tx.append(entry.canary(change.now_us, "planted", asked.count, committed, name, asked.reason))
    # 3. the rows
    _insert(change, asked.contract, dict(zip(numbers, made, strict=True)), index)
    requests.remember_one(change, asked.request_id, requests.Known(body, index, 1, b""))
    # The entry is written with the commit, so there is nothing yet to compare it with.
    planted = [replace(each, intact=True) for each in _planted_by(change, index)]
    return planted, index, lacking


def _contract(view: View, contract: str) -> HeldContract:
    if safe_contract(contract) != contract:
        raise SlussError(Reason.CONTRACT_UNKNOWN, contract=safe_contract(contract))
    return view.snapshot.contract(view.connection, contract)


def _terms(held: HeldContract) -> Terms:
    """The terms in force; a contract that is suspended, or not valid yet, may have canaries already."""
    facts = held.facts
    if facts.state is State.TERMINATED:
        raise SlussError(Reason.CONTRACT_TERMINATED, contract=facts.id)
    if facts.terms is None:
        raise SlussError(Reason.CONTRACT_NOT_ACCEPTED, contract=facts.id)
    return facts.terms


def _check_reason(reason: str) -> None:
    if _NAMES_A_CONTRACT.search(reason):
        raise invalid("reason", "names a contract; the entry is for all to read, so that would tell where canaries are")


def _telling(change: Change, terms: Terms, template: Template) -> frozenset[str]:
    """The fields that tell a canary: addresses and numbers that the contract grants in full.

    Raises:
        SlussError: INVALID_REQUEST if it grants none, as its leak could never be told, or if nobody can be added to it.
    """
    catalogue = change.snapshot.catalogue
    can = invention.inventable(catalogue, template)
    full = {field.field for grant in terms.grants for field in grant.fields if field.transform == "full"}
    telling = frozenset(name for name in full & can if catalogue.fields[name].index)
    if not telling:
        why = (
            "template: the contract grants no address or number in full that this template makes,"
            " so that a canary could not be told"
        )
        raise SlussError(Reason.INVALID_REQUEST, why, field="template")
    if all(grant.population.persons for grant in terms.grants):
        raise invalid("contract_id", "its grants list their persons, and nobody can be added to them")
    return telling


def _invent(change: Change, terms: Terms, asked: Planting, telling: frozenset[str], first: int) -> list[dict[str, str]]:
    vault, catalogue, connection = change.snapshot.vault, change.snapshot.catalogue, change.connection
    taken: set[tuple[str, bytes]] = set()

    def is_free(kind: str, value: str) -> bool:
        """Also takes it."""
        key = (kind, vault.index_digest(kind, index_form(kind, value)))
        if key in taken or _is_taken(connection, *key):
            return False
        taken.add(key)
        return True

    key, today = vault.canary_key(asked.contract), day_of(change.now_us)
    models = _models(change, terms, telling)
    made = []
    for number in range(first, first + asked.count):
        draw = Draw(key, number)
        made.append(invention.invent(draw, catalogue, asked.template, draw.pick(models), today, is_free))
    return made


def _is_taken(connection: Connection, kind: str, digest: bytes) -> bool:
    of_persons = exists().where(BLIND_INDEX.c.kind == kind, BLIND_INDEX.c.digest == digest)
    of_canaries = exists().where(CANARY_INDEX.c.kind == kind, CANARY_INDEX.c.digest == digest)
    return bool(connection.execute(select(of_persons | of_canaries)).scalar_one())


def _models(change: Change, terms: Terms, telling: frozenset[str]) -> list[Model]:
    """Whom canaries are to look like: some of those on record; of their values only the country is read.

    Only who has a field that tells a canary; if nobody has, canaries have all that can be invented.
    """
    vault = change.snapshot.vault
    among = _among(terms)
    found = persons_after(change.connection, new_person_id(), MODELS)
    found += persons_after(change.connection, 0, MODELS - len(found)) if len(found) < MODELS else []
    told = [name for name in ("address.country",) if name in change.snapshot.catalogue.fields]
    models = []
    for row in found:
        try:
            fields = vault.fields_present(row)
            if fields & telling:
                country = vault.open_fields(row, told, allow_financial=False).get("address.country", "")
                models.append(Model(fields, country, among))
        except SlussError:
            continue  # a damaged row is nobody to look like
    return models or [Model(frozenset(change.snapshot.catalogue.fields), "", among)]


def _among(terms: Terms) -> dict[str, frozenset[str]]:
    """What values must be for a canary to be of as many of the contract's populations as can be, the first foremost."""
    among: dict[str, frozenset[str]] = {}
    for grant in terms.grants:
        wanted = {
            predicate.field: among.get(predicate.field, predicate.values) & predicate.values
            for predicate in grant.population.predicates
        }
        if all(wanted.values()):
            among.update(wanted)
    return among


def _insert(change: Change, contract: str, made: Mapping[int, Mapping[str, str]], index: int) -> None:
    vault, catalogue, at = change.snapshot.vault, change.snapshot.catalogue, change.now_us
    state = canary_state(contract)
    for number, values in made.items():
        person = new_person_id()
        stored = {name: Value(text, SOURCE, at // SECOND) for name, text in values.items()}
        sealed = vault.seal_record(person, stored, frozenset(), state=state)
        change.connection.execute(
            insert(PERSON).values(
                id=person,
                state=state,
                version=person_rows.FIRST_VERSION,
                **sealed._asdict(),
                choices=person_rows.kept(vault, person, sealed, state).choices,
                created_at=at,
                updated_at=at,
            )
        )
        change.connection.execute(
            insert(CANARY).values(
                person=person,
                contract=contract,
                number=number,
                facts=_seal(vault, contract, person, number, values),
                planted=index,
                planted_at=at,
                retired=IN_USE,
                retired_at=0,
            )
        )
        digests = person_rows.indexes(vault, catalogue, values)
        run(change.connection, _INDEX, sorted((*digest, person) for digest in digests))


def _last_number(connection: Connection, contract: str) -> int:
    return connection.execute(select(func.max(CANARY.c.number)).where(CANARY.c.contract == contract)).scalar_one() or 0


# --- retiring -------------------------------------------------------------------------------------


def retire(change: Change, asked: Retiring) -> tuple[int, int]:
    """Retire canaries: how many, and the entry's index. Their values are destroyed; a trace knows them for good.

    Raises:
        SlussError: CONTRACT_UNKNOWN; INVALID_REQUEST for a number that is none of the contract's, or retired already.
    """
    vault, name = change.snapshot.vault, change.principal.name
    _contract(change, asked.contract)
    body = person_rows.request_body(vault, "retire", asked.contract, list(asked.numbers), asked.reason)
    known = requests.find_one(change, asked.request_id, body)
    if known is not None:
        return int.from_bytes(known.reply, "big"), known.first_entry
    _check_reason(asked.reason)
    query = select(CANARY).where(CANARY.c.contract == asked.contract, CANARY.c.retired == IN_USE)
    found = {row.number: row for row in change.connection.execute(query.order_by(CANARY.c.number))}
    numbers = sorted(asked.numbers) if asked.numbers else sorted(found)[:MAX_PLANTED]
    if any(number not in found for number in numbers):
        raise invalid("numbers", "one is no canary of this contract in use")
    if not numbers:
        return 0, 0
    committed = _commitment(vault, asked.contract, "retired", numbers, rfc3339(change.now_us))
    index = change.tx.append(entry.canary(change.now_us, "retired", len(numbers), committed, name, asked.reason))
    persons = [found[number].person for number in numbers]
    for person in persons:
        # As when a person is erased: whoever received a canary must not be able to tell it by what is asked of them.
        owe(change, person, "erase", (), "")
    change.connection.execute(
        update(CANARY).where(CANARY.c.person.in_(persons)).values(retired=index, retired_at=change.now_us)
    )
    gone = {"state": RETIRED, "choices": NO_CHOICES, "updated_at": change.now_us, **ERASED._asdict()}
    change.connection.execute(update(PERSON).where(PERSON.c.id.in_(persons)).values(**gone))
    change.tx.bump_rights()
    requests.remember_one(change, asked.request_id, requests.Known(body, index, 1, len(numbers).to_bytes(8, "big")))
    return len(numbers), index


# --- showing --------------------------------------------------------------------------------------


def listed(view: View, contract: str, after: tuple[str, int], limit: int) -> list[Shown]:
    """Up to `limit` canaries behind (contract, number), of one contract or of all, by contract and number.

    Raises:
        SlussError: CONTRACT_UNKNOWN.
    """
    query = select(CANARY).order_by(CANARY.c.contract, CANARY.c.number).limit(limit)
    if contract:
        _contract(view, contract)
        query = query.where(CANARY.c.contract == contract, CANARY.c.number > after[1])
    else:
        behind = (CANARY.c.contract == after[0]) & (CANARY.c.number > after[1])
        query = query.where((CANARY.c.contract > after[0]) | behind)
    return _shown(view, view.connection.execute(query).all())


def _planted_by(view: View, index: int) -> list[Shown]:
    query = select(CANARY).where(CANARY.c.planted == index).order_by(CANARY.c.number)
    return _shown(view, view.connection.execute(query).all())


def _shown(view: View, found: Sequence[Row[Any]]) -> list[Shown]:
    stored = {row.id: row for row in read_persons(view.connection, [row.person for row in found], WHOLE)}
    said: dict[tuple[str, int], bool] = {}
    shown = []
    for row in found:
        for event, index in (("planted", row.planted), ("retired", row.retired)):
            if index != IN_USE and (event, index) not in said:
                said[event, index] = _is_said(view, row.contract, event, index)
        values = opened(view.snapshot.vault, row)
        handle_key = view.snapshot.contract(view.connection, row.contract).handle_key
        intact = (
            values is not None
            and said["planted", row.planted]
            and (row.retired == IN_USE or said["retired", row.retired])
            and _is_stored(view, row, values, stored.get(row.person))
        )
        (handle,) = handles_of(handle_key, [row.person])
        shown.append(Shown(row.contract, row.number, handle, row.planted_at, row.retired_at, intact, values or {}))
    return shown


def _is_stored(view: View, row: Row[Any], values: Mapping[str, str], person: Row[Any] | None) -> bool:
    """Whether the canary's person and digests are as they were planted."""
    vault, catalogue = view.snapshot.vault, view.snapshot.catalogue
    query = select(CANARY_INDEX.c.kind, CANARY_INDEX.c.digest).where(CANARY_INDEX.c.person == row.person)
    digests = {(found.kind, bytes(found.digest)) for found in view.connection.execute(query)}
    if person is None or digests != person_rows.indexes(vault, catalogue, values):
        return False
    if row.retired != IN_USE:
        return bool(person.state == RETIRED)
    try:
        record = vault.open_record(person)
    except SlussError:
        return False
    texts = {name: value.text for name, value in record.items()}
    return bool(person.state == canary_state(row.contract)) and texts == dict(values)


def _is_said(view: View, contract: str, event: str, index: int) -> bool:
    """Whether the ledger's entry is of exactly the canaries that the store says."""
    column = CANARY.c.planted if event == "planted" else CANARY.c.retired
    numbers = view.connection.execute(
        select(CANARY.c.number).where(CANARY.c.contract == contract, column == index).order_by(CANARY.c.number)
    ).scalars()
    found = read_entry(view.connection, index)
    if found is None:
        return False
    said = entry.parse(found.entry)
    committed = _commitment(view.snapshot.vault, contract, event, list(numbers), said["at"])
    return bool(said["type"] == "canary" and said["commitment"] == entry.base64url(committed))


# --- what is kept ---------------------------------------------------------------------------------


def _commitment(vault: Vault, contract: str, event: str, numbers: list[int], at: str) -> bytes:
    told = entry.canonical({"contract": contract, "event": event, "numbers": numbers})
    return hmac.digest(vault.canary_key(contract), ENTRY_LABEL + at.encode("ascii") + b"\x00" + told, "sha256")


def _cipher(vault: Vault, contract: str) -> AESGCM:
    return AESGCM(hmac.digest(vault.canary_key(contract), FACTS_LABEL, "sha256"))


def _place(contract: str, person: int, number: int) -> bytes:
    return FACTS_LABEL + contract.encode() + b"\x00" + person.to_bytes(8, "big") + number.to_bytes(8, "big")


def _seal(vault: Vault, contract: str, person: int, number: int, values: Mapping[str, str]) -> bytes:
    """Kept beside the record, which goes when the canary is retired. The nonce is of a key's own number."""
    nonce = hmac.digest(vault.canary_key(contract), _place(contract, person, number), "sha256")[:_NONCE]
    return nonce + _cipher(vault, contract).encrypt(nonce, orjson.dumps(values), _place(contract, person, number))


def opened(vault: Vault, row: Row[Any]) -> dict[str, str] | None:
    """A canary's values; None if its row is not as it was planted."""
    facts = bytes(row.facts)
    try:
        place = _place(row.contract, row.person, row.number)
        plain = _cipher(vault, row.contract).decrypt(facts[:_NONCE], facts[_NONCE:], place)
    except (InvalidTag, ValueError, OverflowError):
        return None
    values: dict[str, str] = orjson.loads(plain)
    return values


def genuine(view: View, persons: Iterable[int]) -> dict[int, tuple[str, dict[str, str]]]:
    """Contract and values of those of `persons` who are canaries.

    Raises:
        SlussError: LEDGER_INCONSISTENT for a row that is not as it was planted: it could accuse somebody.
    """
    found = {}
    wanted = list(persons)
    for start in range(0, len(wanted), MAX_PLANTED):
        some = wanted[start : start + MAX_PLANTED]
        for row in view.connection.execute(select(CANARY).where(CANARY.c.person.in_(some))):
            values = opened(view.snapshot.vault, row)
            if values is None:
                raise differs("canary", contract=row.contract)
            found[row.person] = (row.contract, values)
    return found
