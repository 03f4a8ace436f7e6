from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from stts_runtime import clock
from stts_runtime.errors import SinkError
from stts_runtime.point_records import PointRecord
from stts_runtime.stream.preview import Preview
from tests.support.places import ROOT

KEPT = np.array([True, False, False, False])


def picture(value: int = 200, height: int = 180, width: int = 320) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, dtype=np.uint8)


def frames_of(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]  # type: ignore[misc]


def test_kept_patches_are_bright_dropped_ones_dark_and_the_answer_stands_above(tmp_path: Path) -> None:
    preview = Preview(tmp_path / "gate.mp4")
    preview.show(picture(), KEPT, "", 5.0)
    preview.show(picture(), KEPT, "A red car at the gate.", 5.5)
    preview.show(picture(), KEPT, "not newer", 5.5)
    preview.show(picture(height=90), ~KEPT, "A red car at the gate.", 7.25)
    preview.close()
    frames = frames_of(tmp_path / "gate.000001.mp4")
    assert [time for time, _ in frames] == pytest.approx([0.0, 0.5, 2.25], abs=0.002)
    shape = frames[0][1].shape
    assert all(frame.shape == shape == (66 + 360, 640, 3) for _, frame in frames)
    first, second, third = (frame for _, frame in frames)
    assert first[80:230, 20:300].mean() > 180
    assert first[260:400, 340:620].mean() < 60
    assert third[80:230, 20:300].mean() < 60
    assert first[:60].max() < 60
    assert second[:60].max() > 150


def test_points_are_marked_where_they_are(tmp_path: Path) -> None:
    preview = Preview(tmp_path / "gate.mp4")
    point = PointRecord(label="car", x=0.25, y=0.25, seconds=5.0, frame=0, track=None)
    preview.show(picture(), KEPT, "", 5.0)
    preview.show(picture(), KEPT, "", 5.5, [point])
    preview.close()
    (_, bare), (_, marked) = frames_of(tmp_path / "gate.000001.mp4")
    changed = np.abs(bare.astype(int) - marked).max(axis=2) > 60
    rows, columns = np.nonzero(changed)
    # The circle around it, and the name to its right.
    assert 66 + 0.25 * 360 - 30 < rows.min() < rows.max() < 66 + 0.25 * 360 + 30
    assert 0.25 * 640 - 30 < columns.min() < columns.max() < 0.25 * 640 + 100
    assert not changed[66 + 90 - 8 : 66 + 90 + 8, 160 - 8 : 160 + 8].any()


def test_a_new_file_after_a_while_and_the_newest_stay(tmp_path: Path) -> None:
    for _ in range(2):
        preview = Preview(tmp_path / "gate.mp4", segment_seconds=10, keep=3)
        for seconds in range(0, 40, 5):
            preview.show(picture(), KEPT, "", float(seconds))
        preview.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["gate.000006.mp4", "gate.000007.mp4", "gate.000008.mp4"]
    assert all(len(frames_of(tmp_path / name)) == 2 for name in names)


def test_a_place_that_cannot_be_written_is_tried_again_after_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(clock, "now", lambda: now[0])
    preview, failures = Preview(tmp_path / "no" / "gate.mp4"), []
    for second in range(60):
        now[0] = float(second)
        try:
            preview.show(picture(), KEPT, "", now[0])
        except SinkError as error:
            failures.append((second, str(error)))
    reason = f"the preview: {tmp_path}/no cannot be written: no such file or directory"
    assert failures == [(second, reason) for second in (0, 5, 15, 35)]
    (tmp_path / "no").mkdir()
    now[0] = 100.0
    preview.show(picture(), KEPT, "", now[0])
    assert [path.name for path in (tmp_path / "no").iterdir()] == ["gate.000001.mp4"]


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from stts_runtime import clock
from stts_runtime.errors import SinkError
from stts_runtime.stream.preview import Preview
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
preview, noise = Preview(Path(sys.argv[1])), np.random.default_rng(0)
for number in range(200):
    try:
        preview.show(noise.integers(0, 255, (90, 160, 3), np.uint8), np.ones(4, bool), "x", number / 2)
    except SinkError as error:
        print(error)
preview.close()
"""


@pytest.mark.parametrize(("limit", "left"), [(400_000, ["gate.000001.mp4"]), (100, [])])
def test_a_disk_that_fills_up_keeps_what_plays_and_no_file_for_each_failure(
    tmp_path: Path, limit: int, left: list[str]
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "runtime")}
    command = [sys.executable, "-c", FULL, str(tmp_path / "gate.mp4"), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the file would be larger than is allowed here") == done.stdout.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == left
    for name in left:
        assert len(frames_of(tmp_path / name)) > 1


CHILD = """
import sys
from pathlib import Path
import numpy as np
from stts_runtime.stream.preview import Preview
preview = Preview(Path(sys.argv[1]))
for number in range(10**6):
    preview.show(np.full((90, 160, 3), 99, np.uint8), np.ones(4, bool), "x", number / 2)
    print(number, flush=True)
"""


def test_a_killed_process_leaves_a_file_that_plays(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runtime")}
    command = [sys.executable, "-c", CHILD, str(tmp_path / "gate.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        for _ in range(20):
            next(child.stdout)
        os.kill(child.pid, signal.SIGKILL)
        said = 20 + sum(line.endswith("\n") for line in child.stdout)
    assert len(frames_of(tmp_path / "gate.000001.mp4")) >= said - 2
