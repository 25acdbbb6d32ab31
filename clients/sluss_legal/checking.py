"""The other side of a package: opens it, and proves that what is in it is what the ledger holds. Needs no broker.

1. every file has the digest that SHA256SUMS says
2. every part proves itself: receipt, entry, slices, under a key of the ledger
3. every slice opens with the package's key, or the authority's own
4. data.jsonl and data.csv, where they are, hold exactly what the slices hold, and release.json counts them
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from sluss.v1 import legal_pb2 as pb
from sluss_client.errors import IntegrityError, InvalidRequest, ReceiptInvalid, SliceInvalid
from sluss_client.watch import Expectation, verify_disclosure

from broker.errors import SlussError
from broker.ledger.checkpoint import Verifier
from broker.sealing import SUITE_XWING, Opener, RecipientPrivateKey
from broker.slice_terms import unbase64
from sluss_legal.data_files import csv_lines
from sluss_legal.releasing import Part, Person

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUMS = "SHA256SUMS"
_KEY = "proof/package.key"
_FACTS = {
    "v": int,
    "release": str,
    "case": str,
    "ground": str,
    "fields": dict,
    "retain_until": str,
    "key": str,
    "persons": int,
    "entries": list,
    "ledger": str,
    "ledger_keys": list,
}
_SECRET_SIZE = 32
_MOST_TIMES = 100
"""So many times its own size a package may be once it is unpacked: slices don't shrink."""
_AND_BYTES = 1 << 20


@dataclass(frozen=True)
class Checked:
    """A package that has proved itself.

    Attributes:
        facts: `release.json`.
        persons: what was released, by the slices themselves; empty where there was no key to open them.
        entries: the indexes of its entries.
        opened: whether there was a key to open them.
    """

    facts: dict[str, Any]
    persons: list[tuple[int, Person]]
    entries: list[int]
    opened: bool


def decrypt(content: bytes, passphrase: str) -> bytes:
    """The zip in an age file; InvalidRequest if the passphrase does not open it."""
    import pyrage  # noqa: PLC0415 - of the extra `legal`; a package sealed to a key needs none

    try:
        return bytes(pyrage.passphrase.decrypt(content, passphrase))
    except pyrage.DecryptError:
        raise InvalidRequest("the file does not open with this passphrase, or is no age file") from None


def check(content: bytes, ledger_keys: Sequence[str], key: RecipientPrivateKey | None = None) -> Checked:
    """Steps 1 to 4.

    Args:
        content: the zip.
        ledger_keys: the ledger's public keys as the company publishes them; those in the package prove nothing.
        key: the authority's own; None for the one in the package.

    Raises:
        InvalidRequest: it is no package.
        IntegrityError: it does not prove itself.
    """
    files = files_of(content)
    _check_sums(files)
    facts = _facts(files)
    try:
        return _check(files, facts, Verifier(ledger_keys), key)
    except SlussError as error:
        raise InvalidRequest(error.detail) from None


def files_of(content: bytes) -> dict[str, bytes]:
    """The files of a zip; InvalidRequest if it is none, holds a name twice, or swells beyond all measure."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MOST_TIMES * len(content) + _AND_BYTES:
                raise InvalidRequest("the zip holds far more than a package can")
            names = archive.namelist()
            files = {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        raise InvalidRequest("the file is no zip") from None
    if len(files) != len(names):
        raise InvalidRequest("the zip holds a name twice")
    return files


def facts_of(content: bytes) -> dict[str, Any]:
    """What `release.json` of a zip says, unproven; InvalidRequest if it is no package."""
    return _facts(files_of(content))


def _check_sums(files: dict[str, bytes]) -> None:
    """Step 1."""
    if SUMS not in files:
        raise InvalidRequest(f"the zip is no package: it has no {SUMS}")
    lines = [line.partition("  ") for line in files[SUMS].decode("utf-8", "replace").splitlines()]
    listed = {name: digest for digest, _, name in lines}
    found = {name: sha256(data).hexdigest() for name, data in files.items() if name != SUMS}
    if listed != found:
        wrong = sorted(name for name in listed.keys() | found.keys() if listed.get(name) != found.get(name))
        raise IntegrityError(f"not as {SUMS} says: {', '.join(wrong)}")


def _facts(files: dict[str, bytes]) -> dict[str, Any]:
    try:
        facts = json.loads(files["release.json"])
        if {name: type(value) for name, value in facts.items()} == _FACTS and facts["v"] == 1:
            texts = (*facts["fields"].values(), *facts["ledger_keys"])
            if all(isinstance(text, str) for text in texts) and all(type(n) is int for n in facts["entries"]):
                return dict(facts)
    except (KeyError, ValueError, AttributeError, RecursionError):
        pass
    raise InvalidRequest("the zip is no package of this version: release.json is not as it should be")


def _check(
    files: dict[str, bytes], facts: dict[str, Any], verifier: Verifier, key: RecipientPrivateKey | None
) -> Checked:
    parts = list(_parts(files, facts, verifier))
    _check_counts(facts, parts)
    key = key or _package_key(files)
    if key is None:
        return Checked(facts, [], [part.verified.index for part in parts], opened=False)
    opener = Opener([key], facts["case"])
    persons = [(part.verified.index, person) for part in parts for person in part.persons(opener)]
    if "data.jsonl" in files:
        _check_data(files["data.jsonl"], persons)
    if "data.csv" in files and files["data.csv"] != b"".join(csv_lines(facts["fields"], persons)):
        raise IntegrityError("data.csv does not hold what the slices hold")
    return Checked(facts, persons, [part.verified.index for part in parts], opened=True)


def _parts(files: dict[str, bytes], facts: dict[str, Any], verifier: Verifier) -> Iterator[Part]:
    """Step 2."""
    expected = Expectation(
        recipient=f"authority/{facts['case'].lower()}",
        key_ids={unbase64(facts["key"], _SECRET_SIZE)},
        contract=facts["case"],
        purpose=facts["ground"],
        fields=facts["fields"].keys(),
        type="release",
    )
    for sent in _sent(files.get("proof/parts.bin", b"")):
        opening = sent.opening if sent.HasField("opening") else None
        verified = verify_disclosure(sent.disclosure, expected, verifier, opening)
        if verified.terms.retain_until != facts["retain_until"] or not set(verified.terms.fields) <= set(
            facts["fields"].items()
        ):
            raise ReceiptInvalid("an entry says something else than release.json")
        if len(sent.person_ids) != len(sent.disclosure.slices):
            raise SliceInvalid("a slice is of nobody")
        yield Part(sent, verified)


def _sent(data: bytes) -> Iterator[pb.ReleasedPart]:
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        try:
            yield pb.ReleasedPart.FromString(data[at + 4 : end])
        except DecodeError:
            raise IntegrityError("proof/parts.bin is not whole") from None
        at = end


def _package_key(files: dict[str, bytes]) -> RecipientPrivateKey | None:
    """Step 3, for a package with a passphrase."""
    if _KEY not in files:
        return None
    return RecipientPrivateKey(SUITE_XWING, unbase64(files[_KEY].decode("ascii", "replace").strip(), _SECRET_SIZE))


def _check_counts(facts: dict[str, Any], parts: list[Part]) -> None:
    """Step 4: nobody twice, and as many entries and persons as release.json says."""
    persons = [person for part in parts for person in part.sent.person_ids]
    if len(set(persons)) != len(persons):
        raise SliceInvalid("a person stands in the package twice")
    if (sorted(part.verified.index for part in parts), len(persons)) != (facts["entries"], facts["persons"]):
        raise IntegrityError("the package holds other entries or persons than release.json says")


def _check_data(data: bytes, persons: list[tuple[int, Person]]) -> None:
    """Step 4."""
    held = [{"person": p.person_id, "entry": index, "values": p.values} for index, p in persons]
    try:
        shown = [json.loads(line) for line in data.splitlines()]
    except ValueError:
        shown = []
    if shown != held:
        raise IntegrityError("data.jsonl does not hold what the slices hold")
