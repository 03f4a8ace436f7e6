"""Texts of several boxes as one."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from stts_runtime.fleet.metrics import merged
from stts_runtime.stream.metrics import StreamMetrics


def test_each_family_comes_once_and_samples_name_their_box() -> None:
    texts = {}
    for box, count in (("north", 2), ("south", 3)):
        metrics = StreamMetrics()
        metrics.expect(box)
        for _ in range(count):
            metrics.frame(box, 0.0)
        texts[box] = metrics.text()
    text = merged(StreamMetrics().text(), texts)
    families = [one.name for one in text_string_to_metric_families(text)]
    assert len(families) == len(set(families))
    assert 'stts_frames_total{box="north",stream="north"} 2.0' in text
    assert 'stts_frames_total{box="south",stream="south"} 3.0' in text
    assert text.count("# TYPE stts_resident_bytes") == 1
    assert sum(line.startswith("stts_resident_bytes") for line in text.splitlines()) == 3
