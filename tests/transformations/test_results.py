"""What functions return, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pytest

from feast_assets.definitions.transformation import Transformation, TransformationMode
from feast_assets.errors import TransformationError
from feast_assets.transformations.calls import called, function_of
from feast_assets.transformations.results import check_unique, columns_of, result_table
from feast_assets.types import Float64, Int64, UnixTimestamp
from feast_assets.types.arrow import TIMESTAMP

WHAT = "The transformation of feature view 'v'"
PYTHON, PANDAS = TransformationMode.PYTHON, TransformationMode.PANDAS
NOON = datetime(2024, 6, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("result", "mode"),
    [
        ({"a": [1], "b": ["x"]}, PYTHON),
        (pa.table({"a": [1], "b": ["x"]}), PYTHON),
        (pa.table({"a": [1], "b": ["x"]}), PANDAS),
        (pd.DataFrame({"a": [1], "b": ["x"]}), PANDAS),
    ],
)
def test_columns_come_in_every_form_that_a_mode_has(result, mode):
    columns = columns_of(result, mode, WHAT)
    assert list(columns) == ["a", "b"]
    table = result_table(columns, {"a": Int64}, [], WHAT)
    assert table.to_pydict() == {"a": [1], "b": ["x"]}
    assert table.schema.field("a").type == pa.int64()


@pytest.mark.parametrize(
    ("result", "mode", "message"),
    [
        (None, PYTHON, "'v' must return a dict .*not NoneType"),
        ([1], PYTHON, "must return a dict .*not list"),
        ({"a": [1]}, PANDAS, "must return a pandas DataFrame, not dict"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), PANDAS, "two columns named 'a'"),
        (pa.table([[1], [2]], ["a", "a"]), PYTHON, "two columns named 'a'"),
    ],
)
def test_other_results_are_refused(result, mode, message):
    with pytest.raises(TransformationError, match=message):
        columns_of(result, mode, WHAT)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": ["text"]}, "'v': column 'a'.*Int64"),
        ({"k": [1.5]}, r"'v': column 'k'.*1\.5"),
        ({"a": [1, 2], "k": [1]}, "different lengths"),
        ({"at": [NOON, NOON.replace(tzinfo=None)]}, "mixes times with a zone and without"),
    ],
)
def test_values_that_are_not_as_declared_are_refused(columns, message):
    with pytest.raises(TransformationError, match=message):
        result_table(columns, {"a": Int64, "k": Int64, "at": UnixTimestamp}, ["k"], WHAT)


def test_a_column_that_is_not_declared_is_left_out_where_arrow_has_no_type_for_it():
    table = result_table({"a": [1.0], "odd": [object()], "at": [NOON]}, {"a": Float64, "at": UnixTimestamp}, [], WHAT)
    assert table.column_names == ["a", "at"]
    assert table.schema.field("at").type == TIMESTAMP


def test_what_a_function_raises_is_the_cause():
    def fails(rows):
        raise KeyError("fair")

    with pytest.raises(TransformationError, match="'v' failed: KeyError: 'fair'") as caught:
        called(fails, [{}], WHAT)
    assert isinstance(caught.value.__cause__, KeyError)
    assert called(lambda a, b: a + b, [1, 2], WHAT) == 3


def test_a_function_that_is_not_loaded_says_what_to_do():
    declared = Transformation("python", columns_of)
    assert function_of(declared, WHAT) is columns_of
    with pytest.raises(TransformationError, match="'v' is not loaded.*importable"):
        function_of(Transformation.from_spec(declared.to_spec()), WHAT)


def test_names_must_differ():
    check_unique(["a", "b"], WHAT)
    with pytest.raises(TransformationError, match="'b'"):
        check_unique(["a", "b", "b"], WHAT)
