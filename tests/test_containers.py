"""The examples to deploy: images that are as pyproject.toml says, a compose file and units that run what there is."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from typer.main import get_command

from stts_runtime.cli.app import app
from tests.support.places import ROOT
from tests.support.project import project

EXAMPLES = ROOT / "docs" / "examples"
DOCKERFILES = sorted((EXAMPLES / "containers").glob("*.Dockerfile"))
UNITS = sorted(EXAMPLES.glob("*.service"))
COMPOSE = yaml.safe_load((EXAMPLES / "monitoring" / "compose.yaml").read_text())["services"]

Instruction = tuple[str, str]


def instructions(path: Path) -> list[Instruction]:
    """Of a Dockerfile, with their lines joined."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def last(path: Path, word: str) -> str:
    return [rest for name, rest in instructions(path) if name == word][-1]


def check_arguments(arguments: list[str]) -> None:
    """Raises if `stts-runtime` has no such command or option."""
    command = get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {one for one in arguments if one.startswith("--")} <= known


def test_there_is_an_image_for_each_machine() -> None:
    assert [path.name.partition(".")[0] for path in DOCKERFILES] == ["cpu", "cuda", "jetson"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
class TestImage:
    def test_it_is_made_of_images_with_a_version(self, path: Path) -> None:
        for image in (rest.split()[0] for word, rest in instructions(path) if word == "FROM"):
            assert re.search(r":[^:/]*\d", image)
            assert "latest" not in image

    def test_what_runs_is_not_root_and_is_told_by_number(self, path: Path) -> None:
        number = last(path, "USER")
        assert int(number) > 0
        assert f"--uid {number} " in path.read_text()
        assert [word for word, _ in instructions(path)].index("USER") > path.read_text().count("FROM")

    def test_its_command_exists_and_its_health_is_asked_where_a_server_answers(self, path: Path) -> None:
        assert json.loads(last(path, "ENTRYPOINT")) == ["stts-runtime"]
        check_arguments(json.loads(last(path, "CMD")))
        check = json.loads(last(path, "HEALTHCHECK").partition("CMD ")[2])
        assert check[:2] == ["python", "-c"]
        compile(check[2], "HEALTHCHECK", "exec")
        assert "/healthz" in check[2]
        assert f"STTS_HEALTH={COMPOSE_DEFAULT}" in path.read_text()

    def test_it_installs_extras_that_exist_and_versions_that_are_admitted(self, path: Path) -> None:
        quoted = re.findall(r'"([^"]+)"', " ".join(rest for word, rest in instructions(path) if "pip install" in rest))
        ours, others = (
            [one for one in quoted if one.startswith(".")],
            [one for one in quoted if not one.startswith(".")],
        )
        extras = project()["optional-dependencies"]
        assert {extra.strip("[]") for one in ours for extra in re.findall(r"\w[\w-]*", one)} <= set(extras)
        pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
        for requirement in map(Requirement, others):
            exact = [
                spec.version for spec in requirement.specifier if spec.operator == "==" and "*" not in spec.version
            ]
            name = requirement.name.replace("-gpu", "")
            assert all(version == pins[name] for version in exact) or "jetson" in path.name

    def test_its_tag_is_the_version(self, path: Path) -> None:
        (tag,) = re.findall(r"--tag stts-runtime:([\d.]+)-", path.read_text())
        assert tag == project()["version"]


COMPOSE_DEFAULT = "127.0.0.1:8080"


def test_the_builder_gets_all_that_the_wheel_is_made_of() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert {one.split("/")[0] for one in project("hatch")["build"]["targets"]["wheel"]["packages"]} <= let_in
    assert {"pyproject.toml", "README.md", "LICENSE", "constraints.txt"} <= let_in
    assert all((ROOT / one).exists() for one in let_in)


def test_the_compose_file_starts_what_there_is() -> None:
    for service in COMPOSE.values():
        assert re.search(r":v?\d", service["image"])
    ours = COMPOSE["stts"]
    assert (EXAMPLES / "monitoring" / ours["build"]["context"]).resolve() == ROOT
    assert (ROOT / ours["build"]["dockerfile"]) in DOCKERFILES
    assert ours["image"] == f"stts-runtime:{project()['version']}-cpu"
    check_arguments(ours["command"])
    # A camera locks out who shows a wrong password again and again, and compose knows no exit code to stop at.
    assert ours["restart"].startswith("on-failure:")


def directives(path: Path) -> Any:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(path)
    return unit


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_runs_the_command_it_is_named_after(path: Path) -> None:
    program, *arguments = shlex.split(directives(path)["Service"]["ExecStart"])
    assert path.stem == f"stts-{arguments[0]}"
    assert Path(program).name == "stts-runtime"
    check_arguments(arguments)


def test_units_differ_in_nothing_but_the_command() -> None:
    one, other = ({k: v for k, v in directives(path)["Service"].items() if k != "ExecStart"} for path in UNITS)
    assert one == other
