#!/usr/bin/env python3
"""Checks the kernels of `stts_runtime.cuda_decode` on a GPU, and times a layer of them beside a copy of its bytes.

    PYTHONPATH=runtime:tools python3 scripts/bench_decode.py --sweep build/decode_sweep --output decode.json

Needs numpy and cuda-bindings, and neither torch nor a bundle: weights are random, of Molmo2-4B's size, all 36 layers in
memory of their own. `--sweep` is the folder that `scripts/compile_kernels.py --sweep` wrote: with it every kernel's
tiling is chosen by time. Every section is a process of its own; what failed stands in the JSON with its error.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from stts_tools.decode_bench.run import KINDS, attempt, deadline, run_section

_SHARES = {"machine": 0.05, "checks": 0.23, "dense": 0.28, "float8": 0.21, "int4": 0.23}
"""Of the time."""
_GRACE_S = 14.0
"""For what a section still has to do when its search is over."""


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
        command = [sys.executable, __file__, "--section", section, "--seconds", str(share), "--output", str(partial)]
        if sweep is not None:
            command += ["--sweep", str(sweep)]
        begin = time.monotonic()
        ended = attempt(lambda: subprocess.run(command, check=False, timeout=share + 8).returncode)  # noqa: B023
        results[section] = json.loads(partial.read_text()) if partial.exists() else {}
        results[section]["ended"], results[section]["seconds"] = ended, round(time.monotonic() - begin, 1)
        partial.unlink(missing_ok=True)
        output.write_text(json.dumps(results, indent=1))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", type=Path, help="the folder with candidates; the packaged tilings alone if left out")
    parser.add_argument("--seconds", type=float, default=200.0, help="of all sections together")
    parser.add_argument("--output", type=Path, default=Path("decode.json"))
    parser.add_argument("--only", nargs="*", choices=list(_SHARES), default=list(_SHARES), help="sections to run")
    parser.add_argument("--section", choices=list(_SHARES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.section:
        _child(arguments.section, arguments.sweep, arguments.seconds, arguments.output)
        return
    results = _parent(arguments.sweep, arguments.seconds, arguments.output, arguments.only)
    for kind in KINDS:
        results.get(kind, {}).pop("tried", None)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
