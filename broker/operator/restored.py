"""What `sluss restore` says at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.ids import person_text
from broker.operator import carrying

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.erasure.again import ErasedAgain
    from broker.operator.backup import Taken
    from broker.operator.carrying import Carried
    from broker.operator.console import Console

NAMED: Final = 20
"""Of each kind so many are named on the screen; `--json` names all."""
PARTS: Final = {
    carrying.ERASURES: "persons who were erased, but for those whom keys/erased.jsonl names",
    carrying.CHOICES: "opt-outs and withdrawn opt-ins",
    carrying.CERTIFICATES: "revoked certificates",
    carrying.KEYS: "retired encryption keys",
    carrying.CONTRACTS: "suspended, terminated and amended contracts",
    carrying.REPORTS: "compromise reports, with the persons' credentials that they lock",
    carrying.HOLDS: "legal holds",
}
MISSING: Final = {
    carrying.CERTIFICATES: "Certificates pinned since, to be issued anew if they are still good",
    carrying.KEYS: "Encryption keys registered since, to be registered anew",
    carrying.CONTRACTS: "Contracts proposed since, to be proposed anew",
    carrying.ACCEPTANCES: "Contracts accepted since, to be accepted anew (amend first what was amended before that)",
    carrying.REPORTS: "Compromise reports that were not made again: what they are about is not on record, or not told",
}


def tell(console: Console, taken: Taken | None, again: ErasedAgain, carried: Carried, size: int) -> None:
    """The result, as one document and as text."""
    erased, cases = [person_text(each.person) for each in again.persons], sorted(again.cases)
    document = {"size": size, "erased_again": erased, "cases_to_tell": cases, "backup": taken.at if taken else ""}
    console.result({**document, "carried_over": carried.document()})
    if taken:
        console.line(f"Restored what was there at {taken.at}: {taken.size} entries.")
        console.line("Entries behind these are lost. Checkpoints published since show it: tell whoever keeps them.")
    if carried.lost:
        console.line(f"Lost: {', '.join(f'{count} {name}' for name, count in carried.lost.items())}.")
    console.line("Privacy budgets are closed until their period ends: what had been spent is not known any more.")
    if erased:
        console.line(f"Erased again, since they were erased after that: {', '.join(erased)}.")
        _list(console, "Legal cases with data of theirs; has the recipient been told of the erasure?", cases)
    elif carrying.ERASURES in carried.unknown:
        console.line("Nobody whom keys/erased.jsonl names as erased is on record.")
    else:
        console.line("Nobody who was erased is on record.")
    _carried(console, carried)
    _unknown(console, carried)


def _carried(console: Console, carried: Carried) -> None:
    if not carried.known:
        return
    again = (
        ("Opted out again", [_choice(each) for each in carried.choices]),
        ("Certificates revoked again", [f"{each['principal']} {each['serial']}" for each in carried.certificates]),
        ("Encryption keys retired again", carried.keys),
        ("Contracts stopped again", [f"{each['contract']} {each['state']}" for each in carried.contracts]),
        ("Compromise reports made again", [_renamed(each, "report") for each in carried.reports]),
        ("Holds placed again", [_renamed(each, "hold") for each in carried.holds]),
    )
    if any(found for _, found in again):
        console.line("What the replaced database forbids is forbidden again, each with an entry of its own:")
        for what, found in again:
            _list(console, what, found)
    else:
        console.line("The replaced database forbids nothing that the backup does not.")
    permitted = (
        ("Persons who said yes since, to be asked anew", carried.yeses),
        *((told, carried.missing.get(part, [])) for part, told in MISSING.items()),
        ("Persons who said no since and are not on record, or do not open", carried.not_recorded),
    )
    if any(found for _, found in permitted):
        console.line("Not brought back:")
        for what, found in permitted:
            _list(console, what, found)


def _unknown(console: Console, carried: Carried) -> None:
    told = [PARTS[part] for part in carrying.EVERYTHING if part in carried.unknown]
    if carrying.LEDGER in carried.unknown and carried.known:
        console.line(
            "The replaced database's ledger is not whole: more may have been forbidden since than it still says."
        )
    if not told:
        return
    if carried.known:
        why = (
            "NOT KNOWN AS A WHOLE, as the replaced database can't be read or proven there: more may have been forbidden"
        )
    else:
        why = "NOT KNOWN, as no replaced database was read (--old-database names one): what was forbidden"
    console.line(f"{why} since the backup, and is permitted again now:")
    for part in told:
        console.line(f"  {part}")
    console.line(
        "Before the broker starts, say these again from what others have kept of them, or suspend the contracts."
    )


def _list(console: Console, what: str, found: Sequence[str]) -> None:
    if found:
        more = f", and {len(found) - NAMED} more (--json names all)" if len(found) > NAMED else ""
        console.line(f"  {what}: {', '.join(found[:NAMED])}{more}")


def _choice(each: dict[str, Any]) -> str:
    channels = f" by {', '.join(each['channels'])}" if each["channels"] else ""
    return f"{each['person']} of {each['purpose']}{channels}"


def _renamed(each: dict[str, str], name: str) -> str:
    return each[name] if each[name] == each["was"] else f"{each[name]} (was {each['was']})"
