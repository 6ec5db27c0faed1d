"""What reads and writes a SQL registry's database, whichever driver reaches it.

Statements are text in which columns that are reserved words in some database stand in double quotes; SQLite, Postgres
and MySQL (whose sessions are set to ANSI quotes) read them alike. What they do not share are verbs of `Transaction`.
SQLite is reached without SQLAlchemy, whose import takes longer than reading a registry or writing a revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

Value = str | int | bytes | None
"""What a column holds."""

Row = Mapping[str, Value]
"""A row by columns, or the values of a statement by name."""


class Query(Protocol):
    """Runs a statement whose values are named ``:name``, and returns all rows as tuples."""

    def __call__(self, statement: str, **values: Value) -> Sequence[tuple[Any, ...]]: ...


class Transaction(Query, Protocol):
    """Runs statements in one transaction.

    Attributes:
        lock_rows: what a SELECT ends with to lock its rows; "" where the transaction has locked the whole database.
    """

    lock_rows: str

    def each(self, statement: str, rows: Iterable[Row]) -> None:
        """Runs a statement that returns nothing once for each row of values, of which there may be none."""

    def upsert(self, table: str, rows: Iterable[Row]) -> None:
        """Inserts rows, which all have the same columns, or replaces those with their primary keys."""

    def insert_new(self, table: str, row: Row) -> bool:
        """Inserts a row unless there is one with its primary key; returns whether it was inserted."""
