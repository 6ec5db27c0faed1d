"""Which row stays: the newest, whatever the order in which rows arrive."""

from __future__ import annotations

import itertools
import random

import pytest

from feast_assets.online_stores.base import OnlineStore
from feast_assets.testing.online_store.fixtures import StoreFixtures
from feast_assets.testing.online_store.rows import (
    FAR_FUTURE,
    FAR_PAST,
    INT64_MAX,
    INT64_MIN,
    Row,
    assert_counts,
    encoded,
    newest,
    random_rows,
    read_rows,
)


class NewestWinsCases(StoreFixtures):
    """Rows compare by event timestamp, created timestamp, version and payload bytes."""

    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
    def test_the_newest_row_wins_whatever_the_order(self, store: OnlineStore, order: tuple[int, ...]) -> None:
        rows: list[Row] = [(b"k", 1, 9, 9, b"z"), (b"k", 2, 1, 9, b"z"), (b"k", 2, 3, 4, b"z"), (b"k", 2, 3, 5, b"a")]
        store.setup(["t"])
        for at in order:
            store.put_many("t", [encoded([rows[at]])])
        assert read_rows(store, "t", [b"k"]) == [(2, 3, 5, b"a")]

    @pytest.mark.parametrize("seed", range(5))
    def test_random_rows_in_random_order_and_repeated_end_the_same(self, store: OnlineStore, seed: int) -> None:
        rows = random_rows(seed, 300, keys=7)
        store.setup(["t"])
        shuffled = rows + random.Random(seed).choices(rows, k=100)
        random.Random(seed + 1).shuffle(shuffled)
        store.put_many("t", (encoded([row]) for row in shuffled))
        expected = newest(rows)
        assert read_rows(store, "t", list(expected)) == list(expected.values())

    @pytest.mark.parametrize(
        ("older", "newer"),
        [
            ((INT64_MIN, 0), (FAR_PAST, 0)),
            ((-2, 0), (-1, 0)),
            ((-1, 0), (0, 0)),
            ((FAR_FUTURE - 1, 0), (FAR_FUTURE, 0)),
            ((2**53, 0), (2**53 + 1, 0)),
            ((INT64_MAX - 1, 0), (INT64_MAX, 0)),
            ((2**32 - 1, 0), (2**32, 0)),
            ((0, INT64_MAX), (1, INT64_MIN)),
            ((7, -1), (7, 0)),
            ((7, 2**62), (7, 2**62 + 1)),
        ],
    )
    def test_timestamps_compare_exactly(
        self, store: OnlineStore, older: tuple[int, int], newer: tuple[int, int]
    ) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"up", *older, 0, b"z"), (b"down", *newer, 0, b"a")])])
        result = store.put_many("t", [encoded([(b"up", *newer, 0, b"a"), (b"down", *older, 0, b"z")])])
        assert_counts(result, 1, 1)
        assert read_rows(store, "t", [b"up", b"down"]) == [(*newer, 0, b"a"), (*newer, 0, b"a")]

    @pytest.mark.parametrize(
        ("older", "newer"),
        [(0, 1), (255, 256), (2**32 - 1, 2**32), (2**53, 2**53 + 1), (2**62 - 1, 2**62), (INT64_MAX - 1, INT64_MAX)],
    )
    def test_versions_decide_between_equal_timestamps(self, store: OnlineStore, older: int, newer: int) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"up", 1, -1, older, b"z"), (b"down", 1, -1, newer, b"a")])])
        put = store.put_many("t", [encoded([(b"up", 1, -1, newer, b"a"), (b"down", 1, -1, older, b"z")])])
        assert_counts(put, 1, 1)
        assert read_rows(store, "t", [b"up", b"down"]) == [(1, -1, newer, b"a")] * 2

    @pytest.mark.parametrize(
        ("smaller", "larger"),
        [(b"", b"\x00"), (b"a", b"aa"), (b"a\x00b", b"a\x01"), (b"\x7f", b"\x80"), (b"a\xff", b"b"), (b"A", b"a")],
    )
    def test_payloads_decide_between_rows_that_are_equal_otherwise_by_their_bytes(
        self, store: OnlineStore, smaller: bytes, larger: bytes
    ) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"up", 1, 1, 7, smaller), (b"down", 1, 1, 7, larger)])])
        store.put_many("t", [encoded([(b"up", 1, 1, 7, larger), (b"down", 1, 1, 7, smaller)])])
        assert read_rows(store, "t", [b"up", b"down"]) == [(1, 1, 7, larger), (1, 1, 7, larger)]

    def test_counts_say_what_was_written_and_what_was_ignored(self, store: OnlineStore) -> None:
        store.setup(["t"])
        first = store.put_many("t", [encoded([(b"a", 1, 0, 0, b"x"), (b"b", 5, 0, 0, b"x")])])
        again = store.put_many("t", [encoded([(b"a", 1, 0, 0, b"x"), (b"b", 5, 0, 0, b"x")])])
        mixed = store.put_many(
            "t", [encoded([(b"a", 2, 0, 0, b"y"), (b"b", 4, 0, 0, b"y")]), encoded([(b"c", 1, 0, 0, b"")])]
        )
        assert_counts(first, 2, 0)
        assert_counts(again, 0, 2)
        assert_counts(mixed, 2, 1)
        assert mixed.absent == ()

    def test_a_row_that_is_put_twice_in_one_put_is_written_once(self, store: OnlineStore) -> None:
        """A source may yield a key in several batches, in any order."""
        rows: list[Row] = [(b"k", 3, 0, 0, b"x"), (b"k", 5, 0, 0, b"y"), (b"k", 4, 0, 0, b"z")]
        store.put_many("t", (encoded([row]) for row in rows))
        assert read_rows(store, "t", [b"k"]) == [(5, 0, 0, b"y")]

    def test_a_put_that_fails_leaves_no_part_of_a_batch(self, store: OnlineStore) -> None:
        """Of as many rows as the store says that it puts whole."""
        most = type(store).rows_put_whole
        count = 2_000 if most is None else min(most, 2_000)
        if count < 2:
            pytest.skip("this store puts single rows")
        store.setup(["t"])
        held: list[Row] = [(b"%04d" % i, 1, 0, 0, b"held") for i in range(0, count, 2)]
        store.put_many("t", [encoded(held)])
        rows: list[Row] = [(b"%04d" % i, 2, 0, 0, b"put") for i in range(count)]
        # A payload of a type that no store takes.
        rows[-1] = (*rows[-1][:4], None)  # type: ignore[assignment]
        with pytest.raises(Exception):  # noqa: B017, PT011 - what it is differs between stores
            store.put_many("t", [encoded(rows)])
        expected = newest(held)
        assert read_rows(store, "t", [row[0] for row in rows]) == [expected.get(row[0]) for row in rows]
