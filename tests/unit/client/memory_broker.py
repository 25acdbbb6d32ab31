"""An in-memory broker: the wire, the seal and the ledger of a real one, without its store, rights and decisions.

It discloses whatever it is asked for from a dictionary, over real gRPC with mutual TLS. A test makes it lie or fail
by putting functions into `lies` (they change a reply before it leaves) and errors into `failures`.
"""

# ruff: noqa: N802 - gRPC gives the methods of servicers their names

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock

import grpc
from sluss.v1 import (
    contract_pb2,
    contract_pb2_grpc,
    disclosure_pb2,
    disclosure_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
)
from sluss_client import Profile

from broker import pki, sealing
from broker.clock import rfc3339, system_clock
from broker.errors import Reason, SlussError
from broker.handles import handles_of, persons_of
from broker.identity import Principal
from broker.ledger import entry as entries
from broker.ledger import merkle
from broker.ledger.checkpoint import Signer
from broker.ledger.receipt import format_receipt
from broker.rpc.status import to_grpc

ORIGIN = "example.com/sluss"
CONTRACT = "C-2026-0001"
HANDLE_KEY = bytes(range(32))
CHUNK = 256


def rows_root(leaves):
    return merkle.tree_root(leaves)


def inclusion(index, leaves):
    """RFC 6962, 2.1.1, by its recursive definition."""
    if len(leaves) == 1:
        return []
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < split:
        return [*inclusion(index, leaves[:split]), merkle.tree_root(leaves[split:])]
    return [*inclusion(index - split, leaves[split:]), merkle.tree_root(leaves[:split])]


class MemoryLedger:
    """Entries, and the notes and proofs over them."""

    def __init__(self, seed=1):
        self.signer = Signer(ORIGIN, bytes([seed]) * 32, bytes([seed]) * 32)
        self.entries = [
            entries.genesis(
                system_clock(), ORIGIN, self.signer.ed25519_key.public_key, self.signer.mldsa44_key.public_key
            )
        ]

    @property
    def leaves(self):
        return [merkle.leaf_hash(data) for data in self.entries]

    def append(self, data):
        self.entries.append(data)
        return len(self.entries) - 1

    def note(self):
        return self.signer.sign(len(self.entries), merkle.tree_root(self.leaves))

    def published(self):
        """The cosigned note; an entry behind the head, as it may be while a broker works."""
        size = max(1, len(self.entries) - 1)
        return self.signer.cosign(self.signer.sign(size, merkle.tree_root(self.leaves[:size])), 1_790_000_000)

    def receipt(self, index):
        return format_receipt(index, inclusion(index, self.leaves), self.note())

    def consistency(self, old):
        leaves = self.leaves
        ranges = merkle.consistency_ranges(old, len(leaves))
        return [merkle.tree_root(leaves[start:end]) for start, end in ranges]


class MemoryBroker:
    """The three services, one recipient, and persons in a dictionary: person id -> {field: value}."""

    def __init__(self, persons):
        self.persons = persons
        self.ledger = MemoryLedger()
        self.handles = dict(zip(persons, handles_of(HANDLE_KEY, list(persons)), strict=True))
        self.answers = {}
        self.keys = []
        self.epochs = {}
        self.lies = []
        self.failures = []
        self.calls = []
        self.break_after = None
        self.contract = None
        self.lock = Lock()

    # --- what the servicers share ---

    def enter(self, name, request, context):
        self.calls.append((name, request))
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, SlussError):
                context.abort_with_status(to_grpc(failure))
            if failure is not None:
                context.abort(failure, "made to fail")

    def leave(self, reply):
        for lie in self.lies:
            reply = lie(reply) or reply
        return reply

    def epoch(self, contract):
        key = self.keys[-1]
        if (contract, key.id) not in self.epochs:
            self.epochs[contract, key.id] = sealing.new_epoch(contract, key)
        return self.epochs[contract, key.id]

    def seal(self, request, persons, number):
        """Entry index, entry, epoch and slices of one disclosure."""
        epoch = self.epoch(request.contract_id)
        terms = {
            "contract": request.contract_id,
            "contract_version": 1,
            "disclosure": f"D-{hashlib.sha256(f'{request.request_id}/{number}'.encode()).hexdigest()[:32]}",
            "epoch": entries.base64url(epoch.id),
            "fields": [{"name": name, "transform": "full"} for name in sorted(request.fields)],
            "issued": rfc3339(system_clock()),
            "key": entries.base64url(epoch.key_id),
            "onward_transfer": "forbidden",
            "policy": "2026-01",
            "purpose": request.purpose,
            "recipient": "subcontractor/acme-pay",
            "retain_until": "2026-12-23",
            "v": 1,
        }
        sealer = sealing.Sealer(epoch, entries.canonical(terms))
        values = [self.values(person, request.fields) for person in persons]
        slices = [sealer.seal(self.handles[person], held) for person, held in zip(persons, values, strict=True)]
        listed = [
            entries.Slice(
                bytes(32), hashlib.sha256(data).digest(), entries.holds({at for at, *_ in held}, len(terms["fields"]))
            )
            for data, held in zip(slices, values, strict=True)
        ]
        data = entries.disclosure(system_clock(), terms, listed, 0)
        return self.ledger.append(data), data, epoch, slices

    def values(self, person, fields):
        record = self.persons[person]
        named = enumerate(sorted(fields))
        return [(at, name, record[name].encode()) for at, name in named if name in record]

    def disclosure(self, made):
        index, data, epoch, slices = made
        return disclosure_pb2.Disclosure(
            entry=data, epoch=epoch.blob, slices=slices, receipt=self.ledger.receipt(index)
        )

    def proof(self, seen):
        return self.ledger.consistency(seen) if seen else []


class Disclosures(disclosure_pb2_grpc.DisclosureServiceServicer):
    def __init__(self, broker):
        self.broker = broker

    def DescribeScope(self, request, context):
        self.broker.enter("DescribeScope", request, context)
        return disclosure_pb2.DescribeScopeResponse(live=True, key_id=self.broker.keys[-1].id)

    def RegisterKey(self, request, context):
        self.broker.enter("RegisterKey", request, context)
        key = sealing.RecipientPublicKey(int(request.suite), request.public_key)
        self.broker.keys.append(key)
        return disclosure_pb2.RegisterKeyResponse(key_id=key.id, entry_index=0)

    def Disclose(self, request, context):
        broker = self.broker
        broker.enter("Disclose", request, context)
        with broker.lock:
            if request.dry_run:
                return disclosure_pb2.DiscloseResponse(dry_run=disclosure_pb2.DryRun(granted_purpose=request.purpose))
            persons = persons_of(HANDLE_KEY, request.handles)
            known = [person for person in persons if person in broker.persons]
            if request.request_id not in broker.answers:
                broker.answers[request.request_id] = [
                    broker.seal(request, known[at : at + CHUNK], at) for at in range(0, len(known), CHUNK)
                ]
            made = broker.answers[request.request_id]
            reply = disclosure_pb2.DiscloseResponse(
                disclosures=[broker.disclosure(one) for one in made],
                unavailable=[
                    disclosure_pb2.PersonStatus(handle=handle, reason="PERSON_UNAVAILABLE")
                    for handle, person in zip(request.handles, persons, strict=True)
                    if person not in broker.persons
                ],
                consistency_proof=broker.proof(request.seen_size),
            )
        return broker.leave(reply)

    def DiscloseBulk(self, request, context):
        broker = self.broker
        broker.enter("DiscloseBulk", request, context)
        asked = list(request.handles.handles) or list(broker.handles.values())
        start, seen = int(request.resume_after or 0), request.seen_size
        for at in range(start, len(asked), request.chunk_size):
            if broker.break_after == at:
                broker.break_after = None
                context.abort(grpc.StatusCode.UNAVAILABLE, "made to break")
            message = self._message(request, asked, at, seen)
            if message.HasField("disclosure"):
                seen = len(broker.ledger.entries)
            yield message

    def _message(self, request, asked, at, seen):
        broker = self.broker
        part = asked[at : at + request.chunk_size]
        persons = persons_of(HANDLE_KEY, part)
        known = [person for person in persons if person in broker.persons]
        missing = [h for h, person in zip(part, persons, strict=True) if person not in broker.persons]
        reply = disclosure_pb2.DiscloseBulkResponse(
            cursor=str(at + len(part)),
            done=at + len(part),
            total=len(asked),
            unavailable=[disclosure_pb2.PersonStatus(handle=h, reason="PERSON_UNAVAILABLE") for h in missing],
        )
        if known:
            made = broker.answers.setdefault((request.request_id, at), broker.seal(request, known, at))
            reply.disclosure.CopyFrom(broker.disclosure(made))
            reply.consistency_proof.extend(broker.proof(seen))
        return broker.leave(reply)


class Contracts(contract_pb2_grpc.ContractServiceServicer):
    def __init__(self, broker):
        self.broker = broker

    def GetContract(self, request, context):
        self.broker.enter("GetContract", request, context)
        return self.broker.leave(self.broker.contract)

    def AcceptContract(self, request, context):
        self.broker.enter("AcceptContract", request, context)
        return contract_pb2.AcceptContractResponse(
            contract=contract_pb2.Contract(contract_id=request.contract_id, version=request.version),
            entry_index=7,
        )


class LedgerReads(ledger_pb2_grpc.LedgerServiceServicer):
    def __init__(self, broker):
        self.broker = broker

    def GetCheckpoint(self, request, context):
        broker = self.broker
        broker.enter("GetCheckpoint", request, context)
        if request.seen_size > len(broker.ledger.entries):
            context.abort_with_status(to_grpc(SlussError(Reason.LEDGER_INCONSISTENT)))
        with broker.lock:
            reply = ledger_pb2.GetCheckpointResponse(
                checkpoint=broker.ledger.note(),
                consistency_proof=broker.proof(request.seen_size),
                published=broker.ledger.published(),
            )
        return broker.leave(reply)

    def GetReceipt(self, request, context):
        broker = self.broker
        broker.enter("GetReceipt", request, context)
        with broker.lock:
            reply = ledger_pb2.GetReceiptResponse(
                entry=broker.ledger.entries[request.index], receipt=broker.ledger.receipt(request.index)
            )
        return broker.leave(reply)

    def ListEntries(self, request, context):
        broker = self.broker
        broker.enter("ListEntries", request, context)
        with broker.lock:
            listed = list(enumerate(broker.ledger.entries))[request.start :]
        entries_ = [ledger_pb2.LedgerEntry(index=index, entry=data) for index, data in listed]
        return broker.leave(ledger_pb2.ListEntriesResponse(entries=entries_))


class Company:
    """A certificate authority, and profiles by it."""

    def __init__(self):
        self.now = system_clock()
        self.ca = pki.make_ca("example.com", self.now)

    def certify(self, csr, kind="subcontractor", name="acme-pay"):
        return pki.issue(self.ca, csr, Principal(kind, name), "example.com", self.now)

    def profile(self, folder, endpoint, broker):
        profile = Profile.create(
            folder,
            endpoint=endpoint,
            principal="subcontractor/acme-pay",
            origin=ORIGIN,
            ledger_keys=broker.ledger.signer.vkeys(),
            ca=self.ca.certificate,
            server_name="localhost",
        )
        profile.install_certificate(self.certify(profile.certificate_request()))
        return profile


@contextmanager
def serving(broker, company):
    """The broker on a port of its own, with mutual TLS; yields the endpoint."""
    server = grpc.server(ThreadPoolExecutor(8))
    disclosure_pb2_grpc.add_DisclosureServiceServicer_to_server(Disclosures(broker), server)
    contract_pb2_grpc.add_ContractServiceServicer_to_server(Contracts(broker), server)
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(LedgerReads(broker), server)
    pair = pki.server_certificate(company.ca, ["localhost"], company.now)
    credentials = grpc.ssl_server_credentials(
        [(pair.key, pair.certificate)], company.ca.certificate, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
