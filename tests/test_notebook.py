"""The notebook in examples/ runs from the shipped checkpoint to its plot, and is committed as it was last run.

It is run with fewer clips and keeps than it has. Nothing is said of times: other work may slow any part of it down.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any, NamedTuple, cast

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.places import ROOT

NOTEBOOK = ROOT / "examples" / "accuracy_over_latency.ipynb"
LESS_WORK = {"KEEPS": "[1, 0.3]", "CLIPS": "4"}
SECONDS_A_CELL = 600
"""More than a slow machine takes; without it a kernel that hangs would be waited for without end."""


class Row(NamedTuple):
    keep: float
    tokens: int
    right_percent: float
    milliseconds: float


def read() -> Any:
    # Some versions of nbformat have types and others none: mypy is to pass with both.
    return cast("Any", nbformat).read(NOTEBOOK, as_version=4)


def settings_of(notebook: Any) -> Any:
    (cell,) = (cell for cell in notebook.cells if cell.id == "settings")
    return cell


def with_less_work(notebook: Any) -> Any:
    settings = settings_of(notebook)
    for name, value in LESS_WORK.items():
        settings.source, replaced = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", settings.source)
        assert replaced == 1, name
    return notebook


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the notebook reads from the repository."""
    root = tmp_path_factory.mktemp("notebook")
    (root / "checkpoints").symlink_to(ROOT / "checkpoints")
    (root / "examples").mkdir()
    return root


@pytest.fixture(scope="module")
def executed(places: Path) -> Any:
    """By a kernel that neither reads nor writes what is in the home folder."""
    notebook = with_less_work(read())
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(places / name.lower()))
        resources = {"metadata": {"path": str(places / "examples")}}
        client = NotebookClient(notebook, timeout=SECONDS_A_CELL, startup_timeout=SECONDS_A_CELL, resources=resources)
        return client.execute()


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook: Any) -> str:
    return "".join(
        output.text for cell in code_cells(notebook) for output in cell.outputs if output.output_type == "stream"
    )


def table(notebook: Any) -> list[Row]:
    rows = re.findall(r"^([\d.]+) +(\d+) +([\d.]+) +([\d.]+)$", printed(notebook), re.MULTILINE)
    return [Row(float(keep), int(tokens), float(right), float(ms)) for keep, tokens, right, ms in rows]


def guessing(notebook: Any) -> float:
    (percent,) = re.findall(r"^guessing: ([\d.]+) %", printed(notebook), re.MULTILINE)
    return float(percent)


def assert_holds(notebook: Any) -> None:
    """What is so whenever the notebook was run, on whatever machine."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    rows = table(notebook)
    keeps = re.search(r"(?m)^KEEPS = \[(.*)\]$", settings_of(notebook).source)
    assert keeps
    assert [row.keep for row in rows] == [float(keep) for keep in keeps[1].split(",")]
    assert all(0 <= row.right_percent <= 100 and row.milliseconds > 0 for row in rows)
    assert rows[0].right_percent > guessing(notebook)
    tokens = [row.tokens for row in rows]
    assert all(fewer < more for more, fewer in itertools.pairwise(tokens)), tokens


def test_it_runs_from_the_checkpoint_to_the_plot(executed: Any, places: Path) -> None:
    assert_holds(executed)
    assert (places / "out" / "accuracy_over_latency.png").read_bytes().startswith(b"\x89PNG")


def test_it_is_committed_as_it_was_run() -> None:
    notebook = read()
    assert_holds(notebook)
    pictures = [
        output for cell in code_cells(notebook) for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2
    assert NOTEBOOK.stat().st_size < 150_000
