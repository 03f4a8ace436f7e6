"""Configurations read again while streams run: what changes, what does not, and bundles that take over or stay away."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.errors import EngineError
from stts_runtime.sinks.open import Sink, open_sink
from stts_runtime.stream import loaded as loading
from stts_runtime.stream import outlets, successor
from stts_runtime.stream import reload as reloading
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.config_file import load_config
from stts_runtime.stream.reload import Reread
from stts_runtime.stream.run import run_streams
from stts_runtime.stream.running import RunningStreams
from tests.support.copied_bundle import copied, spoiled
from tests.support.waiting import ended, until

pytestmark = pytest.mark.onnxruntime

_LOOKS_PER_SECOND = 10
"""As many as the clip has: tests have no time."""


class Running:
    """`run_streams` in a thread, over a file that the test writes anew."""

    def __init__(self, folder: Path, clip: Path) -> None:
        self.folder, self.clip, self.lines, self.error = folder, clip, list[str](), list[Exception]()
        self._path, self._wanted, self._stop = folder / "cameras.yaml", threading.Event(), threading.Event()
        self.out = folder / "out.jsonl"
        self.bundle = copied(folder / "first", _LOOKS_PER_SECOND)

    def write(self, *streams: dict[str, Any], **settings: Any) -> None:
        content = {"bundle": self.bundle, "questions": ["Who?"], "max_tokens": 2, "sinks": [str(self.out)], **settings}
        self._path.write_text(json.dumps({**content, "streams": [{"source": self.loop, **one} for one in streams]}))

    @property
    def loop(self) -> str:
        return f"loop:{self.clip}"

    def start(self) -> None:
        reread = Reread(self._wanted, self._read)
        self._thread = threading.Thread(target=self._run, args=(reread,), name="streams")
        self._thread.start()

    def _read(self) -> StreamConfig:
        return load_config(self._path, StreamConfig)

    def _run(self, reread: Reread) -> None:
        try:
            run_streams(self._read(), self._stop, self.lines.append, reread)
        except Exception as error:
            self.error.append(error)
            raise

    def ask(self) -> None:
        self._wanted.set()

    def reload(self) -> str:
        before = len(self.lines)
        self.ask()
        self.wait(lambda: any("reload" in line for line in self.lines[before:]))
        return next(line for line in self.lines[before:] if "reload" in line)

    def wait(self, there: Callable[[], object]) -> None:
        until(lambda: self.error or there(), said=self.lines)
        assert not self.error, self.error

    def records(self, stream: str) -> list[dict[str, Any]]:
        """Of whole lines: the last one may be in writing."""
        whole, _, _ = (self.out.read_bytes() if self.out.exists() else b"").rpartition(b"\n")
        return [one for one in map(json.loads, whole.splitlines()) if one["stream"] == stream]

    def answers(self, stream: str) -> list[dict[str, Any]]:
        return [one for one in self.records(stream) if "number" in one]

    def states(self, stream: str) -> list[str]:
        return [one["state"] for one in self.records(stream) if "state" in one]

    def wait_for_answers(self, stream: str, more: int = 2) -> None:
        there = len(self.answers(stream))
        self.wait(lambda: len(self.answers(stream)) >= there + more)

    def stop(self) -> None:
        self._stop.set()
        ended(self._thread)


@pytest.fixture
def running(tmp_path: Path, clip: Path) -> Iterator[Running]:
    one = Running(tmp_path, clip)
    one.write({"name": "one"}, {"name": "two"})
    one.start()
    one.wait_for_answers("one")
    one.wait_for_answers("two", 1)
    yield one
    one.stop()


def numbers(running: Running, stream: str) -> list[int]:
    return [one["number"] for one in running.answers(stream)]


def test_streams_that_did_not_change_are_not_touched(running: Running) -> None:
    running.write({"name": "one"}, {"name": "two", "source": f"loop:{running.clip.parent}/./clip.mp4"}, {"name": "new"})
    assert running.reload() == "reloaded: 1 added, 1 restarted, 1 as before"
    for stream in ("one", "two", "new"):
        running.wait_for_answers(stream)
    running.write({"name": "one"}, {"name": "new"})
    assert running.reload() == "reloaded: 1 removed, 2 as before"
    running.wait_for_answers("one")
    assert running.states("one") == ["connecting", "live"]
    assert running.states("two") == ["connecting", "live", "ended", "connecting", "live", "ended"]
    for stream in ("one", "two", "new"):
        assert numbers(running, stream) == list(range(1, len(numbers(running, stream)) + 1))
    gone = len(running.records("two"))
    running.wait_for_answers("new")
    assert len(running.records("two")) == gone


def test_another_question_needs_no_other_connection(running: Running) -> None:
    running.write({"name": "one", "questions": ["What?"]}, {"name": "two"})
    assert running.reload() == "reloaded: 1 asked anew, 1 as before"
    running.wait(lambda: running.answers("one")[-1]["question"] == "What?")
    assert running.states("one") == ["connecting", "live"]
    assert numbers(running, "one") == list(range(1, len(numbers(running, "one")) + 1))


def test_a_wrong_configuration_is_refused_whole_in_one_line(running: Running) -> None:
    for changed, said in (
        ({"keep": 3}, "keep should be at most 1"),
        ({"questions": ["who " * 900]}, "one: the question takes"),
        ({"streams": [{"name": "one", "source": "/no/such.mp4"}]}, "one: no such file: /no/such.mp4"),
        ({"bundle": "/no/such"}, "no such bundle: /no/such"),
        ({"sinks": ["/proc/x.jsonl"]}, "/proc cannot be written into"),
        ({"sinks": [{"to": str(running.out), "files": 3}]}, "is open with other settings, which need a restart"),
        ({"state": "/tmp"}, "state cannot be changed while streams run: restart for that"),
    ):
        settings: dict[str, Any] = dict(changed)
        streams = settings.pop("streams", [{"name": "one"}, {"name": "added"}])
        running.write(*streams, **settings)
        assert_refused(running, said)
    running.wait_for_answers("two")
    assert running.states("one") == ["connecting", "live"]


def assert_refused(running: Running, said: str) -> None:
    line = running.reload()
    assert line.startswith("error: reload refused, everything goes on as before: ")
    assert said in line
    assert "\n" not in line
    running.wait_for_answers("one")
    assert not running.records("added")


def test_sinks_come_and_go(running: Running) -> None:
    other = running.folder / "other.jsonl"
    running.write({"name": "one"}, {"name": "two", "sinks": [str(other)]})
    assert running.reload() == "reloaded: 1 asked anew, 1 as before"
    running.wait(lambda: other.exists() and other.read_text().count('"number"') > 1)
    there = len(running.records("two"))
    running.wait_for_answers("one")
    assert len(running.records("two")) == there
    running.write({"name": "one"}, {"name": "two"})
    running.reload()
    running.wait(lambda: len(running.records("two")) > there)
    first, last = (json.loads(line) for line in (other.read_text().splitlines()[0], other.read_text().splitlines()[-1]))
    assert first["number"] == running.records("two")[there - 1]["number"] + 1
    assert running.records("two")[there]["number"] == last["number"] + 1


def test_a_bundle_takes_over_without_a_gap(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(successor, "_SILENT_SECONDS", 0.5)
    dead = {"name": "dead", "source": "rtsp://127.0.0.1:9/1"}
    running.write({"name": "one"}, {"name": "two", "questions": ["What?"]}, dead)
    running.reload()
    running.write(
        {"name": "one"},
        {"name": "two", "questions": ["Where?"]},
        dead,
        {"name": "new"},
        bundle=copied(running.folder / "next", _LOOKS_PER_SECOND),
    )
    assert running.reload() == "reloaded: 1 added, 1 asked anew, 2 as before"
    for stream in ("one", "two", "new"):
        running.wait_for_answers(stream)
        assert numbers(running, stream) == list(range(1, len(numbers(running, stream)) + 1))
    assert any("MB together; " in line for line in running.lines)
    assert any("answers from now on, in place of " in line for line in running.lines)
    manifest = (running.folder / "next" / "manifest.json").read_bytes()
    for stream in ("one", "two", "dead"):
        (told,) = [one for one in running.records(stream) if "bundle" in one]
        assert told["bundle"]["identity"] == hashlib.sha256(manifest).hexdigest()[:12]
        assert told["bundle"]["folder"] == "next"
        before = [one for one in running.records(stream)[: running.records(stream).index(told)] if "number" in one]
        assert told["bundle"]["from_number"] == len(before) + 1
    assert running.states("one") == ["connecting", "live", "live"]


def test_a_link_to_the_bundle_may_be_pointed_elsewhere(running: Running) -> None:
    link = running.folder / "current"
    link.symlink_to("first")
    running.write({"name": "one"}, {"name": "two"}, bundle=str(link))
    assert running.reload() == "reloaded: 2 as before", "the bundle is the same"
    spoiled(running.folder / "spoiled", _LOOKS_PER_SECOND)
    link.unlink()
    link.symlink_to("spoiled")
    assert_refused(running, "fails its check")
    link.unlink()
    link.symlink_to("first")
    running.write({"name": "one", "questions": ["What?"]}, {"name": "two"}, bundle=str(link))
    assert running.reload() == "reloaded: 1 asked anew, 1 as before"
    copied(running.folder / "next", _LOOKS_PER_SECOND)
    link.unlink()
    link.symlink_to("next")
    assert running.reload() == "reloaded: 2 as before"
    assert any(f"{running.folder}/next (" in line and "in place of" in line for line in running.lines)


def test_a_bundle_that_fails_its_check_or_does_not_fit_stays_away(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = spoiled(running.folder / "spoiled", _LOOKS_PER_SECOND)
    running.write({"name": "one"}, {"name": "added"}, bundle=bad)
    assert_refused(running, "fails its check: live-key, ")
    monkeypatch.setattr(loading, "free_bytes", lambda _: 100_000)
    running.write({"name": "one"}, {"name": "added"}, bundle=copied(running.folder / "next", _LOOKS_PER_SECOND))
    assert_refused(running, "together; 0 MB are free, which is too little: free some, or restart with the new bundle")
    assert "bundle" not in running.out.read_text()


def test_a_bundle_that_fails_while_it_looks_stays_away(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def run_many(self, *_: object, **__: object) -> None:
            raise EngineError("out of luck")

    whole = loading.load_beside

    def load_beside(*arguments: Any) -> loading.LoadedBundle:
        found = whole(*arguments)
        vision: Any = Failing()
        return replace(found, engines=replace(found.engines, vision=vision))

    monkeypatch.setattr(reloading, "load_beside", load_beside)
    running.write({"name": "one"}, {"name": "added"}, bundle=copied(running.folder / "next", _LOOKS_PER_SECOND))
    assert_refused(running, "fails on one: out of luck")
    monkeypatch.setattr(reloading, "load_beside", whole)
    assert running.reload() == "reloaded: 1 added, 1 removed, 1 as before"


def test_a_stop_closes_the_sinks_of_a_change_that_still_waits(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, closed = threading.Event(), list[str]()

    def spied(*arguments: Any) -> Sink:
        sink = open_sink(*arguments)
        close = sink.close

        def closing(seconds: float) -> None:
            closed.append(sink.name)
            close(seconds)

        monkeypatch.setattr(sink, "close", closing)
        return sink

    monkeypatch.setattr(outlets, "open_sink", spied)
    monkeypatch.setattr(RunningStreams, "_begin", lambda *_: waits.set())
    other = running.folder / "other.jsonl"
    running.write({"name": "one"}, {"name": "two", "sinks": [str(other)]})
    running.ask()
    running.wait(waits.is_set)
    assert not closed
    running.stop()
    assert closed == [str(other)]
