"""DuckDB database files, attached read-only to an in-process DuckDB for as long as something reads them.

DuckDB locks a file that it has open: many processes may read it, or one may write. The lock belongs to the process, and
closing any descriptor of the file gives it up. So a file must not be closed while anything else in the process has it
open. Files are detached when nothing in this process reads them any more. A file that another user in this process has
open is not opened a second time (see `joined`).
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from feast_assets.errors import printable
from feast_assets.offline_stores.duckdb.engine import literal, quote
from feast_assets.offline_stores.duckdb.held_files import DatabaseHeldError

_DESCRIPTORS = "/dev/fd"
_HOLDER = re.compile(r"Conflicting lock is held in (.*?) ?\(PID (\d+)\)")
_RESERVED = frozenset(("main", "memory", "system", "temp"))
# What `dagster_duckdb` connects with.
_CONFIGURATIONS: tuple[dict[str, str | bool | int | float | list[str]], ...] = ({}, {"custom_user_agent": "dagster"})

_Inode = tuple[int, int]


class OpenHereError(Exception):
    """A file is open in this process already, by a connection that is not ours."""


class _Attached:
    """A file that is attached to one or more databases of this process.

    Attributes:
        readers: how many reads go on.
        databases: these databases, by the identities of the connections that stand for them.
    """

    def __init__(self) -> None:
        self.readers = 0
        self.databases: dict[int, _Database] = {}

    def detach(self) -> None:
        for database in self.databases.values():
            with contextlib.suppress(duckdb.Error), database.connection.cursor() as cursor:
                cursor.execute(f"DETACH {quote(database.alias)}")
            if database.is_discarded:
                discard(database.connection)
        self.databases.clear()


@dataclass(slots=True)
class _Database:
    """A database that a file is attached to.

    Attributes:
        alias: the file's name in it.
        connection: stands for it.
        is_discarded: whether it is to be closed with the file, as nobody else needs it.
    """

    alias: str
    connection: duckdb.DuckDBPyConnection
    is_discarded: bool = False


_LOCK = threading.RLock()  # a cursor may be collected in the thread that holds it
_attached: dict[_Inode, _Attached] = {}


_inherited: dict[_Inode, list[_Attached]] = {}


def _after_fork() -> None:
    global _LOCK
    _LOCK = threading.RLock()
    # What the parent has attached is the parent's, and so are its locks. It must not be closed here, where the parent's
    # threads are missing.
    for inode, attached in _attached.items():
        _inherited.setdefault(inode, []).append(attached)
    _attached.clear()


os.register_at_fork(after_in_child=_after_fork)


class Attachment:
    """A file that one cursor reads, by its name in the cursor's database, until it is closed."""

    def __init__(self, inode: _Inode, alias: str):
        self.alias = alias
        self._inode: _Inode | None = inode

    def close(self) -> None:
        """Says that the cursor reads no more; the file is closed when nothing in this process reads it."""
        with _LOCK:
            inode, self._inode = self._inode, None
            attached = _attached.get(inode) if inode is not None else None
            if inode is None or attached is None:
                return
            attached.readers -= 1
            if not attached.readers and not _is_open_elsewhere(inode, attached):
                del _attached[inode]
                attached.detach()


def discard(database: duckdb.DuckDBPyConnection) -> None:
    """Closes a database that nobody uses any more, as soon as no file attached to it is read elsewhere."""
    with _LOCK:
        kept = [each.databases[id(database)] for each in _attached.values() if id(database) in each.databases]
        for each in kept:
            each.is_discarded = True
        if not kept:
            database.close()


def is_used(database: duckdb.DuckDBPyConnection) -> bool:
    """Whether a file is attached to a database."""
    with _LOCK:
        return any(id(database) in each.databases for each in _attached.values())


def attach(cursor: duckdb.DuckDBPyConnection, database: duckdb.DuckDBPyConnection, path: str) -> Attachment:
    """Attaches a file to a database, read-only.

    Args:
        cursor: a cursor of the database.
        database: the connection that stands for it.
        path: absolute.

    Raises:
        OpenHereError: a connection of this process that is not ours has it open.
        DatabaseHeldError: another process has it open for writing.
        duckdb.Error: it is not a database, or cannot be read.
    """
    with _LOCK:
        status = os.stat(path)
        inode = status.st_dev, status.st_ino
        attached = _attached.get(inode)
        if attached is not None and not attached.readers:
            # Somebody else had it open when the last read ended. If that is closed now, the lock is lost.
            if _is_open_elsewhere(inode, attached):
                raise OpenHereError
            attached.detach()
            attached = None
        if attached is None:
            attached = _attached[inode] = _Attached()
        try:
            alias = _alias_in(cursor, database, path, inode, attached)
        finally:
            if not attached.databases:
                del _attached[inode]
        attached.readers += 1
        return Attachment(inode, alias)


def _alias_in(
    cursor: duckdb.DuckDBPyConnection,
    database: duckdb.DuckDBPyConnection,
    path: str,
    inode: _Inode,
    attached: _Attached,
) -> str:
    if id(database) in attached.databases:
        return attached.databases[id(database)].alias
    if not attached.databases and _is_open_elsewhere(inode, attached):
        raise OpenHereError
    alias = _free_name(cursor, path)
    try:
        cursor.execute(f"ATTACH {literal(path)} AS {quote(alias)} (READ_ONLY, TYPE duckdb)")
    except duckdb.ResourceInUseException:
        raise OpenHereError from None
    except duckdb.IOException as error:
        if _holder(error):
            raise DatabaseHeldError(path, _holder(error)) from error
        raise
    attached.databases[id(database)] = _Database(alias, database)
    return alias


def _free_name(cursor: duckdb.DuckDBPyConnection, path: str) -> str:
    """Returns the name that DuckDB itself would give a file, by which views in it may name it; or one like it."""
    taken = {str(name).lower() for (name,) in cursor.execute("SELECT database_name FROM duckdb_databases()").fetchall()}
    plain = os.path.basename(path).split(".")[0] or "database"
    name, number = plain, 1
    while name.lower() in taken | _RESERVED:
        number += 1
        name = f"{plain}_{number}"
    return name


def _is_open_elsewhere(inode: _Inode, attached: _Attached) -> bool:
    """Whether something else in this process has a file open; False if that cannot be found out."""
    return _open_count(inode) > len(attached.databases)


def _open_count(inode: _Inode) -> int:
    """Returns how many descriptors of a file this process has, without those of its parent; 0 where the system does not
    tell."""
    count = -sum(len(attached.databases) for attached in _inherited.get(inode, ()))
    try:
        descriptors = os.listdir(_DESCRIPTORS)
    except OSError:
        return 0
    for descriptor in descriptors:
        try:
            status = os.stat(f"{_DESCRIPTORS}/{descriptor}")
        except OSError:
            continue
        count += (status.st_dev, status.st_ino) == inode
    return count


@contextlib.contextmanager
def joined(path: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Gives a connection to a database that another connection of this process has open, in a transaction that reads.

    Raises:
        DatabaseHeldError: the other connection has settings that are not known, or was just closed.
    """
    connection = join(path, read_only=(False, True))
    try:
        connection.execute("SET SESSION TimeZone = 'UTC'")
        connection.execute("BEGIN TRANSACTION READ ONLY")
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def opened_for_writing(path: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Gives a connection to a file, in a transaction that is committed when the block ends well.

    Nobody else can open the file meanwhile. It is made if it is not there.

    Raises:
        DatabaseHeldError: it is open elsewhere; reads of this process count too.
        duckdb.Error: it is not a database, or cannot be written.
    """
    connection = _writing(path)
    try:
        connection.execute("SET SESSION TimeZone = 'UTC'")
        connection.execute("BEGIN TRANSACTION")
        yield connection
        connection.execute("COMMIT")
    finally:
        # What was not committed is undone.
        connection.close()


def _writing(path: str) -> duckdb.DuckDBPyConnection:
    with _LOCK:
        if os.path.exists(path):
            status = os.stat(path)
            inode = status.st_dev, status.st_ino
            attached = _attached.get(inode)
            if attached is not None and attached.readers:
                raise DatabaseHeldError(path, "reads of this process")
            if attached is not None and not _is_open_elsewhere(inode, attached):
                del _attached[inode]
                attached.detach()
            if _open_count(inode):
                return join(path, read_only=(False,))
        try:
            return duckdb.connect(path)
        except (duckdb.ConnectionException, duckdb.ResourceInUseException) as error:
            raise DatabaseHeldError(path, "another connection of this process") from error
        except duckdb.IOException as error:
            if _holder(error):
                raise DatabaseHeldError(path, _holder(error)) from error
            raise


def join(path: str, *, read_only: Sequence[bool]) -> duckdb.DuckDBPyConnection:
    """Returns a connection that shares a file with another connection of this process.

    DuckDB lets them do so if they have the same settings; those of plain connections and of `dagster_duckdb` are tried.

    Args:
        read_only: whether the other connection may only read; what is tried.

    Raises:
        DatabaseHeldError: the other connection has other settings, or was just closed.
    """
    status = os.stat(path)
    inode = status.st_dev, status.st_ino
    with _LOCK:
        for configuration in _CONFIGURATIONS:
            for only_reads in read_only:
                before = _open_count(inode)
                try:
                    connection = duckdb.connect(path, read_only=only_reads, config=configuration)
                except (duckdb.ConnectionException, duckdb.ResourceInUseException):
                    continue
                except duckdb.IOException as error:
                    if _holder(error):
                        raise DatabaseHeldError(path, _holder(error)) from error
                    raise
                if _open_count(inode) > before:
                    # The other connection was closed just now: this one shares nothing.
                    connection.close()
                    raise DatabaseHeldError(path)
                return connection
    raise DatabaseHeldError(path, "another connection of this process, with settings that cannot be shared")


def _holder(error: Exception) -> str:
    """Returns which process holds the lock that an error is about, in words; "" if it is about no lock."""
    match = _HOLDER.search(str(error))
    if match is None:
        return "another process" if "set lock on file" in str(error) else ""
    program = os.path.basename(match[1])
    return f"process {match[2]}{f' ({printable(program)})' if program else ''}"
