"""Suite: the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import Window
from feast_assets.registry.base import (
    Registry,
    WindowContent,
)
from feast_assets.testing.registry.objects import DAY, FIRST, commit, entry, record, view
from feast_assets.types import String


class Ledger:
    """The ledger of windows; the fixtures are those of `RegistryConformance`."""

    def test_entries_come_back_as_they_were_in_order(self, registry: Registry) -> None:
        entries = [entry("trips", FIRST + i * DAY, FIRST + (i + 1) * DAY, f"f{i}") for i in range(5)]
        recorded = record(registry, *reversed(entries))
        assert registry.ledger("trips") == recorded[::-1]
        always = entry("lookup", datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
        assert record(registry, always) == registry.ledger("lookup")
        assert all(e.settled and e.rows == 7 and e.run_id == "run" for e in registry.ledger("trips"))

    def test_the_same_content_keeps_its_version_and_another_gets_a_higher_one(self, registry: Registry) -> None:
        (first,) = record(registry, entry("trips", FIRST, FIRST + DAY))
        (same,) = record(registry, entry("trips", FIRST, FIRST + DAY))
        (other,) = record(registry, entry("trips", FIRST, FIRST + DAY, "corrected"))
        (back,) = record(registry, entry("trips", FIRST, FIRST + DAY))
        assert first.version == same.version < other.version < back.version
        assert first.version > to_micros(FIRST)

    def test_entries_never_overlap(self, registry: Registry) -> None:
        days = record(registry, *(entry("trips", FIRST + i * DAY, FIRST + (i + 1) * DAY) for i in range(4)))
        (kept,) = record(registry, entry("other", FIRST, FIRST + DAY))
        (wide,) = record(registry, entry("trips", FIRST + DAY, FIRST + 3 * DAY, "wide"))
        assert registry.ledger("trips") == [days[0], wide, days[3]]
        (across,) = record(registry, entry("trips", FIRST + 2 * DAY, FIRST + 3.5 * DAY, "across"))
        assert [e for e in registry.ledger("trips") if e.settled] == [days[0], across]
        assert across.version > wide.version
        (narrow,) = record(registry, entry("trips", FIRST + 2 * DAY, FIRST + 2.5 * DAY, "narrow"))
        assert [e for e in registry.ledger("trips") if e.settled] == [days[0], narrow]
        assert narrow.version > across.version
        edges = [(e.window.start, e.window.end) for e in registry.ledger("trips")]
        assert [b for _, b in edges] == [a for a, _ in edges[1:]] + [FIRST + 4 * DAY]
        assert registry.ledger("other") == [kept]

    def test_what_remains_of_a_window_that_was_claimed_in_part_is_unsettled(self, registry: Registry) -> None:
        (whole,) = record(registry, entry("trips", FIRST, FIRST + DAY))
        part = Window(FIRST + timedelta(hours=6), FIRST + timedelta(hours=12))
        claim = registry.claim("trips", [WindowContent(part, "part", "d")])
        assert claim.replaced == ((whole,),)
        before, _, after = registry.ledger("trips")
        assert before == replace(whole, window=Window(FIRST, part.start), settled=False)
        assert after == replace(whole, window=Window(part.end, FIRST + DAY), settled=False)
        again = registry.claim("trips", [WindowContent(whole.window, whole.fingerprint, whole.definition_hash)])
        assert [len(entries) for entries in again.replaced] == [3]
        assert again.versions[0] > claim.versions[0] > whole.version
        assert len(registry.ledger("trips")) == 1

    def test_versions_of_windows_are_even(self, registry: Registry) -> None:
        for i in range(5):
            (settled,) = record(registry, entry("trips", FIRST, FIRST + DAY, f"f{i}"))
            assert settled.version % 2 == 0

    def test_windows_without_rows_are_cut_and_not_lost(self, registry: Registry) -> None:
        registry.claim("trips", [], empty=[WindowContent(Window(FIRST, FIRST + 5 * DAY), "", "d")])
        (day,) = record(registry, entry("trips", FIRST + DAY, FIRST + 2 * DAY))
        (last,) = record(registry, entry("trips", FIRST + 4 * DAY, FIRST + 6 * DAY))
        assert [(e.window.start, e.window.end) for e in registry.ledger("trips")] == [
            (FIRST, FIRST + DAY),
            (FIRST + DAY, FIRST + 2 * DAY),
            (FIRST + 2 * DAY, FIRST + 4 * DAY),
            (FIRST + 4 * DAY, FIRST + 6 * DAY),
        ]
        assert [e for e in registry.ledger("trips") if e.fingerprint] == [day, last]

    def test_windows_without_rows_are_noted_where_nothing_is(self, registry: Registry) -> None:
        (day,) = record(registry, entry("trips", FIRST, FIRST + DAY))
        days = [Window(FIRST + i * DAY, FIRST + (i + 1) * DAY) for i in range(6)]
        both = WindowContent(Window(FIRST, days[1].end), "", "d")
        registry.claim("trips", [], empty=[both])
        assert registry.ledger("trips") == [day]
        registry.claim("trips", [])
        assert registry.ledger("trips") == [day]
        claim = registry.claim(
            "trips",
            [WindowContent(days[3], "f", "d")],
            empty=[WindowContent(w, "", "d") for w in (days[5], days[1], days[3])],
            run_id="run",
        )
        assert len(claim.versions) == len(claim.replaced) == 1
        noted = [(e.window, e.fingerprint, e.version, e.run_id, e.settled) for e in registry.ledger("trips")[1:]]
        assert noted == [
            (days[1], "", 0, "run", True),
            (days[3], "f", claim.versions[0], "run", False),
            (days[5], "", 0, "run", True),
        ]

    def test_a_claim_is_not_settled_until_it_is(self, registry: Registry) -> None:
        claimed = entry("trips", FIRST, FIRST + DAY)
        claim = registry.claim("trips", [WindowContent(claimed.window, "f", "d")], run_id="run")
        (open_,) = registry.ledger("trips")
        assert not open_.settled
        assert (open_.version, open_.run_id) == (claim.versions[0], "run")
        settled = replace(claimed, version=claim.versions[0])
        registry.settle(claim, [settled])
        assert registry.ledger("trips") == [settled]

    @pytest.mark.parametrize("first_settles_first", [True, False])
    @pytest.mark.parametrize("hours", [24, 12], ids=["same window", "part of the window"])
    def test_two_runs_of_different_content_leave_the_window_open(
        self, registry: Registry, first_settles_first: bool, hours: int
    ) -> None:
        whole = entry("trips", FIRST, FIRST + DAY, "one")
        other = entry("trips", FIRST, FIRST + timedelta(hours=hours), "two")
        runs = []
        for each in (whole, other):
            claim = registry.claim("trips", [WindowContent(each.window, each.fingerprint, "d")])
            runs.append((claim, replace(each, version=claim.versions[0])))
        assert runs[0][1].version < runs[1][1].version
        for claim, settled in runs if first_settles_first else reversed(runs):
            registry.settle(claim, [settled])
        assert not any(e.settled for e in registry.ledger("trips"))
        (again,) = record(registry, whole)
        assert again.version > max(s.version for _, s in runs)
        assert registry.ledger("trips") == [again]

    @pytest.mark.parametrize("first_settles_first", [True, False])
    def test_two_runs_of_the_same_content_agree(self, registry: Registry, first_settles_first: bool) -> None:
        claimed = entry("trips", FIRST, FIRST + DAY)
        claims = [registry.claim("trips", [WindowContent(claimed.window, "f", "d")]) for _ in range(2)]
        runs = [(c, replace(claimed, version=c.versions[0])) for c in claims]
        for claim, settled in runs if first_settles_first else reversed(runs):
            registry.settle(claim, [settled])
        assert registry.ledger("trips") == [runs[1][1]]

    def test_what_was_forgotten_is_not_settled(self, registry: Registry) -> None:
        claimed = entry("trips", FIRST, FIRST + DAY)
        claim = registry.claim("trips", [WindowContent(claimed.window, "f", "d")])
        registry.forget("trips")
        registry.settle(claim, [claimed])
        assert registry.ledger("trips") == []

    def test_an_apply_keeps_the_ledger_and_a_delete_removes_it(self, registry: Registry) -> None:
        commit(registry, view("trips"), view("rides"))
        for name in ("trips", "rides"):
            record(registry, entry(name, FIRST, FIRST + DAY))
        commit(registry, view("trips", [("other", String)]))
        assert len(registry.ledger("trips")) == 1
        commit(registry, deletes=[("feature view", "trips")])
        assert registry.ledger("trips") == []
        assert len(registry.ledger("rides")) == 1

    def test_columns_and_intervals_tell_what_the_entries_do(self, registry: Registry) -> None:
        assert dict(registry.ledger_columns("trips")) == {}
        assert registry.materialization_intervals("trips") == []
        days = record(
            registry, *(entry("trips", FIRST + i * DAY, FIRST + (i + 1) * DAY, f"f{i}") for i in (0, 1, 3, 5))
        )
        registry.claim("trips", [WindowContent(days[3].window, "g", "d")], run_id="other")
        registry.claim("trips", [], empty=[WindowContent(Window(FIRST + 6 * DAY, FIRST + 9 * DAY), "", "d")])
        entries, columns = registry.ledger("trips"), registry.ledger_columns("trips")
        assert columns.entries() == entries
        assert dict(columns) == {e.window: e for e in entries}
        assert columns.settled.tolist() == [e.settled for e in entries]
        assert columns.may_have_rows.tolist() == [bool(e.fingerprint) or not e.settled for e in entries]
        assert registry.materialization_intervals("trips") == [
            (FIRST, FIRST + 2 * DAY),
            (FIRST + 3 * DAY, FIRST + 4 * DAY),
            (FIRST + 6 * DAY, FIRST + 9 * DAY),
        ]

    def test_a_long_ledger_changes_only_where_it_is_changed(self, registry: Registry) -> None:
        hours = [FIRST + i * timedelta(hours=1) for i in range(4001)]
        recorded = record(registry, *(entry("trips", a, b, f"{a:%Y%m%d%H}") for a, b in pairwise(hours)))
        assert registry.ledger("trips") == recorded
        across = Window(hours[1000], hours[3100])
        claim = registry.claim(
            "trips", [WindowContent(across, "wide", "d"), WindowContent(recorded[5].window, "g", "d")]
        )
        assert claim.replaced == (tuple(recorded[1000:3100]), (recorded[5],))
        wide = replace(entry("trips", across.start, across.end, "wide"), version=claim.versions[0])
        one = replace(recorded[5], fingerprint="g", version=claim.versions[1])
        registry.settle(claim, [wide, one])
        assert registry.ledger("trips") == [*recorded[:5], one, *recorded[6:1000], wide, *recorded[3100:]]

    def test_forgetting_a_view_leaves_the_others(self, registry: Registry) -> None:
        for name in ("trips", "rides"):
            record(registry, entry(name, FIRST, FIRST + DAY))
        registry.forget("trips")
        registry.forget("unknown")
        assert registry.ledger("trips") == []
        assert len(registry.ledger("rides")) == 1

    def test_the_state_of_a_views_ledger_changes_when_the_ledger_does(self, registry: Registry) -> None:
        def states() -> tuple[str, str]:
            by_view = registry.ledger_change_tokens(["trips", "rides", "unknown"])
            assert list(by_view) == ["trips", "rides", "unknown"]
            return by_view["trips"], by_view["rides"]

        seen = [states()]
        day, next_day = entry("trips", FIRST, FIRST + DAY), Window(FIRST + DAY, FIRST + 2 * DAY)
        claims = []
        for change in (
            lambda: claims.append(registry.claim("trips", [WindowContent(day.window, "f", "d")], run_id="one")),
            lambda: registry.settle(claims[0], [replace(day, version=claims[0].versions[0])]),
            lambda: registry.claim("trips", [WindowContent(day.window, "g", "d")], run_id="other"),
            lambda: registry.claim("trips", [], empty=[WindowContent(next_day, "", "d")]),
            lambda: registry.forget("trips"),
        ):
            change()
            seen.append(states())
            assert states() == seen[-1]
        trips, rides = zip(*seen, strict=True)
        assert all(before != after for before, after in pairwise(trips))
        assert len(set(rides)) == 1
