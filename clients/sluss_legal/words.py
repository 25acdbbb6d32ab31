"""The words for what the wire counts: states, grounds, steps, reasons. English, to be translated where they are shown.

The one place of such words, for the console, the documents and the `sluss legal` command.

`N_` only marks a text for translation.
"""

from __future__ import annotations

from sluss.v1 import contract_pb2
from sluss.v1 import legal_pb2 as pb


def N_(text: str) -> str:  # noqa: N802 - the name by which Babel finds what is to be translated
    """The text itself."""
    return text


STATES: dict[pb.CaseState.ValueType, str] = {
    pb.CASE_STATE_RECEIVED: N_("Received"),
    pb.CASE_STATE_UNDER_REVIEW: N_("Under review"),
    pb.CASE_STATE_INFORMATION_ASKED: N_("Information asked"),
    pb.CASE_STATE_CHALLENGED: N_("Challenged"),
    pb.CASE_STATE_REJECTED: N_("Rejected"),
    pb.CASE_STATE_APPROVED: N_("Approved"),
    pb.CASE_STATE_RELEASED: N_("Released"),
    pb.CASE_STATE_CLOSED: N_("Closed"),
}
TONES = {
    pb.CASE_STATE_RECEIVED: "info",
    pb.CASE_STATE_UNDER_REVIEW: "info",
    pb.CASE_STATE_INFORMATION_ASKED: "warn",
    pb.CASE_STATE_CHALLENGED: "warn",
    pb.CASE_STATE_REJECTED: "danger",
    pb.CASE_STATE_APPROVED: "ok",
    pb.CASE_STATE_RELEASED: "ok",
    pb.CASE_STATE_CLOSED: "quiet",
}
GROUNDS: dict[pb.Ground.ValueType, str] = {
    pb.GROUND_LAW_OR_PROCESS: N_("Law or legal process"),
    pb.GROUND_RIGHTS_AND_PROPERTY: N_("Rights and property"),
    pb.GROUND_PROTECTION: N_("Protection of users or the public"),
    pb.GROUND_MERGER_OR_SALE: N_("Merger or sale"),
}
GROUND_HELP = {
    pb.GROUND_LAW_OR_PROCESS: N_("A law, a court or an authority requires it of the company or its partners."),
    pb.GROUND_RIGHTS_AND_PROPERTY: N_("It is necessary to protect or defend rights and property."),
    pb.GROUND_PROTECTION: N_("It is necessary to protect users or the public, such as danger to life."),
    pb.GROUND_MERGER_OR_SALE: N_("Merger, consolidation, or sale of substantially all assets."),
}
GROUND_LETTERS = {
    pb.GROUND_LAW_OR_PROCESS: "a",
    pb.GROUND_RIGHTS_AND_PROPERTY: "b",
    pb.GROUND_PROTECTION: "c",
    pb.GROUND_MERGER_OR_SALE: "d",
}
PURPOSES: dict[pb.Ground.ValueType, str] = {
    pb.GROUND_LAW_OR_PROCESS: "legal.process",
    pb.GROUND_RIGHTS_AND_PROPERTY: "legal.rights",
    pb.GROUND_PROTECTION: "legal.safety",
    pb.GROUND_MERGER_OR_SALE: "legal.merger",
}
"""The code of each ground's purpose, as the ledger names it."""
GROUND_NAMES: dict[pb.Ground.ValueType, str] = {
    pb.GROUND_LAW_OR_PROCESS: "law_or_process",
    pb.GROUND_RIGHTS_AND_PROPERTY: "rights_and_property",
    pb.GROUND_PROTECTION: "protection",
    pb.GROUND_MERGER_OR_SALE: "merger_or_sale",
}
"""By which programs know the grounds."""
CLAUSES: dict[pb.Ground.ValueType, str] = {
    pb.GROUND_LAW_OR_PROCESS: N_("Clause 6 (a): law or legal process against the company or its partners"),
    pb.GROUND_RIGHTS_AND_PROPERTY: N_("Clause 6 (b): protect or defend rights and property"),
    pb.GROUND_PROTECTION: N_("Clause 6 (c): protect users or the public"),
    pb.GROUND_MERGER_OR_SALE: N_("Clause 6 (d): merger, consolidation, sale of substantially all assets"),
}
"""What the company's own policy says of each ground."""
INSTRUMENTS = {
    "court_order": N_("Court order"),
    "subpoena": N_("Subpoena"),
    "warrant": N_("Warrant"),
    "statute": N_("Statute"),
    "regulator_order": N_("Order of a regulator"),
    "police_request": N_("Police request"),
    "claim": N_("Claim"),
    "agreement": N_("Agreement"),
    "other": N_("Other"),
}
MEDIA = {
    "paper": N_("On paper"),
    "court": N_("In court"),
    "oral": N_("Orally"),
    "other_system": N_("By another system"),
    "other": N_("Otherwise"),
}
STEPS: dict[pb.CaseStep.ValueType, str] = {
    pb.CASE_STEP_REVIEW: N_("Review"),
    pb.CASE_STEP_ASK_INFORMATION: N_("Ask for information"),
    pb.CASE_STEP_CHALLENGE: N_("Challenge"),
    pb.CASE_STEP_REJECT: N_("Reject"),
    pb.CASE_STEP_PREPARE: N_("Prepare for approval"),
    pb.CASE_STEP_APPROVE: N_("Approve"),
    pb.CASE_STEP_EMERGENCY: N_("Release in an emergency"),
    pb.CASE_STEP_CONFIRM: N_("Confirm the emergency release"),
    pb.CASE_STEP_DISPUTE: N_("Dispute the emergency release"),
    pb.CASE_STEP_CLOSE: N_("Close"),
}
STEP_HELP = {
    pb.CASE_STEP_REVIEW: N_("Begin or resume the review. An approval that was not used ends."),
    pb.CASE_STEP_ASK_INFORMATION: N_("Ask the requester for more information before you go on."),
    pb.CASE_STEP_CHALLENGE: N_("Contest the request."),
    pb.CASE_STEP_REJECT: N_("Refuse the request. Nothing is released."),
    pb.CASE_STEP_PREPARE: N_("Scope and delivery are as they should be released. Somebody else may then approve."),
    pb.CASE_STEP_APPROVE: N_("Allow exactly what was prepared to leave."),
    pb.CASE_STEP_EMERGENCY: N_("Danger to life: release at once. A second person must confirm within the set time."),
    pb.CASE_STEP_CONFIRM: N_("As the second person: the emergency release was right."),
    pb.CASE_STEP_DISPUTE: N_("As the second person: the emergency release should not have been made."),
    pb.CASE_STEP_CLOSE: N_("The case is done."),
}
STEP_NAMES: dict[pb.CaseStep.ValueType, str] = {
    pb.CASE_STEP_REVIEW: "review",
    pb.CASE_STEP_ASK_INFORMATION: "ask-information",
    pb.CASE_STEP_CHALLENGE: "challenge",
    pb.CASE_STEP_REJECT: "reject",
    pb.CASE_STEP_PREPARE: "prepare",
    pb.CASE_STEP_APPROVE: "approve",
    pb.CASE_STEP_EMERGENCY: "emergency",
    pb.CASE_STEP_CONFIRM: "confirm",
    pb.CASE_STEP_DISPUTE: "dispute",
    pb.CASE_STEP_CLOSE: "close",
}
SECRECY = {
    pb.SECRECY_STATE_VISIBLE: N_("Visible"),
    pb.SECRECY_STATE_HIDDEN: N_("Hidden"),
    pb.SECRECY_STATE_LIFTED: N_("Lifted"),
}
RECEIVED = {
    pb.RECEIVED_KIND_DISCLOSURE: N_("Disclosure under contract"),
    pb.RECEIVED_KIND_RELEASE: N_("Legal release"),
    pb.RECEIVED_KIND_RELEASE_ELSEWHERE: N_("Legal release made elsewhere"),
}
RECEIVED_NAMES = {
    pb.RECEIVED_KIND_DISCLOSURE: "disclosure",
    pb.RECEIVED_KIND_RELEASE: "release",
    pb.RECEIVED_KIND_RELEASE_ELSEWHERE: "release_elsewhere",
}
OUTCOMES = {
    "pending": N_("Pending"),
    "rejected": N_("Rejected"),
    "withdrawn": N_("Closed without release"),
    "released": N_("Released"),
    "emergency": N_("Emergency release"),
    "elsewhere": N_("Released elsewhere"),
}
CONTRACT_STATES = {
    contract_pb2.CONTRACT_STATE_PROPOSED: N_("Proposed"),
    contract_pb2.CONTRACT_STATE_ACTIVE: N_("Active"),
    contract_pb2.CONTRACT_STATE_SUSPENDED: N_("Suspended"),
    contract_pb2.CONTRACT_STATE_TERMINATED: N_("Terminated"),
}
CONTRACT_TONES = {
    contract_pb2.CONTRACT_STATE_PROPOSED: "info",
    contract_pb2.CONTRACT_STATE_ACTIVE: "ok",
    contract_pb2.CONTRACT_STATE_SUSPENDED: "warn",
    contract_pb2.CONTRACT_STATE_TERMINATED: "quiet",
}
EVENTS = {
    "opened": N_("Case opened"),
    "reviewed": N_("Review begun"),
    "information_asked": N_("Information asked"),
    "challenged": N_("Challenged"),
    "rejected": N_("Rejected"),
    "prepared": N_("Prepared for approval"),
    "approved": N_("Approved"),
    "emergency": N_("Released in an emergency"),
    "confirmed": N_("Emergency confirmed"),
    "disputed": N_("Emergency disputed"),
    "closed": N_("Closed"),
    "changed": N_("Changed"),
    "noted": N_("Note"),
    "document_added": N_("Document added"),
    "hidden": N_("Hidden"),
    "prolonged": N_("Secrecy prolonged"),
    "lifted": N_("Secrecy lifted"),
    "release_began": N_("Release begun"),
    "release_completed": N_("Release complete"),
    "release_recorded": N_("Release made elsewhere recorded"),
}
"""The events of a case, as its entries in the ledger name them."""
ENTRY_EVENTS = {
    "proposed": N_("Proposed"),
    "accepted": N_("Accepted by signature"),
    "suspended": N_("Suspension"),
    "resumed": N_("Suspension ended"),
    "amended": N_("Amended"),
    "terminated": N_("Ended for good"),
    "registered": N_("Registered"),
    "rotated": N_("Replaced"),
    "retired": N_("Taken out of use"),
    "destroyed": N_("Destroyed"),
    "pinned": N_("Recognised"),
    "revoked": N_("Revoked"),
    "placed": N_("Placed"),
    "lifted": N_("Lifted"),
    "planted": N_("Planted"),
    "created": N_("Owed from now on"),
    "acknowledged": N_("Receipt acknowledged"),
    "attested": N_("Answered with a signature"),
    "delay_asked": N_("More time asked for"),
    "delay_granted": N_("More time granted"),
    "delay_refused": N_("More time refused"),
    "reminded": N_("Reminder"),
    "escalated": N_("Overdue, and told on"),
    "unanswered": N_("Unanswered"),
    "close_proposed": N_("Closing without an answer proposed"),
    "not_confirmed": N_("Closed without an answer"),
    "opened": N_("Taken in"),
    "identity_noted": N_("Identity check noted"),
    "worked_on": N_("Work noted"),
    "extended": N_("More time for the answer"),
    "refused": N_("Refused"),
    "withdrawn": N_("Withdrawn"),
    "exported": N_("Export made"),
    "handed_over": N_("Export handed over"),
    "rectified": N_("Values corrected"),
    "erased": N_("Data erased"),
    "objected": N_("Objection recorded"),
    "recipient_told": N_("Recipient told, or not possible"),
    "completed": N_("Completed"),
    "investigated": N_("Investigation begun"),
    "noted": N_("Note"),
    "linked": N_("Linked"),
    "assigned": N_("Assigned"),
    "decided": N_("Decided"),
    "remedied": N_("Remedy"),
    "closed": N_("Closed"),
    "reported": N_("Reported and cut off"),
    "reinstated": N_("Credential reinstated"),
}
"""The events of all other entries."""
TRANSFORMS = {
    "full": N_("in full"),
    "masked": N_("masked"),
    "last4": N_("last four"),
    "first": N_("first letter"),
    "year": N_("year only"),
    "month": N_("month only"),
    "age_band": N_("age band"),
    "truncated_ip": N_("truncated"),
    "country_only": N_("country only"),
    "domain": N_("domain only"),
    "postal_area": N_("postal area"),
    "presence": N_("whether there is one"),
    "rounded": N_("rounded"),
    "hashed": N_("hashed"),
}
CATEGORIES = {
    "identity": N_("Identity"),
    "contact": N_("Contact"),
    "account": N_("Account"),
    "usage": N_("Usage"),
    "financial": N_("Financial"),
    "technical": N_("Technical"),
}
ENTRY_TYPES = {
    "person_request": N_("Person's request"),
    "disclosure": N_("Disclosure"),
    "refusal": N_("Refusal"),
    "refusals": N_("Refusals, counted"),
    "release": N_("Legal release"),
    "release_elsewhere": N_("Legal release made elsewhere"),
    "sealed": N_("Sealed entry"),
    "aggregate": N_("Anonymous counts"),
    "case": N_("Case"),
    "contract": N_("Contract"),
    "key": N_("Key"),
    "certificate": N_("Certificate"),
    "choice": N_("Choice"),
    "obligation": N_("Obligation"),
    "owed": N_("Obligations of a request"),
    "erasure": N_("Erasure"),
    "hold": N_("Legal hold"),
    "complaint": N_("Complaint"),
    "compromise": N_("Compromise report"),
    "catalogue": N_("Field catalogue"),
    "key_ring": N_("Key ring"),
    "policy": N_("Policy version"),
    "canary": N_("Canaries"),
    "trace": N_("Leak trace"),
    "acceptance": N_("Acceptance of a policy version"),
    "genesis": N_("Beginning of the ledger"),
}
SUITES = {1: "X25519", 2: "X-Wing (ML-KEM-768 + X25519)"}

REASONS = {
    "UNKNOWN_PRINCIPAL": N_("The broker does not know your certificate. Ask an operator for a new one."),
    "CERTIFICATE_REVOKED": N_("Your certificate was revoked. Ask an operator for a new one."),
    "CERTIFICATE_MISMATCH": N_("Your certificate does not name you as the broker knows you. Ask an operator."),
    "ROLE_NOT_ALLOWED": N_("This is not for your role."),
    "ETAG_STALE": N_("Somebody has changed the case meanwhile. Look at it as it stands now, then try again."),
    "LEDGER_UNAVAILABLE": N_("The ledger can't be written now, so nothing was done. Try again in a moment."),
    "KEYS_UNAVAILABLE": N_("The keys can't be reached now, so nothing was done. Try again in a moment."),
    "RATE_EXCEEDED": N_("Too many calls at once. Try again in a moment."),
    "PERSON_UNKNOWN": N_("At least one of these persons is not on record."),
    "PERSON_UNAVAILABLE": N_("This person is not on record."),
    "FIELD_UNKNOWN": N_("The field catalogue has no such field."),
    "FIELD_FORBIDDEN": N_("This field may never be stored or released."),
    "FIELD_OUT_OF_SCOPE": N_("The field is not in the scope of the case."),
    "CONTRACT_UNKNOWN": N_("There is no such contract."),
    "ENTRY_UNKNOWN": N_("There is no such entry."),
    "REQUEST_ID_REUSED": N_("This was sent before with other content. Open the form anew."),
    "LEDGER_INCONSISTENT": N_("The ledger does not extend the one seen before. Stop, and tell the operators at once."),
    "CASE_UNKNOWN": N_("There is no such case."),
    "CASE_WRONG_STATE": N_("The case is in a state that does not allow this step."),
    "SECOND_PERSON_NEEDED": N_("Who opened or prepared a case can't approve it: this takes a second person."),
    "SCOPE_WIDENED": N_("A scope can only be narrowed on the way."),
    "INVALID_VALUE": N_("This value does not fit its field."),
    "INTERNAL": N_("The broker met something unforeseen. Nothing more is known; its operators find it in their log."),
}
