"""Preference lists with headers and words of their own: the mapping that is guessed, what it reads, what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sluss.v1 import choice_pb2 as pb
from sluss_cli.choice_guess import guess
from sluss_cli.choice_mapping import own_mapping, parse_list_mapping, to_toml
from sluss_cli.choice_rows import Reader
from sluss_cli.problems import Problem

from broker.catalogue import default_catalogue
from broker.intake.faults import Record

AS_OF = datetime(2026, 11, 5, 9, tzinfo=UTC)
STATES = {pb.CHOICE_STATE_OPTED_IN: "in", pb.CHOICE_STATE_OPTED_OUT: "out"}


def guessed(header, *lines, **given):
    names = header.split(";")
    rows = [dict(zip(names, line.split(";"), strict=True)) for line in lines]
    zone = given.pop("zone", "")
    return guess(names, rows, default_catalogue(), given, zone=zone)


def read(text, header, line, zone="", country="", **given):
    """What a line comes to under a mapping's text: (key, purpose, state, channels, time) of each choice, and faults."""
    mapping = parse_list_mapping(text) if text else own_mapping(header.split(";"))
    reader = Reader(mapping, {**mapping.constants, **given}, country or mapping.country, zone or mapping.zone, AS_OF)
    cells = {name: cell for name, cell in zip(header.split(";"), line.split(";"), strict=True) if cell}
    rows, faults = reader.read(Record(2, cells, line))
    choices = [
        (
            getattr(row, row.WhichOneof("whose")),
            row.choice.purpose,
            STATES[row.choice.state],
            " ".join(row.choice.channels),
            row.chosen_at,
        )
        for row in rows
    ]
    return choices, [(fault.field, fault.reason) for fault in faults]


LONG = "Kundnummer;Ändamål;Kanal;Samtycke;Datum;Anteckning"


def test_a_swedish_list_is_guessed_shown_and_read():
    mapping = guessed(
        LONG, "K-1;Enkäter till våra kunder;E-post, SMS;Ja;2026-11-02 10:15;x", "K-2;offers;alla;nej;2026-11-02;y"
    )
    text = to_toml(mapping)
    assert '"Ändamål" = { column = "purpose", words = { "Enkäter till våra kunder" = "surveys" } }' in text
    assert 'Samtycke = { column = "state", words = { ja = "in", nej = "out" } }' in text
    assert 'zone = "Europe/Stockholm"  # of times that say none: please check' in text
    assert '"Anteckning",  # not recognised: dropped unless you map it' in text
    line = "K-1;Enkäter till våra kunder;E-post, SMS;JA;2026-11-02 10:15;x"
    assert read(text, LONG, line) == ([("K-1", "surveys", "in", "email sms", "2026-11-02T09:15:00.000000Z")], [])
    assert read(text, LONG, "K-2;offers;Alla;nej;;y") == ([("K-2", "offers", "out", "", "")], [])


WIDE = "E-post;Namn;SMS;Våra erbjudanden per telefon;Telefon"


def test_a_column_for_each_channel_or_purpose_makes_choices_of_its_own():
    header = f"Kundnr;{WIDE}"
    mapping = guessed(header, "K-1;ja;Åsa;nej;ja;0701740605", "K-2;nej;Bo;;nej;0701740606", purpose="offers")
    text = to_toml(mapping)
    assert 'E-post = { column = "state", channels = "email"' in text
    assert '"Våra erbjudanden per telefon" = { column = "state", purpose = "offers.phone"' in text
    assert '"Telefon",  # persons are named by customer_number already' in text
    choices, faults = read(text, header, "K-1;ja;Åsa;;nej;0701740605")
    assert choices == [("K-1", "offers", "in", "email", ""), ("K-1", "offers.phone", "out", "", "")]
    assert faults == []
    assert read(text, header, "K-1;;Åsa;;;") == ([], [])
    # A header that says what it is about is enough, whatever else stands in the column.
    few = to_toml(guessed("Kundnr;Enkäter till våra kunder", "K-1;ja", "K-2;kanske"))
    assert "1 of the first 2 say something else: give each word its meaning" in few
    choices, faults = read(text, header, "K-1;kanske;Åsa;ja;;")
    assert choices == [("K-1", "offers", "in", "sms", "")]
    assert faults == [("E-post", "none of the mapping's words: ja, nej")]


def test_what_only_a_person_knows_is_asked_for_and_never_guessed():
    text = to_toml(guessed("Kundnr;Spärr;Val;Tidpunkt", "K-1;ja;yes;1/2/2026", "K-2;nej;no;2/1/2026"))
    assert "a yes here may be a no" in text
    assert 'zone = "?"' in text
    assert 'purpose = "?"  # no column says what the choices are about' in text
    assert "could also be MM/DD/YYYY: please check" in text
    with pytest.raises(Problem, match="in place of the question mark"):
        parse_list_mapping(text)
    text = to_toml(guessed("Kundnr;Lista;Svar", "K-1;Klubben;ja"))
    assert 'Klubben = "?"' in text
    with pytest.raises(Problem, match=r"columns\.Lista\.words\.Klubben"):
        parse_list_mapping(text)
    assert 'state = "?"' in to_toml(guessed("Kundnr;Lista", "K-1;offers"))
    assert "zone" not in to_toml(guessed("Kundnr;Lista;Val", "K-1;offers;ja"))
    with pytest.raises(Problem, match="no column looks as if it named persons"):
        guessed("Lista;Val", "offers;ja")


@pytest.mark.parametrize(
    ("cell", "state", "moment"),
    [
        ("2026-11-02T10:15:00+01:00", "in", "2026-11-02T09:15:00.000000Z"),
        ("2026-11-02T09:15:00.123456Z", "out", "2026-11-02T09:15:00.123456Z"),
        ("2026-11-02 10:15", "in", "2026-11-02T09:15:00.000000Z"),
        ("2026-11-02 9.15", "in", "2026-11-02T08:15:00.000000Z"),
        ("2026-07-02 10:15:30", "out", "2026-07-02T08:15:30.000000Z"),
        # Of a day the no counts as of its end, but not of a time after the list.
        ("2026-11-02", "in", "2026-11-01T23:00:00.000000Z"),
        ("2026-11-02", "out", "2026-11-02T22:59:59.999999Z"),
        ("2026-11-05", "out", "2026-11-05T09:00:00.000000Z"),
        ("2026-11-06", "out", "2026-11-05T23:00:00.000000Z"),
        # The hour that there is twice.
        ("2026-10-25 02:30", "in", "2026-10-25T00:30:00.000000Z"),
        ("2026-10-25 02:30", "out", "2026-10-25T01:30:00.000000Z"),
    ],
)
def test_a_time_is_read_as_it_is_written_in_a_spreadsheet(cell, state, moment):
    choices, faults = read("", "person;state;chosen_at", f"P-1;{state};{cell}", "Europe/Stockholm", purpose="offers")
    assert (choices[0][-1], faults) == (moment, [])


@pytest.mark.parametrize(
    "cell", ["2.11.2026", "2026-11-31", "2026-11-02 25:00", "10:15", "igår", "2026-11-02 10", "٢٠٢٦-11-02"]
)
def test_what_is_no_time_is_told_with_the_forms_that_there_are(cell):
    choices, faults = read("", "person;state;chosen_at", f"P-1;in;{cell}", "Europe/Stockholm", purpose="offers")
    assert choices == []
    ((column, why),) = faults
    assert column == "chosen_at"
    assert why == "no time: 2026-11-02, 2026-11-02 10:15, or RFC 3339 such as 2026-11-02T10:15:00+01:00"


def test_a_time_without_a_zone_is_refused_until_one_is_named():
    for cell in ("2026-11-02", "2026-11-02 10:15"):
        (fault,) = read("", "person;state;chosen_at", f"P-1;in;{cell}", purpose="offers")[1]
        assert "--zone Europe/Stockholm" in fault[1]
    order = 'format = 1\nzone = "UTC"\n[columns]\nK = "person"\nS = "state"\n'
    order += 'D = { column = "chosen_at", date = "DD.MM.YYYY" }\n'
    assert read(order, "K;S;D", "P-1;in;2.11.2026 10:15")[0][0][-1] == "2026-11-02T10:15:00.000000Z"
    assert "DD.MM.YYYY 10:15" in read(order, "K;S;D", "P-1;in;2026-11-02")[1][0][1]


@pytest.mark.parametrize(
    ("line", "field", "why"),
    [
        ("P-1;K-1;in;", "", "exactly one of person"),
        (";;in;", "", "exactly one of person"),
        ("P-1;;;", "state", "says neither"),
        ("P-1;;ja;", "state", "need a mapping: see --guess"),
        ("P-1;;in;e-post", "channels", "channels are email, phone, post, sms"),
    ],
)
def test_each_row_is_told_what_is_wrong_with_it(line, field, why):
    ((found, reason),) = read("", "person;customer_number;state;channels", line, purpose="offers")[1]
    assert found == field
    assert why in reason


GOOD = 'format = 1\n[columns]\nK = "customer_number"\nS = { column = "state", words = { ja = "in", "vet ej" = "" } }\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD.replace("format = 1", "format = 2"), "format"),
        (GOOD.replace('"in"', '"yes"'), "columns.S.words.ja"),
        (GOOD.replace('"in"', "1"), "columns.S.words.ja"),
        (GOOD.replace("customer_number", "name"), "columns.K"),
        (GOOD.replace("customer_number", "purpose"), "one names persons"),
        (GOOD + 'T = "state"\nU = "state"\n', "its purpose or its channels"),
        (GOOD + 'T = "customer_number"\n', "two columns are customer_number"),
        (GOOD + 'T = { column = "medium", words = { a = "b" } }\n', "only for purpose, channels, state"),
        (GOOD + 'T = { column = "chosen_at", date = "YY" }\n', "columns.T.date"),
        (GOOD + 'T = { column = "state", channels = "fax" }\n', "columns.T.channels"),
        (GOOD + 'T = { column = "purpose", purpose = "offers" }\n', "only a `state`"),
        ('zone = "Sweden/Ystad"\n' + GOOD, "time zone"),
        ('zone = "../../etc/passwd"\n' + GOOD, "time zone"),
        ('country = "Sverige"\n' + GOOD, "country"),
        ('encoding = "rot13"\n' + GOOD, "encoding"),
        ('ignore = ["K"]\n' + GOOD, "both mapped and ignored"),
        (GOOD + '[constants]\nkey = "x"\n', "constants.key"),
        (GOOD + '[constants]\nsource = "Två ord"\n', "constants.source"),
        ("nothing", "not TOML"),
    ],
)
def test_a_mapping_that_is_not_right_is_refused_by_its_place(text, why):
    with pytest.raises(Problem) as refused:
        parse_list_mapping(text)
    assert why in refused.value.detail


def test_a_word_may_stand_for_no_choice():
    mapping = parse_list_mapping(GOOD)
    assert to_toml(mapping).count('"vet ej" = ""') == 1
    assert read(GOOD, "K;S", "K-1;Vet ej", purpose="offers") == ([], [])
    assert parse_list_mapping(to_toml(mapping)) == mapping
