"""The tables. SQLModel for shapes and everyday work; the hot path uses `__table__` through SQLAlchemy Core.

Only what SQLite, PostgreSQL and PostgreSQL-compatible distributed databases share: no sequences (the program
assigns every key), no server-side defaults, times as integer microseconds since 1970 UTC.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, text
from sqlmodel import Field, SQLModel

_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits everywhere; by this name SQLite makes the key its own row number and keeps no second index."""

_NO_ROW_ID = {"sqlite_with_rowid": False}
"""On SQLite the row stands in the key's index and nowhere else: for narrow rows with a compound key."""


class Head(SQLModel, table=True):
    """The one row (id 1) that everything which appends or changes rights locks first.

    `rights` counts the changes to contracts, keys, certificates, choices, catalogue, policy and existing
    persons: a batch that was decided at another count is decided anew under the lock.
    """

    __tablename__ = "head"
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    root: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    note: str = Field(sa_column=Column(Text, nullable=False))
    rights: int = Field(sa_column=Column(BigInteger, nullable=False))
    contracts: int = Field(sa_column=Column(BigInteger, nullable=False))


RIGHTS = "type IN ('catalogue', 'certificate', 'contract', 'key', 'policy')"
"""Entries that rights stand on. Queries repeat these very words: only then does either store use the index."""
CASES = "type = 'case'"
"""Steps of legal cases, among the many entries of a release; likewise."""


class LedgerEntry(SQLModel, table=True):
    """An entry's canonical bytes by its index in the tree; never updated, never deleted.

    `type`, `contract`, `recipient` and `at` repeat what the bytes say, for search; `verify` compares them.
    """

    __tablename__ = "ledger_entry"
    __table_args__ = (
        Index("ledger_entry_contract", "contract", "id"),
        Index("ledger_entry_recipient", "recipient", "id"),
        Index(
            "ledger_entry_rights",
            "type",
            "contract",
            "recipient",
            "id",
            sqlite_where=text(RIGHTS),
            postgresql_where=text(RIGHTS),
        ),
        Index(
            "ledger_entry_cases",
            "contract",
            "id",
            sqlite_where=text(CASES),
            postgresql_where=text(CASES),
        ),
    )
    id: int = Field(sa_column=Column(_ROW_ID, primary_key=True, autoincrement=False))
    entry: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    type: str = Field(sa_column=Column(Text, nullable=False))
    contract: str = Field(sa_column=Column(Text, nullable=False))
    recipient: str = Field(sa_column=Column(Text, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))


class LedgerTile(SQLModel, table=True):
    """A C2SP tile: up to 256 node hashes of 32 bytes; only the right-most of a level is ever rewritten."""

    __tablename__ = "ledger_tile"
    level: int = Field(primary_key=True)
    id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    hashes: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LedgerCheckpoint(SQLModel, table=True):
    """A published checkpoint: a signed note with an Ed25519 signature and an ML-DSA-44 cosignature."""

    __tablename__ = "ledger_checkpoint"
    size: int = Field(sa_column=Column(_ROW_ID, primary_key=True, autoincrement=False))
    note: str = Field(sa_column=Column(Text, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))


class LedgerPerson(SQLModel, table=True):
    """Which entries speak of a person: what the ledger's commitments hide. Goes with the person's erasure."""

    __tablename__ = "ledger_person"
    __table_args__ = _NO_ROW_ID
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))


class Person(SQLModel, table=True):
    """A person's record: sealed fields under keys of their own (see vault.py for the two formats).

    `choices` is a JSON object purpose -> "in" or "out", the choices now in force. `fingerprint` is a keyed
    digest of all values, so that importing the same row again is seen without opening anything.
    """

    __tablename__ = "person"
    id: int = Field(sa_column=Column(_ROW_ID, primary_key=True, autoincrement=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    keys: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    financial_keys: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    record: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    choices: str = Field(sa_column=Column(Text, nullable=False))
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    updated_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class BlindIndex(SQLModel, table=True):
    """Keyed digests for look-up by e-mail, phone and customer number; `kind` names which."""

    __tablename__ = "blind_index"
    __table_args__ = (Index("blind_index_person", "person"), _NO_ROW_ID)
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))


class UniqueNumber(SQLModel, table=True):
    """One row per customer number (its blind-index digest): two registrations can't race past each other."""

    __tablename__ = "unique_number"
    __table_args__ = (Index("unique_number_person", "person"),)
    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    person: int = Field(sa_column=Column(BigInteger, nullable=False))


class Choice(SQLModel, table=True):
    """The history of a person's choices; the latest per purpose is also in `Person.choices`."""

    __tablename__ = "choice"
    __table_args__ = _NO_ROW_ID
    person: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    purpose: str = Field(sa_column=Column(Text, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    channel: str = Field(sa_column=Column(Text, nullable=False))
    source: str = Field(sa_column=Column(Text, nullable=False))
    policy: str = Field(sa_column=Column(Text, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False))


class Contract(SQLModel, table=True):
    """A contract: which version is in force, which waits for acceptance, and its state."""

    __tablename__ = "contract"
    __table_args__ = (Index("contract_subcontractor", "subcontractor", "id"),)
    id: str = Field(sa_column=Column(Text, primary_key=True))
    subcontractor: str = Field(sa_column=Column(Text, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    version: int = Field(nullable=False)
    proposed: int = Field(nullable=False)
    handle_key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))
    etag: int = Field(sa_column=Column(BigInteger, nullable=False))
    updated_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class ContractVersion(SQLModel, table=True):
    """The canonical terms of one version, and the signature by which it was accepted (empty until then)."""

    __tablename__ = "contract_version"
    contract: str = Field(sa_column=Column(Text, primary_key=True))
    version: int = Field(primary_key=True)
    terms: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    signature: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    certificate: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    proposed_by: str = Field(sa_column=Column(Text, nullable=False))
    proposed_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    accepted_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class RecipientKey(SQLModel, table=True):
    """A subcontractor's encryption key; the highest `serial` that is not retired is sealed to."""

    __tablename__ = "recipient_key"
    id: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    subcontractor: str = Field(sa_column=Column(Text, nullable=False, index=True))
    serial: int = Field(nullable=False)
    suite: int = Field(nullable=False)
    public_key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    registered_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    retired_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class Epoch(SQLModel, table=True):
    """An epoch secret, sealed under a ring of the broker's, and its encapsulation to the recipient's key."""

    __tablename__ = "epoch"
    id: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    contract: str = Field(sa_column=Column(Text, nullable=False))
    key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    secret: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    encapsulation: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    started_at: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))


class Request(SQLModel, table=True):
    """What a request id was used for: the digest of its body and the entries that answered it."""

    __tablename__ = "request"
    principal: str = Field(sa_column=Column(Text, primary_key=True))
    id: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    first_entry: int = Field(sa_column=Column(BigInteger, nullable=False))
    entries: int = Field(nullable=False)
    reply: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    at: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))


class Volume(SQLModel, table=True):
    """Persons disclosed under one grant of a contract in one window; `start` in seconds since 1970 UTC."""

    __tablename__ = "volume"
    __table_args__ = _NO_ROW_ID
    contract: str = Field(sa_column=Column(Text, primary_key=True))
    purpose: str = Field(sa_column=Column(Text, primary_key=True))
    window: str = Field(sa_column=Column(Text, primary_key=True))
    start: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    persons: int = Field(sa_column=Column(BigInteger, nullable=False))


class RefusalCount(SQLModel, table=True):
    """Refusals of one caller in one window: the first few have entries of their own, the rest is counted."""

    __tablename__ = "refusal_count"
    principal: str = Field(sa_column=Column(Text, primary_key=True))
    start: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    reason: str = Field(sa_column=Column(Text, primary_key=True))
    count: int = Field(sa_column=Column(BigInteger, nullable=False))
    folded: int = Field(sa_column=Column(BigInteger, nullable=False))


class Certificate(SQLModel, table=True):
    """A pinned certificate: SHA-256 of its SubjectPublicKeyInfo -> principal. `revoked_at` 0 means good."""

    __tablename__ = "certificate"
    spki: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    principal: str = Field(sa_column=Column(Text, nullable=False, index=True))
    serial: str = Field(sa_column=Column(Text, nullable=False))
    not_after: int = Field(sa_column=Column(BigInteger, nullable=False))
    issued_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    revoked_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))


class Catalogue(SQLModel, table=True):
    """The reviewed TOML file of fields, purposes and policy, versioned; the highest serial is in force."""

    __tablename__ = "catalogue"
    serial: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    toml: str = Field(sa_column=Column(Text, nullable=False))
    loaded_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class PolicyVersion(SQLModel, table=True):
    """A version of the privacy policy and the moment from which it applies."""

    __tablename__ = "policy_version"
    id: str = Field(sa_column=Column(Text, primary_key=True))
    effective_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LegalCase(SQLModel, table=True):
    """A legal case. What is written of it is sealed in `body`; the columns are what lists and secrecy need.

    `number` counts all cases, for their order. `hidden_until` is the moment at which secrecy ends (0: never hidden).
    `place`, `done`, `total`, `released` and `complete` say how far its release has come.
    """

    __tablename__ = "legal_case"
    __table_args__ = (Index("legal_case_number", "number", unique=True),)
    id: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    ground: str = Field(sa_column=Column(Text, nullable=False))
    handler: str = Field(sa_column=Column(Text, nullable=False))
    hidden_until: int = Field(sa_column=Column(BigInteger, nullable=False))
    keys: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    etag: int = Field(sa_column=Column(BigInteger, nullable=False))
    place: int = Field(sa_column=Column(BigInteger, nullable=False))
    done: int = Field(sa_column=Column(BigInteger, nullable=False))
    total: int = Field(sa_column=Column(BigInteger, nullable=False))
    released: int = Field(sa_column=Column(BigInteger, nullable=False))
    complete: int = Field(nullable=False)
    updated_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class LegalEvent(SQLModel, table=True):
    """A line of a case's timeline: the ledger entry, and what was written then, sealed; the entry commits to it."""

    __tablename__ = "legal_event"
    case: str = Field(sa_column=Column(Text, primary_key=True))
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    text: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LegalDocument(SQLModel, table=True):
    """A document of a case: `about` (name, media type, digest) and `content`, both sealed."""

    __tablename__ = "legal_document"
    case: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    entry: int = Field(sa_column=Column(BigInteger, nullable=False))
    about: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class SealedEntry(SQLModel, table=True):
    """What opens a sealed entry of the ledger: salt and entry, sealed under the case's keys."""

    __tablename__ = "sealed_entry"
    __table_args__ = (Index("sealed_entry_case", "case", "entry"),)
    entry: int = Field(sa_column=Column(_ROW_ID, primary_key=True, autoincrement=False))
    case: str = Field(sa_column=Column(Text, nullable=False))
    opening: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


def core(model: type[SQLModel]) -> Table:
    """The SQLAlchemy Core table behind a model."""
    return SQLModel.metadata.tables[str(model.__tablename__)]
