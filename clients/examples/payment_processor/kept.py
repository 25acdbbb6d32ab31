"""What the processor keeps: disclosures, sealed as they came, and their receipts, which outlive them.

    FOLDER/sealed/C-2026-0001/h_.../<payment>.<retain until>.<entry>.sealed    until it is to be deleted
    FOLDER/receipts/<payment>.<entry>.json                                    for good; no personal data

No readable value is ever on the disk: a sealed file opens with a key of the profile alone.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from sluss.v1 import disclosure_pb2
from sluss_client.files import SECRET, locked, sync_folder, write_atomic

from broker.errors import SlussError
from broker.ledger import entry as entries
from broker.ledger.receipt import verify_receipt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sluss_client import OpenedPerson, Profile

    from broker.ledger.checkpoint import Verifier


@dataclass(frozen=True)
class Sealed:
    """A sealed disclosure on the disk.

    Attributes:
        path: where.
        payment: for which payment it was; an obligation's id, if it came to correct others.
        retain_until: the day by which it is to be deleted, `YYYY-MM-DD`.
        entry: its entry in the ledger.
    """

    path: Path
    payment: str
    retain_until: str
    entry: int

    @classmethod
    def at(cls, path: Path) -> Sealed:
        """As the name of its file says."""
        payment, retain_until, entry, _ = path.name.split(".")
        return cls(path, payment, retain_until, int(entry))


class Kept:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self._lock = folder / "lock"
        self._sealed = folder / "sealed"
        self._receipts = folder / "receipts"
        for each in (self._sealed, self._receipts):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)

    def alone(self) -> AbstractContextManager[None]:
        """Hold the folder among processes: nobody is erased from it while their disclosure is on its way in."""
        return locked(self._lock)

    def keep(self, payment: str, person: OpenedPerson) -> Path:
        """Keep a person's disclosure and its receipt, durable on return; gives the sealed file."""
        terms = person.terms
        folder = self._sealed / terms.contract / person.handle
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{payment}.{terms.retain_until}.{person.entry_index}.sealed"
        write_atomic(folder / name, person.sealed, SECRET)
        sync_folder(folder.parent)
        sync_folder(self._sealed)
        self._prove(Sealed.at(folder / name))
        return folder / name

    def find(self, payment: str) -> Sealed | None:
        """What is kept sealed for a payment; its receipt is kept, too."""
        found = next(map(Sealed.at, self._sealed.glob(f"*/*/{payment}.*.sealed")), None)
        if found is not None:
            self._prove(found)
        return found

    def is_known(self, payment: str) -> bool:
        """Whether there is a receipt for a payment."""
        return any(self._receipts.glob(f"{payment}.*.json"))

    def of_person(self, contract: str, handle: str) -> list[Sealed]:
        """What is kept sealed of a person."""
        return [Sealed.at(path) for path in (self._sealed / contract / handle).glob("*.sealed")]

    def due(self, contract: str, until: str, last_entry: int) -> list[Sealed]:
        """What a day is the last one of, up to an entry."""
        found = map(Sealed.at, (self._sealed / contract).glob("*/*.sealed"))
        return [each for each in found if each.retain_until <= until and each.entry <= last_entry]

    def delete(self, gone: Iterable[Sealed]) -> None:
        """Delete sealed disclosures; durable on return. Their receipts stay."""
        for each in gone:
            with suppress(DecodeError, ValueError):  # what can't be read proves nothing, and goes
                self._prove(each)
            each.path.unlink(missing_ok=True)
            sync_folder(each.path.parent)
            if not any(each.path.parent.iterdir()):
                # The last one: the handle goes too.
                each.path.parent.rmdir()
                sync_folder(each.path.parent.parent)

    def _prove(self, sealed: Sealed) -> None:
        """Keep the receipt of a sealed disclosure, unless it is there: we may have been killed between the two."""
        path = self._receipts / f"{sealed.payment}.{sealed.entry}.json"
        if path.exists():
            return
        message = disclosure_pb2.Disclosure.FromString(sealed.path.read_bytes())
        proof = {"entry": message.entry.decode(), "receipt": message.receipt}
        write_atomic(path, json.dumps(proof).encode(), SECRET)

    def verify(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """Check every receipt without a call: its name, and what is wrong; empty if nothing is."""
        verifier = profile.verifier()
        for path in sorted(self._receipts.glob("*.json")):
            yield path.stem, _wrong(path.read_bytes(), verifier, profile.principal)


def _wrong(proof: bytes, verifier: Verifier, recipient: str) -> str:
    try:
        found = json.loads(proof)
        entry = found["entry"].encode()
        verify_receipt(found["receipt"], entry, verifier)
        said = entries.parse(entry)
        ours = said["type"] == "disclosure" and said["terms"]["recipient"] == recipient
    except SlussError as error:
        return error.detail
    except (ValueError, KeyError, TypeError, AttributeError):
        return "not a proof"
    return "" if ours else "no disclosure to us"
