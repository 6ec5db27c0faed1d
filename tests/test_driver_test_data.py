"""Sample data as Feast's functions of these names make it."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from feast_assets import driver_test_data as data

START, END = datetime(2024, 1, 1), datetime(2024, 1, 3)
EVENT = {"event_timestamp": "datetime64[ns, UTC]"}
CREATED = {"created": "datetime64[us]"}
OBSERVED = {
    "orders": (
        lambda: data.create_orders_df([1, 2], [5, 6], START, END, 4, [1, 2, 3]),
        4,
        {
            **dict.fromkeys(["order_id", "driver_id", "customer_id", "origin_id", "destination_id"], "int64"),
            "order_is_success": "int32",
            "event_timestamp": "object",
        },
    ),
    "drivers": (
        lambda: data.create_driver_hourly_stats_df([1, 2], START, END),
        2 * (48 + 1) + 2,
        {
            **EVENT,
            "driver_id": "int64",
            "conv_rate": "float32",
            "acc_rate": "float32",
            "avg_daily_trips": "int64",
            **CREATED,
            **dict.fromkeys(["driver_metadata", "driver_config", "driver_profile"], "object"),
        },
    ),
    "customers": (
        lambda: data.create_customer_daily_profile_df([1, 2], START, END),
        4,
        {
            **EVENT,
            "customer_id": "int64",
            "current_balance": "float32",
            "avg_passenger_count": "float32",
            "lifetime_trip_count": "int32",
            **CREATED,
        },
    ),
    "locations": (
        lambda: data.create_location_stats_df([1, 2], START, END),
        96,
        {**EVENT, "location_id": "int64", "temperature": "int32", **CREATED},
    ),
    "global": (
        lambda: data.create_global_daily_stats_df(START, END),
        2,
        {**EVENT, "num_rides": "int32", "avg_ride_length": "float32", **CREATED},
    ),
    "mapping": (
        lambda: data.create_field_mapping_df(START, END),
        10,
        {"column_name": "int32", "event_timestamp": "object", **CREATED},
    ),
}
"""Name -> the call, and the rows and columns that Feast 0.67 returns."""


@pytest.mark.parametrize("name", OBSERVED)
def test_a_frame_has_feasts_rows_columns_and_types(name: str) -> None:
    make, rows, types = OBSERVED[name]
    frame = make()
    assert len(frame) == rows
    assert list(frame.columns) == list(types)
    # What pandas calls text and times by default depends on its version.
    assert {n: str(t).replace("ns", "us").replace("str", "object") for n, t in frame.dtypes.items()} == {
        n: t.replace("ns", "us") for n, t in types.items()
    }


def test_event_times_of_orders_are_of_different_zones() -> None:
    orders = data.create_orders_df([1], [5], START, END, 4)
    assert "origin_id" not in orders
    moments = list(orders["event_timestamp"])
    assert [moment.astimezone(UTC) for moment in moments] == list(pd.date_range(START, END, periods=4, tz="UTC"))
    assert len({str(moment.tzinfo) for moment in moments}) == 3


def test_each_driver_has_a_row_of_the_quick_starts_day_and_one_row_is_repeated() -> None:
    stats = data.create_driver_hourly_stats_df([1, 2], START, END)
    old = stats[stats["event_timestamp"] < pd.Timestamp("2022-01-01", tz="UTC")]
    assert sorted(old["driver_id"]) == [1, 2]
    assert stats.duplicated(["event_timestamp", "driver_id"]).sum() == 2
    assert stats["event_timestamp"].max() < pd.Timestamp(END, tz="UTC")
