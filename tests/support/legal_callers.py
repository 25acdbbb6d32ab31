"""The legal team over gRPC, before a real broker process: the steps of a case by name."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from sluss.v1 import contract_pb2, legal_pb2, legal_pb2_grpc

from broker.ledger import entry
from broker.sealing import Opener, RecipientPrivateKey

TIMEOUT_S = 30
ANNA, BO, PRIVACY = "legal/anna", "legal/bo", "privacy/team"


def in_days(days):
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


class Team:
    """Anna opens and prepares; Bo is the second person. `key` is the authority's."""

    def __init__(self, broker):
        self.broker = broker
        self.key = RecipientPrivateKey.generate()
        self.connect()

    def connect(self):
        """Stubs on fresh channels."""
        names = (ANNA, BO, PRIVACY)
        self.stubs = {name: legal_pb2_grpc.LegalServiceStub(self.broker.channel(name)) for name in names}

    def call(self, method, who=ANNA, **fields):
        request = getattr(legal_pb2, f"{method}Request")(**fields)
        return getattr(self.stubs[who], method)(request, timeout=TIMEOUT_S)

    def scope(self, people=None, fields=("email=full",), population=None, **extra):
        granted = [contract_pb2.FieldGrant(field=f.split("=")[0], transform=f.split("=")[1]) for f in fields]
        if population is not None:
            return legal_pb2.Scope(population=population, fields=granted, **extra)
        return legal_pb2.Scope(listed=legal_pb2.CasePersons(person_ids=people), fields=granted, **extra)

    def open(self, scope, ground=legal_pb2.GROUND_LAW_OR_PROCESS, **extra):
        """A new case's id."""
        fields = {
            "request_id": str(uuid.uuid4()),
            "ground": ground,
            "requester": legal_pb2.Requester(name="Polisen", address="Box 1", country="SE", contact="a@example.org"),
            "instrument": legal_pb2.Instrument(kind="warrant", reference="B 1-26", date=in_days(-3)),
            "scope": scope,
            "received": in_days(-2),
            "deadline": in_days(30),
        }
        return self.call("OpenCase", **{**fields, **extra}).case.case_id

    def case(self, case):
        return self.call("GetCase", case_id=case).case

    def step(self, case, step, who=ANNA, etag=None):
        based_on = etag or self.case(case).etag
        return self.call("StepCase", who, case_id=case, step=step, reason="because", etag=based_on)

    def deliver(self, case):
        public = self.key.public()
        key = legal_pb2.RecipientKey(suite=public.suite, public_key=public.data)
        delivery = legal_pb2.Delivery(key=key, retain_until=in_days(30))
        return self.call("ChangeCase", case_id=case, etag=self.case(case).etag, delivery=delivery)

    def prepared(self, scope, **extra):
        case = self.open(scope, **extra)
        self.deliver(case)
        self.step(case, legal_pb2.CASE_STEP_REVIEW)
        self.step(case, legal_pb2.CASE_STEP_PREPARE)
        return case

    def approved(self, scope, **extra):
        """A case that Anna has prepared and Bo has approved."""
        case = self.prepared(scope, **extra)
        self.step(case, legal_pb2.CASE_STEP_APPROVE, BO)
        return case

    def secrecy(self, case, until):
        etag = self.case(case).etag
        return self.call("SetSecrecy", case_id=case, until=until, reason="the investigation", etag=etag)

    def release(self, case, who=ANNA, resume_after="", **extra):
        """The stream of a release."""
        return self.call("Release", who, request_id=str(uuid.uuid4()), case_id=case, resume_after=resume_after, **extra)

    def opened(self, case, messages):
        """person id -> values of every slice of the messages; each message's slices must open under their entry."""
        found = {}
        for message in messages:
            for part in message.parts:
                opener = Opener([self.key], case)
                terms = entry.canonical(entry.parse(part.disclosure.entry)["terms"])
                for made, person in zip(part.disclosure.slices, part.person_ids, strict=True):
                    found[person] = dict(opener.open(terms, part.disclosure.epoch, made).values)
        return found
