"""`sluss contract explain`: what a subcontractor's developer may ask for, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluss_cli.contract_text import contract_document
from sluss_cli.entry_text import moment

if TYPE_CHECKING:
    from sluss.v1 import disclosure_pb2 as pb

    from sluss_cli.output import Output

_CHOICE = {
    "none": "no choice needed",
    "unless_opted_out": "unless the person opted out",
    "only_if_opted_in": "only if the person opted in",
}


def scope_document(scope: pb.DescribeScopeResponse) -> dict[str, Any]:
    """The scope for `--json`."""
    return {
        "contract": contract_document(scope.contract),
        "live": scope.live,
        "not_live_reason": scope.not_live_reason,
        "key_id": scope.key_id.hex(),
        "purposes": [_purpose_document(purpose) for purpose in scope.purposes],
    }


def _purpose_document(purpose: pb.PurposeScope) -> dict[str, Any]:
    return {
        "purpose": purpose.purpose,
        "granted_purpose": purpose.granted_purpose,
        "purpose_class": purpose.purpose_class,
        "iri": purpose.iri,
        "label": purpose.label,
        "fields": {field.field: field.transform for field in purpose.fields},
        "retention_days": purpose.retention_days,
        "choice": purpose.choice,
        "accepted_since": purpose.accepted_since,
        "volumes": [
            {
                "window": left.volume.window,
                "persons": left.volume.persons,
                "left": left.left,
                "window_ends": left.window_ends,
            }
            for left in purpose.volumes
        ],
    }


def print_scope(output: Output, scope: pb.DescribeScopeResponse) -> None:
    """The scope as a page: can it work now, then purpose by purpose, then a command to try."""
    contract = scope.contract
    output.heading(f"{contract.contract_id}: what {contract.terms.subcontractor} may ask for")
    output.line(_now(scope))
    if not scope.key_id:
        output.line("No encryption key is registered yet: sluss key register")
    for granted in dict.fromkeys(purpose.granted_purpose for purpose in scope.purposes):
        covered = [purpose for purpose in scope.purposes if purpose.granted_purpose == granted]
        output.line()
        _print_grant(output, granted, covered)
    if scope.purposes:
        output.line()
        output.line(f"Try it without data: {_trial(scope)}")


def _now(scope: pb.DescribeScopeResponse) -> str:
    if scope.live:
        until = scope.contract.terms.valid_until
        return f"The contract is live until {until}. What is not listed here is refused, and that is logged."
    return f"The contract is not live: a disclosure now is refused with {scope.not_live_reason}."


def _print_grant(output: Output, granted: str, covered: list[pb.PurposeScope]) -> None:
    first = covered[0]
    output.heading(f"{granted}: {first.label}" if first.purpose == granted else granted)
    accepted = ", ".join(sorted({purpose.accepted_since for purpose in covered if purpose.accepted_since}))
    output.facts(
        {
            "choice": _CHOICE.get(first.choice, first.choice),
            "policy": f"only who accepted version {accepted}, or a later one" if accepted else "",
            "delete after": f"{first.retention_days} days",
        }
    )
    for left in first.volumes:
        volume = left.volume
        output.line(
            f"{left.left} of {volume.persons} persons left this {volume.window}, until {moment(left.window_ends)} UTC"
        )
    output.table(("purpose to name", "what for", "class"), [(p.purpose, p.label, p.purpose_class) for p in covered])
    output.table(("field", "form in which it leaves"), [(field.field, field.transform) for field in first.fields])


def _trial(scope: pb.DescribeScopeResponse) -> str:
    purpose = scope.purposes[-1]
    field = purpose.fields[0].field if purpose.fields else "FIELD"
    return (
        f"sluss disclose {scope.contract.contract_id} --purpose {purpose.purpose} --field {field}"
        " --handle HANDLE --dry-run"
    )
