"""Promise 4, bound to its terms: what was altered, swapped or replayed on the way is refused, loudly and unopened."""

from __future__ import annotations

import itertools
import time
import uuid

import pytest
from sluss.v1 import disclosure_pb2, ledger_pb2
from sluss_client import IntegrityError, Subcontractor
from sluss_client.keys import KeyStore
from sluss_client.profile import Profile

from broker.errors import SlussError
from broker.ledger import entry
from broker.ledger.checkpoint import parse_note
from broker.sealing import Opener
from tests.faults.siege import CALL_S, bulk_request, request
from tests.faults.wiretap import Canned, Wiretap, flipped, with_flips
from tests.support.broker import BrokerProcess, grant

FIELDS = ("email", "name.given")
ACME = "subcontractor/acme"
OTHER = "subcontractor/other"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """A broker with two contracts of one subcontractor and one of another."""
    with BrokerProcess(tmp_path_factory.mktemp("wire") / "home") as running:
        terms = grant("billing", ("email=full", "name.given=full"))
        running.ours, _ = running.live_contract(terms)
        running.second, _ = running.live_contract(terms)
        running.foreign, _ = running.live_contract(terms, subcontractor=OTHER)
        running.people = [
            running.register(email=f"{uuid.uuid4().hex}@example.com", name__given=f"Person {number}")
            for number in range(4)
        ]
        yield running


class Scene:
    """A client's request behind a wiretap, what the client has seen of the ledger, and honest replies."""

    def __init__(self, broker, tap):
        self.broker, self.tap = broker, tap
        self.profile = Profile.load(broker.profile(ACME))
        self.handles = broker.handles(broker.ours, *broker.people)
        self.older = self.reply()
        with broker.subcontractor() as client:
            client.disclose(broker.ours, "billing", FIELDS, self.handles)
            self.seen = client.check_ledger().size
        self._checkpoint = self.profile.checkpoint_path.read_text()
        self.honest = self.reply(seen_size=self.seen)

    def reply(self, **extra):
        message = request(self.broker.ours, self.handles, fields=FIELDS, **extra)
        return self.broker.disclosures().Disclose(message, timeout=CALL_S)

    def client(self, *replies):
        """A client that has seen so much, and gets these replies: no lie depends on the one before."""
        self.profile.checkpoint_path.write_text(self._checkpoint)
        self.tap.alter = Canned(*replies)
        return Subcontractor(self.profile, self.tap.line)


@pytest.fixture
def scene(broker):
    with Wiretap(broker.channel(ACME)) as tap:
        yield Scene(broker, tap)


def ask(scene, reply, handles=None):
    """What the client makes of a reply to its request."""
    asked = handles or scene.handles
    return scene.client(reply).disclose(scene.broker.ours, "billing", FIELDS, asked, deadline_s=CALL_S)


def refused(scene, reply, what="", handles=None):
    """The client refuses loudly and gives nothing."""
    with pytest.raises(IntegrityError):
        pytest.fail(f"{what}: {ask(scene, reply, handles)}")


def changed(reply, disclosure=None):
    """A copy of a reply, with another disclosure in it if one is given."""
    copy = disclosure_pb2.DiscloseResponse.FromString(reply.SerializeToString())
    if disclosure is not None:
        copy.disclosures[0].CopyFrom(disclosure)
    return copy


def test_the_honest_reply_is_accepted_through_the_same_wire(scene):
    assert all(one.available for one in ask(scene, scene.honest))


def test_one_altered_bit_anywhere_is_refused(scene, campaign):
    for what, altered in with_flips(scene.honest.disclosures[0], 1 if campaign else 13):
        refused(scene, changed(scene.honest, altered), what)


def test_a_consistency_proof_that_was_altered_cut_or_left_out_is_refused(scene):
    proof = list(scene.honest.consistency_proof)
    assert proof
    lies = [[], proof[:-1], proof[1:], [*proof, bytes(32)], proof[::-1] if len(proof) > 1 else [bytes(32)]]
    lies += [[*proof[:n], flipped(step, 7), *proof[n + 1 :]] for n, step in enumerate(proof)]
    for lie in lies:
        reply = changed(scene.honest)
        del reply.consistency_proof[:]
        reply.consistency_proof.extend(lie)
        refused(scene, reply, f"{len(lie)} of {len(proof)}")


def test_a_slice_that_is_missing_doubled_or_out_of_place_is_refused(scene):
    slices = list(scene.honest.disclosures[0].slices)
    lies = [slices[1:], slices[:-1], [*slices, slices[0]], [slices[1], slices[0], *slices[2:]], [slices[0]] * 4, []]
    for lie in lies:
        reply = changed(scene.honest)
        del reply.disclosures[0].slices[:]
        reply.disclosures[0].slices.extend(lie)
        refused(scene, reply, str(len(lie)))


def test_parts_of_another_reply_are_refused(scene):
    for name in ("entry", "epoch", "receipt"):
        if getattr(scene.older.disclosures[0], name) == getattr(scene.honest.disclosures[0], name):
            continue
        reply = changed(scene.honest)
        setattr(reply.disclosures[0], name, getattr(scene.older.disclosures[0], name))
        refused(scene, reply, name)
    reply = changed(scene.honest)
    reply.disclosures[0].slices[0] = scene.older.disclosures[0].slices[0]
    refused(scene, reply, "slice")


def test_an_older_reply_and_no_reply_at_all_are_refused(scene):
    refused(scene, scene.older, "older")
    stripped = changed(scene.older)
    del stripped.consistency_proof[:]
    refused(scene, stripped, "older, without a proof")
    refused(scene, disclosure_pb2.DiscloseResponse(), "empty")
    doubled = changed(scene.honest)
    doubled.disclosures.append(scene.honest.disclosures[0])
    refused(scene, doubled, "doubled")


def test_a_person_whom_the_reply_leaves_out_is_missed(scene):
    handles = [*scene.handles, bytes(16)]
    message = request(scene.broker.ours, handles, fields=FIELDS, seen_size=scene.seen)
    reply = scene.broker.disclosures().Disclose(message, timeout=CALL_S)
    assert len(ask(scene, reply, handles)) == 5
    del reply.unavailable[:]
    refused(scene, reply, handles=handles)


@pytest.mark.parametrize(("owner", "contract"), [(ACME, "second"), (OTHER, "foreign")])
def test_a_disclosure_of_another_contract_or_recipient_is_refused(scene, owner, contract):
    broker, contract = scene.broker, getattr(scene.broker, contract)
    handles = broker.handles(contract, *broker.people)
    message = request(contract, handles, fields=FIELDS, seen_size=scene.seen)
    refused(scene, broker.disclosures(owner).Disclose(message, timeout=CALL_S), contract)


def test_slices_open_with_their_own_terms_epoch_contract_and_key_and_no_others(scene):
    broker, sources = scene.broker, []
    parties = [(ACME, broker.ours), (ACME, broker.second), (OTHER, broker.foreign)]
    for owner, contract in parties:
        handles = broker.handles(contract, *broker.people[:2])
        message = request(contract, handles, fields=FIELDS)
        (found,) = broker.disclosures(owner).Disclose(message, timeout=CALL_S).disclosures
        keys = tuple(stored.key for stored in KeyStore(Profile.load(broker.profile(owner)).keys_path).all())
        sources.append((entry.canonical(entry.parse(found.entry)["terms"]), found, keys, contract))
    opened = 0
    for terms, epoch, made, keys, contract in itertools.product(range(3), repeat=5):
        opener = Opener(sources[keys][2], sources[contract][3])
        try:
            opener.open(sources[terms][0], sources[epoch][1].epoch, sources[made][1].slices[0])
        except SlussError:
            assert len({terms, epoch, made, keys, contract}) > 1
        else:
            # The two contracts of one recipient are sealed to the same key.
            assert terms == epoch == made == contract
            assert sources[keys][2][0].public().id == sources[terms][2][0].public().id
            opened += 1
    assert opened == 5


def checkpoint_at_rest(scene, message):
    """The latest checkpoint, which is published as well: so one reply is all that the client asks for."""
    deadline = time.monotonic() + CALL_S
    while True:
        reply = scene.broker.ledger(ACME).GetCheckpoint(message, timeout=CALL_S)
        if parse_note(reply.published).checkpoint == parse_note(reply.checkpoint).checkpoint:
            return reply
        assert time.monotonic() < deadline, "nothing is published"
        time.sleep(0.1)


def test_an_altered_published_checkpoint_is_refused(scene, campaign):
    honest = checkpoint_at_rest(scene, ledger_pb2.GetCheckpointRequest(seen_size=scene.seen))
    for place in range(0, len(honest.published), 10 if campaign else 400):
        lie = ledger_pb2.GetCheckpointResponse.FromString(honest.SerializeToString())
        lie.published = flipped(honest.published.encode(), place).decode("utf-8", "replace")
        with pytest.raises(IntegrityError):
            pytest.fail(f"{place}: {scene.client(lie).check_ledger()}")


def test_an_altered_checkpoint_is_refused(scene, campaign):
    message = ledger_pb2.GetCheckpointRequest(seen_size=scene.seen)
    honest = checkpoint_at_rest(scene, message)
    for place in range(0, len(honest.checkpoint), 1 if campaign else 5):
        lie = ledger_pb2.GetCheckpointResponse(
            checkpoint=flipped(honest.checkpoint.encode(), place).decode("utf-8", "replace"),
            consistency_proof=honest.consistency_proof,
            published=honest.published,
        )
        with pytest.raises(IntegrityError):
            pytest.fail(f"{place}: {scene.client(lie).check_ledger()}")
    assert scene.client(honest).check_ledger().size > scene.seen


def test_a_bulk_stream_with_a_message_altered_missing_moved_or_doubled_is_refused(scene):
    message = bulk_request(scene.broker.ours, fields=FIELDS, seen_size=scene.seen, everyone=None)
    message.handles.handles.extend(scene.handles)
    chunks = list(scene.broker.disclosures().DiscloseBulk(message, timeout=CALL_S))
    assert len(chunks) == 4
    altered = disclosure_pb2.DiscloseBulkResponse.FromString(chunks[1].SerializeToString())
    altered.disclosure.slices[0] = flipped(altered.disclosure.slices[0], 60)
    first, second, third, fourth = chunks
    lies = [
        [first, altered, third, fourth],
        [first, third, fourth],
        [first, third, second, fourth],
        [first, first, second, third, fourth],
        [first, second, third],
        [],
    ]
    assert len(streamed(scene, chunks)) == 4
    for lie in lies:
        with pytest.raises(IntegrityError):
            streamed(scene, lie)


def streamed(scene, chunks):
    client = scene.client(*chunks)
    return list(client.bulk(scene.broker.ours, "billing", FIELDS, scene.handles, chunk_size=1))
