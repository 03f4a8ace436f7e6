"""One graph -> one serialized engine, with TensorRT's builder. Runs in a child process (`worker`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from stts_runtime.compile.configure import configure, network_flags
from stts_runtime.compile.monitor import make_monitor
from stts_runtime.compile.request import PartRequest, Progress
from stts_runtime.compile.timing import attach_timing_cache, save_timing_cache
from stts_runtime.errors import EngineError, UserError
from stts_runtime.passports import Lengths
from stts_runtime.places import reason
from stts_runtime.tensorrt import Flavour, Log, made, make_logger


@dataclass(frozen=True)
class Built:
    """What there is to say about a build that succeeded."""

    warnings: list[str]
    """TensorRT's own. What it calls errors meanwhile, such as a timing cache that it does not take, is left out."""
    flags: str
    """See `configure`."""
    note: str | None = None
    """For people: what could not be kept for the next build."""


def build_plan(flavour: Flavour, request: PartRequest, tell: Callable[[Progress], None]) -> Built:
    """Writes `request.plan`.

    Raises `EngineError` with TensorRT's own text if it refuses the graph or fails to build it.
    """
    api, log = flavour.api, Log()
    logger = make_logger(api, log)
    builder = made(f"{flavour.name} does not start", log, lambda: api.Builder(logger))
    network, parser = _parsed(flavour, builder, logger, request.graph, log)
    config = builder.create_builder_config()
    flags = configure(flavour, config, request)
    if flavour.tells_progress:
        config.progress_monitor = make_monitor(api, tell)
    if request.lengths is not None:
        config.add_optimization_profile(_profile(builder, network, request.lengths))
    if request.architectures is not None:
        _compile_for(api, config, request.architectures)
    timing = Path(request.timing_cache) if request.timing_cache else None
    cache = attach_timing_cache(config, timing) if timing else None
    written = _write_plan(flavour, builder, network, config, Path(request.plan))
    # The parser owns the weights that the network refers to.
    del parser
    if not written:
        raise EngineError(f"{flavour.name} could not build {Path(request.graph).name}: {log.explain()}")
    not_kept = save_timing_cache(config, cache, timing) if timing and cache is not None else None
    return Built(log.warnings, flags, not_kept)


def _write_plan(flavour: Flavour, builder: Any, network: Any, config: Any, path: Path) -> bool:
    """Builds the engine straight into the file, which spares a copy of it in memory; False if that fails."""
    if not flavour.writes_to_files:
        plan = builder.build_serialized_network(network, config)
        try:
            return plan is not None and path.write_bytes(plan) > 0
        except OSError as error:
            raise UserError(f"the engine cannot be written to {path.parent}: {reason(error)}") from None
    failures: list[OSError] = []
    with path.open("wb", buffering=0) as file:

        class Writer(flavour.api.IStreamWriter):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                flavour.api.IStreamWriter.__init__(self)

            def write(self, data: bytes) -> int:
                # TensorRT would swallow the exception and call a truncated engine a success.
                try:
                    return _write_all(file, data)
                except OSError as error:
                    failures.append(error)
                    return 0

        built = builder.build_serialized_network_to_stream(network, config, Writer())
    if failures:
        raise UserError(f"the engine cannot be written to {path.parent}: {reason(failures[0])}")
    return bool(built)


def _write_all(file: FileIO, data: bytes) -> int:
    """A disk that is nearly full takes a part first, and fails at the next."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    return len(data)


def _parsed(flavour: Flavour, builder: Any, logger: Any, graph: str, log: Log) -> tuple[Any, Any]:
    api = flavour.api
    network = builder.create_network(network_flags(flavour))
    parser = api.OnnxParser(network, logger)
    if not parser.parse_from_file(graph):
        reasons = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        reason = reasons[0] if reasons else log.explain()
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
