"""The two clocks: nothing counts by the one that is set, and nothing stands still while the machine sleeps."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stts_runtime import clock
from stts_runtime.records import StreamEvent, now
from stts_runtime.sinks.line_file import LineFile, Rotation
from stts_runtime.sources import LiveSettings, State, open_source
from tests.support.places import ROOT

_WALL = re.compile(r"\btime\.time\(\)")


def test_nothing_of_a_stream_counts_by_a_clock_that_is_set_or_stands_still() -> None:
    """What `time.time` is for: the hour at which something was made, for people."""
    found = set()
    for folder in ("sources", "stream", "sinks", "serve", "answering"):
        for path in (ROOT / "runtime" / "stts_runtime" / folder).glob("*.py"):
            text = path.read_text()
            if _WALL.search(text) or "time.monotonic()" in text:
                found.add(f"{folder}/{path.name}")
    # `created` of OpenAI's records; how often a file is synced.
    assert found == {"serve/chat.py", "serve/uploads.py", "sinks/line_file.py"}


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="a system without a clock of the boot")
def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    """In a time namespace, whose boot clock is ten minutes ahead of its monotonic one, as after such a sleep."""
    code = "import time\nfrom stts_runtime import clock\nprint(clock.now() - time.monotonic())"
    plain = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(ROOT / "runtime")}
    before = float(subprocess.run(plain, env=environment, capture_output=True, text=True, check=True).stdout)
    asleep = ["unshare", "--time", "--boottime", "600", "--fork", *plain]
    try:
        done = subprocess.run(asleep, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode != 0:
        pytest.skip(f"no time namespaces here: {done.stderr.strip()}")
    assert float(done.stdout) - before == pytest.approx(600, abs=1)


def test_a_wait_ends_when_the_machine_wakes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    real, slept = clock.now, [0.0]
    monkeypatch.setattr(clock, "now", lambda: real() + slept[0])
    threading.Timer(0.2, lambda: slept.__setitem__(0, 600.0)).start()
    began = time.monotonic()
    assert not clock.wait(threading.Event(), 300)
    assert time.monotonic() - began < 5


def test_a_camera_is_asked_again_when_the_machine_wakes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not after what was left of a pause of ten minutes."""
    real, slept = clock.now, [0.0]
    monkeypatch.setattr(clock, "now", lambda: real() + slept[0])
    states: list[State] = []
    # Nothing listens at port 9.
    settings = LiveSettings(first_pause=600, longest_pause=600)
    source = open_source("rtsp://127.0.0.1:9/x", lambda status: states.append(status.state), settings)
    monkeypatch.setattr(source._backoff, "_random", _Whole())  # type: ignore[attr-defined]
    connections: list[float] = []
    connect = source._connect  # type: ignore[attr-defined]

    def connected() -> object:
        connections.append(real())
        return connect()

    monkeypatch.setattr(source, "_connect", connected)
    began = time.monotonic()
    while State.RECONNECTING not in states and time.monotonic() - began < 10:
        time.sleep(0.02)
    seen = len(connections)
    slept[0] = 700.0
    while len(connections) == seen and time.monotonic() - began < 10:
        time.sleep(0.02)
    source.close()
    assert len(connections) > seen


class _Whole:
    """Draws the longest pause."""

    def uniform(self, _: float, longest: float) -> float:
        return longest


def test_records_have_both_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    real = clock.wall
    before = StreamEvent(stream="gate", created=now(), state="live", reason="pictures come")
    monkeypatch.setattr(clock, "wall", lambda: real() - timedelta(hours=1))
    after = StreamEvent(stream="gate", created=now(), state="live", reason="pictures come")
    assert after.created < before.created
    assert 0 <= after.steady_seconds - before.steady_seconds < 60


def _rotations(tmp_path: Path, moments: list[datetime]) -> int:
    """How many files were moved aside while a line was written at each of these moments."""
    at = [moments[0].timestamp()]
    file = LineFile(tmp_path / "a.jsonl", Rotation(10**6, keep=30), lambda _: None, clock=lambda: at[0])
    for moment in moments:
        at[0] = moment.timestamp()
        file.append(b"{}")
    file.close()
    assert sum(len(path.read_text().splitlines()) for path in tmp_path.iterdir()) == len(moments)
    return len(list(tmp_path.iterdir())) - 1


def _utc(day: int, hour: int, minute: int = 0, month: int = 3) -> datetime:
    return datetime(2027, month, day, hour, minute, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([_utc(1, 22), _utc(1, 23), _utc(2, 0), _utc(2, 1)], 1),
        # Set back over midnight, and forward again.
        ([_utc(1, 23, 30), _utc(2, 0, 10), _utc(1, 23, 10), _utc(1, 23, 50), _utc(2, 0, 5)], 1),
        # An hour ahead over midnight, and back: the day begins once.
        ([_utc(1, 23, 10), _utc(2, 0, 15), _utc(1, 23, 20), _utc(2, 0, 1)], 1),
        # A battery that ran out: the clock was years ahead, and each day is one again.
        ([_utc(1, 12, month=9), _utc(1, 12), _utc(2, 12), _utc(3, 12)], 2),
        # Summer time begins and ends: local clocks jump, and files go by UTC.
        ([_utc(28, hour) for hour in range(24)], 0),
        ([_utc(31, hour, month=10) for hour in range(24)], 0),
    ],
)
def test_a_day_begins_once_whatever_is_done_to_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moments: list[datetime], expected: int
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert _rotations(tmp_path, moments) == expected
    finally:
        monkeypatch.undo()
        time.tzset()
