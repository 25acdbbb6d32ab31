"""The tables. SQLModel for shapes and everyday work; the hot path uses `__table__` through SQLAlchemy Core.

Only what SQLite, PostgreSQL and PostgreSQL-compatible distributed databases share: no sequences (the program
assigns every key), no server-side defaults, times as integer microseconds since 1970 UTC. One file per room.
"""

from broker.store.tables.aggregates import (
    AggregateAnswer,
    AggregateRelease,
    AggregateSpent,
    UsageCombination,
    UsageEvent,
    UsageState,
)
from broker.store.tables.choices import Choice
from broker.store.tables.columns import core
from broker.store.tables.contracts import Catalogue, Certificate, Contract, ContractVersion, PolicyVersion, RecipientKey
from broker.store.tables.erasure import Erasure, LedgerErased, LegalHold
from broker.store.tables.files import CaseFile, CaseFileEvent, CredentialLock
from broker.store.tables.ledger import (
    CASES,
    HOLDS,
    RIGHTS,
    Head,
    LedgerCheckpoint,
    LedgerEntry,
    LedgerPerson,
    LedgerTile,
    SealedEntry,
)
from broker.store.tables.legal import LegalCase, LegalDocument, LegalEvent
from broker.store.tables.obligations import Obligation, ObligationEvent, Retention
from broker.store.tables.outbox import OutboxConsumer, OutboxDelivery, OutboxItem
from broker.store.tables.person_requests import PersonRequest, PersonRequestEvent
from broker.store.tables.persons import BlindIndex, Person, UniqueNumber
from broker.store.tables.policies import Acceptance, PolicyFanOut, PolicyNotice, PolicyText
from broker.store.tables.spine import Epoch, RefusalCount, Request, Volume
from broker.store.tables.tracing import Canary, CanaryIndex, FormerIndex

__all__ = [
    "CASES",
    "HOLDS",
    "RIGHTS",
    "Acceptance",
    "AggregateAnswer",
    "AggregateRelease",
    "AggregateSpent",
    "BlindIndex",
    "Canary",
    "CanaryIndex",
    "CaseFile",
    "CaseFileEvent",
    "Catalogue",
    "Certificate",
    "Choice",
    "Contract",
    "ContractVersion",
    "CredentialLock",
    "Epoch",
    "Erasure",
    "FormerIndex",
    "Head",
    "LedgerCheckpoint",
    "LedgerEntry",
    "LedgerErased",
    "LedgerPerson",
    "LedgerTile",
    "LegalCase",
    "LegalDocument",
    "LegalEvent",
    "LegalHold",
    "Obligation",
    "ObligationEvent",
    "OutboxConsumer",
    "OutboxDelivery",
    "OutboxItem",
    "Person",
    "PersonRequest",
    "PersonRequestEvent",
    "PolicyFanOut",
    "PolicyNotice",
    "PolicyText",
    "PolicyVersion",
    "RecipientKey",
    "RefusalCount",
    "Request",
    "Retention",
    "SealedEntry",
    "UniqueNumber",
    "UsageCombination",
    "UsageEvent",
    "UsageState",
    "Volume",
    "core",
]
