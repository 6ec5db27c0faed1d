"""Threads, processes and event loops that use a store at the same time."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Iterator, Sequence

import pytest

from feast_assets.online_stores.base import EncodedRows, OnlineRead, OnlineStore
from feast_assets.testing.online_store.fixtures import StoreFixtures
from feast_assets.testing.online_store.rows import (
    Content,
    Row,
    StoreFactory,
    assert_counts,
    contents,
    encoded,
    newest,
    random_rows,
    read_rows,
)


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


class SharingCases(StoreFixtures):
    """A store is shared by threads, processes and event loops, and releases what it was given."""

    def test_the_source_of_a_put_is_closed_when_the_put_ends_or_fails(self, store: OnlineStore) -> None:
        store.setup(["t"])
        closed: list[str] = []

        def batches(name: str) -> Iterator[EncodedRows]:
            try:
                yield encoded([(b"a", 1, 0, 0, b"x")])
                # A payload of a type that no store takes: the put fails at once or with what came before it.
                for _ in range(20_000):
                    yield encoded([(b"b", 1, 0, 0, None)] if name.startswith("bad") else [])  # type: ignore[list-item]
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
                with pytest.raises(Exception) as caught:  # noqa: PT011 - what it is differs between stores
                    work()
                errors.append(caught.value)
            else:
                work()
            assert closed.pop() == name
            assert not closed

    def test_rows_outlive_the_handle_and_a_closed_handle_reconnects(
        self, store: OnlineStore, store_factory: StoreFactory
    ) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
        store.close()
        store.close()
        assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"x")]
        other = store_factory()
        assert read_rows(other, "t", [b"k"]) == [(1, 0, 0, b"x")]
        other.close()

    def test_threads_that_write_at_once_end_with_the_newest(
        self, store: OnlineStore, store_factory: StoreFactory
    ) -> None:
        rows = random_rows(11, 600, keys=20)
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
        rows = random_rows(12, 600, keys=20)
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
        rows = list({row[0]: row for row in random_rows(13, 100, keys=50)}.values())
        keys = [row[0] for row in rows] + [b"missing"]

        async def work() -> list[list[Content | None]]:
            try:
                put = await store.put_many_async("t", [encoded(rows)])
                again = await store.put_many_async("t", [encoded(rows)])
                assert_counts(put, len(rows), 0)
                assert_counts(again, 0, len(rows))
                read = OnlineRead("t", keys)
                many = await asyncio.gather(*[store.get_many_async([read, OnlineRead("none", keys)]) for _ in range(8)])
                assert all([contents(s) for s in each] == [contents(s) for s in many[0]] for each in many)
                return [contents(stored) for stored in many[0]]
            finally:
                await store.aclose()

        expected = [*[row[1:] for row in rows], None]
        # Twice: a second event loop must not meet the first one's connections.
        for _ in range(2):
            assert asyncio.run(work()) == [expected, [None] * len(keys)]
            assert read_rows(store, "t", keys) == expected
            store.drop(["t"])
