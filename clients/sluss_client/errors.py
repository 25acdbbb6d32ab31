"""Everything that a client program may catch.

SlussClientError
├── ProfileError            the profile folder is incomplete, unreadable or open to others
├── InvalidRequest          the call can't be made as it stands; nothing was sent (also a ValueError)
├── TransportError          no answer, or not now: retried by the SDK until its deadline
│   └── BrokerUnavailable   the broker says so itself: its ledger can't be written, nothing has left it
├── Refused                 the broker's answer is no; `reason` is from the error catalogue
│   ├── Unauthenticated     nobody we know, or a revoked certificate
│   ├── PermissionDenied    purpose, field, role or contract out of scope
│   ├── InvalidArgument     the request is malformed
│   ├── FailedPrecondition  the contract or the key is not in the state that the call needs
│   ├── NotFound
│   ├── AlreadyExists       also: a request id used again with another body
│   ├── Aborted             stale: read again, then retry with a new request id; a stream that lay idle
│   └── ResourceExhausted   volume or rate; `retry_after_s` says when
└── IntegrityError          LOUD: what the broker sent does not prove itself. Nothing was opened. Keep the
    │                       reply, stop disclosing, and tell the company
    ├── ReceiptInvalid      the entry is not proven, or is not about what was asked
    ├── LedgerInconsistent  the ledger was forked or rolled back since the last checkpoint seen
    └── SliceInvalid        the slices are not those of the entry, or do not open
"""

# ruff: noqa: N818 - the names say what has happened: `except Refused`

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from broker.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

_DETAILS_KEY = "grpc-status-details-bin"
_NANOS = 1e-9


class SlussClientError(Exception):
    """The root of this tree."""


class ProfileError(SlussClientError):
    """The profile folder is incomplete, unreadable or open to others."""


class InvalidRequest(SlussClientError, ValueError):
    """The call can't be made as it stands. Nothing was sent."""


class TransportError(SlussClientError):
    """No answer from the broker: unreachable, not trusted by TLS, too slow, or cancelled."""


class _Answer(SlussClientError):
    """An answer with a reason.

    Attributes:
        reason: from the error catalogue (`sluss.v1.ErrorReason` without its prefix); the status code's name
            if the broker gave none.
        detail: one sentence, never with a person's value.
        metadata: short facts by name.
        retry_after_s: seconds after which to try again; None if the broker names none.
    """

    def __init__(
        self, reason: str, detail: str, metadata: Mapping[str, str], retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.metadata = dict(metadata)
        self.retry_after_s = retry_after_s


class BrokerUnavailable(_Answer, TransportError):
    """The broker can't answer now, by its own word. Nothing has left it; the SDK retries."""


class Refused(_Answer):
    """The broker's answer is no."""


class Unauthenticated(Refused):
    """The certificate is nobody's, or revoked."""


class PermissionDenied(Refused):
    """Out of scope: purpose, field, role or contract."""


class InvalidArgument(Refused):
    """The request is malformed."""


class FailedPrecondition(Refused):
    """The contract or the key is not in the state that the call needs."""


class NotFound(Refused):
    """No such thing for this caller."""


class AlreadyExists(Refused):
    """The identifier is taken, or a request id came back with another body."""


class Aborted(Refused):
    """Something has moved on: read again, then retry with a new request id."""


class ResourceExhausted(Refused):
    """A volume or a rate is used up."""


class IntegrityError(SlussClientError):
    """What the broker sent does not prove itself. Nothing of it was opened."""


class ReceiptInvalid(IntegrityError):
    """An entry is not proven to be in the ledger, or is not about what was asked."""


class LedgerInconsistent(IntegrityError):
    """The ledger is not an extension of the one seen before: forked, rolled back or rewritten."""


class SliceInvalid(IntegrityError):
    """The slices are not those of the entry, or do not open."""


_REFUSALS: dict[grpc.StatusCode, type[Refused]] = {
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
}
_NO_ANSWER = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}


def from_rpc_error(error: grpc.RpcError) -> SlussClientError:
    """The exception of this tree for a failed call, synchronous or `grpc.aio`."""
    code, text = error.code(), error.details() or ""
    info, retry_after_s = _details(error)
    if code in _NO_ANSWER and info is None:
        return TransportError(f"{code.name}: {text}")
    reason = info.reason if info is not None else code.name
    if reason == Reason.LEDGER_INCONSISTENT:
        return LedgerInconsistent(f"the broker's ledger does not extend the one seen before: {text}")
    metadata = dict(info.metadata) if info is not None else {}
    kind = BrokerUnavailable if code in _NO_ANSWER else _REFUSALS.get(code, Refused)
    return kind(reason, text, metadata, retry_after_s)


def _details(error: grpc.RpcError) -> tuple[error_details_pb2.ErrorInfo | None, float | None]:
    """The ErrorInfo and the RetryInfo's delay in seconds, where the broker sent them."""
    info, delay = None, None
    for detail in _status(error).details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            wait = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            delay = wait.seconds + wait.nanos * _NANOS
    return info, delay


def _status(error: grpc.RpcError) -> status_pb2.Status:
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == _DETAILS_KEY:
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status()
