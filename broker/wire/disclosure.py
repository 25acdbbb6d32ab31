"""DisclosureService: protos to asks, answers to protos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss.v1 import contract_pb2, disclosure_pb2

from broker.asks import Ask, Named, check_handles
from broker.contracts import checked_fields
from broker.errors import Reason, SlussError
from broker.ids import parse_request_id
from broker.sealing import RecipientPublicKey

if TYPE_CHECKING:
    from broker.asks import Answer, Sealed
    from broker.identity import Caller
    from broker.scope import PurposeScope, Scope

PERSON_UNAVAILABLE = str(Reason.PERSON_UNAVAILABLE)
MAX_SIZE = 2**53


def ask(caller: Caller, request: disclosure_pb2.DiscloseRequest) -> Ask:
    """The ask behind a request; what is wrong with the request is in `invalid`, to be told after authorisation."""
    handles = tuple(request.handles)
    fields = tuple(request.fields)
    invalid = None
    request_id = bytes(16)
    try:
        if not request.dry_run:
            request_id = parse_request_id(request.request_id)
        checked_fields(fields)
        check_handles(handles)
        check_seen(request.seen_size)
    except SlussError as error:
        invalid = error
    return Ask(
        caller,
        request_id,
        request.contract_id,
        request.purpose,
        fields,
        Named(handles),
        request.seen_size,
        request.dry_run,
        invalid,
    )


def check_seen(size: int) -> None:
    """Refuse a tree size that no ledger can have (INVALID_REQUEST)."""
    if size > MAX_SIZE:
        raise SlussError(Reason.INVALID_REQUEST, "seen_size: no ledger is that large", field="seen_size")


def reply(answer: Answer, *, dry_run: bool) -> disclosure_pb2.DiscloseResponse:
    """The response of Disclose."""
    if dry_run:
        return disclosure_pb2.DiscloseResponse(dry_run=_dry_run(answer))
    return disclosure_pb2.DiscloseResponse(
        disclosures=[disclosure(sealed) for sealed in answer.sealed],
        unavailable=unavailable(answer.unavailable),
        consistency_proof=answer.consistency,
    )


def disclosure(sealed: Sealed) -> disclosure_pb2.Disclosure:
    """One disclosure."""
    return disclosure_pb2.Disclosure(
        entry=sealed.entry, epoch=sealed.epoch, slices=sealed.slices, receipt=sealed.receipt
    )


def unavailable(handles: list[bytes]) -> list[disclosure_pb2.PersonStatus]:
    """The one flat status for each handle that got no slice."""
    return [disclosure_pb2.PersonStatus(handle=handle, reason=PERSON_UNAVAILABLE) for handle in handles]


def _dry_run(answer: Answer) -> disclosure_pb2.DryRun:
    decision = answer.decision
    return disclosure_pb2.DryRun(
        granted_purpose=decision.grant.purpose,
        fields=[contract_pb2.FieldGrant(field=f.field, transform=f.transform) for f in decision.fields],
        retain_until=decision.retain_until.isoformat(),
        contract_version=decision.version,
    )


def recipient_key(request: disclosure_pb2.RegisterKeyRequest) -> RecipientPublicKey:
    """The key that is to be registered.

    Raises:
        SlussError: UNSUPPORTED_VERSION, MALFORMED.
    """
    return RecipientPublicKey(int(request.suite), request.public_key)


def scope_reply(scope: Scope, contract: contract_pb2.Contract) -> disclosure_pb2.DescribeScopeResponse:
    """The response of DescribeScope."""
    return disclosure_pb2.DescribeScopeResponse(
        contract=contract,
        live=not scope.not_live_reason,
        not_live_reason=scope.not_live_reason,
        purposes=[_purpose(purpose) for purpose in scope.purposes],
        key_id=scope.key_id,
    )


def _purpose(purpose: PurposeScope) -> disclosure_pb2.PurposeScope:
    return disclosure_pb2.PurposeScope(
        purpose=purpose.purpose.code,
        granted_purpose=purpose.grant.purpose,
        purpose_class=str(purpose.purpose.kind),
        iri=purpose.purpose.dpv,
        label=purpose.purpose.label_en,
        fields=[contract_pb2.FieldGrant(field=f.field, transform=f.transform) for f in purpose.fields],
        volumes=[
            disclosure_pb2.VolumeLeft(
                volume=contract_pb2.Volume(window=str(left.volume.window), persons=left.volume.persons),
                left=left.left,
                window_ends=left.window_ends,
            )
            for left in purpose.volumes
        ],
        retention_days=purpose.grant.retention_days,
        choice=str(purpose.choice_rule),
        accepted_since=purpose.accepted_since,
    )
