"""Mappings: strict to read, written so that a person can review them, guessed without guessing too much."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.catalogue import default_catalogue
from broker.errors import Reason, SlussError
from broker.intake.convert import KeySet, international
from broker.intake.guess import guess, plain, warnings
from broker.intake.mapping import Column, parse_mapping, to_toml
from broker.intake.words import COUNTRY_WORDS, HEADERS

CATALOGUE = default_catalogue()
GOOD = """
format = 1
input = "csv"
source = "crm"
key = "customer_number"
[columns]
No = "customer_number"
Mail = { field = "email" }
Born = { field = "birth_date", date = "MM/DD/YYYY" }
[constants]
language = "SV"
"""

BAD = [
    ('input = "csv"', 'input = "xls"', Reason.MALFORMED),
    ('source = "crm"', 'source = ""', Reason.MALFORMED),
    ('source = "crm"', 'source = "a\\nb"', Reason.MALFORMED),
    ('source = "crm"', "source = 7", Reason.MALFORMED),
    ('source = "crm"', 'source = "crm"\nspeed = "fast"', Reason.MALFORMED),
    ('source = "crm"', 'source = "crm"\nencoding = "rot13"', Reason.MALFORMED),
    ('source = "crm"', 'source = "crm"\nencoding = "utf-7"', Reason.MALFORMED),
    ('source = "crm"', 'source = "crm"\ndelimiter = "x"', Reason.MALFORMED),
    ('source = "crm"', 'source = "crm"\ncountry = "Sweden"', Reason.MALFORMED),
    ('source = "crm"', 'source = "crm"\nignore = "all"', Reason.MALFORMED),
    ('source = "crm"', 'source = "crm"\nignore = ["No"]', Reason.MALFORMED),
    ('key = "customer_number"', 'key = "phone"', Reason.MALFORMED),
    ('key = "customer_number"', 'key = "language"', Reason.MALFORMED),
    ('No = "customer_number"', "No = 7", Reason.MALFORMED),
    ('Mail = { field = "email" }', 'Mail = { field = "email", colour = "red" }', Reason.MALFORMED),
    ('Mail = { field = "email" }', 'Mail = { field = "email", date = "DD.MM.YYYY" }', Reason.MALFORMED),
    ('Mail = { field = "email" }', 'Mail = { field = "email", decimal = "," }', Reason.MALFORMED),
    ('Mail = { field = "email" }', 'Mail = { field = "email", words = ["x"] }', Reason.MALFORMED),
    ('Mail = { field = "email" }', 'Mail = "emial"', Reason.FIELD_UNKNOWN),
    ('Mail = { field = "email" }', "Mail = {}", Reason.FIELD_UNKNOWN),
    ('Mail = { field = "email" }', 'Mail = "payment.card_security_code"', Reason.FIELD_FORBIDDEN),
    ('Mail = { field = "email" }', 'CVC = "company"', Reason.FIELD_FORBIDDEN),
    ('Mail = { field = "email" }', 'Mail = "language"', Reason.MALFORMED),
    ('date = "MM/DD/YYYY"', 'date = "whenever"', Reason.MALFORMED),
    ('language = "SV"', 'language = "swedish"', Reason.INVALID_VALUE),
    ('language = "SV"', "language = 7", Reason.MALFORMED),
    ("format = 1", "format = 2", Reason.UNSUPPORTED_VERSION),
    ("format = 1", "format = [", Reason.MALFORMED),
]


@pytest.mark.parametrize(("old", "new", "reason"), BAD)
def test_mapping_that_is_not_understood_is_refused(old, new, reason):
    assert GOOD.count(old) == 1
    with pytest.raises(SlussError) as caught:
        parse_mapping(GOOD.replace(old, new), CATALOGUE)
    assert caught.value.reason is reason


def test_written_mapping_reads_back_equal_whatever_its_columns_are_called():
    nasty = ["No", 'quote"', "back\\slash", "tab\t", "new\nline", "Fält ÅÄÖ", "# comment", "日本", "\u202e", ""]
    fields = ["customer_number", "email", "phone", "company", "title", "name.given", "name.family", "language"]
    mapping = guess(["customer number"], [], CATALOGUE)
    columns = {name: Column(field) for name, field in zip(nasty, fields, strict=False)}
    made = replace(mapping, columns=columns, ignore=("\u0000", "other"), notes={"other": "a # note"})
    again = parse_mapping(to_toml(made), CATALOGUE)
    assert dict(again.columns) == columns
    assert again.ignore == made.ignore


LANGUAGES = {
    "en": [
        "Customer No.",
        "First name",
        "Last Name",
        "E-mail",
        "Phone",
        "Cell",
        "Street",
        "Zip",
        "City",
        "Country",
        "DOB",
    ],
    "sv": [
        "Kundnr",
        "Förnamn",
        "Efternamn",
        "E-post",
        "Telefon",
        "Mobil",
        "Gatuadress",
        "Postnr",
        "Ort",
        "Land",
        "Född",
    ],
    "de": [
        "Kundennummer",
        "Vorname",
        "Nachname",
        "E-Mail",
        "Telefon",
        "Handy",
        "Straße",
        "PLZ",
        "Ort",
        "Land",
        "Geburtsdatum",
    ],
    "fr": [
        "N° client",
        "Prénom",
        "Nom",
        "Courriel",
        "Téléphone",
        "Portable",
        "Rue",
        "Code postal",
        "Ville",
        "Pays",
        "Date de naissance",
    ],
    "es": [
        "Nº cliente",
        "Nombre",
        "Apellidos",
        "Correo electrónico",
        "Teléfono",
        "Móvil",
        "Calle",
        "Código postal",
        "Ciudad",
        "País",
        "Fecha de nacimiento",
    ],
}
FIELDS = [
    "customer_number",
    "name.given",
    "name.family",
    "email",
    "phone",
    "mobile",
    "address.street",
    "address.postal_code",
    "address.city",
    "address.country",
    "birth_date",
]


@pytest.mark.parametrize("language", LANGUAGES)
def test_headers_of_five_languages_are_guessed(language):
    found = guess(LANGUAGES[language], [], CATALOGUE)
    assert [found.columns[name].field for name in LANGUAGES[language]] == FIELDS
    assert found.key == "customer_number"


def test_columns_are_guessed_by_content_where_nothing_else_looks_like_it():
    rows = [
        {
            "A": "K-1",
            "B": "a@b.example",
            "C": "SE4550000000058398257466",
            "D": "4111111111111111",
            "E": "x",
            "kundnr": "1",
        },
        {"A": "K-2", "B": "c@d.example", "C": "NO9386011117947", "D": "5555555555554444", "E": "y", "kundnr": "2"},
    ]
    found = guess(["kundnr", "A", "B", "C", "D", "E"], rows, CATALOGUE)
    assert {name: column.field for name, column in found.columns.items()} == {
        "kundnr": "customer_number",
        "B": "email",
        "C": "payment.iban",
        "D": "payment.card_number",
    }
    assert found.ignore == ("A", "E")
    assert "please check" in found.notes["C"]
    assert "not recognised" in to_toml(found)


def test_security_code_column_is_dropped_with_its_reason():
    found = guess(["email", "CVC"], [{"email": "a@b.example", "CVC": "987"}], CATALOGUE)
    assert found.ignore == ("CVC",)
    assert "never be stored" in to_toml(found)
    assert "987" not in to_toml(found)


@pytest.mark.parametrize(
    ("dates", "order", "noted"),
    [
        (["1985-04-12"], "", False),
        (["19850412"], "", False),
        (["12.04.1985", "3.4.1985"], "DD.MM.YYYY", False),
        (["12/31/1985"], "MM/DD/YYYY", False),
        (["31/12/1985"], "DD/MM/YYYY", False),
        (["01/02/1985"], "DD/MM/YYYY", True),
        (["soon"], "", False),
        ([], "", False),
    ],
)
def test_order_of_day_and_month_is_told_by_the_samples_and_doubt_is_noted(dates, order, noted):
    rows = [{"email": "a@b.example", "birth date": day} for day in dates]
    found = guess(["email", "birth date"], rows, CATALOGUE)
    assert found.columns["birth date"].date == order
    assert ("birth date" in found.notes) is noted


def test_file_without_anything_to_tell_persons_apart_gets_no_mapping():
    with pytest.raises(SlussError, match="customer number"):
        guess(["First name", "City"], [], CATALOGUE)


@pytest.mark.parametrize(
    ("kind", "rows", "said"),
    [
        ("csv", [{"email": "a@b.example"}], "no column looks like one"),
        ("vcard", [{"EMAIL": "a@b.example"}], "none of the first cards has a UID"),
        (
            "vcard",
            [{"UID": "K-1", "EMAIL": "a@b.example"}, {"EMAIL": "c@d.example"}],
            "1 of the first 2 cards have no UID",
        ),
        ("csv", [{"Kundnr": "1"}, {}, {}], "2 of the first 3 rows have no Kundnr"),
    ],
)
def test_missing_customer_numbers_are_told_with_what_they_mean(kind, rows, said):
    names = dict.fromkeys(name for row in rows for name in row)
    (warning,) = warnings(guess([*names], rows, CATALOGUE, input=kind), rows)
    assert said in warning
    assert "faulty" in warning


def test_file_in_which_every_row_has_its_customer_number_gets_no_warning():
    rows = [{"Kundnr": "1", "E-post": "a@b.example"}]
    assert warnings(guess([*rows[0]], rows, CATALOGUE), rows) == []


def test_second_column_for_a_field_is_dropped_with_a_note():
    found = guess(["E-mail", "Mail"], [], CATALOGUE)
    assert found.ignore == ("Mail",)
    assert "already" in found.notes["Mail"]


def test_country_names_are_translated():
    found = guess(["email", "Land"], [{"email": "a@b.example", "Land": "Sverige"}], CATALOGUE)
    assert parse_mapping(to_toml(found), CATALOGUE).columns["Land"].words["sverige"] == "SE"


def test_word_tables_name_only_what_the_catalogue_and_iso_have():
    assert set(HEADERS.values()) <= set(CATALOGUE.fields)
    assert all(word == plain(word) for word in HEADERS)
    for code in set(COUNTRY_WORDS.values()):
        CATALOGUE.field("address.country").accept(code)


@pytest.mark.parametrize(
    ("text", "country", "e164"),
    [
        ("070-174 06 05", "SE", "+46701740605"),
        ("+46 (0)70 174 06 05", "SE", "+46 (0)70 174 06 05"),
        ("(0)70 174 06 05", "SE", "+46701740605"),
        ("(202) 555-0143", "US", "+12025550143"),
        ("1-202-555-0143", "US", "+12025550143"),
        ("8 (912) 123-45-67", "RU", "+79121234567"),
        ("812 123-45-67", "RU", "+78121234567"),
        ("06 1 234 5678", "HU", "+3612345678"),
        ("06 1234 5678", "IT", "+390612345678"),
        ("912 345 678", "ES", "+34912345678"),
        ("070-174 06 05", "", "070-174 06 05"),
        ("070-174 06 05", "AQ", "070-174 06 05"),
        ("call me", "SE", "call me"),
        ("070-CALL-ME", "SE", "070-CALL-ME"),
    ],
)
def test_national_number_gets_the_code_of_its_country(text, country, e164):
    assert international(text, country) == e164


def test_key_set_is_exact_over_many_keys_and_small():
    keys = KeySet()
    assert all(keys.add(f"K-{number}") for number in range(50_000))
    assert not any(keys.add(f"K-{number}") for number in range(50_000))
    assert len(keys) == 50_000
    assert len(keys._slots) * 8 <= 32 * 50_000
