"""Many sources: one that is bad does not stop the others, and what is answered already is not asked again."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.batch import Batch, Failure
from stts_runtime.bundle import Bundle
from stts_runtime.errors import BundleError, EngineError, PromptError, UserError
from stts_runtime.inputs import Input, expand_sources
from stts_runtime.model import Model
from stts_runtime.records import Answer
from stts_runtime.results import Results, open_results
from stts_runtime.session import Session, Wanted
from tests.support.clips import write_clip

QUESTIONS = ["What happens?", "Who?"]


@pytest.fixture(scope="module")
def batch(micro_bundle: Bundle) -> Batch:
    return Batch(Model(micro_bundle), QUESTIONS, Wanted(), max_tokens=3)


@pytest.fixture
def inputs(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Input]:
    """a.mp4, bad.mp4, c.mp4 and short.mp4, of which the second and the last have no answer."""
    monkeypatch.chdir(tmp_path)
    os.link(clip, "a.mp4")
    Path("bad.mp4").write_text("no video")
    os.link(clip, "c.mp4")
    write_clip(tmp_path / "short.mp4", frames=2, fps=10)
    return expand_sources(["."])


def run(batch: Batch, inputs: list[Input], out: Path | None = None) -> list[Answer | Failure]:
    if out is None:
        return list(batch.run(inputs))
    with open_results(out, batch.settings) as results:
        return list(batch.run(inputs, results))


def words(line: bytes | str) -> dict[str, Any]:
    """A line of results without what it cost."""
    return {name: value for name, value in json.loads(line).items() if name not in {"milliseconds", "reused_prefix"}}


def test_a_bad_source_is_named_and_does_not_stop_the_others(batch: Batch, inputs: list[Input]) -> None:
    first, second, bad, third, fourth, short = run(batch, inputs)
    answers = [one for one in (first, second, third, fourth) if isinstance(one, Answer)]
    assert [(one.source, one.question) for one in answers] == [
        (source, question) for source in ("a.mp4", "c.mp4") for question in QUESTIONS
    ]
    assert isinstance(bad, Failure)
    assert bad.message.startswith("bad.mp4 ")
    assert isinstance(short, Failure)
    assert short.message.startswith("short.mp4: the video gives 2 frames")


def test_a_failing_engine_costs_one_source_and_a_missing_one_all(
    batch: Batch, micro_bundle: Bundle, inputs: list[Input], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Session.watch

    def fail_once(self: Session, *arguments: Any) -> Any:
        monkeypatch.setattr(Session, "watch", watch)
        raise EngineError("out of memory")

    monkeypatch.setattr(Session, "watch", fail_once)
    outcomes = run(batch, [inputs[0], inputs[2]])
    assert [one.source for one in outcomes] == ["a.mp4", "c.mp4", "c.mp4"]
    assert isinstance(outcomes[0], Failure)
    assert outcomes[0].message == "a.mp4: out of memory"
    with pytest.raises(BundleError, match="tensorrt"):
        run(Batch(Model(micro_bundle, "tensorrt"), QUESTIONS, Wanted()), inputs)


def test_what_no_source_can_be_asked_is_refused_before(micro_bundle: Bundle) -> None:
    with pytest.raises(PromptError, match="question is empty"):
        Batch(Model(micro_bundle), ["Who?", " "], Wanted())
    with pytest.raises(BundleError, match="no variant with keep"):
        Batch(Model(micro_bundle), QUESTIONS, Wanted(keep=0.9))


def test_credentials_do_not_get_into_failures(batch: Batch) -> None:
    (failure,) = run(batch, [Input("rtsp://me:secret@host/live")])
    assert isinstance(failure, Failure)
    assert "secret" not in failure.source + failure.message


def cuts(whole: bytes) -> Iterator[int]:
    """Places where kill -9 or a full disk may have ended the file."""
    end = 0
    for line in whole.splitlines(keepends=True):
        yield from (end, end + 1, end + len(line) // 2, end + len(line) - 1)
        end += len(line)
    yield end


def test_a_file_cut_anywhere_is_continued_to_what_an_uninterrupted_run_writes(
    batch: Batch, inputs: list[Input], tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    answers = [one for one in run(batch, inputs, out) if isinstance(one, Answer)]
    whole = out.read_bytes()
    assert [words(line) for line in whole.splitlines()] == [
        words(one.model_dump_json()) | {"settings": batch.settings.model_dump()} for one in answers
    ]
    for cut in cuts(whole):
        out.write_bytes(whole[:cut])
        asked = [one for one in run(batch, inputs, out) if isinstance(one, Answer)]
        assert len(asked) == 4 - whole[:cut].count(b"\n")
        assert [words(line) for line in out.read_bytes().splitlines()] == [words(line) for line in whole.splitlines()]
    assert [one.source for one in run(batch, inputs, out)] == ["bad.mp4", "short.mp4"]


def test_a_run_that_stops_has_written_every_answer_that_it_gave(
    batch: Batch, inputs: list[Input], tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    with open_results(out, batch.settings) as results:
        for number, _ in zip((1, 2, 3), batch.run(inputs[:1] + inputs[2:3], results), strict=False):
            assert out.read_bytes().count(b"\n") == number
    assert out.read_bytes().count(b"\n") == 3


def test_answers_of_other_settings_do_not_get_into_one_file(
    batch: Batch, micro_bundle: Bundle, inputs: list[Input], tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    run(batch, inputs, out)
    before = out.read_bytes()
    other = Batch(Model(micro_bundle), QUESTIONS, Wanted(keep=1, frames=6), max_tokens=4)
    with pytest.raises(UserError, match=r"keep 0.5 \(now 1\), frames unset \(now 6\), max_tokens 3 \(now 4\); name an"):
        run(other, inputs, out)
    out.write_bytes(before.replace(batch.settings.bundle_sha256.encode(), b"0"))
    with pytest.raises(UserError, match="made with another bundle; name another file"):
        run(batch, inputs, out)
    # The keep that is the default is the same keep.
    out.write_bytes(before)
    run(Batch(Model(micro_bundle), QUESTIONS, Wanted(keep=0.5), max_tokens=3), inputs, out)
    assert out.read_bytes() == before


def test_a_file_of_something_else_is_refused_and_left_as_it_is(
    batch: Batch, inputs: list[Input], tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    run(batch, inputs, out)
    ours = out.read_bytes()
    answer = run(batch, inputs[:1])[0]
    assert isinstance(answer, Answer)
    for number, content in [
        (1, b"notes without an end of line"),
        (1, b"\n"),
        (1, answer.model_dump_json().encode() + b"\n"),
        (5, ours + b"half of something else"),
        (2, ours[: ours.index(b"\n") + 9] + b"\n" + ours),
        (1, b"\xff\xfe\n"),
    ]:
        out.write_bytes(content)
        with pytest.raises(UserError, match=f"not a file of results: line {number} is not an answer"):
            run(batch, inputs, out)
        assert out.read_bytes() == content


def test_a_full_disk_leaves_whole_lines(
    batch: Batch, inputs: list[Input], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results.jsonl"
    write, sizes = os.write, []

    def write_little(file: int, line: bytes) -> int:
        sizes.append(len(line))
        return write(file, line[:100] if len(sizes) == 2 else line)

    monkeypatch.setattr(os, "write", write_little)
    with pytest.raises(UserError, match=r"cannot be written: the disk is full; the same command continues"):
        run(batch, inputs, out)
    assert out.stat().st_size == sizes[0]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert len([one for one in run(batch, inputs, out) if isinstance(one, Answer)]) == 3


def test_one_run_at_a_time_writes_a_file(batch: Batch, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    with (
        open_results(out, batch.settings),
        pytest.raises(UserError, match="being written by another process"),
        open_results(out, batch.settings),
    ):
        pass


def test_a_run_without_an_answer_leaves_no_file(batch: Batch, inputs: list[Input], tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    assert isinstance(run(batch, [inputs[1]], out)[0], Failure)
    assert not out.exists()
    out.touch()
    run(batch, [inputs[1]], out)
    assert out.exists()


def test_a_failing_sync_is_one_sentence(batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with open_results(tmp_path / "a.jsonl", batch.settings) as results:
        assert isinstance(results, Results)
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(UserError, match="input/output error"):
            results.sync()
