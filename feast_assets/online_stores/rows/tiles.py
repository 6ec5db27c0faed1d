"""Tiles in the online store: all tiles that an entity's windows need, in one row, and reading windows out of them.

The row has one field, `TILES`, with these bytes, all little-endian:

* uint8 format, uint32 layout (the first of `WindowAggregates.layout`), then uint32 for each level: how many tiles it
  has; then uint32 for each state without a fixed size, level by level: how many bytes it takes;
* for each level int64 numbers of the hops, ascending, then for each state of eight bytes its values (int64 or float64);
* for each state without a fixed size JSON text: a list with an item for each tile.

Serving imports this, so nothing here needs numpy or Arrow.
"""

from __future__ import annotations

import json
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from math import fsum, isfinite, sqrt
from typing import Any

from feast_assets.definitions.window_aggregates import FIXED, TileLevel, TileState, WindowAggregates, WindowFeature
from feast_assets.online_stores.base import StoredRows
from feast_assets.online_stores.rows.column import DecodedRows
from feast_assets.online_stores.rows.decoder import RowDecoder
from feast_assets.online_stores.rows.layout import Block
from feast_assets.online_stores.rows.schema import ID_WIDTH, RowSchema
from feast_assets.online_stores.rows.stored_values import Reader
from feast_assets.types.feast_type import Bytes, FeastType
from feast_assets.types.python import converter, is_mutable

TILES = RowSchema((("__tiles", Bytes),))
"""The schema of the rows of views with aggregations."""

_FORMAT = 1
_LEAST, _MOST = -(2**63), 2**63 - 1
"""What a sum of integers is between; another one is null, in history too."""
_ROW_BEGIN = TILES.schema_id.to_bytes(ID_WIDTH, "little") + bytes(TILES.bitmap_width)
"""How a row with tiles begins; then come the length of the tiles, uint32, and the tiles."""
_Values = Sequence[Any]


class TileError(ValueError):
    """The bytes are not tiles of this layout."""


_DAMAGE = (TileError, ArithmeticError, LookupError, TypeError)
"""What reading damaged tiles may raise."""


class TileLayout:
    """How the tiles of a view lie in its rows."""

    def __init__(self, aggregates: WindowAggregates):
        self.aggregates = aggregates
        self.levels = aggregates.levels
        self.fixed = [tuple(s for s in level.states if s.kind in FIXED) for level in self.levels]
        self.texts = [tuple(s for s in level.states if s.kind not in FIXED) for level in self.levels]
        self._id = int(aggregates.layout[:8], 16)
        self._head = struct.Struct(f"<BI{len(self.levels)}I{sum(map(len, self.texts))}I")

    def pack(self, counts: Sequence[int], numbers: Sequence[bytes], texts: Sequence[bytes]) -> bytes:
        """Returns tiles as bytes.

        Args:
            counts: how many tiles each level has.
            numbers: for each level the numbers of its hops, then its states of eight bytes.
            texts: for each level its states without a fixed size.
        """
        head = self._head.pack(_FORMAT, self._id, *counts, *map(len, texts))
        return b"".join((head, *numbers, *texts))

    def sections(self, data: bytes) -> tuple[Sequence[int], list[int], list[tuple[int, int]]]:
        """Returns how many tiles each level has, where each begins, and where each state without a fixed size lies.

        Raises:
            TileError: the bytes are cut off, or of another layout or format.
        """
        try:
            written, layout, *lengths = self._head.unpack_from(data)
        except struct.error as error:
            raise TileError("its tiles are cut off") from error
        if written != _FORMAT or layout != self._id:
            raise TileError("its tiles are of another definition, or of a newer version of feast-assets")
        counts = lengths[: len(self.levels)]
        at, starts, slots = self._head.size, [], []
        for count, fixed in zip(counts, self.fixed, strict=True):
            starts.append(at)
            at += 8 * count * (1 + len(fixed))
        for length in lengths[len(self.levels) :]:
            slots.append((at, at + length))
            at += length
        if at != len(data):
            raise TileError(f"its tiles have {len(data)} bytes where their content needs {at}")
        return counts, starts, slots

    def hops(self, data: bytes) -> list[_Values]:
        """Returns the numbers of the hops that each level has tiles of."""
        counts, starts, _ = self.sections(data)
        return [_numbers(count, "q").unpack_from(data, start) for count, start in zip(counts, starts, strict=True)]


@lru_cache(maxsize=4096)
def _numbers(count: int, codes: str) -> struct.Struct:
    """Returns the layout of so many values of each code."""
    return struct.Struct("<" + "".join(f"{count}{code}" for code in codes))


_Merge = Callable[[Sequence[_Values], int, int, Sequence[int], int, int], Any]
"""Takes the states of a level, the first and the last tile that count (that one excluded), the places of the function's
states, how many values there are, and the number in the function's name."""


@dataclass(slots=True)
class _Step:
    """What is computed of one column in one window: the frequent functions together, as most views have several.

    Attributes:
        window: which of the level's windows.
        count: the place of the count of values.
        sum, min, max: the places of these states; -1 where they are not read.
        whole: whether the sum is an integer.
        of_count, of_sum, of_mean, of_min, of_max: the positions of the features; -1 where they are not asked for.
        rest: further features: the position, the function, the places of its states, and the number in its name.
    """

    window: int
    count: int
    sum: int = -1
    min: int = -1
    max: int = -1
    whole: bool = False
    of_count: int = -1
    of_sum: int = -1
    of_mean: int = -1
    of_min: int = -1
    of_max: int = -1
    rest: list[tuple[int, _Merge, tuple[int, ...], int]] = field(default_factory=list)

    def add(self, position: int, kind: str, slots: tuple[int, ...], number: int, *, whole: bool) -> None:
        """Adds a feature."""
        name = f"of_{kind}"
        if getattr(self, name, 0) != -1:
            self.rest.append(
                (position, (_MERGES_OF_INTEGERS if whole else _MERGES).get(kind) or _MERGES[kind], slots, number)
            )
            return
        setattr(self, name, position)
        if kind != "count":
            setattr(self, "sum" if kind == "mean" else kind, slots[1])
        if kind in ("sum", "mean"):
            self.whole = whole

    def run(self, states: Sequence[_Values], first: int, end: int, values: list[Any]) -> None:
        """Computes the features of the tiles from one up to another."""
        count = sum(states[self.count][first:end])
        if not count:
            return
        if self.of_count >= 0:
            values[self.of_count] = count
        if self.sum >= 0:
            of = states[self.sum][first:end]
            try:
                total = sum(of) if self.whole else fsum(of)
            except (OverflowError, ValueError):
                total = _float_sum(of)
            if self.of_sum >= 0 and not (self.whole and not _LEAST <= total <= _MOST):
                values[self.of_sum] = total
            if self.of_mean >= 0:
                values[self.of_mean] = total / count
        if self.min >= 0:
            values[self.of_min] = min(states[self.min][first:end])
        if self.max >= 0:
            values[self.of_max] = max(states[self.max][first:end])
        for position, merge, slots, number in self.rest:
            values[position] = merge(states, first, end, slots, count, number)


@dataclass(frozen=True, slots=True)
class _LevelPlan:
    """What is read of the tiles of one level.

    Attributes:
        number: which level.
        hop: microseconds.
        codes: struct's codes of the numbers of the hops and of all states of eight bytes.
        numbers: the places among these of the states that are read.
        texts: the states without a fixed size that are read: their places among those of all levels.
        lengths: of the windows, microseconds.
        steps: one for each column and window.
    """

    number: int
    hop: int
    codes: str
    numbers: tuple[int, ...]
    texts: tuple[int, ...]
    lengths: tuple[int, ...]
    steps: tuple[_Step, ...]


class WindowReader:
    """Reads features of windows out of rows. Safe to share between threads.

    Args:
        aggregates: all windows of the view.
        names: the features to read.
        subject: names the rows in messages.
    """

    def __init__(self, aggregates: WindowAggregates, names: Sequence[str], subject: str):
        self._layout = TileLayout(aggregates)
        features = aggregates.only(names).features
        self._fields = tuple((each.field.name, each.field.dtype) for each in features)
        self._plans = [
            self._plan(number, level, [(n, f) for n, f in enumerate(features) if f.hop == level.hop])
            for number, level in enumerate(aggregates.levels)
            if any(f.hop == level.hop for f in features)
        ]
        self._values = _PlainLayout([dtype for _, dtype in self._fields])
        self._rows = RowDecoder({TILES.schema_id: TILES}, list(TILES.fields), subject=subject)
        self._subject = subject
        self._mutable = frozenset(index for index, (_, kind) in enumerate(self._fields) if is_mutable(kind))

    def _plan(self, number: int, level: TileLevel, features: Sequence[tuple[int, WindowFeature]]) -> _LevelPlan:
        layout = self._layout
        before = sum(map(len, layout.texts[:number]))
        read = list(dict.fromkeys(state for _, feature in features for state in feature.states))
        numbers = [state for state in read if state.kind in FIXED]
        texts = [state for state in read if state.kind not in FIXED]
        slots = {state: slot for slot, state in enumerate([*numbers, *texts])}
        lengths = sorted({feature.length for _, feature in features})
        steps: dict[tuple[int, int], _Step] = {}
        for position, feature in features:
            window = lengths.index(feature.length)
            own = tuple(slots[state] for state in feature.states)
            step = steps.setdefault((window, own[0]), _Step(window, own[0]))
            number_in_name = int(feature.function.number)
            step.add(position, feature.function.kind, own, number_in_name, whole=self._is_whole(feature))
        return _LevelPlan(
            number,
            level.hop,
            "q" + "".join("q" if layout.aggregates.is_whole(s) else "d" for s in layout.fixed[number]),
            tuple(1 + layout.fixed[number].index(s) for s in numbers),
            tuple(before + layout.texts[number].index(s) for s in texts),
            tuple(lengths),
            tuple(steps.values()),
        )

    def _is_whole(self, feature: WindowFeature) -> bool:
        return self._layout.aggregates.is_whole(TileState("sum", feature.column))

    def values(self, data: bytes, now: int) -> list[Any]:
        """Returns the features of one row at a moment, None where a window holds no value.

        Args:
            now: UTC microseconds.

        Raises:
            TileError: the bytes are not tiles of this layout.
        """
        counts, starts, slots = self._layout.sections(data)
        values: list[Any] = [None] * len(self._fields)
        for plan in self._plans:
            count, start = counts[plan.number], starts[plan.number]
            if not count:
                continue
            numbers = _numbers(count, plan.codes).unpack_from(data, start)
            hops, hop = numbers[:count], plan.hop
            end = bisect_right(hops, now // hop)
            firsts = [bisect_left(hops, (now - length) // hop) for length in plan.lengths]
            if firsts[-1] >= end:
                continue
            states: list[_Values] = [numbers[count * slot : count * (slot + 1)] for slot in plan.numbers]
            for slot in plan.texts:
                begin, stop = slots[slot]
                try:
                    states.append(json.loads(data[begin:stop]))
                except ValueError as error:
                    raise TileError("the text of its tiles is damaged") from error
            for step in plan.steps:
                step.run(states, firsts[step.window], end, values)
        return values

    def _tiles_of(self, stored: StoredRows) -> tuple[Sequence[bytes | None], dict[int, str]]:
        """Returns the tiles of stored rows as bytes, None where there is no row, and which are damaged, and why."""
        values, offset = stored.stored_values
        begin = offset + len(_ROW_BEGIN)
        # Nearly always all rows are there and as they should be: then they need no decoder.
        if all(
            value is not None
            and value.startswith(_ROW_BEGIN, offset)
            and int.from_bytes(value[begin : begin + 4], "little") == len(value) - begin - 4
            for value in values
        ):
            return [value[begin + 4 :] for value in values], {}  # type: ignore[index]
        decoded = self._rows.decode_stored(stored)
        (rows,) = decoded.to_pylists()
        return rows, dict(decoded.damaged)  # type: ignore[return-value]

    def packed(self, stored: StoredRows) -> Sequence[bytes | None]:
        """Returns the tiles of stored rows as bytes; None where there is no row, or what is there is none."""
        return self._tiles_of(stored)[0]

    def has_tiles_in(self, data: bytes, spans: Sequence[tuple[int, int]]) -> bool:
        """Whether a row has tiles of hops that overlap some times; also where it cannot be read.

        Args:
            spans: ``[start, end)`` in UTC microseconds.
        """
        try:
            hops = self._layout.hops(data)
        except TileError:
            return True
        return any(
            # Rows that were in the future count in the hop after their own.
            bisect_left(numbers, start // level.hop) < bisect_left(numbers, -(-end // level.hop) + 1)
            for level, numbers in zip(self._layout.levels, hops, strict=True)
            for start, end in spans
        )

    def decode_stored(self, stored: StoredRows, now: int) -> DecodedRows:
        """Returns the features of the rows that a store returned, as they are at a moment.

        Args:
            now: UTC microseconds.
        """
        rows, damaged = self._tiles_of(stored)
        if len(rows) == 1 and rows[0] is not None and not damaged:
            try:
                values = self.values(rows[0], now)
            except _DAMAGE:
                pass  # Told below.
            else:
                nulls = {} if None not in values else {1 << n: [0] for n, value in enumerate(values) if value is None}
                block = Block(self._values, 1, [(value,) for value in values], nulls)
                return DecodedRows(self._fields, self._subject, (block,), None, 1, mutable=self._mutable)
        read: list[list[Any]] = []
        positions: list[int] = []
        for row, data in enumerate(rows):
            positions.append(-1)
            if data is None:
                continue
            try:
                values = self.values(data, now)
            except _DAMAGE as error:
                damaged[row] = str(error)
                continue
            positions[row] = len(read)
            read.append(values)
        columns = list(zip(*read, strict=True)) if read else [() for _ in self._fields]
        nulls = {
            1 << index: [row for row, value in enumerate(column) if value is None]
            for index, column in enumerate(columns)
            if None in column
        }
        block = Block(self._values, len(read), columns, nulls)
        whole = None if len(read) == len(rows) else positions
        return DecodedRows(
            self._fields, self._subject, (block,), whole, len(rows), damaged=damaged, mutable=self._mutable
        )


class _PlainLayout:
    """The layout of values that are Python's own: numbers, texts, lists, and times as microseconds."""

    def __init__(self, types: Collection[FeastType]):
        self.bits: Sequence[int | None] = [1 << index for index in range(len(types))]
        self.readers: Sequence[Reader | None] = [converter(each) for each in types]
        self.stored_readers: Sequence[Reader | None] = [None] * len(types)
        self.plain: Sequence[bool] = [read is None for read in self.readers]
        self.all_plain = all(self.plain)


def _count(states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int) -> int:
    return count


def _float_sum(values: _Values) -> float:
    try:
        return fsum(values)
    except (OverflowError, ValueError):  # Beyond the floats, or infinities of both signs.
        return float(sum(values))


def _sum(states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int) -> float:
    return _float_sum(states[own[1]][first:end])


def _whole_sum(
    states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int
) -> int | None:
    total = sum(states[own[1]][first:end])
    return total if _LEAST <= total <= _MOST else None


def _mean(states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int) -> float:
    return _sum(states, first, end, own, count, number) / count


def _whole_mean(states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int) -> float:
    return sum(states[own[1]][first:end]) / count


def _stddev(
    states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int
) -> float | None:
    if count == 1:
        return None
    counts, sums, squares = (states[slot][first:end] for slot in own)
    mean = _float_sum(sums) / count if all(map(isfinite, sums)) else float("nan")
    # Not ``** 2``, which raises an error where a product is beyond the floats; that is infinite, as in history.
    apart = [(n, total / n - mean) for n, total in zip(counts, sums, strict=True) if n]
    return sqrt((_float_sum(squares) + _float_sum([n * (each * each) for n, each in apart])) / (count - 1))


def _min(states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int) -> Any:
    return min(states[own[1]][first:end])


def _max(states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int) -> Any:
    return max(states[own[1]][first:end])


def _first(states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int) -> Any:
    return min(row for row in states[own[1]][first:end] if row is not None)[2]


def _last(states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int) -> Any:
    return max(row for row in states[own[1]][first:end] if row is not None)[2]


def _last_k(states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int) -> list[Any]:
    rows = sorted(chain.from_iterable(states[own[1]][first:end]), reverse=True)
    return [row[2] for row in rows[:number]]


def _distinct(states: Sequence[_Values], first: int, end: int, own: Sequence[int], count: int, number: int) -> int:
    return len(set(chain.from_iterable(states[own[1]][first:end])))


_MERGES: dict[str, _Merge] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "stddev": _stddev,
    "min": _min,
    "max": _max,
    "first": _first,
    "last": _last,
    "last_k": _last_k,
    "count_distinct": _distinct,
}
_MERGES_OF_INTEGERS: dict[str, _Merge] = {"sum": _whole_sum, "mean": _whole_mean}
