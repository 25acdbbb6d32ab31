"""The first schema: ledger, persons, contracts, calls, rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.store.migrations.columns import big, data, row_id, small, text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes every table."""
    _ledger()
    _persons()
    _contracts()
    _calls()
    _rules()


def _ledger() -> None:
    """The tree, its entries and checkpoints."""
    op.create_table(
        "head",
        small("id"),
        big("size"),
        data("root"),
        text("note"),
        big("rights"),
        big("contracts"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "ledger_entry",
        row_id("id"),
        data("entry"),
        text("type"),
        text("contract"),
        text("recipient"),
        big("at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ledger_entry_contract", "ledger_entry", ["contract", "id"])
    op.create_index("ledger_entry_recipient", "ledger_entry", ["recipient", "id"])
    op.create_table(
        "ledger_tile",
        small("level"),
        big("id"),
        data("hashes"),
        sa.PrimaryKeyConstraint("level", "id"),
    )
    op.create_table(
        "ledger_checkpoint",
        row_id("size"),
        text("note"),
        big("at"),
        sa.PrimaryKeyConstraint("size"),
    )
    op.create_table(
        "ledger_person",
        big("person"),
        big("entry"),
        sa.PrimaryKeyConstraint("person", "entry"),
        sqlite_with_rowid=False,
    )


def _persons() -> None:
    """Records, the ways to find them, and choices."""
    op.create_table(
        "person",
        row_id("id"),
        text("state"),
        big("version"),
        data("keys"),
        data("financial_keys"),
        data("record"),
        text("choices"),
        data("fingerprint"),
        big("created_at"),
        big("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "blind_index",
        text("kind"),
        data("digest"),
        big("person"),
        sa.PrimaryKeyConstraint("kind", "digest", "person"),
        sqlite_with_rowid=False,
    )
    op.create_index("blind_index_person", "blind_index", ["person"])
    op.create_table(
        "unique_number",
        data("digest"),
        big("person"),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("unique_number_person", "unique_number", ["person"])
    op.create_table(
        "choice",
        big("person"),
        big("entry"),
        text("purpose"),
        text("state"),
        text("channel"),
        text("source"),
        text("policy"),
        big("at"),
        sa.PrimaryKeyConstraint("person", "entry"),
        sqlite_with_rowid=False,
    )


def _contracts() -> None:
    """Contracts and the keys that slices are sealed to."""
    op.create_table(
        "contract",
        text("id"),
        text("subcontractor"),
        text("state"),
        small("version"),
        small("proposed"),
        data("handle_key"),
        text("reason"),
        big("etag"),
        big("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("contract_subcontractor", "contract", ["subcontractor", "id"])
    op.create_table(
        "contract_version",
        text("contract"),
        small("version"),
        data("terms"),
        data("signature"),
        data("certificate"),
        text("proposed_by"),
        big("proposed_at"),
        big("accepted_at"),
        sa.PrimaryKeyConstraint("contract", "version"),
    )
    op.create_table(
        "recipient_key",
        data("id"),
        text("subcontractor"),
        small("serial"),
        small("suite"),
        data("public_key"),
        big("registered_at"),
        big("retired_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_recipient_key_subcontractor", "recipient_key", ["subcontractor"])
    op.create_table(
        "epoch",
        data("id"),
        text("contract"),
        data("key"),
        data("secret"),
        data("encapsulation"),
        big("started_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_epoch_started_at", "epoch", ["started_at"])


def _calls() -> None:
    """What was asked for before: requests, volumes, refusals."""
    op.create_table(
        "request",
        text("principal"),
        data("id"),
        data("body"),
        big("first_entry"),
        small("entries"),
        data("reply"),
        big("at"),
        sa.PrimaryKeyConstraint("principal", "id"),
    )
    op.create_index("ix_request_at", "request", ["at"])
    op.create_table(
        "volume",
        text("contract"),
        text("purpose"),
        text("window"),
        big("start"),
        big("persons"),
        sa.PrimaryKeyConstraint("contract", "purpose", "window", "start"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "refusal_count",
        text("principal"),
        big("start"),
        text("reason"),
        big("count"),
        big("folded"),
        sa.PrimaryKeyConstraint("principal", "start", "reason"),
    )


def _rules() -> None:
    """Who may call, and by which catalogue and policy."""
    op.create_table(
        "certificate",
        data("spki"),
        text("principal"),
        text("serial"),
        big("not_after"),
        big("issued_at"),
        big("revoked_at"),
        text("reason"),
        sa.PrimaryKeyConstraint("spki"),
    )
    op.create_index("ix_certificate_principal", "certificate", ["principal"])
    op.create_table(
        "catalogue",
        small("serial"),
        data("digest"),
        text("toml"),
        big("loaded_at"),
        sa.PrimaryKeyConstraint("serial"),
    )
    op.create_table(
        "policy_version",
        text("id"),
        big("effective_at"),
        data("digest"),
        sa.PrimaryKeyConstraint("id"),
    )
