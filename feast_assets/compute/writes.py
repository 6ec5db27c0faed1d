"""Writes of handed-in rows: everything is checked and encoded first, then stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from feast_assets.compute.ingestion import check_keys, encode_ingested, source_rows, to_table
from feast_assets.definitions.data_source import DataSource
from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import InputError, PushSourceNotFoundException, SourceWithoutFilesError, shown, suggest
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.online_stores.base import EncodedRows, OnlineStore
from feast_assets.registry.snapshot import RegistrySnapshot

if TYPE_CHECKING:
    import pyarrow as pa


def views_of_push_source(snapshot: RegistrySnapshot, name: str) -> list[FeatureView]:
    """Returns the views that a push source feeds, at least one.

    Raises:
        PushSourceNotFoundException: there is no such push source, or no view uses it.
    """
    if not isinstance(name, str):
        raise InputError(f"The name of a push source is text, not {type(name).__name__} {shown(name)}.")
    pushed = [v for v in (*snapshot.feature_views, *snapshot.label_views) if v.stream_source is not None]
    views = [v for v in pushed if v.stream_source is not None and v.stream_source.name == name]
    if not views:
        raise PushSourceNotFoundException(
            name, snapshot.project, [v.stream_source.name for v in pushed if v.stream_source is not None]
        )
    return views


class Write:
    """Rows for some views, checked and ready.

    Args:
        offline_store, online_store: called when a store is needed.
        what: names the call in errors.
    """

    def __init__(
        self,
        project: str,
        offline_store: Callable[[], OfflineStore],
        online_store: Callable[[], OnlineStore],
        what: str,
    ):
        self._project = project
        self._offline_store = offline_store
        self._online_store = online_store
        self._what = what
        self._online: list[tuple[str, EncodedRows]] = []
        self._offline: list[tuple[DataSource, pa.Table]] = []

    def add_online(self, view: FeatureView, rows: Any) -> Write:
        """Adds rows to be put into a view's online table."""
        if not view.online:
            raise InputError(f"{self._what}: feature view {view.name!r} is not online (online=False).")
        encoded = encode_ingested(view, to_table(rows, self._what), self._what)
        self._online.append((view.online_table(self._project), encoded))
        return self

    def add_offline(self, view: FeatureView, rows: Any, reorder_columns: bool) -> Write:
        """Adds rows to be appended to a view's batch source, whose columns they must have."""
        if view.batch_source is None:
            raise InputError(f"{self._what}: feature view {view.name!r} has no batch source to write to.")
        source = view.batch_source
        table = source_rows(source, to_table(rows, self._what))
        check_keys(view, source, table, self._what)
        try:
            mapped = self._offline_store().schema(source)
        except SourceWithoutFilesError:
            # The first rows make the first file, so they say what its columns are.
            self._check_first(view, source, table)
            self._offline.append((source, table))
            return self
        own = source_rows(source, mapped.empty_table()).column_names
        missing, extra = sorted(set(own) - set(table.column_names)), sorted(set(table.column_names) - set(own))
        if missing or extra or (not reorder_columns and table.column_names != own):
            told = f"missing {missing}" if missing else f"not among them {extra}" if extra else "in another order"
            near = f" {suggest(missing[0], extra)}" if missing and extra else ""
            raise InputError(
                f"{self._what}: the rows must have just the columns of data source {source.name!r} "
                f"({', '.join(own)}); {told}.{near}"
            )
        self._offline.append((source, table.select(own)))
        return self

    def _check_first(self, view: FeatureView, source: DataSource, rows: pa.Table) -> None:
        original = {new: old for old, new in source.field_mapping.items()}
        declared = [f.name for f in view.schema if f.name != DUMMY_JOIN_KEY]
        wanted = [original.get(name, name) for name in declared]
        wanted += [n for n in (source.timestamp_field, source.created_timestamp_column) if n]
        missing = sorted(set(wanted) - set(rows.column_names))
        if missing:
            raise InputError(
                f"{self._what}: the rows would be the first of data source {source.name!r}, and lack "
                f"{', '.join(map(repr, missing))}, which feature view {view.name!r} reads. "
                f"{suggest(missing[0], rows.column_names)}"
            )

    def offline(self) -> None:
        """Appends the rows to the batch sources."""
        for source, rows in self._offline:
            self._offline_store().write(source, rows)

    def online(self) -> None:
        """Puts the rows into the online tables."""
        for table, rows in self._online:
            self._online_store().put_many(table, [rows])

    async def online_async(self) -> None:
        """Puts the rows into the online tables without blocking the event loop."""
        for table, rows in self._online:
            await self._online_store().put_many_async(table, [rows])
