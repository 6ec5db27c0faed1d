from __future__ import annotations

import datetime as dt
import itertools
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.errors import DefinitionError, InputError, OnlineRowError
from feast_assets.online_stores.rows.decoded_keys import decode_keys
from feast_assets.online_stores.rows.keys import TAGS, check_key_type, drop_null_keys, encode_keys
from feast_assets.testing.value_strategies import values_of
from feast_assets.types import (
    Array,
    Bool,
    Bytes,
    FeastType,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
    Uuid,
)
from feast_assets.types.python import to_arrow_column

KEY_TYPES = list(TAGS)


def keys_of(types: list[FeastType], rows: list[tuple[Any, ...]]) -> list[bytes]:
    return encode_keys(
        [f"k{i}" for i in range(len(types))], types, [[row[i] for row in rows] for i in range(len(types))]
    )


@st.composite
def typed_rows(draw: st.DrawFn) -> tuple[list[FeastType], list[tuple[Any, ...]]]:
    types = draw(st.lists(st.sampled_from(KEY_TYPES), min_size=1, max_size=3))
    return types, draw(st.lists(st.tuples(*map(values_of, types)), max_size=5))


@given(typed_rows())
@settings(max_examples=120, deadline=None)
def test_python_values_and_arrow_columns_give_the_same_bytes(given_rows: tuple[list[FeastType], list[Any]]) -> None:
    types, rows = given_rows
    names = [f"k{i}" for i in range(len(types))]
    columns = [to_arrow_column([row[i] for row in rows], t, "it") for i, t in enumerate(types)]
    expected = keys_of(types, rows)
    assert encode_keys(names, types, columns) == expected
    chunked = [pa.chunked_array([column.slice(0, 1), column.slice(1)]) for column in columns]
    assert encode_keys(names, types, chunked) == expected
    half_arrow = [columns[0], *[[row[i] for row in rows] for i in range(1, len(types))]]
    assert encode_keys(names, types, half_arrow) == expected


@given(st.lists(st.sampled_from(KEY_TYPES), min_size=1, max_size=3), st.data())
@settings(max_examples=100, deadline=None)
def test_different_keys_have_different_bytes(types: list[FeastType], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(*map(values_of, types)), unique=True, max_size=6))
    assert len(set(keys_of(types, rows))) == len(rows)


def test_text_cannot_flow_from_one_part_into_the_next() -> None:
    parts = ["", "a", "ab", "b", "s", "as", "\x00", "\x00\x00\x00\x01a"]
    for types in ([String, String], [String, Bytes], [Bytes, String, String]):
        rows = list(itertools.product(*[[p.encode() for p in parts] if t == Bytes else parts for t in types]))
        assert len(set(keys_of(types, rows))) == len(rows)


def test_the_bytes_of_keys_never_change() -> None:
    assert keys_of([Int64], [(1,), (-2,)]) == [b"i\0\0\0\0\0\0\0\1", b"i\xff\xff\xff\xff\xff\xff\xff\xfe"]
    assert keys_of([Int32], [(1,)]) == keys_of([Int64], [(1,)])
    assert keys_of([String], [("hé",), ("",)]) == [b"sh\xc3\xa9", b"s"]
    assert keys_of([Bytes], [(b"\0",)]) == [b"x\0"]
    assert keys_of([Bool], [(True,), (False,)]) == [b"b\1", b"b\0"]
    assert keys_of([UnixTimestamp], [(dt.datetime(1970, 1, 1, 0, 0, 1),)]) == [b"t\0\0\0\0\0\x0f\x42\x40"]
    assert keys_of([Uuid], [(uuid.UUID(int=1),)]) == [b"u00000000-0000-0000-0000-000000000001"]
    assert keys_of([String, Int64, String], [("ab", 1, "c")]) == [b"s\0\0\0\2abi\0\0\0\0\0\0\0\1sc"]


def test_numpy_columns_and_numpy_integers_are_taken() -> None:
    expected = keys_of([Int64, String], [(1, "x"), (2, "y")])
    names, types = ["k0", "k1"], [Int64, String]
    assert encode_keys(names, types, [np.array([1, 2]), np.array(["x", "y"], object)]) == expected
    assert encode_keys(names, types, [[np.int64(1), np.int32(2)], ("x", np.str_("y"))]) == expected
    assert encode_keys(["k"], [Uuid], [["00000000000000000000000000000001"]]) == keys_of([Uuid], [(uuid.UUID(int=1),)])


@pytest.mark.parametrize(
    ("feast_type", "value", "message"),
    [
        (Int64, "1001", "Join key 'driver_id' is Int64, so its values should be an int, but row 1 has str '1001'"),
        (Int64, 1.0, "should be an int, but row 1 has float 1.0"),
        (Int64, True, "should be an int, but row 1 has bool True"),
        (Int64, None, "Join key 'driver_id' is null in row 1"),
        (Int64, 2**63, "9223372036854775808 in row 1 is out of its range"),
        (Int32, -(2**31) - 1, "in row 1 is out of its range"),
        (String, 7, "should be a str, but row 1 has int 7"),
        (String, None, "is null in row 1"),
        (String, "\ud800", "not Unicode"),
        (Bytes, "x", "should be bytes, but row 1 has str"),
        (Bool, 1, "should be a bool, but row 1 has int 1"),
        (UnixTimestamp, "2024-01-01", "should be a datetime"),
        (Uuid, 7, "should be a uuid.UUID or its text"),
        (Uuid, "seven", "text that is not a UUID"),
    ],
)
def test_a_wrong_key_is_named(feast_type: FeastType, value: Any, message: str) -> None:
    good = {
        Int64: 1,
        Int32: 1,
        String: "a",
        Bytes: b"a",
        Bool: True,
        UnixTimestamp: dt.datetime(2024, 1, 1),
        Uuid: uuid.UUID(int=1),
    }
    with pytest.raises(InputError, match="'driver_id'") as caught:
        encode_keys(["driver_id"], [feast_type], [[good[feast_type], value]])
    assert message in str(caught.value)


def test_wrong_arrow_columns_and_shapes_are_named() -> None:
    with pytest.raises(InputError, match="Join key 'k' is null in row 1"):
        encode_keys(["k"], [Int64], [pa.array([1, None])])
    with pytest.raises(InputError, match="Join key 'k' should be int64, not int32"):
        encode_keys(["k"], [Int64], [pa.array([1], pa.int32())])
    with pytest.raises(InputError, match="'a' 1, 'b' 2"):
        encode_keys(["a", "b"], [Int64, Int64], [[1], [1, 2]])
    with pytest.raises(InputError, match="at least one"):
        encode_keys([], [], [])
    with pytest.raises(InputError, match="as many types"):
        encode_keys(["a"], [], [])


@pytest.mark.parametrize("feast_type", [Float64, Array(Int64)])
def test_a_type_that_does_not_compare_exactly_cannot_be_a_key(feast_type: FeastType) -> None:
    with pytest.raises(DefinitionError, match="'k' cannot have type"):
        check_key_type("k", feast_type)
    with pytest.raises(DefinitionError, match="Int32, Int64"):
        encode_keys(["k"], [feast_type], [[1.0]])


def test_rows_with_null_keys_are_left_out_and_counted() -> None:
    table = pa.table({"a": [1, None, 3, 4], "b": ["x", "y", None, "z"], "f": [1, 2, 3, None]})
    kept, dropped = drop_null_keys(table, ["a", "b"])
    assert (kept["a"].to_pylist(), dropped) == ([1, 4], 2)
    same, none = drop_null_keys(table, [])
    assert same is table
    assert none == 0


@given(typed_rows())
@settings(max_examples=120, deadline=None)
def test_keys_are_read_back_as_they_were_written(given_rows: tuple[list[FeastType], list[Any]]) -> None:
    types, rows = given_rows
    names = [f"k{i}" for i in range(len(types))]
    columns = [to_arrow_column([row[i] for row in rows], t, "it") for i, t in enumerate(types)]
    assert decode_keys(names, types, encode_keys(names, types, columns)) == pa.table(columns, names)


@pytest.mark.parametrize(
    ("types", "key"),
    [
        ([Int64], b"i1234567"),
        ([Int64], b"i123456789"),
        ([Int64], b"sabcdefgh"),
        ([Int64], b""),
        ([String, Int64], b"s\xff\xff\xff\xffa"),
        ([String], b"s\xff"),
        ([Bool, Bool], b"b\1"),
    ],
)
def test_bytes_that_are_no_key_are_refused(types: list[FeastType], key: bytes) -> None:
    names = [f"k{i}" for i in range(len(types))]
    with pytest.raises(OnlineRowError, match="stored entity key"):
        decode_keys(names, types, [key])
