"""Values of types that Arrow lacks read back from their text as what they were."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.types.scalars import (
    from_microseconds,
    from_scalar_map_text,
    from_zoned_text,
    plain,
    to_decimal_text,
    to_json_text,
    to_map_text,
    to_microseconds,
    to_scalar_map_text,
    to_uuid_text,
    to_zoned_text,
)

moments = st.datetimes(timezones=st.just(dt.UTC))
# A zone's clock skips hours; these times are ones that it shows.
zoned = st.builds(
    dt.datetime.astimezone,
    st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC)),
    st.timezones(),
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(moments)
def test_microseconds_are_exact(moment) -> None:
    assert from_microseconds(to_microseconds(moment)) == moment
    assert to_microseconds(moment.isoformat()) == to_microseconds(moment)


def test_each_way_to_write_a_moment_is_the_same_moment() -> None:
    moment = dt.datetime(2024, 7, 1, 10, tzinfo=dt.UTC)
    east = dt.timezone(dt.timedelta(hours=2))
    ways = [
        moment,
        moment.replace(tzinfo=None),
        moment.astimezone(east),
        "2024-07-01T10:00:00",
        "2024-07-01 12:00:00+02:00",
        " 2024-07-01 10:00:00 UTC ",
        1_719_828_000,
        1_719_828_000.0,
    ]
    assert {to_microseconds(way) for way in ways} == {1_719_828_000_000_000}
    assert to_microseconds(dt.date(2024, 7, 1)) == to_microseconds("2024-07-01")


@pytest.mark.parametrize("value", [True, None, b"2024", [2024], "yesterday"])
def test_what_is_no_moment_is_refused(value) -> None:
    with pytest.raises((TypeError, ValueError)):
        to_microseconds(value)


@given(zoned)
def test_a_zoned_timestamp_keeps_its_moment_and_its_zone(moment) -> None:
    text = to_zoned_text(moment)
    read = from_zoned_text(text)
    assert read.astimezone(dt.UTC) == moment.astimezone(dt.UTC)
    assert to_zoned_text(read) == text, "the text is canonical"


def test_a_time_that_a_zone_skips_is_read_as_the_moment_that_its_offset_says() -> None:
    skipped = "2024-03-31T02:30:00+01:00[Europe/Paris]"
    assert to_zoned_text(skipped) == "2024-03-31T03:30:00.000000+02:00[Europe/Paris]"


def test_the_hour_that_a_zone_repeats_is_two_hours() -> None:
    first, second = ("2024-10-27T02:30:00+02:00[Europe/Paris]", "2024-10-27T02:30:00+01:00[Europe/Paris]")
    assert from_zoned_text(second).astimezone(dt.UTC) - from_zoned_text(first).astimezone(dt.UTC) == dt.timedelta(
        hours=1
    )


@pytest.mark.parametrize(
    "text", ["2024-07-01T00:00:00[Nowhere/City]", "2024-07-01T00:00:00[../etc/passwd]", "[UTC]", ""]
)
def test_a_zone_that_does_not_exist_is_a_value_error(text) -> None:
    with pytest.raises(ValueError, match="zone|Invalid isoformat"):
        from_zoned_text(text)


@given(st.uuids())
def test_a_uuid_has_one_text_however_it_is_given(value) -> None:
    ways = [value, str(value).upper(), value.bytes, value.hex]
    assert {to_uuid_text(way) for way in ways} == {str(value)}
    assert uuid.UUID(to_uuid_text(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_keeps_every_digit(value) -> None:
    assert decimal.Decimal(to_decimal_text(value)).compare_total(value) == 0


@pytest.mark.parametrize("value", [0.1, True, None, "a tenth"])
def test_a_binary_float_is_no_decimal(value) -> None:
    with pytest.raises((TypeError, ValueError)):
        to_decimal_text(value)


@given(json_values)
def test_json_reads_back_as_it_was(value) -> None:
    assert json.loads(to_json_text(value)) == value


@given(st.dictionaries(st.text(max_size=4) | st.integers(-(2**60), 2**60) | st.booleans(), json_values, max_size=4))
def test_a_scalar_map_keeps_the_types_of_its_keys(value) -> None:
    read = from_scalar_map_text(to_scalar_map_text(value))
    assert read == value
    assert sorted(map(str, map(type, read))) == sorted(map(str, map(type, value)))


def test_what_json_lacks_is_written_as_text_or_refused() -> None:
    assert plain([b"\x00\xff", float("nan"), dt.date(2024, 7, 1), decimal.Decimal("1.50"), {3}]) == [
        "AP8=",
        None,
        "2024-07-01",
        "1.50",
        [3],
    ]
    assert plain(np.array([1, 2])) == [1, 2]
    assert plain(np.float32(0.5)) == 0.5
    with pytest.raises(ValueError, match="infinite"):
        plain(math.inf)
    with pytest.raises(TypeError, match="JSON cannot hold object"):
        plain(object())


@pytest.mark.parametrize(
    ("convert", "value", "message"),
    [
        (to_map_text, {1: 2}, "keys are strings, not 1"),
        (to_map_text, "[1]", "is not a mapping"),
        (to_map_text, "{", "is not JSON"),
        (to_scalar_map_text, [[None, 1]], "keys are single values"),
        (to_scalar_map_text, [[[1], 1]], "keys are single values"),
        (to_scalar_map_text, [[1]], "is not a mapping"),
    ],
)
def test_what_is_no_map_is_refused(convert, value, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        convert(value)
