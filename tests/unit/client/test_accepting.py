"""Contracts from the subcontractor's side: the very terms that are shown are signed."""

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sluss_client import errors

from tests.unit.client.asking import names
from tests.unit.client.memory_broker import CONTRACT


def contracts_digest(data):
    return hashlib.sha256(data).digest()


def test_an_offer_shows_the_very_terms_that_are_signed(sluss, broker, offered):
    offer = sluss.proposed_terms(CONTRACT)
    assert (offer.version, offer.canonical) == (2, offered)
    assert offer.terms.grants[0].purpose == "billing"
    assert offer.terms.grants[0].population.persons.person_ids == ["P-0000000000007"]
    assert offer.terms.grants[1].population.predicates.predicates[0].values == ["SE"]
    assert sluss.accept_contract(CONTRACT, offer).entry_index == 7


def test_acceptance_is_signed_by_the_certificates_key(sluss, broker, offered, profile):
    sluss.accept_contract(CONTRACT)
    request = next(request for name, request in broker.calls if name == "AcceptContract")
    certificate = x509.load_pem_x509_certificate((profile.folder / "certificate.pem").read_bytes())
    message = b"sluss/v1 contract\x00" + offered
    certificate.public_key().verify(request.signature, message, ec.ECDSA(hashes.SHA256()))


def test_terms_with_another_digest_are_not_signed(sluss, broker, offered):
    broker.contract.versions[1].terms_sha256 = bytes(32)
    with pytest.raises(errors.IntegrityError):
        sluss.accept_contract(CONTRACT)
    assert "AcceptContract" not in names(broker)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"acme-pay", b"acme-pal"),
        (b"C-2026-0001", b"C-2026-0002"),
        (b'"version":2', b'"version":3'),
        (b'"onward_transfer":"forbidden"', b'"onward_transfer":"permitted"'),
        (b'"reference"', b'"extra":1,"reference"'),
    ],
)
def test_terms_about_something_else_are_not_signed(sluss, broker, offered, old, new):
    data = offered.replace(old, new)
    broker.contract.versions[1].canonical_terms = data
    broker.contract.versions[1].terms_sha256 = contracts_digest(data)
    with pytest.raises(errors.IntegrityError):
        sluss.accept_contract(CONTRACT)
    assert "AcceptContract" not in names(broker)


def test_nothing_to_accept_is_said(sluss, broker, offered):
    broker.contract.contract.proposed_version = 0
    with pytest.raises(errors.ProfileError, match="waits"):
        sluss.accept_contract(CONTRACT)
