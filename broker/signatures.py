"""Signatures by the key of a certificate: what a subcontractor accepts contracts and registers keys with. Pure."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from broker.errors import Reason, SlussError


def verify_signature(certificate_der: bytes, signature: bytes, message: bytes, **metadata: str) -> None:
    """Check an ECDSA P-256 signature with SHA-256 under a certificate's key (FIPS 186-5).

    Raises:
        SlussError: INVALID_SIGNATURE.
    """
    key = x509.load_der_x509_certificate(certificate_der).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SlussError(Reason.INVALID_SIGNATURE, **metadata)
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise SlussError(Reason.INVALID_SIGNATURE, **metadata) from None
