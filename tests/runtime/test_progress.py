"""Progress: what is left is told from what was seen, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from stts_runtime.cli import steps as steps_module
from stts_runtime.cli.steps import HEARTBEAT_SECONDS, Steps
from stts_runtime.progress import Progress, in_words


class Watch:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_nothing_is_estimated_before_a_step_was_seen() -> None:
    progress = Progress({"clips": 10}, now=Watch())
    assert progress.reached(0) == "0 of 10"
    assert progress.seconds_left is None


def test_the_first_step_counts_until_there_are_others() -> None:
    watch = Watch()
    progress = Progress({"clips": 10}, now=watch)
    watch.seconds += 8
    assert progress.reached(1) == "1 of 10, about 72 s left"
    watch.seconds += 2
    assert progress.reached(2) == "2 of 10, about 16 s left", "the first loaded engines"
    watch.seconds += 9
    assert progress.seconds_left == pytest.approx(16), "what is under way is no measure"
    assert progress.reached(5) == "5 of 10, about 14 s left", "five behind the first took 11 s"


def test_what_an_earlier_run_did_is_no_measure_of_this_one() -> None:
    watch = Watch()
    progress = Progress({"clips": 1000}, done=900, now=watch)
    assert progress.reached(900) == "900 of 1000"
    watch.seconds += 30
    assert progress.reached(903) == "903 of 1000, about 16 minutes left"


def test_kinds_that_were_not_seen_make_the_rest_a_lower_bound() -> None:
    watch = Watch()
    progress = Progress({"exporting": 2, "checking": 2}, now=watch)
    assert progress.begin("exporting") == "1 of 4"
    watch.seconds += 10
    assert progress.begin("exporting") == "2 of 4, at least 10 s left"
    watch.seconds += 10
    assert progress.begin("checking") == "3 of 4"
    watch.seconds += 4
    assert progress.begin("checking") == "4 of 4, about 4 s left"


def test_a_kind_that_comes_oftener_than_planned_is_no_negative_time() -> None:
    watch = Watch()
    progress = Progress({"exporting": 1, "checking": 1}, now=watch)
    for _ in range(3):
        progress.begin("exporting")
        watch.seconds += 5
    assert progress.seconds_left is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (119.4, "119 s"), (150, "2 minutes"), (7190, "120 minutes"), (9000, "2.5 hours")],
)
def test_times_are_as_exact_as_an_estimate_may_be(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Steps, Watch, StringIO]]:
    def made(quiet: bool = False, terminal: bool = False) -> tuple[Steps, Watch, StringIO]:
        drawn = StringIO()
        console = Console(file=drawn, force_terminal=terminal, width=100)
        monkeypatch.setattr(steps_module, "errors", console)
        watch = Watch()
        return Steps(quiet, console.status("starting"), watch), watch, drawn

    return made


Told = Callable[..., tuple[Steps, Watch, StringIO]]


def test_without_a_terminal_the_first_estimate_and_a_line_now_and_then_go_to_stderr(
    told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    tell, watch, _ = told()
    tell("asking", 0, 100)
    for done in range(1, 41):
        watch.seconds += 2
        tell("asking", done, 100)
    out, err = capsys.readouterr()
    assert out == "asking: 0 of 100\n"
    lines = err.splitlines()
    assert lines == [
        "asking: 1 of 100, about 3 minutes left",
        "asking: 17 of 100, about 3 minutes left",
        "asking: 33 of 100, about 2 minutes left",
    ]
    assert HEARTBEAT_SECONDS == 30
    assert all(line.isprintable() for line in lines), "no control characters"


def test_short_work_is_not_talked_about(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    tell, watch, _ = told()
    for done in range(6):
        tell("trying", done, 5)
        watch.seconds += 1
    assert capsys.readouterr() == ("trying: 0 of 5\n", "")


def test_whoever_wants_json_alone_is_told_nothing(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    tell, watch, _ = told(quiet=True)
    for done in range(100):
        watch.seconds += 60
        tell("asking", done, 100)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_the_step_under_way_and_no_lines(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    tell, watch, _ = told(terminal=True)
    tell("asking", 0, 100)
    watch.seconds += 60
    tell("asking", 1, 100)
    assert capsys.readouterr() == ("asking: 0 of 100\n", "")
    assert str(tell._status.status) == "asking: 1 of 100, about 99 minutes left"


def test_a_step_that_begins_again_counts_from_anew(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    tell, watch, _ = told()
    tell("trying a", 0, 3)
    watch.seconds += 50
    tell("trying a", 1, 3)
    tell("trying b", 0, 3)
    watch.seconds += 20
    tell("trying b", 1, 3)
    out, err = capsys.readouterr()
    assert out.splitlines() == ["trying a: 0 of 3", "trying b: 0 of 3"]
    assert err.splitlines() == ["trying a: 1 of 3, about 100 s left", "trying b: 1 of 3, about 40 s left"]
