"""The front door for Python: what it answers, what it shares between questions, and what it says about mistakes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stts_runtime
from stts_runtime.answering import AnswerPool
from stts_runtime.bench import Benchmark
from stts_runtime.bundle import Bundle
from stts_runtime.engines.cpu_language import CpuLanguage
from stts_runtime.errors import UserError
from stts_runtime.model import Model
from stts_runtime.records import Answer
from stts_runtime.stream.assemble import tell_notes
from stts_runtime.stream.config import StreamConfig
from stts_runtime.video import VideoFile, Window

FRAMES = np.zeros((3, 30, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def model(micro_bundle: Bundle) -> Model:
    return stts_runtime.load(micro_bundle.folder, engine="cpu")


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'cv2', 'av', 'onnxruntime', 'pydantic', 'tokenizers'}"
    subprocess.run(
        [sys.executable, "-c", f"import sys, stts_runtime; assert not {heavy} & set(sys.modules)"], check=True
    )
    assert all(hasattr(stts_runtime, name) for name in stts_runtime.__all__)


@pytest.mark.onnxruntime
def test_an_answer_is_the_record_that_the_command_line_prints(model: Model, clip: Path) -> None:
    answer = model.ask(clip, "Who?", keep=0.5, frames=3, max_tokens=2)
    assert list(answer.model_dump()) == [
        *("schema_name", "source", "window", "question", "answer", "finish", "variant", "keep", "budget"),
        *("kept_per_frame", "tokens", "milliseconds", "reused_prefix", "notes"),
    ]
    assert answer.kept.dtype == np.bool_
    assert answer.kept.shape == (3, 4)
    assert answer.kept.sum(axis=1).tolist() == answer.kept_per_frame
    read = Answer.model_validate_json(answer.model_dump_json())
    assert read.answer == answer.answer
    with pytest.raises(UserError, match="read from a file"):
        _ = read.kept


@pytest.mark.onnxruntime
def test_questions_in_a_list_share_one_look_and_change_no_answer(
    model: Model, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = ["What happens?", "Who?", "What happens?"]
    alone = [model.ask(str(clip), one, max_tokens=4).answer for one in questions]
    opened: list[str] = []

    def counted(path: str, **_: Any) -> VideoFile:
        opened.append(path)
        return VideoFile(path)

    monkeypatch.setattr("stts_runtime.session.VideoFile", counted)
    together = model.ask(clip, questions, max_tokens=4)
    assert [one.answer for one in together] == alone
    assert [one.reused_prefix for one in together] == [False, True, True]
    assert opened == [str(clip)]


@pytest.mark.onnxruntime
def test_in_a_chat_a_question_follows_all_before_it(model: Model, clip: Path) -> None:
    viewing = model.watch(clip, keep=0.5)
    chat = viewing.chat()
    answers = [chat.ask(question, max_tokens=6) for question in ("Who?", "Why?", "And then?")]
    turns = [("Who?", answers[0].answer), ("Why?", answers[1].answer), ("And then?", answers[2].answer)]
    assert chat.turns == turns
    alone = model.watch(clip, keep=0.5).ask("And then?", max_tokens=6, history=turns[:2])
    assert (alone.answer, alone.tokens.prompt) == (answers[2].answer, answers[2].tokens.prompt)
    assert [one.tokens.cached > 0 for one in (*answers, alone)] == [False, True, True, False]
    with pytest.raises(UserError, match="no longer in the cache"):
        chat.ask("And now?")
    assert chat.turns == turns, "what was not answered is no turn"


@pytest.mark.onnxruntime
def test_a_history_is_pairs_of_texts(model: Model, clip: Path) -> None:
    viewing: Any = model.watch(clip)
    for history, message in (
        ("Who?", "history should be a list of questions with their answers, got str"),
        (["Who?"], "a turn of history should be a question and its answer, got 'Who?'"),
        ([("Who?", None)], "should be two texts"),
        ([("Who?", "a<|im_end|>")], "the answer of turn 1 holds the reserved mark"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            viewing.ask("Why?", history=history)


@pytest.mark.onnxruntime
def test_text_comes_as_it_is_generated_and_adds_up_to_the_answer(model: Model, clip: Path) -> None:
    heard: list[str] = []
    answer = model.ask(clip, "What happens?", max_tokens=12, on_token=heard.append)
    assert "".join(heard) == answer.answer
    assert len(heard) > 1


@pytest.mark.onnxruntime
def test_frames_in_an_array_are_answered_about_as_their_file_is(model: Model, clip: Path) -> None:
    video = VideoFile(str(clip))
    images = [image for _, image in video.images(np.arange(video.frames)) if image is not None]
    frames = np.stack(images)[..., ::-1]
    from_array = model.ask(frames, "Who?", times=video.pts_seconds + 100, max_tokens=4, frames=3)
    from_file = model.ask(clip, "Who?", max_tokens=4, frames=3)
    assert from_array.answer == from_file.answer
    np.testing.assert_array_equal(from_array.kept, from_file.kept)


@pytest.mark.onnxruntime
def test_of_an_array_as_many_frames_are_taken_as_a_variant_has(model: Model) -> None:
    """The first and the last among them; without times, the rate of the training is meant."""
    frames = np.full((5, 20, 70, 3), 7, np.uint8)
    answer = model.ask(frames, "Who?", max_tokens=1)
    assert answer.window.times_seconds == [0, 1, 2]
    assert answer.source == "frames"


@pytest.mark.onnxruntime
def test_dropped_patches_are_dark_in_the_picture(model: Model, tmp_path: Path) -> None:
    answer = model.ask(np.full((3, 60, 60, 3), 200, np.uint8), "Who?", keep=0.5, frames=3, max_tokens=1)
    picture = answer.picture()
    assert picture.dtype == np.uint8
    assert picture.shape[-1] == 3
    dropped = 1 - answer.kept.mean()
    bright, dark = (picture == 200).all(axis=-1).sum(), (picture == 44).all(axis=-1).sum()
    assert dark / (dark + bright) == pytest.approx(dropped, abs=0.05)
    answer.write_picture(tmp_path / "kept.png")
    assert (tmp_path / "kept.png").stat().st_size > 0
    with pytest.raises(UserError, match=r"should end in .png or .mp4"):
        answer.write_picture(tmp_path / "kept.gif")


@pytest.mark.onnxruntime
def test_a_clip_is_asked_about_until_the_model_looks_at_another(model: Model, clip: Path) -> None:
    first = model.watch(clip)
    assert first.ask("Who?", max_tokens=2).answer == model.ask(clip, "Who?", max_tokens=2).answer
    with pytest.raises(UserError, match="no longer in the cache"):
        first.ask("Who?")


@pytest.mark.onnxruntime
def test_a_question_within_a_question_is_refused_and_leaves_the_model_usable(model: Model, clip: Path) -> None:
    def ask_again(_: str) -> None:
        model.ask(clip, "Who?")

    with pytest.raises(UserError, match="another question is being answered"):
        model.ask(clip, "Who?", on_token=ask_again)
    assert model.ask(clip, "Who?", max_tokens=1).tokens.generated == 1


@pytest.mark.onnxruntime
def test_a_stream_is_iterated_over_and_clips_are_asked_about_in_between(model: Model, clip: Path) -> None:
    states: list[str] = []
    answers = model.stream(
        {"gate": clip}, ask="Who?", frames=3, max_tokens=2, on_event=lambda event: states.append(event.state)
    )
    about_clip = model.ask(clip, "Who?", max_tokens=2)
    found = []
    for answer in answers:
        found.append(answer)
        assert model.ask(clip, "Who?", max_tokens=2).answer == about_clip.answer
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    assert len(found) > 1
    assert {one.stream for one in found} == {"gate"}
    assert found[0].kept.sum(axis=1).tolist() == found[0].kept_per_frame
    assert states[-1] == "ended"


@pytest.mark.onnxruntime
def test_leaving_a_stream_closes_its_source(model: Model, clip: Path) -> None:
    states: list[str] = []
    answers = model.stream(
        f"loop:{clip}", ask=["Who?"], frames=3, max_tokens=1, on_event=lambda one: states.append(one.state)
    )
    assert not states, "nothing is opened before the first answer is asked for"
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert list(answers) == []


@pytest.mark.onnxruntime
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"keep": 0.4}, r"no variant with keep 0\.4; it has keep 1, 0\.5"),
        ({"keep": "half"}, r"got 'half'; this bundle has 1, 0\.5"),
        ({"keep": 2}, "above 0 and at most 1"),
        ({"keep": float("nan")}, "should be a number"),
        ({"frames": 5}, "5 frames; it has keep"),
        ({"frames": 2.5}, "frames should be a whole number"),
        ({"max_tokens": 0}, "max_tokens should be a whole number"),
        ({"times": [0, 1]}, "a file has its own"),
        ({"on_token": 5}, "on_token should be a function, got int"),
        ({"source": 17}, "should be a path, got int"),
        ({"source": "none.mp4"}, "no such file"),
        ({"source": [FRAMES]}, "should be a path, got list"),
        ({"source": FRAMES[..., 0]}, r"\(T, H, W, 3\) of uint8, got \(3, 30, 40\)"),
        ({"source": FRAMES / 255}, "got .* of float64"),
        ({"source": FRAMES[:0]}, "should be RGB"),
        ({"source": FRAMES[:1]}, "gives 1 frame"),
        ({"source": FRAMES, "frames": 6}, "fewer than the 6"),
        ({"source": FRAMES, "times": [0, 1]}, "3 numbers of seconds"),
        ({"source": FRAMES, "times": ["a", "b", "c"]}, "3 numbers of seconds"),
        ({"source": FRAMES, "times": [0, 2, 1]}, "ascend"),
        ({"question": " "}, "question is empty"),
        ({"question": None}, "got NoneType"),
        ({"question": ["Who?", 3]}, "got int"),
        ({"question": []}, "list is empty"),
        ({"question": "why " * 500}, "question takes .* leaves"),
    ],
)
def test_a_mistake_about_a_clip_says_what_there_is(
    model: Model, clip: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        model.ask(**{"source": clip, "question": "Who?", **changed})


@pytest.mark.onnxruntime
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pause": 3}, "no setting 'pause' for a stream; there are choices, schema, alert, when"),
        ({"sinks": ["x.jsonl"]}, "no setting 'sinks'"),
        ({"max_tokens": "all"}, "max_tokens should be a whole number"),
        ({"when": "often"}, "when"),
        ({"keep": 0.4}, r"no live variant with keep 0\.4"),
        ({"source": None}, "should be a path, got NoneType"),
        ({"source": "ftp://host/x"}, "stream-1: .*ftp"),
        ({"ask": []}, "list is empty"),
        ({"ask": "why " * 500}, "question takes .* leaves"),
    ],
)
def test_a_mistake_about_a_stream_says_what_there_is(
    model: Model, clip: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        next(model.stream(**{"source": clip, "ask": "Who?", **changed}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bundle": 3}, "a bundle should be a path, got int"),
        ({"bundle": "nowhere"}, "no such bundle"),
        ({"engine": "gpu"}, "there is no engine 'gpu'; there are cpu, cuda"),
        ({"device": "gpu:0"}, "named cuda:0"),
    ],
)
def test_a_mistake_about_a_bundle_says_what_there_is(
    micro_bundle: Bundle, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        stts_runtime.load(**{"bundle": micro_bundle.folder, **arguments})


@pytest.mark.onnxruntime
def test_a_closed_model_says_so_and_its_answers_stay(micro_bundle: Bundle, clip: Path) -> None:
    with stts_runtime.load(str(micro_bundle.folder)) as model:
        answer = model.ask(clip, "Who?", max_tokens=1)
    assert isinstance(answer.seen, Window)
    for use in (lambda: model.ask(clip, "Who?"), lambda: model.stream(clip, ask="Who?")):
        with pytest.raises(UserError, match="closed; load"):
            use()


@pytest.mark.onnxruntime
def test_what_there_is_to_say_of_the_language_engine_goes_with_an_answer_and_is_told_once(
    micro_bundle: Bundle, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = "ONNX Runtime runs single tokens, and not the decode kernels: no driver"
    monkeypatch.setattr(CpuLanguage, "note", note, raising=False)
    answer = stts_runtime.load(micro_bundle.folder, engine="cpu").ask(clip, "Who?", frames=3, max_tokens=1)
    assert answer.notes.count(note) == 1
    benchmark = Benchmark(micro_bundle, None, "cpu", rounds=1)
    benchmark.run(None, on_round=lambda: None)
    assert benchmark.notes.count(note) == 1
    told: list[str] = []
    config = StreamConfig.model_validate(
        {"bundle": micro_bundle.folder, "streams": [{"name": "a", "source": "x.mp4"}], "questions": ["Who?"]}
    )
    tell_notes(config, AnswerPool.open(micro_bundle), told.append)
    assert told == [f"note: {note}"]
    monkeypatch.undo()
    tell_notes(config, AnswerPool.open(micro_bundle), told.append)
    assert len(told) == 1
    tell_notes(config.model_copy(update={"batch": 2}), AnswerPool.open(micro_bundle), told.append)
    assert "one at a time" in told[-1]
