"""Building: a checkpoint becomes a bundle."""

from stts_export.build.builder import build_bundle
from stts_export.build.request import BuildRequest

__all__ = ["BuildRequest", "build_bundle"]
