from __future__ import annotations

import datetime as dt
import decimal
import random
import subprocess
import sys
import uuid
import warnings
from operator import ge
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.errors import ForeignValueWarning, InputError, UnknownRowSchemaError
from feast_assets.online_stores.rows.codec import (
    NOT_FOUND,
    NULL_VALUE,
    OUTSIDE_MAX_AGE,
    PRESENT,
    RowDecoder,
    RowSchema,
    encode_rows,
)
from feast_assets.testing.value_strategies import feast_types, values_of
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
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)
from feast_assets.types.arrow import to_arrow_type
from feast_assets.types.python import to_arrow_column

Fields = dict[str, tuple[FeastType, list[Any]]]


def table_of(fields: Fields) -> tuple[RowSchema, pa.Table]:
    schema = RowSchema.of({name: feast_type for name, (feast_type, _) in fields.items()})
    columns = {name: to_arrow_column(values, t, name) for name, (t, values) in fields.items()}
    return schema, pa.table(columns)


def encoded(fields: Fields) -> tuple[RowSchema, list[bytes]]:
    schema, table = table_of(fields)
    return schema, encode_rows(schema, table)


def decoder(*schemas: RowSchema, wanted: dict[str, FeastType]) -> RowDecoder:
    return RowDecoder({schema.schema_id: schema for schema in schemas}, list(wanted.items()), subject="View 'v'")


EVERY_KIND: Fields = {
    "flag": (Bool, [True, None, False]),
    "small": (Int32, [-5, None, 2**31 - 1]),
    "large": (Int64, [2**40, None, -(2**63)]),
    "half": (Float32, [0.5, None, -0.25]),
    "real": (Float64, [1.1, None, float("inf")]),
    "when": (UnixTimestamp, [dt.datetime(2024, 1, 2, 3, 4, 5, 6, dt.UTC), None, dt.datetime(1, 1, 1, tzinfo=dt.UTC)]),
    "text": (String, ["é\x00", None, ""]),
    "blob": (Bytes, [b"\x00\xff", None, b""]),
    "vector": (Array(Float32), [[1.5, None, -2.0], None, []]),
    "ids": (Set(Int64), [{1, 2}, None, set()]),
    "flags": (Array(Bool), [[True, False, None], None, [True]]),
    "times": (Array(UnixTimestamp), [[dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], None, []]),
    "tags": (Array(String), [["a", None, "b"], None, []]),
    "nested": (
        Struct({"x": Array(Bytes), "t": UnixTimestamp}),
        [{"x": [b"q", None], "t": None}, None, {"x": None, "t": None}],
    ),
    "map": (Map, [{"k": [1, {"z": None}]}, None, {}]),
    "json": (Json, [{"a": 1}, None, [1, 2]]),
    "id": (Uuid, [uuid.UUID(int=7), None, uuid.UUID(int=0)]),
    "price": (Decimal, [decimal.Decimal("1.50"), None, decimal.Decimal(0)]),
}


def test_rows_of_every_kind_come_back_with_their_statuses() -> None:
    schema, payloads = encoded(EVERY_KIND)
    columns = decoder(schema, wanted=dict(schema.fields)).decode(
        [payloads[2], None, payloads[0], payloads[1], payloads[0]]
    )
    for column in columns:
        feast_type, values = EVERY_KIND[column.name]
        expected = [values[2], None, values[0], None, values[0]]
        assert column.to_pylist() == expected, column.name
        assert column.statuses == [PRESENT, NOT_FOUND, PRESENT, NULL_VALUE, PRESENT]
        assert column.to_arrow().type == to_arrow_type(feast_type)
        assert column.to_arrow().equals(to_arrow_column(expected, feast_type, "it")), column.name


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_values_of_every_type_come_back(data: st.DataObject) -> None:
    types = data.draw(st.lists(feast_types(), min_size=1, max_size=10))
    rows = data.draw(st.integers(0, 4))
    fields: Fields = {
        f"f{i}": (t, data.draw(st.lists(st.none() | values_of(t), min_size=rows, max_size=rows)))
        for i, t in enumerate(types)
    }
    schema, table = table_of(fields)
    payloads = encode_rows(schema, table)
    assert len(payloads) == rows
    gaps = data.draw(st.lists(st.sampled_from([None, *range(rows)]), max_size=6))
    columns = decoder(schema, wanted=dict(schema.fields)).decode([None if g is None else payloads[g] for g in gaps])
    for column, (feast_type, values) in zip(columns, fields.values(), strict=True):
        expected = [None if g is None else values[g] for g in gaps]
        assert column.to_pylist() == expected
        assert column.to_arrow().to_pylist() == [None if g is None else table[column.name][g].as_py() for g in gaps]
        statuses = [NOT_FOUND if g is None else NULL_VALUE if values[g] is None else PRESENT for g in gaps]
        assert column.statuses == statuses
        assert feast_type == column.type


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_rows_bytes_do_not_depend_on_the_rows_around_it(data: st.DataObject) -> None:
    feast_type = data.draw(feast_types())
    values = data.draw(st.lists(st.none() | values_of(feast_type), min_size=1, max_size=5))
    schema, together = encoded({"f": (feast_type, values)})
    assert together == [encoded({"f": (feast_type, [value])})[1][0] for value in values]
    _, table = table_of({"f": (feast_type, values)})
    sliced = pa.concat_tables([table, table]).combine_chunks().slice(1, len(values))
    assert encode_rows(schema, sliced) == together[1:] + together[:1]


def test_what_lies_under_a_null_does_not_matter() -> None:
    schema = RowSchema.of({"a": Int64, "b": String, "c": Array(Int64)})
    clean, dirty = [], []
    for target, number, text, items in ((clean, 0, b"", []), (dirty, 99, b"junk", [7, 8])):
        invalid = pa.py_buffer(b"\x00")
        numbers = pa.Array.from_buffers(pa.int64(), 1, [invalid, pa.py_buffer(np.array([number]))])
        offsets = np.array([0, len(text)], np.int32)
        texts = pa.Array.from_buffers(pa.string(), 1, [invalid, pa.py_buffer(offsets), pa.py_buffer(text)])
        ends = pa.array([0, len(items)], pa.int32())
        lists = pa.ListArray.from_arrays(ends, pa.array(items, pa.int64()), mask=pa.array([True]))
        target += encode_rows(schema, pa.table({"a": numbers, "b": texts, "c": lists}))
    assert clean == dirty


def test_large_tables_of_many_chunks_are_encoded_in_order() -> None:
    table = pa.table({"i": np.arange(40_000), "s": [str(i) for i in range(40_000)]})
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7, 20_000), table.slice(20_007)])
    schema = RowSchema.of({"s": String, "i": Int64})
    texts, numbers = decoder(schema, wanted={"s": String, "i": Int64}).decode(encode_rows(schema, chunked))
    assert numbers.to_pylist() == list(range(40_000))
    assert texts.to_pylist() == [str(i) for i in range(40_000)]
    batch = table.to_batches()[0]
    assert encode_rows(schema, batch) == encode_rows(schema, chunked)


def test_rows_without_fields_say_that_they_exist() -> None:
    schema = RowSchema(())
    payloads = encode_rows(schema, pa.table({"other": [1, 2]}))
    assert payloads == [schema.schema_id.to_bytes(4, "little")] * 2
    (column,) = decoder(schema, wanted={"f": Int64}).decode([payloads[0], None])
    assert column.statuses == [NOT_FOUND, NOT_FOUND]
    assert column.to_pylist() == [None, None]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_features_of_any_rows_of_several_schemas_are_read(data: st.DataObject) -> None:
    """What is read equals what a loop over rows and features looks up."""
    types = data.draw(st.dictionaries(st.sampled_from("abcdef"), feast_types(), min_size=1))
    names = st.lists(st.sampled_from(sorted(types)), unique=True)
    payloads: list[bytes] = []
    stored: list[dict[str, Any]] = []
    schemas: dict[int, RowSchema] = {}
    for chosen in data.draw(st.lists(names, min_size=1, max_size=3)):
        count = data.draw(st.integers(0, 4))
        fields: Fields = {
            n: (types[n], data.draw(st.lists(st.none() | values_of(types[n]), min_size=count, max_size=count)))
            for n in chosen
        }
        schema = RowSchema.of({n: types[n] for n in chosen})
        table = table_of(fields)[1] if fields else pa.table({"other": range(count)})
        schemas[schema.schema_id] = schema
        payloads += encode_rows(schema, table)
        stored += [{n: values[row] for n, (_, values) in fields.items()} for row in range(count)]
    rows = data.draw(st.lists(st.sampled_from([None, *range(len(payloads))]), max_size=8))
    places = data.draw(st.none() | st.lists(st.sampled_from(range(len(rows))), max_size=8)) if rows else None
    taken = rows if places is None else [rows[place] for place in places]
    withheld = sorted(data.draw(st.sets(st.sampled_from(range(len(taken)))))) if taken else []
    wanted = {n: types[n] for n in data.draw(names)}

    decoded = RowDecoder(schemas, list(wanted.items())).decode([None if r is None else payloads[r] for r in rows])
    if places is not None:
        decoded = decoded.taken(places)
    if withheld:
        decoded = decoded.without(withheld)

    assert [column.name for column in decoded] == list(wanted)
    for place, column in enumerate(decoded):
        found = [None if r is None else stored[r].get(column.name, ...) for r in taken]
        known = [r is not None and v is not ... for r, v in zip(taken, found, strict=True)]
        values = [
            v if is_known and row not in withheld else None
            for row, (v, is_known) in enumerate(zip(found, known, strict=True))
        ]
        assert column.to_pylist() == decoded.to_pylists([place])[0] == values
        assert column.to_arrow().equals(to_arrow_column(values, column.type, "it"))
        assert column.statuses == [
            NOT_FOUND if not is_known else OUTSIDE_MAX_AGE if row in withheld else NULL_VALUE if v is None else PRESENT
            for row, (v, is_known) in enumerate(zip(found, known, strict=True))
        ]


def test_a_list_that_was_given_away_may_be_changed() -> None:
    schema, rows = encoded({"a": (Int64, [1, 2]), "s": (String, ["x", "y"])})
    decoded = decoder(schema, wanted={"a": Int64, "s": String}).decode(rows)
    a, again, s = decoded.to_pylists([0, 0, 1])
    a[0], s[0] = 9, "z"
    assert again == [1, 2]
    assert decoded.to_pylists([0, 1]) == [[1, 2], ["x", "y"]]


# --- the format, which stored rows depend on


def test_the_bytes_of_a_schema_id_and_of_a_row_never_change() -> None:
    schema, payloads = encoded(GOLDEN_FIELDS)
    assert schema.schema_id == GOLDEN_ID
    assert payloads[0] == b"".join(GOLDEN_ROW)


GOLDEN_FIELDS: Fields = {
    "flag": (Bool, [True]),
    "none": (Int32, [None]),
    "real": (Float64, [1.5]),
    "text": (String, ["hé"]),
    "when": (UnixTimestamp, [dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)]),
    "vector": (Array(Int32), [[1, None]]),
    "plain": (Array(Float32), [[1.0]]),
    "nested": (Struct({"t": UnixTimestamp, "b": Bytes}), [{"t": 0, "b": b"q"}]),
    "gone": (Bytes, [None]),
}
GOLDEN_ID = 3245953956
GOLDEN_ROW = [
    (3245953956).to_bytes(4, "little"),  # schema
    b"\x02\x01",  # null: fields 1 and 8
    b"\x01",  # flag
    bytes(4),  # none
    b"\0\0\0\0\0\0\xf8\x3f",  # real
    b"\x03\0\0\0",  # text ends
    b"\x40\x42\x0f\0\0\0\0\0",  # when
    b"\x0e\0\0\0",  # vector ends
    b"\x13\0\0\0",  # plain ends
    b"\x25\0\0\0",  # nested ends
    b"\x25\0\0\0",  # gone ends
    b"h\xc3\xa9",
    b"\x01\x01\0\0\0\0\0\0\0\0\x01",
    b"\0\0\0\x80\x3f",
    b'{"t":0,"b":"cQ=="}',
]


def test_a_schemas_id_depends_on_names_types_and_order_alone() -> None:
    schema = RowSchema.of({"a": Int64, "b": Array(String)})
    assert RowSchema.of([("a", Int64), ("b", Array(String))]).schema_id == schema.schema_id
    others = [
        RowSchema.of({"b": Array(String), "a": Int64}),
        RowSchema.of({"a": Int32, "b": Array(String)}),
        RowSchema.of({"a": Int64, "c": Array(String)}),
        RowSchema.of({"a": Int64}),
    ]
    assert len({schema.schema_id, *(other.schema_id for other in others)}) == 5
    assert RowSchema.from_spec(schema.to_spec()) == schema


@given(st.lists(st.tuples(st.text(), feast_types()), unique_by=lambda field: field[0], max_size=5))
@settings(max_examples=50, deadline=None)
def test_a_schema_reads_back_from_its_spec(fields: list[tuple[str, FeastType]]) -> None:
    schema = RowSchema(tuple(fields))
    again = RowSchema.from_spec(schema.to_spec())
    assert again == schema
    assert again.schema_id == schema.schema_id < 2**32


def test_a_schema_cannot_repeat_a_name_or_hold_invalid() -> None:
    with pytest.raises(ValueError, match="repeat"):
        RowSchema((("a", Int64), ("a", String)))
    with pytest.raises(ValueError, match="'a' has type Invalid"):
        RowSchema.of({"a": Invalid})


# --- rows written before a view changed


def test_rows_of_several_schemas_are_read_in_one_call() -> None:
    old, old_rows = encoded({"a": (Int64, [1, None]), "gone": (String, ["x", "y"])})
    new, new_rows = encoded({"added": (String, ["n", None]), "a": (Int64, [10, 20])})
    payloads = [new_rows[1], old_rows[0], None, old_rows[1], new_rows[0]]
    a, added = decoder(old, new, wanted={"a": Int64, "added": String}).decode(payloads)
    assert a.to_pylist() == [20, 1, None, None, 10]
    assert a.statuses == [PRESENT, PRESENT, NOT_FOUND, NULL_VALUE, PRESENT]
    assert a.to_arrow().to_pylist() == a.to_pylist()
    assert added.to_pylist() == [None, None, None, None, "n"]
    assert added.statuses == [NULL_VALUE, NOT_FOUND, NOT_FOUND, NOT_FOUND, PRESENT]
    assert added.to_arrow().to_pylist() == added.to_pylist()


@pytest.mark.parametrize(
    ("stored", "wanted", "values", "expected"),
    [
        (Int32, Int64, [5, None], [5, None]),
        (Int32, Float64, [5, None], [5.0, None]),
        (Float32, Float64, [0.5, None], [0.5, None]),
        (Array(Int32), Array(Int64), [[1, None], None], [[1, None], None]),
        (Array(Int32), Array(Float64), [[1, None], None], [[1.0, None], None]),
        (Set(Float32), Set(Float64), [{0.5}, None], [{0.5}, None]),
        (Bytes, ImageBytes, [b"x", None], [b"x", None]),
    ],
)
def test_a_wider_type_reads_what_a_narrower_one_stored(
    stored: FeastType, wanted: FeastType, values: list[Any], expected: list[Any]
) -> None:
    old, rows = encoded({"f": (stored, values)})
    new, new_rows = encoded({"f": (wanted, expected)})
    (column,) = decoder(old, new, wanted={"f": wanted}).decode([*rows, *new_rows])
    found = column.to_pylist()
    assert found == expected + expected
    assert [type(v) for v in found] == [type(v) for v in expected + expected]
    assert column.statuses == [PRESENT, NULL_VALUE] * 2
    assert column.to_arrow().equals(to_arrow_column(expected + expected, wanted, "it"))


@pytest.mark.parametrize(
    ("stored", "wanted", "value"),
    [
        (Int64, Int32, 1),
        (Int64, Float64, 1),
        (Int32, Float32, 1),
        (Float64, Float32, 1.0),
        (String, Int64, "1"),
        (Bool, Int64, True),
        (Int64, UnixTimestamp, 1),
        (String, Bytes, "x"),
        (Json, String, "{}"),
        (Array(Int64), Array(Int32), [1]),
        (Array(Int32), Set(Int32), [1]),
        (Array(String), Array(Int64), ["x"]),
    ],
)
def test_any_other_change_of_type_makes_old_values_not_found(stored: FeastType, wanted: FeastType, value: Any) -> None:
    old, rows = encoded({"f": (stored, [value])})
    (column,) = decoder(old, wanted={"f": wanted}).decode(rows)
    assert column.to_pylist() == [None]
    assert column.statuses == [NOT_FOUND]
    assert column.to_arrow().equals(pa.nulls(1, to_arrow_type(wanted)))


def test_callers_may_change_statuses_of_one_column() -> None:
    schema, rows = encoded({"a": (Int64, [1]), "b": (Int64, [2])})
    a, b = decoder(schema, wanted={"a": Int64, "b": Int64}).decode(rows)
    a.statuses[0] = 4
    assert b.statuses == [PRESENT]


# --- what cannot be read or written


def test_a_row_of_an_unknown_schema_is_named() -> None:
    schema, rows = encoded({"a": (Int64, [1])})
    other = RowSchema.of({"b": String})
    with pytest.raises(
        UnknownRowSchemaError, match=r"View 'v'.*unknown schema 0x[0-9a-f]{8}.*Refresh the registry"
    ) as caught:
        decoder(other, wanted={"b": String}).decode([None, *rows])
    assert caught.value.schema_ids == {schema.schema_id}


def test_every_truncated_or_extended_row_is_not_there() -> None:
    schema, payloads = encoded(EVERY_KIND)
    reader = decoder(schema, wanted=dict(schema.fields))
    good = payloads[1]
    expected = reader.decode([good, None, None, good])
    for payload in payloads:
        for damaged in [*[payload[:length] for length in range(len(payload))], payload + b"\x00"]:
            found = reader.decode([good, None, damaged, good])
            assert list(found.damaged) == [2]
            assert found.to_pylists() == expected.to_pylists()
            assert [column.statuses for column in found] == [column.statuses for column in expected]


def test_a_row_whose_fields_overlap_is_not_there() -> None:
    schema, (good,) = encoded({"a": (String, ["xy"]), "b": (String, ["z"])})
    reader = decoder(schema, wanted={"a": String, "b": String})
    damaged = good.replace((2).to_bytes(4, "little"), (4).to_bytes(4, "little"), 1)
    assert damaged != good
    found = reader.decode([good, damaged, damaged])
    assert found.damaged == {1: "its fields overlap", 2: "its fields overlap"}
    assert found.to_pylists() == [["xy", None, None], ["z", None, None]]


def test_flipped_bytes_give_values_or_none_with_a_status_that_says_so() -> None:
    schema, payloads = encoded(EVERY_KIND)
    reader = decoder(schema, wanted=dict(schema.fields))
    rng = random.Random(5)
    unknown = unreadable = 0
    for _ in range(1500):
        damaged = bytearray(rng.choice(payloads))
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        row = [payloads[0], bytes(damaged)]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ForeignValueWarning)
                as_python, as_arrow, only_statuses = reader.decode(row), reader.decode(row), reader.decode(row)
                for place in range(len(schema.fields)):
                    there = [value is not None for value in as_python.column(place).to_pylist()]
                    assert there == [status == PRESENT for status in as_python.statuses(place)]
                    # Arrow has times beyond Python's years, which the status calls not found.
                    there = as_arrow.to_arrow(place).is_valid().to_pylist()
                    assert all(map(ge, there, [status == PRESENT for status in as_arrow.statuses(place)]))
                    assert only_statuses.statuses(place) == as_python.statuses(place)
                found = as_python.unreadable()
                assert set(found) <= {1}
                unreadable += bool(found)
        except UnknownRowSchemaError:
            unknown += 1
    assert unknown > 30 and unreadable > 300


def test_a_column_that_is_missing_or_not_canonical_is_named() -> None:
    schema = RowSchema.of({"fare": Int64})
    with pytest.raises(InputError, match=r"no single column 'fare'. Did you mean 'fares'\?"):
        encode_rows(schema, pa.table({"fares": [1]}))
    with pytest.raises(InputError, match="Column 'fare' of rows to encode is Int64: int64 in Arrow, not int32"):
        encode_rows(schema, pa.table({"fare": pa.array([1], pa.int32())}))


def test_reading_loads_neither_arrow_nor_pandas() -> None:
    schema, payloads = encoded(EVERY_KIND)
    program = f"""
import sys
from feast_assets.online_stores.rows.codec import RowDecoder, RowSchema
from feast_assets.online_stores.rows.keys import encode_keys
from feast_assets.types import Int64, String
schema = RowSchema.from_spec({schema.to_spec()!r})
columns = RowDecoder({{schema.schema_id: schema}}, schema.fields).decode([{payloads[0]!r}, None])
assert all(len(column.to_pylist()) == 2 for column in columns)
assert encode_keys(["a", "b"], [Int64, String], [[1], ["x"]])
heavy = {{"pandas", "pyarrow", "duckdb", "sqlalchemy", "dagster"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)
