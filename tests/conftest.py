"""Fixtures for every test: stores, both kinds, migrated; and the switch for long attacks."""

from __future__ import annotations

import tests.support.machine  # noqa: F401 - first of all: where bytecode and temporary files go

# isort: split
import os
import shutil

import pytest
from hypothesis import settings

from broker.keys.file import FileProvider
from broker.store.engine import open_engine, truncate_log
from broker.store.migrations import migrate
from broker.vault import Vault
from tests.support import postgres as postgres_support
from tests.support.broker import BrokerProcess


def pytest_addoption(parser):
    parser.addoption("--campaign", action="store_true", help="run the long attacks whole")


def pytest_configure(config):
    """Each run looks at the same examples, so that what fails was broken by a change; a campaign looks at new ones.

    No example has a deadline: on a busy machine it would tell of the machine.
    """
    settings.register_profile("suite", derandomize=True, deadline=None)
    settings.register_profile("campaign", max_examples=1_000, deadline=None)
    settings.load_profile("campaign" if config.getoption("--campaign") else "suite")


def pytest_xdist_auto_num_workers():
    """Half as many test processes again as cores: many tests wait for a broker to stop, or for time to pass."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + cores // 2


@pytest.fixture(scope="session")
def campaign(request):
    """True if long attacks are to run whole."""
    return request.config.getoption("--campaign")


@pytest.fixture(scope="session")
def postgres_server():
    """The URL of a running PostgreSQL server."""
    with postgres_support.server_url() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server):
    """The URL of a migrated PostgreSQL database of the test's own."""
    with postgres_support.database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "sluss.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    truncate_log(engine)
    engine.dispose()
    return path


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path):
    """The URL of a migrated SQLite database of the test's own."""
    path = tmp_path / "sluss.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request):
    """The URL of a migrated database: the test runs once on SQLite, once on PostgreSQL."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def sqlite_engine(sqlite_url):
    """A migrated SQLite database."""
    engine = open_engine(sqlite_url)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_engine(postgres_url):
    """A migrated PostgreSQL database."""
    engine = open_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store_engine(store_url):
    """A migrated database: the test runs once on SQLite, once on PostgreSQL."""
    engine = open_engine(store_url)
    yield engine
    engine.dispose()


@pytest.fixture
def key_provider(tmp_path):
    """Fresh key rings in a file."""
    return FileProvider.create(tmp_path / "keys.json")


@pytest.fixture
def vault(key_provider):
    """A vault over fresh key rings."""
    return Vault(key_provider.rings)


@pytest.fixture
def broker(tmp_path):
    """A running broker of the test's own, on SQLite."""
    with BrokerProcess(tmp_path / "home") as running:
        yield running


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory):
    """A running broker that the tests of a module share; each makes contracts and persons of its own."""
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home") as running:
        yield running
