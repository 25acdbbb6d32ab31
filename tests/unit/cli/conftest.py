import socket

import pytest
from sluss_client.profile import Profile

from broker import pki
from broker.clock import system_clock
from broker.identity import Principal
from broker.ledger.checkpoint import ED25519, VerifierKey
from tests.support import sluss_command

ORIGIN = "example.com/sluss"


@pytest.fixture(scope="session")
def app():
    """The command with the verbs of every client, and no plug-ins."""
    return sluss_command.clients()


@pytest.fixture
def sluss(app, monkeypatch):
    """Runs `sluss WORDS`; nothing may end in a traceback."""
    monkeypatch.delenv("SLUSS_PROFILE", raising=False)

    def run(*words, **options):
        result = sluss_command.invoke(app, words, **options)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture(scope="session")
def authority():
    return pki.make_ca("example.com", system_clock())


@pytest.fixture
def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield free.getsockname()[1]


@pytest.fixture(scope="session")
def issue(authority):
    """Signs a request for a subcontractor's certificate."""

    def sign(csr, id_="acme-pay"):
        return pki.issue(authority, csr, Principal("subcontractor", id_), "example.com", system_clock())

    return sign


@pytest.fixture
def profile(tmp_path, authority, issue, closed_port):
    """A complete profile of a broker that does not answer."""
    folder = tmp_path / "acme"
    made = Profile.create(
        folder,
        endpoint=f"127.0.0.1:{closed_port}",
        principal="subcontractor/acme-pay",
        origin=ORIGIN,
        ledger_keys=[VerifierKey(ORIGIN, ED25519, bytes(32)).text()],
        ca=authority.certificate,
    )
    made.install_certificate(issue(made.certificate_request()))
    return folder
