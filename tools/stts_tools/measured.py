"""What a script has measured, with what every file under benchmarks/ says about itself."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from stts_runtime.bench.machine import machine
from stts_runtime.outputs import written_whole


def measured(**content: Any) -> dict[str, Any]:
    """`content` after the moment, the command and the machine."""
    command = [str(Path("scripts", Path(sys.argv[0]).name)), *sys.argv[1:]]
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(command),
        "machine": machine().model_dump(),
        **content,
    }


def write_measured(content: dict[str, Any], out: Path) -> None:
    """Whole, or not at all."""
    with written_whole(out) as scratch:
        scratch.write_text(json.dumps(content, indent=1) + "\n")
