"""The spine of a historical retrieval: entity rows, checked once, and what of them an offline store needs.

All rules about entity rows are here, whatever they came as: which column is the time, which columns must be there, what
they may hold, and which names the result cannot have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_assets.errors import (
    EntityDFNotDateTime,
    EntityTimestampInferenceException,
    FeastEntityDFMissingColumnsError,
    FeatureNameCollisionError,
    InputError,
    RequestDataNotFoundInEntityDfException,
    SourceError,
    shown,
    suggest,
)
from feast_assets.offline_stores.base import EVENT_TIMESTAMP
from feast_assets.offline_stores.spine import Spine
from feast_assets.retrieval.request import FeatureInput, FeatureRequest
from feast_assets.types import FeastType, UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa

EVENT_TIMESTAMP_COLUMN = "event_timestamp"

_SHOWN = 50
"""How many columns a message lists."""

Typed = tuple[str, FeastType]
"""A column of entity rows, and a type as which it is read."""


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """Entity rows that have passed all checks.

    Attributes:
        table: the rows as they were given, but for the time, which is ``timestamp[us, UTC]`` and never null.
        time_column: its name.
        spine: times and join keys of the rows, in their order.
        keys: join key -> its column in the spine.
        inputs: what on-demand functions take of the rows -> its values, in the type's canonical Arrow type.
    """

    table: pa.Table
    time_column: str
    spine: Spine
    keys: dict[Typed, str]
    inputs: dict[Typed, pa.ChunkedArray]


def checked_rows(request: FeatureRequest, table: pa.Table) -> CheckedRows:
    """Returns entity rows as a request needs them.

    Raises:
        EntityTimestampInferenceException, EntityDFNotDateTime: the time column is not clear, or holds no times.
        FeastEntityDFMissingColumnsError, RequestDataNotFoundInEntityDfException: a column is missing.
        FeatureNameCollisionError: a column has the name of a feature asked for.
        InputError: a row has no time, or a value is not of the type of its join key or input.
    """
    import pyarrow as pa

    check_columns(request, table.column_names)
    check_collisions(request, table.column_names)
    table, time_column = with_time(table)
    columns = {EVENT_TIMESTAMP: table.column(time_column)}
    keys: dict[Typed, str] = {}
    for read in request.reads:
        for key in read.join_keys:
            typed = key.column, key.field.dtype
            if typed not in keys:
                subject = f"Join key {key.column!r} of feature view {read.view.name!r} in the entity dataframe"
                keys[typed] = f"key_{len(keys)}"
                columns[keys[typed]] = cast_key(table.column(key.column), key.field.dtype, subject)
    inputs: dict[Typed, pa.ChunkedArray] = {}
    for column, dtype, view in _inputs(request):
        subject = f"Column {column!r} of the entity dataframe, an input of on-demand view {view!r},"
        inputs[column, dtype] = cast(table.column(column), dtype, subject)
    return CheckedRows(table, time_column, Spine(pa.table(columns)), keys, inputs)


def _inputs(request: FeatureRequest) -> Iterator[tuple[str, FeastType, str]]:
    """Yields what on-demand functions take of entity rows: column, type, and the view that does."""
    for run in request.runs:
        for declared in run.inputs:
            if not isinstance(declared.origin, FeatureInput):
                yield declared.origin.column, declared.dtype, run.view.name


def with_time(table: pa.Table) -> tuple[pa.Table, str]:
    """Returns the table with its time column as ``timestamp[us, UTC]``, and that column's name.

    The time column is ``event_timestamp``, else the only column of datetimes, else the only one of dates. Naive times
    are UTC; a date is its first moment.

    Raises:
        EntityTimestampInferenceException: there is no such column, or several.
        EntityDFNotDateTime: ``event_timestamp`` does not hold datetimes.
        InputError: a row has no time.
    """
    import pyarrow as pa

    name = _time_column(table.schema)
    column = table.column(name)
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type) or pa.types.is_null(column.type)):
        raise not_datetime(name, f"type {column.type}")
    position = table.column_names.index(name)
    times = cast(column, UnixTimestamp, f"Column {name!r} of the entity dataframe")
    if times.null_count:
        row = times.is_null().to_pylist().index(True)
        raise InputError(
            f"Column {name!r} of the entity dataframe has no time in {times.null_count} of {len(times)} rows, "
            f"first in row {row}; drop those rows or give them a time."
        )
    return table.set_column(position, pa.field(name, times.type), times), name


def _time_column(schema: pa.Schema) -> str:
    import pyarrow as pa

    if EVENT_TIMESTAMP_COLUMN in schema.names:
        return EVENT_TIMESTAMP_COLUMN
    datetimes: list[str] = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    dates: list[str] = [field.name for field in schema if pa.types.is_date(field.type)]
    candidates = datetimes or dates
    if len(candidates) == 1:
        return candidates[0]
    has = f"has several datetime columns, {listed(candidates)}" if candidates else "has no datetime column"
    columns = listed(schema.names) if schema.names else "none"
    raise EntityTimestampInferenceException(
        f"The entity dataframe {has}, and none is named {EVENT_TIMESTAMP_COLUMN!r}; name one so. "
        f"Its columns: {columns}."
    )


def not_datetime(name: str, holds: str) -> EntityDFNotDateTime:
    """Returns the error for a time column that holds something else."""
    return EntityDFNotDateTime(
        f"Column {name!r} of the entity dataframe should hold datetimes but holds {holds}. Convert it, for instance "
        f"with pandas.to_datetime(entity_df[{name!r}], utc=True)."
    )


def check_columns(request: FeatureRequest, columns: Sequence[str]) -> None:
    """Raises where entity rows lack join keys or request columns.

    Raises:
        FeastEntityDFMissingColumnsError: a view's join key is missing.
        RequestDataNotFoundInEntityDfException: a request field of an on-demand view is missing.
    """
    for name, column in request.join_keys.items():
        if name not in columns:
            missing = [n for n in request.join_keys if n not in columns]
            raise FeastEntityDFMissingColumnsError(
                f"The entity dataframe lacks {listed(missing)}; feature view {column.reader} joins by {name!r}. "
                f"It has {listed(columns)}.{_near(name, columns)}"
            )
    for name, column in request.request_fields.items():
        if name not in columns:
            raise RequestDataNotFoundInEntityDfException(
                f"The entity dataframe lacks {name!r}, which on-demand view {column.needed_by!r} needs as request "
                f"data. It has {listed(columns)}.{_near(name, columns)}"
            )


def check_collisions(request: FeatureRequest, columns: Sequence[str]) -> None:
    """Raises FeatureNameCollisionError where entity rows have a column with the name of a feature asked for."""
    given = set(columns)
    for output in request.outputs:
        if output.name in given:
            advice = "" if request.full_feature_names else ", or ask with full_feature_names=True"
            raise FeatureNameCollisionError(
                f"The entity dataframe has a column {output.name!r}, which is also the column of feature "
                f"{output.reference!r}. Rename or drop it in the entity dataframe{advice}."
            )


def cast(column: pa.ChunkedArray, feast_type: FeastType, subject: str) -> pa.ChunkedArray:
    """Returns a column in a type's canonical Arrow type.

    Args:
        subject: names the column, for messages.

    Raises:
        InputError: it does not hold such values.
    """
    from feast_assets.types.arrow import cast_column

    try:
        return cast_column(column, feast_type, subject=subject)
    except SourceError as error:
        raise InputError(str(error)) from error


def cast_key(column: pa.ChunkedArray, feast_type: FeastType, subject: str) -> pa.ChunkedArray:
    """Returns a column of join keys in a type's canonical Arrow type.

    Raises:
        InputError: it does not hold such values, or not without loss.
    """
    from feast_assets.types.exact_keys import cast_key_column

    try:
        return cast_key_column(column, feast_type, subject=subject)
    except SourceError as error:
        raise InputError(str(error)) from error


def listed(names: Sequence[str]) -> str:
    """Returns the names of columns as a message tells them."""
    subject = ", ".join(map(shown, names[:_SHOWN])) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")
    return subject or "no columns"


def _near(name: str, columns: Sequence[str]) -> str:
    """Returns the end of a message that has listed the columns: the nearest, if any is near."""
    near = suggest(name, columns)
    return f" {near}" if near.startswith("Did you mean") else ""
