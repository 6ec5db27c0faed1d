"""A few rows encoded from Python values are byte for byte what Arrow makes of them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets import (
    Array,
    Bool,
    Bytes,
    Entity,
    FeatureView,
    Field,
    FileSource,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
)
from feast_assets.compute.few_rows import MOST_ROWS, FewRows
from feast_assets.compute.handed_in_rows import HandedInRows
from feast_assets.compute.ingestion import encode_ingested

NOW = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
VERSION = 1_700_000_000_000_001
CALL = "push"

PLAIN = {
    Bool: st.booleans(),
    Int32: st.integers(-(2**31), 2**31 - 1),
    Int64: st.integers(-(2**63), 2**63 - 1),
    Float32: st.floats(width=32),
    Float64: st.floats() | st.integers(-(2**53), 2**53),
    String: st.text(max_size=5),
    Bytes: st.binary(max_size=5),
    UnixTimestamp: st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    Array(Float64): st.lists(st.floats(), max_size=3),
    Array(Float32): st.lists(st.floats(width=32), max_size=3),
}
ODD = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=3),
    st.just("\ud800"),
    st.just(pd.NaT),
    st.just(pd.NA),
    st.just(pd.Timestamp("2024-01-01 00:00:00.000000001")),
    st.just(NOW.astimezone(timezone(timedelta(hours=2)))),
    st.just(NOW.replace(tzinfo=None)),
    st.lists(st.none() | st.floats(), max_size=2),
)
KEYS = {
    Int64: st.integers(-(2**63), 2**63 - 1),
    Int32: st.integers(-(2**31), 2**31 - 1),
    String: st.text(max_size=3),
    Bool: st.booleans(),
}


def view_of(key_types, feature_types, *, created="", mapping=None, vector_length=0):
    source = FileSource(
        name="s", path="s.parquet", timestamp_field="ts", created_timestamp_column=created, field_mapping=mapping or {}
    )
    names = [f"k{i}" for i in range(len(key_types))]
    entities = [Entity(name=f"e{i}", join_keys=[name]) for i, name in enumerate(names)]
    schema = [Field(name=n, dtype=t) for n, t in zip(names, key_types, strict=True)]
    schema += [
        Field(name=f"f{i}", dtype=t, vector_length=vector_length if isinstance(t, Array) else 0)
        for i, t in enumerate(feature_types)
    ]
    return FeatureView(name="v", entities=entities, source=source, schema=schema)


def content(encoded):
    events, created = encoded.event_timestamps.tolist(), encoded.created_timestamps.tolist()
    versions = encoded.versions.tolist()
    return sorted(zip(encoded.keys, events, created, versions, encoded.payloads, strict=True)), encoded.of_codec


def encoded_both_ways(view, rows):
    """Returns what the fast way makes of rows, and what Arrow makes of them; None for what refuses them."""
    handed_in = HandedInRows(rows, CALL)
    columns = handed_in.few_columns
    fast = None if columns is None else FewRows(view).encode(columns, VERSION)
    if fast is None:
        return None, None
    return content(fast), content(encode_ingested(view, handed_in.table, VERSION, CALL))


@st.composite
def columns_of_rows(draw, *, odd):
    key_types = draw(st.lists(st.sampled_from(list(KEYS)), min_size=1, max_size=2))
    feature_types = draw(st.lists(st.sampled_from(list(PLAIN)), min_size=1, max_size=10))
    count = draw(st.integers(1, 4))

    def column(values):
        return draw(st.lists(values | ODD if odd else values, min_size=count, max_size=count))

    columns = {f"k{i}": column(KEYS[t]) for i, t in enumerate(key_types)}
    columns |= {f"f{i}": column(PLAIN[t] | st.none()) for i, t in enumerate(feature_types)}
    columns["ts"] = column(PLAIN[UnixTimestamp])
    columns["extra"] = column(st.integers(0, 9))
    return view_of(key_types, feature_types), columns


@settings(max_examples=150, deadline=None)
@given(columns_of_rows(odd=False), st.sampled_from(["dict", "list", "frame"]))
def test_plain_values_give_the_same_bytes(case, form):
    view, columns = case
    rows = columns
    if form == "list":
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    elif form == "frame":
        rows = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    fast, arrow = encoded_both_ways(view, rows)
    vectors = [value for values in columns.values() for value in values if isinstance(value, list)]
    if form != "frame" or not any(math.isnan(item) for vector in vectors for item in vector):
        assert fast is not None
    assert fast == arrow


def test_nan_in_a_vector_of_a_frame_is_left_to_arrow():
    rows = {"k0": [1], "ts": [NOW], "f0": [[math.nan, 1.0]]}
    view = view_of([Int64], [Array(Float64)])
    assert encoded_both_ways(view, pd.DataFrame(rows)) == (None, None)
    fast, arrow = encoded_both_ways(view, rows)
    assert fast == arrow
    assert fast is not None


@settings(max_examples=300, deadline=None)
@given(columns_of_rows(odd=True))
def test_what_is_taken_of_odd_values_is_what_arrow_makes_of_them(case):
    view, columns = case
    fast, arrow = encoded_both_ways(view, columns)
    assert fast == arrow


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=5), st.booleans())
def test_frames_as_pandas_makes_them_give_the_same_bytes(floats, naive):
    rows = len(floats)
    frame = pd.DataFrame(
        {
            "k0": range(rows),
            "ts": [NOW.replace(tzinfo=None) if naive else NOW] * rows,
            "f0": floats,
            "f1": [True, None][:rows] + [False] * (rows - 2),
            "f2": ["a", None][:rows] + ["b"] * (rows - 2),
            "f3": pd.array([1, None][:rows] + [2] * (rows - 2), dtype="Int64"),
        }
    )
    fast, arrow = encoded_both_ways(view_of([Int64], [Float64, Bool, String, Int64]), frame)
    assert fast == arrow
    assert fast is not None


def test_nan_is_null_in_a_frame_and_a_value_in_a_dict():
    view = view_of([Int64], [Float64])
    columns = {"k0": [1], "ts": [NOW], "f0": [math.nan]}
    (of_dict,), _ = encoded_both_ways(view, columns)[0]
    (of_frame,), _ = encoded_both_ways(view, pd.DataFrame(columns))[0]
    (of_null,), _ = encoded_both_ways(view, {**columns, "f0": [None]})[0]
    assert of_dict != of_frame == of_null


@pytest.mark.parametrize("created", [NOW, None])
def test_created_times_and_mapped_names_are_taken(created):
    view = view_of([Int64], [Float64], created="made", mapping={"fare": "f0", "id": "k0"})
    rows = {"id": [1], "ts": [NOW], "fare": [2.5], "made": [created]}
    fast, arrow = encoded_both_ways(view, rows)
    assert fast == arrow
    assert fast is not None


def test_of_rows_of_one_entity_the_newest_is_kept():
    view = view_of([Int64], [Float64])
    rows = {"k0": [1, 1, 2], "ts": [NOW, NOW - timedelta(days=1), NOW], "f0": [1.0, 2.0, 3.0]}
    fast, arrow = encoded_both_ways(view, rows)
    assert fast == arrow
    assert len(fast[0]) == 2


@pytest.mark.parametrize(
    "rows",
    [
        {"k0": [1], "ts": [NOW]},
        {"k0": [1], "ts": [NOW], "f0": [1.0], "extra": [[1], 2]},
        {"k0": [1, 2], "ts": [NOW], "f0": [1.0]},
        {"k0": [1, 2], "ts": [NOW, NOW], "f0": [1.0, 2.0], "extra": [1, "a"]},
        {"k0": [None], "ts": [NOW], "f0": [1.0]},
        {"k0": [1], "ts": [None], "f0": [1.0]},
        {"k0": [1], "ts": [NOW], "f0": ["1"]},
        {"k0": [], "ts": [], "f0": []},
        {"k0": [1] * (MOST_ROWS + 1), "ts": [NOW] * (MOST_ROWS + 1), "f0": [1.0] * (MOST_ROWS + 1)},
        [{"k0": 1, "ts": NOW, "f0": 1.0}, {"k0": 2, "ts": NOW, "other": 1.0}],
        [{"k0": 1, "ts": NOW, "f0": 1.0}, {"k0": 2, "ts": NOW}],
        pd.DataFrame([[1, NOW, 1.0, 2.0]], columns=["k0", "ts", "f0", "f0"]),
        pd.DataFrame([[1, NOW, 1.0]], columns=["k0", "ts", 0]),
    ],
)
def test_what_needs_a_conversion_or_an_error_is_left_to_arrow(rows):
    assert encoded_both_ways(view_of([Int64], [Float64]), rows) == (None, None)


def test_a_vector_of_another_length_is_left_to_arrow():
    view = view_of([Int64], [Array(Float32)], vector_length=2)
    assert encoded_both_ways(view, {"k0": [1], "ts": [NOW], "f0": [[1.0]]})[0] is None
    assert encoded_both_ways(view, {"k0": [1], "ts": [NOW], "f0": [[1.0, 2.0]]})[0] is not None


def test_a_view_without_entities_has_one_key():
    view = FeatureView(
        name="v",
        source=FileSource(name="s", path="s.parquet", timestamp_field="ts"),
        schema=[Field(name="f0", dtype=Int64)],
    )
    fast, arrow = encoded_both_ways(view, {"ts": [NOW], "f0": [1]})
    assert fast == arrow
    assert fast is not None
