"""A company whose database is replaced by a backup: what it did since, what a restore said again, and damage."""

from __future__ import annotations

from contextlib import contextmanager

from sqlalchemy import text

from broker.choices import showing
from broker.clock import system_clock
from broker.desk import View
from broker.ledger.signer import LedgerKeys
from broker.operator import restoring
from broker.operator.office import opened
from broker.rights import Rights
from broker.store.engine import open_engine, reading
from tests.faults.test_erasure import PRIVACY
from tests.support.world import World

ACME = "subcontractor/acme"
OPERATOR = "operator/admin"
INTERNAL = "internal/import"


class Company(World):
    """A house with subcontractors and persons; the broker's parts, on the database that is there now."""

    def __init__(self, house, url=""):
        self.house = house
        keys = LedgerKeys.load(house.settings.folder.ledger_keys)
        super().__init__(open_engine(url or house.settings.database_url), house.vault, keys=keys)

    def read(self, work):
        with reading(self.engine) as connection:
            return work(View(connection, Rights(self.vault).at(connection), PRIVACY, system_clock()))

    def state(self, contract):
        return self.read(lambda view: view.snapshot.contract(view.connection, contract).facts.state.value)

    def purposes(self, person):
        """Purpose -> the channels that the person allows."""
        listed = self.read(lambda view: showing.listed(view, person, 0, 100))
        return {reach.purpose: tuple(reach.channels) for reach in listed.reach}

    def close(self):
        self.engine.dispose()


@contextmanager
def company(house, url=""):
    made = Company(house, url)
    try:
        yield made
    finally:
        made.close()


def restore(house, folder, **told):
    _, carried = restoring.put_back(house.settings, folder, replace=True, **told)
    with opened(house.home) as office:
        restoring.erase_again(office)
    return carried


def damaged(house, *statements):
    engine = open_engine(house.settings.database_url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
