"""pki.py: what the authority signs, and what it never takes from a request."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker import pki
from broker.errors import Reason, SlussError
from broker.identity import Principal

NOW = 1_790_000_000_000_000
DAY = 86_400_000_000
DOMAIN = "example.com"
ACME = Principal("subcontractor", "acme-pay")
PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def ca():
    return pki.make_ca(DOMAIN, NOW)


def parsed(pem):
    return x509.load_pem_x509_certificate(pem)


def extension(pem, kind):
    return parsed(pem).extensions.get_extension_for_class(kind).value


def request_of(key, names=(), subject="anybody"):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(PEM)


def test_the_authority_signs_leaves_only_and_lasts_ten_years(ca):
    constraints = extension(ca.certificate, x509.BasicConstraints)
    assert (constraints.ca, constraints.path_length) == (True, 0)
    usage = extension(ca.certificate, x509.KeyUsage)
    assert usage.key_cert_sign
    assert not usage.digital_signature
    facts = pki.describe(ca.certificate)
    assert facts.not_after == NOW + 3653 * DAY
    assert facts.not_before < NOW


def test_a_client_certificate_names_the_principal_and_is_for_clients_only(ca):
    pem = pki.issue(ca, pki.make_request().csr, ACME, DOMAIN, NOW)
    facts = pki.describe(pem)
    assert facts.uri == "spiffe://example.com/subcontractor/acme-pay"
    assert facts.not_after == NOW + 365 * DAY
    assert list(extension(pem, x509.ExtendedKeyUsage)) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extension(pem, x509.BasicConstraints).ca
    assert pki.issued_by(ca.certificate, pem)
    assert not pki.issued_by(pki.make_ca(DOMAIN, NOW).certificate, pem)
    assert int(facts.serial, 16) == parsed(pem).serial_number


def test_nothing_but_the_key_is_taken_from_a_request(ca):
    key = ec.generate_private_key(ec.SECP256R1())
    wish = [
        x509.UniformResourceIdentifier("spiffe://example.com/operator/root"),
        x509.DNSName("broker.example.com"),
    ]
    pem = pki.issue(ca, request_of(key, wish, "operator/root"), ACME, DOMAIN, NOW)
    names = extension(pem, x509.SubjectAlternativeName)
    assert list(names) == [x509.UniformResourceIdentifier(ACME.uri(DOMAIN))]
    assert not extension(pem, x509.BasicConstraints).ca
    assert b"root" not in parsed(pem).public_bytes(serialization.Encoding.DER)
    assert parsed(pem).public_key() == key.public_key()


def test_a_request_without_proof_of_possession_is_refused(ca):
    mine, theirs = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    der = x509.load_pem_x509_csr(request_of(mine)).public_bytes(serialization.Encoding.DER)
    point = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    swapped = der.replace(mine.public_key().public_bytes(*point), theirs.public_key().public_bytes(*point))
    assert swapped != der
    forged = x509.load_der_x509_csr(swapped).public_bytes(PEM)
    with pytest.raises(SlussError) as error:
        pki.issue(ca, forged, ACME, DOMAIN, NOW)
    assert error.value.reason == Reason.INVALID_SIGNATURE


@pytest.mark.parametrize(
    "key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())], ids=["ed", "p384"]
)
def test_a_key_that_is_not_p256_is_refused(ca, key):
    with pytest.raises(SlussError) as error:
        pki.issue(ca, request_of(key), ACME, DOMAIN, NOW)
    assert error.value.reason == Reason.INVALID_REQUEST


@pytest.mark.parametrize("csr", [b"", b"nonsense", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_what_is_no_request_is_refused(ca, csr):
    with pytest.raises(SlussError) as error:
        pki.issue(ca, csr, ACME, DOMAIN, NOW)
    assert error.value.reason == Reason.MALFORMED


def test_a_server_certificate_carries_names_and_addresses(ca):
    pair = pki.server_certificate(ca, ["broker.example.com", "127.0.0.1", "::1", "127.0.0.1"], NOW)
    names = extension(pair.certificate, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["broker.example.com"]
    addresses = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    assert names.get_values_for_type(x509.IPAddress) == addresses
    assert pki.hosts_of(pair.certificate) == ("broker.example.com", "127.0.0.1", "::1")
    assert pki.hosts_of(ca.certificate) == ()
    assert list(extension(pair.certificate, x509.ExtendedKeyUsage)) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert pki.describe(pair.certificate).uri == ""
    key = serialization.load_pem_private_key(pair.key, None)
    assert key.public_key() == parsed(pair.certificate).public_key()


@pytest.mark.parametrize("hosts", [[], ["Broker.Example.com"], ["a b"], ["http://x"], [""]])
def test_a_server_certificate_without_a_proper_host_is_refused(ca, hosts):
    with pytest.raises(SlussError) as error:
        pki.server_certificate(ca, hosts, NOW)
    assert error.value.reason == Reason.INVALID_REQUEST


def test_no_certificate_outlives_its_authority(ca):
    late = NOW + 3650 * DAY
    pem = pki.issue(ca, pki.make_request().csr, ACME, DOMAIN, late)
    assert pki.describe(pem).not_after == pki.describe(ca.certificate).not_after
    with pytest.raises(SlussError) as error:
        pki.issue(ca, pki.make_request().csr, ACME, DOMAIN, NOW + 3660 * DAY)
    assert error.value.reason == Reason.INVALID_REQUEST


def test_private_keys_do_not_show_in_representations(ca):
    assert "PRIVATE" not in repr(ca)
    assert "PRIVATE" not in repr(pki.make_request())


def test_two_certificates_never_share_a_serial(ca):
    csr = pki.make_request().csr
    first, second = (pki.describe(pki.issue(ca, csr, ACME, DOMAIN, NOW)) for _ in range(2))
    assert first.serial != second.serial
    assert first.spki == second.spki
