"""The example's features are what was known then. pandas works out what is expected, row by row, from staged files."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import BatchFeatureView, FeatureStore
from feast_assets.definitions.window import Window
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, computation_of

ROOT = Path(__file__).resolve().parents[2]
FIRST, LAST = pd.Timestamp("2013-01-01", tz="UTC"), pd.Timestamp("2013-01-13", tz="UTC")
DELAYS = ["flights_24h", "mean_delay_24h", "late_share_24h", "cancelled_share_24h"]
WEATHER = ["temperature_f", "wind_speed_mph", "precipitation_inches", "visibility_miles"]


def _days(folder: Path) -> pd.DataFrame:
    """Reads the first days of a staged folder."""
    files = [f for f in sorted(folder.glob("*.parquet")) if f.stem < "2013-01-14"]
    return pd.concat([pq.read_table(file).to_pandas() for file in files], ignore_index=True)


@pytest.fixture(scope="module")
def flights(staged: Path) -> pd.DataFrame:
    return _days(staged / "flights")


@pytest.fixture(scope="module")
def store(staged: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """The example, materialized for the first days of January."""
    return _materialized(staged, tmp_path_factory.mktemp("example") / "feature_repo")


def _materialized(data: Path, copy: Path) -> FeatureStore:
    shutil.copytree(ROOT / "feature_repo", copy, ignore=shutil.ignore_patterns("data", "__pycache__"))
    shutil.copytree(data, copy / "data")
    store = FeatureStore(copy)
    store.apply_repository()
    store.materialize(FIRST.to_pydatetime(), LAST.to_pydatetime())
    return store


@pytest.fixture(scope="module")
def spine(flights: pd.DataFrame) -> pd.DataFrame:
    """300 flights of those days, each an hour before it should leave."""
    scheduled = flights["scheduled_departure"]
    chosen = flights[(scheduled > FIRST) & (scheduled < LAST)].sample(300, random_state=2013)
    return pd.DataFrame(
        {
            "event_timestamp": chosen["scheduled_departure"] - pd.Timedelta(hours=1),
            "origin": chosen["origin"],
            "carrier": chosen["carrier"],
            "tailnum": chosen["tailnum"],
            "scheduled_hour": chosen["scheduled_departure"].dt.tz_convert("America/New_York").dt.hour.astype("int64"),
        }
    ).reset_index(drop=True)


@pytest.fixture(scope="module")
def training_set(store: FeatureStore, spine: pd.DataFrame) -> pd.DataFrame:
    return store.get_historical_features(spine, store.get_feature_service("departure_delay")).to_df()


def _delays_before(flights: pd.DataFrame, origin: str, carrier: str, hour: pd.Timestamp) -> list[float | None] | None:
    """What one row of carrier_delays must hold; None where there must be no row."""
    known = flights[
        (flights["origin"] == origin)
        & (flights["carrier"] == carrier)
        & (flights["known_at"] >= hour - pd.Timedelta(hours=24))
        & (flights["known_at"] < hour)
    ]
    if known.empty:
        return None
    left = known.loc[~known["cancelled"], "departure_delay"]
    return [
        len(known),
        left.mean() if len(left) else np.nan,
        (left > 15).mean() if len(left) else np.nan,
        known["cancelled"].mean(),
    ]


def test_delays_are_those_of_the_24_hours_before(store: FeatureStore, flights: pd.DataFrame) -> None:
    view = store.get_feature_view("carrier_delays")
    assert isinstance(view, BatchFeatureView)
    kept = pq.read_table(store.repo_path / "data" / "carrier_delays").to_pandas()
    kept = kept[(kept["as_of"] >= FIRST) & (kept["as_of"] < LAST)]
    assert not kept.duplicated(["origin", "carrier", "as_of"]).any()
    assert (kept["as_of"] == kept["as_of"].dt.floor("h")).all()
    got = kept.set_index(["origin", "carrier", "as_of"])[DELAYS].sort_index()

    hours = pd.date_range(FIRST + pd.Timedelta(days=8), LAST, freq="7h", inclusive="left")
    pairs = flights[["origin", "carrier"]].drop_duplicates().itertuples(index=False)
    checked = 0
    for origin, carrier in pairs:
        for hour in hours:
            expected = _delays_before(flights, origin, carrier, hour)
            key = (origin, carrier, hour)
            if expected is None:
                assert key not in got.index
            else:
                np.testing.assert_allclose(got.loc[key].to_numpy(float), expected, err_msg=str(key))
                checked += 1
    assert checked > 300


def test_delays_do_not_depend_on_how_time_is_cut(store: FeatureStore) -> None:
    view = store._functions.attach(store.snapshot().feature_view("carrier_delays"))
    assert isinstance(view, BatchFeatureView)
    start = datetime(2013, 1, 9, tzinfo=UTC)

    def rows(*windows: Window) -> pd.DataFrame:
        found = pa.concat_tables([store.offline_store.scan(computation_of(view), w).read_all() for w in windows])
        return found.to_pandas().sort_values(["origin", "carrier", EVENT_TIMESTAMP], ignore_index=True)

    whole = rows(Window(start, start + timedelta(days=1)))
    hour = timedelta(hours=1)
    pieces = rows(*(Window(start + h * hour, start + (h + 1) * hour) for h in range(24)))
    pd.testing.assert_frame_equal(whole, pieces)
    assert len(whole) > 500


def test_each_row_has_the_newest_reading_of_the_three_hours_before(
    training_set: pd.DataFrame, spine: pd.DataFrame, staged: Path
) -> None:
    readings = _days(staged / "weather")
    expected = []
    for row in spine.itertuples():
        known = readings[
            (readings["origin"] == row.origin)
            & (readings["known_at"] <= row.event_timestamp)
            & (readings["known_at"] >= row.event_timestamp - pd.Timedelta(hours=3))
        ]
        expected.append(
            known.sort_values("known_at").iloc[-1][WEATHER] if len(known) else dict.fromkeys(WEATHER, np.nan)
        )
    pd.testing.assert_frame_equal(
        training_set[WEATHER], pd.DataFrame(expected).reset_index(drop=True), check_dtype=False
    )


def test_each_row_has_the_delays_as_of_the_full_hour_before(
    training_set: pd.DataFrame, spine: pd.DataFrame, flights: pd.DataFrame
) -> None:
    expected = []
    for row in spine.itertuples():
        hour = row.event_timestamp.floor("h")
        tried = (_delays_before(flights, row.origin, row.carrier, hour - pd.Timedelta(hours=h)) for h in range(6))
        expected.append(next((found for found in tried if found is not None), [np.nan] * 4))
    np.testing.assert_allclose(training_set[DELAYS].to_numpy(float), np.array(expected, dtype=float))


def test_each_row_has_its_plane(training_set: pd.DataFrame, spine: pd.DataFrame, staged: Path) -> None:
    planes = pq.read_table(staged / "planes.parquet").to_pandas().set_index("tailnum")
    expected = planes.reindex(spine["tailnum"])[["built_year", "seats"]].reset_index(drop=True)
    assert 0 < expected["seats"].isna().sum() < len(expected)
    pd.testing.assert_frame_equal(training_set[["built_year", "seats"]], expected, check_dtype=False)


def test_nothing_that_happens_later_changes_a_row(
    staged: Path, tmp_path: Path, spine: pd.DataFrame, training_set: pd.DataFrame
) -> None:
    moment = spine["event_timestamp"].sort_values().iloc[150]
    data = tmp_path / "data"
    for name in ("flights", "weather"):
        (data / name).mkdir(parents=True)
        for file in sorted((staged / name).glob("2013-01-*.parquet")):
            rows = pq.read_table(file)
            pq.write_table(
                rows.filter(pa.compute.less_equal(rows["known_at"], pa.scalar(moment))), data / name / file.name
            )
    for name in ("planes.parquet", "fleet.duckdb"):
        shutil.copy(staged / name, data)
    ignorant = _materialized(data, tmp_path / "feature_repo")

    known = (spine["event_timestamp"] <= moment).to_numpy()
    got = ignorant.get_historical_features(spine[known], ignorant.get_feature_service("departure_delay")).to_df()
    pd.testing.assert_frame_equal(got, training_set[known].reset_index(drop=True))
    ignorant.close()


def test_a_live_reading_is_served_and_makes_the_conditions(store: FeatureStore) -> None:
    flight = {"origin": "EWR", "carrier": "UA", "tailnum": "N14228", "scheduled_hour": 17}
    service = store.get_feature_service("departure_delay")
    before = store.get_online_features(service, [flight])
    assert before.statuses()["temperature_f"] == ["OUTSIDE_MAX_AGE"]
    assert before.statuses()["seats"] == ["PRESENT"]

    columns = [f.name for f in store.get_feature_view("origin_weather").features]
    reading = {name: [None] for name in columns} | {
        "origin": ["EWR"],
        "known_at": [datetime.now(UTC)],
        "temperature_f": [30.0],
        "precipitation_inches": [0.1],
        "wind_speed_mph": [11.0],
        "visibility_miles": [2.0],
    }
    store.push("live_weather", reading)

    after = store.get_online_features(service, [flight])
    values = {name: column[0] for name, column in after.to_dict().items()}
    assert values["temperature_f"] == 30.0
    assert (values["icing"], values["low_visibility"], values["evening_rush"]) == (True, True, True)
    assert values["strongest_wind_mph"] == 11.0
    assert after.statuses()["late_share_24h"] == ["OUTSIDE_MAX_AGE"]
