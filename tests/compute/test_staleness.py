"""What is stale, why, and that nothing is read where nothing has happened."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_project import START, SmallProject, hours, row

from feast_assets import Field, Int64
from feast_assets.definitions.window import Window
from feast_assets.registry.base import WindowContent

DAY = timedelta(days=1)
END = START + 5 * DAY - timedelta(microseconds=1)
TRIPS = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]


def day(number: int) -> Window:
    return Window(START + number * DAY, START + (number + 1) * DAY)


def stale(project: SmallProject) -> dict[Window, str]:
    return {s.window: s.reason for s in project.store.stale_windows("stats", END)}


@pytest.fixture
def materialized(project):
    project.write([row(1, 24 * d + 1, d) for d in (0, 1, 3)])
    project.apply()
    project.store.materialize_windows("stats", [day(d) for d in range(4)])
    return project


def test_windows_that_were_never_run_are_missing_and_those_before_later_ones_are_behind(project):
    project.write([row(1, 24 * d + 1, d) for d in (0, 1, 3)])
    project.apply()
    project.store.materialize_windows("stats", [day(1)])
    found = project.store.stale_windows("stats", END)
    assert [(s.window, s.reason, s.behind) for s in found] == [
        (day(0), "missing", True),
        (day(3), "missing", False),
    ]


def test_a_window_knows_since_when_there_was_nothing_to_run_before_it(project):
    project.write([row(1, 24 * d + 1, d) for d in (0, 2, 3)])
    project.apply()
    end = START + 9 * DAY
    assert [s.after for s in project.store.stale_windows("stats", end)] == [START, START + DAY, START + 3 * DAY]
    project.store.materialize_windows("stats", [day(2)])
    project.write([row(1, 24 * d + 1, d) for d in (0, 2, 6)])
    found = {s.window: s.after for s in project.store.stale_windows("stats", end)}
    assert found == {day(0): START, day(6): START + 3 * DAY}
    project.store.materialize_windows("stats", [day(4)])
    assert {s.window: s.after for s in project.store.stale_windows("stats", end)}[day(6)] == START + 5 * DAY


def test_a_window_is_changed_whatever_happens_to_its_rows(materialized):
    assert stale(materialized) == {}
    rows = [row(1, 24 * d + 1, d) for d in (0, 1, 3)]
    materialized.write([*rows, row(2, 24, 9)])
    assert stale(materialized) == {day(1): "changed"}
    materialized.write(rows[1:])
    assert stale(materialized) == {day(0): "changed"}
    materialized.write([row(1, 49, 0), *rows[1:]])
    assert stale(materialized) == {day(0): "changed", day(2): "changed"}


def test_a_window_that_is_claimed_is_unsettled_until_it_is_run_again(materialized):
    materialized.store.registry.claim("stats", [WindowContent(day(1), "f", "d")])
    assert stale(materialized) == {day(1): "unsettled"}
    materialized.store.materialize_windows("stats", [day(1)])
    assert stale(materialized) == {}


def test_another_definition_makes_stale_what_has_rows(materialized):
    materialized.apply(schema=TRIPS)
    assert stale(materialized) == dict.fromkeys([day(0), day(1), day(3)], "redefined")
    materialized.write([row(1, 24 * d + 1, d) for d in (1, 2, 3)])
    assert stale(materialized) == {
        day(0): "changed",
        day(1): "redefined",
        day(2): "changed",
        day(3): "redefined",
    }


def test_what_is_stale_is_what_an_incremental_run_runs(materialized):
    materialized.write([row(1, 24 * d + 1, d) for d in (0, 2, 3, 4)])
    (result,) = materialized.store.materialize_incremental(END)
    materialized.write([row(1, 24 * d + 1, d) for d in (0, 2, 3, 4)][::-1])
    assert [w.window for w in result.windows] == [day(1), day(2), day(4)]
    assert stale(materialized) == {}


def test_content_is_the_same_text_for_the_same_rows_and_definition_only(materialized):
    def contents() -> list[str]:
        return [s.content for s in materialized.store.stale_windows("stats", END)]

    materialized.write([row(1, 1, 8)])
    first = contents()
    materialized.write([row(1, 1, 8)])
    assert contents() == first
    materialized.write([row(1, 1, 9)])
    second = contents()
    assert second[0] != first[0]
    assert second[1:] == first[1:]


hour = st.integers(0, 5 * 24 - 1)
edits = st.lists(st.tuples(st.sampled_from(["put", "drop", "run", "claim"]), hour, st.integers(0, 3)), max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits)
def test_running_what_is_stale_leaves_nothing_stale_and_the_newest_online(tmp_path_factory, steps):
    project = SmallProject(tmp_path_factory.mktemp("stale"))
    try:
        rows: dict[int, int] = {0: 0}
        project.write([row(1, h, t) for h, t in rows.items()])
        project.apply()
        for subject, h, trips in steps:
            if subject == "put":
                rows[h] = trips
            elif subject == "drop" and len(rows) > 1:
                rows.pop(h, None)
            elif subject == "claim":
                project.store.registry.claim("stats", [WindowContent(day(h // 24), str(trips), "d")])
            project.write([row(1, h, t) for h, t in rows.items()])
            if subject == "run":
                project.store.materialize_windows("stats", [day(h // 24)])
        known = {e.window for e in project.store.registry.ledger("stats")}
        found = project.store.stale_windows("stats", END)
        assert {s.window for s in found} >= {day(h // 24) for h in rows} - known
        if found:
            project.store.materialize_windows("stats", [s.window for s in found])
        assert project.store.stale_windows("stats", END) == []
        spine_end = hours(max(rows))
        held = {e.window for e in project.store.registry.ledger("stats") if e.fingerprint}
        assert {day(h // 24) for h in rows} <= held
        assert any(w.start <= spine_end < w.end for w in held)
    finally:
        project.close()
