"""How much memory a bundle's engines for streams take, and how much is left: two of them have to lie side by side for a
while when one takes over from the other.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, vision_part
from stts_runtime.engines import BACKENDS, EngineName
from stts_runtime.engines.cuda_memory import load_cuda
from stts_runtime.errors import SttsError

_GROUP_LIMIT, _GROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
_CACHE_BYTES = 4
"""Of a number in the language model's cache: on the CPU; on a GPU half of it."""


def answers_at_once(bundle: Bundle, engine: EngineName, most: int) -> int:
    """How many there are graphs for, up to `most`; each takes a cache."""
    if engine not in ("cpu", "cuda"):
        return 1
    language, graph = bundle.manifest.language, BACKENDS[engine].graph(bundle, LANGUAGE)
    lowering = next(name for name, one in language.graphs.items() if one == graph)
    return max([1, *(one.size for one in language.batches if one.size <= most and lowering in one.graphs)])


def weights_and_cache_bytes(bundle: Bundle, engine: EngineName, variants: set[str], answers: int) -> int:
    """Of the files that these engines read, each once, and of the language model's caches, one for each of so many
    `answers` at once: less than they take.
    """
    backend, language = BACKENDS[engine], bundle.manifest.language
    graphs = [backend.graph(bundle, part) for part in (LANGUAGE, *map(vision_part, variants))]
    files = {name for graph in graphs for name in (graph.graph, graph.weights)}
    item = _CACHE_BYTES // 2 if backend.needs_gpu else _CACHE_BYTES
    cache = 2 * language.layers * language.kv_channels * language.context * item * answers
    return sum(bundle.manifest.files[name].size_bytes for name in files) + cache


def taken_bytes(engine: EngineName) -> int:
    """By this process where the engine computes; on a GPU by all processes."""
    if not BACKENDS[engine].needs_gpu:
        return int(psutil.Process().memory_info().rss)
    free, total = _of_gpu() or (0, 0)
    return total - free


def free_bytes(engine: EngineName) -> int | None:
    """Where the engine computes; None if nobody says."""
    if BACKENDS[engine].needs_gpu:
        found = _of_gpu()
        return None if found is None else found[0]
    free = int(psutil.virtual_memory().available)
    # That of a container or service is less than the machine's.
    with suppress(OSError, ValueError):
        free = min(free, int(_GROUP_LIMIT.read_text()) - int(_GROUP_USED.read_text()))
    return free


def _of_gpu() -> tuple[int, int] | None:
    try:
        free, total = load_cuda().call("cudaMemGetInfo")
    except SttsError:
        return None
    return int(free), int(total)
