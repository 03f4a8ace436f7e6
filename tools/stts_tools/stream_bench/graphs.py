"""A bundle of a released model's size for streams on `cuda`, without its weights: a few MB to carry to a GPU.

`fill.py` makes the weights there, which takes neither torch nor this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import onnx_ir as ir
from tokenizers import Tokenizer
from torch import Tensor

from stts_export.building.bundle_writer import SIXTEEN_BIT
from stts_export.graphs.fuse import fuse
from stts_export.graphs.incremental_graph import export_incremental
from stts_export.graphs.language_graph import export_prefill, export_rows, export_step
from stts_export.graphs.vision_graph import export_vision
from stts_export.graphs.weight_file import take_as_inputs, used_weights
from stts_export.lowering.cuda import CUDA
from stts_export.molmo2.marks import prompt_record
from stts_export.precision.half import PrecisionPlan, to_half
from stts_runtime.budget import IncrementalBudget, TokenBudget
from stts_runtime.bundle import MANIFEST
from stts_runtime.bundle.contract import LANGUAGE, PREFILL, VISION, batch_part, vision_part
from stts_runtime.bundle.manifest import (
    SCHEMA_VERSION,
    Batch,
    FileRecord,
    Graph,
    IncrementalVariant,
    LanguageModel,
    Live,
    Manifest,
    Scorer,
    VisionModel,
    VisionVariant,
    Work,
)
from stts_runtime.bundle.publish import published
from stts_runtime.bundle.weight_layout import Stored, lay_out
from stts_runtime.tell import Tell
from stts_tools.checkpoints.byte_tokenizer import byte_level_tokenizer
from stts_tools.checkpoints.sizes import PATCH_SIZE, POOL, model_config, size_named
from stts_tools.gpu_bench.graphs import weightless
from stts_tools.stream_bench.fill import HEAD_SUFFIX, NO_HASH

_TYPES = {2: "F16", 4: "F32"}
_TOKENIZER, _EOS = "tokenizer.json", "<|im_end|>"
_BEHIND_THE_WINDOW = 256
"""Slots for what a window has besides visual tokens, question and answer."""
_TEXT_TOKENS_A_FRAME = 16
"""Marks, and a time by bytes."""
_STEP = 64
_MAX_FPS = 2.0


class _Folder:
    """Graphs as they are exported."""

    def __init__(self, path: Path, states: Mapping[str, Mapping[str, Tensor]], tell: Tell) -> None:
        self._path, self._states, self._tell = path, states, tell
        self.used: dict[str, dict[str, Tensor]] = {VISION: {}, LANGUAGE: {}}

    def save(self, part: str, model: ir.Model) -> Graph:
        self._tell(f"exported {part}")
        kind = part.partition(".")[0]
        fuse(model)
        used = used_weights([model], self._states[kind], f"{kind}.")
        self.used[kind] |= used
        take_as_inputs(model, [f"{kind}.{name}" for name in used], f"{kind}.")
        path = self._path / f"{part}.{CUDA.name}.onnx"
        ir.save(model, path)
        return Graph(
            backend=CUDA.backend,
            minimum_backend_version=CUDA.minimum_backend_version,
            precision="fp16",
            opset=CUDA.opset_version,
            graph=path.name,
            weights=_weights(kind),
            multiplications=Work(fixed=0),
        )


def export_stream_bundle(size: str, out: Path, frames: int, keep: float, batch: int, tell: Tell) -> None:
    """Windows of `frames` frames at this keep, and graphs of 2, 4, ... `batch` rows. Raises `UserError` if `out` exists
    or the size is unknown.
    """
    tokenizer = byte_level_tokenizer(size_named(size).vocab)
    config = model_config(size_named(size), tokenizer, 0.5)
    vision, language = weightless(config)
    to_half(vision, language, PrecisionPlan("fp16"))
    states = {VISION: vision.state_dict(), LANGUAGE: language.state_dict()}
    budgets = [IncrementalBudget(config.vision.groups, one) for one in (1.0, keep)]
    window = TokenBudget(frames, config.vision.groups, keep, "frame")
    rows = 2 * config.vision.groups + (frames - 2) * budgets[1].kept
    context = -(-(rows + _TEXT_TOKENS_A_FRAME * frames + _BEHIND_THE_WINDOW) // _STEP) * _STEP
    positions = context + window.visual_tokens
    sizes = [1 << power for power in range(1, batch.bit_length())]
    with published(out) as scratch:
        folder = _Folder(scratch, states, tell)
        variants = {}
        for budget in budgets:
            part = vision_part(budget.name)
            graphs = {CUDA.name: folder.save(part, export_incremental(vision, budget, CUDA))}
            batches = [
                Batch(
                    size=count,
                    graphs={
                        CUDA.name: folder.save(batch_part(part, count), export_incremental(vision, budget, CUDA, count))
                    },
                )
                for count in ([] if budget.is_key else sizes)
            ]
            variants[budget.name] = IncrementalVariant(
                keep=budget.keep, kept_groups=budget.kept, graphs=graphs, batches=batches
            )
        of_window = folder.save(vision_part(window.name), export_vision(vision, window, CUDA))
        dtype = vision.multi_modal_projector.dtype
        prefill = folder.save(f"{LANGUAGE}.{PREFILL}", export_prefill(language, context, rows, CUDA, dtype))
        step = folder.save(LANGUAGE, export_step(language, context, positions, CUDA))
        together = [
            Batch(
                size=count,
                graphs={
                    CUDA.name: folder.save(
                        batch_part(LANGUAGE, count), export_rows(language, context, positions, CUDA, count)
                    )
                },
            )
            for count in sizes
        ]
        (scratch / _TOKENIZER).write_text(tokenizer.to_str())
        files = {path.name: FileRecord(sha256=NO_HASH, size_bytes=0) for path in scratch.iterdir()}
        for kind, used in folder.used.items():
            files[_weights(kind)] = FileRecord(sha256=NO_HASH, size_bytes=0)
            (scratch / f"{_weights(kind)}{HEAD_SUFFIX}").write_bytes(_head(used))
        scorer = config.scorer
        assert scorer is not None
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            producer="scripts/bench_streams.py",
            built_with={},
            build_command=f"stts-export build {size} --out {out.name} --frames {frames} --keep {keep:g} --budget frame",
            checkpoint=size,
            checkpoint_config_sha256=NO_HASH,
            random_weights=True,
            default_keep=keep,
            max_fps=_MAX_FPS,
            vision=VisionModel(
                image_size=size_named(size).frame,
                patch_size=PATCH_SIZE,
                groups_per_side=config.vision.groups_per_side,
                pool=POOL,
            ),
            scorer=Scorer(kind="trained", trained=True),
            variants={
                window.name: VisionVariant(
                    frames=frames, keep=keep, budget="frame", kept_groups=window.kept, graphs={CUDA.name: of_window}
                )
            },
            live=Live(
                frames=frames,
                key_every=-(-frames // 2),
                pooled_width=scorer.feature_width(config.vision),
                pooled_precision=scorer.feature_precision,
                variants=variants,
            ),
            language=LanguageModel(
                layers=config.text.layers,
                kv_channels=config.text.kv_heads * config.text.head_dim,
                context=context,
                visual_rows=rows,
                visual_width=config.text.width,
                vocabulary=config.text.vocab,
                graphs={CUDA.name: step},
                prefill={CUDA.name: prefill},
                batches=together,
            ),
            prompt=prompt_record(_EOS, [_number(tokenizer, _EOS)], config.markers, "original", _TOKENIZER),
            files=files,
        )
        (scratch / MANIFEST).write_text(manifest.model_dump_json(indent=1))


def _number(tokenizer: Tokenizer, token: str) -> int:
    number = tokenizer.token_to_id(token)
    assert number is not None
    return number


def _weights(kind: str) -> str:
    return f"{kind}.{SIXTEEN_BIT}safetensors"


def _head(used: Mapping[str, Tensor]) -> bytes:
    stored = {
        name: Stored(_TYPES[tensor.element_size()], tensor.element_size(), tuple(tensor.shape))
        for name, tensor in used.items()
    }
    return lay_out(stored)[0]
