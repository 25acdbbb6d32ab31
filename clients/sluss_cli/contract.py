"""`sluss contract`: what is agreed with a subcontractor, from the proposal to the end."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from sluss.v1 import contract_pb2 as pb
from sluss.v1 import disclosure_pb2

from sluss_cli.contract_file import EXAMPLE, parse_contract
from sluss_cli.contract_text import (
    contract_document,
    print_contract,
    print_terms,
    state_name,
    version_document,
)
from sluss_cli.entry_text import moment
from sluss_cli.exits import Exit
from sluss_cli.explain import print_scope, scope_document
from sluss_cli.given_file import read_text
from sluss_cli.problems import Problem, usage
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import group, verb

app = group("Contracts: propose, accept, suspend, resume, amend, terminate, show, list, explain.")

Contract = Annotated[str, typer.Argument(help="The contract, such as C-2026-0001.", metavar="CONTRACT")]
Why = Annotated[
    str, typer.Option("--reason", help="Why; stands in the ledger for good, so no personal data.", metavar="TEXT")
]
Etag = Annotated[
    str,
    typer.Option(
        "--etag", help="Refuse if the contract has moved on since this etag of `contract show`.", metavar="ETAG"
    ),
]
TermsFile = Annotated[
    Path | None,
    typer.Argument(help="The terms as a TOML file; see --example.", metavar="FILE.toml", show_default=False),
]


@verb(
    app,
    "propose",
    examples=("sluss contract propose --example > acme.toml", "sluss contract propose acme.toml"),
)
def propose(
    session: Session,
    file: TermsFile = None,
    *,
    example: Annotated[bool, typer.Option("--example", help="Print a file to start from, and stop.")] = False,
) -> None:
    """Propose a contract. It grants nothing until the subcontractor accepts it."""
    if example:
        _print_example(session)
        return
    if file is None:
        raise usage("name a file with the terms; `sluss contract propose --example` prints one to start from")
    request = pb.ProposeContractRequest(terms=_read(file), request_id=str(uuid.uuid4()))
    contract = session.contracts.ProposeContract(request, timeout=DEADLINE_S).contract
    session.output.result({"contract": contract_document(contract)})
    session.output.line(f"Proposed {contract.contract_id} to {contract.terms.subcontractor}.")
    session.output.line(f"Next, with its own profile: sluss contract accept {contract.contract_id}")


def _print_example(session: Session) -> None:
    session.output.result({"example": EXAMPLE})
    if not session.output.as_json:
        typer.echo(EXAMPLE, nl=False)


def _read(file: Path) -> pb.ContractTerms:
    return parse_contract(read_text(file))


@verb(
    app,
    "accept",
    examples=("sluss contract accept C-2026-0001", "sluss contract accept C-2026-0001 --yes --json"),
)
def accept(
    session: Session,
    contract: Contract,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask; for programs that have read the terms.")
    ] = False,
) -> None:
    """Accept the proposed version: read the terms, then sign them with this profile's key."""
    offer = session.subcontractor.proposed_terms(contract)
    print_terms(session.output, offer.terms)
    session.output.line(f"SHA-256 of the terms: {offer.sha256}")
    if not yes:
        _ask(session)
    accepted = session.subcontractor.accept_contract(contract, offer)
    session.output.result({"contract": contract_document(accepted.contract), "entry_index": accepted.entry_index})
    session.output.line(
        f"Accepted: {contract} version {accepted.contract.version} is in force, entry {accepted.entry_index}."
    )


def _ask(session: Session) -> None:
    if session.output.as_json:
        raise usage("--json can't ask; add --yes once the terms have been read")
    if not typer.confirm("Sign these terms?", err=True):
        raise Problem(Exit.FOUND_WRONG, "NOT_ACCEPTED", "the terms were not signed")


@verb(app, "suspend", examples=('sluss contract suspend C-2026-0001 --reason "incident 4711 at the recipient"',))
def suspend(session: Session, contract: Contract, *, reason: Why, etag: Etag = "") -> None:
    """Suspend a contract: no disclosure under it stands after this entry in the ledger."""
    request = pb.SuspendContractRequest(contract_id=contract, reason=reason, etag=etag)
    _moved(session, session.contracts.SuspendContract(request, timeout=DEADLINE_S))


@verb(app, "resume", examples=('sluss contract resume C-2026-0001 --reason "incident 4711 closed"',))
def resume(session: Session, contract: Contract, *, reason: Why, etag: Etag = "") -> None:
    """End a suspension."""
    request = pb.ResumeContractRequest(contract_id=contract, reason=reason, etag=etag)
    _moved(session, session.contracts.ResumeContract(request, timeout=DEADLINE_S))


@verb(app, "terminate", examples=('sluss contract terminate C-2026-0001 --reason "not renewed"',))
def terminate(session: Session, contract: Contract, *, reason: Why, etag: Etag = "") -> None:
    """End a contract for good."""
    request = pb.TerminateContractRequest(contract_id=contract, reason=reason, etag=etag)
    _moved(session, session.contracts.TerminateContract(request, timeout=DEADLINE_S))


_Moved = pb.SuspendContractResponse | pb.ResumeContractResponse | pb.TerminateContractResponse


def _moved(session: Session, reply: _Moved) -> None:
    contract = reply.contract
    session.output.result({"contract": contract_document(contract), "entry_index": reply.entry_index})
    session.output.line(f"{contract.contract_id} is {state_name(contract.state)}, ledger entry {reply.entry_index}.")


@verb(app, "amend", examples=("sluss contract amend C-2026-0001 acme-2.toml",))
def amend(
    session: Session,
    contract: Contract,
    file: Annotated[Path, typer.Argument(help="The new terms, whole, as a TOML file.", metavar="FILE.toml")],
    *,
    etag: Etag = "",
) -> None:
    """Propose a new version; the one in force stays until the new one is accepted."""
    terms = _read(file)
    base = etag or _get(session, contract).contract.etag
    request = pb.AmendContractRequest(contract_id=contract, terms=terms, etag=base, request_id=str(uuid.uuid4()))
    amended = session.contracts.AmendContract(request, timeout=DEADLINE_S).contract
    session.output.result({"contract": contract_document(amended)})
    session.output.line(f"Version {amended.proposed_version} of {contract} waits for acceptance.")


def _get(session: Session, contract: str) -> pb.GetContractResponse:
    return session.contracts.GetContract(pb.GetContractRequest(contract_id=contract), timeout=DEADLINE_S)


@verb(app, "show", examples=("sluss contract show C-2026-0001", "sluss contract show C-2026-0001 --json"))
def show(session: Session, contract: Contract) -> None:
    """Show a contract with all its versions."""
    reply = _get(session, contract)
    versions = [version_document(version) for version in reply.versions]
    session.output.result({"contract": contract_document(reply.contract), "versions": versions})
    print_contract(session.output, reply.contract)
    session.output.line()
    session.output.table(
        ("version", "proposed", "by", "accepted", "SHA-256 of the terms"),
        [
            (v.version, moment(v.proposed_at), v.proposed_by, moment(v.accepted_at) or "not yet", v.terms_sha256.hex())
            for v in reply.versions
        ],
    )


@verb(
    app,
    "list",
    examples=("sluss contract list", "sluss contract list --subcontractor subcontractor/acme-pay"),
)
def list_(
    session: Session,
    *,
    subcontractor: Annotated[
        str, typer.Option(help="Only this subcontractor's, such as subcontractor/acme-pay.", metavar="KIND/ID")
    ] = "",
) -> None:
    """List the contracts that this profile may see."""
    contracts = list(_pages(session, subcontractor))
    session.output.result({"contracts": [contract_document(contract) for contract in contracts]})
    session.output.table(
        ("contract", "state", "version", "subcontractor", "valid until", "purposes"),
        [
            (
                contract.contract_id,
                state_name(contract.state),
                contract.version,
                contract.terms.subcontractor,
                contract.terms.valid_until,
                ", ".join(grant.purpose for grant in contract.terms.grants),
            )
            for contract in contracts
        ],
        empty="no contracts",
    )


def _pages(session: Session, subcontractor: str) -> Iterator[pb.Contract]:
    token = ""
    while True:
        request = pb.ListContractsRequest(subcontractor=subcontractor, page_token=token)
        page = session.contracts.ListContracts(request, timeout=DEADLINE_S)
        yield from page.contracts
        token = page.next_page_token
        if not token:
            return


@verb(app, "explain", examples=("sluss contract explain C-2026-0001",))
def explain(session: Session, contract: Contract) -> None:
    """Explain what may be asked for under a contract: purposes, fields, forms, volumes left."""
    request = disclosure_pb2.DescribeScopeRequest(contract_id=contract)
    scope = session.disclosures.DescribeScope(request, timeout=DEADLINE_S)
    session.output.result(scope_document(scope))
    print_scope(session.output, scope)
