"""The ledger as a run uses it: what is claimed is unsettled until its rows are in the stores."""

from __future__ import annotations

import pytest
from small_project import SmallProject, hours, row

from feast_assets.compute.settle import ClaimedGroup, ViewLedger, WrittenGroup
from feast_assets.definitions.window import Window
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.offline_stores.source_changes import UNKNOWN, HistoryState

BEFORE = HistoryState(frozenset({"a"}))
GROWN = HistoryState(frozenset({"a", "b"}))
OTHER = HistoryState(frozenset({"b"}))


def day(number: int) -> WindowStatistics:
    window = Window(hours(24 * number), hours(24 * number + 24))
    return WindowStatistics(window, 5, None, None, None, f"f{number}")


@pytest.fixture
def project(project: SmallProject) -> SmallProject:
    project.write([row(1, 1, 10)])
    project.apply()
    return project


@pytest.fixture
def ledger(project: SmallProject) -> ViewLedger:
    return ViewLedger(project.store._view_stores(project.store.get_feature_view("stats"), 1), "me")


def written(group: ClaimedGroup, *, is_sure: bool = True) -> WrittenGroup:
    return WrittenGroup(group.windows, group.claim, [3] * len(group.windows), is_sure)


def settled(ledger: ViewLedger) -> list[bool]:
    entries = ledger.read()
    return [entries[window].settled for window in sorted(entries)]


def test_one_claim_of_several_groups_is_divided_among_them(project: SmallProject, ledger: ViewLedger) -> None:
    first, second = ledger.claim([[day(0), day(1)], [day(3)]], [day(2).window])
    assert first.claim.id == second.claim.id
    assert list(first.versions) == [day(0).window, day(1).window]
    assert list(second.versions) == [day(3).window]
    assert len(first.claim.replaced) == 2
    assert [len(second.claim.versions), len(second.claim.replaced)] == [1, 1]
    assert settled(ledger) == [False, False, True, False], "the window without rows is noted as settled"
    ledger.settle([written(second)], BEFORE, BEFORE)
    assert settled(ledger) == [False, False, True, True]
    ledger.settle([written(first)], BEFORE, GROWN)
    assert settled(ledger) == [True] * 4
    entry = ledger.entries()[day(1).window]
    assert (entry.rows, entry.written, entry.run_id, entry.fingerprint) == (5, 3, "me", "f1")
    assert entry.definition_hash == ledger.definition_hash
    assert entry.version == first.versions[day(1).window]
    assert (
        entry.mark
        == project.store.online_store.mark(project.store.get_feature_view("stats").online_table("small")).number
    )


@pytest.mark.parametrize(
    ("is_sure", "before", "now", "said"),
    [
        (False, BEFORE, BEFORE, "was changed while it was read"),
        (True, BEFORE, OTHER, "was changed while it was read"),
        (True, BEFORE, UNKNOWN, "was changed while it was read"),
    ],
)
def test_windows_of_a_source_that_has_changed_stay_unsettled(
    ledger: ViewLedger, is_sure: bool, before: HistoryState, now: HistoryState, said: str
) -> None:
    (group,) = ledger.claim([[day(0), day(1)]])
    with pytest.warns(UserWarning, match=f"The source of feature view 'stats' {said}; 2 windows"):
        ledger.settle([written(group, is_sure=is_sure)], before, now)
    assert settled(ledger) == [False, False]


def test_a_store_that_cannot_tell_of_changes_is_believed(ledger: ViewLedger) -> None:
    (group,) = ledger.claim([[day(0)]])
    ledger.settle([written(group)], UNKNOWN, UNKNOWN)
    assert settled(ledger) == [True]


def test_what_broke_off_stays_unsettled_and_the_same_content_keeps_its_version(ledger: ViewLedger) -> None:
    (group,) = ledger.claim([[day(0)]])
    ledger.unsettle(group.windows, group.claim)
    assert settled(ledger) == [False]
    (again,) = ledger.claim([[day(0)]])
    assert again.versions[day(0).window] > group.versions[day(0).window], "nobody knows what the store holds"
    ledger.settle([written(again)], BEFORE, BEFORE)
    (same,) = ledger.claim([[day(0)]])
    assert same.versions == again.versions


def test_a_run_that_was_overtaken_settles_nothing(project: SmallProject, ledger: ViewLedger) -> None:
    (group,) = ledger.claim([[day(0)]])
    other = ViewLedger(project.store._view_stores(project.store.get_feature_view("stats"), 1), "other")
    content = WindowStatistics(day(0).window, 6, None, None, None, "other content")
    (theirs,) = other.claim([[content]])
    ledger.settle([written(group)], BEFORE, BEFORE)
    assert settled(ledger) == [False]
    assert theirs.versions[day(0).window] > group.versions[day(0).window]


def test_windows_without_rows_alone_are_noted(ledger: ViewLedger) -> None:
    ledger.note_empty([])
    assert ledger.read() == {}
    ledger.note_empty([day(0).window])
    (entry,) = ledger.read().values()
    assert (entry.settled, entry.fingerprint, entry.rows) == (True, "", 0)
