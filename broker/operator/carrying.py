"""What was forbidden since a backup was taken stays forbidden when it is restored; what was permitted does not return.

    said again, from the replaced database       an opt-out, and the withdrawal of an opt-in; a revoked certificate;
    (each with an entry of its own, by the       a key that was retired or rotated away; a contract that is suspended
    operator, in the restored ledger)            or terminated; an open compromise report with the lock of a person's
                                                 credential, if it is locked still; a legal hold
    not brought back, and told                   an opt-in; a certificate, key or contract of since, the acceptance of
                                                 one; a resumption, a reinstatement, a lifted hold; catalogue, policy

A contract whose other version was in force is suspended: the restored terms may grant more. One that nobody had
accepted yet can't be: it is terminated if it was suspended since, and else stays as it was proposed. Nothing is said
twice: what the restored database knows already is left as it is, so a restore that was broken off can be run again.

A part of the replaced database that can't be read is named, never passed over: `Carried.unknown`. Whom it knows to be
erased goes to the register beside the rings (restoring.py); whether that is everybody is seen here.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import func, select

from broker import free_text
from broker.agreements import MAX_REASON, Agreements, keep_retired, retire_key
from broker.channels import CHANNELS
from broker.choices import recording
from broker.choices.rule import OPTED_OUT
from broker.clock import micros, system_clock
from broker.contract_history import replay
from broker.contracts import CODE, GOALS, State, Step
from broker.desk import Change, View
from broker.erasure import holds
from broker.erasure.again import CAUSE
from broker.erasure.hold_rules import HoldState
from broker.errors import Reason, SlussError
from broker.identity import parse_principal
from broker.ids import person_text
from broker.ledger.entry import Chosen, base64url
from broker.ledger.rows import read_standing
from broker.ledger.standing import Standing
from broker.operator import behind, pins, reports_again
from broker.operator.behind import SHA256, readable
from broker.operator.office import BY
from broker.persons import rows
from broker.persons.model import ACTIVE
from broker.rights import CERTIFICATE, CONTRACT, KEY, Rights, Snapshot
from broker.sealing import RecipientPublicKey
from broker.slice_terms import unbase64
from broker.store import tables
from broker.store.driver import parts
from broker.store.engine import reading
from broker.store.queries import read_persons
from broker.vault import commitment

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine, Row, Select

    from broker.contract_history import ContractStanding
    from broker.erasure.hold_rules import Hold
    from broker.ledger.checkpoint import Verifier
    from broker.ledger.log import Ledger, Tx
    from broker.operator.behind import Behind
    from broker.operator.pins import Pinned
    from broker.vault import Vault

T = TypeVar("T")

HOLD: Final = tables.core(tables.LegalHold)
ERASURE: Final = tables.core(tables.Erasure)
ROTATED: Final = "rotated"
PERSONS: Final = 100
"""Persons whose choices are recorded in one transaction."""
MOST: Final = 1_000_000
"""Of holds, all are read."""
LEDGER: Final = "ledger"
ERASURES: Final = "erasures"
CHOICES: Final = "choices"
CERTIFICATES: Final = "certificates"
KEYS: Final = "keys"
CONTRACTS: Final = "contracts"
REPORTS: Final = "reports"
HOLDS: Final = "holds"
ACCEPTANCES: Final = "acceptances"
"""Among what is missing."""
EVERYTHING: Final = (ERASURES, CHOICES, CERTIFICATES, KEYS, CONTRACTS, REPORTS, HOLDS)
"""What is carried over, part by part."""


@dataclass(slots=True)
class Carried:
    """What a restore said again, and what it did not bring back. Members are the command's, with `--json`.

    Attributes:
        known: a replaced database was read.
        unknown: the parts that could not be read as a whole, or not be proven: more may have been forbidden there.
        choices: the noes that were recorded again: person, purpose, channels.
        certificates: those revoked again: principal, serial.
        keys: the subcontractors whose encryption key was retired again.
        contracts: those suspended or terminated again: contract, state, why.
        reports: compromise reports made again: report, was.
        holds: legal holds placed again: hold, was.
        not_recorded: persons with noes since who are not on record in the backup, or whose choices do not open.
        yeses: persons with yeses since, which were not brought back.
        missing: what was there since and is not: certificates by principal, keys by subcontractor, contracts, reports;
            under `acceptances` the contracts that were accepted since for the first time.
        lost: entries behind the backup, by type.
    """

    known: bool = False
    unknown: list[str] = field(default_factory=list)
    choices: list[dict[str, Any]] = field(default_factory=list)
    certificates: list[dict[str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    contracts: list[dict[str, str]] = field(default_factory=list)
    reports: list[dict[str, str]] = field(default_factory=list)
    holds: list[dict[str, str]] = field(default_factory=list)
    not_recorded: list[str] = field(default_factory=list)
    yeses: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def not_known(self, part: str) -> None:
        """Note a part that could not be read as a whole, or not be proven."""
        noted = {*self.unknown, part}
        self.unknown = [each for each in (LEDGER, *EVERYTHING) if each in noted]


def nothing_known() -> Carried:
    """Of a restore whose replaced database is gone or can't be read."""
    return Carried(unknown=[LEDGER, *EVERYTHING])


class Carrier:
    """Says again in a restored database what the replaced one forbids.

    Args:
        old: the database that is replaced; it is only read.
        engine: the restored one.
        ledger: its ledger.
        vault: opens both.
        verifier: the ledger's public keys.
    """

    def __init__(self, old: Engine, engine: Engine, ledger: Ledger, vault: Vault, verifier: Verifier) -> None:
        self._old = old
        self._engine = engine
        self._ledger = ledger
        self._vault = vault
        self._verifier = verifier
        self._standing = Standing()
        self._old_standing = Standing()
        with reading(engine) as connection:
            self._catalogue = Rights(vault).at(connection).catalogue
        self._carried = Carried(known=True)

    def run(self) -> Carried:
        """Carry over all there is; what the replaced database does not give is `unknown`.

        Raises:
            SlussError: whatever the restored database refuses.
        """
        try:
            with readable(), reading(self._old) as old, reading(self._engine) as restored:
                found = behind.read(old, restored, self._verifier)
        except SlussError:
            return nothing_known()
        self._carried.lost = found.lost
        if not found.whole:
            self._unknown(LEDGER)
        if not found.attributed:
            self._unknown(CHOICES)
        self._erasures(found)
        self._revoked_elsewhere(found)
        # Reports before the rest: they revoke and retire in their own way.
        self._reports()
        self._certificates(found)
        self._keys(found)
        self._contracts(found)
        self._choices(found)
        self._holds()
        return self._carried

    def _erasures(self, found: Behind) -> None:
        rows_behind = select(func.count()).select_from(ERASURE).where(ERASURE.c.entry >= found.shared)
        counted = self._read_old(ERASURES, lambda view: [view.connection.execute(rows_behind).scalar_one()])
        if sum(counted) < found.lost.get("erasure", 0):
            self._unknown(ERASURES)

    # --- choices ---

    def _choices(self, found: Behind) -> None:
        noes: dict[int, list[dict[str, Any]]] = defaultdict(list)
        yeses: set[int] = set()
        for said, person in found.of("choice"):
            if not set(said["channels"]) <= set(CHANNELS) or not CODE.fullmatch(said["purpose"]):
                self._unknown(CHOICES)
            elif person and said["state"] == OPTED_OUT:
                noes[person].append(said)
            elif person:
                yeses.add(person)
        not_recorded: list[int] = []
        for some in parts(sorted(noes), PERSONS):
            done, left, sound = self._change(partial(_record, {each: noes[each] for each in some}))
            not_recorded += left
            if not sound:
                self._unknown(CHOICES)
            self._carried.choices += [
                {"person": person_text(person), "purpose": each.purpose, "channels": list(each.channels)}
                for person, chosen in done.items()
                for each in chosen
            ]
        self._carried.not_recorded = [person_text(person) for person in not_recorded]
        with reading(self._engine) as connection:
            on_record = {row.id for row in read_persons(connection, sorted(yeses)) if row.state == ACTIVE}
        self._carried.yeses = [person_text(person) for person in sorted(on_record)]

    # --- rights ---

    def _revoked_elsewhere(self, found: Behind) -> None:
        """Keys of certificates that were both pinned and revoked since: never to be pinned again."""
        for said, _ in found.of("certificate", "revoked"):
            spki = unbase64(said["spki"], SHA256)
            for pinned in self._read_old(CERTIFICATES, partial(_pinned, spki)):
                if self._change(partial(_keep_revoked, pinned, _again(said["reason"]))):
                    told = {"principal": pinned.principal, "serial": pinned.serial}
                    self._carried.certificates.append(told)

    def _certificates(self, found: Behind) -> None:
        for said, _ in found.of("certificate", "revoked"):
            spki = unbase64(said["spki"], SHA256)
            for pinned, _ in pins.revoke(self._ledger, CERTIFICATE.c.spki == spki, _again(said["reason"])):
                self._carried.certificates.append({"principal": pinned.principal, "serial": pinned.serial})
        with reading(self._engine) as connection:
            good = set(connection.execute(select(CERTIFICATE.c.spki)).scalars())
        gone = {said["principal"] for said, _ in found.of("certificate") if unbase64(said["spki"], SHA256) not in good}
        self._missing(CERTIFICATES, gone)

    def _keys(self, found: Behind) -> None:
        for name in sorted({said["subcontractor"] for said, _ in found.of("key")}):
            said = self._said(KEYS, "key", "", name)
            # All but the one in force: a key that was rotated away ended as well.
            in_force = said[-1]["key"] if said and said[-1]["event"] != "retired" else ""
            for key in dict.fromkeys(each["key"] for each in said if each["key"] != in_force):
                why = next(each["reason"] for each in reversed(said) if each["key"] == key)
                stored = self._read_old(KEYS, partial(_key_row, unbase64(key, SHA256)))
                done = [self._change(partial(_retire, row, _again(why or ROTATED))) for row in stored]
                self._carried.keys += [name] if any(done) else []
        with reading(self._engine) as connection:
            known = set(connection.execute(select(KEY.c.id)).scalars())
        fresh = {each["subcontractor"] for each, _ in found.of("key") if unbase64(each["key"], SHA256) not in known}
        self._missing(KEYS, fresh)

    def _contracts(self, found: Behind) -> None:
        owners = {said["contract"]: said["subcontractor"] for said, _ in found.of("contract")}
        in_force: set[str] = set()
        for contract, owner in sorted(owners.items()):
            said = self._said(CONTRACTS, "contract", contract, owner)
            try:
                standing = replay(contract, said)
            except SlussError:
                self._unknown(CONTRACTS)
                continue
            if standing.state is State.ACTIVE:
                in_force.add(contract)
            why = next((each["reason"] for each in reversed(said) if each["reason"]), "")
            done = self._change(partial(_stop, Agreements(self._vault), contract, standing, why))
            self._carried.contracts += [done] if done else []
        with reading(self._engine) as connection:
            known = {row.id: row.state for row in connection.execute(select(CONTRACT.c.id, CONTRACT.c.state))}
        self._missing(CONTRACTS, set(owners) - known.keys())
        self._missing(ACCEPTANCES, {each for each in in_force if known.get(each) == State.PROPOSED})

    def _said(self, part: str, type: str, contract: str, recipient: str) -> list[dict[str, Any]]:  # noqa: A002 - likewise
        """All that the replaced ledger says; that it is not proven, or can't be read, is noted."""
        try:
            with readable(), reading(self._old) as old:
                return self._old_standing.of(old, type, contract=contract, recipient=recipient)
        except SlussError:
            self._unknown(part)
        try:
            # It is used all the same, as it can only forbid.
            with readable(), reading(self._old) as old:
                found = read_standing(old, type, contract, recipient, last=False, after=-1)
            return [said for row in found if (said := behind.parsed(row))]
        except SlussError:
            return []

    # --- reports and holds ---

    def _reports(self) -> None:
        gone: set[str] = set()
        there = set(self._read_old(REPORTS, reports_again.opened))
        standing = reports_again.Standing(self._change(reports_again.every), there)
        for report in self._each(REPORTS, reports_again.OPEN, reports_again.load):
            if report.of_nobody or standing.has(report):
                continue
            try:
                made = self._change(partial(reports_again.make, report))
                # Broken off before this, it locks: that only protects.
                if report.reinstated:
                    self._change(partial(reports_again.end_lock, made))
            except SlussError as error:
                if error.reason not in (Reason.FILE_UNKNOWN, Reason.PERSON_UNKNOWN):
                    raise
                gone.add(report.file.id)
                continue
            self._carried.reports.append({"report": made, "was": report.file.id})
        self._missing(REPORTS, gone)

    def _holds(self) -> None:
        placed = select(HOLD.c.id).where(HOLD.c.person != holds.NOBODY).order_by(HOLD.c.number)
        for hold in self._each(HOLDS, placed, holds.load):
            in_force = hold.state(system_clock()) is HoldState.IN_FORCE
            made = self._change(partial(_hold, hold)) if in_force else ""
            if made:
                self._carried.holds.append({"hold": made, "was": hold.id})

    # --- how ---

    def _change(self, work: Callable[[Change], T]) -> T:
        def locked(tx: Tx) -> T:
            # Of its own: what a snapshot loads may be of a transaction that fails.
            snapshot = Rights(self._vault, self._standing).at(tx.connection)
            return work(Change(tx.connection, snapshot, parse_principal(BY), tx.at, tx))

        return self._ledger.run(locked)

    def _read_old(self, part: str, work: Callable[[View], list[T]]) -> list[T]:
        """What `work` reads of the replaced database; nothing, which is noted, if it can't."""
        try:
            with readable(), reading(self._old) as connection:
                # Its catalogue and policies are not asked for: they may be what can't be read.
                snapshot = Snapshot(0, self._catalogue, (), {}, self._vault, self._old_standing)
                return work(View(connection, snapshot, parse_principal(BY), system_clock()))
        except SlussError:
            self._unknown(part)
            return []

    def _each(self, part: str, ids: Select[Any], load: Callable[[View, str], T]) -> list[T]:
        """What is loaded of each of these ids; what does not load is noted, and left out."""
        names = self._read_old(part, lambda view: list(view.connection.execute(ids).scalars()))
        return [found for name in names for found in self._read_old(part, partial(_one, load, name))]

    def _unknown(self, part: str) -> None:
        self._carried.not_known(part)

    def _missing(self, part: str, names: set[str]) -> None:
        if names:
            self._carried.missing[part] = sorted(names)


def _again(reason: str) -> str:
    """Why it is done: what the replaced ledger says, if that may be in an entry behind what goes before."""
    try:
        return free_text.reason(f"{CAUSE}: {reason.removeprefix(f'{CAUSE}: ')}", most=MAX_REASON) if reason else CAUSE
    except SlussError:
        return CAUSE


def _chosen(said: dict[str, Any]) -> Chosen:
    return Chosen(
        said["purpose"],
        said["state"],
        said["channels"],
        said["medium"],
        said["source"],
        said["evidence"],
        micros(said["chosen_at"]),
    )


def _record(noes: dict[int, list[dict[str, Any]]], change: Change) -> tuple[dict[int, list[Chosen]], list[int], bool]:
    """By person the noes that were recorded; the persons for whom that can't be done; whether all were theirs."""
    done: dict[int, list[Chosen]] = {}
    left: list[int] = []
    sound = True
    for person, said in noes.items():
        try:
            secret = change.snapshot.vault.person_secret(rows.active(change.connection, person))
            sound &= all(each["person"] == base64url(commitment(secret, each["at"])) for each in said)
            done[person] = recording.record_again(change, person, [_chosen(each) for each in said])
        except SlussError as error:
            if error.reason not in (Reason.PERSON_UNKNOWN, Reason.INTERNAL):
                raise
            left.append(person)
    return done, left, sound


def _pinned(spki: bytes, view: View) -> list[Pinned]:
    found = pins.stored(view.connection, spki)
    for each in found:
        parse_principal(each.principal)
        if [type(each.serial), type(each.not_after), type(each.issued_at)] != [str, int, int]:
            raise TypeError
    return found


def _keep_revoked(pinned: Pinned, reason: str, change: Change) -> bool:
    return pins.keep_revoked(change.tx, pinned, reason)


def _key_row(key: bytes, view: View) -> list[Row[Any]]:
    found = list(view.connection.execute(select(KEY).where(KEY.c.id == key)))
    for each in found:
        parse_principal(each.subcontractor)
        if RecipientPublicKey(each.suite, each.public_key).id != key or type(each.registered_at) is not int:
            raise ValueError
    return found


def _retire(key: Row[Any], reason: str, change: Change) -> bool:
    """Retire a key that is in force, or keep out one that is not known; whether it was either."""
    return retire_key(change, key.subcontractor, reason, bytes(key.id)) or keep_retired(change, key, reason)


def _stop(
    agreements: Agreements, contract: str, standing: ContractStanding, why: str, change: Change
) -> dict[str, str] | None:
    """Suspend or terminate a contract that should be, by where it stands in the replaced ledger."""
    row = change.connection.execute(select(CONTRACT).where(CONTRACT.c.id == contract)).one_or_none()
    if row is None:
        return None
    here = replay(
        contract,
        change.snapshot.standing.of(change.connection, "contract", contract=contract, recipient=row.subcontractor),
    )
    in_force = standing.state is State.ACTIVE and here.state is not State.PROPOSED
    other = in_force and standing.terms_sha256 != here.terms_sha256
    step = _step(here.state, State.SUSPENDED if other else standing.state)
    if step is None:
        return None
    reason = f"{CAUSE}: version {standing.version} was in force" if other else _again(why)
    agreements.step(change, contract, step, reason, "")
    return {"contract": contract, "state": GOALS[step].value, "reason": reason}


def _step(here: State, there: State) -> Step | None:
    """What makes a contract stand no better than it stood in the replaced database."""
    if there is State.TERMINATED and here is not State.TERMINATED:
        return Step.TERMINATE
    if there is State.SUSPENDED and here is State.ACTIVE:
        return Step.SUSPEND
    if there is State.SUSPENDED and here is State.PROPOSED:
        # A proposal can't be suspended, and its acceptance would end what was a suspension.
        return Step.TERMINATE
    return None


def _one(load: Callable[[View, str], T], name: str, view: View) -> list[T]:
    return [load(view, name)]


def _hold(hold: Hold, change: Change) -> str:
    """Place a hold again, unless it stands, or the person is not on record; its id."""
    standing = holds.listed(change, hold.person, 0, MOST, include_ended=False)[0]
    if any((each.reason, each.until) == (hold.reason, hold.until) for each in standing):
        return ""
    until = date.fromisoformat(hold.until) if hold.until else None
    try:
        return holds.place(change, uuid.uuid4().bytes, hold.person, hold.reason, until).id
    except SlussError as error:
        if error.reason is not Reason.PERSON_UNKNOWN:
            raise
        return ""
