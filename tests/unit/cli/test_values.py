import io

import pytest
from sluss.v1 import person_pb2 as pb
from sluss_cli.problems import Problem
from sluss_cli.values import one_value, parse_choice, parse_values, read_lines


def test_values_keep_everything_after_the_first_equals_sign():
    values = parse_values(["note=a=b", " email = m@example.com "])
    assert values == [
        pb.FieldValue(field="note", value="a=b"),
        pb.FieldValue(field="email", value="m@example.com"),
    ]


@pytest.mark.parametrize("item", ["no-equals", "=value", "email=", "email=   ", ""])
def test_malformed_value_is_named_by_number_and_never_shown(item):
    with pytest.raises(Problem) as caught:
        parse_values(["language=sv", item])
    assert "value 2" in caught.value.sentence()
    assert not item or item not in caught.value.sentence()


def test_field_given_twice_is_refused_without_its_values():
    with pytest.raises(Problem) as caught:
        parse_values(["email=canary-1", "email=canary-2"])
    assert "canary" not in caught.value.sentence()
    assert caught.value.metadata == {"field": "email"}


@pytest.mark.parametrize("state", ["yes", "IN", "", "opt-in"])
def test_choice_other_than_in_or_out_is_refused(state):
    with pytest.raises(Problem):
        parse_choice("offers.email", state, "web")


def test_lines_skip_blanks_and_comments(tmp_path):
    file = tmp_path / "values.txt"
    file.write_text("# comment\n\n a=1 \n\nb=2\n", encoding="utf-8")
    assert read_lines(str(file)) == ["a=1", "b=2"]


def test_dash_reads_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"m@example.com\nsecond\n")))
    assert one_value("-") == "m@example.com"
    assert read_lines("-") == ["second"]
