"""A subcontractor's certificate is changed while its client works, against a real broker."""

import asyncio
import shutil
import uuid
from contextlib import suppress
from types import SimpleNamespace

import pytest
from sluss_client import AsyncSubcontractor, Profile, Subcontractor, errors

from broker.handles import handle_text
from broker.identity import parse_principal
from broker.operator import pins
from broker.operator.issuing import issue_for_request
from broker.operator.office import opened
from tests.support.broker import BrokerProcess

COUNT = 12
ASK = ("billing", ["email", "name.given"])


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("rotation") / "home") as process:
        yield process


@pytest.fixture
def place(broker):
    """A subcontractor of its own with a live contract and some persons."""
    name = f"subcontractor/s-{uuid.uuid4().hex[:8]}"
    contract, client = broker.live_contract(subcontractor=name)
    people = [broker.register(email=f"p{n}@example.com", name__given=f"Given {n}") for n in range(COUNT)]
    handles = [handle_text(handle) for handle in broker.handles(contract, *people)]
    return SimpleNamespace(name=name, contract=contract, client=client, handles=handles, folder=broker.profile(name))


def certify(broker, name, csr):
    with opened(broker.home) as office:
        return issue_for_request(office, parse_principal(name), csr, days=30).certificate


def revoke(broker, serial):
    with opened(broker.home) as office:
        return pins.revoke(office.ledger, pins.selected(serial=serial), "replaced")


def given(results):
    return [person.values["name.given"] for person in results]


NAMES = [f"Given {n}" for n in range(COUNT)]


def test_a_client_goes_on_under_its_new_certificate_while_a_stream_ends_under_the_old(broker, place, tmp_path):
    old = shutil.copytree(place.folder, tmp_path / "old")
    stream = place.client.bulk(place.contract, *ASK, place.handles, chunk_size=1)
    came = next(stream).persons
    pem = certify(broker, place.name, place.client.certificate_request())
    serial = place.client.install_certificate(pem)
    assert given(place.client.disclose(place.contract, *ASK, place.handles)) == NAMES
    assert len(place.client._lines.all()) == 2
    came += [person for chunk in stream for person in chunk.persons]
    assert sorted(given(came)) == sorted(NAMES)
    assert len(place.client._lines.all()) == 1

    assert len(revoke(broker, serial)) == 1
    with Subcontractor.from_profile(old) as left_behind, pytest.raises(errors.Unauthenticated):
        left_behind.describe_scope(place.contract)
    assert given(place.client.disclose(place.contract, *ASK, place.handles)) == NAMES
    place.client.rotate_key()
    another = broker.propose(subcontractor=place.name)
    assert place.client.accept_contract(another).contract.version == 1


async def test_the_asynchronous_client_goes_on_under_its_new_certificate(broker, place):
    async with AsyncSubcontractor.from_profile(place.folder) as sluss:
        stream = sluss.bulk(place.contract, *ASK, place.handles, chunk_size=1)
        came = (await anext(stream)).persons
        pem = await asyncio.to_thread(certify, broker, place.name, await sluss.certificate_request())
        calls = [sluss.disclose(place.contract, *ASK, [handle]) for handle in place.handles]
        serial, *answers = await asyncio.gather(sluss.install_certificate(pem), *calls)
        assert [given(one) for one in answers] == [[name] for name in NAMES]
        came += [person async for chunk in stream for person in chunk.persons]
        assert sorted(given(came)) == sorted(NAMES)

        await asyncio.to_thread(revoke, broker, serial)
        assert given(await sluss.disclose(place.contract, *ASK, place.handles)) == NAMES
        assert len(sluss._lines.all()) == 1
        await sluss.rotate_key()
        another = broker.propose(subcontractor=place.name)
        assert (await sluss.accept_contract(another)).contract.version == 1


def test_a_certificate_that_another_process_installs_is_taken_up(broker, place):
    profile = Profile.load(place.folder)
    serial = profile.install_certificate(certify(broker, place.name, profile.certificate_request()))
    revoke(broker, serial)
    assert given(place.client.disclose(place.contract, *ASK, place.handles)) == NAMES
    place.client.rotate_key()


def test_a_certificate_that_does_not_fit_leaves_the_client_as_it_is(broker, place):
    place.client.certificate_request()
    stranger = Profile.load(broker.profile("subcontractor/acme"))
    pem = certify(broker, place.name, stranger.certificate_request())
    with pytest.raises(errors.ProfileError):
        place.client.install_certificate(pem)
    with suppress(FileNotFoundError):
        (place.folder / "certificate.pem").touch()  # looked at anew, and still what it was
    assert given(place.client.disclose(place.contract, *ASK, place.handles)) == NAMES
    place.client.rotate_key()
