"""The example of a registration service and its mailer, run as a programmer runs it, against a real broker."""

from __future__ import annotations

import email
import json
import subprocess
import sys
import time
import uuid
from email.policy import default
from pathlib import Path

import grpc
import pytest
from examples.registration import mailer
from examples.registration.mailer import Mailer
from sluss.v1 import outbox_pb2, policy_pb2
from sqlalchemy import update

from broker.operator.office import opened
from broker.policies.versions import TEXT
from tests.support.broker import BrokerProcess

ROOT = Path(__file__).resolve().parents[2]
MAILER = "internal/mailer"
REGISTRATION = "internal/registration"
TIMEOUT_S = 20


def run(module, *words, given=""):
    command = [sys.executable, "-m", f"examples.registration.{module}", *map(str, words)]
    return subprocess.run(
        command, cwd=ROOT / "clients", input=given, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def form(**changes):
    given = {
        "form_id": str(uuid.uuid4()),
        "values": {
            "customer_number": f"K-{uuid.uuid4().hex[:12]}",
            "name.given": "Åsa",
            "name.family": "Öberg",
            "email": "asa@example.com",
            "language": "sv",
            "phone": "",
        },
        "choices": {"offers.email": False, "partners": True},
        "accepted_policy": "2026-01",
    }
    return {**given, **changes}


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    quick = {"SLUSS_MAINTAIN_S": "0.2"}
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home", environment=quick) as running:
        yield running


@pytest.fixture
def submit(shared_broker):
    def send(given):
        text = given if isinstance(given, str) else json.dumps(given)
        ended = run("register", shared_broker.profile(REGISTRATION), given=text)
        return ended.returncode, json.loads(ended.stdout)

    return send


class Mails:
    """A consumer that gets what is queued from now on, and its mails, in order."""

    def __init__(self, broker, folder, consumer):
        self.broker, self.folder, self.consumer = broker, folder, consumer
        request = outbox_pb2.WatchOutboxRequest(consumer=consumer, skip_earlier=True)
        stream = broker.outbox(MAILER).WatchOutbox(request, timeout=TIMEOUT_S)
        next(stream)
        stream.cancel()

    def take(self, count):
        words = (self.broker.profile(MAILER), self.folder, "--sender", "noreply@example.com")
        ended = run("mailer", *words, "--consumer", self.consumer, "--count", count)
        assert ended.returncode == 0, ended.stderr
        found = sorted(self.folder.glob("*.eml"), key=lambda path: int(path.stem))
        return [email.message_from_bytes(path.read_bytes(), policy=default) for path in found]


@pytest.fixture
def mails(shared_broker, tmp_path):
    return Mails(shared_broker, tmp_path / "mails", f"mail-{uuid.uuid4().hex[:8]}")


def test_a_form_becomes_a_person_and_a_mail_with_what_was_received(submit, mails, shared_broker):
    given = form()
    code, told = submit(given)
    assert code == 0
    assert {"sv": "E-post", "en": "E-mail", "value": "asa@example.com"} in told["received"]
    assert sorted(each["yes"] for each in told["choices"]) == [False, True]
    # Pressed twice, it is one registration.
    assert submit(given) == (0, told)
    request = policy_pb2.ListAcceptancesRequest(person_id=told["person"])
    accepted = shared_broker.policies().ListAcceptances(request, timeout=TIMEOUT_S).acceptances
    assert [each.version for each in accepted] == ["2026-01"]
    (mail,) = mails.take(1)
    assert mail["To"] == "Åsa Öberg <asa@example.com>"
    assert mail["Subject"] == "Bekräftelse på din registrering"
    text = mail.get_content()
    assert "E-post: asa@example.com" in text
    listed = shared_broker.policies().ListPolicyVersions(policy_pb2.ListPolicyVersionsRequest(), timeout=TIMEOUT_S)
    (in_force,) = [each.version for each in listed.versions if each.in_force]
    assert f"version {in_force}." in text
    assert ": nej" in text
    assert ": ja" in text
    assert "Du har godkänt version 2026-01." in text


def test_whoever_prefers_another_language_is_written_to_in_english(submit, mails, shared_broker):
    others = shared_broker.outbox("privacy/team").ListOutbox(outbox_pb2.ListOutboxRequest(), timeout=TIMEOUT_S).items
    text = policy_pb2.PolicyText(language="en", text="We promise.", changes="Clause 3 reworded.")
    values = {**form()["values"], "language": "fi", "email": "aino@example.com"}
    code, _ = submit(form(values=values))
    assert code == 0
    request = policy_pb2.PublishPolicyVersionRequest(version="2026-02", texts=[text], notify=True)
    shared_broker.policies().PublishPolicyVersion(request, timeout=TIMEOUT_S)
    persons = len({each.person_id for each in others}) + 1
    confirmation, change = [mail for mail in mails.take(1 + persons) if "aino" in mail["To"]]
    assert confirmation["Subject"] == "Confirmation of your registration"
    assert "Our privacy policy changes" in change["Subject"]
    assert "Clause 3 reworded." in change.get_content()
    assert change["Message-ID"].endswith(f".{mails.consumer}@example.com>")


def test_an_address_in_the_letters_of_its_owner_is_written_to(submit, mails):
    values = {**form()["values"], "email": "åsa@exämple.com"}
    assert submit(form(values=values))[0] == 0
    (mail,) = mails.take(1)
    # The parser of the standard library knows the bytes, and not that they are UTF-8.
    address = mail["To"].addresses[0].addr_spec.encode("ascii", "surrogateescape")
    assert address.decode() == "åsa@xn--exmple-cua.com"


def test_who_has_no_address_is_told_of_by_word_and_stops_no_other(submit, mails, shared_broker):
    values = {name: value for name, value in form()["values"].items() if name != "email"}
    _, told = submit(form(values=values))
    with_address = submit(form())[1]["person"]
    dead = outbox_pb2.ListOutboxRequest(states=[outbox_pb2.OUTBOX_STATE_DEAD])
    stub = shared_broker.outbox("privacy/team")
    mails.take(2)
    found = [each.person_id for each in stub.ListOutbox(dead, timeout=TIMEOUT_S).items]
    assert told["person"] in found
    assert with_address not in found


@pytest.mark.parametrize(
    ("given", "code", "error"),
    [
        ("no form", 2, "FORM"),
        ("[]", 2, "FORM"),
        (form(values={"email": 4711}), 2, "FORM"),
        (form(values={"email": "not an address"}), 2, "INVALID_VALUE"),
        (form(form_id="4711"), 2, "INVALID_REQUEST"),
        (form(accepted_policy="2031-01"), 3, "POLICY_UNKNOWN"),
        (form(choices={"no.such.purpose": True}), 3, "PURPOSE_UNKNOWN"),
    ],
)
def test_a_form_that_can_not_be_taken_is_answered_and_no_value_repeated(submit, given, code, error):
    ended, told = submit(given)
    assert (ended, told["error"]) == (code, error)
    assert "not an address" not in str(told)
    assert "4711" not in str(told)


def test_a_number_that_is_taken_is_a_refusal(submit):
    given = form()
    assert submit(given)[0] == 0
    assert submit({**given, "form_id": str(uuid.uuid4())})[1]["error"] == "PERSON_EXISTS"


def test_without_a_broker_the_form_is_to_be_sent_again(tmp_path, monkeypatch):
    with BrokerProcess(tmp_path / "home") as gone:
        profile = gone.profile(REGISTRATION)
    program = (
        "from examples.registration import register; import sys;"
        f" register.DEADLINE_S = 0.5; sys.exit(register.main([{str(profile)!r}]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "clients", input=json.dumps(form()), capture_output=True,
        text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert (ended.returncode, json.loads(ended.stdout)["error"]) == (4, "LATER")


def test_a_mailer_without_a_profile_says_so_in_a_line(tmp_path, capsys):
    assert mailer.main([str(tmp_path / "none"), str(tmp_path / "mails"), "--sender", "noreply@example.com"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "profile" in line


def test_a_mailer_whose_broker_dies_goes_on_when_it_is_back(broker, tmp_path):
    profile = broker.profile(MAILER)
    people = [broker.register(email=f"p{number}@example.com", name__given="Bo") for number in range(2)]
    command = [
        sys.executable, "-m", "examples.registration.mailer", str(profile), str(tmp_path / "mails"),
        "--sender", "noreply@example.com", "--count", "3",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT / "clients", stderr=subprocess.PIPE, text=True) as mailer:
        try:
            while len(list((tmp_path / "mails").glob("*.eml"))) < len(people):
                assert mailer.poll() is None
            broker.kill()
            broker.start()
            broker.register(email="last@example.com", name__given="Bo")
            assert mailer.wait(3 * TIMEOUT_S) == 0
        finally:
            mailer.kill()
    written = [path.read_text() for path in (tmp_path / "mails").glob("*.eml")]
    assert len(written) == 3
    assert any("last@example.com" in text for text in written)


def test_a_letter_whose_text_is_damaged_stops_no_other(tmp_path):
    text = policy_pb2.PolicyText(language="en", text="We promise.", changes="Clause 3 reworded.")
    publish = policy_pb2.PublishPolicyVersionRequest(version="2026-02", texts=[text], notify=True)
    everything = outbox_pb2.ListOutboxRequest()
    with BrokerProcess(tmp_path / "home", environment={"SLUSS_MAINTAIN_S": "0.2"}) as broker:
        broker.profile(MAILER)
        broker.register(email="first@example.com", name__given="Bo")
        broker.policies().PublishPolicyVersion(publish, timeout=TIMEOUT_S)
        privacy = broker.outbox("privacy/team")
        while len(privacy.ListOutbox(everything, timeout=TIMEOUT_S).items) < 2:
            time.sleep(0.05)
        with opened(broker.home) as office, office.engine.begin() as connection:
            connection.execute(update(TEXT).values(changes="something else"))
        broker.register(email="last@example.com", name__given="Bo")
        Mailer(broker.channel(MAILER), tmp_path, "mail", "noreply@example.com").run(count=3)
        items = privacy.ListOutbox(everything, timeout=TIMEOUT_S).items
    states = {each.kind: each.standings[0].state for each in items}
    assert states[outbox_pb2.OUTBOX_KIND_POLICY_CHANGED] == outbox_pb2.OUTBOX_STATE_FAILED
    assert len(list(tmp_path.glob("*.eml"))) == 2


class ReplyLost(grpc.RpcError):
    """What a client sees when the connection goes while the broker is answering."""

    def trailing_metadata(self):
        return ()

    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def details(self):
        return "the connection is gone"


class LosesOneReply(grpc.UnaryUnaryClientInterceptor):
    """The first acknowledgement is taken by the broker, and the reply never arrives."""

    def __init__(self):
        self.sent = []

    def intercept_unary_unary(self, continuation, client_call_details, request):
        reply = continuation(client_call_details, request)
        if client_call_details.method.endswith("/AcknowledgeOutbox"):
            self.sent += [each.id for each in request.acknowledgements]
            reply.result()
            if len(self.sent) == 1:
                raise ReplyLost
        return reply


def test_an_acknowledgement_without_a_reply_is_sent_again_and_its_message_counts_once(broker, tmp_path):
    broker.profile(MAILER)
    for number in range(2):
        broker.register(email=f"p{number}@example.com", name__given="Bo")
    losing = LosesOneReply()
    line = grpc.intercept_channel(broker.channel(MAILER), losing)
    Mailer(line, tmp_path, "mail", "noreply@example.com").run(count=2)
    first, again, second = losing.sent
    assert first == again != second
    assert {path.stem for path in tmp_path.glob("*.eml")} == {str(first), str(second)}
    items = broker.outbox("privacy/team").ListOutbox(outbox_pb2.ListOutboxRequest(), timeout=TIMEOUT_S).items
    assert {(each.id, each.standings[0].state) for each in items} == {
        (first, outbox_pb2.OUTBOX_STATE_DELIVERED), (second, outbox_pb2.OUTBOX_STATE_DELIVERED)
    }  # fmt: skip
