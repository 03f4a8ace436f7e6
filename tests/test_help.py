"""`--help` of every command of both programs."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from stts_export.cli.app import app as export_app
from stts_runtime.cli.app import app as runtime_app

PROGRAMS = {"stts-export": export_app, "stts-runtime": runtime_app}
COMMANDS = [
    (program, name)
    for program, app in PROGRAMS.items()
    for name in typer.main.get_command(app).commands  # type: ignore[attr-defined]
]


def command_of(program: str, name: str) -> Any:
    group: Any = typer.main.get_command(PROGRAMS[program])
    return group.commands[name]


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_the_example_is_a_command_line_that_the_command_takes(program: str, name: str) -> None:
    command = command_of(program, name)
    called, asked, *words = shlex.split(command.epilog.removeprefix("Example: "))
    assert (called, asked) == (program, name)
    command.make_context(name, words)


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_every_option_is_a_sentence_and_every_default_is_in_one_style(program: str, name: str) -> None:
    command = command_of(program, name)
    context = typer.Context(command)
    for parameter in (*command.get_params(context), *command.get_params(context)):
        assert re.fullmatch(r"[^ ].*[.\])]", parameter.help), parameter.name
        assert parameter.help.count("Default: ") <= 1, parameter.name
    text = CliRunner().invoke(PROGRAMS[program], [name, "--help"], env={"COLUMNS": "200"}).output
    assert "<bool>" not in text
    assert "[default" not in text


def test_help_is_asked_for_by_its_first_letter_too() -> None:
    assert (
        CliRunner().invoke(export_app, ["build", "-h"]).output
        == CliRunner().invoke(export_app, ["build", "--help"]).output
    )


def test_a_default_is_shown_whether_it_is_a_value_or_described() -> None:
    text = CliRunner().invoke(runtime_app, ["run", "--help"], env={"COLUMNS": "200"}).output
    assert "in tokens. Default: 64." in text
    assert "Use exactly this many frames. Default: depends on the video." in text


@pytest.mark.parametrize("program", PROGRAMS)
def test_commands_are_listed_in_groups(program: str) -> None:
    group: Any = typer.main.get_command(PROGRAMS[program])
    panels = {command.rich_help_panel for command in group.commands.values()}
    assert 1 < len(panels) <= 3
    text = CliRunner().invoke(PROGRAMS[program], ["--help"], env={"COLUMNS": "200"}).output
    assert all(f" {panel} " in text for panel in panels)


def test_a_shell_is_told_how_to_complete() -> None:
    # What --show-completion prints, once it has found out which shell it was called from.
    asked = {"_STTS_RUNTIME_COMPLETE": "source_bash"}
    done = CliRunner().invoke(runtime_app, [], prog_name="stts-runtime", env=asked)
    assert done.exit_code == 0
    assert "_STTS_RUNTIME_COMPLETE=complete_bash" in done.output
