from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from feast_assets.cli.column_types import value_from_text
from feast_assets.errors import InputError
from feast_assets.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float64,
    Int64,
    Json,
    Map,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)


@pytest.mark.parametrize(
    ("text", "feast_type", "value"),
    [
        ("1001", Int64, 1001),
        ("1001", String, "1001"),
        ("-0.5", Float64, -0.5),
        ("TRUE", Bool, True),
        ("0", Bool, False),
        ("2026-01-31T01:00:00+01:00", UnixTimestamp, datetime(2026, 1, 31, tzinfo=UTC)),
        ("00000000-0000-0000-0000-000000000007", Uuid, uuid.UUID(int=7)),
        ("12.50", Decimal, D("12.50")),
        ("aGk=", Bytes, b"hi"),
        ("[1, 2]", Array(Int64), [1, 2]),
        ('{"a": "b"}', Map, {"a": "b"}),
        ('{"a": [1]}', Json, '{"a": [1]}'),
        ('{"age": 4}', Struct({"age": Int64}), {"age": 4}),
        ("as it is", None, "as it is"),
    ],
)
def test_texts_are_read_by_the_registered_type(text, feast_type, value) -> None:
    assert value_from_text(text, feast_type, "x") == value
    assert type(value_from_text(text, feast_type, "x")) is type(value)


@pytest.mark.parametrize(
    ("text", "feast_type", "hint"),
    [
        ("ten", Int64, "a whole number"),
        ("1.5", Int64, "a whole number"),
        ("yes", Bool, "true or false"),
        ("x", Decimal, "a decimal number"),
        ("x", Uuid, "a UUID"),
        ("31.1.2026", UnixTimestamp, "a date such as"),
        ("{", Json, "JSON"),
        ("1,2", Array(Int64), "JSON such as"),
        ("%", Bytes, "base64"),
    ],
)
def test_a_text_of_another_type_is_refused_with_what_to_write(text, feast_type, hint) -> None:
    with pytest.raises(InputError, match="'pickup' is of type") as caught:
        value_from_text(text, feast_type, "pickup")
    assert hint in str(caught.value)
