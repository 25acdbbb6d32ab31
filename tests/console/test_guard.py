"""Who may speak to the console, and from where: what other sites, other names and old links get."""

import re
import socket

import pytest

from tests.console.consoles import Visitor


def test_the_link_opens_one_session_and_no_second(console):
    first, second = Visitor(console), Visitor(console)
    status, headers, _ = first.enter()
    assert (status, headers["location"]) == (303, "/")
    assert first.get("/")[0] == 200
    status, headers, body = second.enter()
    assert status == 403
    assert "This link has been used" in body
    assert headers["set-cookie"] is None
    assert second.get("/")[0] == 403


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(console):
    cookie = Visitor(console).enter()[1]["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "domain" not in cookie


def test_without_a_session_there_is_nothing_to_see(console):
    for path in ("/", "/cases/L-2026-0001", "/persons/P-04CVZ6HGRM5PX", "/report.csv", "/ledger"):
        status, _, body = Visitor(console).get(path)
        assert status == 403
        assert "legal/anna" not in body


@pytest.mark.parametrize("host", ["evil.example:{port}", "127.0.0.1", "localhost.evil.example:{port}", "[::1]:{port}"])
def test_a_name_rebound_to_the_console_is_turned_away(anna, host):
    status, _, body = anna.get("/", Host=host.format(port=anna.console.port))
    assert status == 421
    assert "legal/anna" not in body


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "https://evil.example"},
    ],
)
def test_a_form_from_another_origin_does_nothing(team, anna, headers):
    token = anna.csrf()
    case = team.open_case()
    form = {"csrf": token, "etag": case.etag, "step": "reject", "reason": "by another site"}
    assert anna.post(f"/cases/{case.case_id}/step", form, **headers)[0] == 403
    assert team.world.cases[case.case_id].state == case.state


@pytest.mark.parametrize("token", [None, "", "x" * 43, "å"])
def test_a_form_without_the_sessions_token_does_nothing(team, anna, token):
    case = team.open_case()
    form = {"etag": case.etag, "step": "reject", "reason": "no token"} | ({} if token is None else {"csrf": token})
    status, _, body = anna.post(f"/cases/{case.case_id}/step", form)
    assert status == 403
    assert "Nothing was done" in body
    assert team.world.cases[case.case_id].state == case.state


def test_every_answer_carries_the_policy_and_is_not_kept(anna):
    for path in ("/", "/nowhere", "/signed-out", "/static/console.css"):
        headers = anna.get(path)[1]
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert anna.get("/")[1]["cache-control"] == "no-store"


def test_no_page_loads_anything_from_elsewhere_or_carries_script_or_style(anna, team):
    case = team.open_case().case_id
    for path in ("/", "/cases/new", f"/cases/{case}", f"/cases/{case}/approval", "/report", "/ledger"):
        body = anna.get(path)[2]
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', body)
        assert "style=" not in body
        assert not re.search(r"\son[a-z]+=", body)
        assert not re.search(r"<script(?! src=\"/static/)", body)


def test_signing_out_ends_the_session_for_good(console):
    visitor = Visitor(console)
    visitor.enter()
    cookie = visitor.cookie
    assert visitor.post("/sign-out", {"csrf": visitor.csrf()})[0] == 303
    visitor.cookie = cookie
    assert visitor.get("/")[0] == 403


def test_the_way_back_from_a_preference_never_leads_to_another_site(anna):
    for back in ("//evil.example", "https://evil.example", "/\\evil.example", ""):
        answer = anna.post("/preferences", {"csrf": anna.csrf(), "theme": "dark", "back": back})
        assert (answer[0], answer[1]["location"]) == (303, "/")


def test_a_body_larger_than_any_document_is_refused_unread(anna):
    status, _, _ = anna.send("POST", "/cases/new", Origin=anna.console.address, Content_Length=str(10**9))
    assert status == 413


def raw(visitor, head, body):
    """Status of an answer to bytes that no HTTP library would send."""
    console = visitor.console
    with socket.create_connection((console.host, console.port), timeout=20) as line:
        said = f"Host: {console.host}:{console.port}\r\nOrigin: {console.address}\r\nCookie: {visitor.cookie}\r\n"
        line.sendall(f"{head}\r\n{said}\r\n".encode() + body)
        return int(line.recv(64).split()[1])


def test_a_body_in_chunks_is_refused_whatever_length_it_claims(anna):
    form = f"csrf={anna.csrf()}&theme=dark&back=/".encode()
    head = "POST /preferences HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked"
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(form), form)
    assert raw(anna, head, chunks) == 413
    assert raw(anna, head + "\r\nContent-Length: 3", chunks) == 413


def test_text_that_is_no_utf8_is_refused(anna, team):
    parts = {"csrf": anna.csrf(), "what": "note", "note": "+2AA-"}
    made = "".join(f'--X\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in parts.items())
    body = f"{made}--X--\r\n".encode()
    head = f"POST /cases/{team.open_case().case_id}/change HTTP/1.1\r\nContent-Length: {len(body)}"
    assert raw(anna, f"{head}\r\nContent-Type: multipart/form-data; boundary=X; charset=utf-7", body) == 422


def test_numbers_that_nothing_can_have_lead_nowhere(anna, team):
    case = team.open_case().case_id
    for number in ("9" * 20, "9" * 5_000, "-1", "1.5", "%D9%A1"):
        assert anna.get(f"/cases/{case}/documents/{number}")[0] == 404
        assert anna.get(f"/disclosures/{number}")[0] == 404
    assert anna.get("/?after=" + "9" * 5_000)[0] == 200


def test_a_path_that_leads_nowhere_gets_a_page_and_no_trace(anna):
    status, _, body = anna.get("/static/../../serve.py")
    assert status == 404
    assert "Traceback" not in body
