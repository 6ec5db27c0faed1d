"""What differs between the database servers that a registry may be on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

from sqlalchemy import Connection, Insert, Table, text
from sqlalchemy.dialects import mysql, postgresql

from feast_assets.errors import StoreUnavailableError

_SCHEMA_LOCK = 7_305_811_064_142_273  # any number that nobody else takes for a Postgres advisory lock
_SCHEMA_LOCK_NAME = "feast_assets_schema"
_SCHEMA_LOCK_SECONDS = 60


class Server(ABC):
    """One kind of database server.

    Attributes:
        title: what people call it.
        extra: of this package, that installs its driver.
        connect_args: arguments of the driver for each connection.
        writing_isolation: the isolation level of transactions that write; they lock the project's row first, and must
            then see what was committed before.
    """

    title: ClassVar[str]
    extra: ClassVar[str]
    connect_args: ClassVar[Mapping[str, str]] = {}
    writing_isolation: ClassVar[str] = "READ COMMITTED"

    @abstractmethod
    def creating_tables(self, connection: Connection) -> AbstractContextManager[None]:
        """Returns a transaction, committed at its end, in which no other process creates the registry's tables."""

    @abstractmethod
    def upsert(self, table: Table, columns: Sequence[str]) -> Insert:
        """Returns the statement that inserts a row, or replaces the one with its primary key."""


class Postgres(Server):
    title = "Postgres"
    extra = "postgres"

    @contextmanager
    def creating_tables(self, connection: Connection) -> Iterator[None]:
        with connection.begin():
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
            yield

    def upsert(self, table: Table, columns: Sequence[str]) -> Insert:
        statement = postgresql.insert(table)
        changed = {name: statement.excluded[name] for name in columns if not table.c[name].primary_key}
        return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)


class MySql(Server):
    """MySQL 8 or MariaDB 10.3, or newer.

    Transactions that write use READ COMMITTED: with InnoDB's gap locks, which higher isolation levels take, writers of
    different projects would deadlock.
    """

    title = "MySQL"
    extra = "mysql"
    connect_args = {"charset": "utf8mb4", "sql_mode": "ANSI_QUOTES,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"}

    @contextmanager
    def creating_tables(self, connection: Connection) -> Iterator[None]:
        # Statements that create tables end transactions here, so the lock is the session's.
        values = {"name": _SCHEMA_LOCK_NAME, "seconds": _SCHEMA_LOCK_SECONDS}
        with connection.begin():
            is_locked = connection.execute(text("SELECT GET_LOCK(:name, :seconds)"), values).scalar() == 1
        if not is_locked:
            raise StoreUnavailableError(
                f"Another process has been creating the registry's tables for {_SCHEMA_LOCK_SECONDS} seconds; "
                "try again later."
            )
        try:
            with connection.begin():
                yield
        finally:
            with connection.begin():
                connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _SCHEMA_LOCK_NAME})

    def upsert(self, table: Table, columns: Sequence[str]) -> Insert:
        statement = mysql.insert(table)
        changed = {name: statement.inserted[name] for name in columns if not table.c[name].primary_key}
        return statement.on_duplicate_key_update(changed)
