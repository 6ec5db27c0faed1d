"""Columns as numpy arrays are what their values say, whatever slice they are and whatever lies under their nulls."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.types.arrow_values import fixed_values, flags, int64_array, null_flags

_KINDS = {
    "<i8": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "<i4": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "<f8": (pa.float64(), st.floats(allow_nan=False)),
    "|u1": (pa.uint8(), st.integers(0, 255)),
}


@pytest.mark.parametrize("code", _KINDS)
@given(data=st.data())
def test_values_are_those_of_the_column(code, data):
    kind, values = _KINDS[code]
    given_values = data.draw(st.lists(st.none() | values, max_size=20))
    start = data.draw(st.integers(0, len(given_values)))
    column = pa.array(given_values, kind).slice(start, data.draw(st.integers(0, 20)))
    expected = column.to_pylist()
    assert fixed_values(column, code).tolist() == [0 if v is None else v for v in expected]
    assert null_flags(column).tolist() == [v is None for v in expected]


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 40))
def test_flags_are_those_of_the_column(values, start):
    assert flags(pa.array(values, pa.bool_()).slice(start)).tolist() == values[start:]


def test_what_lies_under_a_null_is_not_seen():
    validity, data = pa.py_buffer(b"\x05"), pa.py_buffer(np.array([1, 77, 3], np.int64))
    column = pa.Array.from_buffers(pa.int64(), 3, [validity, data])
    assert fixed_values(column, "<i8").tolist() == [1, 0, 3]


def test_a_column_without_nulls_is_not_copied():
    column = pa.array(range(1000), pa.int64())
    values = fixed_values(column, "<i8")
    assert values.__array_interface__["data"][0] == column.buffers()[1].address


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_numbers_come_back(values):
    assert int64_array(np.array(values, np.int64)).to_pylist() == values


def test_empty_columns_of_nulls():
    assert fixed_values(pa.nulls(0, pa.int64()), "<i8").tolist() == []
    assert fixed_values(pa.nulls(3, pa.float64()), "<f8").tolist() == [0.0] * 3
