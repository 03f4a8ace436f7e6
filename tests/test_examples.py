"""Every script in examples/ runs, prints what it says, and is short."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stts_runtime.bundle import Bundle
from tests.support.places import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

ARGUMENTS = {
    "ask_file": ["BUNDLE", "clip.mp4", "What happens?"],
    "ask_folder": ["BUNDLE", ".", "What happens?"],
    "compare_keeps": ["BUNDLE", "clip.mp4", "What happens?", "keeps.png"],
    "custom_engine": ["BUNDLE", "clip.mp4"],
    "draw_kept": ["BUNDLE", "kept.png"],
    "several_questions": ["BUNDLE", "clip.mp4"],
    "watch_stream": ["BUNDLE", "clip.mp4", "What moves?"],
}


@pytest.fixture
def run(
    micro_bundle: Bundle,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[str], str]:
    """Runs an example and returns what it printed."""
    shutil.copy(clip, tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)

    def run_example(name: str) -> str:
        words = [str(micro_bundle.folder) if word == "BUNDLE" else word for word in ARGUMENTS[name]]
        monkeypatch.setattr(sys, "argv", [name, *words])
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run_example


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_fits_on_a_screen_and_says_how_it_is_run(example: Path) -> None:
    text = example.read_text()
    assert len(text.splitlines()) < 40
    assert f"python examples/{example.name} BUNDLE" in text
    assert f"](../examples/{example.name})" in (ROOT / "docs" / "python.md").read_text()


@pytest.mark.onnxruntime
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_python_in_the_documentation_runs(
    page: str, micro_bundle: Bundle, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tiny").symlink_to(micro_bundle.folder)
    for name in ("out/clip.mp4", "street.mp4"):
        (tmp_path / name).symlink_to(clip)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    program = "\n".join(blocks).replace("rtsp://CAMERA/stream1", "street.mp4")
    assert "stts_runtime.load" in program
    exec(compile(program, page, "exec"), {})


@pytest.mark.onnxruntime
def test_one_file_is_answered_about_as_it_goes(run: Callable[[str], str]) -> None:
    assert "on cpu: kept 6 of 12 tokens" in run("ask_file")


@pytest.mark.onnxruntime
def test_a_folder_gives_a_line_of_json_for_each_video_that_can_be_read(run: Callable[[str], str]) -> None:
    Path("broken.mp4").write_text("no video")
    (line,) = run("ask_folder").splitlines()
    assert json.loads(line)["source"] == "clip.mp4"


@pytest.mark.onnxruntime
def test_several_questions_share_a_look(run: Callable[[str], str]) -> None:
    costs = [float(line.split()[0]) for line in run("several_questions").splitlines()]
    assert len(costs) == 4
    assert costs[1] < costs[0]
    assert costs[3] < costs[2]


@pytest.mark.onnxruntime
def test_what_was_kept_is_drawn(run: Callable[[str], str]) -> None:
    printed = run("draw_kept")
    assert printed.count("\n##\n") >= 1, "the first frame is kept whole"
    assert Path("kept.png").stat().st_size > 0


@pytest.mark.onnxruntime
def test_a_stream_is_followed_to_its_end(run: Callable[[str], str]) -> None:
    assert "the source ended before a window was full" in run("watch_stream")


@pytest.mark.onnxruntime
def test_keep_ratios_are_compared_in_a_plot(run: Callable[[str], str]) -> None:
    pytest.importorskip("matplotlib")
    assert re.findall(r"^keep (\S+): +[\d.]+ ms", run("compare_keeps"), re.MULTILINE) == ["1", "0.5"]
    assert Path("keeps.png").stat().st_size > 0


@pytest.mark.onnxruntime
def test_an_engine_of_ones_own_answers_the_same_and_faster(run: Callable[[str], str]) -> None:
    _, first_ms, first, second_ms, second = re.split(r"^vision (\S+) ms  ", run("custom_engine"), flags=re.MULTILINE)
    assert float(second_ms) < float(first_ms)
    assert first == second
