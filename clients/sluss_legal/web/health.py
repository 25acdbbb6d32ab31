"""The ledger's health: has it only grown since it was last looked at, and do its entries prove themselves?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from sluss.v1 import ledger_pb2
from sluss_cli.output import Output
from sluss_cli.problems import Problem
from sluss_cli.session import Session as CommandSession
from sluss_cli.watching import Seen, Watch
from sluss_client.errors import SlussClientError

from broker.errors import SlussError
from sluss_legal.web.lines import DEADLINE_S
from sluss_legal.words import N_

if TYPE_CHECKING:
    from starlette.responses import Response

    from sluss_legal.web.page import Page

RECEIPTS = 200
"""How many of the latest entries are proven one by one."""


def show(page: Page) -> Response:
    """Size and last checkpoint, proven to extend what was seen before."""
    return _shown(page, verified=None)


def verify(page: Page) -> Response:
    """Proves the latest entries one by one."""
    return _shown(page, verified=RECEIPTS)


def _shown(page: Page, verified: int | None) -> Response:
    with CommandSession(page.session.folder, Output(as_json=False)) as command:
        try:
            watch = Watch(command)
            seen = watch.look()
            proven = _prove(page, watch, seen) if verified else None
        except (grpc.RpcError, SlussClientError, SlussError, Problem) as error:
            return page.render("health.html", 502, seen=None, proven=None, alarm=_alarm(page, error))
    return page.render("health.html", seen=seen, proven=proven, alarm="")


def _prove(page: Page, watch: Watch, seen: Seen) -> int:
    """Verifies the latest entries; returns how many."""
    request = ledger_pb2.ListEntriesRequest(start=max(0, seen.checkpoint.size - RECEIPTS), page_size=RECEIPTS)
    listed = page.line.ledger.ListEntries(request, timeout=DEADLINE_S).entries
    return watch.receipts(listed, lambda _: None)


def _alarm(page: Page, error: grpc.RpcError | SlussClientError | SlussError | Problem) -> str:
    if isinstance(error, Problem):
        return page.say(N_("The ledger does not prove itself: {detail}"), detail=error.detail)
    return page.trouble(error).text
