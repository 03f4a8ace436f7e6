"""Why a picture is not read.

PictureError              (a SourceError) not read, damaged, or of values without a meaning
└── PictureTooLargeError  more pixels than allowed
"""

from __future__ import annotations

from stts_runtime.errors import SourceError


class PictureError(SourceError):
    """A picture that is not read; the message says why, and what is."""


class PictureTooLargeError(PictureError):
    """A picture with more pixels than allowed. It was not decoded."""
