"""`sluss person`: the persons on record, for internal services and the privacy team."""

import uuid
from typing import Annotated, Any

import typer
from sluss.v1 import person_pb2 as pb
from sluss_legal.plain import plain

from broker.handles import handle_text
from sluss_cli.entry_text import moment
from sluss_cli.problems import usage
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.values import one_value, parse_choice, parse_values, read_lines, state_text
from sluss_cli.verb import group, verb

app = group("Persons on record: show, look-up, register, update, handles.")

Person = Annotated[str, typer.Argument(help="The person, such as P-04CVZ6HGRM5PX.", metavar="PERSON")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A value, repeatable; others can read the process list, so prefer --values-file.",
        metavar="FIELD=VALUE",
    ),
]
From = Annotated[
    str, typer.Option("--values-file", help="A file with FIELD=VALUE lines; - is standard input.", metavar="FILE")
]
Source = Annotated[str, typer.Option(help="Where the values were collected: registration, survey ...", metavar="NAME")]
Medium = Annotated[str, typer.Option(help="How the person chose: web, mail, phone ...", metavar="MEDIUM")]
_HANDLES_PER_CALL = 10_000


@verb(
    app,
    "show",
    examples=("sluss person show P-04CVZ6HGRM5PX", "sluss person show P-04CVZ6HGRM5PX --values"),
)
def show(
    session: Session,
    person: Person,
    *,
    values: Annotated[bool, typer.Option("--values", help="Show the values too, to those who may see them.")] = False,
) -> None:
    """Show which fields are on record, with source and time."""
    request = pb.GetPersonRequest(person_id=person, include_values=values)
    reply = session.persons.GetPerson(request, timeout=DEADLINE_S)
    session.output.result(_document(reply, values=values))
    session.output.heading(reply.person_id)
    session.output.facts(
        {"registered": moment(reply.created_at), "changed": moment(reply.updated_at), "etag": reply.etag}
    )
    columns = ("field", "category", "source", "collected", *(["value"] if values else []))
    session.output.table(
        columns,
        [(f.field, f.category, f.source, moment(f.collected_at), *([f.value] if values else [])) for f in reply.fields],
        empty="nothing on record",
    )
    _print_choices(session, reply)


def _print_choices(session: Session, reply: pb.GetPersonResponse) -> None:
    rows = [
        (choice.purpose, state_text(choice.state), ", ".join(choice.channels) or "all", choice.medium)
        for choice in reply.choices
    ]
    session.output.line()
    session.output.table(("purpose", "choice", "channels", "made by"), rows, empty="no choices on record")


def _document(reply: pb.GetPersonResponse, *, values: bool) -> dict[str, Any]:
    return {
        "person": reply.person_id,
        "etag": reply.etag,
        "created_at": reply.created_at,
        "updated_at": reply.updated_at,
        "fields": [
            {
                "field": field.field,
                "category": field.category,
                "source": field.source,
                "collected_at": field.collected_at,
                **({"value": field.value} if values else {}),
            }
            for field in reply.fields
        ],
        "choices": [
            {
                "purpose": choice.purpose,
                "state": state_text(choice.state),
                "channels": list(choice.channels),
                "medium": choice.medium,
            }
            for choice in reply.choices
        ],
    }


@verb(
    app,
    "look-up",
    examples=("sluss person look-up --customer-number K-100042", "sluss person look-up --email -"),
)
def look_up(
    session: Session,
    *,
    email: Annotated[
        str, typer.Option(help="An e-mail address; - reads it from standard input.", metavar="ADDRESS")
    ] = "",
    phone: Annotated[str, typer.Option(help="A phone number such as +46701234567, or -.", metavar="NUMBER")] = "",
    customer_number: Annotated[str, typer.Option(help="A customer number, or -.", metavar="NUMBER")] = "",
) -> None:
    """Find persons by exactly one of e-mail, phone or customer number."""
    given = {"email": email, "phone": phone, "customer_number": customer_number}
    keys = {name: one_value(value) for name, value in given.items() if value}
    if len(keys) != 1:
        raise usage("give exactly one of --email, --phone, --customer-number")
    request = pb.LookUpPersonsRequest(**keys)
    reply = session.persons.LookUpPersons(request, timeout=DEADLINE_S)
    session.output.result({"persons": list(reply.person_ids)})
    for person in reply.person_ids:
        session.output.line(person)
    if not reply.person_ids:
        session.output.line("nobody found")


@verb(
    app,
    "register",
    examples=(
        "sluss person register --values-file person.txt --source registration",
        "sluss person register --set customer_number=K-1 --set language=sv --opt-out offers.email",
    ),
)
def register(
    session: Session,
    *,
    values: Set = None,
    file: From = "",
    source: Source = "registration",
    opt_in: Annotated[
        list[str] | None,
        typer.Option(
            help="A purpose to which the person says yes; repeatable. PURPOSE=email,sms for some channels.",
            metavar="PURPOSE",
        ),
    ] = None,
    opt_out: Annotated[
        list[str] | None,
        typer.Option(
            help="A purpose to which the person says no; repeatable. PURPOSE=email,sms for some channels.",
            metavar="PURPOSE",
        ),
    ] = None,
    accept: Annotated[
        str, typer.Option(help="The policy version that the person accepted with it.", metavar="VERSION")
    ] = "",
    medium: Medium = "web",
) -> None:
    """Register a person; a confirmation of what was received is queued in the outbox."""
    choices = [parse_choice(purpose, "in", medium) for purpose in opt_in or ()]
    choices += [parse_choice(purpose, "out", medium) for purpose in opt_out or ()]
    request = pb.RegisterPersonRequest(
        request_id=str(uuid.uuid4()),
        values=_values(values, file),
        source=source,
        choices=choices,
        accepted_policy=accept,
    )
    if not request.values:
        raise usage("nothing to register: give --values-file FILE or --set FIELD=VALUE")
    reply = session.persons.RegisterPerson(request, timeout=DEADLINE_S)
    session.output.result(
        {
            "person": reply.person_id,
            "etag": reply.etag,
            "policy_version": reply.confirmation.policy_version,
            "confirmation": plain(reply.confirmation),
        }
    )
    session.output.line(reply.person_id)


def _values(items: list[str] | None, file: str) -> list[pb.FieldValue]:
    return parse_values([*(items or ()), *(read_lines(file) if file else ())])


@verb(
    app,
    "update",
    examples=(
        "sluss person update P-04CVZ6HGRM5PX --values-file changes.txt --source support",
        "sluss person update P-04CVZ6HGRM5PX --remove phone",
    ),
)
def update(
    session: Session,
    person: Person,
    *,
    values: Set = None,
    file: From = "",
    remove: Annotated[list[str] | None, typer.Option(help="A field to remove; repeatable.", metavar="FIELD")] = None,
    source: Source = "update",
    rectification: Annotated[
        bool,
        typer.Option(
            "--rectification",
            help="What was on record was wrong: whoever received it has to correct it, or is told by people (`sluss"
            " request list --open`).",
        ),
    ] = False,
    etag: Annotated[
        str, typer.Option(help="Refuse if the record has changed since this etag of `person show`.", metavar="ETAG")
    ] = "",
) -> None:
    """Change, add or remove a person's values."""
    changes = _values(values, file)
    if not changes and not remove:
        raise usage("nothing to change: give --values-file FILE, --set FIELD=VALUE or --remove FIELD")
    now = session.persons.GetPerson(pb.GetPersonRequest(person_id=person), timeout=DEADLINE_S)
    on_record = {field.field for field in now.fields}
    absent = sorted(set(remove or ()) - on_record)
    request = pb.UpdatePersonRequest(
        person_id=person,
        values=changes,
        remove=remove or (),
        source=source,
        etag=etag or now.etag,
        rectification=rectification,
    )
    reply = session.persons.UpdatePerson(request, timeout=DEADLINE_S)
    changed = bool(changes) or len(absent) < len(set(remove or ()))
    session.output.result({"person": person, "etag": reply.etag, "changed": changed, "absent": absent})
    if absent:
        session.output.line(f"Not on record, so not removed: {', '.join(absent)}.")
    session.output.line(f"{person} changed." if changed else f"{person} is as it was.")


@verb(
    app,
    "handles",
    examples=(
        "sluss person handles C-2026-0001 P-04CVZ6HGRM5PX",
        "sluss person handles C-2026-0001 --persons-file persons.txt > handles.txt",
    ),
)
def handles(
    session: Session,
    contract: Annotated[str, typer.Argument(help="The contract, such as C-2026-0001.", metavar="CONTRACT")],
    persons: Annotated[list[str] | None, typer.Argument(help="The persons.", metavar="PERSON")] = None,
    *,
    persons_file: Annotated[
        str, typer.Option(help="A file with one person id per line; - is standard input.", metavar="FILE")
    ] = "",
) -> None:
    """The handles by which a subcontractor knows persons under one contract."""
    wanted = [*(persons or ()), *(read_lines(persons_file) if persons_file else ())]
    if not wanted:
        raise usage("name at least one person, or --persons-file FILE")
    found: list[str] = []
    for start in range(0, len(wanted), _HANDLES_PER_CALL):
        request = pb.GetHandlesRequest(contract_id=contract, person_ids=wanted[start : start + _HANDLES_PER_CALL])
        reply = session.persons.GetHandles(request, timeout=DEADLINE_S)
        found += [handle_text(handle) for handle in reply.handles]
    session.output.result({"handles": [{"person": p, "handle": h} for p, h in zip(wanted, found, strict=True)]})
    for handle in found:
        session.output.line(handle)
