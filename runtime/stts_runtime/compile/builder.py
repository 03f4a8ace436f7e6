"""One graph -> one serialized engine, with TensorRT's builder. Runs in a child process (`worker`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stts_runtime.compile.monitor import make_monitor
from stts_runtime.compile.request import PartRequest, Progress
from stts_runtime.errors import EngineError
from stts_runtime.passports import Lengths
from stts_runtime.tensorrt import Flavour, Log, make_logger


def build_plan(flavour: Flavour, request: PartRequest, tell: Callable[[Progress], None]) -> list[str]:
    """Writes `request.plan`; returns TensorRT's warnings.

    Raises `EngineError` with TensorRT's own text if it refuses the graph or fails to build it.
    """
    api, log = flavour.api, Log()
    logger = make_logger(api, log)
    builder = api.Builder(logger)
    network, parser = _parsed(api, builder, logger, request.graph, log)
    config = builder.create_builder_config()
    config.progress_monitor = make_monitor(api, tell)
    if request.lengths is not None:
        config.add_optimization_profile(_profile(builder, network, request.lengths))
    if request.architectures is not None:
        _compile_for(api, config, request.architectures)
    cache = _timing_cache(flavour, config, request.timing_cache)
    plan = builder.build_serialized_network(network, config)
    # The parser owns the weights that the network refers to.
    del parser
    if plan is None:
        raise EngineError(
            f"{flavour.name} could not build {Path(request.graph).name}: {log.explain('no reason given')}"
        )
    Path(request.plan).write_bytes(plan)
    _save_timing_cache(cache, request.timing_cache)
    return log.warnings


def _parsed(api: Any, builder: Any, logger: Any, graph: str, log: Log) -> tuple[Any, Any]:
    # Networks of TensorRT 11 and TensorRT-RTX are strongly typed as they are; TensorRT 10 has to be asked.
    strongly_typed = getattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))
    parser = api.OnnxParser(network, logger)
    if not parser.parse_from_file(graph):
        reasons = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        reason = reasons[0] if reasons else log.explain("no reason given")
        raise EngineError(f"TensorRT {api.__version__} cannot read {Path(graph).name}: {reason}")
    return network, parser


def _profile(builder: Any, network: Any, lengths: Lengths) -> Any:
    profile = builder.create_optimization_profile()
    for number in range(network.num_inputs):
        tensor = network.get_input(number)
        shapes = [
            tuple(length if size == -1 else size for size in tensor.shape)
            for length in (lengths.shortest, lengths.usual, lengths.longest)
        ]
        if -1 in tuple(tensor.shape):
            profile.set_shape(tensor.name, *shapes)
    return profile


def _compile_for(api: Any, config: Any, architectures: list[str]) -> None:
    config.num_compute_capabilities = len(architectures)
    for number, name in enumerate(architectures):
        config.set_compute_capability(getattr(api.ComputeCapability, name.upper()), number)


def _timing_cache(flavour: Flavour, config: Any, path: str | None) -> Any:
    """What TensorRT learned on this device in earlier builds. TensorRT-RTX times nothing while it compiles."""
    if path is None or flavour.compiles_without_gpu:
        return None
    stored = Path(path).read_bytes() if Path(path).exists() else b""
    cache = config.create_timing_cache(stored)
    config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _save_timing_cache(cache: Any, path: str | None) -> None:
    if cache is None or path is None:
        return
    scratch = Path(path).with_suffix(".partial")
    scratch.write_bytes(cache.serialize())
    scratch.replace(path)
