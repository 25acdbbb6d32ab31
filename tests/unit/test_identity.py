"""identity.py: from a certificate to a principal, and every way in which that must fail."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass, replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sluss.v1 import options_pb2

from broker import pki
from broker.errors import Reason, SlussError
from broker.identity import (
    KINDS,
    Caller,
    Evidence,
    Principal,
    authorise,
    check_trust_domain,
    evidence,
    parse_principal,
)

NOW = 1_790_000_000_000_000
DOMAIN = "example.com"
ACME = Principal("subcontractor", "acme-pay")
SPKI = b"s" * 32
ACME_URI = "spiffe://example.com/subcontractor/acme-pay"


@dataclass(frozen=True)
class Pin:
    principal: str = ACME.name
    revoked_at: int = 0
    not_after: int = NOW + 1


def caller(uri=ACME_URI, allowed=KINDS, spki=SPKI):
    return Caller(Evidence(uri, spki, b""), "/sluss.v1.X/Y", frozenset(allowed))


def decide(who, pin=Pin(), domain=DOMAIN, now=NOW):
    return authorise({SPKI: pin}.get, domain, who, now)


def refused(who, pin=Pin(), **more):
    with pytest.raises(SlussError) as error:
        decide(who, pin, **more)
    assert not who.authorised
    return error.value


def self_signed(names):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + dt.timedelta(9))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_the_kinds_are_those_of_the_wire():
    wire = {name.removeprefix("PRINCIPAL_KIND_").lower() for name in options_pb2.PrincipalKind.keys()}  # noqa: SIM118 - not a dict
    assert wire - {"unspecified"} == KINDS


def test_a_pinned_principal_is_authorised_and_its_caller_marked():
    who = caller()
    assert decide(who) == ACME
    assert who.authorised


def test_a_key_that_nobody_pinned_is_nobody():
    assert refused(caller(spki=b"x" * 32)).reason == Reason.UNKNOWN_PRINCIPAL


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://example.com/subcontractor/other",
        "spiffe://example.com/operator/acme-pay",
        "spiffe://example.org/subcontractor/acme-pay",
        "spiffe://example.com.evil/subcontractor/acme-pay",
        "spiffe://example.com/subcontractor/acme-pay/x",
        "spiffe://example.com/subcontractor/acme-pay\n",
        "spiffe://example.com//subcontractor/acme-pay",
        "SPIFFE://example.com/subcontractor/acme-pay",
        "https://example.com/subcontractor/acme-pay",
        "spiffe://example.com/subcontractor/acme-pay?x",
        "spiffe://example.com/subcontractor/",
        "spiffe://example.com/subcontractor/Acme-Pay",
        "spiffe://example.com/subcontractor/acme%2Dpay",
        "",
    ],
)
def test_a_uri_other_than_the_pinned_principal_is_a_mismatch(uri):
    assert refused(caller(uri)).reason == Reason.CERTIFICATE_MISMATCH


def test_a_pin_of_another_principal_is_a_mismatch():
    assert refused(caller(), Pin("subcontractor/beta-mail")).reason == Reason.CERTIFICATE_MISMATCH


def test_a_pin_of_an_unknown_kind_admits_nobody():
    uri = "spiffe://example.com/superuser/root"
    assert refused(caller(uri), Pin("superuser/root")).reason == Reason.CERTIFICATE_MISMATCH


def test_a_revoked_certificate_is_refused_by_name():
    error = refused(caller(), Pin(revoked_at=1))
    assert error.reason == Reason.CERTIFICATE_REVOKED
    assert error.metadata == {"principal": ACME.name}


def test_a_certificate_that_expired_on_an_open_connection_is_refused():
    assert refused(caller(), Pin(not_after=NOW)).reason == Reason.UNKNOWN_PRINCIPAL
    assert decide(caller(), Pin(not_after=NOW + 1)) == ACME
    assert decide(caller(), Pin(not_after=0)) == ACME


@pytest.mark.parametrize(("kind", "other"), list(itertools.permutations(sorted(KINDS), 2)))
def test_a_kind_that_the_method_does_not_name_is_refused(kind, other):
    who = Principal(kind, "one")
    error = refused(caller(who.uri(DOMAIN), {other}), Pin(who.name))
    assert error.reason == Reason.ROLE_NOT_ALLOWED
    assert error.metadata == {"allowed": other, "kind": kind, "method": "/sluss.v1.X/Y", "principal": who.name}


def test_a_method_without_kinds_is_refused_for_everybody():
    assert refused(caller(allowed=())).reason == Reason.METHOD_UNGUARDED


def test_evidence_is_the_certificates_uri_and_key():
    ca = pki.make_ca(DOMAIN, NOW)
    request = pki.make_request()
    pem = pki.issue(ca, request.csr, ACME, DOMAIN, NOW)
    shown = evidence({"x509_pem_cert": [pem], "peer_uri": [b"spiffe://example.com/operator/forged"]})
    assert shown.uri == ACME.uri(DOMAIN)
    assert shown.spki == pki.spki_sha256(pem) == pki.spki_sha256(request.csr)
    assert x509.load_der_x509_certificate(shown.certificate_der).public_bytes(Encoding.PEM) == pem
    assert "certificate_der" not in repr(shown)


URI = x509.UniformResourceIdentifier


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"x509_pem_cert": []},
        {"x509_pem_cert": [b""]},
        {"x509_pem_cert": [b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]},
        {"x509_pem_cert": [self_signed([])]},
        {"x509_pem_cert": [self_signed([x509.DNSName("example.com")])]},
        {"x509_pem_cert": [self_signed([URI(ACME.uri(DOMAIN)), URI("spiffe://example.com/operator/a")])]},
        {"x509_pem_cert": [self_signed([URI(ACME.uri(DOMAIN))])] * 2},
        {"peer_uri": [ACME.uri(DOMAIN).encode()]},
    ],
)
def test_a_connection_that_does_not_prove_one_uri_is_nobodys(context):
    with pytest.raises(SlussError) as error:
        evidence(context)
    assert error.value.reason == Reason.UNKNOWN_PRINCIPAL


@pytest.mark.parametrize(
    "name",
    [
        "",
        "subcontractor",
        "subcontractor/",
        "/acme",
        "Subcontractor/acme",
        "subcontractor/Acme",
        "subcontractor/-acme",
        "subcontractor/acme/pay",
        "subcontractor/" + "a" * 64,
        "subcontractor/åcme",
        "subcontractor/acme\n",
        "root/acme",
    ],
)
def test_a_malformed_principal_is_refused(name):
    with pytest.raises(SlussError) as error:
        parse_principal(name)
    assert error.value.reason == Reason.INVALID_REQUEST


def test_a_principal_reads_as_it_is_written():
    longest = "subcontractor/" + "a" * 63
    assert parse_principal("operator/a").name == "operator/a"
    assert parse_principal(longest).name == longest
    assert replace(ACME, id="0-9").uri(DOMAIN) == "spiffe://example.com/subcontractor/0-9"


@pytest.mark.parametrize("domain", ["", "Example.com", "example.com/x", ".example.com", "a..b", "a b", "a\n"])
def test_a_malformed_trust_domain_is_refused(domain):
    with pytest.raises(SlussError):
        check_trust_domain(domain)
