"""A legal team of two, Anna and Bo, with a broker and a console each."""

import uuid

import pytest
from playwright.sync_api import sync_playwright
from sluss.v1 import contract_pb2, legal_pb2_grpc
from sluss.v1 import legal_pb2 as pb
from sluss_client.channel import channel
from sluss_client.profile import Profile

from tests.console.consoles import CHROMIUM, FLAGS, NO_CHROMIUM, Console, Visitor
from tests.console.memory_legal import PERSONS, MemoryLegal, profile_of, serving, today
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


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    team = Team(tmp_path_factory.mktemp("team"))
    with serving(team.world, team.company) as endpoint:
        team.hire(endpoint, "anna", "bo")
        yield team
        for line in team.lines:
            line.close()


@pytest.fixture
def console(team):
    """Anna's console, with its link not used yet."""
    with Console("--profile", team.folder("anna")) as running:
        yield running


@pytest.fixture(scope="module")
def anna(team):
    """Anna, signed in, without a browser."""
    with Console("--profile", team.folder("anna")) as running:
        visitor = Visitor(running)
        visitor.enter()
        yield visitor


@pytest.fixture(scope="module")
def chromium():
    """A browser without a screen."""
    if not CHROMIUM.exists():
        pytest.skip(NO_CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()
