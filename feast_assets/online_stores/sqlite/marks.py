"""The numbers of tables' marks in a SQLite file: a table of their own, so they come back with the rows of a backup."""

# ruff: noqa: S608 - statements are made of constants

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from feast_assets.online_stores.base import LARGEST_NUMBER, NEVER_ADVANCED

# The name cannot be that of a table of rows.
_MARKS = "feast_assets_marks"
_CREATE = f"CREATE TABLE IF NOT EXISTS {_MARKS} (name TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID"


def begin(connection: sqlite3.Connection, name: str) -> None:
    """Sets the number of a table that has just been set up."""
    connection.execute(_CREATE)
    connection.execute(f"REPLACE INTO {_MARKS} VALUES (?, ?)", (name, NEVER_ADVANCED))


def number(connection: sqlite3.Connection, name: str) -> int:
    """Returns the number of a table's mark; 0 for none, as in a file that a version without marks wrote."""
    try:
        row = connection.execute(f"SELECT number FROM {_MARKS} WHERE name = ?", (name,)).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return 0
        raise
    if row is None or not isinstance(row[0], int) or not 0 < row[0] <= LARGEST_NUMBER:
        return 0
    return row[0]


def advance(connection: sqlite3.Connection, name: str, expected: int, new: int) -> int:
    """Sets the number if it is the expected one; returns the number that is there then.

    The caller has begun a transaction that locks the file.
    """
    standing = number(connection, name)
    if standing != expected:
        return standing
    connection.execute(_CREATE)
    connection.execute(f"REPLACE INTO {_MARKS} VALUES (?, ?)", (name, new))
    return new


def remove(connection: sqlite3.Connection, name: str) -> None:
    """Removes the number of a table that is dropped."""
    connection.execute(_CREATE)
    connection.execute(f"DELETE FROM {_MARKS} WHERE name = ?", (name,))


def file_of(path: Path) -> str:
    """Returns device and inode of a file, which change when the file is replaced; ``""`` where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}"
