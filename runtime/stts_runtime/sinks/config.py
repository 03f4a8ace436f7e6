"""What can be said about a place where records go, in a configuration file or as one word on a command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, TypeAdapter, ValidationError

from stts_runtime.errors import UserError
from stts_runtime.mistakes import mistakes
from stts_runtime.places import check_file
from stts_runtime.settings import Bytes, Seconds, Settings, parse_bytes
from stts_runtime.sinks.secret import Secret
from stts_runtime.text import redacted

KINDS = "- (the screen), FILE.jsonl, FILE.db (to be searched), http(s)://HOST/PATH or mqtt(s)://HOST/TOPIC"

_SCREEN = ("-", "stdout")
_SCHEMES = {"http": "<webhook>", "https": "<webhook>", "mqtt": "<mqtt>", "mqtts": "<mqtt>"}
# Addresses of chat services carry their secret in the path.
_LONG_STEP = re.compile(r"(?<=/)[^/?#]{16,}")


def shown(url: str) -> str:
    """`url` without credentials: no user, password or query value, and no step of the path that may be a token."""
    scheme, mark, rest = redacted(url).partition("://")
    host, slash, path = rest.partition("/")
    return scheme + mark + host + _LONG_STEP.sub("***", slash + path)


Only = Literal["alerts"] | None


class ScreenConfig(Settings):
    """The screen."""

    to: Literal["-", "stdout"] = "-"
    """Standard output."""
    format: Literal["json", "text"] = "json"
    """A line of JSON, or of text, for each record."""
    only: Only = None
    """`alerts`: only answers that raise or clear an alarm, and clips."""

    @property
    def name(self) -> str:
        return "stdout"


class FileConfig(Settings):
    """A file of JSON lines."""

    to: str
    """A path, `FILE.jsonl`."""
    max_bytes: Bytes = 100_000_000
    """Size at which the file is moved aside."""
    daily: bool = True
    """Move it aside at midnight UTC."""
    files: Annotated[int, Field(ge=1)] = 30
    """Number of moved files that stay, the newest."""
    only: Only = None
    """`alerts`: only answers that raise or clear an alarm, and clips."""

    @property
    def name(self) -> str:
        return self.to


class ArchiveConfig(Settings):
    """A database of what was seen, for `stts-runtime search`. The oldest records go, by whichever limit comes first."""

    to: str
    """A path, `FILE.db`."""
    days: Annotated[float, Field(gt=0, le=36_500)] = 30.0
    """Age, by a record's own time, at which it is removed."""
    max_bytes: Annotated[int, BeforeValidator(parse_bytes), Field(ge=1_000_000)] = 1_000_000_000
    """Size of the file, which it never exceeds by more than a log of a few MB."""
    only: Only = None
    """`alerts`: only answers that raise or clear an alarm, and clips."""

    @property
    def name(self) -> str:
        return self.to


def _url(text: str) -> str:
    """Raises `ValueError` without the text: it may hold a password."""
    try:
        parts = urlsplit(text)
        usable = parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise ValueError("not a usable address; it should be scheme://host[:port]/path, percent-encoded")
    return text


def _readable(path: Path) -> Path:
    try:
        check_file(path)
    except UserError as error:
        raise ValueError(str(error)) from None
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty")
    return path


class _RemoteConfig(Settings):
    to: Annotated[str, AfterValidator(_url)]
    """Address, percent-encoded; `${NAME}` stands for an environment variable."""
    called: str | None = None
    """Name in messages and metrics, and of the spool. None: the address without credentials. Sinks whose addresses
    differ only in credentials need names."""
    spool_bytes: Bytes = 256_000_000
    """Size of the spool above which the oldest records are dropped, counted and reported."""
    timeout: Annotated[Seconds, Field(gt=0, le=300)] = 10.0
    """Time that an attempt may take."""
    ca_file: Annotated[Path, AfterValidator(_readable)] | None = None
    """Certificates to trust instead of the system's, PEM."""
    attach: Literal["snapshot"] | None = None
    """`snapshot`: send alarms with their picture, not only its place."""
    only: Only = None
    """`alerts`: only answers that raise or clear an alarm, and clips."""

    @property
    def name(self) -> str:
        return self.called or shown(self.to)


class WebhookConfig(_RemoteConfig):
    """Each record is POSTed as JSON with an `Idempotency-Key`."""

    token: Secret | None = None
    """Sent as `Authorization: Bearer`."""
    signing_key: Secret | None = None
    """Key of `X-Stts-Signature-V2: sha256=HEX`, the HMAC of `X-Stts-Timestamp`, a dot and the body, and of
    `X-Stts-Signature`, that of the body."""


def _topic(url: str) -> str:
    topic = unquote(urlsplit(url).path)[1:]
    if not topic or set(topic) & set("+#\0") or urlsplit(url).query or urlsplit(url).fragment:
        raise ValueError("the address should end in a topic without wildcards: mqtt://host[:port]/topic")
    return url


class MqttConfig(_RemoteConfig):
    """Each record is published with QoS 1; `TOPIC/status` is a retained `online` or `offline`, and attached pictures go
    to `TOPIC/STREAM/snapshot` as they are.
    """

    to: Annotated[str, AfterValidator(_url), AfterValidator(_topic)]
    """`mqtt(s)://HOST[:PORT]/TOPIC`, percent-encoded."""
    user: str | None = None
    """User name at the broker."""
    password: Secret | None = None
    """Password at the broker."""

    @property
    def topic(self) -> str:
        return unquote(urlsplit(self.to).path)[1:]


def _kind(given: Any) -> str | None:
    to = given.get("to") if isinstance(given, dict) else getattr(given, "to", None)
    if not isinstance(to, str):
        return None
    if to in _SCREEN:
        return "<screen>"
    if "://" not in to and to.endswith(".jsonl"):
        return "<file>"
    if "://" not in to and to.endswith(".db"):
        return "<archive>"
    return _SCHEMES.get(to.partition("://")[0].lower())


def _spelled_out(given: Any) -> Any:
    return {"to": given} if isinstance(given, str) else given


SinkConfig = ScreenConfig | FileConfig | ArchiveConfig | WebhookConfig | MqttConfig

AnySink = Annotated[
    Annotated[ScreenConfig, Tag("<screen>")]
    | Annotated[FileConfig, Tag("<file>")]
    | Annotated[ArchiveConfig, Tag("<archive>")]
    | Annotated[WebhookConfig, Tag("<webhook>")]
    | Annotated[MqttConfig, Tag("<mqtt>")],
    Discriminator(_kind, custom_error_type="sink", custom_error_message=f"`to` should be {KINDS}"),
    BeforeValidator(_spelled_out),
]
_SINKS: TypeAdapter[SinkConfig] = TypeAdapter(AnySink)


def parse_sink(spec: str) -> SinkConfig:
    """A sink with its defaults. Raises `UserError`."""
    try:
        return _SINKS.validate_python(spec)
    except ValidationError as error:
        raise UserError(f"{shown(spec)} is no place for records: {mistakes(error)}") from None
