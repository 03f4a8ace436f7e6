"""`stts-runtime fleet`: the cameras of a file, over the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stts_runtime.cli.check_config import show_check
from stts_runtime.cli.help import OPERATION
from stts_runtime.cli.log import LogFormat, LogFormatOption, LogLevel, LogLevelOption
from stts_runtime.cli.long_running import asked_by_sighup, configured, opened_log, stopped_by_signals
from stts_runtime.cli.options import CheckOption
from stts_runtime.extras import serve_extra
from stts_runtime.stream.reload import Reread
from stts_runtime.text import counted

if TYPE_CHECKING:
    from stts_runtime.fleet.check import FleetReport


def fleet_command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML or TOML, as `stream --config` takes it.")],
    check: CheckOption = False,
    connect: Annotated[
        bool,
        typer.Option(
            "--connect",
            help="With --check: also reach each sink, and join the cluster to see which machines would take part.",
            rich_help_panel=OPERATION,
        ),
    ] = False,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Spreads cameras over the machines and GPUs of a Ray cluster: one page, one search, one place for records.

    Runs until SIGTERM or Ctrl-C. SIGHUP reads the file again.
    """
    log = opened_log(log_format, log_level)
    with serve_extra():
        from stts_runtime.fleet.check import check_fleet
        from stts_runtime.fleet.config import FleetConfig
        from stts_runtime.fleet.run import run_fleet

    def read() -> FleetConfig:
        return configured(FleetConfig, config, {}, log)

    if check or connect:
        show_check(lambda: check_fleet(read(), connect=connect), rest=_of_the_fleet)
        return
    first = read()
    run_fleet(first, lambda: stopped_by_signals(log), log, Reread(asked_by_sighup(), read))


def _of_the_fleet(report: FleetReport) -> Iterator[str]:
    settings = report.settings
    bears = settings.bears or "as many streams as it is measured to"
    if isinstance(bears, dict):
        bears = ", ".join(f"{name} {number}" for name, number in bears.items())
    yield f"page      {report.page}"
    yield f"fleet     cluster {settings.address}; lost after {settings.lost_after:g} s; a box bears {bears}"
    if settings.resources:
        asked = ", ".join(f"{amount:g} {name}" for name, amount in settings.resources.items())
        yield f"          of machines that have {asked}"
    if report.places is not None:
        machines, gpus = {one.machine for one in report.places}, sum(one.gpu is not None for one in report.places)
        names = ", ".join(one.name for one in report.places)
        yield f"machines  {len(machines)}, with {counted(gpus, 'GPU')}: {names}"
