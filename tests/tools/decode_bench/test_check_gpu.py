"""The packaged kernels on a GPU against numpy: every format, odd shapes, several sequences."""

from __future__ import annotations

from typing import Any

import pytest

from stts_tools.decode_bench.gpu import Gpu
from stts_tools.decode_bench.plan import Kernels
from stts_tools.decode_bench.run import checks

pytestmark = pytest.mark.gpu


def test_every_format_is_what_numpy_says() -> None:
    gpu = Gpu()
    results: dict[str, Any] = {}
    checks(gpu, Kernels(gpu, None), results.__setitem__)
    steps = {name: results.pop(name) for name in list(results) if "whole steps" in name}
    wrong = {name: one for name, one in results.items() if not one.get("within_bar")}
    assert not wrong
    assert all(one["same_bits_twice"] and one["same_bits_dependent"] for one in results.values())
    assert {name.split(",")[0] for name in steps} == {"dense", "float8", "int4"}
    assert all(one.get("same_bits_alone") and one["same_tokens"] and one["highest"] for one in steps.values()), steps
