"""Ledger entries in words: one sentence per entry, for a lawyer and not for a programmer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.errors import SlussError
from broker.ledger import entry as format_

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UNREADABLE = "an entry that this version does not know; its bytes are still proven"


def parse_entry(data: bytes) -> Mapping[str, Any]:
    """The entry's members; empty if the format is not known here."""
    try:
        return format_.parse(data)
    except SlussError:
        return {}


def sentence(entry: Mapping[str, Any]) -> str:
    """What happened, in one sentence."""
    say = _SENTENCES.get(str(entry.get("type", "")))
    return say(entry) if say else UNREADABLE


def moment(text: str) -> str:
    """An RFC 3339 time in UTC to the second, as people read it: `2026-11-23 22:33:57`."""
    return text[:19].replace("T", " ")


def _disclosure(entry: Mapping[str, Any]) -> str:
    terms = entry["terms"]
    fields = ", ".join(f"{f['name']} ({f['transform']})" for f in terms["fields"])
    return (
        f"{terms['recipient']} received {_persons(len(entry['slices']))} for {terms['purpose']} under"
        f" {terms['contract']} version {terms['contract_version']}: {fields}; to be deleted by"
        f" {terms['retain_until']}"
    )


def _refusal(entry: Mapping[str, Any]) -> str:
    asked = [f"for {entry['purpose']}"] if entry["purpose"] else []
    asked += [f"fields {', '.join(entry['fields'])}"] if entry["fields"] else []
    asked += [f"under {entry['contract']}"] if entry["contract"] else []
    about = f" ({'; '.join(asked)})" if asked else ""
    return f"{entry['principal']} was refused: {entry['reason']}{about}"


def _refusals(entry: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count} times {reason}" for reason, count in sorted(entry["counts"].items()))
    return f"{entry['principal']} was refused {counts}, from {moment(entry['since'])} to {moment(entry['until'])}"


def _contract(entry: Mapping[str, Any]) -> str:
    why = f": {entry['reason']}" if entry["reason"] else ""
    return (
        f"{entry['contract']} version {entry['version']} with {entry['subcontractor']} was"
        f" {entry['event']} by {entry['by']}{why}"
    )


def _key(entry: Mapping[str, Any]) -> str:
    return f"{entry['subcontractor']}: encryption key {entry['key'][:12]}... {entry['event']} by {entry['by']}"


def _certificate(entry: Mapping[str, Any]) -> str:
    why = f": {entry['reason']}" if entry["reason"] else ""
    return f"{entry['principal']}: certificate {entry['event']} by {entry['by']}{why}"


def _choice(entry: Mapping[str, Any]) -> str:
    word = {"in": "yes", "out": "no"}.get(entry["state"], entry["state"])
    by = f" by {', '.join(entry['channels'])}" if entry["channels"] else ""
    proof = f", evidence {entry['evidence']}" if entry["evidence"] else ""
    return (
        f"a person said {word} to {entry['purpose']}{by} at {moment(entry['chosen_at'])}"
        f" (through {entry['medium']}{proof}, recorded by {entry['by']}, policy {entry['policy']})"
    )


def _catalogue(entry: Mapping[str, Any]) -> str:
    return f"a field catalogue came into force, set by {entry['by']}"


def _policy(entry: Mapping[str, Any]) -> str:
    return f"policy version {entry['version']}, in force from {moment(entry['effective'])}, set by {entry['by']}"


def _acceptance(entry: Mapping[str, Any]) -> str:
    return f"a person accepted policy version {entry['version']} ({entry['source']}), recorded by {entry['by']}"


def _case(entry: Mapping[str, Any]) -> str:
    return (
        f"legal case {entry['case']} ({entry['ground']}, requester in {entry['country']}): {entry['event']} by"
        f" {entry['by']}; it is {entry['state'].replace('_', ' ')}"
    )


def _release(entry: Mapping[str, Any]) -> str:
    terms = entry["terms"]
    fields = ", ".join(f"{f['name']} ({f['transform']})" for f in terms["fields"])
    approved = "in an emergency, approved by nobody" if entry["emergency"] else f"approved by {entry['second_person']}"
    return (
        f"{_persons(len(entry['slices']))} left under legal case {terms['contract']} ({entry['ground']}), released by"
        f" {entry['by']}, {approved}: {fields}"
    )


def _release_elsewhere(entry: Mapping[str, Any]) -> str:
    return (
        f"{_persons(len(entry['persons']))} left outside the broker on {entry['released_on']} ({entry['medium']}) under"
        f" legal case {entry['case']} ({entry['ground']}), recorded by {entry['by']}: {', '.join(entry['fields'])}"
    )


def _sealed(_entry: Mapping[str, Any]) -> str:
    return "sealed: a commitment to an entry that is hidden for a time"


def _erasure(entry: Mapping[str, Any]) -> str:
    ties = "1 entry" if entry["ties"] == 1 else f"{entry['ties']} entries"
    return f"a person was erased for {entry['cause']} by {entry['by']}; {ties} can't be linked to anybody any more"


def _genesis(entry: Mapping[str, Any]) -> str:
    return f"the ledger {entry['origin']} began"


def _persons(count: int) -> str:
    return "1 person's data" if count == 1 else f"data of {count} persons"


_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "disclosure": _disclosure,
    "refusal": _refusal,
    "refusals": _refusals,
    "contract": _contract,
    "key": _key,
    "certificate": _certificate,
    "choice": _choice,
    "catalogue": _catalogue,
    "policy": _policy,
    "acceptance": _acceptance,
    "case": _case,
    "release": _release,
    "release_elsewhere": _release_elsewhere,
    "erasure": _erasure,
    "sealed": _sealed,
    "genesis": _genesis,
}
