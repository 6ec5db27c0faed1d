"""On-demand functions: the same for training and for serving, and what they do wrong is said."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime
from decimal import Decimal as PythonDecimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from drivers import SUMS, sums

from feast_assets import (
    Array,
    Bool,
    Decimal,
    Field,
    Float32,
    Float64,
    Int32,
    Int64,
    Map,
    Set,
    String,
    UnixTimestamp,
    Uuid,
)
from feast_assets.errors import TransformationError
from feast_assets.retrieval.columns import ArrowColumn, PythonColumn, python_values
from feast_assets.retrieval.on_demand import OnDemandFunction
from feast_assets.retrieval.request import FunctionInput, OnDemandRun, RowInput
from feast_assets.types.python import to_arrow_column, to_python_values

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)


def call(udf, inputs, features=SUMS, mode="pandas", singleton=False, rows=None):
    """Runs a function over ``{name: (type, values)}``; returns Python values by feature, which are Arrow's as well."""
    run = OnDemandRun(
        sums(mode=mode, singleton=singleton, schema=features, udf=udf),
        tuple(FunctionInput((name,), dtype, RowInput(name)) for name, (dtype, _) in inputs.items()),
        tuple(features),
    )
    found = {}
    for column_kind in (python_column, arrow_column):
        columns = [column_kind(values, dtype) for dtype, values in inputs.values()]
        count = rows if rows is not None else len(columns[0].to_pylist())
        results = OnDemandFunction(run, udf)(columns, count)
        values = {f.name: r.to_pylist() for f, r in zip(features, results, strict=True)}
        as_arrow = {f.name: to_python_values(r.to_arrow(), f.dtype) for f, r in zip(features, results, strict=True)}
        assert repr(values) == repr(as_arrow)
        assert not found or repr(values) == repr(found)
        found = values
    return found


def python_column(values, dtype):
    return PythonColumn(values, dtype, "test")


def arrow_column(values, dtype):
    return ArrowColumn(to_arrow_column(values, dtype, "test"), dtype)


ROWS = {"a": (Int64, [1, 2, None]), "b": (Float64, [0.5, None, 1.5])}


def test_pandas_gets_nullable_integers_and_floats_with_nan_for_null():
    seen = {}

    def udf(frame):
        seen.update(frame.dtypes.astype(str))
        return pd.DataFrame({"total": frame["a"] * 2, "share": frame["b"]})

    assert call(udf, ROWS) == {"total": [2, 4, None], "share": [0.5, None, 1.5]}
    assert seen == {"a": "Int64", "b": "float64"}


def test_pandas_gets_proper_types():
    key = uuid.uuid4()
    inputs = {
        "i": (Int64, [1, 2]),
        "j": (Int32, [1, 2]),
        "f": (Float32, [1.5, 2.5]),
        "s": (String, ["x", None]),
        "o": (Bool, [True, False]),
        "t": (UnixTimestamp, [NOON, None]),
        "u": (Uuid, [key, key]),
        "m": (Map, [{"k": 1}, None]),
        "d": (Decimal, [PythonDecimal("1.10"), None]),
        "l": (Array(Int64), [[1, 2], None]),
        "e": (Set(String), [{"x"}, {"y"}]),
        "n": (Float64, [None, None]),
    }

    def udf(frame):
        assert {n: str(d) for n, d in frame.dtypes.items() if n in "ijfotn"} == {
            "i": "Int64",
            "j": "Int32",
            "f": "float32",
            "o": "boolean",
            "t": "datetime64[us, UTC]",
            "n": "float64",
        }
        assert frame["u"][0] == key
        assert frame["m"][0] == {"k": 1}
        assert frame["d"][0] == PythonDecimal("1.10")
        assert list(frame["l"][0]) == [1, 2]
        assert frame["e"][1] == {"y"}
        return frame

    features = [Field(name=name, dtype=dtype) for name, (dtype, _) in inputs.items() if name != "l"]
    assert call(udf, inputs, features)["m"] == [{"k": 1}, None]


def test_lists_get_none_for_null():
    def udf(inputs):
        assert inputs["a"] == [1, 2, None]
        return {"total": inputs["a"], "share": np.array([1, 2, 3])}

    assert call(udf, ROWS, mode="python") == {"total": [1, 2, None], "share": [1.0, 2.0, 3.0]}


def test_single_rows_get_values():
    def udf(row):
        return {"total": row["a"], "share": row["b"], "more": 1}

    assert call(udf, ROWS, mode="python", singleton=True) == {"total": [1, 2, None], "share": [0.5, None, 1.5]}


def test_results_may_have_full_names_and_be_more_than_asked():
    def udf(inputs):
        return {"sums__total": inputs["a"], "share": inputs["b"], "more": "x"}

    assert call(udf, ROWS, mode="python")["total"] == [1, 2, None]


def test_results_take_the_declared_type():
    def udf(inputs):
        return {"f": [1, 2], "g": [0.1, 1], "i": [2.0, math.nan], "t": [NOON, "2024-06-01"], "s": [["b", "b"], None]}

    features = [
        Field(name="f", dtype=Float64),
        Field(name="g", dtype=Float32),
        Field(name="i", dtype=Int64),
        Field(name="t", dtype=UnixTimestamp),
        Field(name="s", dtype=Set(String)),
    ]
    found = call(udf, {"a": (Int64, [1, 2])}, features, mode="python")
    assert found["f"] == [1.0, 2.0]
    assert type(found["f"][0]) is float
    assert found["g"][0] == float(np.float32(0.1))
    assert found["i"] == [2, None]
    assert found["t"] == [NOON, datetime(2024, 6, 1, tzinfo=UTC)]
    assert found["s"] == [{"b"}, None]


def test_sorted_rows_find_their_place_by_index():
    def udf(frame):
        frame = frame.sort_values("a", ascending=False)
        return pd.DataFrame({"total": frame["a"], "share": frame["b"]})

    assert call(udf, {"a": (Int64, [1, 3, 2]), "b": (Float64, [0.1, 0.3, 0.2])}) == {
        "total": [1, 3, 2],
        "share": [0.1, 0.3, 0.2],
    }


def test_an_index_of_its_own_is_ignored():
    def udf(frame):
        return pd.DataFrame({"total": [7, 8, 9], "share": [0.1, 0.2, 0.3]}, index=["x", "y", "z"])

    assert call(udf, ROWS)["total"] == [7, 8, 9]


def test_no_rows_do_not_run_the_function():
    def udf(frame):
        raise AssertionError

    assert call(udf, {"a": (Int64, [])}) == {"total": [], "share": []}


def test_a_function_without_inputs_runs_for_each_row():
    assert call(lambda row: {"total": 1, "share": 0.5}, {}, mode="python", singleton=True, rows=2) == {
        "total": [1, 1],
        "share": [0.5, 0.5],
    }


def test_a_python_nan_stays_a_number():
    found = call(lambda i: {"total": i["a"], "share": [math.nan] * 3}, ROWS, mode="python")
    assert math.isnan(found["share"][0])


# --- errors


def _raise(_):
    raise ZeroDivisionError("by nothing")


@pytest.mark.parametrize(
    ("mode", "singleton", "udf", "message"),
    [
        ("pandas", False, _raise, "'sums'.*failed with ZeroDivisionError: by nothing"),
        ("python", False, _raise, "'sums'.*failed with ZeroDivisionError"),
        ("python", True, _raise, "'sums'.*failed in row 0 with ZeroDivisionError"),
        ("pandas", False, lambda f: f["aa"], r"KeyError: 'aa'. Did you mean 'a'\?"),
        ("python", False, lambda i: i["aa"], r"KeyError: 'aa'. Did you mean 'a'\?"),
        ("pandas", False, lambda f: {"total": [1]}, "should return a DataFrame, not dict"),
        ("pandas", False, lambda f: f["a"], "should return a DataFrame, not Series"),
        ("python", False, lambda i: [1], "should return a dict of lists, not list"),
        ("python", True, lambda i: 1, "should return a dict of values, not int"),
        ("pandas", False, lambda f: f.head(1), "returned 1 rows for 3"),
        ("python", False, lambda i: {"total": [1], "share": [1.0] * 3}, "1 values of feature 'total' for 3 rows"),
        ("python", False, lambda i: {"total": 1, "share": 2}, "a list for feature 'total', not int"),
        ("python", False, lambda i: {"total": "abc", "share": 2}, "a list for feature 'total', not str"),
        ("pandas", False, lambda f: f.rename(columns={"a": "totel"}), r"did not return feature 'total'.*'totel'\?"),
        ("python", False, lambda i: {"total": i["a"]}, "did not return feature 'share'"),
        ("python", True, lambda i: {"total": i["a"]}, "did not return feature 'share'"),
        ("python", False, lambda i: {"total": ["x"] * 3, "share": [1.0] * 3}, "'sums', feature 'total'.*Int64.*'x'"),
        ("pandas", False, lambda f: f.assign(total="x", share=1.0), "'sums', feature 'total'.*Int64"),
        ("python", True, lambda i: {"total": 1.5, "share": 1.0}, "'sums', feature 'total'.*1.5"),
    ],
)
def test_what_a_function_does_wrong_is_said(mode, singleton, udf, message):
    with pytest.raises(TransformationError, match=message):
        call(udf, ROWS, mode=mode, singleton=singleton)


def test_the_cause_of_a_failure_is_kept():
    with pytest.raises(TransformationError) as failure:
        call(_raise, ROWS)
    assert isinstance(failure.value.__cause__, ZeroDivisionError)


# --- values


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (Int64, [1, None, -(2**63), 2**63 - 1]),
        (Int32, [1, None, 2**31 - 1]),
        (Int64, [None, None]),
        (Int64, [1.0, 2]),
        (Int64, [np.int64(3), None]),
        (Int64, np.array([1, 2])),
        (Float64, [1.5, None, 2]),
        (Float64, [2**53, 1]),
        (Float64, [math.inf, -math.inf]),
        (Float32, [0.1, None, 3]),
        (Float32, [math.inf]),
        (Float32, [np.float32(0.1)]),
        (Bool, [True, None]),
        (Bool, [1, 0]),
        (String, ["x", None]),
        (UnixTimestamp, [NOON, NOON.replace(tzinfo=None), 5]),
        (Array(Int64), [[1], None]),
        (Map, [{"a": 1}]),
    ],
)
def test_values_are_those_that_arrow_would_give(dtype, values):
    expected = to_python_values(to_arrow_column(values, dtype, "x"), dtype)
    found = python_values(values, dtype, "x")
    assert found == expected
    assert list(map(type, found)) == list(map(type, expected))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (Int64, [2**63]),
        (Int64, [True]),
        (Int32, [2**31]),
        (Float64, [2**53 + 1]),
        (Float32, [1e300]),
        (Float64, ["1"]),
        (Bool, [2]),
        (String, [1]),
        (String, ["x", b"y"]),
    ],
)
def test_values_that_arrow_would_refuse_are_refused(dtype, values):
    with pytest.raises(ValueError, match="what it is should hold"):
        to_arrow_column(values, dtype, "what it is")
    with pytest.raises(ValueError, match="what it is should hold"):
        python_values(values, dtype, "what it is")


def test_an_arrow_column_is_given_as_it_is():
    array = pa.array([1, None])
    assert ArrowColumn(array, Int64).to_arrow() is array
