"""What an on-demand view's function makes of rows, for views that are kept in the online store.

The same function runs over rows that are handed in and over history, where `as_of_rows` finds what several source views
held at one time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.stored_on_demand_view import EVENT_TIME, StoredOnDemandView
from feast_assets.errors import InputError, SourceError, TransformationError, suggest
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP, history_of
from feast_assets.offline_stores.declared_columns import result_time_name, result_types
from feast_assets.retrieval.as_of_rows import as_of_rows
from feast_assets.retrieval.columns import ArrowColumn, Values
from feast_assets.retrieval.on_demand import OnDemandFunction
from feast_assets.retrieval.references import function_inputs
from feast_assets.retrieval.request import FeatureInput, FunctionInput, OnDemandRun, RowInput, ViewRead
from feast_assets.transformations.calls import argument_of, called, function_of
from feast_assets.transformations.results import columns_of, result_table
from feast_assets.types.feast_type import FeastType, UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa

_Function = Callable[..., object]


class StoredViewRows:
    """Makes the rows of one stored on-demand view.

    Args:
        view: the view; where its source views have transformations, with their functions attached.
        function: the on-demand view's.
    """

    def __init__(self, view: StoredOnDemandView, function: _Function):
        self._view = view
        self._subject = f"On-demand view {view.name!r}"
        self._inputs, self._reads = function_inputs(view.on_demand, {v.name: v for v in view.source_views})
        self._function = function
        self._types: dict[str, FeastType] = {f.name: f.dtype for f in (*view.entity_columns, *view.features)}

    def of_handed_in(self, rows: pa.Table, call: str) -> pa.Table:
        """Returns what the function makes of rows that a caller hands in.

        Args:
            rows: what the function takes (features by their bare or full names, join keys, values of a request), the
                join keys, and perhaps the event time; now is the time where that is left out. Inputs that the function
                has no use for may be left out, as in Feast.
            call: names the call in errors.

        Returns:
            the view's join keys, features and event time.

        Raises:
            SourceError: an input is of another type.
            InputError: a join key is missing.
            TransformationError: the function failed, or does not return what it should.
        """
        inputs = [each for each in self._inputs if any(name in rows.column_names for name in each.names)]
        columns = [self._given(each, rows, call) for each in inputs]
        table = {name: rows.column(name) for name in self._view.join_keys if name in rows.column_names}
        time = next((n for n in (self._view.event_time, EVENT_TIME) if n in rows.column_names), None)
        if time is not None:
            table[EVENT_TIMESTAMP] = rows.column(time)
        return self._made(inputs, columns, table, len(rows)).rename_columns({EVENT_TIMESTAMP: self._view.event_time})

    def of_sources(self, *tables: pa.Table) -> pa.Table:
        """Returns what the function makes of the rows of the view's sources, one table each, in their order.

        It is the function of the view's transformation; the result has the columns of the view's history.
        """
        import pyarrow as pa

        rows = {view.name: self._rows_of(view, tables[self._view.inputs_of(view)]) for view in self._view.source_views}
        read = [self._with_typed_keys(_renamed(rows[read.view.name], read), read) for read in self._reads]
        joined = read[0] if len(read) == 1 else self._joined(read)
        columns = [
            ArrowColumn(joined.column(_input_name(each, self._reads, len(read) > 1)).combine_chunks(), each.dtype)
            for each in self._inputs
        ]
        given = {n: joined.column(n) for n in joined.column_names if n in self._view.join_keys}
        given |= {n: joined.column(n) for n in (EVENT_TIMESTAMP, CREATED_TIMESTAMP)}
        if not len(joined):
            made = pa.table({**{n: pa.nulls(0) for n in self._types}, EVENT_TIMESTAMP: [], CREATED_TIMESTAMP: []})
        else:
            made = self._made(self._inputs, columns, given, len(joined))
        history = history_of(self._view)
        names = {EVENT_TIMESTAMP: result_time_name(history, history.timestamp_field, ())}
        if history.created_timestamp_column:
            names[CREATED_TIMESTAMP] = result_time_name(history, history.created_timestamp_column, ())
        made = made.select([*self._types, *names])
        return made.rename_columns([names.get(n, n) for n in made.column_names])

    def _given(self, argument: FunctionInput, rows: pa.Table, call: str) -> Values:
        from feast_assets.types.arrow import cast_column

        name = next(n for n in argument.names if n in rows.column_names)
        column = cast_column(rows.column(name), argument.dtype, subject=f"{call}: column {name!r}")
        return ArrowColumn(column.combine_chunks(), argument.dtype)

    def _rows_of(self, view: FeatureView, tables: Sequence[pa.Table]) -> pa.Table:
        """Returns a source view's rows: its join keys, features and times, in their canonical types."""
        import pyarrow as pa

        history = history_of(view)
        subject = f"{self._subject}: feature view {view.name!r}"
        columns: Mapping[str, object]
        if history.transformation is not None:
            function = function_of(history.transformation, f"{subject}: its transformation")
            arguments = [argument_of(history.transformation, table) for table in tables]
            columns = columns_of(called(function, arguments, subject), history.transformation.mode, subject)
        else:
            (table,) = tables
            columns = dict(zip(table.column_names, table.columns, strict=True))
        types = result_types(history, list(columns))
        for name in types:
            if name not in columns:
                raise SourceError(f"{subject}: its rows have no column {name!r}. {suggest(name, list(columns))}")
        keys = {f.name for f in history.join_keys}
        typed = result_table({name: columns[name] for name in types}, types, keys, subject)
        event = result_time_name(history, history.timestamp_field, list(columns))
        created = history.created_timestamp_column
        times = {
            EVENT_TIMESTAMP: typed.column(event),
            CREATED_TIMESTAMP: typed.column(result_time_name(history, created, list(columns)))
            if created
            else pa.nulls(len(typed), pa.timestamp("us", "UTC")),
        }
        kept = {f.name: typed.column(f.name) for f in (*history.join_keys, *history.features)}
        return pa.table(kept | times)

    def _with_typed_keys(self, rows: pa.Table, read: ViewRead) -> pa.Table:
        """Returns a view's rows with join keys of the types that the on-demand view's rows have, so that they meet."""
        from feast_assets.types.arrow import cast_column

        for key in read.join_keys:
            dtype = self._types.get(key.column)
            if dtype is not None and dtype != key.field.dtype:
                subject = f"{self._subject}: join key {key.field.name!r} of feature view {read.view.name!r}"
                column = cast_column(rows.column(key.column), dtype, subject=subject)
                rows = rows.set_column(rows.column_names.index(key.column), key.column, column)
        return rows

    def _joined(self, rows: Sequence[pa.Table]) -> pa.Table:
        """Returns the rows that have all of the join keys, each with what the other views held at its time."""
        keys = {k.column for read in self._reads for k in read.join_keys}
        complete = [n for n, read in enumerate(self._reads) if {k.column for k in read.join_keys} == keys]
        if not complete:
            raise TransformationError(
                f"{self._subject} reads views of different entities, none of which has all of the join keys "
                f"{', '.join(map(repr, sorted(keys)))}, so history does not say which of their rows go together. Write "
                "its rows with write_to_online_store."
            )
        return as_of_rows(
            rows,
            [[k.column for k in read.join_keys] for read in self._reads],
            [read.ttl for read in self._reads],
            complete,
            [[_name(n, f.name) for f in read.features] for n, read in enumerate(self._reads)],
        )

    def _made(
        self, inputs: Sequence[FunctionInput], columns: Sequence[Values], given: Mapping[str, object], rows: int
    ) -> pa.Table:
        """Returns what the function returns for some inputs, with the join keys and times of the rows.

        Args:
            given: the join keys and times of the rows, as far as they have any.
        """
        run = OnDemandRun(self._view.on_demand, tuple(inputs), tuple(self._view.features))
        results = OnDemandFunction(run, self._function).results(columns, rows)
        made: dict[str, Any] = {}
        for field in self._view.features:
            name = next((n for n in (field.name, f"{self._view.name}__{field.name}") if n in results), None)
            if name is None:
                raise TransformationError(
                    f"{self._subject}: the function did not return feature {field.name!r}. "
                    f"{suggest(field.name, list(results))}"
                )
            made[field.name] = results[name]
        made |= {key: results[key] for key in self._view.join_keys if key in results}
        lengths = {name: len(values) for name, values in made.items()}
        if len(set(lengths.values())) > 1:
            raise TransformationError(
                f"{self._subject}: the function returned columns of different lengths: {lengths}."
            )
        count = next(iter(lengths.values()))
        missing = [key for key in self._view.join_keys if key not in results]
        if count == rows and all(
            key not in results or _same(made[key], given.get(key)) for key in self._view.join_keys
        ):
            made |= {name: values for name, values in given.items() if name not in made}
        elif missing and count != rows:
            raise TransformationError(
                f"{self._subject}: the function returned {count} rows for {rows}, so it must return the join key "
                f"{missing[0]!r} as well."
            )
        else:
            made |= self._times_by_key(made, given, count, rows)
        absent = [key for key in self._view.join_keys if key not in made]
        if absent:
            raise InputError(
                f"{self._subject}: join key {absent[0]!r} is neither among the rows nor returned by the function. "
                f"{suggest(absent[0], list(results))}"
            )
        if EVENT_TIMESTAMP not in made:
            made[EVENT_TIMESTAMP] = moments_of_now(count)
        types = {**self._types, EVENT_TIMESTAMP: UnixTimestamp, CREATED_TIMESTAMP: UnixTimestamp}
        keys = set(self._view.join_keys)
        return result_table({n: v for n, v in made.items() if n in types}, types, keys, self._subject)

    def _times_by_key(
        self, made: Mapping[str, Any], given: Mapping[str, Any], count: int, rows: int
    ) -> dict[str, object]:
        """Returns the times of rows that the function made more of, or fewer, or in another order: those of the row
        with the same keys.

        Raises:
            TransformationError: there are several such rows, with different times.
        """
        times = {name: values.to_pylist() for name, values in given.items() if name not in self._view.join_keys}
        shared = [key for key in self._view.join_keys if key in given]
        if not times or not shared:
            return {}
        position: dict[tuple[object, ...], int] = {}
        for n, row in enumerate(zip(*(given[key].to_pylist() for key in shared), strict=True)):
            first = position.setdefault(row, n)
            if any(values[first] != values[n] for values in times.values()):
                keys = ", ".join(f"{key}={value!r}" for key, value in zip(shared, row, strict=True))
                raise TransformationError(
                    f"{self._subject}: the function returned {count} rows for {rows}, or put them in another order, "
                    f"and rows of {keys} have different times, so it cannot be told which time each has. Return one "
                    "row for each, in their order."
                )
        positions = [position.get(row) for row in zip(*(list(made[key]) for key in shared), strict=True)]
        return {name: [None if n is None else values[n] for n in positions] for name, values in times.items()}


def _same(made: Iterable[object], given: Any) -> bool:
    """Whether a function returned a join key as it was given, or there was none."""
    return given is None or list(made) == given.to_pylist()


def _renamed(rows: pa.Table, read: ViewRead) -> pa.Table:
    """Returns a view's rows with its join keys under the names that the on-demand view's rows have for them."""
    names = {key.field.name: key.column for key in read.join_keys}
    kept = [n for n in rows.column_names if n != DUMMY_JOIN_KEY]
    return rows.select(kept).rename_columns([names.get(n, n) for n in kept])


def _input_name(argument: FunctionInput, reads: Sequence[ViewRead], joined: bool) -> str:
    if isinstance(argument.origin, RowInput):
        return argument.origin.column
    assert isinstance(argument.origin, FeatureInput)
    name = reads[argument.origin.read].features[argument.origin.position].name
    return _name(argument.origin.read, name) if joined else name


def _name(read: int, feature: str) -> str:
    return f"{read}:{feature}"


def moments_of_now(count: int) -> pa.Array:
    """Returns the present time, for so many rows without a time of their own."""
    from datetime import UTC, datetime

    import pyarrow as pa

    return pa.array([datetime.now(UTC)] * count, pa.timestamp("us", "UTC"))


def with_function(view: StoredOnDemandView, function: _Function, sources: Sequence[FeatureView]) -> StoredOnDemandView:
    """Returns a stored view whose transformation runs.

    Args:
        function: the on-demand view's.
        sources: its source views, with their transformations' functions.
    """
    from copy import copy

    attached, transformation = copy(view), copy(view.feature_transformation)
    assert transformation is not None
    attached.source_views = list(sources)
    attached.feature_transformation = transformation
    transformation.udf = StoredViewRows(attached, function).of_sources
    return attached
