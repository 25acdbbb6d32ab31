"""A restore takes no protection away: what was forbidden since stays so, what was permitted does not return."""

from __future__ import annotations

import uuid
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import text

from broker.choices.model import ChoiceMade
from broker.clock import system_clock
from broker.compromise import locks, reports
from broker.compromise.reports import NewReport
from broker.contracts import Step
from broker.erasure import holds
from broker.errors import Reason, SlussError
from broker.ids import person_text
from broker.operator import carrying, pins, reports_again, restoring
from broker.operator.office import opened
from broker.operator.restored import NAMED, PARTS
from broker.rights import CERTIFICATE
from broker.sealing import RecipientPrivateKey
from tests.faults.test_erasure import OTHER, House, database_files
from tests.integration.test_server_operator import run
from tests.support.postgres import empty_database
from tests.support.restores import ACME, INTERNAL, OPERATOR, company, damaged, restore
from tests.unit.persons.world import CANARIES

RESETS = text("SELECT person FROM outbox_item WHERE kind = 'credential_reset' AND at > 0")
FIELDS = ("email=full",)


@pytest.fixture
def house(tmp_path):
    return House(tmp_path / "home")


def test_a_no_since_the_backup_holds_after_a_restore_and_a_yes_does_not(house):
    with company(house) as world:
        acme, operator, internal = (world.actor(name) for name in (ACME, OPERATOR, INTERNAL))
        private = world.private_key
        consent = [ChoiceMade("partners.email", "in")]
        said_no, withdrew, said_yes, silent = (world.person(internal, choices=consent * (n == 1)) for n in range(4))
        grants = world.grant("offers", FIELDS), world.grant("partners.email", FIELDS)
        contract = world.contract(acme, operator, world.terms(ACME, *grants))
        before = house.backup("before")
        world.choose(internal, said_no, "offers", "out")
        world.choose(internal, withdrew, "partners.email", "out")
        world.choose(internal, withdrew, "partners.email", "in")
        world.choose(internal, said_yes, "partners.email", "in")
        handles = {person: world.handle(contract, person) for person in (said_no, withdrew, said_yes, silent)}
    carried = restore(house, before)
    assert [(each["person"], each["purpose"]) for each in carried.choices] == sorted(
        [(person_text(said_no), "offers"), (person_text(withdrew), "partners.email")]
    )
    assert carried.yeses == sorted(map(person_text, [withdrew, said_yes]))
    assert (carried.unknown, carried.not_recorded, carried.lost) == ([], [], {"choice": 4})
    with company(house) as world:

        def had(purpose):
            answer = world.disclose(acme, contract, handles.values(), purpose=purpose)
            return set(world.opened(answer, private))

        assert had("offers") == {handles[person] for person in (withdrew, said_yes, silent)}
        assert had("partners.email") == set()
        entries = world.entries(type="choice")
        assert [(each["state"], each["by"]) for each in entries[-2:]] == [("out", "operator/host")] * 2
    assert house.verify() == []


def test_what_is_said_again_was_chosen_when_it_was_chosen(house):
    person = house.registered(CANARIES)
    before = house.backup("before")
    with company(house) as world:
        world.choose(world.actor(INTERNAL), person, "offers.email", "out", "email")
        first = world.entries(type="choice")[-1]
    restore(house, before)
    with company(house) as world:
        again = world.entries(type="choice")[-1]
        differing = {name for name in first if first[name] != again[name]}
    assert differing == {"at", "person", "by"}


def test_a_restore_that_is_done_twice_says_nothing_twice(house):
    person = house.registered(CANARIES)
    before = house.backup("before")
    with company(house) as world:
        world.choose(world.actor(INTERNAL), person, "offers", "out")
    assert len(restore(house, before).choices) == 1
    aside = next(house.home.glob("sluss.db.before-*-1"))
    with opened(house.home) as office:
        size = office.ledger.state().tree.size
        assert restoring.carry_over(office, str(aside)).choices == []
        assert office.ledger.state().tree.size == size
    # What the first restore said again stands behind the backup as anything else.
    assert len(restore(house, before).choices) == 1
    assert {file.name[-2:] for file in house.home.glob("sluss.db.before-*[0-9]")} == {"-1", "-2"}


def test_another_backups_history_is_compared_from_where_both_part(house):
    person = house.registered(CANARIES)
    first = house.backup("first")
    with company(house) as world:
        world.choose(world.actor(INTERNAL), person, "offers.post", "out")
    second = house.backup("second")
    assert len(restore(house, first).choices) == 1
    with company(house) as world:
        world.choose(world.actor(INTERNAL), person, "offers.phone", "out")
    carried = restore(house, second)
    assert [each["purpose"] for each in carried.choices] == ["offers.phone"]
    with company(house) as world:
        assert (world.purposes(person)["offers.post"], world.purposes(person)["offers.phone"]) == ((), ())
    assert (house.verify(), carried.unknown) == ([], [])


def test_a_no_of_somebody_the_backup_does_not_know_is_named(house):
    before = house.backup("before")
    with company(house) as world:
        internal = world.actor(INTERNAL)
        person, erased = world.person(internal), world.person(internal)
        world.choose(internal, person, "offers", "out")
        world.choose(internal, erased, "offers", "out")
    house.erase(erased)
    carried = restore(house, before)
    assert (carried.not_recorded, carried.choices) == ([person_text(person)], [])


def test_rights_that_were_taken_are_taken_again(house):
    with company(house) as world:
        operator = world.actor(OPERATOR)
        actors = {name: world.actor(f"subcontractor/{name}") for name in ("suspended", "ended", "narrowed", "resumed")}
        keys = {name: RecipientPrivateKey.generate() for name in actors}
        agreed = {
            name: world.contract(actor, operator, world.terms(actor.name), keys[name]) for name, actor in actors.items()
        }
        stolen = world.actor("internal/registration")
        before = house.backup("before")
        for name, step in (("suspended", Step.SUSPEND), ("ended", Step.TERMINATE), ("resumed", Step.SUSPEND)):
            world.step(operator, agreed[name], step)
        world.step(operator, agreed["resumed"], Step.RESUME)
        narrower = world.terms(actors["narrowed"].name, world.grant(retention_days=1))
        world.desk.change(
            operator.caller(),
            lambda c: world.agreed.amend(c, agreed["narrowed"], narrower, "2", uuid.uuid4().bytes),
        )
        world.accept(actors["narrowed"], agreed["narrowed"])
        world.register_key(actors["resumed"], RecipientPrivateKey.generate())
        late = world.actor("internal/late")
        gone = world.actor("internal/gone")
        fresh = world.contract(world.actor("subcontractor/fresh"), operator, world.terms("subcontractor/fresh"))
        for actor in (stolen, gone):
            pins.revoke(world.ledger, CERTIFICATE.c.spki == actor.evidence.spki, "stolen")
    carried = restore(house, before)
    assert carried.contracts == [
        {"contract": agreed["suspended"], "state": "suspended", "reason": "restore: a test says so"},
        {"contract": agreed["ended"], "state": "terminated", "reason": "restore: a test says so"},
        {"contract": agreed["narrowed"], "state": "suspended", "reason": "restore: version 2 was in force"},
    ]
    assert carried.keys == ["subcontractor/resumed"]
    assert {each["principal"] for each in carried.certificates} == {"internal/registration", "internal/gone"}
    assert carried.missing == {
        "certificates": [late.name, "subcontractor/fresh"],
        "contracts": [fresh],
        "keys": ["subcontractor/fresh", "subcontractor/resumed"],
    }
    with company(house) as world:
        assert [world.state(agreed[name]) for name in actors] == ["suspended", "terminated", "suspended", "active"]
        for actor in (stolen, gone):
            with pytest.raises(SlussError) as caught:
                world.desk.read(actor.caller(), lambda view: None)
            assert caught.value.reason is Reason.CERTIFICATE_REVOKED
            with pytest.raises(SlussError) as caught:
                world.ledger.run(lambda tx, actor=actor: pins.pin(tx, pins.parse_principal(actor.name), actor.pem))
            assert caught.value.reason is Reason.CERTIFICATE_REVOKED
        with pytest.raises(SlussError) as caught:
            world.read(lambda view: view.snapshot.recipient_key(view.connection, "subcontractor/resumed"))
        assert caught.value.reason is Reason.RECIPIENT_KEY_MISSING
        with pytest.raises(SlussError) as caught:
            world.register_key(actors["resumed"], keys["resumed"])
        assert caught.value.reason is Reason.KEY_UNKNOWN
        world.register_key(actors["resumed"], RecipientPrivateKey.generate())
        world.read(lambda view: view.snapshot.recipient_key(view.connection, "subcontractor/resumed"))
    assert house.verify() == []


def test_a_contract_that_was_accepted_since_is_proposed_still_and_named(house):
    with company(house) as world:
        operator = world.actor(OPERATOR)
        actors = {name: world.actor(f"subcontractor/{name}") for name in ("accepted", "narrowed", "suspended", "ended")}

        def proposed(name):
            terms = world.terms(actors[name].name)
            made = world.desk.change(operator.caller(), lambda c: world.agreed.propose(c, terms, uuid.uuid4().bytes))
            return made.row.id

        agreed = {name: proposed(name) for name in actors}
        for actor in actors.values():
            world.register_key(actor, RecipientPrivateKey.generate())
        before = house.backup("before")
        for name, actor in actors.items():
            world.accept(actor, agreed[name])
        narrower = world.terms(actors["narrowed"].name, world.grant(retention_days=1))
        world.desk.change(
            operator.caller(), lambda c: world.agreed.amend(c, agreed["narrowed"], narrower, "2", uuid.uuid4().bytes)
        )
        world.accept(actors["narrowed"], agreed["narrowed"])
        world.step(operator, agreed["suspended"])
        world.step(operator, agreed["ended"], Step.TERMINATE)
    carried = restore(house, before)
    assert carried.missing == {"acceptances": [agreed["accepted"], agreed["narrowed"]]}
    assert carried.contracts == [
        {"contract": agreed[name], "state": "terminated", "reason": "restore: a test says so"}
        for name in ("suspended", "ended")
    ]
    with company(house) as world:
        states = [world.state(agreed[name]) for name in actors]
        assert states == ["proposed", "proposed", "terminated", "terminated"]
        world.accept(actors["accepted"], agreed["accepted"])
        assert world.state(agreed["accepted"]) == "active"
    assert house.verify() == []


def test_reports_locks_and_holds_stand_again(house):
    with company(house) as world:
        acme, operator, internal = (world.actor(name) for name in (ACME, OPERATOR, INTERNAL))
        world.contract(acme, operator)
        person = world.person(internal)
    before = house.backup("before")
    now = system_clock()

    def report(subject, **about):
        about = {"spki": b"", "principal": "", "person": 0, **about}
        new = NewReport(subject, suspect_from=now - 5, suspect_until=now, noticed_at=now, how="told us", **about)
        return house.change(lambda change: reports.report(change, new, uuid.uuid4().bytes))[0]

    locked = report("person", person=person)
    cut_off = report("certificate", spki=acme.evidence.spki)
    ended = house.change(lambda change: holds.place(change, uuid.uuid4().bytes, person, "settled", None))
    house.change(lambda change: holds.lift(change, uuid.uuid4().bytes, ended.id, "over"))
    placed = house.change(lambda change: holds.place(change, uuid.uuid4().bytes, person, "claim 12", None))
    carried = restore(house, before)
    assert carried.reports == [{"report": each.id, "was": each.id} for each in (locked, cut_off)]
    assert carried.holds == [{"hold": "H-2026-0001", "was": placed.id}]
    with company(house) as world:
        assert world.read(lambda view: locks.locked_by(view.connection, person)) == locked.id
        assert world.read(lambda view: holds.forbidden(view, person))
        found = world.read(lambda view: reports.case_files.load(view, reports.ROOM, cut_off.id))
        assert (found.body["revoked"], found.body["key_retired"]) == (1, True)
        assert (found.body["noticed_at"], found.private["how"]) == (now, "told us")
    assert house.verify() == []


def stolen(house, spki=b"", person=0, at=5):
    """A report of a certificate, or of a person's credential."""
    new = NewReport("person" if person else "certificate", spki, "", person, at, at, at, "told us")
    return house.change(lambda change: reports.report(change, new, uuid.uuid4().bytes))[0]


def filed(house):
    """Of every report: its subject, person and state, and whether it locks."""
    with company(house) as world:
        found = world.read(reports_again.every)
        return [
            (each.file.body["subject"], each.file.person, each.file.state, each.file.body["locked"]) for each in found
        ]


def test_a_report_of_somebody_who_was_erased_is_not_made_again_and_one_that_was_reinstated_is(house):
    persons = house.registered(CANARIES), house.registered(OTHER), house.registered({"customer_number": "THIRD-1"})
    erased, back, locked = persons
    of_old = [stolen(house, person=person) for person in (erased, locked)]
    before = house.backup("before")
    since = [stolen(house, person=person, at=6) for person in persons]
    house.change(lambda change: reports.reinstate(change, since[1].id, str(since[1].etag), "a new password"))
    house.change(lambda change: reports.reinstate(change, of_old[1].id, str(of_old[1].etag), "a new password"))
    house.erase(erased)
    for _ in range(2):
        carried = restore(house, before)
        assert [each["report"] for each in carried.reports] == ["B-2026-0003", "B-2026-0004"]
        assert (carried.missing, carried.unknown) == ({}, [])
        assert filed(house) == [
            ("person", 0, "open", True),
            ("person", locked, "open", True),
            ("person", back, "open", False),
            ("person", locked, "open", True),
        ]
    with company(house) as world:
        assert world.read(lambda view: locks.locked_by(view.connection, back)) == ""
        assert world.read(lambda view: locks.locked_by(view.connection, locked)) == of_old[1].id
        resets = world.read(lambda view: view.connection.execute(RESETS).scalars().all())
        assert sorted(set(resets)) == [locked]
    assert house.verify() == []


def test_reports_that_differ_in_the_certificate_alone_are_all_made_again_and_each_once(house, monkeypatch):
    with company(house) as world:
        certificates = [world.actor(ACME).evidence.spki for _ in range(2)]
        before = house.backup("before")
        since = world.actor(ACME).evidence.spki
        # One of them is about a certificate that was revoked already, and one about the same as another.
        pins.revoke(world.ledger, CERTIFICATE.c.spki == certificates[0], "lost")
    made = [stolen(house, spki) for spki in (certificates[0], *certificates, since)]
    moved = house.settings.folder.database.rename(house.home / "moved.db")
    restoring.put_back(house.settings, before, replace=False)
    make, calls = reports_again.make, []

    def broken(*given):
        calls.append(given)
        if len(calls) == 3:
            raise SlussError(Reason.LEDGER_UNAVAILABLE)
        return make(*given)

    with opened(house.home) as office:
        with monkeypatch.context() as patched:
            patched.setattr(reports_again, "make", broken)
            with pytest.raises(SlussError):
                restoring.carry_over(office, str(moved))
        carried = restoring.carry_over(office, str(moved))
        assert [each["was"] for each in carried.reports] == [each.id for each in made[2:]]
        assert (len(filed(house)), carried.missing, carried.unknown) == (4, {}, [])
        assert restoring.carry_over(office, str(moved)).reports == []
    with company(house) as world:
        again = [each.spki for each in world.read(reports_again.every)]
        # Those that revoked nothing here: more than one certificate had been revoked by then.
        assert again == [certificates[0], b"", certificates[1], b""]
    assert house.verify() == []


# --- when the replaced database is not what it was --------------------------------------------------


# --- PostgreSQL, and a database that the operator names ---------------------------------------------


def test_a_restore_into_postgresql_asks_the_database_that_is_named(tmp_path, postgres_server):
    with empty_database(postgres_server) as old, empty_database(postgres_server) as new:
        house = House(tmp_path / "home", old)
        person = house.registered(CANARIES)
        before = house.backup("before")
        with company(house) as world:
            world.choose(world.actor(INTERNAL), person, "offers", "out")
        toml = house.home / "settings.toml"
        toml.write_text(toml.read_text().replace(old, new))
        house = House(house.home)
        assert house.settings.database_url == new
        carried = restore(house, before, old=old)
        assert [each["person"] for each in carried.choices] == [person_text(person)]
        with company(house) as world:
            assert world.purposes(person)["offers"] == ()
        assert house.verify() == []


@contextmanager
def replaced(house, server):
    """The URL of the house's database, where another has taken its place; and that machine's empty register."""
    url = house.settings.database_url
    house.settings.folder.erased.unlink()
    if server is None:
        moved = house.home / "moved.db"
        for file in database_files(house.home):
            file.rename(file.with_name(file.name.replace("sluss.db", "moved.db")))
        yield house, f"sqlite:///{moved}"
        return
    with empty_database(server) as new:
        toml = house.home / "settings.toml"
        toml.write_text(toml.read_text().replace(url, new))
        yield House(house.home), url


@pytest.mark.parametrize("how", ["restored", "by other means", "not readable"])
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_whom_the_named_database_knows_as_erased_is_erased_again(tmp_path, request, store, how):
    server = request.getfixturevalue("postgres_server") if store == "postgresql" else None
    with ExitStack() as stack:
        house = House(tmp_path / "home", stack.enter_context(empty_database(server)) if server else "")
        person, other = house.registered(CANARIES), house.registered(OTHER)
        before = house.backup("before")
        house.erase(person)
        if how == "not readable":
            damaged(house, "DROP TABLE erasure")
        house, old = stack.enter_context(replaced(house, server))
        if how == "by other means":
            restoring.put_back(house.settings, before, replace=False)
            with opened(house.home) as office:
                carried = restoring.carry_over(office, old)
                erased = [person_text(each.person) for each in restoring.erase_again(office).persons]
        else:
            _, carried = restoring.put_back(house.settings, before, replace=False, old=old)
            with opened(house.home) as office:
                erased = [person_text(each.person) for each in restoring.erase_again(office).persons]
        assert carried.lost == {"erasure": 1, "owed": 1}
        if how == "not readable":
            assert (erased, carried.unknown) == ([], ["erasures"])
            return
        assert (erased, carried.unknown) == ([person_text(person)], [])
        assert (house.row(person).state, house.row(other).state) == ("erased", "active")
        assert house.verify() == []


def test_a_database_that_is_named_must_be_another_one_of_this_ledger(house, tmp_path):
    before = house.backup("before")
    other = House(tmp_path / "other")
    (tmp_path / "empty.db").touch()
    for name, reason in (
        (str(house.settings.folder.database), Reason.INVALID_REQUEST),
        (house.settings.database_url, Reason.INVALID_REQUEST),
        (str(tmp_path / "nowhere.db"), Reason.INVALID_REQUEST),
        ("mysql://somewhere/else", Reason.INVALID_REQUEST),
        (str(tmp_path / "empty.db"), Reason.LEDGER_UNAVAILABLE),
        (str(other.settings.folder.database), Reason.INVALID_SIGNATURE),
    ):
        with pytest.raises(SlussError) as caught:
            restore(house, before, old=name)
        assert caught.value.reason is reason, name
    assert not list(house.home.glob("sluss.db.before-*"))


# --- the command ------------------------------------------------------------------------------------


def test_the_command_names_what_it_says_again_and_what_it_does_not_bring_back(house):
    with company(house) as world:
        acme, operator, internal = (world.actor(name) for name in (ACME, OPERATOR, INTERNAL))
        contract = world.contract(acme, operator)
        persons = [world.person(internal) for _ in range(NAMED + 2)]
        before = house.backup("before")
        for person in persons:
            world.choose(internal, person, "offers.email", "out")
        world.choose(internal, persons[0], "partners.email", "in")
        world.step(operator, contract)
        world.actor("internal/late")
    told = run("restore", before, "--replace", "--home", house.home).out
    names = sorted(persons)
    assert "Lost: 1 certificate, 23 choice, 1 contract." in told
    assert f"  Contracts stopped again: {contract} suspended\n" in told
    assert f"  Opted out again: {person_text(names[0])} of offers.email by email, " in told
    assert "and 2 more (--json names all)\n" in told
    assert f"  Persons who said yes since, to be asked anew: {person_text(persons[0])}\n" in told
    assert "anew if they are still good: internal/late\n" in told
    assert "NOT KNOWN" not in told
    told = run("restore", before, "--replace", "--json", "--home", house.home).json["carried_over"]
    assert (told["known"], told["unknown"], len(told["choices"])) == (True, [], NAMED + 2)
    assert told["contracts"] == [{"contract": contract, "state": "suspended", "reason": "restore: a test says so"}]


def test_the_command_says_what_can_not_be_known(house):
    before = house.backup("before")
    house.settings.folder.database.unlink()
    told = run("restore", before, "--home", house.home).out
    assert "NOT KNOWN, as no replaced database was read" in told
    for what in PARTS.values():
        assert f"  {what}\n" in told
    told = run("restore", "--erase-again", "--json", "--home", house.home).json["carried_over"]
    assert told["unknown"] == ["ledger", *carrying.EVERYTHING]
