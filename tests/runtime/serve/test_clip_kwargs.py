"""What vLLM's clients say of frames: the same in two places, and what contradicts itself."""

from __future__ import annotations

import pytest

from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.clip_kwargs import ClipKwargs, clip_kwargs
from stts_runtime.serve.openai_records import ChatRequest


def request(processor: object, media: object) -> ChatRequest:
    return ChatRequest.model_validate(
        {
            "model": "micro",
            "messages": [{"role": "user", "content": "What?"}],
            "mm_processor_kwargs": processor,
            "media_io_kwargs": {"video": media},
        }
    )


def test_both_places_may_say_the_same() -> None:
    where = "media_io_kwargs.video.num_frames"
    assert clip_kwargs(request({"num_frames": 8, "fps": 2}, {"num_frames": 8})) == ClipKwargs(8, 2.0, where)
    assert clip_kwargs(request({"num_frames": 8}, {"num_frames": None})).frames == 8


@pytest.mark.parametrize("name", ["num_frames", "fps"])
def test_two_that_differ_are_refused_for_one_would_be_ignored(name: str) -> None:
    told = f"mm_processor_kwargs.{name} is 8 and media_io_kwargs.video.{name} is 16; leave one of them out"
    with pytest.raises(ApiError, match=told):
        clip_kwargs(request({name: 8}, {name: 16}))
