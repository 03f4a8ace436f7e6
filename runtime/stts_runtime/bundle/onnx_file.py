"""What an ONNX file says of its nodes and constants, read without onnx: names, numbers and arrays.

Source of the format: onnx.proto, and Protocol Buffers' wire format (varints, lengths, little-endian numbers). A file is
untrusted: whatever is not as the format has it raises `BundleError`, and nothing in it is run.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.errors import BundleError

_GRAPH_OF_MODEL = 7
_NODE, _INITIALIZER = 1, 5
_INPUT, _OUTPUT, _TYPE, _ATTRIBUTE = 1, 2, 4, 5
_NAME, _FLOAT, _INTEGER = 1, 2, 3
_DIMENSIONS, _ELEMENT, _TENSOR_NAME, _RAW = 1, 2, 8, 9
_BFLOAT16 = 16
_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    10: np.dtype(np.float16),
    _BFLOAT16: np.dtype(np.uint16),
}
"""By number of onnx.proto, as they are stored."""
_SIGN = 1 << 63

_Field = tuple[int, "int | bytes"]


@dataclass(frozen=True)
class Node:
    """An operator: names of its tensors, and the attributes that are numbers."""

    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, float | int]


@dataclass(frozen=True)
class OnnxFile:
    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    """Initializers whose values are in the file itself; bfloat16 as float32."""


def read_onnx(path: Path) -> OnnxFile:
    """Raises `BundleError` for a file that is not as the format has it."""
    try:
        graph = next(_bytes(value) for number, value in _fields(path.read_bytes()) if number == _GRAPH_OF_MODEL)
        fields = list(_fields(graph))
        nodes = tuple(_node(_bytes(value)) for number, value in fields if number == _NODE)
        constants = dict(_constants(_bytes(value) for number, value in fields if number == _INITIALIZER))
    except (IndexError, KeyError, StopIteration, TypeError, ValueError, struct.error) as error:
        raise BundleError(f"{path} is damaged: it is not an ONNX file ({error})") from None
    return OnnxFile(nodes, constants)


def _fields(message: bytes) -> Iterator[_Field]:
    """Numbers and values: integers, or bytes of what has a length; 32 and 64 bits come as bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == 2:
            size, place = _varint(message, place)
        else:
            size = {1: 8, 5: 4}.get(kind, -1)
        if size < 0 or place + size > len(message):
            raise ValueError("a field is longer than the file")
        yield number, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number is too long")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number where text should be")
    return value


def _integer(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise TypeError("text where a number should be")
    return value - 2 * _SIGN if value & _SIGN else value


def _node(message: bytes) -> Node:
    names: dict[int, list[str]] = {_INPUT: [], _OUTPUT: [], _TYPE: []}
    attributes: dict[str, float | int] = {}
    for number, value in _fields(message):
        if number in names:
            names[number].append(_bytes(value).decode())
        elif number == _ATTRIBUTE:
            attributes |= _attribute(_bytes(value))
    return Node(names[_TYPE][0], tuple(names[_INPUT]), tuple(names[_OUTPUT]), attributes)


def _attribute(message: bytes) -> dict[str, float | int]:
    fields = dict(_fields(message))
    name = _bytes(fields[_NAME]).decode() if _NAME in fields else ""
    if _FLOAT in fields:
        return {name: struct.unpack("<f", _bytes(fields[_FLOAT]))[0]}
    return {name: _integer(fields[_INTEGER])} if _INTEGER in fields else {}


def _constants(messages: Iterator[bytes]) -> Iterator[tuple[str, NDArray[Any]]]:
    for message in messages:
        fields = list(_fields(message))
        single = dict(fields)
        if _RAW not in single:
            continue
        shape = tuple(_dimensions(fields))
        name, raw, element = _bytes(single[_TENSOR_NAME]).decode(), _bytes(single[_RAW]), single[_ELEMENT]
        dtype = _DTYPES.get(_integer(element))
        if dtype is None:
            continue
        if prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"{name} has {len(raw)} bytes, and its shape is {shape}")
        values = np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape)
        yield name, (values.astype(np.uint32) << 16).view(np.float32) if element == _BFLOAT16 else values


def _dimensions(fields: list[_Field]) -> Iterator[int]:
    """One by one, or packed."""
    for number, value in fields:
        if number != _DIMENSIONS:
            continue
        if isinstance(value, int):
            yield value
            continue
        place = 0
        while place < len(value):
            one, place = _varint(value, place)
            yield one
