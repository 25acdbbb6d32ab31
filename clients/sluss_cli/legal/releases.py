"""`sluss legal release, record, check`: what leaves, what had left elsewhere, and what an authority does with it."""

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sluss.v1 import legal_pb2 as pb
from sluss_client.files import SECRET, write_atomic
from sluss_legal.words import MEDIA

from broker.slice_terms import unbase64
from sluss_cli.given_file import read_bytes
from sluss_cli.legal.asking import CaseId, Etag, Language, Why, counted, day, etag_of, get_case, language_of, need, text
from sluss_cli.legal.case_text import case_document
from sluss_cli.legal.recipient_key import read_private_key
from sluss_cli.problems import usage
from sluss_cli.progress import progress
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.values import read_lines
from sluss_cli.verb import verb

if TYPE_CHECKING:
    from sluss_legal.checking import Checked
    from sluss_legal.package import Package

    from broker.sealing import RecipientPrivateKey

_DIGEST = 32
ZIP = b"PK"
AGE = b"age-encryption.org/"
PACKAGE = 1 << 30
"""Bytes of a package that `check` opens."""
_PRIVATE_FOLDER = 0o700


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    verb(
        app,
        "release",
        examples=(
            "sluss legal release L-2026-0001",
            "sluss legal release L-2026-0001 --out court.zip.age --language sv",
        ),
    )(release)
    verb(
        app,
        "record",
        examples=(
            (
                "sluss legal record L-2026-0001 --on 2026-11-20 --person P-04CVZ6HGRM5PX --field email --medium paper"
                ' --reason "handed over in court by B. Ek"'
            ),
        ),
    )(record)
    verb(
        app,
        "check",
        examples=(
            "sluss legal check L-2026-0001.zip.age --ledger-key example.com/sluss+5cb0ea24+AQ...",
            "sluss legal check L-2026-0001.zip --private-key court.pem --out released",
        ),
    )(check)


def release(
    session: Session,
    case: CaseId,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Write the package here; default: named after the case.", metavar="FILE")
    ] = None,
    language: Language = "en",
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Keep FILE.release, to make the package again with another passphrase; remove it yourself.",
        ),
    ] = False,
) -> None:
    """Release what was approved, as a package. Run again after an interruption, it goes on where it stopped.

    Each entry stands in the ledger before its data leave, and is proven before they are opened. Until the package is
    written, what came is kept sealed in FILE.release. The passphrase is shown once: tell it by another way than the
    package.
    """
    language_of(language)
    need("pyrage", "typst", "babel")
    from sluss_legal.package import build  # noqa: PLC0415 - of the extra `legal`
    from sluss_legal.releasing import check_releasable, open_file  # noqa: PLC0415 - slow to load
    from sluss_legal.releasing import release as carry_out  # noqa: PLC0415 - the same

    shown = get_case(session, case).case
    check_releasable(shown)
    path = out or _default_path(shown)
    state = path.with_name(f"{path.name}.release")
    if path.exists() and not state.exists():
        raise usage("there is a file of this name already: name another with --out", file=str(path))
    with open_file(state, shown) as file:
        with progress(session.output, "persons") as advance:
            released = carry_out(session.legal, session.profile, shown, file, advance)
        made = build(released, language)
        write_atomic(path, made.content, SECRET)
        _tell(session, path, made)
        if not keep:
            file.forget()


def _default_path(case: pb.Case) -> Path:
    return Path(f"{case.case_id}.zip" + ("" if case.delivery.HasField("key") else ".age"))


def _tell(session: Session, path: Path, made: "Package") -> None:
    cover = made.cover
    session.output.result(
        {
            "file": str(path),
            "release": cover.number,
            "persons": cover.persons,
            "entries": list(cover.indexes),
            "passphrase": made.passphrase,
        }
    )
    persons = counted(cover.persons, "person", "persons")
    entries = counted(len(cover.indexes), "ledger entry", "ledger entries")
    session.output.line(f"Release {cover.number}: data of {persons}, {entries}.")
    session.output.line(f"Wrote {path}.")
    if made.passphrase:
        session.output.line(f"Passphrase, shown this once: {made.passphrase}")
        session.output.line(
            "Tell it to the recipient by another way than the package: by telephone, in person, by post."
        )
    else:
        session.output.line("It is sealed to the authority's own key: nobody else can open it.")


def record(
    session: Session,
    case: CaseId,
    *,
    on: Annotated[str, typer.Option(help="The day on which it was released.", metavar="DAY")],
    person: Annotated[list[str] | None, typer.Option(help="Whose data; up to 256.", metavar="PERSON")] = None,
    persons_file: Annotated[
        str, typer.Option(help="A file with one person id per line; - is standard input.", metavar="FILE")
    ] = "",
    field: Annotated[list[str], typer.Option("--field", "-f", help="Which field; repeatable.", metavar="FIELD")],
    medium: Annotated[
        str, typer.Option(help=f"How: {', '.join(MEDIA)}.", metavar="MEDIUM", autocompletion=lambda: list(MEDIA))
    ],
    reason: Why,
    etag: Etag = "",
    request_id: Annotated[
        str, typer.Option(help="A UUID4: the same one with the same facts records once.", metavar="UUID")
    ] = "",
) -> None:
    """Record a release that was made elsewhere: on paper, in court, by another system."""
    persons = [*(person or ()), *(read_lines(persons_file) if persons_file else ())]
    if not persons:
        raise usage("name at least one person: --person or --persons-file")
    if medium not in MEDIA:
        raise usage(f"--medium is one of {', '.join(MEDIA)}")
    if not day(on, "--on"):
        raise usage("--on takes a day such as 2026-11-25")
    request = pb.RecordReleaseRequest(
        request_id=request_id or str(uuid.uuid4()),
        case_id=case,
        released_on=on,
        person_ids=persons,
        fields=field,
        medium=medium,
        reason=text(reason, "--reason"),
        etag=etag_of(session, case, etag),
    )
    reply = session.legal.RecordRelease(request, timeout=DEADLINE_S)
    session.output.result({"case": case_document(reply.case), "entry_index": reply.entry_index})
    session.output.line(f"Recorded, marked as made elsewhere: ledger entry {reply.entry_index}.")


def check(
    session: Session,
    file: Annotated[Path, typer.Argument(help="The package: .zip.age or .zip.", metavar="FILE")],
    *,
    passphrase_file: Annotated[
        str, typer.Option(help="Read the passphrase from here; - is standard input; default: ask.", metavar="FILE")
    ] = "",
    private_key: Annotated[
        Path | None, typer.Option(help="The authority's own key, for a package sealed to it.", metavar="FILE")
    ] = None,
    ledger_key: Annotated[
        list[str] | None,
        typer.Option(
            help="A public key of the ledger, as the company publishes it; repeatable; or the profile's.",
            metavar="VKEY",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write what is in it into this new folder.", metavar="DIR")] = None,
) -> None:
    """Open a package as an authority does, and prove that it holds what the ledger holds. Needs no broker."""
    from sluss_legal import checking  # noqa: PLC0415 - slow to load

    keys = ledger_key or _profile_keys(session)
    content = read_bytes(file, PACKAGE)
    if out and out.exists():
        raise usage("there is something of this name already: name another folder with --out", file=str(out))
    if content.startswith(AGE):
        need("pyrage")
        content = checking.decrypt(content, _passphrase(passphrase_file))
    elif not content.startswith(ZIP):
        raise usage("this is no package of a release", file=str(file))
    key = _private_key(content, private_key)
    checked = checking.check(content, keys, key)
    if out:
        _write(out, content, checked)
    _tell_checked(session, checked, out)


def _tell_checked(session: Session, checked: "Checked", out: Path | None) -> None:
    facts = checked.facts
    session.output.result(
        {
            "release": facts["release"],
            "case": facts["case"],
            "ledger": facts["ledger"],
            "entries": checked.entries,
            "persons": len(checked.persons),
            "opened": checked.opened,
            "out": str(out) if out else "",
        }
    )
    entries = counted(len(checked.entries), "entry", "entries")
    session.output.line(f"Release {facts['release']}: {entries} of {facts['ledger']}, proven.")
    if checked.opened:
        persons = counted(len(checked.persons), "person", "persons")
        session.output.line(f"The data of {persons} are what the ledger names. Nothing is wrong.")
    else:
        session.output.line("The sealed data are what the ledger names. To open them: --private-key FILE")
    if out:
        session.output.line(f"Wrote {out}.")


def _profile_keys(session: Session) -> list[str]:
    """An authority has no profile: it names the ledger's key. Those in the package would prove nothing."""
    if not session.has_profile:
        raise usage("by which ledger key? Name the one that the company publishes: --ledger-key VKEY")
    return list(session.profile.ledger_keys)


def _passphrase(source: str) -> str:
    if not source:
        return str(typer.prompt("Passphrase", hide_input=True, err=True)).strip()
    found = sys.stdin.readline().strip() if source == "-" else (read_lines(source) or [""])[0]
    return text(found, "the passphrase")


def _private_key(content: bytes, path: Path | None) -> "RecipientPrivateKey | None":
    from sluss_legal.checking import facts_of  # noqa: PLC0415 - as in `check`

    return read_private_key(path, unbase64(facts_of(content)["key"], _DIGEST)) if path else None


def _write(folder: Path, content: bytes, checked: "Checked") -> None:
    from sluss_legal.checking import files_of  # noqa: PLC0415 - as in `check`
    from sluss_legal.data_files import csv_lines, json_lines  # noqa: PLC0415 - the same

    files = files_of(content)
    if checked.opened and "data.jsonl" not in files:
        files["data.csv"] = b"".join(csv_lines(checked.facts["fields"], checked.persons))
        files["data.jsonl"] = b"".join(json_lines(checked.persons))
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True)
    for name, data in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise usage("the package holds a file for another place than its folder", file=name)
        path.parent.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        write_atomic(path, data, SECRET)
