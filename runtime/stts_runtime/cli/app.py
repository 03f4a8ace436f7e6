"""The program `stts-runtime`: one file a command."""

from __future__ import annotations

import typer

from stts_runtime.cli.bench import bench_command
from stts_runtime.cli.chat import chat_command
from stts_runtime.cli.check import check_command
from stts_runtime.cli.compile import compile_command
from stts_runtime.cli.doctor import doctor_command
from stts_runtime.cli.explain import explain_command
from stts_runtime.cli.mask import mask_command
from stts_runtime.cli.options import VersionOption
from stts_runtime.cli.run import run_command
from stts_runtime.cli.search import search_command
from stts_runtime.cli.serve import serve_command
from stts_runtime.cli.show import inspect_command
from stts_runtime.cli.stream import stream_command

app = typer.Typer(name="stts-runtime", add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def program(version: VersionOption = False) -> None:
    """Runs STTS bundles without torch: answers about files, cameras and a live page, benchmarks, TensorRT engines."""


app.command("run")(run_command)
app.command("chat")(chat_command)
app.command("explain")(explain_command)
app.command("stream")(stream_command)
app.command("mask")(mask_command)
app.command("serve")(serve_command)
app.command("search", context_settings={"ignore_unknown_options": True})(search_command)
app.command("bench")(bench_command)
app.command("inspect")(inspect_command)
app.command("compile")(compile_command)
app.command("check")(check_command)
app.command("doctor")(doctor_command)
