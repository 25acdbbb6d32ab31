"""`sluss legal change, note, hide, prolong, lift`: what a case is about, without moving it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from sluss.v1 import legal_pb2 as pb

from sluss_cli.given_file import read_text
from sluss_cli.legal.asking import CaseId, Etag, Why, day, etag_of, get_case, text
from sluss_cli.legal.case_file import parse_scope
from sluss_cli.legal.case_text import case_document, print_scope, secrecy_name
from sluss_cli.legal.recipient_key import read_public_key
from sluss_cli.problems import usage
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import verb

Until = Annotated[str, typer.Option("--until", help="The last day of secrecy.", metavar="DAY")]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    verb(
        app,
        "change",
        examples=(
            'sluss legal change L-2026-0001 --drop-field phone --drop-person P-04CVZ6HGRM5PX --note "not in the order"',
            "sluss legal change L-2026-0001 --package --retain-until 2027-06-30",
            "sluss legal change L-2026-0001 --to-key authority.pem --retain-until 2027-06-30",
            "sluss legal change L-2026-0001 --handler legal/bo --deadline 2026-12-15",
        ),
    )(change)
    verb(app, "note", examples=('sluss legal note L-2026-0001 "Called the registry."',))(note)
    verb(
        app,
        "hide",
        examples=('sluss legal hide L-2026-0001 --until 2027-02-28 --reason "the court forbids telling"',),
    )(hide)
    verb(
        app,
        "prolong",
        examples=('sluss legal prolong L-2026-0001 --until 2027-08-31 --reason "prolonged by the court"',),
    )(prolong)
    verb(app, "lift", examples=('sluss legal lift L-2026-0001 --reason "the investigation is over"',))(lift)


def change(
    session: Session,
    case: CaseId,
    *,
    scope: Annotated[
        Path | None,
        typer.Option(help="A narrower scope: the table `scope` of a file for `open`.", metavar="FILE.toml"),
    ] = None,
    drop_field: Annotated[
        list[str] | None,
        typer.Option(help="A field not to be released after all; repeatable.", metavar="FIELD"),
    ] = None,
    drop_person: Annotated[
        list[str] | None,
        typer.Option(help="A person not to be released after all; repeatable.", metavar="PERSON"),
    ] = None,
    collected_from: Annotated[
        str, typer.Option(help="Only values collected on this day or later.", metavar="DAY")
    ] = "",
    collected_until: Annotated[
        str, typer.Option(help="Only values collected on this day or earlier.", metavar="DAY")
    ] = "",
    package: Annotated[bool, typer.Option("--package", help="Deliver as a package with a passphrase.")] = False,
    to_key: Annotated[
        Path | None, typer.Option(help="Deliver sealed to this public key of the authority.", metavar="FILE")
    ] = None,
    retain_until: Annotated[
        str, typer.Option(help="The day by which the recipient is asked to delete.", metavar="DAY")
    ] = "",
    handler: Annotated[str, typer.Option(help="Another handler, such as legal/bo.", metavar="KIND/ID")] = "",
    deadline: Annotated[str, typer.Option(help="Another deadline.", metavar="DAY")] = "",
    note: Annotated[str, typer.Option(help="Why, or what else is to be remembered.", metavar="TEXT")] = "",
    etag: Etag = "",
) -> None:
    """Change handler or deadline, narrow the scope, or set how it is delivered; the last two end an approval."""
    collected = day(collected_from, "--collected-from"), day(collected_until, "--collected-until")
    day(deadline, "--deadline")
    day(retain_until, "--retain-until")
    if package and to_key:
        raise usage("either --package or --to-key")
    if not any((scope, drop_field, drop_person, *collected, package, to_key, retain_until, handler, deadline, note)):
        raise usage("nothing to change: see --help")
    before = get_case(session, case).case
    narrower = _narrowed(before, scope, drop_field or [], drop_person or [], collected)
    request = pb.ChangeCaseRequest(
        case_id=case,
        etag=etag or before.etag,
        scope=narrower,
        delivery=_delivery(before, to_key, retain_until, package=package),
        handler=handler,
        deadline=deadline,
        note=note,
    )
    reply = session.legal.ChangeCase(request, timeout=DEADLINE_S)
    session.output.result({"case": case_document(reply.case), "entry_index": reply.entry_index})
    session.output.line(f"{case} changed, ledger entry {reply.entry_index}.")
    print_scope(session.output, reply.case)


def _narrowed(
    case: pb.Case, file: Path | None, fields: Sequence[str], persons: Sequence[str], collected: tuple[str, str]
) -> pb.Scope | None:
    """The scope without what is dropped; None if it stays as it is."""
    if not (file or fields or persons or any(collected)):
        return None
    scope = parse_scope(read_text(file))[0] if file else _copy(case.scope)
    _drop_fields(scope, fields)
    _drop_persons(scope, persons)
    scope.collected_from = collected[0] or scope.collected_from
    scope.collected_until = collected[1] or scope.collected_until
    return scope


def _copy(scope: pb.Scope) -> pb.Scope:
    copied = pb.Scope()
    copied.CopyFrom(scope)
    return copied


def _drop_fields(scope: pb.Scope, fields: Sequence[str]) -> None:
    unknown = set(fields) - {granted.field for granted in scope.fields}
    if unknown:
        raise usage("a field to drop is not in the scope", field=min(unknown))
    kept = [granted for granted in scope.fields if granted.field not in fields]
    if not kept:
        raise usage("no field would be left: reject the case instead")
    del scope.fields[:]
    scope.fields.extend(kept)


def _drop_persons(scope: pb.Scope, persons: Sequence[str]) -> None:
    unknown = set(persons) - set(scope.listed.person_ids)
    if unknown:
        raise usage("a person to drop is not named in the scope", person=min(unknown))
    if persons:
        kept = [person for person in scope.listed.person_ids if person not in persons]
        if not kept:
            raise usage("no person would be left: reject the case instead")
        scope.listed.person_ids[:] = kept


def _delivery(before: pb.Case, key: Path | None, retain_until: str, *, package: bool) -> pb.Delivery | None:
    """How it is to be delivered; None if that stays as it is. What is not said again stays too."""
    if not (package or key or retain_until):
        return None
    delivery = pb.Delivery()
    delivery.CopyFrom(before.delivery)
    if package:
        delivery.package = True
    elif key:
        delivery.key.CopyFrom(read_public_key(key))
    delivery.retain_until = retain_until or delivery.retain_until
    if not delivery.WhichOneof("kind"):
        raise usage("say how it is delivered: --package or --to-key FILE")
    if not delivery.retain_until:
        raise usage("say by when the recipient is to delete: --retain-until DAY")
    return delivery


def note(
    session: Session,
    case: CaseId,
    words: Annotated[str, typer.Argument(help="What is to be remembered.", metavar="TEXT")],
    *,
    etag: Etag = "",
) -> None:
    """Add a note to the timeline."""
    text(words, "the note")
    request = pb.ChangeCaseRequest(case_id=case, etag=etag_of(session, case, etag), note=words)
    reply = session.legal.ChangeCase(request, timeout=DEADLINE_S)
    session.output.result({"case": case_document(reply.case), "entry_index": reply.entry_index})
    session.output.line(f"Noted, ledger entry {reply.entry_index}.")


def hide(session: Session, case: CaseId, *, until: Until, reason: Why, etag: Etag = "") -> None:
    """Hide a case from the persons concerned, until a day."""
    _set_secrecy(session, case, _needed(until), reason, etag)


def prolong(session: Session, case: CaseId, *, until: Until, reason: Why, etag: Etag = "") -> None:
    """Prolong the secrecy of a hidden case, until a later day."""
    _needed(until)
    text(reason, "--reason")
    secrecy = get_case(session, case).case.secrecy
    if secrecy.state != pb.SECRECY_STATE_HIDDEN:
        raise usage(f"{case} is not hidden: there is nothing to prolong; see `sluss legal hide`")
    if until <= secrecy.until:
        raise usage(f"{case} is hidden until {secrecy.until} already; to end it sooner see `sluss legal lift`")
    _set_secrecy(session, case, until, reason, etag)


def lift(session: Session, case: CaseId, *, reason: Why, etag: Etag = "") -> None:
    """End the secrecy of a case now; the persons concerned see it from this moment on."""
    _set_secrecy(session, case, "", reason, etag)


def _needed(until: str) -> str:
    if not day(until, "--until"):
        raise usage("secrecy has an end: --until DAY")
    return until


def _set_secrecy(session: Session, case: str, until: str, reason: str, etag: str) -> None:
    text(reason, "--reason")
    request = pb.SetSecrecyRequest(case_id=case, until=until, reason=reason, etag=etag_of(session, case, etag))
    reply = session.legal.SetSecrecy(request, timeout=DEADLINE_S)
    session.output.result({"case": case_document(reply.case), "entry_index": reply.entry_index})
    state = secrecy_name(reply.case.secrecy.state)
    end = f" until {reply.case.secrecy.until}" if until else ""
    session.output.line(f"{case} is {state}{end}, ledger entry {reply.entry_index}.")
