"""Which Arrow types can be read as which value types."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from feast_assets.errors import SourceError
from feast_assets.types.feast_type import FeastType

if TYPE_CHECKING:
    import pyarrow as pa


@lru_cache(maxsize=1024)
def incompatibility(column: pa.DataType, dtype: FeastType) -> str:
    """Returns why a column of an Arrow type cannot be read as a value type; "" if it can."""
    import pyarrow as pa

    from feast_assets.types.arrow import cast_column

    if pa.types.is_null(column):
        return ""
    try:
        # Kinds are decided by types alone, so a column without rows tells.
        cast_column(pa.nulls(0, column), dtype, subject="column")
    except SourceError as error:
        cause = error.__cause__
        return str(cause) if cause is not None else str(error)
    return ""
