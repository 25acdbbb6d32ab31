"""What recipients and the company do with an obligation, under the head's lock.

A recipient's answer counts by its signature: it is checked under the certificate of the connection, and stands in the
entry with the key, so that it can be checked for good. Answering twice gives the first answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from broker import free_text
from broker.clock import SECOND, day_of, micros
from broker.contracts import State as ContractState
from broker.errors import Reason, SlussError, invalid
from broker.obligations import retention, rows
from broker.obligations.owing import day_after, disclosed
from broker.obligations.rules import Kind, State
from broker.obligations.statement import ANSWERS, statement
from broker.signatures import verify_signature

if TYPE_CHECKING:
    from broker.contracts import ContractFacts
    from broker.desk import Change, View
    from broker.obligations.rows import Held
    from broker.obligations.rules import Account

MAX_DELAY_DAYS: Final = 30
"""Days after the day until which it was owed first: no delay goes beyond."""
MAX_DELAYS: Final = 10
"""Delays that can be asked for one obligation: each is an entry for ever, and is read again with every look at it."""
MAX_REASON: Final = 500
CLOCK_SKEW_US: Final = 300 * SECOND
"""How far a recipient's clock may be ahead."""
INSTRUCTIONS: Final = {Kind.DELETE_BY: "delete_by_date", Kind.ERASE: "erase_person"}


@dataclass(frozen=True, slots=True)
class Signed:
    """What a recipient says, and how it signed it; `certificate` is that of its connection (DER)."""

    time: str
    signature: bytes
    certificate: bytes


def seen(view: View, obligation: str) -> Held:
    """An obligation that the caller may see.

    Raises:
        SlussError: OBLIGATION_UNKNOWN, for a subcontractor about another's too.
    """
    held = rows.load(view.connection, obligation, view.snapshot.standing)
    if view.principal.kind == "subcontractor" and held.account.recipient != view.principal.name:
        raise rows.unknown(obligation)
    return held


def is_over(contract: ContractFacts, now_us: int) -> bool:
    """Whether nothing can be fetched under a contract any more."""
    terms = contract.terms
    return contract.state is ContractState.TERMINATED or terms is None or terms.valid_until < day_of(now_us)


def instruction(view: View, account: Account) -> str:
    """What its recipient is to do, as the contract stands now."""
    if account.kind is Kind.CORRECT:
        facts = view.snapshot.contract(view.connection, account.contract).facts
        return "delete_fields" if is_over(facts, view.now_us) else "fetch_and_replace"
    return INSTRUCTIONS[account.kind]


def acknowledge(change: Change, obligation: str, signed: Signed) -> tuple[Held, int]:
    """The recipient knows of it; gives the obligation and the entry that says so.

    Raises:
        SlussError: OBLIGATION_UNKNOWN, INVALID_SIGNATURE, OBLIGATION_WRONG_STATE, INVALID_REQUEST.
    """
    held = seen(change, obligation)
    said = _signed(change, held.account, "acknowledged", signed)
    if held.account.acknowledged_entry:
        return held, held.account.acknowledged_entry
    _require_open(held.account)
    return _logged(change, held, "acknowledged", said)


def attest(change: Change, obligation: str, outcome: str, note: str, through: int, signed: Signed) -> tuple[Held, int]:
    """The recipient has done what it owed; gives the obligation and the entry of its first answer.

    Raises:
        SlussError: OBLIGATION_UNKNOWN, INVALID_SIGNATURE; INVALID_REQUEST for an outcome that the kind does not have;
            OBLIGATION_WRONG_STATE if it answered otherwise before; CORRECTION_NOT_FETCHED.
    """
    held = seen(change, obligation)
    account = held.account
    if outcome not in ANSWERS[account.kind]:
        raise invalid("outcome", f"one of {', '.join(sorted(ANSWERS[account.kind]))}")
    if note:
        free_text.reason(note, most=MAX_REASON)
    said = _signed(change, account, "attested", signed, outcome=outcome, reason=note, through=through)
    if account.state is State.ANSWERED:
        if account.answer != outcome:
            raise _wrong_state(account, f"{account.answer} was attested before")
        return held, account.answer_entry
    _check_through(change, held, through)
    if outcome == "corrected":
        _require_fetched(change, held)
    after, index = _logged(change, held, "attested", said)
    if account.kind is Kind.DELETE_BY:
        retention.settled(change.connection, account.contract, account.until, through)
    return after, index


def ask_delay(change: Change, obligation: str, until: str, reason: str, signed: Signed) -> tuple[Held, int]:
    """The recipient asks for time until a day; gives the obligation and the entry that says so.

    Raises:
        SlussError: OBLIGATION_UNKNOWN, INVALID_SIGNATURE, OBLIGATION_WRONG_STATE, INVALID_REQUEST.
    """
    held = seen(change, obligation)
    account = held.account
    free_text.reason(reason, most=MAX_REASON)
    latest = _latest(account)
    if not max(account.due, day_after(change.now_us, -1)) < until <= latest:
        raise invalid("until", f"a day after {account.due} and not before today, at the latest {latest}")
    said = _signed(change, account, "delay_asked", signed, reason=reason, until=until)
    if account.delay == until:
        return held, account.delay_entry
    _require_open(account)
    if account.delays >= MAX_DELAYS:
        raise _wrong_state(account, f"a delay was asked for {MAX_DELAYS} times")
    return _logged(change, held, "delay_asked", said)


def answer_delay(change: Change, obligation: str, until: str, reason: str, *, grant: bool) -> tuple[Held, int]:
    """The privacy team decides on a delay.

    Raises:
        SlussError: OBLIGATION_UNKNOWN; OBLIGATION_WRONG_STATE unless just this delay waits; INVALID_REQUEST.
    """
    held = seen(change, obligation)
    account = held.account
    if reason or not grant:
        free_text.reason(reason, most=MAX_REASON)
    _require_open(account)
    if not account.delay or account.delay != until:
        raise _wrong_state(account, "no delay until that day waits for a decision")
    if grant:
        return _logged(change, held, "delay_granted", {"reason": reason, "until": until}, due=until)
    return _logged(change, held, "delay_refused", {"reason": reason, "until": until})


def remind(change: Change, obligation: str) -> tuple[Held, int]:
    """Remind its recipient.

    Raises:
        SlussError: OBLIGATION_UNKNOWN, OBLIGATION_WRONG_STATE once it is settled.
    """
    held = seen(change, obligation)
    _require_open(held.account)
    return _logged(change, held, "reminded", {})


def close(change: Change, obligation: str, reason: str) -> tuple[Held, int]:
    """Propose to close what nobody answers for or, as a second person, close it: not confirmed, never answered.

    Raises:
        SlussError: OBLIGATION_UNKNOWN; OBLIGATION_WRONG_STATE while an answer can still be expected;
            SECOND_PERSON_NEEDED for the one who proposed it; INVALID_REQUEST.
    """
    held = seen(change, obligation)
    account, by = held.account, change.principal.name
    free_text.reason(reason, most=MAX_REASON)
    facts = change.snapshot.contract(change.connection, account.contract).facts
    # Since it was found unanswered, the contract may have been prolonged, or a delay granted.
    has_time = max(account.until, day_after(change.now_us, -1)) < account.due
    if account.state is not State.UNANSWERED or has_time or not is_over(facts, change.now_us):
        raise _wrong_state(account, "only what a recipient whose contract is over does not answer for can be closed")
    if not account.proposed_by:
        return _logged(change, held, "close_proposed", {"reason": reason})
    if account.proposed_by == by:
        raise SlussError(Reason.SECOND_PERSON_NEEDED, obligation=account.id)
    after, index = _logged(change, held, "not_confirmed", {"reason": reason})
    if account.kind is Kind.DELETE_BY:
        last = retention.last_entry(change.connection, account.contract, account.until)
        retention.settled(change.connection, account.contract, account.until, last)
    return after, index


def _signed(change: Change, account: Account, event: str, signed: Signed, **more: Any) -> dict[str, Any]:
    """What is said, once its signature has been checked; as members of the entry."""
    try:
        ahead = micros(signed.time) > change.now_us + CLOCK_SKEW_US
    except SlussError as error:
        raise invalid("time", error.detail) from None
    if ahead:
        raise invalid("time", "in the future: the clock that it was signed by is ahead")
    said: dict[str, Any] = {"outcome": "", "reason": "", "through": 0, "until": "", "time": signed.time, **more}
    stated = {
        "contract": account.contract,
        "event": event,
        "kind": str(account.kind),
        "obligation": account.id,
        "owed": account.owed,
        "recipient": account.recipient,
    }
    verify_signature(signed.certificate, signed.signature, statement(said | stated), obligation=account.id)
    key = x509.load_der_x509_certificate(signed.certificate).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return said | {"key": spki, "signature": signed.signature}


def _check_through(change: Change, held: Held, through: int) -> None:
    account = held.account
    if account.kind is not Kind.DELETE_BY:
        if through:
            raise invalid("through", "0, but for delete_by")
        return
    last = retention.last_entry(change.connection, account.contract, account.until)
    if not held.first <= through <= last:
        raise invalid("through", f"an entry from {held.first} to {last}, as the obligation tells")


def _require_fetched(change: Change, held: Held) -> None:
    """Refuse `corrected` where no disclosure since asked for the fields: what it gave may be that there is none."""
    account = held.account
    fetched: set[str] = set()
    for each in disclosed(change, held.person, after=account.created):
        if each.contract == account.contract:
            fetched |= each.asked
    missing = sorted(set(account.fields) - fetched)
    if missing:
        raise SlussError(Reason.CORRECTION_NOT_FETCHED, obligation=account.id, fields=", ".join(missing))


def _logged(change: Change, held: Held, event: str, said: dict[str, Any], due: str = "") -> tuple[Held, int]:
    after = rows.log(change.tx, held, event, change.principal.name, due=due, **said)
    return after, after.account.moved


def _latest(account: Account) -> str:
    return (date.fromisoformat(account.until) + timedelta(days=MAX_DELAY_DAYS)).isoformat()


def _require_open(account: Account) -> None:
    if account.settled:
        raise _wrong_state(account, "it is settled")


def _wrong_state(account: Account, why: str) -> SlussError:
    return SlussError(Reason.OBLIGATION_WRONG_STATE, why, obligation=account.id, state=account.state)
