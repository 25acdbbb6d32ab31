"""A release in the console: progress, the package, and a passphrase that is shown once and apart from it."""

import re
import socket
import stat
import threading
import time

import pytest
import uvicorn
from sluss.v1 import legal_pb2 as pb
from sluss_client.errors import TransportError
from sluss_client.profile import Profile
from sluss_legal.console import console_releaser, state_path
from sluss_legal.web.app import build
from sluss_legal.web.doors import LocalDoor

from tests.console.consoles import Visitor
from tests.support.memory_legal import today

PASSPHRASE = "correct-horse-battery-staple"


class Releaser:
    """Stands in for the release itself, which is not the console's; the test says when it goes on, and how it ends."""

    def __init__(self):
        self.go_on, self.ended = threading.Event(), threading.Event()
        self.failure = None
        self.calls = []

    def __call__(self, line, case, language, job):
        self.calls.append((line.profile.principal, case.case_id, language))
        job.moved(1, 2)
        self.go_on.wait(10)
        if self.failure:
            raise self.failure
        job.package, job.name = b"age-encryption.org/v1", "L-2026-0001.age"
        job.passphrase, job.sealed_with_passphrase = PASSPHRASE, True


class InProcess:
    """The console in a thread, with a releaser of the test's."""

    def __init__(self, folder, releaser):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self.listener.getsockname()
        self.address = f"http://{self.host}:{self.port}"
        door = LocalDoor(folder, f"sluss_console_{self.port}")
        self.link = f"{self.address}/enter?token={door.links.issue()}"
        app = build(door, {f"{self.host}:{self.port}"}, releaser)
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", loop="asyncio"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(10)
        self.listener.close()


@pytest.fixture
def releaser():
    made = Releaser()
    yield made
    made.go_on.set()


@pytest.fixture
def approved(team):
    """The path of a case that may be released."""
    anna, bo = team.legal("anna"), team.legal("bo")
    case = team.open_case()
    delivery = pb.Delivery(package=True, retain_until=today(365))
    case = anna.ChangeCase(
        pb.ChangeCaseRequest(case_id=case.case_id, etag=case.etag, delivery=delivery, note="By courier")
    ).case
    for legal, step in ((anna, pb.CASE_STEP_REVIEW), (anna, pb.CASE_STEP_PREPARE), (bo, pb.CASE_STEP_APPROVE)):
        request = pb.StepCaseRequest(case_id=case.case_id, etag=case.etag, step=step, reason="As the law asks")
        case = legal.StepCase(request).case
    return f"/cases/{case.case_id}/release"


@pytest.fixture
def visitor(team, releaser):
    with InProcess(team.folder("anna"), releaser) as console:
        visitor = Visitor(console)
        visitor.enter()
        yield visitor


def finish(visitor, releaser, path):
    """Lets the release end; gives the page afterwards."""
    releaser.go_on.set()
    for _ in range(200):
        body = visitor.get(path)[2]
        if "Look again" not in body:
            return body
    raise AssertionError("the release does not end")


def test_a_release_shows_how_far_it_has_come_and_starts_once(visitor, releaser, approved):
    form = {"csrf": visitor.csrf(), "language": "sv"}
    assert visitor.post(approved, form)[0] == 303
    assert visitor.post(approved, form)[0] == 303
    assert re.search("1 of 2 persons", visitor.get(approved)[2])
    part = visitor.get(f"{approved}/progress", HX_Request="true")[2]
    assert 'hx-trigger="every 1s"' in part
    assert "<html" not in part
    finish(visitor, releaser, approved)
    assert releaser.calls == [("legal/anna", approved.split("/")[2], "sv")]


def test_the_passphrase_is_shown_once_and_never_where_the_package_is(visitor, releaser, approved):
    visitor.post(approved, {"csrf": visitor.csrf()})
    assert PASSPHRASE not in finish(visitor, releaser, approved)
    status, headers, content = visitor.get(f"{approved}/package")
    assert (status, content) == (200, "age-encryption.org/v1")
    assert headers["content-disposition"].startswith("attachment")
    form = {"csrf": visitor.csrf()}
    assert visitor.get(f"{approved}/passphrase")[0] == 404
    assert PASSPHRASE in visitor.post(f"{approved}/passphrase", form)[2]
    assert PASSPHRASE not in visitor.post(f"{approved}/passphrase", form)[2]


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (ValueError("Åsa Lindqvist"), "Something unforeseen happened"),
        (TransportError("UNAVAILABLE"), "The broker does not answer"),
    ],
)
def test_a_release_that_stops_says_so_without_a_trace_and_can_be_started_again(
    visitor, releaser, approved, failure, said
):
    releaser.failure = failure
    form = {"csrf": visitor.csrf()}
    visitor.post(approved, form)
    body = finish(visitor, releaser, approved)
    assert said in body
    assert "Lindqvist" not in body
    releaser.failure = None
    visitor.post(approved, form)
    assert "Download the package" in re.sub(r"\s+", " ", finish(visitor, releaser, approved))


def test_nobody_elses_session_gets_the_package(team, visitor, releaser, approved):
    visitor.post(approved, {"csrf": visitor.csrf()})
    finish(visitor, releaser, approved)
    with InProcess(team.folder("bo"), releaser) as console:
        other = Visitor(console)
        other.enter()
        assert other.get(f"{approved}/package")[0] == 303


def test_signing_out_forgets_the_package(visitor, releaser, approved):
    visitor.post(approved, {"csrf": visitor.csrf()})
    finish(visitor, releaser, approved)
    visitor.post("/sign-out", {"csrf": visitor.csrf()})
    assert visitor.get(f"{approved}/package")[0] == 403


def test_a_console_that_cannot_release_says_so(team, approved):
    with InProcess(team.folder("anna"), None) as console:
        visitor = Visitor(console)
        visitor.enter()
        body = visitor.get(approved)[2]
    assert "carry releases out" in body
    assert "Release now" not in body


def test_a_release_is_kept_until_package_and_passphrase_are_taken(team, approved):
    case = approved.split("/")[2]
    kept = state_path(Profile.load(team.folder("anna")), case)
    with InProcess(team.folder("anna"), console_releaser) as console:
        visitor = Visitor(console)
        visitor.enter()
        form = {"csrf": visitor.csrf(), "language": "sv"}
        visitor.post(approved, form)
        wait(lambda: "Look again" not in visitor.get(approved)[2])
        entries = len(team.world.ledger.entries)
        assert visitor.get(f"{approved}/package")[0] == 200
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        body = visitor.post(f"{approved}/passphrase", form)[2]
        assert re.search(r'id="passphrase">([A-Z2-9]{4}-){5}[A-Z2-9]{4}<', body)
        assert not kept.exists()
    assert len(team.world.ledger.entries) == entries


def wait(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it does not come")
