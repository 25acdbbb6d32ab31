"""The legal team's world in memory, for its clients: cases, persons, releases, and a ledger; no store, no decisions.

The ledger is the one of the SDK's tests, so that receipts and checkpoints prove themselves. The service over it, on
real gRPC with mutual TLS, is in memory_legal_service.py.
"""

import os
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import RLock

from sluss.v1 import legal_pb2 as pb
from sluss_client import Profile

from broker import pki, sealing
from broker.clock import rfc3339, system_clock
from broker.identity import Principal
from broker.ledger import entry as entries
from tests.unit.client.memory_broker import ORIGIN, Company, MemoryLedger

OPEN = {pb.CASE_STATE_RECEIVED, pb.CASE_STATE_UNDER_REVIEW, pb.CASE_STATE_INFORMATION_ASKED, pb.CASE_STATE_CHALLENGED}
CODES_OF_GROUNDS = {
    pb.GROUND_LAW_OR_PROCESS: "legal.process",
    pb.GROUND_RIGHTS_AND_PROPERTY: "legal.rights",
    pb.GROUND_PROTECTION: "legal.safety",
    pb.GROUND_MERGER_OR_SALE: "legal.merger",
}
PERSONS = {
    "P-04CVZ6HGRM5PX": {
        "name.given": "Åsa",
        "name.family": "Lindqvist",
        "email": "asa@example.org",
        "phone": "+46701234567",
    },
    "P-0A1B2C3D4E5F6": {
        "name.given": "Björn",
        "name.family": "Ek",
        "email": "bjorn@example.org",
        "phone": "+46707654321",
    },
    "P-0B1B2C3D4E5F6": {"name.given": "Ida", "name.family": "Lindberg", "email": "ida@example.org"},
}


def today(days=0):
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def masked(value):
    return value[:1] + "•••" + value[-1:]


class MemoryLegal:
    """Cases, persons and a ledger."""

    def __init__(self):
        self.lock = RLock()
        self.ledger = MemoryLedger()
        self.persons = dict(PERSONS)
        self.cases = {}
        self.opened = {}
        self.documents = {}
        self.timelines = {}
        self.touched = {}
        self.received = {}
        self.contracts = []
        self.chunk = 256
        self.break_after = None
        self.lies = []
        self.sent = {}
        self.epochs = {}
        self.openings = {}
        self.calls = []

    def note(self, case, by, event, text=""):
        """An entry and a line of the timeline; the etag moves on."""
        data = entries.policy(system_clock(), event, 0, bytes(32), by)
        index = self.ledger.append(data)
        self.timelines.setdefault(case.case_id, []).append(
            pb.CaseEvent(
                at=rfc3339(system_clock()), by=by, event=event, text=text, entry_index=index, proven=bool(text)
            )
        )
        case.etag = str(int(case.etag or 0) + 1)
        return index

    def seen_by(self, case, caller):
        shown = pb.Case()
        shown.CopyFrom(case)
        shown.possible.extend(self.possible(case, caller))
        return shown

    def possible(self, case, caller):
        touched = self.touched[case.case_id]
        if case.HasField("emergency") and not case.emergency.answered_by and caller != case.emergency.released_by:
            yield from (pb.CASE_STEP_CONFIRM, pb.CASE_STEP_DISPUTE)
        if case.state in OPEN:
            yield from (pb.CASE_STEP_ASK_INFORMATION, pb.CASE_STEP_CHALLENGE, pb.CASE_STEP_REJECT)
            if case.state != pb.CASE_STATE_UNDER_REVIEW or case.prepared_by:
                yield pb.CASE_STEP_REVIEW
            if case.ground == pb.GROUND_PROTECTION and case.HasField("delivery"):
                yield pb.CASE_STEP_EMERGENCY
        if case.state == pb.CASE_STATE_UNDER_REVIEW and not case.prepared_by and case.HasField("delivery"):
            yield pb.CASE_STEP_PREPARE
        if case.state == pb.CASE_STATE_UNDER_REVIEW and case.prepared_by and caller not in touched:
            yield pb.CASE_STEP_APPROVE
        if case.state == pb.CASE_STATE_APPROVED:
            yield pb.CASE_STEP_REVIEW
        if case.state in {pb.CASE_STATE_RELEASED, pb.CASE_STATE_REJECTED}:
            yield pb.CASE_STEP_CLOSE

    # --- releases ---

    def parts(self, request, case, persons):
        """What a release of these persons gives, the same for the same request; none if nobody is on record."""
        known = [person for person in persons if person in self.persons]
        groups = [[person] for person in known] if case.ground == pb.GROUND_MERGER_OR_SALE else [known]
        for group in filter(None, groups):
            place = (request.request_id, *group)
            if place not in self.sent:
                self.sent[place] = self.released(request, case, group)
            index, part = self.sent[place]
            again = pb.ReleasedPart()
            again.CopyFrom(part)
            again.disclosure.receipt = self.ledger.receipt(index)
            yield again

    def released(self, request, case, persons):
        """One entry, and its part of the release."""
        to = case.delivery.key if case.delivery.HasField("key") else request.package_key
        key = sealing.RecipientPublicKey(int(to.suite), to.public_key)
        epoch = self.epochs.setdefault((case.case_id, key.id), sealing.new_epoch(case.case_id, key))
        terms = self.terms(case, epoch)
        sealer = sealing.Sealer(epoch, entries.canonical(terms))
        values = [self.values(person, case) for person in persons]
        slices = [
            sealer.seal(sha256(person.encode()).digest()[:16], held)
            for person, held in zip(persons, values, strict=True)
        ]
        entry = entries.release(
            system_clock(),
            terms,
            [
                entries.Slice(
                    sha256(person.encode()).digest(),
                    sha256(data).digest(),
                    entries.holds({at for at, *_ in held}, len(terms["fields"])),
                )
                for person, data, held in zip(persons, slices, values, strict=True)
            ],
            0,
            ground=terms["purpose"],
            by="legal/anna",
            second_person=case.approved_by,
            emergency=case.HasField("emergency"),
        )
        part = pb.ReleasedPart(person_ids=persons)
        part.disclosure.entry, part.disclosure.epoch = entry, epoch.blob
        part.disclosure.slices.extend(slices)
        index = self.append(entry, case, part.opening if case.secrecy.state == pb.SECRECY_STATE_HIDDEN else None)
        for place, person in enumerate(persons):
            self.receive(person, case, index, part, terms, place)
        return index, part

    def append(self, entry, case, opening):
        """An entry of a visible case as it is; of a hidden one as a commitment, with what opens it."""
        if opening is None:
            return self.ledger.append(entry)
        salt = os.urandom(32)
        sealed = entries.sealed(system_clock(), entries.sealed_commitment(salt, entry))
        opening.sealed_entry, opening.salt, opening.entry = sealed, salt, entry
        index = self.ledger.append(sealed)
        self.openings[index] = opening
        return index

    def terms(self, case, epoch):
        fields = sorted((granted.field, granted.transform) for granted in case.scope.fields)
        return {
            "contract": case.case_id,
            "contract_version": 1,
            "disclosure": f"D-{os.urandom(16).hex()}",
            "epoch": entries.base64url(epoch.id),
            "fields": [{"name": name, "transform": transform} for name, transform in fields],
            "issued": rfc3339(system_clock()),
            "key": entries.base64url(epoch.key_id),
            "onward_transfer": "as_law_requires",
            "policy": "2026-01",
            "purpose": CODES_OF_GROUNDS[case.ground],
            "recipient": f"authority/{case.case_id.lower()}",
            "retain_until": case.delivery.retain_until,
            "v": 1,
        }

    def values(self, person, case):
        names = sorted(granted.field for granted in case.scope.fields)
        record = self.persons[person]
        return [(at, name, record[name].encode()) for at, name in enumerate(names) if name in record]

    def receive(self, person, case, index, part, terms, place):
        row = pb.Received(
            at=terms["issued"],
            kind=pb.RECEIVED_KIND_RELEASE,
            recipient_name=case.requester.name,
            recipient_address=case.requester.address,
            fields=[granted for granted in case.scope.fields if granted.field in self.persons[person]],
            slice_index=place,
            purpose=terms["purpose"],
            ground=case.ground,
            authority=case.case_id,
            instrument=case.instrument,
            retain_until=terms["retain_until"],
            entry_index=index,
            entry=part.disclosure.entry,
        )
        if part.HasField("opening"):
            row.opening.CopyFrom(part.opening)
            row.entry = part.opening.sealed_entry
        self.received.setdefault(person, []).append((case, row))

    def disclosed(self, person, fields, at):
        """A row for what a subcontractor received under a contract, with its entry."""
        terms = {
            "contract": "C-2026-0001",
            "contract_version": 1,
            "disclosure": f"D-{os.urandom(16).hex()}",
            "epoch": entries.base64url(bytes(16)),
            "fields": [{"name": granted.field, "transform": granted.transform} for granted in fields],
            "issued": rfc3339(system_clock()),
            "key": entries.base64url(bytes(32)),
            "onward_transfer": "forbidden",
            "policy": "2026-01",
            "purpose": "billing.collection",
            "recipient": "subcontractor/acme-pay",
            "retain_until": today(30),
            "v": 1,
        }
        entry = entries.disclosure(system_clock(), terms, [entries.Slice(bytes(32), bytes(32), "1" * len(fields))], 0)
        row = pb.Received(
            at=at,
            kind=pb.RECEIVED_KIND_DISCLOSURE,
            recipient_name="Acme Pay AB",
            recipient_address="Storgatan 1, Stockholm",
            fields=fields,
            slice_index=0,
            purpose=terms["purpose"],
            authority=terms["contract"],
            entry_index=self.ledger.append(entry),
            entry=entry,
        )
        self.received.setdefault(person, []).append((None, row))

    def rows_of(self, person):
        """A person's rows, without those of cases that are hidden."""
        for case, row in self.received.get(person, []):
            if case is None or case.secrecy.state != pb.SECRECY_STATE_HIDDEN:
                row.receipt = self.ledger.receipt(row.entry_index)
                yield row


def profile_of(folder, name, endpoint, world, company: Company):
    """A profile folder of `legal/<name>`."""
    profile = Profile.create(
        folder,
        endpoint=endpoint,
        principal=f"legal/{name}",
        origin=ORIGIN,
        ledger_keys=world.ledger.signer.vkeys(),
        ca=company.ca.certificate,
        server_name="localhost",
    )
    csr = profile.certificate_request()
    profile.install_certificate(pki.issue(company.ca, csr, Principal("legal", name), "example.com", company.now))
    return profile
