"""What an authority gets: a zip with the data, their proofs and a cover sheet, in an age file that a passphrase opens.

Or, sealed to the authority's own key, the same zip with the slices as they came:

    README.txt             what this is, how to open and how to check it
    cover.pdf              what, why, under which instrument
    data.csv               to look at: no cell is a formula
    data.jsonl             the values exactly as they were released, one person a line
    release.json           what the release is about, for programs
    proof/receipts.jsonl   per entry: the entry, its receipt, and what opens it if it is hidden
    proof/parts.bin        what came: u32 length (big-endian) and a sluss.v1.ReleasedPart each
    proof/package.key      the private key (X-Wing seed, base64url) that the parts are sealed to
    SHA256SUMS             of all the others

Sealed to the authority's key there is no data.csv, data.jsonl and package.key. The same release gives the same zip,
byte by byte; an age file differs each time, as does its passphrase. It is built in memory.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyrage
from sluss_client.errors import InvalidRequest

from broker.slice_terms import base64url
from sluss_legal import words
from sluss_legal.data_files import csv_lines, json_line, json_lines
from sluss_legal.documents import cover
from sluss_legal.documents.cover import Cover
from sluss_legal.documents.model import plain
from sluss_legal.documents.pdf import pdf
from sluss_legal.passphrases import make_passphrase
from sluss_legal.tongue import tongue_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sluss_legal.releasing import Part, Person, Release

VERSION = 1
_README = Path(__file__).parent / "documents" / "templates"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o600 << 16


@dataclass(frozen=True)
class Package:
    """A package, ready to be handed over.

    Attributes:
        name: a file name for it.
        content: its bytes.
        passphrase: what opens it, to be told by another way; empty when it is sealed to the authority's key.
        cover: what its cover sheet says.
    """

    name: str
    content: bytes
    passphrase: str
    cover: Cover


def build(release: Release, language: str) -> Package:
    """Opens a release and makes its package; it takes a second or so, by which age makes guessing slow.

    Args:
        release: come to its end.
        language: of cover sheet and README, `sv` or `en`.

    Raises:
        InvalidRequest, IntegrityError: as `archive`.
    """
    content, about = archive(release, language)
    name = f"{release.case.case_id}.zip"
    if release.file.under.key is None:
        return Package(name, content, "", about)
    passphrase = make_passphrase()
    return Package(f"{name}.age", pyrage.passphrase.encrypt(content, passphrase), passphrase, about)


def archive(release: Release, language: str) -> tuple[bytes, Cover]:
    """The zip, and what its cover sheet says.

    Raises:
        InvalidRequest: nobody in the scope was available, so there is nothing to hand over.
        IntegrityError: what is on disk does not prove itself, or does not open.
    """
    about = _cover(release)
    return _zip(_members(release, about, language)), about


def _cover(release: Release) -> Cover:
    indexes, persons, last = [], 0, None
    for part in release.parts():
        indexes.append(part.verified.index)
        persons += len(part.sent.person_ids)
        last = part.verified
    if last is None:
        raise InvalidRequest("nobody in the scope was available: nothing was released, and no package is made")
    key = release.case.delivery.key.public_key
    return Cover(
        case=release.case,
        number=f"{release.case.case_id}/{indexes[0]}",
        released_by=release.profile.principal,
        persons=persons,
        indexes=sorted(indexes),
        policy=last.terms.policy,
        checkpoint=last.checkpoint,
        sealed_to=sha256(key).hexdigest() if key else "",
        made=datetime.fromisoformat(last.terms.issued),
    )


def _members(release: Release, about: Cover, language: str) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Names and contents, in the order of the zip."""
    key = release.file.under.key
    yield "README.txt", [_readme(about, language, sealed=key is None)]
    yield "cover.pdf", [pdf(cover.document(about, tongue_of(language)), about.made)]
    if key is not None:
        yield "data.csv", csv_lines((granted.field for granted in release.case.scope.fields), _rows(release))
        yield "data.jsonl", json_lines(_rows(release))
    yield "release.json", [json.dumps(_facts(release, about), ensure_ascii=False, indent=2).encode()]
    yield "proof/receipts.jsonl", (json_line(_receipt(part)) for part in release.parts())
    yield "proof/parts.bin", (_framed(part.sent.SerializeToString()) for part in release.parts())
    if key is not None:
        yield "proof/package.key", [base64url(key.data).encode() + b"\n"]


def _rows(release: Release) -> Iterator[tuple[int, Person]]:
    """Entry and person."""
    opener = release.opener()
    assert opener is not None, "asked of packages only"
    for part in release.parts():
        for person in part.persons(opener):
            yield part.verified.index, person


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _facts(release: Release, about: Cover) -> dict[str, Any]:
    case, profile = release.case, release.profile
    key = release.file.under.key
    return {
        "v": VERSION,
        "release": about.number,
        "case": case.case_id,
        "ground": words.PURPOSES.get(case.ground, ""),
        "fields": {granted.field: granted.transform for granted in case.scope.fields},
        "retain_until": case.delivery.retain_until,
        "key": base64url(key.public().id) if key else base64url(sha256(case.delivery.key.public_key).digest()),
        "persons": about.persons,
        "entries": list(about.indexes),
        "ledger": profile.origin,
        "ledger_keys": list(profile.ledger_keys),
    }


def _receipt(part: Part) -> dict[str, Any]:
    sent = part.sent
    found: dict[str, Any] = {
        "index": part.verified.index,
        "entry": sent.disclosure.entry.decode(),
        "receipt": sent.disclosure.receipt,
    }
    if sent.HasField("opening"):
        found |= {"sealed_entry": sent.opening.sealed_entry.decode(), "salt": sent.opening.salt.hex()}
    return found


def _readme(about: Cover, language: str, *, sealed: bool) -> bytes:
    kind, tongue = "sealed" if sealed else "package", tongue_of(language).language
    text = (_README / f"readme-{kind}.{tongue}.txt").read_text(encoding="utf-8")
    values = {
        "number": about.number,
        "case": about.case.case_id,
        "recipient": plain(about.case.requester.name),
        "origin": about.checkpoint.origin,
        "key": about.sealed_to,
        "retain_until": about.case.delivery.retain_until,
    }
    return text.format(**values).replace("\n", "\r\n").encode()


def _zip(members: Iterable[tuple[str, Iterable[bytes]]]) -> bytes:
    """Without times and owners; the sums of all others come last."""
    out, sums = io.BytesIO(), []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            sums.append(f"{_add(made, name, content)}  {name}\n")
        _add(made, "SHA256SUMS", [line.encode() for line in sums])
    return out.getvalue()


def _add(made: zipfile.ZipFile, name: str, content: Iterable[bytes]) -> str:
    """Writes a member, gives its SHA-256 in hexadecimal."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, _MODE
    info.create_system = 3
    digest = sha256()
    with made.open(info, "w", force_zip64=True) as member:
        for data in content:
            digest.update(data)
            member.write(data)
    return digest.hexdigest()
