"""Feast's container of a table of any library."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from feast_assets.errors import InputError, shown


class DataFrameEngine(enum.StrEnum):
    """The library that a table is of."""

    PANDAS = "pandas"
    SPARK = "spark"
    DASK = "dask"
    RAY = "ray"
    ARROW = "arrow"
    POLARS = "polars"
    UNKNOWN = "unknown"


_OF_LIBRARY = {
    "pandas": DataFrameEngine.PANDAS,
    "pyarrow": DataFrameEngine.ARROW,
    "pyspark": DataFrameEngine.SPARK,
    "dask": DataFrameEngine.DASK,
    "dask_expr": DataFrameEngine.DASK,
    "ray": DataFrameEngine.RAY,
    "polars": DataFrameEngine.POLARS,
}
_LAZY = frozenset((DataFrameEngine.SPARK, DataFrameEngine.DASK, DataFrameEngine.RAY))


class FeastDataFrame:
    """A table with the name of its library.

    Args:
        data: the table.
        engine: its library; told by its class when left out.
        metadata: whatever the maker wants to say of it.

    Raises:
        InputError: the table is of another library.
    """

    def __init__(self, data: Any, engine: DataFrameEngine | None = None, metadata: Mapping[str, Any] | None = None):
        recognised = _OF_LIBRARY.get(type(data).__module__.partition(".")[0], DataFrameEngine.UNKNOWN)
        if engine is not None and engine != recognised:
            raise InputError(f"engine={shown(engine)}, but a {type(data).__name__} is of engine {recognised.value!r}.")
        self.data = data
        self.metadata = dict(metadata or {})
        self._engine = recognised

    def __repr__(self) -> str:
        return f"FeastDataFrame(engine={self._engine.value}, type={type(self.data).__name__})"

    @property
    def engine(self) -> DataFrameEngine:
        """The library of the table."""
        return self._engine

    @property
    def is_lazy(self) -> bool:
        """Whether its rows are computed when they are asked for: Spark, Dask and Ray."""
        return self._engine in _LAZY
