import csv
import io
import stat
from dataclasses import replace

import orjson
import pytest
from sluss_cli.problems import Problem
from sluss_cli.row_file import Progress, ResumableFile, Row, RowFormat, write_private

NASTY = 'a,"b"\nc;Ω'
ASKED = Progress("id-1", "C-2026-0001", "billing", ["email", "name.display"], "csv")


def row(number):
    return Row(f"h_{number}", {"email": f"p{number}@example.com"}, "2026-12-23", 7)


def mark(path):
    return path.with_name(path.name + ".resume")


def test_csv_survives_separators_quotes_and_line_breaks_and_leaves_missing_fields_empty():
    shape = RowFormat("csv", ["email", "note"])
    data = shape.header() + shape.rows([Row("h_1", {"note": NASTY}, "2026-12-23", 7)])
    assert list(csv.reader(data.decode().splitlines(keepends=True))) == [
        ["handle", "email", "note", "retain_until", "entry"],
        ["h_1", "", NASTY, "2026-12-23", "7"],
    ]


def test_json_lines_hold_one_object_per_person():
    data = RowFormat("jsonl", ["note"]).rows([Row("h_1", {"note": NASTY}, "2026-12-23", 7), row(2)])
    assert [orjson.loads(line)["handle"] for line in data.splitlines()] == ["h_1", "h_2"]
    assert orjson.loads(data.splitlines()[0])["values"] == {"note": NASTY}


@pytest.mark.parametrize("name", ["xml", "CSV", ""])
def test_unknown_format_is_refused_by_name(name):
    with pytest.raises(Problem, match="csv or jsonl"):
        RowFormat(name, [])


def test_personal_data_is_written_for_its_owner_only_and_never_over_another_file(tmp_path):
    path = tmp_path / "out.csv"
    write_private(path, b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(Problem, match="exists already"):
        write_private(path, b"y")
    assert path.read_bytes() == b"x"


def test_symbolic_link_is_not_followed(tmp_path):
    (tmp_path / "out.csv").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Problem):
        write_private(tmp_path / "out.csv", b"x")
    assert not (tmp_path / "elsewhere").exists()


def test_run_that_is_cut_off_goes_on_without_gap_or_double(tmp_path):
    path = tmp_path / "out.csv"
    with ResumableFile(path, ASKED, resume=False) as file:
        file.append([row(1), row(2)], "cursor-1")
    with path.open("ab") as torn:
        torn.write(b"h_3,torn in the mid")
    with ResumableFile(path, replace(ASKED, request_id="another"), resume=True) as file:
        assert (file.progress.request_id, file.progress.cursor, file.progress.rows) == ("id-1", "cursor-1", 2)
        file.append([row(3)], "cursor-2")
        file.complete()
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["handle", "h_1", "h_2", "h_3"]
    assert not mark(path).exists()


@pytest.mark.parametrize(
    "other",
    [{"contract": "C-2026-0002"}, {"purpose": "service"}, {"fields": ["email"]}, {"format": "jsonl"}],
)
def test_another_request_cannot_go_on_in_the_same_file(tmp_path, other):
    path = tmp_path / "out.csv"
    ResumableFile(path, ASKED, resume=False).__exit__()
    with pytest.raises(Problem, match="something else"):
        ResumableFile(path, replace(ASKED, **other), resume=True)


def test_unfinished_run_is_not_started_over_by_accident(tmp_path):
    path = tmp_path / "out.csv"
    ResumableFile(path, ASKED, resume=False).__exit__()
    path.unlink()
    with pytest.raises(Problem, match="--resume"):
        ResumableFile(path, ASKED, resume=False)


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b'{"request_id":"x"}'])
def test_damaged_mark_is_refused(tmp_path, damage):
    path = tmp_path / "out.csv"
    ResumableFile(path, ASKED, resume=False).__exit__()
    mark(path).write_bytes(damage)
    with pytest.raises(Problem, match="damaged"):
        ResumableFile(path, ASKED, resume=True)


def test_file_shorter_than_its_mark_is_refused_and_not_filled_with_zeros(tmp_path):
    path = tmp_path / "out.csv"
    with ResumableFile(path, ASKED, resume=False) as file:
        file.append([row(1)], "cursor-1")
    path.write_bytes(b"handle")
    with pytest.raises(Problem, match="shorter"):
        ResumableFile(path, ASKED, resume=True)
    assert path.read_bytes() == b"handle"


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(Problem, match="nothing to resume"):
        ResumableFile(tmp_path / "out.csv", ASKED, resume=True)


FORMULAS = ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1"]


@pytest.mark.parametrize("value", FORMULAS)
def test_spreadsheet_gets_no_formula_and_a_program_gets_the_very_value(value):
    one = Row("h_1", {"note": value}, "2026-12-23", 7)
    people, programs = RowFormat("spreadsheet", ["note"]), RowFormat("csv", ["note"])

    def cell(data):
        return next(csv.reader(io.StringIO(data.decode(), newline="")))[1]

    assert cell(people.rows([one])) == "'" + value
    assert cell(programs.rows([one])) == value
    assert (people.formulas, programs.formulas) == (0, 1)


def test_phone_numbers_come_back_to_a_program_as_they_were_and_stay_text_in_a_spreadsheet():
    one = Row("h_1", {"phone": "+46701234567"}, "2026-12-23", 7)
    programs = RowFormat("csv", ["phone"])
    assert b",+46701234567," in programs.rows([one])
    assert programs.formulas == 0
    assert b'"\'+46701234567"' in RowFormat("spreadsheet", ["phone"]).rows([one])


def test_cell_can_not_break_out_where_semicolons_separate():
    data = RowFormat("spreadsheet", ["note"]).rows([Row("h_1", {"note": 'a;=1"x'}, "2026-12-23", 7)])
    assert b'"a;=1""x"' in data
