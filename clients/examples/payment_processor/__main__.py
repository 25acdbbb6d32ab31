"""The payment processor.

python -m examples.payment_processor pay PROFILE FOLDER < payment.json
python -m examples.payment_processor verify PROFILE FOLDER
python -m examples.payment_processor fulfil PROFILE FOLDER [--once] [--days-ahead N]
python -m examples.payment_processor rotate PROFILE
"""

from __future__ import annotations

import argparse
import json
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.payment_processor import payments
from examples.payment_processor.kept import Kept
from examples.payment_processor.payments import NotPaid, Payment
from sluss_client import IntegrityError, Profile, Refused, Subcontractor, TransportError
from sluss_client.errors import Aborted, AlreadyExists, InvalidArgument, ProfileError, ResourceExhausted

from broker.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

OF_THIS_PAYMENT = (Aborted, AlreadyExists, InvalidArgument)
"""Refusals that say nothing about other payments."""


class Exit(IntEnum):
    """How the program ends."""

    DONE = 0
    INPUT = 2
    """The payment can't be read."""
    NOT_PAID = 3
    """This payment can't be made; others can."""
    LATER = 4
    """The same payment again later: after `retry_after_s`, if the broker names a time, or once our disk has room."""
    INTEGRITY = 5
    """What the broker sent, or what is kept, does not prove itself: stop, and call the company."""
    STOP = 6
    """The contract or our certificate stands against it: no payment like it goes through now."""
    STOPPED = 130


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="payment_processor", description="Orders payments, keeps proofs, fulfils.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in ("pay", "verify", "fulfil", "rotate"):
        verb = verbs.add_parser(name)
        verb.add_argument("profile", type=Path, help="our profile folder")
        if name != "rotate":
            verb.add_argument("folder", type=Path, help="what is kept")
        if name == "fulfil":
            verb.add_argument("--once", action="store_true", help="do what can be done now, and end")
            verb.add_argument("--days-ahead", type=int, default=0, help="delete so many days before the last day")
    return parser.parse_args(words)


def _run(given: argparse.Namespace) -> tuple[dict[str, Any], Exit]:
    if given.verb == "verify":
        checked = dict(Kept(given.folder).verify(Profile.load(given.profile)))
        wrong = {payment: why for payment, why in checked.items() if why}
        return {"receipts": len(checked), "wrong": wrong}, Exit.INTEGRITY if wrong else Exit.DONE
    payment = Payment.parse(sys.stdin.read()) if given.verb == "pay" else None
    with Subcontractor.from_profile(given.profile) as sluss:
        if given.verb == "rotate":
            key = sluss.rotate_key()
            return {"key": key.key_id.hex(), "entry": key.entry_index}, Exit.DONE
        kept = Kept(given.folder)
        if payment is not None:
            return payments.order(sluss, kept, payment), Exit.DONE
        done = payments.fulfil(sluss, kept, once=given.once, days_ahead=given.days_ahead)
        return {"fulfilled": done}, Exit.DONE


def _refusal(error: Refused) -> tuple[dict[str, Any], Exit]:
    """A refusal, for programs: the reason, its facts, and what to do."""
    said = {"error": error.reason, "detail": error.detail, "do": payments.what_to_do(error), **error.metadata}
    if isinstance(error, ResourceExhausted):
        return said | {"retry_after_s": error.retry_after_s}, Exit.LATER
    if error.reason == Reason.INTERNAL:
        return said | {"retry_after_s": None}, Exit.LATER
    return said, Exit.NOT_PAID if isinstance(error, OF_THIS_PAYMENT) else Exit.STOP


def main(words: Sequence[str]) -> int:
    """Runs one verb; the exit code."""
    given = _arguments(words)
    try:
        said, ends = _run(given)
    except ValueError as error:
        said, ends = {"error": "INPUT", "detail": str(error)}, Exit.INPUT
    except NotPaid as error:
        said, ends = {"error": error.reason, "detail": error.detail}, Exit.NOT_PAID
    except TransportError as error:
        said, ends = {"error": "LATER", "detail": str(error), "retry_after_s": None}, Exit.LATER
    except IntegrityError as error:
        said, ends = {"error": "INTEGRITY", "detail": str(error)}, Exit.INTEGRITY
    except Refused as error:
        said, ends = _refusal(error)
    except (ProfileError, OSError) as error:
        said, ends = {"error": "OURS", "detail": str(error), "retry_after_s": None}, Exit.LATER
    except KeyboardInterrupt:
        return Exit.STOPPED
    sys.stdout.write(json.dumps(said, ensure_ascii=False, indent=2) + "\n")
    return ends


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
