"""Compiled engines of a bundle: each is in `engines/` next to a passport that says where it may be used."""

from stts_runtime.passports.check import check_device, check_installed, check_passport, verified_engines
from stts_runtime.passports.passport import Inspected, Lengths, Passport
from stts_runtime.passports.store import EngineStore

__all__ = [
    "EngineStore",
    "Inspected",
    "Lengths",
    "Passport",
    "check_device",
    "check_installed",
    "check_passport",
    "verified_engines",
]
