"""The language graph: one symbolic query length for prefix, question and single tokens; caches go in and out."""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor, nn

from stts_export.graphs.to_onnx import to_onnx
from stts_export.lowering import Lowering
from stts_export.modules.language import Language
from stts_export.modules.slots import Indices
from stts_runtime.bundle.contract import INDICES, cache_names, indices_of

QUERY_LENGTH = "tokens"


class LanguageGraph(nn.Module):
    """`Language` as tensors in and tensors out."""

    def __init__(self, language: Language) -> None:
        super().__init__()
        self.language = language

    def forward(
        self, token_ids_L: Tensor, positions_L: Tensor, start: Tensor, visual_VW: Tensor, *caches: Tensor
    ) -> tuple[Tensor, ...]:
        output = self.language(token_ids_L, positions_L, start, visual_VW, list(caches))
        return (*output.caches, output.logits, output.next_token)


class IndexedGraph(nn.Module):
    """`Language.indexed` as tensors in and tensors out."""

    def __init__(self, language: Language, positions: int) -> None:
        super().__init__()
        self.language, self._tables = language, language.rotary_tables(positions)

    def forward(
        self,
        token_ids_L: Tensor,
        positions_L: Tensor,
        slots_L: Tensor,
        start: Tensor,
        last: Tensor,
        visual_rows_L: Tensor,
        visual_VW: Tensor,
        *caches: Tensor,
    ) -> tuple[Tensor, ...]:
        indices = Indices(slots_L, start, last, visual_rows_L)
        output = self.language.indexed(token_ids_L, positions_L, indices, visual_VW, list(caches), self._tables)
        return (*output.caches, output.logits, output.next_token)


class PrefillGraph(nn.Module):
    """`Language.prefill` as tensors in and tensors out."""

    def __init__(self, language: Language) -> None:
        super().__init__()
        self.language = language

    def forward(
        self, token_ids_L: Tensor, positions_L: Tensor, slots_L: Tensor, visual_VW: Tensor, *caches: Tensor
    ) -> tuple[Tensor, ...]:
        return tuple(self.language.prefill(token_ids_L, positions_L, slots_L, visual_VW, list(caches)))


class StepGraph(nn.Module):
    """`Language.step` as tensors in and tensors out."""

    def __init__(self, language: Language, positions: int) -> None:
        super().__init__()
        self.language, self._tables = language, language.rotary_tables(positions)

    def forward(self, token_ids_L: Tensor, positions_L: Tensor, last: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        output = self.language.step(token_ids_L, positions_L, last, list(caches), self._tables)
        return (*output.caches, output.logits, output.next_token)


class RowsGraph(nn.Module):
    """`Language.rows` as tensors in and tensors out."""

    def __init__(self, language: Language) -> None:
        super().__init__()
        self.language = language

    def forward(self, token_ids_B: Tensor, positions_B: Tensor, start_B: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        output = self.language.rows(token_ids_B, positions_B, start_B, list(caches))
        return (*output.caches, output.logits, output.next_token)


class StepRowsGraph(nn.Module):
    """`Language.step_rows` as tensors in and tensors out."""

    def __init__(self, language: Language, positions: int) -> None:
        super().__init__()
        self.language, self._tables = language, language.rotary_tables(positions)

    def forward(self, token_ids_B: Tensor, positions_B: Tensor, last_B: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        output = self.language.step_rows(token_ids_B, positions_B, last_B, list(caches), self._tables)
        return (*output.caches, output.logits, output.next_token)


def input_names(language: Language) -> list[str]:
    return ["token_ids", "positions", "start", "visual_tokens", *cache_names(language.config.layers)]


def output_names(language: Language) -> list[str]:
    return [*(f"new_{name}" for name in cache_names(language.config.layers)), "logits", "next_token"]


def example_call(
    language: Language,
    context: int,
    visual_rows: int,
    caches_by_head: bool = False,
    visual_dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, ...]:
    """A prefill of eight tokens into an empty cache, with three image patches among them."""
    markers = language.markers
    token_ids = torch.tensor([0, markers.frame_start, *[markers.image_patch] * 3, markers.frame_end, 0, 0])
    visual = torch.zeros(visual_rows, language.config.width, dtype=visual_dtype)
    start = torch.zeros(1, dtype=torch.int64)
    caches = language.empty_caches(context, caches_by_head)
    return (token_ids, torch.arange(len(token_ids)), start, visual, *caches)


def export_language(
    language: Language, context: int, visual_rows: int, lowering: Lowering, visual_dtype: torch.dtype = torch.float32
) -> ir.Model:
    """The graph with a cache of `context` slots; its weights carry their names in `language.state_dict()`.

    `visual_dtype` is that of the vision graphs' visual tokens.
    """
    length = torch.export.Dim(QUERY_LENGTH, min=1, max=context)
    caches = tuple(None for _ in range(2 * language.config.layers))
    model = to_onnx(
        LanguageGraph(language),
        example_call(language, context, visual_rows, lowering.caches_by_head, visual_dtype),
        input_names(language),
        output_names(language),
        lowering,
        dynamic_shapes=({0: length}, {0: length}, None, None, caches),
    )
    model.graph.name = "language"
    return model


def export_indexed(
    language: Language,
    context: int,
    positions: int,
    visual_rows: int,
    lowering: Lowering,
    visual_dtype: torch.dtype = torch.float32,
) -> ir.Model:
    """As `export_language`, for lowerings with `host_indices`; for positions below `positions`."""
    length = torch.export.Dim(QUERY_LENGTH, min=1, max=context)
    names = cache_names(language.config.layers)
    token_ids, places, _, visual, *caches = example_call(
        language, context, visual_rows, lowering.caches_by_head, visual_dtype
    )
    counted = indices_of(token_ids.numpy(), 0, language.markers.image_patch)
    indices = [torch.from_numpy(counted[name].copy()) for name in INDICES]
    by_length = {0: length}
    model = to_onnx(
        IndexedGraph(language, positions),
        (token_ids, places, *indices, visual, *caches),
        ["token_ids", "positions", *INDICES, "visual_tokens", *names],
        output_names(language),
        lowering,
        dynamic_shapes=(by_length, by_length, by_length, None, None, by_length, None, tuple(None for _ in names)),
    )
    model.graph.name = "language"
    return model


def export_prefill(
    language: Language, context: int, visual_rows: int, lowering: Lowering, visual_dtype: torch.dtype
) -> ir.Model:
    """The graph of a prefix with images, for lowerings that have it apart."""
    length = torch.export.Dim(QUERY_LENGTH, min=2, max=context)
    names = cache_names(language.config.layers)
    token_ids, positions, _, visual, *caches = example_call(
        language, context, visual_rows, lowering.caches_by_head, visual_dtype
    )
    model = to_onnx(
        PrefillGraph(language),
        (token_ids, positions, positions.clone(), visual, *caches),
        ["token_ids", "positions", "slots", "visual_tokens", *names],
        [f"new_{name}" for name in names],
        lowering,
        dynamic_shapes=({0: length}, {0: length}, {0: length}, None, tuple(None for _ in names)),
    )
    model.graph.name = "prefill"
    return model


def export_step(language: Language, context: int, positions: int, lowering: Lowering) -> ir.Model:
    """The graph of everything after the prefix, for lowerings that have it apart; for positions below `positions`."""
    length = torch.export.Dim(QUERY_LENGTH, min=1, max=context)
    names = cache_names(language.config.layers)
    token_ids, places, _, _, *caches = example_call(language, context, 1, lowering.caches_by_head)
    last = torch.tensor([len(token_ids) - 1], dtype=torch.int32)
    model = to_onnx(
        StepGraph(language, positions),
        (token_ids, places, last, *caches),
        ["token_ids", "positions", "last", *names],
        output_names(language),
        lowering,
        dynamic_shapes=({0: length}, {0: length}, None, tuple(None for _ in names)),
    )
    model.graph.name = "step"
    return model


def export_rows(language: Language, context: int, positions: int, lowering: Lowering, batch: int) -> ir.Model:
    """The graph of one token of each of `batch` sequences, which share caches of this many rows."""
    names, numbers = cache_names(language.config.layers), torch.zeros(batch, dtype=torch.int64)
    caches = language.empty_caches(context, lowering.caches_by_head, batch)
    graph: nn.Module
    if lowering.prefill_apart:
        graph, places = StepRowsGraph(language, positions), {"last": numbers.int()}
    else:
        graph, places = RowsGraph(language), {"start": numbers.clone()}
    model = to_onnx(
        graph,
        (numbers, numbers.clone(), *places.values(), *caches),
        ["token_ids", "positions", *places, *names],
        output_names(language),
        lowering,
    )
    model.graph.name = f"rows.{batch}"
    return model
