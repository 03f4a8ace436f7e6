"""What of the GPU benchmark needs no GPU: its graphs, the memory that they need, its report and what is made of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from PIL import Image

from stts_runtime.bundle.manifest import FORMATS
from stts_runtime.errors import UserError
from stts_tools.gpu_bench.graphs import export_graphs
from stts_tools.gpu_bench.peak_memory import peak_bytes
from stts_tools.gpu_bench.plots import write_plots
from stts_tools.gpu_bench.report import GpuReport
from stts_tools.gpu_bench.settings import GraphFolder, Settings, prefix
from tests.support.places import ROOT

MEASURED = ROOT / "benchmarks" / "h100" / "molmo2-4b.json"


def test_graphs_travel_without_weights(tmp_path: Path) -> None:
    folder = GraphFolder(tmp_path / "graphs")
    export_graphs(Settings(size="micro", windows=[(4, 1.0), (4, 0.5)], precision="fp16"), folder, lambda _: None)
    settings = folder.settings
    graphs = [*map(folder.vision, settings.budgets()), folder.prefill, folder.step]
    graphs += [path for form in FORMATS for path in folder.language(form)]
    assert all(any("weight" in str(one.name) for one in ir.load(path).graph.inputs) for path in graphs)
    full, pruned = (settings.work[budget.name] for budget in settings.budgets())
    assert 0 < pruned.products.fixed < full.products.fixed
    assert settings.work["prefill"].live_bytes > 0
    tokens = prefix(settings.budgets()[1], settings.model().markers)
    assert np.count_nonzero(tokens.ids == settings.model().markers.image_patch) == settings.budgets()[1].kept


def test_a_size_that_does_not_exist_leaves_no_folder(tmp_path: Path) -> None:
    folder = GraphFolder(tmp_path / "graphs")
    with pytest.raises(UserError, match="unknown size 'nope'"):
        export_graphs(Settings(size="nope", windows=[(4, 1.0)], precision="fp16"), folder, lambda _: None)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="not a folder of graphs"):
        _ = folder.settings


def test_a_tensor_counts_until_its_last_use_and_a_view_is_no_tensor() -> None:
    graph = ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["" : 24]>
        agraph (float[L, 8] x, int64[1] flat) => (float[M] out)
        {
            a = Exp(x)
            b = Reshape(a, flat)
            c = Neg(b)
            d = Neg(c)
            out = Add(b, d)
        }
    """)
    row = 8 * 4
    for name, length in (("a", "L"), ("b", "M"), ("c", "M"), ("d", "M")):
        value = next(one for node in graph.graph for one in node.outputs if one.name == name)
        value.shape, value.dtype = ir.Shape([length, 8] if name == "a" else [length]), ir.DataType.FLOAT
    # Behind d, c is done; a lives under the name of b until the end. M stands for as many numbers as L.
    assert peak_bytes(graph, 8) == 8 * row + 2 * 8 * 4
    next(iter(graph.graph)).outputs[0].shape = None
    with pytest.raises(Exception, match="the shape of a is unknown"):
        peak_bytes(graph, 8)


def test_the_picture_is_drawn_from_the_report(tmp_path: Path) -> None:
    report = GpuReport.model_validate_json(MEASURED.read_bytes())
    assert {row.stage for row in report.rows} == {"vision", "prefill", "decode", "first token", "answer"}
    assert all(0 < row.share < 1 for row in report.rows)
    write_plots(report, tmp_path / "plot.png")
    assert np.asarray(Image.open(tmp_path / "plot.png").convert("L")).std() > 0


def test_the_tables_in_the_documentation_are_the_report() -> None:
    report = GpuReport.model_validate_json(MEASURED.read_bytes())
    medians = {(row.stage, row.frames, row.keep): row.milliseconds["engine"].median for row in report.rows}
    rows = _table(ROOT / "docs" / "performance.md", "| frames | keep | vision ms | at best | torch eager")
    assert len(rows) == 6
    for frames, keep, vision, _, _, prefill, *_ in rows:
        for stage, cell in (("vision", vision), ("prefill", prefill)):
            assert float(cell) == pytest.approx(medians[stage, int(frames), float(keep)], abs=0.051)


def _table(path: Path, header: str) -> list[list[str]]:
    """The cells of the rows below a table's header."""
    lines = path.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(header)) + 2
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[first:])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
