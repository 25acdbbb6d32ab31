"""The spine over real stores: what leaves, what is refused, what stands in the ledger."""

from __future__ import annotations

import hashlib
import uuid
from datetime import date

import pytest
from sqlalchemy import update as update_row

from broker import agreements
from broker.asks import Answer, Page
from broker.compromise import reports
from broker.compromise.reports import NewReport
from broker.contracts import Population, Predicate, Step, Volume, Window
from broker.epochs import Epochs
from broker.errors import Reason, SlussError
from broker.ledger import entry
from broker.ledger.checkpoint import open_checkpoint
from broker.ledger.merkle import verify_consistency
from broker.ledger.receipt import verify_receipt
from broker.persons import update
from broker.persons.model import Correction
from broker.refusals import RefusalLog
from broker.sealing import RecipientPrivateKey
from broker.store.queries import PERSON, read_persons
from broker.vault import commitment
from tests.support.world import World


class Scene:
    """A world with a live contract of `acme` and some persons."""

    def __init__(self, world, **terms):
        self.world = world
        self.operator = world.actor("operator/olle")
        self.acme = world.actor("subcontractor/acme")
        self.registration = world.actor("internal/registration")
        self.contract = world.contract(
            self.acme, self.operator, world.terms(self.acme.name, **terms) if terms else None
        )

    def person(self, **extra):
        person = self.world.person(self.registration, **extra)
        return person, self.world.handle(self.contract, person)

    def disclose(self, handles, **extra):
        return self.world.disclose(self.acme, self.contract, handles, **extra)

    def refused(self, handles, **extra):
        with pytest.raises(SlussError) as caught:
            self.disclose(handles, **extra)
        return caught.value


@pytest.fixture
def world(store_engine, vault):
    return World(store_engine, vault)


@pytest.fixture
def scene(world):
    return Scene(world)


def test_a_slice_opens_with_the_recipients_key_and_its_entry_was_first(scene):
    _, handle = scene.person()
    answer = scene.disclose([handle], purpose="billing.payment", fields=("payment.iban", "email"))
    values = scene.world.opened(answer)[handle]
    assert values["payment.iban"] == "7466"
    assert values["email"].endswith("@example.com")
    (sealed,) = answer.sealed
    verify_receipt(sealed.receipt, sealed.entry, scene.world.keys.signer().verifier)
    assert scene.world.ledger.entry(sealed.index).entry == sealed.entry


def test_the_entry_names_exactly_what_was_released(scene):
    person, handle = scene.person()
    answer = scene.disclose([handle], purpose="billing.payment", fields=("payment.iban", "email"))
    (sealed,) = answer.sealed
    found = entry.parse(sealed.entry)
    terms = found["terms"]
    assert terms["fields"] == [
        {"name": "email", "transform": "full"},
        {"name": "payment.iban", "transform": "last4"},
    ]
    assert (terms["contract"], terms["contract_version"], terms["purpose"]) == (scene.contract, 1, "billing.payment")
    assert terms["recipient"] == "subcontractor/acme"
    assert terms["policy"] == "2026-01"
    assert terms["key"] == entry.base64url(scene.world.private_key.public().id)
    assert found["slices"][0]["sha256"] == entry.base64url(hashlib.sha256(sealed.slices[0]).digest())
    with scene.world.engine.connect() as connection:
        (row,) = read_persons(connection, [person])
    expected = commitment(scene.world.vault.person_secret(row), terms["disclosure"])
    assert found["slices"][0]["person"] == entry.base64url(expected)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"purpose": "offers.email"}, Reason.PURPOSE_OUT_OF_SCOPE),
        ({"purpose": "legal.process"}, Reason.PURPOSE_OUT_OF_SCOPE),
        ({"purpose": "anonymous"}, Reason.PURPOSE_OUT_OF_SCOPE),
        ({"purpose": "billing.colection"}, Reason.PURPOSE_UNKNOWN),
        ({"purpose": ""}, Reason.PURPOSE_UNKNOWN),
        ({"purpose": "x" * 10_000}, Reason.PURPOSE_UNKNOWN),
        ({"purpose": "kalle.anka@example.com"}, Reason.PURPOSE_UNKNOWN),
        ({"fields": ("name.given",)}, Reason.FIELD_OUT_OF_SCOPE),
        ({"fields": ("shoe_size",)}, Reason.FIELD_UNKNOWN),
        ({"fields": ("payment.card_security_code",)}, Reason.FIELD_FORBIDDEN),
    ],
)
def test_what_is_out_of_scope_is_refused_by_name_and_logged(scene, change, reason):
    _, handle = scene.person()
    before = len(scene.world.entries())
    error = scene.refused([handle], **change)
    assert error.reason is reason
    (logged,) = scene.world.entries()[before:]
    assert (logged["type"], logged["reason"], logged["principal"]) == ("refusal", reason, "subcontractor/acme")
    assert "kalle" not in str(logged)
    assert "kalle" not in error.detail + str(error.metadata)


def test_someone_elses_contract_is_refused_like_one_that_does_not_exist(scene):
    other = scene.world.actor("subcontractor/other")
    _, handle = scene.person()
    errors = []
    for contract in (scene.contract, "C-2026-9999", "nonsense"):
        with pytest.raises(SlussError) as caught:
            scene.world.disclose(other, contract, [handle])
        errors.append(caught.value.reason)
    assert errors == [Reason.NOT_YOUR_CONTRACT] * 3


def test_financial_fields_cannot_be_granted_for_other_than_payment_purposes(scene):
    terms = scene.world.terms(scene.acme.name, scene.world.grant("support", ("payment.iban=last4",)))
    with pytest.raises(SlussError) as caught:
        scene.world.contract(scene.acme, scene.operator, terms)
    assert caught.value.reason is Reason.INVALID_TERMS


def test_unknown_foreign_forged_opted_out_and_inactive_persons_look_the_same(world):
    scene = Scene(world, grants=(world.grant("offers", ("email=full",)),))
    _, handle = scene.person()
    opted_out, out_handle = scene.person()
    world.choose(scene.registration, opted_out, "offers", "out")
    answer = scene.disclose([handle, out_handle, bytes(16), b"x" * 16], purpose="offers")
    assert list(world.opened(answer)) == [handle]
    assert answer.unavailable == [out_handle, bytes(16), b"x" * 16]
    alone = scene.disclose([out_handle], purpose="offers")
    unknown = scene.disclose([b"y" * 16], purpose="offers")
    assert (alone.sealed, unknown.sealed) == ([], [])
    assert (alone.consistency, alone.decision) == (unknown.consistency, unknown.decision)
    refusals = [found for found in world.entries() if found["type"] == "refusal"]
    assert [found["reason"] for found in refusals] == ["PERSON_UNAVAILABLE"] * 2


def test_third_party_purposes_need_an_opt_in(world):
    scene = Scene(world, grants=(world.grant("partners", ("email=full",)),))
    person, handle = scene.person()
    assert scene.disclose([handle], purpose="partners.email").sealed == []
    world.choose(scene.registration, person, "partners.email", "in")
    assert len(scene.disclose([handle], purpose="partners.email").sealed) == 1
    assert scene.disclose([handle], purpose="partners").sealed == []
    world.choose(scene.registration, person, "partners", "out")
    assert scene.disclose([handle], purpose="partners.email").sealed == []


def test_predicates_and_lists_bound_the_population(world):
    country = Population(predicates=(Predicate("address.country", frozenset({"DE"})),))
    scene = Scene(world, grants=(world.grant("billing", ("email=full",), population=country),))
    _, swede = scene.person()
    _, german = scene.person(values={"customer_number": "D1", "email": "d@example.com", "address.country": "DE"})
    answer = scene.disclose([swede, german])
    assert list(world.opened(answer)) == [german]
    assert answer.unavailable == [swede]


@pytest.mark.parametrize(
    ("step", "reason"),
    [(Step.SUSPEND, Reason.CONTRACT_SUSPENDED), (Step.TERMINATE, Reason.CONTRACT_TERMINATED)],
)
def test_no_live_contract_no_data(scene, step, reason):
    _, handle = scene.person()
    scene.world.step(scene.operator, scene.contract, step)
    assert scene.refused([handle]).reason is reason
    if step is Step.SUSPEND:
        scene.world.step(scene.operator, scene.contract, Step.RESUME)
        assert scene.disclose([handle]).sealed


@pytest.mark.parametrize(
    ("dates", "reason"),
    [
        ((date(2020, 1, 1), date(2020, 12, 31)), Reason.CONTRACT_EXPIRED),
        ((date(2099, 1, 1), date(2099, 12, 31)), Reason.CONTRACT_NOT_YET_VALID),
    ],
)
def test_validity_is_kept(world, dates, reason):
    scene = Scene(world, valid_from=dates[0], valid_until=dates[1])
    _, handle = scene.person()
    assert scene.refused([handle]).reason is reason


def test_a_proposed_contract_grants_nothing(world):
    scene = Scene(world)
    proposed = world.desk.change(
        scene.operator.caller(),
        lambda c: world.agreed.propose(c, world.terms(scene.acme.name), uuid.uuid4().bytes),
    )
    with pytest.raises(SlussError) as caught:
        world.disclose(scene.acme, proposed.row.id, [bytes(16)])
    assert caught.value.reason is Reason.CONTRACT_NOT_ACCEPTED


def test_a_retry_gives_the_same_bytes_and_one_entry(scene):
    people = [scene.person()[1] for _ in range(3)]
    request = uuid.uuid4().bytes
    first = scene.disclose([*people, bytes(16)], request_id=request)
    size = len(scene.world.entries())
    again = scene.disclose([*people, bytes(16)], request_id=request)
    scene.world.reopen()
    after_restart = scene.disclose([*people, bytes(16)], request_id=request)
    for answer in (again, after_restart):
        assert [s.slices for s in answer.sealed] == [s.slices for s in first.sealed]
        assert [s.entry for s in answer.sealed] == [s.entry for s in first.sealed]
        assert [s.epoch for s in answer.sealed] == [s.epoch for s in first.sealed]
        assert answer.unavailable == first.unavailable
        verify_receipt(answer.sealed[0].receipt, answer.sealed[0].entry, scene.world.keys.signer().verifier)
    assert len(scene.world.entries()) == size


def test_a_retry_is_given_beside_a_person_whose_row_is_damaged(scene):
    people = [scene.person() for _ in range(3)]
    with scene.world.ledger.transaction() as tx:
        (row,) = read_persons(tx.connection, [people[1][0]])
        altered = bytes(row.keys[:-1]) + bytes([row.keys[-1] ^ 1])
        tx.connection.execute(update_row(PERSON).where(PERSON.c.id == row.id).values(keys=altered))
    handles, request = [handle for _, handle in people], uuid.uuid4().bytes
    first = scene.disclose(handles, request_id=request)
    again = scene.disclose(handles, request_id=request)
    assert [s.slices for s in again.sealed] == [s.slices for s in first.sealed]
    assert again.unavailable == first.unavailable == [handles[1]]


def test_a_request_id_with_another_body_is_an_error(scene):
    people = [scene.person()[1] for _ in range(2)]
    request = uuid.uuid4().bytes
    scene.disclose(people[:1], request_id=request)
    assert scene.refused(people, request_id=request).reason is Reason.REQUEST_ID_REUSED
    assert scene.refused(people[:1], request_id=request, purpose="billing.payment").reason is Reason.REQUEST_ID_REUSED


def test_a_retry_after_a_correction_or_a_suspension_gives_nothing_old(scene):
    person, handle = scene.person()
    request = uuid.uuid4().bytes
    scene.disclose([handle], request_id=request)
    correction = Correction(person, [("email", "new@example.com")], [], "registration", "1")
    scene.world.desk.change(scene.registration.caller(), lambda c: update.update(c, correction))
    assert scene.refused([handle], request_id=request).reason is Reason.RECORD_CHANGED
    assert scene.world.opened(scene.disclose([handle]))[handle]["email"] == "new@example.com"
    scene.world.step(scene.operator, scene.contract)
    assert scene.refused([handle], request_id=request).reason is Reason.CONTRACT_SUSPENDED


def test_a_retry_is_never_sealed_to_a_key_from_before_a_report_that_it_was_stolen(scene):
    _, handle = scene.person()
    names = [uuid.uuid4().bytes for _ in range(3)]
    keys = [RecipientPrivateKey.generate() for _ in range(2)]

    def same(number):
        return [sealed.slices for sealed in scene.disclose([handle], request_id=names[number]).sealed]

    first = [same(0)]
    scene.world.register_key(scene.acme, keys[0])
    first.append(same(1))
    # A rotation alone is no reason: the recipient has the old key.
    assert [same(0), same(1)] == first
    privacy = scene.world.actor("privacy/team")
    stolen = NewReport("key", b"", scene.acme.name, 0, 0, None, None, "the key file was copied")
    scene.world.desk.change(privacy.caller(), lambda change: reports.report(change, stolen, uuid.uuid4().bytes))
    assert scene.refused([handle], request_id=names[1]).reason is Reason.RECIPIENT_KEY_MISSING
    scene.world.register_key(scene.acme, keys[1])
    size = len(scene.world.entries(type="disclosure"))
    for name in names[:2]:
        assert scene.refused([handle], request_id=name).reason is Reason.RECORD_CHANGED
    assert len(scene.world.entries(type="disclosure")) == size
    first.append(same(2))
    assert scene.world.opened(scene.disclose([handle], request_id=names[2]), keys[1])
    assert same(2) == first[2]


def test_the_same_request_twice_in_one_batch_is_disclosed_once(scene):
    _, handle = scene.person()
    ask = scene.world.ask(scene.acme, scene.contract, [handle], request_id=uuid.uuid4().bytes)
    outcomes = scene.world.spine.run([ask, ask])
    assert isinstance(outcomes[0], Answer)
    assert isinstance(outcomes[1], SlussError)
    assert outcomes[1].reason is Reason.RATE_EXCEEDED
    assert len([e for e in scene.world.entries() if e["type"] == "disclosure"]) == 1


def test_volumes_are_exact_and_all_or_nothing(world):
    limits = (Volume(Window.DAY, 3), Volume(Window.MONTH, 5))
    scene = Scene(world, grants=(world.grant("billing", ("email=full",), volumes=limits),))
    handles = [scene.person()[1] for _ in range(4)]
    error = scene.refused(handles)
    assert (error.reason, error.metadata["left"]) == (Reason.VOLUME_EXCEEDED, "3")
    assert int(error.metadata["retry_after_s"]) >= 1
    scene.disclose(handles[:2])
    request = uuid.uuid4().bytes
    scene.disclose(handles[:1], request_id=request)
    scene.disclose(handles[:1], request_id=request)
    assert scene.refused(handles[:1]).reason is Reason.VOLUME_EXCEEDED
    assert scene.refused(handles[:1], dry_run=True).reason is Reason.VOLUME_EXCEEDED


def test_volumes_hold_within_one_batch(world):
    scene = Scene(world, grants=(world.grant("billing", ("email=full",), volumes=(Volume(Window.DAY, 3),)),))
    handles = [scene.person()[1] for _ in range(5)]
    outcomes = world.spine.run([world.ask(scene.acme, scene.contract, [handle]) for handle in handles])
    assert [isinstance(outcome, Answer) for outcome in outcomes] == [True, True, True, False, False]


def test_a_refused_volume_does_not_tell_who_is_available(world):
    scene = Scene(world, grants=(world.grant("billing", ("email=full",), volumes=(Volume(Window.DAY, 2),)),))
    handles = [scene.person()[1] for _ in range(2)]
    for others in ([bytes(16)], [bytes(15) + b"\1", bytes(15) + b"\2"]):
        assert scene.refused([*handles, *others]).reason is Reason.VOLUME_EXCEEDED
    # Whoever is not available costs nothing, so that the volume is of persons disclosed.
    scene.disclose([handles[0], bytes(16)])
    scene.disclose(handles[:1])
    error = scene.refused([bytes(16)])
    assert (error.reason, error.metadata["left"]) == (Reason.VOLUME_EXCEEDED, "0")


def test_a_retry_is_answered_when_the_volume_is_used_up(world):
    scene = Scene(world, grants=(world.grant("billing", ("email=full",), volumes=(Volume(Window.DAY, 1),)),))
    handle, request = scene.person()[1], uuid.uuid4().bytes
    first = scene.disclose([handle], request_id=request)
    again = scene.disclose([handle], request_id=request)
    assert (again.sealed[0].slices, again.looked_at) == (first.sealed[0].slices, 1)


def test_a_request_id_is_used_up_even_if_nobody_was_available(scene):
    _, handle = scene.person()
    request = uuid.uuid4().bytes
    first = scene.disclose([bytes(16)], request_id=request)
    again = scene.disclose([bytes(16)], request_id=request)
    assert (again.sealed, again.unavailable) == (first.sealed, [bytes(16)]) == ([], [bytes(16)])
    assert scene.refused([handle], request_id=request).reason is Reason.REQUEST_ID_REUSED


def test_a_retry_that_meets_a_suspension_after_its_lock_is_refused(scene):
    """Another broker suspends in the moment between the batch's transaction and the reading of the old answer."""
    _, handle = scene.person()
    request = uuid.uuid4().bytes
    scene.disclose([handle], request_id=request)
    spine, append = scene.world.spine, scene.world.spine._append

    def append_then_suspend(*arguments):
        plans = append(*arguments)
        scene.world.step(scene.operator, scene.contract)
        return plans

    spine._append = append_then_suspend
    assert scene.refused([handle], request_id=request).reason is Reason.CONTRACT_SUSPENDED
    assert scene.world.entries()[-1]["reason"] == "CONTRACT_SUSPENDED"


def test_a_decision_of_yesterday_discloses_nothing_today(store_engine, vault):
    """The last day ends between the decision and the transaction."""
    midnight = 1_800_057_600_000_000
    times = [midnight - 1]
    world = World(store_engine, vault, clock=lambda: times[0])
    last_day = date(2027, 1, 15)
    scene = Scene(world, valid_until=last_day)
    _, handle = scene.person()
    scene.disclose([handle])
    prepare = world.spine._prepare

    def prepare_then_midnight(*arguments):
        prepared = prepare(*arguments)
        times[0] = midnight
        return prepared

    world.spine._prepare = prepare_then_midnight
    assert scene.refused([handle]).reason is Reason.CONTRACT_EXPIRED


def test_one_bad_request_in_a_batch_leaves_the_others_alone(scene):
    _, handle = scene.person()
    asks = [
        scene.world.ask(scene.acme, scene.contract, [handle]),
        scene.world.ask(scene.acme, scene.contract, [handle], purpose="offers"),
        scene.world.ask(scene.acme, scene.contract, [handle], dry_run=True),
    ]
    good, bad, dry = scene.world.spine.run(asks)
    assert good.sealed
    assert bad.reason is Reason.PURPOSE_OUT_OF_SCOPE
    assert dry.sealed == []
    assert dry.decision.purpose == "billing"


def test_a_dry_run_writes_nothing_even_when_refused(scene):
    _, handle = scene.person()
    before = scene.world.ledger.state().tree.size
    scene.disclose([handle], dry_run=True)
    assert scene.refused([handle], dry_run=True, purpose="offers").reason is Reason.PURPOSE_OUT_OF_SCOPE
    assert scene.world.ledger.state().tree.size == before


def test_a_page_discloses_whoever_is_next_and_a_retry_finds_the_same(scene):
    people = sorted(scene.person()[0] for _ in range(7))
    asks = {"who": Page(0, 4), "request_id": uuid.uuid4().bytes}
    first = scene.disclose([], **asks)
    assert first.last == people[3]
    scene.person()
    again = scene.disclose([], **asks)
    assert [s.slices for s in again.sealed] == [s.slices for s in first.sealed]
    assert again.last == first.last
    rest = scene.disclose([], who=Page(first.last, 100))
    assert 3 <= rest.looked_at <= 4


def test_more_than_256_persons_become_several_disclosures_in_one_answer(scene):
    handles = [scene.person()[1] for _ in range(5)]
    invented = [b"%016d" % n for n in range(300)]
    answer = scene.disclose([*invented, *handles])
    assert len(answer.sealed) == 1
    assert len(answer.unavailable) == 300
    assert entry.parse(answer.sealed[0].entry)["unavailable"] == 300


def test_consistency_with_the_tree_that_was_seen_comes_with_the_answer(scene):
    _, handle = scene.person()
    verifier = scene.world.keys.signer().verifier
    seen = open_checkpoint(scene.world.ledger.latest(), verifier)
    for _ in range(3):
        answer = scene.disclose([handle], seen_size=seen.size)
        now = verify_receipt(answer.sealed[0].receipt, answer.sealed[0].entry, verifier)
        verify_consistency(seen.size, now.size, answer.consistency, seen.root, now.root)
        seen = now
    assert scene.refused([handle], seen_size=seen.size + 100).reason is Reason.LEDGER_INCONSISTENT


def test_a_flood_of_refusals_grows_the_ledger_by_a_bounded_number_of_entries(store_engine, vault):
    times = iter(range(1_700_000_000_000_000, 10**18, 1000))
    world = World(store_engine, vault, lambda: next(times), refusals=RefusalLog(60, 5))
    scene = Scene(world)
    before = len(world.entries())
    for _ in range(200):
        world.spine.run([world.ask(scene.acme, scene.contract, [bytes(16)], purpose="offers")] * 3)
    grown = len(world.entries()) - before
    assert grown <= 2 * 6
    for _ in range(70_000):
        next(times)
    world.ledger.run(world.refusals.close)
    found = world.entries()[before:]
    told = sum(1 for e in found if e["type"] == "refusal") + sum(
        sum(e["counts"].values()) for e in found if e["type"] == "refusals"
    )
    assert told == 600


def test_a_rotated_key_is_sealed_to_and_old_slices_stay_readable(scene):
    _, handle = scene.person()
    old = scene.disclose([handle])
    fresh = RecipientPrivateKey.generate()
    scene.world.register_key(scene.acme, fresh)
    new = scene.disclose([handle])
    assert scene.world.opened(old)[handle] == scene.world.opened(new, fresh)[handle]
    with pytest.raises(SlussError):
        scene.world.opened(new)


def test_an_amendment_counts_from_its_acceptance(scene):
    _, handle = scene.person()
    terms = scene.world.terms(scene.acme.name, scene.world.grant("billing", ("name.given=first",)))
    view = scene.world.desk.read(scene.operator.caller(), lambda v: agreements.show(v.connection, scene.contract))
    scene.world.desk.change(
        scene.operator.caller(),
        lambda c: scene.world.agreed.amend(c, scene.contract, terms, str(view.row.etag), uuid.uuid4().bytes),
    )
    assert scene.disclose([handle]).sealed
    scene.world.accept(scene.acme, scene.contract)
    assert scene.refused([handle]).reason is Reason.FIELD_OUT_OF_SCOPE
    answer = scene.disclose([handle], fields=("name.given",))
    assert scene.world.opened(answer)[handle] == {"name.given": "Å"}


def test_two_contracts_cannot_be_joined_by_handles_or_hashes(scene):
    world, other = scene.world, scene.world.actor("subcontractor/other")
    person, _ = scene.person()
    found = []
    for actor in (scene.acme, other):
        key = RecipientPrivateKey.generate()
        terms = world.terms(actor.name, world.grant("billing", ("email=hashed",)))
        contract = world.contract(actor, scene.operator, terms, key)
        handle = world.handle(contract, person)
        answer = world.disclose(actor, contract, [handle])
        found.append((handle, world.opened(answer, key)[handle]["email"]))
    (first_handle, first_hash), (second_handle, second_hash) = found
    assert first_handle != second_handle
    assert first_hash != second_hash
    foreign = world.disclose(other, contract, [first_handle])
    assert foreign.unavailable == [first_handle]


def test_a_retry_finds_its_epoch_even_if_the_epoch_was_replaced_within_the_batch(scene):
    scene.world.spine._epochs = Epochs(scene.world.vault, disclosures=1)
    _, handle = scene.person()
    asks = [scene.world.ask(scene.acme, scene.contract, [handle]) for _ in range(3)]
    first = scene.world.spine.run(asks)
    again = scene.world.spine.run(asks)
    assert len({answer.sealed[0].epoch for answer in first}) == 3
    assert [answer.sealed[0].slices for answer in again] == [answer.sealed[0].slices for answer in first]
