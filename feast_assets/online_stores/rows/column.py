"""The features of an online read."""

from __future__ import annotations

import struct
import warnings
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from feast_assets.errors import ForeignValueWarning
from feast_assets.types.feast_type import FeastType

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.online_stores.rows.layout import Block, ValueLayout
    from feast_assets.online_stores.rows.stored_values import Reader

# Feast's field statuses.
PRESENT = 1
NULL_VALUE = 2
NOT_FOUND = 3
OUTSIDE_MAX_AGE = 4


class Column:
    """The values of one feature, one per row of the read, with their statuses.

    Attributes:
        name: the feature's name.
        type: its type.
    """

    __slots__ = ("_index", "_rows", "name", "type")

    def __init__(self, rows: DecodedRows, index: int) -> None:
        self._rows = rows
        self._index = index
        self.name, self.type = rows.fields[index]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def statuses(self) -> list[int]:
        """One per row: 1 PRESENT, 2 NULL_VALUE (null was stored), 3 NOT_FOUND, 4 OUTSIDE_MAX_AGE (withheld)."""
        return self._rows.statuses(self._index)

    def to_pylist(self) -> list[object]:
        """Returns the Python values (as `feast_assets.types.python` says); None where there is none."""
        return self._rows.to_pylists((self._index,))[0]

    def to_arrow(self) -> pa.Array:
        """Returns the values in the type's canonical Arrow type; null where there is none."""
        return self._rows.to_arrow(self._index)


# Errors of readers that are given bytes of another type.
_DAMAGE = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, struct.error)
_NONE_DAMAGED: Mapping[int, str] = {}


class DecodedRows:
    """The features of the rows of one read; iterating yields their columns.

    Values stay as they are stored until they are asked for. A value that then turns out to be damaged, such as text
    that is not UTF-8, counts as missing; a warning names its feature.

    Attributes:
        fields: the features' names and types.
        damaged: index of each row whose payload cannot be read -> the reason; such rows count as missing.
    """

    __slots__ = (
        "_blocks",
        "_converted_indices",
        "_mutable",
        "_not_arrow",
        "_picked",
        "_positions",
        "_repeats",
        "_rows",
        "_subject",
        "_unreadable",
        "_withheld",
        "damaged",
        "fields",
    )

    def __init__(
        self,
        fields: Sequence[tuple[str, FeastType]],
        subject: str,
        blocks: Sequence[Block],
        positions: Sequence[int] | None,
        rows: int,
        withheld: Sequence[int] = (),
        damaged: Mapping[int, str] = _NONE_DAMAGED,
        *,
        mutable: Collection[int] = (),
        repeats: bool = False,
    ):
        """Creates the rows.

        Args:
            subject: names the rows in warnings, such as ``"Feature view 'driver_stats'"``.
            blocks: the values that were read, one block after another.
            positions: of each row in the blocks, -1 where it is missing; None where one block has all rows in order.
            rows: number of rows.
            withheld: indices of the rows whose values are not returned.
            mutable: indices of the features whose Python values are mutable, such as lists.
            repeats: whether several rows may have one position.
        """
        self.fields = fields
        self._subject = subject
        self._blocks = blocks
        self._positions = positions
        self._rows = rows
        self._withheld = withheld
        self.damaged = damaged
        # Values that turned out to be damaged when they were converted: (row, feature) where Arrow does not take one,
        # and by (block, feature) the rows of the block.
        self._not_arrow: tuple[tuple[int, int], ...] = ()
        self._unreadable: dict[tuple[int, int], list[int]] | None = None
        self._converted_indices: set[int] | None = None
        self._mutable = mutable
        self._repeats = repeats
        self._picked: object = None

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[Column]:
        return (Column(self, index) for index in range(len(self.fields)))

    def column(self, index: int) -> Column:
        """Returns the column of one feature, by its index."""
        return Column(self, index)

    def taken(self, indices: Sequence[int]) -> DecodedRows:
        """Returns the rows at some indices, which may repeat. Withheld rows are not kept: withhold afterwards."""
        positions = indices if self._positions is None else [self._positions[index] for index in indices]
        return DecodedRows(
            self.fields, self._subject, self._blocks, positions, len(indices), mutable=self._mutable, repeats=True
        )

    def without(self, withheld: Sequence[int]) -> DecodedRows:
        """Returns the rows with the values of some withheld: None, and OUTSIDE_MAX_AGE where there is a value."""
        return DecodedRows(
            self.fields,
            self._subject,
            self._blocks,
            self._positions,
            self._rows,
            withheld,
            mutable=self._mutable,
            repeats=self._repeats,
        )

    def to_pylists(self, indices: Iterable[int] | None = None) -> list[list[object]]:
        """Returns the Python values of several features, each in a list of its own; None where there is none.

        Args:
            indices: of the features; all of them when left out.
        """
        if self._in_order:
            (block,) = self._blocks
            if indices is None and block.layout.all_plain:
                return list(map(list, block.columns))  # type: ignore[arg-type]
        if indices is None:
            indices = range(len(self.fields))
        if self._in_order:
            columns, plain, readers = block.columns, block.layout.plain, block.layout.readers
            return [
                list(columns[index]) if plain[index] else self._converted(0, index, readers)  # type: ignore[arg-type]
                for index in indices
            ]
        return [self._collected(index, lambda layout: layout.readers) for index in indices]

    def to_arrow(self, index: int) -> pa.Array:
        """Returns one feature in its type's canonical Arrow type."""
        import pyarrow as pa

        from feast_assets.types.canonical import to_arrow_type
        from feast_assets.types.storage import storage_type

        feast_type = self.fields[index][1]
        values = self._collected(index, lambda layout: layout.stored_readers)

        def array(some: Sequence[object]) -> pa.Array:
            return pa.array(some, storage_type(feast_type)).cast(to_arrow_type(feast_type))

        try:
            return array(values)
        except _DAMAGE:
            self._warn(index)
        readable = list(values)
        for row, value in enumerate(values):
            try:
                array([value])
            except _DAMAGE:
                readable[row] = None
                self._not_arrow = (*self._not_arrow, (row, index))
        return array(readable)

    def statuses(self, index: int) -> list[int]:
        """Returns the status of each value of one feature, as `Column.statuses` says."""
        if index not in (self._converted_indices or ()) and any(b.layout.readers[index] for b in self._blocks):
            # Only then is it known whether they can be read.
            self.to_pylists((index,))
        statuses: list[int] = []
        for number, block in enumerate(self._blocks):
            bit = block.layout.bits[index]
            if bit is None:
                statuses += [NOT_FOUND] * block.rows
                continue
            begin = len(statuses)
            statuses += [PRESENT] * block.rows
            for row in block.nulls.get(bit, ()):
                statuses[begin + row] = NULL_VALUE
            for row in (self._unreadable or {}).get((number, index), ()):
                statuses[begin + row] = NOT_FOUND
        if self._positions is not None:
            statuses.append(NOT_FOUND)
            statuses = [statuses[position] for position in self._positions]
        for row, of_index in self._not_arrow:
            if of_index == index:
                statuses[row] = NOT_FOUND
        for row in self._withheld:
            if statuses[row] != NOT_FOUND:
                statuses[row] = OUTSIDE_MAX_AGE
        return statuses

    @property
    def all_present(self) -> bool:
        """Whether every value that was asked for so far is PRESENT, as far as that is known without a look at each."""
        if self._withheld or self._not_arrow or self._unreadable or len(self._blocks) != 1:
            return False
        (block,) = self._blocks
        if block.nulls or None in block.layout.bits:
            return False
        return self._positions is None or -1 not in self._positions

    @property
    def _in_order(self) -> bool:
        return self._positions is None and not self._withheld

    @property
    def _pick(self) -> Any:
        """The function from all read values and None to those of the rows."""
        if self._picked is None:
            self._picked = self._made_pick()
        return self._picked

    def _made_pick(self) -> object:
        positions = list(range(self._rows) if self._positions is None else self._positions)
        for row in self._withheld:
            positions[row] = -1
        if len(positions) == 1:
            return lambda values: [values[positions[0]]]
        return itemgetter(*positions) if positions else lambda values: []

    def _collected(self, index: int, readers_of: Callable[[ValueLayout], Sequence[Reader | None]]) -> list[object]:
        values: list[object] = []
        for number, block in enumerate(self._blocks):
            values += self._converted(number, index, readers_of(block.layout))
        if self._in_order:
            return values
        values.append(None)
        picked = list(self._pick(values))
        if self._repeats and index in self._mutable:
            self._separate(picked, index, readers_of)
        return picked

    def _separate(
        self, picked: list[object], index: int, readers_of: Callable[[ValueLayout], Sequence[Reader | None]]
    ) -> None:
        """Reads values that several rows have once more for each, so that no two rows share a list or dict."""
        assert self._positions is not None
        ends = list(accumulate(block.rows for block in self._blocks))
        seen: set[int] = set()
        for row, position in enumerate(self._positions):
            if picked[row] is None or position not in seen:
                seen.add(position)
                continue
            number = bisect_right(ends, position)
            block = self._blocks[number]
            column, read = block.columns[index], readers_of(block.layout)[index]
            assert column is not None
            assert read is not None
            picked[row] = read(column[position - ends[number] + block.rows])

    def _converted(self, number: int, index: int, readers: Sequence[Reader | None]) -> list[object]:
        block = self._blocks[number]
        column, read = block.columns[index], readers[index]
        if column is None:
            return [None] * block.rows
        if read is None:
            return list(column)
        if self._converted_indices is None:
            self._converted_indices = set()
        self._converted_indices.add(index)
        try:
            return [None if value is None else read(value) for value in column]
        except _DAMAGE:
            return self._readable(number, index, column, read)

    def _readable(self, number: int, index: int, column: Sequence[object], read: Reader) -> list[object]:
        """Returns the values of a column, None for damaged ones, and notes which are damaged."""
        self._warn(index)
        values: list[object] = []
        unreadable = []
        for row, value in enumerate(column):
            try:
                values.append(None if value is None else read(value))
            except _DAMAGE:
                values.append(None)
                unreadable.append(row)
        self._unreadable = {**(self._unreadable or {}), (number, index): unreadable}
        return values

    def unreadable(self) -> dict[int, str]:
        """Returns the rows that are damaged, or have damaged values, with the reasons; converts all values."""
        self.to_pylists()
        positions = range(self._rows) if self._positions is None else self._positions
        row_at = {position: row for row, position in enumerate(positions) if position >= 0}
        starts = [0, *accumulate(block.rows for block in self._blocks)]
        reasons = dict(self.damaged)
        for (number, index), rows in (self._unreadable or {}).items():
            for row in rows:
                reasons[row_at[starts[number] + row]] = f"its value of {self.fields[index][0]!r} is damaged"
        return reasons

    def _warn(self, index: int) -> None:
        name, feast_type = self.fields[index]
        # The same text each time: Python shows it once.
        warnings.warn(
            f"{self._subject}: stored values of feature {name!r} are damaged (not {feast_type}); they count as "
            "missing. An audit names their entities.",
            ForeignValueWarning,
            stacklevel=2,
        )
