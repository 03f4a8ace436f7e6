"""One of a thing and many of it, in words."""

from __future__ import annotations

import pytest

from stts_runtime.text import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 streams"), (1, "1 stream"), (2, "2 streams"), (1200, "1,200 streams")]
)
def test_one_is_not_many(number: int, said: str) -> None:
    assert counted(number, "stream") == said
