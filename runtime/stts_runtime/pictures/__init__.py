"""Still pictures in: from a file's bytes to upright BGR."""

from stts_runtime.pictures.errors import PictureError, PictureTooLargeError
from stts_runtime.pictures.formats import FORMATS, NAMES, SUFFIXES, format_of, name_of_other
from stts_runtime.pictures.read import is_animated, read_picture

__all__ = [
    "FORMATS",
    "NAMES",
    "SUFFIXES",
    "PictureError",
    "PictureTooLargeError",
    "format_of",
    "is_animated",
    "name_of_other",
    "read_picture",
]
