"""How payloads of one schema are read: compiled once for the features of a request, then run for each of its kind.

A compiled `struct.Struct` skips the other features and unpacks a row in one call, and ``zip`` turns rows into columns.
For the few rows of a request that is as fast as numpy can be, for thousands half as fast, and serving need not load it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from operator import le
from typing import Any, Protocol

from feast_assets.online_stores.rows.schema import (
    ID_WIDTH,
    STRUCT_CODES,
    STRUCT_END_CODE,
    Kind,
    RowSchema,
    kind_of,
)
from feast_assets.online_stores.rows.stored_values import Reader, reader, stored_reader
from feast_assets.types.feast_type import Array, FeastType, Float32, Float64, Int32, Int64, Set

# Types whose every value another type holds exactly.
_WIDER: dict[FeastType, frozenset[FeastType]] = {
    Int32: frozenset((Int64, Float64)),
    Float32: frozenset((Float64,)),
}

_Slots = list[tuple[Any, ...]]


class PayloadError(ValueError):
    """A payload is damaged.

    Attributes:
        at: which of the payloads.
    """

    def __init__(self, at: int, why: str):
        super().__init__(why)
        self.at = at


def reads_as(stored: FeastType, target: FeastType) -> bool:
    """Says whether values stored as one type can be read as another: the same, wider, or other kinds of bytes."""
    if stored == target or target in _WIDER.get(stored, ()):
        return True
    if isinstance(stored, (Array, Set)) and isinstance(target, (Array, Set)) and type(stored) is type(target):
        return kind_of(stored) is Kind.VECTOR and target.base_type in _WIDER.get(stored.base_type, ())
    return kind_of(stored) is Kind.BYTES and kind_of(target) is Kind.BYTES


class ValueLayout(Protocol):
    """How the values of a block become Python values; see `RowLayout`."""

    bits: Sequence[int | None]
    readers: Sequence[Reader | None]
    stored_readers: Sequence[Reader | None]
    plain: Sequence[bool]
    all_plain: bool


@dataclass(slots=True)
class Block:
    """The features that were read of payloads of one schema.

    Attributes:
        layout: how they were read.
        rows: how many payloads there were.
        columns: per feature, one stored value per payload (a number, or bytes), None where null. None for a feature
            that the schema lacks.
        nulls: bit of a feature -> the rows where it is null; only features with nulls.
    """

    layout: ValueLayout
    rows: int
    columns: Sequence[Sequence[object] | None]
    nulls: dict[int, list[int]]


class RowLayout:
    """Reads some features of payloads of one schema. Holds no state between calls.

    Attributes:
        bits: of each feature, its bit in the null bitmap as a little-endian number; None where the schema lacks
            it, or has it in a type that cannot be read as the type asked for.
        readers: of each, the function from a stored value to the Python value; None where they are the same.
        stored_readers: the same, to what `feast_assets.types.storage` holds.
        plain: of each, whether it is there and its stored values are the Python values; all_plain: of all.
    """

    def __init__(self, schema: RowSchema, fields: Sequence[tuple[str, FeastType]], offset: int = 0):
        """Compiles the layout.

        Args:
            fields: names and types of the features to read.
            offset: of each payload in the bytes that `read` is given.
        """
        indices = [_index_of(schema, name, feast_type) for name, feast_type in fields]
        previous = dict(zip(schema.variable[1:], schema.variable, strict=False))
        needed = {index for index in indices if index is not None}
        needed |= {previous[index] for index in needed if index in previous}
        # Where the last one ends says how long a payload is.
        needed.update(schema.variable[-1:])
        slots = {index: slot for slot, index in enumerate(sorted(needed))}

        self._struct = struct.Struct(_format(schema, needed, offset))
        self._ends = [slots[index] for index in schema.variable if index in needed]
        # What a row begins with, and one in which nothing is null.
        self._id = schema.schema_id.to_bytes(ID_WIDTH, "little")
        self._no_nulls = self._id + bytes(schema.bitmap_width)
        self._slots = [None if index is None else slots[index] for index in indices]
        self._in_order = self._slots == list(range(len(slots)))
        # The features with bytes in the variable part, and the slots with their starts (None: the very first)
        # and their ends.
        self._variable = [
            (number, slots[previous[index]] if index in previous else None, slots[index])
            for number, index in enumerate(indices)
            if index is not None and schema.kinds[index] is not Kind.FIXED
        ]
        self.bits: Sequence[int | None] = [None if index is None else 1 << index for index in indices]
        self._field_bits = sum({bit for bit in self.bits if bit is not None})
        readers: list[Reader | None] = []
        stored_readers: list[Reader | None] = []
        for index, (_, feast_type) in zip(indices, fields, strict=True):
            stored = None if index is None else schema.fields[index][1]
            readers.append(None if stored is None else reader(stored, feast_type))
            stored_readers.append(None if stored is None else stored_reader(stored))
        self.readers: Sequence[Reader | None] = readers
        self.stored_readers: Sequence[Reader | None] = stored_readers
        self.plain: Sequence[bool] = [
            index is not None and read is None for index, read in zip(indices, readers, strict=True)
        ]
        self.all_plain = all(self.plain)

    def read(self, payloads: Sequence[bytes]) -> Block:
        """Returns the features of one or more payloads.

        Raises:
            PayloadError: a payload is damaged, or of another schema.
        """
        unpack: Callable[[bytes], tuple[object, ...]] = self._struct.unpack_from if self._ends else self._struct.unpack
        try:
            heads, *slots = zip(*map(unpack, payloads), strict=True)
        except struct.error:
            raise self._of_wrong_length(payloads) from None
        null_rows = {} if heads.count(self._no_nulls) == len(heads) else self._null_rows(heads)
        if self._ends:
            self._check_ends(payloads, slots)
        columns: list[Sequence[object] | None]
        columns = [*slots] if self._in_order else [None if slot is None else slots[slot] for slot in self._slots]
        for number, start, end in self._variable:
            columns[number] = self._slices(payloads, repeat(0) if start is None else slots[start], slots[end])
        if null_rows:
            for number, bit in enumerate(self.bits):
                if bit in null_rows:
                    columns[number] = with_nulls = list(columns[number] or ())
                    for row in null_rows[bit]:
                        with_nulls[row] = None
        return Block(self, len(payloads), columns, null_rows)

    def _slices(self, payloads: Sequence[bytes], starts: Iterable[int], ends: Iterable[int]) -> list[bytes]:
        base = self._struct.size
        return [payload[base + a : base + b] for payload, a, b in zip(payloads, starts, ends, strict=False)]

    def _null_rows(self, heads: Sequence[bytes]) -> dict[int, list[int]]:
        """Returns the rows where each feature is null; the work grows with the number of nulls."""
        null_rows: dict[int, list[int]] = {}
        no_nulls, field_bits = self._no_nulls, self._field_bits
        for row, head in enumerate(heads):
            if head != no_nulls:
                if not head.startswith(self._id):
                    raise PayloadError(row, "it names another schema")
                left = int.from_bytes(head[ID_WIDTH:], "little") & field_bits
                while left:
                    lowest = left & -left
                    null_rows.setdefault(lowest, []).append(row)
                    left ^= lowest
        return null_rows

    def _check_ends(self, payloads: Sequence[bytes], slots: _Slots) -> None:
        base = self._struct.size
        for start, end in pairwise(self._ends):
            if not all(map(le, slots[start], slots[end])):
                at = next(i for i, (a, b) in enumerate(zip(slots[start], slots[end], strict=True)) if a > b)
                raise PayloadError(at, "its fields overlap")
        lengths = [base + end for end in slots[self._ends[-1]]]
        if lengths != list(map(len, payloads)):
            at, payload, needed = next(
                (i, payload, length)
                for i, (payload, length) in enumerate(zip(payloads, lengths, strict=True))
                if len(payload) != length
            )
            raise PayloadError(at, f"it has {len(payload)} bytes where its content needs {needed}")

    def _of_wrong_length(self, payloads: Sequence[bytes]) -> PayloadError:
        width = self._struct.size
        if self._ends:
            at = next(i for i, payload in enumerate(payloads) if len(payload) < width)
            return PayloadError(at, f"it has {len(payloads[at])} of at least {width} bytes")
        at = next(i for i, payload in enumerate(payloads) if len(payload) != width)
        return PayloadError(at, f"it has {len(payloads[at])} bytes where its content needs {width}")


def _index_of(schema: RowSchema, name: str, target: FeastType) -> int | None:
    index = schema.indices.get(name)
    return index if index is not None and reads_as(schema.fields[index][1], target) else None


def _format(schema: RowSchema, needed: set[int], offset: int) -> str:
    codes = [f"<{offset}x{ID_WIDTH + schema.bitmap_width}s"]
    for index, (_, feast_type) in enumerate(schema.fields):
        code = STRUCT_CODES.get(feast_type, STRUCT_END_CODE)
        codes.append(code if index in needed else f"{struct.calcsize('<' + code)}x")
    return "".join(codes)
