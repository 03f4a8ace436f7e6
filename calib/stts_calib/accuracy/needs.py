"""What an evaluation needs, told before it starts; how long it takes is known with its first clip."""

from __future__ import annotations

from collections.abc import Sequence

from stts_calib.accuracy.settings import Setting
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, vision_part
from stts_runtime.engines import BACKENDS, EngineName


def weights_held(bundle: Bundle, settings: Sequence[Setting], engine: EngineName, jobs: int) -> str:
    """In words: what its engines hold of weights, each its own. Activations come on top, unknown before they run."""
    parts = [LANGUAGE, *sorted({vision_part(setting.variant) for setting in settings})]
    files = bundle.manifest.files
    size = sum(files[BACKENDS[engine].graph(bundle, part).weights].size_bytes for part in parts)
    engines = f"{len(parts)} engines" if jobs == 1 else f"{len(parts)} engines in each of {jobs} processes"
    return f"{engines} hold {_size(jobs * size)} of weights, and need working memory on top"


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
