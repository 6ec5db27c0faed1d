"""Running a view's transformation: its inputs come from the engine, and its result is a table of the session again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import pyarrow as pa
from sqlglot import exp

from feast_assets.definitions.transformation import TransformationMode
from feast_assets.definitions.window import Bounds, duration_micros
from feast_assets.errors import TransformationError
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.declared_columns import check_declared, result_time_name, result_types
from feast_assets.offline_stores.sql.engine import SqlEngine, SqlEngineError, blaming
from feast_assets.offline_stores.sql.plan import table
from feast_assets.offline_stores.sql.relation import Relation
from feast_assets.transformations.calls import argument_of, called, function_of
from feast_assets.transformations.results import columns_of, result_table

_RESULT = "feast_assets transformation"


def computed(
    engine: SqlEngine, stack: ExitStack, history: History, inputs: Sequence[Relation], bounds: Bounds
) -> Relation:
    """Returns the rows that a history's transformation computes for some bounds; the lookback is added here.

    Rows of the result outside the bounds are still in it.

    Args:
        stack: what is staged is there until it is closed.
        inputs: the rows of the history's sources.

    Raises:
        SourceError: a source cannot be read.
        TransformationError: the function is not loaded, fails, or returns something else than the view declares.
    """
    transformation = history.transformation
    assert transformation is not None
    subject = f"The transformation of feature view {history.view!r}"
    function = function_of(transformation, subject)
    start = None if bounds.start is None else bounds.start - duration_micros(history.lookback)
    queries = [relation.render(relation.seen(Bounds(start, bounds.end))) for relation in inputs]
    if transformation.mode is TransformationMode.SQL:
        return _of_query(engine, history, inputs, queries, function, subject)
    arguments: list[object] = []
    for relation, query in zip(inputs, queries, strict=True):
        with blaming(relation.error, f"{relation.subject} cannot be read"):
            rows = engine.read(query)
        arguments.append(argument_of(transformation, rows))
    columns = columns_of(called(function, arguments, subject), transformation.mode, subject)
    computed_table = result_table(
        columns, result_types(history, list(columns)), {f.name for f in history.join_keys}, subject
    )
    result = _described(history, exp.Table(), computed_table.schema, engine, subject)
    check_declared(
        history, computed_table.schema, result.subject, timestamp=result.timestamp, error=TransformationError
    )
    # Other columns may hold what the engine has no type for.
    needed = {*result_types(history, computed_table.column_names), *history.declared}
    computed_table = computed_table.select([name for name in computed_table.column_names if name in needed])
    name = stack.enter_context(engine.stage(computed_table))
    schema = engine.columns(exp.select("*").from_(table(name)).sql(dialect=engine.dialect.name))
    return _described(history, table(name), schema, engine, subject)


def _of_query(
    engine: SqlEngine,
    history: History,
    inputs: Sequence[Relation],
    queries: Sequence[str],
    function: Callable[..., object],
    subject: str,
) -> Relation:
    plain = [re.sub(r"[^a-z0-9]+", "_", source.name.lower()).strip("_")[:40] for source in history.sources]
    names = [f"input_{i}_{name}" for i, name in enumerate(plain)]
    query = called(function, names, subject)
    if not isinstance(query, str):
        raise TransformationError(f"{subject} must return an SQL query as text, not {type(query).__name__}.")
    given = ", ".join(f"{name} AS (\n{text}\n)" for name, text in zip(names, queries, strict=True))
    text = f"WITH {given} SELECT * FROM (\n{engine.dialect.without_end(query)}\n) AS result"  # noqa: S608
    try:
        schema = engine.columns(text)
    except SqlEngineError as error:
        raise TransformationError(f"{subject} returned a query that fails: {error}") from error
    return _described(history, table(_RESULT, "q"), schema, engine, subject, {_RESULT: text})


def _described(
    history: History,
    result: exp.Table,
    schema: pa.Schema,
    engine: SqlEngine,
    subject: str,
    texts: dict[str, str] | None = None,
) -> Relation:
    return Relation(
        dialect=engine.dialect,
        subject=f"{subject}: its result",
        table=result,
        schema=schema,
        timestamp=result_time_name(history, history.timestamp_field, schema.names),
        created=result_time_name(history, history.created_timestamp_column, schema.names),
        texts=texts or {},
        error=TransformationError,
    )
