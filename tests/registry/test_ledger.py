"""The rules of the ledger, hour by hour: entries never overlap, and what the store may hold is never forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import Window
from feast_assets.registry.base import LedgerEntry, MarkDoubt, WindowContent
from feast_assets.registry.ledger import (
    Exchange,
    claimed,
    doubted,
    held,
    intervals,
    may_have_rows,
    settled,
    window_version,
)

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 10
NOW = 1000


def at(hour: int) -> datetime:
    return BEGIN + timedelta(hours=hour)


def hours(window: Window) -> set[int]:
    return {hour for hour in range(HOURS) if window.start <= at(hour) < window.end}


def entry(window: Window, fingerprint: str = "f", version: int = 2, **changes: object) -> LedgerEntry:
    values = {"definition_hash": "d", "rows": 1, "written": 1, "at": BEGIN, **changes}
    return LedgerEntry("v", window, fingerprint, version, **values)  # type: ignore[arg-type]


def after(standing: Sequence[LedgerEntry], made: Exchange) -> list[LedgerEntry]:
    """Returns the ledger after an exchange, as every registry makes it: what goes, then what comes."""
    ledger = {e.window: e for e in standing}
    for gone in made.removed:
        del ledger[gone.window]
    for added in made.added:
        assert added.window not in ledger, "what is replaced is told to go"
        ledger[added.window] = added
    return [ledger[window] for window in sorted(ledger)]


def by_hour(ledger: Sequence[LedgerEntry]) -> dict[int, LedgerEntry]:
    return {hour: e for e in ledger for hour in hours(e.window)}


def overlaps(ledger: Sequence[LedgerEntry]) -> bool:
    return any(a.window.end > b.window.start for a, b in pairwise(sorted(ledger, key=lambda e: e.window)))


@st.composite
def windows(draw: st.DrawFn) -> list[Window]:
    """Windows that do not overlap, in order."""
    cuts = sorted(draw(st.sets(st.integers(0, HOURS), max_size=7)))
    return [Window(at(a), at(b)) for a, b in pairwise(cuts) if draw(st.booleans())]


@st.composite
def ledgers(draw: st.DrawFn) -> list[LedgerEntry]:
    """Entries as a ledger may have them: settled with rows or without, or not settled, with a doubt or without."""
    entries = []
    for window in draw(windows()):
        version, mark = draw(st.integers(1, 600)) * 2, draw(st.integers(1, 3))
        kind = draw(st.sampled_from(["rows", "rows", "empty", "claimed", "doubted"]))
        entries.append(
            {
                "rows": entry(window, draw(st.sampled_from("fg")), version, mark=mark),
                "empty": entry(window, "", 0, rows=0, written=0),
                "claimed": entry(window, draw(st.sampled_from(["f", "g", ""])), version, settled=False),
                "doubted": entry(window, "f", version, settled=False, mark=mark, doubt="restored"),
            }[kind]
        )
    return entries


contents = windows().flatmap(
    lambda ws: st.tuples(*(st.builds(WindowContent, st.just(w), st.sampled_from("fg"), st.just("d")) for w in ws))
)


@settings(max_examples=300, deadline=None)
@given(standing=ledgers(), claim=contents, empty=windows(), data=st.data())
def test_a_claim_forgets_nothing_that_the_store_may_hold(standing, claim, empty, data) -> None:
    order = data.draw(st.permutations(claim))
    looked_at = [WindowContent(w, "", "d") for w in empty if not any(w.overlaps(c.window) for c in claim)]
    made = claimed(standing, "v", order, looked_at, NOW, "run")
    ledger = after(standing, made)
    assert not overlaps(ledger)
    before, now = by_hour(standing), by_hour(ledger)
    claimed_hours = {hour for c in claim for hour in hours(c.window)}
    for hour, old in before.items():
        if hour in claimed_hours:
            assert not now[hour].settled
        elif now[hour] != old:
            # A part of an entry that was claimed in part: nothing is known of it but that it may have rows.
            assert may_have_rows(now[hour]) == may_have_rows(old)
            assert now[hour].settled == (not may_have_rows(old))
            assert now[hour].version == old.version
    for hour in set(now) - set(before) - claimed_hours:
        assert now[hour].settled and not now[hour].fingerprint, "only what was seen to be without rows is new"
    by_window = {e.window: e for e in ledger}
    for content, version, replaced in zip(order, made.versions, made.replaced, strict=True):
        mine = by_window[content.window]
        assert (mine.fingerprint, mine.version, mine.settled, mine.run_id) == (
            content.fingerprint,
            version,
            False,
            "run",
        )
        assert list(replaced) == [e for e in standing if e.window.overlaps(content.window)]


@settings(max_examples=300, deadline=None)
@given(standing=ledgers(), claim=contents)
def test_a_version_is_even_and_grows_unless_the_same_content_is_claimed(standing, claim) -> None:
    made = claimed(standing, "v", claim, [], NOW, "run")
    for content, version, replaced in zip(claim, made.versions, made.replaced, strict=True):
        assert version % 2 == 0
        is_same = [(e.window, e.fingerprint, e.settled) for e in replaced] == [
            (content.window, content.fingerprint, True)
        ]
        if is_same:
            assert version == replaced[0].version
        else:
            assert version >= NOW
            assert all(version > e.version for e in replaced)


@settings(max_examples=200, deadline=None)
@given(standing=ledgers(), empty=windows())
def test_windows_without_rows_are_noted_where_nothing_else_is(standing, empty) -> None:
    ledger = after(standing, claimed(standing, "v", [], [WindowContent(w, "", "d") for w in empty], NOW, "run"))
    assert [e for e in ledger if e in standing] == standing
    noted = [e.window for e in ledger if e not in standing]
    assert noted == [w for w in empty if not any(w.overlaps(e.window) for e in standing)]


@settings(max_examples=300, deadline=None)
@given(standing=ledgers(), claim=contents, other=contents, data=st.data())
def test_settling_says_only_what_no_other_run_has_spoilt(standing, claim, other, data) -> None:
    """Another run may claim windows after these were claimed, and before they are settled."""
    made = claimed(standing, "v", claim, [], NOW, "run")
    ledger = after(standing, made)
    overtaken = claimed(ledger, "v", other, [], NOW + 10, "other")
    ledger = after(ledger, overtaken)
    is_sure = data.draw(st.booleans())
    entries = [
        entry(c.window, c.fingerprint, version, settled=is_sure, run_id="run")
        for c, version in zip(claim, made.versions, strict=True)
    ]
    own = {c.window for c in claim if not any(c.window.overlaps(o.window) for o in other)}
    result = after(ledger, settled(ledger, entries, own))
    assert not overlaps(result)
    now, before = by_hour(result), by_hour(ledger)
    assert set(now) == set(before), "settling neither adds time nor loses it"
    for written in entries:
        for hour in hours(written.window):
            if written.window in own:
                assert now[hour] == written
            else:
                # Nobody knows whose rows the store has; whatever was claimed since is not settled by this run.
                assert not now[hour].settled or now[hour] == before[hour]
                assert now[hour].version >= before[hour].version
                same = (before[hour].window, before[hour].fingerprint) == (written.window, written.fingerprint)
                assert now[hour].version >= written.version or (same and is_sure)
    for hour in set(now) - {h for e in entries for h in hours(e.window)}:
        stays = now[hour] == before[hour]
        assert stays or any(hours(now[hour].window) & hours(e.window) for e in entries)


def test_the_same_content_of_another_run_stays_settled() -> None:
    window = Window(at(0), at(1))
    theirs = entry(window, "f", 8, run_id="other")
    assert settled([theirs], [entry(window, "f", 6)], own=[]) == Exchange((), (), ())
    (spoilt,) = settled([theirs], [entry(window, "g", 6)], own=[]).added
    assert (spoilt.settled, spoilt.version) == (False, 8)
    (spoilt,) = settled([theirs], [entry(window, "f", 10, settled=False)], own=[]).added
    assert (spoilt.settled, spoilt.version) == (False, 10)


@settings(max_examples=300, deadline=None)
@given(
    standing=ledgers(),
    kind=st.sampled_from(["restored", "unknown", "missing"]),
    lost=st.frozensets(st.integers(1, 3)),
    gaps=windows(),
    above=st.integers(0, 700).map(lambda n: 2 * n),
)
def test_a_doubt_unsettles_what_may_be_lost_and_opens_what_the_ledger_does_not_know(
    standing, kind, lost, gaps, above
) -> None:
    if kind == "restored":
        gaps, above = [], 0
    doubt = MarkDoubt(kind, 7, lost if kind == "restored" else frozenset())
    ledger = after(standing, doubted(standing, "v", doubt, gaps, above, NOW))
    assert not overlaps(ledger)
    before, now = by_hour(standing), by_hour(ledger)
    assert set(now) == set(before) | {hour for w in gaps for hour in hours(w)}
    in_gap = {hour for w in gaps for hour in hours(w)}
    for hour, entry_now in now.items():
        old = before.get(hour)
        if old is None or (not may_have_rows(old) and hour in in_gap and kind != "restored"):
            assert (entry_now.settled, entry_now.doubt, entry_now.version) == (False, kind, above)
        elif not may_have_rows(old) and kind != "restored":
            assert (entry_now.settled, entry_now.fingerprint, entry_now.doubt) == (True, "", "")
        elif old.settled and (kind != "restored" or old.mark in lost):
            assert (entry_now.settled, entry_now.doubt, entry_now.mark) == (False, kind, old.mark)
            assert entry_now.version == max(old.version, above)
        elif not old.settled and not old.doubt:
            assert (entry_now.settled, entry_now.doubt, entry_now.mark) == (False, kind, 0)
            assert to_micros(entry_now.at) == NOW
        else:
            assert entry_now == old


@settings(max_examples=200, deadline=None)
@given(standing=ledgers())
def test_what_is_held_and_what_is_materialized(standing) -> None:
    ledger = {e.window: e for e in standing}
    assert held(ledger) == {w for w, e in ledger.items() if e.fingerprint or not e.settled}
    materialized = {hour for e in standing if e.settled for hour in hours(e.window)}
    spans = intervals(standing)
    assert {hour for start, end in spans for hour in hours(Window(start, end))} == materialized
    assert all(a[1] < b[0] for a, b in pairwise(spans))


@pytest.mark.parametrize(("bounds", "version"), [([1], 2), ([2], 2), ([7, 3], 8), ([0, 0], 0)])
def test_the_version_of_a_window_is_the_next_even_number(bounds: list[int], version: int) -> None:
    assert window_version(bounds) == version
