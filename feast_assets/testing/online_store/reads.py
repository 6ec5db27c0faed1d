"""How rows read back."""

from __future__ import annotations

import random

from feast_assets.online_stores.base import EncodedRows, OnlineRead, OnlineStore
from feast_assets.testing.online_store.fixtures import StoreFixtures
from feast_assets.testing.online_store.rows import Row, assert_counts, contents, encoded, read_rows


class ReadingCases(StoreFixtures):
    """Rows read back as they were put, in the order of the keys."""

    def test_a_row_reads_back_as_it_was_put(self, store: OnlineStore) -> None:
        store.setup(["t"])
        payload = bytes(range(256))
        result = store.put_many("t", [encoded([(b"\x00key\xff", 5, 7, 9, payload)])])
        assert_counts(result, 1, 0)
        assert read_rows(store, "t", [b"\x00key\xff"]) == [(5, 7, 9, payload)]

    def test_an_empty_payload_and_an_empty_key_are_a_row(self, store: OnlineStore) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"", 0, 0, 0, b"")])])
        assert read_rows(store, "t", [b""]) == [(0, 0, 0, b"")]

    def test_keys_in_any_order_read_their_own_rows(self, store: OnlineStore) -> None:
        store.setup(["t"])
        rows: list[Row] = [(b"%03d" % i, i, -i, i, b"payload of %d" % i) for i in range(200)]
        store.put_many("t", [encoded(rows)])
        for seed in range(5):
            chosen = random.Random(seed).choices(rows, k=77)
            assert read_rows(store, "t", [row[0] for row in chosen]) == [row[1:] for row in chosen]

    def test_results_follow_the_keys_with_repeats_and_gaps(self, store: OnlineStore) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"a", 1, 0, 0, b"A"), (b"b", 2, 0, 0, b"B")])])
        stored_rows = read_rows(store, "t", [b"b", b"x", b"a", b"b", b"y"])
        assert stored_rows == [(2, 0, 0, b"B"), None, (1, 0, 0, b"A"), (2, 0, 0, b"B"), None]

    def test_no_keys_and_no_reads_give_empty_results(self, store: OnlineStore) -> None:
        store.setup(["t"])
        assert read_rows(store, "t", []) == []
        assert store.get_many([]) == []

    def test_several_tables_are_read_at_once_in_order(self, store: OnlineStore) -> None:
        store.setup(["one", "two"])
        store.put_many("one", [encoded([(b"k", 1, 0, 0, b"1")])])
        store.put_many("two", [encoded([(b"k", 2, 0, 0, b"2"), (b"l", 3, 0, 0, b"3")])])
        reads = [
            OnlineRead("two", [b"l", b"k"]),
            OnlineRead("one", [b"k", b"l"]),
            OnlineRead("two", []),
            OnlineRead("one", [b"k"]),
        ]
        results = [contents(stored) for stored in store.get_many(reads)]
        assert results == [[(3, 0, 0, b"3"), (2, 0, 0, b"2")], [(1, 0, 0, b"1"), None], [], [(1, 0, 0, b"1")]]

    def test_nothing_put_changes_nothing(self, store: OnlineStore) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
        nothing: list[list[EncodedRows]] = [[], [encoded([])], [encoded([]), encoded([])]]
        for batches in nothing:
            result = store.put_many("t", batches)
            assert_counts(result, 0, 0)
        assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"x")]

    def test_an_unknown_table_reads_as_empty(self, store: OnlineStore) -> None:
        assert read_rows(store, "never set up", [b"k"]) == [None]
        store.setup(["t"])
        store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
        reads = [OnlineRead("never set up", [b"k", b"l"]), OnlineRead("t", [b"k"])]
        assert [contents(s) for s in store.get_many(reads)] == [[None, None], [(1, 0, 0, b"x")]]

    def test_large_batches_and_reads(self, store: OnlineStore) -> None:
        store.setup(["t"])
        rows: list[Row] = [(b"key-%d" % i, i, -i, 2 * i, b"p%d" % i) for i in range(10_001)]
        result = store.put_many("t", [encoded(rows[:6_000]), encoded(rows[5_000:])])
        assert_counts(result, 10_001, 1_000)
        keys = [row[0] for row in reversed(rows)]
        assert read_rows(store, "t", keys) == [row[1:] for row in reversed(rows)]

    def test_a_large_payload_reads_back(self, store: OnlineStore) -> None:
        store.setup(["t"])
        payload = random.Random(1).randbytes(3_000_000)
        store.put_many("t", [encoded([(b"k", 1, 0, 0, payload)])])
        assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, payload)]
