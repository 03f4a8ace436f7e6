"""The reference of a program, from its Typer definition: what `--help` says, of all commands on one page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import typer

from stts_tools.site.markup import code, plain, table


def command_page(app: typer.Typer) -> str:
    program: Any = typer.main.get_command(app)
    context = program.context_class(program, info_name=app.info.name)
    page = f"# {app.info.name}\n\n{plain(program.help)}\n\n"
    return page + "".join(_command(one, context) for one in program.commands.values())


def _command(command: Any, program: Any) -> str:
    context = command.context_class(command, info_name=command.name, parent=program)
    usage = command.get_usage(context).removeprefix("Usage: ")
    # Typer prints what follows a form feed nowhere, and a backspace keeps lines as they are.
    text = plain(command.help.partition("\f")[0].replace("\b\n", ""))
    return f"## {command.name}\n\n```text\n{usage}\n```\n\n{text}\n\n{''.join(_tables(command, context))}"


def _tables(command: Any, context: Any) -> Iterator[str]:
    """One for each panel of the help."""
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    for panel, group in groupby(shown, lambda one: getattr(one, "rich_help_panel", None) or ""):
        if panel:
            yield f"**{panel}**\n\n"
        records = [one.get_help_record(context) for one in group]
        yield table(["", ""], [[code(name), plain(text)] for name, text in filter(None, records)])
