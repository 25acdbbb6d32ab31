"""Documents say what they were given, in every script, and nothing that was given can say more than itself."""

import csv
import io
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from sluss.v1 import contract_pb2
from sluss.v1 import legal_pb2 as pb
from sluss_legal.charts import chart, svg
from sluss_legal.documents import accounting, cover, report
from sluss_legal.documents.accounting import Accounting
from sluss_legal.documents.html import html
from sluss_legal.documents.model import plain
from sluss_legal.documents.pdf import pdf, uncovered
from sluss_legal.documents.report import Report
from sluss_legal.tongue import tongue_of

from broker.ledger.checkpoint import Checkpoint

MADE = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
HOSTILE = (
    '#panic("boom")',
    "*bold* _it_ `raw` $x^2$ = Heading",
    ']#import "/etc/passwd"[',
    '#read("/etc/passwd") \\ ~ @label <tag>',
    '"}]} <script>alert(1)</script> <img src=x onerror=alert(1)>',
    '=HYPERLINK("http://x.example","x")',
    "{{ 7*7 }} {% raw %} {0} {name}",
    "'; DROP TABLE persons; --",
    "&lt;b&gt; &amp;",
)
NEEDS_PDFTOTEXT = pytest.mark.skipif(not shutil.which("pdftotext"), reason="pdftotext (poppler-utils) is not installed")


def row(**changed):
    facts = {
        "at": "2026-11-20T10:00:00.000000Z",
        "kind": pb.RECEIVED_KIND_RELEASE,
        "recipient_name": "Stockholms tingsrätt",
        "recipient_address": "Box 8307, 104 20 Stockholm",
        "fields": [contract_pb2.FieldGrant(field="email", transform="masked")],
        "purpose": "legal.process",
        "ground": pb.GROUND_LAW_OR_PROCESS,
        "authority": "L-2026-0001",
        "instrument": pb.Instrument(kind="court_order", reference="B 4711-26", date="2026-11-16"),
        "retain_until": "2027-11-20",
        "entry_index": 17,
    }
    return pb.Received(**facts | changed)


def about(*rows):
    return Accounting("P-04CVZ6HGRM5PX", "", "", rows, "example.com/sluss", MADE)


def words_of(content, order="-layout"):
    """The text of a PDF, its white space made one blank; where a line may break there is nothing."""
    done = subprocess.run(["pdftotext", order, "-", "-"], input=content, capture_output=True, check=True)
    return re.sub(r"\s+", " ", done.stdout.decode().replace("\u200b", ""))


def letters_of(content):
    """The letters of a PDF in the order in which they were set, cell by cell."""
    return re.sub(r"\s", "", words_of(content, "-raw"))


class Tags(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(content.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def counted():
    rows = [
        pb.ReportRow(ground=1, country="SE", outcome="released", requests=3, persons=5),
        pb.ReportRow(ground=1, country="NO", outcome="rejected", requests=2, persons=0),
        pb.ReportRow(ground=3, country="SE", outcome="emergency", requests=1, persons=1),
    ]
    return pb.GetTransparencyReportResponse(rows=rows, size=1000, checkpoint="example.com/sluss\n1000\nAAAA\n\n- x y\n")


def sheet(**changed):
    case = pb.Case(
        case_id="L-2026-0001",
        ground=pb.GROUND_LAW_OR_PROCESS,
        requester=pb.Requester(name="Svea hovrätt", address="Box 2290", country="SE", contact="registry@court.example"),
        instrument=pb.Instrument(kind="warrant", reference="B 1", date="2026-11-01"),
        scope=pb.Scope(fields=[contract_pb2.FieldGrant(field="email", transform="full")], collected_from="2025-01-01"),
        delivery=pb.Delivery(package=True, retain_until="2027-01-01"),
        received="2026-11-02",
        prepared_by="legal/anna",
        approved_by="legal/bo",
    )
    for name, value in changed.items():
        getattr(case, name).CopyFrom(value)
    checkpoint = Checkpoint("example.com/sluss", 1000, bytes(32))
    return cover.Cover(case, "L-2026-0001/17", "legal/anna", 3, [17, 18, 19, 25], "2026-01", checkpoint, "", MADE)


# --- what persons have written is text ---


@NEEDS_PDFTOTEXT
@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_markup_on_paper(text):
    shown = letters_of(accounting.accounting("pdf", "en", about(row(recipient_name=text, recipient_address=text))))
    assert shown.count(re.sub(r"\s", "", text)) == 2


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_markup_on_a_page(text):
    content = accounting.accounting("html", "sv", about(row(recipient_name=text, authority=text)))
    calm = Tags(accounting.accounting("html", "sv", about(row())))
    page = Tags(content)
    assert (page.tags, page.attributes) == (calm.tags, calm.attributes)
    assert page.text.count(text) == 2


@pytest.mark.parametrize("text", [*HOSTILE, "+46 70", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_is_a_formula(text):
    content = accounting.accounting(
        "csv", "en", about(row(recipient_name=text, authority=text, recipient_address=text))
    )
    for cells in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")):
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("text", HOSTILE)
def test_json_holds_every_text_as_it_is(text):
    found = json.loads(accounting.accounting("json", "en", about(row(recipient_name=text))))
    assert found["received"][0]["recipient"] == text


def test_a_chart_holds_labels_as_text():
    drawn = svg(chart("c", HOSTILE[4], ["<a>", "b"], [(HOSTILE[4][:30], [1, 2])]))
    page = Tags(drawn.encode())
    assert {"script", "img", "a"} & set(page.tags) == set()
    assert "<script" not in drawn


def test_nothing_moves_or_hides_what_stands_beside_it():
    assert plain("a\u202eb\x1b[2Jc\u2066d\x00") == "a\ufffdb\ufffd[2Jc\ufffdd\ufffd"
    content = accounting.accounting("html", "en", about(row(recipient_name="a\u202eb"))).decode()
    assert "\u202e" not in content
    assert "a\ufffdb" in content


def test_a_page_asks_for_nothing_and_runs_nothing():
    for content in (
        accounting.accounting("html", "en", about(row())),
        report.report("html", "en", Report("2026-01-01", "2026-12-31", False, counted(), MADE)),
        html(cover.document(sheet(), tongue_of("sv"))),
    ):
        page = Tags(content)
        assert {"script", "link", "img", "iframe", "form", "a"} & set(page.tags) == set()
        assert not [name for name, _ in page.attributes if name.startswith("on") or name in {"src", "href"}]
        assert "url(" not in content.decode()
        assert "default-src 'none'" in content.decode()


# --- every script ---


@NEEDS_PDFTOTEXT
def test_letters_of_many_languages_are_on_paper():
    name = "Åsa Öberg, Łódź, Café, Ελλάδα, Москва, \u05d0\u05d1\u05d2, Đặng, Şişli, Ñandú, Þór, ŐŰ"
    shown = words_of(accounting.accounting("pdf", "en", about(row(recipient_name=name))))
    for word in ("Åsa", "Öberg", "Łódź", "Café", "Ελλάδα", "Москва", "Đặng", "Şişli", "Ñandú", "Þór", "ŐŰ"):
        assert word in shown
    assert set("\u05d0\u05d1\u05d2") <= set(shown)
    assert uncovered(name) == set()


@NEEDS_PDFTOTEXT
def test_a_letter_that_no_font_shows_stands_as_its_code_point_and_never_vanishes():
    name = "Han 漢字, Thai ก, nobody's \U0010fffe"
    missing = uncovered(name)
    assert "\U0010fffe" in missing
    shown = letters_of(accounting.accounting("pdf", "en", about(row(recipient_name=name))))
    for letter in "漢字ก":
        assert (f"[U+{ord(letter):04X}]" if letter in missing else letter) in shown
    assert "[U+10FFFE]" in shown


# --- what they say ---


@NEEDS_PDFTOTEXT
@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ["Accounting of disclosures", "Court order B 4711-26", "Law or legal process", "masked", "Page 1 of 1"]),
        ("sv", ["Redovisning av utlämnanden", "Domstolsbeslut", "B 4711-26", "Sida 1 av 1"]),
    ],
)
def test_an_accounting_says_who_what_when_why_and_where_it_is_proven(language, said):
    shown = words_of(accounting.accounting("pdf", language, about(row())))
    for word in [*said, "2026-11-20 10:00", "Stockholms tingsrätt", "L-2026-0001", "17"]:
        assert word in shown or word.replace(" ", "") in shown.replace(" ", ""), word


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "No field; only that the person is on record"),
        ("sv", "Ingen uppgift; bara att personen finns registrerad"),
    ],
)
def test_an_accounting_says_so_when_no_field_left_but_the_person_was_on_record(language, said):
    bare = row()
    del bare.fields[:]
    assert said in accounting.accounting("html", language, about(bare)).decode()
    assert said not in accounting.accounting("html", language, about(row())).decode()


@NEEDS_PDFTOTEXT
def test_a_cover_sheet_says_what_why_under_which_instrument_and_which_clause():
    shown = words_of(pdf(cover.document(sheet(), tongue_of("en")), MADE))
    for word in (
        "Release L-2026-0001/17",
        "Svea hovrätt",
        "Warrant B 1, 2026-11-01",
        "Clause 6 (a)",
        "17-19, 25",
        "legal/anna",
        "legal/bo",
        "2027-01-01",
        "from 2025-01-01",
        "example.com/sluss",
    ):
        assert word in shown, word
    assert "Emergency" not in shown
    assert "Secret until" not in shown


@NEEDS_PDFTOTEXT
def test_emergency_and_secrecy_stand_out_on_a_cover_sheet():
    emergency = pb.Emergency(released_by="legal/anna", confirm_by="2026-11-26T10:00:00Z")
    secrecy = pb.Secrecy(state=pb.SECRECY_STATE_HIDDEN, until="2027-03-01")
    shown = words_of(pdf(cover.document(sheet(emergency=emergency, secrecy=secrecy), tongue_of("en")), MADE))
    assert "nobody yet; due by 2026-11-26" in shown
    assert "Secret until 2027-03-01" in shown


@NEEDS_PDFTOTEXT
@pytest.mark.parametrize(("hidden", "warned"), [(True, True), (False, False)])
def test_a_report_has_table_charts_and_a_warning_if_it_must_not_be_published(hidden, warned):
    shown = words_of(report.report("pdf", "en", Report("2026-01-01", "2026-12-31", hidden, counted(), MADE)))
    assert ("never to be published" in shown) == warned
    for word in ("Requests by ground and outcome", "Requests by country", "Emergency release", "1000"):
        assert word in shown, word


def test_a_report_as_csv_and_json_counts_the_same():
    one = Report("2026-01-01", "2026-12-31", False, counted(), MADE)
    rows = list(csv.DictReader(io.StringIO(report.report("csv", "sv", one).decode("utf-8-sig"))))
    found = json.loads(report.report("json", "en", one))["rows"]
    assert [{name: str(value) for name, value in row.items()} for row in found] == rows


@pytest.mark.parametrize("kind", accounting.KINDS)
def test_an_accounting_of_nobody_and_a_report_of_nothing_are_documents_too(kind):
    assert accounting.accounting(kind, "sv", about())
    assert report.report(
        kind, "sv", Report("2026-01-01", "2026-01-02", False, pb.GetTransparencyReportResponse(), MADE)
    )


def test_the_same_document_is_the_same_bytes():
    one, two = (accounting.accounting("pdf", "sv", about(row())) for _ in range(2))
    assert one == two


@NEEDS_PDFTOTEXT
def test_a_long_accounting_runs_over_pages_with_its_heads_on_each():
    many = about(*(row(entry_index=number) for number in range(200)))
    shown = words_of(accounting.accounting("pdf", "en", many))
    pages = int(re.search(r"Page 1 of (\d+)", shown)[1])
    assert pages > 5
    assert shown.count("Contract or instrument") == pages


def test_ranges_keep_together_what_is_consecutive():
    assert cover.ranges([3]) == "3"
    assert cover.ranges([3, 4, 5, 9, 11, 12]) == "3-5, 9, 11-12"
    assert cover.ranges([]) == ""
