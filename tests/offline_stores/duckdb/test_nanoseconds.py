"""Times in nanoseconds, as pandas writes them, with a time zone and without."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from feast_assets import Entity, FeatureView, Field, FileSource, Int64, ValueType
from feast_assets.definitions.window import Window
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore

# A nanosecond before, at, and after the turn of a day; the first belongs to the day before, 1969 and 2024 alike.
DAYS = [datetime(1969, 12, 31, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)]


def _nanos(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


@pytest.fixture
def store(tmp_path: Path) -> DuckDBOfflineStore:
    return DuckDBOfflineStore(DuckDBOfflineStore.config_class(type="duckdb"), tmp_path)


@pytest.fixture(params=[None, "UTC", "America/New_York"])
def history(request, tmp_path: Path) -> History:
    from feast_assets.offline_stores.base import history_of

    times = [_nanos(day) + shift for day in DAYS for shift in (-1, 0, 1)]
    column = pa.array(times, pa.int64()).cast(pa.timestamp("ns", request.param))
    keys = list(range(len(times)))
    parquet.write_table(pa.table({"driver": keys, "trips": keys, "at": column}), tmp_path / "rows.parquet")
    view = FeatureView(
        name="trips",
        entities=[Entity(name="driver", value_type=ValueType.INT64)],
        source=FileSource(path="rows.parquet", timestamp_field="at"),
        schema=[Field(name="driver", dtype=Int64), Field(name="trips", dtype=Int64)],
    )
    return history_of(view)


@pytest.mark.parametrize("day", DAYS)
def test_each_row_lies_in_just_one_window(store: DuckDBOfflineStore, history: History, day: datetime) -> None:
    before, after = Window(day - timedelta(hours=1), day), Window(day, day + timedelta(hours=1))
    found = store.statistics(history, [before, after])
    assert [s.rows for s in found] == [1, 2]
    assert found[0].newest_event == day - timedelta(microseconds=1)
    assert found[1].newest_event == day


def test_the_whole_of_time_holds_every_row(store: DuckDBOfflineStore, history: History) -> None:
    whole = Window(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
    (found,) = store.statistics(history, [whole])
    assert found.rows == 6
    assert store.statistics(history, [Window(whole.start, datetime(1500, 1, 1, tzinfo=UTC))])[0].rows == 0
    assert store.statistics(history, [Window(datetime(2500, 1, 1, tzinfo=UTC), whole.end)])[0].rows == 0
