"""Floods of refusals: the ledger grows by a bounded number of entries, and they tell of each refusal that was heard."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import grpc
import pytest
from sluss.v1 import disclosure_pb2_grpc, person_pb2, person_pb2_grpc
from sluss_client.profile import Profile

from broker import pki
from broker.clock import system_clock
from broker.identity import Principal
from broker.ledger import entry
from broker.operator.office import opened
from tests.faults.siege import CALL_S, PATIENCE_S, Twin, info, ledger_of, request
from tests.support import postgres
from tests.support.broker import DOMAIN, BrokerProcess, grant
from tests.support.patience import patiently_called

WINDOW_S, ENTRIES = 2, 5
QUICK = {
    "SLUSS_REFUSAL_WINDOW_S": str(WINDOW_S),
    "SLUSS_REFUSAL_ENTRIES": str(ENTRIES),
    "SLUSS_MAINTAIN_S": "0.2",
}
ACME = "subcontractor/acme"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two broker processes on one PostgreSQL database, with short windows: (broker, its twin)."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres.server_url())
        url = stack.enter_context(postgres.empty_database(server))
        home = tmp_path_factory.mktemp("floods") / "home"
        broker = stack.enter_context(BrokerProcess(home, database=url, environment=QUICK))
        yield broker, stack.enter_context(Twin(broker))


def refused_calls(line, contract):
    """Calls over a channel that are refused, each for a reason of its own."""
    disclosures, persons = disclosure_pb2_grpc.DisclosureServiceStub(line), person_pb2_grpc.PersonServiceStub(line)

    def ask(contract=contract, **asked):
        return disclosures.Disclose(request(contract, [bytes(16)], **asked), timeout=CALL_S)

    return {
        "PURPOSE_OUT_OF_SCOPE": lambda: ask(purpose="offers"),
        "PURPOSE_UNKNOWN": lambda: ask(purpose="no.such"),
        "FIELD_OUT_OF_SCOPE": lambda: ask(fields=("phone",)),
        "NOT_YOUR_CONTRACT": lambda: ask("C-2026-9999"),
        "ROLE_NOT_ALLOWED": lambda: persons.GetPerson(person_pb2.GetPersonRequest(), timeout=CALL_S),
    }


def heard(call):
    """The reason that a call is refused with; empty if the connection broke first."""
    try:
        patiently_called(call)
    except grpc.RpcError as error:
        cut = error.code() is grpc.StatusCode.UNAVAILABLE
        return "" if cut else info(error).reason
    raise AssertionError("answered")


def flood(floods, rounds):
    """What callers hear, counted: one thread for each list of calls, which it makes in turn, again and again."""

    def caller(calls):
        found = Counter()
        for number in range(rounds):
            reason = heard(calls[number % len(calls)])
            found[reason] += 1
            if not reason:
                break
        return found

    with ThreadPoolExecutor(len(floods)) as pool:
        return sum(pool.map(caller, floods), Counter())


def told(entries, principal):
    """What entries tell of a caller's refusals, counted by reason: those of their own and those folded."""
    found = Counter()
    for one in entries:
        if one["type"] == "refusal" and one["principal"] == principal:
            found[one["reason"]] += 1
        elif one["type"] == "refusals" and one["principal"] == principal:
            found.update(one["counts"])
    return found


def entries_from(home, start):
    return [entry.parse(data) for data in ledger_of(home)[start:]]


def settled(home, start, principal, least):
    """The entries from `start` on, once they tell of at least so many refusals; their windows are over by then."""
    deadline = time.monotonic() + PATIENCE_S
    while told(entries := entries_from(home, start), principal).total() < least:
        assert time.monotonic() < deadline, told(entries, principal)
        time.sleep(0.2)
    return entries


def check_bounded(entries, principal, took_s):
    """At most so many entries a window, and one more that tells the rest."""
    about = [one for one in entries if one.get("principal") == principal]
    assert len(about) <= (ENTRIES + 1) * (int(took_s / WINDOW_S) + 2)
    assert any(one["type"] == "refusals" for one in about)


def test_a_flood_by_one_caller_over_two_processes_is_told_whole_by_reason_in_few_entries(pair, campaign):
    broker, _ = pair
    contract, _ = broker.live_contract(grant("billing", ("email=full",)))
    start, rounds, begun = len(ledger_of(broker.home)), 500 if campaign else 60, time.monotonic()
    floods = []
    for place in pair:
        calls = refused_calls(place.channel(ACME), contract)
        floods += [list(calls.values()), list(calls.values())[::-1]]
    counted = flood(floods, rounds)
    took_s = time.monotonic() - begun
    assert counted == Counter(dict.fromkeys(calls, 4 * rounds // len(calls)))
    entries = settled(broker.home, start, ACME, counted.total())
    assert told(entries, ACME) == counted
    check_bounded(entries, ACME, took_s)


def impostor(broker, endpoint):
    """A channel with a certificate of the right authority that is pinned to nobody."""
    with opened(broker.home) as office:
        made = pki.make_request()
        name = Principal("subcontractor", f"mallory-{uuid.uuid4().hex[:8]}")
        certificate = pki.issue(office.authority(), made.csr, name, DOMAIN, system_clock())
    ca = Profile.load(broker.profile(ACME)).ca()
    credentials = grpc.ssl_channel_credentials(ca, made.key, certificate)
    return grpc.secure_channel(endpoint, credentials, [("grpc.use_local_subchannel_pool", 1)])


def test_impostors_share_one_bucket_however_many_certificates_they_have(pair, campaign):
    broker, twin = pair
    start, rounds, begun = len(ledger_of(broker.home)), 200 if campaign else 40, time.monotonic()
    with ExitStack() as stack:
        lines = [impostor(broker, place.endpoint) for place in (broker, twin) for _ in range(3)]
        for line in lines:
            stack.enter_context(closing(line))
        counted = flood([list(refused_calls(line, "C-2026-0001").values()) for line in lines], rounds)
    took_s = time.monotonic() - begun
    assert counted == Counter({"UNKNOWN_PRINCIPAL": 6 * rounds})
    entries = settled(broker.home, start, "unknown", counted.total())
    assert told(entries, "unknown") == counted
    check_bounded(entries, "unknown", took_s)
    assert {one["principal"] for one in entries if one["type"] in {"refusal", "refusals"}} == {"unknown"}


def test_a_callers_flood_takes_nothing_from_what_is_told_of_another(pair):
    broker, twin = pair
    contract, _ = broker.live_contract(grant("billing", ("email=full",)))
    start = len(ledger_of(broker.home))
    loud = [list(refused_calls(place.channel(ACME), contract).values()) for place in (broker, twin)]
    quiet = refused_calls(broker.channel("subcontractor/quiet"), contract)["NOT_YOUR_CONTRACT"]
    with ThreadPoolExecutor(1) as pool:
        flooded = pool.submit(flood, loud, 60)
        assert [heard(quiet) for _ in range(3)] == ["NOT_YOUR_CONTRACT"] * 3
        counted = flooded.result()
    entries = settled(broker.home, start, ACME, counted.total())
    assert told(entries, ACME) == counted
    own = [one for one in entries if one.get("principal") == "subcontractor/quiet" and one["type"] == "refusal"]
    assert [one["reason"] for one in own] == ["NOT_YOUR_CONTRACT"] * 3


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_a_kill_in_the_middle_of_a_flood_loses_no_refusal_that_was_heard(request, tmp_path, store, campaign):
    url = request.getfixturevalue("postgres_url") if store == "postgres" else ""
    with BrokerProcess(tmp_path / "home", database=url, environment=QUICK) as broker:
        contract, _ = broker.live_contract(grant("billing", ("email=full",)))
        start, counted, threads = len(ledger_of(broker.home)), Counter(), 4
        kills = 5 if campaign else 2
        for _ in range(kills):
            floods = [list(refused_calls(broker.channel(ACME), contract).values()) for _ in range(threads)]
            with ThreadPoolExecutor(1) as pool:
                flooded = pool.submit(flood, floods, 100_000)
                time.sleep(0.7)
                broker.kill()
                counted += flooded.result()
            broker.start()
        counted += flood([list(refused_calls(broker.channel(ACME), contract).values())], 20)
        cut = counted.pop("")
        assert cut == kills * threads
        assert counted.total() > 40
        entries = settled(broker.home, start, ACME, counted.total())
        time.sleep(WINDOW_S + 1)
        ledger = told(entries_from(broker.home, start), ACME)
    # A refusal whose reply the kill cut off may be in the ledger all the same: at most one a thread.
    assert all(ledger[reason] >= count for reason, count in counted.items())
    assert ledger.total() <= counted.total() + cut
    assert any(one["type"] == "refusals" for one in entries)
