"""The offline store on DuckDB: files as they are, queried in process, spilling to disk under a memory limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from feast_assets.definitions.data_source import DataSource
from feast_assets.definitions.partitions import Partitions, Window
from feast_assets.errors import FeastAssetsError, SourceError
from feast_assets.offline_stores.base import History, OfflineStore, PointInTimeJoin, Survey, WindowStatistics
from feast_assets.offline_stores.profile import WindowProfile

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from feast_assets.offline_stores.duckdb_engine import Engine
    from feast_assets.offline_stores.duckdb_files import SourceTable
    from feast_assets.offline_stores.duckdb_rows import Bounds, Rows


_OPENING = threading.Lock()


class DuckDBOfflineStoreConfig(BaseModel):
    """The ``offline_store`` section of ``feature_store.yaml``.

    Attributes:
        memory_limit: such as ``"4GB"``; beyond it, data spills to disk. Left out, 80 % of the machine's memory.
        threads: left out, one per core.
        temp_directory: where it spills to, relative to the repository; left out, the system's folder for temporary
            files.
    """

    model_config = ConfigDict(extra="forbid")

    type: Literal["duckdb"] = "duckdb"
    memory_limit: str | None = None
    threads: int | None = Field(default=None, ge=1)
    temp_directory: str | None = None


class DuckDBOfflineStore(OfflineStore):
    """History in Parquet, CSV and Delta files.

    Calls are independent of each other and may come from several threads. A returned reader reads on while it is
    consumed, and raises where it meets damaged data, so that a part is never taken for the whole.
    """

    config_class = DuckDBOfflineStoreConfig

    def __init__(self, config: BaseModel, root: Path):
        assert isinstance(config, DuckDBOfflineStoreConfig)
        self._config = config
        self._root = Path(root).absolute()
        self._opened: Engine | None = None

    @property
    def _engine(self) -> Engine:
        # One for all threads: an engine that nobody holds any more closes its cursors.
        with _OPENING:
            if self._opened is None:
                from feast_assets.offline_stores.duckdb_engine import Engine

                c = self._config
                self._opened = Engine(self._root, c.memory_limit, c.threads, c.temp_directory)
            return self._opened

    def schema(self, source: DataSource) -> pa.Schema:
        from feast_assets.offline_stores.duckdb_files import source_schema

        with self._engine.cursor() as cursor:
            return source_schema(cursor, source, self._root)

    def point_in_time_join(
        self,
        spine: pa.Table | str,
        joins: Sequence[PointInTimeJoin],
        *,
        timestamp_column: str | None = None,
        filter_by_created_timestamp: bool = False,
    ) -> pa.RecordBatchReader:
        from feast_assets.offline_stores.duckdb_engine import as_reader
        from feast_assets.offline_stores.duckdb_point_in_time import joined, read_spine

        cursor = self._engine.cursor()
        tables: list[SourceTable] = []
        try:
            rows = read_spine(cursor, spine, timestamp_column)

            def rows_for(join: PointInTimeJoin) -> Rows:
                found = self._rows(cursor, join.history, rows.bounds(join), row_ids=True)
                tables.append(found.table)
                return found

            schema, batches = joined(cursor, rows, joins, rows_for, filter_by_created_timestamp)
        except BaseException as error:
            cursor.close()
            _raise_translated(error, tables)
            raise
        return as_reader(schema, batches, cursor, lambda error: _culprit(error, tables))

    def latest(self, history: History, window: Window) -> pa.RecordBatchReader:
        from feast_assets.offline_stores.duckdb_latest import newest_rows

        return self._read(history, window, newest_rows)

    def latest_of(self, history: History, windows: Sequence[Window], keys: pa.Table) -> pa.RecordBatchReader:
        from feast_assets.offline_stores.duckdb_latest import newest_rows
        from feast_assets.offline_stores.duckdb_restricted import restricted

        def query(cursor: duckdb.DuckDBPyConnection, rows: Rows) -> Iterator[pa.RecordBatch]:
            return newest_rows(cursor, restricted(cursor, rows, windows, keys))

        return self._read(history, Window(min(windows).start, max(w.end for w in windows)), query)

    def scan(self, history: History, window: Window) -> pa.RecordBatchReader:
        from feast_assets.offline_stores.duckdb_engine import stream

        return self._read(history, window, lambda cursor, rows: stream(cursor, rows.sql))

    def statistics(self, history: History, windows: Sequence[Window]) -> list[WindowStatistics]:
        return self.survey(history, windows).windows

    def survey(self, history: History, windows: Sequence[Window]) -> Survey:
        from feast_assets.offline_stores.duckdb_survey import survey_windows

        return self._surveyed(lambda cursor, tables: survey_windows(cursor, history, self._root, windows, tables))

    def survey_grid(self, history: History, grid: Partitions, span: Window) -> Survey:
        from feast_assets.offline_stores.duckdb_survey import survey_grid

        return self._surveyed(lambda cursor, tables: survey_grid(cursor, history, self._root, grid, span, tables))

    def _surveyed(self, survey: Callable[[duckdb.DuckDBPyConnection, list[SourceTable]], Survey]) -> Survey:
        tables: list[SourceTable] = []
        with self._engine.cursor() as cursor:
            try:
                return survey(cursor, tables)
            except Exception as error:
                _raise_translated(error, tables)
                raise

    def profile(self, history: History, windows: Sequence[Window]) -> list[WindowProfile]:
        from feast_assets.offline_stores.duckdb_profile import profile_windows
        from feast_assets.offline_stores.duckdb_rows import Bounds
        from feast_assets.offline_stores.duckdb_statistics import hull

        tables: list[SourceTable] = []
        with self._engine.cursor() as cursor:
            try:
                rows = self._rows(cursor, history, hull([Bounds.of(w) for w in windows]))
                tables.append(rows.table)
                return profile_windows(cursor, rows, windows)
            except Exception as error:
                _raise_translated(error, tables)
                raise

    def write(self, source: DataSource, rows: pa.Table) -> None:
        from feast_assets.offline_stores.duckdb_write import append

        with self._engine.cursor() as cursor:
            append(cursor, source, self._root, rows)

    def replace(
        self, source: DataSource, history: History, windows: Sequence[Window], rows: pa.RecordBatchReader
    ) -> None:
        from feast_assets.offline_stores.duckdb_replace import replace_windows

        with self._engine.cursor() as cursor:
            replace_windows(cursor, source, self._root, history, windows, rows)

    def source_versions(self, source: DataSource, windows: Sequence[Window]) -> list[str]:
        from feast_assets.offline_stores.duckdb_versions import source_versions

        with self._versions(source) as cursor:
            return source_versions(cursor, source, self._root, windows)

    def grid_versions(self, source: DataSource, grid: Partitions, span: Window) -> dict[Window, str]:
        from feast_assets.offline_stores.duckdb_versions import grid_versions

        with self._versions(source) as cursor:
            return grid_versions(cursor, source, self._root, grid, span)

    @contextmanager
    def _versions(self, source: DataSource) -> Iterator[duckdb.DuckDBPyConnection]:
        import duckdb
        import pyarrow as pa

        from feast_assets.offline_stores.duckdb_engine import failure_of
        from feast_assets.offline_stores.source_files import describe

        with self._engine.cursor() as cursor:
            try:
                yield cursor
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                raise failure_of(error, describe(source), SourceError) from error

    def oldest_event(self, history: History) -> datetime | None:
        from feast_assets.definitions.spec import from_micros
        from feast_assets.offline_stores.duckdb_extent import oldest_by_footers, oldest_by_rows

        is_said, oldest = oldest_by_footers(history, self._root)
        if not is_said:
            tables: list[SourceTable] = []
            with self._engine.cursor() as cursor:
                try:
                    oldest = oldest_by_rows(cursor, history, self._root, tables)
                except Exception as error:
                    _raise_translated(error, tables)
                    raise
        return None if oldest is None else from_micros(oldest)

    def extent(self, history: History) -> tuple[datetime, datetime] | None:
        from feast_assets.definitions.spec import from_micros
        from feast_assets.offline_stores.duckdb_extent import extent_by_footers

        found = extent_by_footers(history, self._root)
        return None if found is None else (from_micros(found[0]), from_micros(found[1]))

    def state(self, history: History) -> frozenset[str]:
        from feast_assets.offline_stores.source_files import stored_state

        return frozenset(text for source in history.sources for text in stored_state(source, self._root))

    def _rows(
        self, cursor: duckdb.DuckDBPyConnection, history: History, bounds: Bounds, *, row_ids: bool = False
    ) -> Rows:
        from feast_assets.offline_stores.duckdb_files import open_source
        from feast_assets.offline_stores.duckdb_rows import declared_types, rows_of
        from feast_assets.offline_stores.transform import run_transformation

        if history.transformation is not None:
            table = run_transformation(cursor, history, self._root, bounds)
        else:
            types = declared_types(history)
            table = open_source(cursor, history.sources[0], self._root, types, row_ids=row_ids)
        if row_ids:
            from feast_assets.offline_stores.duckdb_gather import with_row_ids

            table = with_row_ids(cursor, history, table, bounds)
        return rows_of(cursor, history, table, bounds)

    def _read(
        self,
        history: History,
        window: Window,
        query: Callable[[duckdb.DuckDBPyConnection, Rows], Iterator[pa.RecordBatch]],
    ) -> pa.RecordBatchReader:
        from feast_assets.offline_stores.duckdb_engine import as_reader
        from feast_assets.offline_stores.duckdb_rows import Bounds

        cursor = self._engine.cursor()
        try:
            rows = self._rows(cursor, history, Bounds.of(window))
        except BaseException as error:
            cursor.close()
            _raise_translated(error, [])
            raise
        batches = (rows.finish(batch) for batch in query(cursor, rows))
        return as_reader(rows.schema(), batches, cursor, rows.table.failure)


def _raise_translated(error: BaseException, tables: Sequence[SourceTable]) -> None:
    """Raises an error of DuckDB, Arrow or the file system in the user's words; does nothing with others."""
    import duckdb
    import pyarrow as pa

    if isinstance(error, (duckdb.Error, pa.ArrowException, OSError)) and not isinstance(error, FeastAssetsError):
        raise _culprit(error, tables) from error


def _culprit(error: Exception, tables: Sequence[SourceTable]) -> FeastAssetsError:
    """Returns the error of the table whose file the message names, or of all."""
    from feast_assets.offline_stores.duckdb_engine import failure_of

    for table in tables:
        if len(tables) == 1 or any(path in str(error) for path in table.paths):
            return table.failure(error)
    return failure_of(error, ", ".join(t.what for t in tables) or "The offline store's query", SourceError)
