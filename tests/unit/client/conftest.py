"""An in-memory broker over real gRPC, and a profile that may call it."""

import hashlib

import pytest
from sluss.v1 import contract_pb2
from sluss_client import Subcontractor
from sluss_client import retry as retry_module

from broker import contract_terms, contracts
from tests.unit.client.memory_broker import CONTRACT, Company, MemoryBroker, serving


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


@pytest.fixture
def offered(broker):
    terms = contracts.Terms(
        subcontractor="subcontractor/acme-pay",
        recipient_name="Acme Pay",
        recipient_address="1 Road, Town",
        valid_from=contracts.date(2026, 1, 1),
        valid_until=contracts.date(2026, 12, 31),
        grants=(
            contracts.Grant(
                purpose="billing",
                fields=(contracts.FieldGrant("email", "full"),),
                population=contracts.Population(persons=frozenset({7})),
                retention_days=30,
                volumes=(contracts.Volume(contracts.Window.DAY, 1000),),
            ),
            contracts.Grant(
                purpose="delivery",
                fields=(contracts.FieldGrant("name", "full"),),
                population=contracts.Population(
                    predicates=(contracts.Predicate("address.country", frozenset({"SE"})),)
                ),
                retention_days=1,
                volumes=(contracts.Volume(contracts.Window.HOUR, 1),),
            ),
        ),
        reference="binder 7",
    )
    data = contract_terms.canonical(CONTRACT, 2, terms)
    version = contract_pb2.ContractVersion(version=2, canonical_terms=data, terms_sha256=hashlib.sha256(data).digest())
    broker.contract = contract_pb2.GetContractResponse(
        contract=contract_pb2.Contract(contract_id=CONTRACT, version=1, proposed_version=2),
        versions=[contract_pb2.ContractVersion(version=1), version],
    )
    return data
