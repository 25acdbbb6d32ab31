"""The one catalogue of what can go wrong: reason -> gRPC status code and public message.

A `SlussError` carries a reason, a public detail that names contracts, purposes, fields and limits but never a
person's value (DESIGN promise 5), and metadata for `google.rpc.ErrorInfo`. Anything else that escapes a handler
becomes INTERNAL with a reference id; its type, never its text, stands in the broker's log.

    UNAUTHENTICATED      the caller is nobody we know
    PERMISSION_DENIED    the caller is known and may not do this: role, purpose, field, someone else's contract
    INVALID_ARGUMENT     the request is malformed whoever sends it
    FAILED_PRECONDITION  the request is fine, the state of contract or key is not
    NOT_FOUND            no such thing, said only to callers who may know
    ALREADY_EXISTS       the identifier is taken, or a request id came back with another body
    ABORTED              an etag or a version is stale: read again, then retry; or a stream stood still for too long
    RESOURCE_EXHAUSTED   a volume or a rate; RetryInfo says when
    UNAVAILABLE          the ledger can't be written, or too many wait: nothing left the broker, safe to retry
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """The canonical gRPC status codes that the broker uses."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    ABORTED = "ABORTED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNAVAILABLE = "UNAVAILABLE"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    INTERNAL = "INTERNAL"


class Reason(StrEnum):
    """Machine-readable reasons; equal, name by name, to `sluss.v1.ErrorReason` (a test compares them)."""

    UNKNOWN_PRINCIPAL = "UNKNOWN_PRINCIPAL"
    CERTIFICATE_REVOKED = "CERTIFICATE_REVOKED"
    CERTIFICATE_MISMATCH = "CERTIFICATE_MISMATCH"
    ROLE_NOT_ALLOWED = "ROLE_NOT_ALLOWED"
    NOT_YOUR_CONTRACT = "NOT_YOUR_CONTRACT"
    PURPOSE_UNKNOWN = "PURPOSE_UNKNOWN"
    PURPOSE_OUT_OF_SCOPE = "PURPOSE_OUT_OF_SCOPE"
    FIELD_UNKNOWN = "FIELD_UNKNOWN"
    FIELD_OUT_OF_SCOPE = "FIELD_OUT_OF_SCOPE"
    FIELD_FORBIDDEN = "FIELD_FORBIDDEN"
    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_VALUE = "INVALID_VALUE"
    INVALID_TERMS = "INVALID_TERMS"
    INVALID_SIGNATURE = "INVALID_SIGNATURE"
    UNSUPPORTED_VERSION = "UNSUPPORTED_VERSION"
    MALFORMED = "MALFORMED"
    CONTRACT_UNKNOWN = "CONTRACT_UNKNOWN"
    CONTRACT_NOT_ACCEPTED = "CONTRACT_NOT_ACCEPTED"
    CONTRACT_NOT_YET_VALID = "CONTRACT_NOT_YET_VALID"
    CONTRACT_EXPIRED = "CONTRACT_EXPIRED"
    CONTRACT_SUSPENDED = "CONTRACT_SUSPENDED"
    CONTRACT_TERMINATED = "CONTRACT_TERMINATED"
    CONTRACT_WRONG_STATE = "CONTRACT_WRONG_STATE"
    KEY_UNKNOWN = "KEY_UNKNOWN"
    RECIPIENT_KEY_MISSING = "RECIPIENT_KEY_MISSING"
    CHOICE_MISSING = "CHOICE_MISSING"
    PERSON_UNAVAILABLE = "PERSON_UNAVAILABLE"
    PERSON_UNKNOWN = "PERSON_UNKNOWN"
    PERSON_EXISTS = "PERSON_EXISTS"
    RECORD_CHANGED = "RECORD_CHANGED"
    ENTRY_UNKNOWN = "ENTRY_UNKNOWN"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    ETAG_STALE = "ETAG_STALE"
    VOLUME_EXCEEDED = "VOLUME_EXCEEDED"
    RATE_EXCEEDED = "RATE_EXCEEDED"
    LEDGER_UNAVAILABLE = "LEDGER_UNAVAILABLE"
    LEDGER_INCONSISTENT = "LEDGER_INCONSISTENT"
    KEYS_UNAVAILABLE = "KEYS_UNAVAILABLE"
    METHOD_UNGUARDED = "METHOD_UNGUARDED"
    OVERLOADED = "OVERLOADED"
    STREAM_IDLE = "STREAM_IDLE"
    INTERNAL = "INTERNAL"
    CASE_UNKNOWN = "CASE_UNKNOWN"
    CASE_WRONG_STATE = "CASE_WRONG_STATE"
    SECOND_PERSON_NEEDED = "SECOND_PERSON_NEEDED"
    SCOPE_WIDENED = "SCOPE_WIDENED"
    OBLIGATION_UNKNOWN = "OBLIGATION_UNKNOWN"
    OBLIGATION_WRONG_STATE = "OBLIGATION_WRONG_STATE"
    CORRECTION_NOT_FETCHED = "CORRECTION_NOT_FETCHED"
    LEGAL_HOLD = "LEGAL_HOLD"
    HOLD_UNKNOWN = "HOLD_UNKNOWN"
    PERSON_REQUEST_UNKNOWN = "PERSON_REQUEST_UNKNOWN"
    PERSON_REQUEST_WRONG_STATE = "PERSON_REQUEST_WRONG_STATE"
    IDENTITY_NOT_PROVEN = "IDENTITY_NOT_PROVEN"
    POLICY_UNKNOWN = "POLICY_UNKNOWN"
    POLICY_EXISTS = "POLICY_EXISTS"
    NOTICE_MISSING = "NOTICE_MISSING"
    CONSUMER_TAKEN = "CONSUMER_TAKEN"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    TECHNICAL_IDENTIFIER = "TECHNICAL_IDENTIFIER"
    PERIOD_NOT_CLOSED = "PERIOD_NOT_CLOSED"
    AGGREGATES_NOT_INSTALLED = "AGGREGATES_NOT_INSTALLED"
    FILE_UNKNOWN = "FILE_UNKNOWN"
    FILE_WRONG_STATE = "FILE_WRONG_STATE"
    CREDENTIAL_LOCKED = "CREDENTIAL_LOCKED"


@dataclass(frozen=True)
class Kind:
    """How one reason is answered.

    Attributes:
        code: the gRPC status code.
        message: the public sentence, used when the raiser gives no detail of its own.
    """

    code: Code
    message: str


CATALOGUE: dict[Reason, Kind] = {
    Reason.UNKNOWN_PRINCIPAL: Kind(Code.UNAUTHENTICATED, "the certificate names no principal known here"),
    Reason.CERTIFICATE_REVOKED: Kind(Code.UNAUTHENTICATED, "the certificate has been revoked"),
    Reason.CERTIFICATE_MISMATCH: Kind(Code.UNAUTHENTICATED, "the certificate's key is pinned to another principal"),
    Reason.ROLE_NOT_ALLOWED: Kind(Code.PERMISSION_DENIED, "this kind of principal may not call this method"),
    Reason.NOT_YOUR_CONTRACT: Kind(Code.PERMISSION_DENIED, "the contract is not the caller's"),
    Reason.PURPOSE_UNKNOWN: Kind(Code.PERMISSION_DENIED, "no such purpose in the purpose table"),
    Reason.PURPOSE_OUT_OF_SCOPE: Kind(Code.PERMISSION_DENIED, "the contract does not grant this purpose"),
    Reason.FIELD_UNKNOWN: Kind(Code.PERMISSION_DENIED, "no such field in the field catalogue"),
    Reason.FIELD_OUT_OF_SCOPE: Kind(Code.PERMISSION_DENIED, "the contract does not grant this field for this purpose"),
    Reason.FIELD_FORBIDDEN: Kind(Code.INVALID_ARGUMENT, "this field may never be stored"),
    Reason.INVALID_REQUEST: Kind(Code.INVALID_ARGUMENT, "the request is malformed"),
    Reason.INVALID_VALUE: Kind(Code.INVALID_ARGUMENT, "a value does not fit its type"),
    Reason.INVALID_TERMS: Kind(Code.INVALID_ARGUMENT, "the contract's terms are not well-formed"),
    Reason.INVALID_SIGNATURE: Kind(Code.INVALID_ARGUMENT, "the signature does not verify"),
    Reason.UNSUPPORTED_VERSION: Kind(Code.INVALID_ARGUMENT, "unknown format version"),
    Reason.MALFORMED: Kind(Code.INVALID_ARGUMENT, "the bytes are not in the format that they claim"),
    Reason.CONTRACT_UNKNOWN: Kind(Code.NOT_FOUND, "no such contract"),
    Reason.CONTRACT_NOT_ACCEPTED: Kind(
        Code.FAILED_PRECONDITION, "the contract has not been accepted by its subcontractor"
    ),
    Reason.CONTRACT_NOT_YET_VALID: Kind(Code.FAILED_PRECONDITION, "the contract is not valid yet"),
    Reason.CONTRACT_EXPIRED: Kind(Code.FAILED_PRECONDITION, "the contract has expired"),
    Reason.CONTRACT_SUSPENDED: Kind(Code.FAILED_PRECONDITION, "the contract is suspended"),
    Reason.CONTRACT_TERMINATED: Kind(Code.FAILED_PRECONDITION, "the contract has been terminated"),
    Reason.CONTRACT_WRONG_STATE: Kind(Code.FAILED_PRECONDITION, "the contract's state does not allow this step"),
    Reason.KEY_UNKNOWN: Kind(Code.FAILED_PRECONDITION, "no such key"),
    Reason.RECIPIENT_KEY_MISSING: Kind(
        Code.FAILED_PRECONDITION, "the subcontractor has no encryption key in use: register one, or rotate to a new one"
    ),
    Reason.CHOICE_MISSING: Kind(
        Code.FAILED_PRECONDITION, "the person's choice that the purpose needs is not on record"
    ),
    Reason.PERSON_UNAVAILABLE: Kind(Code.NOT_FOUND, "the person is not available"),
    Reason.PERSON_UNKNOWN: Kind(Code.NOT_FOUND, "no such person"),
    Reason.PERSON_EXISTS: Kind(Code.ALREADY_EXISTS, "the customer number is already registered"),
    Reason.RECORD_CHANGED: Kind(
        Code.ABORTED, "data has changed since the first answer to this request id: ask again with a new one"
    ),
    Reason.ENTRY_UNKNOWN: Kind(Code.NOT_FOUND, "no such entry in the ledger"),
    Reason.REQUEST_ID_REUSED: Kind(Code.ALREADY_EXISTS, "the request id was used before with another body"),
    Reason.ETAG_STALE: Kind(Code.ABORTED, "the etag is stale: read again, then retry"),
    Reason.VOLUME_EXCEEDED: Kind(Code.RESOURCE_EXHAUSTED, "the grant's volume for this window is used up"),
    Reason.RATE_EXCEEDED: Kind(Code.RESOURCE_EXHAUSTED, "too many calls"),
    Reason.LEDGER_UNAVAILABLE: Kind(
        Code.UNAVAILABLE, "the ledger can't be written: nothing has left the broker, retry later"
    ),
    Reason.LEDGER_INCONSISTENT: Kind(
        Code.FAILED_PRECONDITION, "the ledger does not agree with the tree that was claimed"
    ),
    Reason.KEYS_UNAVAILABLE: Kind(Code.UNAVAILABLE, "the key provider does not answer: retry later"),
    Reason.METHOD_UNGUARDED: Kind(Code.PERMISSION_DENIED, "the method names no principal that may call it"),
    Reason.OVERLOADED: Kind(Code.UNAVAILABLE, "too many requests wait before this one: nothing was done, retry later"),
    Reason.STREAM_IDLE: Kind(Code.ABORTED, "the stream's caller neither sent nor took a message for too long"),
    Reason.INTERNAL: Kind(Code.INTERNAL, "internal error"),
    Reason.CASE_UNKNOWN: Kind(Code.NOT_FOUND, "no such case"),
    Reason.CASE_WRONG_STATE: Kind(Code.FAILED_PRECONDITION, "the case's state does not allow this step"),
    Reason.SECOND_PERSON_NEEDED: Kind(Code.PERMISSION_DENIED, "this needs a second person"),
    Reason.SCOPE_WIDENED: Kind(Code.PERMISSION_DENIED, "a scope only ever gets narrower"),
    Reason.OBLIGATION_UNKNOWN: Kind(Code.NOT_FOUND, "no such obligation"),
    Reason.OBLIGATION_WRONG_STATE: Kind(Code.FAILED_PRECONDITION, "the obligation's state does not allow this"),
    Reason.CORRECTION_NOT_FETCHED: Kind(
        Code.FAILED_PRECONDITION,
        "no disclosure since says that the corrected values were fetched: if they can't be had, delete the old ones",
    ),
    Reason.LEGAL_HOLD: Kind(
        Code.FAILED_PRECONDITION, "the person's data can't be erased yet: a legal claim or a duty under law needs them"
    ),
    Reason.HOLD_UNKNOWN: Kind(Code.NOT_FOUND, "no such hold in force"),
    Reason.PERSON_REQUEST_UNKNOWN: Kind(Code.NOT_FOUND, "no such request of a person"),
    Reason.PERSON_REQUEST_WRONG_STATE: Kind(
        Code.FAILED_PRECONDITION, "the request's kind or state does not allow this step"
    ),
    Reason.IDENTITY_NOT_PROVEN: Kind(
        Code.FAILED_PRECONDITION, "the identity of who asks has not been proven: note a check that passed first"
    ),
    Reason.POLICY_UNKNOWN: Kind(Code.NOT_FOUND, "no such policy version"),
    Reason.POLICY_EXISTS: Kind(Code.ALREADY_EXISTS, "the policy version is on record with another text or time"),
    Reason.NOTICE_MISSING: Kind(
        Code.FAILED_PRECONDITION, "the person was not told of this policy version, or it is not the one in force"
    ),
    Reason.CONSUMER_TAKEN: Kind(Code.PERMISSION_DENIED, "the consumer's name is another principal's"),
    Reason.BUDGET_EXCEEDED: Kind(Code.RESOURCE_EXHAUSTED, "the privacy budget of this period does not cover this"),
    Reason.TECHNICAL_IDENTIFIER: Kind(
        Code.INVALID_ARGUMENT, "what identifies a device is neither recorded with an event nor asked for"
    ),
    Reason.PERIOD_NOT_CLOSED: Kind(Code.FAILED_PRECONDITION, "the days asked about are not over and closed yet"),
    Reason.AGGREGATES_NOT_INSTALLED: Kind(
        Code.UNIMPLEMENTED, "this broker is installed without the extra that answers questions about usage"
    ),
    Reason.FILE_UNKNOWN: Kind(Code.NOT_FOUND, "no such complaint or report"),
    Reason.FILE_WRONG_STATE: Kind(Code.FAILED_PRECONDITION, "the state of the complaint or report does not allow this"),
    Reason.CREDENTIAL_LOCKED: Kind(
        Code.FAILED_PRECONDITION,
        "the person's credential is reported as stolen: only an opt-out, an objection or a complaint is taken",
    ),
}


class SlussError(Exception):
    """A refusal or failure with a reason from the catalogue.

    Attributes:
        reason: why; decides the status code.
        detail: the public sentence. Never holds a person's value.
        metadata: short public facts, by name (`contract`, `purpose`, `field`, `retry_after_s` ...).
    """

    def __init__(self, reason: Reason, detail: str = "", **metadata: str) -> None:
        self.reason = reason
        self.detail = detail or CATALOGUE[reason].message
        self.metadata = metadata
        super().__init__(f"{reason}: {self.detail}")

    @property
    def code(self) -> Code:
        """The gRPC status code of this error."""
        return CATALOGUE[self.reason].code


def invalid(field: str, why: str) -> SlussError:
    """The refusal of a request for one of its fields (INVALID_REQUEST)."""
    return SlussError(Reason.INVALID_REQUEST, f"{field}: {why}", field=field)
