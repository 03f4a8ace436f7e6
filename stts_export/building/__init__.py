"""Building: a checkpoint becomes a bundle."""

from stts_export.building.builder import build_bundle
from stts_export.building.request import BuildRequest

__all__ = ["BuildRequest", "build_bundle"]
