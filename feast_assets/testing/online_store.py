"""What every online store backend must do, as tests.

A backend's test module subclasses the suite and says how a store is made::

    class TestMyStore(OnlineStoreConformance):
        @pytest.fixture
        def store_factory(self, tmp_path):
            return functools.partial(MyStore, MyStoreConfig(...), tmp_path)

The factory makes a new handle on one and the same place each time it is called. It must pickle (an importable class or
function, or a ``functools.partial`` of one), because a test hands it to other processes. Each test needs a place of its
own.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from feast_assets.errors import ForeignValueWarning
from feast_assets.online_stores.base import (
    NEVER_ADVANCED,
    EncodedRows,
    Mark,
    OnlineRead,
    OnlineStore,
    RowHeads,
    StoredRows,
)

StoreFactory = Callable[[], OnlineStore]
Row = tuple[bytes, int, int, bytes]

_FAR_PAST = -62_135_596_800_000_000
_FAR_FUTURE = 253_402_300_799_999_999
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


def encoded(rows: Sequence[Row]) -> EncodedRows:
    """Returns rows of (key, event, created, payload) as a batch."""
    return EncodedRows(
        keys=[row[0] for row in rows],
        event_timestamps=np.array([row[1] for row in rows], np.int64),
        created_timestamps=np.array([row[2] for row in rows], np.int64),
        payloads=[row[3] for row in rows],
    )


def read_rows(store: OnlineStore, table: str, keys: Sequence[bytes]) -> list[tuple[int, int, bytes] | None]:
    """Returns (event, created, payload) per key, or None where there is no row."""
    (stored,) = store.get_many([OnlineRead(table, keys)])
    return _rows_of(stored)


def _rows_of(stored: StoredRows) -> list[tuple[int, int, bytes] | None]:
    assert {*map(type, stored.event_timestamps), *map(type, stored.created_timestamps)} <= {int}
    assert len(stored.event_timestamps) == len(stored.created_timestamps) == len(stored.payloads)
    rows: list[tuple[int, int, bytes] | None] = []
    for event, created, payload in zip(
        stored.event_timestamps, stored.created_timestamps, stored.payloads, strict=True
    ):
        if payload is None:
            assert (event, created) == (0, 0)
            rows.append(None)
        else:
            rows.append((event, created, payload))
    return rows


def heads(rows: Sequence[Row]) -> RowHeads:
    """Returns what a scan tells of rows of (key, event, created, payload)."""
    batch = encoded(rows)
    return RowHeads(batch.keys, batch.event_timestamps, batch.created_timestamps, [row[3][:8] for row in rows])


def scanned(store: OnlineStore, table: str, start: int, end: int, below: bytes) -> set[Row]:
    """Returns the rows that a scan finds, with the heads of their payloads."""
    found: set[Row] = set()
    for some in store.scan(table, start, end, below):
        assert some.event_timestamps.dtype == some.created_timestamps.dtype == np.int64
        assert len(some) > 0
        found.update(
            zip(some.keys, some.event_timestamps.tolist(), some.created_timestamps.tolist(), some.heads, strict=True)
        )
    return found


def _raise_counters(factory: StoreFactory, table: str, times: int) -> None:
    """Adds to a counter in an older row's place as often as it is told, however often another is faster."""
    store = factory()
    try:
        while times:
            ((event, created, payload),) = [row for row in read_rows(store, table, [b"counter"]) if row]
            older = encoded([(b"counter", event - 1, created, b"%d" % (int(payload) + 1))])
            times -= store.replace_many(table, heads([(b"counter", event, created, payload)]), older)
    finally:
        store.close()


def _advance_often(factory: StoreFactory, table: str, parity: int, times: int) -> None:
    """Advances a mark so many times, to numbers that no other takes, however often another is faster."""
    store = factory()
    try:
        seen = store.mark(table).number
        while times:
            number = seen + 2 + (seen + parity) % 2  # of one parity
            found = store.advance(table, seen, number)
            times -= found.number == number
            seen = found.number
    finally:
        store.close()


def newest(rows: Sequence[Row]) -> dict[bytes, tuple[int, int, bytes]]:
    """Returns the row per key that must be stored after these were put in any order."""
    result: dict[bytes, tuple[int, int, bytes]] = {}
    for key, event, created, payload in rows:
        row = (event, created, payload)
        result[key] = max(result.get(key, row), row)
    return result


def _random_rows(seed: int, count: int, keys: int) -> list[Row]:
    """Returns rows with many equal keys and equal timestamps, some of them equal altogether."""
    rng = random.Random(seed)
    stamps = [_INT64_MIN, _FAR_PAST, -1, 0, 1, 2**53, 2**53 + 1, 1_700_000_000_000_000, _FAR_FUTURE, _INT64_MAX]
    return [
        (
            b"key-%d" % rng.randrange(keys),
            rng.choice(stamps),
            rng.choice(stamps),
            bytes(rng.choices([0, 1, 127, 128, 255], k=rng.randrange(4))),
        )
        for _ in range(count)
    ]


def _put_slices(factory: StoreFactory, table: str, rows: Sequence[Row], size: int) -> None:
    """Puts rows a few at a time; a batch holds a key at most once."""
    store = factory()
    try:
        for at in range(0, len(rows), size):
            unique = {row[0]: row for row in rows[at : at + size]}
            rest = [row for row in rows[at : at + size] if unique[row[0]] is not row]
            store.put_many(table, [encoded(list(unique.values())), *[encoded([row]) for row in rest]])
    finally:
        store.close()


def _set_up_and_tell(
    factory: StoreFactory, start: threading.Barrier, identities: multiprocessing.queues.Queue[list[str]]
) -> None:
    """Sets up tables one by one, each at the same time as the other processes do."""
    store = factory()
    found = []
    try:
        for number in range(20):
            start.wait(60)
            store.setup([f"t{number}"])
            found.append(store.identity(f"t{number}"))
    finally:
        store.close()
        identities.put(found)


class OnlineStoreConformance:
    """Subclass this with a ``store_factory`` fixture."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        raise NotImplementedError("The test class of a backend gives a store_factory fixture.")

    @pytest.fixture
    def store(self, store_factory: StoreFactory) -> Iterator[OnlineStore]:
        store = store_factory()
        yield store
        store.close()

    def test_a_row_reads_back_as_it_was_put(self, store: OnlineStore) -> None:
        store.setup(["t"])
        payload = bytes(range(256))
        result = store.put_many("t", [encoded([(b"\x00key\xff", 5, 7, payload)])])
        assert (result.written, result.ignored) == (1, 0)
        assert read_rows(store, "t", [b"\x00key\xff"]) == [(5, 7, payload)]

    def test_an_empty_payload_and_an_empty_key_are_a_row(self, store: OnlineStore) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"", 0, 0, b"")])])
        assert read_rows(store, "t", [b""]) == [(0, 0, b"")]

    def test_results_follow_the_keys_with_repeats_and_gaps(self, store: OnlineStore) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"a", 1, 0, b"A"), (b"b", 2, 0, b"B")])])
        found = read_rows(store, "t", [b"b", b"x", b"a", b"b", b"y"])
        assert found == [(2, 0, b"B"), None, (1, 0, b"A"), (2, 0, b"B"), None]

    def test_no_keys_and_no_reads_give_empty_results(self, store: OnlineStore) -> None:
        store.setup(["t"])
        assert read_rows(store, "t", []) == []
        assert store.get_many([]) == []

    def test_several_tables_are_read_at_once_in_order(self, store: OnlineStore) -> None:
        store.setup(["one", "two"])
        store.put_many("one", [encoded([(b"k", 1, 0, b"1")])])
        store.put_many("two", [encoded([(b"k", 2, 0, b"2"), (b"l", 3, 0, b"3")])])
        reads = [
            OnlineRead("two", [b"l", b"k"]),
            OnlineRead("one", [b"k", b"l"]),
            OnlineRead("two", []),
            OnlineRead("one", [b"k"]),
        ]
        found = [_rows_of(stored) for stored in store.get_many(reads)]
        assert found == [[(3, 0, b"3"), (2, 0, b"2")], [(1, 0, b"1"), None], [], [(1, 0, b"1")]]

    def test_nothing_put_changes_nothing(self, store: OnlineStore) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"k", 1, 0, b"x")])])
        nothing: list[list[EncodedRows]] = [[], [encoded([])], [encoded([]), encoded([])]]
        for batches in nothing:
            result = store.put_many("t", batches)
            assert (result.written, result.ignored) == (0, 0)
        assert read_rows(store, "t", [b"k"]) == [(1, 0, b"x")]

    def test_an_unknown_table_reads_as_empty(self, store: OnlineStore) -> None:
        assert read_rows(store, "never set up", [b"k"]) == [None]
        store.setup(["t"])
        store.put_many("t", [encoded([(b"k", 1, 0, b"x")])])
        reads = [OnlineRead("never set up", [b"k", b"l"]), OnlineRead("t", [b"k"])]
        assert [_rows_of(s) for s in store.get_many(reads)] == [[None, None], [(1, 0, b"x")]]

    def test_setting_up_again_keeps_the_rows(self, store: OnlineStore) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"k", 1, 0, b"x")])])
        store.setup(["t", "u", "t"])
        assert read_rows(store, "t", [b"k"]) == [(1, 0, b"x")]

    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
    def test_the_newest_row_wins_whatever_the_order(self, store: OnlineStore, order: tuple[int, ...]) -> None:
        rows: list[Row] = [(b"k", 1, 9, b"z"), (b"k", 2, 1, b"z"), (b"k", 2, 3, b"a"), (b"k", 2, 3, b"b")]
        store.setup(["t"])
        for at in order:
            store.put_many("t", [encoded([rows[at]])])
        assert read_rows(store, "t", [b"k"]) == [(2, 3, b"b")]

    @pytest.mark.parametrize("seed", range(5))
    def test_random_rows_in_random_order_and_repeated_end_the_same(self, store: OnlineStore, seed: int) -> None:
        rows = _random_rows(seed, 300, keys=7)
        store.setup(["t"])
        shuffled = rows + random.Random(seed).choices(rows, k=100)
        random.Random(seed + 1).shuffle(shuffled)
        store.put_many("t", (encoded([row]) for row in shuffled))
        expected = newest(rows)
        assert read_rows(store, "t", list(expected)) == list(expected.values())

    @pytest.mark.parametrize(
        ("older", "newer"),
        [
            ((_INT64_MIN, 0), (_FAR_PAST, 0)),
            ((-2, 0), (-1, 0)),
            ((-1, 0), (0, 0)),
            ((_FAR_FUTURE - 1, 0), (_FAR_FUTURE, 0)),
            ((2**53, 0), (2**53 + 1, 0)),
            ((_INT64_MAX - 1, 0), (_INT64_MAX, 0)),
            ((2**32 - 1, 0), (2**32, 0)),
            ((0, _INT64_MAX), (1, _INT64_MIN)),
            ((7, -1), (7, 0)),
            ((7, 2**62), (7, 2**62 + 1)),
        ],
    )
    def test_timestamps_compare_exactly(
        self, store: OnlineStore, older: tuple[int, int], newer: tuple[int, int]
    ) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"up", *older, b"z"), (b"down", *newer, b"a")])])
        result = store.put_many("t", [encoded([(b"up", *newer, b"a"), (b"down", *older, b"z")])])
        assert (result.written, result.ignored) == (1, 1)
        assert read_rows(store, "t", [b"up", b"down"]) == [(*newer, b"a"), (*newer, b"a")]

    @pytest.mark.parametrize(
        ("smaller", "larger"),
        [(b"", b"\x00"), (b"a", b"aa"), (b"a\x00b", b"a\x01"), (b"\x7f", b"\x80"), (b"a\xff", b"b"), (b"A", b"a")],
    )
    def test_payloads_decide_between_equal_timestamps_by_their_bytes(
        self, store: OnlineStore, smaller: bytes, larger: bytes
    ) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"up", 1, 1, smaller), (b"down", 1, 1, larger)])])
        store.put_many("t", [encoded([(b"up", 1, 1, larger), (b"down", 1, 1, smaller)])])
        assert read_rows(store, "t", [b"up", b"down"]) == [(1, 1, larger), (1, 1, larger)]

    def test_counts_say_what_was_written_and_what_was_ignored(self, store: OnlineStore) -> None:
        store.setup(["t"])
        first = store.put_many("t", [encoded([(b"a", 1, 0, b"x"), (b"b", 5, 0, b"x")])])
        again = store.put_many("t", [encoded([(b"a", 1, 0, b"x"), (b"b", 5, 0, b"x")])])
        mixed = store.put_many("t", [encoded([(b"a", 2, 0, b"y"), (b"b", 4, 0, b"y")]), encoded([(b"c", 1, 0, b"")])])
        assert (first.written, first.ignored) == (2, 0)
        assert (again.written, again.ignored) == (0, 2)
        assert (mixed.written, mixed.ignored) == (2, 1)
        assert mixed.by_group == ()

    def test_counts_are_also_by_group_where_rows_have_groups(self, store: OnlineStore) -> None:
        store.setup(["t"])
        keys = [b"%04d" % i for i in range(2_500)]
        every_third = [(key, 5, 0, b"x") for key in keys[::3]]
        store.put_many("t", [encoded(every_third)])
        groups = np.array([i * 7 % 11 for i in range(len(keys))])
        # Every third key has a newer row; of the others, all are written.
        batch = replace(encoded([(key, 4, 0, b"y") for key in keys]), groups=groups)
        put = store.put_many("t", [batch, replace(encoded([(b"last", 1, 0, b"")]), groups=np.array([12]))])
        of_each = [int(np.sum((groups == g) & (np.arange(len(keys)) % 3 != 0))) for g in range(11)]
        assert put.by_group == (*of_each, 0, 1)
        assert put.written == sum(put.by_group)
        assert put.written + put.ignored == len(keys) + 1

    @pytest.mark.parametrize("count", [1, 3, 1_300])
    def test_rows_that_only_replace_leave_out_keys_that_are_not_there_and_name_them(
        self, store: OnlineStore, count: int
    ) -> None:
        store.setup(["t"])
        keys = [b"key-%06d" % i for i in range(4 * count)]
        held = [(key, 5, 0, b"held") for i, key in enumerate(keys) if i % 4]
        store.put_many("t", [encoded(held)])
        # Of four keys one is not there, and of one each the row that is put is older, newer and the same.
        event = [9, 4, 6, 5]
        rows = [(key, event[i % 4], 0, b"held" if i % 4 == 3 else b"put") for i, key in enumerate(keys)]
        random.Random(count).shuffle(rows)
        batches = [replace(encoded(rows[at::2]), only_replaces=True) for at in range(2)]
        put = store.put_many("t", batches)
        assert sorted(put.absent) == keys[::4]
        assert (put.written, put.ignored, put.by_group) == (count, 3 * count, ())
        expected = [None, (5, 0, b"held"), (6, 0, b"put"), (5, 0, b"held")] * count
        assert read_rows(store, "t", keys) == expected
        again = store.put_many("t", [encoded(rows)])
        assert (again.written, again.absent) == (count, ())
        assert read_rows(store, "t", keys[:1]) == [(9, 0, b"put")]

    def test_rows_that_only_replace_are_counted_by_group(self, store: OnlineStore) -> None:
        store.put_many("t", [encoded([(b"a", 5, 0, b""), (b"b", 5, 0, b""), (b"c", 5, 0, b"")])])
        rows = encoded([(b"a", 6, 0, b""), (b"gone", 6, 0, b""), (b"b", 4, 0, b""), (b"c", 7, 0, b"")])
        put = store.put_many("t", [replace(rows, groups=np.array([2, 0, 1, 2]), only_replaces=True)])
        assert (put.written, put.ignored, put.by_group, put.absent) == (2, 2, (0, 0, 2), (b"gone",))

    def test_rows_that_only_replace_find_nothing_in_a_new_table(self, store: OnlineStore) -> None:
        rows = replace(encoded([(b"b", 1, 0, b"x"), (b"a", 1, 0, b"x")]), only_replaces=True)
        put = store.put_many("never set up", [rows])
        assert (put.written, put.ignored, sorted(put.absent)) == (0, 2, [b"a", b"b"])
        assert read_rows(store, "never set up", [b"a", b"b"]) == [None, None]

    def test_rows_that_only_replace_do_so_without_blocking(self, store: OnlineStore) -> None:
        async def put() -> tuple[int, tuple[bytes, ...]]:
            rows = encoded([(b"a", 2, 0, b"y"), (b"b", 2, 0, b"y")])
            done = await store.put_many_async("t", [replace(rows, only_replaces=True)])
            await store.aclose()
            return done.written, done.absent

        store.put_many("t", [encoded([(b"a", 1, 0, b"x")])])
        assert asyncio.run(put()) == (1, (b"b",))
        assert read_rows(store, "t", [b"a", b"b"]) == [(2, 0, b"y"), None]

    def test_rows_that_only_replace_never_write_a_key_that_others_remove_meanwhile(self, store: OnlineStore) -> None:
        """Whatever is removed while rows are put, an older row than the one that was there is never inserted."""
        keys = [b"%05d" % i for i in range(3_000)]
        store.put_many("t", [encoded([(key, 9, 0, b"newer") for key in keys])])
        remover = threading.Thread(
            target=lambda: [store.delete("t", keys[at : at + 50]) for at in range(0, len(keys), 50)]
        )
        remover.start()
        for _ in range(3):
            store.put_many("t", [replace(encoded([(key, 1, 0, b"older") for key in keys]), only_replaces=True)])
        remover.join()
        assert read_rows(store, "t", keys) == [None] * len(keys)

    @pytest.mark.parametrize(
        "foreign",
        [
            (5, b""),
            (5, b"\x00\x00short"),
            (5, b"\x01" + bytes(30)),
            (_INT64_MAX, b"\x00" * 30),
            (_INT64_MAX, b"\xff" * 9),
        ],
    )
    def test_a_row_of_the_codec_overwrites_what_cannot_be_one(
        self, store: OnlineStore, foreign: tuple[int, bytes]
    ) -> None:
        """However new what is there seems to be."""
        event, payload = foreign
        held = [(b"k%03d" % i, event, 5, payload) for i in range(3)]
        sound = (b"sound", 5, 5, bytes(8) + b"an id and more")
        store.put_many("t", [encoded([*held, sound])])
        row = bytes(7) + b"\x01an id and more"
        rows = replace(encoded([(key, 4, 0, row) for key in (b"k000", b"k001", b"sound")]), of_codec=True)
        put = store.put_many("t", [replace(rows, only_replaces=True)])
        assert set(put.absent) == {b"k000", b"k001"}
        with pytest.warns(ForeignValueWarning, match="k001") as warned:
            put = store.put_many("t", [rows])
        assert {"sound" in str(w.message) or "k002" in str(w.message) for w in warned} == {False}
        assert (put.written, put.ignored) == (2, 1)
        assert read_rows(store, "t", [b"k000", b"k001", b"sound"]) == [(4, 0, row), (4, 0, row), sound[1:]]

    def test_what_is_stored_is_a_row_as_far_as_no_codec_says_otherwise(self, store: OnlineStore) -> None:
        store.put_many("t", [encoded([(b"k", _INT64_MAX, 0, b"")])])
        put = store.put_many("t", [encoded([(b"k", 4, 0, b"x")])])
        assert (put.written, put.ignored) == (0, 1)
        assert store.foreign("t", [b"k", b"not there"]) == {}
        assert store.foreign("never set up", [b"k"]) == {}

    def test_deleted_rows_are_gone_and_others_stay(self, store: OnlineStore) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"a", 9, 0, b"x"), (b"b", 9, 0, b"y")])])
        store.delete("t", [b"a", b"never stored"])
        store.delete("t", [])
        store.delete("never set up", [b"a"])
        assert read_rows(store, "t", [b"a", b"b"]) == [None, (9, 0, b"y")]
        store.put_many("t", [encoded([(b"a", 1, 0, b"older")])])
        assert read_rows(store, "t", [b"a"]) == [(1, 0, b"older")]

    @pytest.mark.parametrize("seed", range(3))
    def test_a_scan_finds_the_rows_of_a_span_of_time_below_some_bytes(self, store: OnlineStore, seed: int) -> None:
        rows = newest(_random_rows(seed, 400, keys=120))
        rows[b""] = (5, 5, bytes(range(20)))
        rows[b"long\x00*?"] = (5, -5, b"\x7f" * 20)
        store.setup(["t", "u"])
        store.put_many("t", [encoded([(key, *row) for key, row in rows.items()])])
        store.put_many("u", [encoded([(b"other", 5, 0, b"")])])
        stamps = [_INT64_MIN, _FAR_PAST, -1, 0, 1, 5, 2**53, 2**53 + 1, 1_700_000_000_000_000, _INT64_MAX]
        for start, end in itertools.combinations_with_replacement(stamps, 2):
            for below in (b"", b"\x00", b"\x7f", b"\x80", b"\xff" * 8):
                assert scanned(store, "t", start, end, below) == {
                    (key, event, created, payload[:8])
                    for key, (event, created, payload) in rows.items()
                    if start <= event < end and payload < below
                }

    def test_a_scan_of_many_rows_finds_each(self, store: OnlineStore) -> None:
        rows: list[Row] = [(b"key-%d" % i, i, -i, b"payload %d" % i) for i in range(12_345)]
        store.put_many("t", [encoded(rows)])
        assert scanned(store, "t", 5, _INT64_MAX, b"q") == {(k, e, c, p[:8]) for k, e, c, p in rows[5:]}

    def test_a_sample_has_keys_of_the_table_each_once(self, store: OnlineStore) -> None:
        rows = [(b"k%d" % i, i, 0, b"p") for i in range(300)]
        store.put_many("t", [encoded(rows)])
        store.put_many("other", [encoded([(b"other", 1, 0, b"p")])])
        known = {key for key, *_ in rows}
        for count in (1, 7, 100):
            sample = store.sample_keys("t", count, seed=count)
            assert len(sample) == len(set(sample)) == count
            assert set(sample) <= known
            assert sample == store.sample_keys("t", count, seed=count)
        assert len({tuple(store.sample_keys("t", 20, seed)) for seed in range(10)}) > 1
        assert set(store.sample_keys("t", 1000, 0)) == known
        assert store.sample_keys("t", 0, 0) == []
        assert store.sample_keys("nowhere", 10, 0) == []

    def test_a_scan_of_no_table_finds_nothing(self, store: OnlineStore) -> None:
        store.setup(["other"])
        assert scanned(store, "t", _INT64_MIN, _INT64_MAX, b"\xff") == set()

    def test_a_scan_that_is_given_up_leaves_the_store_usable(self, store: OnlineStore) -> None:
        rows: list[Row] = [(b"key-%d" % i, i, 0, b"x") for i in range(12_345)]
        store.put_many("t", [encoded(rows)])
        found = store.scan("t", 0, _INT64_MAX, b"y")
        next(found)
        store.put_many("t", [encoded([(b"key-0", _INT64_MAX, 0, b"newer")])])
        found.close()  # type: ignore[attr-defined]
        assert read_rows(store, "t", [b"key-0"]) == [(_INT64_MAX, 0, b"newer")]

    def test_rows_are_replaced_by_older_ones_or_removed(self, store: OnlineStore) -> None:
        rows: list[Row] = [(b"k%d" % i, 100 + i, i, b"12345678 and %d" % i) for i in range(2500)]
        store.put_many("t", [encoded(rows)])
        older = {key: (event - 50, _INT64_MIN, b"older") for key, event, _, _ in rows[:1200]}
        found = store.replace_many("t", heads(rows[:2400]), encoded([(key, *row) for key, row in older.items()]))
        assert found == 2400
        expected = [*older.values(), *[None] * 1200, *[row[1:] for row in rows[2400:]]]
        assert read_rows(store, "t", [row[0] for row in rows]) == expected

    def test_only_the_rows_that_are_told_are_replaced(self, store: OnlineStore) -> None:
        held: Row = (b"", 7, -7, b"12345678 and more")
        others: list[Row] = [
            (b"event", 8, -7, b"12345678 and more"),
            (b"created", 7, -6, b"12345678 and more"),
            (b"head", 7, -7, b"12345679 and more"),
            (b"shorter", 7, -7, b"1234567"),
            (b"longer", 7, -7, b"123456789"),
        ]
        store.put_many("t", [encoded([held, *others])])
        told: list[Row] = [(key, *held[1:]) for key, *_ in [held, *others]]
        told[4] = (b"shorter", 7, -7, b"1234567\x00")
        told[5] = (b"longer", 7, -7, b"1234567")
        unknown: Row = (b"unknown", 7, -7, b"")
        new = encoded([(key, 1, 1, b"new") for key, *_ in [*told, unknown]])
        assert store.replace_many("t", heads([*told, unknown]), new) == 1
        assert store.replace_many("t", heads([*told, unknown]), encoded([])) == 0
        assert read_rows(store, "t", [b"", b"unknown"]) == [(1, 1, b"new"), None]
        assert read_rows(store, "t", [row[0] for row in others]) == [row[1:] for row in others]
        assert store.replace_many("never set up", heads(told), new) == 0
        assert store.replace_many("t", heads([]), encoded([])) == 0

    def test_processes_that_replace_at_once_replace_each_row_once(
        self, store: OnlineStore, store_factory: StoreFactory
    ) -> None:
        store.put_many("t", [encoded([(b"counter", 1000, 0, b"0")])])
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=_raise_counters, args=(store_factory, "t", 100)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert read_rows(store, "t", [b"counter"]) == [(800, 0, b"200")]

    def test_a_dropped_table_is_empty_and_can_be_used_again(self, store: OnlineStore) -> None:
        store.setup(["t", "u"])
        store.put_many("t", [encoded([(b"k%d" % i, 9, 0, b"x") for i in range(2500)])])
        store.put_many("u", [encoded([(b"k1", 9, 0, b"y")])])
        store.drop(["t"])
        assert read_rows(store, "t", [b"k1", b"k2499"]) == [None, None]
        assert read_rows(store, "u", [b"k1"]) == [(9, 0, b"y")]
        store.drop(["t", "never set up"])
        store.setup(["t"])
        store.put_many("t", [encoded([(b"k1", 1, 0, b"new")])])
        assert read_rows(store, "t", [b"k1"]) == [(1, 0, b"new")]

    def test_table_names_never_mix(self, store: OnlineStore) -> None:
        names = ["a", "A", "a:", "a:1", "ab", "a*", "a?", "a[b]"]
        names += ["a\\", 'a"b', "a'b", "a;--", "a b", "a%", "a-b", "a\n"]
        names += ["ä", "sqlite_x", "1", "", "rows_a", "select", "%41%", "x" * 120]
        store.setup(names)
        for number, name in enumerate(names):
            store.put_many(name, [encoded([(b"k", number, 0, name.encode()), (b":k", number, 1, b"")])])
        for number, name in enumerate(names):
            assert read_rows(store, name, [b"k", b":k"]) == [(number, 0, name.encode()), (number, 1, b"")], name
        for number, name in enumerate(names):
            store.drop([name])
            assert read_rows(store, name, [b"k"]) == [None], name
            for later, other in enumerate(names[number + 1 :], number + 1):
                assert read_rows(store, other, [b"k"]) == [(later, 0, other.encode())], (name, other)

    def test_a_table_has_no_identity_before_it_is_set_up_or_after_it_is_dropped(self, store: OnlineStore) -> None:
        assert store.identity("t") == ""
        store.setup(["other"])
        assert store.identity("t") == ""
        store.setup(["t"])
        assert store.identity("t") != ""
        store.drop(["t"])
        assert store.identity("t") == ""
        assert store.identity("other") != ""

    def test_an_identity_stays_until_the_table_is_dropped(
        self, store: OnlineStore, store_factory: StoreFactory
    ) -> None:
        store.setup(["t"])
        first = store.identity("t")
        store.setup(["u", "t"])
        store.put_many("t", [encoded([(b"k", 1, 0, b"x")])])
        store.delete("t", [b"k", b""])
        store.drop(["u", "never set up"])
        store.close()
        other = store_factory()
        other.setup(["t"])
        assert [store.identity("t"), other.identity("t")] == [first, first]
        other.close()
        store.drop(["t"])
        store.setup(["t"])
        assert store.identity("t") not in ("", first)

    def test_every_table_has_an_identity_of_its_own(self, store: OnlineStore) -> None:
        names = ["a", "A", "a:", "a*", "", "id", "id:a", "1:a", "ä", "rows_a", "feast_assets_tables"]
        store.setup(names)
        identities = [store.identity(name) for name in names]
        assert len(set(identities) - {""}) == len(names)
        store.drop(["a*", "id"])
        left = [store.identity(name) for name in names]
        assert left == ["" if name in ("a*", "id") else identities[at] for at, name in enumerate(names)]

    def test_a_put_into_a_table_that_was_not_set_up_draws_its_identity(self, store: OnlineStore) -> None:
        store.put_many("t", [encoded([(b"k", 1, 0, b"x")])])
        identity = store.identity("t")
        assert identity != ""
        store.put_many("t", [encoded([(b"k", 2, 0, b"x")])])
        store.setup(["t"])
        assert store.identity("t") == identity

    def test_an_identity_is_no_row(self, store: OnlineStore) -> None:
        store.setup(["t", ""])
        keys = [b"", b"id", b"t", b":t", b"id:t", b"identity"]
        assert read_rows(store, "t", keys) == read_rows(store, "", keys) == [None] * len(keys)
        rows = [(key, 1, 0, b"x") for key in keys]
        identities = [store.identity("t"), store.identity("")]
        store.put_many("t", [encoded(rows)])
        store.put_many("", [encoded(rows)])
        assert [store.identity("t"), store.identity("")] == identities
        store.delete("t", keys)
        store.delete("", keys)
        assert [store.identity("t"), store.identity("")] == identities

    def test_processes_that_set_up_at_once_agree_on_the_identity(
        self, store: OnlineStore, store_factory: StoreFactory
    ) -> None:
        context = multiprocessing.get_context("spawn")
        start, identities = context.Barrier(2), context.Queue()
        arguments = (store_factory, start, identities)
        workers = [context.Process(target=_set_up_and_tell, args=arguments) for _ in range(2)]
        for worker in workers:
            worker.start()
        one, other = [identities.get(timeout=120) for _ in workers]
        for worker in workers:
            worker.join(60)
        assert one == other == [store.identity(f"t{number}") for number in range(20)]
        assert len(set(one) - {""}) == 20

    def test_a_mark_is_set_up_with_its_table_and_goes_with_it(self, store: OnlineStore) -> None:
        assert store.marks(["t", "u"]) == [Mark("", 0)] * 2
        assert store.marks([]) == []
        store.setup(["t"])
        first = store.mark("t")
        assert first == Mark(store.identity("t"), NEVER_ADVANCED)
        assert store.advance("t", NEVER_ADVANCED, 5) == Mark(first.identity, 5)
        store.setup(["t", "u"])
        assert store.mark("t") == Mark(first.identity, 5)
        store.drop(["t"])
        assert store.mark("t") == Mark("", 0)
        store.setup(["t"])
        assert store.mark("t").number == NEVER_ADVANCED
        assert store.mark("t").identity not in ("", first.identity)

    def test_a_mark_advances_only_from_the_number_that_is_expected(
        self, store: OnlineStore, store_factory: StoreFactory
    ) -> None:
        store.setup(["t", "other"])
        identity = store.identity("t")
        assert store.advance("t", 7, 8) == Mark(identity, NEVER_ADVANCED)
        largest = 2**62 - 1
        for before, number in ((NEVER_ADVANCED, 8), (8, 2**53 + 1), (2**53 + 1, largest)):
            assert store.advance("t", 0, number).number == before
            assert store.advance("t", before, number) == Mark(identity, number)
            # The answer to a call that was lost with its connection: it is asked again.
            assert store.advance("t", before, number) == Mark(identity, number)
            assert store.advance("t", before, number - 1) == Mark(identity, number)
        store.close()
        again = store_factory()
        assert again.marks(["other", "t"]) == [Mark(again.identity("other"), NEVER_ADVANCED), Mark(identity, largest)]
        again.close()

    def test_a_table_that_is_not_there_has_no_mark_to_advance(self, store: OnlineStore) -> None:
        for expected in (0, NEVER_ADVANCED):
            assert store.advance("t", expected, 5) == Mark("", 0)
        store.setup(["u"])
        assert store.advance("t", 0, 5) == store.mark("t") == Mark("", 0)

    def test_a_table_that_a_put_set_up_has_a_mark_that_can_be_advanced(self, store: OnlineStore) -> None:
        store.put_many("t", [encoded([(b"k", 1, 0, b"x")])])
        found = store.mark("t")
        assert found.identity
        assert found.number in (0, NEVER_ADVANCED)
        assert store.advance("t", found.number, 9) == store.mark("t") == Mark(found.identity, 9)

    def test_a_mark_is_no_row_and_rows_leave_it_alone(self, store: OnlineStore) -> None:
        names = ["t", "", "mark", "mark:t", "id:t", "ä", "rows_t", "feast_assets_marks"]
        store.setup(names)
        expected = [Mark(store.identity(name), 100 + at) for at, name in enumerate(names)]
        assert [store.advance(name, NEVER_ADVANCED, 100 + at) for at, name in enumerate(names)] == expected
        keys = [b"", b"mark", b"t", b":t", b"mark:t", b"number"]
        for name in names:
            assert read_rows(store, name, keys) == [None] * len(keys)
            store.put_many(name, [encoded([(key, 1, 0, b"x") for key in keys])])
        assert store.marks(names) == expected
        for name in names:
            assert {row[0] for row in scanned(store, name, 0, 2, b"\xff" * 8)} == set(keys)
            store.delete(name, keys)
        assert store.marks(names) == expected

    def test_of_handles_that_advance_a_mark_at_once_one_wins_each_time(
        self, store: OnlineStore, store_factory: StoreFactory
    ) -> None:
        store.setup(["t"])
        threads = [threading.Thread(target=_advance_often, args=(store_factory, "t", i, 30)) for i in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Each step is by two or three.
        assert 2 * 60 <= store.mark("t").number - NEVER_ADVANCED <= 3 * 60

    def test_an_incarnation_stays_while_the_store_does(self, store: OnlineStore, store_factory: StoreFactory) -> None:
        store.setup(["t"])
        other = store_factory()
        found = store.incarnation()
        other.put_many("t", [encoded([(b"k", 1, 0, b"x")])])
        assert other.incarnation() == found
        other.close()
        store.close()
        assert store.incarnation() == found
        assert not store.evicts()

    def test_the_source_of_a_put_is_closed_when_the_put_ends_or_fails(self, store: OnlineStore) -> None:
        store.setup(["t"])
        closed: list[str] = []

        def batches(name: str) -> Iterator[EncodedRows]:
            try:
                yield encoded([(b"a", 1, 0, b"x")])
                # A payload of a type that no store takes: the put fails at once or with what came before it.
                for _ in range(20_000):
                    yield encoded([(b"b", 1, 0, None)] if name.startswith("bad") else [])  # type: ignore[list-item]
            finally:
                closed.append(name)

        async def put(name: str) -> None:
            try:
                await store.put_many_async("t", batches(name))
            finally:
                await store.aclose()

        # The errors are kept, as a traceback keeps the frames that hold the source.
        errors = []
        for name, work in (
            ("good", lambda: store.put_many("t", batches("good"))),
            ("bad", lambda: store.put_many("t", batches("bad"))),
            ("good async", lambda: asyncio.run(put("good async"))),
            ("bad async", lambda: asyncio.run(put("bad async"))),
        ):
            if name.startswith("bad"):
                with pytest.raises(Exception) as caught:  # noqa: PT011 - what it is differs between backends
                    work()
                errors.append(caught.value)
            else:
                work()
            assert closed.pop() == name
            assert not closed

    def test_large_batches_and_reads(self, store: OnlineStore) -> None:
        store.setup(["t"])
        rows: list[Row] = [(b"key-%d" % i, i, -i, b"p%d" % i) for i in range(10_001)]
        result = store.put_many("t", [encoded(rows[:6_000]), encoded(rows[5_000:])])
        assert (result.written, result.ignored) == (10_001, 1_000)
        keys = [row[0] for row in reversed(rows)]
        assert read_rows(store, "t", keys) == [(row[1], row[2], row[3]) for row in reversed(rows)]

    def test_a_large_payload_reads_back(self, store: OnlineStore) -> None:
        store.setup(["t"])
        payload = random.Random(1).randbytes(3_000_000)
        store.put_many("t", [encoded([(b"k", 1, 0, payload)])])
        assert read_rows(store, "t", [b"k"]) == [(1, 0, payload)]

    def test_rows_outlive_the_handle_and_a_closed_handle_reconnects(
        self, store: OnlineStore, store_factory: StoreFactory
    ) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"k", 1, 0, b"x")])])
        store.close()
        store.close()
        assert read_rows(store, "t", [b"k"]) == [(1, 0, b"x")]
        other = store_factory()
        assert read_rows(other, "t", [b"k"]) == [(1, 0, b"x")]
        other.close()

    def test_threads_that_write_at_once_end_with_the_newest(
        self, store: OnlineStore, store_factory: StoreFactory
    ) -> None:
        rows = _random_rows(11, 600, keys=20)
        store.setup(["t"])
        failures: list[BaseException] = []

        def work(mine: Sequence[Row]) -> None:
            try:
                for at in range(0, len(mine), 30):
                    store.put_many("t", (encoded([row]) for row in mine[at : at + 30]))
                    read_rows(store, "t", [b"key-1", b"key-2"])
            except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(rows[i::3],)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        expected = newest(rows)
        assert read_rows(store, "t", list(expected)) == list(expected.values())

    def test_processes_that_write_at_once_end_with_the_newest(
        self, store: OnlineStore, store_factory: StoreFactory
    ) -> None:
        rows = _random_rows(12, 600, keys=20)
        store.setup(["t"])
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=_put_slices, args=(store_factory, "t", rows[i::2], 25)) for i in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert [worker.exitcode for worker in workers] == [0, 0]
        expected = newest(rows)
        assert read_rows(store, "t", list(expected)) == list(expected.values())

    def test_the_async_pair_does_as_the_other(self, store: OnlineStore) -> None:
        store.setup(["t"])
        rows = list({row[0]: row for row in _random_rows(13, 100, keys=50)}.values())
        keys = [row[0] for row in rows] + [b"missing"]

        async def work() -> list[list[tuple[int, int, bytes] | None]]:
            try:
                put = await store.put_many_async("t", [encoded(rows)])
                again = await store.put_many_async("t", [encoded(rows)])
                assert (put.written, again.written, again.ignored) == (len(rows), 0, len(rows))
                read = OnlineRead("t", keys)
                many = await asyncio.gather(*[store.get_many_async([read, OnlineRead("none", keys)]) for _ in range(8)])
                assert all([_rows_of(s) for s in each] == [_rows_of(s) for s in many[0]] for each in many)
                return [_rows_of(stored) for stored in many[0]]
            finally:
                await store.aclose()

        expected = [*[(row[1], row[2], row[3]) for row in rows], None]
        # Twice: a second event loop must not meet the first one's connections.
        for _ in range(2):
            assert asyncio.run(work()) == [expected, [None] * len(keys)]
            assert read_rows(store, "t", keys) == expected
            store.delete("t", keys)
