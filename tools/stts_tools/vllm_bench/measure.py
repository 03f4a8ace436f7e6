"""Milliseconds of vLLM's Molmo2 to the first token and from token to token, by frames and requests at once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from stts_tools.vllm_bench.released_names import released_names

_VIDEO = "<|video|>"
_FPS = 2.0
_SIDE = 378
_TOKENS_A_FRAME = 96
"""At most: 81 groups, two marks and a time stamp in single bytes."""
_MARGIN = 512
"""Tokens of a context besides those of the frames."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VllmRow(_Part):
    """Medians over the rounds, in milliseconds."""

    frames: int
    requests: int
    """That are asked at once, each about frames of its own."""
    prompt_tokens: int
    first_token_ms: float
    """From frames in the host's memory to the first token of the last request, the processor's work on the CPU
    included."""
    engine_first_token_ms: float
    """From the moment the engine takes up the first request to its first token: vision and prefill alone."""
    token_ms: float
    """Of each further token of the request whose first token comes last, when all of them are decoded together. Those
    before it end a few tokens sooner."""


class VllmSettings(_Part):
    """How the model is made; besides these everything is vLLM's own choice."""

    folder: Path
    dtype: str
    quantization: str | None
    frames: int
    """The most that are asked about."""
    requests: int
    """The most at once."""
    memory: float
    """Share of the GPU's memory that vLLM may take."""
    attention: str | None = None
    """vLLM's name for the language model's attention; None for its own choice."""


class VllmMolmo2:
    """vLLM's engine in this process, with random weights of its own, without any cache from request to request."""

    def __init__(self, settings: VllmSettings) -> None:
        tokens = settings.frames * _TOKENS_A_FRAME + _MARGIN
        self._vllm: Any = import_module("vllm")
        self._llm: Any = self._vllm.LLM(
            model=str(settings.folder),
            dtype=settings.dtype,
            quantization=settings.quantization,
            load_format="dummy",
            hf_overrides=released_names(settings.folder),
            attention_backend=settings.attention,
            max_model_len=tokens,
            # A prompt is never cut: image tokens see one another both ways.
            max_num_batched_tokens=tokens,
            max_num_seqs=settings.requests,
            gpu_memory_utilization=settings.memory,
            limit_mm_per_prompt={"video": 1, "image": 0},
            enable_prefix_caching=False,
            mm_processor_cache_gb=0,
            disable_log_stats=False,
            seed=0,
        )

    def row(self, frames: int, requests: int, tokens: int, rounds: int) -> VllmRow:
        """Asks `requests` at once for one token and for 1 + `tokens`, in turns.

        The first call alone is timed from outside: the two do not overlap prefills alike, so their difference is no
        time of tokens.
        """
        self._asked(frames, requests, 1 + tokens, seed=-1)
        first, engine, each, length = [], [], [], 0
        for number in range(rounds):
            took, outputs = self._asked(frames, requests, 1, seed=number)
            first.append(took)
            engine.append(first_token_seconds(outputs))
            length = len(outputs[0].prompt_token_ids)
            _, outputs = self._asked(frames, requests, 1 + tokens, seed=number)
            each.append(token_seconds(outputs, tokens))
        return VllmRow(
            frames=frames,
            requests=requests,
            prompt_tokens=length,
            first_token_ms=_milliseconds(first),
            engine_first_token_ms=_milliseconds(engine),
            token_ms=_milliseconds(each),
        )

    def _asked(self, frames: int, requests: int, tokens: int, seed: int) -> tuple[float, list[Any]]:
        """Seconds, and vLLM's outputs, of exactly `tokens` tokens each."""
        sampling = self._vllm.SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True, detokenize=False)
        prompts = [_prompt(frames, seed * requests + number) for number in range(requests)]
        start = time.perf_counter()
        outputs = self._llm.generate(prompts, sampling, use_tqdm=False)
        return time.perf_counter() - start, outputs


def _prompt(frames: int, seed: int) -> dict[str, Any]:
    """Noise of a seed, at the size that the tower reads, and a short question."""
    generator = np.random.default_rng(abs(seed))
    video = generator.integers(0, 256, (frames, _SIDE, _SIDE, 3), dtype=np.uint8)
    metadata = {
        "fps": _FPS,
        "duration": frames / _FPS,
        "total_num_frames": frames,
        "frames_indices": list(range(frames)),
        "video_backend": "opencv",
        "do_sample_frames": False,
        "height": _SIDE,
        "width": _SIDE,
    }
    text = f"<|im_start|>user\n{_VIDEO}What is moving?<|im_end|>\n<|im_start|>assistant\n"
    return {"prompt": text, "multi_modal_data": {"video": [(video, metadata)]}}


def first_token_seconds(outputs: Sequence[Any]) -> float:
    """By vLLM's own clock, from the moment the first request is taken up; `outputs` are in the order of requests."""
    metrics = outputs[0].metrics
    return float(metrics.first_token_ts - metrics.scheduled_ts)


def token_seconds(outputs: Sequence[Any], tokens: int) -> float:
    """By vLLM's own clock, of each of the `tokens` after the first, where every request has its first already."""
    last = max((output.metrics for output in outputs), key=lambda metrics: metrics.first_token_ts)
    return float(last.last_token_ts - last.first_token_ts) / tokens


def _milliseconds(seconds: Sequence[float]) -> float:
    return round(1e3 * statistics.median(seconds), 3)
