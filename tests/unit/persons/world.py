"""A broker's store room without its network: desk, ledger and vault on a migrated database, callers pinned.

Keys are fixed, so that several processes can open the same world: `World(open_engine(url))`.
"""

from __future__ import annotations

import hashlib
import itertools
import uuid

import orjson
from sqlalchemy import insert, select, update
from sqlmodel import SQLModel

from broker import catalogue
from broker.choices import importing as lists
from broker.choices import recording, showing
from broker.choices.model import Batch as ChoiceBatch
from broker.choices.model import ChoiceMade, Recording
from broker.clock import rfc3339, system_clock
from broker.desk import Desk
from broker.identity import Caller, Evidence
from broker.keys.provider import RINGS
from broker.keys.ring import KeyRing
from broker.ledger import entry
from broker.ledger.log import Ledger
from broker.ledger.signer import LedgerKeys
from broker.persons import lookup, register
from broker.persons import update as updating
from broker.persons.importing import Importer
from broker.persons.model import Batch, Correction, Registration, Row
from broker.refusals import RefusalLog
from broker.store import tables
from broker.store.engine import reading
from broker.vault import Vault

ORIGIN = "example.com/sluss"
DOMAIN = "example.com"
POLICY = "2026-01"
KINDS = ("internal", "privacy", "legal", "operator", "subcontractor")
ALLOWED = {
    "RegisterPerson": {"internal"},
    "UpdatePerson": {"internal", "privacy"},
    "GetPerson": {"internal", "privacy", "legal", "operator"},
    "LookUpPersons": {"internal", "privacy", "legal"},
    "GetHandles": {"internal", "privacy"},
    "RecordChoice": {"internal", "privacy"},
    "ListChoices": {"internal", "privacy", "legal"},
    "ImportChoices": {"internal", "privacy"},
    "ExportChoices": {"internal", "privacy"},
    "ImportPersons": {"internal"},
    "ErasePerson": {"privacy"},
}
CANARIES = {
    "customer_number": "KX-774411-CANARY",
    "name.given": "Zwolfcanary",
    "name.family": "Quastenflosser",
    "email": "canary.zq7@example.com",
    "phone": "+46701740605",
    "payment.iban": "SE4550000000058398257466",
}


class World:
    """Everything that the persons' room stands on, and its calls by name."""

    def __init__(self, engine, clock=system_clock):
        self.engine = engine
        rings = {name: KeyRing(name, {1: hashlib.sha256(name.encode()).digest()}) for name in RINGS}
        self.vault = Vault(rings)
        self.ledger = Ledger(engine, LedgerKeys(ORIGIN, b"\x01" * 32, b"\x02" * 32).signer(), ORIGIN, clock)
        self.desk = Desk(engine, self.ledger, self.vault, RefusalLog(), clock, DOMAIN)
        self.importer = Importer(engine, self.desk)

    def found(self):
        """Genesis, catalogue, policy and a pinned certificate of each kind."""
        self.ledger.genesis()
        self.replace_catalogue(catalogue.default_catalogue_text())
        self.publish(POLICY, 0)
        for kind in KINDS:
            self.pin(f"{kind}/one", spki(kind))
        return self

    def pin(self, name, spki):
        row = {"principal": name, "serial": "1", "not_after": 0, "issued_at": 0, "revoked_at": 0, "reason": ""}
        self.change_rights(
            insert(tables.Certificate.__table__).values(spki=spki, **row),
            entry.certificate(1, "pinned", name, spki, "operator/test", ""),
        )

    def change_rights(self, statement, *entries):
        """Do what other rooms do: change a table that rights rest on, with its entries, in ledger order."""

        def work(tx):
            tx.connection.execute(statement)
            for each in entries:
                tx.append(entry.canonical(entry.parse(each) | {"at": rfc3339(tx.at)}))
            tx.bump_rights()

        self.ledger.run(work)

    def publish(self, version, effective_at):
        """A policy version, with its entry."""
        digest = hashlib.sha256(version.encode()).digest()
        row = {"id": version, "effective_at": effective_at, "digest": digest}
        said = entry.policy(1, version, effective_at, digest, "privacy/one")
        self.change_rights(insert(tables.PolicyVersion.__table__).values(**row), said)

    def revoke(self, kind):
        table = tables.Certificate.__table__
        self.change_rights(update(table).where(table.c.spki == spki(kind)).values(revoked_at=1))

    def replace_catalogue(self, text):
        serial = len(self.table("catalogue")) + 1
        row = {"serial": serial, "digest": b"", "toml": text, "loaded_at": 0}
        digest = catalogue.parse_catalogue(text).digest
        said = entry.catalogue(1, digest, "operator/test")
        self.change_rights(insert(tables.Catalogue.__table__).values(**row), said)

    # Calls.

    def register(self, values=None, *, source="registration", made=(), request_id=None, kind="internal"):
        asked = Registration(request_id or uuid.uuid4().bytes, list((values or CANARIES).items()), source, list(made))
        return self.desk.change(caller("RegisterPerson", kind), lambda change: register.register(change, asked))

    def update(self, person, etag, values=(), remove=(), *, source="correction", kind="internal"):
        asked = Correction(person, list(dict(values).items()), list(remove), source, etag)
        return self.desk.change(caller("UpdatePerson", kind), lambda change: updating.update(change, asked))

    def get(self, person, *, values=False, kind="internal"):
        return self.desk.read(caller("GetPerson", kind), lambda view: lookup.get(view, person, include_values=values))

    def texts(self, person):
        """The values on record by field."""
        return {field.name: field.text for field in self.get(person, values=True).fields}

    def look_up(self, kind, text, *, by="internal"):
        return self.desk.read(caller("LookUpPersons", by), lambda view: lookup.look_up(view, kind, text))

    def handles(self, contract, persons):
        return self.desk.read(caller("GetHandles"), lambda view: lookup.handles(view, contract, persons))

    def choose(
        self,
        person,
        purpose,
        state="in",
        *,
        channels=(),
        medium="web",
        source="preferences",
        evidence="",
        request_id=None,
    ):
        made = ChoiceMade(purpose, state, tuple(channels), medium)
        asked = Recording(request_id or uuid.uuid4().bytes, person, made, source, evidence)
        return self.desk.change(caller("RecordChoice"), lambda change: recording.record(change, asked))

    def choices(self, person, before=0, limit=100):
        return self.desk.read(caller("ListChoices"), lambda view: showing.listed(view, person, before, limit))

    def load_list(self, rows, **more):
        return lists.run(self.desk, caller("ImportChoices"), lambda: ChoiceBatch(list(rows), **more))

    def load(self, rows, *, source="import:crm", dry_run=False, kind="internal"):
        """Import rows, each a mapping or a list of pairs."""
        batch = Batch([Row(line, pairs(row)) for line, row in enumerate(rows, 1)], source, dry_run)
        return self.importer.run(caller("ImportPersons", kind), lambda: batch)

    # The whole state.

    @staticmethod
    def table_of(name):
        return SQLModel.metadata.tables[name]

    def table(self, name):
        """All rows of a table in order of key."""
        table = self.table_of(name)
        with reading(self.engine) as connection:
            return connection.execute(select(table).order_by(*table.primary_key)).all()

    def entries(self, kind=""):
        """The ledger's entries, parsed."""
        return [orjson.loads(row.entry) for row in self.ledger.entries(0, 100_000, type=kind)]

    def rights(self):
        (head,) = self.table("head")
        return head.rights

    def check(self):
        """Assert what must hold after every step: indexes and numbers follow the records, and nothing else."""
        text = catalogue.default_catalogue()
        indexes, numbers = set(), set()
        for row in self.table("person"):
            if not row.keys:
                continue
            values = {name: value.text for name, value in self.vault.open_record(row).items()}
            for field, value in values.items():
                kind = text.fields[field].index if field in text.fields else ""
                if kind:
                    form = value.casefold() if kind == "email" else value
                    if kind == "customer_number":
                        form = form.translate(str.maketrans("", "", " -./")).upper()
                        numbers.add((self.vault.index_digest(kind, form), row.id))
                    indexes.add((kind, self.vault.index_digest(kind, form), row.id))
        assert {tuple(row) for row in self.table("blind_index")} == indexes
        assert {tuple(row) for row in self.table("unique_number")} == numbers


def catalogue_without(name):
    """The shipped catalogue's text, one field less."""
    head, *fields = catalogue.default_catalogue_text().split("[[field]]")
    return "[[field]]".join([head, *(part for part in fields if f'name = "{name}"' not in part)])


def spki(kind):
    return hashlib.sha256(kind.encode()).digest()


def caller(method, kind="internal"):
    uri = f"spiffe://{DOMAIN}/{kind}/one"
    return Caller(Evidence(uri, spki(kind), b""), f"/sluss.v1.PersonService/{method}", frozenset(ALLOWED[method]))


def pairs(row):
    return list(row.items()) if isinstance(row, dict) else list(row)


def ticking(start=1_790_000_000_000_000, step=1_000_000):
    """A clock that moves a second each time it is read."""
    return itertools.count(start, step).__next__
