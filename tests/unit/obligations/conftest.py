"""A broker with recipients, on both stores."""

from __future__ import annotations

import pytest

from tests.support.obligations import Owing


@pytest.fixture
def world(store_engine, vault):
    """Two recipients with a contract each, a privacy team and a service that registers persons."""
    return Owing(store_engine, vault)
