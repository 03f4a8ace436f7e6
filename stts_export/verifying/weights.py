"""The bundle's weights against the checkpoint's, one by one: rounding to the stored type explains no difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from stts_export.checkpoint import LazyModules
from stts_export.checkpoint.lazy_weights import Read
from stts_export.graphs.derived import Derivation, stored_derivations
from stts_export.molmo2.names import BASE_EMBEDDING, HEAD
from stts_runtime.bundle import Bundle
from stts_runtime.proof.finding import Finding
from stts_runtime.tell import Tell

_SUBJECT, _DERIVED = "weights", "derived weights"
_NAMES_SHOWN = 4


def compare_weights(bundle: Bundle, modules: LazyModules, tell: Tell) -> Iterator[Finding]:
    """One finding for each weight file of the bundle, and one more where it has derived weights."""
    shapes = {name: tuple(tensor.shape) for name, tensor in _placeholders(modules).items()}
    graphs = [graph for part in bundle.manifest.parts().values() for graph in part.values()]
    for file in sorted({graph.weights for graph in graphs}):
        tell(f"comparing the weights in {file}")
        path = bundle.file(file)
        derivations = stored_derivations(path)
        names = [name for name in _names(path) if name not in derivations]
        # A head that equals the embedding is no weight of its own here, and was one to older versions.
        unknown = [name for name in names if name not in shapes and name != HEAD]
        known = [name for name in names if name not in unknown]
        different = [name for name in known if not _equal(path, name, _given(name, modules.read))]
        yield _finding(
            _SUBJECT,
            file,
            len(different) + len(unknown),
            len(names),
            "; ".join(_explained(path, name, shapes, modules.read) for name in different[:_NAMES_SHOWN])
            or (f"the checkpoint has no {', '.join(unknown[:_NAMES_SHOWN])}" if unknown else None),
        )
        if derivations:
            yield _derived(path, derivations, modules.read)


def _derived(path: Path, derivations: Mapping[str, Derivation], read: Read) -> Finding:
    """Weights that were made of the checkpoint's for a lowering, against what is made of them now."""
    prefix = f"{path.name.partition('.')[0]}."
    stored = set(_names(path))
    different = [
        name
        for name, derivation in derivations.items()
        if name not in stored or not _equal(path, name, derivation.weight(read, prefix))
    ]
    detail = f"not what is derived now: {', '.join(different[:_NAMES_SHOWN])}" if different else None
    return _finding(_DERIVED, f"{path.name}, derived", len(different), len(derivations), detail)


def _finding(subject: str, stage: str, wrong: int, names: int, detail: str | None) -> Finding:
    return Finding(
        subject=subject,
        variant=None,
        stage=stage,
        status="missed" if wrong else "ok",
        measured=f"{wrong} of {names} differ" if wrong else f"all {names} equal",
        value=wrong,
        bar="equal to the checkpoint's, rounded",
        detail=detail,
    )


def _placeholders(modules: LazyModules) -> dict[str, Tensor]:
    return {**modules.vision.state_dict(), **modules.language.state_dict()}


def _names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as weights:
        return sorted(weights.keys())


def _stored(path: Path, name: str) -> Tensor:
    with safe_open(path, framework="pt") as weights:
        tensor: Tensor = weights.get_tensor(name)
    return tensor


def _equal(path: Path, name: str, wanted: Tensor) -> bool:
    stored = _stored(path, name)
    return torch.equal(stored, wanted.to(stored.dtype))


def _given(name: str, read: Read) -> Tensor:
    try:
        return read(name)
    except KeyError:
        # A tied head need not be stored.
        return read(BASE_EMBEDDING)


def _explained(path: Path, name: str, shapes: Mapping[str, tuple[int, ...]], read: Read) -> str:
    """Says whose weight it is instead, where it is another one of the checkpoint."""
    stored = _stored(path, name)
    for other in sorted(shapes):
        if other != name and shapes[other] == stored.shape and torch.equal(read(other).to(stored.dtype), stored):
            return f"{name} holds what the checkpoint has as {other}"
    wanted = _given(name, read).to(stored.dtype)
    if wanted.shape != stored.shape:
        return f"{name} is {list(stored.shape)}, and the checkpoint's is {list(wanted.shape)}"
    share = float((stored != wanted).float().mean())
    return f"{name} differs in {100 * share:.3g} % of its values"
