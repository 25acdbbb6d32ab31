"""A client's profile folder, made by the operator for whoever is not going to make a request of their own.

The SDK reads it (clients/sluss_client/profile.py): profile.toml, ca.pem, certificate.pem, key.pem.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.errors import Reason, SlussError
from broker.keys.secret_file import write_secret

if TYPE_CHECKING:
    from pathlib import Path

    from broker.identity import Principal
    from broker.pki import KeyPair


@dataclass(frozen=True, slots=True)
class Broker:
    """What every client of a broker is told.

    Attributes:
        endpoint: `host:port`.
        origin: the ledger's name.
        ledger_keys: its public keys, vkey strings.
        ca: the authority's certificate, PEM.
    """

    endpoint: str
    origin: str
    ledger_keys: tuple[str, ...]
    ca: bytes


def write_profile(folder: Path, broker: Broker, principal: Principal, identity: KeyPair) -> None:
    """Makes the folder, mode 0700; profile.toml comes last, so that an unfinished one is none.

    Raises:
        SlussError: INVALID_REQUEST: there is something at `folder` already, or it can't be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
        (folder / "ca.pem").write_bytes(broker.ca)
        (folder / "certificate.pem").write_bytes(identity.certificate)
        write_secret(folder / "key.pem", identity.key, replace=False)
        (folder / "profile.toml").write_text(_toml(broker, principal), "utf-8")
    except FileExistsError:
        raise SlussError(Reason.INVALID_REQUEST, f"{folder} exists already") from None
    except OSError:
        raise SlussError(Reason.INVALID_REQUEST, f"{folder} can't be written") from None


def _toml(broker: Broker, principal: Principal) -> str:
    """TOML's basic strings and arrays of them are written as JSON's."""
    told = {
        "endpoint": broker.endpoint,
        "principal": principal.name,
        "origin": broker.origin,
        "ledger_keys": list(broker.ledger_keys),
    }
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in told.items())
