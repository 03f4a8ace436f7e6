"""What `stts-runtime serve` is told: where to listen, who may ask, and how much. `serve:` of a configuration file."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stts_runtime.serve.forwarded import Network
from stts_runtime.settings import Bytes, Seconds, Settings, parse_bytes
from stts_runtime.sinks.config import ArchiveConfig
from stts_runtime.sinks.secret import Secret
from stts_runtime.stream.config import Cameras
from stts_runtime.stream.config_fields import Listen, Sinks

Count = Annotated[int, Field(ge=1)]
_OURS = frozenset(("v1", "api", "healthz", "readyz", "metrics", "openapi.json"))
"""How the paths of the server's routes begin, the page's files left out, which have names that nobody gives a site."""
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*", re.ASCII)


def _base_path(given: str) -> str:
    path = given.rstrip("/")
    if not _BASE_PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise ValueError("it should be a path of letters, digits and . _ ~ -, as /cameras or /site/cameras")
    if _OURS.intersection(path.split("/")[1:2]):
        raise ValueError(f"it should be another path than the server's own: {', '.join(sorted(_OURS))}")
    return path


def _networks(given: object) -> tuple[Network, ...]:
    words = given if isinstance(given, list | tuple) else [given]
    try:
        return tuple(ipaddress.ip_network(str(word).strip(), strict=False) for word in words)
    except ValueError:
        raise ValueError("it should be addresses or networks of proxies: [127.0.0.1, 10.0.0.0/8]") from None


def _each(given: object) -> object:
    """A single one needs no list."""
    return [given] if isinstance(given, str) else given


class Limits(Settings):
    """What one request, and all of them together, may ask for. More is refused with the limit in the answer."""

    upload_bytes: Bytes = 64_000_000
    """Size of an uploaded clip or picture."""
    body_bytes: Bytes = 24_000_000
    """Size of a request with clips and pictures in it; upload larger ones."""
    clip_seconds: Seconds = 120.0
    """Length of a clip."""
    clip_frames: Count = 7200
    """Frames that have to be decoded to know a clip's times."""
    decoding_seconds: Seconds = 30.0
    """Time spent on that."""
    pixels: Count = 40_000_000
    """Width x height of a picture or frame."""
    question_characters: Count = 4000
    """Length of a question, system message included."""
    conversation_characters: Count = 40_000
    """Length of the turns before a question, together."""
    cache_bytes: Annotated[int, BeforeValidator(parse_bytes), Field(ge=0)] = 128_000_000
    """Memory for frames and visual tokens of recent clips and pictures; 0: none."""
    answer_tokens: Count = 256
    """Length of an answer, in tokens. Requests for more get this many."""
    open_questions: Count = 16
    """Questions that wait or are being answered; more get 429."""
    open_requests: Count = 256
    """Requests of any kind at a time."""
    event_clients: Count = 64
    """Clients that follow events at a time."""
    uploads: Count = 16
    """Uploads kept at a time; the oldest go."""
    upload_seconds: Seconds = 1800.0
    """Time after their last use at which uploads, and what is cached of clips and pictures, are deleted."""


class ServerSettings(Settings):
    """The section `serve`."""

    listen: Listen = Listen.model_construct(address="127.0.0.1", port=8080)
    """Address to listen at. The default is reachable from this machine only."""
    token: Secret | None = None
    """Token that requests must carry, of at least 16 characters; needed at any address but loopback."""
    insecure: bool = False
    """Allow other addresses without a token."""
    remote_urls: bool = False
    """Fetch clips and pictures from public http(s) addresses that a request names."""
    sampling: Literal["refuse", "ignore"] = "refuse"
    """What happens to requests with penalties. `ignore` answers them, and those with a temperature, greedily."""
    access_log: bool = False
    """Log every request on stderr."""
    base_path: Annotated[str, AfterValidator(_base_path)] = ""
    """Path under which a proxy publishes the server; requests may come with it or without."""
    trust_proxy: Annotated[tuple[Network, ...], BeforeValidator(_networks)] = ()
    """Proxies, as addresses or networks, whose `X-Forwarded-For` and `-Host` count, for the access log and the check of
    a page's `Origin`."""
    tls_cert: Path | None = None
    """Certificate with its chain, PEM, for HTTPS instead of HTTP; read at start."""
    tls_key: Path | None = None
    """Its key, PEM, without a passphrase."""
    search: Annotated[tuple[Path, ...], BeforeValidator(_each)] | None = None
    """Archives of another process to search, `FILE.db`. None: those that this one writes."""
    limits: Limits = Limits()
    """What requests may ask for."""

    @model_validator(mode="after")
    def _both_or_none(self) -> ServerSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            given, lacking = ("tls_key", "tls_cert") if self.tls_cert is None else ("tls_cert", "tls_key")
            raise ValueError(f"{given} needs {lacking} too: a certificate and its key")
        return self

    @property
    def certificate(self) -> tuple[Path, Path] | None:
        """With its key."""
        return None if self.tls_cert is None or self.tls_key is None else (self.tls_cert, self.tls_key)


class ServeConfig(Cameras):
    """A whole file. Without streams there is the API alone; without questions they are looked at and asked by hand."""

    sinks: Sinks = ()
    """Where records go; a text stands for `{to: TEXT}`."""
    serve: ServerSettings = ServerSettings()
    """For `stts-runtime serve`."""

    @property
    def archives(self) -> tuple[Path, ...]:
        """What can be searched."""
        if self.serve.search is not None:
            return self.serve.search
        return tuple(Path(one.to) for one in self.all_sinks if isinstance(one, ArchiveConfig))
