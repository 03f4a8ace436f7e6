"""A bundle -> the same bundle with quantized graphs."""

from __future__ import annotations

import shutil
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

TARGET = "cpu"


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

    def apply(self, kind: str, model: ModelProto) -> ModelProto:
        """The graph of a part of this kind, quantized; `model` is used up."""
        if kind == VISION and self.vision is not None:
            return quantize_products(model, self.vision, self.vision_blocks)
        if kind == LANGUAGE and self.language is not None:
            return quantize_weights(model, 4 if self.language == "int4" else 8, blocks_of(model) - {HEAD})
        return model


def write_quantized(bundle: Bundle, folder: Path, recipe: Recipe, provenance: Quantization | None = None) -> Bundle:
    """Writes a bundle of the `cpu` graphs into an empty folder; a file that `provenance` names is there already."""
    manifest = bundle.manifest
    shutil.copyfile(bundle.file(manifest.prompt.tokenizer), folder / manifest.prompt.tokenizer)
    graphs = {part: of_part[TARGET] for part, of_part in manifest.parts().items()}
    written: dict[str, Graph] = {}
    for kind in (VISION, LANGUAGE):
        of_kind = {part: graph for part, graph in graphs.items() if part.partition(".")[0] == kind}
        written |= _write_kind(bundle, folder, kind, of_kind, recipe)
    (folder / MANIFEST).write_text(_manifest(bundle, folder, written, provenance).model_dump_json(indent=2) + "\n")
    return Bundle.open(folder)


def _write_kind(bundle: Bundle, folder: Path, kind: str, graphs: dict[str, Graph], recipe: Recipe) -> dict[str, Graph]:
    """Twice through all graphs, since the weights' file must be there before a graph can refer into it."""
    form, file = recipe.formats[kind], WeightFile()
    weights = next(iter(graphs.values())).weights
    if form is None:
        for name in {graph.graph for graph in graphs.values()} | {weights}:
            shutil.copyfile(bundle.file(name), folder / name)
        return graphs
    sources = frozenset().union(*(weight_names(bundle.file(graph.graph)) for graph in graphs.values()))
    bundle.file(weights)
    for graph in graphs.values():
        file.take(recipe.apply(kind, onnx.load(bundle.file(graph.graph))), sources)
    path = folder / f"{kind}.{form}.safetensors"
    file.write(path)
    written = {}
    for part, graph in graphs.items():
        model = recipe.apply(kind, onnx.load(bundle.file(graph.graph)))
        file.refer(model, sources, path)
        name = f"{part}.{form}.onnx"
        onnx.save(model, folder / name)
        onnx.checker.check_model(str(folder / name))
        written[part] = graph.model_copy(update={"graph": name, "weights": path.name, "quantized": form})
    return written


def _manifest(bundle: Bundle, folder: Path, written: dict[str, Graph], provenance: Quantization | None) -> Manifest:
    old = bundle.manifest

    def graphs(name: str) -> Graphs:
        return {TARGET: written[f"{VISION}.{name}"]}

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
            "language": old.language.model_copy(update={"graphs": {TARGET: written[LANGUAGE]}, "prefill": {}}),
            "quantization": provenance,
            "files": {path.name: record_of(path) for path in sorted(folder.iterdir())},
        }
    )
    # A copy is not validated.
    return Manifest.model_validate(changed.model_dump(exclude_none=True) | {"schema_version": SCHEMA_VERSION})
