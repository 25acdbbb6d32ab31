"""The broker's own certificate, read again when its files change: it is renewed without a restart."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, cast

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from broker.errors import Reason, SlussError
from broker.keys.secret_file import read_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.settings import Home

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


class Certificates:
    """The files of a home folder as gRPC's credentials.

    gRPC asks before every handshake, on a thread of its own. Files that are missing, unreadable or do not
    belong together (one of two is replaced already) leave the certificate in use, and are looked at again
    next time.
    """

    def __init__(self, home: Home) -> None:
        """Reads the files.

        Raises:
            SlussError: KEYS_UNAVAILABLE.
        """
        self._home = home
        self._lock = threading.Lock()
        self._stamp, self._initial = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Server credentials that demand a certificate of the home folder's authority from every client."""
        # The stubs say that a fetcher always returns a configuration; gRPC says None for "no change".
        fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", self._fetch)
        return grpc.dynamic_ssl_server_credentials(self._initial, fetch, require_client_authentication=True)

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """The new certificate, or None to go on with the one in use."""
        with self._lock:
            try:
                if self._look() == self._stamp:
                    return None
                self._stamp, configuration = self._read()
            except (SlussError, OSError):
                log.warning("the changed certificate files can't be used: the old certificate stays")
                return None
        log.info("the certificate files have changed and are in use")
        return configuration

    def _look(self) -> Stamp:
        home = self._home
        found = [os.stat(path) for path in (home.ca_certificate, home.server_certificate, home.server_key)]  # noqa: PTH116 - before every handshake
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in found)

    def _read(self) -> tuple[Stamp, grpc.ServerCertificateConfiguration]:
        try:
            stamp = self._look()
            authority = self._home.ca_certificate.read_bytes()
            certificate = self._home.server_certificate.read_bytes()
        except OSError:
            raise SlussError(Reason.KEYS_UNAVAILABLE, "the broker's certificate can't be read") from None
        key = read_secret(self._home.server_key)
        _check(authority, certificate, key)
        return stamp, grpc.ssl_server_certificate_configuration([(key, certificate)], authority)


def _check(authority: bytes, certificate: bytes, key: bytes) -> None:
    try:
        x509.load_pem_x509_certificates(authority)
        named = x509.load_pem_x509_certificate(certificate).public_key()
        held = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError):
        raise SlussError(Reason.KEYS_UNAVAILABLE, "the broker's certificate files are malformed") from None
    if named != held:
        raise SlussError(Reason.KEYS_UNAVAILABLE, "the broker's certificate is for another key")
