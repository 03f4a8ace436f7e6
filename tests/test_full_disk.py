"""A disk that fills up while something is written: it is said, with the path, and nothing half-written stays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from stts_runtime.outputs import written_whole
from tests.support.programs import BIN, run
from tests.support.small_disk import run_on_small_disk

pytestmark = pytest.mark.onnxruntime
FULL = "cannot be written: the disk is full"


@pytest.mark.parametrize("name", ["k.png", "k.mp4"])
def test_a_picture_of_what_was_kept_is_there_whole_or_not(
    micro_bundle: Bundle, clip: Path, tmp_path: Path, name: str
) -> None:
    done = run_on_small_disk(
        tmp_path, "stts-runtime", "run", micro_bundle.folder, clip, "--ask", "Who?", "--overlay", name
    )
    assert (done.code, done.err, done.left) == (2, f"error: {name} {FULL}\n", [])


def test_a_stream_goes_on_and_says_what_was_lost(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    words = ("stream", micro_bundle.folder, clip, "--ask", "Who?", "--to", "a.jsonl", "--to", "-", "--json")
    done = run_on_small_disk(tmp_path, "stts-runtime", *words, free_kb=0)
    assert done.code == 2
    assert any(json.loads(line)["schema_name"] == "stts.stream-answer/1" for line in done.out.splitlines())
    assert f"a.jsonl: a record was lost: a.jsonl {FULL}\n" in done.err
    assert done.err.splitlines()[-1].startswith("error: a.jsonl: ")


def test_an_import_leaves_nothing(micro_checkpoint: Path, tmp_path: Path) -> None:
    done = run_on_small_disk(tmp_path, "stts-export", "import", micro_checkpoint, "--out", "c")
    assert (done.code, done.err, done.left) == (2, f"error: c {FULL}\n", [])


def test_a_limit_on_the_size_of_files_is_said_too(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom stts_runtime.outputs import written_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "with written_whole(Path(sys.argv[1])) as scratch:\n    scratch.write_bytes(bytes(100))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"{tmp_path}/a.json cannot be written: the file would be larger than is allowed here" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_name_may_be_as_long_as_names_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".json")
    with written_whole(path) as scratch:
        scratch.write_text("{}")
    assert path.read_text() == "{}"
    with pytest.raises(UserError, match=r"gone/a\.json cannot be written"), written_whole(tmp_path / "gone" / "a.json"):
        pass


@pytest.mark.parametrize("words", [("inspect", "BUNDLE"), ("inspect", "BUNDLE", "--json"), ("doctor",), ("--version",)])
def test_a_full_disk_behind_standard_output_is_one_sentence(micro_bundle: Bundle, words: tuple[str, ...]) -> None:
    line = [str(BIN / "stts-runtime"), *(str(micro_bundle.folder) if one == "BUNDLE" else one for one in words)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: standard output cannot be written: the disk is full\n")


def _in_shell(line: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    program = ["bash", "-c", f"set -o pipefail; {line}", str(BIN / "stts-runtime"), *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)


def test_standard_output_that_is_closed_is_one_sentence(micro_bundle: Bundle) -> None:
    done = _in_shell('"$0" inspect "$1" >&-', micro_bundle.folder)
    assert (done.returncode, done.stderr) == (2, "error: standard output cannot be written: it is closed\n")


def test_a_full_disk_behind_standard_error_changes_no_exit_code() -> None:
    done = _in_shell('"$0" inspect /nowhere 2>/dev/full')
    assert (done.returncode, done.stdout) == (2, "")


def test_what_goes_elsewhere_needs_no_standard_output(micro_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    """Nor does a file of ours become standard output, which libraries would write into."""
    line = '"$0" stream "$1" "$2" --ask "Who?" --to "$3" <&- >&- 2>&-'
    done = _in_shell(line, micro_bundle.folder, clip, tmp_path / "a.jsonl")
    assert done.returncode == 0
    assert all(json.loads(one) for one in (tmp_path / "a.jsonl").read_text().splitlines())


@pytest.mark.parametrize("command", ["inspect", "inspect --json", "doctor"])
def test_a_reader_that_has_seen_enough_ends_a_command_as_others_end(micro_bundle: Bundle, command: str) -> None:
    done = _in_shell(f'"$0" {command} "$1" | true', micro_bundle.folder)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_reader_that_has_seen_enough_ends_a_stream(micro_bundle: Bundle, clip: Path) -> None:
    line = '"$0" stream "$1" "loop:$2" --ask "Who?" --json | head -1'
    done = _in_shell(line, micro_bundle.folder, clip)
    assert done.returncode == 141
    assert done.stdout.count("\n") == 1
    assert "error" not in done.stderr


def test_an_encoding_without_our_signs_gets_them_as_json_has_them(
    micro_bundle: Bundle, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run(
        "stts-runtime", "run", micro_bundle.folder, clip, "--ask", "Wö ist 😀?", "--max-tokens", "1", "--json"
    )  # fmt: skip
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["question"] == "Wö ist 😀?"
