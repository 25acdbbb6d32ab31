"""Registers the person of a web form, with choices and the acceptance of the policy; prints what to answer.

    python -m examples.registration.register PROFILE < form.json > answer.json

The web server gives each form that it shows a `form_id` of its own (a UUID4): the broker registers it once, however
often the button is pressed, the server retries, or this program is started again.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import grpc
from sluss.v1 import choice_pb2, person_pb2, person_pb2_grpc
from sluss_client.channel import channel
from sluss_client.errors import (
    InvalidArgument,
    Refused,
    ResourceExhausted,
    SlussClientError,
    TransportError,
    from_rpc_error,
)
from sluss_client.profile import Profile
from sluss_client.retry import Retry

from broker.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

DEADLINE_S = 20.0
"""Seconds that somebody waits for a web page, all attempts together."""
SOURCE = "registration"
MEDIUM = "web"


class Exit(IntEnum):
    """How the program ends."""

    REGISTERED = 0
    FORM = 2
    """The person can mend it: `field` and `detail` say what."""
    REFUSED = 3
    LATER = 4
    """Nothing was stored, or nobody knows: start the program again with the same form."""


@dataclass(frozen=True)
class Form:
    """What the web form sent.

    Attributes:
        form_id: a UUID4, the same for every attempt.
        values: field of the catalogue -> what was typed.
        choices: purpose -> yes or no, for the boxes on the form; a box that is not there chooses nothing.
        accepted_policy: the policy version beside the box that was ticked; empty if it was not.
    """

    form_id: str
    values: Mapping[str, str]
    choices: Mapping[str, bool]
    accepted_policy: str

    @classmethod
    def parse(cls, text: str) -> Form:
        """The form from JSON.

        Raises:
            ValueError: it is not one; without the values, which belong in no log.
        """
        try:
            given = json.loads(text)
            form = cls(given["form_id"], given["values"], given.get("choices", {}), given.get("accepted_policy", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError("not a form") from None
        texts = [form.form_id, form.accepted_policy, *form.values, *form.values.values()]
        if not all(isinstance(each, str) for each in texts) or not all(
            isinstance(each, bool) for each in form.choices.values()
        ):
            raise ValueError("a form holds texts, and yes or no")
        return form

    def request(self) -> person_pb2.RegisterPersonRequest:
        """The call: the same bytes for every attempt."""
        states = {True: choice_pb2.CHOICE_STATE_OPTED_IN, False: choice_pb2.CHOICE_STATE_OPTED_OUT}
        return person_pb2.RegisterPersonRequest(
            request_id=self.form_id,
            # An empty box of the form is no value.
            values=[person_pb2.FieldValue(field=f, value=v) for f, v in sorted(self.values.items()) if v.strip()],
            source=SOURCE,
            choices=[
                choice_pb2.ChoiceMade(purpose=purpose, state=states[yes], medium=MEDIUM)
                for purpose, yes in sorted(self.choices.items())
            ],
            accepted_policy=self.accepted_policy,
        )


def register(
    persons: person_pb2_grpc.PersonServiceStub, request: person_pb2.RegisterPersonRequest
) -> person_pb2.RegisterPersonResponse:
    """Registers, and tries again while that is safe and somebody waits.

    Raises:
        SlussClientError: the broker's no, or no answer in time.
    """
    retry = Retry(DEADLINE_S)
    while True:
        try:
            return persons.RegisterPerson(request, timeout=retry.attempt_s)
        except grpc.RpcError as error:
            time.sleep(retry.wait_s(from_rpc_error(error)))


def answer(done: person_pb2.RegisterPersonResponse) -> dict[str, Any]:
    """What the web page shows: the information received, in words that people know."""
    told = done.confirmation
    return {
        "person": done.person_id,
        "policy": told.policy_version,
        "received": [{"sv": each.label_sv, "en": each.label_en, "value": each.value} for each in told.values],
        "choices": [
            {"sv": each.label_sv, "en": each.label_en, "yes": each.state == choice_pb2.CHOICE_STATE_OPTED_IN}
            for each in told.choices
        ],
    }


def main(words: list[str]) -> int:
    """Reads the form, registers, prints the answer; the exit code."""
    if len(words) != 1:
        sys.stderr.write("usage: python -m examples.registration.register PROFILE < form.json\n")
        return Exit.FORM
    try:
        request = Form.parse(sys.stdin.read()).request()
        with channel(Profile.load(words[0])) as line:
            found = answer(register(person_pb2_grpc.PersonServiceStub(line), request))
        ends = Exit.REGISTERED
    except ValueError as error:
        found, ends = {"error": "FORM", "detail": str(error)}, Exit.FORM
    except InvalidArgument as error:
        # Field by field, for the form: the detail names fields and never repeats what was typed.
        found = {"error": error.reason, "field": error.metadata.get("field", ""), "detail": error.detail}
        ends = Exit.FORM
    except (TransportError, ResourceExhausted) as error:
        found, ends = {"error": "LATER", "detail": str(error)}, Exit.LATER
    except Refused as error:
        # Such as PERSON_EXISTS: the customer number is somebody's already. Of a fault of the broker nobody knows more.
        found = {"error": error.reason, "detail": error.detail}
        ends = Exit.LATER if error.reason == Reason.INTERNAL else Exit.REFUSED
    except SlussClientError as error:
        found, ends = {"error": type(error).__name__, "detail": str(error)}, Exit.REFUSED
    sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    return ends


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
