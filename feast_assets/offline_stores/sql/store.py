"""The offline store on any SQL engine: a warehouse writes a `SqlEngine`, and says where a source's rows are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from feast_assets.definitions.partitions import Partitions, Window
from feast_assets.definitions.spec import to_micros
from feast_assets.errors import (
    DefinitionError,
    InputError,
    SourceError,
    SourceWithoutFilesError,
    suggest,
)
from feast_assets.offline_stores.abilities import CanReplaceWindows
from feast_assets.offline_stores.base import (
    ALWAYS,
    History,
    OfflineStore,
    Survey,
    WindowStatistics,
)
from feast_assets.offline_stores.declared_columns import like
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine, joined_schema
from feast_assets.offline_stores.sql.engine import SqlEngine, blaming

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

    from feast_assets.definitions.sources.data_source import DataSource
    from feast_assets.offline_stores.sql.relation import Bounds, Relation
    from feast_assets.offline_stores.sql.rows import SqlRows
    from feast_assets.offline_stores.sql.summary import Summary

BATCH_ROWS = 131_072
"""Rows per batch of what a store returns."""

_SPINE_ROWS_AT_ONCE = 1_000_000
"""Rows of a spine that are joined at once: their features are in memory together."""

_EDGES_AT_ONCE = 2_000
"""Edges of windows in one statement. Where there are more, each statement reads the rows between its own edges."""


class SqlOfflineStore(OfflineStore, CanReplaceWindows):
    """History in the tables of a SQL engine, read by one plan: `feast_assets.offline_stores.sql.plan`.

    Calls are independent of each other and may come from several threads; each has a session of its own. A returned
    reader reads on while it is consumed.
    """

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

        from feast_assets.offline_stores.sql.join import joined
        from feast_assets.offline_stores.sql.rows import SqlRows

        schema = joined_schema(joins)
        stack = ExitStack()
        engine = stack.enter_context(self.connect())
        try:
            opened = [SqlRows(join.history, self.relation(engine, join.history.sources[0])) for join in joins]
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

        bounds = [_bounds(window) for window in windows]
        wanted = None if keys is None else keys.select([key.name for key in history.join_keys])

        def statement(rows: SqlRows, engine: SqlEngine, stack: ExitStack) -> exp.Select:
            if wanted is None or not rows.keys:
                return plan.latest(rows, bounds)
            return plan.latest(rows, bounds, stack.enter_context(engine.stage(wanted.rename_columns(rows.keys))))

        return self._read(history, statement)

    def scan(self, history: History, window: Window) -> pa.RecordBatchReader:
        from feast_assets.offline_stores.sql import plan

        return self._read(history, lambda rows, engine, stack: plan.scan(rows, [_bounds(window)]))

    def statistics(self, history: History, windows: Sequence[Window]) -> list[WindowStatistics]:
        return self.survey(history, windows).windows

    def survey(self, history: History, windows: Sequence[Window]) -> Survey:
        from feast_assets.offline_stores.sql import plan
        from feast_assets.offline_stores.sql.relation import Bounds
        from feast_assets.offline_stores.sql.summary import Summary, whole_of

        wanted = [_bounds(window) for window in windows]
        if not wanted:
            return Survey([])
        edges = sorted({edge for each in wanted for edge in (each.start, each.end) if edge is not None})
        oldest = None if any(each.start is None for each in wanted) else edges[0]
        newest = None if any(each.end is None for each in wanted) else edges[-1]
        # Cell 0 is what lies before all edges, cell i begins with edge i - 1.
        cells: dict[int, Summary] = {}
        untimed = Summary()
        with self.connect() as engine:
            relation, hashed = self._hashed(engine, history)
            for first in range(0, max(len(edges), 1), _EDGES_AT_ONCE):
                some, rest = edges[first : first + _EDGES_AT_ONCE], edges[first + _EDGES_AT_ONCE :]
                between = Bounds(some[0] if first else oldest, rest[0] if rest else newest)
                untimed = Summary()
                for cell, summary in _summaries(
                    engine, relation, plan.statistics(relation.dialect, hashed([between]), some)
                ):
                    (untimed if cell is None else cells.setdefault(first + cell, Summary())).add(summary)
        if not relation.timestamp:
            return Survey([untimed.statistics(window) for window in windows])
        position = {edge: i for i, edge in enumerate(edges, 1)}
        found = []
        for window, each in zip(windows, wanted, strict=True):
            start = 0 if each.start is None else position[each.start]
            end = len(edges) + 1 if each.end is None else position[each.end]
            found.append(whole_of(cells[cell] for cell in range(start, end) if cell in cells).statistics(window))
        return Survey(found, untimed.rows + untimed.null_keys)

    def survey_grid(self, history: History, grid: Partitions, span: Window) -> Survey:
        from feast_assets.definitions.spec import from_micros
        from feast_assets.offline_stores.sql import plan
        from feast_assets.offline_stores.sql.summary import Summary

        if grid.end is not None:
            span = Window(span.start, min(span.end, grid.end))
        if span.start >= span.end:
            return Survey([])
        by_start: dict[Any, Summary] = {}
        untimed = Summary()
        with self.connect() as engine:
            relation, hashed = self._hashed(engine, history)
            if not relation.timestamp:
                return super().survey_grid(history, grid, span)
            statement = plan.grid_statistics(relation.dialect, hashed([_bounds(span)]), grid.grain)
            for cell, summary in _summaries(engine, relation, statement):
                start = None if cell is None else grid.floor(from_micros(cell))
                (untimed if start is None else by_start.setdefault(start, Summary())).add(summary)
        found = []
        for start in sorted(by_start):
            window = Window(max(start, span.start), min(grid.next(start), span.end))
            found.append(by_start[start].statistics(window))
        return Survey(found, untimed.rows + untimed.null_keys)

    def write(self, source: DataSource, rows: pa.Table) -> None:
        target = self.target(source)
        with self.connect() as engine:
            found = self._existing(engine, source)
            if found is not None:
                rows = like(rows, _as_written(found.schema, rows.schema), found.what)
            else:
                _check_times(source, rows.column_names)
            with blaming(InputError, f"Source {source.name!r}: these rows cannot be written"):
                engine.append(target, rows.to_reader(BATCH_ROWS))

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
            found = self._existing(engine, source)
            old = (
                None if found is None else exp.and_(*found.within([_bounds(window) for window in ordered]), exp.true())
            )
            with blaming(SourceError, f"Source {source.name!r}: these rows cannot be written"):
                engine.append(target, stored_rows(source, history, ordered, rows), instead_of=old)

    def _existing(self, engine: SqlEngine, source: DataSource) -> Relation | None:
        try:
            return self.relation(engine, source)
        except SourceWithoutFilesError:
            return None

    def _read(
        self, history: History, statement: Callable[[SqlRows, SqlEngine, ExitStack], exp.Select]
    ) -> pa.RecordBatchReader:
        """Returns the rows of a statement; what is wrong with the source is said at once, with its rows when read."""
        import pyarrow as pa

        from feast_assets.offline_stores.sql.rows import SqlRows

        stack = ExitStack()
        engine = stack.enter_context(self.connect())
        try:
            rows = SqlRows(history, self.relation(engine, history.sources[0]))
        except BaseException:
            stack.close()
            raise

        def batches() -> Iterator[pa.RecordBatch]:
            with stack, blaming(rows.relation.error, f"{rows.relation.what} cannot be read"):
                sql = rows.relation.render(statement(rows, engine, stack))
                for batch in engine.query(sql):
                    yield from map(rows.finish, _sliced(batch))

        return pa.RecordBatchReader.from_batches(rows.schema(), batches())

    def _hashed(self, engine: SqlEngine, history: History) -> tuple[Relation, Callable[[Sequence[Bounds]], exp.Select]]:
        """Returns where the rows of a history are, and what makes statements of their hashes."""
        from feast_assets.offline_stores.sql.rows import SqlRows

        relation = self.relation(engine, history.sources[0])
        if not history.all_columns:
            return relation, SqlRows(history, relation).hashed
        values = [relation.carried(relation.columns[name]) for name in sorted(relation.columns)]
        return relation, lambda bounds: relation.hashed(values, (), bounds)


def _bounds(window: Window) -> Bounds:
    from feast_assets.offline_stores.sql.relation import Bounds

    return Bounds(
        None if window.start <= ALWAYS.start else to_micros(window.start),
        None if window.end >= ALWAYS.end else to_micros(window.end),
    )


def _summaries(engine: SqlEngine, relation: Relation, statement: exp.Select) -> Iterator[tuple[int | None, Summary]]:
    """Yields cells and what is said of their rows; a cell that is a moment is told in microseconds."""
    import pyarrow as pa

    from feast_assets.offline_stores.sql.summary import Summary

    with blaming(relation.error, f"{relation.what} cannot be read"):
        found = engine.query(relation.render(statement)).read_all()
    for i, column in enumerate(found.schema):
        if pa.types.is_timestamp(column.type):
            micros = found.column(i).cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
            found = found.set_column(i, column.name, micros)
    for row in found.to_pylist():
        yield row["cell"], Summary.of(row)


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
