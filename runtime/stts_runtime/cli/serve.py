"""`stts-runtime serve`: a live page and an OpenAI-compatible API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from stts_runtime.cli.check_config import show_check
from stts_runtime.cli.help import NETWORK, OPERATION
from stts_runtime.cli.log import LogFormat, LogFormatOption, LogLevel, LogLevelOption
from stts_runtime.cli.long_running import asked_by_sighup, configured, named, opened_log, stopped_by_signals
from stts_runtime.cli.options import (
    AskOption,
    CheckOption,
    ConfigOption,
    ConnectOption,
    DeviceOption,
    EngineOption,
    KeepOption,
    MaybeBundleArgument,
    ShortestPauseOption,
    SourcesArgument,
    WhenOption,
)
from stts_runtime.errors import UserError
from stts_runtime.extras import serve_extra
from stts_runtime.stream.check import check_cameras
from stts_runtime.stream.reload import Reread

_TOKEN_VARIABLE = "STTS_TOKEN"  # noqa: S105  # the name of a variable


def serve_command(
    bundle: MaybeBundleArgument = None,
    sources: SourcesArgument = None,
    config: ConfigOption = None,
    ask: AskOption = None,
    when: WhenOption = None,
    shortest_pause: ShortestPauseOption = None,
    keep: KeepOption = None,
    engine: EngineOption = None,
    device: DeviceOption = None,
    listen: Annotated[
        Optional[str],
        typer.Option(
            metavar="ADDRESS:PORT",
            help="Address to listen at; the default is reachable from this machine only.",
            show_default="127.0.0.1:8080",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    token_file: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help=f"File with the token that requests must carry; or set {_TOKEN_VARIABLE}.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow other addresses without a token.", rich_help_panel=NETWORK)
    ] = False,
    allow_remote_urls: Annotated[
        bool,
        typer.Option(
            "--allow-remote-urls", help="Fetch clips from http(s) addresses given in requests.", rich_help_panel=NETWORK
        ),
    ] = False,
    ignore_sampling: Annotated[
        bool,
        typer.Option("--ignore-sampling", help="Accept requests with a temperature or penalties, and answer greedily."),
    ] = False,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Log every request on stderr.", rich_help_panel=OPERATION)
    ] = False,
    base_path: Annotated[
        Optional[str],
        typer.Option(
            metavar="PATH", help="Path under which a proxy publishes the server: /cameras.", rich_help_panel=NETWORK
        ),
    ] = None,
    trust_proxy: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="CIDR", help="Trust X-Forwarded-... headers from this proxy; repeatable.", rich_help_panel=NETWORK
        ),
    ] = None,
    tls_cert: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Serve HTTPS with this certificate, PEM.", rich_help_panel=NETWORK),
    ] = None,
    tls_key: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="Key of the certificate, PEM.", rich_help_panel=NETWORK)
    ] = None,
    check: CheckOption = False,
    connect: ConnectOption = False,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Show sources on a live page, and answer questions about them and about clips over an OpenAI-compatible API.

    Runs until SIGTERM or Ctrl-C, even if sources fail.
    """
    log = opened_log(log_format, log_level)
    given = {
        "bundle": bundle,
        "questions": ask,
        "when": when,
        "shortest_pause": shortest_pause,
        "keep": keep,
        "engine": engine,
        "device": device,
        "streams": named(sources or []),
        "serve": _server(
            token_file,
            listen=listen,
            insecure=insecure or None,
            remote_urls=allow_remote_urls or None,
            sampling="ignore" if ignore_sampling else None,
            access_log=access_log or None,
            base_path=base_path,
            trust_proxy=trust_proxy or None,
            tls_cert=tls_cert,
            tls_key=tls_key,
        ),
    }
    settings = {name: value for name, value in given.items() if value not in (None, [], {})}
    with serve_extra():
        from stts_runtime.serve.run import checked, run_server
        from stts_runtime.serve.settings import ServeConfig

    if config is None and bundle is None:
        raise UserError("give BUNDLE, or --config FILE that names one (see stts-runtime serve --help)")

    def read() -> ServeConfig:
        return configured(ServeConfig, config, settings, log)

    if check or connect:
        show_check(lambda: check_cameras(checked(read()), connect=connect))
        return
    reread = None if config is None else Reread(asked_by_sighup(), read)
    run_server(read(), stopped_by_signals(log), log, reread)


def _server(token_file: Path | None, **options: Any) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None}
    if token_file is not None:
        given["token"] = {"file": token_file}
    elif os.environ.get(_TOKEN_VARIABLE):
        given["token"] = {"env": _TOKEN_VARIABLE}
    return given
