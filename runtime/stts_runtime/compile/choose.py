"""What a request comes down to: which graph of each part, for which architectures, with which profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import LANGUAGE, VISION, Graph, Graphs, compilable, major_minor
from stts_runtime.device import Device
from stts_runtime.errors import BundleError, UserError
from stts_runtime.passports import Lengths
from stts_runtime.tensorrt import Flavour, FlavourName

_USUAL_TOKENS = 256
"""Kernels are chosen for a prefill of about this size: one range serves prefill and single tokens, and a kernel for
single tokens would make long prefills many times slower, while one for many wastes less on single tokens."""

_OLDEST = "10.3"
"""The first version of TensorRT that is compiled with."""
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
    known = [part.removeprefix(f"{VISION}.") for part in bundle.manifest.parts() if part != LANGUAGE]
    unknown = [name for name in variants if name not in known]
    if unknown:
        raise UserError(f"{bundle.folder} has no variant {unknown[0]!r}; it has {', '.join(known)}")
    names = [f"{VISION}.{name}" for name in variants or known]
    return [_part(bundle, flavour, name) for name in (*names, LANGUAGE)]


def _part(bundle: Bundle, flavour: Flavour, name: str) -> Part:
    lowering, graph = _graph_for(bundle, flavour, bundle.manifest.parts()[name])
    context = bundle.manifest.language.context
    lengths = Lengths(shortest=1, usual=min(_USUAL_TOKENS, context), longest=context) if name == LANGUAGE else None
    return Part(name, lowering, graph, lengths)


def _graph_for(bundle: Bundle, flavour: Flavour, graphs: Graphs) -> tuple[str, Graph]:
    """The newest way of writing that this version reads."""
    _check_version(flavour)
    made_for_it = compilable(graphs)
    readable = {name: graph for name, graph in made_for_it.items() if _reads(flavour, graph)}
    if readable:
        return max(readable.items(), key=lambda item: major_minor(item[1].minimum_backend_version))
    rebuild = bundle.manifest.rebuild_for(flavour.name)
    if not made_for_it:
        raise BundleError(
            f"{bundle.folder} has graphs for {', '.join(graphs)} and none for {flavour.name}; build it again with: "
            f"{rebuild}"
        )
    oldest = min(made_for_it.values(), key=lambda graph: major_minor(graph.minimum_backend_version))
    raise BundleError(
        f"{flavour.name} {flavour.version} cannot read the graphs of {bundle.folder}, which need "
        f"{oldest.minimum_backend_version} or newer; build it again with: {rebuild}"
    )


def _check_version(flavour: Flavour) -> None:
    """Graphs for 8.6 are in the bundle, but its builder chooses precisions by itself, and that is not held in check
    yet: it would compute in another precision without a word.
    """
    if not flavour.reads_newest_graphs and major_minor(flavour.version) < major_minor(_OLDEST):
        raise UserError(
            f"{flavour.name} {flavour.version} is too old for these graphs: update it to {_OLDEST} or newer"
        )


def _reads(flavour: Flavour, graph: Graph) -> bool:
    return flavour.reads_newest_graphs or major_minor(flavour.version) >= major_minor(graph.minimum_backend_version)


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
