"""Requests of persons over gRPC: a team that steps through them."""

from __future__ import annotations

import hashlib
import json
import uuid

from sluss.v1 import person_request_pb2 as pb
from sluss.v1 import person_request_pb2_grpc

KINDS = {
    "access": pb.PERSON_REQUEST_KIND_ACCESS,
    "rectification": pb.PERSON_REQUEST_KIND_RECTIFICATION,
    "erasure": pb.PERSON_REQUEST_KIND_ERASURE,
    "objection": pb.PERSON_REQUEST_KIND_OBJECTION,
}


class RequestDesk:
    """The PersonRequestService as one principal calls it."""

    def __init__(self, broker, name="privacy/team"):
        self.stub = person_request_pb2_grpc.PersonRequestServiceStub(broker.channel(name))

    def open(self, kind, person="", **changed):
        given = {
            "kind": KINDS[kind],
            "person_id": person,
            "channel": "email",
            "asked": "What do you hold about me? CANARY-ASKED",
            "requester": "CANARY-NAME, at the known address",
            "language": "sv",
            "request_id": str(uuid.uuid4()),
        }
        return self.stub.OpenRequest(pb.OpenRequestRequest(**given | changed), timeout=10).request

    def step(self, method, request, /, **given):
        """One step on a request as it was last seen; gives it as it stands then."""
        message = getattr(pb, f"{method}Request")(
            **{"id": request.id, "etag": request.etag, "request_id": str(uuid.uuid4()), **given}
        )
        return getattr(self.stub, method)(message, timeout=10).request

    def proven(self, kind, person):
        """A request whose requester is the person."""
        return self.step("NoteIdentityCheck", self.open(kind, person), method="eid", result=pb.IDENTITY_RESULT_PASSED)

    def get(self, request_id):
        return self.stub.GetRequest(pb.GetRequestRequest(id=request_id), timeout=10)

    def export(self, request_id):
        """The export's bytes, checked against the digest, and its last part."""
        parts = list(self.stub.ExportAccess(pb.ExportAccessRequest(id=request_id), timeout=10))
        data = b"".join(part.part for part in parts)
        assert hashlib.sha256(data).digest() == parts[-1].sha256
        assert json.loads(data)["v"] == 1
        return data, parts[-1]
