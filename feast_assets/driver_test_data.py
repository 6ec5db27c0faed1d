"""Random sample data of taxi drivers, with the functions, columns and types of Feast's module of this name."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import permutations
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import pandas as pd

_FIXED_OFFSET = timezone(timedelta(minutes=60))
_IN_EVERY_HISTORY = "2021-04-12 07:00"
"""A time at which each driver has a row, whatever the range."""


class EventTimestampType(enum.Enum):
    """How an event time says which zone it is of."""

    TZ_NAIVE = 0
    TZ_AWARE_UTC = 1
    TZ_AWARE_FIXED_OFFSET = 2
    TZ_AWARE_US_PACIFIC = 3


def create_orders_df(
    customers: Sequence[Any],
    drivers: Sequence[Any],
    start_date: datetime,
    end_date: datetime,
    order_count: int,
    locations: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Returns orders: an entity dataframe whose event times are of different zones.

    Args:
        locations: of which each order has two different ones, ``origin_id`` and ``destination_id``; none of these
            columns when left out.
    """
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng()
    columns: dict[str, Any] = {
        "order_id": np.arange(100, 100 + order_count),
        "driver_id": draw.choice(np.asarray(drivers), order_count),
        "customer_id": draw.choice(np.asarray(customers), order_count),
    }
    if locations:
        pairs = np.array(list(permutations(locations, 2)))
        columns["origin_id"], columns["destination_id"] = pairs[draw.integers(len(pairs), size=order_count)].T
    columns["order_is_success"] = draw.integers(0, 2, order_count).astype(np.int32)
    moments = _zoned(pd.date_range(start_date, end_date, periods=order_count, tz="UTC").round("ms"))
    columns["event_timestamp"] = pd.Series(moments, dtype=object)
    return pd.DataFrame(columns)


def create_driver_hourly_stats_df(drivers: Sequence[Any], start_date: datetime, end_date: datetime) -> pd.DataFrame:
    """Returns hourly statistics of each driver, one of which is there three times; the end is not included."""
    import json

    import numpy as np
    import pandas as pd

    draw = np.random.default_rng()
    hours = pd.date_range(start_date, end_date, freq="1h", inclusive="left", tz="UTC")
    hours = pd.DatetimeIndex([*hours, pd.Timestamp(_IN_EVERY_HISTORY, tz="UTC")])
    frame = _of_each("driver_id", drivers, hours)
    rows = len(frame)
    frame["conv_rate"] = draw.random(rows).astype(np.float32)
    frame["acc_rate"] = draw.random(rows).astype(np.float32)
    frame["avg_daily_trips"] = draw.integers(0, 1000, rows)
    frame["created"] = _now()
    kinds = ["sedan", "suv", "truck"]
    metadata = [{"vehicle_type": str(draw.choice(kinds)), "rating": f"{draw.uniform(3, 5):.1f}"} for _ in range(rows)]
    frame["driver_metadata"] = pd.Series(metadata, dtype=object)
    zones = ["north", "south", "east", "west"]
    frame["driver_config"] = [
        json.dumps(
            {
                "max_distance_km": int(draw.integers(10, 200)),
                "preferred_zones": [str(zone) for zone in draw.choice(zones, 2, replace=False)],
            }
        )
        for _ in range(rows)
    ]
    ages = draw.integers(25, 60, rows)
    profiles = [{"name": f"driver_{d}", "age": str(age)} for d, age in zip(frame["driver_id"], ages, strict=True)]
    frame["driver_profile"] = pd.Series(profiles, dtype=object)
    repeated = frame.iloc[rows // 2 : rows // 2 + 1]
    return pd.concat([frame, repeated, repeated], ignore_index=True)


def create_customer_daily_profile_df(
    customers: Sequence[Any], start_date: datetime, end_date: datetime
) -> pd.DataFrame:
    """Returns a daily profile of each customer; the end is not included."""
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng()
    frame = _of_each("customer_id", customers, pd.date_range(start_date, end_date, inclusive="left", tz="UTC"))
    rows = len(frame)
    frame["current_balance"] = draw.random(rows).astype(np.float32)
    frame["avg_passenger_count"] = draw.random(rows).astype(np.float32)
    frame["lifetime_trip_count"] = draw.integers(0, 1000, rows).astype(np.int32)
    frame["created"] = _now()
    return frame


def create_location_stats_df(locations: Sequence[Any], start_date: datetime, end_date: datetime) -> pd.DataFrame:
    """Returns the hourly temperature of each location; the end is not included."""
    import numpy as np
    import pandas as pd

    hours = pd.date_range(start_date, end_date, freq="1h", inclusive="left", tz="UTC")
    frame = _of_each("location_id", locations, hours)
    frame["temperature"] = np.random.default_rng().integers(50, 100, len(frame)).astype(np.int32)
    frame["created"] = _now()
    return frame


def create_global_daily_stats_df(start_date: datetime, end_date: datetime) -> pd.DataFrame:
    """Returns daily statistics of all rides, which are of no entity; the end is not included."""
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng()
    frame = pd.DataFrame({"event_timestamp": pd.date_range(start_date, end_date, inclusive="left", tz="UTC")})
    frame["num_rides"] = draw.integers(50, 100, len(frame)).astype(np.int32)
    frame["avg_ride_length"] = draw.random(len(frame)).astype(np.float32)
    frame["created"] = _now()
    return frame


def create_field_mapping_df(start_date: datetime, end_date: datetime) -> pd.DataFrame:
    """Returns ten rows with a column ``column_name`` to be renamed; their event times are of different zones."""
    import numpy as np
    import pandas as pd

    moments = _zoned(pd.date_range(start_date, end_date, periods=10, tz="UTC").round("ms"))
    numbers = np.random.default_rng().integers(1, 100, 10).astype(np.int32)
    return pd.DataFrame(
        {"column_name": numbers, "event_timestamp": pd.Series(moments, dtype=object), "created": _now()}
    )


def _of_each(key: str, entities: Sequence[Any], moments: pd.DatetimeIndex) -> pd.DataFrame:
    """Returns a row for each entity and moment; the last entity's come first, as in Feast."""
    import pandas as pd

    frames = [pd.DataFrame({"event_timestamp": moments, key: entity}) for entity in reversed(entities)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"event_timestamp": moments[:0], key: []})


def _zoned(moments: pd.DatetimeIndex) -> list[pd.Timestamp]:
    """Returns the same moments in turn as the kinds of event times have them."""
    zones = {
        EventTimestampType.TZ_NAIVE: UTC,  # as Feast's, whose naive times are of UTC already
        EventTimestampType.TZ_AWARE_UTC: UTC,
        EventTimestampType.TZ_AWARE_FIXED_OFFSET: _FIXED_OFFSET,
        EventTimestampType.TZ_AWARE_US_PACIFIC: ZoneInfo("US/Pacific"),
    }
    return [moment.astimezone(zones[EventTimestampType(n % len(zones))]) for n, moment in enumerate(moments)]


def _now() -> pd.Timestamp:
    import pandas as pd

    return pd.Timestamp.now().round("ms")
