"""`sluss legal document`: the instrument and other papers of a case."""

import mimetypes
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer
from sluss.v1 import legal_pb2 as pb

from sluss_cli.exits import Exit
from sluss_cli.given_file import read_bytes
from sluss_cli.legal.asking import CaseId
from sluss_cli.legal.case_text import file_document
from sluss_cli.problems import Problem, usage
from sluss_cli.row_file import write_private
from sluss_cli.session import DEADLINE_S, Session
from sluss_cli.verb import group, verb

app = group("The documents of a case: add, get.")

MAX_BYTES = 16 * 1024 * 1024
"""Of one document."""
_UNKNOWN = "application/octet-stream"


@verb(
    app,
    "add",
    examples=(
        "sluss legal document add L-2026-0001 order.pdf",
        "sluss legal document add L-2026-0001 scan.bin --media-type image/tiff",
    ),
)
def add(
    session: Session,
    case: CaseId,
    file: Annotated[Path, typer.Argument(help="The document, up to 16 MiB.", metavar="FILE")],
    *,
    media_type: Annotated[str, typer.Option(help="What it is; default: by its name.", metavar="TYPE")] = "",
) -> None:
    """Add a document; it is stored encrypted, and its digest stands in the ledger."""
    content = read_bytes(file, MAX_BYTES)
    if not content:
        raise usage("the file is empty", file=str(file))
    request = pb.AddDocumentRequest(
        case_id=case,
        name=file.name,
        media_type=media_type or mimetypes.guess_type(file.name)[0] or _UNKNOWN,
        content=content,
    )
    document = session.legal.AddDocument(request, timeout=DEADLINE_S).document
    if document.sha256 != sha256(content).digest():
        raise Problem(Exit.INTEGRITY, "DIGEST", "the broker has stored something else than was sent")
    session.output.result({"document": file_document(document)})
    session.output.line(f"Document {document.number} of {case}, ledger entry {document.entry_index}.")
    session.output.line(f"SHA-256: {document.sha256.hex()}")


@verb(
    app,
    "get",
    examples=("sluss legal document get L-2026-0001 1", "sluss legal document get L-2026-0001 1 --out order.pdf"),
)
def get(
    session: Session,
    case: CaseId,
    number: Annotated[int, typer.Argument(help="Its number.", min=1, metavar="NUMBER")],
    *,
    out: Annotated[Path | None, typer.Option(help="Write it here; default: its own name.", metavar="FILE")] = None,
) -> None:
    """Fetch a document, and check it against the digest in the ledger."""
    request = pb.GetDocumentRequest(case_id=case, number=number)
    reply = session.legal.GetDocument(request, timeout=DEADLINE_S)
    document = reply.document
    if sha256(reply.content).digest() != document.sha256:
        raise Problem(Exit.INTEGRITY, "DIGEST", "the document is not the one whose digest is in the ledger")
    path = out or Path(_file_name(document.name))
    if out is None and path.exists():
        raise usage("there is a file of this name here already: name another with --out", file=str(path))
    write_private(path, reply.content)
    session.output.result({"document": file_document(document), "file": str(path)})
    session.output.line(f"Wrote {path}, {document.size} bytes, SHA-256 {document.sha256.hex()}.")


def _file_name(name: str) -> str:
    """The name as a file of this folder: whoever uploaded it can't choose another place."""
    plain = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in name).lstrip(".")
    return plain or "document"
