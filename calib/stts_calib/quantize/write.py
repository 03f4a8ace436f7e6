"""A bundle -> the same bundle with quantized graphs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import onnx
from onnx import ModelProto

from stts_calib.quantize.recipe import Recipe, left_out_because
from stts_calib.quantize.weight_file import WeightFile, stored_weights, weight_names
from stts_calib.quantize.weight_inputs import quantize_inputs, quantized_weight
from stts_runtime.bundle import MANIFEST, Bundle
from stts_runtime.bundle.contract import LANGUAGE, PREFILL, VISION, batch_part, vision_part
from stts_runtime.bundle.files import record_of
from stts_runtime.bundle.manifest import (
    SCHEMA_VERSION,
    Batch,
    Format,
    Graph,
    Graphs,
    Live,
    Manifest,
    Quantization,
)
from stts_runtime.errors import UserError
from stts_runtime.leftovers import own_files
from stts_runtime.references.reference import PROOF

_TAKES_INPUTS = "cuda"
"""The lowering whose graphs take their weights as inputs."""
Forms = dict[str, dict[str, Format | None]]
"""By lowering and kind of graph."""


def write_quantized(bundle: Bundle, folder: Path, recipe: Recipe, provenance: Quantization | None = None) -> Bundle:
    """Writes a bundle into an empty folder, where a file that `provenance` names may lie already.

    It has the lowerings that can hold something of the recipe; raises `UserError` if there are none.
    """
    return _Writing(bundle, folder, recipe).write(forms_of(bundle, recipe), provenance)


@contextmanager
def scratch_bundle(bundle: Bundle, recipe: Recipe) -> Iterator[Bundle]:
    """The `cpu` graphs alone, where all formats can at least be computed, for as long as it is looked at."""
    with tempfile.TemporaryDirectory(prefix="stts-calibrate-") as folder:
        yield _Writing(bundle, Path(folder), recipe).write({"cpu": recipe.formats}, None)


def forms_of(bundle: Bundle, recipe: Recipe) -> Forms:
    """What becomes of each lowering in which something changes. Raises `UserError` if there is none."""
    parts = bundle.manifest.parts()
    found = {}
    for lowering in bundle.manifest.language.graphs:
        forms = {kind_of(part): recipe.form_in(kind_of(part), lowering, one[lowering]) for part, one in parts.items()}
        if any(forms.values()):
            found[lowering] = forms
    if not found:
        raise UserError(
            f"{bundle.folder} has no graphs that can hold {recipe}: its targets are "
            f"{', '.join(bundle.manifest.language.graphs)} (docs/quantization.md says which can hold what)"
        )
    return found


def left_out_of(bundle: Bundle, forms: Forms) -> dict[str, str]:
    """Lowerings of the bundle that are not in `forms`, with the reason."""
    graphs = bundle.manifest.language.graphs
    return {name: left_out_because(graph) for name, graph in graphs.items() if name not in forms}


def kind_of(part: str) -> str:
    return part.partition(".")[0]


@dataclass(frozen=True)
class _Place:
    """A graph of the source, and where it belongs."""

    part: str
    lowering: str
    graph: Graph


class _Writing:
    """One bundle, into a folder."""

    def __init__(self, bundle: Bundle, folder: Path, recipe: Recipe) -> None:
        self._bundle, self._folder, self._recipe = bundle, folder, recipe

    def write(self, forms: Forms, provenance: Quantization | None) -> Bundle:
        manifest = self._bundle.manifest
        tokenizer = manifest.prompt.tokenizer
        # The proof is of the checkpoint, and so of what is made of the bundle too.
        for name in {tokenizer, PROOF} & manifest.files.keys():
            shutil.copyfile(self._bundle.file(name), self._folder / name)
        written: dict[str, dict[str, Graph]] = {part: {} for part in _parts(manifest)}
        together: dict[tuple[str, Format | None, bool], list[_Place]] = {}
        for lowering, by_kind in forms.items():
            for part, graphs in _parts(manifest).items():
                if lowering in graphs:
                    key = graphs[lowering].weights, by_kind[kind_of(part)], lowering == _TAKES_INPUTS
                    together.setdefault(key, []).append(_Place(part, lowering, graphs[lowering]))
        for (weights, form, _), places in together.items():
            self._bundle.file(weights)
            done = self._copied(weights, places) if form is None else self._quantized(weights, form, places)
            for place, graph in zip(places, done, strict=True):
                written[place.part][place.lowering] = graph
        text = _manifest(self._bundle, self._folder, written, provenance).model_dump_json(indent=2)
        (self._folder / MANIFEST).write_text(text + "\n")
        return Bundle.open(self._folder)

    def _copied(self, weights: str, places: Sequence[_Place]) -> list[Graph]:
        for name in {place.graph.graph for place in places} | {weights}:
            shutil.copyfile(self._bundle.file(name), self._folder / name)
        return [place.graph for place in places]

    def _quantized(self, weights: str, form: Format, places: Sequence[_Place]) -> list[Graph]:
        """All graphs over one weight file."""
        kind = kind_of(places[0].part)
        over_inputs = places[0].lowering == _TAKES_INPUTS
        own = f"{form}.{_TAKES_INPUTS}" if over_inputs else form
        path = self._folder / weights.replace(f"{kind}.", f"{kind}.{own}.", 1)
        if over_inputs:
            models = self._over_inputs(weights, form, places, path)
        else:
            models = self._over_initializers(kind, places, path)
        written = []
        for place, model in zip(places, models, strict=True):
            name = place.graph.graph.replace(f"{place.part}.", f"{place.part}.{form}.", 1)
            onnx.save(model, self._folder / name)
            onnx.checker.check_model(str(self._folder / name))
            changes = {"graph": name, "weights": path.name, "quantized": form}
            written.append(place.graph.model_copy(update=changes))
        return written

    def _over_initializers(self, kind: str, places: Sequence[_Place], path: Path) -> list[ModelProto]:
        graphs, file = [self._bundle.file(place.graph.graph) for place in places], WeightFile()
        sources = frozenset().union(*(weight_names(graph) for graph in graphs))
        models = []
        for graph in graphs:
            models.append(self._recipe.apply(kind, onnx.load(graph)))
            # What is left of it is small, so that all of them can wait.
            file.take(models[-1], sources)
        file.write(path)
        for model in models:
            file.refer(model, path)
        return models

    def _over_inputs(self, weights: str, form: Format, places: Sequence[_Place], path: Path) -> list[ModelProto]:
        file = WeightFile()
        models = [onnx.load(self._bundle.file(place.graph.graph)) for place in places]
        quantized = frozenset().union(*(quantize_inputs(model, form) for model in models))
        for name, values in stored_weights(self._bundle.file(weights)):
            for made, content in quantized_weight(name, values, form) if name in quantized else [(name, values)]:
                file.add(made, content)
        file.write(path)
        return models


def _parts(manifest: Manifest) -> dict[str, Graphs]:
    """Those that the manifest counts, the prefill of the language model, and graphs of several rows."""
    return {**manifest.parts(), f"{LANGUAGE}.{PREFILL}": manifest.language.prefill, **manifest.batches()}


def _manifest(bundle: Bundle, folder: Path, written: Mapping[str, Graphs], provenance: Quantization | None) -> Manifest:
    old = bundle.manifest

    def graphs(name: str) -> Graphs:
        return written[f"{VISION}.{name}"]

    def batches(part: str, before: Sequence[Batch]) -> list[Batch]:
        """Those of lowerings that are left."""
        left = {one.size: written[batch_part(part, one.size)] for one in before}
        return [Batch(size=size, graphs=of_size) for size, of_size in left.items() if of_size]

    live = old.live and Live(
        **{
            **dict(old.live),
            "variants": {
                name: one.model_copy(
                    update={"graphs": graphs(name), "batches": batches(vision_part(name), one.batches)}
                )
                for name, one in old.live.variants.items()
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
            "language": old.language.model_copy(
                update={
                    "graphs": written[LANGUAGE],
                    "prefill": written[f"{LANGUAGE}.{PREFILL}"],
                    "batches": batches(LANGUAGE, old.language.batches),
                }
            ),
            "quantization": provenance,
            "files": {path.name: record_of(path) for path in own_files(folder)},
        }
    )
    # A copy is not validated.
    return Manifest.model_validate(changed.model_dump(exclude_none=True) | {"schema_version": SCHEMA_VERSION})
