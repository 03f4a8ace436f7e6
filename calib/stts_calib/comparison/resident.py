"""What a bundle takes in memory: measured in a process of its own, that has answered a question."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from stts_runtime.errors import SttsError

_CODE = """
import sys
from pathlib import Path
import psutil
from stts_runtime.video import synthetic_window
from stts_runtime.bundle import Bundle
from stts_runtime.session import Session
bundle = Bundle.open(Path(sys.argv[1]))
variant = bundle.manifest.variants[sys.argv[2]]
session = Session.open(bundle, sys.argv[2])
session.ask(session.watch(synthetic_window(variant.frames, bundle.manifest.vision.image_size)), "What happens?", 8)
print(psutil.Process().memory_info().rss)
"""


def resident_mb(folder: Path, variant: str) -> float:
    """Megabytes, Python and its libraries included."""
    command = [sys.executable, "-c", _CODE, str(folder), variant]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2]
        raise SttsError(f"{folder} cannot be run by itself: {last or f'exit code {done.returncode}'}")
    return round(int(done.stdout) / 1e6, 1)
