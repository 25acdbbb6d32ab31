"""The mailing house.

python -m examples.mailing_house pull PROFILE LIST LETTERS CONTRACT
python -m examples.mailing_house write LIST LETTERS
python -m examples.mailing_house fulfil PROFILE LIST LETTERS [--once] [--days-ahead N]
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from examples.mailing_house.house import House, ListError
from examples.mailing_house.mailing_list import MailingList
from sluss_client import IntegrityError, SlussClientError, Subcontractor, TransportError
from sluss_client.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Exit(IntEnum):
    """How the program ends."""

    DONE = 0
    REFUSED = 3
    LATER = 4
    """The broker did not answer, or something of ours, such as a full disk: run it again, it goes on."""
    INTEGRITY = 5
    """What the broker sent does not prove itself: stop, and call the company."""
    STOPPED = 130


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mailing_house", description="Pulls a list, writes letters, fulfils.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in ("pull", "write", "fulfil"):
        verb = verbs.add_parser(name)
        if name != "write":
            verb.add_argument("profile", type=Path, help="our profile folder")
        verb.add_argument("list", type=Path, help="the SQLite file of the list")
        verb.add_argument("letters", type=Path, help="the folder of the letters")
        if name == "pull":
            verb.add_argument("contract", help="such as C-2026-0001")
        if name == "fulfil":
            verb.add_argument("--once", action="store_true", help="do what can be done now, and end")
            verb.add_argument("--days-ahead", type=int, default=0, help="delete so many days before the last day")
    return parser.parse_args(words)


def _run(given: argparse.Namespace) -> str:
    with MailingList(given.list) as people:
        house = House(people, given.letters)
        if given.verb == "write":
            return f"{house.write()} letters are written"
        with Subcontractor.from_profile(given.profile) as sluss:
            if given.verb == "pull":
                return f"{house.pull(sluss, given.contract)} persons are on the list"
            done = house.fulfil(sluss, once=given.once, days_ahead=given.days_ahead)
            return f"{done} obligations are fulfilled"


def main(words: Sequence[str]) -> int:
    """Runs one verb; the exit code."""
    given = _arguments(words)
    try:
        said, ends = _run(given), Exit.DONE
    except (TransportError, ProfileError, OSError, sqlite3.OperationalError) as error:
        said, ends = str(error), Exit.LATER
    except IntegrityError as error:
        said, ends = str(error), Exit.INTEGRITY
    except (SlussClientError, ListError) as error:
        said, ends = str(error), Exit.REFUSED
    except KeyboardInterrupt:
        said, ends = "stopped", Exit.STOPPED
    (sys.stderr if ends else sys.stdout).write(said + "\n")
    return ends


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
