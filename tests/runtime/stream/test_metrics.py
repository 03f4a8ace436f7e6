from __future__ import annotations

import re
import threading
import time
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest

from stts_runtime import clock
from stts_runtime.errors import UserError
from stts_runtime.sinks.spool import Backlog
from stts_runtime.sources.source import State, Status
from stts_runtime.stream.metrics import StreamMetrics
from tests.support.receivers import answer


def value(metrics: StreamMetrics, series: str) -> Any:
    """The value of one series of the text, which a scraper reads too; None if there is no such series."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", metrics.text(), re.MULTILINE)
    return float(found[1]) if found else None


def test_an_answer_counts_with_its_stages_and_novelty() -> None:
    metrics = StreamMetrics()
    metrics.answered(answer(1))
    metrics.answered(answer(2))
    assert value(metrics, 'stts_answers_total{stream="gate"}') == 2
    assert value(metrics, 'stts_novelty{stream="gate"}') == 0.25
    for stage, seconds in (("vision", 0.02), ("prefill_video", 0.04), ("prefill_question", 0.01), ("decode", 0.08)):
        assert value(metrics, f'stts_stage_seconds_sum{{stage="{stage}",stream="gate"}}') == pytest.approx(seconds)
        assert value(metrics, f'stts_stage_seconds_count{{stage="{stage}",stream="gate"}}') == 2
    assert value(metrics, 'stts_stage_seconds_bucket{le="0.01",stage="vision",stream="gate"}') == 2
    assert value(metrics, 'stts_stage_seconds_bucket{le="0.005",stage="vision",stream="gate"}') == 0
    assert value(metrics, 'stts_dropped_frames_total{cause="late",stream="gate"}') is None


def test_the_lag_grows_while_no_frame_comes() -> None:
    metrics = StreamMetrics()
    metrics.frame("gate", clock.now() - 2)
    first = value(metrics, 'stts_frame_lag_seconds{stream="gate"}')
    time.sleep(0.02)
    second = value(metrics, 'stts_frame_lag_seconds{stream="gate"}')
    metrics.frame("gate", clock.now())
    assert 2 <= first < second < 4
    assert value(metrics, 'stts_frame_lag_seconds{stream="gate"}') < 1
    assert value(metrics, 'stts_frames_total{stream="gate"}') == 2


def test_what_a_channel_counts_itself_is_counted_once() -> None:
    metrics, source = StreamMetrics(), SimpleNamespace(reconnections=1)
    channel: Any = SimpleNamespace(name="gate", source=source, skipped=2, missed=0)
    look: Any = SimpleNamespace(frame=SimpleNamespace(captured=clock.now()))
    metrics.saw(channel, look)
    source.reconnections, channel.skipped, channel.missed = 3, 2, 4
    metrics.saw(channel, look)
    assert value(metrics, 'stts_reconnections_total{stream="gate"}') == 3
    assert value(metrics, 'stts_windows_skipped_total{stream="gate"}') == 2
    assert value(metrics, 'stts_answers_missed_total{stream="gate"}') == 4
    assert value(metrics, 'stts_frames_total{stream="gate"}') == 2


def test_what_went_together_is_counted_by_size() -> None:
    metrics = StreamMetrics()
    for size in (1, 3, 8):
        metrics.batched("looks", size)
    for limit, count in (("1.0", 1), ("2.0", 1), ("4.0", 2), ("8.0", 3)):
        assert value(metrics, f'stts_batch_size_bucket{{kind="looks",le="{limit}"}}') == count
    assert value(metrics, 'stts_batch_size_count{kind="answers"}') is None


def test_events_count_by_stream_and_cause() -> None:
    metrics = StreamMetrics()
    metrics.dropped("gate", "late", 3)
    metrics.dropped("gate", "corrupt", 1)
    metrics.dropped("gate", "late", 2)
    metrics.skipped("gate")
    metrics.reconnected("yard")
    metrics.lost("a.jsonl")
    assert value(metrics, 'stts_dropped_frames_total{cause="late",stream="gate"}') == 5
    assert value(metrics, 'stts_dropped_frames_total{cause="corrupt",stream="gate"}') == 1
    assert value(metrics, 'stts_windows_skipped_total{stream="gate"}') == 1
    assert value(metrics, 'stts_reconnections_total{stream="yard"}') == 1
    assert value(metrics, 'stts_lost_records_total{sink="a.jsonl"}') == 1


def test_exactly_one_state_is_on() -> None:
    metrics = StreamMetrics()
    for state in (State.CONNECTING, State.LIVE, State.STALLED):
        metrics.status("gate", Status(state, "why", 0.0))
        on = {one.value: value(metrics, f'stts_source_state{{state="{one.value}",stream="gate"}}') for one in State}
        assert on == {one.value: float(one is state) for one in State}


def test_spools_are_read_when_asked() -> None:
    metrics, backlog = StreamMetrics(), [Backlog(3, 0)]
    metrics.watch_spool("hook", lambda: backlog[0])
    assert value(metrics, 'stts_spool_records{sink="hook"}') == 3
    backlog[0] = Backlog(1, 7, 2)
    assert value(metrics, 'stts_spool_records{sink="hook"}') == 1
    assert value(metrics, 'stts_spool_dropped_total{sink="hook"}') == 7
    assert value(metrics, 'stts_refused_records_total{sink="hook"}') == 2
    assert value(metrics, "stts_resident_bytes") > 10_000_000


def test_two_of_them_do_not_mix() -> None:
    one, other = StreamMetrics(), StreamMetrics()
    one.skipped("gate")
    assert value(other, 'stts_windows_skipped_total{stream="gate"}') is None


def test_counts_of_many_threads_add_up() -> None:
    metrics = StreamMetrics()

    def count() -> None:
        for _ in range(500):
            metrics.frame("gate", 0.0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metrics, 'stts_frames_total{stream="gate"}') == 2000


def test_it_serves_on_this_machine_alone_and_gives_the_port_back() -> None:
    metrics = StreamMetrics()
    metrics.skipped("gate")
    with metrics.serve(port=0) as server:
        with urlopen(f"http://127.0.0.1:{server.port}/metrics") as reply:
            assert b'stts_windows_skipped_total{stream="gate"} 1.0' in reply.read()
        with pytest.raises(UserError, match=rf"127.0.0.1:{server.port}: Address already in use"):
            metrics.serve(port=server.port)
    with metrics.serve(port=server.port) as again:
        assert again.port == server.port
