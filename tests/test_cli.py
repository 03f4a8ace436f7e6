"""The command lines as a user types them: exit codes, one line on stderr, and what is left on disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import cv2
import pytest
import typer
from rich.text import Text

from stts_export.cli.app import app as export_app
from stts_runtime.bundle import Bundle
from stts_runtime.cli.app import app as runtime_app
from stts_runtime.records import Answer
from tests.support.places import ROOT
from tests.support.programs import BIN, assert_refused, run

EXPORT_PACKAGES = ("torch", "onnx", "onnx_ir", "onnxscript", "safetensors", "transformers")
CALIB_PACKAGES = ("onnxruntime", "ml_dtypes", "matplotlib", "yaml", "fastapi", "requests", "paho", "prometheus_client")


@pytest.mark.onnxruntime
def test_run_answers_every_question_in_json(micro_bundle: Bundle, clip: Path) -> None:
    done = run(
        "stts-runtime", "run", micro_bundle.folder, clip, "--ask", "What happens?", "--ask", "Who?", "--keep", "0.5",
        "--max-tokens", "4", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = [Answer.model_validate_json(line) for line in done.stdout.splitlines()]
    assert [answer.question for answer in answers] == ["What happens?", "Who?"]
    assert [answer.reused_prefix for answer in answers] == [False, True]
    # Two seconds give five frames by the rule, and the bundle's longest variant with no more than that has three.
    assert answers[0].variant == "clip-t3-k0.5"
    assert any("would be 5 frames; the variant takes 3" in note for note in answers[0].notes)
    assert done.stderr == ""


@pytest.mark.onnxruntime
def test_run_for_people_says_what_was_kept(micro_bundle: Bundle, clip: Path) -> None:
    done = run("stts-runtime", "run", micro_bundle.folder, clip, "--ask", "Who?", "--max-tokens", "2")
    assert done.returncode == 0, done.stderr
    assert "kept 6 of 12 visual tokens" in done.stdout
    assert "its answers are noise" in done.stdout
    assert all(character.isprintable() or character == "\n" for character in done.stdout)


@pytest.mark.onnxruntime
def test_frames_can_be_asked_for_beyond_the_rule(micro_bundle: Bundle, clip: Path) -> None:
    done = run("stts-runtime", "run", micro_bundle.folder, clip, "--ask", "Who?", "--frames", "6", "--json")
    assert json.loads(done.stdout)["variant"] == "clip-t6-k0.5"


@pytest.mark.onnxruntime
@pytest.mark.parametrize("suffix", [".png", ".mp4"])
def test_overlay_dims_what_was_dropped(micro_bundle: Bundle, clip: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"overlay{suffix}"
    done = run("stts-runtime", "run", micro_bundle.folder, clip, "--ask", "Who?", "--overlay", out, "--json")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    capture = cv2.VideoCapture(str(out))
    read, first = capture.read()
    assert read
    assert first.shape[1] >= 360
    if suffix == ".mp4":
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3


@pytest.mark.onnxruntime
def test_points_go_to_a_file_with_the_frames_that_were_looked_at(
    micro_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "points.json"
    asked = ("--ask", "Point to it.", "--ask", "Who?", "--points", out)
    done = run("stts-runtime", "run", micro_bundle.folder, clip, *asked)
    assert done.returncode == 0, done.stderr
    assert f"points: {out}" in done.stdout
    content = json.loads(out.read_text())
    # The answers of random weights point to nothing.
    assert content["annotations"] == []
    assert [(image["width"], image["height"]) for image in content["images"]] == [shown_size(clip)] * 3


def shown_size(clip: Path) -> tuple[int, int]:
    capture = cv2.VideoCapture(str(clip))
    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


@pytest.mark.onnxruntime
def test_user_mistakes_give_one_line_and_exit_code_2(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    bundle = micro_bundle.folder
    empty = tmp_path / "empty.mp4"
    empty.touch()
    ask = ("--ask", "Who?")
    cases = [
        ((bundle, "none.mp4", *ask), "no such file: none.mp4"),
        ((tmp_path, clip, *ask), "is not a bundle"),
        ((tmp_path / "none", clip, *ask), "no such bundle"),
        ((bundle, empty, *ask), "is empty: 0 bytes"),
        ((bundle, clip, *ask, "--keep", "0.3"), "no variant with keep 0.3"),
        ((bundle, clip, *ask, "--keep", "1.5"), "keep ratio must be above 0 and at most 1"),
        ((bundle, clip, *ask, "--frames", "7"), "no variant with keep 0.5, 7 frames"),
        ((bundle, clip, "--ask", "why " * 500), "the question takes"),
        ((bundle, clip, "--ask", " "), "the question is empty"),
        ((bundle, clip, *ask, "--overlay", "x.gif"), ".png or .mp4"),
        ((bundle, clip, empty, *ask, "--overlay", "x.png"), "one source, got 2"),
        ((bundle, clip, *ask, "--points", "x.csv"), "x.csv should end in .json"),
        ((bundle, clip, *ask, "--points", "x.json", "--out", "x.jsonl"), "--points takes no --out"),
        ((bundle, tmp_path, *ask, "--out", "x.json"), "x.json should end in .jsonl"),
        ((bundle, empty, *ask, "--out", bundle / "engines" / "x.jsonl"), "no such folder"),
        ((bundle, clip, *ask, "--out", bundle / "x.jsonl"), "inside the bundle"),
        ((bundle, bundle, *ask), "holds no video file; it holds"),
        ((bundle, clip), "Missing option '--ask'. (see stts-runtime run --help)"),
        ((bundle, "rtsp://me:secret@host/live", *ask), "rtsp://***@host/live"),
    ]
    for words, message in cases:
        done = run("stts-runtime", "run", *words, cwd=tmp_path)
        assert_refused(done, message)
        assert "secret" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["empty.mp4"]


@pytest.mark.onnxruntime
def test_a_bad_source_among_several_is_one_line_in_its_place_and_one_in_the_end(
    micro_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    for name in ("a.mp4", "c.mp4"):
        shutil.copy(clip, tmp_path / name)
    (tmp_path / "broken.mp4").touch()
    sources = ("a.mp4", "broken.mp4", "none.mp4", "c.mp4")
    done = run("stts-runtime", "run", micro_bundle.folder, *sources, "--ask", "Who?", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert [json.loads(line)["source"] for line in done.stdout.splitlines()] == ["a.mp4", "c.mp4"]
    broken, none, summary = done.stderr.splitlines()
    assert broken.startswith("error: broken.mp4 ")
    assert none == "error: no such file: none.mp4"
    assert summary == "2 of 4 sources failed: broken.mp4, none.mp4"


@pytest.mark.onnxruntime
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_whole_results_that_the_same_command_continues(
    micro_bundle: Bundle, clip: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    count, out = 300, tmp_path / "results.jsonl"
    (tmp_path / "clips").mkdir()
    for number in range(count):
        (tmp_path / "clips" / f"{number}.mp4").symlink_to(clip)
    words = ("run", micro_bundle.folder, "clips", "--ask", "Who?", "--max-tokens", "2", "--json", "--out", out.name)
    command = [str(BIN / "stts-runtime"), *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as stopped:
        assert stopped.stdout is not None
        stopped.stdout.readline()
        stopped.send_signal(sent)
        _, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 128 + sent
    assert err in ("error: interrupted\n", f"error: ended by {sent.name}\n")
    written = out.read_text()
    answered = len(written.splitlines())
    assert 0 < answered < count
    assert written.endswith("}\n")
    done = run("stts-runtime", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"note: {answered} of {count} sources" in done.stderr
    assert out.read_text().startswith(written)
    assert [json.loads(line)["source"] for line in out.read_text().splitlines()] == [
        f"clips/{number}.mp4" for number in range(count)
    ]


@pytest.mark.onnxruntime
def test_progress_on_a_terminal_stays_off_stdout(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    Path(tmp_path / "b.mp4").touch()
    terminal, end = os.openpty()
    command = [
        str(BIN / "stts-runtime"),
        "run",
        str(micro_bundle.folder),
        str(clip),
        "b.mp4",
        "--ask",
        "Who?",
        "--json",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=end, cwd=tmp_path, env={**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    ) as shown:
        os.close(end)
        drawn = b"".join(iter(lambda: _read_terminal(terminal), b""))
        out, _ = shown.communicate(timeout=60)
    os.close(terminal)
    assert shown.returncode == 2
    Answer.model_validate_json(out)
    assert b"1/2" in drawn
    assert drawn.count(b"error: b.mp4 ") == 1
    assert drawn.endswith(b"1 of 2 sources failed: b.mp4\r\n")


def _read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        # Linux says so when the other end is closed.
        return b""


@pytest.mark.onnxruntime
def test_a_clip_with_too_few_frames_is_refused(micro_bundle: Bundle, tmp_path: Path) -> None:
    from tests.support.clips import write_clip

    short = write_clip(tmp_path / "short.mp4", frames=2, fps=10)
    done = run("stts-runtime", "run", micro_bundle.folder, short, "--ask", "Who?")
    assert_refused(done, "gives 2 frames at 2 a second, and the shortest variant")
    done = run("stts-runtime", "run", micro_bundle.folder, short, "--ask", "Who?", "--frames", "3")
    assert_refused(done, "holds 2 frames, fewer than the 3")


def test_build_refuses_in_one_line(micro_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "bundle"
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = [
        ((tmp_path / "none",), "no such folder"),
        ((empty,), "is not a checkpoint: it holds neither config.json nor config.yaml"),
        ((micro_checkpoint, "--keep", "0"), "keep ratio must be above 0"),
        ((micro_checkpoint, "--frames", "4", "--keep", "0.2"), "lowest keep is 1/4"),
    ]
    for words, message in cases:
        assert_refused(run("stts-export", "build", *words, "--out", out), message)
        assert list(tmp_path.iterdir()) == [empty]


def test_import_writes_a_checkpoint_that_build_and_import_read(micro_checkpoint: Path, tmp_path: Path) -> None:
    import torch

    from tests.support.training_layout import write_training_layout

    training = write_training_layout(micro_checkpoint, tmp_path / "training", sharded=True, dtype=torch.float32)
    out = tmp_path / "imported"
    assert_refused(run("stts-export", "build", training, "--out", tmp_path / "b"), "stts-export import CHECKPOINT")
    assert_refused(run("stts-export", "import", training, "--out", out), "holds no tokenizer.json")
    words = ("stts-export", "import", training, "--out", out, "--tokenizer", micro_checkpoint)
    done = run(*words, "--dtype", "fp16", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["out"] == str(out)
    assert (out / "model.safetensors").read_bytes() == (micro_checkpoint / "model.safetensors").read_bytes()
    assert_refused(run(*words), "exists already")
    again = run(*words, "--force")
    assert again.returncode == 0, again.stderr
    assert f"stts-export build {out}" in again.stdout


def test_nothing_is_written_over_the_source_or_into_the_bundle(
    micro_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    mine = Path(shutil.copy(clip, tmp_path / "mine.mp4"))
    ask = ("--ask", "Who?", "--overlay")
    assert_refused(run("stts-runtime", "run", micro_bundle.folder, mine, *ask, mine), "would overwrite the source")
    inside = micro_bundle.folder / "kept.png"
    assert_refused(run("stts-runtime", "run", micro_bundle.folder, mine, *ask, inside), "inside the bundle")
    assert mine.read_bytes() == clip.read_bytes()


@pytest.mark.onnxruntime
def test_a_bad_second_question_is_found_before_the_first_is_answered(
    micro_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "kept.png"
    for bad in ("why " * 500, "<im_patch>"):
        words = ("--ask", "Who?", "--ask", bad, "--overlay", out)
        done = run("stts-runtime", "run", micro_bundle.folder, clip, *words)
        assert_refused(done, "question")
        assert not list(tmp_path.iterdir())


def test_bench_refuses_a_picture_that_cannot_be_written(micro_bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "folder.png"
    folder.mkdir()
    done = run("stts-runtime", "bench", micro_bundle.folder, "--plot", folder)
    assert_refused(done, "not a plain file")
    done = run("stts-runtime", "bench", micro_bundle.folder, "--plot", tmp_path / "none" / "x.png")
    assert_refused(done, "no such folder")
    inside = micro_bundle.folder / "x.png"
    assert_refused(run("stts-runtime", "bench", micro_bundle.folder, "--plot", inside), "inside the bundle")


def test_escapes_in_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    done = run("stts-runtime", "inspect", tmp_path / "\x1b]0;owned\x07")
    assert_refused(done, r"\x1b]0;owned\x07")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_build_leaves_no_bundle(micro_checkpoint: Path, tmp_path: Path, sent: signal.Signals) -> None:
    out = tmp_path / "bundle"
    command = [str(BIN / "stts-export"), "build", str(micro_checkpoint), "--out", str(out), "--frames", "4"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as build:
        assert build.stdout is not None
        for line in build.stdout:
            if "exporting vision" in line:
                break
        assert [path.name[:9] for path in tmp_path.iterdir()] == [".bundle.p"]
        time.sleep(0.3)
        build.send_signal(sent)
        _, err = build.communicate(timeout=60)
    assert build.returncode == 128 + sent
    assert err in ("error: interrupted\n", f"error: ended by {sent.name}\n")
    assert not list(tmp_path.iterdir())


def test_inspect_verifies_and_prints(micro_bundle: Bundle) -> None:
    shown = run("stts-runtime", "inspect", micro_bundle.folder)
    assert shown.returncode == 0
    assert "clip-t3-k0.5" in shown.stdout
    as_json = json.loads(run("stts-runtime", "inspect", micro_bundle.folder, "--json").stdout)
    assert as_json["verified"] is True
    assert as_json["variants"]["clip-t3-k0.5"]["kept_groups"] == 6


@pytest.mark.onnxruntime
def test_bench_ends_with_its_report_as_json(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    done = run("stts-runtime", "bench", micro_bundle.folder, clip, "--rounds", "3", "--within-ms", "1e6", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *_, advice, plot, last = done.stdout.splitlines()
    report = json.loads(last)
    assert advice == report["advice"]
    assert advice.startswith("Within 1e+06 ms: 6 frames at keep 1")
    assert plot == "plot: stts-bench.png"
    assert cv2.imread(str(tmp_path / "stts-bench.png")) is not None
    rows = {row["variant"]: row for row in report["rows"]}
    assert rows.keys() == micro_bundle.manifest.variants.keys()
    unpruned, pruned = rows["full-t6"], rows["clip-t6-k0.5"]
    assert unpruned["vision_speed_up"] == {"measured": 1.0, "predicted": 1.0}
    counts = micro_bundle.manifest.variants
    predicted = (
        counts["full-t6"].graphs["cpu"].multiplications.fixed
        / counts["clip-t6-k0.5"].graphs["cpu"].multiplications.fixed
    )
    assert pruned["vision_speed_up"]["predicted"] == pytest.approx(predicted, abs=1e-3)
    assert pruned["vision_ms"]["p50"] <= pruned["vision_ms"]["p95"]


@pytest.mark.onnxruntime
def test_the_runtime_never_imports_torch(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    """Runs the whole pipeline in a process in which torch, transformers and onnx cannot be imported."""
    blocked = tmp_path / "sitecustomize.py"
    blocked.write_text(
        "import sys\n"
        "for name in ('torch', 'transformers', 'onnx', 'onnxscript', 'safetensors', 'stts_export'):\n"
        "    sys.modules[name] = None\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [str(BIN / "stts-runtime"), "run", str(micro_bundle.folder), str(clip), "--ask", "Who?", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema_name"] == "stts.answer/1"


def test_a_missing_engine_library_is_one_line_with_the_remedy(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['onnxruntime'] = None\n")
    command = [str(BIN / "stts-runtime"), "run", str(micro_bundle.folder), str(clip), "--ask", "Who?"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert_refused(done, "pip install 'stts-export[cpu]'")


def test_a_runtime_without_export_says_what_building_needs(micro_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    command = [str(BIN / "stts-export"), "build", str(micro_checkpoint), "--out", str(tmp_path / "bundle")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert_refused(done, "torch is not installed")
    assert "pip install 'stts-export[export]'" in done.stderr


@pytest.mark.parametrize("program", ["stts-export", "stts-runtime"])
def test_a_version_names_the_program_that_was_asked(program: str) -> None:
    done = run(program, "--version")
    assert done.stdout == f"{program} {version('stts-export')}\n"


@pytest.mark.parametrize("app", [export_app, runtime_app], ids=["stts-export", "stts-runtime"])
def test_help_shows_every_word_that_it_has(app: typer.Typer) -> None:
    """What stands in square brackets is a style to rich, which shows nothing of it."""
    for command in vars(typer.main.get_command(app))["commands"].values():
        texts = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
        for text in texts:
            assert Text.from_markup(text).plain == text


WITHOUT_OPTIONAL_PACKAGES = f"""
import sys
sys.modules |= dict.fromkeys({EXPORT_PACKAGES + CALIB_PACKAGES})
import typer
from typer.testing import CliRunner
from stts_export.cli.app import app as export
from stts_runtime.cli.app import app as runtime
for program in (export, runtime):
    for name in typer.main.get_command(program).commands:
        done = CliRunner().invoke(program, [name, "--help"])
        assert done.exit_code == 0, (name, done.output)
import stts_export
for use in (
    lambda: stts_export.build("a", "b"),
    lambda: stts_export.verify("a", "b"),
    lambda: stts_export.VerifyReport,
    lambda: stts_export.open_checkpoint,
):
    try:
        use()
    except stts_export.extras.MissingExtraError as error:
        print(error)
"""


def test_without_torch_every_command_is_explained_and_python_is_told_what_to_install() -> None:
    command = [sys.executable, "-c", WITHOUT_OPTIONAL_PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    build, verify, report, open_checkpoint = done.stdout.splitlines()
    assert build.startswith("torch")
    assert build.endswith("building a bundle needs them: pip install 'stts-export[export]'")
    assert verify.endswith("verifying a bundle needs them: pip install 'stts-export[export]'")
    assert report.endswith("stts_export.VerifyReport needs them: pip install 'stts-export[export]'")
    assert open_checkpoint.endswith("stts_export.open_checkpoint needs them: pip install 'stts-export[train]'")


@pytest.mark.onnxruntime
def test_accuracy_is_measured_without_torch(micro_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules |= dict.fromkeys({EXPORT_PACKAGES})\n")
    words = [str(micro_bundle.folder), "--setting", "clip-t3-k0.5", "--clips", "2", "--per-clip", "1", "--json"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [str(BIN / "stts-export"), "evaluate", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["clips"] == 2


def test_without_onnxruntime_nothing_is_said_to_be_measured(micro_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['onnxruntime'] = None\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [str(BIN / "stts-export"), "evaluate", str(micro_bundle.folder), "--clips", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert_refused(done, "onnxruntime is not installed")


def test_an_unforeseen_error_is_one_line_unless_asked_for_more(
    micro_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import hashlib\nhashlib.sha256 = None\n")
    command = [str(BIN / "stts-runtime"), "run", str(micro_bundle.folder), str(clip), "--ask", "Who?"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("internal error: TypeError")
    assert done.stderr.count("\n") == 1
    environment["STTS_TRACEBACK"] = "1"
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert "Traceback" in done.stderr


@pytest.mark.onnxruntime
def test_check_golden_fails_on_a_miss(tmp_path: Path) -> None:
    import numpy as np

    with np.load(ROOT / "tests" / "data" / "stts_keep50.npz") as archive:
        content = {name: archive[name] for name in archive.files}
    content["hidden_last"] = content["hidden_last"] * 1.001
    bad = tmp_path / "bad.npz"
    np.savez(bad, **content)
    command = [sys.executable, str(ROOT / "scripts" / "check_golden.py"), str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert [line[:4] for line in done.stdout.splitlines()] == ["FAIL"]


@pytest.mark.parametrize("program", ["stts-runtime", "stts-export"])
def test_a_current_folder_that_was_deleted_is_told(program: str, tmp_path: Path) -> None:
    command = ["sh", "-c", f"cd {tmp_path} && rmdir {tmp_path} && exec {BIN / program} --version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert_refused(done, "the folder that this runs in was deleted; cd into another one")


@pytest.mark.parametrize("package", ["stts_runtime", "stts_export"])
def test_a_package_is_its_program(package: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", package, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True)
    assert done.stdout.split()[0] == package.replace("_", "-")
