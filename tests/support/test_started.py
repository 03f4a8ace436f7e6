"""Programs of tests that say nothing, end, or leave something behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.served import announced_in
from tests.support.started import line_with, started

SILENT = "import time; print('ready\\nsome words', flush=True); time.sleep(600)"
# Its child is nobody's by the time that it says so.
LEAVES_ONE = """
import os, subprocess, sys, time
one = subprocess.Popen([sys.executable, '-c', "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid)"],
                       stdout=subprocess.PIPE, text=True)
print('left', one.stdout.readline(), flush=True)
time.sleep(600)
"""


def test_what_never_comes_is_a_failure_with_what_was_said() -> None:
    with started([sys.executable, "-c", SILENT], stdout=subprocess.PIPE) as process:
        line_with("ready", process.stdout)
        with pytest.raises(pytest.fail.Exception, match=r"(?s)did not say 'page' in 0\.2 s.*some words"):
            line_with("page", process.stdout, seconds=0.2)
    assert process.returncode == -9


def test_a_program_that_ended_is_not_waited_for() -> None:
    with (
        started([sys.executable, "-c", "print('no room')"], stdout=subprocess.PIPE) as process,
        pytest.raises(pytest.fail.Exception, match=r"(?s)it ended and never said 'page'.*no room"),
    ):
        line_with("page", process.stdout)


def test_who_reads_on_misses_nothing() -> None:
    with started([sys.executable, "-c", "print('a\\npage: 1\\nb\\nc')"], stdout=subprocess.PIPE) as process:
        assert line_with(r"page: (\d)", process.stdout)[1] == "1"
        assert process.communicate(timeout=60)[0] == "b\nc\n"


def test_nothing_outlives_it() -> None:
    with started([sys.executable, "-c", LEAVES_ONE], stdout=subprocess.PIPE) as process:
        left = psutil.Process(int(line_with(r"left (\d+)", process.stdout)[1]))
        assert left.ppid() != process.pid
    assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE


def test_an_address_that_is_never_said_is_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("loading\n")
    with (
        started([sys.executable, "-c", SILENT], stdout=subprocess.PIPE) as process,
        pytest.raises(pytest.fail.Exception, match=r"(?s)no address was said in 0\.2 s, it goes on.*loading"),
    ):
        announced_in(log, process, seconds=0.2)
