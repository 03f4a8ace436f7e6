"""`stts-runtime fleet`: the cameras of a file, over the machines of a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stts_runtime.cli.log import LogFormat, LogFormatOption, LogLevel, LogLevelOption
from stts_runtime.cli.long_running import asked_by_sighup, configured, opened_log, stopped_by_signals
from stts_runtime.extras import serve_extra
from stts_runtime.stream.reload import Reread


def fleet_command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML or TOML, as `stream --config` takes it.")],
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Spreads cameras over the machines and GPUs of a Ray cluster: one page, one search, one place for records.

    Runs until SIGTERM or Ctrl-C. SIGHUP reads the file again.
    """
    log = opened_log(log_format, log_level)
    with serve_extra():
        from stts_runtime.fleet.config import FleetConfig
        from stts_runtime.fleet.run import run_fleet

    def read() -> FleetConfig:
        return configured(FleetConfig, config, {}, log)

    first = read()
    run_fleet(first, lambda: stopped_by_signals(log), log, Reread(asked_by_sighup(), read))
