"""What rights rest on: contracts, keys, certificates, catalogue, policy versions."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel


class Contract(SQLModel, table=True):
    """A contract: which version is in force, which waits for acceptance, and its state."""

    __tablename__ = "contract"
    __table_args__ = (Index("contract_subcontractor", "subcontractor", "id"),)
    id: str = Field(sa_column=Column(Text, primary_key=True))
    subcontractor: str = Field(sa_column=Column(Text, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    version: int = Field(nullable=False)
    proposed: int = Field(nullable=False)
    handle_key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))
    etag: int = Field(sa_column=Column(BigInteger, nullable=False))
    updated_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class ContractVersion(SQLModel, table=True):
    """The canonical terms of one version, and the signature by which it was accepted (empty until then)."""

    __tablename__ = "contract_version"
    contract: str = Field(sa_column=Column(Text, primary_key=True))
    version: int = Field(primary_key=True)
    terms: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    signature: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    certificate: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    proposed_by: str = Field(sa_column=Column(Text, nullable=False))
    proposed_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    accepted_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class RecipientKey(SQLModel, table=True):
    """A subcontractor's encryption key; the highest `serial` that is not retired is sealed to."""

    __tablename__ = "recipient_key"
    id: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    subcontractor: str = Field(sa_column=Column(Text, nullable=False, index=True))
    serial: int = Field(nullable=False)
    suite: int = Field(nullable=False)
    public_key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    registered_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    retired_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class Certificate(SQLModel, table=True):
    """A pinned certificate: SHA-256 of its SubjectPublicKeyInfo -> principal. `revoked_at` 0 means good."""

    __tablename__ = "certificate"
    spki: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    principal: str = Field(sa_column=Column(Text, nullable=False, index=True))
    serial: str = Field(sa_column=Column(Text, nullable=False))
    not_after: int = Field(sa_column=Column(BigInteger, nullable=False))
    issued_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    revoked_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))


class Catalogue(SQLModel, table=True):
    """The reviewed TOML file of fields, purposes and policy, versioned; the highest serial is in force."""

    __tablename__ = "catalogue"
    serial: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    toml: str = Field(sa_column=Column(Text, nullable=False))
    loaded_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class PolicyVersion(SQLModel, table=True):
    """A version of the privacy policy and the moment from which it applies."""

    __tablename__ = "policy_version"
    id: str = Field(sa_column=Column(Text, primary_key=True))
    effective_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
