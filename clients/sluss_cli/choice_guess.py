"""A first mapping for a preference list, by headers and words in Swedish and English. A person reviews it. Pure.

Nothing is decided that might mean the opposite: a header that may turn a yes round, such as a block, is told and not
mapped, and what only a person knows stands as a question mark, which no import takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broker.intake.convert import day_reader
from broker.intake.guess import field_named, plain
from broker.intake.mapping import DATE_FORMATS
from sluss_cli.choice_mapping import KEYS, UNKNOWN, Column, ListMapping
from sluss_cli.problems import usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.catalogue import Catalogue

_HEADERS: Final = {
    "person": "person personid",
    "purpose": "purpose andamal syfte intresse kategori category topic amne lista list utskick",
    "channels": "channel channels kanal kanaler kontaktvag kontaktsatt",
    "state": "state choice val samtycke samtycker consent optin permission tillatelse medgivande godkannande svar",
    "medium": "medium media hur via satt insamlatvia",
    "source": "source kalla system formular ursprung",
    "evidence": "evidence bevis underlag referens reference",
    "chosen_at": """chosenat chosen date datum tid tidpunkt tidsstampel timestamp datumtid datumochtid andrad changed
        updated samtyckesdatum valdatum registrerad""",
}
_FIELDS: Final = {"customer_number": "customer_number", "email": "email", "phone": "phone", "mobile": "phone"}
_NAMED: Final = {word: column for column, words in _HEADERS.items() for word in words.split()}
_REVERSED: Final = (
    "optout unsubscribed unsubscribe blocked sparr sparrad reklamsparr avregistrerad avanmald avbojer avbojt nejtack"
)
_PAIRS: Final = (
    ("ja", "nej"),
    ("yes", "no"),
    ("j", "n"),
    ("y", "n"),
    ("true", "false"),
    ("sant", "falskt"),
    ("1", "0"),
    ("in", "out"),
    ("opt-in", "opt-out"),
    ("samtycker", "samtycker inte"),
)
_CHANNELS: Final = {
    "email": "email e-mail mail epost e-post mejl e-postadress",
    "phone": "phone telephone telefon samtal",
    "post": "post brev vanligpost letter mail-order",
    "sms": "sms text textmeddelande",
}
_CHANNEL_WORDS: Final = {word: channel for channel, words in _CHANNELS.items() for word in words.split()}
_ALL: Final = frozenset({"alla", "all", "alla kanaler", "all channels"})
_SWEDISH: Final = ("ja", "nej", "j", "sant", "falskt", "samtycker")
_ENOUGH: Final = 0.8
_MOST: Final = 20
"""Different purposes of a column that are written into the mapping: more are hardly purposes."""


@dataclass
class _Guess:
    """What has been settled so far."""

    rows: Sequence[Mapping[str, str]]
    catalogue: Catalogue
    purposes: Mapping[str, str]
    columns: dict[str, Column] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    ignore: list[str] = field(default_factory=list)

    def texts(self, name: str) -> list[str]:
        return [text.strip() for row in self.rows if (text := row.get(name))]

    def drop(self, name: str, note: str) -> None:
        self.ignore.append(name)
        self.notes[name] = note

    def settled(self, column: str) -> bool:
        return any(each.column == column for each in self.columns.values())


def guess(
    names: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    catalogue: Catalogue,
    given: Mapping[str, str],
    *,
    zone: str = "",
    country: str = "",
    encoding: str = "",
) -> ListMapping:
    """A mapping for a list with these columns.

    Args:
        names: the header.
        rows: some of the first rows, text by column name.
        catalogue: the purposes that there are.
        given: what was said on the command line, by column: it becomes the constants.
        zone: of times without one, if it was said.
        country: of telephone numbers, if it was said.
        encoding: to declare.

    Raises:
        Problem: USAGE when no column names persons.
    """
    settled = _Guess(rows, catalogue, _purposes(catalogue))
    for name in names:
        _settle(name, settled)
    _one_key(settled)
    if not any(settled.settled(key) for key in KEYS):
        raise usage(f"no column looks as if it named persons: one of {', '.join(KEYS)} is needed")
    constants = {name: text for name, text in given.items() if text}
    notes = settled.notes
    states = [each for each in settled.columns.values() if each.column == "state"]
    if not states and "state" not in constants:
        constants["state"] = UNKNOWN
        notes["constants.state"] = "no column says yes or no: in or out, if all rows say the same"
    if any(not each.purpose for each in states or [Column("state")]) and not settled.settled("purpose"):
        constants.setdefault("purpose", UNKNOWN)
        if constants["purpose"] == UNKNOWN:
            notes["constants.purpose"] = "no column says what the choices are about: a purpose such as offers"
    if settled.settled("chosen_at") and not zone:
        swedish = any(word in _SWEDISH for each in states for word in each.words)
        zone = "Europe/Stockholm" if swedish else UNKNOWN
        notes["zone"] = "of times that say none: please check" if swedish else "such as Europe/Stockholm, or UTC"
    return ListMapping(
        settled.columns, constants, tuple(settled.ignore), zone=zone, country=country, encoding=encoding, notes=notes
    )


def _settle(name: str, settled: _Guess) -> None:
    texts, header = settled.texts(name), plain(name)
    purpose, channel = _about(name, settled)
    pairs = _pairs(texts, sure=bool(purpose or channel))
    if header in _REVERSED.split():
        settled.drop(name, 'a yes here may be a no: map it to state with words such as { ja = "out", nej = "" }')
    elif pairs and (purpose or channel):
        words = _words_of(pairs)
        settled.columns[name] = Column("state", words, purpose=purpose, channels="" if purpose else channel)
        _tell_unread(name, texts, words, settled)
    elif (column := _named(name, settled)) and not settled.settled(column):
        _map(name, column, texts, settled)
    elif column:
        settled.drop(name, f"another column is {column} already")
    elif pairs:
        settled.columns[name] = Column("state", _words_of(pairs), purpose=UNKNOWN)
        settled.notes[name] = "yes and no about what? Name the purpose, or ignore the column"
    else:
        settled.drop(name, "not recognised: dropped unless you map it")


def _named(name: str, settled: _Guess) -> str:
    """The column that a header names, as a column of a list or as a field of a customer file."""
    return _NAMED.get(plain(name), "") or _FIELDS.get(field_named(name, settled.catalogue), "")


def _map(name: str, column: str, texts: Sequence[str], settled: _Guess) -> None:
    if column == "state":
        words = _words_of(_pairs(texts, sure=True))
        settled.columns[name] = Column("state", words)
        _tell_unread(name, texts, words, settled)
    elif column == "channels":
        settled.columns[name] = Column("channels", _channel_words(texts))
    elif column == "purpose":
        settled.columns[name] = Column("purpose", _purpose_words(texts, settled))
    elif column == "chosen_at":
        order, note = _order(texts)
        settled.columns[name] = Column("chosen_at", date=order)
        settled.notes.update({name: note} if note else {})
    else:
        settled.columns[name] = Column(column)


def _one_key(settled: _Guess) -> None:
    """Of several columns that name persons the surest stays: each row names its person once."""
    keys = [key for key in KEYS if settled.settled(key)]
    for name in [name for name, each in settled.columns.items() if each.column in keys[1:]]:
        del settled.columns[name]
        settled.drop(name, f"persons are named by {keys[0]} already")


def _about(name: str, settled: _Guess) -> tuple[str, str]:
    """The purpose and the channel that a header speaks of, each empty if it speaks of none."""
    header = name.strip().casefold()
    purpose = settled.purposes.get(plain(name), "")
    channel = _CHANNEL_WORDS.get(header, "") or _CHANNEL_WORDS.get(plain(name), "")
    return purpose, channel


def _purposes(catalogue: Catalogue) -> dict[str, str]:
    """Purposes that heed choices, by their codes and labels without case, accents and separators."""
    return {
        plain(text): each.code
        for each in catalogue.purposes.values()
        if each.kind.value.startswith("secondary")
        for text in (each.code, each.label_en, each.label_sv)
    }


def _pairs(texts: Sequence[str], *, sure: bool) -> list[tuple[str, str]]:
    """The pairs of words for yes and no that a column is written in; none if it is not.

    Args:
        texts: some of its cells.
        sure: whether its header says that it holds choices: then one word is enough.
    """
    said = {text.casefold() for text in texts}
    pairs = [pair for pair in _PAIRS if said & set(pair)]
    known = {word for pair in pairs for word in pair}
    return pairs if sure or sum(text.casefold() in known for text in texts) >= _ENOUGH * len(texts) else []


def _words_of(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {word: meant for yes, no in pairs for word, meant in ((yes, "in"), (no, "out"))}


def _tell_unread(name: str, texts: Sequence[str], words: Mapping[str, str], settled: _Guess) -> None:
    unread = sum(text.casefold() not in words for text in texts)
    if unread:
        settled.notes[name] = f"{unread} of the first {len(texts)} say something else: give each word its meaning"


def _channel_words(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        for part in (text, *text.replace(",", " ").replace(";", " ").replace("/", " ").split()):
            word = part.casefold()
            if word in _ALL:
                found[word] = ""
            elif word in _CHANNEL_WORDS and _CHANNEL_WORDS[word] != word:
                found[word] = _CHANNEL_WORDS[word]
    return found


def _purpose_words(texts: Sequence[str], settled: _Guess) -> dict[str, str]:
    """Words for what is no code already; what no label says stands as a question."""
    said = [text for text in dict.fromkeys(texts) if text not in settled.purposes.values()][:_MOST]
    return {text: settled.purposes.get(plain(text), UNKNOWN) for text in said}


def _order(texts: Sequence[str]) -> tuple[str, str]:
    """The order that reads every day of the sample, and a comment where two orders do."""
    days = [text.replace("\u00a0", " ").split("T")[0].split(" ")[0] for text in texts]
    fitting = [order for order in DATE_FORMATS if days and all(day_reader(order)(day)[:1].isdigit() for day in days)]
    if not fitting or "YYYY-MM-DD" in fitting:
        return "", "" if fitting else "not read as a time by any order that is known"
    return fitting[0], f"could also be {', '.join(fitting[1:])}: please check" if fitting[1:] else ""
