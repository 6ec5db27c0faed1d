"""A project whose history is in Postgres: applied, materialized, healed, trained on, audited."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import psycopg
import pyarrow.parquet as pq
import pytest

from feast_assets import (
    BatchFeatureView,
    Checks,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    Float64,
    Partitions,
    PostgreSQLSource,
    PushMode,
    PushSource,
    SavedDatasetFileStorage,
    String,
)
from feast_assets.errors import (
    InputError,
    NotSupportedError,
    RegistryInferenceFailure,
    SourceError,
)
from feast_assets.settings.server_url import parse_server_url

DRIVER = Entity(name="driver", join_keys=["driver_id"])
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=4)
TRIPS = PostgreSQLSource(name="trips", table="trips", timestamp_field="at", created_timestamp_column="created")


def day(n: float) -> datetime:
    return START + timedelta(days=n)


@pytest.fixture
def sql(postgres_url):
    """Runs statements in the database that holds the history."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE trips (driver_id bigint, at timestamptz, created timestamptz, fare double precision, "
            "city varchar(20))"
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO trips VALUES (%s, %s, %s, %s, %s)",
                [(n, day(d), day(d), 10.0 * n + d, f"city {n}") for n in (1, 2, 3) for d in (0.5, 1.5, 2.5)],
            )
        yield lambda text, *values: connection.execute(text, values)


@pytest.fixture
def store(tmp_path, postgres_url, sql, monkeypatch):
    url = parse_server_url(postgres_url)
    monkeypatch.setenv("HISTORY_PASSWORD", "hush-hush")
    (tmp_path / "feature_store.yaml").write_text(
        f"""
project: rides
registry: registry.db
provider: local
online_store: sqlite
offline_store:
  type: postgres
  host: {url.host}
  port: {url.port}
  database: {url.path.strip("/")}
  db_schema: public
  user: {url.username}
  password: ${{HISTORY_PASSWORD}}
  sslmode: disable
"""
    )
    made = FeatureStore(tmp_path)
    yield made
    made.close()


def view(**changes):
    return FeatureView(
        **{"name": "stats", "entities": [DRIVER], "source": TRIPS, "partitions": Partitions("daily"), **changes}
    )


def served(store):
    rows = [{"driver_id": n} for n in (1, 2, 3, 4)]
    return store.get_online_features(["stats:fare", "stats:city"], rows).to_dict()["fare"]


def asked(*pairs):
    return pd.DataFrame({"driver_id": [n for n, _ in pairs], "event_timestamp": [t for _, t in pairs]})


def test_late_rows_are_found_and_healed_and_training_sets_are_right(store, sql, tmp_path):
    store.apply([DRIVER, view()])
    # Apply has inferred the fields from the table.
    applied = store.get_feature_view("stats")
    assert {f.name: f.dtype for f in applied.features} == {"fare": Float64, "city": String}
    assert applied.partitions.start == START
    store.materialize_incremental(END)
    assert served(store) == [12.5, 22.5, 32.5, None]
    assert store.stale_windows("stats", END) == []
    assert [r.windows for r in store.materialize_incremental(END)] == [()]

    # A row comes late, one is corrected, and one is removed.
    sql("INSERT INTO trips VALUES (4, %s, %s, 44, 'late')", day(1.2), day(3))
    sql("UPDATE trips SET fare = 99 WHERE driver_id = 1 AND at = %s", day(2.5))
    sql("DELETE FROM trips WHERE driver_id = 3 AND at = %s", day(2.5))
    assert [stale.window.start for stale in store.stale_windows("stats", END)] == [day(1), day(2)]
    store.materialize_incremental(END)
    assert served(store) == [99.0, 22.5, 31.5, 44.0]
    assert store.audit(["stats"], at=END).mismatches == ()

    entities = asked((1, day(0.4)), (1, day(0.5)), (2, day(2.4)), (3, day(9)), (4, day(1.3)), (5, day(9)))
    job = store.get_historical_features(entities, ["stats:fare", "stats:city"])
    found = job.to_df()
    assert found["fare"].fillna(-1).tolist() == [-1, 10.5, 21.5, 31.5, 44.0, -1]
    # The same, where the entities are a query, and rows count only once they were created.
    query = "SELECT DISTINCT driver_id, timestamptz '2024-01-02 12:00+00' AS event_timestamp FROM trips ORDER BY 1"
    known = store.get_historical_features(query, ["stats:fare"], filter_by_created_timestamp=True).to_df()
    assert known["driver_id"].tolist() == [1, 2, 3, 4]
    assert known["fare"].fillna(-1).tolist() == [11.5, 21.5, 31.5, -1]

    dataset = store.create_saved_dataset(job, "training", SavedDatasetFileStorage(str(tmp_path / "training.parquet")))
    assert pq.read_table(dataset.storage.path)["fare"].to_pylist() == [None, 10.5, 21.5, 31.5, 44.0, None]


def test_every_entity_between_two_dates(store):
    store.apply([DRIVER, view()])
    job = store.get_historical_features(features=["stats:fare"], start_date=day(0), end_date=day(2))
    assert job.to_df().sort_values("driver_id")["fare"].tolist() == [11.5, 21.5, 31.5]


def test_pushed_rows_are_history_too(store, sql):
    push = PushSource(name="push", batch_source=TRIPS)
    store.apply([DRIVER, view(source=push)])
    rows = pd.DataFrame({"driver_id": [7], "at": [day(3.5)], "created": [day(3.5)], "fare": [7.5], "city": ["x"]})
    for _ in range(2):
        store.push("push", rows, to=PushMode.ONLINE_AND_OFFLINE)
    assert sql("SELECT fare, city FROM trips WHERE driver_id = 7").fetchall() == [(7.5, "x")]
    assert store.get_online_features(["stats:fare"], [{"driver_id": 7}]).to_dict()["fare"] == [7.5]


def test_sources_may_be_queries(store, sql):
    source = PostgreSQLSource(
        name="daily",
        query="SELECT driver_id AS driver, date_trunc('day', at) + interval '1 day' AS closed, sum(fare) AS total "
        "FROM trips GROUP BY 1, 2",
        timestamp_field="closed",
        field_mapping={"driver": "driver_id"},
    )
    store.apply([DRIVER, view(source=source, schema=[Field(name="total", dtype=Float64)])])
    store.materialize_incremental(day(9))
    found = store.get_online_features(["stats:total"], [{"driver_id": 1}]).to_dict()
    assert found["total"] == [12.5]


class TestApply:
    def test_a_table_that_is_missing_is_named_with_the_nearest(self, store):
        wrong = view(source=PostgreSQLSource(table="trip", timestamp_field="at"))
        with pytest.raises(SourceError, match=r"Source 'trip': there is no such table\. Did you mean 'trips'\?"):
            store.apply([DRIVER, wrong])

    def test_fields_that_do_not_fit_are_named(self, store):
        with pytest.raises(SourceError, match=r"'fair' is not a column of data source 'trips'.*'fare'"):
            store.apply([DRIVER, view(schema=[Field(name="fair", dtype=Float64)])])
        with pytest.raises(SourceError, match=r"'city' is declared Float64, but data source 'trips' has string"):
            store.apply([DRIVER, view(schema=[Field(name="city", dtype=Float64)])])

    def test_the_only_time_column_is_the_event_time(self, store, sql):
        with pytest.raises(RegistryInferenceFailure, match="its timestamp columns are 'at', 'created'"):
            store.apply([DRIVER, view(source=PostgreSQLSource(table="trips"))])
        sql("ALTER TABLE trips DROP created")
        store.apply([DRIVER, view(source=PostgreSQLSource(table="trips"))])
        assert store.get_data_source("trips").timestamp_field == "at"


def daily_in_sql(trips):
    return f"""
        WITH daily AS (SELECT driver_id, date_trunc('day', at) AS day, sum(fare) AS total FROM {trips} GROUP BY 1, 2)
        SELECT driver_id, day + interval '23 hours' AS closed, total FROM daily;
    """


def daily_in_pandas(trips):
    days = trips.assign(day=trips["at"].dt.floor("D")).groupby(["driver_id", "day"], as_index=False)["fare"].sum()
    return pd.DataFrame(
        {"driver_id": days["driver_id"], "closed": days["day"] + pd.Timedelta(hours=23), "total": days["fare"]}
    )


@pytest.mark.parametrize(("mode", "function"), [("sql", daily_in_sql), ("pandas", daily_in_pandas)])
def test_results_of_transformations_are_kept_in_tables(store, sql, mode, function):
    kept = PostgreSQLSource(name="kept", table="daily_totals", timestamp_field="closed")
    computed = BatchFeatureView(
        name="daily",
        entities=[DRIVER],
        source=TRIPS,
        sink_source=kept,
        schema=[Field(name="total", dtype=Float64)],
        mode=mode,
        udf=function,
        online=True,
        offline=True,
        partitions=Partitions("daily"),
    )
    store.apply([DRIVER, computed])
    store.materialize_incremental(END)
    assert sql("SELECT count(*), min(closed) FROM daily_totals").fetchone() == (9, day(23 / 24))
    found = store.get_historical_features(asked((1, day(2)), (2, day(0.5))), ["daily:total"]).to_df()
    assert found["total"].fillna(-1).tolist() == [11.5, -1]
    sql("INSERT INTO trips VALUES (1, %s, %s, 100, 'late')", day(1.7), day(3))
    store.materialize_incremental(END)
    assert sql("SELECT total FROM daily_totals WHERE driver_id = 1 ORDER BY closed").fetchall() == [
        (10.5,),
        (111.5,),
        (12.5,),
    ]
    assert store.get_online_features(["daily:total"], [{"driver_id": 1}]).to_dict()["total"] == [12.5]


def test_checks_of_fields_need_an_ability_that_the_store_lacks(store):
    checked = view(schema=[Field(name="fare", dtype=Float64, checks=Checks(minimum=0))])
    with pytest.raises(NotSupportedError, match="CanProfile"):
        store.apply([DRIVER, checked])


def test_queries_of_callers_only_read_the_projects_tables(store, sql):
    store.apply([DRIVER, view()])
    sql("CREATE TABLE secrets (driver_id bigint, event_timestamp timestamptz)")
    for text in ("SELECT * FROM secrets", "DELETE FROM trips", "SELECT pg_read_file('/etc/passwd')"):
        with pytest.raises(InputError, match="The entity query"):
            store.get_historical_features(text, ["stats:fare"]).to_df()
    assert sql("SELECT count(*) FROM trips").fetchone() == (9,)
