"""The format of a SQLite file of rows; files of earlier formats are upgraded when they are opened.

The file's ``user_version`` is the number of its format:

* 0: a table of rows has the columns key, event_ts, created_ts and payload. A payload begins with the version, 8 bytes,
  big-endian. A new file without tables has this number too.
* 1: the version has a column of its own. What follows it in the payload is the column content. The name differs so that
  earlier versions of this package, which know no other format, refuse the file instead of misreading it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from feast_assets.stored_formats import SQLITE_ROWS

FORMAT = SQLITE_ROWS.number

COLUMNS = (
    "(key BLOB NOT NULL PRIMARY KEY, event_ts INTEGER NOT NULL, created_ts INTEGER NOT NULL, "
    "version INTEGER NOT NULL, content BLOB NOT NULL) WITHOUT ROWID"
)
"""Of a table of rows."""

SET_FORMAT = f"PRAGMA user_version = {FORMAT}"

_TABLES_OF_FORMAT_0 = (
    "SELECT t.name FROM main.sqlite_master t, pragma_table_info(t.name, 'main') c "
    "WHERE t.type = 'table' AND substr(t.name, 1, 5) = 'rows_' AND c.name = 'payload'"
)
_UPGRADED = "feast_assets_upgraded"
_VERSION_OF = "feast_assets_version_of"
# What was damaged before stays so: a version that is text is none.
_HAS_VERSION = "typeof(payload) = 'blob' AND length(payload) >= 12 AND substr(payload, 1, 1) = x'00'"
_ROWS_OF_FORMAT_0 = (
    f"SELECT key, event_ts, created_ts, CASE WHEN {_HAS_VERSION} THEN {_VERSION_OF}(substr(payload, 1, 8)) "
    f"ELSE 'none' END AS version, CASE WHEN {_HAS_VERSION} THEN substr(payload, 9) ELSE payload END AS content"
)


def bring_up_to_date(connection: sqlite3.Connection, path: Path) -> bool:
    """Upgrades the file of a new connection where it has an earlier format.

    The upgrade is one transaction that copies every row; other writers wait for it. Where the file cannot be written,
    the connection gets temporary views that show its tables in the present format. After an error the caller closes the
    connection, which undoes the transaction.

    Returns:
        whether the file has the present format now.

    Raises:
        StoredFormatError: a newer version of this package wrote the file.
    """
    number = SQLITE_ROWS.check(_number(connection), f"Online store {path}")
    if number == FORMAT or not _old_tables(connection):
        return True
    connection.create_function(_VERSION_OF, 1, _version_of, deterministic=True)
    try:
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have been first.
        if _number(connection) < FORMAT:
            _upgrade(connection)
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_READONLY:
            raise
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        _show(connection)
        return False
    return True


def _upgrade(connection: sqlite3.Connection) -> None:
    for table in _old_tables(connection):
        connection.execute(f"CREATE TABLE {_UPGRADED} {COLUMNS}")
        connection.execute(f"INSERT INTO {_UPGRADED} {_ROWS_OF_FORMAT_0} FROM {_quoted(table)}")
        connection.execute(f"DROP TABLE {_quoted(table)}")
        connection.execute(f"ALTER TABLE {_UPGRADED} RENAME TO {_quoted(table)}")
    connection.execute(SET_FORMAT)


def _show(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA temp_store = MEMORY")
    for table in _old_tables(connection):
        # Statements that name no schema mean the view.
        connection.execute(f"CREATE TEMP VIEW {_quoted(table)} AS {_ROWS_OF_FORMAT_0} FROM main.{_quoted(table)}")


def _old_tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute(_TABLES_OF_FORMAT_0)]


def _number(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def _version_of(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _quoted(table: str) -> str:
    return '"' + table.replace('"', '""') + '"'
