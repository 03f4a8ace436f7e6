"""Counts the code of a clone: sizes, imports, duplicated places; with a BUNDLE also the files that one RTSP frame
passes on its way to a webhook, and one chat request to its last token, and how often each was wrapped again.

Run it at the clone's root: python -m stts_tools.house out/tiny --json house.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from stts_runtime.cli.entry import run_app
from stts_runtime.errors import UserError
from stts_runtime.outputs import check_place, written_whole
from stts_tools.house.imports import measure_imports
from stts_tools.house.places import find_places
from stts_tools.house.report import text_of
from stts_tools.house.routes import follow_chat, follow_frame
from stts_tools.house.sources import PACKAGES, SourceFile, measure, read_sources

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def house(
    bundle: Annotated[
        Optional[Path], typer.Argument(metavar="BUNDLE", help="Built with --budget clip --budget frame.")
    ] = None,
    root: Annotated[Path, typer.Option(help="The clone to count: another commit's, for a comparison.")] = Path(
        __file__
    ).parents[3],
    json_file: Annotated[Optional[Path], typer.Option("--json", metavar="FILE", help="Write it as JSON too.")] = None,
    before: Annotated[Optional[Path], typer.Option(metavar="FILE", help="Such JSON, to compare the routes.")] = None,
) -> None:
    root = root.resolve()
    earlier = None if before is None else _read(before)
    if json_file is not None:
        check_place(json_file, [".json"])
    count = count_code(root)
    if bundle is not None:
        count["routes"] = count_routes(root, bundle)
    if json_file is not None:
        with written_whole(json_file) as scratch:
            scratch.write_text(json.dumps(count, indent=1) + "\n", encoding="utf-8")
    print(text_of(count, earlier))


def count_code(root: Path) -> dict[str, Any]:
    files = read_sources(root)
    if not files:
        raise UserError(f"{root} is no clone of this project; give --root one")
    parts = {part: [file for file in files if file.part == part] for part in dict.fromkeys(file.part for file in files)}
    parts["packages"] = [file for file in files if file.part in PACKAGES]
    return {
        "parts": {part: measure(members) for part, members in parts.items()},
        "imports": measure_imports(files),
        "places": find_places(files),
    }


def count_routes(root: Path, bundle: Path) -> dict[str, Any]:
    lines = {file.path: file for file in read_sources(root)}
    routes = {"frame": follow_frame(root, bundle), "chat": follow_chat(root, bundle)}
    return {name: _counted(route, lines) for name, route in routes.items()}


def _counted(route: Mapping[str, Any], sources: Mapping[str, SourceFile]) -> dict[str, Any]:
    """A class that holds the picture and what was made of it is counted once, as wrapping the picture."""
    files = [{"file": file, "lines": sources[file].lines, "entered": name} for file, name in route["files"].items()]
    kinds = {"request": {"request"}, "picture": {"picture", "features"}, "answer": {"answer"}}
    wrapped = {
        name: [one for one in route["wrapped"] if kind & set(one["holds"])]
        for name, kind in kinds.items()
        if any(kind & set(one["holds"]) for one in route["wrapped"])
    }
    return {**route, "files": files, "wrapped": wrapped}


def _read(path: Path) -> dict[str, Any]:
    try:
        count: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path} is no file that --json wrote") from None
    return count


if __name__ == "__main__":
    sys.exit(run_app(app, "house"))
