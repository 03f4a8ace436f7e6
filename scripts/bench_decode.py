#!/usr/bin/env python3
"""Checks the kernels of `stts_runtime.cuda_decode` on a GPU, and times a layer against a copy of its bytes.

    PYTHONPATH=runtime:tools python3 scripts/bench_decode.py --sweep build/decode_sweep --out decode.json

Needs numpy, typer and cuda-bindings, and neither torch nor a bundle: weights are random, of Molmo2-4B's size, all 36
layers in memory of their own. `--sweep` is the folder that `scripts/compile_kernels.py --sweep` wrote: with it every
kernel's tiling is chosen by time. Every section is a process of its own; what failed stands in the JSON with its error.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from stts_runtime.cuda_decode.variants import KINDS
from stts_tools.decode_bench.run import attempt, deadline, run_section

_SHARES = {"machine": 0.05, "checks": 0.23, "dense": 0.28, "float8": 0.21, "int4": 0.23}
"""Shares of the time."""
_GRACE_S = 14.0
"""For what a section still has to do when its search is over."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _child(section: str, sweep: Path | None, seconds: float, output: Path) -> None:
    results: dict[str, Any] = {}

    def note(name: str, value: Any) -> None:
        results[name] = value
        output.write_text(json.dumps(results))
        if name != "tried":
            print(f"{section}: {name}: {json.dumps(value)}", flush=True)

    failed = attempt(lambda: run_section(section, sweep, deadline(seconds - _GRACE_S), note))
    if failed is not None:
        note("error", failed)


def _parent(sweep: Path | None, seconds: float, output: Path, sections: list[str]) -> dict[str, Any]:
    results: dict[str, Any] = {"command": sys.argv, "date": time.strftime("%Y-%m-%dT%H:%M:%S")}
    for section in sections:
        share = seconds * _SHARES[section] / sum(_SHARES[one] for one in sections)
        partial = output.with_suffix(f".{section}.json")
        command = [sys.executable, __file__, "--section", section, "--seconds", str(share), "--out", str(partial)]
        if sweep is not None:
            command += ["--sweep", str(sweep)]
        begin = time.monotonic()
        ended = attempt(lambda: subprocess.run(command, check=False, timeout=share + 8).returncode)  # noqa: B023
        results[section] = json.loads(partial.read_text()) if partial.exists() else {}
        results[section]["ended"], results[section]["seconds"] = ended, round(time.monotonic() - begin, 1)
        partial.unlink(missing_ok=True)
        output.write_text(json.dumps(results, indent=1))
    return results


@app.command(help=__doc__)
def main(
    sweep: Annotated[Optional[Path], typer.Option(help="Folder of candidates. Default: the packaged tilings.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Of all sections together.")] = 200.0,
    out: Annotated[Path, typer.Option(help="Report, .json.")] = Path("decode.json"),
    only: Annotated[Optional[list[str]], typer.Option(help=f"One of {', '.join(_SHARES)}; repeatable.")] = None,
    section: Annotated[Optional[str], typer.Option(hidden=True)] = None,
) -> None:
    if section:
        _child(section, sweep, seconds, out)
        return
    if unknown := set(only or ()) - set(_SHARES):
        raise typer.BadParameter(f"no section {', '.join(sorted(unknown))}; there are {', '.join(_SHARES)}")
    results = _parent(sweep, seconds, out, only or list(_SHARES))
    for kind in KINDS:
        results.get(kind, {}).pop("tried", None)
    print(json.dumps(results))


if __name__ == "__main__":
    app()
