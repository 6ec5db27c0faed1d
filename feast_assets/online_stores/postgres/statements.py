"""The statements of the store, each as text with numbered parameters.

A table of the store is a table of the schema, with the columns ``key``, ``event_ts``, ``created_ts`` (UTC microseconds)
and ``payload``.
"""

# ruff: noqa: S608 - what is put into statements are quoted names and constants

from __future__ import annotations

import hashlib
import string
from functools import lru_cache

from feast_assets.online_stores.base import HEAD_WIDTH
from feast_assets.online_stores.rows.foreign_values import FIRST_PAYLOAD_BYTE, LEAST_PAYLOAD, NEWEST_EVENT, OLDEST_EVENT

_LONGEST_NAME = 63  # bytes; Postgres cuts longer ones
_PLAIN_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + "_-.")
_HEAD = f"substring(payload FROM 1 FOR {HEAD_WIDTH})"
_IS_FOREIGN_TO_CODEC = (
    f"length(old.payload) < {LEAST_PAYLOAD} OR substring(old.payload FROM 1 FOR 1) <> '\\x{FIRST_PAYLOAD_BYTE:02x}' "
    f"OR old.event_ts NOT BETWEEN {OLDEST_EVENT} AND {NEWEST_EVENT}"
)
# A setting of the transaction collects the keys whose values cannot be rows and are written over.
_NOTE_OVERWRITTEN = (
    "set_config('feast_assets.overwritten', concat(current_setting('feast_assets.overwritten', true), "
    "encode(old.key, 'hex'), ' '), true) IS NOT NULL"
)
_NEW_ROWS = "unnest($1::bytea[], $2::int8[], $3::int8[], $4::bytea[])"
_COLUMNS = "key, event_ts, created_ts, payload"
_IS_NEWER = "(new.event_ts, new.created_ts, new.payload) > (old.event_ts, old.created_ts, old.payload)"
_SET_NEW = "event_ts = new.event_ts, created_ts = new.created_ts, payload = new.payload"


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
    """The statements about one table of the store. Make it by `of_table`."""

    def __init__(self, schema: str, table: str):
        self.name = relation_name(table)
        self.relation = f"{quoted(schema)}.{quoted(self.name)}"
        self._read_columns = f"key, event_ts, created_ts, payload FROM {self.relation}"

    @property
    def create(self) -> str:
        # Room in each page, so that a row's next version goes beside it and the index stays as it is.
        return (
            f"CREATE TABLE IF NOT EXISTS {self.relation} (key bytea PRIMARY KEY, event_ts bigint NOT NULL, "
            "created_ts bigint NOT NULL, payload bytea NOT NULL) WITH (fillfactor = 85)"
        )

    @property
    def drop(self) -> str:
        return f"DROP TABLE IF EXISTS {self.relation}"

    def put(self, *, of_codec: bool) -> str:
        """Takes four arrays, and whether keys are asked for; gives the number of rows written, the keys, and notes."""
        foreign = f" OR (({_IS_FOREIGN_TO_CODEC}) AND {_NOTE_OVERWRITTEN})" if of_codec else ""
        is_newer = _IS_NEWER.replace("new.", "excluded.")
        return (
            f"WITH written AS (INSERT INTO {self.relation} AS old ({_COLUMNS}) SELECT * FROM {_NEW_ROWS} "
            f"ON CONFLICT (key) DO UPDATE SET {_SET_NEW.replace('new.', 'excluded.')} WHERE ({is_newer}){foreign} "
            "RETURNING old.key) SELECT count(*), CASE WHEN $5 THEN array_agg(key) END, "
            "current_setting('feast_assets.overwritten', true) FROM written"
        )

    def replace_older(self, *, of_codec: bool) -> str:
        """Takes four arrays; gives each key with whether it was written, where it was or nothing is under it."""
        is_row = f"WHERE NOT ({_IS_FOREIGN_TO_CODEC}) " if of_codec else ""
        return (
            f"WITH new AS MATERIALIZED (SELECT * FROM {_NEW_ROWS} AS new ({_COLUMNS})), "
            f"held AS MATERIALIZED (SELECT old.key FROM {self.relation} AS old JOIN new USING (key) {is_row}"
            "ORDER BY old.key FOR UPDATE OF old), "
            f"written AS (UPDATE {self.relation} AS old SET {_SET_NEW} FROM new JOIN held USING (key) "
            f"WHERE old.key = new.key AND {_IS_NEWER} RETURNING old.key) "
            "SELECT new.key, written.key IS NOT NULL FROM new LEFT JOIN held USING (key) LEFT JOIN written USING (key) "
            "WHERE written.key IS NOT NULL OR held.key IS NULL"
        )

    def replace_held(self) -> str:
        """Takes keys, times and heads of rows, and four arrays of those that take their places; gives one number."""
        held = _HEAD.replace("payload", "old.payload")
        return (
            "WITH told AS MATERIALIZED (SELECT * FROM unnest($5::bytea[], $6::int8[], $7::int8[], $8::bytea[]) "
            "AS told (key, event_ts, created_ts, head)), "
            f"held AS MATERIALIZED (SELECT old.key FROM {self.relation} AS old JOIN told USING (key) "
            "WHERE old.event_ts = told.event_ts AND old.created_ts = told.created_ts "
            f"AND {held} = told.head ORDER BY old.key FOR UPDATE OF old), "
            f"new AS MATERIALIZED (SELECT new.* FROM {_NEW_ROWS} AS new ({_COLUMNS}) JOIN held USING (key)), "
            f"replaced AS (UPDATE {self.relation} AS old SET {_SET_NEW} FROM new WHERE old.key = new.key RETURNING 1), "
            f"removed AS (DELETE FROM {self.relation} AS old USING held WHERE old.key = held.key "
            "AND NOT EXISTS (SELECT 1 FROM new WHERE new.key = old.key) RETURNING 1) "
            "SELECT (SELECT count(*) FROM replaced) + (SELECT count(*) FROM removed)"
        )

    def delete(self) -> str:
        return f"DELETE FROM {self.relation} WHERE key = ANY($1)"

    def scan(self, *, first: bool) -> str:
        """Takes the last key, both ends of the time, the bound of the payload, and how many rows at most."""
        # The head decides like the payload does, as the bound is not longer; a large payload need not be fetched.
        return (
            f"SELECT key, event_ts, created_ts, {_HEAD} FROM {self.relation} WHERE key {'>=' if first else '>'} $1 "
            f"AND event_ts >= $2 AND event_ts < $3 AND {_HEAD} < $4 ORDER BY key LIMIT $5"
        )

    def sample(self) -> str:
        """Takes how many pages to read, of those chosen by the number that is given next, and how many keys at most."""
        pages = f"greatest(1, pg_relation_size({literal(self.relation)}::regclass) / 8192.0)"
        return (
            f"SELECT key FROM {self.relation} TABLESAMPLE SYSTEM (least(100, 100.0 * $1::float8 / {pages})) "
            "REPEATABLE ($2::float8) ORDER BY md5(key || int8send($3::int8)) LIMIT $4"
        )


@lru_cache(maxsize=1024)
def of_table(schema: str, table: str) -> TableStatements:
    return TableStatements(schema, table)


@lru_cache(maxsize=1024)
def read(relations: tuple[str, ...]) -> str:
    """Returns the statement that takes an array of keys for each relation, and gives its number before each row."""
    return " UNION ALL ".join(
        f"SELECT {at}::int2, {_COLUMNS} FROM {relation} WHERE key = ANY(${at + 1})"
        for at, relation in enumerate(relations)
    )
