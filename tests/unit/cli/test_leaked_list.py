"""A leaked list as it is found: with a header or without one, in whatever CSV, and never repeated in an error."""

from __future__ import annotations

import pytest
from sluss_cli.leaked_list import MAX_ROWS, of_text, of_values
from sluss_cli.problems import Problem


def rows(found):
    return [{value.field: value.value for value in row.values} for row in found.rows]


def refused(text, columns=None, country=""):
    with pytest.raises(Problem) as caught:
        of_text(text, columns or {}, country)
    return caught.value.sentence()


def test_values_are_told_apart_by_their_looks():
    found = of_values(["a@example.org", " +46 70 174 06 05 ", "K-100042", "0701740606", ""], "")
    assert rows(found) == [
        {"email": "a@example.org"},
        {"phone": "+46 70 174 06 05"},
        {"customer_number": "K-100042"},
        {"customer_number": "0701740606"},
    ]
    assert rows(of_values(["070-174 06 06"], "SE")) == [{"phone": "+46701740606"}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_columns_are_known_by_their_fields_names_or_by_what_people_call_them(delimiter, mark):
    lines = [("E-post", "Förnamn", "address.city"), ("a@example.org", "Åsa", "Umeå"), ("", "Bo", "Ystad")]
    found = of_text(mark + "\r\n".join(delimiter.join(line) for line in lines), {}, "")
    assert rows(found) == [{"email": "a@example.org", "name.given": "Åsa", "address.city": "Umeå"}]
    assert found.lines == [2]
    assert found.left_out == []


def test_telephone_numbers_alone_are_enough_to_know_the_columns():
    found = of_text("Telefon;Förnamn;Skostorlek\n070-174 06 06;Åsa;38\n", {}, "SE")
    assert rows(found) == [{"phone": "+46701740606", "name.given": "Åsa"}]
    assert found.left_out == ["Skostorlek"]


def test_a_column_can_be_told_and_others_are_left_out_by_name():
    found = of_text("x,y,shoe\n0701740606,a@example.org,43\n", {"x": "phone", "y": "email"}, "SE")
    assert rows(found) == [{"phone": "+46701740606", "email": "a@example.org"}]
    assert found.left_out == ["shoe"]


def test_a_single_column_with_a_fields_name_is_a_header():
    assert rows(of_text("email\na@example.org\n", {}, "")) == [{"email": "a@example.org"}]
    assert rows(of_text("a@example.org\nb@example.org\n", {}, "")) == [
        {"email": "a@example.org"},
        {"email": "b@example.org"},
    ]


def test_two_columns_of_one_field_give_the_first():
    found = of_text("email,email2\na@example.org,b@example.org\n", {"email2": "email"}, "")
    assert rows(found) == [{"email": "a@example.org"}]
    assert found.left_out == ["email2"]


@pytest.mark.parametrize(
    ("text", "columns", "told"),
    [
        ("", {}, "nothing to trace"),
        ("\n\n", {}, "nothing to trace"),
        ("email,name.given\n,secret\n", {}, "nothing to trace"),
        ("shoe,hat\n43,secret\n", {}, "no column is of an address or a number"),
        ('email,name.given\na@example.org,"secret\n', {}, "no CSV"),
        ("email\nsecret@example.org\n", {"mejl": "email"}, "--column names a column that the file has not"),
        ("secret@example.org\n" * (MAX_ROWS + 1), {}, "cut the file"),
    ],
)
def test_what_is_wrong_is_told_without_what_is_in_the_file(text, columns, told):
    said = refused(text, columns)
    assert told in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("header", "field", "value"),
    [
        ("E-post", "email", "p1@example.org"),
        ('"E-mail"', "email", "p1@example.org"),
        ("EMAIL", "email", "p1@example.org"),
        ("Telefon", "phone", "46701740611"),
        ("Customer number", "customer_number", "K-1"),
    ],
)
def test_a_list_of_one_column_has_a_header_that_is_no_value(header, field, value):
    found = of_text(f"\ufeff{header}\r\n{value}\r\n", {}, "")
    assert [[(each.field, each.value) for each in row.values] for row in found.rows] == [[(field, value)]]
    assert found.lines == [2]
