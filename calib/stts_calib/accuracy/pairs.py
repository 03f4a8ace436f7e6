"""Which settings have to be measured by which others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from stts_calib.accuracy.settings import Setting
from stts_runtime.bundle.manifest import VisionVariant

QuestionSet = Literal["all", "needs time"]


def comparisons(
    settings: Sequence[Setting], variants: Mapping[str, VisionVariant]
) -> Iterator[tuple[str, str, QuestionSet]]:
    """Every setting against unpruned; controls against the scorer's choice; more frames against as many tokens."""
    names = {setting.name for setting in settings}
    for setting in settings:
        variant = variants[setting.variant]
        full, pruned = f"full-t{variant.frames}", f"clip-t{variant.frames}-k{variant.keep:g}"
        if full in names - {setting.name}:
            yield setting.name, full, "all"
        if setting.control is not None and pruned in names:
            yield setting.name, pruned, "all"
        for other in settings:
            fewer = variants[other.variant].frames < variant.frames
            same_tokens = variants[other.variant].kept_groups == variant.kept_groups
            if fewer and same_tokens and setting.control is None and other.control is None:
                yield setting.name, other.name, "all"
                yield setting.name, other.name, "needs time"
