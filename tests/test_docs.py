"""Every command of the documentation is run, on small stand-ins for what the reader has; every option there exists.

`scripts/demo` and `scripts/test` are what `.ci/run` runs, and what takes minutes or needs footage of a real place is
only parsed. Of the builds one runs always, the others with `-m slow`.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import sys
import urllib.request
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from _pytest.mark.structures import ParameterSet
from typer.testing import CliRunner

from stts_export.cli.app import app as export_app
from stts_runtime.archive.writer import ArchiveWriter, Room
from stts_runtime.bundle import Bundle
from stts_runtime.cli.app import app as runtime_app
from stts_runtime.stream.config import StreamConfig
from stts_tools.site.hooks import GENERATED
from tests.support.adapters import write_adapter
from tests.support.archived import entry_of, record_of
from tests.support.documented import PAGES, Command, extras, mentioned, options, shown
from tests.support.places import ROOT
from tests.support.served import served

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROGRAMS = {"stts-export": export_app, "stts-runtime": runtime_app}
SHELL_SCRIPTS = {
    "scripts/accuracy",
    "scripts/accuracy_scorers",
    "scripts/demo",
    "scripts/docs",
    "scripts/fault_lab",
    "scripts/install",
    "scripts/lint",
    "scripts/test",
    "scripts/test_py310",
}
PARSED_ONLY = (
    *("scripts/demo", "scripts/test", "scripts/train_tiny.py", "scripts/bench_choices.py", "stts-export calibrate"),
    # It takes a cluster: tests/runtime/fleet makes one.
    "stts-runtime fleet",
    *("stts-export train-scorer", "scripts/synthetic_clips.py"),
    # An answer by a schema takes more tokens than the few that are asked for here.
    "stts-runtime run BUNDLE clip.mp4 --ask 'What happens?' --schema",
)

STAND_INS = {
    r"rtsp://\S+|csi://0|gst:.*(?= --)|(?<=BUNDLE )'gst:[^']*'": "clip.mp4",
    r"serve (.*)clip.mp4": r"serve \1loop:clip.mp4",
    r"loop:(out/|loop:)*": "loop:",
    r"/etc/stts/": "",
    r"--frames (8|16)\b": "--frames 3",
    r"--frames 64\b": "--frames 6",
    r"--frames 3 --frames 3\b": "--frames 3 --frames 6",
    r"--variant NAME\b": "--variant clip-t3-k0.5",
    r"--size \S+": "--size tiny",
    r"allenai/\S+": "CHECKPOINT",
    r"--tokenizer FOLDER": "--tokenizer CHECKPOINT",
    r"sm86,sm89,sm120": "sm86,sm89",
}
LESS_WORK = {
    "run": "--max-tokens 2",
    "stream": "--max-tokens 2",
    "bench": "--rounds 2",
    "verify": "--max-tokens 2",
}
REFUSED = {"stts-runtime compile BUNDLE --engine tensorrt": "no NVIDIA GPU here"}
"""What needs a GPU, and what it says without."""


def to_run() -> Iterator[ParameterSet]:
    """Each command once."""
    once = {
        command.text: command
        for command in shown()
        if not command.text.startswith(PARSED_ONLY) and command.words[0] not in SHELL_SCRIPTS
    }
    builds = [text for text in once if text.startswith("stts-export build")]
    for text, command in once.items():
        yield pytest.param(command, id=command.place, marks=[pytest.mark.slow] if text in builds[1:] else [])


def words_of(command: Command) -> list[str]:
    text = command.text
    for pattern, stand_in in STAND_INS.items():
        text = re.sub(pattern, stand_in, text)
    return [*shlex.split(text)[1:], *LESS_WORK.get(command.words[1], "").split()]


@pytest.fixture
def laid_out(
    micro_checkpoint: Path, micro_bundle: Bundle, clip: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[[Command], Path]:
    """Makes a folder where everything lies that the documentation names."""

    def lay_out(command: Command) -> Path:
        for name in ("CHECKPOINT", "MOLMO2", "m4b", "checkpoints/tiny"):
            _link(tmp_path / name, micro_checkpoint)
        for name in ("VIDEO", "RECORDINGS/a.mp4", "clip.mp4", "street.mp4", "bikes.mp4", "out/clip.mp4"):
            _link(tmp_path / name, clip)
        bundle = request.getfixturevalue("targets_bundle") if command.words[1] == "compile" else micro_bundle
        made = dict(zip(command.words, command.words[1:], strict=False)).get("--out")
        for name in {"BUNDLE", "out/live", "out/tiny", "out/b"} - {made}:
            shutil.copytree(bundle.folder, tmp_path / name)
        if "ADAPTER" in command.words:
            write_adapter(tmp_path / "ADAPTER", micro_checkpoint)
        (tmp_path / "cameras.yaml").write_text(
            'bundle: BUNDLE\nquestions: ["Who?"]\nstreams: [{name: a, source: VIDEO}]\n'
        )
        archive = ArchiveWriter(tmp_path / "seen.db", Room(36_500, 10**8), print)
        archive.add([entry_of("A white van stops")])
        archive.close()
        (tmp_path / "answers.jsonl").write_text(json.dumps(record_of("A red van", 1)))
        (tmp_path / "token").write_text("a-token-of-the-tests\n")
        (tmp_path / "questions.jsonl").write_text('{"video": "clip.mp4", "question": "Who?", "answer": "nobody"}\n')
        return tmp_path

    return lay_out


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


@pytest.mark.parametrize("command", list(to_run()))
def test_a_command_that_is_shown_does_what_it_says(
    command: Command, laid_out: Callable[[Command], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(laid_out(command))
    words = words_of(command)
    if words[0] == "serve":
        with served(*words[1:]) as server:
            assert urllib.request.urlopen(f"{server.address}/readyz", timeout=10).status == 200
            server.stop()
        return
    done = CliRunner().invoke(app_of(command), words)
    if refusal := REFUSED.get(command.text):
        assert refusal in str(done.exception)
        return
    assert done.exit_code == 0, done.output
    for option in ("--out", "--overlay", "--points", "--plot", "--report"):
        assert option not in words or Path(words[words.index(option) + 1]).exists()


@pytest.mark.parametrize("command", [*shown(), *mentioned()], ids=lambda command: command.place)
def test_a_command_that_is_named_has_the_options_given(command: Command) -> None:
    if command.words[0] in SHELL_SCRIPTS:
        assert (ROOT / command.words[0]).stat().st_mode & 0o111
        return
    known = options_of(named(app_of(command), command.words[1:]))
    assert {word for word in command.words if word.startswith("--")} <= known


@pytest.mark.parametrize(("option", "place"), list(options().items()))
def test_an_option_that_is_named_exists(option: str, place: str) -> None:
    # Completion is of each program, not of a command; the test of a whole command looks for it there.
    of_others = {"--delete", "--runtime", "--system-site-packages", "--install-completion", "--show-completion"}
    scripts = [f"scripts/{path.name}" for path in (ROOT / "scripts").glob("*.py") if "app =" in path.read_text()]
    apps = [app_of(Command(place, (program,))) for program in [*PROGRAMS, *scripts]]
    assert option in of_others.union(*(options_of(one) for app in apps for one in _commands(app))), place


def test_the_extras_that_are_to_be_installed_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extras() <= project["optional-dependencies"].keys()


def test_every_setting_of_a_file_is_documented() -> None:
    """In the reference, from the string below the field, which says more than its name."""
    lines = GENERATED["reference/settings.md"]().splitlines()
    settings = [[cell.strip() for cell in line.split(" | ")] for line in lines if line.startswith("| `")]
    assert len(settings) > 100
    assert not [name for name, *_, said in settings if len(said.removesuffix("|").split()) < 2]
    named = {name.strip("| `") for name, *_ in settings}
    assert {field.alias or name for name, field in StreamConfig.model_fields.items()} <= named
    assert "reference/settings.md" in (ROOT / "mkdocs.yml").read_text()


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"


def app_of(command: Command) -> typer.Typer:
    program = command.words[0]
    if program in PROGRAMS:
        return PROGRAMS[program]
    app = import_module(program.removesuffix(".py").replace("/", ".")).app
    assert isinstance(app, typer.Typer)
    return app


def _commands(app: typer.Typer) -> list[Any]:
    command: Any = typer.main.get_command(app)
    return [*getattr(command, "commands", {"": command}).values()]


def named(app: typer.Typer, words: tuple[str, ...]) -> Any:
    """The command; an option in its place is one of the program itself."""
    command: Any = typer.main.get_command(app)
    return command.commands[words[0]] if hasattr(command, "commands") and words and words[0][0] != "-" else command


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts} | {"--help"}


FILLED_IN = (
    r"\b[MNTXY]\b|\d[\d.]*|\bNAME\b|ADDRESS:PORT|\.\.\.|'|\bF16\b|\bOrin\b|\bsm\d+|\bSIG\w+|config\.(?:json|yaml)"
    r"|tokenizer\.json|\btensorrt(?:-rtx)?\b|\bcpu\b|\blanguage\b|\btemperature\b"
)


def test_every_message_of_troubleshooting_is_one_of_ours() -> None:
    """A row is found by searching for the message, so it has to say what the program says."""
    ours = "\n".join(_texts())
    _, _, by_message = (ROOT / "docs" / "troubleshooting.md").read_text().partition("\n## Checkpoints and builds")
    rows = [line.split("|")[1] for line in by_message.splitlines() if line.startswith("| `")]
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 100
    for message in messages:
        for piece in re.split(FILLED_IN, message):
            assert piece.strip() in ours, message


def test_files_that_are_named_exist() -> None:
    """By the end of their path, as the tables of docs/architecture.md name them."""
    parts = ("calib", "examples", "runtime", "scripts", "stts_export", "tests", "tools")
    paths = [path.relative_to(ROOT).parts for part in parts for path in (ROOT / part).rglob("*.py")]
    there = {"/".join(path[start:]) for path in paths for start in range(len(path))}
    named = {(page.name, file) for page in PAGES for file in re.findall(r"`([a-z0-9_/]+\.py)`", page.read_text())}
    assert len(named) > 100
    assert not [f"{page}: {file}" for page, file in sorted(named) if file not in there]


def _texts() -> Iterator[str]:
    """Every string in the code; what is filled in is left out."""
    for part in ("runtime", "calib", "tools", "stts_export", "scripts"):
        for path in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(one.value) if isinstance(one, ast.Constant) else "\0" for one in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
