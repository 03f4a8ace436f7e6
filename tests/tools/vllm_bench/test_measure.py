"""What is taken from vLLM's own clock, from requests whose prefills come one after the other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stts_tools.vllm_bench import measure
from stts_tools.vllm_bench.measure import VllmMolmo2, VllmSettings

_PREFILL, _TOKEN = 2.0, 0.004
"""Seconds."""


class Clocked:
    """A vLLM that prefills requests one after the other, and overlaps what is behind the first token."""

    def __init__(self, **_: Any) -> None:
        self.made = 0

    def generate(self, prompts: list[Any], sampling: Any, use_tqdm: bool) -> list[Any]:
        self.made += 1
        starts = [100.0 * self.made + place * _PREFILL for place in range(len(prompts))]
        ends = starts[-1] + _PREFILL + (sampling.max_tokens - 1) * _TOKEN
        return [
            SimpleNamespace(
                prompt_token_ids=[0] * 7,
                metrics=SimpleNamespace(scheduled_ts=start, first_token_ts=start + _PREFILL, last_token_ts=ends),
            )
            for start in starts
        ]


@pytest.fixture
def molmo2(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> VllmMolmo2:
    vllm = SimpleNamespace(LLM=Clocked, SamplingParams=SimpleNamespace)
    monkeypatch.setattr(measure, "import_module", lambda _: vllm)
    monkeypatch.setattr(measure, "_prompt", lambda *_: {})
    monkeypatch.setattr(measure, "released_names", lambda _: {})
    # The call for more tokens is the quicker one, as it came out where prefills overlapped otherwise.
    wall = iter(np.cumsum([0, 1.0, *[0, 17.0, 0, 16.0] * 3]).tolist())
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: next(wall)))
    return VllmMolmo2(
        VllmSettings(folder=tmp_path, dtype="bfloat16", quantization=None, frames=64, requests=8, memory=0.8)
    )


@pytest.mark.parametrize("requests", [1, 8])
def test_a_token_takes_what_vllms_clock_says_however_prefills_overlap(molmo2: VllmMolmo2, requests: int) -> None:
    row = molmo2.row(64, requests, tokens=32, rounds=3)
    assert row.token_ms == pytest.approx(1e3 * _TOKEN)
    assert row.engine_first_token_ms == pytest.approx(1e3 * _PREFILL)
    assert row.first_token_ms == 17_000, "from outside, of the call for one token"
    assert (row.frames, row.requests, row.prompt_tokens) == (64, requests, 7)
