import pytest
from sluss_cli.entry_text import UNREADABLE, parse_entry, sentence

from broker.ledger import entry

NOW = 1_795_000_000_000_000
D = bytes(32)
TERMS = {
    "contract": "C-2026-0001",
    "contract_version": 2,
    "disclosure": "D-" + "0" * 32,
    "epoch": "AAAAAAAAAAAAAAAAAAAAAA",
    "fields": [{"name": "email", "transform": "full"}, {"name": "payment.card_number", "transform": "last4"}],
    "issued": "2026-11-23T22:33:57.123456Z",
    "key": entry.base64url(D),
    "onward_transfer": "forbidden",
    "policy": "2026-01",
    "purpose": "billing.collection",
    "recipient": "subcontractor/acme-pay",
    "retain_until": "2026-12-23",
    "v": 1,
}
ENTRIES = {
    "disclosure": (
        entry.disclosure(NOW, TERMS, [entry.Slice(D, D, "11"), entry.Slice(D, D, "10")], 1),
        [
            "subcontractor/acme-pay",
            "2 persons",
            "billing.collection",
            "C-2026-0001",
            "email (full)",
            "2026-12-23",
        ],
    ),
    "refusal": (
        entry.refusal(
            NOW,
            "subcontractor/a",
            "PURPOSE_OUT_OF_SCOPE",
            "C-2026-0001",
            "marketing",
            ["email"],
            "Disclose",
            3,
        ),
        ["subcontractor/a", "refused", "PURPOSE_OUT_OF_SCOPE", "marketing", "email", "C-2026-0001"],
    ),
    "obligation": (
        entry.obligation(
            NOW,
            "attested",
            "O-2026-0001",
            "delete_by",
            "C-2026-0001",
            "subcontractor/a",
            "subcontractor/a",
            owed=D,
            due="2026-12-23",
            fields=[],
            outcome="never_held_any_more",
        ),
        ["O-2026-0001", "C-2026-0001", "subcontractor/a", "never held any more"],
    ),
    "owed": (
        entry.owed(NOW, "R-2026-0001", "erase", ["O-2026-0001", "O-2026-0002"], "privacy/p"),
        ["R-2026-0001", "erase", "O-2026-0001, O-2026-0002", "privacy/p"],
    ),
    "refusals": (
        entry.refusals(NOW, NOW - 60_000_000, NOW, "subcontractor/a", {"PURPOSE_UNKNOWN": 41}),
        ["41 times PURPOSE_UNKNOWN", "subcontractor/a"],
    ),
    "contract": (
        entry.contract(NOW, "suspended", "C-2026-0001", 1, "subcontractor/a", "operator/ops", "incident 4711", D),
        ["C-2026-0001", "suspended", "operator/ops", "incident 4711"],
    ),
    "key": (
        entry.key(NOW, "registered", "subcontractor/a", D, 2, "subcontractor/a", ""),
        ["registered", "subcontractor/a"],
    ),
    "certificate": (
        entry.certificate(NOW, "revoked", "subcontractor/a", D, "operator/ops", "stolen laptop"),
        ["revoked", "stolen laptop"],
    ),
    "choice": (
        entry.choice(
            NOW,
            D,
            entry.Chosen("offers.email", "out", ("email",), "phone", "desk", "form 4711", NOW),
            "2026-01",
            "internal/registration",
        ),
        ["said no", "offers.email", "by email", "through phone", "form 4711", "2026-01"],
    ),
    "catalogue": (entry.catalogue(NOW, D, "operator/ops"), ["catalogue", "operator/ops"]),
    "key_ring": (
        entry.key_ring(NOW, "destroyed", "records", 1, "operator/host"),
        ["version 1 of the key ring records was destroyed by operator/host", "opens no more"],
    ),
    "policy": (entry.policy(NOW, "2026-02", NOW, D, "operator/ops"), ["2026-02", "operator/ops"]),
    "acceptance": (
        entry.acceptance(NOW, D, "2026-02", "web", b"", "internal/registration"),
        ["2026-02", "web", "internal/registration"],
    ),
    "case": (
        entry.case(NOW, "approved", "L-2026-0001", "legal.process", "SE", "approved", "legal/bo", body=D, text=D),
        ["L-2026-0001", "legal.process", "SE", "approved", "legal/bo"],
    ),
    "release": (
        entry.release(
            NOW,
            {**TERMS, "contract": "L-2026-0001", "recipient": "authority/l-2026-0001"},
            [entry.Slice(D, D, "11")],
            0,
            ground="legal.process",
            by="legal/anna",
            second_person="legal/bo",
            emergency=False,
        ),
        ["L-2026-0001", "1 person", "legal.process", "legal/anna", "approved by legal/bo", "email (full)"],
    ),
    "release_elsewhere": (
        entry.release_elsewhere(
            NOW, "L-2026-0001", "legal.process", "legal/anna", ["email"], [D], "paper", "2026-11-20"
        ),
        ["L-2026-0001", "2026-11-20", "paper", "legal/anna", "email"],
    ),
    "hold": (
        entry.hold(NOW, "placed", "H-2026-0001", D, D, "2027-06-30", "legal/anna"),
        ["H-2026-0001", "placed", "legal/anna", "until 2027-06-30"],
    ),
    "erasure": (
        entry.erasure(NOW, D, 4, "R-2026-0001", "privacy/eva"),
        ["R-2026-0001", "privacy/eva", "4 entries"],
    ),
    "complaint": (
        entry.complaint(NOW, "decided", "K-2026-0001", "decided", "privacy/eva", body=D, text=D),
        ["K-2026-0001", "decided", "privacy/eva"],
    ),
    "compromise": (
        entry.compromise(NOW, "reported", "B-2026-0001", "open", "privacy/eva", principal="", body=D, text=D),
        ["B-2026-0001", "a person's credential", "privacy/eva"],
    ),
    "sealed": (entry.sealed(NOW, D), ["sealed"]),
    "canary": (
        entry.canary(NOW, "planted", 3, D, "privacy/team", "watch for leaks"),
        ["3 canaries", "planted", "privacy/team", "watch for leaks"],
    ),
    "trace": (
        entry.trace(NOW, 250, 1, "legal/anna", "a list on a forum"),
        ["250 values", "1 recipient", "legal/anna", "a list on a forum"],
    ),
    "aggregate": (
        entry.aggregate(
            NOW,
            contract="C-2026-0001",
            contract_version=2,
            recipient="subcontractor/a",
            purpose="anonymous.advertising",
            event="advertisement.visited",
            question=D,
            answer=D,
            cells=4,
            suppressed=2,
            min_persons=50,
            noise="gaussian",
            epsilon_micro=750_000,
            delta_nano=3,
            spent_micro=1_500_000,
            spent_delta_nano=6,
            period="2026-11",
            policy="2026-01",
        ),
        [
            "subcontractor/a",
            "4 anonymous counts",
            "advertisement.visited",
            "C-2026-0001",
            "50 persons",
            "0.75 and delta 3e-09",
            "1.5 and",
        ],
    ),
    "person_request": (
        entry.person_request(
            NOW, "refused", "R-2026-0001", "erasure", "refused", "2026-12-23", "legal_claims", "privacy/eva", facts=D
        ),
        ["R-2026-0001", "erasure", "refused", "legal_claims", "privacy/eva", "2026-12-23"],
    ),
    "genesis": (entry.genesis(NOW, "example.com/sluss", D, bytes(1312)), ["example.com/sluss", "began"]),
}


def test_an_emergency_release_says_that_nobody_approved_it():
    members = parse_entry(ENTRIES["release"][0]) | {"emergency": True, "second_person": ""}
    assert "in an emergency, approved by nobody" in sentence(members)


def test_every_entry_type_of_the_format_has_a_sentence():
    assert ENTRIES.keys() == entry.TYPES


@pytest.mark.parametrize("kind", sorted(ENTRIES))
def test_sentence_names_who_what_and_why(kind):
    data, words = ENTRIES[kind]
    said = sentence(parse_entry(data))
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize("data", [b"", b"{}", b"not json", b'{"type":"disclosure","v":2}'])
def test_unknown_entry_is_called_unreadable_and_does_not_break_the_page(data):
    assert sentence(parse_entry(data)) == UNREADABLE
