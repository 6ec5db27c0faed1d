"""Columns of Python values: what Arrow infers, and errors that name the column."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.types.given_tables import column_of_values, table_of_columns, table_of_rows

items = st.sampled_from([None, 1.5, 1, 2**53 + 1, "a", True, b"a"])
cells = st.one_of(st.none(), st.lists(items, max_size=3), st.lists(st.floats(), max_size=3), st.lists(st.text()))


@settings(deadline=None)
@given(st.lists(cells, max_size=4))
def test_lists_become_the_column_that_arrow_infers(values):
    try:
        expected = pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        with pytest.raises(ValueError, match="column 'x'"):
            column_of_values("x", values)
        return
    found = column_of_values("x", values)
    assert found.type == expected.type
    assert repr(found.to_pylist()) == repr(expected.to_pylist())


def test_rows_of_different_columns_keep_them_all():
    assert table_of_rows([{"a": 1}, {"b": 2}]).to_pydict() == {"a": [1, None], "b": [None, 2]}


def deep(kind):
    value = 1
    for _ in range(5000):
        value = [value] if kind is list else {"a": value}
    return value


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([2**64], "column 'x': an integer does not fit 64 bits"),
        ([[1.5, {"a": deep(dict)}]], "nested deeper"),
        ([deep(list)], "nested deeper"),
        ([deep(dict)], "nested deeper"),
        ("text", "not a list of values"),
        ({"a": 1}, "not a list of values"),
        (7, "not a list of values"),
        ([1, "a"], "column 'x'"),
        (["\ud800"], "not Unicode"),
    ],
    ids=lambda value: repr(value)[:20] if isinstance(value, str) else type(value).__name__,
)
def test_what_no_column_can_hold_is_refused_with_the_column_and_the_reason(values, message):
    with pytest.raises(ValueError, match=message):
        table_of_columns({"x": values})


def test_a_row_that_is_no_mapping_is_named():
    with pytest.raises(ValueError, match="row 1 is int 7"):
        table_of_rows([{"a": 1}, 7])
