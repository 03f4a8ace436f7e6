"""The SBOM holds what the lock holds, and refuses a lock that pins nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import sbom
from tests.support.places import ROOT


def test_every_pin_of_the_lock_is_a_component_with_a_package_url() -> None:
    pins = sbom.read_pins(ROOT / "constraints.txt")
    components = sbom.bill(pins, sbom.project_version())["components"]
    assert isinstance(components, list)
    urls = {component["name"]: component["purl"] for component in components}
    assert urls.keys() == dict(pins).keys()
    assert urls["ml_dtypes"] == f"pkg:pypi/ml-dtypes@{dict(pins)['ml_dtypes']}"


def test_a_line_without_a_version_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("# a comment\nnumpy>=1\n")
    with pytest.raises(SystemExit, match="line 2"):
        sbom.read_pins(lock)
