"""Two engines that run the plan: Postgres, and DuckDB, as a warehouse's author would write one."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pyarrow as pa
import pytest
from sql_on_duckdb import DuckDBSqlStore

from feast_assets.definitions.sources.postgres_source import PostgreSQLSource
from feast_assets.offline_stores.sql.store import SqlOfflineStore


@pytest.fixture(scope="session", params=["postgres", "duckdb"])
def sql_store(request: pytest.FixtureRequest) -> SqlOfflineStore:
    """An offline store on the plan; two engines, one after the other."""
    if request.param == "duckdb":
        return DuckDBSqlStore()
    store: SqlOfflineStore = request.getfixturevalue("postgres_store")
    return store


@pytest.fixture(scope="session")
def put_table() -> Callable[[SqlOfflineStore, pa.Table, str, str], PostgreSQLSource]:
    """Stores rows as a new table; returns a source with these time columns."""

    def put(store: SqlOfflineStore, rows: pa.Table, timestamp: str, created: str = "") -> PostgreSQLSource:
        name = f"t_{uuid.uuid4().hex}"
        source = PostgreSQLSource(table=name, timestamp_field=timestamp, created_timestamp_column=created)
        store.write(source, rows)
        return source

    return put
