"""Arrays in one .npz file that may come from anybody: nothing is read before its name, type and shape are right.

numpy's own reader would allocate whatever a header claims. This one knows beforehand what there has to be.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from stts_runtime.errors import BundleError
from stts_runtime.handed_over import check_is_content
from stts_runtime.outputs import written_whole
from stts_runtime.places import check_file

MAX_BYTES = 8 << 30
"""Largest file that is read; whole references of large models have gigabytes."""
_MAX_HEADER_BYTES = 1 << 12
_SUFFIX = ".npy"
_FOREIGN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError)
"""What `zipfile` and numpy raise for what they cannot read."""


class Spec(NamedTuple):
    """What an array has to be."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype.name} {self.shape}"


Specs = Mapping[str, Spec]


class ArrayFile:
    """An .npz file, opened again for every read."""

    def __init__(self, path: Path) -> None:
        """Raises `BundleError` if there is no such file, or it is larger than any of ours."""
        self.path = path
        check_file(path, BundleError, "a reference, .npz")
        check_is_content(path, BundleError)
        if path.stat().st_size > MAX_BYTES:
            raise BundleError(f"{path} is larger than any reference ({MAX_BYTES >> 30} GB); is it one?")

    def check(self, specs: Specs, besides: str) -> None:
        """Raises `BundleError` unless the file holds these arrays and the one `besides`; reads their headers alone."""
        odd = sorted((self._names() - {besides}) ^ specs.keys())
        if odd:
            state = "lacks" if odd[0] in specs else "holds an unknown"
            raise BundleError(f"{self.path} is damaged, or of another bundle: it {state} {odd[0]!r}")
        with self._members() as members:
            for name, spec in specs.items():
                with members.open(name + _SUFFIX) as member:
                    self._check_header(name, cast("BinaryIO", member), spec)

    def read(self, name: str, spec: Spec) -> NDArray[Any]:
        """Raises `BundleError` unless it is as `spec` says."""
        with self._members() as members, members.open(name + _SUFFIX) as member:
            self._check_header(name, cast("BinaryIO", member), spec)
            content = member.read(spec.size_bytes)
            if len(content) != spec.size_bytes:
                raise ValueError(f"{name} ends too early")
            return np.frombuffer(content, dtype=spec.dtype).reshape(spec.shape)

    def read_bytes(self, name: str, most: int) -> bytes:
        """An array of bytes of any length up to `most`."""
        with self._members() as members, members.open(name + _SUFFIX) as member:
            shape, dtype = _header(cast("BinaryIO", member))
            if dtype != np.uint8 or len(shape) != 1 or shape[0] > most:
                raise ValueError(f"{name} is no text")
            return member.read(shape[0])

    def _names(self) -> set[str]:
        with self._members() as members:
            return {name.removesuffix(_SUFFIX) for name in members.namelist()}

    def _check_header(self, name: str, member: BinaryIO, spec: Spec) -> None:
        shape, dtype = _header(member)
        if (shape, dtype) != (spec.shape, spec.dtype):
            raise BundleError(
                f"{self.path} is damaged, or of another bundle: {name} is {Spec(dtype, shape)} and should be {spec}"
            )

    @contextmanager
    def _members(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as members:
                yield members
        except KeyError as error:
            raise BundleError(f"{self.path} is not a reference, or is damaged: {error.args[0]}") from None
        except OSError as error:
            raise BundleError(f"{self.path} cannot be read: {error.strerror or error}") from None
        except _FOREIGN as error:
            raise BundleError(f"{self.path} is not a reference, or is damaged: {error}") from None


def _header(member: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Raises ValueError if there is none."""
    version = npy.read_magic(member)
    if version != (1, 0):
        raise ValueError(f"an array in version {version} of numpy's format")
    shape, by_column, dtype = npy.read_array_header_1_0(member, max_header_size=_MAX_HEADER_BYTES)
    if by_column and len(shape) > 1:
        raise ValueError("an array by columns")
    return shape, dtype


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes the file whole or not at all."""
    with written_whole(path) as scratch, scratch.open("wb") as file:
        plain: dict[str, Any] = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        np.savez_compressed(file, **plain)
