"""The entity dataframe of a historical retrieval, whatever library it comes from, as an Arrow table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from feast_assets.errors import (
    EntityDFNotDateTime,
    EntityTimestampInferenceException,
    FeastEntityDFMissingColumnsError,
    InputError,
    RequestDataNotFoundInEntityDfException,
    SourceError,
    reason_of,
    shown,
    suggest,
)
from feast_assets.retrieval.request import FeatureRequest
from feast_assets.types import FeastType, UnixTimestamp
from feast_assets.types.names import repeated_names

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

EVENT_TIMESTAMP_COLUMN = "event_timestamp"

_SHOWN = 50
"""How many columns a message lists."""

_FORM = (
    "entity_df must be a pandas or Polars DataFrame, an Arrow table, record batch or reader, a dict of lists, "
    "or a query"
)


def to_table(entity_df: Any) -> pa.Table:
    """Returns an entity dataframe as a table: same rows, same order, same columns.

    A pandas index is left out. What pandas knows beyond Arrow (nullable and categorical columns) stays in the
    schema's metadata, so that the way back to pandas restores it.

    Raises:
        InputError: it is nothing of the kind, has two columns of one name, or a column of mixed types.
    """
    import pyarrow as pa

    from feast_assets.types.given_tables import table_of_columns

    library = type(entity_df).__module__.partition(".")[0]
    try:
        if isinstance(entity_df, pa.Table):
            table = entity_df
        elif isinstance(entity_df, pa.RecordBatch):
            table = pa.Table.from_batches([entity_df])
        elif isinstance(entity_df, pa.RecordBatchReader):
            table = entity_df.read_all()
        elif isinstance(entity_df, Mapping):
            table = table_of_columns({str(name): values for name, values in entity_df.items()})
        elif library == "pandas" and hasattr(entity_df, "columns"):
            table = _of_pandas(entity_df)
        elif library == "polars" and hasattr(entity_df, "collect"):
            table = entity_df.collect().to_arrow()
        elif hasattr(entity_df, "__arrow_c_stream__"):
            table = pa.table(entity_df)
        else:
            raise InputError(f"{_FORM}, not {type(entity_df).__name__}.")
    except Exception as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The entity dataframe cannot be read as a table: {reason_of(error)} Give columns of values of one type."
        ) from error
    repeated = repeated_names(table.column_names)
    if repeated:
        raise InputError(f"The entity dataframe has several columns named {shown(repeated[0])}; rename or drop one.")
    return table


def _of_pandas(frame: pd.DataFrame) -> pa.Table:
    import pyarrow as pa

    from feast_assets.types.given_tables import check_depth

    if not frame.columns.is_unique:
        repeated = frame.columns[frame.columns.duplicated()].tolist()
        raise InputError(f"The entity dataframe has several columns named {shown(repeated[0])}; rename or drop one.")
    if EVENT_TIMESTAMP_COLUMN in frame.columns and frame[EVENT_TIMESTAMP_COLUMN].dtype == object:
        moments = _moments(frame[EVENT_TIMESTAMP_COLUMN])
        frame = frame.assign(**{EVENT_TIMESTAMP_COLUMN: moments})
    for name in frame.columns:
        check_depth(frame[name])
    return pa.Table.from_pandas(frame, preserve_index=False)


def _moments(column: pd.Series[Any]) -> pd.Series[Any]:
    """Returns a column of datetime objects as datetimes, in UTC."""
    import pandas as pd

    present = column.dropna()
    wrong = [value for value in present if not isinstance(value, (dt.datetime, dt.date))]
    if wrong:
        raise _not_datetime(EVENT_TIMESTAMP_COLUMN, f"{type(wrong[0]).__name__} {shown(wrong[0])}")
    zoned = [value.tzinfo is not None for value in present if isinstance(value, dt.datetime)]
    if any(zoned) and not all(zoned):
        raise InputError(
            f"Column {EVENT_TIMESTAMP_COLUMN!r} of the entity dataframe mixes datetimes with and without a time zone. "
            "Give all of them one; those without would be read as UTC."
        )
    return pd.to_datetime(column, utc=True)


def with_time(table: pa.Table) -> tuple[pa.Table, str]:
    """Returns the table with its time column as ``timestamp[us, UTC]``, and that column's name.

    The time column is ``event_timestamp``, else the only datetime column. Naive times are UTC.

    Raises:
        EntityTimestampInferenceException: there is no such column, or several.
        EntityDFNotDateTime: ``event_timestamp`` does not hold datetimes.
        InputError: a row has no time.
    """
    import pyarrow as pa

    found = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if EVENT_TIMESTAMP_COLUMN in table.column_names:
        name = EVENT_TIMESTAMP_COLUMN
    elif len(found) == 1:
        name = found[0]
    else:
        what = f"has several datetime columns, {_listed(found)}" if found else "has no datetime column"
        columns = _listed(table.column_names) if table.column_names else "none"
        raise EntityTimestampInferenceException(
            f"The entity dataframe {what}, and none is named {EVENT_TIMESTAMP_COLUMN!r}; name one so. "
            f"Its columns: {columns}."
        )
    column = table.column(name)
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type) or pa.types.is_null(column.type)):
        raise _not_datetime(name, f"type {column.type}")
    place = table.column_names.index(name)
    times = cast(column, UnixTimestamp, f"Column {name!r} of the entity dataframe")
    if times.null_count:
        row = times.is_null().to_pylist().index(True)
        raise InputError(
            f"Column {name!r} of the entity dataframe has no time in {times.null_count} of {len(times)} rows, "
            f"first in row {row}; drop those rows or give them a time."
        )
    return table.set_column(place, pa.field(name, times.type), times), name


def _not_datetime(name: str, found: str) -> EntityDFNotDateTime:
    return EntityDFNotDateTime(
        f"Column {name!r} of the entity dataframe should hold datetimes but holds {found}. Convert it, for instance "
        f"with pandas.to_datetime(entity_df[{name!r}], utc=True)."
    )


def check_columns(request: FeatureRequest, columns: list[str]) -> None:
    """Raises where an entity dataframe lacks join keys or request columns.

    Raises:
        FeastEntityDFMissingColumnsError: a view's join key is missing.
        RequestDataNotFoundInEntityDfException: a request field of an on-demand view is missing.
    """
    for name, column in request.join_keys.items():
        if name not in columns:
            missing = [n for n in request.join_keys if n not in columns]
            raise FeastEntityDFMissingColumnsError(
                f"The entity dataframe lacks {_listed(missing)}; feature view {column.reader} joins by {name!r}. "
                f"It has {_listed(columns)}.{_near(name, columns)}"
            )
    for name, column in request.request_fields.items():
        if name not in columns:
            raise RequestDataNotFoundInEntityDfException(
                f"The entity dataframe lacks {name!r}, which on-demand view {column.needed_by!r} needs as request "
                f"data. It has {_listed(columns)}.{_near(name, columns)}"
            )


def cast(column: Any, feast_type: FeastType, what: str) -> Any:
    """Returns a column in a type's canonical Arrow type.

    Raises:
        InputError: it does not hold such values.
    """
    from feast_assets.types.arrow import cast_column

    try:
        return cast_column(column, feast_type, what=what)
    except SourceError as error:
        raise InputError(str(error)) from error


def cast_key(column: Any, feast_type: FeastType, what: str) -> Any:
    """Returns a column of join keys in a type's canonical Arrow type.

    Raises:
        InputError: it does not hold such values, or not without loss.
    """
    from feast_assets.types.exact_keys import cast_key_column

    try:
        return cast_key_column(column, feast_type, what=what)
    except SourceError as error:
        raise InputError(str(error)) from error


def _near(name: str, columns: list[str]) -> str:
    """Returns the end of a message that has listed the columns: the nearest, if any is near."""
    near = suggest(name, columns)
    return f" {near}" if near.startswith("Did you mean") else ""


def _listed(names: list[str]) -> str:
    told = ", ".join(map(shown, names[:_SHOWN])) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")
    return told or "no columns"
