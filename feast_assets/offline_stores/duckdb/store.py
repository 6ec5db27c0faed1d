"""The offline store on DuckDB: files as they are, queried in process, spilling to disk under a memory limit."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.duckdb_source import DuckDBSource
from feast_assets.definitions.transformation import TransformationMode
from feast_assets.definitions.window import Window
from feast_assets.errors import (
    FeastAssetsError,
    InputError,
    SourceChangedError,
    SourceError,
    SourceWithoutFilesError,
    TransformationError,
)
from feast_assets.offline_stores.abilities import (
    AggregatesWindows,
    AppendsRanges,
    CanProfile,
    CanReplaceWindows,
    QueriesGivenRows,
    ReadsQueries,
    ReadsTexts,
    RunsTransformations,
    SummarizesParts,
    WritesOnce,
)
from feast_assets.offline_stores.base import History, OfflineStore, Survey, WindowStatistics
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.parts import Part, SourceParts
from feast_assets.offline_stores.profile import WindowProfile
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from feast_assets.definitions.window import Bounds
    from feast_assets.offline_stores.duckdb.engine import Engine
    from feast_assets.offline_stores.duckdb.files import SourceTable
    from feast_assets.offline_stores.duckdb.read_parts import ReadParts
    from feast_assets.offline_stores.duckdb.rows import Rows
    from feast_assets.offline_stores.duckdb.window_aggregates import WindowInputs
    from feast_assets.offline_stores.files.readable_files import ReadableFiles
    from feast_assets.offline_stores.part_summaries import PartSummaries
    from feast_assets.types.feast_type import FeastType


_OPENING = threading.Lock()

_T = TypeVar("_T")


class DuckDBOfflineStore(
    OfflineStore,
    AggregatesWindows,
    CanProfile,
    CanReplaceWindows,
    ReadsQueries,
    ReadsTexts,
    RunsTransformations,
    SummarizesParts,
    WritesOnce,
    AppendsRanges,
    QueriesGivenRows,
):
    """History in Parquet, CSV and Delta files.

    Calls are independent of each other and may come from several threads. A returned reader reads on while it is
    consumed, and raises where it meets damaged data, so that a part is never taken for the whole.

    Files may be replaced meanwhile: what was not handed out yet is then read again, as far as needed; of what was, a
    reader raises `SourceChangedError`.
    """

    config_class = DuckDBOfflineStoreConfig
    packages = ("duckdb",)
    functions = frozenset(("sum", "count", "mean", "min", "max", "stddev", "first", "last", "last_k", "count_distinct"))
    modes = frozenset((TransformationMode.SQL, TransformationMode.PANDAS, TransformationMode.PYTHON))

    def __init__(self, config: BaseModel, root: Path):
        assert isinstance(config, DuckDBOfflineStoreConfig)
        self._config = config
        self._root = Path(root).absolute()
        self._opened: Engine | None = None
        self._sealed: Engine | None = None
        self._kept_rows: ReadParts | None = None
        # What is known to be in which state of a DuckDB file.
        self._held_tables: dict[tuple[str, str, str], str] = {}

    @property
    def _engine(self) -> Engine:
        # One for all threads: an engine that nobody holds any more closes its cursors.
        with _OPENING:
            if self._opened is None:
                self._opened = self._new_engine(None)
            return self._opened

    @property
    def _read_parts(self) -> ReadParts:
        from feast_assets.offline_stores.duckdb.read_parts import ReadParts

        with _OPENING:
            if self._kept_rows is None:
                self._kept_rows = ReadParts()
            return self._kept_rows

    def _engine_of(self, files: tuple[str, ...]) -> Engine:
        """Returns an engine that can open no other files than these; the last one is kept for the next query."""
        with _OPENING:
            if self._sealed is None or self._sealed.files != files:
                self._sealed = self._new_engine(files)
            return self._sealed

    def _new_engine(self, files: tuple[str, ...] | None) -> Engine:
        from feast_assets.offline_stores.duckdb.engine import Engine

        c = self._config
        return Engine(self._root, c.memory_limit, c.threads, c.temp_directory, files)

    def schema(self, source: DataSource) -> pa.Schema:
        from feast_assets.offline_stores.duckdb.files import source_schema

        return self._answer(lambda cursor, tables: source_schema(cursor, source, self._root, tables))

    def check_texts(self, source: DataSource, declared: Mapping[str, FeastType]) -> None:
        from feast_assets.offline_stores.duckdb.files import check_texts

        self._answer(lambda cursor, tables: check_texts(cursor, source, self._root, declared, tables))

    def join(
        self, spine: Spine, joins: Sequence[PointInTimeJoin], *, filter_by_created_timestamp: bool = False
    ) -> pa.RecordBatchReader:
        from feast_assets.offline_stores.duckdb.engine import as_reader
        from feast_assets.offline_stores.duckdb.point_in_time import Opened, bounds_of, joined

        if any(join.history.aggregates is not None for join in joins):
            return self._with_windows(spine, joins, filter_by_created_timestamp)
        opened: dict[int, Opened] = {}
        span = spine.span()
        cursors = ExitStack()

        def open_rows(join: PointInTimeJoin) -> Opened:
            before = opened.get(id(join))
            cursor = cursors.enter_context(self._engine.cursor()) if before is None else before.cursor
            rows = self._when_free(lambda: self._rows(cursor, join.history, bounds_of(join, span), row_ids=True))
            opened[id(join)] = Opened(cursor, rows)
            return opened[id(join)]

        def tables() -> list[SourceTable]:
            return [each.rows.table for each in opened.values()]

        try:
            threads = self._config.threads or os.cpu_count() or 1
            schema, batches = joined(spine, joins, open_rows, filter_by_created_timestamp, threads)
        except BaseException as error:
            cursors.close()
            _raise_translated(error, tables())
            raise
        return as_reader(schema, batches, cursors, lambda error: _culprit(error, tables()))

    def _with_windows(
        self, spine: Spine, joins: Sequence[PointInTimeJoin], filter_by_created: bool
    ) -> pa.RecordBatchReader:
        """Returns a join of which some views have windows of time."""
        from feast_assets.offline_stores.duckdb.window_aggregates import beside, windows_at

        plain = [join for join in joins if join.history.aggregates is None]

        def of(join: PointInTimeJoin) -> pa.Table:
            def read(cursor: duckdb.DuckDBPyConnection, tables: list[SourceTable]) -> pa.Table:
                inputs = self._window_inputs(cursor, join.history, tables)
                answer = windows_at(cursor, spine, join, inputs, filter_by_created)
                self._check_held(inputs)
                return answer

            return self._answer(read)

        windows = {id(join): of(join) for join in joins if join.history.aggregates is not None}
        rest = self.join(spine, plain, filter_by_created_timestamp=filter_by_created) if plain else None
        return beside(spine.num_rows, joins, windows, rest)

    def tiles(self, history: History, oldest: Sequence[int], keys: pa.Table | None = None) -> list[pa.Table]:
        from feast_assets.offline_stores.duckdb.window_aggregates import read_tiles

        def read(cursor: duckdb.DuckDBPyConnection, tables: list[SourceTable]) -> list[pa.Table]:
            inputs = self._window_inputs(cursor, history, tables)
            answer = read_tiles(cursor, inputs, oldest, keys)
            self._check_held(inputs)
            return answer

        return self._answer(read)

    def tiles_to_keep(self, history: History, windows: Sequence[Window]) -> pa.RecordBatchReader:
        from feast_assets.definitions.window import Bounds, hull
        from feast_assets.offline_stores.duckdb.window_aggregates import tiles_to_keep

        def read(cursor: duckdb.DuckDBPyConnection, tables: list[SourceTable]) -> pa.Table:
            inputs = self._window_inputs(cursor, history, tables)
            return tiles_to_keep(cursor, inputs, hull([Bounds.of(w) for w in windows]), windows)

        return self._answer(read).to_reader()

    def _window_inputs(
        self, cursor: duckdb.DuckDBPyConnection, history: History, tables: list[SourceTable]
    ) -> WindowInputs:
        """Returns what windows of time are computed of; the tables that are opened are added to a list."""
        from feast_assets.offline_stores.duckdb.replace import held_windows
        from feast_assets.offline_stores.duckdb.window_aggregates import WindowInputs

        def opened(of: History) -> Callable[[Bounds], Rows]:
            def rows_of(bounds: Bounds) -> Rows:
                # With row ids, files of the same columns are not all looked into; kept tiles are many files.
                rows = self._rows(cursor, of, bounds, row_ids=of.kept)
                tables.append(rows.table)
                return rows

            return rows_of

        tiles = history.tiles
        if tiles is None:
            return WindowInputs(history, opened(history))
        return WindowInputs(history, opened(history), opened(tiles), held_windows(tiles.sources[0], self._root))

    def _check_held(self, inputs: WindowInputs) -> None:
        """Raises `SourceChangedError` where other windows have kept tiles than when reading began.

        Those of a new one would count beside its rows.
        """
        from feast_assets.offline_stores.duckdb.replace import held_windows
        from feast_assets.offline_stores.files.changing_files import changed_error

        tiles = inputs.history.tiles
        if tiles is not None and held_windows(tiles.sources[0], self._root) != inputs.held:
            raise changed_error(f"Source {tiles.sources[0].name!r}")

    def read_query(self, sql: str, readable: Sequence[DataSource]) -> pa.Table:
        """Returns the rows of a query; see `ReadsQueries`.

        It is run by an engine of its own, which can open just the files that the query may read.
        """
        import duckdb

        from feast_assets.offline_stores.duckdb.reading_query import message_of, read_query, reading_query

        with self._engine.cursor() as cursor:
            query = reading_query(cursor, sql, "The entity query", self._readable(readable))
        engine = self._engine_of(query.paths)
        try:
            with engine.cursor() as sealed:
                return read_query(sealed, query)
        except duckdb.Error as error:
            raise InputError(f"The entity query fails: {message_of(error)}") from error

    def latest(self, history: History, windows: Sequence[Window], keys: pa.Table | None = None) -> pa.RecordBatchReader:
        from feast_assets.offline_stores.duckdb.latest import newest_rows
        from feast_assets.offline_stores.duckdb.restricted import restricted

        def query(cursor: duckdb.DuckDBPyConnection, rows: Rows) -> Iterator[pa.RecordBatch]:
            return newest_rows(cursor, restricted(cursor, rows, windows, keys))

        return self._read(history, Window(min(windows).start, max(w.end for w in windows)), query)

    def scan(self, history: History, window: Window) -> pa.RecordBatchReader:
        from feast_assets.offline_stores.duckdb.engine import stream

        return self._read(history, window, lambda cursor, rows: stream(cursor, rows.sql))

    def statistics(self, history: History, windows: Sequence[Window]) -> list[WindowStatistics]:
        return list(self.survey(history, windows).windows)

    def survey(self, history: History, windows: Sequence[Window]) -> Survey:
        from feast_assets.offline_stores.duckdb.survey import survey_windows

        return self._answer(lambda cursor, tables: survey_windows(cursor, history, self._root, windows, tables))

    def survey_grid(self, history: History, grid: Partitions, span: Window) -> Survey:
        from feast_assets.offline_stores.duckdb.survey import survey_grid

        return self._answer(lambda cursor, tables: survey_grid(cursor, history, self._root, grid, span, tables))

    def profile(self, history: History, windows: Sequence[Window]) -> list[WindowProfile]:
        from feast_assets.definitions.window import Bounds, hull
        from feast_assets.offline_stores.duckdb.profile import profile_windows

        def read(cursor: duckdb.DuckDBPyConnection, tables: list[SourceTable]) -> list[WindowProfile]:
            rows = self._rows(cursor, history, hull([Bounds.of(w) for w in windows]))
            tables.append(rows.table)
            return profile_windows(cursor, rows, windows)

        return self._answer(read)

    def write(self, source: DataSource, rows: pa.Table) -> None:
        self._append(source, rows)

    def check_write(self, source: DataSource, rows: pa.Table) -> None:
        from feast_assets.offline_stores.duckdb.database_write import check_append_to_table
        from feast_assets.offline_stores.duckdb.write import check_append

        with self._engine.cursor() as cursor:
            if isinstance(source, DuckDBSource):
                self._when_free(lambda: check_append_to_table(cursor, source, self._root, rows))
            else:
                check_append(cursor, source, self._root, rows)

    def write_once(self, source: DataSource, rows: pa.Table, key: str) -> None:
        self._append(source, rows, key)

    def _append(self, source: DataSource, rows: pa.Table, key: str | None = None) -> None:
        from feast_assets.offline_stores.duckdb.database_write import append_to_table
        from feast_assets.offline_stores.duckdb.write import append

        with self._engine.cursor() as cursor:
            if isinstance(source, DuckDBSource):
                append_to_table(cursor, source, self._root, rows, self._when_free, key=key)
            else:
                append(cursor, source, self._root, rows, key=key)

    def has_written(self, source: DataSource, rows: pa.Table, key: str) -> bool:
        from feast_assets.offline_stores.duckdb.database_write import is_appended_to_table
        from feast_assets.offline_stores.duckdb.write import is_appended

        with self._engine.cursor() as cursor:
            if isinstance(source, DuckDBSource):
                return self._when_free(lambda: is_appended_to_table(cursor, source, self._root, rows))
            return is_appended(cursor, source, self._root, rows, key)

    def query_rows(self, rows: pa.Table, function: Callable[..., object], label: str) -> pa.Table:
        from feast_assets.offline_stores.duckdb.transform import query_rows

        with self._engine.cursor() as cursor:
            return query_rows(cursor, rows, function, label, self._readable(()))

    def takes_ranges(self, source: DataSource) -> bool:
        from feast_assets.offline_stores.duckdb.stream_ranges import takes_ranges

        return takes_ranges(source, self._root)

    def covered_ranges(self, source: DataSource, stream: str, start: int, end: int) -> list[tuple[int, int]]:
        from feast_assets.offline_stores.duckdb.stream_ranges import covered_ranges

        return covered_ranges(source, self._root, stream, start, end)

    def append_range(self, source: DataSource, stream: str, start: int, end: int, rows: pa.Table) -> bool:
        from feast_assets.offline_stores.duckdb.stream_ranges import append_range

        return append_range(source, self._root, stream, start, end, rows)

    def compact_ranges(self, source: DataSource, stream: str, settled_seconds: float) -> int:
        from feast_assets.offline_stores.duckdb.stream_ranges import compact_ranges

        return compact_ranges(source, self._root, stream, settled_seconds)

    def replace(
        self, source: DataSource, history: History, windows: Sequence[Window], rows: pa.RecordBatchReader
    ) -> None:
        from feast_assets.offline_stores.duckdb.database_write import replace_windows_of_table
        from feast_assets.offline_stores.duckdb.replace import replace_windows

        with self._engine.cursor() as cursor:
            if isinstance(source, DuckDBSource):
                replace_windows_of_table(cursor, source, self._root, history, windows, rows, self._when_free)
            else:
                replace_windows(cursor, source, self._root, history, windows, rows)

    def parts(self, source: DataSource, *, extents: bool = False) -> SourceParts | None:
        from feast_assets.offline_stores.files.changing_files import again
        from feast_assets.offline_stores.files.file_parts import file_parts

        if isinstance(source, DuckDBSource):
            return self._database_parts(source)
        return again(lambda is_last: file_parts(source, self._root, extents=extents))

    def row_parts(self, source: DataSource) -> list[Part] | None:
        from feast_assets.offline_stores.duckdb.row_parts import row_parts

        return row_parts(source, self._root)

    def read_alone(self, history: History, source: DataSource, parts: Sequence[Part]) -> list[str]:
        from feast_assets.offline_stores.duckdb.row_parts import read_alone

        return self._answer(lambda cursor, tables: read_alone(cursor, history, source, self._root, parts, tables))

    def read_together(self, history: History, source: DataSource, parts: Sequence[Part]) -> str:
        from feast_assets.offline_stores.duckdb.row_parts import read_together

        return self._answer(lambda cursor, tables: read_together(cursor, history, source, self._root, parts, tables))

    def summarize_parts(
        self,
        history: History,
        source: DataSource,
        parts: Sequence[Part],
        beside: Sequence[Part],
        grid: Partitions | None,
    ) -> PartSummaries | None:
        from feast_assets.offline_stores.duckdb.row_parts import summarize_parts

        read_parts = self._read_parts
        return self._answer(
            lambda cursor, tables: summarize_parts(
                cursor, history, source, self._root, parts, beside, grid, tables, read_parts
            )
        )

    def oldest_event(self, history: History) -> datetime | None:
        from feast_assets.definitions.spec import from_micros
        from feast_assets.offline_stores.duckdb.extent import oldest_by_footers, oldest_by_rows

        is_said, oldest = oldest_by_footers(history, self._root)
        if not is_said:
            oldest = self._answer(lambda cursor, tables: oldest_by_rows(cursor, history, self._root, tables))
        return None if oldest is None else from_micros(oldest)

    def _database_parts(self, source: DuckDBSource) -> SourceParts:
        """Returns a table, view or query of a DuckDB file as one part, which shares its file with other tables."""
        from feast_assets.offline_stores.duckdb.database_tables import change_tokens_of_table, look_at

        def look() -> None:
            with self._engine.cursor() as cursor:
                look_at(cursor, source, self._root)

        states = change_tokens_of_table(source, self._root, look)
        if not states or not self._holds(source):
            return SourceParts(is_gone=True)
        return SourceParts(tuple(Part(source.table or source.query, state) for state in states), are_shared=True)

    def _holds(self, source: DuckDBSource) -> bool:
        """Whether a DuckDB file has what a source reads; also where that cannot be told now, as reading it tells."""
        from feast_assets.offline_stores.duckdb.database_tables import database_schema
        from feast_assets.offline_stores.duckdb.table_change_tokens import file_change_token
        from feast_assets.offline_stores.files.source_files import database_path

        path = database_path(source, self._root)
        key, identity = (path, source.table, source.query), file_change_token(path)
        if self._held_tables.get(key) == identity:
            return True
        try:
            with self._engine.cursor() as cursor:
                database_schema(cursor, source, self._root)
        except SourceWithoutFilesError:
            return False
        except FeastAssetsError:
            return True
        self._held_tables[key] = identity
        return True

    def _when_free(self, call: Callable[[], _T]) -> _T:
        """Returns what a function returns; calls it again while another process has a DuckDB file open."""
        from feast_assets.offline_stores.duckdb.held_files import when_free

        return when_free(call, self._config.database_wait_seconds)

    def _readable(self, sources: Sequence[DataSource]) -> ReadableFiles:
        from feast_assets.offline_stores.files.readable_files import ReadableFiles

        return ReadableFiles(self._root, tuple(self._config.readable_paths), tuple(sources))

    def _rows(
        self, cursor: duckdb.DuckDBPyConnection, history: History, bounds: Bounds, *, row_ids: bool = False
    ) -> Rows:
        from feast_assets.offline_stores.duckdb.files import open_source
        from feast_assets.offline_stores.duckdb.rows import declared_types, rows_of
        from feast_assets.offline_stores.duckdb.transform import run_transformation

        if history.transformation is not None:
            table = run_transformation(cursor, history, self._root, bounds, self._readable(history.sources))
        else:
            types = declared_types(history)
            read = None if row_ids else self._read_parts.table_of(cursor, history)
            table = read or open_source(
                cursor,
                history.sources[0],
                self._root,
                types,
                row_ids=row_ids,
                bounds=bounds,
                may_be_absent=history.kept,
                only=None if history.only is None else [part.name for part in history.only],
            )
        if row_ids:
            from feast_assets.offline_stores.duckdb.gather import with_row_ids

            table = with_row_ids(cursor, history, table, bounds)
        return rows_of(cursor, history, table, bounds)

    def _read(
        self,
        history: History,
        window: Window,
        query: Callable[[duckdb.DuckDBPyConnection, Rows], Iterator[pa.RecordBatch]],
    ) -> pa.RecordBatchReader:
        import pyarrow as pa

        from feast_assets.definitions.window import Bounds
        from feast_assets.offline_stores.files.changing_files import again

        def opened(is_last: bool) -> tuple[duckdb.DuckDBPyConnection, Rows]:
            cursor = self._engine.cursor()
            try:
                return cursor, self._rows(cursor, history, Bounds.of(window))
            except BaseException as error:
                cursor.close()
                _raise_translated(error, [])
                raise

        def read(cursor: duckdb.DuckDBPyConnection, rows: Rows) -> Iterator[pa.RecordBatch]:
            try:
                for batch in query(cursor, rows):
                    yield rows.finish(batch)
            except Exception as error:
                _raise_translated(error, [rows.table])
                raise
            finally:
                cursor.close()

        # What is wrong with the source is said at once, what is wrong with its rows when they are read.
        before = [self._when_free(lambda: again(opened))]

        def begun(is_last: bool) -> tuple[list[pa.RecordBatch], Iterator[pa.RecordBatch]]:
            cursor, rows = before.pop() if before else opened(is_last)
            batches = read(cursor, rows)
            first = list(islice(batches, 1))
            _check_unmixed([rows.table], is_last)
            return first, batches

        def batches() -> Iterator[pa.RecordBatch]:
            first, rest = self._when_free(lambda: again(begun))
            yield from first
            yield from rest

        return pa.RecordBatchReader.from_batches(before[0][1].schema(), batches())

    def _answer(self, read: Callable[[duckdb.DuckDBPyConnection, list[SourceTable]], _T]) -> _T:
        """Returns what a query answers at once; it is asked again where files change meanwhile.

        Args:
            read: adds the tables that it opens to a list.
        """
        from feast_assets.offline_stores.files.changing_files import again

        def once(is_last: bool) -> _T:
            tables: list[SourceTable] = []
            with self._engine.cursor() as cursor:
                try:
                    answer = read(cursor, tables)
                except Exception as error:
                    _raise_translated(error, tables)
                    raise
            _check_unmixed(tables, is_last)
            return answer

        return self._when_free(lambda: again(once))


def _check_unmixed(tables: Sequence[SourceTable], is_last: bool) -> None:
    """Raises `SourceChangedError` where what was read may be of two states of a file, and it can be read again.

    At the last try it stands: who has written files all the time will have the windows run again, since their sources
    were not the same from the first look at them until the end.
    """
    from feast_assets.offline_stores.files.changing_files import changed_error

    for table in tables:
        if not is_last and table.may_be_mixed():
            raise changed_error(table.subject)


def _raise_translated(error: BaseException, tables: Sequence[SourceTable]) -> None:
    """Raises an error of DuckDB, Arrow or the file system in the user's words; does nothing with others.

    Data of files that have changed meanwhile are not blamed.
    """
    import duckdb
    import pyarrow as pa

    from feast_assets.offline_stores.files.changing_files import changed_error

    if isinstance(error, (SourceError, TransformationError)) and not isinstance(error, SourceChangedError):
        for table in tables:
            if table.has_changed():
                raise changed_error(table.subject) from error
    if isinstance(error, (duckdb.Error, pa.ArrowException, OSError)) and not isinstance(error, FeastAssetsError):
        raise _culprit(error, tables) from error


def _culprit(error: Exception, tables: Sequence[SourceTable]) -> FeastAssetsError:
    """Returns the error of the table whose file the message names, or of all."""
    from feast_assets.offline_stores.duckdb.engine import failure_of

    for table in tables:
        if len(tables) == 1 or table.is_named_in(str(error)) or table.has_changed():
            return table.failure(error)
    return failure_of(error, ", ".join(t.subject for t in tables) or "The offline store's query", SourceError)
