"""A repository whose registry and online store are on one Postgres server, from apply to teardown."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from feast_assets import FeatureStore
from feast_assets.cli.main import cli

YAML = """
project: shop
registry:
  registry_type: sql
  path: ${POSTGRES_URL}
online_store:
  type: postgres
  host: 127.0.0.1
  port: ${POSTGRES_PORT}
  database: ${POSTGRES_DATABASE}
  db_schema: online
  user: postgres
  password: s3cret-word
  sslmode: disable
"""

FEATURES = """
from datetime import timedelta

from feast_assets import Entity, FeatureView, Field, FileSource, Float64, Int64, Partitions, PushSource, String

driver = Entity(name="driver", join_keys=["driver_id"])
trips = FileSource(path="data/trips.parquet", timestamp_field="event_timestamp")
pushed = PushSource(name="pushed", batch_source=trips)
stats = FeatureView(
    name="stats", entities=[driver], ttl=timedelta(days=3650), source=pushed, partitions=Partitions("daily"),
    schema=[Field(name="trips", dtype=Int64), Field(name="rating", dtype=Float64), Field(name="city", dtype=String)],
)
fares = FeatureView(
    name="fares", entities=[driver], ttl=timedelta(days=3650), source=trips,
    schema=[Field(name="trips", dtype=Int64)],
)
"""

START = datetime(2024, 1, 1, tzinfo=UTC)


def write_trips(file: Path, days: int, changed: int = 0) -> None:
    """Writes the trips of fifty drivers, a row a day; of the first day, the number of trips may be changed."""
    rows = [(driver, day) for day in range(days) for driver in range(50)]
    table = {
        "driver_id": [driver for driver, _ in rows],
        "event_timestamp": [START + timedelta(days=day, seconds=driver) for driver, day in rows],
        "trips": [100 * day + driver + (changed if day == 0 else 0) for driver, day in rows],
        "rating": [None if driver % 7 == 0 else driver / 10 for driver, _ in rows],
        "city": [f"Zürich {driver}" for driver, _ in rows],
    }
    pq.write_table(pa.table(table), file)


@pytest.fixture
def repository(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    server, _, database = postgres_url.rpartition("/")
    monkeypatch.setenv("POSTGRES_URL", postgres_url)
    monkeypatch.setenv("POSTGRES_PORT", server.rpartition(":")[2])
    monkeypatch.setenv("POSTGRES_DATABASE", database)
    (tmp_path / "data").mkdir()
    write_trips(tmp_path / "data" / "trips.parquet", days=3)
    (tmp_path / "feature_store.yaml").write_text(YAML, encoding="utf-8")
    (tmp_path / "features.py").write_text(textwrap.dedent(FEATURES), encoding="utf-8")
    return tmp_path


def run(repository: Path, *words: str) -> str:
    done = CliRunner().invoke(cli, ["-c", str(repository), *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "s3cret" not in done.output
    return done.output


def online(store: FeatureStore, drivers: list[int], *features: str) -> dict[str, Any]:
    return store.get_online_features(list(features), [{"driver_id": driver} for driver in drivers]).to_dict()


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'online' ORDER BY 1").fetchall()
    return [name for (name,) in found]


def test_a_repository_lives_on_one_postgres_server(repository: Path, postgres_url: str) -> None:
    run(repository, "apply")
    *of_views, catalog = tables(postgres_url)
    assert [name.split(":")[:2] for name in of_views] == [["fa_shop", "fares"], ["fa_shop", "stats"]]
    assert catalog == "feast_assets_tables"
    run(repository, "materialize", "2024-01-01", "2024-01-04")
    store = FeatureStore(repository)
    assert online(store, [3, 7, 99], "stats:trips", "stats:rating", "stats:city") == {
        "driver_id": [3, 7, 99],
        "trips": [203, 207, None],
        "rating": [0.3, None, None],
        "city": ["Zürich 3", "Zürich 7", None],
    }
    assert online(store, [3], "fares:trips")["trips"] == [203]
    report = store.audit()
    assert (report.mismatches, report.unexplained) == ((), 0)
    assert sum(view.entities for view in report.views) == 100
    store.close()


def test_rows_that_the_source_has_changed_or_lost_are_withdrawn(repository: Path) -> None:
    """They are found by a scan of versions, and replaced where the store still holds them."""
    run(repository, "apply")
    run(repository, "materialize", "2024-01-01", "2024-01-04")
    store = FeatureStore(repository)
    write_trips(repository / "data" / "trips.parquet", days=2, changed=1000)
    run(repository, "materialize", "2024-01-01", "2024-01-04")
    assert online(store, [3, 7], "stats:trips")["trips"] == [103, 107]
    assert store.audit().mismatches == ()
    store.close()


def test_pushed_rows_are_served_at_once(repository: Path) -> None:
    run(repository, "apply")
    store = FeatureStore(repository)
    row = {"driver_id": [3], "event_timestamp": [START], "trips": [7], "rating": [0.5], "city": ["Uri"]}
    store.push("pushed", pa.table(row).to_pandas())
    assert online(store, [3], "stats:trips", "stats:city") == {"driver_id": [3], "trips": [7], "city": ["Uri"]}
    store.close()


def test_a_store_that_was_put_back_is_filled_again(repository: Path, postgres_url: str) -> None:
    """As by a backup of the schema that was made before the last run."""
    run(repository, "apply")
    run(repository, "materialize", "2024-01-01", "2024-01-02")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for table in tables(postgres_url):
            connection.execute(f'CREATE TABLE public."{table}" AS TABLE online."{table}"')
        run(repository, "materialize", "2024-01-02", "2024-01-04")
        for table in tables(postgres_url):
            connection.execute(f'TRUNCATE online."{table}"')
            connection.execute(f'INSERT INTO online."{table}" TABLE public."{table}"')
    store = FeatureStore(repository)
    assert online(store, [3], "stats:trips")["trips"] == [3]
    with pytest.warns(UserWarning, match="the online store was restored from before"):
        run(repository, "materialize-incremental", "2024-01-04")
    assert online(store, [3], "stats:trips")["trips"] == [203]
    assert store.audit().mismatches == ()
    store.close()


def test_teardown_leaves_nothing_of_the_project(repository: Path, postgres_url: str) -> None:
    run(repository, "apply")
    run(repository, "materialize", "2024-01-01", "2024-01-04")
    run(repository, "teardown")
    assert tables(postgres_url) == ["feast_assets_tables"]
