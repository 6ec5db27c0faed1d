"""What a run will do, before anything is written: groups, empty stretches, and what a plan reads."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from small_project import START, SmallProject, hours, row

from feast_assets.compute.plan import Plan, Planner
from feast_assets.compute.settle import ViewLedger
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import InputError
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.offline_stores.source_changes import UNKNOWN
from feast_assets.registry.base import LedgerEntry

END = hours(96)


def day(number: int) -> Window:
    return Window(hours(24 * number), hours(24 * number + 24))


def statistics(window: Window, rows: int = 1, null_keys: int = 0) -> WindowStatistics:
    return WindowStatistics(window, rows, None, None, None, f"f{rows}" if rows else "", null_keys)


def entry(window: Window, **changes: Any) -> LedgerEntry:
    values = {"fingerprint": "f", "version": 2, "definition_hash": "d", "rows": 1, "written": 1, "at": START}
    return LedgerEntry("v", window, **{**values, **changes})


def plan(*chosen: int, covered: dict[int, int] | None = None, bridges: bool = True, **changes: Any) -> Plan:
    """Returns a plan of days; covered are days with their number of rows."""
    seen = [statistics(day(n), rows) for n, rows in (covered or {}).items()]
    return Plan([statistics(day(n)) for n in chosen], changes.get("ledger", {}), seen, UNKNOWN, 0, bridges)


def days_of(groups: list[list[WindowStatistics]]) -> list[list[int]]:
    return [[(s.window.start - START).days for s in group] for group in groups]


def test_windows_without_rows_divide_no_group_unless_a_transformation_may_make_rows_of_none() -> None:
    covered = {0: 1, 1: 0, 2: 1, 3: 1, 4: 1}
    assert days_of(plan(0, 2, 4, covered=covered).groups()) == [[0, 2], [4]]
    assert days_of(plan(0, 2, 4, covered=covered, bridges=False).groups()) == [[0], [2], [4]]
    assert plan().groups() == []


def test_refused_windows_are_not_written_and_divide_groups() -> None:
    whole = plan(0, 1, 2)
    assert days_of(whole.without({day(1)}).groups()) == [[0], [2]]
    assert whole.without(set()) is whole


def test_stretches_without_rows_are_noted_where_the_ledger_has_nothing() -> None:
    known = {day(3): entry(day(3), fingerprint="", rows=0)}
    assert plan(0, covered={0: 1, 1: 0, 2: 0, 3: 0, 4: 0}, ledger=known).empty() == [
        Window(day(1).start, day(2).end),
        day(4),
    ]


def test_the_end_of_what_the_store_may_hold() -> None:
    assert plan().held_until == ALWAYS.start
    ledger = {day(1): entry(day(1)), day(3): entry(day(3), fingerprint="", rows=0)}
    assert plan(ledger=ledger).held_until == day(1).end
    claimed = ledger | {day(4): entry(day(4), fingerprint="", settled=False)}
    assert plan(ledger=claimed).held_until == day(4).end


def test_rows_without_keys_are_counted_in_all_windows_that_were_looked_at() -> None:
    covered = [statistics(day(0), 1, null_keys=2), statistics(day(1), 0, null_keys=3)]
    assert Plan(covered[:1], {}, covered, UNKNOWN).null_keys == 5
    assert Plan(covered[:1], {}, (), UNKNOWN).null_keys == 2


@pytest.fixture
def planner(project: SmallProject) -> Planner:
    project.write([row(1, 1, 10), row(2, 26, 20), row(1, 74, 11)])
    project.apply()
    stores = project.store._view_stores(project.store.get_feature_view("stats"), 1)
    return Planner(stores, ViewLedger(stores))


def test_planning_changes_nothing(project: SmallProject, planner: Planner) -> None:
    for made in (planner.between(START, END), planner.stale(END), planner.of_windows([day(1), day(0)])):
        assert sorted(s.window for s in made.chosen) == [s.window for s in made.chosen]
    assert project.store.registry.ledger("stats") == []
    assert project.trips() == [None] * 6


def test_a_plan_of_a_span_chooses_windows_with_rows_cut_to_it(planner: Planner) -> None:
    made = planner.between(hours(2), hours(74))
    assert [s.window for s in made.chosen] == [day(1), Window(day(3).start, hours(74) + timedelta(microseconds=1))]
    covered = [s.window for s in made.covered]
    assert covered[0].start == hours(2)
    assert all(a.end == b.start for a, b in itertools.pairwise(covered))
    assert planner.between(hours(200), hours(100)).chosen == []


def test_a_plan_of_what_is_stale_leaves_out_what_is_settled(project: SmallProject, planner: Planner) -> None:
    project.store.materialize_windows("stats", [day(0), day(1)])
    assert [s.window for s in planner.stale(END).chosen] == [day(3)]
    assert planner.stale(END).state.is_same(planner.state())
    project.write([row(1, 1, 99), row(2, 26, 20), row(1, 74, 11)])
    assert [s.window for s in planner.stale(END).chosen] == [day(0), day(3)]


def test_windows_that_overlap_are_refused(planner: Planner) -> None:
    with pytest.raises(InputError, match="overlap; each moment can be in one only"):
        planner.of_windows([day(0), Window(hours(23), hours(30))])
