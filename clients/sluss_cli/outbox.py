"""`sluss outbox`: messages to persons on their way; what became of them, and a stream for programs."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from sluss.v1 import outbox_pb2 as pb

from sluss_cli.again import Again
from sluss_cli.entry_text import moment
from sluss_cli.listing import Count, Limit, Seconds, every, some, tell_more
from sluss_cli.output import json_line
from sluss_cli.problems import usage
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import group, verb

app = group("Messages to persons: list, watch.")

_KIND = "OUTBOX_KIND_"
_STATE = "OUTBOX_STATE_"
_FAILURE = "OUTBOX_FAILURE_"
_PAGE = 200


@verb(app, "list", examples=("sluss outbox list", "sluss outbox list --state dead --limit 500"))
def list_(
    session: Session,
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="Only what stands so for a consumer: waiting, delivered, failed, dead; repeatable.", metavar="STATE"
        ),
    ] = None,
    limit: Limit = 50,
) -> None:
    """List what is in the outbox, newest first, without addresses and contents."""
    states = [_number(pb.OutboxState, _STATE, each, "state") for each in state or ()]
    request = pb.ListOutboxRequest(states=states, page_size=min(limit or _PAGE, _PAGE))  # type: ignore[arg-type] # checked
    consumers: list[pb.OutboxConsumer] = []

    def listed(request: pb.ListOutboxRequest, timeout: float) -> pb.ListOutboxResponse:
        reply = session.outbox.ListOutbox(request, timeout=timeout)
        consumers.extend(reply.consumers)
        return reply

    items, more = some(every(listed, request, "items"), limit)
    session.output.result({"items": [_item(each) for each in items], "consumers": [_consumer(c) for c in consumers]})
    rows = [
        (
            each.id,
            _word(pb.OutboxKind, _KIND, each.kind),
            moment(each.queued_at),
            each.person_id,
            *_standing(standing, held_back=each.held_back),
        )
        for each in items
        for standing in each.standings
    ]
    columns = ("id", "message", "queued", "person", "consumer", "state", "last failure", "failures")
    session.output.table(columns, rows, empty="nothing in the outbox")
    tell_more(session, len(items), more=more)
    session.output.line()
    session.output.table(
        ("consumer", "of", "since", "not answered for"),
        [(each.consumer, each.principal, moment(each.since), each.waiting) for each in consumers],
        empty="no consumer has ever watched",
    )


@verb(
    app,
    "watch",
    examples=(
        "sluss outbox watch mail --kind registration_confirmation",
        "sluss outbox watch try --count 1",
        "sluss outbox watch archive --acknowledge > messages.jsonl",
    ),
)
def watch(
    session: Session,
    consumer: Annotated[
        str, typer.Argument(help="The consumer's name; what it answered is kept by it.", metavar="NAME")
    ],
    *,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Only such messages: registration_confirmation, policy_changed ...; repeatable.", metavar="KIND"
        ),
    ] = None,
    seconds: Seconds = 0,
    count: Count = 0,
    skip_earlier: Annotated[
        bool, typer.Option("--skip-earlier", help="A new consumer starts with what comes from now on.")
    ] = False,
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", help="Each message counts as delivered when it is printed.")
    ] = False,
) -> None:
    """Print messages as they come, one line of JSON each, with their addresses and contents.

    A stream that breaks is begun anew. What was not acknowledged comes again with the next run.
    """
    kinds = [_number(pb.OutboxKind, _KIND, each, "kind") for each in kind or ()]
    request = pb.WatchOutboxRequest(consumer=consumer, kinds=kinds, skip_earlier=skip_earlier)  # type: ignore[arg-type] # checked
    Again(session.output, seconds).follow(_Watch(session, request, count, acknowledge=acknowledge), grpc.RpcError)


class _Watch:
    """Messages as they come, over all the streams that it takes."""

    def __init__(self, session: Session, request: pb.WatchOutboxRequest, count: int, *, acknowledge: bool) -> None:
        self._outbox = session.outbox
        self._request = request
        self._left = count
        self._acknowledge = acknowledge
        self._unheard: pb.OutboxAcknowledgement | None = None
        # Without acknowledging, the broker sends all of them again on the next stream.
        self._printed: set[int] = set()
        self.is_done = False

    def replies(self, timeout_s: float | None) -> Iterator[pb.WatchOutboxResponse]:
        """The replies of one stream, printed and answered for; an answer that got no reply is given again first."""
        self._answer()
        if self.is_done:
            return
        stream = self._outbox.WatchOutbox(self._request, timeout=timeout_s)
        try:
            for reply in stream:
                yield reply
                if reply.HasField("item") and reply.item.id not in self._printed:
                    if not self._acknowledge:
                        self._printed.add(reply.item.id)
                    sys.stdout.write(json_line(MessageToDict(reply.item, preserving_proto_field_name=True)) + "\n")
                    sys.stdout.flush()
                    self._unheard = pb.OutboxAcknowledgement(id=reply.item.id)
                    self._answer()
                    if self.is_done:
                        return
        finally:
            stream.cancel()

    def _answer(self) -> None:
        if self._unheard is None:
            return
        if self._acknowledge:
            answers = pb.AcknowledgeOutboxRequest(consumer=self._request.consumer, acknowledgements=[self._unheard])
            self._outbox.AcknowledgeOutbox(answers, timeout=DEADLINE_S)
        self._unheard = None
        self._left -= 1
        self.is_done = not self._left


def _number(enum: Any, prefix: str, word: str, option: str) -> int:
    """The number of a word such as `dead`.

    Raises:
        Problem: USAGE, naming the words there are.
    """
    words = [name.removeprefix(prefix).lower() for name in enum.keys() if not name.endswith("_UNSPECIFIED")]  # noqa: SIM118 - no mapping
    if word not in words:
        raise usage(f"--{option}: one of {', '.join(words)}")
    return int(enum.Value(prefix + word.upper()))


def _word(enum: Any, prefix: str, number: int) -> str:
    if not number:
        return ""
    return str(enum.Name(number)).removeprefix(prefix).lower() if number in enum.values() else str(number)


def _standing(standing: pb.OutboxStanding, *, held_back: bool) -> tuple[object, ...]:
    return (
        standing.consumer or "nobody yet",
        _word(pb.OutboxState, _STATE, standing.state) + (", held back" if held_back else ""),
        _word(pb.OutboxFailure, _FAILURE, standing.failure),
        standing.failures,
    )


def _item(item: pb.OutboxListing) -> dict[str, Any]:
    return {
        "id": item.id,
        "kind": _word(pb.OutboxKind, _KIND, item.kind),
        "queued_at": item.queued_at,
        "person": item.person_id,
        "held_back": item.held_back,
        "standings": [
            {
                "consumer": each.consumer,
                "state": _word(pb.OutboxState, _STATE, each.state),
                "failure": _word(pb.OutboxFailure, _FAILURE, each.failure),
                "failures": each.failures,
                "at": each.at,
            }
            for each in item.standings
        ],
    }


def _consumer(consumer: pb.OutboxConsumer) -> dict[str, Any]:
    return {
        "consumer": consumer.consumer,
        "principal": consumer.principal,
        "kinds": [_word(pb.OutboxKind, _KIND, kind) for kind in consumer.kinds],
        "since": consumer.since,
        "waiting": consumer.waiting,
    }
