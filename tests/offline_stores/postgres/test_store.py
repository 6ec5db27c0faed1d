"""What is particular to the offline store on Postgres: its types and names, queries, sessions."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime
from decimal import Decimal as PyDecimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.sources.postgres_source import PostgreSQLSource
from feast_assets.definitions.window import ALWAYS
from feast_assets.errors import (
    InputError,
    NotSupportedError,
    SourceError,
    SourceWithoutFilesError,
    StoreUnavailableError,
)
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, History
from feast_assets.offline_stores.postgres import engine
from feast_assets.offline_stores.postgres.config import PostgresOfflineStoreConfig
from feast_assets.offline_stores.postgres.store import PostgresOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine
from feast_assets.settings.server_url import parse_server_url
from feast_assets.testing.offline_store import TIME, ReadsQueriesConformance, WritesOnceConformance, hour
from feast_assets.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    String,
    UnixTimestamp,
    Uuid,
)


@pytest.fixture
def sql(postgres_url):
    """Runs statements in a database of the test's own."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield lambda text: connection.execute(text)


@pytest.fixture
def make_store(postgres_url):
    """Returns a store on that database, with some settings."""
    url = parse_server_url(postgres_url)

    def make(**settings):
        login = {"host": url.host, "port": url.port, "database": url.path.strip("/"), "sslmode": "disable"}
        config = PostgresOfflineStoreConfig.model_validate(
            {**login, "user": url.username, "password": url.password, **settings}
        )
        return PostgresOfflineStore(config, Path.cwd())

    return make


@pytest.fixture
def store(make_store):
    return make_store()


def history_of(source, *features):
    return History(
        "v", (source,), (Field(name="k", dtype=Int64),), tuple(Field(name=n, dtype=t) for n, t in features), "at"
    )


def values(store, source, dtype, column="x"):
    """The values of a column of a source as a type, in the order of the key ``k``."""
    found = store.scan(history_of(source, (column, dtype)), ALWAYS).read_all().sort_by("k")
    return found[column].to_pylist()


def shown(found):
    """Values as texts: of moments without the object that says UTC, and of NaN, which is not equal to itself."""
    return [str(value) for value in found]


AT = "timestamptz '2024-01-01 12:00+00'"


@pytest.mark.parametrize(
    ("kind", "literals", "dtype", "expected"),
    [
        ("smallint", ["-32768", "NULL"], Int32, [-32768, None]),
        ("integer", ["2147483647"], Int64, [2147483647]),
        ("bigint", ["-9223372036854775808"], Int64, [-(2**63)]),
        ("real", ["1.5", "'inf'"], Float32, [1.5, math.inf]),
        ("double precision", ["1e-300"], Float64, [1e-300]),
        ("numeric(10, 2)", ["1.5"], Decimal, ["1.50"]),
        (
            "numeric",
            ["1.500", "123456789012345678901234567890.1"],
            Decimal,
            ["1.500", "123456789012345678901234567890.1"],
        ),
        ("numeric", ["2.00"], Int64, [2]),
        ("numeric", ["2.25"], Float64, [2.25]),
        ("boolean", ["true", "NULL"], Bool, [True, None]),
        ("text", ["''", "NULL", "'ü\nb'"], String, ["", None, "ü\nb"]),
        ("varchar(5)", ["'a'"], String, ["a"]),
        ("bytea", ["'\\x00ff'"], Bytes, [b"\x00\xff"]),
        ("uuid", ["'ABCDEF00-0000-0000-0000-000000000001'"], Uuid, ["abcdef00-0000-0000-0000-000000000001"]),
        ("jsonb", ["'{\"a\":1}'", "NULL"], Json, ['{"a": 1}', None]),
        ("json", ["'{\"a\":1}'"], Map, ['{"a":1}']),
        ("timestamptz", ["'2024-01-01 01:00:00.000001+01'"], UnixTimestamp, [datetime(2024, 1, 1, 0, 0, 0, 1, UTC)]),
        ("timestamp", ["'2024-01-01'"], UnixTimestamp, [datetime(2024, 1, 1, tzinfo=UTC)]),
        ("date", ["'2024-01-01'"], UnixTimestamp, [datetime(2024, 1, 1, tzinfo=UTC)]),
        ("text[]", ["'{a,NULL}'", "'{}'", "NULL"], Array(String), [["a", None], [], None]),
        ("double precision[]", ["'{1.5,NaN}'"], Array(Float64), [[1.5, math.nan]]),
        ("numeric[]", ["'{1.50}'"], Array(Decimal), [["1.50"]]),
        ("jsonb", ["'[[1, 2], [3]]'"], Array(Array(Int64)), [[[1, 2], [3]]]),
        ("mood", ["'glad'"], String, ["glad"]),
        ("inet", ["'127.0.0.1/8'"], String, ["127.0.0.1/8"]),
    ],
)
def test_values_of_a_type_are_read_as_they_are(store, sql, kind, literals, dtype, expected):
    sql("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    sql(f"CREATE TABLE t (k bigint, at timestamptz, x {kind})")
    for i, literal in enumerate(literals):
        sql(f"INSERT INTO t VALUES ({i}, {AT}, {literal})")
        # The same again: it ties, and its content must be comparable.
        sql(f"INSERT INTO t SELECT * FROM t WHERE k = {i}")
    source = PostgreSQLSource(table="t", timestamp_field="at")
    history = history_of(source, ("x", dtype))
    assert shown(values(store, source, dtype)[::2]) == shown(expected)
    newest = store.latest(history, [ALWAYS]).read_all().sort_by("k")
    assert shown(newest["x"].to_pylist()) == shown(expected)
    moments = pa.array([hour(n) for n in (12, 11)], TIME)
    spine = Spine(pa.table({EVENT_TIMESTAMP: moments, "k": pa.array([0, 0])}))
    joined = store.join(spine, [PointInTimeJoin(history, {}, {})]).read_all()
    assert shown(joined["x"].to_pylist()) == shown([expected[0], None])
    assert store.statistics(history, [ALWAYS])[0].rows == 2 * len(literals)


def test_values_that_lose_something_when_read_fail_and_say_which(store, sql):
    sql(f"CREATE TABLE t AS SELECT 1::bigint AS k, {AT} AS at, 2.5::numeric AS x, '{{{{1}}}}'::int[] AS y")
    source = PostgreSQLSource(table="t", timestamp_field="at")
    with pytest.raises(SourceError, match=r"feature 'x' is declared Int64 but holds 2\.5"):
        values(store, source, Int64)
    with pytest.raises(SourceError, match=r"a row holds an array of 2 dimensions; make it to_jsonb\("):
        values(store, source, Array(Int64), "y")


def test_the_schema_has_the_types_by_which_apply_infers_fields(store, sql):
    sql("CREATE TABLE t (a numeric(12, 3), b numeric, c jsonb, d uuid, e point, f int[], g timestamptz)")
    assert {c.name: c.type for c in store.schema(PostgreSQLSource(table="t"))} == {
        "a": pa.decimal128(12, 3),
        "b": pa.decimal128(38, 18),
        "c": pa.json_(),
        "d": pa.uuid(),
        "e": pa.string(),
        "f": pa.list_(pa.int32()),
        "g": TIME,
    }


class TestNamesOfTables:
    def test_letters_are_small_unless_they_are_quoted(self, store, sql):
        sql('CREATE TABLE "Trips" (a int)')
        sql('CREATE SCHEMA "Raw"')
        sql('CREATE TABLE "Raw"."my trips" (b int)')
        sql("CREATE TABLE plain (c int)")
        for table, column in (('"Trips"', "a"), ('"Raw"."my trips"', "b"), ("PLAIN", "c"), ("public.Plain", "c")):
            assert store.schema(PostgreSQLSource(name="s", table=table)).names == [column]

    def test_one_that_is_missing_is_named_with_the_nearest(self, store, sql):
        sql("CREATE TABLE trips (a int)")
        sql("CREATE SCHEMA raw")
        sql('CREATE TABLE raw."Rides" (a int)')
        for table, near in (("tripz", "'trips'"), ("raw.rides", "'raw.\"Rides\"'"), ("ra.trips", "trips")):
            with pytest.raises(SourceWithoutFilesError, match=rf"no such table\. Did you mean .*{near}"):
                store.schema(PostgreSQLSource(name="s", table=table))

    def test_tables_are_looked_for_in_the_schema_of_the_settings(self, make_store, sql):
        sql('CREATE SCHEMA "my \'schema"')
        sql('CREATE TABLE "my \'schema".t (a int)')
        assert make_store(db_schema="my 'schema").schema(PostgreSQLSource(table="t")).names == ["a"]

    def test_views_are_read_as_tables_are(self, store, sql):
        sql(f"CREATE VIEW v AS SELECT 1::bigint AS k, {AT} AS at, 'a' AS x")
        assert values(store, PostgreSQLSource(table="v", timestamp_field="at"), String) == ["a"]


class TestSourcesWithAQuery:
    def test_the_query_may_end_in_a_semicolon_and_a_comment(self, store, sql):
        text = f"WITH q AS (SELECT 1::bigint AS k, {AT} AS at, 'a;' AS x) -- rows\nSELECT * FROM q; -- the end"
        source = PostgreSQLSource(name="q", query=text, timestamp_field="at")
        assert values(store, source, String) == ["a;"]
        (statistic,) = store.statistics(history_of(source, ("x", String)), [ALWAYS])
        assert statistic.rows == 1

    def test_one_that_fails_says_why(self, store):
        for text, why in (
            ("SELECT * FROM nowhere", "nowhere"),
            ("SELEC 1", "syntax error"),
            ("SELECT 1; SELECT 2", "syntax"),
        ):
            with pytest.raises(SourceError, match=f"Source 'q' cannot be read: .*{why}"):
                store.schema(PostgreSQLSource(name="q", query=text))

    def test_it_cannot_change_anything(self, store, sql):
        sql("CREATE TABLE t (a int)")
        sql("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING a'")
        source = PostgreSQLSource(name="q", query=f"SELECT f()::bigint AS k, {AT} AS at, 1 AS x", timestamp_field="at")
        with pytest.raises(SourceError, match="read-only transaction"):
            values(store, source, Int64)
        assert sql("SELECT count(*) FROM t").fetchone() == (0,)

    def test_nothing_can_be_written_to_it(self, store):
        with pytest.raises(NotSupportedError, match="not to a query"):
            store.write(PostgreSQLSource(name="q", query="SELECT 1 AS a"), pa.table({"a": [1]}))


def test_sources_of_other_kinds_are_refused(store):
    with pytest.raises(NotSupportedError, match="reads PostgreSQLSource, not FileSource"):
        store.schema(FileSource(path="x.parquet"))


class TestWriting:
    def test_values_become_what_the_columns_hold(self, store, sql):
        sql(
            "CREATE TABLE t (k int, at timestamp, n numeric(10, 2), m numeric, j jsonb, u uuid, tags text[], "
            "s smallint)"
        )
        row = {
            "k": 1,
            "at": hour(1),
            "n": PyDecimal("1.5"),
            "m": PyDecimal("1.50"),
            "j": '{"b": 1}',
            "u": "abcdef00-0000-0000-0000-000000000001",
            "tags": ["a", None],
            "s": 3,
        }
        rows = pa.Table.from_pylist([row])
        source = PostgreSQLSource(table="t", timestamp_field="at")
        store.write(source, rows)
        found = sql("SELECT k, at, n::text, m::text, j::text, u::text, tags, s FROM t").fetchone()
        naive = hour(1).replace(tzinfo=None)
        assert found == (1, naive, "1.50", "1.50", '{"b": 1}', row["u"], ["a", None], 3)

    def test_values_that_do_not_fit_change_nothing(self, store, sql):
        sql("CREATE TABLE t (k int CHECK (k < 9), n numeric(4, 1))")
        source = PostgreSQLSource(table="t")
        fine = {"k": pa.array([1, 2]), "n": pa.array([PyDecimal("1.0"), PyDecimal("2.0")])}
        for column, wrong, why in (
            ("k", pa.array([1, 2**40]), "'k'"),
            ("n", pa.array([PyDecimal("1.0"), PyDecimal("1.25")]), "'n'"),
            ("k", pa.array([1, 9]), "check constraint"),
        ):
            with pytest.raises(InputError, match=why):
                store.write(source, pa.table({**fine, column: wrong}))
        assert sql("SELECT count(*) FROM t").fetchone() == (0,)
        store.write(source, pa.table(fine))
        assert sql("SELECT count(*) FROM t").fetchone() == (2,)


class TestWritingOnce(WritesOnceConformance):
    @pytest.fixture
    def store(self, postgres_store):
        return postgres_store

    @pytest.fixture
    def put(self, store):
        def put(rows):
            source = PostgreSQLSource(table=f"t_{uuid.uuid4().hex}", timestamp_field="event_timestamp")
            store.write(source, rows)
            return source

        return put

    def test_rows_that_hold_nulls_and_json_are_told_apart(self, make_store, sql):
        sql("CREATE TABLE t (at timestamptz, j json, x double precision, tags text[])")
        store, source = make_store(), PostgreSQLSource(table="t", timestamp_field="at")
        rows = [
            {"at": hour(1), "j": '{"a": 1}', "x": math.nan, "tags": ["a", None]},
            {"at": hour(1), "j": None, "x": None, "tags": None},
            {"at": hour(1), "j": '{"a": 2}', "x": None, "tags": []},
        ]
        for count in (1, 1, 3, 2):
            store.write_once(source, pa.Table.from_pylist(rows[:count], TYPES_OF_T), "k")
        assert sql("SELECT count(*) FROM t").fetchone() == (3,)
        assert store.has_written(source, pa.Table.from_pylist(rows, TYPES_OF_T), "k")


TYPES_OF_T = pa.schema({"at": TIME, "j": pa.string(), "x": pa.float64(), "tags": pa.list_(pa.string())})


def connections(sql):
    """Sessions of stores on the test's database: how many there are, and how many are in a transaction."""
    return sql(
        "SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'feast-assets'"
    ).fetchone()


class TestSessions:
    def test_what_is_staged_goes_away_and_the_connection_is_used_again(self, store, sql):
        sql(f"CREATE TABLE t AS SELECT k, {AT} AS at, 1 / (k - 3) AS x FROM generate_series(1, 2::bigint) k(k)")
        sql(f"CREATE VIEW failing AS SELECT k, {AT} AS at, 1 / (k - 3) AS x FROM generate_series(1, 3::bigint) k(k)")
        spine = Spine(pa.table({EVENT_TIMESTAMP: pa.array([hour(20)] * 3, TIME), "k": pa.array([1, 2, 3])}))
        for table in ("t", "failing", "t"):
            history = history_of(PostgreSQLSource(table=table, timestamp_field="at"), ("x", Int64))
            if table == "failing":
                with pytest.raises(SourceError, match="division by zero"):
                    store.join(spine, [PointInTimeJoin(history, {}, {})]).read_all()
            else:
                assert store.join(spine, [PointInTimeJoin(history, {}, {})]).read_all().num_rows == 3
            assert connections(sql) == (1, 0)
            assert sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'feast_assets%'").fetchone() == (0,)

    def test_readers_that_are_not_read_to_their_end_give_it_back(self, store, sql):
        sql(f"CREATE TABLE t AS SELECT k, {AT} AS at, k AS x FROM generate_series(1, 300000::bigint) k(k)")
        history = history_of(PostgreSQLSource(table="t", timestamp_field="at"), ("x", Int64))
        unread = store.scan(history, ALWAYS)
        begun = store.scan(history, ALWAYS)
        assert begun.read_next_batch().num_rows == 131_072
        assert connections(sql)[0] == 2
        del unread, begun
        assert connections(sql) == (2, 0)
        assert store.scan(history, ALWAYS).read_all().num_rows == 300_000

    def test_a_server_that_closes_connections_is_connected_to_again(self, store, sql):
        sql("CREATE TABLE t (a int)")
        source = PostgreSQLSource(table="t")
        assert store.schema(source).names == ["a"]
        # The timeout is for how long to wait until it is closed.
        sql(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'feast-assets' "
            "AND datname = current_database()"
        )
        assert connections(sql) == (0, 0)
        assert store.schema(source).names == ["a"]

    def test_one_that_cannot_be_reached_says_so_without_the_password(self, make_store):
        refused = make_store(port=1, password="hush-hush")
        with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1/.* cannot be used") as caught:
            refused.schema(PostgreSQLSource(table="t"))
        assert "hush" not in str(caught.value)
        missing = make_store(database="no_such_database")
        with pytest.raises(StoreUnavailableError, match="no_such_database"):
            missing.schema(PostgreSQLSource(table="t"))
        assert "hush" not in repr(refused._config) + str(refused._config)

    def test_a_server_that_is_too_old_says_so(self, store, monkeypatch):
        monkeypatch.setattr(engine, "OLDEST_VERSION", 990_000)
        with pytest.raises(StoreUnavailableError, match=r"is of version \d+; the offline store needs 99 or newer"):
            store.schema(PostgreSQLSource(table="t"))

    def test_a_join_sees_all_tables_as_of_one_moment(self, store, sql):
        sql(f"CREATE TABLE t AS SELECT 1::bigint AS k, {AT} AS at, 'before' AS x")
        history = history_of(PostgreSQLSource(table="t", timestamp_field="at"), ("x", String))
        spine = Spine(pa.table({EVENT_TIMESTAMP: pa.array([hour(20)], TIME), "k": pa.array([1])}))
        reader = store.join(spine, [PointInTimeJoin(history, {}, {})])
        sql("UPDATE t SET x = 'after'")
        assert reader.read_all()["x"].to_pylist() == ["before"]


class TestQueriesOfCallers(ReadsQueriesConformance):
    @pytest.fixture
    def store(self, make_store):
        return make_store()

    @pytest.fixture
    def source(self, sql):
        sql(f"CREATE TABLE trips AS SELECT k, {AT} AS at FROM generate_series(1, 3) k(k)")
        sql("CREATE TABLE secrets AS SELECT 'hush' AS word")
        return PostgreSQLSource(table="trips", timestamp_field="at")

    def test_tables_of_the_projects_sources_are_read(self, store, source):
        text = (
            'WITH n AS (SELECT max(k) AS m FROM Trips) SELECT k, "at" AS t FROM trips, n WHERE k < m ORDER BY k DESC;'
        )
        assert store.read_query(text, [source])["k"].to_pylist() == [2, 1]

    def test_other_tables_only_where_the_settings_permit(self, store, make_store, source, sql):
        with pytest.raises(InputError, match=r"reads 'secrets'.*Known: 'trips'.*readable_tables"):
            store.read_query("SELECT * FROM secrets", [source])
        sql("CREATE SCHEMA other")
        sql("CREATE TABLE other.t AS SELECT 7 AS a")
        permitting = make_store(readable_tables=["secrets", "other.t"])
        assert permitting.read_query("SELECT word FROM public.secrets", [source])["word"].to_pylist() == ["hush"]
        assert permitting.read_query("SELECT t.a FROM other.t", [])["a"].to_pylist() == [7]
        with pytest.raises(InputError, match="'t'"):
            permitting.read_query("SELECT a FROM t", [])

    def test_decimals_are_numbers_and_json_is_text(self, store):
        found = store.read_query(
            "SELECT sum(x) AS s, avg(x) AS a, '{}'::jsonb AS j, g FROM (VALUES (1::bigint, 1.50), (2, 2)) AS v(x, g) "
            "GROUP BY g ORDER BY g",
            [],
        )
        assert found["s"].to_pylist() == [PyDecimal(1), PyDecimal(2)]
        assert found["g"].to_pylist() == [PyDecimal("1.50"), PyDecimal("2.00")]
        assert found["j"].type == pa.string()

    def test_types_of_postgres_own_must_be_cast_to_text(self, store, sql):
        sql("CREATE TABLE hosts AS SELECT inet '127.0.0.1/8' AS ip")
        source = PostgreSQLSource(table="hosts")
        with pytest.raises(InputError, match="Column 'ip' is of a type"):
            store.read_query("SELECT ip FROM hosts", [source])
        assert store.read_query("SELECT ip::text FROM hosts", [source])["ip"].to_pylist() == ["127.0.0.1/8"]

    def test_a_limit_of_time_holds(self, make_store):
        slow = "SELECT count(*) AS n FROM generate_series(1, 100000) a(i), generate_series(1, 100000) b(i)"
        with pytest.raises(InputError, match=r"longer than 0\.2 seconds"):
            make_store(entity_query_timeout_seconds=0.2).read_query(slow, [])

    def test_it_runs_as_the_role_of_the_settings(self, make_store, source, sql):
        role = f"reader_{uuid.uuid4().hex}"
        sql(f"CREATE ROLE {role} NOLOGIN")
        try:
            limited = make_store(entity_query_role=role)
            with pytest.raises(InputError, match="permission denied"):
                limited.read_query("SELECT k FROM trips", [source])
            sql(f"GRANT SELECT ON trips TO {role}")
            assert limited.read_query("SELECT k FROM trips", [source]).num_rows == 3
            # The next use of the connection is the user's again.
            assert limited.schema(PostgreSQLSource(table="secrets")).names == ["word"]
        finally:
            sql(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
            sql(f"DROP ROLE {role}")
