"""Sessions of a Postgres server by ADBC, which gives and takes Arrow through binary COPY."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted here

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from feast_assets.errors import StoreUnavailableError
from feast_assets.offline_stores.postgres.driver import close, literal, quoted, run, translated
from feast_assets.offline_stores.postgres.values import carried, described, plain_values, sql_type
from feast_assets.offline_stores.sql.dialect import POSTGRES
from feast_assets.offline_stores.sql.engine import SqlEngine, SqlEngineError

if TYPE_CHECKING:
    from sqlglot import exp


class PostgresEngine(SqlEngine):
    """One transaction of a Postgres server.

    It is never committed, except for what is appended. So what was staged is gone with it, however it ends. All queries
    see the tables as of the first one.

    Args:
        connection: by which nothing else is done meanwhile.
        give_back: takes the connection where it can be used again.

    Raises:
        SqlEngineError, StoreUnavailableError: the connection is of no use any more.
    """

    dialect = POSTGRES

    def __init__(self, connection: adbc.Connection, give_back: Callable[[adbc.Connection], None]):
        self._connection: adbc.Connection | None = connection
        self._give_back = give_back
        self._begin()

    def _begin(self) -> None:
        self._execute("BEGIN ISOLATION LEVEL REPEATABLE READ")

    def restrict(self, seconds: float, role: str | None) -> None:
        """Makes the rest of the session one that only reads, with a limit of time.

        Args:
            role: as whom; None for the user.
        """
        self._execute("SET TRANSACTION READ ONLY")
        self._execute(f"SET LOCAL statement_timeout = {max(int(seconds * 1000), 1)}")
        if role is not None:
            self._execute(f"SET LOCAL ROLE {quoted(role)}")

    def query(self, sql: str) -> pa.RecordBatchReader:
        # A savepoint, as a temporary table cannot be made in a transaction that only reads.
        self._execute("SAVEPOINT query")
        self._execute("SET TRANSACTION READ ONLY")
        cursor = self._live().cursor()
        try:
            cursor.execute(sql)
            reader = cursor.fetch_record_batch()
        except BaseException as error:
            cursor.close()
            self._undo()
            raise translated(error) from error

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                yield from reader
            except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
                cursor.close()
                self._undo()
                raise translated(error) from error
            finally:
                cursor.close()
            self._execute("RELEASE SAVEPOINT query")

        return pa.RecordBatchReader.from_batches(reader.schema, batches())

    def read(self, sql: str) -> pa.Table:
        return plain_values(super().read(sql))

    def columns(self, sql: str) -> pa.Schema:
        return pa.schema([described(column) for column in super().columns(sql)])

    @contextmanager
    def stage(self, rows: pa.Table) -> Iterator[str]:
        name = f"feast_assets_{uuid.uuid4().hex}"
        self._ingest(name, rows.to_reader())
        yield name
        # After an error the transaction is rolled back, and the table with it.
        self._execute(f"DROP TABLE {quoted(name)}")

    def append(
        self,
        table: exp.Table,
        rows: pa.RecordBatchReader,
        *,
        instead_of: exp.Expr | None = None,
        once_by: str | None = None,
    ) -> None:
        """Appends rows, as in `SqlEngine`.

        Args:
            once_by: a time column without nulls; rows of which the table has one that is equal in all columns are then
                left out.
        """
        self._execute("ROLLBACK")
        self._execute("BEGIN")
        target = table.sql(dialect="postgres")
        types = self._types(target)
        if not types:
            types = {column.name: sql_type(column.type) for column in rows.schema}
            columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in types.items())
            self._execute(f"CREATE TABLE IF NOT EXISTS {target} ({columns})")
        if instead_of is not None or once_by is not None:
            # Two that replace, or look for, the same rows at once would both insert.
            self._execute(f"LOCK TABLE {target} IN SHARE ROW EXCLUSIVE MODE")
        if instead_of is not None:
            self._execute(f"DELETE FROM {target} WHERE {instead_of.sql(dialect='postgres')}")
        with self._typed(rows, types) as query:
            new = query if once_by is None else _not_in(query, target, rows.schema.names, types, once_by)
            names = ", ".join(map(quoted, rows.schema.names))
            self._execute(f"INSERT INTO {target} ({names}) {new}")
        self._execute("COMMIT")
        self._begin()

    def holds(self, table: exp.Table, rows: pa.RecordBatchReader, by: str) -> bool:
        """Says whether `append` with ``once_by`` would leave out all rows; false where the table is not there."""
        target = table.sql(dialect="postgres")
        types = self._types(target)
        if not types:
            return False
        with self._typed(rows, types) as query:
            new = _not_in(query, target, rows.schema.names, types, by)
            return bool(self.query(f"{new} LIMIT 1").read_all().num_rows == 0)

    @contextmanager
    def _typed(self, rows: pa.RecordBatchReader, types: Mapping[str, str]) -> Iterator[str]:
        """Copies rows to a temporary table, and gives the query of them in some types; binary COPY converts nothing."""
        staged = f"feast_assets_{uuid.uuid4().hex}"
        self._ingest(staged, rows)
        values = ", ".join(f"CAST({quoted(n)} AS {types[n]}) AS {quoted(n)}" for n in rows.schema.names)
        yield f"SELECT {values} FROM {quoted(staged)}"
        self._execute(f"DROP TABLE {quoted(staged)}")

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            run(connection, "ROLLBACK")
        except (SqlEngineError, StoreUnavailableError):
            close(connection)
        else:
            self._give_back(connection)

    def __del__(self) -> None:
        # A reader that nobody begins to read never comes to its end.
        if getattr(self, "_connection", None) is not None:
            self.close()

    def _live(self) -> adbc.Connection:
        if self._connection is None:
            raise SqlEngineError("the session is closed")
        return self._connection

    def _execute(self, sql: str) -> None:
        run(self._live(), sql)

    def _undo(self) -> None:
        with contextlib.suppress(SqlEngineError, StoreUnavailableError):
            self._execute("ROLLBACK TO SAVEPOINT query")

    def _types(self, target: str) -> dict[str, str]:
        """Returns the SQL types of a table's columns; none where it is not there."""
        columns = self.query(
            "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute "
            f"WHERE attrelid = to_regclass({literal(target)}) AND attnum > 0 AND NOT attisdropped"
        ).read_all()
        return dict(zip(columns["attname"].to_pylist(), columns["type"].to_pylist(), strict=True))

    def _ingest(self, name: str, rows: pa.RecordBatchReader) -> None:
        """Copies rows to a new temporary table."""
        errors: list[BaseException] = []
        with self._live().cursor() as cursor:
            try:
                cursor.adbc_ingest(name, carried(rows, errors), mode="create", temporary=True)
            except BaseException as error:
                raise (errors[0] if errors else translated(error)) from error


def _not_in(query: str, target: str, names: Sequence[str], types: Mapping[str, str], by: str) -> str:
    """Returns the query of those rows of another of which a table has none that is equal in all columns."""

    def same(name: str) -> str:
        column = quoted(name)
        if name == by:
            # Nulls aside, so that the two sides can be joined by it.
            return f"t.{column} = s.{column}"
        # Values of JSON have no equality.
        as_text = "::text" if types[name].startswith("json") else ""
        return f"t.{column}{as_text} IS NOT DISTINCT FROM s.{column}{as_text}"

    listed = ", ".join(map(quoted, names))
    condition = " AND ".join(map(same, names))
    return f"SELECT {listed} FROM ({query}) AS s WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {condition})"
