"""Feast's container of a table of any library."""

from __future__ import annotations

import pandas as pd
import pytest

from feast_assets.errors import InputError
from feast_assets.retrieval.feast_data_frame import DataFrameEngine, FeastDataFrame


@pytest.mark.parametrize("engine", [None, "pandas", DataFrameEngine.PANDAS])
def test_the_engine_is_known_by_its_name_too(engine: DataFrameEngine | None) -> None:
    assert FeastDataFrame(pd.DataFrame(), engine).engine is DataFrameEngine.PANDAS


def test_another_engine_than_the_tables_is_refused() -> None:
    with pytest.raises(InputError, match="'pandas'"):
        FeastDataFrame(pd.DataFrame(), DataFrameEngine.ARROW)
