"""Live sources against real streams that are broken on purpose. `-s` shows the table; see tests/fault_lab."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from rich.console import Console

from tests.fault_lab.faults import FAULTS, Fault, Finding
from tests.fault_lab.server import HOW_TO_INSTALL, is_installed
from tests.fault_lab.table import show, write


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Finding]]:
    if not is_installed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW_TO_INSTALL)
    found: dict[str, Finding] = {}
    yield found
    path = tmp_path_factory.mktemp("fault-lab") / "fault-lab.json"
    write(found, path)
    console = Console(width=160)
    show(found, console)
    console.print(path)


def _children(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if child.name() == "gst-launch-1.0"]


@pytest.mark.usefixtures("findings")
def test_a_pipeline_that_is_silent_ends_with_the_program_even_if_it_is_killed() -> None:
    """Silent, so that it does not notice by itself that nobody reads it."""
    code = (
        "import time\nfrom stts_runtime.sources import open_source\n"
        "source = open_source('gst:videotestsrc is-live=true ! video/x-raw,framerate=1/100')\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": "runtime"}) as program:
        process, began = psutil.Process(program.pid), time.monotonic()
        while not (children := _children(process)):
            assert time.monotonic() - began < 10
            time.sleep(0.05)
        program.kill()
    _, alive = psutil.wait_procs(children, timeout=3)
    assert not alive


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_each_fault_is_named_and_overcome(fault: Fault, findings: dict[str, Finding]) -> None:
    findings[fault.name] = fault.run()
    fault.check(findings[fault.name])
