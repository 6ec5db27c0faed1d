"""What a view with aggregations computes, and which partial states (tiles) it is computed of.

A tile is what the rows of one entity in one hop come to. A hop is a stretch of event time between two multiples of its
length. A window at a moment ``t`` covers the hop that ``t - length`` falls into, from its start, up to ``t`` itself,
both inclusive. So it consists of whole tiles, and of the rows of the last hop up to ``t``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from feast_assets.definitions.aggregation import Function, hop_of
from feast_assets.definitions.field import Field
from feast_assets.definitions.spec import content_hash
from feast_assets.types import FeastType, Float64, Int32, Int64, String, UnixTimestamp

if TYPE_CHECKING:
    from feast_assets.definitions.aggregation import Aggregation

_MICROSECOND = timedelta(microseconds=1)
_WHOLE = frozenset((Int32, Int64, UnixTimestamp))

# The states that a function is computed of, beside the count of values, which says whether there are any.
_STATES = {
    "count": (),
    "sum": ("sum",),
    "mean": ("sum",),
    "stddev": ("sum", "squares"),
    "min": ("min",),
    "max": ("max",),
    "first": ("first",),
    "last": ("last",),
    "last_k": ("last_k",),
    "count_distinct": ("distinct",),
    "approx_count_distinct": ("hll",),
    "approx_percentile_p": ("kll",),
    "top_k": ("frequent",),
}
FIXED = frozenset(("count", "sum", "squares", "min", "max"))
"""States of eight bytes."""
KEPT_HOP, KEPT_NEWEST = "tile_hop", "tile_newest"


@dataclass(frozen=True, slots=True)
class TileState:
    """One value of a tile.

    Attributes:
        kind: ``count`` (of values), ``sum``, ``squares`` (of the differences from the tile's mean), ``min``, ``max``,
            ``first``, ``last``, ``last_k``, ``distinct``, ``hll``, ``kll`` or ``frequent``.
        column: of which column, by its number.
        number: how many values ``last_k`` keeps; else 0.
    """

    kind: str
    column: int
    number: int = 0

    @property
    def name(self) -> str:
        """Letters, digits and underscores that tell the states of a view apart."""
        return f"{self.kind}{self.number or ''}_{self.column}"


@dataclass(frozen=True, slots=True)
class WindowFeature:
    """One feature: a function of a column over a window.

    Attributes:
        field: name and type of the feature.
        function: what is computed.
        column: the column, by its number.
        length: of the window, microseconds.
        hop: on whose multiples the window starts, microseconds.
    """

    field: Field
    function: Function
    column: int
    length: int
    hop: int

    @property
    def states(self) -> tuple[TileState, ...]:
        """The states that it is computed of; the count of values comes first."""
        number = int(self.function.number) if self.function.kind == "last_k" else 0
        kinds = _STATES[self.function.kind]
        return (
            TileState("count", self.column),
            *(TileState(k, self.column, number if k == "last_k" else 0) for k in kinds),
        )


@dataclass(frozen=True, slots=True)
class TileLevel:
    """The tiles of one hop.

    Attributes:
        hop: microseconds.
        longest: the length of the longest window that consists of them, microseconds.
        states: what a tile holds, in order.
    """

    hop: int
    longest: int
    states: tuple[TileState, ...]


@dataclass(frozen=True)
class WindowAggregates:
    """The features of a view with aggregations.

    Attributes:
        columns: the columns that are aggregated.
        features: in the view's order.
    """

    columns: tuple[Field, ...]
    features: tuple[WindowFeature, ...]

    @classmethod
    def of(
        cls, aggregations: Sequence[Aggregation], hop: timedelta | None, columns: Sequence[Field], subject: str
    ) -> WindowAggregates:
        """Returns what some aggregations make.

        Args:
            hop: the view's ``tiling_hop_size``.
            columns: name and type of each aggregated column.

        Raises:
            DefinitionError: a function takes no values of its column's type.
        """
        numbers = {field.name: number for number, field in enumerate(columns)}
        features = []
        for each in aggregations:
            number, function = numbers[each.column], Function.named(each.function, subject)
            dtype = function.result_type(each.column, columns[number].dtype, subject)
            assert each.time_window is not None
            field = Field(name=each.resolved_name(each.time_window), dtype=dtype)
            length, own = each.time_window // _MICROSECOND, hop_of(each, hop) // _MICROSECOND
            features.append(WindowFeature(field, function, number, length, own))
        return cls(tuple(columns), tuple(features))

    def only(self, names: Sequence[str]) -> WindowAggregates:
        """Returns the same with only some features, in this order."""
        by_name = {each.field.name: each for each in self.features}
        return replace(self, features=tuple(by_name[name] for name in names))

    @cached_property
    def levels(self) -> tuple[TileLevel, ...]:
        """The tiles that the features are computed of, those with the shortest hop first."""
        levels = []
        for hop in sorted({each.hop for each in self.features}):
            own = [each for each in self.features if each.hop == hop]
            states = dict.fromkeys(state for each in own for state in each.states)
            levels.append(TileLevel(hop, max(each.length for each in own), tuple(sorted(states, key=_order))))
        return tuple(levels)

    @cached_property
    def layout(self) -> str:
        """A hash (hex) of the tiles: those of another layout cannot be read."""
        levels = [[level.hop, level.longest, [state.name for state in level.states]] for level in self.levels]
        return content_hash([levels, [[f.name, str(f.dtype)] for f in self.columns]])

    @cached_property
    def kept_fields(self) -> tuple[Field, ...]:
        """The columns of tiles that are kept in history: the hop in microseconds, the newest event time, the states.

        A state without a fixed size is JSON text.
        """
        fields = {
            KEPT_HOP: Field(name=KEPT_HOP, dtype=Int64),
            KEPT_NEWEST: Field(name=KEPT_NEWEST, dtype=UnixTimestamp),
        }
        for level in self.levels:
            for state in level.states:
                dtype = String if state.kind not in FIXED else Int64 if self.is_whole(state) else Float64
                fields[state.name] = Field(name=state.name, dtype=dtype)
        return tuple(fields.values())

    def dtype(self, state: TileState) -> FeastType:
        """Returns the type of the column of a state."""
        return self.columns[state.column].dtype

    def is_whole(self, state: TileState) -> bool:
        """Whether a state of eight bytes is an integer; else it is a float."""
        return state.kind == "count" or (state.kind != "squares" and self.dtype(state) in _WHOLE)

    @cached_property
    def longest(self) -> int:
        """How long before a moment rows count, microseconds: the longest window and its hop."""
        return max(level.longest + level.hop for level in self.levels)


def _order(state: TileState) -> tuple[int, str, int]:
    return state.column, state.kind, state.number
