"""`stts-runtime stream` as a program: files to their end, signals, refusals, bad options, no word of a password."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.cli.log import Log

PROGRAM = [sys.executable, "-c", "from stts_runtime.cli import main; main()", "stream"]
ASK = ["--ask", "What happens?"]


def run(*arguments: object, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=seconds, check=False
    )


def test_lines_of_several_threads_do_not_run_into_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Pieces(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stderr", Pieces())
    Log()("a line")
    (line,) = [piece for piece in written if piece]
    assert line.endswith(" info: a line\n")


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.onnxruntime
def test_a_file_is_answered_about_to_its_end(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    done = run(
        micro_bundle.folder, clip, *ASK, "--frames", 2, "--to", out, "--to", "-", "--json",
        "--preview", tmp_path / "preview", "--max-tokens", 3,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = records(done.stdout)
    assert said == records(out.read_text())
    assert [one.get("state") or one["trigger"] for one in said] == [
        "live", "the first window", "no condition", "no condition", "ended",
    ]  # fmt: skip
    assert [one["times_seconds"] for one in said if "number" in one] == [[0.0, 0.5], [0.5, 1.0], [1.0, 1.5]]
    assert [one["number"] for one in said if "number" in one] == [1, 2, 3]
    assert "random weights" in done.stderr
    assert (tmp_path / "preview" / "stream-1.000001.mp4").stat().st_size > 0


@pytest.mark.onnxruntime
def test_a_configuration_file_does_the_same(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "cameras.yaml"
    content = {
        "bundle": str(micro_bundle.folder),
        "questions": ["What happens?"],
        "max_tokens": 2,
        "frames": 2,
        "streams": [
            {"name": "gate", "source": str(clip)},
            {"name": "yard", "source": str(clip), "when": "novelty>0.9"},
        ],
    }
    path.write_text(json.dumps(content))
    done = run("--config", path)
    assert done.returncode == 0, done.stderr
    answers = [one["stream"] for one in records(done.stdout) if "number" in one]
    assert answers.count("gate") == 3
    assert answers.count("yard") == 1, "nothing new behind the first window"
    assert run("--config", path, *ASK).returncode == 2, "the file has questions, and nobody would know which hold"


@pytest.mark.onnxruntime
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(micro_bundle: Bundle, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "answers.jsonl"
    arguments = [micro_bundle.folder, "rtsp://viewer:secret@127.0.0.1:9/stream", *ASK, "--to", out]
    child = subprocess.Popen(
        [*PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not (out.exists() and "reconnecting" in out.read_text()):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(number)
    output, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    assert f"{number.name}: finishing" in errors
    whole = out.read_text()
    assert records(whole)[-1]["state"] == "ended"
    assert "secret" not in whole + output + errors
    assert "viewer" not in whole + output + errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give BUNDLE, or --config FILE"),
        (["BUNDLE", "CLIP"], "give --ask QUESTION"),
        pytest.param(["BUNDLE", "nothing.mp4", *ASK], "no such file: nothing.mp4", marks=pytest.mark.onnxruntime),
        pytest.param(["BUNDLE", "ftp://u:secret@host/x", *ASK], "not a known source", marks=pytest.mark.onnxruntime),
        (["BUNDLE", "CLIP", *ASK, "--when", "score>1"], "novelty>NUMBER"),
        pytest.param(
            ["BUNDLE", "CLIP", *ASK, "--frames", "99"],
            "a window of 99 frames does not fit",
            marks=pytest.mark.onnxruntime,
        ),
        (["BUNDLE", "CLIP", *ASK, "--keep", "0.3"], "no live variant with keep 0.3"),
        pytest.param(["BUNDLE", "CLIP", "--ask", "x " * 2000], "leaves", marks=pytest.mark.onnxruntime),
        (["BUNDLE", "CLIP", *ASK, "--to", "answers.txt"], "is no place for records|should be"),
        (["BUNDLE", "CLIP", *ASK, "--shortest-pause", "2", "--longest-pause", "1"], "longest_pause"),
        (["BUNDLE", "CLIP", *ASK, "--metrics", "9109"], "ADDRESS:PORT"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    micro_bundle: Bundle, clip: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    names = {"BUNDLE": str(micro_bundle.folder), "CLIP": str(clip)}
    done = subprocess.run(
        [*PROGRAM, *(names.get(one, one) for one in arguments)],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "Z note: " not in line]
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    assert "secret" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())
