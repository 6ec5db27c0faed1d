"""What a warehouse writes to become an offline store: a session that runs SQL, and takes and gives Arrow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar

from feast_assets.errors import FeastAssetsError

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

    from feast_assets.offline_stores.sql.dialect import SqlDialect


FAILED, END = "feast_assets: ", " (end)"
"""What a message begins and ends with, by which a statement fails on purpose; engines put something around it."""


def plan_message_in(message: str) -> str:
    """Returns what stands between `FAILED` and `END`; "" where they are not there."""
    _, begun, rest = message.partition(FAILED)
    plan_message, ended, _ = rest.partition(END)
    return plan_message if begun and ended else ""


class SqlEngineError(Exception):
    """An engine refuses a statement, or fails while it runs it.

    Attributes:
        is_missing: whether a table is not there.
        is_timeout: whether the statement ran longer than it may.
        plan_message: what the plan itself says, where it made the statement fail because of a value; else "".
    """

    def __init__(self, message: str, *, is_missing: bool = False, is_timeout: bool = False):
        self.is_missing = is_missing
        self.is_timeout = is_timeout
        self.plan_message = plan_message_in(message)
        super().__init__(message)


@contextmanager
def blaming(kind: type[FeastAssetsError], subject: str) -> Iterator[None]:
    """Raises an engine's errors in the user's words.

    Args:
        kind: the class of the error.
        subject: what failed, for the message.
    """
    try:
        yield
    except SqlEngineError as error:
        raise kind(error.plan_message or f"{subject}: {error}") from error


ANY_SCALE = {b"feast_assets.decimal": b"any scale"}
"""Metadata of a decimal column that keeps as many digits as a value has."""


class SqlEngine(ABC):
    """One session with a SQL engine, used by one thread at a time.

    Times without a zone are UTC in it. What is staged is seen by this session alone. Where the engine can, all queries
    of a session see the tables as of one moment. Errors of the engine are `SqlEngineError`; where it cannot be reached,
    `feast_assets.errors.StoreUnavailableError`. Both may also be raised by a reader, while it is read.
    """

    dialect: ClassVar[SqlDialect]

    @abstractmethod
    def query(self, sql: str) -> pa.RecordBatchReader:
        """Runs a query, which can only read, and returns its rows while they come; it is read before the next one."""

    def read(self, sql: str) -> pa.Table:
        """Returns the whole result of a query, for a user's function: values of the engine's own types as text."""
        return self.query(sql).read_all()

    def columns(self, sql: str) -> pa.Schema:
        """Returns the columns of a query, without running it.

        Types without an Arrow type of their own are ``string``, the type of their text.
        """
        reader = self.query(f"SELECT * FROM (\n{sql}\n) AS q LIMIT 0")  # noqa: S608
        schema = reader.schema
        reader.read_all()
        return schema

    @abstractmethod
    def stage(self, rows: pa.Table) -> AbstractContextManager[str]:
        """Makes rows readable for this session, as a table whose name is returned.

        The table goes away at the end, also after an error, and with the session, however that ends.

        Args:
            rows: of types that are booleans, numbers, text, bytes, times, and lists of these.
        """

    @abstractmethod
    def append(self, table: exp.Table, rows: pa.RecordBatchReader, *, instead_of: exp.Expr | None = None) -> None:
        """Appends rows to a table, whole or not at all; one that is not there is made.

        Args:
            rows: whose columns are the table's own, in any order; values are cast to the columns' types.
            instead_of: the condition of rows that are removed in the same transaction.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends the session; nothing that was not appended is left of it."""

    def __enter__(self) -> SqlEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
