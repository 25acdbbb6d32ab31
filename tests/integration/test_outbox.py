"""The outbox over the network: what is registered is confirmed, at least once, however either side ends."""

from __future__ import annotations

import uuid

import grpc
import pytest
from sluss.v1 import choice_pb2, person_pb2
from sluss.v1 import outbox_pb2 as ob

from tests.integration.bad_input import Row, check_refused, refused, rows
from tests.support.broker import BrokerProcess

TIMEOUT_S = 20
CONFIRMATION = ob.OUTBOX_KIND_REGISTRATION_CONFIRMATION
VALUES = {
    "name.given": "Åsa",
    "name.family": "Öberg",
    "email": "asa.oberg@example.com",
    "language": "sv",
    "payment.iban": "SE4550000000058398257466",
}


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    quick = {"SLUSS_OUTBOX_RETRY_S": "0.2", "SLUSS_MAINTAIN_S": "0.2"}
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home", environment=quick) as running:
        yield running


def register(broker, values=VALUES, *, request_id="", **more):
    number = f"K-{uuid.uuid4().hex[:12]}"
    given = {"customer_number": number, **values}
    request = person_pb2.RegisterPersonRequest(
        request_id=request_id or str(uuid.uuid4()),
        values=[person_pb2.FieldValue(field=name, value=value) for name, value in given.items()],
        source="registration",
        **more,
    )
    return broker.persons().RegisterPerson(request, timeout=TIMEOUT_S)


class Watch:
    """A watch of the outbox, taken message by message."""

    def __init__(self, broker, consumer, who="internal/import", **more):
        self.stub = broker.outbox(who)
        self.consumer = consumer
        request = ob.WatchOutboxRequest(consumer=consumer, **more)
        self.stream = self.stub.WatchOutbox(request, timeout=TIMEOUT_S)
        assert not next(self.stream).HasField("item")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.cancel()

    def take(self, count=1):
        """The next messages, without signs of life."""
        found = []
        while len(found) < count:
            reply = next(self.stream)
            found += [reply.item] * reply.HasField("item")
        return found

    def until(self, person):
        """The next message to a person; others are acknowledged."""
        while True:
            (item,) = self.take()
            if item.person_id == person:
                return item
            self.answer(item)

    def answer(self, item, failure=ob.OUTBOX_FAILURE_UNSPECIFIED):
        acknowledgement = ob.OutboxAcknowledgement(id=item.id, failure=failure)
        request = ob.AcknowledgeOutboxRequest(consumer=self.consumer, acknowledgements=[acknowledgement])
        (answer,) = self.stub.AcknowledgeOutbox(request, timeout=TIMEOUT_S).answers
        return answer


def listed(broker, **more):
    return broker.outbox("privacy/team").ListOutbox(ob.ListOutboxRequest(page_size=200, **more), timeout=TIMEOUT_S)


def standings(broker, item):
    (found,) = [each for each in listed(broker).items if each.id == item]
    return {each.consumer: each.state for each in found.standings}


def test_a_registration_is_confirmed_with_what_was_received(shared_broker):
    choice = choice_pb2.ChoiceMade(purpose="offers.email", state=choice_pb2.CHOICE_STATE_OPTED_OUT, medium="web")
    done = register(shared_broker, choices=[choice], accepted_policy="2026-01")
    told = done.confirmation
    assert (told.person_id, told.policy_version, told.accepted_policy) == (done.person_id, "2026-01", "2026-01")
    values = {each.field: each for each in told.values}
    assert (values["email"].value, values["email"].label_sv) == ("asa.oberg@example.com", "E-post")
    assert (values["email"].label_en, values["email"].source) == ("E-mail", "registration")
    assert values["payment.iban"].value.endswith("7466")
    assert "SE455000" not in str(told)
    assert [(each.purpose, each.state) for each in told.choices] == [("offers.email", 2)]
    with Watch(shared_broker, "first") as watch:
        item = watch.until(done.person_id)
        assert item.kind == CONFIRMATION
        assert item.confirmation == told
        assert (item.email, item.name, item.language) == ("asa.oberg@example.com", "Åsa Öberg", "sv")
        assert dict(item.references) == {"policy": "2026-01"}
        assert watch.answer(item).state == ob.OUTBOX_STATE_DELIVERED
        assert watch.answer(item).state == ob.OUTBOX_STATE_DELIVERED


def test_a_retried_registration_gives_the_same_confirmation_and_queues_one(shared_broker):
    request_id, values = str(uuid.uuid4()), {**VALUES, "customer_number": f"K-{uuid.uuid4().hex[:12]}"}
    first, again = (register(shared_broker, values, request_id=request_id) for _ in range(2))
    assert first == again
    assert [each.person_id for each in listed(shared_broker).items].count(first.person_id) == 1


def test_the_confirmation_says_what_was_received_and_goes_to_the_corrected_address(shared_broker):
    done = register(shared_broker)
    change = person_pb2.UpdatePersonRequest(
        person_id=done.person_id,
        values=[person_pb2.FieldValue(field="email", value="right@example.com")],
        source="desk",
        etag=done.etag,
    )
    shared_broker.persons().UpdatePerson(change, timeout=TIMEOUT_S)
    with Watch(shared_broker, "corrected") as watch:
        item = watch.until(done.person_id)
    assert item.email == "right@example.com"
    assert [each.value for each in item.confirmation.values if each.field == "email"] == ["asa.oberg@example.com"]


def test_a_consumer_that_comes_back_gets_what_it_has_not_acknowledged(shared_broker):
    with Watch(shared_broker, "resumes", skip_earlier=True) as watch:
        people = [register(shared_broker).person_id for _ in range(3)]
        items = watch.take(3)
        assert [item.person_id for item in items] == people
        watch.answer(items[1])
    with Watch(shared_broker, "resumes") as watch:
        assert [item.id for item in watch.take(2)] == [items[0].id, items[2].id]
        new = register(shared_broker).person_id
        assert watch.take()[0].person_id == new


def test_every_consumer_gets_each_message_of_its_kinds(shared_broker):
    with (
        Watch(shared_broker, "mail", skip_earlier=True) as mail,
        Watch(shared_broker, "paper", skip_earlier=True, kinds=[CONFIRMATION]) as paper,
        Watch(shared_broker, "resets", skip_earlier=True, kinds=[ob.OUTBOX_KIND_CREDENTIAL_RESET]) as _,
    ):
        done = register(shared_broker)
        (one,), (two,) = mail.take(), paper.take()
        assert one.id == two.id
        mail.answer(one)
        found = standings(shared_broker, one.id)
        assert (found["mail"], found["paper"]) == (ob.OUTBOX_STATE_DELIVERED, ob.OUTBOX_STATE_WAITING)
        assert "resets" not in found
        assert done.person_id == one.person_id


def test_a_message_that_fails_comes_again_and_is_given_up_in_the_end(shared_broker):
    with Watch(shared_broker, "unlucky", skip_earlier=True) as watch:
        register(shared_broker)
        (item,) = watch.take()
        answer = watch.answer(item, ob.OUTBOX_FAILURE_TEMPORARY)
        assert answer.state == ob.OUTBOX_STATE_FAILED
        assert answer.next_at
        (again,) = watch.take()
        assert (again.id, again.failures) == (item.id, 1)
        assert watch.answer(again, ob.OUTBOX_FAILURE_ADDRESS_REJECTED).state == ob.OUTBOX_STATE_DEAD
        assert watch.answer(again).state == ob.OUTBOX_STATE_DEAD
    dead = listed(shared_broker, states=[ob.OUTBOX_STATE_DEAD]).items
    (standing,) = [s for each in dead if each.id == item.id for s in each.standings if s.consumer == "unlucky"]
    assert (standing.failure, standing.failures) == (ob.OUTBOX_FAILURE_ADDRESS_REJECTED, 2)


def test_a_window_holds_back_until_some_are_acknowledged(shared_broker):
    with Watch(shared_broker, "narrow", skip_earlier=True, window=2) as watch:
        people = [register(shared_broker).person_id for _ in range(3)]
        items = watch.take(2)
        watch.answer(items[0])
        assert watch.take()[0].person_id == people[2]


def test_a_consumer_belongs_to_the_principal_that_used_it_first(shared_broker):
    with Watch(shared_broker, "owned") as watch:
        register(shared_broker)
        (item,) = watch.take()
    stub = shared_broker.outbox("internal/other")
    assert refused(stub.WatchOutbox, ob.WatchOutboxRequest(consumer="owned")).reason == "CONSUMER_TAKEN"
    request = ob.AcknowledgeOutboxRequest(consumer="owned", acknowledgements=[ob.OutboxAcknowledgement(id=item.id)])
    assert refused(stub.AcknowledgeOutbox, request).reason == "CONSUMER_TAKEN"


def test_an_import_writes_to_nobody_unless_asked(shared_broker):
    def load(*, confirm):
        number = f"K-{uuid.uuid4().hex[:12]}"
        values = [person_pb2.FieldValue(field=n, value=v) for n, v in {"customer_number": number, **VALUES}.items()]
        row = person_pb2.ImportRow(line=1, values=values)
        request = person_pb2.ImportPersonsRequest(rows=[row], source="import:crm", confirm=confirm)
        (reply,) = shared_broker.persons().ImportPersons(iter([request]), timeout=TIMEOUT_S)
        return reply.results[0].person_id

    silent, told = load(confirm=False), load(confirm=True)
    listings = [each.person_id for each in listed(shared_broker).items]
    assert silent not in listings
    assert listings.count(told) == 1


def test_a_kill_between_registering_and_delivering_loses_nothing(broker):
    with Watch(broker, "mail") as watch:
        people = [register(broker).person_id for _ in range(3)]
        (first,) = watch.take()
        watch.answer(first)
        watch.take(2)
        broker.kill()
        with pytest.raises(grpc.RpcError):
            watch.take()
    broker.start()
    with Watch(broker, "mail") as watch:
        assert [item.person_id for item in watch.take(2)] == people[1:]


def test_a_broker_that_stops_ends_the_watches_at_once(broker):
    with Watch(broker, "mail") as watch:
        register(broker)
        watch.take()
        broker.process.terminate()
        assert broker.process.wait(5) == 0
        assert list(watch.stream) == []


def test_a_list_is_paged_and_shows_no_values(shared_broker):
    people = [register(shared_broker).person_id for _ in range(3)]
    stub, found, token = shared_broker.outbox("operator/admin"), [], ""
    while len(found) < 3:
        page = stub.ListOutbox(ob.ListOutboxRequest(page_size=2, page_token=token), timeout=TIMEOUT_S)
        found, token = found + [each.person_id for each in page.items], page.next_page_token
        assert "example.com" not in str(page.items)
    assert found[:3] == people[::-1]


BAD_WATCHES = [
    Row("no consumer", "INVALID_REQUEST", {"consumer": ""}, field="consumer", logged=False),
    Row("a consumer in capitals", "INVALID_REQUEST", {"consumer": "Mail"}, field="consumer", logged=False),
    Row("a long consumer", "INVALID_REQUEST", {"consumer": "m" * 33}, field="consumer", logged=False),
    Row("no kind", "INVALID_REQUEST", {"kinds": [0]}, field="kinds", logged=False),
    Row("an unknown kind", "INVALID_REQUEST", {"kinds": [99]}, field="kinds", logged=False),
    Row("a wide window", "INVALID_REQUEST", {"window": 1001}, field="window", logged=False),
]


@rows(BAD_WATCHES)
def test_a_bad_watch_is_refused_by_name(shared_broker, row):
    request = ob.WatchOutboxRequest(**{"consumer": "bad", **row.request})
    method = "/sluss.v1.OutboxService/WatchOutbox"
    check_refused(shared_broker.ledger(), row, shared_broker.outbox().WatchOutbox, method, request)


def answers(*pairs):
    return [ob.OutboxAcknowledgement(id=item, failure=failure) for item, failure in pairs]


BAD_ANSWERS = [
    Row("nothing", "INVALID_REQUEST", {"acknowledgements": []}, field="acknowledgements", logged=False),
    Row("too much", "INVALID_REQUEST", {"acknowledgements": answers(*((n, 0) for n in range(1001)))},
        field="acknowledgements", logged=False),
    Row("twice", "INVALID_REQUEST", {"acknowledgements": answers((1, 0), (1, 0))}, field="acknowledgements",
        logged=False),
    Row("an unknown failure", "INVALID_REQUEST", {"acknowledgements": answers((1, 99))},
        field="acknowledgements.failure", logged=False),
    Row("a failure of the broker's", "INVALID_REQUEST", {"acknowledgements": answers((1, 5))},
        field="acknowledgements.failure", logged=False),
    Row("a number of 64 bits", "INVALID_REQUEST", {"acknowledgements": answers((1 << 63, 0))},
        field="acknowledgements.id", logged=False),
    Row("who never watched", "INVALID_REQUEST", {"consumer": "nobody"}, field="consumer", logged=False),
]  # fmt: skip


@rows(BAD_ANSWERS)
def test_a_bad_acknowledgement_is_refused_by_name(shared_broker, row):
    given = {"consumer": "bad", "acknowledgements": answers((1, 0)), **row.request}
    method = "/sluss.v1.OutboxService/AcknowledgeOutbox"
    request = ob.AcknowledgeOutboxRequest(**given)
    check_refused(shared_broker.ledger(), row, shared_broker.outbox().AcknowledgeOutbox, method, request)


def test_a_message_that_is_not_there_needs_no_answer(shared_broker):
    with Watch(shared_broker, "careful") as watch:
        register(shared_broker)
        watch.take()
        gone = ob.OutboxItem(id=1)
        assert watch.answer(gone).state == ob.OUTBOX_STATE_UNSPECIFIED
