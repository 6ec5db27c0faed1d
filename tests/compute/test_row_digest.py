"""The digest by which a repeated push is known: by values, whatever Arrow keeps them in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.compute.row_digest import digest_of, rows_digest

T0 = datetime(2024, 1, 1, tzinfo=UTC)


def of(*values, of_type=None) -> str:
    return rows_digest(pa.table({"a": pa.array(list(values), of_type)}))


SAME = {
    "integers": [of(1, None, 3, of_type=t) for t in (pa.int8(), pa.int32(), pa.int64(), pa.uint32())],
    "numbers": [of(0.5, None, of_type=t) for t in (pa.float32(), pa.float64())],
    "texts": [of("x", None, "", of_type=t) for t in (pa.string(), pa.large_string(), pa.string_view())],
    "dictionaries": [of("x", "y", "x"), rows_digest(pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode()}))],
    "times": [of(T0, None, of_type=pa.timestamp(unit, zone)) for unit in ("s", "us", "ns") for zone in (None, "UTC")],
    "lists": [of([1, None], None, [], of_type=t(pa.int64())) for t in (pa.list_, pa.large_list)],
    "nothing": [of(None, None, of_type=t) for t in (pa.null(), pa.int64(), pa.string())],
}


@pytest.mark.parametrize("kind", SAME)
def test_the_same_values_have_the_same_digest_in_any_type(kind):
    assert len(set(SAME[kind])) == 1


def test_values_that_differ_have_other_digests():
    nano = pa.array([1_000_000_001, 2], pa.timestamp("ns", "UTC"))
    digests = [
        of("ab", "c"),
        of("a", "bc"),
        of("a", None),
        of("a", ""),
        of(1, None),
        of(1, 0),
        of(1.0, None),
        of([1], [2]),
        of([1, 2], []),
        of([1, 2], None),
        of({"x": 1}, None),
        of({"x": 1}, {"x": None}),
        of({"y": 1}, None),
        of([("k", 1)], None, of_type=pa.map_(pa.string(), pa.int64())),
        of(T0, T0 + timedelta(microseconds=1)),
        rows_digest(pa.table({"a": nano})),
        of(b"\x00", b""),
        of(b"", b"\x00"),
        of(),
        rows_digest(pa.table({"b": pa.array(["ab", "c"])})),
    ]
    for one, other in combinations(range(len(digests)), 2):
        assert digests[one] != digests[other], (one, other)


ROW = st.fixed_dictionaries(
    {
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "t": st.none() | st.text(max_size=4),
        "l": st.none() | st.lists(st.none() | st.text(max_size=2), max_size=3),
        "s": st.none() | st.fixed_dictionaries({"x": st.none() | st.integers(0, 9), "y": st.none() | st.booleans()}),
    }
)
SCHEMA = pa.schema(
    [
        ("i", pa.int64()),
        ("t", pa.string()),
        ("l", pa.list_(pa.string())),
        ("s", pa.struct([("x", pa.int64()), ("y", pa.bool_())])),
    ]
)


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(ROW, max_size=6), others=st.lists(ROW, max_size=3), cut=st.integers(0, 6))
def test_where_arrow_keeps_the_values_does_not_matter(rows, others, cut):
    plain = pa.Table.from_pylist(rows, SCHEMA)
    around = pa.Table.from_pylist([*others, *rows, *others], SCHEMA).slice(len(others), len(rows))
    pieces = pa.concat_tables([plain.slice(0, cut), plain.slice(cut)]).select(["s", "l", "t", "i"])
    assert rows_digest(plain) == rows_digest(around) == rows_digest(pieces)
    changed = [*rows[:-1], {**rows[-1], "i": 5}] if rows else [*others, {"i": 5}]
    if changed != rows:
        assert rows_digest(pa.Table.from_pylist(changed, SCHEMA)) != rows_digest(plain)


def test_a_digest_of_texts_keeps_them_apart():
    assert len({digest_of("ab", "c"), digest_of("a", "bc"), digest_of("abc"), digest_of("ab", "c", "")}) == 4
