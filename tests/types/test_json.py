from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid

import numpy as np
import pytest

from feast_assets.types.json import iso_text, to_json_value, to_json_values


def test_values_become_what_json_can_say() -> None:
    values = [
        None,
        True,
        1,
        1.5,
        float("nan"),
        float("inf"),
        float("-inf"),
        b"\x01a",
        dt.datetime(2024, 7, 1, 12, 0, 0, 500, tzinfo=dt.UTC),
        dt.datetime(2024, 7, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        uuid.UUID(int=1),
        decimal.Decimal("1.50"),
        {"a": [b"x", {1}], 2: "two", True: 0},
        np.array([1.0, np.nan]),
        np.int64(3),
    ]
    found = to_json_values(values)
    assert json.loads(json.dumps(found, allow_nan=False)) == [
        None,
        True,
        1,
        1.5,
        "NaN",
        "Infinity",
        "-Infinity",
        "AWE=",
        "2024-07-01T12:00:00.000500Z",
        "2024-07-01T12:00:00+02:00",
        "00000000-0000-0000-0000-000000000001",
        "1.50",
        {"a": ["eA==", [1]], "2": "two", "true": 0},
        [1.0, "NaN"],
        3,
    ]


def test_a_naive_moment_is_utc() -> None:
    assert iso_text(dt.datetime(1970, 1, 1)) == "1970-01-01T00:00:00Z"


def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        to_json_value(object())
