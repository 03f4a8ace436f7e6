"""The project's source files, parsed: functions with their lengths and cyclomatic complexity. It imports none of them.

Complexity is counted as radon counts it (`radon cc`), but for nested functions, which are functions of their own here.
"""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PARTS = {
    "runtime": "runtime/stts_runtime",
    "export": "stts_export",
    "calib": "calib/stts_calib",
    "tools": "tools/stts_tools",
    "scripts": "scripts",
    "tests": "tests",
}
"""Folders of a clone by the name that the report gives them."""

PACKAGES = ("runtime", "export", "calib", "tools")
"""The parts that import each other and are counted together."""

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Function:
    name: str
    lines: int
    complexity: int


@dataclass(frozen=True, eq=False)
class SourceFile:
    part: str
    path: str
    """From the clone's root, with slashes."""
    lines: int
    tree: ast.Module
    functions: tuple[Function, ...]

    @property
    def is_init(self) -> bool:
        return self.path.endswith("/__init__.py")


def read_sources(root: Path) -> list[SourceFile]:
    """Reads the sources of the parts that this clone has."""
    return [_read(part, path, root) for part, folder in PARTS.items() for path in sorted((root / folder).rglob("*.py"))]


def functions_of(node: ast.AST) -> Iterator[FunctionNode]:
    """With methods and nested functions."""
    return (found for found in ast.walk(node) if isinstance(found, _FUNCTIONS))


def own_nodes(function: FunctionNode) -> Iterator[ast.AST]:
    """The body without the nested functions'."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, _FUNCTIONS):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


def complexity(function: FunctionNode) -> int:
    return 1 + sum(map(_branches, own_nodes(function)))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, mean, 95th percentile and maximum; zeros for nothing."""
    ordered = sorted(values) or [0]
    return {
        "median": statistics.median(ordered),
        "mean": round(statistics.fmean(ordered), 2),
        "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "max": ordered[-1],
    }


def measure(files: Sequence[SourceFile]) -> dict[str, object]:
    functions = [function for file in files for function in file.functions]
    modules = [file for file in files if not file.is_init]
    return {
        "files": len(files),
        "lines": sum(file.lines for file in files),
        "file_lines": spread([file.lines for file in files]),
        "module_lines": spread([file.lines for file in modules]),
        "modules": len(modules),
        "under_30": sum(file.lines < 30 for file in modules),
        "under_50": sum(file.lines < 50 for file in modules),
        "functions": len(functions),
        "function_lines": spread([function.lines for function in functions]),
        "complexity": spread([function.complexity for function in functions]),
        "complexity_over_10": sum(function.complexity > 10 for function in functions),
    }


def _read(part: str, path: Path, root: Path) -> SourceFile:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    functions = tuple(
        Function(node.name, (node.end_lineno or node.lineno) - node.lineno + 1, complexity(node))
        for node in functions_of(tree)
    )
    return SourceFile(part, path.relative_to(root).as_posix(), len(text.splitlines()), tree, functions)


def _branches(node: ast.AST) -> int:
    match node:
        case ast.If() | ast.IfExp() | ast.Assert():
            branches = 1
        case ast.For() | ast.AsyncFor() | ast.While():
            branches = 1 + bool(node.orelse)
        case ast.Try():
            branches = len(node.handlers) + bool(node.orelse)
        case ast.BoolOp():
            branches = len(node.values) - 1
        case ast.comprehension():
            branches = 1 + len(node.ifs)
        case ast.Match():
            branches = sum(not _takes_all(case.pattern) for case in node.cases)
        case _:
            branches = 0
    return branches


def _takes_all(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None
