"""Whether an engine may be loaded here: every mismatch is one sentence, with the command that makes it right.

All of it happens before TensorRT sees a byte of the engine. The order is from what can be told anywhere (the bundle,
the software) to what only the device can tell.
"""

from __future__ import annotations

from pathlib import Path

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, FlavourName
from stts_runtime.device import Device
from stts_runtime.errors import BundleError
from stts_runtime.passports.passport import Passport
from stts_runtime.passports.store import EngineStore, again
from stts_runtime.tensorrt import Flavour


def check_passport(bundle: Bundle, part: str, flavour: FlavourName, passport: Passport) -> None:
    """Raises `BundleError` unless the engine was compiled from this bundle's graph of this part."""
    what, command = _named(passport, part), again(bundle.folder, part, flavour, passport.architectures)
    if (passport.part, passport.flavour) != (part, flavour):
        raise BundleError(
            f"{what} has the passport of another, {passport.part} for {passport.flavour}: files in "
            f"{bundle.folder}/engines were renamed; compile it again: {command}"
        )
    graph = bundle.manifest.parts()[part].get(passport.lowering)
    if graph is None:
        raise BundleError(
            f"{what} was compiled from a graph for {passport.lowering}, which this bundle does not have; compile it "
            f"again: {command}"
        )
    if (passport.precision, passport.wide) != (graph.precision, graph.wide):
        raise BundleError(
            f"{what} computes in {_formats(passport.precision, passport.wide)} and the bundle's graph in "
            f"{_formats(graph.precision, graph.wide)}; compile it again: {command}"
        )
    files = bundle.manifest.files
    if passport.graph_sha256 != files[graph.graph].sha256:
        raise BundleError(
            f"{what} was compiled from another version of {graph.graph}: the bundle has been rebuilt since; compile it "
            f"again: {command}"
        )
    if passport.weights_sha256 != files[graph.weights].sha256:
        raise BundleError(
            f"{what} holds other weights than {graph.weights}: the bundle has been rebuilt since; compile it again: "
            f"{command}"
        )
    longest = passport.lengths.longest if passport.lengths else None
    if part == LANGUAGE and longest != bundle.manifest.language.context:
        raise BundleError(
            f"{what} takes up to {longest} tokens at once and the bundle's context is "
            f"{bundle.manifest.language.context}; compile it again: {command}"
        )


def verified_engines(bundle: Bundle) -> list[Passport]:
    """Passports of all engines of the bundle; each belongs to it and to the engine next to it.

    Raises `BundleError` otherwise. Whether they suit this device is not asked.
    """
    store, passports = EngineStore(bundle.folder), []
    for part, flavour in store.engines(bundle.manifest.parts()):
        passport = store.read(part, flavour)
        check_passport(bundle, part, flavour, passport)
        store.plan(passport)
        passports.append(passport)
    return passports


def check_installed(bundle: Path, passport: Passport, flavour: Flavour, platform: str) -> None:
    """Raises `BundleError` unless the engine was made for this version and this kind of system."""
    what, command = _named(passport, passport.part), _again(bundle, passport)
    if passport.version != flavour.version:
        raise BundleError(
            f"{what} was compiled with {passport.flavour} {passport.version} and {flavour.version} is installed, which "
            f"cannot load it; compile it again: {command}"
        )
    if passport.platform != platform:
        raise BundleError(
            f"{what} was compiled on {passport.platform} and this is {platform}; compile it here: {command}"
        )


def check_device(bundle: Path, passport: Passport, device: Device) -> None:
    """Raises `BundleError` unless the engine was made for this GPU and what drives it."""
    what, command = _named(passport, passport.part), _again(bundle, passport)
    if device.gpu is None:
        raise BundleError(
            f"{what} needs an NVIDIA GPU, and there is none here ({device.no_gpu_because}); `--engine cpu` runs "
            "without one where the bundle has graphs for it"
        )
    if device.gpu.architecture not in passport.architectures:
        raise BundleError(
            f"{what} was compiled for {', '.join(passport.architectures)} and this GPU, {device.gpu.name}, is "
            f"{device.gpu.architecture}; compile it for this one: {again(bundle, passport.part, passport.flavour)}"
        )
    if passport.l4t is not None and passport.l4t != device.l4t:
        raise BundleError(
            f"{what} was compiled under Jetson Linux {passport.l4t} and this is {device.l4t or 'not a Jetson'}; "
            f"compile it again: {command}"
        )
    if passport.driver and device.driver and _major(device.driver) < _major(passport.driver):
        raise BundleError(
            f"{what} was compiled under driver {passport.driver} and this is the older {device.driver}; update the "
            f"driver, or compile it again: {command}"
        )


def _again(bundle: Path, passport: Passport) -> str:
    return again(bundle, passport.part, passport.flavour, passport.architectures)


def _named(passport: Passport, part: str) -> str:
    return f"the {passport.flavour} engine of {part}"


def _formats(precision: str, wide: list[str]) -> str:
    return precision + (f" with bf16 in {', '.join(wide)}" if wide else "")


def _major(version: str) -> int:
    digits = version.split(".", maxsplit=1)[0]
    return int(digits) if digits.isdigit() else 0
