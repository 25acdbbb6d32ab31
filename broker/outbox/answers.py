"""What a request or a complaint of a person came to, as the message about it tells (GDPR Art. 12(3) and 12(4)).

It is what the person is told, in the words of then, and waits sealed under the person's own key until it is delivered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from broker import own_keys
from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from broker.vault import PersonRow, Vault

PLACE: Final = "answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        person: whose it is.
        case: the request or the complaint.
        about: `access`, `rectification`, `erasure`, `objection` or `complaint`.
        outcome: `done` or `refused`; `extended` if it takes longer, empty while it was only taken in; of a complaint
            its outcome.
        ground: why a request was refused, a word; empty otherwise.
        told: what the person is told; may be empty of what is done.
        language: in which the person asked to be answered; empty for the one on record.
    """

    person: int
    case: str
    about: str
    outcome: str
    ground: str
    told: str
    language: str

    def __repr__(self) -> str:
        """Without what the person is told."""
        return f"Answer({self.case}, {self.outcome})"


def sealed(vault: Vault, row: PersonRow, answer: Answer) -> bytes:
    """An answer as it waits in the outbox."""
    return own_keys.seal_note(vault, row, PLACE, orjson.dumps(answer))


def opened(vault: Vault, row: PersonRow, body: bytes, case: str) -> Answer:
    """The answer that a message about a request or complaint holds.

    Raises:
        SlussError: INTERNAL for one that is another person's, or about something else.
    """
    answer = Answer(**orjson.loads(own_keys.open_note(vault, row, PLACE, body)))
    if (answer.person, answer.case) != (row.id, case):
        raise SlussError(Reason.INTERNAL, "a message holds another answer")
    return answer
