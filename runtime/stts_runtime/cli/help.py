"""How `--help` looks: commands and options in named groups, defaults in one style, one example per command."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

VARIANT = "Variant"
ANSWERS = "Answers"
ENGINE = "Engine"
OUTPUT = "Output"
NETWORK = "Network"
OPERATION = "Operation"


class Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _in_one_style(super().get_params(ctx))


class Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _in_one_style(super().get_params(ctx))


def _in_one_style(parameters: list[Any]) -> list[Any]:
    """Defaults become a sentence, whether a value or described; Typer would show `64` for one and `(64)` for the other.

    Flags lose the type `<bool>`, which reads as if they took a value. Calling this again changes nothing.
    """
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = parameter.metavar or ""
        elif isinstance(parameter, (TyperOption, TyperArgument)) and parameter.help:
            described = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
            if parameter.show_default and described is not None and not parameter.required:
                value = described.value if isinstance(described, Enum) else described
                parameter.help += f" Default: {str(value).removesuffix('.')}."
                parameter.show_default = False
    return parameters


def program_app(name: str) -> typer.Typer:
    """A program whose commands are added with `add_command`."""
    settings = {"help_option_names": ["-h", "--help"]}
    return typer.Typer(name=name, cls=Group, context_settings=settings, pretty_exceptions_enable=False)


def add_command(
    app: typer.Typer, name: str, function: Callable[..., None], group: str, example: str, **settings: Any
) -> None:
    """`group` is the heading under which the program's `--help` lists it; `example` ends the command's own."""
    app.command(
        name, cls=Command, rich_help_panel=group, epilog=f"Example: {example}", context_settings=settings or None
    )(function)
