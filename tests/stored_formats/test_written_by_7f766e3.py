"""What version 7f766e3 of this package stored is served, not done again, and written on."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import redis
from old_project import FEATURES, FOLDER, SERVED, in_redis, in_sqlite, served

from feast_assets import FeatureStore
from feast_assets.registry.sql.schema import KEYS
from feast_assets.repository.user_functions import UserFunctions
from feast_assets.retrieval.historical import HistoricalRetrieval
from feast_assets.retrieval.training_set import build_training_set, read_pins

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2024, 1, 6, tzinfo=UTC)
VIEWS = ("daily", "rating", "trips")


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FeatureStore]:
    if request.param == "sqlite":
        store = in_sqlite(tmp_path)
    else:
        host, port = request.getfixturevalue("redis_server")
        client = redis.Redis(host, port)
        client.flushall()
        store = in_redis(tmp_path, client, f"{host}:{port}")
        client.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield store
        store.close()


def test_all_values_are_served_as_they_were(store: FeatureStore) -> None:
    assert served(store) == SERVED
    assert SERVED["stars"][5] == 5, "a pushed row is nowhere but in the online store"


def test_an_apply_of_the_same_definitions_changes_nothing(store: FeatureStore) -> None:
    plan = store.plan_repository()
    assert (str(plan.registry_diff), str(plan.infra_diff)) == (
        "No changes to registry",
        "No changes to infrastructure",
    )
    store.apply_repository()
    assert store.registry.revision() == 1
    assert served(store) == SERVED


def test_an_incremental_run_does_nothing_again(store: FeatureStore) -> None:
    store.apply_repository()
    for view in VIEWS:
        assert store.stale_windows(view, END) == []
    for result in store.materialize_incremental(END):
        assert (result.windows, result.written, result.withdrawn) == ((), 0, 0)
    assert served(store) == SERVED


def test_a_run_of_everything_again_gives_the_same(store: FeatureStore) -> None:
    results = {result.view: result for result in store.materialize(FIRST, END)}
    assert set(results) == set(VIEWS)
    assert served(store) == SERVED
    assert all(store.materialization_intervals(view) for view in VIEWS)
    assert all(result.windows == () for result in store.materialize_incremental(END))


def test_corrected_and_withdrawn_rows_replace_those_of_then(store: FeatureStore) -> None:
    path = store.repo_path / "data" / "trips.parquet"
    rows = pq.read_table(path)
    of_last_day = pc.greater_equal(rows["at"], pa.scalar(FIRST + timedelta(days=3), rows.schema.field("at").type))
    others = rows.filter(pc.invert(of_last_day))
    corrected = rows.filter(of_last_day).filter(pc.equal(rows.filter(of_last_day)["driver_id"], 2))
    fare = corrected.schema.get_field_index("fare")
    corrected = corrected.set_column(fare, "fare", pa.array([80.0], pa.float64()))
    path.unlink()
    pq.write_table(pa.concat_tables([others, corrected]), path)
    done = {result.view: result for result in store.materialize_incremental(END)}
    assert [w.window.start for w in done["trips"].windows] == [FIRST + timedelta(days=3)]
    assert done["rating"].windows == ()
    now = served(store)
    assert now["fare"] == [4.25, -0.0, 80.0, 7.0, None, None], "driver 4's only trip is withdrawn"
    assert now["total"] == [4.25, 0.0, 80.0, 1e300, None, None]
    assert now["stars"] == SERVED["stars"]


def test_newer_pushes_win_over_rows_of_then_and_older_ones_do_not(store: FeatureStore) -> None:
    times = [FIRST + timedelta(days=9), FIRST]
    pushed = {"driver_id": [5, 1], "at": pa.array(times, pa.timestamp("us", "UTC")), "stars": [1, 1]}
    store.push("live", pa.table(pushed))
    assert served(store)["stars"] == [*SERVED["stars"][:5], 1]


def test_history_with_a_kept_result_is_read_as_it_was(store: FeatureStore) -> None:
    made = pq.read_table(FOLDER / "training_set.parquet")
    entity_df = made.select(["driver_id", "event_timestamp"]).replace_schema_metadata(None)
    rows = store.get_historical_features(entity_df=entity_df, features=FEATURES[:7]).to_arrow()
    names = [name for name in made.column_names if name != "event_timestamp"]
    assert rows.select(names).to_pylist() == made.select(names).to_pylist()


def test_a_training_set_is_made_again_from_its_pins(store: FeatureStore) -> None:
    path = FOLDER / "training_set.parquet"
    pins = read_pins(path)
    made = pq.read_table(path)
    snapshot = store.registry.snapshot(pins.registry_revision)
    retrieval = HistoricalRetrieval(snapshot, store.offline_store, UserFunctions(store.repo_path), store.repo_path)
    again = build_training_set(retrieval, made.select(["driver_id", "event_timestamp"]), list(pins.features))
    assert again.rows.equals(made.replace_schema_metadata(None))
    told = [
        said for said in pins.differences(again.pins) if not said.startswith(("duckdb is", "pyarrow is", "feast-a"))
    ]
    assert told == []


def test_the_first_write_gives_the_registry_its_newer_tables(store: FeatureStore) -> None:
    def tables() -> set[str]:
        with closing(sqlite3.connect(store.repo_path / "registry.db")) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    assert "feast_assets_marks" not in tables()
    served(store)
    assert "feast_assets_marks" not in tables(), "reading changes nothing"
    store.materialize_incremental(END + timedelta(days=1))
    assert tables() >= set(KEYS)


def test_a_folder_of_kept_results_gets_its_number_with_the_next_write(store: FeatureStore) -> None:
    folder = store.repo_path / "data" / "daily"
    before = {path.name for path in folder.glob("*.parquet")}
    assert not (folder / ".format").exists()
    store.materialize(FIRST, FIRST + timedelta(days=2), feature_views=["daily"])
    assert {path.name for path in folder.glob("*.parquet")} == before
    assert (folder / ".format").read_text() == "1\n"


def test_the_values_of_the_test_data_are_of_every_kind() -> None:
    assert json.loads((FOLDER / "served.json").read_text())["fare"][1] == 0
    assert {type(value) for column in SERVED.values() for value in column} == {int, float, str, bool, list, type(None)}
