"""The chapters of the demo: each runs the commands, checks that they did what is told, and tells why it matters."""

from __future__ import annotations

import csv
import shutil
import sqlite3
import unicodedata
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluss.v1 import disclosure_pb2

from broker.demo.court import court_order
from broker.demo.population import persons, write_csv
from broker.demo.rights import forgotten, stolen
from broker.demo.stage import must

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broker.demo.stage import Stage, Step
    from broker.demo.telling import Teller

SUBCONTRACTOR = "subcontractor/acme-pay"
FIELDS = "name.display,email,invoice.amount,invoice.currency,payment.card_number"
PURPOSE = "billing.collection"
OFFERS = "offers.post"
SHOWN = 5
LAST4 = 4

CONTRACT = """\
subcontractor = "subcontractor/acme-pay"
recipient_name = "Acme Pay AB"
recipient_address = "Hamngatan 2, 111 47 Stockholm, Sweden"
valid_from = 2026-01-01
valid_until = 2036-12-31
reference = "DPA-2026-17"

[[grants]]
purpose = "billing"
population = "everyone"
retention_days = 30
volume = { day = 1000000 }
[grants.fields]
name.display = "full"
email = "full"
invoice.amount = "full"
invoice.currency = "full"
payment.card_number = "last4"

[[grants]]
purpose = "offers.post"
retention_days = 7
volume = { month = 1000000 }
population = "everyone"
[grants.fields]
name.display = "full"
address.street = "full"
address.postal_code = "full"
address.city = "full"
"""


@dataclass
class Tale:
    """What the chapters share.

    Attributes:
        stage: folder, command and broker.
        teller: how it is told.
        count: persons in the customer file.
        contract: the contract's id, once it is proposed.
        people: person ids of a few, once they are imported.
        handles: their handles under the contract, in the same order.
        case: the legal case, if there was one.
        value: a person's value, which must not turn up where it does not belong.
        facts: what the present chapter found, for programs.
    """

    stage: Stage
    teller: Teller
    count: int
    contract: str = ""
    people: list[str] = field(default_factory=list)
    handles: list[str] = field(default_factory=list)
    case: str = ""
    value: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The broker's home folder."""
        return self.stage.folder / "home"

    @property
    def operator(self) -> Path:
        """Who runs the broker and proposes contracts."""
        return self.home / "profiles" / "operator-admin"

    @property
    def internal(self) -> Path:
        """A service of the company: import, registration, preference centre."""
        return self.home / "profiles" / "internal-import"

    @property
    def acme(self) -> Path:
        """The subcontractor."""
        return self.stage.folder / "acme-pay"

    @property
    def sealed(self) -> Path:
        """A slice that Acme keeps as it came."""
        return self.stage.folder / "slice.sealed"

    @property
    def slices(self) -> Path:
        """What Acme got of everybody."""
        return self.stage.folder / "acme-slices.csv"

    def run(self, *words: object, exits: int = 0, profile: Path | None = None) -> Step:
        """Runs a verb and shows its command."""
        step = self.stage.run(*words, exits=exits, profile=profile)
        self.teller.ran(step)
        return step

    def refused(self, reason: str, *words: object, profile: Path) -> Step:
        """Runs a verb that the broker must refuse for this reason."""
        step = self.run(*words, exits=3, profile=profile)
        must(step.reason == reason, f"refused with {step.reason} instead of {reason}")
        self.teller.found(f"refused: {step.document['error']['detail']} ({reason})", bad=True)
        return step

    def found(self, text: str, **facts: object) -> None:
        """Tells a result and keeps it for programs."""
        self.facts |= facts
        self.teller.found(text)


@dataclass(frozen=True)
class Chapter:
    """A chapter: its title, the clause of the policy that it is about, and what happens."""

    title: str
    clause: str
    happens: Callable[[Tale], None]


def customers(tale: Tale) -> None:
    """A customer file comes in, with faulty rows in it."""
    tale.teller.say(
        f"{tale.count:,} customers in many languages, with cards and bank accounts, in the company's own CSV. Columns"
        " are matched to the field catalogue, every value is validated, and each is sealed under a key of that"
        " person, financial ones under another."
    )
    file, mapping = tale.stage.folder / "customers.csv", tale.stage.folder / "mapping.toml"
    planted = write_csv(file, persons(tale.count), faulty=True)
    guessed = tale.stage.run("import", file, "--guess")
    mapping.write_text(guessed.document["mapping"], encoding="utf-8")
    step = tale.run("import", file, "--mapping", mapping, "--source", "crm-2026", exits=1, profile=tale.internal)
    done = step.document
    must(done["created"] == tale.count, f"{done['created']} persons instead of {tale.count}")
    must(done["faulty"] == len(planted), f"{done['faulty']} faulty rows instead of {len(planted)}")
    rate = round(tale.count / step.seconds)
    tale.found(
        f"{done['created']:,} persons stored in {step.seconds:.1f} s ({rate:,}/s); {done['faulty']} faulty rows put"
        " aside, to be corrected and imported again. Their reports show values masked:",
        created=done["created"],
        faulty=done["faulty"],
        persons_per_s=rate,
    )
    faults = done["faults"][:SHOWN]
    rows = [(f["line"], f["field"], f["reason"].partition(":")[0], f["masked"]) for f in faults]
    tale.teller.table(("line", "field", "what is wrong", "value"), rows)
    _pick_people(tale)


def _pick_people(tale: Tale) -> None:
    for number in range(1, SHOWN + 1):
        key = f"K-{number:07d}"
        step = tale.stage.run("person", "look-up", "--customer-number", key, profile=tale.internal)
        tale.people += step.document["persons"]
    must(len(set(tale.people)) == SHOWN, "look-up by customer number did not find the persons")


def agreement(tale: Tale) -> None:
    """The contract is proposed, the subcontractor gets an identity and signs."""
    stage = tale.stage
    tale.teller.say(
        "Acme Pay collects overdue invoices. Its contract says for which purposes it may have which fields, in which"
        " form, of how many persons, and that passing on is forbidden. Acme makes its own keys; the company only"
        " signs a certificate. Nothing is granted until Acme has signed the terms."
    )
    file, request, certificate = (stage.folder / name for name in ("acme.toml", "acme.csr", "acme.pem"))
    file.write_text(CONTRACT, encoding="utf-8")
    proposed = tale.run("contract", "propose", file, profile=tale.operator)
    tale.contract = proposed.document["contract"]["contract"]
    acme = tale.acme
    tale.run("profile", "create", acme, "--principal", SUBCONTRACTOR, "--like", tale.operator)
    tale.run("profile", "request", acme, "--out", request)
    tale.run(
        "certificate", "issue", "subcontractor", "acme-pay", "--csr", request, "--out", certificate, "--home", tale.home
    )
    tale.run("profile", "install", acme, certificate)
    early = stage.run("contract", "explain", tale.contract, profile=tale.acme)
    must(not early.document["live"], "the contract is live before it was accepted")
    accepted = tale.run("contract", "accept", tale.contract, "--yes", profile=tale.acme)
    must(accepted.document["contract"]["state"] == "active", "the accepted contract is not active")
    entry = accepted.document["entry_index"]
    tale.found(f"accepted by signature of Acme's own key: ledger entry {entry}", contract=tale.contract, entry=entry)
    tale.run("key", "register", profile=tale.acme)
    tale.found("Acme's encryption key (X-Wing: ML-KEM-768 with X25519) is on record; its private half never left Acme")


def a_slice(tale: Tale) -> None:
    """One slice: asked for, proven, opened; and what it looks like sealed."""
    tale.teller.say(
        "Acme knows persons by handles that nobody else can match. It names a contract and a purpose and gets a"
        " slice: only the granted fields, each encrypted to Acme's key and bound to its terms. The entry is in the"
        " ledger before the slice leaves."
    )
    handles = tale.stage.run("person", "handles", tale.contract, *tale.people, profile=tale.internal).document
    tale.handles = [item["handle"] for item in handles["handles"]]
    step = tale.run(
        "disclose", tale.contract, "--purpose", PURPOSE, "-f", FIELDS, "--handle", tale.handles[0],
        "--sealed", tale.sealed, profile=tale.acme,
    )  # fmt: skip
    opened = step.document["slices"][0]
    values, terms = opened["values"], opened["terms"]
    must(values.keys() == set(FIELDS.split(",")) - _absent(values), "a field came that was not asked for")
    must(len(values.get("payment.card_number", "")) <= LAST4, "the card number came in full")
    sealed = disclosure_pb2.Disclosure.FromString(tale.sealed.read_bytes()[4:])
    tale.teller.found(f"sealed: {len(sealed.slices[0])} bytes, {sealed.slices[0][:24].hex(' ', 4)} ...")
    tale.teller.table(("field", "opened by Acme", "form"), [(n, v, terms["fields"][n]) for n, v in values.items()])
    tale.value = values["email"]
    _nowhere_in_the_clear(tale, tale.value, tale.sealed.read_bytes())
    tale.found(
        f"entry {opened['entry_index']} in the ledger, proven by a receipt that Acme's client checked before it opened"
        f" anything; to be deleted by {terms['retain_until']}",
        entry=opened["entry_index"],
        retain_until=terms["retain_until"],
    )


def _absent(values: dict[str, str]) -> set[str]:
    return {name for name in FIELDS.split(",") if name not in values}


def _nowhere_in_the_clear(tale: Tale, value: str, sealed: bytes) -> None:
    canary = value.encode()
    must(canary not in sealed, "the sealed slice holds the value in the clear")
    for file in tale.home.glob("sluss.db*"):
        must(canary not in file.read_bytes(), f"{file.name} holds the value in the clear")
    tale.teller.found("the e-mail address is nowhere in the sealed bytes, the database or its write-ahead log")


def everybody(tale: Tale) -> None:
    """The whole population as a stream, straight into a file."""
    tale.teller.say(
        "A stream discloses everybody whom the grant covers, 256 persons to a ledger entry, each message with its own"
        " receipt. What arrives is verified, opened and put into a file that only its owner can read; a stream that"
        " is cut off goes on with --resume."
    )
    out = tale.slices
    words = ("disclose", tale.contract, "--purpose", PURPOSE, "-f", FIELDS, "--all", "--out", out)
    step = tale.run(*words, profile=tale.acme)
    slices, rate = step.document["slices"], round(step.document["slices"] / step.seconds)
    must(slices == tale.count, f"{slices} slices instead of {tale.count}")
    must(out.stat().st_mode & 0o077 == 0, "others can read the slices")
    tale.found(f"{slices:,} slices in {step.seconds:.1f} s ({rate:,}/s)", slices=slices, persons_per_s=rate)
    columns = ("name.display", "invoice.amount", "invoice.currency", "payment.card_number", "entry")
    tale.teller.table(columns, [[row[name] for name in columns] for row in _of_many_scripts(out)])


def _of_many_scripts(file: Path) -> list[dict[str, str]]:
    """Rows of the file, one per script that a name is written in."""
    found: dict[str, dict[str, str]] = {}
    with file.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            script = unicodedata.name(row["name.display"][:1], "").partition(" ")[0]
            found.setdefault(script, row)
    return list(found.values())[:SHOWN]


def out_of_scope(tale: Tale) -> None:
    """What the contract does not grant is refused, by name, and that is in the ledger too."""
    tale.teller.say(
        "A purpose or a field that the contract does not grant is refused: the answer says exactly what is wrong,"
        " nothing leaves, and the refusal is an entry of its own."
    )
    ask = ("disclose", tale.contract, "--handle", tale.handles[0])
    tale.refused("PURPOSE_OUT_OF_SCOPE", *ask, "--purpose", "partners.email", "-f", "email", profile=tale.acme)
    tale.refused("FIELD_OUT_OF_SCOPE", *ask, "--purpose", PURPOSE, "-f", "payment.iban", profile=tale.acme)
    listed = tale.run("ledger", "show", "--type", "refusal", profile=tale.operator).document["entries"]
    reasons = [item["entry"]["reason"] for item in listed]
    must({"PURPOSE_OUT_OF_SCOPE", "FIELD_OUT_OF_SCOPE"} <= set(reasons), "a refusal is not in the ledger")
    tale.found(
        f"entries {', '.join(str(item['index']) for item in listed)}: who asked, for what, and why not",
        refusals=len(listed),
    )


def opting_out(tale: Tale) -> None:
    """A person says no; the next call already respects it, and tells nothing."""
    tale.teller.say(
        "Offers by post are allowed unless the person says no. One person calls the support line and says no. It"
        " holds from the moment the call returns. Acme is told the same flat thing that it would be told of a person"
        " who never existed."
    )
    offer = ("disclose", tale.contract, "--purpose", OFFERS, "-f", "name.display,address.city")
    person, handle = tale.people[1], tale.handles[1]
    before = tale.stage.run(*offer, "--handle", handle, profile=tale.acme)
    must(len(before.document["slices"]) == 1, "the person was not available before saying no")
    choice = tale.run("choice", "record", person, OFFERS, "out", "--medium", "phone", profile=tale.internal)
    after = tale.run(*offer, "--handle", handle, exits=1, profile=tale.acme)
    must(not after.document["slices"], "a slice left after the person had said no")
    reason = after.document["unavailable"][0]["reason"]
    must(reason == "PERSON_UNAVAILABLE", f"Acme was told {reason}")
    tale.teller.found("PERSON_UNAVAILABLE, and no word about why", bad=True)
    invented = tale.stage.run(*offer, "--handle", "h_" + "A" * 22, exits=1, profile=tale.acme)
    must(invented.document["unavailable"][0]["reason"] == reason, "an unknown person is told apart")
    entry = choice.document["entry_index"]
    tale.found(f"the choice is entry {entry}; a handle that Acme made up gets the same answer", entry=entry)


def suspension(tale: Tale) -> None:
    """The contract is suspended: from that entry on, nothing leaves."""
    tale.teller.say(
        "Acme reports an incident. One command suspends the contract; in the ledger no disclosure stands after that"
        " entry, whatever was under way. Resuming is an entry as well."
    )
    reason = ("--reason", "incident 4711 at the recipient")
    entry = tale.run("contract", "suspend", tale.contract, *reason, profile=tale.operator).document["entry_index"]
    ask = ("disclose", tale.contract, "--purpose", PURPOSE, "-f", "email", "--handle", tale.handles[0])
    tale.refused("CONTRACT_SUSPENDED", *ask, profile=tale.acme)
    closed = ("--reason", "incident 4711 closed")
    end = tale.run("contract", "resume", tale.contract, *closed, profile=tale.operator).document["entry_index"]
    listed = tale.stage.run("ledger", "show", "--start", entry, profile=tale.operator).document["entries"]
    between = [item["entry"]["type"] for item in listed if entry < item["index"] < end]
    must("disclosure" not in between and "refusal" in between, "a disclosure stands after the suspension")
    step = tale.stage.run(*ask, profile=tale.acme)
    must(len(step.document["slices"]) == 1, "the resumed contract does not work")
    tale.found(f"suspended with entry {entry}, resumed with entry {end}, and working again", entry=entry)


def the_ledger(tale: Tale) -> None:
    """Everything is in the ledger, in words, and Acme can check it from outside."""
    tale.teller.say(
        "Every disclosure, refusal, choice and change of rights is one line of canonical JSON in a Merkle tree. It"
        " holds no personal data: a person is a commitment that only the broker can resolve. Acme checks from"
        " outside that the ledger has only grown since the last time it looked."
    )
    listed = tale.run("ledger", "show", "--limit", 0, profile=tale.operator).document["entries"]
    must(tale.value and tale.value not in str(listed), "the ledger holds a person's value")
    kinds = [item["entry"]["type"] for item in listed]
    counted = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    last = {item["entry"]["type"]: (item["index"], item["sentence"]) for item in listed}
    tale.teller.table(("entry", "the last of each kind, in words"), sorted(last.values()))
    step = tale.run("ledger", "verify", profile=tale.acme)
    size, receipts = step.document["size"], step.document["receipts"]
    must(step.document["ok"] and receipts > 0, "the ledger did not verify")
    tale.found(
        f"{size} entries; {receipts} of them are about Acme, and each proves itself by its receipt",
        entries=size,
        by_type=counted,
        receipts=receipts,
    )


def tampering(tale: Tale) -> None:
    """Somebody with access to the database changes one byte; verification names the entry."""
    tale.teller.say(
        "Somebody with full access to the database wants Acme to keep a disclosure a hundred years longer, and"
        " changes one digit of one entry. On a copy, so that your folder stays whole. Verification re-derives"
        " everything from the rows, offline, and names the entry."
    )
    tale.stage.stop()
    whole = tale.run("ledger", "verify", "--home", tale.home)
    must(not whole.document.get("findings"), "the untouched ledger has findings")
    tale.found(f"the broker is stopped; all of its ledger verifies in {whole.seconds * 1000:.0f} ms")
    copy = tale.stage.folder / "tampered"
    shutil.copytree(tale.home, copy)
    index, before, after = _alter(copy / "sluss.db")
    tale.teller.found(f'in {copy / "sluss.db"}, entry {index}: "retain_until":"{before}" becomes "{after}"', bad=True)
    step = tale.run("ledger", "verify", "--home", copy, exits=1)
    findings = [item for item in step.document["findings"] if item["index"] == index]
    must(findings, f"the altered entry {index} was not named")
    tale.found(f"found: {findings[0]['message']}", entry=index, finding=findings[0]["kind"])
    again = tale.stage.run("ledger", "verify", "--home", tale.home)
    must(not again.document.get("findings"), "the original did not stay whole")


def _alter(database: Path) -> tuple[int, str, str]:
    """Changes one digit of the last disclosure's retention date; gives its index and both dates."""
    with closing(sqlite3.connect(database)) as store, store:
        query = "SELECT id, entry FROM ledger_entry WHERE type = 'disclosure' ORDER BY id DESC LIMIT 1"
        index, entry = store.execute(query).fetchone()
        at = entry.index(b'"retain_until":"') + len(b'"retain_until":"')
        before = entry[at : at + 10].decode()
        after = before[0] + str((int(before[1]) + 1) % 10) + before[2:]
        altered = entry[:at] + after.encode() + entry[at + 10 :]
        store.execute("UPDATE ledger_entry SET entry = ? WHERE id = ?", (altered, index))
    return index, before, after


CHAPTERS = (
    Chapter("The customer file", "1a, 4", customers),
    Chapter("A contract, signed by the other side", "1e", agreement),
    Chapter("A slice", "1b, 4", a_slice),
    Chapter("Everybody the contract covers", "1b", everybody),
    Chapter("What the contract does not grant", "1e", out_of_scope),
    Chapter("A person says no", "1c, 2", opting_out),
    Chapter("An incident: the contract is suspended", "1e, 4", suspension),
    Chapter("A court order: two people, and secrecy with an end", "6", court_order),
    Chapter("A person wants to know, and to be forgotten", "3, 11", forgotten),
    Chapter("A stolen certificate", "4", stolen),
    Chapter("What the ledger tells", "3", the_ledger),
    Chapter("One byte is altered", "4", tampering),
)
