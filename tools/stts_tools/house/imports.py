"""Who imports whom in the project, from the source text: imports inside functions count, those for types alone do not.

`from package import module` is an import of the module, `from package import name` one of the package's `__init__`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from stts_tools.house.sources import PACKAGES, PARTS, SourceFile, spread

Graph = Mapping[str, set[str]]


def import_graph(files: Sequence[SourceFile]) -> dict[str, set[str]]:
    """Modules by their dotted names, with the modules that they import."""
    modules = {_name(file): file for file in files if file.part in PACKAGES}
    return {name: set(_imported(name, file, modules)) - {name} for name, file in modules.items()}


def measure_imports(files: Sequence[SourceFile]) -> dict[str, object]:
    graph = import_graph(files)
    importers = {name: sum(name in imported for imported in graph.values()) for name in graph}
    inits = {_name(file) for file in files if file.is_init}
    modules = sorted(set(graph) - inits)
    widest = max(modules, key=lambda name: len(graph[name]), default="")
    return {
        "modules": len(modules),
        "fan_out": {**spread([len(graph[name]) for name in modules]), "of": widest},
        "imported_by_one": sum(importers[name] == 1 for name in modules),
        "longest_chain": longest_chain(graph),
        "file_cycles": cycles(graph),
        "package_cycles": package_cycles(graph),
    }


def longest_chain(graph: Graph) -> list[str]:
    """Each imports the next. A cycle is passed through once at most: imports that lead back are left out."""
    reach = _reach(graph)

    @cache
    def chain_from(name: str) -> tuple[str, ...]:
        return (name, *_longest(chain_from(target) for target in sorted(graph[name]) if name not in reach[target]))

    return list(_longest(chain_from(name) for name in sorted(graph)))


def cycles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that reach each other."""
    reach = _reach(graph)
    around = {name: frozenset(other for other in reached if name in reach[other]) for name, reached in reach.items()}
    return sorted(sorted(group) for group in set(around.values()) if group)


def package_cycles(graph: Graph) -> list[list[str]]:
    """Cycles between the packages and modules of one folder; what a package's `__init__` itself imports is left out."""
    folders = {name.rpartition(".")[0] for name in graph}
    return [cycle for folder in sorted(folders) for cycle in cycles(_siblings(graph, folder))]


def _longest(chains: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return max(chains, key=len, default=())


def _siblings(graph: Graph, folder: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, imported in graph.items():
        if child := _child(name, folder):
            targets = {_child(target, folder) for target in imported} - {"", child}
            found.setdefault(child, set()).update(targets)
    return found


def _child(name: str, folder: str) -> str:
    """The member of `folder` that `name` is or is in; empty if it is not there."""
    start = f"{folder}." if folder else ""
    return start + name.removeprefix(start).partition(".")[0] if name.startswith(start) else ""


def _reach(graph: Graph) -> dict[str, set[str]]:
    """What each node leads to; itself too if there is a way back."""
    found = {}
    for name in graph:
        reached, waiting = set[str](), list(graph[name])
        while waiting:
            if (target := waiting.pop()) not in reached:
                reached.add(target)
                waiting.extend(graph[target])
        found[name] = reached
    return found


def _name(file: SourceFile) -> str:
    folder = PARTS[file.part].rpartition("/")[0]
    inside = file.path.removeprefix(f"{folder}/") if folder else file.path
    return inside.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imported(name: str, file: SourceFile, modules: Mapping[str, SourceFile]) -> Iterator[str]:
    for node in _run_nodes(file.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            package = _absolute(node, name, file.is_init)
            wanted = (f"{package}.{alias.name}" for alias in node.names)
            yield from (target for one in wanted if (target := one if one in modules else package) in modules)


def _absolute(node: ast.ImportFrom, name: str, is_init: bool) -> str:
    if not node.level:
        return node.module or ""
    above = name.split(".")[: None if is_init and node.level == 1 else is_init - node.level]
    return ".".join([*above, *filter(None, [node.module])])


def _run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All but what stands under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _run_nodes(node)
