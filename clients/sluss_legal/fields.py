"""The words for fields, from the field catalogue."""

from __future__ import annotations

from broker.catalogue import default_catalogue


def label_of(name: str, language: str) -> str:
    """The words for a field; its name if the catalogue at hand does not know it."""
    known = default_catalogue().fields.get(name)
    if known is None:
        return name
    return known.label_sv if language == "sv" else known.label_en


def purpose_label(code: str, language: str) -> str:
    """The words for a purpose; its code if the catalogue at hand does not know it."""
    known = default_catalogue().purposes.get(code)
    if known is None:
        return code
    return known.label_sv if language == "sv" else known.label_en


def purposes(language: str) -> dict[str, str]:
    """All purposes of the catalogue at hand, by code."""
    return {code: purpose_label(code, language) for code in sorted(default_catalogue().purposes)}
