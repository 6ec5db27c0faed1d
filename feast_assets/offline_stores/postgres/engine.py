"""Sessions of a Postgres server by ADBC, which gives and takes Arrow through binary COPY."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted here

from __future__ import annotations

import contextlib
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.errors import InputError, StoreUnavailableError, printable
from feast_assets.offline_stores.sql.dialect import POSTGRES
from feast_assets.offline_stores.sql.engine import ANY_SCALE, SqlEngine, SqlEngineError
from feast_assets.types.arrow import cast_column
from feast_assets.types.arrow_casts import is_binary, is_list
from feast_assets.types.feast_type import Json, Uuid

if TYPE_CHECKING:
    from sqlglot import exp

    from feast_assets.offline_stores.postgres.config import PostgresOfflineStoreConfig

_SETTINGS = {"timezone": "UTC", "datestyle": "ISO", "standard_conforming_strings": "on", "extra_float_digits": "1"}

OLDEST_VERSION = 140_000
"""The first version that can hash whole rows."""

_UNREACHABLE = ("08", "57P", "53")
"""How SQLSTATEs begin of a server that is not to be reached, shuts down, or lacks memory or space."""

_MISSING, _CANCELLED = "42P01", "57014"

_KNOWN = frozenset(
    (
        *("bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "bpchar", "char", "name", "bytea"),
        *("date", "timestamp", "timestamptz", "json", "jsonb", "uuid", "time", "interval"),
    )
)
"""Types, by their names in the catalog, that the driver carries as Arrow types that mean the same."""


class PostgresConnections:
    """The connections of a store; those that are not in use are kept for the next call.

    Args:
        config: how to connect.
    """

    def __init__(self, config: PostgresOfflineStoreConfig):
        self._config = config
        self._lock = threading.Lock()
        self._idle: list[adbc.Connection] = []
        self._abandoned: list[adbc.Connection] = []
        self._pid = os.getpid()
        weakref.finalize(self, _close_all, self._idle, self._pid)

    def session(self) -> PostgresEngine:
        """Returns a session of its own.

        Raises:
            StoreUnavailableError: the server cannot be reached, or refuses the login.
        """
        while (connection := self._taken()) is not None:
            try:
                return PostgresEngine(connection, self._give_back)
            except (SqlEngineError, StoreUnavailableError):
                # The server has closed it meanwhile.
                _close(connection)
        return PostgresEngine(self._opened(), self._give_back)

    def _taken(self) -> adbc.Connection | None:
        with self._lock:
            if self._pid != os.getpid():
                # A forked process must not use its parent's connections, nor close them.
                self._abandoned += self._idle
                self._idle, self._pid = [], os.getpid()
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: adbc.Connection) -> None:
        with self._lock:
            if self._pid == os.getpid() and len(self._idle) < self._config.max_conn:
                self._idle.append(connection)
                return
        _close(connection)

    def _opened(self) -> adbc.Connection:
        config = self._config
        try:
            connection = adbc.connect(config.uri(), autocommit=True)
        except adbc_driver_manager.Error as error:
            raise StoreUnavailableError(
                f"The Postgres server {config.display_name} cannot be used: {_text(error)}"
            ) from error
        settings = {**_SETTINGS, "search_path": _quoted(config.db_schema)}
        calls = ", ".join(f"set_config('{name}', {_literal(value)}, false)" for name, value in settings.items())
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT current_setting('server_version_num')::int, {calls}")
            (version, *_) = cursor.fetchone()
        if version < OLDEST_VERSION:
            _close(connection)
            raise StoreUnavailableError(
                f"The Postgres server {config.host}:{config.port} is of version {version // 10_000}; the offline store "
                f"needs {OLDEST_VERSION // 10_000} or newer."
            )
        return connection


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
            self._execute(f"SET LOCAL ROLE {_quoted(role)}")

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
            raise _translated(error) from error

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                yield from reader
            except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
                cursor.close()
                self._undo()
                raise _translated(error) from error
            finally:
                cursor.close()
            self._execute("RELEASE SAVEPOINT query")

        return pa.RecordBatchReader.from_batches(reader.schema, batches())

    def read(self, sql: str) -> pa.Table:
        return plain_values(super().read(sql))

    def columns(self, sql: str) -> pa.Schema:
        return pa.schema([_described(column) for column in super().columns(sql)])

    @contextmanager
    def stage(self, rows: pa.Table) -> Iterator[str]:
        name = f"feast_assets_{uuid.uuid4().hex}"
        self._ingest(name, rows.to_reader())
        yield name
        # After an error the transaction is rolled back, and the table with it.
        self._execute(f"DROP TABLE {_quoted(name)}")

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
            types = {column.name: _sql_type(column.type) for column in rows.schema}
            columns = ", ".join(f"{_quoted(name)} {kind}" for name, kind in types.items())
            self._execute(f"CREATE TABLE IF NOT EXISTS {target} ({columns})")
        if instead_of is not None or once_by is not None:
            # Two that replace, or look for, the same rows at once would both insert.
            self._execute(f"LOCK TABLE {target} IN SHARE ROW EXCLUSIVE MODE")
        if instead_of is not None:
            self._execute(f"DELETE FROM {target} WHERE {instead_of.sql(dialect='postgres')}")
        with self._typed(rows, types) as query:
            new = query if once_by is None else _not_in(query, target, rows.schema.names, types, once_by)
            names = ", ".join(map(_quoted, rows.schema.names))
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
        values = ", ".join(f"CAST({_quoted(n)} AS {types[n]}) AS {_quoted(n)}" for n in rows.schema.names)
        yield f"SELECT {values} FROM {_quoted(staged)}"
        self._execute(f"DROP TABLE {_quoted(staged)}")

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            _run(connection, "ROLLBACK")
        except (SqlEngineError, StoreUnavailableError):
            _close(connection)
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
        _run(self._live(), sql)

    def _undo(self) -> None:
        with contextlib.suppress(SqlEngineError, StoreUnavailableError):
            self._execute("ROLLBACK TO SAVEPOINT query")

    def _types(self, target: str) -> dict[str, str]:
        """Returns the SQL types of a table's columns; none where it is not there."""
        found = self.query(
            "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute "
            f"WHERE attrelid = to_regclass({_literal(target)}) AND attnum > 0 AND NOT attisdropped"
        ).read_all()
        return dict(zip(found["attname"].to_pylist(), found["type"].to_pylist(), strict=True))

    def _ingest(self, name: str, rows: pa.RecordBatchReader) -> None:
        """Copies rows to a new temporary table."""
        errors: list[BaseException] = []
        with self._live().cursor() as cursor:
            try:
                cursor.adbc_ingest(name, _carried(rows, errors), mode="create", temporary=True)
            except BaseException as error:
                raise (errors[0] if errors else _translated(error)) from error


def _not_in(query: str, target: str, names: Sequence[str], types: Mapping[str, str], by: str) -> str:
    """Returns the query of those rows of another of which a table has none that is equal in all columns."""

    def same(name: str) -> str:
        column = _quoted(name)
        if name == by:
            # Nulls aside, so that the two sides can be joined by it.
            return f"t.{column} = s.{column}"
        # Values of JSON have no equality.
        as_text = "::text" if types[name].startswith("json") else ""
        return f"t.{column}{as_text} IS NOT DISTINCT FROM s.{column}{as_text}"

    listed = ", ".join(map(_quoted, names))
    condition = " AND ".join(map(same, names))
    return f"SELECT {listed} FROM ({query}) AS s WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {condition})"


def _run(connection: adbc.Connection, sql: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    except adbc_driver_manager.Error as error:
        raise _translated(error) from error


def _close_all(connections: list[adbc.Connection], pid: int) -> None:
    if os.getpid() == pid:
        for connection in connections:
            _close(connection)


def _close(connection: adbc.Connection) -> None:
    with contextlib.suppress(adbc_driver_manager.Error):
        connection.close()


def _carried(rows: pa.RecordBatchReader, errors: list[BaseException]) -> pa.RecordBatchReader:
    """Returns rows in types that the driver takes; structs, maps and lists of lists become the text of their JSON.

    Decimals become text too, as the driver would leave out their last zeros.

    Args:
        errors: an error of the reader is added to it, as the driver keeps only its text.
    """
    nested = [i for i, column in enumerate(rows.schema) if _is_nested(column.type)]
    decimals = [i for i, column in enumerate(rows.schema) if pa.types.is_decimal(column.type)]
    schema = rows.schema
    for i in (*nested, *decimals):
        schema = schema.set(i, pa.field(schema.field(i).name, pa.string()))

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in rows:
                columns = list(batch.columns)
                for i in nested:
                    columns[i] = cast_column(columns[i], Json, what=f"Column {schema.field(i).name!r}")
                for i in decimals:
                    columns[i] = columns[i].cast(pa.string())
                yield pa.record_batch(columns, schema=schema)
        except BaseException as error:
            errors.append(error)
            raise

    return pa.RecordBatchReader.from_batches(schema, batches())


def _sql_type(kind: pa.DataType) -> str:
    """Returns the type of a column of a new table."""
    is_ = pa.types
    if is_list(kind) and not _is_nested(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if _is_nested(kind):
        return "JSONB"
    if is_.is_decimal(kind):
        return f"NUMERIC({kind.precision}, {kind.scale})"
    if is_.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz is None else "TIMESTAMPTZ"
    if is_.is_integer(kind):
        return "SMALLINT" if kind.bit_width < 16 else {16: "SMALLINT", 32: "INTEGER"}.get(kind.bit_width, "BIGINT")
    if is_.is_floating(kind):
        return "DOUBLE PRECISION" if is_.is_float64(kind) else "REAL"
    if is_.is_boolean(kind) or is_.is_date(kind):
        return "BOOLEAN" if is_.is_boolean(kind) else "DATE"
    return "BYTEA" if is_binary(kind) else "TEXT"


def _is_nested(kind: pa.DataType) -> bool:
    if is_list(kind):
        return is_list(kind.value_type) or _is_nested(kind.value_type)
    return bool(pa.types.is_struct(kind) or pa.types.is_map(kind))


def _described(column: pa.Field) -> pa.Field:
    """Returns a column of a result as the plan sees it: decimals as such, types unknown to Arrow as their text."""
    metadata = column.metadata or {}
    name = metadata.get(b"POSTGRESQL:type", b"").decode()
    kind: pa.DataType = column.type
    if is_list(kind):
        return pa.field(column.name, pa.list_(_described(kind.value_field).type))
    if name == "numeric":
        modifier = int(metadata.get(b"POSTGRESQL:typmod", b"-1"))
        return pa.field(column.name, _decimal(modifier), metadata=ANY_SCALE if modifier < 4 else None)
    return pa.field(column.name, kind if name in _KNOWN else pa.string())


def _decimal(modifier: int) -> pa.DataType:
    """Returns the type of a numeric column; without a declared precision, of one that is taken for wide enough."""
    if modifier < 4:
        return pa.decimal128(38, 18)
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    scale = scale - 2048 if scale >= 1024 else scale
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(min(precision, 76), scale)


def plain_values(table: pa.Table) -> pa.Table:
    """Returns a result with JSON and UUIDs as text, and decimals as such, or as text where one is not finite.

    Raises:
        InputError: a column is of another of Postgres' own types.
    """
    columns = []
    for name_of_column, column in zip(table.column_names, table.columns, strict=True):
        name = column.type.extension_name if isinstance(column.type, pa.BaseExtensionType) else ""
        kind = column.type
        if name == "arrow.opaque" and kind.type_name != "numeric":
            raise InputError(
                f"Column {name_of_column!r} is of a type of Postgres' own; cast it to text in the query, by "
                f'CAST("{name_of_column}" AS TEXT).'
            )
        if name == "arrow.uuid":
            column = pa.chunked_array([cast_column(chunk, Uuid, what="A UUID") for chunk in column.chunks], pa.string())
        elif name:
            column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        columns.append(_decimals(column) if getattr(kind, "type_name", "") == "numeric" else column)
    return pa.table(columns, names=table.column_names)


def _decimals(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    fractions = pc.replace_substring_regex(texts, r"^[^.]*\.?", "")
    scale = pc.max(pc.utf8_length(fractions)).as_py() or 0
    try:
        return texts.cast(pa.decimal256(76, scale)).cast(pa.decimal128(38, scale))
    except pa.ArrowException:
        return texts


def _translated(error: BaseException) -> BaseException:
    """Returns the error to raise for one of the driver; others are returned as they are."""
    if not isinstance(error, (adbc_driver_manager.Error, pa.ArrowException, OSError)):
        return error
    # While rows are read, there is only a text.
    state = getattr(error, "sqlstate", None) or ""
    text = _text(error)
    if state.startswith(_UNREACHABLE) or ("connection" in text and not state):
        return StoreUnavailableError(f"The Postgres server cannot be used: {text}")
    is_timeout = state == _CANCELLED or "statement timeout" in text
    return SqlEngineError(text, is_missing=state == _MISSING, is_timeout=is_timeout)


def _text(error: BaseException) -> str:
    """Returns what the server says, without the statement."""
    details = dict(getattr(error, "details", None) or ())
    message = details.get(b"PG_DIAG_MESSAGE_PRIMARY")
    if message is not None:
        return printable(message.decode(errors="replace"))
    text = str(error).split("Query was:")[0].split("\nLINE ")[0]
    return printable(text.partition("ERROR:")[2] or text)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
