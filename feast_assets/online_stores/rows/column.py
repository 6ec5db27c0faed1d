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

    from feast_assets.online_stores.rows.layout import Block, RowLayout
    from feast_assets.online_stores.rows.stored_values import Reader

# Feast's field statuses.
PRESENT = 1
NULL_VALUE = 2
NOT_FOUND = 3
OUTSIDE_MAX_AGE = 4


class Column:
    """The values of one feature, one per row of the read, and how each was found.

    Attributes:
        name: the feature's name.
        type: its type.
    """

    __slots__ = ("_place", "_rows", "name", "type")

    def __init__(self, rows: DecodedRows, place: int) -> None:
        self._rows = rows
        self._place = place
        self.name, self.type = rows.wanted[place]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def statuses(self) -> list[int]:
        """One per row: 1 PRESENT, 2 NULL_VALUE (null was stored), 3 NOT_FOUND, 4 OUTSIDE_MAX_AGE (withheld)."""
        return self._rows.statuses(self._place)

    def to_pylist(self) -> list[Any]:
        """Returns the Python values (as `feast_assets.types.python` says); None where there is none."""
        return self._rows.to_pylists((self._place,))[0]

    def to_arrow(self) -> pa.Array:
        """Returns the values in the type's canonical Arrow type; null where there is none."""
        return self._rows.to_arrow(self._place)


# What readers raise of bytes that are not of their type.
_DAMAGE = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, struct.error)
_NONE_DAMAGED: Mapping[int, str] = {}


class DecodedRows:
    """The wanted features of the rows of one read; iterating gives their columns.

    Values stay as they are stored until somebody asks for them in a form. A value that turns out then to be damaged,
    such as text that is not UTF-8, counts as not there; a warning names its feature.

    Attributes:
        wanted: the features' names and types.
        damaged: rows whose payloads cannot be read, with the reasons; they count as not there.
    """

    __slots__ = (
        "_blocks",
        "_converted_places",
        "_mutable",
        "_not_arrow",
        "_picked",
        "_positions",
        "_repeats",
        "_rows",
        "_unreadable",
        "_what",
        "_withheld",
        "damaged",
        "wanted",
    )

    def __init__(
        self,
        wanted: Sequence[tuple[str, FeastType]],
        what: str,
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
            what: what they are, for messages.
            blocks: what was read, one block after another.
            positions: where in them each row is, -1 where there is none; None where the one block is all rows in order.
            rows: how many rows there are.
            withheld: rows whose values are not given away.
            mutable: places of the features whose Python values can be changed.
            repeats: whether several rows may be at one position.
        """
        self.wanted = wanted
        self._what = what
        self._blocks = blocks
        self._positions = positions
        self._rows = rows
        self._withheld = withheld
        self.damaged = damaged
        # What turned out to be damaged when it was converted: rows and features that Arrow does not take; of each block
        # and feature, the block's rows.
        self._not_arrow: tuple[tuple[int, int], ...] = ()
        self._unreadable: dict[tuple[int, int], list[int]] | None = None
        self._converted_places: set[int] | None = None
        self._mutable = mutable
        self._repeats = repeats
        self._picked: Any = None

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[Column]:
        return (Column(self, place) for place in range(len(self.wanted)))

    def column(self, place: int) -> Column:
        """Returns one of the wanted features."""
        return Column(self, place)

    def taken(self, places: Sequence[int]) -> DecodedRows:
        """Returns the rows at some places, which may repeat; before any are withheld."""
        positions = places if self._positions is None else [self._positions[place] for place in places]
        return DecodedRows(
            self.wanted, self._what, self._blocks, positions, len(places), mutable=self._mutable, repeats=True
        )

    def without(self, withheld: Sequence[int]) -> DecodedRows:
        """Returns the rows with the values of some withheld: None, and OUTSIDE_MAX_AGE where there is a value."""
        return DecodedRows(
            self.wanted,
            self._what,
            self._blocks,
            self._positions,
            self._rows,
            withheld,
            mutable=self._mutable,
            repeats=self._repeats,
        )

    def to_pylists(self, places: Iterable[int] | None = None) -> list[list[Any]]:
        """Returns the Python values of several features, each in a list of its own; None where there is none.

        Args:
            places: which features; all of them when left out.
        """
        if self._in_order:
            (block,) = self._blocks
            if places is None and block.layout.all_plain:
                return list(map(list, block.columns))  # type: ignore[arg-type]
        if places is None:
            places = range(len(self.wanted))
        if self._in_order:
            columns, plain, readers = block.columns, block.layout.plain, block.layout.readers
            return [
                list(columns[place]) if plain[place] else self._converted(0, place, readers)  # type: ignore[arg-type]
                for place in places
            ]
        return [self._collected(place, lambda layout: layout.readers) for place in places]

    def to_arrow(self, place: int) -> pa.Array:
        """Returns one feature in its type's canonical Arrow type."""
        import pyarrow as pa

        from feast_assets.types.canonical import to_arrow_type
        from feast_assets.types.storage import storage_type

        feast_type = self.wanted[place][1]
        values = self._collected(place, lambda layout: layout.stored_readers)

        def array(some: Sequence[Any]) -> pa.Array:
            return pa.array(some, storage_type(feast_type)).cast(to_arrow_type(feast_type))

        try:
            return array(values)
        except _DAMAGE:
            self._warn(place)
        readable = list(values)
        for row, value in enumerate(values):
            try:
                array([value])
            except _DAMAGE:
                readable[row] = None
                self._not_arrow = (*self._not_arrow, (row, place))
        return array(readable)

    def statuses(self, place: int) -> list[int]:
        """Returns how each value of one feature was found, as `Column.statuses` says."""
        if place not in (self._converted_places or ()) and any(b.layout.readers[place] for b in self._blocks):
            # Only then is it known whether they can be read.
            self.to_pylists((place,))
        statuses: list[int] = []
        for number, block in enumerate(self._blocks):
            bit = block.layout.bits[place]
            if bit is None:
                statuses += [NOT_FOUND] * block.rows
                continue
            begin = len(statuses)
            statuses += [PRESENT] * block.rows
            for row in block.nulls.get(bit, ()):
                statuses[begin + row] = NULL_VALUE
            for row in (self._unreadable or {}).get((number, place), ()):
                statuses[begin + row] = NOT_FOUND
        if self._positions is not None:
            statuses.append(NOT_FOUND)
            statuses = [statuses[position] for position in self._positions]
        for row, of_place in self._not_arrow:
            if of_place == place:
                statuses[row] = NOT_FOUND
        for row in self._withheld:
            if statuses[row] != NOT_FOUND:
                statuses[row] = OUTSIDE_MAX_AGE
        return statuses

    @property
    def _in_order(self) -> bool:
        return self._positions is None and not self._withheld

    @property
    def _pick(self) -> Any:
        """The function from all read values and None to those of the rows."""
        if self._picked is None:
            self._picked = self._made_pick()
        return self._picked

    def _made_pick(self) -> Any:
        positions = list(range(self._rows) if self._positions is None else self._positions)
        for row in self._withheld:
            positions[row] = -1
        if len(positions) == 1:
            return lambda values: [values[positions[0]]]
        return itemgetter(*positions) if positions else lambda values: []

    def _collected(self, place: int, readers_of: Callable[[RowLayout], Sequence[Reader | None]]) -> list[Any]:
        values: list[Any] = []
        for number, block in enumerate(self._blocks):
            values += self._converted(number, place, readers_of(block.layout))
        if self._in_order:
            return values
        values.append(None)
        picked = list(self._pick(values))
        if self._repeats and place in self._mutable:
            self._separate(picked, place, readers_of)
        return picked

    def _separate(
        self, picked: list[Any], place: int, readers_of: Callable[[RowLayout], Sequence[Reader | None]]
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
            column, read = block.columns[place], readers_of(block.layout)[place]
            assert column is not None
            assert read is not None
            picked[row] = read(column[position - ends[number] + block.rows])

    def _converted(self, number: int, place: int, readers: Sequence[Reader | None]) -> list[Any]:
        block = self._blocks[number]
        column, read = block.columns[place], readers[place]
        if column is None:
            return [None] * block.rows
        if read is None:
            return list(column)
        if self._converted_places is None:
            self._converted_places = set()
        self._converted_places.add(place)
        try:
            return [None if value is None else read(value) for value in column]
        except _DAMAGE:
            return self._readable(number, place, column, read)

    def _readable(self, number: int, place: int, column: Sequence[Any], read: Reader) -> list[Any]:
        """Returns the values of a column with damaged ones, None in their places, and notes where these are."""
        self._warn(place)
        values: list[Any] = []
        unreadable = []
        for row, value in enumerate(column):
            try:
                values.append(None if value is None else read(value))
            except _DAMAGE:
                values.append(None)
                unreadable.append(row)
        self._unreadable = {**(self._unreadable or {}), (number, place): unreadable}
        return values

    def unreadable(self) -> dict[int, str]:
        """Returns the rows that are damaged, or have damaged values, with the reasons; converts all values."""
        self.to_pylists()
        positions = range(self._rows) if self._positions is None else self._positions
        row_at = {position: row for row, position in enumerate(positions) if position >= 0}
        starts = [0, *accumulate(block.rows for block in self._blocks)]
        found = dict(self.damaged)
        for (number, place), rows in (self._unreadable or {}).items():
            for row in rows:
                found[row_at[starts[number] + row]] = f"its value of {self.wanted[place][0]!r} is damaged"
        return found

    def _warn(self, place: int) -> None:
        name, feast_type = self.wanted[place]
        # The same text each time: Python shows it once.
        warnings.warn(
            f"{self._what}: stored values of feature {name!r} are damaged (not {feast_type}); they count as missing. "
            "An audit names their entities.",
            ForeignValueWarning,
            stacklevel=2,
        )
