"""Historical retrieval without an entity dataframe: all entities that have rows between two moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from feast_assets.definitions.window import MICROSECOND, Window, until
from feast_assets.errors import InputError, RequestDataNotFoundInEntityDfException
from feast_assets.offline_stores.base import History, OfflineStore
from feast_assets.retrieval.request import FeatureRequest, ViewRead
from feast_assets.retrieval.spine import EVENT_TIMESTAMP_COLUMN, cast, check_collisions

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class EntityRange:
    """The entities of some views between two moments, both inclusive.

    Attributes:
        request: names the views.
        keys: the join keys, which all its views with entities share.
    """

    request: FeatureRequest
    keys: tuple[str, ...]
    start: datetime
    end: datetime

    @classmethod
    def of(cls, request: FeatureRequest, start: datetime, end: datetime) -> EntityRange:
        """Returns the range.

        Raises:
            InputError: the start is after the end, or the views have different join keys.
            RequestDataNotFoundInEntityDfException: an on-demand view needs request data, which only rows can bring.
        """
        if start > end:
            raise InputError(f"start_date {start.isoformat()} is after end_date {end.isoformat()}.")
        for name, field in request.request_fields.items():
            raise RequestDataNotFoundInEntityDfException(
                f"On-demand view {field.needed_by!r} needs request data {name!r}; give an entity_df that has it."
            )
        keyed = [read for read in request.reads if read.join_keys]
        keys = tuple(key.column for key in keyed[0].join_keys) if keyed else ()
        for read in keyed[1:]:
            if {key.column for key in read.join_keys} != set(keys):
                raise InputError(
                    f"Feature views {keyed[0].view.name!r} (joined by {_listed(keyed[0])}) and {read.view.name!r} "
                    f"(joined by {_listed(read)}) do not describe the same entities; give an entity_df that says which "
                    "belong together."
                )
        check_collisions(request, [*keys, EVENT_TIMESTAMP_COLUMN])
        return cls(request, keys, start, end)

    @property
    def length(self) -> timedelta:
        """How old a row may be to be in the range, seen from its end."""
        return max(self.end - self.start, MICROSECOND)

    def rows(self, offline_store: OfflineStore, histories: Sequence[History]) -> pa.Table:
        """Returns the entities as entity rows: each once, in order of the keys, with the end of the range as the time.

        Args:
            histories: one per read of the request.
        """
        import pyarrow as pa

        window = Window(self.start, until(self.end))
        types = {name: column.dtype for name, column in self.request.join_keys.items()}
        tables: list[pa.Table] = []
        for read, history in zip(self.request.reads, histories, strict=True):
            if not read.join_keys:
                continue
            rows = offline_store.latest(history.with_features([]), [window]).read_all()
            tables.append(
                pa.table(
                    {
                        name: cast(
                            rows.column(own), types[name], f"Join key {own!r} of feature view {read.view.name!r}"
                        )
                        for name, own in sorted((key.column, key.field.name) for key in read.join_keys)
                    }
                )
            )
        count, columns = 1, {}
        if tables:
            entities = pa.concat_tables(tables).group_by(list(self.keys)).aggregate([])
            entities = entities.sort_by([(name, "ascending") for name in self.keys])
            count, columns = entities.num_rows, {name: entities.column(name) for name in self.keys}
        times = pa.array([self.end] * count, pa.timestamp("us", tz="UTC"))
        return pa.table({**columns, EVENT_TIMESTAMP_COLUMN: times})


def _listed(read: ViewRead) -> str:
    return ", ".join(repr(key.column) for key in read.join_keys)
