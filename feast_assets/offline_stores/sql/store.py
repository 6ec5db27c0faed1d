"""The offline store on any SQL engine: a warehouse writes a `SqlEngine`, and says where a source's rows are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.transformation import TransformationMode
from feast_assets.definitions.window import Bounds, Window, hull
from feast_assets.errors import DefinitionError, InputError, SourceError, SourceWithoutFilesError, suggest
from feast_assets.offline_stores.abilities import CanProfile, CanReplaceWindows, RunsTransformations
from feast_assets.offline_stores.base import History, OfflineStore, Survey, WindowStatistics
from feast_assets.offline_stores.declared_columns import like
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine, joined_schema
from feast_assets.offline_stores.sql.engine import SqlEngine, blaming

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

    from feast_assets.definitions.sources.data_source import DataSource
    from feast_assets.offline_stores.profile import WindowProfile
    from feast_assets.offline_stores.sql.relation import Relation
    from feast_assets.offline_stores.sql.rows import SqlRows

BATCH_ROWS = 131_072
"""Rows per batch of what a store returns."""

_SPINE_ROWS_AT_ONCE = 1_000_000
"""Rows of a spine that are joined at once: their features are in memory together."""


class SqlOfflineStore(OfflineStore, RunsTransformations, CanReplaceWindows, CanProfile):
    """History in the tables of a SQL engine, read by one plan: `feast_assets.offline_stores.sql.plan`.

    Calls are independent of each other and may come from several threads; each has a session of its own. A returned
    reader reads on while it is consumed.

    Functions of transformations run in this process. A query that a function returns is in the engine's SQL, and runs
    there as it is, as the query of a source does. Profiles are made of rows that are read into this process.
    """

    modes = frozenset((TransformationMode.PYTHON, TransformationMode.PANDAS, TransformationMode.SQL))

    @abstractmethod
    def connect(self) -> SqlEngine:
        """Returns a session; the caller closes it."""

    @abstractmethod
    def relation(self, engine: SqlEngine, source: DataSource) -> Relation:
        """Returns the rows of a source.

        Raises:
            SourceWithoutFilesError: there is no such table.
            SourceError: it cannot be read.
            NotSupportedError: it is a source of another kind.
        """

    @abstractmethod
    def target(self, source: DataSource) -> exp.Table:
        """Returns the table that a source's rows are written to.

        Raises:
            NotSupportedError: nothing can be written to the source.
        """

    def schema(self, source: DataSource) -> pa.Schema:
        with self.connect() as engine:
            return self.relation(engine, source).mapped_schema()

    def join(
        self, spine: Spine, joins: Sequence[PointInTimeJoin], *, filter_by_created_timestamp: bool = False
    ) -> pa.RecordBatchReader:
        import pyarrow as pa

        from feast_assets.offline_stores.sql.join import bounds_of, joined

        schema = joined_schema(joins)
        stack = ExitStack()
        engine = stack.enter_context(self.connect())
        try:
            opened = [self._rows(engine, stack, join.history, bounds_of(spine, join)) for join in joins]
        except BaseException:
            stack.close()
            raise

        def batches() -> Iterator[pa.RecordBatch]:
            with stack:
                for start in range(0, spine.num_rows, _SPINE_ROWS_AT_ONCE):
                    part = Spine(spine.table.slice(start, _SPINE_ROWS_AT_ONCE))
                    yield from _sliced(joined(engine, part, joins, opened, filter_by_created_timestamp))

        return pa.RecordBatchReader.from_batches(schema, batches())

    def latest(self, history: History, windows: Sequence[Window], keys: pa.Table | None = None) -> pa.RecordBatchReader:
        from feast_assets.offline_stores.sql import plan

        bounds = [Bounds.of(window) for window in windows]
        key_columns = None if keys is None else keys.select([key.name for key in history.join_keys])

        def statement(rows: SqlRows, engine: SqlEngine, stack: ExitStack) -> exp.Select:
            if key_columns is None or not rows.keys:
                return plan.latest(rows, bounds)
            return plan.latest(rows, bounds, stack.enter_context(engine.stage(key_columns.rename_columns(rows.keys))))

        return self._read(history, hull(bounds), statement)

    def scan(self, history: History, window: Window) -> pa.RecordBatchReader:
        from feast_assets.offline_stores.sql import plan

        bounds = Bounds.of(window)
        return self._read(history, bounds, lambda rows, engine, stack: plan.scan(rows, [bounds]))

    def statistics(self, history: History, windows: Sequence[Window]) -> list[WindowStatistics]:
        return list(self.survey(history, windows).windows)

    def survey(self, history: History, windows: Sequence[Window]) -> Survey:
        from feast_assets.offline_stores.sql.survey import Surveyed, survey_windows

        if not windows:
            return Survey([])
        lookback = timedelta(0) if history.transformation is None else history.lookback
        with self.connect() as engine:
            inputs = [Surveyed.of(history, self.relation(engine, source)) for source in history.sources]
            return survey_windows(engine, inputs, windows, lookback)

    def survey_grid(self, history: History, grid: Partitions, span: Window) -> Survey:
        from feast_assets.offline_stores.sql.survey import Surveyed, survey_grid

        if grid.end is not None:
            span = Window(span.start, min(span.end, grid.end))
        if span.start >= span.end:
            return Survey([])
        if history.transformation is not None or not history.timestamp_field:
            return super().survey_grid(history, grid, span)
        with self.connect() as engine:
            return survey_grid(engine, Surveyed.of(history, self.relation(engine, history.sources[0])), grid, span)

    def profile(self, history: History, windows: Sequence[Window]) -> list[WindowProfile]:
        from feast_assets.offline_stores.sql import plan
        from feast_assets.offline_stores.sql.profile import profiled

        if not windows:
            return []
        bounds = [Bounds.of(window) for window in windows]
        rows = self._read(history, hull(bounds), lambda rows, engine, stack: plan.scan(rows, bounds))
        return profiled(rows, history, windows)

    def write(self, source: DataSource, rows: pa.Table) -> None:
        target = self.target(source)
        with self.connect() as engine, blaming(InputError, f"Source {source.name!r}: these rows cannot be written"):
            engine.append(target, self.fitted(engine, source, rows).to_reader(BATCH_ROWS))

    def fitted(self, engine: SqlEngine, source: DataSource, rows: pa.Table) -> pa.Table:
        """Returns rows as they are written to a source: with its columns, in their types.

        Raises:
            InputError: the columns differ from the source's, or a value does not fit.
        """
        existing = self._existing(engine, source)
        if existing is None:
            _check_times(source, rows.column_names)
            return rows
        return like(rows, _as_written(existing.schema, rows.schema), existing.subject)

    def replace(
        self, source: DataSource, history: History, windows: Sequence[Window], rows: pa.RecordBatchReader
    ) -> None:
        from sqlglot import exp

        from feast_assets.offline_stores.sql.replace import stored_rows

        ordered = sorted(set(windows))
        for before, after in pairwise(ordered):
            if after.start < before.end:
                raise InputError(f"Source {source.name!r}: windows {before} and {after} overlap.")
        if not source.timestamp_field:
            raise DefinitionError(f"Source {source.name!r}: a source that keeps results needs a timestamp_field.")
        target = self.target(source)
        with self.connect() as engine:
            existing = self._existing(engine, source)
            old = (
                None
                if existing is None
                else exp.and_(*existing.within([Bounds.of(window) for window in ordered]), exp.true())
            )
            with blaming(SourceError, f"Source {source.name!r}: these rows cannot be written"):
                engine.append(target, stored_rows(source, history, ordered, rows), instead_of=old)

    def _existing(self, engine: SqlEngine, source: DataSource) -> Relation | None:
        try:
            return self.relation(engine, source)
        except SourceWithoutFilesError:
            return None

    def _read(
        self, history: History, bounds: Bounds, statement: Callable[[SqlRows, SqlEngine, ExitStack], exp.Select]
    ) -> pa.RecordBatchReader:
        """Returns the rows of a statement; what is wrong with the source is said at once, with its rows when read."""
        import pyarrow as pa

        stack = ExitStack()
        engine = stack.enter_context(self.connect())
        try:
            rows = self._rows(engine, stack, history, bounds)
        except BaseException:
            stack.close()
            raise

        def batches() -> Iterator[pa.RecordBatch]:
            with stack, blaming(rows.relation.error, f"{rows.relation.subject} cannot be read"):
                sql = rows.relation.render(statement(rows, engine, stack))
                for batch in engine.query(sql):
                    yield from map(rows.finish, _sliced(batch))

        return pa.RecordBatchReader.from_batches(rows.schema(), batches())

    def _rows(self, engine: SqlEngine, stack: ExitStack, history: History, bounds: Bounds) -> SqlRows:
        """Returns the rows of a history; those that a transformation computes, for some bounds."""
        from feast_assets.offline_stores.sql.rows import SqlRows

        inputs = [self.relation(engine, source) for source in history.sources]
        if history.transformation is None:
            return SqlRows(history, inputs[0])
        from feast_assets.offline_stores.sql.transform import computed

        return SqlRows(history, computed(engine, stack, history, inputs, bounds))


def _as_written(schema: pa.Schema, given: pa.Schema) -> pa.Schema:
    """Returns the types that rows must fit to be written: JSON and UUIDs as text, decimals of any scale as they are."""
    import pyarrow as pa

    from feast_assets.offline_stores.sql.engine import ANY_SCALE

    for i, column in enumerate(schema):
        if isinstance(column.type, pa.BaseExtensionType):
            schema = schema.set(i, pa.field(column.name, pa.string()))
        elif column.metadata == ANY_SCALE and column.name in given.names:
            kind = given.field(column.name).type
            if pa.types.is_decimal(kind) or pa.types.is_integer(kind):
                schema = schema.set(i, pa.field(column.name, kind))
    return schema


def _sliced(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


def _check_times(source: DataSource, names: Sequence[str]) -> None:
    for name in (source.timestamp_field, source.created_timestamp_column):
        if name and name not in names:
            raise InputError(f"Source {source.name!r}: the rows have no column {name!r}. {suggest(name, names)}")
