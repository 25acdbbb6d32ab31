"""Every verb of the `sluss` command has its bad command lines in the tests."""

import typer
from sluss_cli import main

from tests.integration import bad_command_lines as lines

EVERY = dict(lines.verbs(typer.main.get_command(main.build())))
CLIENT = dict(lines.verbs(typer.main.get_command(main.build(plugins=""))))


def test_every_verb_has_a_table_of_bad_input():
    assert set(lines.LINES) | set(lines.SERVING) == set(CLIENT)
    assert not set(lines.LINES) & set(lines.SERVING)
    assert set(lines.OPERATOR) == set(EVERY) - set(CLIENT)
    assert all(lines.OPERATOR.values())


def test_every_argument_and_option_of_every_verb_is_attacked_by_its_type():
    for name in lines.LINES:
        verb = CLIENT[name]
        taking = {p.name for p in verb.params if p.name not in lines.SHARED and p.bare_type is not bool}
        attacked = {}
        for kind, parameter, _ in lines.attacks(name, verb):
            attacked.setdefault(parameter, set()).add(kind)
        assert taking <= set(attacked), name
        for parameter in verb.params:
            found = attacked.get(parameter.name, set())
            if parameter.bare_type is int:
                assert {"wrong type", "out of range below", "out of range above"} <= found, (name, parameter.name)
            if parameter.name in lines.READ:
                assert {"missing file", "empty file", "a device", "a pipe"} <= found, (name, parameter.name)
            if parameter.name in lines.ENUMS:
                assert "unknown" in found, (name, parameter.name)
            if parameter.required and parameter.name in taking:
                assert "left out" in found, (name, parameter.name)


def test_a_file_option_is_known_as_one():
    """Whatever names a file in its help is in one of the sets that decide how it is attacked."""
    sorted_out = lines.READ | lines.FOLDERS | lines.WRITTEN
    for name in lines.LINES:
        for parameter in CLIENT[name].params:
            if parameter.bare_type.__name__ == "Path" and parameter.name not in lines.SHARED:
                assert parameter.name in sorted_out, (name, parameter.name)
