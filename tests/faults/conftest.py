"""Two brokers on one store, as the attacks on the ledger's order need them."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.faults.siege import Twin
from tests.support.broker import BrokerProcess


@pytest.fixture(params=["sqlite", "postgres"], scope="module")
def pair(request, tmp_path_factory):
    """Two broker processes on one store: (broker, its twin)."""
    with ExitStack() as stack:
        url = ""
        if request.param == "postgres":
            from tests.support import postgres  # noqa: PLC0415 - needs its wheel only here

            server = stack.enter_context(postgres.server_url())
            url = stack.enter_context(postgres.empty_database(server))
        home = tmp_path_factory.mktemp("pair") / "home"
        broker = stack.enter_context(BrokerProcess(home, database=url))
        yield broker, stack.enter_context(Twin(broker))
