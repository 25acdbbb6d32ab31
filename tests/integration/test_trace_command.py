"""`sluss trace` and `sluss canary` against a real broker over mutual TLS: lists in, tables, JSON and CSV out."""

from __future__ import annotations

import contextlib
import csv
import io
import sqlite3
import threading

import grpc
import orjson
import pytest
from sluss.v1 import ledger_pb2, person_pb2, trace_pb2, trace_pb2_grpc
from sluss_cli import trace

from tests.support import sluss_command
from tests.support.broker import BrokerProcess, grant

WHY = ("--reason", "a list on a forum")
CONTACT = ("email=full", "phone=full", "customer_number=full", "name.given=full")


class Leak:
    """A running broker with two recipients: `acme` had everybody, `beta` the first five, and 10,000 persons more."""

    def __init__(self, broker):
        self.broker = broker
        self.acme, acme = broker.live_contract(grant(fields=CONTACT))
        self.beta, beta = broker.live_contract(grant(fields=CONTACT), subcontractor="subcontractor/beta")
        self.people = [
            broker.register(email=f"p{n}@example.org", phone=f"+467017406{n + 10}", name__given="Åsa")
            for n in range(12)
        ]
        self.planted = self.json("canary", "plant", self.beta, "--count", "2", "--email-domain", "example.net", *WHY)
        (self.everybody,) = acme.bulk(self.acme, "billing", ["email", "phone"])
        (self.beta_got,) = beta.bulk(self.beta, "billing", ["email"])
        self.stub = trace_pb2_grpc.TraceServiceStub(broker.channel("privacy/team"))

    def run(self, *words, by="privacy/team", **options):
        profile = self.broker.profile(by)
        result = sluss_command.invoke(sluss_command.clients(), [*words, "--profile", str(profile)], **options)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return result

    def json(self, *words, **options):
        result = self.run(*words, "--json", **options)
        assert result.exit_code == 0, result.output
        return orjson.loads(result.stdout)


@pytest.fixture(scope="module")
def leak(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "home") as running:
        yield Leak(running)


def test_a_value_is_traced_to_whoever_had_received_it(leak):
    result = leak.run("trace", "p1@example.org", *WHY)
    assert result.exit_code == 0, result.output
    assert "subcontractor/acme" in result.stdout
    assert "subcontractor/beta" in result.stdout
    assert "To have received is not to have leaked." in result.stdout
    assert "p1@example.org" not in result.stdout
    told = leak.json("trace", "+46 70 174 06 12", *WHY, by="legal/anna")
    assert [source["contract"] for source in told["sources"]] == [leak.acme]
    assert told["traced"][0]["persons"] == [leak.people[2]]


def test_a_file_is_traced_by_its_columns(leak, tmp_path):
    file = tmp_path / "leaked.csv"
    file.write_text("Förnamn;E-post;Skostorlek\nÅsa;p1@example.org;38\nX;p2@example.org;40\n;nobody@example.org;41\n")
    told = leak.json("trace", "--file", file, *WHY)
    assert told["left_out"] == ["Skostorlek"]
    assert [row["line"] for row in told["traced"]] == [2, 3, 4]
    statuses = [{value["field"]: value["status"] for value in row["values"]} for row in told["traced"]]
    assert statuses == [
        {"name.given": "not_disclosed", "email": "received"},
        {"name.given": "differs", "email": "received"},
        {"email": "unknown"},
    ]
    out = tmp_path / "traced.csv"
    result = leak.run("trace", "--file", file, "--column", "Skostorlek=customer_number", "--out", out, *WHY)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert rows[0].keys() == {"line", "field", "status", "former", "canary", "received_under", "persons"}
    assert "example.org" not in out.read_text()
    assert out.stat().st_mode & 0o077 == 0


def test_a_list_without_a_header_comes_from_standard_input(leak):
    told = leak.json("trace", "-", "--country", "SE", *WHY, input="p1@example.org\n\n070-174 06 13\nK-unknown\n")
    assert [row["line"] for row in told["traced"]] == [1, 3, 4]
    assert [row["values"][0]["status"] for row in told["traced"]] == ["received", "received", "unknown"]


def test_a_leaked_canary_names_its_contract(leak, tmp_path):
    address = leak.planted["canaries"][0]["values"]["email"]
    assert address in {person.values["email"] for person in leak.beta_got.persons}
    assert address not in {person.values["email"] for person in leak.everybody.persons}
    file = tmp_path / "leaked.txt"
    file.write_text(f"p1@example.org\np2@example.org\n{address}\n")
    told = leak.json("trace", "--file", file, *WHY)
    assert (told["sources"][0]["contract"], told["sources"][0]["canaries"]) == (leak.beta, 1)
    assert told["sources"][0]["likelihood"] > 0.999
    assert told["traced"][2] | {"values": []} == {"line": 3, "canary": True, "persons": [], "values": []}
    assert "> 99.9 %" in leak.run("trace", "--file", file, *WHY).stdout


def test_a_recipient_with_several_contracts_is_told_besides_them():
    sources = [
        trace_pb2.TraceSource(contract_id=f"C-2026-000{n}", recipient=f"subcontractor/{name}")
        for n, name in enumerate(("acme", "beta", "acme"))
    ]
    recipients = [trace_pb2.TraceRecipient(recipient=f"subcontractor/{name}") for name in ("beta", "acme")]
    summary = trace_pb2.TraceSummary(sources=sources, recipients=recipients)
    assert [each.recipient for each in trace.several(summary)] == ["subcontractor/acme"]


def test_canaries_are_listed_and_retired(leak):
    contract, client = leak.broker.live_contract(grant(fields=CONTACT))
    planted = leak.json("canary", "plant", contract, "--email-domain", "example.com", *WHY, by="operator/admin")
    assert len(planted["canaries"]) == 3
    shown = leak.json("canary", "list", contract)["canaries"]
    assert [(each["number"], each["intact"], "values" in each) for each in shown] == [
        (n, True, False) for n in (1, 2, 3)
    ]
    assert len(leak.json("canary", "list", "--values", by="legal/anna")["canaries"]) >= 5
    assert "yes" in leak.run("canary", "list").stdout
    assert leak.json("canary", "retire", contract, "--number", "2", *WHY)["retired"] == 1
    assert leak.json("canary", "retire", contract, *WHY)["retired"] == 2
    assert leak.run("canary", "retire", contract, *WHY).stdout == "None was in use.\n"
    (chunk,) = client.bulk(contract, "billing", ["email"])
    assert not {each["values"]["email"] for each in planted["canaries"]} & {
        person.values.get("email") for person in chunk.persons
    }


def test_other_chances_are_told_with_the_likelihoods_they_give(leak):
    told = leak.json("trace", "p1@example.org", "--noise", "20", "--elsewhere", "50", *WHY)
    assert told["assumed"] == {"noise": 0.2, "elsewhere": 0.5}
    usual = leak.json("trace", "p1@example.org", *WHY)
    assert told["likelihood_elsewhere"] > usual["likelihood_elsewhere"]
    whole = sum(each["likelihood"] for each in told["recipients"]) + told["likelihood_elsewhere"]
    assert whole == pytest.approx(1, abs=1e-4)


def test_wide_rows_are_sent_in_messages_that_the_broker_takes(leak, tmp_path):
    file = tmp_path / "wide.csv"
    wide = "x" * 4000
    file.write_text("email,company\n" + "".join(f"p{n}@example.org,{wide}\n" for n in range(600)))
    told = leak.json("trace", "--file", file, *WHY)
    assert told["rows"] == 600
    assert told["found"] == 12


@pytest.mark.parametrize("by", ["subcontractor/acme", "internal/import", "operator/admin"])
def test_only_the_privacy_and_the_legal_team_trace(leak, by):
    result = leak.run("trace", "p1@example.org", *WHY, by=by)
    assert "ROLE_NOT_ALLOWED" in result.output


def test_a_subcontractor_sees_nothing_of_canaries_in_the_ledger(leak):
    entries = leak.json("ledger", "show", by="subcontractor/beta")
    assert "canary" not in orjson.dumps(entries).decode()


def header(**extra):
    return trace_pb2.TraceHeader(reason="a list on a forum", **extra)


def row(**values):
    return trace_pb2.LeakedRow(values=[person_pb2.FieldValue(field=f, value=v) for f, v in values.items()])


def ask(*messages, **header_):
    return [trace_pb2.TraceLeakRequest(**message) for message in messages]


@pytest.mark.parametrize(
    ("field", "messages"),
    [
        ("header", []),
        ("header", [{"rows": [row(email="a@example.org")]}]),
        ("header", [{"header": header()}, {"header": header()}]),
        ("rows", [{"header": header()}]),
        ("rows", [{"header": header(), "rows": [row()]}]),
        ("rows", [{"header": header(), "rows": [row(email="")]}]),
        ("rows", [{"header": header(), "rows": [row(language="sv")]}]),
        ("rows", [{"header": header(), "rows": [row(email="a@example.org")] * 1001}]),
        ("leaked_before", [{"header": header(leaked_before="yesterday")}]),
        ("leaked_before", [{"header": header(leaked_before="2026-02-30T00:00:00Z")}]),
        ("noise_ppm", [{"header": header(noise_ppm=1_000_000)}]),
        ("reason", [{"header": trace_pb2.TraceHeader(reason="ask anna@example.org")}]),
    ],
)
def test_what_is_wrong_with_a_trace_is_told_by_name_and_not_logged(leak, field, messages):
    before = leak.json("ledger", "show")
    with pytest.raises(grpc.RpcError) as caught:
        list(leak.stub.TraceLeak(iter(ask(*messages)), timeout=20))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith((field, f"{field}:")), caught.value.details()
    assert leak.json("ledger", "show") == before


def test_a_long_list_is_traced_in_bounded_time_beside_other_calls(leak, campaign):
    rows = 100_000 if campaign else 10_000
    some = [row(email=f"p{n % 3000}@example.org", phone=f"+46701{n:06d}") for n in range(rows)]

    def sent():
        for start in range(0, rows, 1000):
            first = header() if start == 0 else None
            yield trace_pb2.TraceLeakRequest(header=first, rows=some[start : start + 1000])

    replies = []
    asking = threading.Thread(target=lambda: replies.extend(leak.stub.TraceLeak(sent(), timeout=300)))
    asking.start()
    while asking.is_alive():
        assert leak.broker.register(language="sv")
        asking.join(0.2)
    summary, *parts = replies
    assert summary.summary.rows == rows
    assert sum(len(part.rows.rows) for part in parts) == rows
    assert summary.summary.values == 2 * rows


def test_nothing_is_told_that_the_ledger_does_not_hold(leak):
    """A trace that can't be logged is no trace (promise 1): not a message of it leaves."""
    (path,) = leak.broker.home.rglob("*.db")
    got = []
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(grpc.RpcError) as caught:
            got.extend(
                leak.stub.TraceLeak(iter(ask({"header": header(), "rows": [row(email="p1@example.org")]})), timeout=20)
            )
        other.execute("ROLLBACK")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert got == []
    summary = next(iter(leak.stub.TraceLeak(iter(ask({"header": header(), "rows": [row(email="p1@example.org")]})))))
    entries = leak.broker.ledger("privacy/team").ListEntries(
        ledger_pb2.ListEntriesRequest(start=summary.summary.entry_index, type="trace"), timeout=10
    )
    assert [found.index for found in entries.entries] == [summary.summary.entry_index]
