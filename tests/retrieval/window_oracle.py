"""What features of windows should be, in plain Python that shares nothing with the package."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def values_in_window(
    rows: list[dict[str, Any]], entity: Any, at: datetime, column: str, window: timedelta, hop: timedelta
) -> list[Any]:
    """Returns the values of a column that count at a moment, the oldest first; later created ones after others."""
    length = hop // MICROSECOND
    start = (micros(at - window) // length) * length
    counted = [
        row
        for row in rows
        if row["user_id"] == entity and start <= micros(row["ts"]) <= micros(at) and row[column] is not None
    ]
    counted = [row for row in counted if not (isinstance(row[column], float) and math.isnan(row[column]))]
    counted.sort(key=lambda row: (row["ts"], row.get("created") or EPOCH, row[column]))
    return [row[column] for row in counted]


def aggregated(values: list[Any], function: str) -> Any:
    """Returns what a function makes of values, the oldest first; None without values."""
    if not values:
        return None
    if function == "count":
        return len(values)
    if function in ("sum", "mean", "stddev"):
        total = sum(map(Fraction, values))
        if function == "sum":
            return int(total) if isinstance(values[0], int) else float(total)
        mean = total / len(values)
        if function == "mean":
            return float(mean)
        if len(values) == 1:
            return None
        return math.sqrt(sum((Fraction(v) - mean) ** 2 for v in values) / (len(values) - 1))
    if function in ("min", "max"):
        return {"min": min, "max": max}[function](values)
    if function == "first":
        return values[0]
    if function == "last":
        return values[-1]
    if function.startswith("last_"):
        return values[::-1][: int(function.removeprefix("last_"))]
    assert function == "count_distinct"
    return len(set(values))


def same(one: Any, other: Any, *, scale: float = 0.0) -> bool:
    """Whether two results are the same: floats to 1e-12 of themselves, or of what was added up to make them."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=1e-12, abs_tol=scale * 1e-12)
    return type(one) is type(other) and one == other
