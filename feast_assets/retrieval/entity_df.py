"""The entity dataframe of a historical retrieval, whatever library it comes from, as an Arrow table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import EntitySQLEmptyResults, InputError, reason_of, shown
from feast_assets.offline_stores.abilities import ReadsQueries
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.retrieval.spine import EVENT_TIMESTAMP_COLUMN, not_datetime
from feast_assets.types.names import repeated_names

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

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
        raise not_datetime(EVENT_TIMESTAMP_COLUMN, f"{type(wrong[0]).__name__} {shown(wrong[0])}")
    zoned = [value.tzinfo is not None for value in present if isinstance(value, dt.datetime)]
    if any(zoned) and not all(zoned):
        raise InputError(
            f"Column {EVENT_TIMESTAMP_COLUMN!r} of the entity dataframe mixes datetimes with and without a time zone. "
            "Give all of them one; those without would be read as UTC."
        )
    return pd.to_datetime(column, utc=True)


def query_rows(store: OfflineStore, sql: str, readable: Sequence[DataSource]) -> pa.Table:
    """Returns the rows of an entity dataframe that is given as a query in the offline store's SQL.

    Args:
        readable: the project's data sources, whose rows the query may read.

    Raises:
        NotSupportedError: the store runs no queries.
        EntitySQLEmptyResults: it returns no rows.
        InputError: it cannot be run, or its result has two columns of one name.
    """
    remedy = "Give a DataFrame, an Arrow table or a dict of lists."
    table = to_table(ReadsQueries.of(store, "An entity_df that is a query", remedy).read_query(sql, readable))
    if not table.num_rows:
        raise EntitySQLEmptyResults("The entity query returned no rows, so there is nothing to join features to.")
    return table
