"""A legal team of two, Anna and Bo, with a profile each."""

import uuid

from sluss.v1 import contract_pb2, legal_pb2_grpc
from sluss.v1 import legal_pb2 as pb
from sluss_client.channel import channel
from sluss_client.profile import Profile

from tests.support.memory_legal import PERSONS, MemoryLegal, profile_of, today
from tests.unit.client.memory_broker import Company


class Team:
    """Two profiles of one broker.

    Attributes:
        profiles: the folder that holds a profile per user.
    """

    def __init__(self, folder):
        self.profiles = folder
        self.company = Company()
        self.world = MemoryLegal()
        self.lines = []

    def hire(self, endpoint, *names):
        for name in names:
            profile_of(self.profiles / f"legal-{name}", name, endpoint, self.world, self.company)

    def folder(self, name):
        return self.profiles / f"legal-{name}"

    def legal(self, name):
        """The LegalService as a member of the team calls it."""
        line = channel(Profile.load(self.folder(name)))
        self.lines.append(line)
        return legal_pb2_grpc.LegalServiceStub(line)

    def open_case(self, name="anna", **changed):
        """A case of this member's."""
        request = {
            "request_id": str(uuid.uuid4()),
            "ground": pb.GROUND_LAW_OR_PROCESS,
            "requester": pb.Requester(name="Stockholms tingsrätt", address="Box 1", country="SE", contact="Registry"),
            "instrument": pb.Instrument(kind="court_order", reference="B 4711-26", date=today(-9)),
            "scope": pb.Scope(
                listed=pb.CasePersons(person_ids=list(PERSONS)[:2]),
                fields=[contract_pb2.FieldGrant(field="email", transform="full")],
            ),
            "received": today(-8),
            "deadline": today(9),
            "note": "Arrived by post.",
        }
        return self.legal(name).OpenCase(pb.OpenCaseRequest(**request | changed)).case

    def approved(self, delivery=None, **changed):
        """A case that Anna has prepared and Bo has approved."""
        anna, bo, case = self.legal("anna"), self.legal("bo"), self.open_case(**changed)
        delivery = delivery or pb.Delivery(package=True, retain_until=today(365))
        change = pb.ChangeCaseRequest(case_id=case.case_id, etag=case.etag, delivery=delivery, note="By courier")
        case = anna.ChangeCase(change).case
        for legal, step in ((anna, pb.CASE_STEP_REVIEW), (anna, pb.CASE_STEP_PREPARE), (bo, pb.CASE_STEP_APPROVE)):
            request = pb.StepCaseRequest(case_id=case.case_id, etag=case.etag, step=step, reason="As the law asks")
            case = legal.StepCase(request).case
        return case
