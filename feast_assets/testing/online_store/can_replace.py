"""`CanReplace`: scans, replaced rows, and puts under existing keys only."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import threading
from collections.abc import Iterator

import pytest

from feast_assets.online_stores.abilities import CanReplace
from feast_assets.online_stores.base import EncodedRows, OnlineStore
from feast_assets.testing.online_store.fixtures import StoreFixtures
from feast_assets.testing.online_store.rows import (
    INT64_MAX,
    INT64_MIN,
    TIMES,
    Row,
    StoreFactory,
    assert_counts,
    encoded,
    newest,
    random_rows,
    read_rows,
    remove_rows,
    scanned,
    stamps,
)


class ReplacingStore(OnlineStore, CanReplace):
    """For annotations."""


def _raise_counters(factory: StoreFactory, table: str, times: int) -> None:
    """Replaces a row by an older one with a higher count, so many times, however often another is faster."""
    store = factory()
    assert isinstance(store, CanReplace)
    try:
        while times:
            ((event, created, version, payload),) = [row for row in read_rows(store, table, [b"counter"]) if row]
            older = encoded([(b"counter", event - 1, created, version, b"%d" % (int(payload) + 1))])
            times -= store.replace_many(table, stamps([(b"counter", event, created, version, payload)]), older)
    finally:
        store.close()


class CanReplaceConformance(StoreFixtures):
    """Subclass this beside `OnlineStoreConformance` for a store with `CanReplace`."""

    @pytest.mark.parametrize("seed", range(3))
    def test_a_scan_yields_the_rows_of_a_span_of_time_below_a_version(self, store: ReplacingStore, seed: int) -> None:
        rows = newest(random_rows(seed, 400, keys=120))
        rows[b""] = (5, 5, 3, bytes(range(20)))
        rows[b"long\x00*?"] = (5, -5, 2, b"\x7f" * 20)
        store.setup(["t", "u"])
        store.put_many("t", [encoded([(key, *row) for key, row in rows.items()])])
        store.put_many("u", [encoded([(b"other", 5, 0, 0, b"")])])
        for start, end in itertools.combinations_with_replacement(sorted({*TIMES, 5}), 2):
            for below in (0, 1, 3, 2**32, INT64_MAX, None):
                assert scanned(store, "t", start, end, below) == {
                    (key, event, created, version)
                    for key, (event, created, version, _) in rows.items()
                    if start <= event < end and (below is None or version < below)
                }

    def test_a_scan_of_many_rows_finds_each(self, store: ReplacingStore) -> None:
        rows: list[Row] = [(b"key-%d" % i, i, -i, 2 * i, b"payload %d" % i) for i in range(12_345)]
        store.put_many("t", [encoded(rows)])
        assert scanned(store, "t", 5, INT64_MAX, 20_000) == {row[:4] for row in rows[5:10_000]}

    def test_a_scan_of_no_table_finds_nothing(self, store: ReplacingStore) -> None:
        store.setup(["other"])
        assert scanned(store, "t", INT64_MIN, INT64_MAX) == set()

    def test_a_scan_that_is_given_up_leaves_the_store_usable(self, store: ReplacingStore) -> None:
        rows: list[Row] = [(b"key-%d" % i, i, 0, 0, b"x") for i in range(12_345)]
        store.put_many("t", [encoded(rows)])
        rows_left = store.scan("t", 0, INT64_MAX)
        next(rows_left)
        store.put_many("t", [encoded([(b"key-0", INT64_MAX, 0, 0, b"newer")])])
        rows_left.close()  # type: ignore[attr-defined]
        assert read_rows(store, "t", [b"key-0"]) == [(INT64_MAX, 0, 0, b"newer")]

    def test_rows_are_replaced_by_older_ones_or_removed(self, store: ReplacingStore) -> None:
        rows: list[Row] = [(b"k%d" % i, 100 + i, i, 1 + i, b"payload %d" % i) for i in range(2500)]
        store.put_many("t", [encoded(rows)])
        older = {row[0]: (row[1] - 50, INT64_MIN, 0, b"older") for row in rows[:1200]}
        count = store.replace_many("t", stamps(rows[:2400]), encoded([(key, *row) for key, row in older.items()]))
        assert count == 2400
        expected = [*older.values(), *[None] * 1200, *[row[1:] for row in rows[2400:]]]
        assert read_rows(store, "t", [row[0] for row in rows]) == expected

    def test_rows_with_other_stamps_than_expected_stay(self, store: ReplacingStore) -> None:
        held: Row = (b"", 7, -7, 70, b"payload")
        others: list[Row] = [
            (b"event", 8, -7, 70, b"payload"),
            (b"created", 7, -6, 70, b"payload"),
            (b"version", 7, -7, 71, b"payload"),
        ]
        store.put_many("t", [encoded([held, *others])])
        expected = stamps([(key, *held[1:]) for key in (b"", b"event", b"created", b"version", b"unknown")])
        new = encoded([(key, 1, 1, 1, b"new") for key in expected.keys])
        assert store.replace_many("t", expected, new) == 1
        assert store.replace_many("t", expected, encoded([])) == 0
        assert read_rows(store, "t", [b"", b"unknown"]) == [(1, 1, 1, b"new"), None]
        assert read_rows(store, "t", [row[0] for row in others]) == [row[1:] for row in others]
        assert store.replace_many("never set up", expected, new) == 0
        assert store.replace_many("t", stamps([]), encoded([])) == 0

    def test_removed_rows_are_gone_and_others_stay(self, store: ReplacingStore) -> None:
        store.put_many("t", [encoded([(b"a", 9, 0, 0, b"x"), (b"b", 9, 0, 0, b"y")])])
        remove_rows(store, "t", [b"a", b"never stored"])
        assert read_rows(store, "t", [b"a", b"b"]) == [None, (9, 0, 0, b"y")]
        store.put_many("t", [encoded([(b"a", 1, 0, 0, b"older")])])
        assert read_rows(store, "t", [b"a"]) == [(1, 0, 0, b"older")]

    def test_marks_are_no_rows_of_a_scan_and_stay_when_rows_are_removed(self, store: ReplacingStore) -> None:
        names = ["t", "", "mark", "id:t"]
        store.setup(names)
        marks = store.marks(names)
        keys = [b"", b"mark", b"t", b":t", b"mark:t", b"id"]
        for name in names:
            store.put_many(name, [encoded([(key, 1, 0, 0, b"x") for key in keys])])
        for name in names:
            assert {row[0] for row in scanned(store, name, 0, 2)} == set(keys)
            remove_rows(store, name, keys)
        assert store.marks(names) == marks

    def test_processes_that_replace_at_once_replace_each_row_once(
        self, store: ReplacingStore, store_factory: StoreFactory
    ) -> None:
        store.put_many("t", [encoded([(b"counter", 1000, 0, 0, b"0")])])
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=_raise_counters, args=(store_factory, "t", 100)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert read_rows(store, "t", [b"counter"]) == [(800, 0, 0, b"200")]

    # --- puts under existing keys

    @pytest.mark.parametrize("count", [1, 3, 1_300])
    def test_only_existing_keys_are_written_and_the_others_named(self, store: ReplacingStore, count: int) -> None:
        store.setup(["t"])
        keys = [b"key-%06d" % i for i in range(4 * count)]
        held: list[Row] = [(key, 5, 0, 0, b"held") for i, key in enumerate(keys) if i % 4]
        store.put_many("t", [encoded(held)])
        # Of four keys one does not exist, and of one each the row that is put is older, newer and the same.
        event = [9, 4, 6, 5]
        rows: list[Row] = [(key, event[i % 4], 0, 0, b"held" if i % 4 == 3 else b"put") for i, key in enumerate(keys)]
        random.Random(count).shuffle(rows)
        put = store.put_existing("t", [encoded(rows[at::2]) for at in range(2)])
        assert sorted(put.absent) == keys[::4]
        assert_counts(put, count, 3 * count)
        expected = [None, (5, 0, 0, b"held"), (6, 0, 0, b"put"), (5, 0, 0, b"held")] * count
        assert read_rows(store, "t", keys) == expected
        again = store.put_many("t", [encoded(rows)])
        assert_counts(again, count, 3 * count)
        assert again.absent == ()
        assert read_rows(store, "t", keys[:1]) == [(9, 0, 0, b"put")]

    def test_a_new_table_has_no_existing_keys(self, store: ReplacingStore) -> None:
        put = store.put_existing("never set up", [encoded([(b"b", 1, 0, 0, b"x"), (b"a", 1, 0, 0, b"x")])])
        assert_counts(put, 0, 2)
        assert sorted(put.absent) == [b"a", b"b"]
        assert read_rows(store, "never set up", [b"a", b"b"]) == [None, None]

    def test_the_source_of_rows_for_existing_keys_is_closed(self, store: ReplacingStore) -> None:
        closed: list[bool] = []

        def batches() -> Iterator[EncodedRows]:
            try:
                yield encoded([(b"a", 1, 0, 0, b"x")])
            finally:
                closed.append(True)

        store.put_existing("t", source := batches())
        assert closed == [True]
        del source

    def test_a_key_that_is_removed_meanwhile_is_never_written_again(self, store: ReplacingStore) -> None:
        """Whatever is removed while rows are put, no row is inserted that is older than the removed one."""
        keys = [b"%05d" % i for i in range(3_000)]
        store.put_many("t", [encoded([(key, 9, 0, 0, b"newer") for key in keys])])

        def remove() -> None:
            for at in range(0, len(keys), 50):
                remove_rows(store, "t", keys[at : at + 50])

        remover = threading.Thread(target=remove)
        remover.start()
        for _ in range(3):
            store.put_existing("t", [encoded([(key, 1, 0, 0, b"older") for key in keys])])
        remover.join()
        assert read_rows(store, "t", keys) == [None] * len(keys)
