"""Customer files as companies have them: every format, encoding and accident, row by row."""

from __future__ import annotations

import dataclasses
import os
import stat
import tracemalloc

import pytest

from broker.catalogue import default_catalogue
from broker.errors import Reason, SlussError
from broker.intake.csv_reader import CsvSource
from broker.intake.guess import guess
from broker.intake.lines import MAX_LINE, Lines
from broker.intake.mapping import parse_mapping
from broker.intake.reading import Source, detect, open_source, read, sample

CATALOGUE = default_catalogue()
CSV = """
format = 1
input = "csv"
source = "test"
key = "customer_number"
country = "SE"
ignore = ["Notes", "CVC"]
[columns]
Number = "customer_number"
Name = "name.display"
Mail = "email"
Tel = "phone"
Born = { field = "birth_date", date = "DD.MM.YYYY" }
Owes = { field = "invoice.amount", decimal = "," }
Land = { field = "address.country", words = { Sverige = "SE", Tyskland = "DE" } }
[constants]
language = "sv"
"""
HEADER = "Number,Name,Mail,Tel,Born,Owes,Land,Notes\n"


def mapping(text=CSV, **changes):
    found = parse_mapping(text, CATALOGUE)
    return dataclasses.replace(found, **changes)


def rows(path, wanted=None, *, faulty=None):
    wanted = wanted or mapping()
    with open_source(path, wanted) as source:
        found = list(read(source, wanted, CATALOGUE))
        if faulty is not None:
            with source.faulty_rows(faulty) as writer:
                for row in found:
                    if row.fault:
                        writer.add(row)
    return found


def written(tmp_path, content, name="in.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def reasons(found):
    return [(row.line, row.fault.field, row.fault.reason.split(":")[0]) for row in found if row.fault]


def test_row_is_mapped_converted_and_validated(tmp_path):
    path = written(tmp_path, HEADER + 'K-1,"Öberg, Åsa",a@B.example,070-174 06 05,2.4.1985,"1.234,50",sverige,x\n')
    (row,) = rows(path)
    assert row.faults == ()
    assert row.values == {
        "customer_number": "K-1",
        "name.display": "Öberg, Åsa",
        "email": "a@b.example",
        "phone": "+46701740605",
        "birth_date": "1985-04-02",
        "invoice.amount": "1234.50",
        "address.country": "SE",
        "language": "sv",
    }


def test_national_number_takes_the_country_of_its_row(tmp_path):
    path = written(tmp_path, HEADER + "K-1,A,,030 23125000,,,Tyskland,\nK-2,B,,08 123 456,,,Narnia,\n")
    good, bad = rows(path)
    assert good.values["phone"] == "+493023125000"
    assert {fault.field for fault in bad.faults} == {"phone", "address.country"}


def test_every_fault_of_a_row_is_told_and_no_value_is(tmp_path):
    path = written(tmp_path, HEADER + "K-1,Secretname\u202e,secret.mail,12,31.02.1985,much,SE,\n")
    (row,) = rows(path)
    assert [fault.field for fault in row.faults] == [
        "name.display",
        "email",
        "phone",
        "birth_date",
        "invoice.amount",
    ]
    told = "\n".join(map(str, row.faults))
    assert "ecretname" not in told
    assert "secret.mail" not in told
    assert row.values == {}


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", ""),
        ("utf-16-le", "utf-16"),
        ("cp1252", "cp1252"),
        ("cp1250", "cp1250"),
    ],
)
def test_encodings_give_the_same_person_and_a_faulty_file_that_reads_back(tmp_path, encoding, declared):
    text = HEADER + "K-1,Göran Weiß,bad,,,,SE,\r\nK-2,Göran Weiß,g@w.example,,,,SE,\r\n"
    path, faulty = written(tmp_path, text.encode(encoding)), tmp_path / "out.csv"
    wanted = mapping(encoding=declared)
    found = rows(path, wanted, faulty=faulty)
    assert found[1].values["name.display"] == "Göran Weiß"
    again = rows(faulty, wanted)
    assert reasons(again) == [(2, "email", "not_an_email")]
    codec = "utf-16" if encoding.startswith("utf-16") else encoding.removesuffix("-sig")
    faulty.write_bytes(faulty.read_bytes().decode(codec).replace("bad", "g@w.example").encode(codec))
    (row,) = rows(faulty, wanted)
    assert row.values["name.display"] == "Göran Weiß"


def test_bytes_that_are_not_utf8_are_a_fault_and_come_out_unchanged(tmp_path):
    line = "K-1,Göran,,,,,SE,\n".encode("cp1252")
    faulty = tmp_path / "out.csv"
    found = rows(written(tmp_path, HEADER.encode() + line), faulty=faulty)
    assert reasons(found) == [(2, "name.display", "surrogate")]
    assert faulty.read_bytes() == HEADER.encode() + line


def test_truncated_utf16_is_one_domain_error(tmp_path):
    path = written(tmp_path, (HEADER + "K-1,A,,,,,SE,").encode("utf-16")[:-1])
    with pytest.raises(SlussError) as caught:
        rows(path)
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found(tmp_path, delimiter):
    text = "Number,Name,Mail,Tel,Born,Owes,Land,Notes\nK-1,A,,,,,SE,\nK-2,B,,,,,SE,a\n".replace(",", delimiter)
    assert [row.values["customer_number"] for row in rows(written(tmp_path, text))] == ["K-1", "K-2"]


def test_line_numbers_are_where_rows_start_whatever_is_quoted(tmp_path):
    text = HEADER + 'K-1,A,,,,,SE,"two\nlines"\n\nK-2,B,bad,,,,SE,\n'
    found = rows(written(tmp_path, text))
    assert [row.line for row in found] == [2, 5]
    assert reasons(found) == [(5, "email", "not_an_email")]


def test_unclosed_quote_costs_one_row_and_not_the_rest_of_the_file(tmp_path):
    text = HEADER + 'K-1,"A,,,,,SE,\n' + "".join(f"K-{n},B,,,,,SE,\n" for n in range(2, 3000))
    found = rows(written(tmp_path, text))
    assert reasons(found) == [(2, "", "too_long")]
    assert [row.line for row in found] == list(range(2, 3001))


def test_unclosed_quote_in_the_last_row_is_a_fault(tmp_path):
    found = rows(written(tmp_path, HEADER + 'K-1,A,,,,,SE,\nK-2,"B,,,,,SE,'))
    assert reasons(found) == [(3, "", "quotes")]
    assert found[0].values["customer_number"] == "K-1"


def test_text_after_a_closing_quote_is_a_fault(tmp_path):
    assert reasons(rows(written(tmp_path, HEADER + 'K-1,"A"B,,,,,SE,\n'))) == [(2, "", "quotes")]


def test_wrong_number_of_cells_is_a_fault_unless_the_rest_is_empty(tmp_path):
    text = HEADER + "K-1,A\nK-2,A,,,,,SE,,,\nK-3,A,,,,,SE,,extra\n"
    assert reasons(rows(written(tmp_path, text))) == [(2, "", "columns"), (4, "", "columns")]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "vcard"])
def test_memory_stays_bounded_with_a_line_of_fifty_megabytes(tmp_path, kind):
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.write({"csv": HEADER.encode(), "jsonl": b"", "vcard": b"BEGIN:VCARD\nVERSION:4.0\nNOTE:"}[kind])
        for _ in range(50):
            file.write(b"x" * (1 << 20))
        file.write(b"\n")
    tracemalloc.start()
    with Source(path, kind) as source:
        records = list(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert records
    assert all(record.problem for record in records)
    assert peak < 30 * MAX_LINE


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "empty"),
        ("Number,Name,Name\n", "twice"),
        ("Number,,Name\n", "without a name"),
        ("Number,Name,Mail,Tel,Born,Owes\n", "no column Land"),
        (HEADER.strip() + ",Shoe size\n", "column 9"),
        ('"Number,Name\n', "quotes"),
    ],
)
def test_header_that_does_not_fit_is_refused_before_the_first_row(tmp_path, header, said):
    with pytest.raises(SlussError, match=said) as caught:
        rows(written(tmp_path, header))
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    "content", [b"Number,Na\xffme\n", b"\xef\xbb\xbf\xff\xfeNumber,Name\n", b"Number,\xed\xa0\x80\n"]
)
def test_a_header_with_bytes_that_are_no_text_is_refused(tmp_path, content):
    with pytest.raises(SlussError, match="no text") as caught:
        rows(written(tmp_path, content))
    assert caught.value.reason is Reason.MALFORMED


def test_file_without_header_does_not_put_a_person_into_the_error(tmp_path):
    with pytest.raises(SlussError) as caught:
        rows(written(tmp_path, "K-1,Astrid Secret,a@secret.example\n"))
    assert "ecret" not in str(caught.value)


def test_key_that_is_missing_or_stands_twice_is_a_fault(tmp_path):
    text = HEADER + "K-1,A,,,,,SE,\n,B,,,,,SE,\nK-1,C,,,,,SE,\nK-2,D,bad,,,,SE,\nK-2,E,,,,,SE,\n"
    found = rows(written(tmp_path, text))
    assert reasons(found) == [
        (3, "customer_number", "missing_key"),
        (4, "customer_number", "duplicate_key"),
        (5, "email", "not_an_email"),
    ]


def test_card_security_code_never_gets_into_values_or_the_faulty_file(tmp_path):
    faulty = tmp_path / "out.csv"
    header = HEADER.replace("Notes", "CVC")
    text = header + 'K-1,A,bad,,,,SE,987\nK-2,A,,,,,SE,987\nK-3,A,987\nK-4,"A,,,,,SE,987\n'
    found = rows(written(tmp_path, text), faulty=faulty)
    assert len(found) == 4
    assert "987" not in faulty.read_text()
    assert "987" not in faulty.with_name(faulty.name + ".reasons.txt").read_text()
    assert "987" not in repr(found)


def test_faulty_rows_are_for_their_owner_only_and_absent_without_faults(tmp_path):
    faulty = tmp_path / "out.csv"
    rows(written(tmp_path, HEADER + "K-1,A,,,,,SE,\n"), faulty=faulty)
    assert not faulty.exists()
    old = os.umask(0)
    try:
        rows(written(tmp_path, HEADER + "K-1,A,bad,,,,SE,\n"), faulty=faulty)
    finally:
        os.umask(old)
    for path in (faulty, faulty.with_name(faulty.name + ".reasons.txt")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_reasons_name_the_line_in_both_files(tmp_path):
    faulty = tmp_path / "out.csv"
    rows(written(tmp_path, HEADER + "K-1,A,,,,,SE,\nK-2,A,j.doe,,,,SE,\n"), faulty=faulty)
    told = faulty.with_name(faulty.name + ".reasons.txt").read_text()
    assert told == "row line 2  line 3  email  not_an_email: not an e-mail address  ***\n"


# --- JSON Lines -----------------------------------------------------------------------------------

JSONL = CSV.replace('"csv"', '"jsonl"').replace("Land =", '"address.country" =')


def test_json_lines_are_flattened_and_numbers_keep_their_digits(tmp_path):
    text = '{"Number": 12345678901234567890, "Name": "A", "address": {"country": "se"}, "Owes": 1.10, "Notes": null}\n'
    (row,) = rows(written(tmp_path, text), mapping(JSONL.replace(', decimal = ","', "")))
    assert row.values["customer_number"] == "12345678901234567890"
    assert row.values["invoice.amount"] == "1.10"
    assert row.values["address.country"] == "SE"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[1]", "not_json"),
        ('{"Number": "K-1"', "not_json"),
        ('{"Number": NaN}', "not_json"),
        ('{"Number": "K-1", "Number": "K-2"}', "duplicate_name"),
        ('{"Number": ["K-1"]}', "list"),
        ('{"a":{"b":{"c":{"d":{"e":1}}}}}', "too_deep"),
        ("[" * 100_000, "not_json"),
        ('{"Number": "K-1", "Other": "x"}', "unknown_column"),
        ('{"Number": "K-1", "Name": "\\ud800"}', "surrogate"),
        ('{"Number": "K-1", "\\ud800": "x"}', "not_text"),
        ('{"Number": "K-1", "Name": "\\u202e"}', "bidi_control"),
    ],
)
def test_bad_line_is_a_fault_and_the_next_one_is_read(tmp_path, line, why):
    path = written(tmp_path, line + '\n\n{"Number": "K-9", "Name": "A"}\n')
    bad, good = rows(path, mapping(JSONL))
    assert bad.fault.reason.split(":")[0] == why
    assert good.values["customer_number"] == "K-9"
    assert good.line == 3


def test_security_code_in_json_is_dropped_from_the_raw_text_too(tmp_path):
    path = written(tmp_path, '{"Number": "K-1", "Mail": "bad", "card": {"cvc": "987"}}\n{"cvc": "987",\n')
    found = rows(path, mapping(JSONL))
    assert "987" not in repr(found)


# --- vCard ----------------------------------------------------------------------------------------

VCARD = """
format = 1
input = "vcard"
source = "phones"
key = "customer_number"
country = "SE"
ignore = ["*"]
[columns]
UID = "customer_number"
FN = "name.display"
"N.family" = "name.family"
"N.given" = "name.given"
EMAIL = "email"
TEL = "phone"
"TEL.cell" = "mobile"
"ADR.street" = "address.street"
"ADR.city" = "address.city"
"ADR.postal_code" = "address.postal_code"
"ADR.country" = { field = "address.country", words = { Sweden = "SE" } }
ORG = "company"
BDAY = "birth_date"
LANG = "language"
"""

V4 = """BEGIN:VCARD
VERSION:4.0
UID:K-1
FN:Åsa Öberg
N:Öberg;Åsa;;;
EMAIL;TYPE=work:second@example.com
item1.EMAIL;PREF=1:first@example.com
TEL;VALUE=uri;TYPE="voice,cell":tel:+46-70-174-0605
TEL;TYPE=home:08-123 456;ext=5
ADR:;;Storgatan 1\\, 2 tr\\nc/o Ek;Växjö;;352 30;Sweden
ORG:Exempel\\; AB;Sales
BDAY:19850412T101500Z
LANG:sv
PHOTO:data:image/jpeg;base64,MIIC
 ajfhrt
END:VCARD
"""


def test_vcard_4_is_read_with_its_preferred_address_escapes_and_folds(tmp_path):
    (row,) = rows(written(tmp_path, V4.replace("\n", "\r\n")), mapping(VCARD))
    assert row.faults == ()
    assert row.values == {
        "customer_number": "K-1",
        "name.display": "Åsa Öberg",
        "name.family": "Öberg",
        "name.given": "Åsa",
        "email": "first@example.com",
        "mobile": "+46701740605",
        "phone": "+468123456",
        "address.street": "Storgatan 1, 2 tr, c/o Ek",
        "address.city": "Växjö",
        "address.postal_code": "352 30",
        "address.country": "SE",
        "company": "Exempel; AB",
        "birth_date": "1985-04-12",
        "language": "sv",
    }


def test_vcard_mapping_is_guessed_and_reads_the_file(tmp_path):
    path = written(tmp_path, V4 + V4.replace("K-1", "K-2").replace("LANG:sv", "REV:20260101T000000Z"))
    found, names, some = sample(path, 1)
    guessed = guess(names, some, CATALOGUE, input=found.input, country="SE")
    assert guessed.key == "customer_number"
    first, second = rows(path, guessed)
    assert first.values == rows(path, mapping(VCARD))[0].values
    assert second.values["email"] == "first@example.com"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("VERSION:4.0", "VERSION:2.1", "version"),
        ("VERSION:4.0\n", "", "version"),
        ("FN:Åsa", "FN;ENCODING=QUOTED-PRINTABLE:=C3=85sa", "quoted_printable"),
        ("FN:Åsa Öberg", "no colon here", "not_a_property"),
        ("FN:Åsa Öberg", "X-CVC:987", "forbidden"),
        ("BDAY:19850412T101500Z", "BDAY:--0412", "not_a_date"),
        ("UID:K-1\n", "", "missing_key"),
        ("END:VCARD\n", "", "not_a_card"),
    ],
)
def test_bad_card_is_a_fault_with_its_name(tmp_path, old, new, why):
    assert old in V4
    found = rows(written(tmp_path, V4.replace(old, new)), mapping(VCARD))
    assert found[0].fault.reason.split(":")[0] == why


def test_card_after_a_broken_one_is_read(tmp_path):
    text = "stray\nlines\n" + V4.replace("END:VCARD\n", "") + V4.replace("K-1", "K-2") + "\nmore\n"
    found = rows(written(tmp_path, text), mapping(VCARD))
    assert [row.values.get("customer_number") for row in found] == [None, None, "K-2", None]
    assert reasons(found) == [(1, "", "not_a_card"), (3, "", "not_a_card"), (35, "", "not_a_card")]


def test_endless_card_is_one_fault_and_the_next_card_is_read(tmp_path):
    text = V4.replace("END:VCARD\n", "NOTE:x\n" * 5000) + V4
    found = rows(written(tmp_path, text), mapping(VCARD))
    assert reasons(found) == [(1, "", "too_long")]
    assert len(found[0].raw) < MAX_LINE
    assert found[1].values["customer_number"] == "K-1"


def test_faulty_card_reads_back_alone(tmp_path):
    faulty = tmp_path / "out.vcf"
    rows(
        written(tmp_path, V4.replace("LANG:sv", "LANG:swedish") + V4.replace("K-1", "K-2")),
        mapping(VCARD),
        faulty=faulty,
    )
    faulty.write_text(faulty.read_text().replace("LANG:swedish", "LANG:sv"))
    (row,) = rows(faulty, mapping(VCARD))
    assert row.values["customer_number"] == "K-1"


# --- detection ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind", "encoding"),
    [
        (b"a;b\n", "csv", ""),
        (b"", "csv", ""),
        (b'\xef\xbb\xbf{"a": 1}\n', "jsonl", ""),
        ("begin:vcard\n".encode("utf-16"), "vcard", ""),
        ("Göran;b\n".encode("cp1252"), "csv", "cp1252"),
        (b"a" * 65535 + "ö".encode(), "csv", ""),
    ],
)
def test_format_and_encoding_are_told_by_content(tmp_path, content, kind, encoding):
    found = detect(written(tmp_path, content, "any.dat"))
    assert (found.input, found.encoding) == (kind, encoding)


def test_lines_put_back_are_read_again_with_their_numbers(tmp_path):
    path = written(tmp_path, "a\nb\nc\n")
    with Lines(path) as lines:
        first, second = next(lines), next(lines)
        lines.again([first, second])
        assert lines.line == 1
        assert list(lines) == ["a\n", "b\n", "c\n"]


def test_single_column_file_has_a_delimiter_too(tmp_path):
    with Lines(written(tmp_path, "Mail\na@b.example\n")) as lines:
        source = CsvSource(lines)
        assert [dict(record.columns) for record in source] == [{"Mail": "a@b.example"}]
