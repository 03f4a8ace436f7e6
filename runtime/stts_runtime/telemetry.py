"""The telemetry of dependencies, which is off here unless the user turns it on by the variable that each reads.

ONNX Runtime's Linux wheels write a device id and a database into the home folder, and send what they are used for.
huggingface_hub tells the hub which other libraries are installed, and what runs it.
"""

from __future__ import annotations

import os
import sys
import warnings

VARIABLE = "ORT_DISABLE_TELEMETRY"
"""ONNX Runtime's switch. 0 turns telemetry on; only 1 turns it off."""
HUB_VARIABLE = "HF_HUB_DISABLE_TELEMETRY"
"""The switch of huggingface_hub and hf_xet. 0 turns telemetry on."""


def turn_off_telemetry() -> None:
    """For this process and all that it starts. Each of our packages calls it before it imports anything else.

    Warns, once, if ONNX Runtime was there before: what it does at its import is done.
    """
    if not os.environ.get(HUB_VARIABLE):
        os.environ[HUB_VARIABLE] = "1"
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
