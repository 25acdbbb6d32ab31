"""What we owe for the data that we received, and how we answer for it. No call is made here.

    def erase(obligation): database.delete(handle=obligation.handle)

    with Subcontractor.from_profile("/etc/sluss/acme-pay") as sluss:
        sluss.fulfil(on_delete=delete_by_date, on_correct=fetch_again, on_erase=erase)

A callback that returns has done it: only then it is signed and attested. One that raises has not: it is called again
later. One that raises `NeedTime` asks the company for time. After a crash everything that was not attested comes again:
callbacks are called at least once, and have to bear being called twice. Before something is tried again it is looked at
anew: what another program has answered meanwhile is no longer done.
"""

from __future__ import annotations

import inspect
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sluss.v1 import obligation_pb2 as pb

from broker.clock import rfc3339, system_clock
from broker.obligations.statement import ANSWERS, owed_digest, statement
from broker.sealing import handle_text
from broker.slice_terms import base64url
from sluss_client.errors import IntegrityError, InvalidRequest, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluss_client.profile import Identity

log = logging.getLogger(__name__)

DELETED: Final = "deleted"
CORRECTED: Final = "corrected"
SETTLED: Final = frozenset({"answered", "not_confirmed"})
FIRST_RETRY_S: Final = 5.0
LONGEST_RETRY_S: Final = 600.0
LOOK_S: Final = 60.0
"""A stream is begun anew at least so often: a day may have come."""
STOP_S: Final = 1.0
"""And so often, if somebody may want to stop."""
PATIENCE_S: Final = 1.0
"""What is waited for at least: a broker that is busy needs a moment to say anything."""
LONGEST_PATIENCE_S: Final = 20.0
FOREVER_S: Final = 366 * 86_400.0
"""How long a broker that can't be reached is waited for."""


class NeedTime(Exception):  # noqa: N818 - the name says what is asked for
    """Raised by a callback: it can't be done now, but by a day.

    Attributes:
        until: the day.
        reason: for the ledger; no personal data.
    """

    def __init__(self, until: date, reason: str) -> None:
        super().__init__(f"until {until}: {reason}")
        self.until = until
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something that we owe.

    Attributes:
        id: such as `O-2026-0001`.
        kind: `delete_by`, `correct` or `erase`.
        state: where it stands.
        contract: under which we got the data.
        instruction: `delete_by_date`, `fetch_and_replace`, `delete_fields` or `erase_person`.
        handle: whose data, `h_...`; empty of `delete_by`.
        fields: the fields concerned; empty for all of them.
        due: until when.
        until: until when it was owed first: of `delete_by` the `retain_until` of the slices that it is about.
        first_entry: the first disclosure concerned.
        last_entry: the last one, of `delete_by`: slices of later entries are not part of it.
        owed: what is signed for.
        message: as the broker sent it.
    """

    id: str
    kind: str
    state: str
    contract: str
    instruction: str
    handle: str
    fields: tuple[str, ...]
    due: date
    until: date
    first_entry: int
    last_entry: int
    owed: bytes = field(repr=False)
    message: pb.Obligation = field(repr=False, compare=False)

    @property
    def settled(self) -> bool:
        """Whether it is answered for good."""
        return self.state in SETTLED

    @property
    def outcome(self) -> str:
        """What a callback that returns has done."""
        return CORRECTED if self.instruction == "fetch_and_replace" else DELETED


def read(message: pb.Obligation, principal: str) -> Obligation:
    """An obligation, if it is ours and is what its digest says.

    Raises:
        IntegrityError: it is not.
    """
    try:
        found = Obligation(
            id=message.obligation_id,
            kind=message.kind,
            state=message.state,
            contract=message.contract_id,
            instruction=message.instruction,
            handle=handle_text(message.handle) if message.handle else "",
            fields=tuple(message.fields),
            due=date.fromisoformat(message.due),
            until=date.fromisoformat(message.until),
            first_entry=message.first_entry,
            last_entry=message.last_entry,
            owed=message.owed,
            message=message,
        )
    except ValueError:
        raise IntegrityError("an obligation can't be read") from None
    said = owed_digest(
        found.id,
        found.kind,
        found.contract,
        principal,
        fields=found.fields,
        handle=message.handle,
        salt=message.salt,
        until=message.until,
        first=message.first_entry,
    )
    if message.recipient != principal or (not found.settled and said != message.owed):
        raise IntegrityError(f"{found.id} is not what its digest says, or not ours")
    return found


def acknowledgement(obligation: Obligation, identity: Identity) -> pb.AcknowledgeObligationRequest:
    """The request that acknowledges, signed."""
    said, signature = _sign(obligation, "acknowledged", identity)
    return pb.AcknowledgeObligationRequest(obligation_id=obligation.id, time=said["time"], signature=signature)


def attestation(obligation: Obligation, outcome: str, note: str, identity: Identity) -> pb.AttestObligationRequest:
    """The request that attests, signed."""
    through = obligation.last_entry if obligation.kind == "delete_by" else 0
    said, signature = _sign(obligation, "attested", identity, outcome=outcome, reason=note, through=through)
    return pb.AttestObligationRequest(
        obligation_id=obligation.id,
        outcome=outcome,
        time=said["time"],
        note=note,
        through=through,
        signature=signature,
    )


def delay(obligation: Obligation, until: date, reason: str, identity: Identity) -> pb.AskDelayRequest:
    """The request for time, signed."""
    day = until.isoformat()
    said, signature = _sign(obligation, "delay_asked", identity, until=day, reason=reason)
    return pb.AskDelayRequest(
        obligation_id=obligation.id, until=day, reason=reason, time=said["time"], signature=signature
    )


def _sign(obligation: Obligation, event: str, identity: Identity, **more: Any) -> tuple[dict[str, Any], bytes]:
    message = obligation.message
    said = {
        "contract": message.contract_id,
        "event": event,
        "kind": message.kind,
        "obligation": message.obligation_id,
        "outcome": "",
        "owed": base64url(message.owed),
        "reason": "",
        "recipient": message.recipient,
        "through": 0,
        "time": rfc3339(system_clock()),
        "until": "",
        **more,
    }
    return said, identity.sign(statement(said))


@dataclass(slots=True)
class _Waiting:
    """An obligation that waits to be done.

    Attributes:
        obligation: as it was seen last.
        seen: when (seconds, monotonic).
        old: whether to look at it again before it is done: it was tried before, or others may have moved it.
        failures: how often it was tried in vain.
        not_before: when to try it next (seconds, monotonic).
        put_off: the day before which it is not done, if it was put off.
        attesting: the outcome that was sent, if one was.
    """

    obligation: Obligation
    seen: float
    old: bool = False
    failures: int = 0
    not_before: float = 0.0
    put_off: date | None = None
    attesting: str = ""


class Duties:
    """What waits to be done, and when. Both clients share it.

    Args:
        on_delete: what deletes what is to be deleted by a day; called when the day has come.
        on_correct: what corrects a person's fields.
        on_erase: what erases a person.
        ahead: how many days before the day `on_delete` is called.
        today: the day now.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        on_delete: Callable[[Obligation], Any] | None,
        on_correct: Callable[[Obligation], Any] | None,
        on_erase: Callable[[Obligation], Any] | None,
        *,
        ahead: int = 0,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._callbacks = {"delete_by": on_delete, "correct": on_correct, "erase": on_erase}
        if not any(self._callbacks.values()):
            raise InvalidRequest("fulfil needs a callback")
        self._ahead = timedelta(days=ahead)
        self._today = today
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        # By what is owed: after a restore the broker may give an id a second time.
        self._taken: set[bytes] = set()
        self._done: set[bytes] = set()
        self._patience_s = PATIENCE_S

    def take(self, obligation: Obligation) -> bool:
        """Note an obligation; whether it is one that a callback does."""
        if obligation.settled or obligation.owed in self._done or self._callbacks.get(obligation.kind) is None:
            return False
        self._taken.add(obligation.owed)
        before = self._waiting.get(obligation.id)
        if before is None or before.obligation.owed != obligation.owed:
            self._waiting[obligation.id] = _Waiting(obligation, self._clock())
            return True
        before.obligation, before.seen = obligation, self._clock()
        if before.put_off:
            # It has moved: the company may have decided.
            before.old, before.not_before = True, 0.0
        return True

    def callback(self, obligation: Obligation) -> Callable[[Obligation], Any]:
        """What does it."""
        found = self._callbacks[obligation.kind]
        if found is None:
            raise AssertionError
        return found

    def ready(self) -> Iterator[Obligation]:
        """What can be done now."""
        now = self._clock()
        for waiting in list(self._waiting.values()):
            if waiting.not_before <= now and self._has_come(waiting.obligation):
                yield waiting.obligation

    def is_old(self, obligation: Obligation) -> bool:
        """Whether to look at it again before it is done: others may have answered, or the company decided."""
        waiting = self._waiting[obligation.id]
        return waiting.old or waiting.seen + LOOK_S < self._clock()

    def renew(self, obligation: Obligation) -> Obligation | None:
        """Note how an obligation stands now; what can be done now, if anything."""
        waiting = self._waiting[obligation.id]
        if waiting.attesting and obligation.message.outcome == waiting.attesting:
            # It was taken, and the reply was lost.
            self.done(obligation)
            return None
        if obligation.owed != waiting.obligation.owed or obligation.state == "answered":
            self.drop(obligation)
            return None
        if obligation.settled:
            # People have closed it, and the broker tells no more of whom it was about: a late answer is still taken.
            waiting.seen, waiting.old = self._clock(), False
            return waiting.obligation
        waiting.obligation, waiting.seen, waiting.old = obligation, self._clock(), False
        until = waiting.put_off
        if until and until > self._today() and (obligation.message.delay_asked or until <= obligation.due):
            self.put_off(obligation, until)
            return None
        waiting.put_off = None
        return obligation if self._has_come(obligation) else None

    def drop(self, obligation: Obligation) -> None:
        """Nobody waits for our answer any more."""
        self._waiting.pop(obligation.id, None)

    def attesting(self, obligation: Obligation, outcome: str) -> None:
        """It is about to be attested; whether that was taken is looked at before it is done again."""
        waiting = self._waiting[obligation.id]
        waiting.attesting, waiting.old = outcome, True

    def done(self, obligation: Obligation) -> None:
        """It has been attested."""
        self.drop(obligation)
        self._done.add(obligation.owed)

    @property
    def fulfilled(self) -> int:
        """How many have been attested."""
        return len(self._done)

    @property
    def steps(self) -> int:
        """A number that grows with each obligation that is new, and with each that is attested."""
        return len(self._taken) + len(self._done)

    def failed(self, obligation: Obligation, error: BaseException) -> None:
        """It has not been done: later again. Of a failure of the program's own the kind is logged, never its text."""
        waiting = self._waiting[obligation.id]
        waiting.failures += 1
        wait_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(waiting.failures - 1, 16))
        waiting.not_before = self._clock() + wait_s
        waiting.old = True
        why = error if isinstance(error, Refused) else type(error).__name__
        log.warning("%s was not fulfilled (%s): again in %d s", obligation.id, why, wait_s)

    def put_off(self, obligation: Obligation, until: date) -> None:
        """Not again before that day, unless it moves: the company may say otherwise."""
        waiting = self._waiting[obligation.id]
        seconds = max((until - self._today()).days * 86_400.0, LONGEST_RETRY_S)
        waiting.not_before, waiting.put_off, waiting.old = self._clock() + seconds, until, True

    def wait_s(self, most: float) -> float:
        """Seconds until something can be done; never less than the broker has needed to say anything."""
        now = self._clock()
        times = [waiting.not_before - now for waiting in self._waiting.values() if waiting.not_before > now]
        return max(self._patience_s, min([most, *times]))

    def unheard(self) -> None:
        """A stream has ended before anything came: the next one is given more time."""
        self._patience_s = min(2 * self._patience_s, LONGEST_PATIENCE_S)

    def _has_come(self, obligation: Obligation) -> bool:
        return obligation.kind != "delete_by" or obligation.due - self._ahead <= self._today()


def look_s(*, stoppable: bool) -> float:
    """How long one stream may last."""
    return STOP_S if stoppable else LOOK_S


def outcome_of(obligation: Obligation, returned: object) -> str:
    """What to attest after a callback returned: what it named, or what its kind means.

    Raises:
        InvalidRequest: it named something else, so that nobody can tell what it has done; or it is a coroutine or a
            generator, which has done nothing yet.
    """
    if inspect.isawaitable(returned) or inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        raise InvalidRequest(f"{obligation.id}: the callback has not run: it is a coroutine function or a generator")
    if not isinstance(returned, str) or not returned:
        return obligation.outcome
    if returned not in ANSWERS[obligation.kind]:
        told = ", ".join(sorted(ANSWERS[obligation.kind]))
        raise InvalidRequest(f"{obligation.id}: the callback returned a text that is none of {told}")
    return returned
