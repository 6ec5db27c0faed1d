"""Values as Feast's HTTP server writes them."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.types import Array, Bool, Float32, Float64, Int64, Json, Set, String, UnixTimestamp, ZonedTimestamp
from feast_assets.types.feast_json import feast_json_converter, is_number, timestamp_texts

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def converted(values: list[Any], feast_type: Any) -> list[Any]:
    convert = feast_json_converter(feast_type)
    return values if convert is None else convert(values)


@given(st.lists(st.datetimes(timezones=st.just(dt.UTC))))
def test_moments_are_written_as_protobuf_does(moments: list[dt.datetime]) -> None:
    micros = [(moment - EPOCH) // dt.timedelta(microseconds=1) for moment in moments]
    for moment, text in zip(moments, timestamp_texts(micros), strict=True):
        assert dt.datetime.fromisoformat(text) == moment
        whole, _, fraction = text.removesuffix("Z").partition(".")
        assert whole == moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        assert len(fraction) == (0 if not moment.microsecond else 6 if moment.microsecond % 1000 else 3)


@pytest.mark.parametrize(
    ("feast_type", "values", "expected"),
    [
        (Int64, [1, None, 2**63 - 1], [1, None, 2**63 - 1]),
        (Bool, [True, None], [True, None]),
        (String, ["a", None], ["a", None]),
        (Float64, [1.5, None, math.nan, -math.inf], [1.5, None, "NaN", "-Infinity"]),
        (Float64, [1.7e308, 1.7e308], [1.7e308, 1.7e308]),
        (Float32, [0.5, math.inf], [0.5, "Infinity"]),
        (Array(Int64), [[1], None], [[1], None]),
        (Array(Float64), [[0.5], None, [math.nan]], [[0.5], None, ["NaN"]]),
        (Array(UnixTimestamp), [[EPOCH]], [[0]]),
        (Set(Int64), [{1}], [[1]]),
        (UnixTimestamp, [EPOCH + dt.timedelta(seconds=90.75), None], [90, None]),
        (ZonedTimestamp, [EPOCH], ["1970-01-01T00:00:00+00:00"]),
        (Json, [{"a": [1]}, None], ['{"a":[1]}', None]),
    ],
)
def test_values_are_written_as_feasts_server_does(feast_type: Any, values: list[Any], expected: list[Any]) -> None:
    written = converted(values, feast_type)
    assert written == expected
    json.dumps(written, allow_nan=False)


def test_numbers_are_what_json_writes_without_quotes_or_brackets() -> None:
    assert is_number(Bool)
    assert is_number(Float32)
    assert not any(map(is_number, (String, Array(Int64), UnixTimestamp, Json)))
