"""Where the values of an online answer come from: the stored row, and the run or push that wrote it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from feast_assets import (
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Int64,
    OnDemandFeatureView,
    Partitions,
    PushSource,
    ValueType,
)
from feast_assets.cli.main import cli

DAY = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES = ["trips_of:trips", "twice:double", "homes:zip"]


def write_trips(root: Path, trips: dict[int, int]) -> None:
    """Writes a row for each driver: driver 1 on the first day, driver 2 on the second, and so on."""
    times = [DAY + timedelta(days=driver - 1, hours=5) for driver in trips]
    table = {"driver_id": list(trips), "event_timestamp": times, "trips": list(trips.values())}
    pq.write_table(pa.table(table), root / "data" / "trips.parquet")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    (tmp_path / "data").mkdir()
    (tmp_path / "feature_store.yaml").write_text("project: shop\n")
    write_trips(tmp_path, {1: 3, 2: 4})
    made = FeatureStore(tmp_path)
    created = {"driver_id": [1], "at": [DAY], "written_at": [DAY + timedelta(hours=1)], "zip": [10]}
    pq.write_table(pa.table(created), tmp_path / "data" / "homes.parquet")
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    trips = FileSource(name="trips", path="data/trips.parquet", timestamp_field="event_timestamp")
    homes = FileSource(
        name="homes_file", path="data/homes.parquet", timestamp_field="at", created_timestamp_column="written_at"
    )
    view = FeatureView(
        name="trips_of",
        entities=[driver],
        source=PushSource(name="live", batch_source=trips),
        schema=[Field(name="trips", dtype=Int64)],
        partitions=Partitions("daily"),
    )
    twice = OnDemandFeatureView(
        name="twice",
        sources=[view],
        schema=[Field(name="double", dtype=Int64)],
        udf=lambda inputs: {"double": [2 * n if n is not None else None for n in inputs["trips"]]},
        mode="python",
    )
    home = FeatureView(name="homes", entities=[driver], source=homes, schema=[Field(name="zip", dtype=Int64)])
    made.apply([driver, view, home, twice])
    return made


def materialize(store: FeatureStore, run_id: str) -> None:
    store.materialize(DAY, DAY + timedelta(days=5), run_id=run_id)


def test_a_row_tells_its_view_times_partition_and_run(store: FeatureStore) -> None:
    materialize(store, "run-1")
    before = datetime.now(UTC)
    response = store.get_online_features(FEATURES, {"driver_id": [1, 2, 3]})
    of_trips = [origin for origin in store.get_row_origins(response) if origin.feature_view == "trips_of"]
    # Driver 3 has no row, so there is nothing to tell.
    assert [origin.row for origin in of_trips] == [0, 1]
    second = of_trips[1]
    assert second.columns == ("trips",)
    assert second.event_timestamp == DAY + timedelta(days=1, hours=5)
    assert second.created_timestamp is None
    assert second.written_by == "run"
    assert second.window == (DAY + timedelta(days=1), DAY + timedelta(days=2))
    assert second.run_id == "run-1"
    assert second.materialized_at is not None
    assert second.materialized_at <= before
    (entry,) = [e for e in store.registry.ledger("trips_of") if e.window.start == second.window[0]]
    assert second.version == entry.version


def test_created_times_are_told_where_the_source_has_them(store: FeatureStore) -> None:
    materialize(store, "run-1")
    response = store.get_online_features(["homes:zip"], {"driver_id": [1]})
    (origin,) = store.get_row_origins(response)
    assert origin.created_timestamp == DAY + timedelta(hours=1)


def test_a_pushed_row_tells_that_it_was_handed_in_and_no_run(store: FeatureStore) -> None:
    materialize(store, "run-1")
    moment = DAY + timedelta(days=1, hours=6)
    store.push("live", {"driver_id": [2], "event_timestamp": [moment], "trips": [9]})
    response = store.get_online_features(["trips_of:trips"], {"driver_id": [2]})
    (origin,) = store.get_row_origins(response)
    assert response.to_dict()["trips"] == [9]
    assert (origin.written_by, origin.run_id, origin.materialized_at) == ("push", "", None)
    assert origin.event_timestamp == moment
    assert origin.window == (DAY + timedelta(days=1), DAY + timedelta(days=2))


def test_a_row_pushed_where_nothing_was_materialized_has_no_window(store: FeatureStore) -> None:
    store.push("live", {"driver_id": [7], "event_timestamp": [DAY], "trips": [1]})
    response = store.get_online_features(["trips_of:trips"], {"driver_id": [7]})
    (origin,) = store.get_row_origins(response)
    assert (origin.written_by, origin.window) == ("push", None)


def test_after_a_correction_the_run_that_corrected_is_told(store: FeatureStore) -> None:
    materialize(store, "run-1")
    write_trips(Path(store.repo_path), {1: 3, 2: 5})
    materialize(store, "run-2")
    response = store.get_online_features(["trips_of:trips"], {"driver_id": [1, 2]})
    assert response.to_dict()["trips"] == [3, 5]
    runs = [origin.run_id for origin in store.get_row_origins(response)]
    # Nothing of the first day has changed; the second run has only found that.
    assert runs[1] == "run-2"
    assert runs[0] in ("run-1", "run-2")


def test_each_row_of_a_repeated_entity_is_told(store: FeatureStore) -> None:
    materialize(store, "run-1")
    response = store.get_online_features(["trips_of:trips"], {"driver_id": [2, 1, 2]})
    times = [origin.event_timestamp.day for origin in store.get_row_origins(response)]
    assert times == [2, 1, 2]


def test_the_command_line_prints_origins(store: FeatureStore) -> None:
    materialize(store, "run-1")
    arguments = ["-c", str(store.repo_path), "get-online-features", "-e", "driver_id=1", "-f", "trips_of:trips"]
    result = CliRunner().invoke(cli, [*arguments, "--origins"], catch_exceptions=False)
    printed = json.loads(result.stdout)
    assert printed["values"] == {"driver_id": [1], "trips": [3]}
    (origin,) = printed["origins"]
    assert origin["run_id"] == "run-1"
    assert origin["window"] == ["2024-01-01T00:00:00+00:00", "2024-01-02T00:00:00+00:00"]
