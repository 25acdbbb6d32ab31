"""How the console releases: as the command does, with the state in the user's own profile folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluss_legal.package import build
from sluss_legal.releasing import check_releasable, open_file, release

if TYPE_CHECKING:
    from pathlib import Path

    from sluss.v1 import legal_pb2 as pb
    from sluss_client.profile import Profile

    from sluss_legal.web.jobs import Job
    from sluss_legal.web.lines import Line

FOLDER = "releases"
"""In the profile folder: the releases that have not been handed over yet."""


def state_path(profile: Profile, case: str) -> Path:
    """Where a case's release is kept until it has been handed over."""
    return profile.folder / FOLDER / f"{case}.release"


def console_releaser(line: Line, case: pb.Case, language: str, job: Job) -> None:
    """Releases a case, and fills the job: progress, package, passphrase. Goes on where an earlier job stopped.

    The state is forgotten with the package and the passphrase taken; until then a new job makes the package again,
    with a new passphrase and no new entry in the ledger.
    """
    check_releasable(case)
    path = state_path(line.profile, case.case_id)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with open_file(path, case) as file:
        released = release(line.legal, line.profile, case, file, job.moved)
        made = build(released, language)
    job.forget = lambda: path.unlink(missing_ok=True)
    job.sealed_with_passphrase = bool(made.passphrase)
    job.package, job.name, job.passphrase = made.content, made.name, made.passphrase
