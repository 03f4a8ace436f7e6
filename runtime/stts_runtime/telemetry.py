"""ONNX Runtime's own telemetry: its Linux wheels write a device id and a database into the home folder, and send what
they are used for, unless a variable forbids it before they are imported. Here it is off unless the user turns it on.
"""

from __future__ import annotations

import os
import sys
import warnings

VARIABLE = "ORT_DISABLE_TELEMETRY"
"""0 turns it on: ONNX Runtime reads 1 alone as off."""


def turn_off_telemetry() -> None:
    """For this process and all that it starts. Each of our packages calls it before it imports anything else.

    Warns, once, if ONNX Runtime was there before: what it does at its import is done.
    """
    if os.environ.get(VARIABLE):
        return
    os.environ[VARIABLE] = "1"
    loaded = sys.modules.get("onnxruntime")
    if loaded is not None:
        loaded.disable_telemetry_events()
        warnings.warn(
            "onnxruntime was imported before stts_runtime, so its telemetry has begun: import stts_runtime first, or "
            f"set {VARIABLE}=1 (0 leaves it on)",
            stacklevel=3,
        )
