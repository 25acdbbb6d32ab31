"""A small certificate authority, so that nobody needs openssl. Pure: bytes in, PEM out; no files, no clock.

    make_ca             the authority of one trust domain, 10 years
    server_certificate  for the broker's host names and addresses, 1 year
    make_request        a new key and a request for a certificate, for the one who will hold the key
    issue               a client certificate from such a request, 1 year
    describe            what a certificate says

All keys are ECDSA P-256: gRPC's TLS takes no Ed25519. The name in a client certificate,
`spiffe://<trust-domain>/<kind>/<id>`, is set by the authority and never copied from the request, of which
only the public key is used, once its holder has proved to have the private one (RFC 2986, 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.clock import SECOND
from broker.errors import Reason, SlussError
from broker.identity import check_trust_domain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.identity import Principal

CA_DAYS: Final = 3653
SERVER_DAYS: Final = 365
CLIENT_DAYS: Final = 365
CLOCK_SKEW: Final = timedelta(minutes=5)
"""A certificate is valid from a little before its issue, for clocks that are behind."""

MAX_PEM: Final = 65_536
SERIAL_OCTETS: Final = 20
_PARSE_ERRORS: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
_NO_USAGE: Final = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its private key, both PEM; the key is PKCS #8, not encrypted."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a certificate with the private key that belongs to it, both PEM."""

    csr: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says.

    Attributes:
        uri: the only URI among its names; empty if there is none.
        spki: SHA-256 of its SubjectPublicKeyInfo.
        serial: the serial number, lower-case hexadecimal without leading zeros; `serial_text` is for people.
        not_before: start of validity, microseconds since 1970 UTC.
        not_after: end of validity, microseconds since 1970 UTC.
    """

    uri: str
    spki: bytes
    serial: str
    not_before: int
    not_after: int


def make_ca(trust_domain: str, now_us: int) -> KeyPair:
    """The authority of a trust domain. It signs leaf certificates only (path length 0).

    Raises:
        SlussError: INVALID_REQUEST for a trust domain that is not a host name.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Sluss CA of {check_trust_domain(trust_domain)}"[:64])
    start, end = _validity(now_us, CA_DAYS)
    certificate = (
        _builder(name, name, key.public_key(), start, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(_pem(certificate), _key_pem(key))


def server_certificate(ca: KeyPair, hosts: Sequence[str], now_us: int, *, days: int = SERVER_DAYS) -> KeyPair:
    """The broker's own certificate.

    Args:
        ca: the authority.
        hosts: DNS names and IP addresses under which clients reach the broker; at least one.
        now_us: microseconds since 1970 UTC.
        days: validity; cut at the end of the authority's.

    Raises:
        SlussError: INVALID_REQUEST: no host, or one that is neither a name nor an address.
    """
    if not hosts:
        raise SlussError(Reason.INVALID_REQUEST, "a server certificate needs at least one host")
    key = ec.generate_private_key(ec.SECP256R1())
    names = [_host(host) for host in dict.fromkeys(hosts)]
    subject = _name("Sluss broker")
    usage = ExtendedKeyUsageOID.SERVER_AUTH
    validity = _validity(now_us, days)
    certificate = _leaf(ca, key.public_key(), subject, names, validity=validity, usage=usage)
    return KeyPair(certificate, _key_pem(key))


def make_request() -> Request:
    """A new P-256 key and a request for a certificate. It names nobody: the authority sets the name."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return Request(csr.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def issue(
    ca: KeyPair, csr: bytes, principal: Principal, trust_domain: str, now_us: int, *, days: int = CLIENT_DAYS
) -> bytes:
    """A client certificate, PEM.

    Args:
        ca: the authority.
        csr: a PEM request; whatever it says besides the public key is ignored.
        principal: whose certificate it will be.
        trust_domain: the broker's.
        now_us: microseconds since 1970 UTC.
        days: validity; cut at the end of the authority's.

    Raises:
        SlussError: MALFORMED: not a request; INVALID_REQUEST: its key is not ECDSA P-256;
            INVALID_SIGNATURE: it is not signed by the private key that belongs to it.
    """
    key = _requested_key(csr)
    uri_names = [x509.UniformResourceIdentifier(principal.uri(check_trust_domain(trust_domain)))]
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    return _leaf(ca, key, _name(principal.name[:64]), uri_names, validity=_validity(now_us, days), usage=usage)


def describe(certificate: bytes) -> Facts:
    """What a PEM certificate says.

    Raises:
        SlussError: MALFORMED.
    """
    parsed = _load_certificate(certificate)
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, *_PARSE_ERRORS):
        uris = []
    return Facts(
        uri=uris[0] if len(uris) == 1 else "",
        spki=_spki(parsed.public_key()),
        serial=f"{parsed.serial_number:x}",
        not_before=_micros(parsed.not_valid_before_utc),
        not_after=_micros(parsed.not_valid_after_utc),
    )


def serial_text(serial: str) -> str:
    """A serial number as it is shown: 40 hexadecimal digits, the 20 octets that one has at most (RFC 5280, 4.1.2.2)."""
    return serial.rjust(2 * SERIAL_OCTETS, "0")


def hosts_of(certificate: bytes) -> tuple[str, ...]:
    """The DNS names, then the addresses, of a server's PEM certificate.

    Raises:
        SlussError: MALFORMED.
    """
    parsed = _load_certificate(certificate)
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *_PARSE_ERRORS):
        return ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *map(str, addresses))


def spki_sha256(pem: bytes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo of a PEM certificate or request: what the broker pins.

    Raises:
        SlussError: MALFORMED.
    """
    if b"CERTIFICATE REQUEST" in pem:
        return _spki(_load_request(pem).public_key())
    return _spki(_load_certificate(pem).public_key())


def issued_by(ca_certificate: bytes, certificate: bytes) -> bool:
    """Whether the authority signed the certificate; both PEM.

    Raises:
        SlussError: MALFORMED.
    """
    try:
        _load_certificate(certificate).verify_directly_issued_by(_load_certificate(ca_certificate))
    except (InvalidSignature, *_PARSE_ERRORS):
        return False
    return True


def _leaf(
    ca: KeyPair,
    key: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    *,
    usage: x509.ObjectIdentifier,
    validity: tuple[datetime, datetime],
) -> bytes:
    authority = _load_certificate(ca.certificate)
    issuer_key = _load_key(ca.key)
    start, end = (
        max(validity[0], authority.not_valid_before_utc),
        min(validity[1], authority.not_valid_after_utc),
    )
    if start >= end:
        raise SlussError(Reason.INVALID_REQUEST, "the certificate authority has expired")
    key_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)
    certificate = (
        _builder(subject, authority.subject, key, start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(authority_id, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return _pem(certificate)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _requested_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    request = _load_request(csr)
    try:
        key = request.public_key()
        proved = request.is_signature_valid
    except (InvalidSignature, *_PARSE_ERRORS):
        raise SlussError(Reason.MALFORMED, "the certificate request can't be read") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SlussError(Reason.INVALID_REQUEST, "the key of a certificate request is ECDSA P-256")
    if not proved:
        raise SlussError(Reason.INVALID_SIGNATURE, "the certificate request is not signed by its own key")
    return key


def _load_request(pem: bytes) -> x509.CertificateSigningRequest:
    try:
        return x509.load_pem_x509_csr(pem[:MAX_PEM])
    except _PARSE_ERRORS:
        raise SlussError(Reason.MALFORMED, "the certificate request can't be read") from None


def _load_certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem[:MAX_PEM])
    except _PARSE_ERRORS:
        raise SlussError(Reason.MALFORMED, "the certificate can't be read") from None


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except _PARSE_ERRORS:
        raise SlussError(Reason.MALFORMED, "the private key can't be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SlussError(Reason.MALFORMED, "the private key is not ECDSA")
    return key


def _host(host: str) -> x509.GeneralName:
    try:
        address: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        pass
    else:
        return x509.IPAddress(address)
    try:
        return x509.DNSName(check_trust_domain(host.removeprefix("*.")) and host)
    except SlussError:
        message = "a host is a DNS name in lower case or an IP address"
        raise SlussError(Reason.INVALID_REQUEST, message) from None


def _usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{**_NO_USAGE, **dict.fromkeys(names, True)})


def _validity(now_us: int, days: int) -> tuple[datetime, datetime]:
    now = datetime.fromtimestamp(now_us // SECOND, UTC)
    return now - CLOCK_SKEW, now + timedelta(days=days)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _spki(key: object) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    der: bytes = key.public_bytes(encoding, form)  # type: ignore[attr-defined] # every public key has it
    return sha256(der).digest()


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
