"""The suite passes on a store that does as it should, and fails on stores that break one rule."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from plain_store import PlainOfflineStore, key_of

from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.window import ALWAYS
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from feast_assets.testing import OfflineStoreConformance


def put_into(store: PlainOfflineStore) -> Any:
    numbers = itertools.count()

    def put(table: pa.Table) -> FileSource:
        name = f"trips_{next(numbers)}"
        store.tables[name] = table
        created = "created" if "created" in table.column_names else None
        return FileSource(name=name, path=name, timestamp_field="event_timestamp", created_timestamp_column=created)

    return put


class TestPlainStore(OfflineStoreConformance):
    @pytest.fixture
    def store(self):
        return PlainOfflineStore()

    @pytest.fixture
    def put(self, store):
        return put_into(store)


class LeaksTheFuture(PlainOfflineStore):
    def _counts(self, join, row, moment, known_only):
        return row[EVENT_TIMESTAMP] > moment or super()._counts(join, row, moment, known_only)


class HidesItsOwnMoment(PlainOfflineStore):
    def _counts(self, join, row, moment, known_only):
        return row[EVENT_TIMESTAMP] < moment and super()._counts(join, row, moment, known_only)


class ForgetsTheTtl(PlainOfflineStore):
    def _counts(self, join, row, moment, known_only):
        ages = row[EVENT_TIMESTAMP] <= moment
        return ages and (not known_only or super()._counts(join, row, moment, known_only))


class KnowsTooEarly(PlainOfflineStore):
    def _counts(self, join, row, moment, known_only):
        return super()._counts(join, row, moment, False)


class IgnoresCreatedTies(PlainOfflineStore):
    def _order(self, history, row):
        return row[EVENT_TIMESTAMP], row["content"]


class TiesFallAsAsked(PlainOfflineStore):
    """Breaks ties by the features that are wanted, not by all of the view's."""

    def _order(self, history, row):
        wanted = [repr(row[f.name]) for f in history.features]
        return row[EVENT_TIMESTAMP], row[CREATED_TIMESTAMP] is not None, row[CREATED_TIMESTAMP] or 0, wanted


class DropsTheOrderOfTheSpine(PlainOfflineStore):
    def join(self, spine, joins, **options):
        return super().join(spine, joins, **options).read_all().sort_by(joins[0].outputs[0]).to_reader()


class DropsRowsWithoutFeatures(PlainOfflineStore):
    def join(self, spine, joins, **options):
        return super().join(spine, joins, **options).read_all().drop_null().to_reader()


class IncludesTheEnd(PlainOfflineStore):
    def _is_in(self, window, moment):
        return window.start <= moment <= window.end


class ExcludesTheStart(PlainOfflineStore):
    def _is_in(self, window, moment):
        return window == ALWAYS or window.start < moment < window.end


class FingerprintsTheOrder(PlainOfflineStore):
    def _fingerprint(self, rows):
        return repr([sorted(row.items()) for row in rows]) if rows else ""


class FingerprintsOnlyTimes(PlainOfflineStore):
    def _fingerprint(self, rows):
        return repr(sorted(str(row[EVENT_TIMESTAMP]) for row in rows)) if rows else ""


class FingerprintsASet(PlainOfflineStore):
    """Rows that are there twice look as if they were there once."""

    def _fingerprint(self, rows):
        return repr(sorted({repr(sorted(row.items())) for row in rows})) if rows else ""


class TakesTheFirst(PlainOfflineStore):
    def _newest_by_key(self, history, rows):
        found: dict[Any, Any] = {}
        for row in rows:
            found.setdefault(key_of(history, row), row)
        return found


class LooksAtOneWindow(PlainOfflineStore):
    def latest(self, history, windows, keys=None):
        return super().latest(history, windows[:1], keys)


class LooksAtAllEntities(PlainOfflineStore):
    def latest(self, history, windows, keys=None):
        return super().latest(history, windows)


class WritesNothing(PlainOfflineStore):
    def write(self, source, rows):
        pass


BROKEN: dict[type[PlainOfflineStore], str] = {
    LeaksTheFuture: "test_join_never_looks_ahead_and_includes_its_own_moment",
    HidesItsOwnMoment: "test_join_never_looks_ahead_and_includes_its_own_moment",
    ForgetsTheTtl: "test_ttl_includes_both_ends",
    KnowsTooEarly: "test_created_filter_hides_rows_that_were_not_yet_known",
    IgnoresCreatedTies: "test_of_equal_event_times_the_newer_created_time_wins",
    TiesFallAsAsked: "test_ties_fall_the_same_way_whatever_is_asked_for",
    DropsTheOrderOfTheSpine: "test_join_gives_one_row_for_each_of_the_spine_in_its_order",
    DropsRowsWithoutFeatures: "test_join_gives_one_row_for_each_of_the_spine_in_its_order",
    IncludesTheEnd: "test_windows_contain_their_start_but_not_their_end",
    ExcludesTheStart: "test_windows_contain_their_start_but_not_their_end",
    FingerprintsTheOrder: "test_fingerprints_tell_content_and_not_order",
    FingerprintsOnlyTimes: "test_fingerprints_tell_content_and_not_order",
    FingerprintsASet: "test_fingerprints_tell_content_and_not_order",
    TakesTheFirst: "test_latest_is_the_newest_row_of_each_entity",
    LooksAtOneWindow: "test_latest_may_be_of_some_entities_in_some_windows",
    LooksAtAllEntities: "test_latest_may_be_of_some_entities_in_some_windows",
    WritesNothing: "test_written_rows_are_added",
}
"""Stores, and a test that must fail on each."""


def cases() -> Iterator[Any]:
    """Yields the tests of the suite."""
    suite = OfflineStoreConformance()
    for name in dir(suite):
        if name.startswith("test_") and "threads" not in name:
            yield getattr(suite, name)


@pytest.mark.parametrize(("broken", "fails"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_the_suite_fails_on_a_broken_store(broken, fails):
    failed = []
    for case in cases():
        store = broken()
        fixtures = {"store": store, "put": put_into(store)}
        try:
            case(**{name: fixtures[name] for name in inspect.signature(case).parameters})
        except (AssertionError, pytest.fail.Exception):
            failed.append(case.__name__)
    assert fails in failed
