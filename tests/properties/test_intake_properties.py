"""Whatever bytes a customer file holds: rows and faults, or one domain error; no hang, no leak, nothing lost."""

from __future__ import annotations

import csv
import io
import string

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.catalogue import default_catalogue
from broker.errors import Reason, SlussError
from broker.intake.guess import guess
from broker.intake.mapping import parse_mapping, to_toml
from broker.intake.reading import Source, detect, open_source, read, sample

CATALOGUE = default_catalogue()
IGNORE_ALL = parse_mapping(
    'format = 1\ninput = "csv"\nsource = "t"\nkey = "customer_number"\nignore = ["*"]\n'
    '[columns]\nNo = "customer_number"\nName = "name.display"\nMail = "email"\n',
    CATALOGUE,
)
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
FRAGMENTS = st.lists(
    st.sampled_from(
        [
            b'"',
            b",",
            b";",
            b"\n",
            b"\r\n",
            b"\r",
            b"a",
            b"No,Name,Mail\n",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            b"\x00",
            b"BEGIN:VCARD\n",
            b"END:VCARD\n",
            b"VERSION:4.0\n",
            b"FN:x\n",
            b"TEL;TYPE=cell:+4670\n",
            b" ",
            b"\\",
            b"{",
            b"}",
            b'{"No": 1}\n',
            b'{"a":',
            b"[",
            b"\xd8",
            b"\x80",
            "å".encode(),
            b"N:;;\\;\n",
            b"EMAIL;PREF=1:a@b.se\n",
        ]
    ),
    max_size=40,
).map(b"".join)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "vcard"])
@SHARED
@given(content=st.one_of(FRAGMENTS, st.binary(max_size=200)))
def test_any_bytes_give_records_or_one_domain_error(tmp_path, kind, content):
    path = tmp_path / "any"
    path.write_bytes(content)
    try:
        with Source(path, kind) as source:
            records = list(source)
    except SlussError as error:
        refused = error.reason
    else:
        refused = None
        assert [record.line for record in records] == sorted({record.line for record in records})
    assert refused in (None, Reason.MALFORMED)


@SHARED
@given(content=st.one_of(FRAGMENTS, st.binary(max_size=200)))
@example(content=b"\xef\xbb\xbf\xff\xfeNo,Name,Mail\n")
@example(content=b'{"No": 1, "\\ud800": 1}\n')
def test_any_file_can_be_sampled_and_guessed_or_is_refused(tmp_path, content):
    path = tmp_path / "any"
    path.write_bytes(content)
    detect(path)
    try:
        found, names, rows = sample(path)
        mapping = guess(names, rows, CATALOGUE, input=found.input)
    except SlussError as error:
        refused = error.reason
    else:
        refused = None
        assert parse_mapping(to_toml(mapping), CATALOGUE).columns.keys() == mapping.columns.keys()
    assert refused in (None, Reason.MALFORMED)


CELL = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=12)


@SHARED
@given(cells=st.lists(st.tuples(CELL, CELL, CELL), max_size=8), delimiter=st.sampled_from(",;\t|"))
def test_what_a_csv_writer_wrote_is_read_back_cell_by_cell_and_faulty_rows_verbatim(tmp_path, cells, delimiter):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("No", "Name", "Mail"), *cells])
    path, faulty = tmp_path / "in.csv", tmp_path / "faulty.csv"
    faulty.unlink(missing_ok=True)
    path.write_bytes(out.getvalue().encode())
    with Source(path, "csv", delimiter=delimiter) as source:
        records = list(source)
    assert [tuple(record.columns.get(name, "") for name in ("No", "Name", "Mail")) for record in records] == cells
    assert "".join(record.raw for record in records) == out.getvalue().split("\r\n", 1)[1]
    with open_source(path, IGNORE_ALL) as source, source.faulty_rows(faulty) as found:
        raws = []
        for row in read(source, IGNORE_ALL, CATALOGUE):
            if row.fault:
                raws.append(row.raw)
                found.add(row)
    if raws:
        assert faulty.read_bytes().decode() == out.getvalue().split("\r\n", 1)[0] + "\r\n" + "".join(raws)


SECRET = st.text(alphabet=string.ascii_letters + string.digits, min_size=12, max_size=30)


@SHARED
@given(secret=SECRET, tail=st.sampled_from(["", "@", "\u202e", '"x', "\x00", "\udcff"]))
def test_no_fault_repeats_a_value(tmp_path, secret, tail):
    path, faulty = tmp_path / "in.csv", tmp_path / "faulty.csv"
    faulty.unlink(missing_ok=True)
    text = f"No,Name,Mail\n{secret}{tail},{secret}{tail},{secret}{tail}\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with open_source(path, IGNORE_ALL) as source, source.faulty_rows(faulty) as found:
        for row in read(source, IGNORE_ALL, CATALOGUE):
            assert row.fault
            found.add(row)
    assert secret not in faulty.with_name(faulty.name + ".reasons.txt").read_text()
