"""`sluss legal find, preview`: whose data a scope would be about, with values masked. Nothing is released."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from sluss.v1 import legal_pb2 as pb

from sluss_cli.given_file import read_text
from sluss_cli.legal.asking import get_case
from sluss_cli.legal.case_file import parse_scope
from sluss_cli.problems import usage
from sluss_cli.progress import progress
from sluss_cli.session import Session
from sluss_cli.values import one_value
from sluss_cli.verb import verb

SEARCH_S = 300.0
"""Seconds that a search by name may take, which looks at everybody on record."""
_SHORTEST_NAME = 2


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    verb(
        app,
        "find",
        examples=(
            "sluss legal find --customer-number K-100042",
            "sluss legal find --name lindqvist",
            "sluss legal find --email -",
        ),
    )(find)
    verb(
        app,
        "preview",
        examples=("sluss legal preview L-2026-0001", "sluss legal preview --file request.toml"),
    )(preview)


def find(
    session: Session,
    *,
    name: Annotated[str, typer.Option(help="Part of a name; - reads it from standard input.", metavar="NAME")] = "",
    email: Annotated[str, typer.Option(help="A whole e-mail address, or -.", metavar="ADDRESS")] = "",
    phone: Annotated[str, typer.Option(help="A phone number such as +46701234567, or -.", metavar="NUMBER")] = "",
    customer_number: Annotated[str, typer.Option(help="A customer number, or -.", metavar="NUMBER")] = "",
) -> None:
    """Find persons for a scope; what is shown of them is masked."""
    given = {"name": name, "email": email, "phone": phone, "customer_number": customer_number}
    asked = {by: one_value(value) for by, value in given.items() if value}
    if len(asked) != 1 or not all(asked.values()):
        raise usage("give exactly one of --name, --email, --phone, --customer-number")
    if 0 < len(asked.get("name", "").strip()) < _SHORTEST_NAME:
        raise usage("a name is looked for by at least two characters")
    found, more = _search(session, pb.FindPersonsRequest(**asked))
    session.output.result({"persons": [person_document(person) for person in found], "more": more})
    _print_persons(session, found, "nobody found")
    if more:
        session.output.line("There are more than are shown: look for a longer part of the name.")


def _search(session: Session, request: pb.FindPersonsRequest) -> tuple[list[pb.FoundPerson], bool]:
    found: list[pb.FoundPerson] = []
    more = False
    with progress(session.output, "persons") as advance:
        for message in session.legal.FindPersons(request, timeout=SEARCH_S):
            found.extend(message.persons)
            more = more or message.more
            advance(message.done, message.total)
    return found, more


def preview(
    session: Session,
    case: Annotated[str, typer.Argument(help="The case whose scope it is.", metavar="CASE")] = "",
    *,
    file: Annotated[Path | None, typer.Option(help="A request that is not opened yet.", metavar="FILE.toml")] = None,
) -> None:
    """What a scope would release: how many persons have which field, and the first of them masked."""
    if bool(case) == bool(file):
        raise usage("name a case, or a request with --file")
    if file:
        scope, ground = parse_scope(read_text(file))
        if not ground:
            raise usage("the file's `ground`: missing")
    else:
        shown = get_case(session, case).case
        scope, ground = shown.scope, shown.ground
    reply = session.legal.PreviewScope(pb.PreviewScopeRequest(scope=scope, ground=ground), timeout=SEARCH_S)
    session.output.result(_document(reply))
    _print(session, reply)


def _print(session: Session, reply: pb.PreviewScopeResponse) -> None:
    session.output.facts(
        {
            "persons": reply.persons,
            "not on record": reply.unknown or "",
            "counted": "the first 10,000 persons only" if reply.partial else "",
        }
    )
    session.output.table(
        ("field", "form", "persons with a value"),
        [(count.field.field, count.field.transform, count.persons) for count in reply.fields],
    )
    session.output.line()
    _print_persons(session, reply.sample, "nobody")


def _print_persons(session: Session, persons: Sequence[pb.FoundPerson], empty: str) -> None:
    rows = [(p.person_id, ", ".join(f"{v.field} {v.masked}" for v in p.values)) for p in persons]
    session.output.table(("person", "masked"), rows, empty=empty)


def _document(reply: pb.PreviewScopeResponse) -> dict[str, Any]:
    return {
        "persons": reply.persons,
        "unknown": reply.unknown,
        "partial": reply.partial,
        "fields": [
            {"field": count.field.field, "transform": count.field.transform, "persons": count.persons}
            for count in reply.fields
        ],
        "sample": [person_document(person) for person in reply.sample],
    }


def person_document(person: pb.FoundPerson) -> dict[str, Any]:
    """A person for `--json`, masked."""
    return {"person": person.person_id, "masked": {value.field: value.masked for value in person.values}}
