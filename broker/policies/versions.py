"""Publishing versions and showing them. Nothing that was published changes: languages can be added, and that is all.

The founding version comes with the first catalogue; every further one is published here. What a version says and when
it takes effect stands in the ledger, and rows that say otherwise are refused when rights are loaded (rights.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select, update

from broker.errors import Reason, SlussError, invalid
from broker.ledger import entry
from broker.ledger.entry import base64url
from broker.ledger.standing import differs
from broker.policies import notices
from broker.policies.model import FURTHEST_US, Standing, Text, Version, best, check_version, digest, merged
from broker.store import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from broker.desk import Change, View
    from broker.policies.model import Publication

POLICY: Final = tables.core(tables.PolicyVersion)
TEXT: Final = tables.core(tables.PolicyText)
ENTRY: Final = tables.core(tables.LedgerEntry)


def publish(change: Change, asked: Publication) -> tuple[Standing, int]:
    """Publish a version, or add languages to one; as it then stands, and the index of the entry with its digest.

    Raises:
        SlussError: POLICY_EXISTS where what is on record would change; INVALID_REQUEST.
    """
    # 1. what is on record already
    known = change.snapshot.versions.get(asked.version)
    before = read_texts(change.connection, change.snapshot.versions, asked.version) if known else {}
    # 2. when it takes effect, and what it says
    effective_at = _effective(change, asked, known)
    texts = merged(asked.version, before, asked.texts)
    if not texts:
        raise invalid("texts", "at least one is needed")
    if asked.notify and not all(text.changes for text in texts.values()):
        raise invalid("texts.changes", "say in each language what has changed: everybody is told of it")
    # 3. only what is new is written
    if known is None or texts != before:
        index = _write(change, asked.version, effective_at, texts, before, is_new=known is None)
    else:
        index = _last_entry(change.connection, asked.version)
    if asked.notify:
        notices.begin(change, asked.version)
    version = Version(asked.version, effective_at, base64url(digest(asked.version, texts.values())))
    in_force = (known is None and effective_at == change.now_us) or (
        known is not None and change.snapshot.policy(change.now_us) == asked.version
    )
    return Standing(version, tuple(sorted(texts)), in_force), index


def list_all(view: View) -> list[Standing]:
    """Every version, in the order in which they take effect."""
    rows = view.connection.execute(select(TEXT.c.version, TEXT.c.language).order_by(TEXT.c.language))
    languages: dict[str, list[str]] = {}
    for row in rows:
        languages.setdefault(row.version, []).append(row.language)
    now = view.snapshot.policy(view.now_us)
    return [
        Standing(view.snapshot.versions[name], tuple(languages.get(name, ())), name == now)
        for _, name in view.snapshot.policies
    ]


def show(view: View, version: str, language: str) -> tuple[Standing, Text]:
    """A version, empty for the one in force, with its text in the language wanted, or the best there is.

    Raises:
        SlussError: POLICY_UNKNOWN for a version that is not there, or has no text yet; INVALID_REQUEST.
    """
    now = view.snapshot.policy(view.now_us)
    name = check_version(version) if version else now
    texts = read_texts(view.connection, view.snapshot.versions, name)
    if not texts:
        detail = "the policy version has no text yet" if name in view.snapshot.versions else ""
        raise SlussError(Reason.POLICY_UNKNOWN, detail, version=name)
    return Standing(view.snapshot.versions[name], tuple(sorted(texts)), name == now), best(texts, language)


def read_texts(connection: Connection, versions: Mapping[str, Version], version: str) -> dict[str, Text]:
    """The texts of a version by language: those whose digest the ledger has, or none.

    Raises:
        SlussError: LEDGER_INCONSISTENT for texts that somebody changed, added or took away.
    """
    rows = connection.execute(select(TEXT).where(TEXT.c.version == version).order_by(TEXT.c.language)).all()
    texts = {row.language: Text(row.language, row.text, row.changes) for row in rows}
    known = versions.get(version)
    if texts and (known is None or known.sha256 != base64url(digest(version, texts.values()))):
        raise differs("policy's text", version=version)
    return texts


def _effective(change: Change, asked: Publication, known: Version | None) -> int:
    """When the version takes effect: for one on record, as it was said; never before now.

    Raises:
        SlussError: POLICY_EXISTS, INVALID_REQUEST.
    """
    if known is not None:
        if asked.effective_at not in (0, known.effective_at):
            raise SlussError(
                Reason.POLICY_EXISTS, "the policy version is on record with another time", version=known.id
            )
        return known.effective_at
    at = asked.effective_at or change.now_us
    if at < change.now_us:
        raise _wrong_time("in the past, where the ledger says already which version was in force")
    if at > change.now_us + FURTHEST_US:
        raise _wrong_time("more than 5 years ahead")
    if at in {each.effective_at for each in change.snapshot.versions.values()}:
        raise _wrong_time("another version takes effect at the same moment")
    return at


def _wrong_time(why: str) -> SlussError:
    return invalid("effective", why)


def _write(
    change: Change,
    version: str,
    effective_at: int,
    texts: Mapping[str, Text],
    before: Mapping[str, Text],
    *,
    is_new: bool,
) -> int:
    sha256 = digest(version, texts.values())
    if is_new:
        change.connection.execute(insert(POLICY).values(id=version, effective_at=effective_at, digest=sha256))
    else:
        change.connection.execute(update(POLICY).where(POLICY.c.id == version).values(digest=sha256))
    added = [
        {"version": version, "language": each.language, "text": each.text, "changes": each.changes}
        for each in texts.values()
        if each.language not in before
    ]
    change.connection.execute(insert(TEXT), added)
    change.tx.bump_rights()
    return change.tx.append(entry.policy(change.tx.at, version, effective_at, sha256, change.principal.name))


def _last_entry(connection: Connection, version: str) -> int:
    """The index of the entry that has the version's digest."""
    rows = connection.execute(
        select(ENTRY.c.id, ENTRY.c.entry).where(ENTRY.c.type == "policy").order_by(ENTRY.c.id.desc())
    )
    return next(int(row.id) for row in rows if entry.parse(bytes(row.entry))["version"] == version)
