"""The text of a type reads back as the type, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.testing.value_strategies import feast_types
from feast_assets.types import Array, Int64, Map, Set, String, Struct, parse_type


@given(feast_types())
def test_each_type_reads_back_from_its_text(feast_type) -> None:
    read = parse_type(str(feast_type))
    assert read == feast_type
    assert hash(read) == hash(feast_type)
    assert str(read) == str(feast_type)


@given(st.text("ArraySetuc(){}:, I64Mp", max_size=30))
def test_any_text_is_a_type_or_a_value_error(text) -> None:
    try:
        parsed = parse_type(text)
    except (ValueError, TypeError):
        return
    assert parse_type(str(parsed)) == parsed


def test_types_are_equal_by_content_and_not_by_name_alone() -> None:
    assert Struct({"a": Int64, "b": String}) == Struct({"a": Int64, "b": String})
    assert Struct({"a": Int64, "b": String}) != Struct({"b": String, "a": Int64})
    assert Array(Int64) != Set(Int64)
    assert len({Array(Map), Array(Map), Array(String)}) == 2


@pytest.mark.parametrize(
    "text", ["", "Int65", "Array", "Array()", "Array(Int64", "Array(Int64))", "Struct({})", "Struct({a})"]
)
def test_what_is_no_type_is_refused(text) -> None:
    with pytest.raises(ValueError, match=r"not a type|at least one field"):
        parse_type(text)
