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


def _fields(entry: Mapping[str, Any]) -> str:
    """The fields that left in their forms; of one that not every slice holds, how many do."""
    said, slices = [], len(entry["slices"])
    for each, held in zip(entry["terms"]["fields"], format_.held_counts(entry).values(), strict=True):
        some = "" if held == slices else f", of {held} of {slices}"
        said.append(f"{each['name']} ({each['transform']}{some})")
    return ", ".join(said)


def _disclosure(entry: Mapping[str, Any]) -> str:
    terms = entry["terms"]
    fields = _fields(entry)
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
    policy = f"policy {entry['policy']}" if entry["policy"] else "before the first policy version"
    return (
        f"a person said {word} to {entry['purpose']}{by} at {moment(entry['chosen_at'])}"
        f" (through {entry['medium']}{proof}, recorded by {entry['by']}, {policy})"
    )


def _catalogue(entry: Mapping[str, Any]) -> str:
    return f"a field catalogue came into force, set by {entry['by']}"


def _key_ring(entry: Mapping[str, Any]) -> str:
    added = entry["event"] == "rotated"
    done, means = ("added", "") if added else ("destroyed", ": what is kept under it opens no more")
    return f"version {entry['version']} of the key ring {entry['ring']} was {done} by {entry['by']}{means}"


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
    fields = _fields(entry)
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


def _aggregate(entry: Mapping[str, Any]) -> str:
    under = f" under {entry['contract']} version {entry['contract_version']}" if entry["contract"] else ""
    cost = _cost(entry, "epsilon_micro", "delta_nano") if entry["epsilon_micro"] else "nothing, paid for before"
    return (
        f"{entry['recipient']} received {entry['cells']} anonymous counts of {entry['event']} for {entry['purpose']}"
        f"{under} ({entry['suppressed']} not published; at least {entry['min_persons']} persons each); it cost {cost},"
        f" in {entry['period']} so far {_cost(entry, 'spent_micro', 'spent_delta_nano')}"
    )


def _cost(entry: Mapping[str, Any], epsilon: str, delta: str) -> str:
    """Members of an entry that say what was spent."""
    besides = f" and delta {entry[delta] / 1_000_000_000:g}" if entry[delta] else ""
    return f"epsilon {entry[epsilon] / 1_000_000:g}{besides}"


_EVENTS: Mapping[str, str] = {
    "created": "{recipient} owes it ({kind}) until {due}",
    "acknowledged": "acknowledged by {recipient}",
    "attested": "{recipient} attests: {outcome}",
    "delay_asked": "{recipient} asks for time until {until}: {reason}",
    "delay_granted": "{by} grants time until {until}",
    "delay_refused": "{by} grants no more time: {reason}",
    "reminded": "{recipient} was reminded by {by}",
    "escalated": "overdue, and told to the privacy team",
    "unanswered": "{recipient} does not answer and its contract is over",
    "close_proposed": "{by} proposes to close it without an answer: {reason}",
    "not_confirmed": "closed without an answer of {recipient} by {by}: nothing is confirmed",
}


def _obligation(entry: Mapping[str, Any]) -> str:
    told = {name: str(value).replace("_", " ") for name, value in entry.items() if name in {"kind", "outcome"}}
    said = _EVENTS.get(entry["event"], "{event}").format_map({**entry, **told})
    return f"obligation {entry['obligation']} under {entry['contract']}: {said}"


def _owed(entry: Mapping[str, Any]) -> str:
    listed = ", ".join(entry["obligations"]) or "none, as nobody has the data"
    return f"obligations for {entry['case']} ({entry['kind']}), made by {entry['by']}: {listed}"


def _erasure(entry: Mapping[str, Any]) -> str:
    ties = "1 entry" if entry["ties"] == 1 else f"{entry['ties']} entries"
    return f"a person was erased for {entry['cause']} by {entry['by']}; {ties} can't be linked to anybody any more"


def _hold(entry: Mapping[str, Any]) -> str:
    until = f", until {entry['until']}" if entry["until"] else ""
    return f"legal hold {entry['hold']} on a person was {entry['event']} by {entry['by']}{until}"


def _person_request(entry: Mapping[str, Any]) -> str:
    ground = f" ({entry['ground']})" if entry["ground"] else ""
    return (
        f"a person's request {entry['case']} for {entry['kind']}: {entry['event'].replace('_', ' ')} by {entry['by']};"
        f" it is {entry['state'].replace('_', ' ')}{ground}, due by {entry['deadline']}"
    )


def _complaint(entry: Mapping[str, Any]) -> str:
    return f"complaint {entry['case']}: {entry['event']} by {entry['by']}; it is {entry['state']}"


def _compromise(entry: Mapping[str, Any]) -> str:
    whose = f"a credential of {entry['principal']}" if entry["principal"] else "a person's credential"
    return f"compromise report {entry['case']} about {whose}: {entry['event']} by {entry['by']}; it is {entry['state']}"


def _genesis(entry: Mapping[str, Any]) -> str:
    return f"the ledger {entry['origin']} began"


def _canary(entry: Mapping[str, Any]) -> str:
    canaries = "1 canary" if entry["count"] == 1 else f"{entry['count']} canaries"
    verb = "was" if entry["count"] == 1 else "were"
    return f"{canaries} {verb} {entry['event']} by {entry['by']}: {entry['reason']}"


def _trace(entry: Mapping[str, Any]) -> str:
    values = "1 value" if entry["values"] == 1 else f"{entry['values']} values"
    recipients = "1 recipient" if entry["recipients"] == 1 else f"{entry['recipients']} recipients"
    return f"{entry['by']} traced {values} that had leaked, which {recipients} had received: {entry['reason']}"


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
    "key_ring": _key_ring,
    "policy": _policy,
    "acceptance": _acceptance,
    "case": _case,
    "release": _release,
    "release_elsewhere": _release_elsewhere,
    "erasure": _erasure,
    "hold": _hold,
    "complaint": _complaint,
    "compromise": _compromise,
    "sealed": _sealed,
    "canary": _canary,
    "trace": _trace,
    "aggregate": _aggregate,
    "obligation": _obligation,
    "owed": _owed,
    "person_request": _person_request,
    "genesis": _genesis,
}
