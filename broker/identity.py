"""Who calls: from the certificate of a TLS connection to a principal that may, or may not, call a method.

    evidence(auth_context)  what the connection proves: the certificate's URI and key; no I/O, no decision
    Caller                  that evidence, with the method that is called and the kinds that may call it
    authorise(...)          the decision, against the pins as they stand now; the first step of every call

The principal is the one URI in the certificate, `spiffe://<trust-domain>/<kind>/<id>`, and nothing else. The
certificate's public key must be pinned to that very principal: a certificate that the CA signed but nobody
pinned is nobody's. Pins are read anew for every call and every chunk of a stream, so a revocation holds at
once, on open connections too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from broker.errors import Reason, SlussError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

KINDS: Final = frozenset({"subcontractor", "internal", "legal", "operator", "privacy"})
"""The kinds of principal; `sluss.v1.PrincipalKind` in lower case."""

ID_SYNTAX: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
TRUST_DOMAIN_SYNTAX: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_URI: Final = re.compile(r"spiffe://([^/]+)/([^/]+)/([^/]+)")


@dataclass(frozen=True, slots=True)
class Principal:
    """A known party.

    Attributes:
        kind: one of `KINDS`.
        id: lower-case letters, digits and hyphens, 1 to 63 of them, not starting with a hyphen.
    """

    kind: str
    id: str

    @property
    def name(self) -> str:
        """`subcontractor/acme-pay`: the form in tables, entries and messages."""
        return f"{self.kind}/{self.id}"

    def uri(self, trust_domain: str) -> str:
        """The SPIFFE ID that a certificate of this principal carries."""
        return f"spiffe://{trust_domain}/{self.name}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a TLS connection proves about the other side.

    Attributes:
        uri: the only URI among the certificate's subject alternative names.
        spki: SHA-256 of its SubjectPublicKeyInfo, 32 bytes.
        certificate_der: the certificate itself.
    """

    uri: str
    spki: bytes
    certificate_der: bytes = field(repr=False)


@dataclass(slots=True)
class Caller:
    """Who calls what. Guard makes one per call; `authorise` marks it.

    Attributes:
        evidence: what the connection proves.
        method: full name, such as `/sluss.v1.PersonService/GetPerson`.
        allowed: the kinds that the method's `allowed` option names.
        authorised: whether `authorise` has let this caller pass; guard sends no reply before it has.
    """

    evidence: Evidence
    method: str
    allowed: frozenset[str]
    authorised: bool = False


class Pin(Protocol):
    """A public key's row in the certificate table; times in microseconds since 1970 UTC."""

    @property
    def principal(self) -> str:
        """The principal's name."""

    @property
    def revoked_at(self) -> int:
        """When it was revoked; 0 if it is good."""

    @property
    def not_after(self) -> int:
        """When its certificate expires; 0 is never."""


def parse_principal(name: str) -> Principal:
    """Reads `kind/id`.

    Raises:
        SlussError: INVALID_REQUEST: not of that form, unknown kind, or a malformed id.
    """
    kind, _, identifier = name.partition("/")
    if kind not in KINDS:
        raise SlussError(Reason.INVALID_REQUEST, f"a principal is KIND/ID, its kind one of {', '.join(sorted(KINDS))}")
    if not ID_SYNTAX.fullmatch(identifier):
        raise SlussError(Reason.INVALID_REQUEST, "a principal's id is 1 to 63 of a-z, 0-9 and hyphens")
    return Principal(kind, identifier)


def check_trust_domain(trust_domain: str) -> str:
    """The trust domain, if it is one: a host name in lower case.

    Raises:
        SlussError: INVALID_REQUEST.
    """
    if not TRUST_DOMAIN_SYNTAX.fullmatch(trust_domain) or ".." in trust_domain:
        raise SlussError(Reason.INVALID_REQUEST, "a trust domain is a host name in lower case")
    return trust_domain


def evidence(auth_context: Mapping[str, Sequence[bytes]]) -> Evidence:
    """What the connection proves, from gRPC's authentication context. Parsed once per certificate.

    Raises:
        SlussError: UNKNOWN_PRINCIPAL: no certificate, or none with exactly one URI.
    """
    certificates = auth_context.get("x509_pem_cert", ())
    if len(certificates) != 1:
        raise SlussError(Reason.UNKNOWN_PRINCIPAL)
    return _parse(bytes(certificates[0]))


@lru_cache(maxsize=4096)
def _parse(pem: bytes) -> Evidence:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # noqa: BLE001 - whatever a parser makes of hostile bytes, they name nobody
        raise SlussError(Reason.UNKNOWN_PRINCIPAL) from None
    return Evidence(uri, sha256(key).digest(), certificate.public_bytes(Encoding.DER))


def authorise(pin_lookup: Callable[[bytes], Pin | None], trust_domain: str, caller: Caller, now_us: int) -> Principal:
    """Decides whether the caller may call the method now, and as whom.

    Args:
        pin_lookup: SPKI SHA-256 -> pin, as the certificate table stands now.
        trust_domain: the broker's own.
        caller: who calls what; marked as authorised when this returns.
        now_us: microseconds since 1970 UTC.

    Raises:
        SlussError: UNKNOWN_PRINCIPAL (nobody's key, or an expired certificate), CERTIFICATE_MISMATCH,
            CERTIFICATE_REVOKED, METHOD_UNGUARDED, ROLE_NOT_ALLOWED.
    """
    pin = pin_lookup(caller.evidence.spki)
    if pin is None:
        raise SlussError(Reason.UNKNOWN_PRINCIPAL)
    principal = _principal_of(caller.evidence.uri, trust_domain)
    if principal is None or principal.name != pin.principal:
        raise SlussError(Reason.CERTIFICATE_MISMATCH)
    if pin.revoked_at:
        raise SlussError(Reason.CERTIFICATE_REVOKED, principal=principal.name)
    if pin.not_after and pin.not_after <= now_us:
        raise SlussError(Reason.UNKNOWN_PRINCIPAL, "the certificate has expired")
    _check_role(principal, caller)
    caller.authorised = True
    return principal


def _check_role(principal: Principal, caller: Caller) -> None:
    if not caller.allowed:
        raise SlussError(Reason.METHOD_UNGUARDED, method=caller.method)
    if principal.kind not in caller.allowed:
        raise SlussError(
            Reason.ROLE_NOT_ALLOWED,
            kind=principal.kind,
            method=caller.method,
            principal=principal.name,
            allowed=" ".join(sorted(caller.allowed)),
        )


@lru_cache(maxsize=4096)
def _principal_of(uri: str, trust_domain: str) -> Principal | None:
    """The principal that the URI names in this trust domain; None if it names none."""
    match = _URI.fullmatch(uri)
    if match is None or match[1] != trust_domain:
        return None
    if match[2] not in KINDS or not ID_SYNTAX.fullmatch(match[3]):
        return None
    return Principal(match[2], match[3])
