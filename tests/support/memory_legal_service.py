"""An in-memory LegalService that behaves as the proto says, over the world of memory_legal.py.

It stands on real gRPC with mutual TLS; who calls is the URI of the certificate.
"""

# ruff: noqa: N802 - gRPC gives the methods of servicers their names

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from sluss.v1 import contract_pb2, contract_pb2_grpc, ledger_pb2, ledger_pb2_grpc, legal_pb2_grpc
from sluss.v1 import legal_pb2 as pb

from broker import pki
from broker.clock import rfc3339, system_clock
from broker.ledger.receipt import parse_receipt
from tests.support.memory_legal import masked, today

LEADS = {
    pb.CASE_STEP_REVIEW: pb.CASE_STATE_UNDER_REVIEW,
    pb.CASE_STEP_ASK_INFORMATION: pb.CASE_STATE_INFORMATION_ASKED,
    pb.CASE_STEP_CHALLENGE: pb.CASE_STATE_CHALLENGED,
    pb.CASE_STEP_REJECT: pb.CASE_STATE_REJECTED,
    pb.CASE_STEP_PREPARE: pb.CASE_STATE_UNDER_REVIEW,
    pb.CASE_STEP_APPROVE: pb.CASE_STATE_APPROVED,
    pb.CASE_STEP_EMERGENCY: pb.CASE_STATE_RELEASED,
    pb.CASE_STEP_CONFIRM: pb.CASE_STATE_RELEASED,
    pb.CASE_STEP_DISPUTE: pb.CASE_STATE_RELEASED,
    pb.CASE_STEP_CLOSE: pb.CASE_STATE_CLOSED,
}
CODES = {
    "CASE_UNKNOWN": grpc.StatusCode.NOT_FOUND,
    "PERSON_UNKNOWN": grpc.StatusCode.NOT_FOUND,
    "ENTRY_UNKNOWN": grpc.StatusCode.NOT_FOUND,
    "CONTRACT_UNKNOWN": grpc.StatusCode.NOT_FOUND,
    "ETAG_STALE": grpc.StatusCode.ABORTED,
    "INVALID_REQUEST": grpc.StatusCode.INVALID_ARGUMENT,
    "SECOND_PERSON_NEEDED": grpc.StatusCode.PERMISSION_DENIED,
    "SCOPE_WIDENED": grpc.StatusCode.PERMISSION_DENIED,
    "CASE_WRONG_STATE": grpc.StatusCode.FAILED_PRECONDITION,
}
EVENTS = {
    pb.CASE_STEP_REVIEW: "reviewed",
    pb.CASE_STEP_ASK_INFORMATION: "information_asked",
    pb.CASE_STEP_CHALLENGE: "challenged",
    pb.CASE_STEP_REJECT: "rejected",
    pb.CASE_STEP_PREPARE: "prepared",
    pb.CASE_STEP_APPROVE: "approved",
    pb.CASE_STEP_EMERGENCY: "emergency",
    pb.CASE_STEP_CONFIRM: "confirmed",
    pb.CASE_STEP_DISPUTE: "disputed",
    pb.CASE_STEP_CLOSE: "closed",
}


def refuse(context, reason, detail, **metadata):
    """Aborts as the broker does."""
    status = status_pb2.Status(code=CODES[reason].value[0], message=detail)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="sluss.v1", metadata=metadata))
    context.abort_with_status(rpc_status.to_status(status))


def caller_of(context):
    uri = context.auth_context()["x509_subject_alternative_name"][0].decode()
    return uri.split("/", 3)[3]


class Legal(legal_pb2_grpc.LegalServiceServicer):
    def __init__(self, world):
        self.world = world

    def _case(self, request, context, *, etag=True):
        case = self.world.cases.get(request.case_id)
        if case is None:
            refuse(context, "CASE_UNKNOWN", "no such case")
        if etag and request.etag != case.etag:
            refuse(context, "ETAG_STALE", "the case has moved on")
        return case

    def OpenCase(self, request, context):
        world, by = self.world, caller_of(context)
        if len(request.requester.country) != 2 or request.requester.country == "ZZ":
            refuse(context, "INVALID_REQUEST", "no such country", field="requester.country")
        case_id = world.opened.setdefault(request.request_id, f"L-2026-{len(world.cases) + 1:04}")
        case = pb.Case(
            case_id=case_id,
            ground=request.ground,
            state=pb.CASE_STATE_RECEIVED,
            requester=request.requester,
            instrument=request.instrument,
            scope=request.scope,
            received=request.received,
            deadline=request.deadline,
            handler=request.handler or by,
            secrecy=pb.Secrecy(
                state=pb.SECRECY_STATE_HIDDEN if request.hidden_until else pb.SECRECY_STATE_VISIBLE,
                until=request.hidden_until,
                reason=request.secrecy_reason,
            ),
        )
        world.cases[case_id] = case
        world.touched[case_id] = {by}
        world.note(case, by, "opened", request.note)
        return pb.OpenCaseResponse(case=world.seen_by(case, by))

    def GetCase(self, request, context):
        case = self._case(request, context, etag=False)
        return pb.GetCaseResponse(
            case=self.world.seen_by(case, caller_of(context)),
            documents=[document for document, _ in self.world.documents.get(case.case_id, [])],
            timeline=self.world.timelines[case.case_id],
        )

    def ListCases(self, request, context):
        fits = [
            case
            for case in reversed(self.world.cases.values())
            if (not request.states or case.state in request.states)
            and request.handler in {"", case.handler}
            and request.ground in {0, case.ground}
        ]
        start, size = int(request.page_token or 0), request.page_size or 50
        after = str(start + size) if start + size < len(fits) else ""
        shown = [self.world.seen_by(case, caller_of(context)) for case in fits[start : start + size]]
        return pb.ListCasesResponse(cases=shown, next_page_token=after)

    def StepCase(self, request, context):
        world, by = self.world, caller_of(context)
        case = self._case(request, context)
        if request.step == pb.CASE_STEP_APPROVE and by in world.touched[case.case_id]:
            refuse(context, "SECOND_PERSON_NEEDED", "this needs a second person")
        if request.step not in set(world.possible(case, by)):
            refuse(context, "CASE_WRONG_STATE", "the case's state does not allow this step")
        if request.step == pb.CASE_STEP_PREPARE:
            case.prepared_by = by
            world.touched[case.case_id].add(by)
        elif request.step == pb.CASE_STEP_APPROVE:
            case.approved_by = by
        elif request.step == pb.CASE_STEP_EMERGENCY:
            confirm_by = rfc3339(system_clock() + 24 * 3600 * 10**6)
            case.emergency.CopyFrom(pb.Emergency(released_by=by, confirm_by=confirm_by))
        elif request.step in {pb.CASE_STEP_CONFIRM, pb.CASE_STEP_DISPUTE}:
            case.emergency.answered_by = by
            case.emergency.disputed = request.step == pb.CASE_STEP_DISPUTE
        elif request.step == pb.CASE_STEP_REVIEW:
            case.prepared_by = case.approved_by = ""
        case.state = LEADS[request.step]
        index = world.note(case, by, EVENTS[request.step], request.reason)
        return pb.StepCaseResponse(case=world.seen_by(case, by), entry_index=index)

    def ChangeCase(self, request, context):
        world, by = self.world, caller_of(context)
        case = self._case(request, context)
        if request.HasField("scope"):
            if not set(request.scope.listed.person_ids) <= set(case.scope.listed.person_ids):
                refuse(context, "SCOPE_WIDENED", "a scope only ever gets narrower")
            case.scope.CopyFrom(request.scope)
        if request.HasField("delivery"):
            case.delivery.CopyFrom(request.delivery)
        if request.HasField("scope") or request.HasField("delivery"):
            case.prepared_by = case.approved_by = ""
            world.touched[case.case_id].add(by)
        case.handler = request.handler or case.handler
        case.deadline = request.deadline or case.deadline
        changed = request.HasField("delivery") or request.HasField("scope") or request.handler or request.deadline
        event = "changed" if changed else "noted"
        index = world.note(case, by, event, request.note)
        return pb.ChangeCaseResponse(case=world.seen_by(case, by), entry_index=index)

    def AddDocument(self, request, context):
        case = self._case(request, context, etag=False)
        kept = self.world.documents.setdefault(case.case_id, [])
        index = self.world.note(case, caller_of(context), "document_added", request.name)
        document = pb.CaseDocument(
            number=len(kept) + 1,
            name=request.name,
            media_type=request.media_type,
            size=len(request.content),
            sha256=sha256(request.content).digest(),
            by=caller_of(context),
            at=rfc3339(system_clock()),
            entry_index=index,
        )
        kept.append((document, request.content))
        return pb.AddDocumentResponse(document=document)

    def GetDocument(self, request, context):
        document, content = self.world.documents[request.case_id][request.number - 1]
        return pb.GetDocumentResponse(document=document, content=content)

    def SetSecrecy(self, request, context):
        world, by = self.world, caller_of(context)
        case = self._case(request, context)
        if request.until and request.until < today():
            refuse(context, "INVALID_REQUEST", "until: a day from today to five years ahead", field="until")
        state = pb.SECRECY_STATE_HIDDEN if request.until else pb.SECRECY_STATE_LIFTED
        case.secrecy.CopyFrom(pb.Secrecy(state=state, until=request.until, reason=request.reason))
        index = world.note(case, by, "hidden" if request.until else "lifted", request.reason)
        return pb.SetSecrecyResponse(case=world.seen_by(case, by), entry_index=index)

    def FindPersons(self, request, context):
        by, value = request.WhichOneof("by"), getattr(request, request.WhichOneof("by")).lower()
        found = []
        for person, record in self.world.persons.items():
            names = f"{record['name.given']} {record['name.family']}".lower()
            if value in names if by == "name" else value == record.get(by):
                found.append(self._found(person))
        yield pb.FindPersonsResponse(persons=found, done=len(self.world.persons), total=len(self.world.persons))

    def _found(self, person, fields=("name.given", "name.family", "email")):
        record = self.world.persons[person]
        values = [pb.MaskedValue(field=name, masked=masked(record[name])) for name in fields if name in record]
        return pb.FoundPerson(person_id=person, values=values)

    def PreviewScope(self, request, context):
        asked = list(request.scope.listed.person_ids) or list(self.world.persons)
        known = [person for person in asked if person in self.world.persons]
        fields = [granted.field for granted in request.scope.fields]
        counts = [
            pb.FieldCount(field=granted, persons=sum(granted.field in self.world.persons[p] for p in known))
            for granted in request.scope.fields
        ]
        return pb.PreviewScopeResponse(
            persons=len(known),
            unknown=len(asked) - len(known),
            fields=counts,
            sample=[self._found(person, fields) for person in known[:10]],
        )

    def RecordRelease(self, request, context):
        world, by = self.world, caller_of(context)
        case = self._case(request, context)
        case.elsewhere = True
        index = world.note(case, by, "release_recorded", request.reason)
        return pb.RecordReleaseResponse(case=world.seen_by(case, by), entry_index=index)

    def ListRecipients(self, request, context):
        if request.person_id not in self.world.persons:
            refuse(context, "PERSON_UNKNOWN", "no such person")
        rows = list(self.world.rows_of(request.person_id))
        start, size = int(request.page_token or 0), request.page_size or 100
        after = str(start + size) if start + size < len(rows) else ""
        return pb.ListRecipientsResponse(received=rows[start : start + size], next_page_token=after)

    def Release(self, request, context):
        world, case = self.world, self._case(request, context, etag=False)
        world.calls.append(request)
        if case.state not in {pb.CASE_STATE_APPROVED, pb.CASE_STATE_RELEASED}:
            refuse(context, "CASE_WRONG_STATE", "the case's state does not allow this step")
        if case.delivery.HasField("key") == request.HasField("package_key"):
            refuse(context, "INVALID_REQUEST", "a package needs a key of its own", field="package_key")
        case.state = pb.CASE_STATE_RELEASED
        asked = list(case.scope.listed.person_ids) or list(world.persons)
        seen = request.seen_size
        for at in range(int(request.resume_after or 0), len(asked), world.chunk):
            if world.break_after == at:
                world.break_after = None
                context.abort(grpc.StatusCode.UNAVAILABLE, "made to break")
            with world.lock:
                parts = list(world.parts(request, case, asked[at : at + world.chunk]))
                for part in parts:
                    part.disclosure.receipt = world.ledger.receipt(parse_receipt(part.disclosure.receipt).index)
                done = min(at + world.chunk, len(asked))
                message = pb.ReleaseResponse(parts=parts, cursor=str(done), done=done, total=len(asked))
                if parts:
                    message.consistency_proof.extend(world.ledger.consistency(seen) if seen else [])
                    seen = len(world.ledger.entries)
            for lie in world.lies:
                lie(message)
            yield message

    def GetOpening(self, request, context):
        if request.index not in self.world.openings:
            refuse(context, "ENTRY_UNKNOWN", "no such entry")
        receipt = self.world.ledger.receipt(request.index)
        return pb.GetOpeningResponse(opening=self.world.openings[request.index], receipt=receipt)

    def GetTransparencyReport(self, request, context):
        rows = {}
        for case in self.world.cases.values():
            outcome = {pb.CASE_STATE_REJECTED: "rejected", pb.CASE_STATE_RELEASED: "released"}.get(
                case.state, "pending"
            )
            key = (case.ground, case.requester.country, outcome)
            rows[key] = rows.get(key, 0) + 1
        return pb.GetTransparencyReportResponse(
            rows=[
                pb.ReportRow(ground=ground, country=country, outcome=outcome, requests=count, persons=count * 2)
                for (ground, country, outcome), count in sorted(rows.items())
            ],
            size=len(self.world.ledger.entries),
            checkpoint=self.world.ledger.note(),
        )


class Reads(ledger_pb2_grpc.LedgerServiceServicer):
    def __init__(self, world):
        self.ledger = world.ledger

    def GetCheckpoint(self, request, context):
        proof = self.ledger.consistency(request.seen_size) if request.seen_size else []
        return ledger_pb2.GetCheckpointResponse(
            checkpoint=self.ledger.note(), consistency_proof=proof, published=self.ledger.published()
        )

    def GetReceipt(self, request, context):
        if request.index >= len(self.ledger.entries):
            refuse(context, "ENTRY_UNKNOWN", "no such entry")
        return ledger_pb2.GetReceiptResponse(
            entry=self.ledger.entries[request.index], receipt=self.ledger.receipt(request.index)
        )

    def ListEntries(self, request, context):
        listed = [
            ledger_pb2.LedgerEntry(index=index, entry=data)
            for index, data in enumerate(self.ledger.entries)
            if index >= request.start
        ]
        return ledger_pb2.ListEntriesResponse(entries=listed[: request.page_size], size=len(self.ledger.entries))


class Contracts(contract_pb2_grpc.ContractServiceServicer):
    def __init__(self, world):
        self.world = world

    def ListContracts(self, request, context):
        return contract_pb2.ListContractsResponse(contracts=self.world.contracts)

    def GetContract(self, request, context):
        for contract in self.world.contracts:
            if contract.contract_id == request.contract_id:
                return contract_pb2.GetContractResponse(contract=contract)
        refuse(context, "CONTRACT_UNKNOWN", "no such contract")
        return None


@contextmanager
def serving(world, company):
    """The service on a port of its own, with mutual TLS; yields the endpoint."""
    server = grpc.server(ThreadPoolExecutor(8))
    legal_pb2_grpc.add_LegalServiceServicer_to_server(Legal(world), server)
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(Reads(world), server)
    contract_pb2_grpc.add_ContractServiceServicer_to_server(Contracts(world), server)
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
