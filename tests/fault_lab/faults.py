"""The faults. Each does its damage to a real stream, asserts what is special about it, and returns a `Finding`."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from unittest.mock import patch

import psutil

from stts_runtime import clock
from stts_runtime.sources import State
from tests.fault_lab.encoded import h264 as encoded
from tests.fault_lab.encoded import jpeg, jpeg_parts
from tests.fault_lab.proxy import Proxy
from tests.fault_lab.server import RtspServer, h264
from tests.fault_lab.small_servers import hls_stream, http_stream, unknown_codec
from tests.fault_lab.viewer import QUICK, Seen, Viewer

_STALLS = QUICK.stall_seconds
_SLEEP_SECONDS = 600.0


@dataclass(frozen=True)
class Finding:
    """What a source made of a fault. `recovered_seconds` counts from the end of the fault to the next good frame."""

    state: State
    reason: str
    noticed_seconds: float | None
    recovered_seconds: float | None
    drops: dict[str, int]
    reconnections: int


@dataclass(frozen=True)
class Fault:
    name: str
    run: Callable[[], Finding]
    state: State
    """The state that must be named."""
    reason: str
    """A part of the reason that must be given."""
    notice_within: float | None = None
    """Seconds; None where nothing is there to be noticed."""
    recover_within: float | None = None
    """Seconds; None where only a person can help."""

    def check(self, found: Finding) -> None:
        assert found.state is self.state
        assert self.reason in found.reason, f"the reason is {found.reason!r}"
        _in_time("noticed", found.noticed_seconds, self.notice_within)
        _in_time("recovered", found.recovered_seconds, self.recover_within)


def _in_time(what: str, seconds: float | None, limit: float | None) -> None:
    if limit is not None:
        assert seconds is not None
        assert seconds < limit, f"{what} after {seconds:.1f} s, and {limit} s are allowed"


def _found(viewer: Viewer, state: State, noticed: float | None, recovered: float | None) -> Finding:
    reason = next(status.reason for status in reversed(viewer.statuses) if status.state is state)
    return Finding(state, reason, noticed, recovered, dict(viewer.source.drops), viewer.source.reconnections)


def _never_goes_back(frames: list[Seen]) -> None:
    assert all(before.seconds <= after.seconds for before, after in itertools.pairwise(frames))


def server_restarted() -> Finding:
    server = RtspServer(h264())
    with Viewer(server.url) as viewer:
        viewer.until_frames(3)
        server.kill()
        noticed = viewer.until_state(State.RECONNECTING)
        # Long enough for an attempt in vain.
        viewer.until(lambda: "nothing listens" in viewer.source.status.reason, "a refused connection")
        with RtspServer(h264(), server.port):
            recovered = viewer.until_frames(3)
            _never_goes_back(viewer.frames)
            clock = viewer.frames[-1].at - viewer.frames[0].at
            assert abs(viewer.frames[-1].seconds - clock) < 3.5
            assert viewer.source.reconnections == 1
            return _found(viewer, State.RECONNECTING, noticed, recovered)


def connection_cut() -> Finding:
    with RtspServer(h264()) as server, Proxy(server.port) as proxy, Viewer(_through(proxy)) as viewer:
        viewer.until_frames(3)
        proxy.cut()
        noticed = viewer.until_state(State.RECONNECTING)
        recovered = viewer.until_frames(3)
        return _found(viewer, State.RECONNECTING, noticed, recovered)


def silent_stall() -> Finding:
    with RtspServer(h264()) as server, Proxy(server.port) as proxy, Viewer(_through(proxy)) as viewer:
        viewer.until_frames(3)
        proxy.stalled = True
        noticed = viewer.until_state(State.STALLED)
        proxy.stalled = False
        recovered = viewer.until_frames(3)
        return _found(viewer, State.STALLED, noticed, recovered)


def slow_to_answer() -> Finding:
    with RtspServer(h264()) as server, Proxy(server.port) as proxy:
        proxy.delay_seconds = QUICK.open_seconds + 1
        with Viewer(_through(proxy)) as viewer:
            noticed = viewer.until_state(State.RECONNECTING)
            proxy.delay_seconds = 0.0
            recovered = viewer.until_frames(1)
            return _found(viewer, State.RECONNECTING, noticed, recovered)


def packet_loss() -> Finding:
    """Pictures of many packets: those with a hole are dropped, and what refers to them."""
    with RtspServer(h264(packet=200)) as server, Proxy(server.port) as proxy, Viewer(_through(proxy)) as viewer:
        viewer.until_frames(5)
        proxy.loss = 0.2
        noticed = viewer.until(lambda: viewer.source.drops["corrupt"] >= 3, "dropping damaged frames")
        proxy.loss = 0.0
        recovered = viewer.until_frames(15)
        assert not _any_grey(viewer.frames)
        return _found(viewer, State.LIVE, noticed, recovered)


def start_within_a_group() -> Finding:
    """A key frame every two seconds, of which the viewer misses the first."""
    with RtspServer(h264(key_every=30)) as server, Proxy(server.port) as proxy:
        proxy.late_by = 8
        with Viewer(_through(proxy)) as viewer:
            recovered = viewer.until_frames(3)
            assert viewer.source.drops["corrupt"] > 0
            assert not _any_grey(viewer.frames)
            return _found(viewer, State.LIVE, None, recovered)


def wrong_password() -> Finding:
    with RtspServer(h264(), user="admin", password="secret") as server, Proxy(server.port) as proxy:
        with Viewer(f"rtsp://admin:guessed@127.0.0.1:{proxy.port}/stream") as viewer:
            noticed = viewer.until_state(State.REFUSED)
            connections = proxy.connections
            time.sleep(4 * QUICK.first_pause)
            assert proxy.connections == connections <= 2
            assert not any("guessed" in status.reason for status in viewer.statuses)
            finding = _found(viewer, State.REFUSED, noticed, None)
        with Viewer(f"rtsp://admin:secret@127.0.0.1:{proxy.port}/stream") as viewer:
            viewer.until_frames(1)
        return finding


def no_such_path() -> Finding:
    with RtspServer(h264()) as server, Viewer(server.url + "s") as viewer:
        noticed = viewer.until_state(State.REFUSED)
        return _found(viewer, State.REFUSED, noticed, None)


def unknown_host() -> Finding:
    with Viewer("rtsp://admin:secret@cam7.invalid/stream") as viewer:
        noticed = viewer.until_state(State.RECONNECTING)
        assert not any("secret" in status.reason for status in viewer.statuses)
        return _found(viewer, State.RECONNECTING, noticed, None)


def nobody_decodes_it() -> Finding:
    with unknown_codec() as url, Viewer(url) as viewer:
        noticed = viewer.until_state(State.REFUSED)
        return _found(viewer, State.REFUSED, noticed, None)


def sound_alone() -> Finding:
    pipeline = "audiotestsrc is-live=true ! mulawenc ! rtppcmupay name=pay0"
    with RtspServer(pipeline) as server, Viewer(server.url) as viewer:
        noticed = viewer.until_state(State.REFUSED)
        return _found(viewer, State.REFUSED, noticed, None)


def another_size_after_restart() -> Finding:
    server = RtspServer(h264())
    with Viewer(server.url) as viewer:
        viewer.until_frames(2)
        server.kill()
        with RtspServer(h264(320, 240, fps=10), server.port):
            recovered = viewer.until(lambda: viewer.frames[-1].size == (320, 240), "the new size")
            assert viewer.frames[0].size == (160, 120)
            return _found(viewer, State.RECONNECTING, None, recovered)


def another_size_on_the_way() -> Finding:
    chunks = [*encoded(75, 160, 120), *encoded(1000, 320, 240)]
    with http_stream("video/h264", lambda: chunks, 0.04) as url, Viewer(url) as viewer:
        viewer.until_frames(2)
        assert viewer.frames[0].size == (160, 120)
        recovered = viewer.until(lambda: viewer.frames[-1].size == (320, 240), "the new size")
        assert viewer.source.reconnections == 0
        return _found(viewer, State.LIVE, None, recovered)


def timestamps_that_jump() -> Finding:
    """An MPEG transport stream whose clock jumps a quarter of an hour ahead, and back to zero."""
    parts = [encoded(20, 160, 120, "mpegts", first) for first in (0.0, 900.0, 0.0, 30.0)]
    chunks = list(itertools.chain.from_iterable(parts))
    with http_stream("video/mp2t", lambda: chunks, 0.04) as url, Viewer(url) as viewer:
        viewer.until_frames(65)
        _never_goes_back(viewer.frames)
        clock = viewer.frames[-1].at - viewer.frames[0].at
        assert abs(viewer.frames[-1].seconds - clock) < 3.5
        return _found(viewer, State.LIVE, None, None)


def machine_sleeps() -> Finding:
    """For ten minutes, as the clock of the boot shows it: what comes then is ten minutes later, and not a moment."""
    with _mjpeg(itertools.count()) as url, Viewer(url) as viewer:
        viewer.until_frames(5)
        before, awake = viewer.frames[-1], clock.now
        with patch.object(clock, "now", lambda: awake() + _SLEEP_SECONDS):
            recovered = viewer.until(lambda: viewer.frames[-1].seconds > before.seconds + 1, "waking up")
            viewer.until_frames(5)
            _never_goes_back(viewer.frames)
            slept = viewer.frames[-1].seconds - before.seconds
            assert _SLEEP_SECONDS - 3.5 < slept < _SLEEP_SECONDS + 20, slept
            assert max(frame.age for frame in viewer.frames[-3:]) < 1.0
            found = _found(viewer, State.LIVE, None, recovered)
            viewer.source.close()
        return found


def wall_clock_is_set() -> Finding:
    """An hour ahead, then back by two: nothing is counted by it, so nothing happens."""
    with _mjpeg(itertools.count()) as url, Viewer(url) as viewer:
        viewer.until_frames(5)
        real_time, real_wall = time.time, clock.wall
        for hours in (1, -1):
            jump = timedelta(hours=hours)
            with (
                patch("time.time", lambda jump=jump: real_time() + jump.total_seconds()),
                patch.object(clock, "wall", lambda jump=jump: real_wall() + jump),
            ):
                viewer.until_frames(10)
        _follows_the_clock(viewer)
        assert viewer.source.reconnections == 0
        return _found(viewer, State.LIVE, None, None)


def camera_clock_runs_away() -> Finding:
    """Its time stamps are twice as fast as our clock."""
    chunks = encoded(400, 160, 120, "mpegts", 0.0)
    with http_stream("video/mp2t", lambda: chunks, 0.08) as url, Viewer(url) as viewer:
        viewer.until_frames(60)
        _never_goes_back(viewer.frames)
        _follows_the_clock(viewer)
        return _found(viewer, State.LIVE, None, None)


def _follows_the_clock(viewer: Viewer) -> None:
    passed = viewer.frames[-1].at - viewer.frames[0].at
    assert abs(viewer.frames[-1].seconds - viewer.frames[0].seconds - passed) < 3.5


def slow_viewer() -> Finding:
    """Takes a frame a second of a stream that sends 25: what it gets must not grow old."""
    with _mjpeg(itertools.count()) as url, Viewer(url, pause=1.0) as viewer:
        viewer.until_frames(4)
        assert max(frame.age for frame in viewer.frames[1:]) < 0.5
        assert viewer.source.drops["late"] > 30
        return _found(viewer, State.LIVE, None, None)


def frozen_picture() -> Finding:
    """A camera that goes on sending the same picture, then moves again."""
    moves_again = int(2.5 * QUICK.frozen_seconds / 0.04)
    numbers = itertools.chain(range(10), itertools.repeat(10, moves_again), itertools.count(11))
    with _mjpeg(numbers) as url, Viewer(url) as viewer:
        viewer.until_frames(1)
        noticed = viewer.until_state(State.STALLED)
        viewer.until(lambda: viewer.source.status.state is State.LIVE, "moving again")
        assert viewer.source.drops["frozen"] > 0
        assert viewer.source.reconnections == 0
        return _found(viewer, State.STALLED, noticed, None)


def one_picture() -> Finding:
    """The address of a camera's snapshot in place of its stream."""
    with http_stream("image/jpeg", lambda: [jpeg(0)], 0.0) as url, Viewer(url) as viewer:
        noticed = viewer.until_state(State.REFUSED)
        return _found(viewer, State.REFUSED, noticed, None)


def segments_of_a_second() -> Finding:
    """HLS: a look at any half second finds a picture."""
    with hls_stream(1.0) as url, Viewer(url) as viewer:
        viewer.until_frames(60)
        assert max(after.at - before.at for before, after in itertools.pairwise(viewer.frames)) < 0.5
        return _found(viewer, State.LIVE, None, None)


def pipeline_killed() -> Finding:
    with Viewer("gst:videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120") as viewer:
        viewer.until_frames(3)
        for child in _pipelines():
            child.send_signal(signal.SIGKILL)
        noticed = viewer.until_state(State.RECONNECTING)
        recovered = viewer.until_frames(3)
        finding = _found(viewer, State.RECONNECTING, noticed, recovered)
    assert not list(_pipelines())
    return finding


def pipeline_that_is_none() -> Finding:
    with Viewer("gst:nosuchelement user-pw=secret") as viewer:
        noticed = viewer.until_state(State.REFUSED)
        return _found(viewer, State.REFUSED, noticed, None)


def pipeline_with_a_wrong_password() -> Finding:
    with RtspServer(h264(), user="admin", password="secret") as server:
        place = server.url.replace("://", "://admin:guessed@")
        with Viewer(f"gst:rtspsrc location={place} ! decodebin") as viewer:
            noticed = viewer.until_state(State.REFUSED)
            assert not any("guessed" in status.reason for status in viewer.statuses)
            return _found(viewer, State.REFUSED, noticed, None)


def _pipelines() -> Iterator[psutil.Process]:
    for child in psutil.Process(os.getpid()).children(recursive=True):
        if child.name() == "gst-launch-1.0":
            yield child


def _mjpeg(numbers: Iterator[int]) -> AbstractContextManager[str]:
    return http_stream("multipart/x-mixed-replace; boundary=frame", lambda: jpeg_parts(numbers), 0.04)


def _through(proxy: Proxy) -> str:
    return f"rtsp://127.0.0.1:{proxy.port}/stream"


def _any_grey(frames: list[Seen]) -> bool:
    """What was sent is a small white ball on black; without its key frame a picture is grey."""
    return any(frame.brightness > 40 for frame in frames)


FAULTS = [
    Fault("server killed and restarted", server_restarted, State.RECONNECTING, "", 2, 6),
    Fault("connection cut", connection_cut, State.RECONNECTING, "", 2, 6),
    Fault("silent stall, then resumes", silent_stall, State.STALLED, "no packet for 1 s", _STALLS + 1.5, 6),
    Fault("server slow to answer", slow_to_answer, State.RECONNECTING, "no answer for 2 s", QUICK.open_seconds + 2, 8),
    Fault("a fifth of the packets lost", packet_loss, State.LIVE, "pictures come", 6, 6),
    Fault("start within a group of pictures", start_within_a_group, State.LIVE, "pictures come", None, 7),
    Fault("wrong password", wrong_password, State.REFUSED, "user name or password (401)", 3),
    Fault("no such path", no_such_path, State.REFUSED, "nothing under this path (404)", 3),
    Fault("unknown host", unknown_host, State.RECONNECTING, "the host name cam7.invalid is not known", 3),
    Fault("codec that nobody knows", nobody_decodes_it, State.REFUSED, "codec", QUICK.open_seconds + 2),
    Fault("sound and no video", sound_alone, State.REFUSED, "holds no video", QUICK.open_seconds + 2),
    Fault("another size after a restart", another_size_after_restart, State.RECONNECTING, "", None, 6),
    Fault("another size on the way", another_size_on_the_way, State.LIVE, "pictures come", None, 4),
    Fault("timestamps that jump", timestamps_that_jump, State.LIVE, "pictures come"),
    Fault("the machine sleeps for ten minutes", machine_sleeps, State.LIVE, "pictures come", None, 10),
    Fault("the machine's clock is set by hours", wall_clock_is_set, State.LIVE, "pictures come"),
    Fault("a camera's clock runs twice as fast", camera_clock_runs_away, State.LIVE, "pictures come"),
    Fault("slow viewer", slow_viewer, State.LIVE, "pictures come"),
    Fault("frozen picture", frozen_picture, State.STALLED, "the picture has not changed for 1 s", 3),
    Fault("one picture behind a URL", one_picture, State.REFUSED, "one picture and no stream", 3),
    Fault("segments of a second (HLS)", segments_of_a_second, State.LIVE, "pictures come"),
    Fault("pipeline that is none", pipeline_that_is_none, State.REFUSED, "nosuchelement", 3),
    Fault("pipeline, wrong password", pipeline_with_a_wrong_password, State.REFUSED, "nauthorized", 4),
    Fault("GStreamer child killed", pipeline_killed, State.RECONNECTING, "the pipeline was ended by SIGKILL", 2, 4),
]
