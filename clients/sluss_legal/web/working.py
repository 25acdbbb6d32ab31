"""The work of a release, as it runs in its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluss.v1 import legal_pb2 as pb

    from sluss_legal.web.jobs import Job
    from sluss_legal.web.lines import Line


def release_work(line: Line, case: pb.Case, language: str) -> Callable[[Job], None]:
    """What a job has to do to release a case.

    Args:
        line: of whoever releases.
        case: as it stands.
        language: of the cover sheet.
    """

    def work(job: Job) -> None:
        raise NotImplementedError(line, case, language, job)

    return work
