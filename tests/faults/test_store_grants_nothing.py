"""Whoever can write to the store, and has no key of the ledger, writes no rights there: the ledger says what is so."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import insert, select, update

from broker import contract_terms
from broker.asks import Answer
from broker.contracts import SIGNATURE_LABEL, Step
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.operator import pins
from broker.rights import CATALOGUE, CERTIFICATE, CONTRACT, KEY, VERSION
from broker.sealing import RecipientPrivateKey
from broker.store import tables
from broker.store.engine import writing
from tests.support.world import World

ENTRY = tables.core(tables.LedgerEntry)
HEAD = tables.core(tables.Head)


class Store:
    """A live contract of acme, one person, and somebody at the database's console."""

    def __init__(self, engine, vault):
        self.world = World(engine, vault)
        self.engine = engine
        self.operator = self.world.actor("operator/olle")
        self.acme = self.world.actor("subcontractor/acme")
        self.other = self.world.actor("subcontractor/other")
        self.registration = self.world.actor("internal/registration")
        self.contract = self.world.contract(self.acme, self.operator)
        self.handle = self.world.handle(self.contract, self.world.person(self.registration))
        self.before = self.world.ledger.state().tree.size

    def write(self, *statements):
        """By hand, with the count of rights moved so that every broker loads the rights anew."""
        with writing(self.engine) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.execute(update(HEAD).values(rights=HEAD.c.rights + 1))

    def row(self, table, *where):
        with self.engine.connect() as connection:
            return dict(connection.execute(select(table).where(*where)).one()._mapping)

    def outcome(self, actor=None, **extra):
        (found,) = self.world.spine.run([self.world.ask(actor or self.acme, self.contract, [self.handle], **extra)])
        return found

    def disclosures(self):
        return [each for each in self.world.entries() if each["type"] == "disclosure"]


@pytest.fixture
def store(store_engine, vault):
    return Store(store_engine, vault)


def resume_by_hand(store):
    store.world.step(store.operator, store.contract, Step.SUSPEND)
    store.write(update(CONTRACT).values(state="active"))


def give_to_another(store):
    store.world.register_key(store.other, RecipientPrivateKey.generate())
    store.write(update(CONTRACT).values(subcontractor="subcontractor/other"))


def widen_terms(store):
    wider = contract_terms.canonical(store.contract, 1, store.world.terms("subcontractor/acme", reference="x"))
    store.write(update(VERSION).values(terms=wider))


def widen_terms_and_sign_them_with_an_own_key(store):
    wider = contract_terms.canonical(store.contract, 1, store.world.terms("subcontractor/acme", reference="x"))
    signature = store.other.sign(SIGNATURE_LABEL + wider)
    row = {"terms": wider, "signature": signature, "certificate": store.other.evidence.certificate_der}
    store.write(update(VERSION).values(row))


def accept_in_the_others_name(store):
    """A proposed amendment, made the version in force though nobody accepted it."""
    wider = store.world.terms("subcontractor/acme", reference="x")
    etag = str(store.row(CONTRACT)["etag"])
    changed = store.world.desk.change(
        store.operator.caller(),
        lambda c: store.world.agreed.amend(c, store.contract, wider, etag, uuid.uuid4().bytes),
    )
    terms = changed.versions[-1].terms
    row = {
        "signature": store.acme.key.sign(SIGNATURE_LABEL + terms, ec.ECDSA(hashes.SHA256())),
        "certificate": store.acme.evidence.certificate_der,
        "accepted_at": 1,
    }
    store.write(
        update(VERSION).where(VERSION.c.version == 2).values(row), update(CONTRACT).values(version=2, proposed=0)
    )


def replace_the_key(store):
    key = RecipientPrivateKey.generate().public()
    store.write(update(KEY).values(id=key.id, suite=key.suite, public_key=key.data))


def add_a_key(store):
    key = RecipientPrivateKey.generate().public()
    row = store.row(KEY) | {"id": key.id, "suite": key.suite, "public_key": key.data, "serial": 9}
    store.write(insert(KEY).values(row))


def open_the_catalogue(store):
    row = store.row(CATALOGUE)
    toml = row["toml"] + "\n"
    store.write(
        insert(CATALOGUE).values(row | {"serial": 2, "toml": toml, "digest": hashlib.sha256(toml.encode()).digest()})
    )


def unpin_and_take_the_name(store):
    """The other's certificate, in the store that of acme."""
    store.write(
        update(CERTIFICATE)
        .where(CERTIFICATE.c.spki == store.other.evidence.spki)
        .values(principal="subcontractor/acme")
    )
    store.acme.evidence = replace(store.other.evidence, uri=store.acme.evidence.uri)


def good_again(store):
    """A revoked certificate, in the store a good one."""
    good = CERTIFICATE.c.spki == store.acme.evidence.spki
    pins.revoke(store.world.ledger, good, "stolen")
    store.write(update(CERTIFICATE).where(good).values(revoked_at=0))


def forge_the_entry_too(store):
    """The contract's row, and in the place of its suspension an entry that says the same as the row."""
    suspended = store.world.step(store.operator, store.contract, Step.SUSPEND)[1]
    said = entry.parse(store.row(ENTRY, ENTRY.c.id == suspended)["entry"])
    store.write(
        update(ENTRY).where(ENTRY.c.id == suspended).values(entry=entry.canonical(said | {"event": "accepted"})),
        update(CONTRACT).values(state="active"),
    )


TAMPERINGS = [
    resume_by_hand,
    give_to_another,
    widen_terms,
    widen_terms_and_sign_them_with_an_own_key,
    accept_in_the_others_name,
    replace_the_key,
    add_a_key,
    unpin_and_take_the_name,
    good_again,
    forge_the_entry_too,
]


def test_the_store_left_alone_discloses(store):
    store.write()
    assert isinstance(store.outcome(), Answer)


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda each: each.__name__)
def test_rights_written_into_the_store_grant_nothing(store, tamper):
    tamper(store)
    actor = store.other if tamper is give_to_another else store.acme
    found = store.outcome(actor)
    assert isinstance(found, SlussError)
    assert found.reason is Reason.LEDGER_INCONSISTENT
    assert store.disclosures() == []


def test_a_catalogue_written_into_the_store_is_not_used(store):
    open_the_catalogue(store)
    with pytest.raises(SlussError) as caught:
        store.outcome()
    assert caught.value.reason is Reason.LEDGER_INCONSISTENT
    assert store.disclosures() == []
