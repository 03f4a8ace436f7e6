"""What an engine has become: layers and data types, asked of TensorRT's inspector on the device that compiled it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stts_runtime.passports import Inspected
from stts_runtime.tensorrt import Flavour, Log
from stts_runtime.tensorrt.files import load_plan

# What the inspector calls data types, which has changed with the versions: "Row major linear FP16 format", "Half".
# The first that is found counts.
_TYPES = {
    "bfloat16": r"BF16|BFloat16",
    "float16": r"FP16|Half",
    "float32": r"FP32|Float(?![0-9])",
    "float8": r"FP8",
    "float4": r"FP4",
    "int64": r"Int64",
    "int32": r"Int32",
    "uint8": r"UInt8",
    "int8": r"Int8",
    "int4": r"Int4",
    "bool": r"Bool",
}


def inspect_plan(flavour: Flavour, plan: Path) -> Inspected:
    """Loads the engine that was just built, which needs the GPU that it was built for.

    Raises `EngineError` with TensorRT's own text if it does not load.
    """
    loaded = load_plan(flavour, plan, Log(), f"{flavour.name} built an engine that it cannot load")
    described = loaded.engine.create_engine_inspector().get_engine_information(flavour.api.LayerInformationFormat.JSON)
    return Inspected(layers=int(loaded.engine.num_layers), outputs=count_types(described))


def count_types(described: str) -> dict[str, int]:
    """Outputs of layers by data type, from the inspector's JSON; empty where it tells names alone, or no JSON."""
    try:
        layers = json.loads(described).get("Layers", [])
    except (ValueError, AttributeError):
        return {}
    counts = Counter(_type_of(output) for layer in layers for output in _outputs(layer))
    return dict(sorted(counts.items()))


def _outputs(layer: Any) -> Iterator[dict[str, Any]]:
    outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
    return (output for output in outputs if isinstance(output, dict))


def _type_of(output: dict[str, Any]) -> str:
    text = str(output.get("Format/Datatype", ""))
    return next((name for name, words in _TYPES.items() if re.search(words, text, re.IGNORECASE)), "other")
