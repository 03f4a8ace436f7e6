"""The tensorrt engine on a GPU, through the commands that a user types.

Run with `pytest -m gpu`. They run on Python 3.10 too, where TensorRT 8.6 is and torch is not, so what takes torch is
made beforehand: STTS_GPU_BUNDLE is a bundle for target `tensorrt` with both budgets, STTS_GPU_REFERENCE what
`stts-export verify BUNDLE --write-reference FILE` wrote of it. Without these or without a GPU they fail.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.passports import EngineStore
from tests.support.clips import write_clip
from tests.support.served import served

pytestmark = pytest.mark.gpu

PROGRAM = [sys.executable, "-c", "from stts_runtime.cli import main; main()"]
QUESTION = "What moves?"


def given(name: str) -> Path:
    assert name in os.environ, f"{name} is not set; the beginning of this file says what it names"
    return Path(os.environ[name])


def run(*words: object) -> str:
    done = subprocess.run([*PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(*words: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*words, "--json").splitlines()]


def fetched(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        found: dict[str, Any] = json.load(response)
    return found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the given one, compiled."""
    folder = tmp_path_factory.mktemp("gpu") / "bundle"
    shutil.copytree(given("STTS_GPU_BUNDLE"), folder)
    run("compile", folder, "--engine", "tensorrt", "--jobs", 4)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds, which give a window of 16 frames."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=100, fps=10)


def test_every_engine_kept_the_proof(bundle: Path) -> None:
    parts = list(Bundle.open(bundle).manifest.parts())
    passports = [EngineStore(bundle).read(part, "tensorrt") for part in parts]
    assert {one.part for one in passports} == set(parts)
    assert all(one.proof for one in passports)


def test_check_holds_the_engines_to_a_reference(bundle: Path) -> None:
    assert lines("check", bundle, "--engine", "tensorrt", "--reference", given("STTS_GPU_REFERENCE"))


def test_run_answers_twice_the_same(bundle: Path, clip: Path) -> None:
    once, again = (lines("run", bundle, clip, "--ask", QUESTION, "--engine", "tensorrt") for _ in range(2))
    assert once[0]["answer"] == again[0]["answer"]
    assert once[0]["kept_per_frame"] == again[0]["kept_per_frame"]


def test_stream_answers_frame_by_frame(bundle: Path, clip: Path) -> None:
    told = lines("stream", bundle, clip, "--ask", QUESTION, "--engine", "tensorrt")
    answers = [one for one in told if "answer" in one]
    assert answers
    assert told[-1]["state"] == "ended"


def test_bench_measures_every_variant(bundle: Path, clip: Path) -> None:
    (report,) = lines("bench", bundle, clip, "--engine", "tensorrt", "--rounds", 3)
    assert report["engine"] == "tensorrt"


def test_serve_answers_about_a_clip(bundle: Path, clip: Path) -> None:
    url = "data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode()
    content = [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": QUESTION}]
    body: dict[str, Any] = {"messages": [{"role": "user", "content": content}], "max_tokens": 8}
    with served(bundle, "--engine", "tensorrt") as server:
        body["model"] = fetched(f"{server.address}/v1/models")["data"][0]["id"]
        answer = fetched(f"{server.address}/v1/chat/completions", body)
        server.stop()
    assert answer["choices"][0]["message"]["content"]
