from __future__ import annotations

import datetime as dt
import decimal
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.errors import SourceError
from feast_assets.testing.value_strategies import feast_types, values_of
from feast_assets.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)
from feast_assets.types.arrow import to_arrow_type
from feast_assets.types.python import to_arrow_column, to_python_values


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_values_of_every_type_come_back(data: st.DataObject) -> None:
    feast_type = data.draw(feast_types())
    values = data.draw(st.lists(st.none() | values_of(feast_type), max_size=4))
    column = to_arrow_column(values, feast_type, "it")
    assert column.type == to_arrow_type(feast_type)
    assert to_python_values(column, feast_type) == values
    chunked = pa.chunked_array([column, column])
    assert to_python_values(chunked, feast_type) == values + values


def test_a_zoned_timestamp_keeps_its_zone_also_in_the_hour_that_comes_twice() -> None:
    from zoneinfo import ZoneInfo

    paris = ZoneInfo("Europe/Paris")
    values = [dt.datetime(2024, 10, 27, 2, 30, tzinfo=paris, fold=fold) for fold in (0, 1)]
    result = to_python_values(to_arrow_column(values, ZonedTimestamp, "it"), ZonedTimestamp)
    assert [v.utcoffset() for v in result] == [dt.timedelta(hours=2), dt.timedelta(hours=1)]
    assert all(v.tzinfo is paris for v in result)


@pytest.mark.parametrize(
    ("values", "feast_type", "expected"),
    [
        ([None, pd.NA, pd.NaT, float("nan")], Int64, [None] * 4),
        ([None, pd.NA, float("nan")], String, [None] * 3),
        (np.array([1, 2], np.int8), Int64, [1, 2]),
        (np.array(["a", None], object), String, ["a", None]),
        ([np.int64(3), 4.0, True and 5], Int64, [3, 4, 5]),
        ([np.float32(0.5), 1, decimal.Decimal("0.25")], Float64, [0.5, 1.0, 0.25]),
        ([np.bool_(True), 0, 1], Bool, [True, False, True]),
        ([bytearray(b"x"), memoryview(b"y"), "z"], Bytes, [b"x", b"y", b"z"]),
        (["2024-01-01", 1704067200], UnixTimestamp, [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)] * 2),
        (
            [dt.date(2024, 1, 1), np.datetime64("2024-01-01")],
            UnixTimestamp,
            [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)] * 2,
        ),
        ([pd.Timestamp("2024-01-01", tz="UTC")], UnixTimestamp, [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]),
        ([dt.datetime(2024, 1, 1)], UnixTimestamp, [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]),
        ([np.array([1.5, 2.5])], Array(Float32), [[1.5, 2.5]]),
        ([(1, 2), {3: 0}.keys()], Array(Int64), [[1, 2], [3]]),
        ([[3, 1, 3]], Set(Int64), [{1, 3}]),
        (["[1, null]"], Array(Int64), [[1, None]]),
        (['{"a": 1}', {"a": 2}], Struct({"a": Int64}), [{"a": 1}, {"a": 2}]),
        (['{"a": 1}', {"a": 2}, [1]], Json, [{"a": 1}, {"a": 2}, [1]]),
        (
            [{"u": uuid.UUID(int=1), "d": decimal.Decimal("1.50"), "n": float("nan"), "np": np.int64(1)}],
            Map,
            [{"u": "00000000-0000-0000-0000-000000000001", "d": "1.50", "n": None, "np": 1}],
        ),
        (["00000000000000000000000000000001"], Uuid, [uuid.UUID(int=1)]),
        (["1.50", 2, decimal.Decimal("3")], Decimal, [decimal.Decimal("1.50"), 2, 3]),
    ],
)
def test_values_that_mean_the_same_are_taken(values: Any, feast_type: FeastType, expected: list[Any]) -> None:
    assert to_python_values(to_arrow_column(values, feast_type, "it"), feast_type) == expected


def test_nan_is_a_value_of_a_float_and_decimals_keep_their_zeros() -> None:
    (found,) = to_python_values(to_arrow_column([float("nan")], Float64, "it"), Float64)
    assert found != found
    (price,) = to_python_values(to_arrow_column([decimal.Decimal("1.500")], Decimal, "it"), Decimal)
    assert str(price) == "1.500"


def test_equal_sets_give_equal_columns() -> None:
    names = [f"name {i}" for i in range(50)]
    one = to_arrow_column([set(names)], Set(String), "it")
    other = to_arrow_column([frozenset(names[::-1])], Set(String), "it")
    assert one.equals(other)
    assert one.to_pylist()[0] == sorted(names)


@pytest.mark.parametrize(
    ("value", "feast_type", "shown"),
    [
        ("1", Int64, "str '1'"),
        (1.5, Int64, "float 1.5"),
        (True, Int64, "bool True"),
        (2**31, Int32, "does not fit 32 bits"),
        (2**63, Int64, "does not fit 64 bits"),
        ("x", Float64, "str 'x'"),
        (True, Float64, "bool True"),
        (2**53 + 1, Float64, "exactly"),
        (1e300, Float32, "float 1e+300"),
        ("true", Bool, "str 'true'"),
        (1, String, "int 1"),
        (1, Bytes, "int 1"),
        ("soon", UnixTimestamp, "str 'soon'"),
        (True, UnixTimestamp, "bool True"),
        (10**15, UnixTimestamp, "int"),
        ("x", Uuid, "str 'x'"),
        (0.1, Decimal, "binary floats"),
        ([1, "x"], Array(Int64), "list"),
        (1, Array(Int64), "not a list"),
        (b"ab", Array(Int64), "not a list"),
        ({"a": 1, "b": 2}, Struct({"a": Int64}), "no field 'b'"),
        ({"a": "x"}, Struct({"a": Int64}), "dict"),
        ("{", Json, "not JSON"),
        (object(), Json, "object"),
        ([1], Map, "not a mapping"),
        ({1: 2}, Map, "ScalarMap"),
        ({"a": float("inf")}, Map, "infinite"),
        ("\ud800", String, "surrogates"),
    ],
)
def test_a_wrong_value_is_named_with_its_row(value: Any, feast_type: FeastType, shown: str) -> None:
    with pytest.raises(SourceError) as caught:
        to_arrow_column([None, value], feast_type, "Push source 'trips', column 'fare'")
    message = str(caught.value)
    assert message.startswith(f"Push source 'trips', column 'fare' should hold {feast_type}")
    assert shown in message
