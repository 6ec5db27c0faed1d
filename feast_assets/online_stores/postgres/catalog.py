"""Which tables a schema has: a table ``feast_assets_tables`` with the identity of each, and the number of its mark.

It is in the schema of the rows, so a backup that brings back earlier rows brings back their numbers too. Where the
format of the rows is not 1, the table's comment says so: ``feast-assets format 2``.
"""

# ruff: noqa: S608 - what is put into statements are quoted names

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

from psycopg import Connection
from psycopg.errors import UndefinedTable
from psycopg.rows import TupleRow

from feast_assets.online_stores.base import LARGEST_NUMBER, NEVER_ADVANCED, Mark
from feast_assets.online_stores.postgres.statements import TableStatements, literal, quoted
from feast_assets.stored_formats import POSTGRES_ROWS

_NO_MARK = Mark("", 0)
_FORMAT = re.compile(r"feast-assets format (\d+)")
# Postgres does not create or drop a name twice at the same time; any number that nobody else takes for such a lock.
_LOCK = 7_305_811_064_142_274


class TableCatalog:
    """The catalog of one schema. Its methods run on a connection that is in autocommit mode.

    Args:
        schema: its name.

    Attributes:
        format_query: asks for the text that `check_format` takes.
    """

    def __init__(self, schema: str):
        self._schema = schema
        self._relation = f"{quoted(schema)}.feast_assets_tables"
        self.format_query = f"SELECT obj_description(to_regclass({literal(self._relation)}), 'pg_class')"
        # A table that others have dropped is not there, whatever the catalog says.
        self._exists = f"to_regclass({literal(quoted(schema) + '.')} || quote_ident(name)) IS NOT NULL"

    def check_format(self, comment: str | None, server: str) -> None:
        """Checks that this version reads the rows of the schema.

        Raises:
            StoredFormatError: a newer version of this package wrote them.
        """
        said = _FORMAT.fullmatch(comment or "")
        POSTGRES_ROWS.check(said[1] if said else 1, f"The online store in Postgres at {server}")

    def marks(self, connection: Connection[TupleRow], tables: Sequence[TableStatements]) -> list[Mark]:
        """Returns the marks of tables, in order."""
        sql = f"SELECT name, identity, number FROM {self._relation} WHERE name = ANY($1) AND {self._exists}"
        try:
            rows = connection.execute(sql, [[table.name for table in tables]]).fetchall()
        except UndefinedTable:
            rows = []
        marks = {name: _mark(identity, number) for name, identity, number in rows}
        return [marks.get(table.name, _NO_MARK) for table in tables]

    def advance(self, connection: Connection[TupleRow], table: TableStatements, expected: int, new: int) -> Mark:
        """Sets a table's number if it is the expected one; returns the mark as it is then."""
        number = f"CASE WHEN number BETWEEN 1 AND {LARGEST_NUMBER} THEN number ELSE 0 END"
        sql = (
            f"UPDATE {self._relation} SET number = CASE WHEN {number} = $2 THEN $3 ELSE number END "
            f"WHERE name = $1 AND {self._exists} RETURNING identity, number"
        )
        try:
            row = connection.execute(sql, [table.name, expected, new]).fetchone()
        except UndefinedTable:
            return _NO_MARK
        return _NO_MARK if row is None else _mark(*row)

    def set_up(self, connection: Connection[TupleRow], tables: Sequence[TableStatements]) -> None:
        """Creates tables and draws their identities, each where it is missing; all or none."""
        with connection.transaction():
            self._lock(connection)
            # Not IF NOT EXISTS alone: that takes the right to create schemas even where nothing is created.
            if not _first_value(connection, "SELECT to_regnamespace($1)::oid", quoted(self._schema)):
                connection.execute(f"CREATE SCHEMA {quoted(self._schema)}")
            if not self._is_there(connection):
                columns = "name text PRIMARY KEY, identity text NOT NULL, number bigint NOT NULL"
                connection.execute(f"CREATE TABLE {self._relation} ({columns})")
            for table, mark in zip(tables, self.marks(connection, tables), strict=True):
                if not mark.identity:
                    connection.execute(table.create)
                    # Replaces the identity of a table that others have dropped.
                    connection.execute(
                        f"INSERT INTO {self._relation} VALUES ($1, $2, $3) "
                        "ON CONFLICT (name) DO UPDATE SET identity = excluded.identity, number = excluded.number",
                        [table.name, uuid.uuid4().hex, NEVER_ADVANCED],
                    )

    def drop(self, connection: Connection[TupleRow], tables: Sequence[TableStatements]) -> None:
        """Removes tables, their identities and their marks; all or none."""
        with connection.transaction():
            self._lock(connection)
            for table in tables:
                connection.execute(table.drop)
            if self._is_there(connection):
                names = [table.name for table in tables]
                connection.execute(f"DELETE FROM {self._relation} WHERE name = ANY($1)", [names])

    def restart_token(self, connection: Connection[TupleRow]) -> str:
        """Returns a change token: another one after the server restarts, or the database or catalog is replaced."""
        database = "(SELECT oid FROM pg_database WHERE datname = current_database())"
        started = "extract(epoch FROM pg_postmaster_start_time())"
        sql = f"SELECT concat_ws('/', {started}, {database}, to_regclass($1)::oid)"
        return str(_first_value(connection, sql, self._relation))

    def _is_there(self, connection: Connection[TupleRow]) -> bool:
        return bool(_first_value(connection, "SELECT to_regclass($1)::oid", self._relation))

    def _lock(self, connection: Connection[TupleRow]) -> None:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, $2))", [self._schema, _LOCK])


def _mark(identity: str, number: int) -> Mark:
    return Mark(identity, number if 0 < number <= LARGEST_NUMBER else 0)


def _first_value(connection: Connection[TupleRow], sql: str, parameter: object) -> object:
    row = connection.execute(sql, [parameter]).fetchone()
    return None if row is None else row[0]
