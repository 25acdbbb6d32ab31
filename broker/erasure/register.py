r"""Who has been erased, kept beside the key rings: so that no backup of the database brings anybody back.

    {"entry": 812, "person": "P-04CVZ6HGRM5PX"}\n      a line per erasure, appended; mode 0600

The rings never go into a backup of the database, and neither does this file. A database that was restored from a backup
knows nothing of the erasures since; this file does, and a broker whose database shows one of these persons as being on
record does not start (`require_applied`), before `sluss restore` has erased them again. Person ids are no values of a
person, and lead nowhere once the person is erased.

A line is on the disk before the erasure counts as done. What a crash leaves of a line is cut off by the next writer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import orjson
from sqlalchemy import bindparam, select

from broker.errors import Reason, SlussError
from broker.ids import parse_person, person_text
from broker.keys.secret_file import refuse_wide, sole_writer
from broker.persons.model import ERASED_STATE
from broker.store.driver import parts
from broker.store.queries import PERSON

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy import Connection


class Erased(NamedTuple):
    """An erasure: the index of its entry, and the person."""

    entry: int
    person: int


class ErasureRegister:
    """The file at `path`; made by the first erasure. Several processes may write to it.

    Raises:
        SlussError: KEYS_UNAVAILABLE, by every method, if it can't be read or written, is malformed, or can be opened by
            others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[Erased]:
        """Every erasure, oldest first."""
        return [_parse(line) for line in self._lines()[0]]

    def add(self, erased: Iterable[Erased]) -> None:
        """Note erasures, once each; they are on the disk on return."""
        with sole_writer(self._path):
            lines, whole = self._lines()
            known = {_parse(line) for line in lines}
            fresh = [each for each in erased if each not in known]
            if fresh:
                self._append(whole, b"".join(map(_format, fresh)))

    def _lines(self) -> tuple[list[bytes], int]:
        """The whole lines, and how many bytes they are."""
        try:
            with self._path.open("rb") as file:
                refuse_wide(self._path, os.fstat(file.fileno()))
                content = file.read()
        except FileNotFoundError:
            return [], 0
        except OSError:
            raise _unavailable("can't be read") from None
        whole = content[: content.rfind(b"\n") + 1]
        return whole.splitlines(), len(whole)

    def _append(self, whole: int, added: bytes) -> None:
        try:
            fresh = not self._path.exists()
            handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                os.ftruncate(handle, whole)
                os.lseek(handle, whole, os.SEEK_SET)
                rest = memoryview(added)
                while rest:
                    # A disk that is almost full takes a part without a word.
                    rest = rest[os.write(handle, rest) :]
                os.fsync(handle)
            finally:
                os.close(handle)
            if fresh:
                folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError:
            raise _unavailable("can't be written") from None


def come_back(connection: Connection, register: ErasureRegister) -> list[Erased]:
    """Those of the register whom the database has on record again.

    Raises:
        SlussError: KEYS_UNAVAILABLE.
    """
    erased = {each.person: each for each in register.all()}
    query = select(PERSON.c.id).where(PERSON.c.id.in_(bindparam("ids", expanding=True)), PERSON.c.state != ERASED_STATE)
    found: list[Erased] = []
    for ids in parts(sorted(erased)):
        found += [erased[person] for person in connection.execute(query, {"ids": ids}).scalars()]
    return sorted(found)


def require_applied(connection: Connection, register: ErasureRegister) -> None:
    """Refuse a database that is older than an erasure.

    Raises:
        SlussError: LEDGER_INCONSISTENT, KEYS_UNAVAILABLE.
    """
    count = len(come_back(connection, register))
    if count:
        told = f"{count} persons who were erased are on record again: the database comes from an older backup"
        raise SlussError(Reason.LEDGER_INCONSISTENT, f"{told}; run sluss restore --erase-again", persons=str(count))


def _format(erased: Erased) -> bytes:
    told = {"entry": erased.entry, "person": person_text(erased.person)}
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _parse(line: bytes) -> Erased:
    try:
        told = orjson.loads(line)
        if told.keys() != {"entry", "person"} or type(told["entry"]) is not int:
            raise ValueError  # noqa: TRY301 - one way out for every fault
        return Erased(told["entry"], parse_person(told["person"]))
    except (ValueError, AttributeError, TypeError, SlussError):
        raise _unavailable("is malformed") from None


def _unavailable(what: str) -> SlussError:
    return SlussError(Reason.KEYS_UNAVAILABLE, f"the register of erasures {what}")
