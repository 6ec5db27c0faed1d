"""The statements of the store, each as text with numbered parameters.

A table of the store is a table of the schema with the columns ``key``, ``event_ts``, ``created_ts`` (UTC microseconds),
``version`` and ``payload``.
"""

# ruff: noqa: S608 - what is put into statements are quoted names and constants

from __future__ import annotations

import hashlib
import string
from functools import lru_cache

_LONGEST_NAME = 63  # bytes; Postgres cuts longer ones
_PLAIN_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + "_-.:")
_ROW = "key, event_ts, created_ts, version, payload"
_NEW_ROWS = "unnest($1::bytea[], $2::int8[], $3::int8[], $4::int8[], $5::bytea[])"
_SET_NEW = "event_ts = {0}.event_ts, created_ts = {0}.created_ts, version = {0}.version, payload = {0}.payload"
_IS_NEWER = (
    "({0}.event_ts, {0}.created_ts, {0}.version, {0}.payload) > "
    "(old.event_ts, old.created_ts, old.version, old.payload)"
)


def quoted(name: str) -> str:
    """Returns an identifier as it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Returns a text as a constant of a statement; for names that no parameter can stand for."""
    return "'" + text.replace("'", "''") + "'"


def relation_name(table: str) -> str:
    """Returns the name in Postgres of a table of the store: another one for each, whatever its letters and length."""
    escaped = "".join(
        c if c in _PLAIN_CHARACTERS else "%" + c.encode("utf-8", "surrogatepass").hex() + "%" for c in table
    )
    name = f"fa_{escaped}"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(table.encode("utf-8", "surrogatepass")).hexdigest()
    return f"fa#{digest[:32]}.{escaped}"[:_LONGEST_NAME]


class TableStatements:
    """The statements about one table of the store. Make it by `of_table`.

    Attributes:
        name: the table's name in Postgres.
        relation: the name with its schema, quoted.
        create, drop: take nothing.
        put: takes arrays of the columns of rows; gives a count of rows.
        put_existing: takes the same; gives those keys that were written, and those that the table lacks, apart.
        replace_held: takes the same of the rows that take the place of others, and arrays of keys and stamps of these
            others; gives the number of rows replaced and removed.
        first_scan, next_scan: take a key, both ends of the time, a version or null, and how many rows at most; give
            rows without payloads in order of their keys, from the key on or after it.
        sample: takes how many pages to read, a number that chooses them, the same again, and how many keys at most.
    """

    def __init__(self, schema: str, table: str):
        self.name = relation_name(table)
        self.relation = f"{quoted(schema)}.{quoted(self.name)}"
        # Room in each page, so that a row's next version goes beside it and the index stays as it is.
        self.create = (
            f"CREATE TABLE IF NOT EXISTS {self.relation} (key bytea PRIMARY KEY, event_ts bigint NOT NULL, "
            "created_ts bigint NOT NULL, version bigint NOT NULL, payload bytea NOT NULL) WITH (fillfactor = 85)"
        )
        self.drop = f"DROP TABLE IF EXISTS {self.relation}"
        self.put = (
            f"INSERT INTO {self.relation} AS old ({_ROW}) SELECT * FROM {_NEW_ROWS} ON CONFLICT (key) DO UPDATE SET "
            f"{_SET_NEW.format('excluded')} WHERE {_IS_NEWER.format('excluded')}"
        )
        self.put_existing = (
            f"WITH new AS MATERIALIZED (SELECT * FROM {_NEW_ROWS} AS new ({_ROW})), "
            f"held AS MATERIALIZED (SELECT old.key FROM {self.relation} AS old JOIN new USING (key) "
            "ORDER BY old.key FOR UPDATE OF old), "
            f"written AS (UPDATE {self.relation} AS old SET {_SET_NEW.format('new')} FROM new JOIN held USING (key) "
            f"WHERE old.key = new.key AND {_IS_NEWER.format('new')} RETURNING old.key) "
            "SELECT new.key, written.key IS NOT NULL FROM new LEFT JOIN held USING (key) LEFT JOIN written USING (key) "
            "WHERE written.key IS NOT NULL OR held.key IS NULL"
        )
        self.replace_held = (
            f"WITH held AS MATERIALIZED (SELECT old.key FROM {self.relation} AS old "
            "JOIN unnest($6::bytea[], $7::int8[], $8::int8[], $9::int8[]) AS told (key, event_ts, created_ts, version) "
            "USING (key, event_ts, created_ts, version) ORDER BY old.key FOR UPDATE OF old), "
            f"new AS MATERIALIZED (SELECT new.* FROM {_NEW_ROWS} AS new ({_ROW}) JOIN held USING (key)), "
            f"replaced AS (UPDATE {self.relation} AS old SET {_SET_NEW.format('new')} FROM new "
            "WHERE old.key = new.key RETURNING 1), "
            f"removed AS (DELETE FROM {self.relation} AS old USING held WHERE old.key = held.key "
            "AND NOT EXISTS (SELECT 1 FROM new WHERE new.key = old.key) RETURNING 1) "
            "SELECT (SELECT count(*) FROM replaced) + (SELECT count(*) FROM removed)"
        )
        scan = f"SELECT key, event_ts, created_ts, version FROM {self.relation} WHERE key"
        of_time = "AND event_ts >= $2 AND event_ts < $3 AND ($4::int8 IS NULL OR version < $4) ORDER BY key LIMIT $5"
        self.first_scan, self.next_scan = f"{scan} >= $1 {of_time}", f"{scan} > $1 {of_time}"
        pages = f"greatest(1, pg_relation_size({literal(self.relation)}::regclass) / 8192.0)"
        self.sample = (
            f"SELECT key FROM {self.relation} TABLESAMPLE SYSTEM (least(100, 100.0 * $1::float8 / {pages})) "
            "REPEATABLE ($2::float8) ORDER BY md5(key || int8send($3::int8)) LIMIT $4"
        )


@lru_cache(maxsize=1024)
def of_table(schema: str, table: str) -> TableStatements:
    """Returns the statements about a table."""
    return TableStatements(schema, table)


@lru_cache(maxsize=1024)
def read(relations: tuple[str, ...]) -> str:
    """Returns the statement that takes an array of keys for each relation, and gives its number before each row."""
    return " UNION ALL ".join(
        f"SELECT {at}::int2, {_ROW} FROM {relation} WHERE key = ANY(${at + 1})" for at, relation in enumerate(relations)
    )
