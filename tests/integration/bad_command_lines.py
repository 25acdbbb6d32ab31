"""Bad command lines of every verb, made from one good line of each: what is put into each argument and option.

`LINES` holds the good lines of the verbs that a profile calls, by the names of their parameters; whatever the type
of a parameter can be given wrongly is put into it in turn (`attacks`). The operator's verbs, of which some would
start a server or write a home folder, have tables of their own in `OPERATOR`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HANDLE = "h_" + "A" * 22
PERSON = "P-04CVZ6HGRM5PX"
CONTRACT = "C-2026-0001"
WHY = {"contract": CONTRACT, "reason": "why"}
OWED = "O-2026-0001"
CASE = "L-2026-0001"
ASKED = {"request": "R-2026-0001"}
COMPLAINT = "K-2026-0001"
STEP = {"case": CASE, "reason": "why"}
STEPS = (
    "review",
    "ask-information",
    "challenge",
    "reject",
    "prepare",
    "dispute",
    "close",
    "lift",
)
ASK = {"contract": CONTRACT, "purpose": "billing.collection", "fields": "email"}

# verb -> (who calls, the good line). `{place}` is the folder of the test: terms.toml, list.txt, a.pem ... are in it.
LINES = {
    "import": ("internal", {"file": "{place}/rows.csv", "mapping": "{place}/mapping.toml", "source": "crm"}),
    "disclose": ("acme", {**ASK, "handles": HANDLE}),
    "open": ("acme", {"file": "{place}/kept.sealed"}),
    "contract propose": ("operator", {"file": "{place}/terms.toml"}),
    "contract accept": ("acme", {"contract": CONTRACT}),
    "contract suspend": ("operator", WHY),
    "contract resume": ("operator", WHY),
    "contract terminate": ("operator", WHY),
    "contract amend": ("operator", {"contract": CONTRACT, "file": "{place}/terms.toml"}),
    "contract show": ("acme", {"contract": CONTRACT}),
    "contract list": ("operator", {}),
    "contract explain": ("acme", {"contract": CONTRACT}),
    "person show": ("internal", {"person": PERSON}),
    "person look-up": ("internal", {"email": "m@example.com"}),
    "person register": ("internal", {"values": "language=sv", "opt_in": "offers.email"}),
    "person update": ("internal", {"person": PERSON, "values": "language=sv"}),
    "choice record": ("internal", {"person": PERSON, "purpose": "offers.email", "state": "in"}),
    "choice list": ("internal", {"person": PERSON}),
    "choice import": (
        "internal",
        {"file": "{place}/list.txt", "key": "customer_number", "purpose": "offers", "state": "out"},
    ),
    "choice export": ("internal", {"out": "{place}/exported.csv"}),
    "person handles": ("internal", {"contract": CONTRACT, "persons": PERSON}),
    "hold place": ("legal", {"person": PERSON, "reason": "why"}),
    "hold lift": ("legal", {"hold": "H-2026-0001", "reason": "why"}),
    "hold list": ("legal", {}),
    "request open": ("privacy", {"kind": "access", "asked": "why", "person": PERSON}),
    "request list": ("privacy", {}),
    "request show": ("privacy", ASKED),
    "request identity": ("privacy", {**ASKED, "method": "eid", "result": "passed"}),
    "request work": ("privacy", {**ASKED, "note": "why"}),
    "request extend": ("privacy", {**ASKED, "reason": "why"}),
    "request refuse": ("privacy", {**ASKED, "ground": "excessive", "told": "why"}),
    "request withdraw": ("privacy", {**ASKED, "reason": "why"}),
    "request export": ("privacy", {**ASKED, "out": "{place}/export"}),
    "request hand-over": ("privacy", {**ASKED, "sha256": "0" * 64, "how": "why"}),
    "request rectify": ("privacy", {**ASKED, "remove": "phone"}),
    "request erase": ("privacy", {**ASKED, "yes": True}),
    "request told": ("privacy", {**ASKED, "case": "L-2026-0001"}),
    "request object": ("privacy", {**ASKED, "purposes": "offers.email"}),
    "request statistics": ("privacy", {"first": "2026-01-01", "last": "2026-12-31"}),
    "legal open": ("legal", {"file": "{place}/request.toml"}),
    "legal show": ("legal", {"case": CASE}),
    "legal list": ("legal", {}),
    **{f"legal {step}": ("legal", STEP) for step in STEPS},
    **{f"legal {step}": ("legal", {**STEP, "yes": True}) for step in ("approve", "emergency", "confirm")},
    "legal change": ("legal", {"case": CASE, "note": "why"}),
    "legal note": ("legal", {"case": CASE, "words": "why"}),
    "legal hide": ("legal", {**STEP, "until": "2027-01-01"}),
    "legal prolong": ("legal", {**STEP, "until": "2027-01-01"}),
    "legal find": ("legal", {"email": "m@example.com"}),
    "legal preview": ("legal", {"case": CASE}),
    "legal release": ("legal", {"case": CASE}),
    "legal record": (
        "legal",
        {**STEP, "on": "2026-01-01", "person": PERSON, "field": "email", "medium": "paper"},
    ),
    "legal check": ("legal", {"file": "{place}/bytes", "passphrase_file": "{place}/list.txt"}),
    "legal recipients": ("legal", {"person": PERSON}),
    "legal report": ("legal", {"first": "2026-01-01", "last": "2026-12-31"}),
    "legal opening": ("legal", {"index": "0"}),
    "legal document add": ("legal", {"case": CASE, "file": "{place}/list.txt"}),
    "legal document get": ("legal", {"case": CASE, "number": "1"}),
    "trace": ("legal", {"reason": "why", "value": "m@example.com"}),
    "canary plant": ("operator", {**WHY, "email_domain": "example.com"}),
    "canary list": ("operator", {}),
    "canary retire": ("operator", WHY),
    "obligation list": ("acme", {}),
    "obligation show": ("acme", {"obligation": OWED}),
    "obligation watch": ("acme", {"seconds": "0.2"}),
    "obligation acknowledge": ("acme", {"obligation": OWED}),
    "obligation attest": ("acme", {"obligation": OWED, "outcome": "deleted"}),
    "obligation delay": ("acme", {"obligation": OWED, "until": "2027-01-01", "reason": "why"}),
    "obligation report": ("operator", {}),
    "obligation remind": ("operator", {"obligation": OWED}),
    "obligation answer-delay": ("legal", {"obligation": OWED, "until": "2027-01-01", "reason": "why"}),
    "obligation close": ("legal", {"obligation": OWED, "reason": "why"}),
    "policy publish": ("operator", {"file": "{place}/policy.toml"}),
    "policy list": ("internal", {}),
    "policy show": ("internal", {"version": "2031-01"}),
    "policy accept": ("internal", {"person": PERSON, "version": "2026-01"}),
    "policy acceptances": ("internal", {"person": PERSON}),
    "outbox list": ("operator", {}),
    "outbox watch": ("internal", {"consumer": "mail", "count": "1"}),
    "aggregate describe": ("acme", {"contract": CONTRACT}),
    "aggregate query": (
        "acme",
        {
            "purpose": "anonymous.advertising",
            "event": "advertisement.visited",
            "contract": CONTRACT,
            "first": "2026-01-01",
            "last": "2026-01-31",
        },
    ),
    "aggregate budget": ("acme", {"contract": CONTRACT}),
    "aggregate record": ("internal", {"file": "{place}/rows.csv"}),
    "compromise report": (
        "legal",
        {"principal": "subcontractor/acme", "first": "2026-11-20", "how": "why"},
    ),
    "compromise list": ("legal", {}),
    **{
        f"compromise {name}": ("legal", {"report": "B-2026-0001"})
        for name in ("show", "disclosures", "persons", "facts")
    },
    **{f"compromise {name}": ("legal", {"report": "B-2026-0001", "reason": "why"}) for name in ("reinstate", "close")},
    "complaint open": (
        "legal",
        {"person": PERSON, "channel": "email", "kind": "other", "about": "why", "links": "0"},
    ),
    "complaint list": ("legal", {}),
    "complaint show": ("legal", {"complaint": COMPLAINT}),
    "complaint note": ("legal", {"complaint": COMPLAINT, "words": "why"}),
    "complaint link": ("legal", {"complaint": COMPLAINT, "links": "0"}),
    "complaint assign": ("legal", {"complaint": COMPLAINT, "handler": "privacy/team"}),
    "complaint extend": ("legal", {"complaint": COMPLAINT, "deadline": "2027-01-01", "reason": "why"}),
    "complaint outcome": ("legal", {"complaint": COMPLAINT, "outcome": "upheld", "told": "why"}),
    "complaint remedy": ("legal", {"complaint": COMPLAINT, "kind": "apologise", "note": "why"}),
    "complaint close": ("legal", {"complaint": COMPLAINT}),
    "complaint statistics": ("legal", {"first": "2026-01-01", "last": "2026-12-31"}),
    "key register": ("acme", {}),
    "key rotate": ("acme", {}),
    "key list": ("acme", {}),
    "ledger show": ("acme", {}),
    "ledger checkpoint": ("acme", {}),
    "ledger receipt": ("acme", {"index": "0"}),
    "ledger verify": ("acme", {}),
    "profile create": ("acme", {"folder": "{place}/new", "principal": "subcontractor/acme-pay"}),
    "profile request": ("acme", {"folder": "{place}/nobody"}),
    "profile install": ("acme", {"folder": "{place}/nobody", "certificate": "{place}/a.pem"}),
    "profile show": ("acme", {"folder": "{place}/nobody"}),
}

# Verbs of a client that serve until they are stopped.
SERVING = {
    "console": [
        ("--listen", "nowhere"),
        ("--listen", "0.0.0.0:8443"),
        ("--certificate", "{place}/list.txt", "--key", "{place}/list.txt"),
        (
            "--listen",
            "127.0.0.1:0",
            "--client-ca",
            "/nowhere.pem",
            "--certificate",
            "/nowhere.pem",
            "--key",
            "/nowhere",
        ),
        ("--bogus",),
    ],
}

HOME = ("--home", "{place}/home")
NEW = ("--home", "{place}/new-home")
OPERATOR = {
    "init": [
        (*NEW, "--origin", "example.com/sluss"),
        (*NEW, "--origin", "", "--trust-domain", "example.com"),
        (*NEW, "--origin", "a b", "--trust-domain", "example.com"),
        (*NEW, "--origin", "o" * 5000, "--trust-domain", "example.com"),
        (*NEW, "--origin", "example.com/sluss", "--trust-domain", ""),
        (*NEW, "--origin", "example.com/sluss", "--trust-domain", "d" * 5000),
        (*NEW, "--origin", "example.com/sluss", "--trust-domain", "example.com", "--listen", "7443"),
        (*NEW, "--origin", "example.com/sluss", "--trust-domain", "example.com", "--profile", "king/anna"),
    ],
    "serve": [
        ("--home", "/nowhere/at/all"),
        (*HOME, "--workers", "two"),
        (*HOME, "--workers", "-1"),
        (*HOME, "--listen", "nowhere"),
    ],
    "backup": [
        ("", *HOME),
        ("{place}/list.txt", *HOME),
        ("/proc/no/folder", *HOME),
        ("{place}/taken", "--home", "/nowhere/at/all"),
        (*HOME,),
    ],
    "restore": [
        (*HOME,),
        ("/nowhere/at/all", *HOME),
        ("{place}", *HOME),
        ("{place}/list.txt", *HOME, "--replace"),
        ("{place}", "--erase-again", *HOME),
        ("--erase-again", "--replace", *HOME),
        ("--erase-again", "--old-database", "/nowhere/at/all", *HOME),
        ("--erase-again", "--old-database", "{place}/list.txt", *HOME),
        ("--erase-again", "--old-database", "mysql://somewhere/else", *HOME),
        ("--old-database", "{place}/list.txt", *HOME),
        ("--erase-again", "--home", "/nowhere/at/all"),
    ],
    "demo": [("--persons", "-1"), ("--persons", "many"), ("--persons", "9" * 30), ("--dir", "{place}/list.txt")],
    "certificate issue": [
        ("king", "anna", *HOME),
        ("legal", "", *HOME),
        ("legal", "a" * 5000, *HOME),
        ("legal", "a\x1b[2J", *HOME),
        ("legal", "anna", *HOME, "--csr", "/nowhere.pem"),
        ("legal", "anna", *HOME, "--csr", "{place}/list.txt"),
        ("legal", "anna", *HOME, "--out", "{place}/x", "--days", "0"),
        ("legal", "anna", *HOME, "--out", "{place}/x", "--days", "soon"),
        ("legal", "anna", *HOME),
    ],
    "certificate revoke": [
        (*HOME, "--reason", "x"),
        (*HOME, "--reason", "", "--serial", "1"),
        (*HOME, "--reason", "x" * 5000, "--serial", "1"),
        (*HOME, "--reason", "a\x1b[2J", "--serial", "1"),
        (*HOME, "--reason", "x", "--serial", "not hexadecimal"),
        (*HOME, "--reason", "x", "--serial", "a\udcffb"),
        (*HOME, "--reason", "x", "--principal", "king/anna"),
        (*HOME, "--reason", "x", "--profile", "/nowhere/at/all"),
    ],
    "certificate list": [(*HOME, "--principal", "a\udcffb"), ("--home", "/nowhere/at/all"), ("--home", "")],
    "certificate renew-server": [
        (*HOME, "--host", "a b"),
        (*HOME, "--host", "h" * 5000),
        ("--home", "/nowhere/at/all"),
    ],
    "catalogue import": [
        ("/nowhere.toml", *HOME),
        ("{place}/list.txt", *HOME),
        ("{place}/empty", *HOME),
        ("{place}", *HOME),
    ],
    "catalogue show": [("--home", "/nowhere/at/all"), ("--home", "{place}/list.txt")],
    "keys show": [("--home", "/nowhere/at/all"), ("--home", "")],
    "keys rotate": [
        ("index", *HOME),
        ("", *HOME),
        ("surprise", *HOME),
        ("records", "index", *HOME),
        ("a\udcffb", *HOME),
        ("--home", "/nowhere/at/all"),
    ],
    "keys rewrap": [("--home", "/nowhere/at/all"), ("--home", "")],
    "keys destroy-old": [
        ("index", "--yes", *HOME),
        ("surprise", "--yes", *HOME),
        ("a\udcffb", "--yes", *HOME),
        ("--json", *HOME),
        ("--yes", "--home", "/nowhere/at/all"),
    ],
    "ledger export": [("{place}/list.txt", *HOME), ("{place}/export", "--home", "/nowhere/at/all")],
}

LONG = "x" * 100_000
CONTROL = "a\x1b[2Jb"
TEXTS = {"too long": LONG, "control characters": CONTROL, "not UTF-8": "a\udcffb"}
NUMBERS = {
    "wrong type": "many",
    "a fraction": "1.5",
    "out of range below": "-1",
    "out of range above": str(2**63),
    "thousands of digits": "9" * 5000,
}
FILES = {
    "missing file": "/nowhere/at/all",
    "empty file": "{place}/empty",
    "a folder": "{place}",
    "a device": "/dev/zero",
    "a pipe": "{place}/pipe",
    "a file of bytes": "{place}/bytes",
    "not UTF-8": "a\udcffb",
}
ENUMS = {"state", "suite", "format_", "ground", "medium", "language"}
READ = {
    "file",
    "mapping",
    "catalogue",
    "ca",
    "certificate",
    "handles_file",
    "persons_file",
    "scope",
    "to_key",
    "private_key",
    "ledger_key",
    "passphrase_file",
}
FOLDERS = {"folder", "like"}
WRITTEN = {"out", "sealed", "faulty", "chart_file"}
SHARED = {"profile_dir", "as_json"}
# An unknown name in a filter finds nothing, which is no mistake.
FILTERS = {
    ("contract list", "subcontractor"),
    ("ledger show", "contract"),
    ("ledger show", "recipient"),
    ("ledger show", "type_"),
    ("ledger verify", "contract"),
    ("legal list", "handler"),
    # What is no value of anybody is told to be none.
    ("trace", "value"),
    # How a person chose is any word.
    ("choice import", "medium"),
    ("choice record", "medium"),
    ("person register", "medium"),
    # A document is any file.
    ("legal document add", "file"),
}


def verbs(command, path=()):
    """Every verb of the command with its path."""
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from verbs(child, (*path, name))


def kinds(parameter):
    """What a parameter can be given wrongly, by kind."""
    if parameter.name in WRITTEN:
        # Faulty rows are told by the last import; anything else that is there is somebody's.
        taken = {"is there already": "{place}/list.txt"} if parameter.name != "faulty" else {}
        return {"no such folder": "/nowhere/at/all/x", "a folder": "{place}", "not UTF-8": "a\udcffb", **taken}
    if parameter.name in READ:
        return FILES
    if parameter.name in FOLDERS:
        return {"missing": "/nowhere/at/all", "a file": "{place}/list.txt", "not UTF-8": "a\udcffb"}
    if parameter.bare_type is int:
        return NUMBERS
    if parameter.bare_type is bool:
        return {}
    empty = {"empty": ""} if parameter.required else {}
    unknown = {"unknown": "maybe"} if parameter.name in ENUMS else {}
    return {**empty, **unknown, **TEXTS}


def attacks(name, verb):
    """Every bad line of a verb: (kind of what is wrong, parameter, words)."""
    line = LINES[name][1]
    yield "unknown option", "", [*words(verb, line), "--bogus"]
    for parameter in verb.params:
        if parameter.name in SHARED:
            continue
        for kind, value in kinds(parameter).items():
            yield kind, parameter.name, words(verb, {**line, parameter.name: value})
        if parameter.required:
            yield "left out", parameter.name, words(verb, {k: v for k, v in line.items() if k != parameter.name})


def words(verb, line):
    """A command line from values by parameter; arguments last, after `--`, so that any text can be one."""
    options, arguments = [], []
    for parameter in verb.params:
        if parameter.name not in line:
            continue
        if line[parameter.name] is True:
            options.append(parameter.opts[0])
        elif parameter.opts[0].startswith("-"):
            options.append(f"{parameter.opts[0]}={line[parameter.name]}")
        else:
            arguments.append(line[parameter.name])
    return [*options, *(["--", *arguments] if arguments else [])]


def lay_out(place: Path):
    """The files that the lines name."""
    (place / "empty").touch()
    (place / "bytes").write_bytes(bytes(range(256)) * 8)
    (place / "list.txt").write_text("one line\n")
    os.mkfifo(place / "pipe")
