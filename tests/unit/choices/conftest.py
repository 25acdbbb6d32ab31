"""A world per test, on both stores."""

from __future__ import annotations

import pytest

from tests.unit.persons.world import World, ticking


@pytest.fixture
def world(store_engine):
    """A founded world whose clock moves a second each time it is read."""
    world = World(store_engine, ticking()).found()
    yield world
    world.check()


@pytest.fixture
def lite(sqlite_engine):
    """The same on SQLite alone, for what no store can change."""
    world = World(sqlite_engine, ticking()).found()
    yield world
    world.check()
