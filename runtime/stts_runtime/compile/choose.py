"""What a request comes down to: which graph of each part, for which architectures, with which profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, FlavourName, variant_of, vision_part
from stts_runtime.bundle.manifest import Graph, Graphs, compilable, major_minor
from stts_runtime.device import Device
from stts_runtime.errors import BundleError, UserError
from stts_runtime.passports import Lengths
from stts_runtime.tensorrt import Flavour

_USUAL_TOKENS = 256
"""Kernels are chosen for a prefill of about this size: one range serves prefill and single tokens, and a kernel for
single tokens would make long prefills many times slower, while one for many wastes less on single tokens."""

_OLDEST = "8.6"
"""The first version of TensorRT that any graph is written for."""
_FIRST_WITH_SCALES = "10.3"
"""The first that reads quantized graphs."""
_WITHOUT_FLOAT32 = {"sm75"}
"""TensorRT-RTX has no float32 products for Turing (tried with 1.7), and the scorer computes in float32."""


@dataclass(frozen=True)
class Part:
    """One part of a bundle, ready to be compiled."""

    name: str
    lowering: str
    graph: Graph
    lengths: Lengths | None


def parts_of(bundle: Bundle, flavour: Flavour, variants: Sequence[str]) -> list[Part]:
    """The named variants, or all, live ones included, and the language model, which every one of them needs.

    Raises `UserError` for a variant that is not there, and `BundleError` if no graph suits this version of TensorRT.
    """
    known = [variant_of(part) for part in bundle.manifest.parts() if part != LANGUAGE]
    unknown = [name for name in variants if name not in known]
    if unknown:
        raise UserError(f"{bundle.folder} has no variant {unknown[0]!r}; it has {', '.join(known)}")
    names = [vision_part(name) for name in variants or known]
    return [_part(bundle, flavour, name) for name in (*names, LANGUAGE)]


def _part(bundle: Bundle, flavour: Flavour, name: str) -> Part:
    lowering, graph = _graph_for(bundle, flavour, bundle.manifest.parts()[name])
    _check_precision(name, graph, flavour)
    lengths = lengths_in(bundle.manifest.language.context) if name == LANGUAGE else None
    return Part(name, lowering, graph, lengths)


def lengths_in(context: int) -> Lengths:
    """The profile of a language graph with this many slots."""
    return Lengths(shortest=1, usual=min(_USUAL_TOKENS, context), longest=context)


def _graph_for(bundle: Bundle, flavour: Flavour, graphs: Graphs) -> tuple[str, Graph]:
    """The newest way of writing that this version reads: `tensorrt-8` from 8.6 on, `tensorrt-10` from 10.3 on,
    `tensorrt` from 10.15 on.
    """
    made_for_it = compilable(graphs)
    readable = {name: graph for name, graph in made_for_it.items() if _reads(flavour, graph)}
    if readable:
        return max(readable.items(), key=lambda item: major_minor(item[1].minimum_backend_version))
    raise _nothing_to_read(bundle, flavour, graphs, made_for_it)


def _nothing_to_read(bundle: Bundle, flavour: Flavour, graphs: Graphs, made_for_it: Graphs) -> UserError:
    rebuild = bundle.manifest.rebuild_for(flavour.name)
    if not made_for_it:
        return BundleError(
            f"{bundle.folder} has graphs for {', '.join(graphs)} and none for {flavour.name}; build it again with: "
            f"{rebuild}"
        )
    installed = f"{flavour.name} {flavour.version}"
    if flavour.number < major_minor(_OLDEST):
        return UserError(
            f"{installed} is too old: graphs are written for {_OLDEST} and newer, which JetPack has from 6.0 on"
        )
    oldest = min((graph.minimum_backend_version for graph in made_for_it.values()), key=major_minor)
    if bundle.manifest.quantization is not None and flavour.number < major_minor(_FIRST_WITH_SCALES):
        return BundleError(
            f"{installed} cannot read the quantized graphs of {bundle.folder}: int8 with scales in 16 bits and fp8 "
            f"need opset 19, which TensorRT reads from {oldest} on; compile the bundle that it was calibrated from"
        )
    stays = "; on JetPack 6.0 TensorRT itself cannot be updated" if flavour.is_before_10 else ""
    return BundleError(
        f"{installed} cannot read the graphs of {bundle.folder}, which need {oldest} or newer{stays}; build it again "
        f"with: {rebuild}"
    )


def _check_precision(part: str, graph: Graph, flavour: Flavour) -> None:
    """Raises `BundleError` if this version has no bf16 and the graph computes in it."""
    if (graph.precision != "bf16" and not graph.wide) or flavour.has_bf16:
        return
    where = f" in {', '.join(graph.wide)}, whose values come near the end of fp16" if graph.wide else ""
    remedy = "" if graph.wide else ", or build the bundle with --precision fp16"
    raise BundleError(
        f"{part} computes in bf16{where}, and {flavour.name} {flavour.version} has no bf16; compile it with 10.3 or "
        f"newer (from JetPack 6.1 on){remedy}"
    )


def _reads(flavour: Flavour, graph: Graph) -> bool:
    return flavour.reads_newest_graphs or flavour.number >= major_minor(graph.minimum_backend_version)


def check_place(flavour: FlavourName, device: Device) -> None:
    """Raises `UserError` where no TensorRT can compile what is asked for, installed or not."""
    if flavour == "tensorrt" and device.gpu is None:
        raise UserError(
            f"TensorRT compiles on the device that runs the engine, and there is no NVIDIA GPU here "
            f"({device.no_gpu_because}); run this command there, or compile ahead of time with --engine tensorrt-rtx"
        )


def architectures_for(flavour: Flavour, wanted: Sequence[str], device: Device) -> list[str]:
    """What to compile for: the architectures asked for, or that of this machine's GPU.

    Raises `UserError` if that is impossible.
    """
    if not flavour.compiles_without_gpu:
        return [_own_architecture(flavour, wanted, device)]
    listed = {name.lower() for name in dir(flavour.api.ComputeCapability) if name.startswith("SM")}
    known = sorted(listed - _WITHOUT_FLOAT32, key=lambda name: int(name[2:]))
    if not wanted and device.gpu is None:
        raise UserError(
            f"there is no GPU here to compile for ({device.no_gpu_because}); say which, of {', '.join(known)}: "
            "--arch sm86,sm89"
        )
    names = list(dict.fromkeys(wanted)) or [device.gpu.architecture if device.gpu else ""]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"{flavour.name} {flavour.version} does not compile these graphs for {unknown[0]}, but for "
            f"{', '.join(known)}"
        )
    return names


def _own_architecture(flavour: Flavour, wanted: Sequence[str], device: Device) -> str:
    assert device.gpu is not None, "`check_place` comes first"
    if [name for name in wanted if name != device.gpu.architecture]:
        raise UserError(
            f"{flavour.name} compiles for the GPU of this machine only ({device.gpu.architecture}); run this command "
            "on the other one, or compile ahead of time with --engine tensorrt-rtx"
        )
    return device.gpu.architecture
