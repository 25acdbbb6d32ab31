"""The first schema: ledger, persons, contracts, calls, rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

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
        _int("id"),
        _big("size"),
        _bytes("root"),
        _text("note"),
        _big("rights"),
        _big("contracts"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "ledger_entry",
        _row_id("id"),
        _bytes("entry"),
        _text("type"),
        _text("contract"),
        _text("recipient"),
        _big("at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ledger_entry_contract", "ledger_entry", ["contract", "id"])
    op.create_index("ledger_entry_recipient", "ledger_entry", ["recipient", "id"])
    op.create_table(
        "ledger_tile",
        _int("level"),
        _big("id"),
        _bytes("hashes"),
        sa.PrimaryKeyConstraint("level", "id"),
    )
    op.create_table(
        "ledger_checkpoint",
        _row_id("size"),
        _text("note"),
        _big("at"),
        sa.PrimaryKeyConstraint("size"),
    )
    op.create_table(
        "ledger_person",
        _big("person"),
        _big("entry"),
        sa.PrimaryKeyConstraint("person", "entry"),
        sqlite_with_rowid=False,
    )


def _persons() -> None:
    """Records, the ways to find them, and choices."""
    op.create_table(
        "person",
        _row_id("id"),
        _text("state"),
        _big("version"),
        _bytes("keys"),
        _bytes("financial_keys"),
        _bytes("record"),
        _text("choices"),
        _bytes("fingerprint"),
        _big("created_at"),
        _big("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "blind_index",
        _text("kind"),
        _bytes("digest"),
        _big("person"),
        sa.PrimaryKeyConstraint("kind", "digest", "person"),
        sqlite_with_rowid=False,
    )
    op.create_index("blind_index_person", "blind_index", ["person"])
    op.create_table(
        "unique_number",
        _bytes("digest"),
        _big("person"),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("unique_number_person", "unique_number", ["person"])
    op.create_table(
        "choice",
        _big("person"),
        _big("entry"),
        _text("purpose"),
        _text("state"),
        _text("channel"),
        _text("source"),
        _text("policy"),
        _big("at"),
        sa.PrimaryKeyConstraint("person", "entry"),
        sqlite_with_rowid=False,
    )


def _contracts() -> None:
    """Contracts and the keys that slices are sealed to."""
    op.create_table(
        "contract",
        _text("id"),
        _text("subcontractor"),
        _text("state"),
        _int("version"),
        _int("proposed"),
        _bytes("handle_key"),
        _text("reason"),
        _big("etag"),
        _big("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("contract_subcontractor", "contract", ["subcontractor", "id"])
    op.create_table(
        "contract_version",
        _text("contract"),
        _int("version"),
        _bytes("terms"),
        _bytes("signature"),
        _bytes("certificate"),
        _text("proposed_by"),
        _big("proposed_at"),
        _big("accepted_at"),
        sa.PrimaryKeyConstraint("contract", "version"),
    )
    op.create_table(
        "recipient_key",
        _bytes("id"),
        _text("subcontractor"),
        _int("serial"),
        _int("suite"),
        _bytes("public_key"),
        _big("registered_at"),
        _big("retired_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_recipient_key_subcontractor", "recipient_key", ["subcontractor"])
    op.create_table(
        "epoch",
        _bytes("id"),
        _text("contract"),
        _bytes("key"),
        _bytes("secret"),
        _bytes("encapsulation"),
        _big("started_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_epoch_started_at", "epoch", ["started_at"])


def _calls() -> None:
    """What was asked for before: requests, volumes, refusals."""
    op.create_table(
        "request",
        _text("principal"),
        _bytes("id"),
        _bytes("body"),
        _big("first_entry"),
        _int("entries"),
        _bytes("reply"),
        _big("at"),
        sa.PrimaryKeyConstraint("principal", "id"),
    )
    op.create_index("ix_request_at", "request", ["at"])
    op.create_table(
        "volume",
        _text("contract"),
        _text("purpose"),
        _text("window"),
        _big("start"),
        _big("persons"),
        sa.PrimaryKeyConstraint("contract", "purpose", "window", "start"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "refusal_count",
        _text("principal"),
        _big("start"),
        _text("reason"),
        _big("count"),
        _big("folded"),
        sa.PrimaryKeyConstraint("principal", "start", "reason"),
    )


def _rules() -> None:
    """Who may call, and by which catalogue and policy."""
    op.create_table(
        "certificate",
        _bytes("spki"),
        _text("principal"),
        _text("serial"),
        _big("not_after"),
        _big("issued_at"),
        _big("revoked_at"),
        _text("reason"),
        sa.PrimaryKeyConstraint("spki"),
    )
    op.create_index("ix_certificate_principal", "certificate", ["principal"])
    op.create_table(
        "catalogue",
        _int("serial"),
        _bytes("digest"),
        _text("toml"),
        _big("loaded_at"),
        sa.PrimaryKeyConstraint("serial"),
    )
    op.create_table(
        "policy_version",
        _text("id"),
        _big("effective_at"),
        _bytes("digest"),
        sa.PrimaryKeyConstraint("id"),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False, autoincrement=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)


def _row_id(name: str) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=False, autoincrement=False)
