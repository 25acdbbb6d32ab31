"""`sluss ledger` against a ledger that lies: every lie is exit code 5, and what was seen stays what it was."""

import orjson
import pytest
from sluss.v1 import ledger_pb2 as pb
from sluss_cli.exits import Exit
from sluss_client.heads import CheckpointFile
from sluss_client.profile import Profile

from broker.clock import system_clock
from broker.ledger import entry as entries
from broker.ledger import merkle
from broker.ledger.receipt import format_receipt
from tests.unit.client.memory_broker import Company, MemoryBroker, MemoryLedger, inclusion, serving

COUNT = 6


@pytest.fixture(scope="module")
def company():
    return Company()


@pytest.fixture
def broker():
    made = MemoryBroker({})
    for number in range(1, COUNT):
        made.ledger.append(refusal(number))
    return made


def refusal(number):
    return entries.refusal(system_clock(), "subcontractor/acme-pay", "X", f"C-2026-{number:04}", "p", ["f"], "M", 1)


@pytest.fixture
def folder(tmp_path, company, broker):
    with serving(broker, company) as endpoint:
        yield company.profile(tmp_path / "profile", endpoint, broker).folder


@pytest.fixture
def watch(sluss, folder):
    def run(*words, exits=0):
        result = sluss("ledger", *words, "--json", "--profile", folder)
        assert result.exit_code == exits, result.output
        return orjson.loads(result.stdout)

    return run


def seen(folder):
    profile = Profile.load(folder)
    return CheckpointFile(profile.checkpoint_path, profile.verifier()).load().size


def only(kind, change):
    """A lie in one kind of reply."""
    return lambda broker: lambda reply: change(broker, reply) if isinstance(reply, kind) else None


def fork(broker, size=COUNT):
    """Another history of the ledger, by its own keys."""
    ledger = MemoryLedger()
    ledger.entries = [*broker.ledger.entries[: size - 1], b'{"another":1}']
    return ledger


def test_an_honest_ledger_verifies_and_every_receipt_is_counted(watch, broker, folder):
    first = watch("verify")
    assert (first["ok"], first["receipts"], first["size"], first["seen_before"]) == (True, COUNT, COUNT, 0)
    broker.ledger.append(refusal(99))
    again = watch("verify", "--limit", 3)
    assert (again["receipts"], again["size"], again["seen_before"]) == (3, COUNT + 1, COUNT)
    assert again["root"] == merkle.tree_root(broker.ledger.leaves).hex()
    assert seen(folder) == COUNT + 1
    assert watch("receipt", 2)["entry"] == orjson.loads(broker.ledger.entries[2])
    assert watch("verify", "--start", COUNT + 1)["receipts"] == 0


def wrong_leaf(_broker, reply):
    reply.entry = reply.entry.replace(b"C-2026", b"C-2027")


def truncated(_broker, reply):
    reply.entry = reply.entry[:-1]


def wrong_path(broker, reply):
    index = 1
    path = inclusion(index, broker.ledger.leaves)
    reply.receipt = format_receipt(index, [path[0][::-1], *path[1:]], broker.ledger.note())


def receipt_of_another(broker, reply):
    reply.entry, reply.receipt = broker.ledger.entries[4], broker.ledger.receipt(4)


def receipt_by_another_key(broker, reply):
    other = MemoryLedger(seed=9)
    other.entries = broker.ledger.entries
    reply.receipt = other.receipt(1)


RECEIPTS = {
    "a wrong leaf": wrong_leaf,
    "an entry that was cut": truncated,
    "a wrong path": wrong_path,
    "the receipt of another entry": receipt_of_another,
    "a receipt by another key": receipt_by_another_key,
    "no receipt": lambda _broker, reply: reply.ClearField("receipt"),
}


@pytest.mark.parametrize("name", RECEIPTS)
def test_a_receipt_that_proves_something_else_is_exit_code_5(watch, broker, name):
    broker.lies.append(only(pb.GetReceiptResponse, RECEIPTS[name])(broker))
    watch("receipt", 1, exits=Exit.INTEGRITY)
    watch("verify", "--start", 1, "--limit", 1, exits=Exit.INTEGRITY)


def wrong_proof(_broker, reply):
    reply.consistency_proof[0] = reply.consistency_proof[0][::-1]


def no_proof(_broker, reply):
    del reply.consistency_proof[:]


def proof_too_long(_broker, reply):
    reply.consistency_proof.append(bytes(32))


def another_size(broker, reply):
    reply.checkpoint = broker.ledger.signer.sign(len(broker.ledger.entries) + 1, merkle.tree_root(broker.ledger.leaves))


def another_root(broker, reply):
    reply.checkpoint = broker.ledger.signer.sign(len(broker.ledger.entries), bytes(32))


def smaller(broker, reply):
    reply.checkpoint = broker.ledger.signer.sign(2, merkle.tree_root(broker.ledger.leaves[:2]))
    reply.published = broker.ledger.signer.cosign(reply.checkpoint, 1)


def another_key(broker, reply):
    other = MemoryLedger(seed=9)
    other.entries = broker.ledger.entries
    reply.checkpoint, reply.published = other.note(), other.published()


def uncosigned(broker, reply):
    reply.published = broker.ledger.note()


def unpublished(_broker, reply):
    reply.published = ""


def published_fork(broker, reply):
    reply.published = fork(broker, COUNT).published()
    root = merkle.tree_root([merkle.leaf_hash(b'{"another":1}')])
    reply.published = broker.ledger.signer.cosign(broker.ledger.signer.sign(1, root), 1)


CHECKPOINTS = {
    "a wrong proof": wrong_proof,
    "no proof": no_proof,
    "a proof with more hashes": proof_too_long,
    "another size": another_size,
    "another root": another_root,
    "a smaller tree": smaller,
    "another key": another_key,
    "a published note without a cosignature": uncosigned,
    "nothing published": unpublished,
    "a published fork": published_fork,
}


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("verb", ["checkpoint", "verify"])
def test_a_checkpoint_that_does_not_extend_what_was_seen_is_exit_code_5(watch, broker, folder, verb, name):
    watch("checkpoint")
    for number in range(50, 53):
        broker.ledger.append(refusal(number))
    broker.lies.append(only(pb.GetCheckpointResponse, CHECKPOINTS[name])(broker))
    watch(verb, exits=Exit.INTEGRITY)
    # What a known key has signed and a proof has reached is kept, as evidence, whatever contradicts it later.
    if "published" not in name and name != "another size":
        assert seen(folder) == COUNT


def test_a_listing_that_shows_another_entry_than_its_receipt_is_exit_code_5(watch, broker):
    for change in (lambda data: data[:-1], lambda data: data.replace(b"X", b"Y"), lambda _data: b""):

        def lie(reply, change=change):
            if isinstance(reply, pb.ListEntriesResponse):
                reply.entries[2].entry = change(reply.entries[2].entry)

        broker.lies[:] = [lie]
        assert watch("verify", exits=Exit.INTEGRITY)["error"]["metadata"] == {"entry": "2"}


@pytest.mark.parametrize("size", [COUNT - 2, COUNT, COUNT + 3])
def test_receipts_on_another_history_of_any_size_are_exit_code_5(watch, broker, size):
    """Each receipt proves itself, by the right keys; the trees don't meet."""
    other = fork(broker, COUNT)
    while len(other.entries) < size:
        other.append(b'{"more":1}')
    del other.entries[size:]
    other.entries[0] = other.entries[0] if size >= COUNT else b'{"another":0}'

    def lie(reply):
        if isinstance(reply, pb.GetReceiptResponse):
            reply.receipt = other.receipt(1)

    broker.lies.append(lie)
    watch("verify", "--start", 1, "--limit", 1, exits=Exit.INTEGRITY)


def test_a_ledger_that_never_stands_still_is_told_as_busy(watch, broker):
    def grow(reply):
        if isinstance(reply, pb.GetCheckpointResponse):
            broker.ledger.append(refusal(7))

    broker.lies.append(grow)
    assert watch("verify", exits=Exit.UNAVAILABLE)["error"]["reason"] == "BUSY"
    calls = [name for name, _ in broker.calls].count("GetCheckpoint")
    assert calls == 1 + 2 * 20


def test_two_histories_of_one_size_each_consistent_in_itself_are_exit_code_5(watch, broker):
    """Who asks from the receipt's tree is led along one history, who asks from the tree seen along another."""
    size, other = 3, fork(broker, 2)
    while len(other.entries) < COUNT:
        other.append(b'{"more":1}')

    def lie(reply):
        name, request = broker.calls[-1]
        if name == "GetReceipt":
            note = other.signer.sign(size, merkle.tree_root(other.leaves[:size]))
            reply.receipt = format_receipt(1, inclusion(1, other.leaves[:size]), note)
            reply.entry = other.entries[1]
        elif name == "ListEntries":
            reply.entries[0].entry = other.entries[1]
        elif request.seen_size == size:
            reply.checkpoint = other.note()
            reply.consistency_proof[:] = other.consistency(size)
            reply.published = other.published()

    broker.lies.append(lie)
    told = watch("verify", "--start", 1, "--limit", 1, exits=Exit.INTEGRITY)
    assert "two trees of one size" in told["error"]["detail"]


def test_a_checkpoint_by_another_key_on_the_way_to_meet_is_exit_code_5(watch, broker):
    stranger = MemoryLedger(seed=9)
    stranger.entries = broker.ledger.entries

    def lie(reply):
        name, request = broker.calls[-1]
        if name == "GetCheckpoint" and request.seen_size == COUNT - 1:
            reply.checkpoint = stranger.note()

    broker.lies.append(lie)
    watch("checkpoint", exits=Exit.INTEGRITY)
