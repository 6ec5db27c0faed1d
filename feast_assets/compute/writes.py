"""Writes of handed-in rows: everything is checked and encoded first, then stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from feast_assets.compute.few_rows import FewRows
from feast_assets.compute.handed_in_rows import HandedInRows, refuse_far_moments, refuse_nulls
from feast_assets.compute.ingestion import check_keys, encode_ingested, source_rows
from feast_assets.compute.row_digest import rows_digest
from feast_assets.compute.stream_rows import is_transformed_on_write, stream_rows
from feast_assets.compute.versions import push_version
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.stream_feature_view import StreamFeatureView
from feast_assets.errors import InputError, SourceWithoutFilesError, suggest
from feast_assets.offline_stores.abilities import WritesOnce
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.online_stores.base import EncodedRows, OnlineStore
from feast_assets.registry.base import Registry

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Stores:
    """Where one project's rows go, and where it is noted that they are on their way.

    Attributes:
        offline_store, online_store: called when a store is needed; the online one raises ConfigError where the project
            has none.
        attach: returns a view with its transformation's function.
    """

    project: str
    registry: Registry
    offline_store: Callable[[], OfflineStore]
    online_store: Callable[[], OnlineStore]
    attach: Callable[[FeatureView], FeatureView] = lambda view: view


@dataclass(frozen=True)
class HistoryPart:
    """Rows that are to be appended to a view's batch source, with the source's own columns."""

    view: FeatureView
    source: DataSource
    rows: pa.Table


@dataclass
class Write:
    """Rows for the stores of some views, checked and ready to be stored.

    Attributes:
        call: names the call in errors, such as ``push to 'live'``.
        given: the rows as they were handed in; where there are none, nothing is written.
        version: of the rows, odd; see `feast_assets.compute.versions`.
        online: the views whose online tables get the rows, and these rows as they are stored.
        history: the part that is appended to history; None where there is none.
        transforms: whether the functions of stream feature views run over the rows; if not, they hold the features.
    """

    stores: Stores
    call: str
    given: HandedInRows
    version: int = field(default_factory=push_version)
    online: list[tuple[FeatureView, EncodedRows]] = field(default_factory=list)
    history: HistoryPart | None = None
    transforms: bool = True
    _tables: dict[str, pa.Table] = field(default_factory=dict)

    @property
    def rows(self) -> pa.Table:
        """The rows as an Arrow table."""
        return self.given.table

    def add_online(self, view: FeatureView, few_rows: FewRows | None = None) -> None:
        """Adds a put into a view's online table.

        Args:
            few_rows: the view's encoder of few rows, where one is at hand.

        Raises:
            InputError: the view is not online, or has aggregations, or the rows do not fit.
        """
        if not view.online:
            raise InputError(f"{self.call}: feature view {view.name!r} is not online (online=False).")
        if isinstance(view, BatchFeatureView) and view.aggregations:
            raise InputError(
                f"{self.call}: feature view {view.name!r} has aggregations, which are computed of history; its online "
                "store takes no rows. Write to the offline store, and materialize the view."
            )
        is_transformed = self.transforms and is_transformed_on_write(view)
        few = self.given.few_columns if few_rows is not None and not is_transformed else None
        encoded = few_rows.encode(few, self.version) if few_rows is not None and few is not None else None
        if encoded is None and self.rows.num_rows:
            encoded = encode_ingested(view, self._rows_of(view), self.version, self.call)
        if encoded is not None:
            self.online.append((view, encoded))

    def add_history(
        self, view: FeatureView, *, reorder_columns: bool = True, readers: Sequence[FeatureView] = ()
    ) -> None:
        """Adds an append to a view's batch source, whose columns the rows must have.

        Args:
            reorder_columns: whether they may come in another order.
            readers: further views that read the source, whose join keys must be given too.

        Raises:
            InputError: the columns differ from the source's, a value does not fit, or a join key or event time is null.
            NotSupportedError: the source cannot be appended to.
        """
        source = _source_of_history(view)
        if source is None:
            raise InputError(f"{self.call}: feature view {view.name!r} has no batch source to write to.")
        if not self.rows.num_rows:
            return
        rows = self._with_columns_of(source, view, source_rows(source, self.rows), reorder_columns)
        self._refuse_nulls(rows, source, [view, *readers])
        for each in (view, *readers):
            check_keys(each, source, rows, self.call)
        for name in (source.timestamp_field, source.created_timestamp_column):
            if name in rows.column_names:
                refuse_far_moments(rows.column(name), name, self.call)
        store = self.stores.offline_store()
        if isinstance(store, WritesOnce):
            store.check_write(source, rows)
        self.history = HistoryPart(view, source, rows)

    @property
    def is_one_unit(self) -> bool:
        """Whether the stores take all of it whole or not at all, whenever the process is killed."""
        if self.history is not None or len(self.online) != 1:
            return not self.online
        ((_, rows),) = self.online
        most = self.stores.online_store().rows_put_whole
        return most is None or len(rows) <= most

    @cached_property
    def key(self) -> str:
        """Letters and digits that are the same for the same rows, and for these only."""
        return rows_digest(self.rows)

    def set_version(self, version: int) -> None:
        """Gives the rows another version."""
        if version != self.version:
            self.version = version
            views = [view for view, _ in self.online]
            self.online = [(view, encode_ingested(view, self._rows_of(view), version, self.call)) for view in views]

    def is_in_history(self) -> bool:
        """Whether nothing is left to append; also where a store cannot tell, false."""
        store = self.stores.offline_store()
        part = self.history
        return part is None or (isinstance(store, WritesOnce) and store.has_written(part.source, part.rows, self.key))

    def append(self) -> None:
        """Appends the rows to history, unless that has been done."""
        if self.history is None:
            return
        store = self.stores.offline_store()
        if isinstance(store, WritesOnce):
            store.write_once(self.history.source, self.history.rows, self.key)
        else:
            store.write(self.history.source, self.history.rows)

    def put(self) -> None:
        """Puts the rows into the online tables."""
        for view, rows in self.online:
            self.stores.online_store().put_many(view.online_table(self.stores.project), [rows])

    async def put_async(self) -> None:
        """Puts the rows into the online tables without blocking the event loop."""
        for view, rows in self.online:
            await self.stores.online_store().put_many_async(view.online_table(self.stores.project), [rows])

    def _rows_of(self, view: FeatureView) -> pa.Table:
        """Returns the rows as a view's online table gets them: of a stream view, what its function makes of them."""
        if not (self.transforms and is_transformed_on_write(view)):
            return self.rows
        if view.name not in self._tables:
            attached = self.stores.attach(view)
            assert isinstance(attached, StreamFeatureView)
            self._tables[view.name] = stream_rows(attached, self.rows, self.call, self.stores.offline_store)
        return self._tables[view.name]

    def _with_columns_of(
        self, source: DataSource, view: FeatureView, rows: pa.Table, reorder_columns: bool
    ) -> pa.Table:
        """Returns rows with the columns of a source, in its order."""
        try:
            mapped = self.stores.offline_store().schema(source)
        except SourceWithoutFilesError:
            # The first rows make the first file, so they say what its columns are.
            self._check_first(view, source, rows)
            return rows
        own = source_rows(source, mapped.empty_table()).column_names
        missing, extra = sorted(set(own) - set(rows.column_names)), sorted(set(rows.column_names) - set(own))
        if missing or extra or (not reorder_columns and rows.column_names != own):
            difference = f"missing {missing}" if missing else f"not among them {extra}" if extra else "in another order"
            near = f" {suggest(missing[0], extra)}" if missing and extra else ""
            raise InputError(
                f"{self.call}: the rows must have just the columns of data source {source.name!r} "
                f"({', '.join(own)}); {difference}.{near}"
            )
        return rows.select(own)

    def _check_first(self, view: FeatureView, source: DataSource, rows: pa.Table) -> None:
        original = {new: old for old, new in source.field_mapping.items()}
        declared = [f.name for f in (*view.entity_columns, *view.row_fields) if f.name != DUMMY_JOIN_KEY]
        needed = [original.get(name, name) for name in declared]
        needed += [n for n in (source.timestamp_field, source.created_timestamp_column) if n]
        missing = sorted(set(needed) - set(rows.column_names))
        if missing:
            raise InputError(
                f"{self.call}: the rows would be the first of data source {source.name!r}, and lack "
                f"{', '.join(map(repr, missing))}, which feature view {view.name!r} reads. "
                f"{suggest(missing[0], rows.column_names)}"
            )

    def _refuse_nulls(self, rows: pa.Table, source: DataSource, views: Sequence[FeatureView]) -> None:
        original = {new: old for old, new in source.field_mapping.items()}
        keys = [original.get(f.name, f.name) for view in views for f in view.entity_columns]
        # A transformation's inputs need not have the join keys.
        for name in dict.fromkeys([*keys, source.timestamp_field]):
            if name in rows.column_names:
                refuse_nulls(rows.column(name), name, self.call)


def _source_of_history(view: FeatureView) -> DataSource | None:
    """Returns the source that handed-in rows are appended to: of a stream view that of the stream, not its result's."""
    return view.sources[0] if isinstance(view, StreamFeatureView) else view.batch_source
