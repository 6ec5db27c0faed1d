"""The features of an online read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from feast_assets.errors import OnlineRowError
from feast_assets.types.feast_type import FeastType

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.online_stores.row_layout import Block, RowLayout
    from feast_assets.online_stores.stored_values import Reader

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
        """Returns the Python values (as `feast_assets.types.python` says); None where there is none.

        Raises:
            OnlineRowError: a stored value is damaged.
        """
        return self._rows.to_pylists((self._place,))[0]

    def to_arrow(self) -> pa.Array:
        """Returns the values in the type's canonical Arrow type; null where there is none.

        Raises:
            OnlineRowError: a stored value is damaged.
        """
        return self._rows.to_arrow(self._place)


class DecodedRows:
    """The wanted features of the rows of one read; iterating gives their columns.

    Values stay as they are stored until somebody asks for them in a form.

    Attributes:
        wanted: the features' names and types.
    """

    __slots__ = ("_blocks", "_mutable", "_picked", "_positions", "_repeats", "_rows", "_what", "_withheld", "wanted")

    def __init__(
        self,
        wanted: Sequence[tuple[str, FeastType]],
        what: str,
        blocks: Sequence[Block],
        positions: Sequence[int] | None,
        rows: int,
        withheld: Sequence[int] = (),
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

        Raises:
            OnlineRowError: a stored value is damaged.
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
                list(columns[place]) if plain[place] else self._converted(block, place, readers)  # type: ignore[arg-type]
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
        try:
            return pa.array(values, storage_type(feast_type)).cast(to_arrow_type(feast_type))
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise self._damaged(place, error) from error

    def statuses(self, place: int) -> list[int]:
        """Returns how each value of one feature was found, as `Column.statuses` says."""
        statuses: list[int] = []
        for block in self._blocks:
            bit = block.layout.bits[place]
            if bit is None:
                statuses += [NOT_FOUND] * block.rows
                continue
            begin = len(statuses)
            statuses += [PRESENT] * block.rows
            for row in block.nulls.get(bit, ()):
                statuses[begin + row] = NULL_VALUE
        if self._positions is not None:
            statuses.append(NOT_FOUND)
            statuses = [statuses[position] for position in self._positions]
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
        for block in self._blocks:
            values += self._converted(block, place, readers_of(block.layout))
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

    def _converted(self, block: Block, place: int, readers: Sequence[Reader | None]) -> list[Any]:
        column, read = block.columns[place], readers[place]
        if column is None:
            return [None] * block.rows
        if read is None:
            return list(column)
        try:
            return [None if value is None else read(value) for value in column]
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise self._damaged(place, error) from error

    def _damaged(self, place: int, error: Exception) -> OnlineRowError:
        name, feast_type = self.wanted[place]
        return OnlineRowError(f"{self._what}: a stored value of feature {name!r} is not a {feast_type}: {error}")
