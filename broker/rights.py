"""What everybody may do, as one consistent picture: contracts, keys, certificates, catalogue, policy versions.

`head.rights` counts the changes to any of them. A `Snapshot` belongs to one count: whoever decided on a snapshot and
finds the same count under the head's lock knows that nothing it rests on has changed (DESIGN promise 2).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select

from broker import contract_terms
from broker.catalogue import Catalogue, parse_catalogue
from broker.catalogue.history import ages, with_ages
from broker.clock import micros
from broker.contract_history import ContractStanding, replay
from broker.contracts import CONTRACT_ID, SIGNATURE_LABEL, ContractFacts, Terms, parse_state, safe_contract
from broker.errors import Reason, SlussError
from broker.ledger.entry import base64url, parse
from broker.ledger.standing import Standing, differs
from broker.policies.model import replay as replay_versions
from broker.policies.model import stored as stored_versions
from broker.sealing import RecipientPublicKey
from broker.signatures import verify_signature
from broker.store import tables
from broker.store.driver import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Row

    from broker.policies.model import Version
    from broker.vault import Vault

T = TypeVar("T")
CONTRACT = tables.core(tables.Contract)
VERSION = tables.core(tables.ContractVersion)
CERTIFICATE = tables.core(tables.Certificate)
KEY = tables.core(tables.RecipientKey)
CATALOGUE = tables.core(tables.Catalogue)
POLICY = tables.core(tables.PolicyVersion)


@dataclass(frozen=True, slots=True)
class Pin:
    """A certificate's key, pinned. `revoked_at` and `not_after` in microseconds since 1970 UTC; 0 is never."""

    principal: str
    revoked_at: int
    not_after: int


@dataclass(frozen=True, slots=True)
class HeldContract:
    """A contract's facts for the decision, and the key that makes its handles."""

    facts: ContractFacts
    handle_key: bytes = field(repr=False)


@dataclass(slots=True)
class Snapshot:
    """The rights at one count. Filled while they are asked for, within the transaction that found the count.

    Attributes:
        rights: the count of `head.rights` that it belongs to.
        catalogue: fields and purposes in force.
        policies: (effective_at in microseconds, version), oldest first.
        versions: the policy versions by name.
    """

    rights: int
    catalogue: Catalogue
    policies: tuple[tuple[int, str], ...]
    versions: Mapping[str, Version]
    vault: Vault
    standing: Standing
    _contracts: dict[str, HeldContract] = field(default_factory=dict)
    _keys: dict[str, RecipientPublicKey | None] = field(default_factory=dict)
    _pins: dict[bytes, Pin] = field(default_factory=dict)

    def pin(self, connection: Connection, spki: bytes) -> Pin | None:
        """Whose key this is.

        Raises:
            SlussError: LEDGER_INCONSISTENT if the ledger says that it was never pinned, or was revoked since.
        """
        pin = self._pins.get(spki)
        if pin is None:
            row = connection.execute(
                select(CERTIFICATE.c.principal, CERTIFICATE.c.revoked_at, CERTIFICATE.c.not_after).where(
                    CERTIFICATE.c.spki == spki
                )
            ).one_or_none()
            if row is None:
                return None
            pin = Pin(*row)
            if not pin.revoked_at:
                self._require_pinned(connection, pin.principal, spki)
            self._pins[spki] = pin
        return pin

    def contract(self, connection: Connection, contract: str) -> HeldContract:
        """A contract with the terms in force.

        Raises:
            SlussError: CONTRACT_UNKNOWN; LEDGER_INCONSISTENT if the ledger says otherwise than the store.
        """
        held = self._contracts.get(contract)
        if held is None:
            held = _load_contract(connection, self, contract)
            # Only what exists is kept: a caller can't fill the memory with names that it made up.
            self._contracts[contract] = held
        return held

    def recipient_key(self, connection: Connection, subcontractor: str) -> RecipientPublicKey:
        """The key that is sealed to.

        Raises:
            SlussError: RECIPIENT_KEY_MISSING; LEDGER_INCONSISTENT if the ledger names another one.
        """
        if subcontractor not in self._keys:
            row = connection.execute(
                select(KEY.c.suite, KEY.c.public_key)
                .where(KEY.c.subcontractor == subcontractor, KEY.c.retired_at == 0)
                .order_by(KEY.c.serial.desc())
                .limit(1)
            ).one_or_none()
            found = None if row is None else RecipientPublicKey(row.suite, row.public_key)
            if found is not None:
                self._require_registered(connection, subcontractor, found)
            self._keys[subcontractor] = found
        key = self._keys[subcontractor]
        if key is None:
            raise SlussError(Reason.RECIPIENT_KEY_MISSING, principal=subcontractor)
        return key

    def require_not_stolen(self, connection: Connection, subcontractor: str, disclosed: int) -> None:
        """Refuse to repeat a disclosure from before a report that the recipient's key, or certificate, was stolen.

        A report retires the key in force; one that was rotated away before may have lain beside it.

        Args:
            connection: of the transaction that this snapshot is of.
            subcontractor: the recipient; of anybody else nothing is known, and nothing refused.
            disclosed: the index of the disclosure's entry.

        Raises:
            SlussError: RECORD_CHANGED; LEDGER_INCONSISTENT if an entry is not in the tree.
        """
        since = self.standing.of(connection, "key", recipient=subcontractor, after=disclosed)
        if any(said["event"] == "retired" for said in since):
            raise SlussError(Reason.RECORD_CHANGED, "the key that it was sealed to was reported as stolen")

    def _require_pinned(self, connection: Connection, principal: str, spki: bytes) -> None:
        said = self.standing.of(connection, "certificate", recipient=principal)
        events = [each["event"] for each in said if each["spki"] == base64url(spki)]
        if events[-1:] != ["pinned"]:
            raise differs("certificate", principal=principal)

    def _require_registered(self, connection: Connection, subcontractor: str, key: RecipientPublicKey) -> None:
        said = self.standing.of(connection, "key", recipient=subcontractor, last=True)
        found = [(each["key"], each["suite"]) for each in said if each["event"] != "retired"]
        if found != [(base64url(key.id), key.suite)]:
            raise differs("encryption key", principal=subcontractor)

    def policy(self, now_us: int) -> str:
        """The policy version in force (POLICY 10).

        Raises:
            SlussError: INTERNAL if none is in force yet.
        """
        version = self.policy_if_any(now_us)
        if not version:
            raise SlussError(Reason.INTERNAL, "no policy version is in force")
        return version

    def policy_if_any(self, now_us: int) -> str:
        """The policy version in force; empty if none is yet."""
        return next((version for effective, version in reversed(self.policies) if effective <= now_us), "")


def contract_row(connection: Connection, contract: str) -> Row[Any]:
    """The row of a contract.

    Raises:
        SlussError: CONTRACT_UNKNOWN.
    """
    row = None
    if CONTRACT_ID.fullmatch(contract):
        row = connection.execute(select(CONTRACT).where(CONTRACT.c.id == contract)).one_or_none()
    if row is None:
        raise SlussError(Reason.CONTRACT_UNKNOWN, contract=safe_contract(contract))
    return row


def own(load: Callable[[], T], contract: str) -> T:
    """What `load` gives of a contract; one that does not exist is answered like someone else's.

    Raises:
        SlussError: NOT_YOUR_CONTRACT instead of CONTRACT_UNKNOWN; whatever else `load` raises.
    """
    try:
        return load()
    except SlussError as error:
        if error.reason is Reason.CONTRACT_UNKNOWN:
            raise not_yours(contract) from None
        raise


def not_yours(contract: str) -> SlussError:
    """The answer about a contract of somebody else, or of nobody."""
    return SlussError(Reason.NOT_YOUR_CONTRACT, contract=safe_contract(contract))


def _load_contract(connection: Connection, snapshot: Snapshot, contract: str) -> HeldContract:
    row = contract_row(connection, contract)
    state = parse_state(contract, row.state)
    said = replay(
        contract, snapshot.standing.of(connection, "contract", contract=contract, recipient=row.subcontractor)
    )
    if (row.subcontractor, state, row.version) != (said.subcontractor, said.state, said.version):
        raise differs("contract", contract=contract)
    terms = _accepted_terms(connection, said, contract) if said.version else None
    facts = ContractFacts(row.id, row.subcontractor, state, row.version, terms)
    return HeldContract(facts, snapshot.vault.unwrap_handle_key(contract, row.handle_key))


def _accepted_terms(connection: Connection, said: ContractStanding, contract: str) -> Terms:
    """The terms in force, which are those that were signed: by the subcontractor, and for this contract and version."""
    accepted = connection.execute(
        select(VERSION).where(VERSION.c.contract == contract, VERSION.c.version == said.version)
    ).one_or_none()
    if accepted is None or base64url(hashlib.sha256(accepted.terms).digest()) != said.terms_sha256:
        raise differs("contract's terms", contract=contract)
    verify_signature(accepted.certificate, accepted.signature, SIGNATURE_LABEL + accepted.terms, contract=contract)
    identifier, version, terms = contract_terms.parse(accepted.terms)
    stated = (identifier, version, terms.subcontractor, base64url(accepted.signature))
    if stated != (contract, said.version, said.subcontractor, said.signature):
        raise differs("contract's terms", contract=contract)
    return terms


@lru_cache(maxsize=4)
def _parsed(text: str) -> Catalogue:
    """A catalogue is a pure function of its text: parsed once a process, not once a thread."""
    return parse_catalogue(text)


_aged: dict[tuple[tuple[int, str], ...], tuple[str, Catalogue]] = {}
"""Catalogues that were in force, as the ledger tells it, and what they make: threads and transactions share it."""
MAX_AGED = 4


class Rights:
    """The snapshot of the present count, kept until the count moves on."""

    def __init__(self, vault: Vault, standing: Standing | None = None) -> None:
        self._vault = vault
        self._standing = standing or Standing()
        self._snapshot: Snapshot | None = None
        self._catalogue: tuple[int, Catalogue] | None = None

    def at(self, connection: Connection) -> Snapshot:
        """The rights as this transaction sees them: one read if nothing has changed."""
        count = fetch(connection, "SELECT rights FROM head WHERE id = 1")[0][0]
        snapshot = self._snapshot
        if snapshot is None or snapshot.rights != count:
            versions = self._load_versions(connection)
            policies = tuple(sorted((each.effective_at, each.id) for each in versions.values()))
            catalogue = self._load_catalogue(connection)
            snapshot = Snapshot(count, catalogue, policies, versions, self._vault, self._standing)
            self._snapshot = snapshot
        return snapshot

    def _load_versions(self, connection: Connection) -> Mapping[str, Version]:
        """The policy versions, which are those of the ledger's entries and no others."""
        rows = connection.execute(select(POLICY.c.id, POLICY.c.effective_at, POLICY.c.digest)).all()
        said = replay_versions(self._standing.of(connection, "policy"))
        if stored_versions((row.id, row.effective_at, row.digest) for row in rows) != said:
            raise differs("policy versions")
        return said

    def _load_catalogue(self, connection: Connection) -> Catalogue:
        newest = select(CATALOGUE.c.serial).order_by(CATALOGUE.c.serial.desc()).limit(1)
        serial = connection.execute(newest).scalar_one_or_none()
        if serial is None:
            raise SlussError(Reason.INTERNAL, "no field catalogue has been imported")
        if self._catalogue is None or self._catalogue[0] != serial:
            self._catalogue = serial, _catalogue_in_force(connection, self._standing)
        return self._catalogue[1]


def _catalogue_in_force(connection: Connection, standing: Standing) -> Catalogue:
    """The newest catalogue; since when its purposes exist is told by all catalogues before it, as the ledger has them.

    Raises:
        SlussError: LEDGER_INCONSISTENT if the store holds others than the ledger names.
    """
    said = []
    for row in standing.rows(connection, "catalogue"):
        each = parse(row.entry)
        said.append((micros(each["at"]), each["sha256"]))
    newest = connection.execute(select(CATALOGUE.c.toml).order_by(CATALOGUE.c.serial.desc()).limit(1)).scalar_one()
    known = _aged.get(tuple(said))
    if known is not None and known[0] == newest:
        return known[1]
    editions = [
        _parsed(text) for text in connection.execute(select(CATALOGUE.c.toml).order_by(CATALOGUE.c.serial)).scalars()
    ]
    if [sha256 for _, sha256 in said] != [base64url(each.digest) for each in editions]:
        raise differs("catalogue")
    found = with_ages(editions[-1], ages((at, each) for (at, _), each in zip(said, editions, strict=True)))
    if len(_aged) >= MAX_AGED:
        _aged.clear()
    _aged[tuple(said)] = newest, found
    return found
