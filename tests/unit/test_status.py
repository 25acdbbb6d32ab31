"""rpc/status.py: what a client program reads from a refusal."""

from __future__ import annotations

import pytest
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status

from broker.errors import CATALOGUE, Reason, SlussError
from broker.rpc import status


def detail(error, kind):
    found = [d for d in status.to_status(error).details if d.Is(kind.DESCRIPTOR)]
    if not found:
        return None
    message = kind()
    assert found[0].Unpack(message)
    return message


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_travels_with_its_code_domain_and_metadata(reason):
    error = SlussError(reason, contract="C-2026-0001")
    wire = status.to_status(error)
    assert wire.code == code_pb2.Code.Value(CATALOGUE[reason].code)
    assert wire.code != code_pb2.OK
    assert wire.message == CATALOGUE[reason].message
    info = detail(error, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (reason.value, "sluss.v1")
    assert dict(info.metadata) == {"contract": "C-2026-0001"}


def test_a_malformed_field_is_named_in_bad_request():
    error = SlussError(Reason.INVALID_VALUE, "not an e-mail address", field="email")
    (violation,) = detail(error, error_details_pb2.BadRequest).field_violations
    assert (violation.field, violation.description) == ("email", "not an e-mail address")
    assert detail(SlussError(Reason.FIELD_OUT_OF_SCOPE, field="email"), error_details_pb2.BadRequest) is None


def test_a_precondition_names_its_subject():
    error = SlussError(Reason.CONTRACT_SUSPENDED, contract="C-2026-0001")
    (violation,) = detail(error, error_details_pb2.PreconditionFailure).violations
    assert (violation.type, violation.subject) == ("CONTRACT_SUSPENDED", "C-2026-0001")


def test_retry_info_says_when():
    error = SlussError(Reason.VOLUME_EXCEEDED, retry_after_s="1.5")
    delay = detail(error, error_details_pb2.RetryInfo).retry_delay
    assert (delay.seconds, delay.nanos) == (1, 500_000_000)


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "-1", "1e300"])
def test_a_nonsensical_retry_time_is_left_out_and_breaks_nothing(text):
    error = SlussError(Reason.VOLUME_EXCEEDED, retry_after_s=text)
    assert detail(error, error_details_pb2.RetryInfo) is None
    assert detail(error, error_details_pb2.ErrorInfo).reason == "VOLUME_EXCEEDED"


def test_a_status_fits_gRPCs_trailers_whatever_the_error_holds():  # noqa: N802 - gRPC is its name
    error = SlussError(Reason.INVALID_REQUEST, "å" * 10_000, field="f" * 10_000, fields="x" * 10_000)
    assert detail(error, error_details_pb2.ErrorInfo).reason == "INVALID_REQUEST"
    ((_, value),) = status.to_grpc(error).trailing_metadata
    assert len(value) + 3 * len(status.to_grpc(error).details.encode()) < 8192


def test_the_grpc_form_is_the_same_status():
    error = SlussError(Reason.PURPOSE_OUT_OF_SCOPE, contract="C-2026-0001", purpose="billing")
    raised = status.to_grpc(error)
    assert raised.code.name == "PERMISSION_DENIED"

    class Call:
        def trailing_metadata(self):
            return raised.trailing_metadata

        def code(self):
            return raised.code

        def details(self):
            return raised.details

    assert rpc_status.from_call(Call()) == status.to_status(error)
