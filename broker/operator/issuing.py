"""Issuing certificates from an open home: signed, then pinned with a ledger entry, then handed out."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker import pki
from broker.clock import rfc3339, system_clock
from broker.errors import Reason, SlussError
from broker.keys.secret_file import write_secret
from broker.operator import pins
from broker.operator.founding import default_endpoint
from broker.operator.profiles import Broker, write_profile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from broker.identity import Principal
    from broker.operator.office import Office


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was issued (PEM; `not_after` in microseconds), and the entry that pins it."""

    principal: str
    certificate: bytes
    serial: str
    spki: bytes
    not_after: int
    entry: int

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "principal": self.principal,
            "serial": pki.serial_text(self.serial),
            "spki": self.spki.hex(),
            "not_after": rfc3339(self.not_after),
            "entry": self.entry,
            "certificate": self.certificate.decode(),
        }


def issue_for_request(office: Office, principal: Principal, csr: bytes, *, days: int) -> Issued:
    """Signs and pins the key of a request.

    Raises:
        SlussError: as `pki.issue` and `pins.pin`; KEYS_UNAVAILABLE, LEDGER_UNAVAILABLE.
    """
    domain, now_us = office.settings.trust_domain, system_clock()
    certificate = pki.issue(office.authority(), csr, principal, domain, now_us, days=days)
    index = office.ledger.run(lambda tx: pins.pin(tx, principal, certificate))
    facts = pki.describe(certificate)
    return Issued(principal.name, certificate, facts.serial, facts.spki, facts.not_after, index)


def issue_profile(office: Office, principal: Principal, folder: Path, *, endpoint: str, days: int) -> Issued:
    """Makes a key, signs and pins it, and writes a profile folder with it.

    Raises:
        SlussError: as `issue_for_request`; INVALID_REQUEST: the folder exists.
    """
    if folder.exists():
        raise SlussError(Reason.INVALID_REQUEST, f"{folder} exists already")
    request = pki.make_request()
    issued = issue_for_request(office, principal, request.csr, days=days)
    settings = office.settings
    broker = Broker(
        endpoint or default_endpoint(settings, _public(_hosts(office))),
        settings.origin,
        tuple(office.signer.vkeys()),
        office.authority().certificate,
    )
    write_profile(folder, broker, principal, pki.KeyPair(issued.certificate, request.key))
    return issued


def renew_server_certificate(office: Office, hosts: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """Replaces the broker's own certificate and key; its hosts and the end of its validity.

    The key goes first. Between the two files a running broker keeps the certificate that it has.

    Raises:
        SlussError: as `pki.server_certificate`; KEYS_UNAVAILABLE.
    """
    folder = office.settings.folder
    named = tuple(hosts) or _hosts(office)
    pair = pki.server_certificate(office.authority(), named, system_clock())
    write_secret(folder.server_key, pair.key, replace=True)
    write_secret(folder.server_certificate, pair.certificate, replace=True)
    return named, pki.describe(pair.certificate).not_after


def _hosts(office: Office) -> tuple[str, ...]:
    try:
        return pki.hosts_of(office.settings.folder.server_certificate.read_bytes())
    except OSError:
        raise SlussError(Reason.KEYS_UNAVAILABLE, "the broker's certificate can't be read") from None


def _public(hosts: Sequence[str]) -> tuple[str, ...]:
    """The hosts that are not this machine's own addresses."""
    return tuple(host for host in hosts if not _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
