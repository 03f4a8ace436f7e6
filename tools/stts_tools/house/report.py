"""The count as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_ROUTES = {"frame": "one frame, from the camera to the webhook", "chat": "one chat request, to its last token"}


def text_of(count: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> str:
    lines = [*_sizes(count["parts"]), "", *_imports(count["imports"]), "", *_places(count["places"])]
    for name, route in count.get("routes", {}).items():
        lines += ["", *_route(_ROUTES[name], route, (before or {}).get("routes", {}).get(name))]
    return "\n".join(lines)


def _sizes(parts: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{'part':9}{'files':>6}{'lines':>8}  {'file lines':>14}{'<30':>5}{'<50':>5}  "
        f"{'functions':>9}{'their lines':>13}  {'complexity':>13}{'>10':>4}"
    )
    for name, part in parts.items():
        complexity = part["complexity"]
        yield (
            f"{name:9}{part['files']:6}{part['lines']:8}  {_spread(part['file_lines']):>14}"
            f"{part['under_30']:5}{part['under_50']:5}  {part['functions']:9}{_spread(part['function_lines']):>13}  "
            f"{complexity['mean']:>5} {complexity['p95']:>3} {complexity['max']:>3}{part['complexity_over_10']:4}"
        )
    yield "(file lines, function lines: median/p95/max; complexity: mean, p95, max; <30, <50: without __init__)"


def _spread(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:g}/{spread['p95']:g}/{spread['max']:g}"


def _imports(imports: Mapping[str, Any]) -> Iterator[str]:
    fan_out, modules = imports["fan_out"], imports["modules"]
    yield f"fan-out of a module: mean {fan_out['mean']}, max {fan_out['max']} ({fan_out['of']})"
    yield f"imported by exactly one other: {imports['imported_by_one']} of {modules} modules"
    yield f"longest import chain: {len(imports['longest_chain'])} modules"
    yield f"    {' > '.join(imports['longest_chain'])}"
    for what in ("file_cycles", "package_cycles"):
        cycles = imports[what]
        yield f"{what.replace('_', ' ')}: {len(cycles)}"
        yield from (f"    {', '.join(cycle)}" for cycle in cycles)


def _places(places: Mapping[str, list[str]]) -> Iterator[str]:
    titles = {"answers": "functions that drive the language engine", "decoders": "functions that open a video"}
    for name, title in titles.items():
        yield f"{title}: {len(places[name])}"
        yield from (f"    {place}" for place in places[name])


def _route(title: str, route: Mapping[str, Any], before: Mapping[str, Any] | None) -> Iterator[str]:
    files = route["files"]
    compared = f", {len(files) / len(before['files']):.0%} of {len(before['files'])} before" if before else ""
    yield f"{title} ({route['source']}): answer {route['answer']!r}"
    yield f"{len(files)} files{compared}, {sum(one['lines'] for one in files)} lines; in the order first entered:"
    yield from (f"    {number:3} {one['file']}  {one['entered']}" for number, one in enumerate(files, start=1))
    yield f"{route['made']} objects of the project's classes made; those that hold something on its way:"
    for payload, wrapped in route["wrapped"].items():
        yield f"    {payload}: {len(wrapped)} classes, {sum(one['times'] for one in wrapped)} objects"
        yield from (f"        {one['kind']}{_times(one['times'])}" for one in wrapped)


def _times(times: int) -> str:
    return "" if times == 1 else f" x {times}"
