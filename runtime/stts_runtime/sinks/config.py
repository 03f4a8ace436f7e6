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
"""`alerts`: the answers that raise or clear an alarm, and clips; no others, and no changes of state."""


class ScreenConfig(Settings):
    """Standard output."""

    to: Literal["-", "stdout"] = "-"
    format: Literal["json", "text"] = "json"
    only: Only = None

    @property
    def name(self) -> str:
        return "stdout"


class FileConfig(Settings):
    """A file of JSON lines. It is moved aside when it reaches `max_bytes`, and with `daily` at midnight UTC; the
    newest `files` of those stay.
    """

    to: str
    max_bytes: Bytes = 100_000_000
    daily: bool = True
    files: Annotated[int, Field(ge=1)] = 30
    only: Only = None

    @property
    def name(self) -> str:
        return self.to


class ArchiveConfig(Settings):
    """A database of what was seen, for `stts-runtime search`. The oldest records go, by whichever limit comes first."""

    to: str
    days: Annotated[float, Field(gt=0, le=36_500)] = 30.0
    max_bytes: Annotated[int, BeforeValidator(parse_bytes), Field(ge=1_000_000)] = 1_000_000_000
    only: Only = None

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
    called: str | None = None
    """The name in messages and metrics, and of its spool; by default the address without credentials."""
    spool_bytes: Bytes = 256_000_000
    """What may wait on the disk; above it the oldest records are dropped, counted and reported."""
    timeout: Annotated[Seconds, Field(gt=0, le=300)] = 10.0
    ca_file: Annotated[Path, AfterValidator(_readable)] | None = None
    """Certificates to trust in place of the system's."""
    attach: Literal["snapshot"] | None = None
    """Alarms come with their picture, and not only with its place."""
    only: Only = None

    @property
    def name(self) -> str:
        return self.called or shown(self.to)


class WebhookConfig(_RemoteConfig):
    """Each record is POSTed as JSON with an `Idempotency-Key`."""

    token: Secret | None = None
    """Sent as `Authorization: Bearer`."""
    signing_key: Secret | None = None
    """`X-Stts-Signature: sha256=HEX` is the HMAC of the body, `X-Stts-Signature-V2` that of `X-Stts-Timestamp`, a dot
    and the body."""


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
    user: str | None = None
    password: Secret | None = None

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
