"""The bundles of the tests where torch, which builds them, is not installed: Python 3.10 tests the runtime alone.

A frozen bundle is the manifest and the tokenizer of a real one, and what its graphs for TensorRT take and give. Those
are thawed as descriptions (`small_graphs.py`), all other files as placeholders.
`python -m tests.support.frozen micro BUNDLE` freezes one anew, which only a new schema of the manifest asks for.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from stts_runtime.bundle import MANIFEST, Bundle
from stts_runtime.bundle.files import record_of
from tests.support.places import DATA
from tests.support.small_graphs import describe

_GRAPHS = "graphs.json"


def freeze(bundle: Path, name: str) -> None:
    folder = DATA / f"frozen-{name}"
    folder.mkdir(exist_ok=True)
    manifest = json.loads((bundle / MANIFEST).read_text())
    compilable = [file for file in manifest["files"] if ".tensorrt" in file and file.endswith(".onnx")]
    graphs = {graph: describe(bundle / graph) for graph in compilable}
    (folder / MANIFEST).write_text(json.dumps(manifest) + "\n")
    (folder / _GRAPHS).write_text(json.dumps(graphs) + "\n")
    shutil.copy(bundle / "tokenizer.json", folder)


def thaw(name: str, out: Path) -> Bundle:
    folder = DATA / f"frozen-{name}"
    manifest, graphs = json.loads((folder / MANIFEST).read_text()), json.loads((folder / _GRAPHS).read_text())
    out.mkdir()
    for file in manifest["files"]:
        if (folder / file).exists():
            shutil.copy(folder / file, out)
        else:
            (out / file).write_text(json.dumps(graphs[file]) if file in graphs else f"in place of {file}")
        manifest["files"][file] = record_of(out / file).model_dump()
    (out / MANIFEST).write_text(json.dumps(manifest))
    return Bundle.open(out)


if __name__ == "__main__":
    freeze(Path(sys.argv[2]), sys.argv[1])
