"""The chapters of a person's rights, of what recipients owe for them, and of a stolen certificate."""

from __future__ import annotations

import csv
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from broker.demo.court import NEEDS
from broker.demo.stage import must

if TYPE_CHECKING:
    from pathlib import Path

    from broker.demo.tale import Tale

ASKED: Final = {"access": "What do you have about me, and who received it?", "erasure": "Delete me."}
PATIENCE_S: Final = 20.0
"""The broker scrubs its store and looks for what is done every second here; every minute by default."""


def forgotten(tale: Tale) -> None:
    """A person asks who had her data, then to be erased; nothing is done before everybody has done it."""
    tale.teller.say(
        "The person of the court order asks what the company holds and who received it, then to be erased. The"
        " privacy team notes how it knew who was asking. No state can be set by hand: done is what the data, the"
        " recipients' own signatures and the scrubbed store say."
    )
    privacy, person = _team(tale), tale.people[0]
    if all(find_spec(name) for name in NEEDS):
        _exported(tale, privacy, person)
    request = _opened(tale, "erasure", person, privacy)
    if tale.case:
        tale.refused("LEGAL_HOLD", "request", "erase", request, "--yes", profile=privacy)
        closed = ("legal", "close", tale.case, "--reason", "the court has its answer")
        tale.run(*closed, profile=tale.stage.folder / "legal-bo")
    erased = tale.run("request", "erase", request, "--yes", profile=privacy).document["request"]
    must(erased["state"] == "waiting_for_recipients", f"the erasure is {erased['state']} while recipients are silent")
    tale.teller.found(f"erased here, and {erased['state'].replace('_', ' ')}: {_silent(erased)}", bad=True)
    _answered(tale, request, privacy)
    done = _done(tale, request, privacy)
    ask = ("disclose", tale.contract, "--purpose", "billing", "-f", "email", "--handle", tale.handles[0])
    after = tale.run(*ask, exits=1, profile=tale.acme).document["unavailable"][0]["reason"]
    must(after == "PERSON_UNAVAILABLE", f"Acme was told {after} of an erased person")
    tale.found(
        f"done on {done['completed']}, by an entry of the ledger; to Acme the person is like one who never existed",
        request=request,
    )


def stolen(tale: Tale) -> None:
    """One of Acme's two certificates is stolen: cut off at once, and what a breach notice has to say."""
    tale.teller.say(
        "Acme has a second certificate, on a laptop, and the laptop is stolen. One call cuts the certificate off, on"
        " open connections too, and retires Acme's encryption key, which lay beside it. Acme goes on with its first"
        " certificate and a new key; the privacy team has the facts for a notice within 72 hours."
    )
    laptop, privacy = tale.stage.folder / "acme-laptop", tale.stage.folder / "privacy-team"
    words = ("certificate", "issue", "subcontractor", "acme-pay", "--out", laptop, "--home", tale.home)
    issued = tale.stage.run(*words).document
    tale.stage.run("contract", "explain", tale.contract, profile=laptop)
    report = ("compromise", "report", "--public-key", issued["spki"], "--from", "2026-01-01", "--how", "laptop stolen")
    told: str = tale.run(*report, profile=privacy).document["report"]["report_id"]
    tale.refused("CERTIFICATE_REVOKED", "contract", "explain", tale.contract, profile=laptop)
    ask = ("disclose", tale.contract, "--purpose", "billing.collection", "-f", "email", "--handle", tale.handles[2])
    tale.refused("RECIPIENT_KEY_MISSING", *ask, profile=tale.acme)
    tale.run("key", "rotate", profile=tale.acme)
    tale.stage.run(*ask, "--sealed", tale.sealed, profile=tale.acme)
    facts = tale.run("compromise", "facts", told, profile=privacy).document
    must(int(facts["records"]) > 0, "the suspect window is empty")
    tale.found(
        f"notice is due by {facts['report']['notify_by'][:16].replace('T', ' ')} UTC: {int(facts['records']):,} records"
        f" of {int(facts['persons']):,} persons still on record left in the suspect window, with {_kinds(facts)}",
        report=told,
        records=int(facts["records"]),
    )


def _kinds(facts: dict[str, Any]) -> str:
    return "; ".join(f"{each['category']}: {', '.join(each['fields'])}" for each in facts["by_category"])


def _team(tale: Tale) -> Path:
    profile = tale.stage.folder / "privacy-team"
    tale.stage.run("certificate", "issue", "privacy", "team", "--out", profile, "--home", tale.home)
    return profile


def _opened(tale: Tale, kind: str, person: str, privacy: Path) -> str:
    """A request whose requester has proven who she is."""
    words = ("request", "open", kind, "--person", person, "--channel", "web", "--asked", ASKED[kind])
    request: str = tale.run(*words, profile=privacy).document["request"]["id"]
    checked = ("request", "identity", request, "--method", "eid", "--result", "passed")
    tale.stage.run(*checked, profile=privacy)
    return request


def _exported(tale: Tale, privacy: Path, person: str) -> None:
    request = _opened(tale, "access", person, privacy)
    folder = tale.stage.folder / "answer"
    made = tale.run("request", "export", request, "--out", folder, profile=privacy).document
    held = ("request", "hand-over", request, "--sha256", made["sha256"], "--how", "seen at the desk")
    tale.stage.run(*held, profile=privacy)
    tale.found(f"everything held, with its sources and with who received what, as JSON, PDF and web page in {folder}/")


def _silent(request: dict[str, Any]) -> str:
    owing = request["recipients"] - request["answered"]
    return f"{owing} recipient owes it under a contract, {len(request['to_tell'])} is to be told by a letter"


def _answered(tale: Tale, request: str, privacy: Path) -> None:
    """Acme attests, signed by its own key; the privacy team writes to the court."""
    listed = tale.run("obligation", "list", profile=tale.acme).document["obligations"]
    owed = [each["obligation_id"] for each in listed if each["kind"] == "erase"]
    must(len(owed) == 1, f"Acme owes {len(owed)} erasures")
    _deleted(tale)
    tale.run("obligation", "attest", owed[0], "deleted", profile=tale.acme)
    tale.teller.found("Acme has deleted it from its files, and signed that with its own key")
    if tale.case:
        told = ("request", "told", request, tale.case, "--outcome", "told", "--reason", "by registered letter")
        tale.run(*told, profile=privacy)


def _deleted(tale: Tale) -> None:
    """Acme takes the person out of all that it keeps."""
    tale.sealed.unlink()
    with tale.slices.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    left = [row for row in rows if tale.handles[0] not in row]
    must(len(left) < len(rows), "Acme's list did not have the person")
    with tale.slices.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(left)
    must(tale.value not in tale.slices.read_text(encoding="utf-8"), "Acme's list still has the person's address")


def _done(tale: Tale, request: str, privacy: Path) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found: dict[str, Any] = tale.stage.run("request", "show", request, profile=privacy).document["request"]
        if found["completed"]:
            return found
        must(time.monotonic() < deadline, f"the erasure stays {found['state']}")
        time.sleep(0.2)
