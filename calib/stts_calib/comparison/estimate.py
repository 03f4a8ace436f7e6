"""What a comparison will take, from two clips of it on this machine."""

from __future__ import annotations

import psutil

from stts_calib.comparison.compare import compare
from stts_runtime import clock
from stts_runtime.bundle import Bundle
from stts_runtime.progress import in_words


def expected_comparison(bundle: Bundle, clips: int, questions: int) -> str:
    """In words: time and memory of comparing the bundle with another like it.

    The first of the two clips loads engines and warms them up; only the second is counted.
    """
    moments: list[float] = []
    compare(bundle, Bundle.open(bundle.folder), 2, questions, lambda _: moments.append(clock.now()))
    seconds, resident = moments[1] - moments[0], psutil.Process().memory_info().rss
    return (
        f"about {in_words(clips * seconds)} for {clips} clips, and {resident / 1e9:.2f} GB of memory, at what two "
        "clips took just now with nothing quantized"
    )
