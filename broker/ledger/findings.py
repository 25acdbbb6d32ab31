"""What a verification found, in words that name the entry, tile or row."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MAX_FINDINGS = 1000
"""Findings kept; further ones are only counted."""


class Kind(StrEnum):
    """How the stored ledger differs from the one that was signed."""

    ALTERED = "altered"
    """An entry's bytes are not those that were appended."""
    MISSING = "missing"
    """An entry has been taken out."""
    SWAPPED = "swapped"
    """An entry stands where another one was appended."""
    TRUNCATED = "truncated"
    """The last entries are gone."""
    EXTRA = "extra"
    """A row stands where the ledger has none."""
    MALFORMED = "malformed"
    """An entry is not in the format."""
    COLUMN = "column"
    """A search column does not say what the entry says."""
    PERSON = "person"
    """There are more or fewer rows that tie persons to an entry than the entry speaks of."""
    CHOICE = "choice"
    """A person's choices in force are not those of the last choice that the ledger ties to the person."""
    OWED = "owed"
    """A row of what recipients owe does not say what the entries say."""
    CASE = "case"
    """The row of a person's request, a complaint or a compromise report does not stand where its entries left it."""
    SPENT = "spent"
    """A kept answer about usage, or what was spent of a privacy budget, is not what the entries say."""
    TIME = "time"
    """An entry's time lies before that of the entry before it."""
    TILE = "tile"
    """A tile does not hold the hashes of the entries."""
    HEAD = "head"
    """The head is not what the ledger's key signed."""
    ROOT = "root"
    """The entries and tiles agree with each other, and not with what the ledger's key signed."""
    CHECKPOINT = "checkpoint"
    """A published checkpoint is forged, or not of this tree."""
    UNPUBLISHED = "unpublished"
    """Entries stand where a broker would have published checkpoints, and none of them is there."""
    ROLLED_BACK = "rolled back"
    """The ledger is smaller than a checkpoint says that it was."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference.

    Attributes:
        kind: what kind of difference.
        index: the first entry that it concerns, or None.
        message: a sentence that names entry, tile, row or column.
    """

    kind: Kind
    index: int | None
    message: str


@dataclass
class Report:
    """The outcome of a verification.

    Attributes:
        size: entries that the ledger should have.
        root: the root over the entries as they are.
        checkpoints: how many checkpoints were verified.
        findings: the first thousand differences, in the order in which they were found.
        more: how many differences there are beyond those.
    """

    size: int = 0
    root: bytes = b""
    checkpoints: int = 0
    findings: list[Finding] = field(default_factory=list)
    more: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def add(self, kind: Kind, index: int | None, message: str) -> None:
        """Note a difference."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(kind, index, message))
        else:
            self.more += 1
