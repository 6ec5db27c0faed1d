"""What an offline store gets of a point-in-time join: moments and keys that are checked, and the views to join.

`feast_assets.retrieval.spine` makes a spine of whatever a caller gave. It finds the time column, refuses what is
missing or of the wrong type, and names keys and results. A store has nothing to look for, to cast or to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from feast_assets.definitions.window import LONGEST_MICROS, duration_micros
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, History

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.definitions.field import Field


@dataclass(frozen=True, slots=True)
class Spine:
    """Moments and join keys; features are looked up for each row.

    Attributes:
        table: `EVENT_TIMESTAMP` (``timestamp[us, UTC]``), then columns of join keys in the canonical types of their
            fields. Column names are unique and consist of ASCII letters, digits and underscores. Times and keys may be
            null; no row of history counts for such a row.
    """

    table: pa.Table

    @property
    def num_rows(self) -> int:
        """How many rows are looked up."""
        return int(self.table.num_rows)

    @property
    def times(self) -> pa.ChunkedArray:
        """int64: the moments in UTC microseconds."""
        import pyarrow as pa

        return self.table.column(EVENT_TIMESTAMP).cast(pa.int64())

    def span(self) -> tuple[int, int] | None:
        """Returns the earliest and the latest moment in UTC microseconds; None where all are null."""
        import pyarrow.compute as pc

        ends = pc.min_max(self.times).as_py()
        return None if ends["min"] is None else (ends["min"], ends["max"])


@dataclass(frozen=True, slots=True)
class PointInTimeJoin:
    """What a point-in-time join adds from one view.

    Attributes:
        history: the view's rows, with only the features wanted, at least one.
        columns: feature name -> output column name; a feature that is left out keeps its name. Output names are unique
            among all joins.
        join_keys: the view's join key -> the spine's column that holds it; left out, the column of the same name.
        ttl: rows older than this, seen from the spine row, do not count; None or zero for no bound. Both ends are
            inclusive.
    """

    history: History
    columns: Mapping[str, str]
    join_keys: Mapping[str, str]
    ttl: timedelta | None = None

    @property
    def outputs(self) -> list[str]:
        """The output columns, in the order of the features."""
        return [self.columns.get(field.name, field.name) for field in self.fields]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The features that are looked up, or computed of windows of time."""
        aggregates = self.history.aggregates
        return self.history.features if aggregates is None else tuple(each.field for each in aggregates.features)

    @property
    def key_columns(self) -> list[str]:
        """The spine's columns that hold the view's join keys, in their order."""
        return [self.join_keys.get(key.name, key.name) for key in self.history.join_keys]

    @property
    def ttl_micros(self) -> int | None:
        """The ttl in microseconds; None for no bound, which a ttl longer than all of time is as well."""
        micros = 0 if self.ttl is None else duration_micros(self.ttl)
        return micros if 0 < micros < LONGEST_MICROS else None


def joined_schema(joins: Sequence[PointInTimeJoin]) -> pa.Schema:
    """Returns the columns of a point-in-time join: each join's features in order, in their canonical types."""
    import pyarrow as pa

    from feast_assets.types.arrow import to_arrow_type

    return pa.schema(
        [
            pa.field(name, to_arrow_type(feature.dtype))
            for join in joins
            for name, feature in zip(join.outputs, join.fields, strict=True)
        ]
    )
