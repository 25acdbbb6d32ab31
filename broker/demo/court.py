"""The chapter of the court order: two people, a package, secrecy with an end, and who received what."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from broker.demo.stage import must

if TYPE_CHECKING:
    from pathlib import Path

    from broker.demo.tale import Tale

NEEDS = ("babel", "pyrage", "typst")
"""What packages and documents need; a broker does without (`sluss[legal]`)."""

REQUEST = """\
ground = "law_or_process"
received = 2026-11-17
deadline = 2099-12-01
note = "Arrived by registered post."

[requester]
name = "Stockholms tingsrätt"
address = "Box 8307, 104 20 Stockholm"
country = "SE"
contact = "registry@court.example"

[instrument]
kind = "court_order"
reference = "B 4711-26"
date = 2026-11-16

[scope]
persons = ["{first}", "{second}"]
[scope.fields]
name.display = "full"
email = "full"
phone = "full"
"""


def court_order(tale: Tale) -> None:
    """A court asks; two lawyers decide; a package leaves; the person sees it, once she may."""
    if not all(find_spec(name) for name in NEEDS):
        tale.teller.say("Left out: packages and documents need what `pip install 'sluss[legal]'` brings.")
        return
    tale.teller.say(
        "A court orders the company to name two customers. On four grounds only may data leave without a contract,"
        " and never because one person alone wanted it: Anna of the legal team takes the case in and prepares it, Bo"
        " approves. Their certificates make them two people for the broker, not the page that they use."
    )
    anna, bo = (_hired(tale, name) for name in ("anna", "bo"))
    case = tale.case = _prepared(tale, anna)
    tale.refused("SECOND_PERSON_NEEDED", *_step("approve", case), "--yes", profile=anna)
    tale.run(*_step("approve", case), "--yes", profile=bo)
    _released(tale, case, anna)
    _received(tale, case, bo)


def _hired(tale: Tale, name: str) -> Path:
    profile = tale.stage.folder / f"legal-{name}"
    tale.stage.run("certificate", "issue", "legal", name, "--out", profile, "--home", tale.home)
    return profile


def _step(step: str, case: str) -> tuple[str, ...]:
    return "legal", step, case, "--reason", "as the order says, and no more"


def _prepared(tale: Tale, anna: Path) -> str:
    """The case, taken in and narrowed by one person."""
    request = tale.stage.folder / "court-order.toml"
    request.write_text(REQUEST.format(first=tale.people[0], second=tale.people[2]), encoding="utf-8")
    case: str = tale.run("legal", "open", request, profile=anna).document["case"]["case"]
    narrowed = ("--drop-person", tale.people[2], "--drop-field", "phone")
    tale.run(
        "legal", "change", case, *narrowed, "--package", "--retain-until", "2099-12-31", "--note", "one is enough",
        profile=anna,
    )  # fmt: skip
    tale.stage.run(*_step("review", case), profile=anna)
    tale.run(*_step("prepare", case), profile=anna)
    tale.found("narrowed to one person and two fields; wider it can never get again", case=case)
    return case


def _released(tale: Tale, case: str, anna: Path) -> None:
    """The package, and what the court does with it."""
    package = tale.stage.folder / f"{case}.zip.age"
    released = tale.run("legal", "release", case, "--out", package, profile=anna).document
    secret = tale.stage.folder / "told-by-telephone.txt"
    secret.write_text(released["passphrase"] + "\n", encoding="utf-8")
    secret.chmod(0o600)
    must(tale.value.encode() not in package.read_bytes(), "the package holds the value in the clear")
    tale.found(
        f"{package.name} opens with `age` and a passphrase that goes another way; its entry stood in the ledger"
        " before it was made",
        entries=released["entries"],
    )
    words = ("legal", "check", package, "--passphrase-file", secret, "--out", tale.stage.folder / "at-the-court")
    checked = tale.run(*words, profile=anna).document
    must(checked["opened"] and checked["persons"] == 1, "the court can't open the package")
    tale.teller.found("the court opens it and proves it against the ledger, without asking the broker")


def _received(tale: Tale, case: str, bo: Path) -> None:
    """Hidden from the person while the law demands it, and not for ever."""
    person = tale.people[0]
    before = _rows(tale, bo, person)
    must(before[-1]["authority"] == case, "the release is not in the person's accounting")
    hide = ("legal", "hide", case, "--until", "2027-06-30", "--reason", "The court forbids telling.")
    tale.run(*hide, profile=bo)
    hidden = _rows(tale, bo, person)
    must(hidden == [row for row in before if row["authority"] != case], "the hidden release shows")
    tale.teller.found(f"{len(hidden)} rows in the person's own view, as if the court had never asked")
    tale.run("legal", "lift", case, "--reason", "Charges were brought.", profile=bo)
    after = tale.run("legal", "recipients", person, profile=bo).document["received"]
    must(len(after) == len(before), "the lifted release does not show again")
    tale.teller.table(
        ("when", "who received", "what", "by"),
        [(row["at"][:10], row["recipient"], ", ".join(_names(row)), row["authority"]) for row in after[-3:]],
    )
    tale.found("secrecy had an end, and the person sees who received what", rows=len(after))


def _rows(tale: Tale, profile: Path, person: str) -> list[dict[str, Any]]:
    """The person's accounting, but for the receipts, which are of the ledger as it stands."""
    rows: list[dict[str, Any]] = tale.stage.run("legal", "recipients", person, profile=profile).document["received"]
    return [{name: value for name, value in row.items() if name != "receipt"} for row in rows]


def _names(row: dict[str, Any]) -> list[str]:
    return [str(each["field"]) for each in row["fields"]]
