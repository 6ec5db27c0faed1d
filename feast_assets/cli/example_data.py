"""Invented data for the templates: drivers of a taxi company, hour by hour.

Nothing in it is real. It is drawn from a fixed seed, so two projects made in the same hour hold the same values.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

DRIVERS = (1001, 1002, 1003, 1004, 1005)
_DAYS = 14
_SEED = 1848
_VEHICLES = ("sedan", "estate", "minivan")
_HOME_ZONES = ("harbour", "old town", "airport")
_NAMES = ("Ada", "Bo", "Chris", "Dana", "Eli")


def first_hour(now: datetime) -> datetime:
    """Returns the time of the first rows of `write_driver_data`, UTC."""
    return _full_hour(now) - timedelta(days=_DAYS)


def write_driver_data(folder: Path, now: datetime) -> None:
    """Writes two files: ``driver_stats.parquet``, a row per driver and hour of the last two weeks, and
    ``driver_reviews.parquet``, without rows yet.

    Args:
        now: the rows end at the last full hour before it; naive is UTC.
    """
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir(parents=True)
    parquet.write_table(driver_stats(_full_hour(now)), folder / "driver_stats.parquet")
    reviews = pa.schema(
        [
            ("driver_id", pa.int64()),
            ("event_timestamp", pa.timestamp("us", "UTC")),
            ("recommended", pa.bool_()),
            ("politeness", pa.float32()),
            ("remark", pa.string()),
            ("reviewer", pa.string()),
        ]
    )
    parquet.write_table(reviews.empty_table(), folder / "driver_reviews.parquet")


def driver_stats(end: datetime) -> pa.Table:
    """Returns rows for each driver at each full hour of the two weeks up to ``end``, which is included."""
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(_SEED)
    hours = [end - timedelta(hours=back) for back in range(_DAYS * 24, -1, -1)]
    rows = len(hours) * len(DRIVERS)
    drivers = np.tile(np.array(DRIVERS), len(hours))
    times = [hour for hour in hours for _ in DRIVERS]
    instant = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "event_timestamp": pa.array(times, instant),
            "driver_id": drivers,
            "trips_today": _trips(random, times),
            "acceptance_rate": random.beta(9, 2, rows).astype(np.float32),
            "rating": np.round(random.normal(4.5, 0.25, rows).clip(1, 5), 2).astype(np.float32),
            "vehicle": _per_driver(_vehicles(random), len(hours), pa.map_(pa.string(), pa.string())),
            "preferences": _per_driver(_preferences(random), len(hours), pa.string()),
            "profile": _per_driver(
                _profiles(random), len(hours), pa.struct([("name", pa.string()), ("age", pa.int64())])
            ),
            # The figures of an hour are written a few minutes after it.
            "created": pa.array([time + timedelta(minutes=5) for time in times], instant),
        }
    )


def _full_hour(now: datetime) -> datetime:
    from feast_assets.definitions.spec import as_utc

    return as_utc(now).replace(minute=0, second=0, microsecond=0)


def _trips(random: np.random.Generator, times: list[datetime]) -> np.ndarray:
    import numpy as np

    # About one trip and a half in each hour since midnight.
    return random.poisson(1.5 * np.array([time.hour for time in times])).astype(np.int64)


def _per_driver(values: list[object], repeats: int, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return pa.array(values * repeats, kind)


def _vehicles(random: np.random.Generator) -> list[object]:
    return [[("type", str(random.choice(_VEHICLES))), ("seats", str(random.integers(4, 8)))] for _ in DRIVERS]


def _preferences(random: np.random.Generator) -> list[object]:
    return [
        json.dumps({"longest_trip_km": int(random.integers(20, 200)), "zones": [str(random.choice(_HOME_ZONES))]})
        for _ in DRIVERS
    ]


def _profiles(random: np.random.Generator) -> list[object]:
    return [{"name": name, "age": int(random.integers(21, 65))} for name in _NAMES]
