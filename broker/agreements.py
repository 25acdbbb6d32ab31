"""Contracts in the store: propose, accept, suspend, resume, amend, terminate, show; and recipients' keys.

Every change is an entry and bumps the rights in the same transaction, so the ledger's order is the truth about what
was in force when (DESIGN promise 2). Acceptance is a signature by the key of the certificate that the subcontractor
calls with, over the canonical terms (POLICY 1e).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from broker import contract_terms, free_text, requests
from broker.clock import DAY, SECOND, day_of
from broker.contract_history import EVENTS
from broker.contracts import SIGNATURE_LABEL, ContractFacts, State, Step, Terms, next_state, parse_state
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.rights import contract_row, not_yours, own
from broker.signatures import verify_signature
from broker.store import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from broker.desk import Change, View
    from broker.sealing import RecipientPublicKey
    from broker.vault import Vault

CONTRACT = tables.core(tables.Contract)
VERSION = tables.core(tables.ContractVersion)
KEY = tables.core(tables.RecipientKey)
ENTRY = tables.core(tables.LedgerEntry)
KEY_LABEL = b"sluss/v1 key\x00"
HANDLE_KEY_BYTES = 32
MAX_REASON = 500
MAX_KEYS = 24
"""Keys that a subcontractor may register within `KEYS_WINDOW_US`. Each is an entry for ever, and as an epoch lasts an
hour at most, a key that is rotated more often than that protects nothing more."""
KEYS_WINDOW_US = DAY


@dataclass(frozen=True, slots=True)
class ContractView:
    """A contract as it is shown. `versions` are rows of `contract_version`, oldest first."""

    row: Row[Any]
    versions: tuple[Row[Any], ...]

    @property
    def facts(self) -> ContractFacts:
        """The contract as a decision would see it, were the terms shown in force."""
        state = parse_state(self.row.id, self.row.state)
        return ContractFacts(self.row.id, self.row.subcontractor, state, self.row.version, self.terms)

    @property
    def terms(self) -> Terms:
        """The terms in force, or the proposed ones before the first acceptance."""
        shown = self.row.version or self.row.proposed
        return contract_terms.parse(self.versions[shown - 1].terms)[2]


class Agreements:
    """The contracts. Each method works within a `View` or `Change` of the desk."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def propose(self, change: Change, terms: Terms, request_id: bytes) -> ContractView:
        """A new contract, waiting for acceptance; the same request proposes once.

        Raises:
            SlussError: INVALID_TERMS and its kin, REQUEST_ID_REUSED.
        """
        contract_terms.check(terms, change.snapshot.catalogue)
        body = hashlib.sha256(b"propose\x00" + contract_terms.canonical("", 1, terms)).digest()
        known = requests.find_one(change, request_id, body)
        if known is not None:
            return show(change.connection, known.reply.decode("ascii"))
        year = day_of(change.now_us).year
        contract = f"C-{year}-{change.tx.number_contract():04d}"
        handle_key = self._vault.wrap_handle_key(contract, secrets.token_bytes(HANDLE_KEY_BYTES))
        change.connection.execute(
            insert(CONTRACT).values(
                id=contract,
                subcontractor=terms.subcontractor,
                state=State.PROPOSED,
                version=0,
                proposed=1,
                handle_key=handle_key,
                reason="",
                etag=1,
                updated_at=change.now_us,
            )
        )
        index = _add_version(change, contract, 1, terms, "proposed")
        requests.remember_one(change, request_id, requests.Known(body, index, 1, contract.encode("ascii")))
        return show(change.connection, contract)

    def amend(self, change: Change, contract: str, terms: Terms, etag: str, request_id: bytes) -> ContractView:
        """A new version, waiting for acceptance; it replaces one that waits already.

        Raises:
            SlussError: CONTRACT_UNKNOWN, ETAG_STALE, CONTRACT_WRONG_STATE, INVALID_TERMS and its kin.
        """
        row = contract_row(change.connection, contract)
        contract_terms.check(terms, change.snapshot.catalogue)
        body = hashlib.sha256(b"amend\x00" + contract_terms.canonical(contract, 1, terms)).digest()
        if requests.find_one(change, request_id, body) is not None:
            return show(change.connection, contract)
        _require_etag(row, etag, required=True)
        next_state(contract, parse_state(contract, row.state), Step.AMEND)
        if terms.subcontractor != row.subcontractor:
            raise SlussError(Reason.INVALID_TERMS, "an amendment can't change the subcontractor", field="subcontractor")
        version = show(change.connection, contract).versions[-1].version + 1
        index = _add_version(change, contract, version, terms, "amended")
        _move(change, row, {"proposed": version})
        requests.remember_one(change, request_id, requests.Known(body, index, 1, contract.encode("ascii")))
        return show(change.connection, contract)

    def accept(
        self, change: Change, contract: str, version: int, signature: bytes, certificate_der: bytes
    ) -> tuple[ContractView, int]:
        """The proposed version comes into force; gives the contract and the entry's index.

        Accepting it again within the retry window changes nothing and gives the contract as it stands now.

        Raises:
            SlussError: NOT_YOUR_CONTRACT, CONTRACT_WRONG_STATE, INVALID_SIGNATURE.
        """
        row = _own_row(change, contract)
        name = _acceptance(contract, version)
        known = requests.find_one(change, name, name)
        if known is not None:
            verify_signature(certificate_der, signature, SIGNATURE_LABEL + known.reply, contract=contract)
            return show(change.connection, contract), known.first_entry
        following = next_state(contract, parse_state(contract, row.state), Step.ACCEPT)
        if version != row.proposed or not version:
            raise SlussError(
                Reason.CONTRACT_WRONG_STATE,
                f"version {version} does not wait for acceptance",
                contract=contract,
                state=row.state,
                step="accept",
            )
        terms = change.connection.execute(
            select(VERSION.c.terms).where(VERSION.c.contract == contract, VERSION.c.version == version)
        ).scalar_one()
        verify_signature(certificate_der, signature, SIGNATURE_LABEL + terms, contract=contract)
        change.connection.execute(
            update(VERSION)
            .where(VERSION.c.contract == contract, VERSION.c.version == version)
            .values(signature=signature, certificate=certificate_der, accepted_at=change.now_us)
        )
        _move(change, row, {"state": following, "version": version, "proposed": 0})
        index = _log(change, row, Step.ACCEPT, version, hashlib.sha256(terms).digest(), "", signature)
        requests.remember_one(change, name, requests.Known(name, index, 1, terms))
        return show(change.connection, contract), index

    def step(self, change: Change, contract: str, step: Step, reason: str, etag: str) -> tuple[ContractView, int]:
        """Suspend, resume or terminate; gives the contract and the entry's index.

        Raises:
            SlussError: CONTRACT_UNKNOWN, CONTRACT_WRONG_STATE, ETAG_STALE, INVALID_REQUEST.
        """
        row = contract_row(change.connection, contract)
        free_text.reason(reason, most=MAX_REASON)
        _require_etag(row, etag, required=False)
        following = next_state(contract, parse_state(contract, row.state), step)
        shown = show(change.connection, contract)
        terms = shown.versions[(row.version or row.proposed) - 1].terms
        _move(change, row, {"state": following, "reason": reason})
        index = _log(change, row, step, row.version, hashlib.sha256(terms).digest(), reason)
        return show(change.connection, contract), index

    def register_key(self, change: Change, key: RecipientPublicKey, signature: bytes, certificate_der: bytes) -> int:
        """The key is sealed to from now on; gives the entry's index. Registering the key in use again changes nothing.

        Raises:
            SlussError: INVALID_SIGNATURE; KEY_UNKNOWN for a key that was used before, or is someone else's;
                RATE_EXCEEDED, with `retry_after_s`, beyond `MAX_KEYS` in `KEYS_WINDOW_US`.
        """
        verify_signature(certificate_der, signature, KEY_LABEL + bytes([key.suite]) + key.data)
        name = change.principal.name
        rows = change.connection.execute(select(KEY).where(KEY.c.subcontractor == name).order_by(KEY.c.serial)).all()
        if rows and rows[-1].id == key.id and not rows[-1].retired_at:
            return _last_key_entry(change.connection, name)
        taken = change.connection.execute(select(KEY.c.id).where(KEY.c.id == key.id)).one_or_none()
        if taken is not None:
            raise SlussError(
                Reason.KEY_UNKNOWN,
                "a key is registered once, and never again after it was rotated away or retired: rotate to a new one",
            )
        _require_rotation(change, [row.registered_at for row in rows])
        change.connection.execute(
            update(KEY).where(KEY.c.subcontractor == name, KEY.c.retired_at == 0).values(retired_at=change.now_us)
        )
        change.connection.execute(
            insert(KEY).values(
                id=key.id,
                subcontractor=name,
                serial=len(rows) + 1,
                suite=key.suite,
                public_key=key.data,
                registered_at=change.now_us,
                retired_at=0,
            )
        )
        change.tx.bump_rights()
        event = "rotated" if rows else "registered"
        body = entry.key(change.now_us, event, name, key.id, key.suite, name, "")
        return change.tx.append(body)


def retire_key(change: Change, subcontractor: str, reason: str, key: bytes = b"") -> bool:
    """Nothing is sealed any more to a subcontractor's key, or only if it is this one; whether there was such a key."""
    row = change.connection.execute(
        select(KEY.c.id, KEY.c.suite).where(KEY.c.subcontractor == subcontractor, KEY.c.retired_at == 0)
    ).one_or_none()
    if row is None or (key and bytes(row.id) != key):
        return False
    change.connection.execute(update(KEY).where(KEY.c.id == row.id).values(retired_at=change.now_us))
    change.tx.append(
        entry.key(change.now_us, "retired", subcontractor, bytes(row.id), row.suite, change.principal.name, reason)
    )
    change.tx.bump_rights()
    return True


def keep_retired(change: Change, key: Row[Any], reason: str) -> bool:
    """Keep a key out that was registered and retired in a ledger that is lost; False if it is known here.

    Args:
        change: the transaction.
        key: its row of the lost store.
        reason: of the entry.
    """
    known = change.connection.execute(select(KEY.c.id).where(KEY.c.id == key.id)).one_or_none()
    if known is not None:
        return False
    name = key.subcontractor
    last = change.connection.execute(select(func.max(KEY.c.serial)).where(KEY.c.subcontractor == name)).scalar_one()
    change.connection.execute(
        insert(KEY).values(
            id=key.id,
            subcontractor=name,
            serial=(last or 0) + 1,
            suite=key.suite,
            public_key=key.public_key,
            registered_at=key.registered_at,
            retired_at=change.now_us,
        )
    )
    change.tx.append(entry.key(change.now_us, "retired", name, bytes(key.id), key.suite, change.principal.name, reason))
    change.tx.bump_rights()
    return True


def show(connection: Connection, contract: str) -> ContractView:
    """A contract with its versions. An accepted version is shown only if it is the one that was signed.

    Raises:
        SlussError: CONTRACT_UNKNOWN; INVALID_SIGNATURE if somebody has changed accepted terms in the store.
    """
    row = contract_row(connection, contract)
    versions = connection.execute(
        select(VERSION).where(VERSION.c.contract == contract).order_by(VERSION.c.version)
    ).all()
    for version in versions:
        if version.accepted_at:
            message = SIGNATURE_LABEL + version.terms
            verify_signature(version.certificate, version.signature, message, contract=contract)
    return ContractView(row, tuple(versions))


def show_to(view: View, contract: str) -> ContractView:
    """A contract that the caller may see.

    Raises:
        SlussError: NOT_YOUR_CONTRACT to subcontractors, CONTRACT_UNKNOWN to others.
    """
    if view.principal.kind == "subcontractor":
        _own_row(view, contract)
    return show(view.connection, contract)


def list_contracts(view: View, subcontractor: str, after: str, limit: int) -> list[ContractView]:
    """Contracts with ids above `after` in order of id; a subcontractor sees its own."""
    query = select(CONTRACT.c.id).where(CONTRACT.c.id > after).order_by(CONTRACT.c.id).limit(limit)
    if view.principal.kind == "subcontractor":
        query = query.where(CONTRACT.c.subcontractor == view.principal.name)
    if subcontractor:
        query = query.where(CONTRACT.c.subcontractor == subcontractor)
    return [show(view.connection, contract) for contract in view.connection.execute(query).scalars()]


def _own_row(view: View, contract: str) -> Row[Any]:
    row: Row[Any] = own(lambda: contract_row(view.connection, contract), contract)
    if row.subcontractor != view.principal.name:
        raise not_yours(contract)
    return row


def _last_key_entry(connection: Connection, subcontractor: str) -> int:
    found: int = connection.execute(
        select(func.max(ENTRY.c.id)).where(ENTRY.c.recipient == subcontractor, ENTRY.c.type == "key")
    ).scalar_one()
    return found


def _require_rotation(change: Change, registered_at: list[int]) -> None:
    """Refuse a rotation too many; `registered_at` are the times of all keys, oldest first."""
    if len(registered_at) < MAX_KEYS:
        return
    wait_us = registered_at[-MAX_KEYS] + KEYS_WINDOW_US - change.now_us
    if wait_us > 0:
        hours = KEYS_WINDOW_US // SECOND // 3600
        detail = f"at most {MAX_KEYS} keys can be registered in {hours} hours"
        raise SlussError(Reason.RATE_EXCEEDED, detail, retry_after_s=str(-(-wait_us // SECOND)))


def _acceptance(contract: str, version: int) -> bytes:
    """What stands for a request id: a version is accepted once. Longer than a UUID, so that no caller's can be it."""
    return hashlib.sha256(f"accept\x00{contract}\x00{version}".encode()).digest()


def _require_etag(row: Row[Any], etag: str, *, required: bool) -> None:
    if (etag or required) and etag != str(row.etag):
        raise SlussError(Reason.ETAG_STALE, etag=str(row.etag))


def _move(change: Change, row: Row[Any], values: dict[str, Any]) -> None:
    change.connection.execute(
        update(CONTRACT).where(CONTRACT.c.id == row.id).values(**values, etag=row.etag + 1, updated_at=change.now_us)
    )
    change.tx.bump_rights()


def _add_version(change: Change, contract: str, version: int, terms: Terms, event: str) -> int:
    body = contract_terms.canonical(contract, version, terms)
    change.connection.execute(
        insert(VERSION).values(
            contract=contract,
            version=version,
            terms=body,
            signature=b"",
            certificate=b"",
            proposed_by=change.principal.name,
            proposed_at=change.now_us,
            accepted_at=0,
        )
    )
    change.tx.bump_rights()
    digest = hashlib.sha256(body).digest()
    by = change.principal.name
    logged = entry.contract(change.now_us, event, contract, version, terms.subcontractor, by, "", digest)
    return change.tx.append(logged)


def _log(
    change: Change, row: Row[Any], step: Step, version: int, digest: bytes, reason: str, signature: bytes = b""
) -> int:
    body = entry.contract(
        change.now_us,
        EVENTS[step],
        row.id,
        version,
        row.subcontractor,
        change.principal.name,
        reason,
        digest,
        signature,
    )
    return change.tx.append(body)
