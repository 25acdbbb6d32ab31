"""The client against an in-memory broker: what it opens, and what it refuses to open."""

import asyncio
import hashlib
import threading
import uuid

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sluss.v1 import contract_pb2, disclosure_pb2
from sluss_client import AsyncSubcontractor, Profile, Subcontractor, errors
from sluss_client.heads import CheckpointFile

from broker import contract_terms, contracts, sealing
from broker.errors import Reason, SlussError
from broker.ledger import entry as entries
from broker.ledger.checkpoint import open_checkpoint
from tests.unit.client.memory_broker import CONTRACT, MemoryLedger, rows_root

PURPOSE = "billing.collection"
FIELDS = ["email", "name"]


def texts(broker, *persons):
    return [sealing.handle_text(broker.handles[person]) for person in persons]


def disclose(sluss, broker, *persons, **options):
    return sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, *persons), **options)


def names(broker):
    return [name for name, _ in broker.calls]


def on_file(profile):
    return CheckpointFile(profile.checkpoint_path, profile.verifier()).load()


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


@pytest.mark.parametrize("request_id", ["", "x", str(uuid.uuid1()), str(uuid.uuid4()).upper()])
def test_a_request_id_that_is_no_uuid4_is_refused(sluss, broker, request_id):
    with pytest.raises(errors.InvalidRequest):
        disclose(sluss, broker, 1, request_id=request_id)


# --- a broker that lies -------------------------------------------------------------------------------------


def other_entry(change):
    """A lie that puts other, properly logged terms into the entry: the receipt stays good."""

    def lie(broker, reply):
        for disclosure in reply.disclosures:
            entry = entries.parse(disclosure.entry)
            change(entry)
            index = broker.ledger.append(entries.canonical(entry))
            disclosure.entry = entries.canonical(entry)
            disclosure.receipt = broker.ledger.receipt(index)

    return lie


def set_term(name, value):
    return other_entry(lambda entry: entry["terms"].__setitem__(name, value))


def set_slices(change):
    def lie(_broker, reply):
        for disclosure in reply.disclosures:
            slices = change(list(disclosure.slices))
            del disclosure.slices[:]
            disclosure.slices.extend(slices)

    return lie


def flip_receipt(_broker, reply):
    reply.disclosures[0].receipt = reply.disclosures[0].receipt.replace("index 1", "index 0")


def other_ledger(_broker, reply):
    ledger = MemoryLedger(seed=9)
    index = ledger.append(reply.disclosures[0].entry)
    reply.disclosures[0].receipt = ledger.receipt(index)


def refusal_entry(broker, reply):
    data = entries.refusal(1, "subcontractor/acme-pay", "X", CONTRACT, PURPOSE, FIELDS, "Disclose", 1)
    reply.disclosures[0].entry = data
    reply.disclosures[0].receipt = broker.ledger.receipt(broker.ledger.append(data))


def unlogged_entry(_broker, reply):
    entry = entries.parse(reply.disclosures[0].entry)
    entry["unavailable"] = 1
    reply.disclosures[0].entry = entries.canonical(entry)


def other_epoch(broker, reply):
    reply.disclosures[0].epoch = sealing.new_epoch(CONTRACT, broker.keys[-1]).blob


def no_answer_for_one(_broker, reply):
    del reply.unavailable[:]


def another_handle(_broker, reply):
    reply.unavailable[0].handle = b"\3" * 16


def twice(_broker, reply):
    reply.unavailable.add(handle=reply.unavailable[0].handle)


def disclosure_twice(_broker, reply):
    copy = disclosure_pb2.Disclosure()
    copy.CopyFrom(reply.disclosures[0])
    reply.disclosures.append(copy)


LIES = {
    "receipt of another index": (flip_receipt, errors.ReceiptInvalid),
    "receipt by another ledger": (other_ledger, errors.ReceiptInvalid),
    "no receipt": (lambda _b, r: r.disclosures[0].ClearField("receipt"), errors.ReceiptInvalid),
    "an entry that is not in the ledger": (unlogged_entry, errors.ReceiptInvalid),
    "an entry of another type": (refusal_entry, errors.ReceiptInvalid),
    "another contract": (set_term("contract", "C-2026-0002"), errors.ReceiptInvalid),
    "another purpose": (set_term("purpose", "billing"), errors.ReceiptInvalid),
    "another recipient": (set_term("recipient", "subcontractor/other"), errors.ReceiptInvalid),
    "another key": (set_term("key", "A" * 43), errors.ReceiptInvalid),
    "more fields": (
        set_term("fields", [{"name": n, "transform": "full"} for n in ("email", "iban", "name")]),
        errors.ReceiptInvalid,
    ),
    "onward transfer allowed": (set_term("onward_transfer", "allowed"), errors.ReceiptInvalid),
    "longer retention in the entry than sealed": (set_term("retain_until", "2036-01-01"), errors.SliceInvalid),
    "an altered slice": (set_slices(lambda s: [s[0][:-1] + b"\0", *s[1:]]), errors.SliceInvalid),
    "a slice left out": (set_slices(lambda s: s[1:]), errors.SliceInvalid),
    "slices swapped": (set_slices(lambda s: s[::-1]), errors.SliceInvalid),
    "a slice twice": (set_slices(lambda s: [*s, s[0]]), errors.SliceInvalid),
    "another epoch": (other_epoch, errors.SliceInvalid),
    "a handle not answered": (no_answer_for_one, errors.SliceInvalid),
    "a handle not asked for": (another_handle, errors.SliceInvalid),
    "a handle answered twice": (twice, errors.SliceInvalid),
    "a disclosure twice": (disclosure_twice, errors.SliceInvalid),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_broker_is_found(sluss, broker, name):
    lie, expected = LIES[name]
    broker.lies.append(lambda reply: lie(broker, reply))
    with pytest.raises(expected):
        sluss.disclose(CONTRACT, PURPOSE, FIELDS, [*texts(broker, 1, 2), b"\7" * 16])
    broker.lies.clear()
    assert disclose(sluss, broker, 1)[0].available, "the client goes on with an honest broker"


def test_receipts_of_one_reply_on_different_trees_are_found(sluss, broker):
    def lie(reply):
        index = len(broker.ledger.entries) - 1
        broker.ledger.append(b'{"later":1}')
        reply.disclosures[1].receipt = broker.ledger.receipt(index)

    broker.lies.append(lie)
    with pytest.raises(errors.LedgerInconsistent, match="different checkpoints"):
        disclose(sluss, broker, *range(1, 301))


# --- a ledger that is forked or rolled back -----------------------------------------------------------------


def rewrite(broker, keep):
    """The ledger's operator forgets all entries but the first ones."""
    del broker.ledger.entries[keep:]
    broker.answers.clear()


def test_a_rolled_back_ledger_is_found(sluss, broker):
    for person in range(1, 6):
        disclose(sluss, broker, person)
    rewrite(broker, 2)
    broker.proof = lambda _seen: []
    with pytest.raises(errors.LedgerInconsistent):
        disclose(sluss, broker, 1)


def test_a_rewritten_ledger_of_larger_size_is_found(sluss, broker):
    disclose(sluss, broker, 1)
    disclose(sluss, broker, 2)
    rewrite(broker, 2)
    broker.ledger.append(b'{"forged":1}')
    broker.ledger.append(b'{"forged":2}')
    with pytest.raises(errors.LedgerInconsistent):
        disclose(sluss, broker, 1)
    with pytest.raises(errors.LedgerInconsistent):
        sluss.check_ledger()


def test_a_fork_of_the_same_size_is_found(sluss, broker):
    disclose(sluss, broker, 1)
    rewrite(broker, 1)
    with pytest.raises(errors.LedgerInconsistent):
        disclose(sluss, broker, 2)


def test_a_fork_is_found_by_the_next_process_too(sluss, broker, profile):
    disclose(sluss, broker, 1)
    rewrite(broker, 1)
    with Subcontractor(Profile.load(profile.folder)) as later, pytest.raises(errors.LedgerInconsistent):
        disclose(later, broker, 2)


def test_nothing_is_saved_of_a_reply_that_lies(sluss, broker, profile):
    disclose(sluss, broker, 1)
    before = on_file(profile)
    broker.lies.append(lambda reply: set_slices(lambda s: s[::-1])(broker, reply))
    with pytest.raises(errors.SliceInvalid):
        disclose(sluss, broker, 1, 2)
    assert on_file(profile) == before


def test_a_broker_that_says_that_its_ledger_is_shorter_is_an_integrity_error(sluss, broker):
    broker.failures.append(SlussError(Reason.LEDGER_INCONSISTENT))
    with pytest.raises(errors.LedgerInconsistent):
        disclose(sluss, broker, 1)


def test_the_checkpoint_on_file_is_the_ledgers(sluss, broker, profile):
    disclose(sluss, broker, 1)
    head = on_file(profile)
    assert (head.size, head.root) == (2, rows_root(broker.ledger.leaves))
    assert sluss.check_ledger() == head


def test_two_forks_shown_to_two_calls_at_once_do_not_settle(sluss, broker):
    disclose(sluss, broker, 1)
    with sluss._core.heads.lane() as one, sluss._core.heads.lane() as other:
        broker.ledger.append(b'{"branch":"a"}')
        sluss._checkpoint(one)
        del broker.ledger.entries[-1]
        broker.ledger.append(b'{"branch":"b1"}')
        broker.ledger.append(b'{"branch":"b2"}')
        sluss._checkpoint(other)
    with pytest.raises(errors.LedgerInconsistent):
        sluss._settle()


def test_heads_seen_side_by_side_settle_on_one(sluss, broker):
    with sluss._core.heads.lane() as one, sluss._core.heads.lane() as other:
        broker.ledger.append(b'{"n":1}')
        sluss._checkpoint(one)
        broker.ledger.append(b'{"n":2}')
        sluss._checkpoint(other)
    assert sluss._core.heads.unsettled() == 2
    sluss._settle()
    assert sluss._core.heads.unsettled() == 0


def test_one_call_at_a_time_needs_no_calls_to_settle(sluss, broker):
    for person in range(1, 5):
        disclose(sluss, broker, person)
    assert "GetCheckpoint" not in names(broker)


def test_threads_share_a_client(sluss, broker, profile):
    found = []

    def work(start):
        opened = (disclose(sluss, broker, person)[0] for person in range(start, start + 8))
        found.extend(person.values["email"] for person in opened)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(1, 81, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(f"p{n}@example.com" for n in range(1, 81))
    sluss._settle()
    assert sluss._core.heads.unsettled() == 0
    assert on_file(profile).size == len(broker.ledger.entries)


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
        disclose(sluss, broker, 1, deadline_s=0.3)


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


# --- contracts ----------------------------------------------------------------------------------------------


@pytest.fixture
def offered(broker):
    terms = contracts.Terms(
        subcontractor="subcontractor/acme-pay",
        recipient_name="Acme Pay",
        recipient_address="1 Road, Town",
        valid_from=contracts.date(2026, 1, 1),
        valid_until=contracts.date(2026, 12, 31),
        grants=(
            contracts.Grant(
                purpose="billing",
                fields=(contracts.FieldGrant("email", "full"),),
                population=contracts.Population(persons=frozenset({7})),
                retention_days=30,
                volumes=(contracts.Volume(contracts.Window.DAY, 1000),),
            ),
            contracts.Grant(
                purpose="delivery",
                fields=(contracts.FieldGrant("name", "full"),),
                population=contracts.Population(
                    predicates=(contracts.Predicate("address.country", frozenset({"SE"})),)
                ),
                retention_days=1,
                volumes=(contracts.Volume(contracts.Window.HOUR, 1),),
            ),
        ),
        reference="binder 7",
    )
    data = contract_terms.canonical(CONTRACT, 2, terms)
    version = contract_pb2.ContractVersion(version=2, canonical_terms=data, terms_sha256=contracts_digest(data))
    broker.contract = contract_pb2.GetContractResponse(
        contract=contract_pb2.Contract(contract_id=CONTRACT, version=1, proposed_version=2),
        versions=[contract_pb2.ContractVersion(version=1), version],
    )
    return data


def contracts_digest(data):
    return hashlib.sha256(data).digest()


def test_an_offer_shows_the_very_terms_that_are_signed(sluss, broker, offered):
    offer = sluss.proposed_terms(CONTRACT)
    assert (offer.version, offer.canonical) == (2, offered)
    assert offer.terms.grants[0].purpose == "billing"
    assert offer.terms.grants[0].population.persons.person_ids == ["P-0000000000007"]
    assert offer.terms.grants[1].population.predicates.predicates[0].values == ["SE"]
    assert sluss.accept_contract(CONTRACT, offer).entry_index == 7


def test_acceptance_is_signed_by_the_certificates_key(sluss, broker, offered, profile):
    sluss.accept_contract(CONTRACT)
    request = next(request for name, request in broker.calls if name == "AcceptContract")
    certificate = x509.load_pem_x509_certificate((profile.folder / "certificate.pem").read_bytes())
    message = b"sluss/v1 contract\x00" + offered
    certificate.public_key().verify(request.signature, message, ec.ECDSA(hashes.SHA256()))


def test_terms_with_another_digest_are_not_signed(sluss, broker, offered):
    broker.contract.versions[1].terms_sha256 = bytes(32)
    with pytest.raises(errors.IntegrityError):
        sluss.accept_contract(CONTRACT)
    assert "AcceptContract" not in names(broker)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"acme-pay", b"acme-pal"),
        (b"C-2026-0001", b"C-2026-0002"),
        (b'"version":2', b'"version":3'),
        (b'"onward_transfer":"forbidden"', b'"onward_transfer":"permitted"'),
        (b'"reference"', b'"extra":1,"reference"'),
    ],
)
def test_terms_about_something_else_are_not_signed(sluss, broker, offered, old, new):
    data = offered.replace(old, new)
    broker.contract.versions[1].canonical_terms = data
    broker.contract.versions[1].terms_sha256 = contracts_digest(data)
    with pytest.raises(errors.IntegrityError):
        sluss.accept_contract(CONTRACT)
    assert "AcceptContract" not in names(broker)


def test_nothing_to_accept_is_said(sluss, broker, offered):
    broker.contract.contract.proposed_version = 0
    with pytest.raises(errors.ProfileError, match="waits"):
        sluss.accept_contract(CONTRACT)


# --- asyncio ------------------------------------------------------------------------------------------------


async def test_the_asynchronous_client_does_the_same(profile, broker, offered):
    async with AsyncSubcontractor.from_profile(profile.folder) as sluss:
        await sluss.register_key()
        results = await sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, 2, 1))
        assert [result.values["name"] for result in results] == ["Åsa 2", "Åsa 1"]
        assert await sluss.open_stored(results[0].sealed) == results[:1] + results[1:]
        chunks = [chunk async for chunk in sluss.bulk(CONTRACT, PURPOSE, FIELDS)]
        assert [chunk.done for chunk in chunks] == [256, 512, 600]
        assert (await sluss.accept_contract(CONTRACT)).entry_index == 7
        assert (await sluss.describe_scope(CONTRACT)).live
        assert (await sluss.dry_run(CONTRACT, PURPOSE, FIELDS, texts(broker, 1))).granted_purpose == PURPOSE
        assert (await sluss.check_ledger()).size == len(broker.ledger.entries)
        await sluss.rotate_key()


async def test_many_calls_in_flight_settle_on_one_tree(profile, broker):
    async with AsyncSubcontractor(profile) as sluss:
        await sluss.register_key()
        calls = [sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, n)) for n in range(1, 61)]
        results = await asyncio.gather(*calls)
        assert [one.values["email"] for (one,) in results] == [f"p{n}@example.com" for n in range(1, 61)]
        assert sluss._core.heads.unsettled() == 0
    assert on_file(profile).size == len(broker.ledger.entries)


async def test_the_asynchronous_client_retries_and_resumes(profile, broker):
    async with AsyncSubcontractor(profile) as sluss:
        await sluss.register_key()
        broker.failures = [grpc.StatusCode.UNAVAILABLE]
        assert (await sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, 1)))[0].available
        broker.break_after = 256
        assert [c.done async for c in sluss.bulk(CONTRACT, PURPOSE, FIELDS)] == [256, 512, 600]


async def test_the_asynchronous_client_finds_lies_and_refusals(profile, broker):
    async with AsyncSubcontractor(profile) as sluss:
        await sluss.register_key()
        broker.failures = [SlussError(Reason.PURPOSE_OUT_OF_SCOPE, purpose=PURPOSE)]
        with pytest.raises(errors.PermissionDenied) as caught:
            await sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, 1))
        assert caught.value.metadata == {"purpose": PURPOSE}
        broker.lies.append(lambda reply: other_ledger(broker, reply))
        with pytest.raises(errors.ReceiptInvalid):
            await sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, 1))


def test_the_saved_note_opens_with_the_ledger_keys(sluss, broker, profile):
    disclose(sluss, broker, 1)
    note = profile.checkpoint_path.read_text()
    assert open_checkpoint(note, profile.verifier()).size == 2
