"""The demo's population: the same every time, valid throughout, and nobody's."""

from __future__ import annotations

import time
import unicodedata
from ipaddress import ip_address, ip_network
from itertools import islice

from broker.catalogue import default_catalogue
from broker.demo.population import FIELDS, persons, write_csv
from broker.intake.guess import guess
from broker.intake.reading import open_source, read, sample

CATALOGUE = default_catalogue()
NETS = [ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]


def test_same_seed_gives_the_same_persons_whatever_the_count():
    assert list(persons(50)) == list(islice(persons(5000), 50))
    assert list(persons(50, seed=2)) != list(persons(50))


def test_every_value_is_valid_and_in_normal_form():
    for person in persons(2000):
        assert person.keys() <= set(FIELDS)
        for name, value in person.items():
            assert CATALOGUE.field(name).accept(value) == value


def test_every_column_is_used_and_customer_numbers_are_unique():
    people = list(persons(2000))
    assert set().union(*people) == set(FIELDS)
    assert len({person["customer_number"] for person in people}) == 2000


def test_nobody_can_be_reached():
    for person in persons(2000):
        assert person["email"].rpartition("@")[2] in {"example.com", "example.net", "example.org"}
        assert any(ip_address(person["technical.last_ip"]) in net for net in NETS)
        assert "000" in person["phone"][2:7]


def test_many_scripts_are_there():
    letters = "".join(person["name.display"] for person in persons(2000))
    scripts = {unicodedata.name(c, "").split()[0] for c in letters if c.isalpha()}
    assert {"LATIN", "GREEK", "CYRILLIC", "ARABIC", "HEBREW", "CJK", "HIRAGANA", "DEVANAGARI"} <= scripts


def test_every_planted_fault_is_found_where_it_was_planted_and_nothing_else(tmp_path):
    path = tmp_path / "customers.csv"
    planted = write_csv(path, persons(300), faulty=True)
    found_as, names, rows = sample(path)
    mapping = guess(names, rows, CATALOGUE, input=found_as.input)
    with open_source(path, mapping) as source:
        found = list(read(source, mapping, CATALOGUE))
    bad = [row for row in found if row.fault]
    assert [(row.line, row.fault.field, row.fault.reason.split(":")[0]) for row in bad] == [
        (fault.line, fault.field, fault.why) for fault in planted
    ]
    assert all(len(row.faults) == 1 for row in bad)
    assert [row.values for row in found if not row.fault] == list(persons(300))


def test_file_without_faults_is_guessed_whole(tmp_path):
    path = tmp_path / "customers.csv"
    assert write_csv(path, persons(30)) == []
    found_as, names, rows = sample(path)
    mapping = guess(names, rows, CATALOGUE, input=found_as.input)
    assert [mapping.columns[name].field for name in names] == list(FIELDS)
    assert mapping.ignore == ()


def test_few_persons_still_get_every_fault(tmp_path):
    assert len(write_csv(tmp_path / "few.csv", persons(3), faulty=True)) == 15


def test_a_thousand_persons_take_less_than_a_third_of_a_second():
    started = time.process_time()
    assert sum(1 for _ in persons(1000)) == 1000
    assert time.process_time() - started < 0.3
