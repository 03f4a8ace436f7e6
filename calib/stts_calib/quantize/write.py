"""A bundle -> the same bundle with quantized graphs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import onnx
from onnx import ModelProto

from stts_calib.quantize.blockwise import quantize_weights
from stts_calib.quantize.integer import quantize_products
from stts_calib.quantize.products import HEAD, blocks_of
from stts_calib.quantize.ranges import Ranges
from stts_calib.quantize.weight_file import WeightFile, weight_names
from stts_runtime.bundle import MANIFEST, Bundle
from stts_runtime.bundle.files import record_of
from stts_runtime.bundle.manifest import (
    LANGUAGE,
    SCHEMA_VERSION,
    VISION,
    Format,
    Graph,
    Graphs,
    Live,
    Manifest,
    Quantization,
)

_BLOCKS_SINCE_OPSET = 21
"""DequantizeLinear by blocks, which 4 bits need."""


@dataclass(frozen=True)
class Recipe:
    """What is quantized, and how. None leaves a part as it is."""

    vision: Ranges | None = None
    """Of activations; the tower then computes in int8."""
    vision_blocks: AbstractSet[str] = frozenset()
    language: Format | None = None

    @property
    def formats(self) -> dict[str, Format | None]:
        return {VISION: "int8" if self.vision else None, LANGUAGE: self.language}

    def can_write(self, graphs: Mapping[str, Graph], lowering: str) -> bool:
        """Whether the parts, by name, can be written in this lowering."""
        of_language = graphs[LANGUAGE]
        if of_language.backend == "tensorrt":
            blocks = of_language.opset >= _BLOCKS_SINCE_OPSET
            return of_language.precision == "fp16" and self.language in (None, *(["int4"] if blocks else []))
        return lowering == "cpu"

    def apply(self, kind: str, model: ModelProto) -> ModelProto:
        """The graph of a part of this kind, quantized; `model` is used up."""
        if kind == VISION and self.vision is not None:
            return quantize_products(model, self.vision, self.vision_blocks)
        if kind == LANGUAGE and self.language is not None:
            return quantize_weights(model, 4 if self.language == "int4" else 8, blocks_of(model) - {HEAD})
        return model


def write_quantized(
    bundle: Bundle,
    folder: Path,
    recipe: Recipe,
    provenance: Quantization | None = None,
    only: str | None = None,
) -> Bundle:
    """Writes a bundle into an empty folder, where a file that `provenance` names may lie already.

    It has the lowerings that the recipe can be written in, or `only` one of them.
    """
    manifest = bundle.manifest
    shutil.copyfile(bundle.file(manifest.prompt.tokenizer), folder / manifest.prompt.tokenizer)
    written: dict[str, dict[str, Graph]] = {part: {} for part in manifest.parts()}
    by_weights: dict[str, list[_Place]] = {}
    for lowering in lowerings_of(bundle, recipe) if only is None else [only]:
        for part, graphs in manifest.parts().items():
            by_weights.setdefault(graphs[lowering].weights, []).append(_Place(part, lowering, graphs[lowering]))
    for weights, places in by_weights.items():
        for place, graph in _write(bundle, folder, weights, places, recipe):
            written[place.part][place.lowering] = graph
    (folder / MANIFEST).write_text(_manifest(bundle, folder, written, provenance).model_dump_json(indent=2) + "\n")
    return Bundle.open(folder)


def lowerings_of(bundle: Bundle, recipe: Recipe) -> list[str]:
    """Those of the bundle that the recipe can be written in."""
    parts = bundle.manifest.parts()
    return [
        name
        for name in bundle.manifest.language.graphs
        if recipe.can_write({part: graphs[name] for part, graphs in parts.items()}, name)
    ]


@dataclass(frozen=True)
class _Place:
    """A graph of the source, and where it belongs."""

    part: str
    lowering: str
    graph: Graph

    @property
    def kind(self) -> str:
        return self.part.partition(".")[0]


def _write(
    bundle: Bundle, folder: Path, weights: str, places: Sequence[_Place], recipe: Recipe
) -> list[tuple[_Place, Graph]]:
    """All graphs over one weight file."""
    kind, file = places[0].kind, WeightFile()
    form = recipe.formats[kind]
    bundle.file(weights)
    if form is None:
        for name in {place.graph.graph for place in places} | {weights}:
            shutil.copyfile(bundle.file(name), folder / name)
        return [(place, place.graph) for place in places]
    sources = frozenset().union(*(weight_names(bundle.file(place.graph.graph)) for place in places))
    models = []
    for place in places:
        models.append(recipe.apply(kind, onnx.load(bundle.file(place.graph.graph))))
        # What is left of it is small, so that all of them can wait.
        file.take(models[-1], sources)
    path = folder / weights.replace(f"{kind}.", f"{kind}.{form}.", 1)
    file.write(path)
    written = []
    for place, model in zip(places, models, strict=True):
        file.refer(model, path)
        name = place.graph.graph.replace(f"{place.part}.", f"{place.part}.{form}.", 1)
        onnx.save(model, folder / name)
        onnx.checker.check_model(str(folder / name))
        changes = {"graph": name, "weights": path.name, "quantized": form}
        written.append((place, place.graph.model_copy(update=changes)))
    return written


def _manifest(bundle: Bundle, folder: Path, written: Mapping[str, Graphs], provenance: Quantization | None) -> Manifest:
    old = bundle.manifest

    def graphs(name: str) -> Graphs:
        return written[f"{VISION}.{name}"]

    live = old.live and Live(
        **{
            **dict(old.live),
            "variants": {
                name: one.model_copy(update={"graphs": graphs(name)}) for name, one in old.live.variants.items()
            },
        }
    )
    changed = old.model_copy(
        update={
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "producer": f"stts-export {version('stts-export')}",
            "built_with": {**old.built_with, "onnxruntime": version("onnxruntime"), "onnx": version("onnx")},
            "variants": {name: one.model_copy(update={"graphs": graphs(name)}) for name, one in old.variants.items()},
            "live": live,
            "language": old.language.model_copy(update={"graphs": written[LANGUAGE], "prefill": {}}),
            "quantization": provenance,
            "files": {path.name: record_of(path) for path in sorted(folder.iterdir())},
        }
    )
    # A copy is not validated.
    return Manifest.model_validate(changed.model_dump(exclude_none=True) | {"schema_version": SCHEMA_VERSION})
