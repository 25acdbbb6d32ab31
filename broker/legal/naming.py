"""Which legal cases need a person's data, so that the person can't be erased meanwhile.

Every case is looked at, not those whose row says that they stand: one that names the person counts as the ledger says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.legal.model import CaseState
from broker.legal.rows import list_cases, require_said

if TYPE_CHECKING:
    from broker.desk import View
    from broker.legal.model import Case

OVER: Final = frozenset({CaseState.REJECTED, CaseState.CLOSED})
_PAGE: Final = 200


def cases_that_need(view: View, person: int) -> list[str]:
    """The ids of the cases, hidden ones too, that are not over and name the person, or are releasing a population.

    Raises:
        SlussError: LEDGER_INCONSISTENT if the row of a case that names the person is not as the ledger says.
    """
    found, before = [], 0
    while True:
        page, before = list_cases(view, (), "", None, before, _PAGE)
        for held in page:
            if _needs(held.case, person):
                require_said(view.connection, view.snapshot, held)
                if held.case.state not in OVER:
                    found.append(held.case.id)
        if not before:
            return found


def _needs(case: Case, person: int) -> bool:
    """A population is not opened person by person for this: while its release is under way, everybody counts."""
    if case.body.scope.population is None:
        return person in case.body.scope.persons
    return case.body.begun is not None and not case.progress.complete
