"""Few windows that cover much time say just what every window of the grid, one by one, would say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.compute.covering import covering
from feast_assets.compute.staleness import REASONS, Staleness, reasons
from feast_assets.definitions.partitions import GRAINS, Partitions
from feast_assets.definitions.window import Window, contiguous, meeting, outside
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.offline_stores.statistics_columns import StatisticsColumns
from feast_assets.registry.base import LedgerEntry
from feast_assets.registry.ledger import claimed, held
from feast_assets.registry.ledger_columns import LedgerColumns

BEGIN = datetime(2023, 12, 30, tzinfo=UTC)
HOURS = 24 * 40
HASHES = ["present", "former"]


def at(hour: float) -> datetime:
    return BEGIN + timedelta(hours=hour)


def statistics(window: Window, rows: dict[int, int]) -> WindowStatistics:
    """Returns those of a window; rows are by the hour, and their number is their content."""
    inside = {hour: count for hour, count in rows.items() if window.start <= at(hour) < window.end}
    count = sum(inside.values())
    return WindowStatistics(window, count, None, None, None, repr(sorted(inside.items())) if count else "")


def entry(window: Window, fingerprint: str, settled: bool, definition: str) -> LedgerEntry:
    return LedgerEntry("v", window, fingerprint, 2, definition, 0, 0, BEGIN, "", settled)


def with_reasons(
    windows: list[WindowStatistics], ledger: dict[Window, LedgerEntry]
) -> list[tuple[WindowStatistics, Staleness]]:
    """Returns the windows that are stale, each with the reason."""
    codes = reasons(StatisticsColumns.of(windows), LedgerColumns.of_mapping(ledger), "present")
    return [(s, REASONS[code - 1]) for s, code in zip(windows, codes.tolist(), strict=True) if code]


@st.composite
def situations(draw):
    """A grid, a span of it, rows by hour, and a ledger: of windows of this grid or another, cut ones, and long ones."""
    grid = Partitions(draw(st.sampled_from(GRAINS)))
    edges = sorted(draw(st.lists(st.integers(0, HOURS), min_size=2, max_size=2, unique=True)))
    shift = draw(st.sampled_from([0, 0, 0.5]))
    span = Window(grid.floor(at(edges[0])) if draw(st.booleans()) else at(edges[0] + shift), at(edges[1] + shift))
    rows = draw(st.dictionaries(st.integers(0, HOURS), st.integers(1, 2), max_size=6))
    ledger: dict[Window, LedgerEntry] = {}
    end = BEGIN
    for _ in range(draw(st.integers(0, 6))):
        start = max(end, at(draw(st.integers(0, HOURS))))
        kind = draw(st.sampled_from(["window", "window", "short", "long"]))
        if kind == "window":
            start = grid.floor(start)
            window = Window(start, grid.next(start))
        else:
            window = Window(start, start + timedelta(hours=draw(st.integers(1, 3 if kind == "short" else 300))))
        if window.start < end:
            continue
        seen = statistics(window, rows).fingerprint
        fingerprint = draw(st.sampled_from([seen, seen, "", "another"]))
        ledger[window] = entry(window, fingerprint, draw(st.booleans()), draw(st.sampled_from(HASHES)))
        end = window.end
    return grid, span, rows, ledger


def both(situation):
    """Returns the statistics of every window one by one, and of the few that cover them."""
    grid, span, rows, ledger = situation
    every = [statistics(window, rows) for window in grid.windows_cut_to(span)]
    return every, covering(grid, span, [s for s in every if s.rows], ledger)


def spread(windows, every):
    """Returns which windows of the grid lie in some windows, which have none but whole ones."""
    found = set()
    for window in windows:
        parts = {s.window for s in every if window.contains(s.window)}
        assert min(parts).start == window.start
        assert max(parts).end == window.end
        found |= parts
    return found


@settings(max_examples=100, deadline=None)
@given(situation=situations())
def test_the_few_windows_cover_the_span_and_keep_all_that_have_rows(situation):
    _, span, _, _ = situation
    every, few = both(situation)
    assert [s for s in few if s.rows] == [s for s in every if s.rows]
    edges = [few[0].window.start, *(s.window.end for s in few)]
    assert edges == [*(s.window.start for s in few), span.end]
    assert edges[0] == span.start
    assert spread([s.window for s in few], every) == {s.window for s in every}


@settings(max_examples=100, deadline=None)
@given(situation=situations())
def test_the_same_windows_are_stale_for_the_same_reasons(situation):
    _, _, _, ledger = situation
    every, few = both(situation)
    expected = {s.window: reason for s, reason in with_reasons(every, ledger)}
    found = {}
    for s, reason in with_reasons(few, ledger):
        found |= dict.fromkeys(spread([s.window], every), reason)
    assert found == expected


@settings(max_examples=100, deadline=None)
@given(situation=situations())
def test_the_same_windows_had_rows_and_are_passed_over_in_the_same_groups(situation):
    _, _, _, ledger = situation
    every, few = both(situation)

    def chosen(seen):
        had_rows = meeting(held(ledger), [s.window for s in seen])
        return [s for s in seen if s.rows or s.window in had_rows]

    assert spread([s.window for s in chosen(few)], every) == {s.window for s in chosen(every)}

    def spans(seen):
        groups = contiguous(chosen(seen), [s.window for s in seen if not s.rows])
        return [(group[0].window.start, group[-1].window.end) for group in groups]

    assert spans(few) == spans(every)


@settings(max_examples=100, deadline=None)
@given(situation=situations())
def test_the_ledger_learns_of_every_stretch_without_rows_and_of_no_other(situation):
    *_, ledger = situation
    every, few = both(situation)
    told = outside([s.window for s in few if not s.rows], ledger)
    assert told == outside([s.window for s in every if not s.rows], ledger)
    before = list(ledger.values())
    claim = claimed(before, "v", [], [entry(w, "", True, "present") for w in told], 2, "")
    assert [e.window for e in claim.added] == told  # none meets an entry, so none is dropped
    # Half hours: whether each is told of, beside what has rows and what the ledger has.
    for half in range(2 * HOURS + 4):
        moment = at(half / 2)
        without_rows = any(s.window.start <= moment < s.window.end and not s.rows for s in every)
        known = any(w.start <= moment < w.end for w in ledger)
        assert any(w.start <= moment < w.end for w in told) == (without_rows and not known)


def test_time_costs_no_windows():
    grid, stray = Partitions("hourly"), Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, 1, tzinfo=UTC))
    seen = [statistics(stray, {}), statistics(Window(at(0), at(1)), {0: 1})]
    far = Window(at(50), datetime(2300, 1, 1, tzinfo=UTC))  # as a view without a grid, or with another, leaves it
    few = covering(grid, Window(stray.start, datetime(9999, 1, 1, tzinfo=UTC)), seen, {far: entry(far, "f", True, "d")})
    assert len(few) == 8
    assert set(seen) <= set(few)
