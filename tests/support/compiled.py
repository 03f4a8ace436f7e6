"""Bundles with compiled engines, without compiling: passports as they would be, and plans that the fake can run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, FlavourName
from stts_runtime.bundle.files import record_of
from stts_runtime.device import Device, Gpu
from stts_runtime.passports import EngineStore, Lengths, Passport
from stts_runtime.passports.passport import PASSPORT_SCHEMA
from tests.support import fake_tensorrt

WORKSTATION = Device(
    platform="linux-x86_64",
    gpu=Gpu("NVIDIA RTX A4000", "sm86", 16_000_000_000),
    driver="580.65.06",
    l4t=None,
    no_gpu_because=None,
)
JETSON = replace(
    WORKSTATION, platform="linux-aarch64", gpu=Gpu("Orin", "sm87", 64_000_000_000), driver=None, l4t="36.4.7"
)


def passport_of(bundle: Bundle, part: str, flavour: FlavourName, lowering: str, **changes: Any) -> Passport:
    """A passport that fits the bundle and `WORKSTATION`, but for `changes`."""
    graph = bundle.manifest.parts()[part][lowering]
    context, files = bundle.manifest.language.context, bundle.manifest.files
    fields: dict[str, Any] = {
        "schema_version": PASSPORT_SCHEMA,
        "part": part,
        "flavour": flavour,
        "version": fake_tensorrt.__version__,
        "platform": WORKSTATION.platform,
        "architectures": ["sm86"],
        "driver": WORKSTATION.driver,
        "l4t": None,
        "lowering": lowering,
        "precision": graph.precision,
        "wide": graph.wide,
        "lengths": Lengths(shortest=1, usual=256, longest=context) if part == LANGUAGE else None,
        "graph_sha256": files[graph.graph].sha256,
        "weights_sha256": files[graph.weights].sha256,
        "plan_sha256": "0" * 64,
        "plan_bytes": 1,
        "created": "2026-11-22T00:00:00+00:00",
        "seconds": 1.0,
        "peak_memory_mb": 500.0,
        "command": f"stts-runtime compile {bundle.folder.name} --engine {flavour}",
    }
    return Passport(**{**fields, **changes})


def put_engine(bundle: Bundle, part: str, flavour: FlavourName, lowering: str, **changes: Any) -> None:
    """An engine that the fake runs, with its passport."""
    graph = bundle.manifest.parts()[part][lowering]
    store = EngineStore(bundle.folder)
    with store.scratch() as scratch:
        plan = scratch / "plan"
        plan.write_bytes(fake_tensorrt.plan_of(bundle.folder / graph.graph))
        record = record_of(plan)
        sizes = {"plan_sha256": record.sha256, "plan_bytes": record.size_bytes}
        store.put(passport_of(bundle, part, flavour, lowering, **{**sizes, **changes}), plan)


def with_engines(
    bundle: Bundle, folder: Path, flavour: FlavourName, lowering: str = "tensorrt", **changes: Any
) -> Bundle:
    """A copy of the bundle with an engine of every part."""
    copy = Bundle.open(Path(shutil.copytree(bundle.folder, folder / "bundle")))
    for part in copy.manifest.parts():
        put_engine(copy, part, flavour, lowering, **changes)
    return copy
