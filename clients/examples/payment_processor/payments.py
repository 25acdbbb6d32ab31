"""What the processor does: get the account for a payment, and fulfil what it owes for what it keeps."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from examples.payment_processor.kept import Kept
    from sluss_client import Obligation, OpenedPerson, Refused, Subcontractor

PURPOSE: Final = "billing.payment"
ACCOUNT: Final = "payment.iban"
FIELDS: Final = ("name.given", "name.family", ACCOUNT)
"""All that a payment needs, and so all that is asked for."""
DEADLINE_S: Final = 20.0


class NotPaid(Exception):  # noqa: N818 - the name says what has happened
    """There is no order for this payment, by our own word.

    Attributes:
        reason: `PERSON_UNAVAILABLE`, `NO_ACCOUNT`, `PAYMENT_ID_REUSED` or `DATA_GONE`.
        detail: one sentence.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Payment:
    """A payment to make.

    Attributes:
        payment_id: a UUID4, the same for every attempt.
        contract: such as `C-2026-0001`.
        handle: whom to pay, `h_...`.
        amount: such as `120.00`.
        currency: such as `SEK`.
    """

    payment_id: str
    contract: str
    handle: str
    amount: str
    currency: str

    @classmethod
    def parse(cls, text: str) -> Payment:
        """The payment from JSON.

        Raises:
            ValueError: it is not one.
        """
        try:
            payment = cls(**json.loads(text))
            same = str(uuid.UUID(payment.payment_id)) == payment.payment_id
        except (ValueError, TypeError, AttributeError):
            raise ValueError("not a payment, or its payment_id is no UUID") from None
        if not same or not all(isinstance(each, str) for each in vars(payment).values()):
            raise ValueError("a payment holds texts, and its payment_id is a UUID in lower case")
        return payment


def order(sluss: Subcontractor, kept: Kept, payment: Payment) -> dict[str, Any]:
    """The order for the bank. Asked again, it is the same order and no second disclosure.

    The payment's id is the `request_id`: killed after the broker has answered, we get the same slices and the same
    entry again. Once they are kept, the broker is not asked any more.

    Raises:
        NotPaid: there is no order.
        SlussClientError: as `Subcontractor.disclose`.
    """
    with kept.alone():
        person = _kept(sluss, kept, payment) or _disclosed(sluss, kept, payment)
    if ACCOUNT not in person.values:
        raise NotPaid("NO_ACCOUNT", "the person has no account on record")
    return {
        "payment": payment.payment_id,
        "iban": person.values[ACCOUNT],
        "name": " ".join(person.values[field] for field in FIELDS[:2] if field in person.values),
        "amount": payment.amount,
        "currency": payment.currency,
        "entry": person.entry_index,
    }


def _disclosed(sluss: Subcontractor, kept: Kept, payment: Payment) -> OpenedPerson:
    """The person from the broker. Kept first: nothing is ordered without its proof."""
    (found,) = sluss.disclose(
        payment.contract,
        PURPOSE,
        FIELDS,
        [payment.handle],
        request_id=payment.payment_id,
        deadline_s=DEADLINE_S,
    )
    if not found.available:
        raise NotPaid(found.reason, "the broker gives nothing of this person")
    kept.keep(payment.payment_id, found)
    return found


def _kept(sluss: Subcontractor, kept: Kept, payment: Payment) -> OpenedPerson | None:
    sealed = kept.find(payment.payment_id)
    if sealed is not None:
        # Sealed to whichever key was ours then: a rotation keeps the older ones.
        (person,) = sluss.open_stored(sealed.path.read_bytes())
        if person.handle != payment.handle or person.terms.contract != payment.contract:
            raise NotPaid("PAYMENT_ID_REUSED", "this payment_id was another payment's")
        return person
    if kept.is_known(payment.payment_id):
        raise NotPaid("DATA_GONE", "it was ordered before; its data have been deleted or corrected since")
    return None


def fulfil(sluss: Subcontractor, kept: Kept, *, once: bool = False, days_ahead: int = 0) -> int:
    """Do what we owe and attest it, for good or once; gives how many obligations were fulfilled."""

    def delete(obligation: Obligation) -> None:
        with kept.alone():
            kept.delete(kept.due(obligation.contract, obligation.until.isoformat(), obligation.last_entry))

    def correct(obligation: Obligation) -> str:
        with kept.alone():
            held = kept.of_person(obligation.contract, obligation.handle)
            if not held:
                return "never_held_any_more"
            right = _fetch(sluss, obligation)
            new = None if right is None else kept.keep(obligation.id, right)
            kept.delete(each for each in held if each.path != new)
        return "deleted" if right is None else "corrected"

    def erase(obligation: Obligation) -> None:
        with kept.alone():
            kept.delete(kept.of_person(obligation.contract, obligation.handle))

    return sluss.fulfil(on_delete=delete, on_correct=correct, on_erase=erase, once=once, days_ahead=days_ahead)


def _fetch(sluss: Subcontractor, obligation: Obligation) -> OpenedPerson | None:
    """The right values, by an ordinary disclosure; None if there are none for us any more."""
    if obligation.instruction != "fetch_and_replace":
        return None
    fields = sorted({*FIELDS, *obligation.fields})
    (found,) = sluss.disclose(obligation.contract, PURPOSE, fields, [obligation.handle])
    return found if found.available else None


def what_to_do(refused: Refused) -> str:
    """What a refusal means for whoever runs payments."""
    advice = {
        "CONTRACT_SUSPENDED": "stop every payment under this contract until the company resumes it",
        "CONTRACT_TERMINATED": "stop for good; what is owed for the data is still to be fulfilled",
        "FIELD_OUT_OF_SCOPE": "the contract does not grant this field: no retry helps, the contract must be amended",
        "PURPOSE_OUT_OF_SCOPE": "the contract does not grant payments: no retry helps, the contract must be amended",
        "VOLUME_EXCEEDED": "the volume is used up: come back after retry_after_s with the same payment",
        "RECORD_CHANGED": "nothing was ordered, and the data changed meanwhile: pay under a new payment_id",
        "INTERNAL": "the same payment again later; tell the company the reference",
        "REQUEST_ID_REUSED": "this payment_id was another payment's: nothing was disclosed",
    }
    return advice.get(refused.reason, "look up the reason in the error catalogue")
