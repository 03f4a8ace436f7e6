"""Writes an SBOM (CycloneDX 1.6, JSON) of the versions in constraints.txt: scripts/sbom.py --out sbom.cdx.json

Needs nothing but Python. The lock is what the repository is tested with: more than any one extra installs. The same
lock gives the same file, so it has neither a time nor a serial number.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


def read_pins(lock: Path) -> list[tuple[str, str]]:
    """Names and versions. Raises `SystemExit` for a line that is neither a pin nor a comment."""
    pins = []
    for number, line in enumerate(lock.read_text().splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        found = _PIN.fullmatch(text)
        if not found:
            raise SystemExit(f"error: {lock.name}, line {number}: {text!r} should be NAME==VERSION")
        pins.append((found[1], found[2]))
    return pins


def bill(pins: list[tuple[str, str]], version: str) -> dict[str, object]:
    """`version` is that of stts-export itself."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**_component("stts-export", version), "type": "application"}},
        "components": [_component(name, pin) for name, pin in pins],
    }


def project_version() -> str:
    found = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    if not found:
        raise SystemExit("error: pyproject.toml has no version")
    return found[1]


def _component(name: str, version: str) -> dict[str, str]:
    """Package URLs name projects of PyPI as PEP 503 does, and know a local version's + as %2B."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    package_url = f"pkg:pypi/{normal}@{version.replace('+', '%2B')}"
    return {"type": "library", "bom-ref": package_url, "name": name, "version": version, "purl": package_url}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", type=Path, default=ROOT / "constraints.txt")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    text = json.dumps(bill(read_pins(given.lock), project_version()), indent=2)
    half = given.out.with_name(f".{given.out.name}.part")
    half.write_text(f"{text}\n")
    half.replace(given.out)


if __name__ == "__main__":
    main()
