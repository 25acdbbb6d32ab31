"""A `SlussError` on the wire: google.rpc.Status with the details that a client program acts on.

ErrorInfo            always: reason, domain `sluss.v1`, metadata
BadRequest           INVALID_ARGUMENT with a `field` in the metadata
PreconditionFailure  FAILED_PRECONDITION: the state that stands in the way, and of what
RetryInfo            with `retry_after_s` (seconds, decimal) in the metadata
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from broker.errors import Code, SlussError

if TYPE_CHECKING:
    import grpc

DOMAIN: Final = "sluss.v1"
MAX_BYTES: Final = 3072
"""gRPC peers accept 8 KiB of trailers, in which the status stands once whole and its message once more."""

MAX_MESSAGE: Final = 300
"""Characters; in the trailers each can take 12 bytes."""

_SUBJECTS: Final = ("contract", "key", "purpose", "person", "seen_size")


def to_status(error: SlussError) -> status_pb2.Status:
    """The rich status of `error`; too long ones lose their metadata, never their reason."""
    status = _status(error, error.metadata)
    if status.ByteSize() > MAX_BYTES:
        status = _status(error, {})
    return status


def to_grpc(error: SlussError) -> grpc.Status:
    """The same, as gRPC's `abort_with_status` takes it."""
    status: grpc.Status = rpc_status.to_status(to_status(error))
    return status


def _status(error: SlussError, metadata: dict[str, str]) -> status_pb2.Status:
    code = code_pb2.Code.Value(error.code.value)
    status = status_pb2.Status(code=code, message=error.detail[:MAX_MESSAGE])
    info = error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=metadata)
    status.details.add().Pack(info)
    for detail in (_bad_request(error), _precondition(error), _retry(error)):
        if detail is not None:
            status.details.add().Pack(detail)
    return status


def _bad_request(error: SlussError) -> error_details_pb2.BadRequest | None:
    if error.code != Code.INVALID_ARGUMENT or "field" not in error.metadata:
        return None
    violation = error_details_pb2.BadRequest.FieldViolation(
        field=error.metadata["field"][:200], description=error.detail[:200], reason=error.reason.value
    )
    return error_details_pb2.BadRequest(field_violations=[violation])


def _precondition(error: SlussError) -> error_details_pb2.PreconditionFailure | None:
    if error.code != Code.FAILED_PRECONDITION:
        return None
    subject = next((error.metadata[name] for name in _SUBJECTS if name in error.metadata), "")
    violation = error_details_pb2.PreconditionFailure.Violation(
        type=error.reason.value, subject=subject[:200], description=error.detail[:200]
    )
    return error_details_pb2.PreconditionFailure(violations=[violation])


def _retry(error: SlussError) -> error_details_pb2.RetryInfo | None:
    try:
        seconds = float(error.metadata.get("retry_after_s", "nan"))
    except ValueError:
        return None
    if not math.isfinite(seconds) or not 0 <= seconds <= 366 * 86_400:
        return None
    delay = Duration()
    delay.FromNanoseconds(round(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)
