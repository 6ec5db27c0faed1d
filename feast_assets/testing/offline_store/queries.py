"""What an offline store that runs a caller's queries does, as tests."""

from __future__ import annotations

import pytest

from feast_assets.errors import InputError
from feast_assets.offline_stores.abilities import ReadsQueries
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.testing.offline_store.cases import StoreFixtures


class ReadsQueriesConformance(StoreFixtures):
    """The contract of `ReadsQueries` as tests. What a query may read differs; a backend tests that by itself."""

    @pytest.fixture
    def reading(self, store: OfflineStore) -> ReadsQueries:
        """The store."""
        assert isinstance(store, ReadsQueries)
        return store

    def test_rows_come_in_the_order_of_the_query(self, reading: ReadsQueries) -> None:
        rows = " UNION ALL ".join(f"SELECT {n} AS n, {n * 37 % 100} AS driver" for n in range(100))
        table = reading.read_query(f"SELECT * FROM ({rows}) AS t ORDER BY driver DESC", [])
        assert table.column_names == ["n", "driver"]
        assert table["driver"].to_pylist() == list(range(99, -1, -1))

    def test_a_query_without_rows_has_its_columns(self, reading: ReadsQueries) -> None:
        table = reading.read_query("SELECT 1 AS driver WHERE 1 = 0", [])
        assert (table.column_names, table.num_rows) == (["driver"], 0)

    @pytest.mark.parametrize(
        "sql",
        [
            "CREATE TABLE made (i INTEGER)",
            "SELECT 1; SELECT 2",
            "DROP TABLE made",
            "WITH gone AS (DELETE FROM made RETURNING 1) SELECT * FROM gone",
            "",
        ],
    )
    def test_only_one_query_that_reads_is_run(self, reading: ReadsQueries, sql: str) -> None:
        with pytest.raises(InputError):
            reading.read_query(sql, [])

    def test_a_query_that_fails_says_why(self, reading: ReadsQueries) -> None:
        with pytest.raises(InputError, match="no_such_table"):
            reading.read_query("SELECT * FROM no_such_table", [])
