"""An in-memory broker over real gRPC, and a profile that may call it."""

import pytest
from sluss_client import Subcontractor
from sluss_client import retry as retry_module

from tests.unit.client.memory_broker import Company, MemoryBroker, serving


@pytest.fixture(scope="session")
def company():
    return Company()


@pytest.fixture
def broker():
    persons = {number: {"email": f"p{number}@example.com", "name": f"Åsa {number}"} for number in range(1, 601)}
    return MemoryBroker(persons)


@pytest.fixture
def endpoint(broker, company):
    with serving(broker, company) as endpoint:
        yield endpoint


@pytest.fixture
def profile(tmp_path, company, endpoint, broker):
    return company.profile(tmp_path / "profile", endpoint, broker)


@pytest.fixture
def sluss(profile):
    with Subcontractor(profile) as client:
        client.register_key()
        yield client


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Retries wait a hundredth of what they do outside."""
    monkeypatch.setattr(retry_module, "FIRST_S", 0.001)
