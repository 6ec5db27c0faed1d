"""What a caller's query may do: read the files that it may, and nothing else, however it is written."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from feast_assets import FileSource
from feast_assets.errors import EntitySQLEmptyResults, InputError
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.functions import (
    AGGREGATES,
    FUNCTIONS,
    MACROS,
    READERS,
    SCALARS,
    TABLE_FUNCTIONS,
)
from feast_assets.offline_stores.duckdb.reading_query import LONGEST, reading_query
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.files.readable_files import ReadableFiles

SECRET = "Wm9x7secret"
AT = "TIMESTAMP '2024-01-02' AS event_timestamp"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with data, and with what nobody may read or change."""
    base = tmp_path_factory.mktemp("queries")
    root = base / "repo"
    for name in ("repo/data/h/region=eu", "repo/data/h/region=us", "repo/data/.kept", "outside"):
        (base / name).mkdir(parents=True)
    rows = pa.table({"driver": [1, 2, 3], "city": ["a", "b", "c"]})
    for name in ("rows.parquet", "more rows.parquet", "h/region=eu/x.parquet", "h/region=us/x.parquet"):
        pq.write_table(rows, root / "data" / name)
    csv.write_csv(rows, root / "data" / "rows.csv")
    csv.write_csv(rows, root / "data" / "it's[1].csv")
    csv.write_csv(rows.slice(0, 1), root / "data" / "it's1.csv")
    secret = f"a,b\n{SECRET},{SECRET}\n"
    for name in (
        "repo/feature_store.yaml",
        "repo/.env",
        "repo/definitions.py",
        "repo/key.json",
        "repo/data/.kept/x.csv",
    ):
        (base / name).write_text(secret)
    (base / "outside" / "s.csv").write_text(secret)
    pq.write_table(pa.table({"a": [SECRET]}), base / "outside" / "s.parquet")
    (root / "data" / "link.csv").symlink_to(base / "outside" / "s.csv")
    (root / "data" / "folder").symlink_to(base / "outside")
    for name in ("registry.db", "online.csv"):
        with sqlite3.connect(root / "data" / name) as database:
            database.execute("CREATE TABLE t (a)")
            database.execute("INSERT INTO t VALUES (?)", [SECRET])
        database.close()
    return root


@pytest.fixture(scope="module")
def store(repository):
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(), repository)


@pytest.fixture
def nothing_changes(repository):
    """Fails the test where a file was written, removed or added."""
    before = contents(repository)
    yield
    assert contents(repository) == before


def contents(root: Path) -> dict[str, str]:
    paths = sorted(p for p in root.parent.rglob("*") if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def rows_of(store, sql):
    return store.read_query(sql, [])


def rows_in_any_order(relation):
    """Returns the columns with their types, and the rows sorted as texts: SQL promises no order by itself."""
    table = relation.to_arrow_table()
    return table.schema, sorted(map(repr, table.to_pylist()))


def refusal(store, sql):
    with pytest.raises(InputError) as caught:
        rows_of(store, sql)
    message = str(caught.value)
    assert SECRET not in message
    assert len(message) < 2000
    return message


class TestWhatGoesOn:
    @pytest.mark.parametrize(
        "sql",
        [
            "FROM 'data/rows.parquet' ORDER BY ALL",
            'SELECT * FROM "data/rows.parquet" ORDER BY ALL',
            "SELECT rows.city FROM 'data/rows.csv' ORDER BY 1",
            "SELECT x.a, b FROM 'data/rows.parquet' AS x(a, b) ORDER BY 1",
            "SELECT * FROM 'data/more rows.parquet' ORDER BY ALL",
            "SELECT count(*) FROM 'data/*.parquet'",
            "SELECT count(*) FROM 'data/h/**/*.parquet'",
            "SELECT * FROM read_parquet('data/h/*/*.parquet', hive_partitioning = true) ORDER BY ALL",
            "SELECT * FROM read_parquet(['data/rows.parquet', 'data/more rows.parquet'], union_by_name := true)",
            "SELECT * FROM read_csv('data/rows.csv', types = {'driver': 'VARCHAR'}, header => true) ORDER BY ALL",
            "SELECT filename, city FROM read_parquet('data/rows.parquet') ORDER BY ALL",
            "WITH a AS (FROM 'data/rows.parquet'), b AS (SELECT driver FROM a) FROM A JOIN B USING (driver) ORDER BY 1",
            "SELECT * FROM 'data/rows.parquet' l SEMI JOIN 'data/rows.csv' r ON l.driver = r.driver ORDER BY ALL",
            "SELECT * FROM (VALUES (1, 'x'), (2, 'y')) v(a, b)",
            "SELECT * FROM range(3) r(i), unnest([i, i + 1]) u(j) ORDER BY ALL",
            "SELECT * FROM generate_series(TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-03', INTERVAL 1 DAY)",
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) FROM r",
            "SELECT row_number() OVER (PARTITION BY city ORDER BY driver DESC) FROM 'data/rows.csv' ORDER BY ALL",
            "SELECT list_transform([1, 2], lambda x: x + 1), [x FOR x IN [1, 2] IF x > 1], {'a': 1}.a, 'x'.upper()",
            "SELECT city, sum(driver) FILTER (driver > 1) FROM 'data/rows.csv' GROUP BY ROLLUP (city) ORDER BY ALL",
            "SELECT * FROM (PIVOT 'data/rows.parquet' ON city IN ('a', 'b') USING sum(driver)) ORDER BY ALL",
            "SELECT * EXCLUDE (city) REPLACE (driver + 1 AS driver), COLUMNS('d.*') FROM 'data/rows.csv' ORDER BY ALL",
            "SELECT 'it''s', E'a\\nb', $$x$$, 1e3, 0.1::DECIMAL(5,2), DATE '2024-01-01', extract(year FROM now()) > 1",
            "SELECT driver FROM 'data/rows.csv' UNION (SELECT 9) ORDER BY 1 LIMIT 2; -- and a comment",
        ],
    )
    def test_reading_gives_what_duckdb_alone_gives(self, repository, sql, monkeypatch):
        # Relative paths start at the repository, wherever the process stands.
        monkeypatch.chdir(repository.parent / "outside")
        with duckdb.connect(config={"file_search_path": str(repository)}) as alone:
            expected = rows_in_any_order(alone.sql(sql.partition(";")[0]))
        query = reading_query(alone_parser(), sql, "The query", ReadableFiles(repository))
        store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(), repository)
        with store._engine_of(query.paths).cursor() as cursor:
            assert rows_in_any_order(cursor.sql(query.sql)) == expected

    def test_a_file_with_the_characters_of_a_pattern_is_read_itself(self, store):
        for name in ("'data/it''s[1].csv'", "read_csv('data/it''s[1].csv')", '"data/it\'s[1].csv"'):
            assert rows_of(store, f"SELECT *, {AT} FROM {name}").num_rows == 3

    def test_files_of_sources_and_of_the_setting_are_read_wherever_they_are(self, store, repository):
        sql = f"SELECT *, {AT} FROM '../outside/s.csv'"
        assert "readable_paths" in refusal(store, sql)
        source = FileSource(name="s", path="../outside/s.csv", timestamp_field="a")
        assert store.read_query(sql, [source]).num_rows == 1
        wider = DuckDBOfflineStore(DuckDBOfflineStoreConfig(readable_paths=["../outside"]), repository)
        assert rows_of(wider, sql).num_rows == 1
        assert rows_of(wider, f"SELECT *, {AT} FROM '../outside/s.parquet'").num_rows == 1
        refusal(wider, f"SELECT *, {AT} FROM read_csv('.env')")

    def test_times_are_utc(self, store):
        (row,) = rows_of(store, "SELECT TIMESTAMPTZ '2024-01-01 00:00:00' AS event_timestamp").to_pylist()
        assert row["event_timestamp"].isoformat() == "2024-01-01T00:00:00+00:00"

    def test_queries_of_several_threads_do_not_meet(self, store):
        names = ["'data/rows.csv'", "'data/rows.parquet'", "(SELECT 1 AS driver)"] * 4
        counts: list[int] = []

        def ask(name):
            counts.append(rows_of(store, f"SELECT driver, {AT} FROM {name}").num_rows)

        threads = [threading.Thread(target=ask, args=[name]) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(counts) == [1] * 4 + [3] * 8


def alone_parser():
    return duckdb.connect()


STATEMENTS = (
    "COPY (SELECT 1) TO '{new}'",
    "COPY (SELECT 'x') TO '{old}' (FORMAT csv, USE_TMP_FILE false)",
    "COPY t FROM '{old}'",
    "INSERT INTO t VALUES (1) RETURNING *",
    "UPDATE t SET a = 1 RETURNING *",
    "DELETE FROM t RETURNING *",
    "MERGE INTO t USING t u ON true WHEN MATCHED THEN DELETE",
    "CREATE TABLE z AS SELECT 1",
    "CREATE MACRO m() AS 1",
    "CREATE SECRET s (TYPE s3)",
    "ATTACH '{new}'",
    "ATTACH '{old}' AS o (TYPE sqlite)",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{old}'",
    "SET threads = 1",
    "SET VARIABLE v = 1",
    "RESET threads",
    "PRAGMA version",
    "CALL pragma_version()",
    "EXPORT DATABASE '{new}'",
    "IMPORT DATABASE '{new}'",
    "CHECKPOINT",
    "PREPARE p AS SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "DESCRIBE SELECT 1",
    "SHOW TABLES",
    "SUMMARIZE SELECT 1",
)
AROUND_STATEMENTS = (
    "{}",
    "SELECT 1; {}",
    "{}; SELECT 1",
    "WITH a AS ({}) SELECT 1",
    "WITH a AS MATERIALIZED ({}) FROM a",
    "WITH RECURSIVE a AS ({}) SELECT 1",
    "WITH b AS (WITH a AS ({}) SELECT 1) FROM b",
    "SELECT * FROM ({})",
    "SELECT * FROM (WITH a AS ({}) SELECT 1)",
    "SELECT (WITH a AS ({}) SELECT 1)",
    "SELECT EXISTS (WITH a AS ({}) SELECT 1)",
    "SELECT 1 UNION ALL (WITH a AS ({}) SELECT 1)",
    "SELECT * FROM (VALUES (1)) v, LATERAL (WITH a AS ({}) SELECT 1)",
    "WITH a AS (SELECT 1) {}",
)


@pytest.mark.usefixtures("nothing_changes")
class TestStatements:
    @pytest.mark.parametrize("statement", STATEMENTS)
    def test_nothing_but_a_select_gets_through_anywhere(self, store, repository, statement):
        statement = statement.format(new=repository / "data" / "new.csv", old=repository / "data" / "rows.csv")
        for around in AROUND_STATEMENTS:
            refusal(store, around.format(statement))

    def test_the_message_names_what_was_refused_and_what_is_permitted(self, store):
        message = refusal(store, "WITH a AS (COPY (SELECT 1) TO 'x.csv') SELECT 1")
        assert "COPY" in message
        assert "may only read" in message
        assert "readable_paths" in message
        assert "2 statements" in refusal(store, "SELECT 1; SELECT 2")
        assert "'getenv'" in refusal(store, "SELECT getenv('HOME')")
        assert "did you mean 'upper'" in refusal(store, "SELECT uper('x')")


FORBIDDEN = "current_setting('temp_directory')"
PAIR = "(VALUES (1, 2)) v(a, b)"
PLACES = [
    line.replace("PAIR", PAIR)
    for line in """
SELECT {}
VALUES ({})
SELECT 1 WHERE {} = ''
SELECT 1 ORDER BY 1, {} DESC
SELECT 1 LIMIT length({})
SELECT 1 LIMIT 1 OFFSET (SELECT length({}))
SELECT DISTINCT ON ({}) a FROM PAIR
SELECT a FROM PAIR GROUP BY a, {}
SELECT a FROM PAIR GROUP BY GROUPING SETS ((a), ({}))
SELECT count(*) FROM PAIR HAVING {} = ''
SELECT a FROM PAIR QUALIFY row_number() OVER (ORDER BY {}) = 1
SELECT sum(a) OVER (PARTITION BY {}) FROM PAIR
SELECT sum(a) OVER (ROWS BETWEEN length({}) PRECEDING AND CURRENT ROW) FROM PAIR
SELECT sum(a) OVER w FROM PAIR WINDOW w AS (ORDER BY {})
SELECT lag(a, 1, {}) OVER () FROM PAIR
SELECT sum(a) FILTER (WHERE {} = '') FROM PAIR
SELECT list(a ORDER BY {}) FROM PAIR
SELECT count(DISTINCT {})
SELECT * FROM PAIR JOIN (SELECT 1) y ON {} = ''
SELECT * FROM PAIR ASOF JOIN (SELECT 1 a) y ON v.a >= length({})
SELECT * FROM PAIR, LATERAL (SELECT {})
SELECT * FROM range(length({}))
SELECT * FROM unnest([{}])
SELECT * FROM read_csv('data/rows.csv', sep = {})
SELECT * FROM read_csv('data/rows.csv', columns := {{'a': {}}})
SELECT * FROM (PIVOT PAIR ON a IN (1) USING max({}))
SELECT * FROM PAIR PIVOT (max({}) FOR a IN (1))
SELECT [{} FOR x IN [1]]
SELECT [x FOR x IN [1] IF {} = '']
SELECT list_transform([1], lambda x: {})
SELECT COLUMNS(lambda c: c = {}) FROM PAIR
SELECT * REPLACE ({} AS a) FROM PAIR
SELECT COLUMNS(*) || {} FROM PAIR
SELECT x: {}
SELECT {{'a': {}}}
SELECT MAP {{1: {}}}
SELECT CASE WHEN {} = '' THEN 1 END
SELECT CASE 1 WHEN 1 THEN {} ELSE '' END
SELECT 1 IN (length({}), 2)
SELECT 1 = ANY(SELECT length({}))
SELECT EXISTS (SELECT {})
SELECT ARRAY(SELECT {})
SELECT 'x' BETWEEN {} AND 'z'
SELECT ({}) COLLATE NOCASE
SELECT TRY_CAST({} AS INT)
SELECT {}[1:2]
SELECT ({}).upper()
SELECT now() AT TIME ZONE {}
SELECT INTERVAL (length({})) DAY
SELECT extract(year FROM {}::DATE)
SELECT TRY({})
SELECT NOT {} LIKE 'x'
SELECT {} IS NULL
WITH x AS (SELECT {}) SELECT 1
WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r WHERE n < length({})) FROM r
SELECT 1 EXCEPT (SELECT length({}))
""".strip().splitlines()
]


@pytest.mark.parametrize("around", PLACES)
def test_a_function_that_is_not_listed_is_found_wherever_it_stands(store, around):
    """The tree that DuckDB gives of a text leaves nothing out."""
    assert "'current_setting'" in refusal(store, around.format(FORBIDDEN))


READS = [
    "'../outside/s.csv'",
    "'../outside/s.parquet'",
    "'data/link.csv'",
    "'data/folder/s.csv'",
    "'data/folder/*.csv'",
    "'data/*/s.csv'",
    "'data/.kept/x.csv'",
    "'data/online.csv'",
    "'feature_store.yaml'",
    "'http://127.0.0.1:1/s.csv'",
    "'file:///etc/s.csv'",
    "read_csv('.env')",
    "read_csv('feature_store.yaml')",
    "read_csv('data/rows.csv/../../.env')",
    "read_csv(['data/rows.csv', '../outside/s.csv'])",
    "read_csv(list_value('../outside/s.csv'))",
    "read_csv('data/' || '../.env')",
    "read_csv((SELECT '.env'))",
    "read_csv($$.env$$)",
    "read_csv(E'\\x2eenv')",
    "read_csv('data/rows.csv', store_rejects = true)",
    "read_csv('data/rows.csv', '.env')",
    "read_parquet('data/rows.parquet', encryption_config = {footer_key: 'x'})",
    "read_json('key.json')",
    "read_text('.env')",
    "read_blob('.env')",
    "main.read_text('.env')",
    "read_duckdb('data/registry.db')",
    "sqlite_scan('data/registry.db', 't')",
    "sniff_csv('../outside/s.csv')",
    "parquet_schema('../outside/s.parquet')",
    "parquet_kv_metadata('../outside/s.parquet')",
    "glob('../*/*')",
    "query('FROM read_text(''.env'')')",
    "query_table('pg_settings')",
    "json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "arrow_scan(1, 2, 3)",
    "duckdb_settings()",
    "duckdb_secrets()",
    "duckdb_logs()",
    "pg_settings",
    "sqlite_master",
    "duckdb_views",
    "information_schema.tables",
    "pg_catalog.pg_settings",
    "(SHOW ALL TABLES)",
    "(DESCRIBE '../outside/s.csv')",
]


@pytest.mark.usefixtures("nothing_changes")
class TestReads:
    @pytest.mark.parametrize("read", READS)
    def test_what_may_not_be_read_is_refused(self, store, read):
        refusal(store, f"SELECT *, {AT} FROM {read}")

    @pytest.mark.parametrize(
        "sql",
        [
            "WITH pg_settings AS (SELECT 1) FROM pg_settings",
            "SELECT * FROM pg_settings WHERE EXISTS (WITH pg_settings AS (SELECT 1) SELECT 1)",
            'WITH a AS (FROM pg_settings), "PG_SETTINGS" AS (SELECT 1) FROM a',
            'WITH "data/.kept/x.csv" AS (SELECT 1) SELECT * FROM "data/.kept/x.csv"',
            "WITH x AS (SELECT 1) SELECT * FROM x.pg_settings",
            "SELECT * FROM (SELECT 1) pg_settings, pg_settings",
        ],
    )
    def test_a_name_given_by_with_opens_nothing_of_that_name(self, store, sql):
        refusal(store, sql)

    def test_every_view_of_duckdb_has_a_name_that_with_cannot_give(self, repository):
        """Such names are taken for the query's own; so none may be left that also means something else."""
        with duckdb.connect() as alone:
            names = [name for (name,) in alone.execute("SELECT DISTINCT view_name FROM duckdb_views()").fetchall()]
            for name in names:
                try:
                    alone.sql(f'FROM "{name}"')
                except duckdb.CatalogException:
                    continue
                with pytest.raises(InputError, match="another name"):
                    reading_query(alone, f'WITH "{name}" AS (SELECT 1) SELECT 1', "Q", ReadableFiles(repository))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT '\0'", "NUL character at position 9"),
        ("SELECT '\ud83d'", r"U\+D83D at position 9"),
        (" " * (LONGEST + 1), "Give the rows as a DataFrame"),
        ("SELECT '" + "x" * 10_000_000 + "'", "Give the rows as a DataFrame"),
        ("SELECT '" + "x" * 1_000_000 + "'::INT", "Could not convert"),
        ("SELECT " + "x" * 1_000_000, "x"),
        ("SELECT * FROM '" + "x" * 1_000_000 + ".csv'", "may not read"),
        ("SELECT " + "NOT " * 900 + "true", "nested too deeply"),
        ("SELECT " + "[" * 3000, "nests brackets more than 100 deep"),
        ("SELECT $1", "parameter"),
        ("SELECT ?", "parameter"),
        ("", "one SELECT"),
        ("-- nothing", "one SELECT"),
        ("SELEC 1", "not SQL that DuckDB understands"),
    ],
)
def test_texts_that_are_no_query_say_why_in_few_words(store, sql, message):
    with pytest.raises(InputError, match=message):
        rows_of(store, sql)
    assert len(refusal(store, sql)) < 2000


class _Texts:
    """Makes hostile texts: something forbidden, disguised and put somewhere."""

    def __init__(self, seed: int, repository: Path):
        self._random = random.Random(seed)
        self._root = repository

    def text(self) -> str:
        kind = self._random.choice(["statement", "function", "read", "read"])
        if kind == "statement":
            names = {"new": self._root / "data" / "fuzz.csv", "old": self._root / "data" / "rows.csv"}
            text = self._random.choice(AROUND_STATEMENTS).format(self._random.choice(STATEMENTS).format(**names))
        elif kind == "function":
            text = self._random.choice(PLACES).format(FORBIDDEN)
        else:
            text = f"SELECT *, {AT} FROM {self._path() if self._random.random() < 0.6 else self._random.choice(READS)}"
        for _ in range(self._random.randrange(3)):
            text = self._random.choice(
                [
                    "SELECT * FROM ({}) AS w",
                    "WITH w AS ({}) FROM w",
                    "({}) UNION ALL ({})",
                    "SELECT (SELECT count(*) FROM ({})) AS n, " + AT,
                    "FROM (VALUES (1)) v, LATERAL ({})",
                    "WITH RECURSIVE w AS (SELECT 1), u AS ({}) FROM u",
                ]
            ).replace("{}", text)
        return self._disguised(text)

    def _path(self) -> str:
        target = self._random.choice(
            [
                "definitions.py",
                ".env",
                "feature_store.yaml",
                "data/registry.db",
                "data/online.csv",
                "key.json",
                "data/.kept/x.csv",
                "../outside/s.csv",
                "../outside/s.parquet",
                "data/link.csv",
                "data/folder/s.csv",
            ]
        )
        for _ in range(self._random.randrange(4)):
            target = self._random.choice(
                ["data/../", "./", "data/folder/../../repo/", f"{self._root}/", "//", "data/h/../../", ""]
            ) + self._random.choice([target, target.replace("s", "[s]", 1), target.replace("e", "?", 1), f"{target}*"])
        quoted = self._random.choice(["'{}'", '"{}"', "$${}$$", "E'{}'"]).format(target)
        reader = self._random.choice(["{}", "read_csv({})", "READ_CSV([{}], all_varchar := true)", "read_parquet({})"])
        return reader.format(quoted)

    def _disguised(self, text: str) -> str:
        pieces = []
        for piece in text.split(" "):
            if "'" not in piece and '"' not in piece and "$" not in piece and self._random.random() < 0.3:
                piece = "".join(self._random.choice([c.upper(), c.lower()]) for c in piece)
            pieces.append(piece)
        spaces = [" ", "  ", "\n", "\t", "/* ; */ ", " -- x'\n", "\u00a0", "\u2003"]
        text = "".join(p + (" " if self._random.random() < 0.7 else self._random.choice(spaces)) for p in pieces)
        return text + self._random.choice(["", ";", " -- end", ";;", "; -- '", "\ufeff"])


@pytest.mark.usefixtures("nothing_changes")
def test_no_hostile_text_changes_a_file_or_brings_a_secret_out(store, repository, monkeypatch):
    monkeypatch.chdir(repository / "data")
    monkeypatch.setenv("SECRET", SECRET)
    answered = 0
    for seed in range(600):
        text = _Texts(seed, repository).text()
        try:
            found = str(rows_of(store, text).to_pylist())
            answered += 1
        except (InputError, EntitySQLEmptyResults) as error:
            found = str(error)
        assert SECRET not in found, text
        assert str(repository.parent / "outside") not in found or "outside" in text, text
    assert answered < 60


class TestLists:
    def test_every_function_listed_is_one_of_duckdb(self):
        with duckdb.connect() as alone:
            known = alone.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
        names = {name for (name,) in known}
        assert (SCALARS | AGGREGATES | MACROS | TABLE_FUNCTIONS | set(READERS)) - names == set()

    def test_no_function_listed_has_an_effect_or_reads_a_state(self):
        with duckdb.connect() as alone:
            volatile = alone.execute(
                "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE has_side_effects"
            ).fetchall()
        harmless = {"error", "gen_random_uuid", "random", "uuid", "uuidv4", "uuidv7"}
        assert {name for (name,) in volatile} & FUNCTIONS == harmless
        reading = ("getenv", "getvariable", "current_setting", "current_query", "nextval", "write_log", "sleep_ms")
        running = ("query", "query_table", "json_execute_serialized_sql", "read_text", "read_blob", "glob", "sniff_csv")
        assert not FUNCTIONS.intersection((*reading, *running))
        assert not TABLE_FUNCTIONS.intersection(running)


@pytest.mark.usefixtures("nothing_changes")
class TestEngineOfAQuery:
    """What holds if a text got past the check: the database that runs it opens just the query's files."""

    @pytest.fixture
    def cursor(self, store, repository):
        with store._engine_of((str(repository / "data" / "rows.csv"),)).cursor() as cursor:
            yield cursor

    @pytest.mark.parametrize(
        "read", [r for r in READS if "'" in r and "data/rows" not in r and "SELECT" not in r and "pg_" not in r]
    )
    def test_it_reads_no_other_file(self, cursor, repository, read):
        read = read.replace("'../outside", f"'{repository.parent}/outside").replace("'data/", f"'{repository}/data/")
        with pytest.raises(duckdb.Error):
            assert SECRET not in str(cursor.execute(f"FROM {read}").fetchall())

    @pytest.mark.parametrize(
        "statement",
        [
            "COPY (SELECT 1) TO '{root}/data/new.csv'",
            "COPY (SELECT 1) TO '{root}/definitions.py' (FORMAT csv, USE_TMP_FILE false)",
            "ATTACH '{root}/data/new.db'",
            "ATTACH '{root}/data/registry.db' (TYPE sqlite)",
            "EXPORT DATABASE '{root}/data/new'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET enable_external_access = true",
            "SET lock_configuration = false",
            "SET allowed_paths = ['{root}/.env']",
            "SET TimeZone = 'Europe/Paris'",
            "SET python_enable_replacements = true",
            "CALL enable_logging(storage := 'file', storage_path := '{root}/log')",
            "PRAGMA enable_profiling",
        ],
    )
    def test_it_writes_and_changes_nothing(self, cursor, repository, statement):
        with pytest.raises(duckdb.Error):
            cursor.execute("CREATE TABLE IF NOT EXISTS t AS SELECT 1; " + statement.format(root=repository)).fetchall()

    def test_the_store_itself_fetches_nothing_and_takes_no_settings(self, store):
        for statement in ("FROM 'http://127.0.0.1:1/x.csv'", "FROM 's3://b/x.csv'", "LOAD httpfs", "SET threads = 1"):
            with store._engine.cursor() as cursor, pytest.raises(duckdb.Error, match="disabled|locked"):
                cursor.execute(statement)


@pytest.mark.parametrize("around", [a for a in PLACES if "read_csv" not in a])
def test_what_duckdb_writes_of_a_tree_gives_the_same_rows(repository, around):
    text = around.format("upper('2024-01-01 it''s')")
    with duckdb.connect() as alone:
        query = reading_query(alone, text, "Q", ReadableFiles(repository), is_embedded=True)
        try:
            expected = rows_in_any_order(alone.sql(text))
        except duckdb.Error as error:
            with pytest.raises(type(error)):
                alone.sql(query.sql).to_arrow_table()
        else:
            assert rows_in_any_order(alone.sql(query.sql)) == expected
