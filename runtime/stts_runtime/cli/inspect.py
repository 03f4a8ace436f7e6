"""`stts-runtime inspect`: what a bundle holds, every hash verified."""

from __future__ import annotations

import json

from stts_runtime.bundle import Bundle
from stts_runtime.cli.options import BundleArgument, JsonOption
from stts_runtime.cli.show import show_bundle
from stts_runtime.passports import verified_engines


def inspect_command(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Verifies every file of a bundle, compiled engines included, and shows what it holds."""
    opened = Bundle.open(bundle)
    opened.verify_all()
    engines = verified_engines(opened)
    if as_json:
        passports = [passport.model_dump() for passport in engines]
        print(
            json.dumps({"bundle": str(bundle), "verified": True, **opened.manifest.model_dump(), "engines": passports})
        )
    else:
        show_bundle(opened, engines)
