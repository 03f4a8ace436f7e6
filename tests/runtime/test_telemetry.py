"""What dependencies do by themselves: nothing is looked up, connected to or left behind, by any of the programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.telemetry import HUB_VARIABLE, VARIABLE
from tests.support.places import ROOT
from tests.support.sandbox import Seen, sandboxed, why_not

PACKAGES = ["stts_runtime", "stts_calib", "stts_export", "stts_tools"]
# ONNX Runtime keeps still by itself where it believes to be in continuous integration.
_SILENCED = (VARIABLE, HUB_VARIABLE, "CI", "GITHUB_ACTIONS", "TF_BUILD")
_PROGRAM = "from {}.cli import main; main()"


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(str(ROOT / part) for part in ("", "runtime", "calib", "tools"))
    kept = {name: value for name, value in os.environ.items() if name not in _SILENCED}
    return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}


def said_by(code: str, **more: str) -> str:
    command = [sys.executable, "-W", "always", "-c", code]
    done = subprocess.run(command, env=environment(**more), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


SHOWN = f"; import os; print(os.environ['{VARIABLE}'], os.environ['{HUB_VARIABLE}'])"


@pytest.mark.parametrize("package", PACKAGES)
def test_whatever_package_is_imported_first_telemetry_is_off_for_it_and_what_it_starts(package: str) -> None:
    assert said_by(f"import {package}{SHOWN}") == "1 1\n"
    said = said_by(f"import {package}{SHOWN}", **{VARIABLE: "", HUB_VARIABLE: ""})
    assert said == "1 1\n", "an empty one turns nothing off"


def test_a_user_may_turn_telemetry_on() -> None:
    assert said_by(f"import stts_runtime{SHOWN}", **{VARIABLE: "0"}) == "0 1\n"
    assert said_by(f"import stts_runtime{SHOWN}", **{HUB_VARIABLE: "0"}) == "1 0\n"


FAKE = (
    "import sys, types; fake = types.ModuleType('onnxruntime'); fake.disable_telemetry_events = lambda: print('off'); "
)


def test_who_imported_onnx_runtime_before_is_told_once() -> None:
    said = said_by(FAKE + "sys.modules['onnxruntime'] = fake; import stts_runtime, stts_calib, stts_runtime.errors")
    assert said.startswith("off\n")
    assert said.count("onnxruntime was imported before stts_runtime, so its telemetry has begun") == 1
    assert said_by(FAKE + "sys.modules['onnxruntime'] = fake; import stts_runtime", **{VARIABLE: "1"}) == ""


def test_what_imports_onnx_runtime_belongs_to_a_package_that_turns_telemetry_off() -> None:
    """Python runs a package's own module first, so every way to these leads past it."""
    importing = [
        path.relative_to(ROOT)
        for path in ROOT.rglob("*.py")
        if not {"tests", ".venv", ".venv310"} & set(path.relative_to(ROOT).parts)
        and any(line.split()[:2][1:] in (["onnxruntime"], ["onnxruntime.quantization"]) for line in _imports(path))
    ]
    assert len(importing) > 5
    assert {path.parts[0 if path.parts[0] == "stts_export" else 1] for path in importing} <= set(PACKAGES)


def _imports(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip().startswith(("import ", "from "))]


# --- In a sandbox ---


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := why_not():
        pytest.skip(f"a network of its own {reason}")
    folder = tmp_path_factory.mktemp("alone")
    for name in ("home", "tmp", "out", "scratch"):
        (folder / name).mkdir()
    return folder


def alone(place: Path, *command: object, **more: str) -> Seen:
    folders = {"HOME": str(place / "home"), "TMPDIR": str(place / "tmp")}
    seen = sandboxed(place / "scratch", [sys.executable, "-c", *command], environment(**folders, **more))
    assert seen.code == 0, seen.said
    return seen


def assert_to_itself(seen: Seen, *folders: Path, own: int = 0) -> None:
    """`own`: connections that the test made."""
    assert seen.names == []
    assert (seen.connections, seen.datagrams) == (own, 0)
    assert seen.written_outside(*folders) == []


@pytest.mark.onnxruntime
def test_the_sandbox_sees_what_onnx_runtime_does_when_it_is_let(place: Path, micro_bundle: Bundle, clip: Path) -> None:
    import onnxruntime

    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 29):
        pytest.skip("this ONNX Runtime has no telemetry on Linux")
    wait = "import time, stts_runtime; m = stts_runtime.load(sys.argv[1]); m.ask(sys.argv[2], 'x'); time.sleep(2)"
    seen = alone(place, f"import sys; {wait}", micro_bundle.folder, clip, **{VARIABLE: "0"})
    assert any("deviceid" in path for path in seen.written)
    assert set(seen.names) <= {"mobile.events.data.microsoft.com"}


@pytest.mark.onnxruntime
def test_run_keeps_to_itself(place: Path, micro_bundle: Bundle, clip: Path) -> None:
    seen = alone(place, _PROGRAM.format("stts_runtime"), "run", micro_bundle.folder, clip, "--ask", "x")
    assert "answer" in seen.said
    assert_to_itself(seen)


def test_build_keeps_to_itself(place: Path, micro_checkpoint: Path) -> None:
    words = ["build", micro_checkpoint, "--out", place / "out" / "b", "--frames", 3, "--keep", 1, "--budget", "clip"]
    seen = alone(place, _PROGRAM.format("stts_export"), *words)
    assert any(path.endswith("manifest.json") for path in seen.written)
    assert_to_itself(seen, place / "out")


SERVED = """
import json, sys, time, urllib.request
from tests.support.served import served
with served(sys.argv[1], "loop:" + sys.argv[2], "--ask", "x") as one:
    get = lambda path: urllib.request.urlopen(one.address + path, timeout=30).read()
    count = 1
    while not json.loads(get("/api/state"))["streams"][0]["answers"]:
        count += 1
        time.sleep(0.2)
    one.stop()
print("connections", count)
"""


@pytest.mark.onnxruntime
def test_serve_keeps_to_itself(place: Path, micro_bundle: Bundle, clip: Path) -> None:
    seen = alone(place, SERVED, micro_bundle.folder, clip)
    own = int(seen.said.rpartition("connections ")[2])
    assert_to_itself(seen, place / "home" / ".local" / "state" / "stts", own=own)
