"""The console of a team: who comes by which certificate is who the broker sees."""

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sluss_client.profile import Profile
from sluss_legal.web.doors import BROWSER_KEYS, NobodyKnownError, folder_of

from broker import pki
from broker.identity import Principal
from tests.console.consoles import Console, Visitor
from tests.unit.client.memory_broker import Company


def certify(team, kind, name, company=None):
    """A key and a certificate that a browser may hold."""
    company, made = company or team.company, pki.make_request()
    return made.key, pki.issue(company.ca, made.csr, Principal(kind, name), "example.com", company.now)


def tls_of(team, folder, key, certificate):
    """A browser's side of TLS."""
    pem = folder / "browser.pem"
    pem.write_bytes(key + certificate)
    context = ssl.create_default_context(cadata=team.company.ca.certificate.decode())
    context.load_cert_chain(pem)
    return context


def der(certificate):
    return x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def served(team, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    pair = pki.server_certificate(team.company.ca, ["localhost"], team.company.now)
    for name, data in (("certificate", pair.certificate), ("key", pair.key), ("ca", team.company.ca.certificate)):
        (folder / name).write_bytes(data)
    with Console(
        "--listen",
        "127.0.0.1:0",
        *("--certificate", folder / "certificate"),
        *("--key", folder / "key"),
        *("--client-ca", folder / "ca"),
        *("--profiles", team.profiles),
    ) as running:
        yield running


def visitor_of(served, team, tmp_path, name):
    return Visitor(served, tls_of(team, tmp_path, *Profile.load(team.folder(name)).identity()))


def test_the_certificate_says_who_looks(team, served, tmp_path):
    for name in ("anna", "bo"):
        body = visitor_of(served, team, tmp_path, name).get("/")[2]
        assert f"<b>legal/{name}</b>" in body


def test_the_broker_sees_two_people(team, served, tmp_path):
    visitor = visitor_of(served, team, tmp_path, "bo")
    case = team.open_case("anna")
    form = {"csrf": visitor.csrf(), "etag": case.etag, "what": "note", "note": "Seen"}
    assert visitor.post(f"/cases/{case.case_id}/change", form)[0] == 303
    assert [event.by for event in team.world.timelines[case.case_id]] == ["legal/anna", "legal/bo"]


def test_the_cookie_is_secure_and_opens_nothing_for_another_certificate(team, served, tmp_path):
    anna, bo = (visitor_of(served, team, tmp_path, name) for name in ("anna", "bo"))
    cookie = anna.get("/")[1]["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie
    bo.cookie = anna.cookie
    status, headers, body = bo.get("/")
    assert status == 200
    assert "<b>legal/bo</b>" in body
    assert headers["set-cookie"]


def test_without_a_certificate_there_is_no_connection(team, served):
    bare = ssl.create_default_context(cadata=team.company.ca.certificate.decode())
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        Visitor(served, bare).get("/")


@pytest.mark.parametrize(("kind", "name"), [("legal", "eve"), ("legal", "anna"), ("operator", "admin")])
def test_a_certificate_of_nobody_here_gets_a_plain_403(team, served, tmp_path, kind, name):
    """Even one that names Anna: its key is not hers."""
    status, headers, body = Visitor(served, tls_of(team, tmp_path, *certify(team, kind, name))).get("/")
    assert status == 403
    assert "opens nothing here" in body
    assert headers["set-cookie"] is None


def test_a_browser_key_that_the_folder_lists_is_its_users(team):
    _, certificate = certify(team, "legal", "bo")
    with pytest.raises(NobodyKnownError):
        folder_of(team.profiles, der(certificate))
    (team.folder("bo") / BROWSER_KEYS).write_text(pki.spki_sha256(certificate).hex() + "\n")
    assert folder_of(team.profiles, der(certificate)) == team.folder("bo")
    _, others = certify(team, "legal", "anna")
    with pytest.raises(NobodyKnownError):
        folder_of(team.profiles, der(others))


def test_a_name_never_leads_out_of_the_profiles(team):
    for name in ("..", "anna-", "an/na"):
        try:
            _, certificate = certify(team, "legal", name)
        except Exception:  # noqa: BLE001 - the authority refuses such names itself
            continue
        with pytest.raises(NobodyKnownError):
            folder_of(team.profiles, der(certificate))


def test_a_certificate_by_another_authority_does_not_connect(team, served, tmp_path):
    key, certificate = certify(team, "legal", "anna", Company())
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        Visitor(served, tls_of(team, tmp_path, key, certificate)).get("/")
