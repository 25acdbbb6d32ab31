"""What a broker is told: settings.toml in its home folder, the environment, systemd credentials.

    SLUSS_WORKERS=2                            an environment variable beats
    $CREDENTIALS_DIRECTORY/sluss_database      a systemd credential, which beats
    <home>/settings.toml                       workers = 1

A name that no setting has is refused in the file. The home folder holds everything else that a broker keeps
on its machine; see `Home`.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from broker.errors import Reason, SlussError
from broker.identity import check_trust_domain

ENVIRONMENT_PREFIX: Final = "SLUSS_"
MIB: Final = 1 << 20
LAST_PORT: Final = 65_535


class Address(NamedTuple):
    """Where to listen; port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Reads `host:port`, or `[::1]:port`.

    Raises:
        ValueError: it is not of that form.
    """
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = host == f"[{bare}]"
    known = colon and bare and port.isascii() and port.isdigit() and int(port) <= LAST_PORT
    if not known or bracketed != (":" in bare) or text != text.strip():
        raise ValueError("host:port, such as 127.0.0.1:7443 or [::1]:7443")
    return Address(bare, int(port))


def _origin(text: str) -> str:
    if not text or not text.isprintable() or any(c in text for c in " +"):
        raise ValueError("a name without spaces and plus signs, such as example.com/sluss")
    return text


def _domain(text: str) -> str:
    try:
        return check_trust_domain(text)
    except SlussError as error:
        raise ValueError(error.detail) from None


def _listen(text: str) -> str:
    return str(parse_address(text))


Seconds = Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False)]


class Settings(BaseSettings):
    """The settings of a broker. Times are in seconds.

    Attributes:
        home: the folder that they were read from.
        trust_domain: the host in the URIs of certificates.
        origin: the ledger's name in its checkpoints.
        listen: `host:port`; port 0 is any free one.
        database: `sqlite:///...` or `postgresql+psycopg://...`, as a role that owns the database; empty is `sluss.db`
            in the home folder.
        workers: processes that share the port.
        one_core: each worker keeps to one core, which suits a machine that is the broker's own.
        max_calls: calls in progress per worker; more are refused with RATE_EXCEEDED.
        max_calls_per_caller: calls in progress of one caller's key per worker, likewise; also of one connection.
        max_connections: open connections per worker, those that have not shown a certificate yet included.
        max_message_bytes: of a request and of a reply; most methods take less (`max_request_bytes` in the protos).
        stream_idle_s: a stream whose caller sends or takes no message for so long is ended with STREAM_IDLE.
        max_connection_age_s: after it a client is asked to connect anew, and shows its certificate again.
        connection_grace_s: what a stream may still take after that.
        drain_s: what calls in progress may still take after SIGTERM.
        commit_timeout_s: after it a call hears that the ledger can't be written.
        publish_s: a checkpoint is cosigned and published at most this often.
        probe_s: how often it is tried whether the ledger can be written.
        maintain_s: how often expired requests and epochs are removed.
        retry_window_s: how long a request id gets the answer that it got first.
        epoch_s: how long an epoch secret serves.
        epoch_disclosures: how many disclosures it serves.
        emergency_confirm_s: within which a second person must answer for an emergency release.
        obligation_remind_days: when recipients are reminded, in days from the day when they owe, such as -7 for a week
            before.
        obligation_escalate_days: how many days after it the privacy team is told.
        outbox_retry_s: after which a message of the outbox that was not delivered comes again; doubled each time.
        usage_retention_months: usage events are kept for so many whole months before the present one.
        refusal_window_s: refusals of one caller are counted per window of this length, in whole seconds.
        refusal_entries: refusals per window that get an entry of their own; the rest is counted.
    """

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, env_prefix=ENVIRONMENT_PREFIX
    )

    home: Path
    trust_domain: Annotated[str, AfterValidator(_domain)]
    origin: Annotated[str, AfterValidator(_origin)]
    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:7443"
    database: str = Field(default="", repr=False)
    workers: int = Field(default=1, ge=1, le=64)
    one_core: bool = True
    max_calls: int = Field(default=1024, ge=1, le=100_000)
    max_calls_per_caller: int = Field(default=128, ge=1, le=100_000)
    max_connections: int = Field(default=4096, ge=1, le=1_000_000)
    stream_idle_s: Seconds = 60.0
    max_message_bytes: int = Field(default=32 * MIB, ge=4096, le=256 * MIB)
    max_connection_age_s: Seconds = 1800.0
    connection_grace_s: Seconds = 600.0
    drain_s: Seconds = 10.0
    commit_timeout_s: float = Field(default=2.0, ge=1.0, le=2.0)
    publish_s: float = Field(default=1.0, ge=0.05, le=1.0)
    probe_s: float = Field(default=1.0, ge=0.05, le=1.0)
    maintain_s: Seconds = 60.0
    retry_window_s: Seconds = 86_400.0
    epoch_s: float = Field(default=3600.0, gt=0, le=3600.0)
    epoch_disclosures: int = Field(default=1 << 20, ge=1, le=1 << 20)
    emergency_confirm_s: Seconds = 86_400.0
    obligation_remind_days: tuple[Annotated[int, Field(ge=-90, le=365)], ...] = Field(
        default=(-7, -1, 1, 7), max_length=12
    )
    obligation_escalate_days: int = Field(default=7, ge=0, le=365)
    outbox_retry_s: Seconds = 60.0
    usage_retention_months: int = Field(default=25, ge=1, le=120)
    refusal_window_s: float = Field(default=60.0, ge=1, le=366 * 86_400, allow_inf_nan=False)
    refusal_entries: int = Field(default=20, ge=1, le=10_000)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what it is made with: `load` reads the other sources, once and in order."""
        return (init_settings,)

    @property
    def folder(self) -> Home:
        """The home folder's files."""
        return Home(self.home)

    @property
    def address(self) -> Address:
        """`listen`, read."""
        return parse_address(self.listen)

    @property
    def database_url(self) -> str:
        """`database`, or the default."""
        return self.database or f"sqlite:///{self.folder.database}"


@dataclass(frozen=True, slots=True)
class Home:
    """The home folder of a broker, mode 0700.

    The authority's key, the key rings and the ledger's keys must be backed up apart from the database.
    """

    path: Path

    @property
    def settings(self) -> Path:
        """The settings."""
        return self.path / "settings.toml"

    @property
    def ca_certificate(self) -> Path:
        """The authority that client certificates must come from."""
        return self.path / "ca" / "certificate.pem"

    @property
    def ca_key(self) -> Path:
        """Its private key; not needed while serving."""
        return self.path / "ca" / "key.pem"

    @property
    def server_certificate(self) -> Path:
        """The broker's own certificate; read again when it changes."""
        return self.path / "server" / "certificate.pem"

    @property
    def server_key(self) -> Path:
        """Its private key."""
        return self.path / "server" / "key.pem"

    @property
    def rings(self) -> Path:
        """The key rings (keys/file.py)."""
        return self.path / "keys" / "rings.json"

    @property
    def erased(self) -> Path:
        """The register of erasures (erasure/register.py); with the rings, as no backup of the database may have it."""
        return self.path / "keys" / "erased.jsonl"

    @property
    def ledger_keys(self) -> Path:
        """The keys that sign checkpoints (ledger/signer.py)."""
        return self.path / "keys" / "ledger.json"

    @property
    def database(self) -> Path:
        """The default database."""
        return self.path / "sluss.db"

    @property
    def profiles(self) -> Path:
        """Client profiles made by `init`."""
        return self.path / "profiles"

    @property
    def port(self) -> Path:
        """The port on which the broker listens, while it does."""
        return self.path / "run" / "port"


def load(home: Path, **overrides: Any) -> Settings:
    """The settings of the broker whose home folder is `home`.

    Args:
        home: the folder.
        overrides: settings from a command line, which beat all others; None is none.

    Raises:
        SlussError: INVALID_REQUEST: no settings.toml there, or a setting is wrong; names it, and no value.
    """
    home = home.expanduser().absolute()
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        values = _read(Home(home).settings) | _credentials() | EnvSettingsSource(Settings)() | given
    except SettingsError:
        raise SlussError(Reason.INVALID_REQUEST, "settings: a variable or credential can't be read") from None
    return checked(**{**values, "home": home})


def checked(**values: Any) -> Settings:
    """Settings from these values alone.

    Raises:
        SlussError: INVALID_REQUEST: a setting is wrong; names it, and no value.
    """
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SlussError(Reason.INVALID_REQUEST, _explain(error)) from None


def _credentials() -> dict[str, Any]:
    """What systemd's LoadCredential= has put there (systemd.exec, "Credentials")."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder or not Path(folder).is_dir():
        return {}
    return SecretsSettingsSource(Settings, secrets_dir=folder)()


def _read(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError:
        raise SlussError(Reason.INVALID_REQUEST, f"no settings.toml in {path.parent}: `sluss init`") from None
    except ValueError:
        raise SlussError(Reason.INVALID_REQUEST, f"{path.name} is not TOML") from None
    if "home" in values:
        raise SlussError(Reason.INVALID_REQUEST, "settings: home: it is where the file lies")
    return values


def _explain(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "settings: " + "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in found)
