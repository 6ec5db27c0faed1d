"""Arrays as parameters of a statement, in Postgres' binary format, without a loop of Python over the values.

An array is five 32-bit integers (number of dimensions, whether there are nulls, type of the elements, length, first
index), and then for each element its length as a 32-bit integer and its bytes. All integers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from psycopg import BaseConnection
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.rows import TupleRow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BYTEA, _BYTEA_ARRAY = 17, 1001
_INT8, _INT8_ARRAY = 20, 1016
_HEADER = struct.Struct(">iiiii")
_EMPTY_HEADER = struct.Struct(">iii")


class ByteArray:
    """A ``bytea[]``, encoded.

    Args:
        values: n byte strings, none of them None.
    """

    __slots__ = ("data",)

    def __init__(self, values: Sequence[bytes]):
        parts = chain.from_iterable(zip(map(_LENGTHS.__getitem__, map(len, values)), values, strict=True))
        self.data = _header(_BYTEA, len(values)) + b"".join(parts)


class IntegerArray:
    """An ``int8[]``, encoded.

    Args:
        values: int64[n].
    """

    __slots__ = ("data",)

    def __init__(self, values: npt.NDArray[np.int64]):
        import numpy as np  # Serving, which only reads, does not load numpy.

        elements = np.empty(len(values), np.dtype([("length", ">i4"), ("value", ">i8")]))
        elements["length"] = 8
        elements["value"] = values
        self.data = _header(_INT8, len(values)) + elements.tobytes()


def register(connection: BaseConnection[TupleRow]) -> None:
    """Makes a connection take these arrays as parameters."""
    connection.adapters.register_dumper(ByteArray, _ByteArrayDumper)
    connection.adapters.register_dumper(IntegerArray, _IntegerArrayDumper)


class _EncodedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: ByteArray | IntegerArray) -> bytes:
        return obj.data


class _ByteArrayDumper(_EncodedDumper):
    oid = _BYTEA_ARRAY


class _IntegerArrayDumper(_EncodedDumper):
    oid = _INT8_ARRAY


class _Lengths(dict[int, bytes]):
    """Lengths as 32-bit integers, each made once; most values of a table have one of a few lengths."""

    def __missing__(self, length: int) -> bytes:
        encoded = struct.pack(">i", length)
        if len(self) < 100_000:
            self[length] = encoded
        return encoded


_LENGTHS = _Lengths()


def _header(element_type: int, length: int) -> bytes:
    # An empty array has no dimensions.
    return _HEADER.pack(1, 0, element_type, length, 1) if length else _EMPTY_HEADER.pack(0, 0, element_type)
