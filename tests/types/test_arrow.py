from __future__ import annotations

import datetime as dt
import decimal
import uuid

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings

from feast_assets.errors import SourceError
from feast_assets.testing.value_strategies import feast_types
from feast_assets.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Invalid,
    Json,
    Map,
    ScalarMap,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)
from feast_assets.types.arrow import cast_column, cast_table, from_arrow_type, to_arrow_type

UTC = pa.timestamp("us", tz="UTC")


@given(feast_types())
@settings(max_examples=80, deadline=None)
def test_every_type_has_a_canonical_arrow_type_that_casts_to_itself(feast_type: FeastType) -> None:
    column = pa.nulls(3, to_arrow_type(feast_type))
    assert cast_column(column, feast_type, subject="it").equals(column)
    assert cast_column(pa.nulls(3), feast_type, subject="it").type == to_arrow_type(feast_type)


@pytest.mark.parametrize(
    ("arrow_type", "expected"),
    [
        (pa.int8(), Int32),
        (pa.uint16(), Int32),
        (pa.int32(), Int32),
        (pa.uint32(), Int64),
        (pa.uint64(), Int64),
        (pa.float16(), Float32),
        (pa.float64(), Float64),
        (pa.bool_(), Bool),
        (pa.large_string(), String),
        (pa.string_view(), String),
        (pa.dictionary(pa.int8(), pa.string()), String),
        (pa.binary(16), Bytes),
        (pa.binary_view(), Bytes),
        (pa.timestamp("ns"), UnixTimestamp),
        (pa.timestamp("s", "Europe/Paris"), UnixTimestamp),
        (pa.date32(), UnixTimestamp),
        (pa.decimal128(10, 2), Decimal),
        (pa.uuid(), Uuid),
        (pa.json_(), Json),
        (pa.map_(pa.string(), pa.int64()), Map),
        (pa.map_(pa.int64(), pa.int64()), ScalarMap),
        (pa.list_(pa.float32(), 3), Array(Float32)),
        (pa.large_list(pa.list_(pa.int64())), Array(Array(Int64))),
        (pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())}), Struct({"a": Int64, "b": Array(String)})),
        (pa.list_(pa.struct({"a": pa.int64()})), Array(Struct({"a": Int64}))),
    ],
)
def test_a_source_columns_type_is_inferred(arrow_type: pa.DataType, expected: FeastType) -> None:
    assert from_arrow_type(arrow_type) == expected


@pytest.mark.parametrize("arrow_type", [pa.null(), pa.time64("us"), pa.duration("s"), pa.list_(pa.null())])
def test_a_type_that_no_value_type_fits_is_refused(arrow_type: pa.DataType) -> None:
    with pytest.raises(ValueError, match="Declare the field's dtype"):
        from_arrow_type(arrow_type)


def test_invalid_has_no_arrow_type() -> None:
    with pytest.raises(ValueError, match="Invalid"):
        to_arrow_type(Invalid)


NOON = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
AN_ID = uuid.UUID("8c2fa4b9-e791-4d7a-83d4-48db0135ea8e")


@pytest.mark.parametrize(
    ("column", "feast_type", "expected"),
    [
        (pa.array([1, None], pa.int8()), Int64, [1, None]),
        (pa.array([1, 2**31 - 1], pa.int64()), Int32, [1, 2**31 - 1]),
        (pa.array([1, None]), Float64, [1.0, None]),
        (pa.array([1, 2]), Float32, [1.0, 2.0]),
        (pa.array([0.1, float("inf"), float("nan")]), Float32, [0.10000000149011612, float("inf"), "nan"]),
        (pa.array([1.0, float("nan")]), Int64, [1, None]),
        (pa.array([decimal.Decimal("2.00")]), Int64, [2]),
        (pa.array([decimal.Decimal("2.25")]), Float64, [2.25]),
        (pa.array([0, 1, None]), Bool, [False, True, None]),
        (pa.array(["a", None], pa.large_string()), String, ["a", None]),
        (pa.array(["a", None], pa.string_view()), String, ["a", None]),
        (pa.array(["a", "b", "a", None]).dictionary_encode(), String, ["a", "b", "a", None]),
        (pa.array([b"ab"], pa.binary(2)), Bytes, [b"ab"]),
        (pa.array(["ab"]), ImageBytes, [b"ab"]),
        (pa.array([b"ab"]), String, ["ab"]),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("s")), UnixTimestamp, [NOON]),
        (pa.array([NOON], pa.timestamp("ns", "Asia/Tokyo")), UnixTimestamp, [NOON]),
        (pa.array([1_500], pa.timestamp("ns")), UnixTimestamp, [dt.datetime(1970, 1, 1, 0, 0, 0, 1, dt.UTC)]),
        (pa.array([dt.date(2024, 7, 1)]), UnixTimestamp, [NOON.replace(hour=0)]),
        (pa.array([dt.date(2024, 7, 1)], pa.date64()), UnixTimestamp, [NOON.replace(hour=0)]),
        (pa.array(["2024-07-01T12:00:00"]), UnixTimestamp, [NOON]),
        (pa.array(["2024-07-01T12:00:00Z", None]), UnixTimestamp, [NOON, None]),
        (pa.array(["2024-07-01 14:00:00+02:00", "2024-07-01T12:00:00"]), UnixTimestamp, [NOON, NOON]),
        (pa.array([1_719_835_200]), UnixTimestamp, [NOON]),
        (pa.array([1_719_835_200.5]), UnixTimestamp, [NOON.replace(microsecond=500_000)]),
        (pa.array([AN_ID.bytes], pa.uuid()), Uuid, [str(AN_ID)]),
        (pa.array([AN_ID.bytes], pa.binary(16)), Uuid, [str(AN_ID)]),
        (pa.array([str(AN_ID).upper(), AN_ID.hex]), Uuid, [str(AN_ID), str(AN_ID)]),
        (pa.array([decimal.Decimal("1.50"), None]), Decimal, ["1.50", None]),
        (pa.array([7]), Decimal, ["7"]),
        (pa.array(["-1.5e3"]), Decimal, ["-1.5e3"]),
        (pa.array([[1, None], None, []], pa.large_list(pa.int32())), Array(Int64), [[1, None], None, []]),
        (pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), Array(Float32), [[1.0, 2.0], None]),
        (pa.array([["a"], None], pa.list_view(pa.string_view())), Array(String), [["a"], None]),
        (pa.array([[1, 2, 1, None, None], [3]]), Set(Int64), [[1, 2, None], [3]]),
        (pa.array(["[1,2]", None]), Array(Int64), [[1, 2], None]),
        (pa.array([{"b": 1, "a": 2}, None]), Struct({"a": Float64, "b": Int32}), [{"a": 2.0, "b": 1}, None]),
        (pa.array([{"a": 2}]), Struct({"a": Int64, "b": String}), [{"a": 2, "b": None}]),
        (pa.array(['{"a": 2}']), Struct({"a": Int64}), [{"a": 2}]),
        (pa.array(['{"a": 1}', "[]", None]), Json, ['{"a": 1}', "[]", None]),
        (pa.array([{"a": [1]}]), Json, ['{"a":[1]}']),
        (pa.array(['{"a": 1}', None]), Map, ['{"a":1}', None]),
        (pa.array([{"a": b"\x01", "t": NOON}]), Map, ['{"a":"AQ==","t":"2024-07-01T12:00:00+00:00"}']),
        (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())), Map, ['{"k":1}', None]),
        (pa.array([[(1, "x")]], pa.map_(pa.int64(), pa.string())), ScalarMap, ['[[1,"x"]]']),
        (
            pa.array([NOON], pa.timestamp("ms", "Europe/Paris")),
            ZonedTimestamp,
            ["2024-07-01T14:00:00.000000+02:00[Europe/Paris]"],
        ),
        (pa.array([NOON.replace(tzinfo=None)]), ZonedTimestamp, ["2024-07-01T12:00:00.000000+00:00"]),
        (pa.array(["2024-07-01T12:00+05:30"]), ZonedTimestamp, ["2024-07-01T12:00:00.000000+05:30"]),
    ],
)
def test_columns_that_mean_the_same_are_cast(column: pa.Array, feast_type: FeastType, expected: list[object]) -> None:
    for given_column in (column, pa.concat_arrays([column, column]).slice(len(column))):
        result = cast_column(given_column, feast_type, subject="it")
        assert result.type == to_arrow_type(feast_type)
        shown = ["nan" if isinstance(v, float) and v != v else v for v in result.to_pylist()]
        assert shown == expected
        # Casting what is canonical already changes nothing.
        assert cast_column(result, feast_type, subject="it").equals(result) or "nan" in shown
    chunked = cast_column(pa.chunked_array([column, column]), feast_type, subject="it")
    assert isinstance(chunked, pa.ChunkedArray)
    assert len(chunked) == 2 * len(column)
    assert chunked.type == to_arrow_type(feast_type)


@pytest.mark.parametrize(
    ("column", "feast_type"),
    [
        (pa.array([2**40]), Int32),
        (pa.array([1.5]), Int64),
        (pa.array([decimal.Decimal("1.5")]), Int64),
        (pa.array([2**53 + 1]), Float64),
        (pa.array([1e300]), Float32),
        (pa.array([2]), Bool),
        (pa.array(["true"]), Bool),
        (pa.array(["1"]), Int64),
        (pa.array([True]), Int64),
        (pa.array([1]), String),
        (pa.array([b"\xff"]), String),
        (pa.array([1]), Bytes),
        (pa.array(["yesterday"]), UnixTimestamp),
        (pa.array([True]), UnixTimestamp),
        (pa.array([2**62]), UnixTimestamp),
        (pa.array([2**62], pa.timestamp("us")), UnixTimestamp),
        (pa.array(["not a uuid"]), Uuid),
        (pa.array([b"short"]), Uuid),
        (pa.array([1.5]), Decimal),
        (pa.array(["1.5 EUR"]), Decimal),
        (pa.array([1]), Array(Int64)),
        (pa.array([["x"]]), Array(Int64)),
        (pa.array([{"a": 1, "typo": 2}]), Struct({"a": Int64})),
        (pa.array([{"a": "x"}]), Struct({"a": Int64})),
        (pa.array(["{"]), Json),
        (pa.array(["[1]"]), Map),
        (pa.array([1]), Map),
        (pa.array([[(1, 2)]], pa.map_(pa.int64(), pa.int64())), Map),
        (pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())), Map),
        (pa.array(["2024-07-01T12:00[Mars/Olympus]"]), ZonedTimestamp),
        (pa.array([1]), ZonedTimestamp),
    ],
)
def test_what_would_lose_or_guess_is_refused_by_name(column: pa.Array, feast_type: FeastType) -> None:
    with pytest.raises(SourceError) as caught:
        cast_column(column, feast_type, subject="Source 'trips', column 'fare'")
    message = str(caught.value)
    assert message.startswith(f"Source 'trips', column 'fare' should hold {feast_type}")
    assert str(column.type) in message


def test_python_values_and_pandas_columns_are_cast_too() -> None:
    maps = pd.Series([{"a": 1}, None, {"b": [2]}])
    assert cast_column(maps, Map, subject="it").to_pylist() == ['{"a":1}', None, '{"b":[2]}']
    integers = pd.Series([1, None, 3])
    assert cast_column(integers, Int64, subject="it").to_pylist() == [1, None, 3]
    times = pd.Series(pd.to_datetime(["2024-07-01T12:00:00", None], utc=True))
    assert cast_column(times, UnixTimestamp, subject="it").to_pylist() == [NOON, None]


def test_a_table_is_cast_column_by_column_in_the_order_asked_for() -> None:
    table = pa.table({"b": pa.array([1], pa.int32()), "extra": [0], "a": ["x"]})
    result = cast_table(table, {"a": String, "b": Float64}, subject="Source 'trips'")
    assert result.schema.equals(pa.schema({"a": pa.string(), "b": pa.float64()}))
    assert result.to_pylist() == [{"a": "x", "b": 1.0}]
    assert cast_table(table, {}, subject="it").num_columns == 0


def test_a_missing_column_is_named_with_the_nearest_one() -> None:
    with pytest.raises(SourceError, match=r"Source 'trips' has no single column 'fares'. Did you mean 'fare'\?"):
        cast_table(pa.table({"fare": [1]}), {"fares": Int64}, subject="Source 'trips'")
    with pytest.raises(SourceError, match="Source 'trips', column 'fare' should hold String"):
        cast_table(pa.table({"fare": [1]}), {"fare": String}, subject="Source 'trips'")


def test_an_empty_column_is_cast() -> None:
    assert cast_column(pa.chunked_array([], pa.int32()), Int64, subject="it").type == pa.int64()
    assert len(cast_column(pa.array([], pa.string()), Map, subject="it")) == 0
    assert cast_column(pa.array([], pa.list_(pa.int8())), Set(Int64), subject="it").type == pa.list_(pa.int64())
