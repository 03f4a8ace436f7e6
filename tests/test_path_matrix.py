"""Every kind of bad path, given to every option that takes one: a sentence and exit code 2, from both programs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.cli.app import app as runtime_app
from stts_runtime.serve.settings import ServeConfig
from tests.support.installed import HAS_TORCH
from tests.support.path_matrix import Option, options, place_kinds, places, run_with, tried, tried_in_file
from tests.support.programs import BIN

APPS: dict[str, Any] = {"stts-runtime": runtime_app}
if HAS_TORCH:
    from stts_export.cli.app import app as export_app

    APPS["stts-export"] = export_app
OPTIONS = options(APPS)
PLACES = places(ServeConfig)


@pytest.fixture(scope="module")
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What stands where the path that is tried does not."""
    bundle: Bundle = request.getfixturevalue("micro_bundle")
    clip = str(request.getfixturevalue("clip"))
    checkpoint = str(request.getfixturevalue("micro_checkpoint")) if HAS_TORCH else ""
    masked = tmp_path_factory.mktemp("config") / "cameras.yaml"
    stream = {"name": "gate", "source": clip, "masks": [{"rectangle": [0, 0, 0.5, 0.5]}]}
    masked.write_text(json.dumps({"bundle": str(bundle.folder), "streams": [stream]}))
    return {
        "bundle": str(bundle.folder),
        "checkpoint": checkpoint,
        "sources": clip,
        "source": clip,
        "frames_from": clip,
        "videos": str(Path(clip).parent),
        "ask": "Who?",
        "engine": "tensorrt",
        "out": str(tmp_path_factory.mktemp("out") / "new"),
        "config": str(masked),
    }


@pytest.mark.onnxruntime
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_no_kind_of_bad_path_is_an_internal_error(option: Option, good: dict[str, str], tmp_path: Path) -> None:
    problems = []
    for number, kind in enumerate(option.kinds()):
        ended = tried(option, kind, tmp_path / str(number), APPS[option.program], good)
        if ended.problem is not None:
            problems.append(f"{kind}: {ended.problem}")
    assert not problems, "\n".join(problems)


# `doctor` looks at any folder's disk.
BUNDLES = [one for one in OPTIONS if one.parameter == "bundle" and one.command != "doctor"]


@pytest.mark.onnxruntime
@pytest.mark.parametrize("option", BUNDLES, ids=lambda option: option.name)
def test_a_checkpoint_where_a_bundle_belongs_is_told_with_what_builds_one(
    option: Option, good: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    for name in ("allenai/Molmo2-4B@main", "m"):
        ended = run_with(option, name, APPS[option.program], good)
        assert ended.problem is None
        assert ended.err.endswith(f": stts-export build {name} --out BUNDLE\n"), ended.err


@pytest.mark.onnxruntime
@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_nor_is_one_in_a_configuration_file(place: tuple[str, ...], good: dict[str, str], tmp_path: Path) -> None:
    problems = []
    for number, kind in enumerate(place_kinds(place)):
        ended = tried_in_file(place, kind, tmp_path / str(number), runtime_app, good)
        if ended.problem is not None:
            problems.append(f"{kind}: {ended.problem}")
    assert not problems, "\n".join(problems)


_NO_HOME = ("HOME", "USER", "LOGNAME", "STATE_DIRECTORY", "XDG_STATE_HOME", "XDG_CACHE_HOME")


@pytest.mark.onnxruntime
@pytest.mark.parametrize(
    ("sink", "code", "words"),
    [("-", 0, ""), ("http://127.0.0.1:9/x", 2, "needs a folder, and this user has no home: set `state:`")],
)
def test_a_user_without_home_and_name_needs_one_only_where_something_is_kept(
    micro_bundle: Bundle, clip: Path, sink: str, code: int, words: str
) -> None:
    if not _may_be_another():
        pytest.skip("becomes another user, which is not allowed here")
    line = ["stream", str(micro_bundle.folder), str(clip), "--ask", "Who?", "--to", sink]
    done = subprocess.run(
        [*_ANOTHER_USER, str(BIN / "stts-runtime"), *line],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in _NO_HOME},
    )
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "internal error" not in done.stderr


_ANOTHER_USER = ("unshare", "-U", "--map-user=12345")


def _may_be_another() -> bool:
    """A user id that no name belongs to, which sees our files all the same."""
    try:
        return subprocess.run([*_ANOTHER_USER, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_every_command_with_a_path_is_tried() -> None:
    """Would show that the definition is no longer read as it should be."""
    tried_commands = {(option.program, option.command) for option in OPTIONS}
    defined = {(program, str(one.name)) for program, app in APPS.items() for one in app.registered_commands}
    assert tried_commands == defined
    assert sum(len(option.kinds()) for option in OPTIONS) > (700 if HAS_TORCH else 400)
