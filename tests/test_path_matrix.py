"""Every kind of bad path, given to every option that takes one: a sentence and exit code 2, from both programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.cli.app import app as runtime_app
from tests.installed import HAS_TORCH
from tests.path_matrix import Option, options, tried

APPS: dict[str, Any] = {"stts-runtime": runtime_app}
if HAS_TORCH:
    from stts_export.cli.app import app as export_app

    APPS["stts-export"] = export_app
OPTIONS = options(APPS)


@pytest.fixture(scope="module")
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What stands where the path that is tried does not."""
    bundle: Bundle = request.getfixturevalue("micro_bundle")
    clip = str(request.getfixturevalue("clip"))
    checkpoint = str(request.getfixturevalue("micro_checkpoint")) if HAS_TORCH else ""
    return {
        "bundle": str(bundle.folder),
        "checkpoint": checkpoint,
        "sources": clip,
        "frames_from": clip,
        "ask": "Who?",
        "engine": "tensorrt",
        "out": str(tmp_path_factory.mktemp("out") / "new"),
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


def test_every_command_with_a_path_is_tried() -> None:
    """Would show that the definition is no longer read as it should be."""
    tried_commands = {(option.program, option.command) for option in OPTIONS}
    defined = {(program, str(one.name)) for program, app in APPS.items() for one in app.registered_commands}
    assert tried_commands == defined
    assert sum(len(option.kinds()) for option in OPTIONS) > (700 if HAS_TORCH else 400)
