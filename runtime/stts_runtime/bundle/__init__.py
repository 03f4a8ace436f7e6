"""The bundle: the one folder that travels from the export host to the device."""

from stts_runtime.bundle.load import MANIFEST, Bundle
from stts_runtime.bundle.manifest import SCHEMA_VERSION, Manifest, VisionVariant

__all__ = ["MANIFEST", "SCHEMA_VERSION", "Bundle", "Manifest", "VisionVariant"]
