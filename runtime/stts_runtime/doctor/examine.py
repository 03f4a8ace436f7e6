"""Every check in turn. It knows their order, and nothing about what they check."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from stts_runtime.bundle import MANIFEST, Bundle
from stts_runtime.device import Device
from stts_runtime.device.device import ROOT
from stts_runtime.doctor.decode import single_tokens_fact
from stts_runtime.doctor.extras import extras_facts
from stts_runtime.doctor.gpu import gpu_facts
from stts_runtime.doctor.host import host_facts
from stts_runtime.doctor.modules import look_for
from stts_runtime.doctor.onnxruntime import cpu_target, cuda_target, onnxruntime_facts
from stts_runtime.doctor.report import Fact, Report
from stts_runtime.doctor.tensorrt import has_apt_module, rtx_target, tensorrt_facts, tensorrt_target
from stts_runtime.doctor.video import video_facts
from stts_runtime.errors import BundleError
from stts_runtime.references.reference import PROOF

_NAME = "trial of the engines"


def bundle_facts(folder: Path, device: Device) -> list[Fact]:
    """Nothing for a folder that is no bundle."""
    if not (folder / MANIFEST).is_file():
        return []
    try:
        bundle = Bundle.open(folder)
        single_tokens = single_tokens_fact(bundle, device)
    except BundleError as error:
        return [Fact.of(_NAME, None, str(error))]
    proven = PROOF in bundle.manifest.files
    command = shlex.join(["stts-runtime", "check", str(folder)])
    otherwise = f"this bundle carries no {PROOF}; an older stts-export built it"
    trial = Fact.of(_NAME, command if proven else None, otherwise)
    return [trial] if single_tokens is None else [trial, single_tokens]


def examine(folder: Path, device: Device, root: Path = ROOT) -> Report:
    """`folder` is where bundles are, `device` this machine; /etc, /proc and /usr are read under `root`."""
    onnxruntime = look_for("onnxruntime", "ONNX Runtime")
    bindings = look_for("cuda.bindings.runtime", "cuda-bindings")
    tensorrt = look_for("tensorrt", "TensorRT")
    rtx = look_for("tensorrt_rtx", "TensorRT-RTX")
    lean = look_for("tensorrt_lean_bindings", "TensorRT lean")
    return Report(
        targets=[
            cpu_target(onnxruntime, sys.version_info[:2]),
            cuda_target(device, onnxruntime, bindings),
            tensorrt_target(device, tensorrt, bindings, has_apt_module(root)),
            rtx_target(device, rtx, bindings),
        ],
        facts=[
            *host_facts(folder, device, root),
            *gpu_facts(device, bindings),
            *onnxruntime_facts(onnxruntime),
            *tensorrt_facts(tensorrt, rtx, lean),
            *video_facts(device),
            *extras_facts(),
            *bundle_facts(folder, device),
        ],
    )
