"""What the mailing house does: pull the list, write the letters, fulfil what it owes for the list."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from examples.mailing_house.letters import FIELDS, letter
from sluss_client.errors import Aborted
from sluss_client.files import SECRET, sync_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from pathlib import Path

    from examples.mailing_house.mailing_list import MailingList, Pull
    from sluss_client import Obligation, OpenedPerson, Subcontractor

PURPOSE: Final = "offers"
CHUNK: Final = 256
"""Persons per chunk, each of which is one transaction of the list."""
FRESH_S: Final = 86_400.0
"""How old a list may be for letters to be written: who has said no meanwhile is on it."""


class ListError(Exception):
    """The list can't be used for this."""


class House:
    """The mailing house with one list.

    Args:
        people: the list.
        letters: the folder of the letters, `<handle>.txt`, until they are sent.
    """

    def __init__(self, people: MailingList, letters: Path) -> None:
        self._people = people
        self._letters = letters

    def pull(self, sluss: Subcontractor, contract: str) -> int:
        """Get everybody who may be written to; goes on where a pull that was broken off stands. Gives how many.

        Raises:
            ListError: the list is of another contract.
            SlussClientError: as `Subcontractor.bulk`; call again to go on.
        """
        with self._people.alone():
            pull = self._people.pull()
            if pull is not None and pull.contract != contract:
                raise ListError(f"this list is of {pull.contract}")
            if pull is None or pull.finished:
                # The letters of the list before are as old as it is.
                self._unwrite(path.stem for path in self._letters.glob("*.txt"))
                pull = self._people.begin(contract)
            self._follow(sluss, pull)
            self._people.finish(pull)
        return sum(1 for _ in self._people.persons(_today()))

    def _follow(self, sluss: Subcontractor, pull: Pull) -> None:
        stuck = None
        while True:
            try:
                self._take(sluss, pull)
            except Aborted:
                # A chunk that was on its way when we were killed or cut off, of persons who have changed since.
                pull = self._people.ask_anew() or pull
                if pull.cursor == stuck:
                    raise
                stuck = pull.cursor
            else:
                return

    def _take(self, sluss: Subcontractor, pull: Pull) -> None:
        chunks = sluss.bulk(
            pull.contract,
            PURPOSE,
            FIELDS,
            resume=pull.cursor or None,
            request_id=pull.request_id,
            chunk_size=CHUNK,
        )
        for chunk in chunks:
            self._people.take(pull, chunk.persons, chunk.cursor)

    def write(self) -> int:
        """Write a letter to everybody who can be reached in a way that they do not mind; gives how many.

        Raises:
            ListError: there is no whole list of the last 24 hours.
        """
        with self._people.alone():
            pull = self._people.pull()
            if pull is None or time.time() - pull.finished > FRESH_S:
                raise ListError("there is no whole list of the last 24 hours: pull")
            self._letters.mkdir(mode=0o700, parents=True, exist_ok=True)
            written = 0
            for handle, values in self._people.persons(_today()):
                found = letter(values)
                if found is not None:
                    write_atomic(self._letters / f"{handle}.txt", str(found).encode(), SECRET)
                    written += 1
            return written

    def fulfil(self, sluss: Subcontractor, *, once: bool = False, days_ahead: int = 0) -> int:
        """Do what we owe and attest it, for good or once; gives how many obligations were fulfilled.

        Each step can be done twice. Letters go before values: killed in between, we still know whose letters they are.
        """

        def delete(obligation: Obligation) -> None:
            self._check(obligation)
            until, last = obligation.until.isoformat(), obligation.last_entry
            with self._people.alone():
                self._unwrite(self._people.due(until, last))
                self._people.delete_due(until, last)

        def correct(obligation: Obligation) -> str:
            self._check(obligation)
            with self._people.alone():
                self._unwrite([obligation.handle])
                if not self._people.holds(obligation.handle):
                    return "never_held_any_more"
                person = _fetch(sluss, obligation)
                self._people.replace(obligation.handle, obligation.fields, person)
            # Corrected is said only of what came anew; the rest is not kept.
            came = person is not None and set(obligation.fields) <= person.values.keys()
            return "corrected" if came else "deleted"

        def erase(obligation: Obligation) -> None:
            self._check(obligation)
            with self._people.alone():
                self._unwrite([obligation.handle])
                self._people.erase(obligation.handle)

        return sluss.fulfil(on_delete=delete, on_correct=correct, on_erase=erase, once=once, days_ahead=days_ahead)

    def _check(self, obligation: Obligation) -> None:
        """Never attest for a list that is not this one: what raises is not attested."""
        pull = self._people.pull()
        if pull is None or pull.contract != obligation.contract:
            raise ListError("an obligation under another contract")

    def _unwrite(self, handles: Iterable[str]) -> None:
        for handle in list(handles):
            (self._letters / f"{handle}.txt").unlink(missing_ok=True)
        if self._letters.is_dir():
            # What is attested to be gone does not come back with a power cut.
            sync_folder(self._letters)


def _fetch(sluss: Subcontractor, obligation: Obligation) -> OpenedPerson | None:
    """The right values, by an ordinary disclosure; None if the person may not be written to any more."""
    if obligation.instruction != "fetch_and_replace":
        return None
    (found,) = sluss.disclose(obligation.contract, PURPOSE, obligation.fields, [obligation.handle])
    return found if found.available else None


def _today() -> date:
    return datetime.now(UTC).date()
