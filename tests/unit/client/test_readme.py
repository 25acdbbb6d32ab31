"""The README of the clients runs as it stands, and the SDK pulls in no server."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
README = ROOT / "clients" / "README.md"


def snippets(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


SNIPPETS = snippets(README)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_snippets_run(number, sluss, broker, profile, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    code = SNIPPETS[number].replace("/etc/sluss/acme-pay", str(profile.folder))
    exec(compile(code, str(README), "exec"), {"handles": [broker.handles[1], b"\7" * 16]})
    assert "@" not in capsys.readouterr().out


def test_the_sdk_imports_no_server():
    program = (
        "import sys, sluss_client\n"
        "found = {'sqlalchemy', 'sqlmodel', 'alembic', 'pydantic', 'typer', 'rich'} & set(sys.modules)\n"
        "print(sorted(found))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
