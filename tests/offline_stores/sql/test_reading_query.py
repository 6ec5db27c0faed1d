"""Queries of callers: what is refused, and that what is run means what was written."""

from __future__ import annotations

import psycopg
import pytest

from feast_assets.errors import InputError
from feast_assets.offline_stores.postgres.functions import FUNCTIONS, ReadingPostgres
from feast_assets.offline_stores.sql.reading_query import ReadingRules, reading_query

RULES = ReadingRules(
    dialect=ReadingPostgres,
    functions=FUNCTIONS,
    schema="public",
    tables={("public", "trips"), ("raw", "Rides")},
    how_to_permit="Ask.",
)


def checked(text):
    return reading_query(text, "The entity query", RULES)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be one SELECT statement"),
        (";", "must be one SELECT statement"),
        ("SELECT 1; SELECT 2", "not 2 statements"),
        ("COPY trips TO '/tmp/x'", "must be one SELECT"),
        ("EXPLAIN SELECT 1", "must be one SELECT"),
        ("SET ROLE postgres", "must be one SELECT"),
        ("DO $$ BEGIN END $$", "must be one SELECT"),
        ("INSERT INTO trips SELECT 1", "must be one SELECT"),
        ("WITH x AS (DELETE FROM trips RETURNING *) SELECT * FROM x", "uses (delete|returning)"),
        ("WITH x AS (INSERT INTO trips VALUES (1) RETURNING 1) SELECT * FROM x", "uses insert"),
        ("WITH x AS (UPDATE trips SET k = 1 RETURNING 1) SELECT * FROM x", "uses update"),
        ("WITH x AS (SELECT 1) DELETE FROM trips", "must be one SELECT"),
        ("SELECT * INTO made FROM trips", "uses into"),
        ("SELECT * FROM trips FOR UPDATE", "uses lock"),
        ("SELECT pg_read_file('/etc/passwd')", "calls the function 'pg_read_file'"),
        ("SELECT \"pg_read_file\"('/etc/passwd')", "calls the function 'pg_read_file'"),
        ("SELECT pg_catalog.pg_read_file('/etc/passwd')", "uses dot"),
        ("SELECT other.lower('x')", "uses dot"),
        ("SELECT \"Lower\"('x')", "calls the function 'Lower'"),
        ("SELECT lo_import('/etc/passwd')", "'lo_import'"),
        ("SELECT * FROM dblink('host=x', 'SELECT 1') AS t(a int)", "'dblink'"),
        ("SELECT query_to_xml('DELETE FROM trips', true, true, '')", "'query_to_xml'"),
        ("SELECT set_config('role', 'postgres', false)", "'set_config'"),
        ("SELECT current_setting('data_directory')", "'current_setting'"),
        ("SELECT nextval('s')", "'nextval'"),
        ("SELECT pg_sleep(100)", "'pg_sleep'"),
        ("SELECT repeat('x', 1000000000)", "'repeat'"),
        ("SELECT count(*) FILTER (WHERE pg_sleep(1) IS NULL) FROM trips", "'pg_sleep'"),
        ("SELECT 1 ORDER BY pg_sleep(1)", "'pg_sleep'"),
        ("SELECT sum(1) OVER (ORDER BY pg_sleep(1))", "'pg_sleep'"),
        ("SELECT * FROM ROWS FROM (pg_ls_dir('/')) AS t", "'pg_ls_dir'"),
        ("SELECT * FROM trips, LATERAL pg_ls_dir('/') AS t(a)", "'pg_ls_dir'"),
        ("SELECT lowr('x')", "Did you mean lower"),
        ("SELECT 'pg_class'::regclass", "object identifier"),
        ("SELECT CAST('x' AS my_type)", "uses the type"),
        ("SELECT 1 OPERATOR(pg_catalog.+) 2", "uses operator"),
        ("SELECT CURRENT_USER", "uses current user"),
        ("SELECT $1", "uses parameter"),
        ("SELECT :name", "uses placeholder"),
        ("SELECT E'\\\\047'", "uses byte string"),
        ("SELECT U&'\\0061'", "uses unicode string"),
        ("SELECT xmlelement(name foo)", "uses|calls"),
        ("SELECT * FROM pg_shadow", "reads 'pg_shadow'"),
        ("SELECT * FROM pg_catalog.pg_shadow", r"reads 'pg_catalog\.pg_shadow'"),
        ("SELECT * FROM information_schema.tables", "reads 'information_schema.tables'"),
        ("SELECT * FROM db.public.trips", "of another database"),
        ("SELECT * FROM tripz", "reads 'tripz'.*Did you mean 'trips'.*Ask"),
        ("SELECT * FROM rides", "reads 'rides'"),
        ("SELECT * FROM raw.rides", r"reads 'raw\.rides'.*raw\.Rides"),
        ('SELECT * FROM "Trips"', "reads 'Trips'"),
        ("TABLE secrets", "must be one SELECT"),
        # A name given by WITH means something only where it is seen.
        ("SELECT * FROM (WITH s AS (SELECT 1) SELECT * FROM s) x, s", "reads 's'"),
        ("WITH a AS (SELECT * FROM s), s AS (SELECT 1) SELECT * FROM a", "reads 's'"),
        ("WITH s AS (SELECT * FROM s) SELECT * FROM s", "reads 's'"),
        ("WITH s AS (SELECT 1) SELECT * FROM public.s", r"reads 'public\.s'"),
        ("SELECT * FROM trips TABLESAMPLE SYSTEM (1)", "uses table sample"),
        ("SELECT 1 \x00", "NUL"),
        ("SELECT '", "is not SQL that can be parsed here: Error tokenizing"),
        ("SELECT (((", r"is not SQL that can be parsed here: .* SELECT \(\(\("),
        ("SELECT FROM WHERE", "is not SQL that can be parsed here: .* SELECT FROM WHERE"),
        ("SELECT " + "(" * 200 + "1" + ")" * 200, "nested at most 100 deep"),
        ("SELECT " + "1," * 30_000 + "1", "at most 20,000 words"),
        ("SELECT '" + "x" * 200_000 + "'", "at most 131,072"),
        ("SELECT " + "NOT " * 9_000 + "true", "nested too deeply"),
    ],
)
def test_what_is_more_than_reading_is_refused(text, why):
    with pytest.raises(InputError, match=rf"^The entity query .*({why})"):
        checked(text)


@pytest.fixture(scope="module")
def connection(postgres_server):
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute("CREATE SCHEMA IF NOT EXISTS raw")
        connection.execute(
            "CREATE TABLE public.trips AS SELECT k, k % 3 AS d, 'x' || k AS s, ARRAY[k, 1] AS a, "
            "jsonb_build_object('a', k) AS j, timestamptz '2024-01-01' + k * interval '5 hours' AS at "
            "FROM generate_series(1, 20) k(k)"
        )
        connection.execute('CREATE TABLE raw."Rides" AS SELECT 1 AS k, 2 AS "User"')
        yield connection
        connection.execute('DROP TABLE public.trips, raw."Rides"')


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM trips ORDER BY k DESC LIMIT 3 OFFSET 1",
        "SELECT T.K, trips2.s FROM Trips AS T JOIN public.trips trips2 USING (k) ORDER BY 1",
        'SELECT r.k, r."User", trips.s FROM raw."Rides" r LEFT JOIN trips ON trips.k = r.k',
        "WITH a(x) AS (SELECT k FROM trips), b AS MATERIALIZED (SELECT max(x) AS m FROM a) SELECT * FROM a, b "
        "WHERE x < m",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n",
        "WITH trips AS (SELECT 7 AS k) SELECT * FROM trips",
        "(SELECT 1 AS a UNION SELECT 2) EXCEPT SELECT 2 ORDER BY a",
        "VALUES (1, 'a''b'), (2, $$it's$$)",
        "SELECT d, count(*), sum(k) FILTER (WHERE k > 5), string_agg(DISTINCT s, ',' ORDER BY s) FROM trips GROUP BY d "
        "HAVING count(*) > 1 ORDER BY d NULLS FIRST",
        "SELECT d, k, grouping(d) FROM trips GROUP BY GROUPING SETS ((d, k), (d), ()) ORDER BY 1, 2",
        "SELECT DISTINCT ON (d) d, k FROM trips ORDER BY d, k DESC",
        "SELECT k, row_number() OVER w, lag(k, 1, 0) OVER (PARTITION BY d ORDER BY k), sum(k) OVER (ORDER BY k ROWS "
        "BETWEEN 1 PRECEDING AND CURRENT ROW) FROM trips WINDOW w AS (PARTITION BY d ORDER BY k) ORDER BY k",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY k) FROM trips",
        "SELECT date_trunc('day', at), extract(epoch FROM at), at::date, at AT TIME ZONE 'Europe/Paris', to_char(at, "
        "'YYYY-MM-DD'), at + interval '1 day 2 hours', make_interval(hours => 3) FROM trips ORDER BY at",
        "SELECT j->>'a', j->'a', j #>> '{a}', j @> '{\"a\": 1}', a[1], a[1:1], array_length(a, 1), 1 = ANY(a) FROM "
        "trips ORDER BY k",
        "SELECT upper(s), substring(s FROM 1 FOR 2), trim(BOTH 'x' FROM s), position('1' IN s), s LIKE 'x1%', s ILIKE "
        "'X1%', s ~ '^x1', s ~* 'X', s NOT LIKE '%0', s SIMILAR TO 'x[0-9]', s || 'é' FROM trips ORDER BY k",
        "SELECT k / 2, k % 2, 2 ^ k, -k, k::numeric / 3, k BETWEEN 1 AND 3, k IN (1, 2), k NOT IN (SELECT 3), k & 1, "
        "k IS DISTINCT FROM 3, coalesce(NULL, k), nullif(k, 1), greatest(k, 2), round(k::numeric, 2) FROM trips "
        "ORDER BY k",
        "SELECT CASE k WHEN 1 THEN 'one' ELSE 'more' END, CASE WHEN k > 2 AND NOT d = 1 OR d IS NULL THEN 1 END, k IS "
        "NOT NULL, (SELECT max(k) FROM trips), EXISTS (SELECT 1 FROM trips t WHERE t.k = trips.d) FROM trips "
        "ORDER BY k",
        "SELECT g.i, u.v, u.n, l.x FROM generate_series(1, 3) AS g(i), unnest(ARRAY['a', 'b']) WITH ORDINALITY "
        "AS u(v, n), LATERAL (SELECT g.i * 2 AS x) AS l ORDER BY 1, 3",
        "SELECT timestamp '2024-01-01 00:00', timestamptz '2024-01-01 00:00+02', date '2024-01-01', '12:00'::time, "
        "'{1,2}'::int[], 1.5::float8, '1.50'::numeric(5, 2), 'a'::varchar(3), true, NULL",
        "SELECT k /* a ; comment */ FROM trips -- to the end\nWHERE k < 3 ORDER BY k;",
    ],
)
def test_what_is_run_means_what_was_written(connection, text):
    written, run = (connection.execute(sql).fetchall() for sql in (text, checked(text)))
    assert run == written
    assert written


def test_names_are_no_keywords_in_what_is_run(connection):
    # Unquoted, this is who is logged in.
    with pytest.raises(psycopg.errors.UndefinedColumn):
        connection.execute(checked("SELECT user FROM trips"))
    assert checked('SELECT r.k FROM raw."Rides" AS r') == 'SELECT "r"."k" FROM "raw"."Rides" AS "r"'
