"""What the console proves before it shows it: the same that `sluss legal` proves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sluss_cli.exits import Exit
from sluss_cli.legal import accounts
from sluss_cli.output import Output
from sluss_cli.problems import Problem
from sluss_cli.session import Session
from sluss_client.errors import IntegrityError, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from sluss.v1 import legal_pb2 as pb

    from sluss_legal.web.page import Page


def prove_rows(page: Page, rows: Iterable[pb.Received]) -> None:
    """Proves that each row says what its entry says, and that all entries are in the one ledger seen before.

    Raises:
        IntegrityError: they are not.
    """
    with _session(page) as session:
        accounts.prove_rows(session, rows)


def check_counted(page: Page, counted: pb.GetTransparencyReportResponse) -> None:
    """Proves that the tree that a report was counted from is signed, and one with the tree seen before.

    Raises:
        IntegrityError: it is not.
    """
    with _session(page) as session:
        accounts.check_counted(session, counted)


def opened(page: Page, index: int) -> Mapping[str, Any]:
    """What a hidden entry was, proven to be what the ledger has been committed to.

    Raises:
        IntegrityError: it is not.
        grpc.RpcError: it is still hidden, or was never.
    """
    with _session(page) as session:
        return accounts.proven_opening(session, index)[1].entry


@contextmanager
def _session(page: Page) -> Iterator[Session]:
    with Session(page.session.folder, Output(as_json=False)) as session:
        try:
            yield session
        except Problem as problem:
            kind = IntegrityError if problem.exit is Exit.INTEGRITY else TransportError
            raise kind(problem.detail) from None
