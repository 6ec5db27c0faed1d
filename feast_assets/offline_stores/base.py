"""What an offline store is: the history of feature views, on Arrow.

A store writes six verbs (`OfflineStore`), and takes the base classes of what else it can do
(`feast_assets.offline_stores.abilities`). What follows from the verbs has a default here, which a store overrides where
it knows a cheaper way.

Rows that a store returns carry their times under reserved names: `EVENT_TIMESTAMP` and `CREATED_TIMESTAMP`, both
``timestamp[us, UTC]``; feature and join key columns have their definition's names and canonical Arrow types
(`feast_assets.types.arrow`). A backend passes `feast_assets.testing.OfflineStoreConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.transformation import Transformation
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.definitions.window_aggregates import WindowAggregates
from feast_assets.errors import DefinitionError

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic import BaseModel

    from feast_assets.offline_stores.parts import Part
    from feast_assets.offline_stores.spine import PointInTimeJoin, Spine

EVENT_TIMESTAMP = "__event_timestamp"
CREATED_TIMESTAMP = "__created_timestamp"


@dataclass(frozen=True, slots=True)
class History:
    """Where the rows of one view come from.

    Attributes:
        view: the view's name, for messages.
        sources: what is read; more than one only with a transformation.
        join_keys: key columns, without the dummy key of views that have no entities; may be empty.
        features: feature columns.
        timestamp_field: event time column of the rows, by its name in the source or the transformation's result.
        created_timestamp_column: "" where there is none.
        transformation: computes the rows from the sources; None where the source holds them.
        lookback: how much event time before a window the transformation needs.
        declared: names of all features of the view, also where only some are wanted; rows with equal times are told
            apart by these. Empty: ``features``.
        others: features of the view that are not wanted. Columns that are stored as text are read as they are declared,
            also where they only tell rows apart.
        kept: whether the source holds the view's own result, and so need not be there before the first run.
        all_columns: whether it stands for a source itself, whatever views read it; see `whole_source`. Only
            `OfflineStore.statistics` and what is derived from it are asked for then. Fingerprints cover every column.
            Where there is no ``timestamp_field``, all rows lie in every window.
        aggregates: windows of time that are computed of the rows; ``features`` are the columns that are aggregated
            then. It counts for `feast_assets.offline_stores.abilities.AggregatesWindows`; to all other verbs the rows
            are those of the source.
        tiles: the rows of the tiles that are kept of these windows; None where none are. A tile holds what the rows of
            one entity come to that lie in one hop and one window of the view's grid; its event time is the beginning of
            what both share. What no kept window covers is computed of the rows.
        only: the parts of its source that are read; all with None. It is given to `SummarizesParts` stores, for
            histories without a transformation. Rows of a part that was changed since may be those of its earlier state.
    """

    view: str
    sources: tuple[DataSource, ...]
    join_keys: tuple[Field, ...]
    features: tuple[Field, ...]
    timestamp_field: str
    created_timestamp_column: str = ""
    transformation: Transformation | None = None
    lookback: timedelta = timedelta(0)
    declared: tuple[str, ...] = ()
    others: tuple[Field, ...] = ()
    kept: bool = False
    all_columns: bool = False
    only: tuple[Part, ...] | None = None
    aggregates: WindowAggregates | None = None
    tiles: History | None = None

    def with_features(self, names: Sequence[str]) -> History:
        """Returns the same history with only these features, in this order; of windows, with only these windows."""
        if self.aggregates is not None and names:
            return replace(self, aggregates=self.aggregates.only(names))
        by_name = {f.name: f for f in self.features}
        declared = self.declared or tuple(by_name)
        others = (*self.others, *(f for f in self.features if f.name not in set(names)))
        return replace(self, features=tuple(by_name[n] for n in names), declared=declared, others=others)


def history_of(view: FeatureView) -> History:
    """Returns where a view's rows are read from: its source, the kept result, or its transformation over the sources.

    Raises:
        DefinitionError: the view has no source with history.
    """
    if isinstance(view, BatchFeatureView) and (view.aggregations or view.is_computed_when_read):
        return computation_of(view)
    if view.batch_source is None:
        raise DefinitionError(f"Feature view {view.name!r} has no source with history.")
    return _history(view, (view.batch_source,), view.batch_source, None, timedelta(0))


def computation_of(view: BatchFeatureView) -> History:
    """Returns how a transformed view's rows are computed, also where the result is kept."""
    if not view.aggregations:
        described = view.sink_source or view.sources[0]
        return _history(view, tuple(view.sources), described, view.transformation, view.lookback)
    history = _history(view, tuple(view.sources), view.sources[0], view.transformation, view.lookback)
    return replace(history, tiles=_tiles_of(view, history), kept=False)


def _tiles_of(view: BatchFeatureView, history: History) -> History | None:
    """Returns the tiles that a view keeps; None where it keeps none.

    Those of each definition and grid are in a folder of their own: others are never taken for them.
    """
    sink = view.sink_source
    if not view.keeps_result or sink is None or history.aggregates is None or view.partitions is None:
        return None
    folder = copy(sink)
    if isinstance(folder, FileSource):
        folder.path = f"{folder.path.rstrip('/')}/{view.partitions.grain}_{definition_hash(view)[:16]}"
    fields = history.aggregates.kept_fields
    return History(
        view=view.name,
        sources=(folder,),
        join_keys=history.join_keys,
        features=fields,
        timestamp_field=sink.timestamp_field,
        declared=tuple(f.name for f in fields),
        kept=True,
    )


def whole_source(source: DataSource) -> History:
    """Returns the rows of a source, with all their columns, as no view reads them: without keys and features."""
    return History(
        view=source.name,
        sources=(source,),
        join_keys=(),
        features=(),
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        all_columns=True,
    )


def _history(
    view: FeatureView,
    sources: tuple[DataSource, ...],
    described_by: DataSource,
    transformation: Transformation | None,
    lookback: timedelta,
) -> History:
    aggregates = view.aggregates if isinstance(view, BatchFeatureView) else None
    features = view.features if aggregates is None else aggregates.columns
    return History(
        view=view.name,
        sources=sources,
        join_keys=tuple(sorted(f for f in view.entity_columns if f.name != DUMMY_JOIN_KEY)),
        features=tuple(features),
        timestamp_field=described_by.timestamp_field,
        created_timestamp_column=described_by.created_timestamp_column,
        transformation=transformation,
        lookback=lookback,
        declared=tuple(f.name for f in features),
        aggregates=aggregates,
        kept=transformation is None and view.keeps_result,
    )


def rows_schema(history: History) -> pa.Schema:
    """Returns the columns of a history's rows: join keys, features, EVENT_TIMESTAMP and CREATED_TIMESTAMP."""
    import pyarrow as pa

    from feast_assets.types.arrow import TIMESTAMP, to_arrow_type

    fields = [pa.field(f.name, to_arrow_type(f.dtype)) for f in (*history.join_keys, *history.features)]
    return pa.schema([*fields, pa.field(EVENT_TIMESTAMP, TIMESTAMP), pa.field(CREATED_TIMESTAMP, TIMESTAMP)])


@dataclass(frozen=True, slots=True)
class WindowStatistics:
    """What can be said of a window of a history without reading it into memory.

    Attributes:
        rows: rows with event times in the window (of the inputs, lookback included, where there is a transformation).
        oldest_event, newest_event, newest_created: UTC; None where there are no rows (or no created column).
        fingerprint: the same text for the same rows in any order, another one for any others; "" without rows.
        null_keys: rows with event times in the window that lack a join key. They are not among ``rows``, and no result
            has them; 0 where a store does not count them.
    """

    window: Window
    rows: int
    oldest_event: datetime | None
    newest_event: datetime | None
    newest_created: datetime | None
    fingerprint: str
    null_keys: int = 0


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over a history tells.

    Attributes:
        windows: in order of time.
        null_times: rows of the sources without an event time, which belong to no window and to no result; 0 where a
            store does not count them. Files and folders that need not be read for the windows may be left out.
    """

    windows: Sequence[WindowStatistics]
    null_times: int = 0


class OfflineStore(ABC):
    """History: point-in-time join, latest per entity, scan, write and statistics.

    A source without rows is not an error; one that is missing, unreadable or not as declared raises
    `feast_assets.errors.SourceError`, which names the source, the column, and what would be right. Rows whose event
    time or join key is null are not part of any result. Naive times are UTC. Relative paths are resolved against
    ``root``.

    Only stores that have the ability `RunsTransformations` are given histories with a transformation.

    Attributes:
        config_class: the settings.
        packages: installed packages whose version decides what the store returns, such as that of an engine that runs
            in this process; training sets are pinned to them.
    """

    config_class: ClassVar[type[BaseModel]]
    packages: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __init__(self, config: BaseModel, root: Path): ...

    @abstractmethod
    def schema(self, source: DataSource) -> pa.Schema:
        """Returns the columns of a source, after its field mapping."""

    @abstractmethod
    def join(
        self, spine: Spine, joins: Sequence[PointInTimeJoin], *, filter_by_created_timestamp: bool = False
    ) -> pa.RecordBatchReader:
        """Returns for each row of a spine the newest row of each view that was known at the row's time.

        Args:
            spine: moments and join keys, which have been checked.
            joins: what is looked up; at least one.
            filter_by_created_timestamp: a row also counts only if it was created by the spine row's time; without a
                created time it does not count. It has no effect on views without a created timestamp column.

        Returns:
            exactly one row per spine row, in the spine's order, with the columns of
            `feast_assets.offline_stores.spine.joined_schema`. Where a view has no row that counts, nulls. Ties of event
            time go to the newer created time, then to the same row that `latest` would choose.
        """

    @abstractmethod
    def latest(self, history: History, windows: Sequence[Window], keys: pa.Table | None = None) -> pa.RecordBatchReader:
        """Returns the newest row per entity among those with event times in any of some windows.

        Which of two rows with equal event and created times is the newest, their content decides: all declared
        features, whichever are wanted.

        Args:
            windows: that do not overlap, in any order; at least one.
            keys: only these entities count, one per row: the history's join keys in canonical types, none null or
                repeated. None for all entities. Where the history has no join keys, they do not count.

        Returns:
            the columns of `rows_schema`: join keys, features, EVENT_TIMESTAMP, CREATED_TIMESTAMP (null where there is
            no such column). Callers rely on no order, but online stores that keep rows sorted take them many times
            faster in the order of their keys.
        """

    @abstractmethod
    def scan(self, history: History, window: Window) -> pa.RecordBatchReader:
        """Returns all rows with event times in the window, with the columns of `latest`."""

    @abstractmethod
    def statistics(self, history: History, windows: Sequence[Window]) -> list[WindowStatistics]:
        """Returns one statistic per window, in order, from one pass over the data.

        Args:
            windows: may overlap and leave gaps.
        """

    @abstractmethod
    def write(self, source: DataSource, rows: pa.Table) -> None:
        """Appends rows, whole or not at all.

        Args:
            rows: with the source's own columns (before its field mapping), in any order.

        Raises:
            InputError: the columns differ from the source's, or a value does not fit.
            NotSupportedError: the source cannot be appended to.
        """

    def survey(self, history: History, windows: Sequence[Window]) -> Survey:
        """Returns the `statistics` of some windows, and how many rows belong to no window.

        Stores that can count the latter in the same pass override this.
        """
        return Survey(self.statistics(history, windows))

    def survey_grid(self, history: History, grid: Partitions, span: Window) -> Survey:
        """Returns the statistics of those windows of a grid that have rows, or rows without a key.

        The cost grows with the rows, and not with the windows between them: windows without rows are not returned, and
        must not be looked at one by one. Stores that can group rows by window override this; here, years, then months,
        then windows are asked for, each only where the larger ones have rows.

        Args:
            span: the windows that overlap it count, the first and the last cut to it.

        Returns:
            windows that do not overlap, in order of time. Where every window has rows, because a transformation reads a
            source without event times, what lies before the first and after the last timed row may be one window each.
        """
        from feast_assets.offline_stores.occupied import occupied_windows

        return Survey(occupied_windows(lambda windows: self.statistics(history, windows), grid, span))

    def oldest_event(self, history: History) -> datetime | None:
        """Returns the event time of the oldest row, as `statistics` of `ALWAYS` does; None where there are no rows.

        Stores that can tell without reading the rows override this.
        """
        return self.statistics(history, [ALWAYS])[0].oldest_event
