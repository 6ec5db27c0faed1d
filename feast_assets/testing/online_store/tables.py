"""Tables and their marks."""

from __future__ import annotations

import multiprocessing
import threading

from feast_assets.online_stores.base import NEVER_ADVANCED, Mark, OnlineStore
from feast_assets.testing.online_store.fixtures import StoreFixtures
from feast_assets.testing.online_store.rows import StoreFactory, encoded, read_rows


def _advance_often(factory: StoreFactory, table: str, parity: int, times: int) -> None:
    """Advances a mark so many times, to numbers that no other takes, however often another is faster."""
    store = factory()
    try:
        seen = store.mark(table).number
        while times:
            number = seen + 2 + (seen + parity) % 2  # of one parity
            mark = store.advance(table, seen, number)
            times -= mark.number == number
            seen = mark.number
    finally:
        store.close()


def _set_up_and_tell(
    factory: StoreFactory, start: threading.Barrier, identities: multiprocessing.queues.Queue[list[str]]
) -> None:
    """Sets up tables one by one, each at the same time as the other processes do."""
    store = factory()
    own_identities = []
    try:
        for number in range(20):
            start.wait(60)
            store.setup([f"t{number}"])
            own_identities.append(store.identity(f"t{number}"))
    finally:
        store.close()
        identities.put(own_identities)


class TableCases(StoreFixtures):
    """Tables are apart from each other, and each has a mark of its own."""

    def test_setting_up_again_keeps_the_rows(self, store: OnlineStore) -> None:
        store.setup(["t"])
        store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
        store.setup(["t", "u", "t"])
        assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"x")]

    def test_a_dropped_table_is_empty_and_can_be_used_again(self, store: OnlineStore) -> None:
        store.setup(["t", "u"])
        store.put_many("t", [encoded([(b"k%d" % i, 9, 0, 0, b"x") for i in range(2500)])])
        store.put_many("u", [encoded([(b"k1", 9, 0, 0, b"y")])])
        store.drop(["t"])
        assert read_rows(store, "t", [b"k1", b"k2499"]) == [None, None]
        assert read_rows(store, "u", [b"k1"]) == [(9, 0, 0, b"y")]
        store.drop(["t", "never set up"])
        store.setup(["t"])
        store.put_many("t", [encoded([(b"k1", 1, 0, 0, b"new")])])
        assert read_rows(store, "t", [b"k1"]) == [(1, 0, 0, b"new")]

    def test_table_names_never_mix(self, store: OnlineStore) -> None:
        names = ["a", "A", "a:", "a:1", "ab", "a*", "a?", "a[b]"]
        names += ["a\\", 'a"b', "a'b", "a;--", "a b", "a%", "a-b", "a\n"]
        names += ["ä", "sqlite_x", "1", "", "rows_a", "select", "%41%", "x" * 120]
        store.setup(names)
        for number, name in enumerate(names):
            store.put_many(name, [encoded([(b"k", number, 0, 0, name.encode()), (b":k", number, 1, 0, b"")])])
        for number, name in enumerate(names):
            assert read_rows(store, name, [b"k", b":k"]) == [(number, 0, 0, name.encode()), (number, 1, 0, b"")], name
        for number, name in enumerate(names):
            store.drop([name])
            assert read_rows(store, name, [b"k"]) == [None], name
            for later, other in enumerate(names[number + 1 :], number + 1):
                assert read_rows(store, other, [b"k"]) == [(later, 0, 0, other.encode())], (name, other)

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
        store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
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
        store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
        identity = store.identity("t")
        assert identity != ""
        store.put_many("t", [encoded([(b"k", 2, 0, 0, b"x")])])
        store.setup(["t"])
        assert store.identity("t") == identity

    def test_an_identity_is_no_row(self, store: OnlineStore) -> None:
        store.setup(["t", ""])
        keys = [b"", b"id", b"t", b":t", b"id:t", b"identity"]
        assert read_rows(store, "t", keys) == read_rows(store, "", keys) == [None] * len(keys)
        rows = [(key, 1, 0, 0, b"x") for key in keys]
        identities = [store.identity("t"), store.identity("")]
        store.put_many("t", [encoded(rows)])
        store.put_many("", [encoded(rows)])
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
        store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
        mark = store.mark("t")
        assert mark.identity
        assert mark.number in (0, NEVER_ADVANCED)
        assert store.advance("t", mark.number, 9) == store.mark("t") == Mark(mark.identity, 9)

    def test_a_mark_is_no_row_and_rows_leave_it_alone(self, store: OnlineStore) -> None:
        names = ["t", "", "mark", "mark:t", "id:t", "ä", "rows_t", "feast_assets_marks"]
        store.setup(names)
        expected = [Mark(store.identity(name), 100 + at) for at, name in enumerate(names)]
        assert [store.advance(name, NEVER_ADVANCED, 100 + at) for at, name in enumerate(names)] == expected
        keys = [b"", b"mark", b"t", b":t", b"mark:t", b"number"]
        for name in names:
            assert read_rows(store, name, keys) == [None] * len(keys)
            store.put_many(name, [encoded([(key, 1, 0, 0, b"x") for key in keys])])
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
