"""Generates the stubs beside the protos (`write`), or compares the committed ones with a fresh generation (`check`)."""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
PLUGINS = Path(sys.executable).parent


def generate(target: Path) -> dict[str, str]:
    """Run protoc into `target` and return every generated file by its path relative to it."""
    sources = sorted(str(p.relative_to(PROTOS)) for p in PROTOS.glob("sluss/v1/*.proto"))
    arguments = [
        "protoc",
        f"--proto_path={PROTOS}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--plugin=protoc-gen-mypy={PLUGINS / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={PLUGINS / 'protoc-gen-mypy_grpc'}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out={target}",
        f"--mypy_grpc_out={target}",
        *sources,
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed")
    return {
        str(p.relative_to(target)): p.read_text()
        for p in sorted(target.rglob("*_pb2*.py*"))
        if "__pycache__" not in p.parts
    }


def committed() -> dict[str, str]:
    """The stubs in the tree, by path relative to `protos/`."""
    return {str(p.relative_to(PROTOS)): p.read_text() for p in sorted(PROTOS.glob("sluss/v1/*_pb2*.py*"))}


def drift() -> list[str]:
    """Paths whose committed stub differs from a fresh one, is missing, or has no proto any more."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
    stored = committed()
    return sorted(path for path in fresh.keys() | stored.keys() if fresh.get(path) != stored.get(path))


def main() -> None:
    """Entry point of `make protos` and `make drift`."""
    if sys.argv[1:] == ["write"]:
        generate(PROTOS)
        return
    if sys.argv[1:] != ["check"]:
        raise SystemExit("usage: python -m tests.house.stubs write|check")
    changed = drift()
    if changed:
        raise SystemExit("stubs drift, run `make protos`: " + ", ".join(changed))
    sys.stdout.write("the stubs equal a fresh generation\n")


if __name__ == "__main__":
    main()
