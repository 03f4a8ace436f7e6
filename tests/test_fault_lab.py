"""Live sources against real streams that are broken on purpose. `-s` shows the table; see tests/fault_lab."""

from __future__ import annotations

import os
from collections.abc import Iterator

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


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_each_fault_is_named_and_overcome(fault: Fault, findings: dict[str, Finding]) -> None:
    findings[fault.name] = fault.run()
    fault.check(findings[fault.name])
