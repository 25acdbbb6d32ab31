"""PostgreSQL keeps samples of columns for its planner: none of what an erasure has to destroy."""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NEVER_SAMPLED: Final = {
    "BYTEA": (
        "acceptance.evidence",
        "aggregate_answer.answer",
        "canary.facts",
        "case_file.body",
        "case_file.keys",
        "case_file.private",
        "case_file.private_keys",
        "case_file_event.text",
        "catalogue.digest",
        "contract.handle_key",
        "contract_version.certificate",
        "contract_version.signature",
        "contract_version.terms",
        "epoch.encapsulation",
        "epoch.key",
        "epoch.secret",
        "head.root",
        "ledger_entry.entry",
        "ledger_tile.hashes",
        "legal_case.body",
        "legal_case.keys",
        "legal_document.about",
        "legal_document.content",
        "legal_event.text",
        "legal_hold.body",
        "legal_hold.keys",
        "obligation.handle",
        "obligation.salt",
        "outbox_item.body",
        "person.financial_keys",
        "person.fingerprint",
        "person.keys",
        "person.record",
        "person_request.body",
        "person_request.facts",
        "person_request.keys",
        "person_request_event.text",
        "policy_version.digest",
        "recipient_key.public_key",
        "request.body",
        "request.reply",
        "sealed_entry.opening",
    ),
    "TEXT": ("choice.evidence", "person.accepted", "person.choices"),
}
"""Content: nothing is ever looked up by it, so the planner needs to know nothing of it."""


def upgrade() -> None:
    """On PostgreSQL: no statistics of content, those that there are taken away, and all erasures scrubbed once more."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for kind, columns in NEVER_SAMPLED.items():
        for column in columns:
            table, name = column.split(".")
            # Naming the type that it has makes no row anew; what was sampled of the column goes with it.
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind}, ALTER COLUMN {name} SET STATISTICS 0")
    op.execute("UPDATE erasure SET scrubbed_at = 0")
