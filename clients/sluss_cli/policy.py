"""`sluss policy`: versions of the privacy policy, and who accepted them."""

import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
from sluss.v1 import policy_pb2 as pb

from sluss_cli.entry_text import moment
from sluss_cli.given_file import read_text
from sluss_cli.policy_file import EXAMPLE, parse_policy
from sluss_cli.problems import usage
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.values import one_value
from sluss_cli.verb import group, verb

app = group(
    "Policy versions: publish, list, show, accept, acceptances.",
    tour=(
        "sluss policy publish --example > policy.toml",
        "Write a text per language into it, such as [texts.sv] and [texts.en], and what has changed.",
        "sluss policy publish policy.toml --notify",
        "A language may come later: publish the same version with a further table of [texts].",
        "sluss policy show 2026-02 --language sv",
        'sluss policy accept P-04CVZ6HGRM5PX 2026-02 --source paper --evidence "form 12"',
        "sluss policy acceptances P-04CVZ6HGRM5PX",
        'To require it of a purpose, write accepted_since = "2026-02" there in the catalogue, and import that.',
        "sluss catalogue import catalogue.toml",
    ),
)

Person = Annotated[str, typer.Argument(help="The person, such as P-04CVZ6HGRM5PX.", metavar="PERSON")]
LARGEST = 8 << 20
"""Bytes of a file with the texts of a version."""


@verb(
    app,
    "publish",
    examples=(
        "sluss policy publish --example > policy.toml",
        "sluss policy publish policy.toml",
        "sluss policy publish policy.toml --notify",
    ),
)
def publish(
    session: Session,
    file: Annotated[Path | None, typer.Argument(help="The version as a TOML file.", metavar="FILE")] = None,
    *,
    notify: Annotated[bool, typer.Option("--notify", help="Tell everybody on record, over the outbox.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a file to start from.")] = False,
) -> None:
    """Publish a version, now or for later, or add languages to one; what was published never changes."""
    if example:
        session.output.result({"example": EXAMPLE})
        for line in EXAMPLE.splitlines():
            session.output.line(line)
        return
    if file is None:
        raise usage("name the file, or --example")
    request = parse_policy(read_text(file, LARGEST))
    request.notify = notify
    reply = session.policies.PublishPolicyVersion(request, timeout=DEADLINE_S)
    session.output.result({**_version(reply.version), "entry_index": reply.entry_index})
    session.output.line(
        f"Policy version {reply.version.version}, in force from {moment(reply.version.effective)} UTC, in"
        f" {', '.join(reply.version.languages)}: ledger entry {reply.entry_index}."
    )
    if notify:
        session.output.line("Everybody on record will be told over the outbox; how far it is: sluss outbox list")


@verb(app, "list", examples=("sluss policy list",))
def list_(session: Session) -> None:
    """List all versions, in the order in which they take effect."""
    reply = session.policies.ListPolicyVersions(pb.ListPolicyVersionsRequest(), timeout=DEADLINE_S)
    session.output.result({"versions": [_version(each) for each in reply.versions]})
    current = next((place for place, each in enumerate(reply.versions) if each.in_force), -1)
    session.output.table(
        ("version", "in force from", "now", "languages", "sha256"),
        [
            (
                each.version,
                moment(each.effective),
                "in force" if each.in_force else "to come" if place > current else "past",
                ", ".join(each.languages) or "no text yet",
                each.sha256,
            )
            for place, each in enumerate(reply.versions)
        ],
    )


@verb(app, "show", examples=("sluss policy show", "sluss policy show 2026-02 --language sv"))
def show(
    session: Session,
    version: Annotated[str, typer.Argument(help="The version; without it the one in force.", metavar="VERSION")] = "",
    *,
    language: Annotated[
        str, typer.Option(help="The language wanted, such as sv; else English, else any.", metavar="LANGUAGE")
    ] = "",
) -> None:
    """Show the text of a version."""
    request = pb.GetPolicyTextRequest(version=version, language=language)
    reply = session.policies.GetPolicyText(request, timeout=DEADLINE_S)
    text = {"language": reply.text.language, "text": reply.text.text, "changes": reply.text.changes}
    session.output.result({**_version(reply.version), **text})
    session.output.heading(f"{reply.version.version} ({reply.text.language})")
    session.output.facts(
        {
            "in force from": f"{moment(reply.version.effective)} UTC",
            "now": "in force" if reply.version.in_force else "not in force",
            "changes": reply.text.changes,
            "languages": ", ".join(reply.version.languages),
        }
    )
    session.output.line()
    for line in reply.text.text.rstrip("\n").split("\n"):
        session.output.line(line)


@verb(
    app,
    "accept",
    examples=(
        "sluss policy accept P-04CVZ6HGRM5PX 2026-02 --evidence 'form 12'",
        "sluss policy accept P-04CVZ6HGRM5PX 2026-02 --source continued_use",
    ),
)
def accept(
    session: Session,
    person: Person,
    version: Annotated[str, typer.Argument(help="The version that the person accepted.", metavar="VERSION")],
    *,
    source: Annotated[
        str, typer.Option(help="How: web, paper ... continued_use only once a notice was delivered.", metavar="NAME")
    ] = "web",
    evidence: Annotated[str, typer.Option(help="What shows it, or - for standard input; sealed.", metavar="TEXT")] = "",
) -> None:
    """Record that a person accepted a version; it holds from the moment this returns."""
    request = pb.RecordAcceptanceRequest(
        request_id=str(uuid.uuid4()),
        person_id=person,
        version=version,
        source=source,
        evidence=one_value(evidence) if evidence else "",
    )
    reply = session.policies.RecordAcceptance(request, timeout=DEADLINE_S)
    session.output.result({"entry_index": reply.entry_index, "newest_accepted": reply.newest_accepted})
    session.output.line(f"On record: ledger entry {reply.entry_index}, newest accepted {reply.newest_accepted}.")


@verb(app, "acceptances", examples=("sluss policy acceptances P-04CVZ6HGRM5PX",))
def acceptances(session: Session, person: Person) -> None:
    """Show what a person accepted, and of which versions the person was told."""
    found: list[pb.Acceptance] = []
    notices: list[pb.PolicyNotice] = []
    token = ""
    while True:
        request = pb.ListAcceptancesRequest(person_id=person, page_size=200, page_token=token)
        reply = session.policies.ListAcceptances(request, timeout=DEADLINE_S)
        found += reply.acceptances
        notices += reply.notices
        token = reply.next_page_token
        if not token:
            break
    session.output.result(
        {
            "acceptances": [
                {
                    "version": each.version,
                    "source": each.source,
                    "evidence": each.evidence,
                    "at": each.at,
                    "entry_index": each.entry_index,
                }
                for each in found
            ],
            "notices": [{"version": each.version, "at": each.at} for each in notices],
        }
    )
    columns = ("version", "accepted", "source", "evidence", "entry")
    lines = [(each.version, moment(each.at), each.source, each.evidence, each.entry_index) for each in found]
    session.output.table(columns, lines, empty="no version accepted")
    session.output.line()
    session.output.table(
        ("version", "told"), [(each.version, moment(each.at)) for each in notices], empty="told of no version"
    )


def _version(version: pb.PolicyVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "effective": version.effective,
        "in_force": version.in_force,
        "languages": list(version.languages),
        "sha256": version.sha256,
    }
