"""What the ledger's tests share: fixed keys, a clock that a test moves, entries, and a naive tree to compare with."""

from __future__ import annotations

from hashlib import sha256

from broker.ledger import entry
from broker.ledger.log import Ledger
from broker.ledger.signer import LedgerKeys

ORIGIN = "example.com/sluss"
KEYS = LedgerKeys(ORIGIN, bytes(range(32)), bytes(range(32, 64)))
SIGNER = KEYS.signer()
VERIFIER = SIGNER.verifier
OTHER = LedgerKeys(ORIGIN, bytes(32), bytes(32)).signer()
START = 1_795_473_237_123_456

TERMS = {
    "contract": "C-2026-0001",
    "contract_version": 1,
    "disclosure": "D-00112233445566778899aabbccddeeff",
    "epoch": "AAAAAAAAAAAAAAAAAAAAAA",
    "fields": [{"name": "email", "transform": "full"}, {"name": "phone", "transform": "last4"}],
    "issued": "2026-11-23T22:33:57.123456Z",
    "key": "A" * 43,
    "onward_transfer": "forbidden",
    "policy": "2026-01",
    "purpose": "billing.collection",
    "recipient": "subcontractor/acme-pay",
    "retain_until": "2026-12-23",
    "v": 1,
}


class Now:
    """A clock that goes forward by a millisecond whenever it is read."""

    def __init__(self) -> None:
        self.us = START

    def __call__(self) -> int:
        self.us += 1000
        return self.us


def disclosure(number: int = 0, persons: int = 1, at: int = START, **changes: object) -> bytes:
    """A disclosure whose bytes differ by `number`."""
    terms = {**TERMS, **changes}
    whole = "1" * len(terms["fields"])
    slices = [
        entry.Slice(sha256(b"p%d/%d" % (number, i)).digest(), sha256(b"s%d" % i).digest(), whole)
        for i in range(persons)
    ]
    return entry.disclosure(at, terms, slices, 0)


METHOD = "/sluss.v1.DisclosureService/Disclose"


def every_type() -> dict[str, bytes]:
    """One entry of each type."""
    digest = bytes(32)
    made = [
        disclosure(),
        entry.refusal(START, "subcontractor/a", "PURPOSE_OUT_OF_SCOPE", "C-2026-0001", "", ["email"], METHOD, 3),
        entry.refusals(START, START - 10, START, "subcontractor/a", {"VOLUME_EXCEEDED": 7}),
        entry.contract(START, "accepted", "C-2026-0001", 1, "subcontractor/a", "operator/o", "", digest, b"sig"),
        entry.key(START, "registered", "subcontractor/a", digest, 2, "subcontractor/a", ""),
        entry.certificate(START, "revoked", "subcontractor/a", digest, "operator/o", "stolen"),
        entry.choice(
            START,
            digest,
            entry.Chosen("partners.email", "in", ("email",), "web", "preferences", "form 4711", START),
            "2026-01",
            "internal/web",
        ),
        entry.hold(START, "placed", "H-2026-0001", digest, digest, "2027-06-30", "legal/anna"),
        entry.catalogue(START, digest, "operator/o"),
        entry.key_ring(START, "destroyed", "records", 1, "operator/host"),
        entry.policy(START, "2026-01", START, digest, "privacy/p"),
        entry.acceptance(START, digest, "2026-01", "web", b"", "internal/web"),
        entry.case(
            START, "approved", "L-2026-0001", "legal.process", "SE", "approved", "legal/bo", body=digest, text=digest
        ),
        entry.release(
            START,
            {**TERMS, "contract": "L-2026-0001", "onward_transfer": "as_law_requires"},
            [entry.Slice(digest, digest, "10")],
            0,
            ground="legal.process",
            by="legal/anna",
            second_person="legal/bo",
            emergency=False,
        ),
        entry.release_elsewhere(
            START, "L-2026-0001", "legal.process", "legal/anna", ["email"], [digest], "paper", "2026-11-20"
        ),
        entry.erasure(START, digest, 4, "R-2026-0001", "privacy/p"),
        entry.complaint(START, "opened", "K-2026-0001", "received", "privacy/p", body=digest, text=digest),
        entry.compromise(
            START, "reported", "B-2026-0001", "open", "privacy/p", principal="subcontractor/a", body=digest, text=digest
        ),
        entry.sealed(START, digest),
        entry.canary(START, "planted", 3, digest, "privacy/p", "watch for leaks"),
        entry.trace(START, 250, 2, "privacy/p", "a list on a forum"),
        entry.aggregate(
            START,
            contract="C-2026-0001",
            contract_version=1,
            recipient="subcontractor/a",
            purpose="anonymous.advertising",
            event="advertisement.visited",
            question=digest,
            answer=digest,
            cells=12,
            suppressed=3,
            min_persons=50,
            noise="gaussian",
            epsilon_micro=750_000,
            delta_nano=3,
            spent_micro=1_500_000,
            spent_delta_nano=6,
            period="2026-11",
            policy="2026-01",
        ),
        entry.obligation(
            START,
            "attested",
            "O-2026-0001",
            "erase",
            "C-2026-0001",
            "subcontractor/a",
            "subcontractor/a",
            owed=digest,
            due="2026-12-07",
            fields=["email"],
            outcome="deleted",
            time="2026-11-23T22:33:57.123456Z",
            key=b"key",
            signature=b"sig",
        ),
        entry.owed(START, "R-2026-0001", "erase", ["O-2026-0001"], "privacy/p"),
        entry.person_request(
            START,
            "extended",
            "R-2026-0001",
            "access",
            "in_progress",
            "2027-01-23",
            "",
            "privacy/team",
            facts=digest,
            body=digest,
            text=digest,
        ),
        entry.genesis(START, ORIGIN, SIGNER.ed25519_key.public_key, SIGNER.mldsa44_key.public_key),
    ]
    return {entry.parse(data)["type"]: data for data in made}


def new_ledger(engine) -> Ledger:
    """A ledger with its genesis in an empty store."""
    ledger = Ledger(engine, SIGNER, ORIGIN, Now())
    ledger.genesis()
    return ledger


def fill(ledger: Ledger, count: int, batch: int = 100) -> list[bytes]:
    """Append `count` different disclosures; a checkpoint is published after each batch."""
    added = []
    while len(added) < count:
        with ledger.transaction() as tx:
            for _ in range(min(batch, count - len(added))):
                added.append(disclosure(tx.size, at=tx.at))
                tx.append(added[-1], persons=[1 + tx.size % 50])
        ledger.publish()
    return added


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, as it stands there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_proof(m: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if m <= k:
        return [*naive_proof(m, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_proof(m - k, leaves[k:], whole=False), naive_root(leaves[:k])]
