"""One in-process DuckDB per store: settings, cursors, Arrow streams, and what its errors mean."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import contextlib
import errno
import glob
import os
import tempfile
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from feast_assets.errors import FeastAssetsError, InputError, StoreUnavailableError, printable
from feast_assets.offline_stores.duckdb.idle_database import IDLE, Database, Settings
from feast_assets.offline_stores.duckdb.spill_folder import make_spill_folder
from feast_assets.offline_stores.duckdb.unfit_text import UnfitText

if TYPE_CHECKING:
    from feast_assets.offline_stores.duckdb.attached_files import Attachment

    _Connection = duckdb.DuckDBPyConnection
else:
    _Connection = object

BATCH_ROWS = 131_072
"""Rows per batch of what a store returns."""


class Cursor(_Connection):
    """A connection that can read DuckDB files, which stay attached until it is closed.

    Args:
        database: of which it is one.
    """

    def __init__(self, database: Database):
        self._attachments: list[Attachment] = []
        self._database = database
        self._connection, self._number = database.open_cursor()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._detach()

    def attach(self, path: str) -> Attachment:
        """Attaches a DuckDB file, read-only, until the attachment or the cursor is closed.

        Args:
            path: absolute.

        Raises:
            OpenHereError, DatabaseHeldError, duckdb.Error: as `attach` of `attached_files`.
        """
        from feast_assets.offline_stores.duckdb.attached_files import attach

        attachment = attach(self._connection, self._database.connection, path)
        self._attachments.append(attachment)
        return attachment

    def close(self) -> None:
        """Closes the cursor, then the files that nobody else reads."""
        self._connection.close()
        self._detach()
        self._database.open_cursors.discard(self._number)

    def _detach(self) -> None:
        while self._attachments:
            self._attachments.pop().close()


class Engine:
    """A DuckDB without a file, made when it is first used.

    Each call of a store works on a cursor of its own, so calls from several threads do not meet; they share the memory
    limit.

    Args:
        root: folder that relative paths in users' SQL are resolved against.
        memory_limit: as DuckDB writes it, such as ``"4GB"``; beyond it data spills to disk.
        threads: left out, all cores.
        temp_directory: where it spills to, made when it is not there; relative to the root. Left out, the system's
            folder for temporary files.
        files: the only files that it can open, by their absolute paths; left out, all local ones.

    Settings cannot be changed afterwards. Files are never read from a network, and no extension is loaded.
    """

    def __init__(
        self,
        root: Path,
        memory_limit: str | None,
        threads: int | None,
        temp_directory: str | None,
        files: Sequence[str] | None = None,
    ):
        self._root = root
        self._memory_limit = memory_limit
        self._threads = threads
        self._temp_directory = root / (temp_directory or tempfile.gettempdir())
        self.files = None if files is None else tuple(files)
        self._lock = threading.Lock()
        self._database: Database | None = None

    def cursor(self) -> Cursor:
        """Returns a connection of its own, in UTC, whose temporary views nobody else sees. The caller closes it."""
        with self._lock:
            # A forked process must not use its parent's threads.
            if self._database is None or self._database.pid != os.getpid():
                chosen = (self._root, self._memory_limit, self._threads, self._temp_directory, self.files)
                self._database = IDLE.taken(chosen) or self._open(chosen)
                weakref.finalize(self, IDLE.give_back, self._database)
            return Cursor(self._database)

    def _open(self, chosen: Settings) -> Database:
        try:
            spill = make_spill_folder(self._temp_directory)
        except OSError as error:
            raise InputError(
                f"The offline store's temp_directory {self._temp_directory} cannot be used: {error.strerror}."
            ) from error
        settings: dict[str, Any] = {
            "autoinstall_known_extensions": "false",
            "allow_persistent_secrets": "false",
            # Users' SQL must not reach variables of whoever calls.
            "python_enable_replacements": "false",
            # Files that were replaced must be read anew.
            "enable_external_file_cache": "false",
            # Row groups read ahead, whole or in part, cost page faults and memory. Files are local here; the operating
            # system reads ahead.
            "disable_parquet_prefetching": "true",
            "read_ahead_depth": "0",
            "file_search_path": str(self._root),
            # Databases that share a folder would overwrite each other's spilled blocks.
            "temp_directory": str(spill.path),
        }
        if self._memory_limit is not None:
            settings["memory_limit"] = self._memory_limit
        if self._threads is not None:
            settings["threads"] = self._threads
        try:
            database = duckdb.connect(":memory:", config=settings)
            for setting in self._closing():
                database.execute(f"SET GLOBAL {setting}")
        except duckdb.Error as error:
            spill.remove()
            raise InputError(f"DuckDB does not take the offline store's settings: {_text(error)}") from error
        return Database(database, chosen, spill)

    def _closing(self) -> Iterator[str]:
        """Yields the settings that are made last, as they close what is open until then."""
        yield "TimeZone = 'UTC'"
        yield "autoload_known_extensions = false"
        if self.files is None:
            yield f"allowed_directories = [{literal(self._root.anchor)}]"
        else:
            # DuckDB asks both for the path as it is written, in which special characters are escaped, and as it is.
            paths = dict.fromkeys(written for path in self.files for written in (path, glob.escape(path)))
            yield f"allowed_paths = [{', '.join(map(literal, paths))}]"
        yield "enable_external_access = false"
        yield "lock_configuration = true"


def read_all(cursor: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """Returns the whole result of a query."""
    return cursor.sql(sql).to_arrow_table()


def read_schema(cursor: duckdb.DuckDBPyConnection, sql: str) -> pa.Schema:
    """Returns the columns of a query, without running it."""
    return cursor.sql(f"SELECT * FROM ({sql}) LIMIT 0").to_arrow_table().schema


def stream(cursor: duckdb.DuckDBPyConnection, sql: str) -> Iterator[pa.RecordBatch]:
    """Yields the result of a query batch by batch, while DuckDB goes on computing it."""
    yield from cursor.sql(sql).to_arrow_reader(BATCH_ROWS)


@contextlib.contextmanager
def registered(cursor: duckdb.DuckDBPyConnection, table: pa.Table) -> Iterator[str]:
    """Yields the name under which a cursor's queries find an Arrow table."""
    name = f"given_{uuid.uuid4().hex}"
    cursor.register(name, table)
    try:
        yield name
    finally:
        cursor.unregister(name)


def as_reader(
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    cursors: contextlib.ExitStack,
    failure: Callable[[Exception], FeastAssetsError],
) -> pa.RecordBatchReader:
    """Returns batches as a reader that closes cursors at the end.

    Args:
        failure: makes the error to raise of an error of DuckDB or Arrow.
    """

    def guarded() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise failure(error) from error
        finally:
            cursors.close()

    return pa.RecordBatchReader.from_batches(schema, guarded())


def failure_of(
    error: Exception, subject: str, kind: type[FeastAssetsError], paths: tuple[str, ...] = ()
) -> FeastAssetsError:
    """Returns the error that says in the user's words what went wrong.

    Args:
        subject: what was read, for the message.
        kind: the error for data that is at fault; where the machine is, it is `StoreUnavailableError`.
        paths: the files that were read, to look for ones that are empty.
    """
    unfit = UnfitText.of(str(error))
    if unfit is not None:
        return kind(unfit.message(subject))
    text = _text(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoreUnavailableError(
            f"{subject}: DuckDB ran out of memory; raise memory_limit or free disk space. {text}"
        )
    if "No space left" in text or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return StoreUnavailableError(f"{subject}: the disk is full. {text}")
    if isinstance(error, PermissionError) or "Permission denied" in text:
        return StoreUnavailableError(f"{subject}: no permission to read. {text}")
    empty = next((p for p in paths if _is_empty(p)), None)
    if empty is not None:
        return kind(f"{subject}: file {empty} is empty (0 bytes). Write it again, or remove it.")
    return kind(f"{subject} cannot be read: {text}")


def _is_empty(path: str) -> bool:
    try:
        return os.path.getsize(path) == 0
    except OSError:
        return False


def _text(error: Exception) -> str:
    # DuckDB adds the query and a stack to some messages, which no user wrote.
    return printable(str(error).split("\n\nLINE ")[0].split("\n\nStack Trace")[0])


def quote(name: str) -> str:
    """Returns an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def is_nan(number: str) -> str:
    """Returns an SQL expression: whether a floating one is NaN. It is to be selected, or a condition of a ``CASE``.

    ``isnan`` would be taken for false wherever a file's statistics, which leave NaN out, hold nothing but numbers. So
    it is asked of what is neither finite nor infinite; statistics know the infinite. As a filter of rows, this would
    not see files whose statistics hold a single number.
    """
    return f"(NOT isfinite({number}) AND {number} NOT IN (CAST('inf' AS DOUBLE), CAST('-inf' AS DOUBLE)))"


def literal(text: str) -> str:
    """Returns an SQL text literal."""
    return "'" + text.replace("'", "''") + "'"
