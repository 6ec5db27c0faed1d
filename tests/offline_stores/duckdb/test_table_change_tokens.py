"""A table's change token follows its own rows, though every table of the file changes the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from feast_assets import DuckDBSource
from feast_assets.offline_stores.duckdb.table_change_tokens import change_token_of, file_change_token, observe


class Database:
    """A file that counts as a database, with the rows of its tables beside it."""

    def __init__(self, path: Path):
        self.path = str(path)
        self.rows: dict[str, str] = {}
        self.summaries = 0
        self._changes = 0

    def write(self, **rows: str) -> None:
        self.rows |= rows
        self._changes += 1
        Path(self.path).write_text(str(self._changes))
        # Two writes in one tick of the file system's clock are two changes.
        os.utime(self.path, ns=(self._changes, self._changes))

    def read(self, source: DuckDBSource) -> None:
        observe(source, self.path, lambda: self._summary(source))

    def _summary(self, source: DuckDBSource) -> str:
        self.summaries += 1
        return self.rows[source.table]

    def token(self, source: DuckDBSource) -> str:
        return change_token_of(source, self.path, lambda: self.read(source))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "shop.duckdb")
    database.write(orders="a", visits="x")
    return database


def table(name: str) -> DuckDBSource:
    return DuckDBSource(name=name, database="shop.duckdb", table=name, timestamp_field="at")


ORDERS, VISITS = table("orders"), table("visits")


def test_a_change_of_another_table_is_none_of_this_one(database: Database) -> None:
    before = database.token(ORDERS)
    database.read(ORDERS)
    database.write(visits="y")
    assert database.token(ORDERS) == before
    database.write(orders="b")
    assert database.token(ORDERS) != before


def test_rows_that_come_back_have_a_new_token(database: Database) -> None:
    before = database.token(ORDERS)
    database.read(ORDERS)
    database.write(orders="b")
    between = database.token(ORDERS)
    database.write(orders="a")
    assert len({before, between, database.token(ORDERS)}) == 3


def test_nothing_is_summarized_before_somebody_asks_and_once_for_a_file(database: Database) -> None:
    database.read(ORDERS)
    assert database.summaries == 0
    database.token(ORDERS)
    for _ in range(3):
        database.read(ORDERS)
        database.token(ORDERS)
    assert database.summaries == 1


def test_rows_that_nobody_has_read_may_have_changed_with_the_file(database: Database) -> None:
    before = database.token(ORDERS)
    database.write(visits="y")
    assert database.token(ORDERS) != before, "without a summary of the rows, the file decides"


def test_a_source_that_cannot_be_opened_now_counts_as_changed(database: Database) -> None:
    before = database.token(ORDERS)
    database.read(ORDERS)
    database.write(visits="y")
    held = change_token_of(ORDERS, database.path, lambda: None)
    assert held == file_change_token(database.path) != before
    assert database.token(ORDERS) == before, "once it can be opened, its rows decide again"


def test_what_is_not_there_has_no_token(tmp_path: Path) -> None:
    assert file_change_token(str(tmp_path / "none.duckdb")) == ""
    assert change_token_of(ORDERS, str(tmp_path / "none.duckdb"), lambda: None) == ""


def test_rows_in_the_write_ahead_log_count(database: Database) -> None:
    before = file_change_token(database.path)
    Path(f"{database.path}.wal").write_text("committed")
    assert file_change_token(database.path) != before
