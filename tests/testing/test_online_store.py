"""The suites of online stores pass on plain stores that are right, and fail on stores that are wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from plain_online_store import AbleStore, Content, PlainStore, PlainStoreConfig

from feast_assets.online_stores.base import EncodedRows, Mark, OnlineRead, PutResult, StoredRows
from feast_assets.testing import CanReplaceConformance, CanSampleConformance, OnlineStoreConformance
from feast_assets.testing.online_store import StoreFactory
from feast_assets.testing.online_store.fixtures import StoreFixtures


def factory_of(store: type[PlainStore], root: Path) -> StoreFactory:
    return partial(store, PlainStoreConfig(), root)


class TestPlainStore(OnlineStoreConformance):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return factory_of(PlainStore, tmp_path)


class TestAbleStore(OnlineStoreConformance, CanReplaceConformance, CanSampleConformance):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return factory_of(AbleStore, tmp_path)

    @pytest.fixture
    def rows_examined(self, store: AbleStore) -> Callable[[], int]:
        return lambda: store.steps


# --- stores that are wrong


class OlderWins(AbleStore):
    def is_newer(self, row: Content, held: Content) -> bool:
        return row < held


class LastToArriveWins(AbleStore):
    def is_newer(self, row: Content, held: Content) -> bool:
        return True


class IgnoresCreatedTimes(AbleStore):
    def is_newer(self, row: Content, held: Content) -> bool:
        return (row[0], *row[2:]) > (held[0], *held[2:])


class IgnoresVersions(AbleStore):
    def is_newer(self, row: Content, held: Content) -> bool:
        return (*row[:2], row[3]) > (*held[:2], held[3])


class IgnoresPayloadsOfTies(AbleStore):
    def is_newer(self, row: Content, held: Content) -> bool:
        return row[:3] > held[:3]


class LastOfTiesWins(AbleStore):
    def is_newer(self, row: Content, held: Content) -> bool:
        return row[:3] >= held[:3] and row != held


class ComparesVersionsAsFloats(AbleStore):
    def is_newer(self, row: Content, held: Content) -> bool:
        return (*row[:2], float(row[2]), row[3]) > (*held[:2], float(held[2]), held[3])


class ComparesTimesAsFloats(AbleStore):
    def is_newer(self, row: Content, held: Content) -> bool:
        return (float(row[0]), *row[1:]) > (float(held[0]), *held[1:])


class ComparesPayloadsAsText(AbleStore):
    def is_newer(self, row: Content, held: Content) -> bool:
        return (*row[:3], row[3].decode("latin-1").lower()) > (*held[:3], held[3].decode("latin-1").lower())


class LosesVersions(AbleStore):
    def _put_row(self, name: str, key: bytes, content: Content) -> None:
        super()._put_row(name, key, (*content[:2], 0, content[3]))


class TearsBatches(PlainStore):
    rows_put_whole = None


class ReadsInItsOwnOrder(AbleStore):
    def _get(self, name: str, keys: Sequence[bytes]) -> StoredRows:
        return super()._get(name, sorted(keys))


class ReadsRepeatedKeysOnce(AbleStore):
    def _get(self, name: str, keys: Sequence[bytes]) -> StoredRows:
        return super()._get(name, list(dict.fromkeys(keys)))


class LeavesOutMissingRows(AbleStore):
    def _get(self, name: str, keys: Sequence[bytes]) -> StoredRows:
        return super()._get(name, [key for key in keys if self._held(name, key)])


class AnswersReadsInTheOrderOfTables(AbleStore):
    def get_many(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        return super().get_many(sorted(reads, key=lambda read: read.table))


class CountsEveryRowAsWritten(AbleStore):
    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        made = list(batches)
        super().put_many(table, made)
        return PutResult(sum(map(len, made)), 0)


class LeavesItsSourceOpen(AbleStore):
    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return super().put_many(table, (rows for rows in _Unclosable(batches)))


class _Unclosable:
    def __init__(self, batches: Iterable[EncodedRows]):
        self._batches = iter(batches)

    def __iter__(self) -> Iterator[EncodedRows]:
        return self

    def __next__(self) -> EncodedRows:
        return next(self._batches)


class SetsUpAnew(AbleStore):
    def setup(self, tables: Iterable[str]) -> None:
        names = list(tables)
        self.drop(names)
        super().setup(names)


class KeepsDroppedRows(AbleStore):
    def drop(self, tables: Iterable[str]) -> None:
        pass


class MixesTablesThatDifferInCase(AbleStore):
    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return super().put_many(table.lower(), batches)

    def get_many(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        return super().get_many([OnlineRead(read.table.lower(), read.keys) for read in reads])


class AdvancesFromAnyNumber(AbleStore):
    def advance(self, table: str, expected: int, new: int) -> Mark:
        return super().advance(table, self.mark(table).number, new)


class HasOneIdentityForAll(AbleStore):
    def marks(self, tables: Sequence[str]) -> list[Mark]:
        return [Mark(mark.identity and "same", mark.number) for mark in super().marks(tables)]


class SamplesByAFullScan(AbleStore):
    def sample_keys(self, table: str, count: int, seed: int) -> list[bytes]:
        keys = [key for some in self.scan(table, -(2**63), 2**63 - 1) for key in some.keys]
        return sorted(keys, key=lambda key: hash((key, seed)))[:count]


class SamplesTheFirstKeys(AbleStore):
    def sample_keys(self, table: str, count: int, seed: int) -> list[bytes]:
        return super().sample_keys(table, count, 0)


class ScansAllVersions(AbleStore):
    def scan(self, table: str, start: int, end: int, *, version_below: int | None = None) -> Any:
        return super().scan(table, start, end)


class ScansTheEndToo(AbleStore):
    def scan(self, table: str, start: int, end: int, *, version_below: int | None = None) -> Any:
        return super().scan(table, start, min(end, 2**63 - 2) + 1, version_below=version_below)


class ReplacesWhateverIsThere(AbleStore):
    def replace_many(self, table: str, held: Any, rows: EncodedRows) -> int:
        for some in list(self.scan(table, -(2**63), 2**63 - 1)):
            indices = [index for index, key in enumerate(some.keys) if key in held.keys]
            if indices:
                held = type(some)(
                    [some.keys[i] for i in indices],
                    some.event_timestamps[indices],
                    some.created_timestamps[indices],
                    some.versions[indices],
                )
        return super().replace_many(table, held, rows)


class OnlyRemoves(AbleStore):
    def replace_many(self, table: str, held: Any, rows: EncodedRows) -> int:
        return super().replace_many(table, held, rows.take([]))


class PutsKeysThatDoNotExist(AbleStore):
    def put_existing(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return self.put_many(table, batches)


class NamesNoAbsentKeys(AbleStore):
    def put_existing(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        put = super().put_existing(table, batches)
        return PutResult(put.written, put.ignored)


SUITES = (OnlineStoreConformance, CanReplaceConformance, CanSampleConformance)

BROKEN: list[tuple[type[PlainStore], str]] = [
    (OlderWins, "test_the_newest_row_wins_whatever_the_order"),
    (OlderWins, "test_random_rows_in_random_order_and_repeated_end_the_same"),
    (LastToArriveWins, "test_the_newest_row_wins_whatever_the_order"),
    (IgnoresCreatedTimes, "test_the_newest_row_wins_whatever_the_order"),
    (IgnoresVersions, "test_the_newest_row_wins_whatever_the_order"),
    (IgnoresVersions, "test_versions_decide_between_equal_timestamps"),
    (IgnoresPayloadsOfTies, "test_payloads_decide_between_rows_that_are_equal_otherwise_by_their_bytes"),
    (IgnoresPayloadsOfTies, "test_random_rows_in_random_order_and_repeated_end_the_same"),
    (LastOfTiesWins, "test_payloads_decide_between_rows_that_are_equal_otherwise_by_their_bytes"),
    (ComparesVersionsAsFloats, "test_versions_decide_between_equal_timestamps"),
    (ComparesTimesAsFloats, "test_timestamps_compare_exactly"),
    (ComparesPayloadsAsText, "test_payloads_decide_between_rows_that_are_equal_otherwise_by_their_bytes"),
    (LosesVersions, "test_a_row_reads_back_as_it_was_put"),
    (TearsBatches, "test_a_put_that_fails_leaves_no_part_of_a_batch"),
    (ReadsInItsOwnOrder, "test_keys_in_any_order_read_their_own_rows"),
    (ReadsRepeatedKeysOnce, "test_results_follow_the_keys_with_repeats_and_gaps"),
    (LeavesOutMissingRows, "test_results_follow_the_keys_with_repeats_and_gaps"),
    (AnswersReadsInTheOrderOfTables, "test_several_tables_are_read_at_once_in_order"),
    (CountsEveryRowAsWritten, "test_counts_say_what_was_written_and_what_was_ignored"),
    (LeavesItsSourceOpen, "test_the_source_of_a_put_is_closed_when_the_put_ends_or_fails"),
    (SetsUpAnew, "test_setting_up_again_keeps_the_rows"),
    (KeepsDroppedRows, "test_a_dropped_table_is_empty_and_can_be_used_again"),
    (MixesTablesThatDifferInCase, "test_table_names_never_mix"),
    (AdvancesFromAnyNumber, "test_a_mark_advances_only_from_the_number_that_is_expected"),
    (HasOneIdentityForAll, "test_every_table_has_an_identity_of_its_own"),
    (SamplesByAFullScan, "test_the_cost_of_a_sample_does_not_grow_with_the_table"),
    (SamplesTheFirstKeys, "test_a_sample_has_keys_of_the_table_each_once"),
    (ScansAllVersions, "test_a_scan_yields_the_rows_of_a_span_of_time_below_a_version"),
    (ScansTheEndToo, "test_a_scan_yields_the_rows_of_a_span_of_time_below_a_version"),
    (ReplacesWhateverIsThere, "test_rows_with_other_stamps_than_expected_stay"),
    (OnlyRemoves, "test_rows_are_replaced_by_older_ones_or_removed"),
    (PutsKeysThatDoNotExist, "test_only_existing_keys_are_written_and_the_others_named"),
    (NamesNoAbsentKeys, "test_only_existing_keys_are_written_and_the_others_named"),
]


def passes(store_class: type[PlainStore], case: str, root: Path) -> bool:
    """Whether a case of the suites passes on a store, with each of its parameters."""
    (suite,) = [suite for suite in SUITES if hasattr(suite, case)]
    test = getattr(suite, case)
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    for number, values in enumerate(itertools.product(*[mark.args[1] for mark in marks])):
        given: dict[str, Any] = {}
        for mark, value in zip(marks, values, strict=True):
            names = mark.args[0]
            given |= {names: value} if isinstance(names, str) else dict(zip(names, value, strict=True))
        directory = root / str(number)
        directory.mkdir()
        if not _passes(suite, test, store_class, directory, given):
            return False
    return True


def _passes(
    suite: type[StoreFixtures],
    test: Callable[..., None],
    store_class: type[PlainStore],
    root: Path,
    given: dict[str, Any],
) -> bool:
    factory = factory_of(store_class, root)
    store = factory()
    assert isinstance(store, PlainStore)
    fixtures = {"store": store, "store_factory": factory, "rows_examined": lambda: store.steps}
    names = test.__code__.co_varnames[1 : test.__code__.co_argcount]
    try:
        test(suite(), **{name: given[name] if name in given else fixtures[name] for name in names})
    # A broken store may raise something of its own; a test that expects an error fails by pytest's exception.
    except (Exception, pytest.fail.Exception):  # noqa: BLE001
        return False
    finally:
        store.close()
    return True


@pytest.mark.parametrize(("store_class", "case"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_the_suite_fails_on_a_broken_store(tmp_path: Path, store_class: type[PlainStore], case: str) -> None:
    assert not passes(store_class, case, tmp_path)


@pytest.mark.parametrize("case", sorted({case for _, case in BROKEN}))
def test_the_same_cases_pass_on_a_sound_store(tmp_path: Path, case: str) -> None:
    """So that the broken stores fail for what is broken."""
    assert passes(AbleStore, case, tmp_path)


def test_a_store_whose_ability_is_not_tested_fails(tmp_path: Path) -> None:
    case = "test_each_ability_of_the_store_is_tested"
    assert passes(PlainStore, case, tmp_path)
    with pytest.raises(AssertionError, match="a store with CanReplace is tested with CanReplaceConformance"):
        OnlineStoreConformance().test_each_ability_of_the_store_is_tested(factory_of(AbleStore, tmp_path)())
