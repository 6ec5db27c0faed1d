"""Suite of the ability to know the numbers of online tables' marks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

import pytest

from feast_assets.definitions.window import Window
from feast_assets.registry.base import (
    DrawnMark,
    MarkDoubt,
    OnlineTable,
    Registry,
    WindowContent,
)
from feast_assets.registry.marks import KeepsMarks, moment_of
from feast_assets.testing.registry.objects import DAY, FIRST, RegistryFactory, commit, entry, record, view


class MarkingRegistry(Registry, KeepsMarks):
    """The type of what the suite tests."""


class KeepsMarksConformance:
    """What a registry that keeps marks must do. Subclasses give `registry_factory` as for `RegistryConformance`."""

    @pytest.fixture
    def registry(self, registry_factory: RegistryFactory) -> Iterator[MarkingRegistry]:
        """A handle on an empty registry."""
        registry = registry_factory("shop")
        assert isinstance(registry, KeepsMarks)
        yield cast(MarkingRegistry, registry)
        registry.close()

    def test_numbers_are_noted_with_what_they_follow_and_rise(self, registry: MarkingRegistry) -> None:
        assert registry.known_marks("trips", "t") == []
        before = datetime.now(UTC)
        claim = registry.claim("trips", [], table=OnlineTable("t", 1))
        assert before - timedelta(seconds=1) < moment_of(claim.begins) < datetime.now(UTC) + timedelta(seconds=1)
        later = registry.draw_marks("trips", OnlineTable("t", claim.begins))
        other = registry.draw_marks("trips", OnlineTable("u", 2**61))
        assert 1 < claim.begins < claim.settles < later[0] < later[1] < 2**61 < other[0] < other[1]
        assert registry.known_marks("trips", "t") == [
            DrawnMark(claim.begins, 1),
            DrawnMark(claim.settles, claim.begins),
            DrawnMark(later[0], claim.begins),
            DrawnMark(later[1], later[0]),
        ]
        assert registry.known_marks("trips", "u") == [DrawnMark(other[0], 2**61), DrawnMark(other[1], other[0])]
        assert registry.draw_marks("trips", OnlineTable("t", 0))[0] > other[1], "of one view each is above all"
        unnamed = registry.claim("rides", [])
        assert (unnamed.begins, unnamed.settles) == (0, 0)
        assert registry.known_marks("rides", "t") == []

    def test_two_registries_draw_different_numbers(self, registry_factory: RegistryFactory) -> None:
        drawn: list[int] = []
        for project in ("one", "two"):
            registry = registry_factory(project)
            assert isinstance(registry, KeepsMarks)
            for _ in range(20):
                drawn += registry.draw_marks("trips", OnlineTable("t", 2**61))
            registry.close()
        assert len(set(drawn)) >= 78, "the same moment is drawn from once in a thousand times"

    def test_what_was_settled_under_a_lost_number_is_unsettled_with_the_reason(self, registry: MarkingRegistry) -> None:
        marked = [
            replace(entry("trips", FIRST + i * DAY, FIRST + (i + 1) * DAY, "f" if i else ""), mark=10 + i)
            for i in range(4)
        ]
        entries = record(registry, *marked)
        other = record(registry, replace(entry("rides", FIRST, FIRST + DAY), mark=11))
        begins, settles = registry.draw_marks("trips", OnlineTable("t", 1))
        doubt = MarkDoubt("restored", begins, frozenset([10, 12]))
        states = registry.ledger_change_tokens(["trips", "rides"])
        assert not registry.distrust("trips", "t", doubt, newest=begins)
        assert registry.ledger("trips") == entries
        assert registry.ledger_change_tokens(["trips", "rides"]) == states
        assert registry.distrust("trips", "t", doubt, newest=settles)
        ledger_entries = registry.ledger("trips")
        assert ledger_entries == [
            replace(e, settled=False, doubt="restored") if e.mark in doubt.lost else e for e in entries
        ]
        assert registry.ledger("rides") == other
        after = registry.ledger_change_tokens(["trips", "rides"])
        assert after["trips"] != states["trips"]
        assert after["rides"] == states["rides"]
        (again,) = record(registry, entries[0])
        assert again.version > entries[0].version
        assert again.doubt == ""

    def test_a_claim_of_before_a_doubt_settles_nothing(self, registry: MarkingRegistry) -> None:
        claimed = replace(entry("trips", FIRST, FIRST + DAY), mark=7)
        claim = registry.claim("trips", [WindowContent(claimed.window, "f", "d")], table=OnlineTable("t", 1))
        states = registry.ledger_change_tokens(["trips"])
        assert registry.distrust("trips", "t", MarkDoubt("restored", 1), newest=claim.settles)
        assert registry.ledger_change_tokens(["trips"]) != states
        registry.settle(claim, [replace(claimed, version=claim.versions[0])])
        (left,) = registry.ledger("trips")
        assert (left.settled, left.doubt) == (False, "restored")

    @pytest.mark.parametrize("kind", ["unknown", "missing"])
    def test_of_an_unknown_or_missing_number_all_is_unsettled_and_it_is_remembered(
        self, registry: MarkingRegistry, kind: Literal["unknown", "missing"]
    ) -> None:
        registry.claim("trips", [], empty=[WindowContent(Window(FIRST, FIRST + DAY), "", "d")])
        registry.claim("trips", [], empty=[WindowContent(Window(FIRST + 4 * DAY, FIRST + 7 * DAY), "", "d")])
        (settled,) = record(registry, entry("trips", FIRST + DAY, FIRST + 2 * DAY))
        gaps = [Window(FIRST + 1.5 * DAY, FIRST + 2.5 * DAY), Window(FIRST + 5 * DAY, FIRST + 6 * DAY)]
        high = settled.version + 10**12
        number = 2**60 if kind == "unknown" else 0
        assert registry.distrust("trips", "t", MarkDoubt(kind, number), newest=0, gaps=gaps, above=high)
        left = registry.ledger("trips")
        assert [(e.window, e.settled, e.doubt) for e in left] == [
            (Window(FIRST, FIRST + DAY), True, ""),
            (settled.window, False, kind),
            (Window(FIRST + 2 * DAY, gaps[0].end), False, kind),
            (Window(FIRST + 4 * DAY, FIRST + 5 * DAY), True, ""),
            (gaps[1], False, kind),
            (Window(FIRST + 6 * DAY, FIRST + 7 * DAY), True, ""),
        ]
        claim = registry.claim("trips", [WindowContent(e.window, "f", "d") for e in left if not e.settled])
        assert min(claim.versions) > high
        (known,) = registry.known_marks("trips", "t")
        if kind == "unknown":
            assert known == DrawnMark(number, 0, "found")
        else:
            assert (known.previous, known.kind) == (0, "missing")
        assert registry.draw_marks("trips", OnlineTable("t", number))[0] > known.number

    def test_a_number_that_is_found_in_another_table_becomes_that_tables(self, registry: MarkingRegistry) -> None:
        _, settles = registry.draw_marks("trips", OnlineTable("t", 1))
        assert registry.distrust("trips", "u", MarkDoubt("unknown", settles), newest=0)
        assert registry.known_marks("trips", "u") == [DrawnMark(settles, 0, "found")]

    def test_marks_go_with_their_view(self, registry: MarkingRegistry) -> None:
        commit(registry, view("trips"), view("rides"))
        for name in ("trips", "rides"):
            registry.draw_marks(name, OnlineTable("t", 1))
        registry.forget("trips")
        assert registry.known_marks("trips", "t") == []
        commit(registry, deletes=[("feature view", "rides")])
        assert registry.known_marks("rides", "t") == []
        registry.draw_marks("trips", OnlineTable("t", 1))
        registry.teardown()
        assert registry.known_marks("trips", "t") == []
