"""The client against an in-memory broker: what it opens, retries and resumes."""

import uuid

import grpc
import pytest
from sluss.v1 import disclosure_pb2
from sluss_client import Profile, Subcontractor, errors

from broker import sealing
from broker.errors import Reason, SlussError
from tests.unit.client.asking import FIELDS, PURPOSE, disclose, names, texts
from tests.unit.client.memory_broker import CONTRACT

# --- the good way -------------------------------------------------------------------------------------------


def test_slices_open_in_the_order_asked(sluss, broker):
    results = disclose(sluss, broker, 3, 1, 2)
    assert [result.values["email"] for result in results] == [f"p{n}@example.com" for n in (3, 1, 2)]
    assert [result.handle for result in results] == texts(broker, 3, 1, 2)
    assert results[0].terms.purpose == PURPOSE
    assert results[0].terms.retain_until == "2026-12-23"
    assert results[0].entry_index == 1


def test_handles_of_several_disclosures_come_back_in_order(sluss, broker):
    persons = list(range(1, 601))
    assert [r.values["name"] for r in disclose(sluss, broker, *persons)] == [f"Åsa {n}" for n in persons]
    assert len(broker.ledger.entries) == 1 + 3


def test_a_handle_that_got_no_slice_says_the_flat_thing(sluss, broker):
    unknown = sealing.handle_text(b"\7" * 16)
    first, second = sluss.disclose(CONTRACT, PURPOSE, FIELDS, [unknown, *texts(broker, 1)])
    assert (first.available, first.handle, first.reason) == (False, unknown, "PERSON_UNAVAILABLE")
    assert second.available


def test_nobody_available_is_an_answer_too(sluss, broker):
    (result,) = sluss.disclose(CONTRACT, PURPOSE, FIELDS, [b"\7" * 16])
    assert not result.available
    disclose(sluss, broker, 1)
    (result,) = sluss.disclose(CONTRACT, PURPOSE, FIELDS, [b"\7" * 16])
    assert not result.available


def test_values_are_not_shown_by_repr(sluss, broker):
    assert "example.com" not in repr(disclose(sluss, broker, 1))


def test_a_stored_disclosure_opens_later_without_a_broker(sluss, broker, profile):
    (result,) = disclose(sluss, broker, 5)
    sluss.close()
    with Subcontractor(profile) as later:
        (again,) = later.open_stored(result.sealed)
    assert again == result


def test_a_stored_disclosure_that_was_altered_does_not_open(sluss, broker):
    (result,) = disclose(sluss, broker, 5)
    stored = disclosure_pb2.Disclosure.FromString(result.sealed)
    stored.slices[0] = stored.slices[0][:-1] + bytes([stored.slices[0][-1] ^ 1])
    with pytest.raises(errors.SliceInvalid):
        sluss.open_stored(stored.SerializeToString())


def test_what_is_no_stored_disclosure_is_refused(sluss):
    for data in (b"", b"\xff\xff\xff", b"hello"):
        with pytest.raises(errors.IntegrityError):
            sluss.open_stored(data)


def test_after_a_rotation_old_and_new_slices_open(sluss, broker):
    (old,) = disclose(sluss, broker, 1)
    rotated = sluss.rotate_key(sealing.SUITE_X25519)
    (new,) = disclose(sluss, broker, 1)
    assert new.terms.key == rotated.key_id != old.terms.key
    assert sluss.open_stored(old.sealed) == [old]


def test_a_key_rotated_by_another_process_is_found(sluss, broker, profile):
    with Subcontractor(Profile.load(profile.folder)) as other:
        other.rotate_key()
    assert disclose(sluss, broker, 1)[0].available


def test_registering_again_registers_the_same_key(sluss, broker):
    assert sluss.register_key().key_id == broker.keys[0].id
    assert len(sluss._core.store.all()) == 1


def test_a_dry_run_discloses_nothing(sluss, broker):
    assert sluss.dry_run(CONTRACT, PURPOSE, FIELDS, texts(broker, 1)).granted_purpose == PURPOSE
    assert len(broker.ledger.entries) == 1


def test_scope_is_described(sluss, broker):
    assert sluss.describe_scope(CONTRACT).key_id == broker.keys[0].id


# --- requests that can't be made ----------------------------------------------------------------------------


@pytest.mark.parametrize("handles", [[], ["h_short"], ["h_" + "A" * 22] * 2, [b"\0" * 15], ["x" * 24]], ids=str)
def test_bad_handles_are_refused_before_anything_is_sent(sluss, broker, handles):
    broker.calls.clear()
    with pytest.raises(errors.InvalidRequest):
        sluss.disclose(CONTRACT, PURPOSE, FIELDS, handles)
    assert broker.calls == []


UUID1, UPPER_CASE = "877d734c-e797-11f1-9bc9-02fc00000001", "8CD5DAC7-4303-4987-8E14-59ED85F5BB20"


@pytest.mark.parametrize("request_id", ["", "x", UUID1, UPPER_CASE])
def test_a_request_id_that_is_no_uuid4_is_refused(sluss, broker, request_id):
    with pytest.raises(errors.InvalidRequest):
        disclose(sluss, broker, 1, request_id=request_id)


# --- failures and retries -----------------------------------------------------------------------------------


def test_a_lost_answer_is_asked_again_under_the_same_request_id(sluss, broker):
    broker.failures = [grpc.StatusCode.UNAVAILABLE, SlussError(Reason.LEDGER_UNAVAILABLE), None]
    assert disclose(sluss, broker, 1)[0].available
    ids = {request.request_id for name, request in broker.calls if name == "Disclose"}
    assert len(ids) == 1
    assert names(broker).count("Disclose") == 3
    assert len(broker.ledger.entries) == 2


def test_the_same_request_id_gives_the_same_slices_and_one_entry(sluss, broker):
    request_id = str(uuid.uuid4())
    first = disclose(sluss, broker, 1, request_id=request_id)
    disclose(sluss, broker, 2)
    again = disclose(sluss, broker, 1, request_id=request_id)
    assert (again[0].values, again[0].entry_index) == (first[0].values, first[0].entry_index)
    assert len(broker.ledger.entries) == 3


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.PURPOSE_OUT_OF_SCOPE, errors.PermissionDenied),
        (Reason.CERTIFICATE_REVOKED, errors.Unauthenticated),
        (Reason.CONTRACT_SUSPENDED, errors.FailedPrecondition),
        (Reason.INVALID_REQUEST, errors.InvalidArgument),
        (Reason.ENTRY_UNKNOWN, errors.NotFound),
        (Reason.REQUEST_ID_REUSED, errors.AlreadyExists),
        (Reason.RECORD_CHANGED, errors.Aborted),
        (Reason.VOLUME_EXCEEDED, errors.ResourceExhausted),
        (Reason.INTERNAL, errors.Refused),
    ],
)
def test_a_refusal_has_a_class_a_reason_and_no_second_attempt(sluss, broker, reason, expected):
    broker.failures.append(SlussError(reason, contract=CONTRACT))
    with pytest.raises(expected) as caught:
        disclose(sluss, broker, 1)
    assert type(caught.value) is expected
    assert caught.value.reason == reason
    assert caught.value.metadata == {"contract": CONTRACT}
    assert names(broker).count("Disclose") == 1


def test_a_volume_that_frees_up_soon_is_waited_for(sluss, broker):
    broker.failures = [SlussError(Reason.VOLUME_EXCEEDED, retry_after_s="0.05")]
    assert disclose(sluss, broker, 1)[0].available


def test_a_volume_that_frees_up_after_the_deadline_is_refused_at_once(sluss, broker):
    broker.failures = [SlussError(Reason.VOLUME_EXCEEDED, retry_after_s="3600")]
    with pytest.raises(errors.ResourceExhausted) as caught:
        disclose(sluss, broker, 1)
    assert caught.value.retry_after_s == 3600


def test_a_broker_that_stays_away_ends_at_the_deadline(sluss, broker):
    broker.failures = [grpc.StatusCode.UNAVAILABLE] * 10_000
    with pytest.raises(errors.TransportError):
        disclose(sluss, broker, 1, deadline_s=2)


def test_a_broker_whose_ledger_stays_away_says_so(sluss, broker):
    broker.failures = [SlussError(Reason.LEDGER_UNAVAILABLE)] * 10_000
    with pytest.raises(errors.BrokerUnavailable) as caught:
        disclose(sluss, broker, 1, deadline_s=0.3)
    assert caught.value.reason == "LEDGER_UNAVAILABLE"


def test_a_key_is_not_registered_twice_when_the_answer_is_lost(sluss, broker):
    broker.failures = [grpc.StatusCode.UNAVAILABLE]
    with pytest.raises(errors.TransportError):
        sluss.rotate_key()
    assert names(broker).count("RegisterKey") == 2


# --- bulk ---------------------------------------------------------------------------------------------------


def bulk(sluss, **options):
    return sluss.bulk(CONTRACT, PURPOSE, FIELDS, **options)


def test_everybody_comes_in_chunks(sluss, broker):
    chunks = list(bulk(sluss))
    assert [len(chunk.persons) for chunk in chunks] == [256, 256, 88]
    assert [chunk.done for chunk in chunks] == [256, 512, 600]
    assert {chunk.total for chunk in chunks} == {600}
    assert len({person.handle for chunk in chunks for person in chunk.persons}) == 600
    assert sluss.open_stored(chunks[1].sealed) == chunks[1].persons


def test_a_list_comes_with_those_who_are_unavailable(sluss, broker):
    unknown = [bytes([n]) * 16 for n in range(1, 5)]
    (chunk,) = bulk(sluss, handles=[*texts(broker, 1), *unknown])
    assert len(chunk.persons) == 1
    assert [one.handle for one in chunk.unavailable] == [sealing.handle_text(handle) for handle in unknown]


def test_a_chunk_without_a_disclosure_is_passed_on(sluss, broker):
    chunks = list(bulk(sluss, handles=[b"\1" * 16, b"\2" * 16, *texts(broker, 1, 2)], chunk_size=2))
    assert [(len(c.persons), len(c.unavailable), c.sealed != b"") for c in chunks] == [
        (0, 2, False),
        (2, 0, True),
    ]


def test_a_broken_stream_goes_on_after_the_last_chunk(sluss, broker):
    broker.break_after = 512
    chunks = list(bulk(sluss))
    assert [chunk.done for chunk in chunks] == [256, 512, 600]
    requests = [request for name, request in broker.calls if name == "DiscloseBulk"]
    assert [request.resume_after for request in requests] == ["", "512"]
    assert len({request.request_id for request in requests}) == 1


def test_another_process_resumes_at_a_cursor(sluss, broker, profile):
    request_id = str(uuid.uuid4())
    first = next(bulk(sluss, request_id=request_id, chunk_size=200))
    sluss.close()
    with Subcontractor(Profile.load(profile.folder)) as later:
        rest = list(bulk(later, resume=first.cursor, request_id=request_id, chunk_size=200))
    assert [chunk.done for chunk in rest] == [400, 600]


def test_a_lying_chunk_ends_the_stream_and_nothing_of_it_is_opened(sluss, broker):
    def lie(reply):
        if reply.done > 256:
            reply.disclosure.slices[0] = reply.disclosure.slices[1]

    broker.lies.append(lie)
    stream = bulk(sluss)
    next(stream)
    with pytest.raises(errors.SliceInvalid):
        next(stream)


def test_a_fork_in_the_middle_of_a_stream_is_found(sluss, broker):
    honest, seen_sizes = broker.proof, []

    def rewriting(seen):
        seen_sizes.append(seen)
        if len(seen_sizes) == 2:
            broker.ledger.entries[1] = b'{"forged":1}'
        return honest(seen)

    broker.proof = rewriting
    with pytest.raises(errors.LedgerInconsistent):
        list(bulk(sluss, chunk_size=100))


def test_a_stream_that_ends_early_is_found(sluss, broker):
    broker.lies.append(lambda reply: reply.unavailable.__delitem__(slice(None)))
    with pytest.raises(errors.SliceInvalid, match="every handle"):
        list(bulk(sluss, handles=[b"\1" * 16, *texts(broker, 1)]))


def test_a_stream_that_is_left_hands_its_head_back(sluss, broker):
    stream = bulk(sluss)
    next(stream)
    stream.close()
    assert sluss._core.heads._borrowed == 0
    assert disclose(sluss, broker, 1)[0].available


def test_a_person_without_a_value_on_record_is_answered_with_the_fields_there_are(sluss, broker):
    del broker.persons[2]["name"]
    whole, lacking = disclose(sluss, broker, 1, 2)
    assert set(whole.values) == {"email", "name"}
    assert set(lacking.values) == {"email"}
    assert [name for name, _ in lacking.terms.fields] == FIELDS
