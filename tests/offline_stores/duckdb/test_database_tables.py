"""Tables of DuckDB files: the store passes the conformance suite on them, and reads what else such files hold."""

from __future__ import annotations

import itertools
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest

from feast_assets import Array, Decimal, DuckDBSource, Field, Int64, Map, String
from feast_assets.definitions.sources.duckdb_source import table_path
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import DefinitionError, NotSupportedError, SourceError
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store import (
    CanProfileConformance,
    CanReplaceWindowsConformance,
    OfflineStoreConformance,
    RunsTransformationsConformance,
    TracksPartsConformance,
    history,
    hour,
    joined,
    spine,
    trips,
)

DATABASE = "shop.duckdb"


def source(given: pa.Table, **place: str) -> DuckDBSource:
    created = "created" if "created" in given.column_names else None
    return DuckDBSource(database=DATABASE, timestamp_field="event_timestamp", created_timestamp_column=created, **place)


class _OnADatabase:
    @pytest.fixture
    def store(self, tmp_path):
        return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2, database_wait_seconds=5), tmp_path)

    @pytest.fixture
    def make(self, tmp_path):
        """A function that stores a table in the database, and returns its name."""
        numbers = itertools.count()

        def make(given: pa.Table) -> str:
            name = f"trips_{next(numbers)}"
            with duckdb.connect(str(tmp_path / DATABASE)) as connection:
                connection.register("given", given)
                connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
            return name

        return make

    @pytest.fixture
    def put(self, make):
        return lambda given: source(given, table=make(given))

    @pytest.fixture
    def sink(self):
        return DuckDBSource(name="sink", database=DATABASE, table="features.trips", timestamp_field="event_timestamp")


class TestTables(
    _OnADatabase,
    OfflineStoreConformance,
    CanProfileConformance,
    CanReplaceWindowsConformance,
    RunsTransformationsConformance,
    TracksPartsConformance,
):
    pass


class TestTablesThatThisProcessHasOpen(_OnADatabase, CanReplaceWindowsConformance, TracksPartsConformance):
    """Rows are then read through a connection that shares the file with the other one."""

    test_join = OfflineStoreConformance.test_join_never_looks_ahead_and_includes_its_own_moment
    test_latest = OfflineStoreConformance.test_latest_is_the_newest_row_of_each_entity
    test_missing = OfflineStoreConformance.test_missing_columns_are_named_with_the_nearest
    test_nulls = OfflineStoreConformance.test_rows_without_key_or_time_are_no_rows
    test_schema = OfflineStoreConformance.test_schema_names_the_columns_and_their_types
    test_threads = OfflineStoreConformance.test_calls_from_many_threads_do_not_meet
    test_write = OfflineStoreConformance.test_written_rows_are_added

    @pytest.fixture(autouse=True)
    def holder(self, tmp_path):
        with duckdb.connect(str(tmp_path / DATABASE), config={"custom_user_agent": "dagster"}) as connection:
            yield connection

    @pytest.fixture
    def make(self, holder):
        numbers = itertools.count()

        def make(given: pa.Table) -> str:
            name = f"trips_{next(numbers)}"
            holder.register("given", given)
            holder.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
            return name

        return make


# --- what such files hold


@pytest.fixture
def database(tmp_path):
    """The path of a file with orders, in two schemas, and views of them."""
    path = tmp_path / DATABASE
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            """
            CREATE SCHEMA web;
            CREATE TABLE orders AS SELECT range AS driver,
                TIMESTAMP '2024-01-01' + to_hours(range::INT) AS event_timestamp,
                range * 1.5 AS fare, 'x' AS city FROM range(10);
            CREATE TABLE web.orders AS SELECT driver + 100 AS driver, event_timestamp, fare, city FROM orders;
            CREATE TABLE "odd. name" AS FROM orders;
            CREATE VIEW web.large AS SELECT * FROM main.orders WHERE fare > 6;
            CREATE VIEW named AS SELECT * FROM shop.web.orders;
            """
        )
    return path


@pytest.fixture
def store(tmp_path):
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2, database_wait_seconds=0.2), tmp_path)


def orders(**place: str) -> DuckDBSource:
    return DuckDBSource(**{"database": DATABASE, "name": "orders", "timestamp_field": "event_timestamp", **place})


def drivers(store: DuckDBOfflineStore, source: DuckDBSource, window: Window = ALWAYS) -> list[int]:
    return sorted(store.scan(history(source), window).read_all()["driver"].to_pylist())


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"table": "orders"}, range(10)),
        ({"table": "MAIN.Orders"}, range(10)),
        ({"table": "web.orders"}, range(100, 110)),
        ({"table": '"odd. name"'}, range(10)),
        ({"table": "web.large"}, range(5, 10)),
        ({"table": "named"}, range(100, 110)),
        ({"query": "SELECT * FROM orders WHERE driver < 3"}, range(3)),
        ({"query": "WITH orders AS (SELECT * FROM web.orders) SELECT * FROM orders"}, range(100, 110)),
        ({"query": "WITH orders AS (SELECT * FROM orders WHERE fare > 12) SELECT * FROM orders"}, [9]),
        (
            {"query": "SELECT * FROM shop.main.orders UNION ALL FROM web.large"},
            sorted([*range(10), *range(5, 10)]),
        ),
    ],
)
def test_tables_views_schemas_and_queries_are_read(store, database, place, expected):
    assert drivers(store, orders(**place)) == list(expected)
    later = [d for d in expected if 4 <= d % 100 < 6]
    assert drivers(store, orders(**place), Window(hour(4), hour(6))) == later


def test_values_of_every_kind_are_read_as_ones_that_fields_can_hold(store, tmp_path):
    with duckdb.connect(str(tmp_path / DATABASE)) as connection:
        connection.execute(
            """
            CREATE TABLE kinds AS SELECT 7::HUGEINT AS huge, 'a'::ENUM('a', 'b') AS enum, 1.5::DECIMAL(9, 2) AS price,
                '01234567-89ab-cdef-0123-456789abcdef'::UUID AS id, TIME '01:02:03' AS clock, INTERVAL 1 DAY AS lasting,
                [1, 2] AS numbers, MAP {'a': 1} AS counts, {'a': 1} AS both, TIMESTAMP_NS '2024-01-01' AS at,
                '{"a": 1}'::JSON AS text, DATE '2024-01-01' AS day
            """
        )
    found = store.schema(orders(table="kinds", timestamp_field="at"))
    assert {f.name: str(f.type) for f in found} == {
        "huge": "int64",
        "enum": "string",
        "price": "decimal128(9, 2)",
        "id": "string",
        "clock": "string",
        "lasting": "string",
        "numbers": "list<l: int32>",
        "counts": "map<string, int32>",
        "both": "struct<a: int32>",
        "at": "timestamp[ns]",
        "text": "string",
        "day": "date32[day]",
    }
    wanted = {"huge": Int64, "enum": String, "price": Decimal, "id": String, "numbers": Array(Int64), "counts": Map}
    kinds = History(
        view="kinds",
        sources=(orders(table="kinds"),),
        join_keys=(),
        features=tuple(Field(name=n, dtype=t) for n, t in wanted.items()),
        timestamp_field="at",
    )
    kinds.sources[0].timestamp_field = "at"
    (row,) = store.latest(kinds, [ALWAYS]).read_all().to_pylist()
    assert (row["huge"], row["enum"], row["id"][:8], row["numbers"]) == (7, "a", "01234567", [1, 2])


def test_a_field_mapping_gives_columns_other_names(store, database):
    renamed = orders(table="orders", field_mapping={"driver": "courier"})
    assert store.schema(renamed).names == ["courier", "event_timestamp", "fare", "city"]
    of_couriers = replace(history(renamed), join_keys=(Field(name="courier", dtype=Int64),))
    assert sorted(store.scan(of_couriers, ALWAYS).read_all()["courier"].to_pylist()) == list(range(10))


def test_a_column_called_rowid_is_no_row_id(store, tmp_path):
    with duckdb.connect(str(tmp_path / DATABASE)) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT 1 AS driver, 1 AS rowid, 'a' AS city, range * 1.0 AS fare, "
            "TIMESTAMP '2024-01-01' + to_hours(range::INT) AS event_timestamp FROM range(3)"
        )
    found = joined(store, spine([(1, hour(1.5))]), [PointInTimeJoin(history(orders(table="orders")), {}, {})])
    assert found["fare"].to_pylist() == [1.0]


# --- what is wrong is said


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (
            {"database": "shp.duckdb", "table": "orders"},
            r"'orders' \(shp.duckdb, table orders\).*Did you mean .*shop.duckdb",
        ),
        ({"table": "ordres"}, r"no table or view 'ordres'. Did you mean 'orders'\?"),
        ({"table": "large"}, "'web.large'"),
        ({"query": "SELECT * FROM ordres"}, "ordres"),
        ({"query": "SELECT * FROM"}, "not SQL"),
        ({"query": "DELETE FROM orders"}, "must be one SELECT"),
        ({"query": "SELECT * FROM orders; SELECT 1"}, "must be one SELECT"),
        ({"query": "COPY orders TO 'x.csv'"}, "must be one SELECT"),
        ({"query": "SELECT * FROM read_csv('x.csv')"}, "read_csv.*tables and views of its file"),
        ({"query": "SELECT * FROM duckdb_settings()"}, "duckdb_settings"),
        ({"query": "SELECT * FROM duckdb_settings"}, "DuckDB's own"),
        ({"query": "SELECT * FROM other.main.orders"}, "other"),
        ({"query": "SELECT getvariable('x') AS driver"}, "getvariable"),
        ({"table": "of_files"}, "more than tables of its file.*READ_CSV"),
        ({"query": "SELECT * FROM of_files"}, "more than tables of its file.*READ_CSV"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_so(store, database, tmp_path, place, told):
    (tmp_path / "x.csv").write_text("driver,event_timestamp,fare,city\n")
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"CREATE VIEW of_files AS FROM read_csv('{tmp_path}/x.csv')")
    before = sorted(tmp_path.iterdir()), database.read_bytes()
    with pytest.raises(SourceError, match=told) as caught:
        store.latest(history(orders(**place)), [ALWAYS])
    assert "Source 'orders'" in str(caught.value)
    with pytest.raises(SourceError):
        store.schema(orders(**place))
    assert (sorted(tmp_path.iterdir()), database.read_bytes()) == before


def test_a_file_that_is_no_database_is_an_error(store, tmp_path):
    (tmp_path / DATABASE).write_bytes(b"no database" * 1000)
    with pytest.raises(SourceError, match="not a valid DuckDB database"):
        store.schema(orders(table="orders"))
    (tmp_path / DATABASE).write_bytes(b"")
    with pytest.raises(SourceError, match="not a valid DuckDB database"):
        store.schema(orders(table="orders"))


def test_rows_are_written_to_tables_only(store, database):
    rows, made = trips([(1, hour(1), 1.0, "a")]), history(orders(table="orders"))
    for place in ({"table": "named"}, {"query": "SELECT * FROM orders"}):
        with pytest.raises(NotSupportedError, match="to a table"):
            store.write(orders(**place), rows)
        with pytest.raises(NotSupportedError, match="to a table"):
            store.check_write(orders(**place), rows)
        with pytest.raises(NotSupportedError, match="to a table"):
            store.replace(orders(**place), made, [ALWAYS], store.scan(made, ALWAYS))


def test_a_definition_names_a_file_and_a_table_or_a_query():
    with pytest.raises(DefinitionError, match="either table or query"):
        DuckDBSource(database=DATABASE)
    with pytest.raises(DefinitionError, match="either table or query"):
        DuckDBSource(database=DATABASE, table="a", query="SELECT 1")
    with pytest.raises(DefinitionError, match="needs a name"):
        DuckDBSource(database=DATABASE, query="SELECT 1")
    for table in ("", "a.b.c", "a b", 'a"b', "a.", ".a", '"a', 3):
        with pytest.raises(DefinitionError, match="table must be a name"):
            DuckDBSource(database=DATABASE, table=table)
    for database in ("", " ", ":memory:", "md:shop", "s3://bucket/shop.duckdb", None):
        with pytest.raises(DefinitionError, match="database must be the path"):
            DuckDBSource(database=database, table="a")
    plain = DuckDBSource(database=DATABASE, table='s."x.""y"')
    assert table_path(plain.table, "") == ("s", 'x."y')
    assert plain.name == plain.table
    assert DuckDBSource.from_spec(plain.to_spec()) == plain
