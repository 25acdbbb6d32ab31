"""Records at rest: fields sealed under keys of the person's own, financial ones under another (POLICY 4).

    keys            wrap(ring "records",   data key 32 | person secret 32)     bound to the person, and of a canary
                                                                               to the contract in its state
    financial_keys  wrap(ring "financial", financial key 32), or empty         bound to the person
    record          u32be length of header | header | sealed values
    header          JSON {"<field>": [offset, length, "<source>", collected at (unix s)], ...}, offsets from
                    the end of the header; a fifth element 1 marks a value under the financial key
    sealed value    nonce 12 | AES-256-GCM ciphertext || tag, bound to person, field, source, collection time

Destroying `keys` and `financial_keys` makes the values unreadable and unlinks the person's ledger entries.
A row moved to another person, a value moved to another field, or any changed byte fails to open.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.contracts import CANARY
from broker.errors import Reason, SlussError
from broker.keys.provider import EPOCHS, FINANCIAL, INDEX, RECORDS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from broker.keys.provider import Ring

PERSON_LABEL: Final = b"sluss/v1 person\x00"
FINANCIAL_LABEL: Final = b"sluss/v1 financial\x00"
VALUE_LABEL: Final = b"sluss/v1 value\x00"
FINGERPRINT_LABEL: Final = b"sluss/v1 fingerprint\x00"
INDEX_LABEL: Final = b"sluss/v1 index\x00"
COMMITMENT_LABEL: Final = b"sluss/v1 commitment\x00"
HANDLE_KEY_LABEL: Final = b"sluss/v1 handle key\x00"
CASE_LABEL: Final = b"sluss/v1 case\x00"
EPOCH_SECRET_LABEL: Final = b"sluss/v1 epoch secret\x00"
CANARY_LABEL: Final = b"sluss/v1 canary\x00"
CANARY_KEY_LABEL: Final = b"sluss/v1 canary key\x00"

INDEX_KINDS: Final = frozenset({"email", "phone", "customer_number"})
INDEX_LENGTH: Final = 16
KEY_LENGTH: Final = 32
NONCE_LENGTH: Final = 12
_PLAIN: Final = 4  # elements of a header entry; a fifth marks a financial value

_FAULTS: Final = (InvalidTag, ValueError, TypeError, IndexError, AttributeError, OverflowError)
"""What damaged bytes raise on their way through the parsers and the cipher."""


class Value(NamedTuple):
    """A field's value and where it comes from.

    Attributes:
        text: the value, normalised.
        source: how it was collected (POLICY clause 1a), such as `registration`.
        collected_at: when, in seconds since 1970 UTC.
    """

    text: str
    source: str
    collected_at: int


class Origin(NamedTuple):
    """What is known of a stored value without opening it."""

    source: str
    collected_at: int
    financial: bool


class SealedRecord(NamedTuple):
    """A person's columns in the store; named like them."""

    keys: bytes
    financial_keys: bytes
    record: bytes
    fingerprint: bytes


class PersonRow(Protocol):
    """The columns of a `person` row that the vault reads."""

    @property
    def id(self) -> int:
        """The person's id."""

    @property
    def keys(self) -> bytes:
        """The wrapped data key and secret."""

    @property
    def financial_keys(self) -> bytes:
        """The wrapped financial key, or nothing."""

    @property
    def record(self) -> bytes:
        """Header and sealed values."""


class WholePersonRow(PersonRow, Protocol):
    """A `person` row with its fingerprint, for whoever opens all of it."""

    @property
    def fingerprint(self) -> bytes:
        """The keyed digest of all values."""


ERASED: Final = SealedRecord(b"", b"", b"", b"")
"""What stays of a record after erasure: no key, no value, no secret."""


class Vault:
    """Seals and opens records with the broker's rings. Keeps no person's key between calls; thread-safe."""

    def __init__(self, rings: Mapping[str, Ring]) -> None:
        """Takes the rings `records`, `financial`, `epochs` and `index` (see `keys.provider`)."""
        self._records = rings[RECORDS]
        self._financial = rings[FINANCIAL]
        self._epochs = rings[EPOCHS]
        self._index = rings[INDEX]

    # Records.

    def seal_record(
        self, person_id: int, values: Mapping[str, Value], financial: Container[str], *, state: str = ""
    ) -> SealedRecord:
        """Seals a new person's values under fresh keys.

        Args:
            person_id: in [1, 2^62).
            values: by field name.
            financial: the names of the fields of category financial.
            state: of a canary: its row opens in this state only.

        Raises:
            SlussError: INVALID_VALUE for a name, source or time that can't be sealed.
        """
        secrets = os.urandom(2 * KEY_LENGTH)
        keys = self._records.wrap(secrets, _bound(_eight(person_id), state))
        return self._sealed(_Keys(person_id, keys, secrets[:KEY_LENGTH], b""), values, financial)

    def update(
        self, row: WholePersonRow, changes: Mapping[str, Value | None], financial: Container[str]
    ) -> SealedRecord:
        """Seals changed values under the person's own keys; None removes a field; the rest stays as it is.

        Raises:
            SlussError: PERSON_UNAVAILABLE for an erased person, INTERNAL for a damaged record, INVALID_VALUE.
        """
        merged = {**self.open_record(row), **changes}
        values = {name: value for name, value in merged.items() if value is not None}
        keys = _Keys(row.id, row.keys, self._secrets(row)[:KEY_LENGTH], row.financial_keys)
        return self._sealed(keys, values, financial)

    def open_record(self, row: WholePersonRow) -> dict[str, Value]:
        """Every value of a person, financial ones too, with its origin; none is missing, by the fingerprint.

        For the person's own access and for changes (POLICY 3), never for a slice.

        Raises:
            SlussError: PERSON_UNAVAILABLE for an erased person, INTERNAL for a damaged record.
        """
        origins = self.metadata(row)
        texts, _ = self.open_for_disclosure(row, origins, allow_financial=True)
        if not hmac.compare_digest(row.fingerprint, self.fingerprint(row.id, texts)):
            _damaged()
        return {name: Value(texts[name], at.source, at.collected_at) for name, at in origins.items()}

    def open_fields(self, row: PersonRow, names: Iterable[str], *, allow_financial: bool) -> dict[str, str]:
        """The values of `names` that the person has; a field without a value is left out.

        Raises:
            SlussError: as `open_for_disclosure`.
        """
        return self.open_for_disclosure(row, names, allow_financial=allow_financial)[0]

    def open_for_disclosure(
        self, row: PersonRow, names: Iterable[str], *, allow_financial: bool
    ) -> tuple[dict[str, str], bytes]:
        """The values of `names` that the person has, and the person's secret (32 bytes) for the commitment.

        Raises:
            SlussError: PERSON_UNAVAILABLE for an erased person; FIELD_OUT_OF_SCOPE for a financial field
                without `allow_financial`; INTERNAL if the row was altered or belongs to another person.
        """
        if not row.keys:
            raise SlussError(Reason.PERSON_UNAVAILABLE)
        person = row.id.to_bytes(8, "big")
        secrets = self._records.unwrap(row.keys, _bound(person, getattr(row, "state", "")))
        record, opened = row.record, {}
        decrypt, financial_decrypt = AESGCM(secrets[:KEY_LENGTH]).decrypt, None
        try:
            start = 4 + int.from_bytes(record[:4], "big")
            header = orjson.loads(record[4:start])
            for name in names:
                if (entry := header.get(name)) is None:
                    continue
                nonce = start + entry[0]
                sealed = nonce + NONCE_LENGTH
                aad = b"%b%b%b\x00%b\x00%b" % (
                    VALUE_LABEL,
                    person,
                    name.encode(),
                    entry[2].encode(),
                    entry[3].to_bytes(8, "big"),
                )
                cipher = decrypt
                if len(entry) != _PLAIN:
                    cipher = financial_decrypt = financial_decrypt or self._financial_cipher(
                        row, name, entry, allowed=allow_financial
                    )
                opened[name] = str(cipher(record[nonce:sealed], record[sealed : nonce + entry[1]], aad), "utf-8")
        except _FAULTS:
            _damaged()
        return opened, secrets[KEY_LENGTH:]

    def metadata(self, row: PersonRow) -> dict[str, Origin]:
        """Names, sources and collection times of a person's values; opens nothing, needs no key.

        Raises:
            SlussError: INTERNAL for a damaged record.
        """
        return {name: Origin(entry[2], entry[3], len(entry) != _PLAIN) for name, entry in _header(row.record).items()}

    def fields_present(self, row: PersonRow) -> frozenset[str]:
        """The names of the fields that the person has a value for.

        Raises:
            SlussError: INTERNAL for a damaged record.
        """
        return frozenset(_header(row.record))

    def fingerprint(self, person_id: int, values: Mapping[str, str]) -> bytes:
        """A keyed digest of all of a person's values, whatever their order, sources and times (32 bytes)."""
        canonical = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
        return self._index.digest(FINGERPRINT_LABEL, _eight(person_id) + canonical)

    def rewrap(self, row: PersonRow) -> tuple[bytes, bytes]:
        """`keys` and `financial_keys` under the rings' newest versions; unchanged if they are there.

        Raises:
            SlussError: INTERNAL for altered keys, KEYS_UNAVAILABLE.
        """
        person = _eight(row.id)
        keys = row.keys and self._records.rewrap(row.keys, _bound(person, getattr(row, "state", "")))
        financial = row.financial_keys and self._financial.rewrap(row.financial_keys, FINANCIAL_LABEL + person)
        return keys, financial

    def person_secret(self, row: PersonRow) -> bytes:
        """The person's secret (32 bytes), which links the person to commitments in the ledger.

        Raises:
            SlussError: PERSON_UNAVAILABLE for an erased person, INTERNAL for altered keys.
        """
        return self._secrets(row)[KEY_LENGTH:]

    # Look-up.

    def index_digest(self, kind: str, normalised: str) -> bytes:
        """The blind-index digest (16 bytes) of a normalised value.

        Raises:
            SlussError: INVALID_REQUEST for a kind that is not indexed.
        """
        if kind not in INDEX_KINDS:
            raise SlussError(Reason.INVALID_REQUEST, f"there is no look-up by {kind}")
        data = kind.encode() + b"\x00" + normalised.encode()
        return self._index.digest(INDEX_LABEL, data)[:INDEX_LENGTH]

    def canary_key(self, contract: str) -> bytes:
        """What the values of a contract's canaries are drawn from and sealed under (32 bytes); it never changes."""
        return self._index.digest(CANARY_KEY_LABEL, contract.encode())

    # Keys of contracts and epochs.

    def wrap_handle_key(self, contract: str, key: bytes) -> bytes:
        """A contract's handle key as it is stored."""
        return self._records.wrap(key, HANDLE_KEY_LABEL + contract.encode())

    def unwrap_handle_key(self, contract: str, blob: bytes) -> bytes:
        """A contract's handle key (32 bytes).

        Raises:
            SlussError: INTERNAL for an altered key or another contract's.
        """
        return self._records.unwrap(blob, HANDLE_KEY_LABEL + contract.encode())

    def rewrap_handle_key(self, contract: str, blob: bytes) -> bytes:
        """A contract's stored handle key under the newest version of the ring."""
        return self._records.rewrap(blob, HANDLE_KEY_LABEL + contract.encode())

    def wrap_epoch(self, epoch: bytes, secret: bytes) -> bytes:
        """An epoch's secret as it is stored; `epoch` is the epoch's id."""
        return self._epochs.wrap(secret, EPOCH_SECRET_LABEL + epoch)

    def unwrap_epoch(self, epoch: bytes, blob: bytes) -> bytes:
        """An epoch's secret (32 bytes).

        Raises:
            SlussError: INTERNAL for an altered secret or another epoch's.
        """
        return self._epochs.unwrap(blob, EPOCH_SECRET_LABEL + epoch)

    def rewrap_epoch(self, epoch: bytes, blob: bytes) -> bytes:
        """An epoch's stored secret under the newest version of the ring."""
        return self._epochs.rewrap(blob, EPOCH_SECRET_LABEL + epoch)

    def wrap_case_keys(self, case: str, secrets: bytes) -> bytes:
        """A case's keys as they are stored."""
        return self._records.wrap(secrets, CASE_LABEL + case.encode())

    def unwrap_case_keys(self, case: str, blob: bytes) -> bytes:
        """A case's keys (64 bytes).

        Raises:
            SlussError: INTERNAL for altered keys or another case's.
        """
        return self._records.unwrap(blob, CASE_LABEL + case.encode())

    def rewrap_case_keys(self, case: str, blob: bytes) -> bytes:
        """A case's stored keys under the newest version of the ring."""
        return self._records.rewrap(blob, CASE_LABEL + case.encode())

    # Steps.

    def _secrets(self, row: PersonRow) -> bytes:
        if not row.keys:
            raise SlussError(Reason.PERSON_UNAVAILABLE)
        return self._records.unwrap(row.keys, _bound(_eight(row.id), getattr(row, "state", "")))

    def _financial_cipher(self, row: PersonRow, name: str, entry: Any, *, allowed: bool) -> Any:
        if entry[4:] != [1]:
            _damaged()
        if not allowed:
            raise SlussError(Reason.FIELD_OUT_OF_SCOPE, f"{name} is financial: only for payment purposes", field=name)
        return AESGCM(self._financial.unwrap(row.financial_keys, FINANCIAL_LABEL + _eight(row.id))).decrypt

    def _sealed(self, keys: _Keys, values: Mapping[str, Value], financial: Container[str]) -> SealedRecord:
        marked = {name for name in values if name in financial}
        financial_keys, financial_cipher = self._financial_key(keys, needed=bool(marked))
        cipher = AESGCM(keys.data_key)
        header: dict[str, list[Any]] = {}
        body = bytearray()
        for name, value in sorted(values.items()):
            is_marked = name in marked
            sealed = _seal_value(financial_cipher if is_marked else cipher, keys.person_id, name, value)
            header[name] = [len(body), len(sealed), value.source, value.collected_at, *[1][: int(is_marked)]]
            body += sealed
        head = orjson.dumps(header)
        fingerprint = self.fingerprint(keys.person_id, {name: value.text for name, value in values.items()})
        record = len(head).to_bytes(4, "big") + head + bytes(body)
        return SealedRecord(keys.wrapped, financial_keys, record, fingerprint)

    def _financial_key(self, keys: _Keys, *, needed: bool) -> tuple[bytes, AESGCM | None]:
        """The person's financial key, wrapped and ready; gone with the last financial value."""
        if not needed:
            return b"", None
        aad = FINANCIAL_LABEL + _eight(keys.person_id)
        if keys.financial:
            return keys.financial, AESGCM(self._financial.unwrap(keys.financial, aad))
        key = os.urandom(KEY_LENGTH)
        return self._financial.wrap(key, aad), AESGCM(key)


class _Keys(NamedTuple):
    """What a record is sealed under: the wrapped keys as they are stored, and the data key itself."""

    person_id: int
    wrapped: bytes
    data_key: bytes
    financial: bytes


def _bound(person: bytes, state: str) -> bytes:
    """What a person's keys are bound to.

    A canary's state is a part of it: a row that is turned from a canary into a person, from a person into a canary, or
    from one contract's into another's does not open.
    """
    return CANARY_LABEL + state.encode() + b"\x00" + person if state.startswith(CANARY) else PERSON_LABEL + person


def commitment(person_secret: bytes, disclosure_id: str) -> bytes:
    """How a ledger entry names a person (32 bytes): equal only for the same person and disclosure.

    Without the secret it can be linked to nobody; erasure destroys the secret.
    """
    return hmac.digest(person_secret, COMMITMENT_LABEL + disclosure_id.encode("ascii"), "sha256")


def _seal_value(cipher: AESGCM | None, person_id: int, name: str, value: Value) -> bytes:
    if cipher is None or "\x00" in name or "\x00" in value.source:
        raise SlussError(Reason.INVALID_VALUE, f"{name} can't be stored", field=name)
    try:
        aad = b"%b%b%b\x00%b\x00%b" % (
            VALUE_LABEL,
            _eight(person_id),
            name.encode(),
            value.source.encode(),
            value.collected_at.to_bytes(8, "big"),
        )
        nonce = os.urandom(NONCE_LENGTH)
        return nonce + cipher.encrypt(nonce, value.text.encode(), aad)
    except (UnicodeEncodeError, OverflowError):
        raise SlussError(Reason.INVALID_VALUE, f"{name} can't be stored", field=name) from None


def _header(record: bytes) -> dict[str, list[Any]]:
    """A record's header, if it describes the record to the last byte; an erased record has none."""
    if not record:
        return {}
    try:
        start = 4 + int.from_bytes(record[:4], "big")
        header = orjson.loads(record[4:start])
        end = 0
        for offset, length, source, collected_at, *mark in header.values():
            if not (type(length) is type(collected_at) is int and type(source) is str and mark in ([], [1])):
                _damaged()
            if offset != end or length <= NONCE_LENGTH:
                _damaged()
            end += length
        if start + end != len(record):
            _damaged()
    except _FAULTS:
        _damaged()
    return dict(header)


def _eight(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _damaged() -> NoReturn:
    """One flat message: which byte is wrong is nobody's business, and the values are in none of it."""
    raise SlussError(Reason.INTERNAL, "a stored record does not open") from None
