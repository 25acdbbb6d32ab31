"""A broker that lies, forks or forgets: nothing of its reply is opened, and the client says so."""

import threading
from dataclasses import replace

import pytest
from sluss.v1 import disclosure_pb2, ledger_pb2
from sluss_client import AsyncSubcontractor, Profile, Subcontractor, errors

from broker import sealing
from broker.errors import Reason, SlussError
from broker.ledger import entry as entries
from broker.ledger import merkle
from broker.ledger.checkpoint import Note, Signature, open_checkpoint, parse_note
from tests.unit.client.asking import FIELDS, PURPOSE, disclose, names, on_file, texts
from tests.unit.client.memory_broker import CONTRACT, MemoryLedger, rows_root

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


def set_holds(digits):
    return other_entry(lambda entry: entry["slices"][0].__setitem__("holds", digits))


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
    "fewer fields": (set_term("fields", [{"name": "email", "transform": "full"}]), errors.ReceiptInvalid),
    "another field": (
        set_term("fields", [{"name": n, "transform": "full"} for n in ("email", "iban")]),
        errors.ReceiptInvalid,
    ),
    "onward transfer allowed": (set_term("onward_transfer", "allowed"), errors.ReceiptInvalid),
    "longer retention in the entry than sealed": (set_term("retain_until", "2036-01-01"), errors.SliceInvalid),
    "a slice said to hold less": (set_holds("10"), errors.SliceInvalid),
    "a slice said to hold another field": (set_holds("01"), errors.SliceInvalid),
    "holds of another length": (set_holds("111"), errors.ReceiptInvalid),
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


def test_the_saved_note_opens_with_the_ledger_keys(sluss, broker, profile):
    disclose(sluss, broker, 1)
    note = profile.checkpoint_path.read_text()
    assert open_checkpoint(note, profile.verifier()).size == 2


# --- what the ledger has published --------------------------------------------------------------------------


def other_branch(broker):
    """A published note of another history, signed by all keys: as one who holds both keys would make it."""
    data = [*broker.ledger.entries[:-1], b'{"another":1}']
    root = rows_root([merkle.leaf_hash(one) for one in data])
    return broker.ledger.signer.cosign(broker.ledger.signer.sign(len(data), root), 1)


def shorter_branch(broker):
    root = rows_root([merkle.leaf_hash(b'{"another":1}')])
    return broker.ledger.signer.cosign(broker.ledger.signer.sign(1, root), 1)


def cosigned_by_a_stranger(broker):
    """Signed by the ledger's Ed25519 key, which was broken, and cosigned by a key that the forger has made."""
    signed = broker.ledger.signer.sign(1, rows_root(broker.ledger.leaves[:1]))
    forger = MemoryLedger(seed=9).signer
    line = forger.cosign(forger.sign(1, rows_root(broker.ledger.leaves[:1])), 1).splitlines()[-1]
    return signed + line + "\n"


def altered_cosignature(broker):
    note = parse_note(broker.ledger.published())
    last = note.signatures[-1]
    broken = Signature(last.name, last.key_id, last.value[:-1] + bytes([last.value[-1] ^ 1]))
    return Note(note.checkpoint, (*note.signatures[:-1], broken)).text()


def ahead(broker):
    return broker.ledger.signer.cosign(broker.ledger.signer.sign(9, bytes(32)), 1)


PUBLISHED = {
    "nothing": lambda _broker: "",
    "no note": lambda _broker: "hello\n",
    "a note without a cosignature": lambda broker: broker.ledger.note(),
    "a note of another ledger": lambda _broker: MemoryLedger(seed=9).published(),
    "a cosignature by a stranger": cosigned_by_a_stranger,
    "a cosignature that does not verify": altered_cosignature,
    "another tree of the same size": other_branch,
    "another tree of a smaller size": shorter_branch,
    "a larger tree than the latest": ahead,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_ledger_that_lies_about_what_it_has_published_is_found(sluss, broker, name):
    disclose(sluss, broker, 1)

    def lie(reply):
        if isinstance(reply, ledger_pb2.GetCheckpointResponse):
            reply.published = PUBLISHED[name](broker)

    broker.lies.append(lie)
    with pytest.raises(errors.LedgerInconsistent):
        sluss.check_ledger()


async def test_the_asynchronous_client_finds_a_published_lie_too(profile, broker):
    async with AsyncSubcontractor(profile) as sluss:
        await sluss.register_key()
        assert (await sluss.check_ledger()).size == 1
        broker.ledger.append(b'{"n":1}')
        broker.lies.append(lambda reply: setattr(reply, "published", shorter_branch(broker)))
        with pytest.raises(errors.LedgerInconsistent):
            await sluss.check_ledger()


def test_what_was_published_is_proven_to_be_an_earlier_state_of_the_same_tree(sluss, broker):
    for person in range(1, 5):
        disclose(sluss, broker, person)
    assert sluss.check_ledger().size == 5
    seen = [request.seen_size for name, request in broker.calls if name == "GetCheckpoint"]
    assert seen == [5, 4]
    assert sluss._core.heads.unsettled() == 0


def test_a_profile_without_the_key_of_the_cosignature_is_not_the_brokers_fault(profile):
    lacking = replace(profile, ledger_keys=profile.ledger_keys[:1])
    with Subcontractor(lacking) as sluss, pytest.raises(errors.ProfileError, match="ML-DSA-44"):
        sluss.check_ledger()
