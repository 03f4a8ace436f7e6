"""From messages, as OpenAI's clients and front ends send them, to one conversation about one clip."""

from __future__ import annotations

from typing import Any

import pytest

from stts_runtime.answering import Turn
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.chat_turns import Dialogue, dialogue_of
from stts_runtime.serve.openai_records import ChatRequest
from stts_runtime.serve.questions import Frames, Media, Stream


def part(number: int) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": f"file-{number}"}}


def shown(*names: str) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{name}"}} for name in names]


def says(role: str, text: str | None, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}, *parts] if parts else text}


def dialogue(*messages: dict[str, Any], stream: str | None = None) -> Dialogue:
    return dialogue_of(ChatRequest.model_validate({"model": "m", "messages": list(messages)}).messages, stream)


def test_earlier_turns_are_those_of_the_conversation() -> None:
    made = dialogue(
        says("system", "Be short."),
        says("user", "One?", part(1)),
        says("assistant", "Yes."),
        says("user", "Two?"),
        says("assistant", ""),
        says("user", "Three?"),
    )
    assert made.history == [Turn("Be short.\nOne?", "Yes."), Turn("Two?", "")]
    assert (made.question, made.notes) == ("Three?", [])
    assert made.about == Media("file-1", "messages[1].content[1].video_url.url", "clip")


def test_a_clip_that_comes_later_is_still_what_all_of_it_is_about() -> None:
    made = dialogue(says("user", "Hi"), says("assistant", "Hello"), says("user", "What?", part(1)))
    assert (made.history, made.question, made.notes) == ([Turn("Hi", "Hello")], "What?", [])


def test_another_clip_begins_another_conversation_and_that_is_said() -> None:
    made = dialogue(
        says("user", "One?", part(1)),
        says("assistant", "Yes."),
        says("system", "Be short."),
        says("user", "Two?", part(2)),
        says("assistant", "No."),
        says("user", "Three?"),
    )
    assert made.history == [Turn("Be short.\nTwo?", "No.")]
    assert made.about == Media("file-2", "messages[3].content[1].video_url.url", "clip")
    assert made.notes == ["2 earlier messages are about another picture or clip, and not in the prompt"]


def test_the_same_clip_sent_with_every_question_is_one() -> None:
    made = dialogue(says("user", "One?", part(1)), says("assistant", "Yes."), says("user", "Two?", part(1)))
    assert (made.history, made.question, made.notes) == ([Turn("One?", "Yes.")], "Two?", [])


def test_the_same_pictures_sent_again_are_one_clip_and_one_conversation() -> None:
    made = dialogue(
        says("user", "One?", *shown("AAAA", "BBBB")),
        says("assistant", "Yes."),
        says("user", "Two?", *shown("AAAA", "BBBB")),
        says("assistant", "No."),
        says("user", "Three?"),
    )
    assert (made.history, made.question, made.notes) == ([Turn("One?", "Yes."), Turn("Two?", "No.")], "Three?", [])
    assert isinstance(made.about, Frames)
    assert [one.url[-4:] for one in made.about.pictures] == ["AAAA", "BBBB"]


@pytest.mark.parametrize("others", [("CCCC", "DDDD"), ("BBBB", "AAAA"), ("AAAA", "BBBB", "CCCC"), ("AAAA",)])
def test_other_pictures_or_another_order_begin_another_conversation(others: tuple[str, ...]) -> None:
    made = dialogue(
        says("user", "One?", *shown("AAAA", "BBBB")), says("assistant", "Yes."), says("user", "Two?", *shown(*others))
    )
    assert (made.history, made.question) == ([], "Two?")
    assert made.notes == ["2 earlier messages are about another picture or clip, and not in the prompt"]


def test_messages_of_one_side_in_a_row_are_one_turn_and_what_is_no_turn_is_said_to_be_left_out() -> None:
    made = dialogue(
        says("assistant", "Welcome!"),
        says("user", "One?", part(1)),
        says("user", "I mean now."),
        says("assistant", None),
        says("tool", "{}"),
        says("assistant", "Yes."),
        says("assistant", "It is."),
        says("user", "Two?"),
    )
    assert made.history == [Turn("One?\nI mean now.", "Yes.\nIt is.")]
    assert made.question == "Two?"
    assert [note.split()[0] for note in made.notes] == ["3"]


def test_a_clip_without_words_is_a_turn_of_its_own() -> None:
    shown: dict[str, Any] = {"role": "user", "content": [part(1)]}
    made = dialogue(shown, says("assistant", "What about it?"), says("user", "Who is there?"))
    assert made.history == [Turn("", "What about it?")]
    assert dialogue(shown, {"role": "user", "content": None}).question == ""


def test_a_source_is_asked_about_what_it_shows_now() -> None:
    made = dialogue(says("user", "One?"), says("assistant", "Yes."), says("user", "Two?"), stream="gate")
    assert (made.about, made.history, made.question) == (Stream("gate"), [], "Two?")
    assert made.notes[0].startswith("2 earlier messages are not in the prompt: a question about a source")
    with pytest.raises(ApiError, match="a stream has pictures of its own"):
        dialogue(says("user", "One?", part(1)), stream="gate")


def test_what_cannot_be_asked_is_refused_with_its_place() -> None:
    with pytest.raises(ApiError, match="there is nothing to look at"):
        dialogue(says("user", "One?"))
    with pytest.raises(ApiError, match=r"messages\[0\]\.content may have one clip, or pictures .* got 2 parts"):
        dialogue(says("user", "One?", part(1), part(2)), says("assistant", "Yes."), says("user", "Two?"))
