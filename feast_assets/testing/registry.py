"""What every registry backend must do, as tests.

A backend's test module subclasses the suite and says how a registry is made::

    class TestMyRegistry(RegistryConformance):
        @pytest.fixture
        def registry_factory(self, tmp_path):
            return functools.partial(MyRegistry, MyRegistryConfig(...), tmp_path)

The factory takes a project's name and makes a new handle on one and the same place each time it is called. It must
pickle (an importable class or function, or a ``functools.partial`` of one), because tests hand it to other processes.
Each test needs an empty place of its own.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

import pytest

from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.project import Project
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import Window
from feast_assets.errors import ConcurrentApplyError, DefinitionError
from feast_assets.registry.base import (
    Changes,
    DrawnMark,
    LedgerEntry,
    MarkDoubt,
    OnlineTable,
    Registry,
    WindowContent,
)
from feast_assets.registry.marks import moment_of
from feast_assets.registry.noted_pushes import NotedPush, NotesPushes
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.types import FeastType, Float64, Int64, String

RegistryFactory = Callable[[str], Registry]

_DAY = timedelta(days=1)
_FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def entity(name: str, description: str = "") -> Entity:
    """Returns an entity."""
    return Entity(name=name, join_keys=[f"{name}_id"], description=description)


def view(name: str, features: Sequence[tuple[str, FeastType]] = (("fare", Float64),)) -> FeatureView:
    """Returns a feature view of an entity that is named ``driver``."""
    return FeatureView(
        name=name,
        entities=[entity("driver")],
        source=FileSource(name="trips", path="trips.parquet", timestamp_field="at"),
        schema=[Field(name="driver_id", dtype=Int64), *(Field(name=n, dtype=t) for n, t in features)],
    )


def entry(view_name: str, start: datetime, end: datetime, fingerprint: str = "f", version: int = 1) -> LedgerEntry:
    """Returns a ledger entry."""
    return LedgerEntry(
        view=view_name,
        window=Window(start, end),
        fingerprint=fingerprint,
        version=version,
        definition_hash="d",
        rows=7,
        written=5,
        at=datetime(2024, 6, 1, 12, 30, 0, 123456, tzinfo=UTC),
        run_id="run",
    )


def record(registry: Registry, *entries: LedgerEntry) -> list[LedgerEntry]:
    """Claims and settles windows of one view; returns the entries with the versions that they were given."""
    contents = [WindowContent(e.window, e.fingerprint, e.definition_hash) for e in entries]
    claim = registry.claim(entries[0].view, contents, run_id="run")
    settled = [replace(e, version=v) for e, v in zip(entries, claim.versions, strict=True)]
    registry.settle(claim, settled)
    return settled


def commit(registry: Registry, *upserts: Definition, deletes: Sequence[tuple[str, str]] = ()) -> int:
    """Commits without looking at what is there."""
    return registry.commit(Changes(upserts, deletes))


def _held(snapshot: RegistrySnapshot) -> list[object]:
    """Returns all that a snapshot says."""
    objects = [(o.to_spec(), o.created_timestamp, o.last_updated_timestamp) for o in snapshot.objects()]
    lists = [
        [[f.to_spec() for f in fields] for fields in snapshot.feature_lists(v.name)] for v in snapshot.feature_views
    ]
    return [snapshot.project, snapshot.revision, objects, lists]


def _commit_entities(factory: RegistryFactory, worker: int, count: int) -> None:
    registry = factory("shop")
    for i in range(count):
        commit(registry, entity(f"e_{worker}_{i}"))
    registry.close()


def _increment_carefully(factory: RegistryFactory, times: int) -> None:
    """Adds one to a number in an entity's description, trying again when somebody else came between."""
    registry = factory("shop")
    done = 0
    while done < times:
        snapshot = registry.snapshot()
        stored = snapshot.get("entity", "counter")
        value = int(stored.description) if stored is not None else 0
        try:
            registry.commit(Changes([entity("counter", str(value + 1))]), based_on=snapshot.revision)
        except ConcurrentApplyError:
            continue
        done += 1
    registry.close()


def _record_days(factory: RegistryFactory, first: int, count: int) -> None:
    registry = factory("shop")
    for i in range(first, first + count):
        record(registry, entry("trips", _FIRST + i * _DAY, _FIRST + (i + 1) * _DAY))
    registry.close()


def _in_processes(target: Callable[..., None], arguments: Sequence[tuple[object, ...]]) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=args) for args in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0] * len(processes)


class RegistryConformance:
    """The suite; see the module's docstring."""

    @pytest.fixture
    def registry_factory(self) -> RegistryFactory:
        raise NotImplementedError("Define the fixture registry_factory in the subclass.")

    @pytest.fixture
    def registry(self, registry_factory: RegistryFactory) -> Iterator[Registry]:
        registry = registry_factory("shop")
        yield registry
        registry.close()

    # --- revisions

    def test_a_new_registry_is_empty(self, registry: Registry) -> None:
        assert registry.revision() == 0
        assert registry.revisions() == []
        assert registry.snapshot().objects() == []
        assert registry.snapshot(0).revision == 0
        assert registry.ledger("trips") == []

    def test_what_is_committed_is_read_by_another_handle(
        self, registry: Registry, registry_factory: RegistryFactory
    ) -> None:
        assert commit(registry, entity("driver"), view("trips"), Project(name="shop")) == 1
        other = registry_factory("shop")
        snapshot = other.snapshot()
        other.close()
        assert snapshot.revision == 1
        assert snapshot.project == "shop"
        assert snapshot.entity("driver") == entity("driver")
        assert snapshot.feature_view("trips") == view("trips")
        assert snapshot.project_object() == Project(name="shop")

    def test_every_change_is_a_revision_that_says_who_when_and_what(self, registry: Registry) -> None:
        before = datetime.now(UTC)
        registry.commit(Changes([entity("driver")]), by="ann")
        registry.commit(Changes([entity("driver", "who drives"), entity("rider")]), by="bob")
        registry.commit(Changes(deletes=[("entity", "rider")]), by="cid")
        revisions = registry.revisions()
        assert [r.number for r in revisions] == [1, 2, 3]
        assert [r.by for r in revisions] == ["ann", "bob", "cid"]
        assert all(before <= r.at <= datetime.now(UTC) for r in revisions)
        assert "created entity driver" in revisions[0].summary
        assert "updated entity driver" in revisions[1].summary
        assert "created entity rider" in revisions[1].summary
        assert "deleted entity rider" in revisions[2].summary

    def test_committing_what_is_there_changes_nothing(self, registry: Registry) -> None:
        commit(registry, entity("driver"), view("trips"))
        assert commit(registry, entity("driver"), view("trips")) == 1
        assert commit(registry, deletes=[("entity", "nobody")]) == 1
        assert commit(registry) == 1
        assert len(registry.revisions()) == 1

    def test_old_revisions_stay_readable(self, registry: Registry) -> None:
        commit(registry, entity("driver"))
        commit(registry, entity("driver", "second"), entity("rider"))
        commit(registry, deletes=[("entity", "driver")])
        commit(registry, entity("driver", "fourth"))
        assert registry.snapshot(0).objects() == []
        assert [e.description for e in registry.snapshot(1).entities] == [""]
        assert [e.description for e in registry.snapshot(2).entities] == ["second", ""]
        assert [e.name for e in registry.snapshot(3).entities] == ["rider"]
        assert registry.snapshot(4).entity("driver").description == "fourth"
        assert registry.snapshot(4).objects() == registry.snapshot().objects()

    def test_an_unknown_revision_is_a_lookup_error_that_names_it(self, registry: Registry) -> None:
        commit(registry, entity("driver"))
        with pytest.raises(LookupError, match="7"):
            registry.snapshot(7)
        with pytest.raises(LookupError):
            registry.snapshot(-1)

    def test_times_of_creation_and_change_are_kept(self, registry: Registry) -> None:
        commit(registry, entity("driver"), entity("rider"))
        first = registry.snapshot().entity("driver")
        commit(registry, entity("driver", "changed"))
        second = registry.snapshot()
        assert first.created_timestamp is not None
        assert first.created_timestamp == first.last_updated_timestamp
        assert second.entity("driver").created_timestamp == first.created_timestamp
        assert second.entity("driver").last_updated_timestamp == registry.revisions()[1].at
        assert second.entity("rider").last_updated_timestamp == registry.revisions()[0].at

    def test_an_object_that_is_both_deleted_and_given_is_replaced(self, registry: Registry) -> None:
        commit(registry, entity("driver"))
        commit(registry, entity("driver", "new"), deletes=[("entity", "driver")])
        assert registry.snapshot().entity("driver").description == "new"

    def test_two_versions_of_one_object_are_refused(self, registry: Registry) -> None:
        with pytest.raises(DefinitionError, match="driver"):
            commit(registry, entity("driver"), entity("driver", "other"))
        assert registry.revision() == 0

    def test_objects_of_different_types_may_have_one_name(self, registry: Registry) -> None:
        commit(registry, entity("driver"), view("driver"), FeatureService(name="driver", features=[view("driver")]))
        commit(registry, deletes=[("entity", "driver")])
        snapshot = registry.snapshot()
        assert [type(o).__name__ for o in snapshot.objects()] == ["FeatureService", "FeatureView"]

    def test_names_are_kept_as_they_are(self, registry: Registry) -> None:
        names = ["naïve 名前", "quote'\"; DROP TABLE x; --", "Driver", "driver", "a%b_c\\d"]
        commit(registry, *(entity(n) for n in names))
        assert sorted(e.name for e in registry.snapshot().entities) == sorted(names)
        commit(registry, deletes=[("entity", "driver")])
        assert sorted(e.name for e in registry.snapshot().entities) == sorted(set(names) - {"driver"})

    def test_projects_do_not_see_each_other(self, registry: Registry, registry_factory: RegistryFactory) -> None:
        other = registry_factory("other")
        commit(registry, entity("driver"))
        record(registry, entry("trips", _FIRST, _FIRST + _DAY))
        assert other.revision() == 0
        assert other.snapshot().objects() == []
        assert other.ledger("trips") == []
        commit(other, entity("rider"))
        other.teardown()
        assert registry.revision() == 1
        assert len(registry.ledger("trips")) == 1
        other.close()

    def test_the_projects_of_a_registry_are_listed_by_name(
        self, registry: Registry, registry_factory: RegistryFactory
    ) -> None:
        assert registry.projects() == []
        commit(registry, entity("a"))
        assert [project.name for project in registry.projects()] == [registry.snapshot().project]
        other = registry_factory("alpine")
        commit(other, Project(name="alpine", description="ski passes"))
        listed = {project.name: project.description for project in registry.projects()}
        assert listed == {"alpine": "ski passes", registry.snapshot().project: ""}
        other.teardown()
        other.close()
        assert [project.name for project in registry.projects()] == [registry.snapshot().project]

    def test_changing_what_was_read_changes_nothing_stored(self, registry: Registry) -> None:
        commit(registry, entity("driver"), view("trips"))
        snapshot = registry.snapshot()
        snapshot.feature_view("trips").features.clear()
        snapshot.feature_view("trips").features[0].tags["a"] = "b"
        snapshot.entity("driver").tags["a"] = "b"
        assert snapshot.feature_view("trips") == view("trips")
        assert snapshot.entity("driver") == entity("driver")
        assert registry.snapshot().feature_view("trips") == view("trips")

    # --- refreshing

    def test_a_refreshed_snapshot_is_the_newest(self, registry: Registry, registry_factory: RegistryFactory) -> None:
        other = registry_factory("shop")
        known = other.refreshed(other.snapshot())
        steps: list[tuple[list[Definition], list[tuple[str, str]]]] = [
            ([entity("driver"), view("trips")], []),
            ([entity("driver", "changed"), entity("rider")], []),
            ([view("trips", [("tip", Float64)])], [("entity", "rider")]),
            ([entity("rider", "again")], [("feature view", "trips")]),
            ([], [("entity", "rider"), ("entity", "driver")]),
        ]
        for upserts, deletes in steps:
            commit(registry, *upserts, deletes=deletes)
            known = other.refreshed(known)
            assert _held(known) == _held(other.snapshot())
            assert other.refreshed(known) is known
        other.close()

    def test_a_snapshot_of_before_the_project_was_removed_is_read_anew(self, registry: Registry) -> None:
        for description in ("a", "b"):
            commit(registry, entity("driver", description))
        known = registry.snapshot()
        registry.teardown()
        assert _held(registry.refreshed(known)) == _held(registry.snapshot())
        for revision, name in enumerate(("x", "y", "z"), 1):
            assert commit(registry, entity(name)) == revision
            assert _held(registry.refreshed(known)) == _held(registry.snapshot())

    # --- inputs

    def test_inputs_are_remembered_or_forgotten_and_make_no_revision(self, registry: Registry) -> None:
        key, other = ("feature view", "trips"), ("feature view", "other")
        registry.commit(Changes([view("trips")], inputs={key: "one", other: "two"}))
        assert registry.commit(Changes(inputs={key: "three"}), based_on=1) == registry.revision() == 1
        assert dict(registry.inputs()) in ({}, {key: "three", other: "two"})
        with pytest.raises(ConcurrentApplyError):
            registry.commit(Changes(inputs={key: "late"}), based_on=0)
        registry.teardown()
        assert dict(registry.inputs()) == {}

    # --- feature lists

    def test_every_list_of_features_is_remembered_newest_first(self, registry: Registry) -> None:
        lists = [[("a", Int64)], [("a", Int64), ("b", String)], [("a", String)]]
        for features in lists:
            commit(registry, view("trips", features))
        commit(registry, view("trips", lists[0]))
        found = registry.snapshot().feature_lists("trips")
        assert [[(f.name, f.dtype) for f in fields] for fields in found] == [lists[0], lists[2], lists[1]]

    def test_a_change_that_is_no_change_of_features_adds_no_list(self, registry: Registry) -> None:
        commit(registry, view("trips"))
        changed = view("trips")
        changed.ttl = _DAY
        changed.features[0].description = "what it cost"
        assert commit(registry, changed) == 2
        assert len(registry.snapshot().feature_lists("trips")) == 1
        assert registry.snapshot().feature_lists("unknown") == ()

    # --- concurrency

    def test_changes_worked_out_from_an_old_revision_are_refused(self, registry: Registry) -> None:
        commit(registry, entity("driver"))
        commit(registry, entity("rider"))
        with pytest.raises(ConcurrentApplyError, match="revision 2"):
            registry.commit(Changes([entity("late")]), based_on=1)
        assert registry.revision() == 2
        assert registry.commit(Changes([entity("late")]), based_on=2) == 3

    def test_processes_that_apply_at_once_lose_nothing(self, registry_factory: RegistryFactory) -> None:
        _in_processes(_commit_entities, [(registry_factory, worker, 8) for worker in range(3)])
        registry = registry_factory("shop")
        assert registry.revision() == 24
        assert len(registry.snapshot().entities) == 24
        assert [r.number for r in registry.revisions()] == list(range(1, 25))
        registry.close()

    def test_processes_that_read_then_apply_never_overwrite_each_other(self, registry_factory: RegistryFactory) -> None:
        _in_processes(_increment_carefully, [(registry_factory, 10)] * 2)
        registry = registry_factory("shop")
        assert registry.snapshot().entity("counter").description == "20"
        registry.close()

    def test_threads_share_one_handle(self, registry: Registry) -> None:
        errors: list[BaseException] = []

        def work(worker: int) -> None:
            try:
                for i in range(5):
                    commit(registry, entity(f"e_{worker}_{i}"))
                    assert registry.snapshot().entity(f"e_{worker}_{i}")
                    record(registry, entry(f"v{worker}", _FIRST + i * _DAY, _FIRST + (i + 1) * _DAY))
            except BaseException as error:  # noqa: BLE001 - handed to the test
                errors.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert registry.revision() == 20
        assert all(len(registry.ledger(f"v{i}")) == 5 for i in range(4))

    # --- the ledger

    def test_entries_come_back_as_they_were_in_order(self, registry: Registry) -> None:
        entries = [entry("trips", _FIRST + i * _DAY, _FIRST + (i + 1) * _DAY, f"f{i}") for i in range(5)]
        recorded = record(registry, *reversed(entries))
        assert registry.ledger("trips") == recorded[::-1]
        always = entry("lookup", datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
        assert record(registry, always) == registry.ledger("lookup")
        assert all(e.settled and e.rows == 7 and e.run_id == "run" for e in registry.ledger("trips"))

    def test_the_same_content_keeps_its_version_and_another_gets_a_higher_one(self, registry: Registry) -> None:
        (first,) = record(registry, entry("trips", _FIRST, _FIRST + _DAY))
        (same,) = record(registry, entry("trips", _FIRST, _FIRST + _DAY))
        (other,) = record(registry, entry("trips", _FIRST, _FIRST + _DAY, "corrected"))
        (back,) = record(registry, entry("trips", _FIRST, _FIRST + _DAY))
        assert first.version == same.version < other.version < back.version
        assert first.version > to_micros(_FIRST)

    def test_entries_never_overlap(self, registry: Registry) -> None:
        days = record(registry, *(entry("trips", _FIRST + i * _DAY, _FIRST + (i + 1) * _DAY) for i in range(4)))
        (kept,) = record(registry, entry("other", _FIRST, _FIRST + _DAY))
        (wide,) = record(registry, entry("trips", _FIRST + _DAY, _FIRST + 3 * _DAY, "wide"))
        assert registry.ledger("trips") == [days[0], wide, days[3]]
        (across,) = record(registry, entry("trips", _FIRST + 2 * _DAY, _FIRST + 3.5 * _DAY, "across"))
        assert [e for e in registry.ledger("trips") if e.settled] == [days[0], across]
        assert across.version > wide.version
        (narrow,) = record(registry, entry("trips", _FIRST + 2 * _DAY, _FIRST + 2.5 * _DAY, "narrow"))
        assert [e for e in registry.ledger("trips") if e.settled] == [days[0], narrow]
        assert narrow.version > across.version
        edges = [(e.window.start, e.window.end) for e in registry.ledger("trips")]
        assert [b for _, b in edges] == [a for a, _ in edges[1:]] + [_FIRST + 4 * _DAY]
        assert registry.ledger("other") == [kept]

    def test_what_remains_of_a_window_that_was_claimed_in_part_is_unsettled(self, registry: Registry) -> None:
        (whole,) = record(registry, entry("trips", _FIRST, _FIRST + _DAY))
        part = Window(_FIRST + timedelta(hours=6), _FIRST + timedelta(hours=12))
        claim = registry.claim("trips", [WindowContent(part, "part", "d")])
        assert claim.replaced == ((whole,),)
        before, _, after = registry.ledger("trips")
        assert before == replace(whole, window=Window(_FIRST, part.start), settled=False)
        assert after == replace(whole, window=Window(part.end, _FIRST + _DAY), settled=False)
        again = registry.claim("trips", [WindowContent(whole.window, whole.fingerprint, whole.definition_hash)])
        assert [len(entries) for entries in again.replaced] == [3]
        assert again.versions[0] > claim.versions[0] > whole.version
        assert len(registry.ledger("trips")) == 1

    def test_versions_of_windows_are_even(self, registry: Registry) -> None:
        for i in range(5):
            (settled,) = record(registry, entry("trips", _FIRST, _FIRST + _DAY, f"f{i}"))
            assert settled.version % 2 == 0

    def test_windows_without_rows_are_cut_and_not_lost(self, registry: Registry) -> None:
        registry.claim("trips", [], empty=[WindowContent(Window(_FIRST, _FIRST + 5 * _DAY), "", "d")])
        (day,) = record(registry, entry("trips", _FIRST + _DAY, _FIRST + 2 * _DAY))
        (last,) = record(registry, entry("trips", _FIRST + 4 * _DAY, _FIRST + 6 * _DAY))
        assert [(e.window.start, e.window.end) for e in registry.ledger("trips")] == [
            (_FIRST, _FIRST + _DAY),
            (_FIRST + _DAY, _FIRST + 2 * _DAY),
            (_FIRST + 2 * _DAY, _FIRST + 4 * _DAY),
            (_FIRST + 4 * _DAY, _FIRST + 6 * _DAY),
        ]
        assert [e for e in registry.ledger("trips") if e.fingerprint] == [day, last]

    def test_windows_without_rows_are_noted_where_nothing_is(self, registry: Registry) -> None:
        (day,) = record(registry, entry("trips", _FIRST, _FIRST + _DAY))
        days = [Window(_FIRST + i * _DAY, _FIRST + (i + 1) * _DAY) for i in range(6)]
        both = WindowContent(Window(_FIRST, days[1].end), "", "d")
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
        wanted = entry("trips", _FIRST, _FIRST + _DAY)
        claim = registry.claim("trips", [WindowContent(wanted.window, "f", "d")], run_id="run")
        (open_,) = registry.ledger("trips")
        assert not open_.settled
        assert (open_.version, open_.run_id) == (claim.versions[0], "run")
        settled = replace(wanted, version=claim.versions[0])
        registry.settle(claim, [settled])
        assert registry.ledger("trips") == [settled]

    @pytest.mark.parametrize("first_settles_first", [True, False])
    @pytest.mark.parametrize("hours", [24, 12], ids=["same window", "part of the window"])
    def test_two_runs_of_different_content_leave_the_window_open(
        self, registry: Registry, first_settles_first: bool, hours: int
    ) -> None:
        whole = entry("trips", _FIRST, _FIRST + _DAY, "one")
        other = entry("trips", _FIRST, _FIRST + timedelta(hours=hours), "two")
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
        wanted = entry("trips", _FIRST, _FIRST + _DAY)
        claims = [registry.claim("trips", [WindowContent(wanted.window, "f", "d")]) for _ in range(2)]
        runs = [(c, replace(wanted, version=c.versions[0])) for c in claims]
        for claim, settled in runs if first_settles_first else reversed(runs):
            registry.settle(claim, [settled])
        assert registry.ledger("trips") == [runs[1][1]]

    def test_what_was_forgotten_is_not_settled(self, registry: Registry) -> None:
        wanted = entry("trips", _FIRST, _FIRST + _DAY)
        claim = registry.claim("trips", [WindowContent(wanted.window, "f", "d")])
        registry.forget("trips")
        registry.settle(claim, [wanted])
        assert registry.ledger("trips") == []

    def test_an_apply_keeps_the_ledger_and_a_delete_removes_it(self, registry: Registry) -> None:
        commit(registry, view("trips"), view("rides"))
        for name in ("trips", "rides"):
            record(registry, entry(name, _FIRST, _FIRST + _DAY))
        commit(registry, view("trips", [("other", String)]))
        assert len(registry.ledger("trips")) == 1
        commit(registry, deletes=[("feature view", "trips")])
        assert registry.ledger("trips") == []
        assert len(registry.ledger("rides")) == 1

    def test_forgetting_a_view_leaves_the_others(self, registry: Registry) -> None:
        for name in ("trips", "rides"):
            record(registry, entry(name, _FIRST, _FIRST + _DAY))
        registry.forget("trips")
        registry.forget("unknown")
        assert registry.ledger("trips") == []
        assert len(registry.ledger("rides")) == 1

    def test_the_state_of_a_views_ledger_changes_when_the_ledger_does(self, registry: Registry) -> None:
        def states() -> tuple[str, str]:
            found = registry.ledger_states(["trips", "rides", "unknown"])
            assert list(found) == ["trips", "rides", "unknown"]
            return found["trips"], found["rides"]

        seen = [states()]
        day, next_day = entry("trips", _FIRST, _FIRST + _DAY), Window(_FIRST + _DAY, _FIRST + 2 * _DAY)
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

    # --- marks of online tables

    def test_numbers_are_noted_with_what_they_follow_and_rise(self, registry: Registry) -> None:
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
            for _ in range(20):
                drawn += registry.draw_marks("trips", OnlineTable("t", 2**61))
            registry.close()
        assert len(set(drawn)) >= 78, "the same moment is drawn from once in a thousand times"

    def test_what_was_settled_under_a_lost_number_is_unsettled_with_the_reason(self, registry: Registry) -> None:
        marked = [
            replace(entry("trips", _FIRST + i * _DAY, _FIRST + (i + 1) * _DAY, "f" if i else ""), mark=10 + i)
            for i in range(4)
        ]
        entries = record(registry, *marked)
        other = record(registry, replace(entry("rides", _FIRST, _FIRST + _DAY), mark=11))
        begins, settles = registry.draw_marks("trips", OnlineTable("t", 1))
        doubt = MarkDoubt("restored", begins, frozenset([10, 12]))
        states = registry.ledger_states(["trips", "rides"])
        assert not registry.distrust("trips", "t", doubt, newest=begins)
        assert registry.ledger("trips") == entries
        assert registry.ledger_states(["trips", "rides"]) == states
        assert registry.distrust("trips", "t", doubt, newest=settles)
        found = registry.ledger("trips")
        assert found == [replace(e, settled=False, doubt="restored") if e.mark in doubt.lost else e for e in entries]
        assert registry.ledger("rides") == other
        after = registry.ledger_states(["trips", "rides"])
        assert after["trips"] != states["trips"]
        assert after["rides"] == states["rides"]
        (again,) = record(registry, entries[0])
        assert again.version > entries[0].version
        assert again.doubt == ""

    def test_a_claim_of_before_a_doubt_settles_nothing(self, registry: Registry) -> None:
        wanted = replace(entry("trips", _FIRST, _FIRST + _DAY), mark=7)
        claim = registry.claim("trips", [WindowContent(wanted.window, "f", "d")], table=OnlineTable("t", 1))
        states = registry.ledger_states(["trips"])
        assert registry.distrust("trips", "t", MarkDoubt("restored", 1), newest=claim.settles)
        assert registry.ledger_states(["trips"]) != states
        registry.settle(claim, [replace(wanted, version=claim.versions[0])])
        (left,) = registry.ledger("trips")
        assert (left.settled, left.doubt) == (False, "restored")

    @pytest.mark.parametrize("kind", ["unknown", "missing"])
    def test_of_an_unknown_or_missing_number_all_is_unsettled_and_it_is_remembered(
        self, registry: Registry, kind: Literal["unknown", "missing"]
    ) -> None:
        registry.claim("trips", [], empty=[WindowContent(Window(_FIRST, _FIRST + _DAY), "", "d")])
        registry.claim("trips", [], empty=[WindowContent(Window(_FIRST + 4 * _DAY, _FIRST + 7 * _DAY), "", "d")])
        (settled,) = record(registry, entry("trips", _FIRST + _DAY, _FIRST + 2 * _DAY))
        gaps = [Window(_FIRST + 1.5 * _DAY, _FIRST + 2.5 * _DAY), Window(_FIRST + 5 * _DAY, _FIRST + 6 * _DAY)]
        high = settled.version + 10**12
        found = 2**60 if kind == "unknown" else 0
        assert registry.distrust("trips", "t", MarkDoubt(kind, found), newest=0, gaps=gaps, above=high)
        left = registry.ledger("trips")
        assert [(e.window, e.settled, e.doubt) for e in left] == [
            (Window(_FIRST, _FIRST + _DAY), True, ""),
            (settled.window, False, kind),
            (Window(_FIRST + 2 * _DAY, gaps[0].end), False, kind),
            (Window(_FIRST + 4 * _DAY, _FIRST + 5 * _DAY), True, ""),
            (gaps[1], False, kind),
            (Window(_FIRST + 6 * _DAY, _FIRST + 7 * _DAY), True, ""),
        ]
        claim = registry.claim("trips", [WindowContent(e.window, "f", "d") for e in left if not e.settled])
        assert min(claim.versions) > high
        (known,) = registry.known_marks("trips", "t")
        if kind == "unknown":
            assert known == DrawnMark(found, 0, "found")
        else:
            assert (known.previous, known.kind) == (0, "missing")
        assert registry.draw_marks("trips", OnlineTable("t", found))[0] > known.number

    def test_a_number_that_is_found_in_another_table_becomes_that_tables(self, registry: Registry) -> None:
        _, settles = registry.draw_marks("trips", OnlineTable("t", 1))
        assert registry.distrust("trips", "u", MarkDoubt("unknown", settles), newest=0)
        assert registry.known_marks("trips", "u") == [DrawnMark(settles, 0, "found")]

    def test_marks_go_with_their_view(self, registry: Registry) -> None:
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

    def test_processes_that_record_at_once_lose_nothing(self, registry_factory: RegistryFactory) -> None:
        _in_processes(_record_days, [(registry_factory, 0, 12), (registry_factory, 8, 12)])
        registry = registry_factory("shop")
        assert [e.window.start for e in registry.ledger("trips")] == [_FIRST + i * _DAY for i in range(20)]
        registry.close()

    # --- the end

    def test_teardown_removes_everything_and_may_be_repeated(self, registry: Registry) -> None:
        commit(registry, entity("driver"))
        commit(registry, view("trips"))
        record(registry, entry("trips", _FIRST, _FIRST + _DAY))
        registry.teardown()
        registry.teardown()
        assert registry.revision() == 0
        assert registry.revisions() == []
        assert registry.snapshot().objects() == []
        assert registry.ledger("trips") == []
        assert registry.snapshot().feature_lists("trips") == ()
        assert commit(registry, entity("driver")) == 1

    def test_teardown_of_nothing_is_no_error(self, registry: Registry) -> None:
        registry.teardown()
        assert registry.revision() == 0

    def test_a_closed_registry_can_be_used_again(self, registry: Registry) -> None:
        commit(registry, entity("driver"))
        registry.close()
        registry.close()
        assert registry.snapshot().entity("driver").name == "driver"


def _pushed(push_id: str = "p", version: int = 7, hour: int = 0) -> NotedPush:
    return NotedPush(
        id=push_id,
        call="push to 'live'",
        online_views=("trips", 'odd "name"'),
        offline_view="trips",
        version=version,
        at=_FIRST + timedelta(hours=hour, microseconds=1),
        by="someone@somewhere",
    )


def _note_many(factory: RegistryFactory, worker: int, count: int) -> None:
    registry = factory("shop")
    assert isinstance(registry, NotesPushes)
    for i in range(count):
        # Half of them are noted by two workers at once.
        push = _pushed(f"{i}" if i % 2 else f"{worker}-{i}", version=2 * worker + 1)
        noted = registry.note_push(push, f"rows of {push.id} as {push.version}".encode())
        kept = registry.rows_of_push(noted)
        assert kept is None or kept == f"rows of {noted.id} as {noted.version}".encode()
        if i % 4 == 0:
            registry.forget_push(noted)
    registry.close()


class NotesPushesConformance:
    """What a registry that notes pushes must do. Subclasses give `registry_factory` as for `RegistryConformance`."""

    @pytest.fixture
    def notes(self, registry_factory: RegistryFactory) -> Iterator[NotesPushes]:
        """A handle on an empty registry."""
        registry = registry_factory("shop")
        assert isinstance(registry, NotesPushes)
        yield registry
        registry.close()

    def test_nothing_is_noted_in_a_new_registry(self, notes: NotesPushes) -> None:
        assert notes.noted_pushes() == []
        assert notes.rows_of_push(_pushed()) is None
        notes.forget_push(_pushed())

    @pytest.mark.parametrize("size", [0, 1, 9_000_000])
    def test_a_noted_push_comes_back_as_it_was(
        self, notes: NotesPushes, registry_factory: RegistryFactory, size: int
    ) -> None:
        rows = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        assert notes.note_push(_pushed(), rows) == _pushed()
        other = registry_factory("shop")
        assert isinstance(other, NotesPushes)
        assert other.noted_pushes() == [_pushed()]
        assert other.rows_of_push(_pushed()) == rows
        other.close()

    def test_pushes_come_in_the_order_in_which_they_were_begun(self, notes: NotesPushes) -> None:
        for push_id, hour in (("b", 2), ("c", 1), ("a", 3)):
            notes.note_push(_pushed(push_id, hour=hour), b"rows")
        assert [push.id for push in notes.noted_pushes()] == ["c", "b", "a"]

    def test_a_push_that_is_noted_again_stays_as_it_was(self, notes: NotesPushes) -> None:
        first = notes.note_push(_pushed(version=7), b"first")
        assert notes.note_push(_pushed(version=9, hour=1), b"second") == first
        assert notes.noted_pushes() == [first]
        assert notes.rows_of_push(first) == b"first"

    def test_what_is_forgotten_is_gone_and_may_be_noted_anew(self, notes: NotesPushes) -> None:
        first = notes.note_push(_pushed(version=7), b"first")
        notes.forget_push(first)
        assert notes.noted_pushes() == []
        assert notes.rows_of_push(first) is None
        second = notes.note_push(_pushed(version=9), b"second")
        notes.forget_push(first)
        assert notes.noted_pushes() == [second], "of another version, so it is not the one that was completed"
        assert notes.rows_of_push(second) == b"second"

    def test_snapshots_say_whether_pushes_are_noted(
        self, notes: NotesPushes, registry_factory: RegistryFactory
    ) -> None:
        registry = registry_factory("shop")
        commit(registry, entity("driver"))
        before = registry.snapshot()
        assert not before.has_noted_pushes
        notes.note_push(_pushed(), b"rows")
        after = registry.refreshed(before)
        assert after.has_noted_pushes
        assert registry.snapshot().has_noted_pushes
        assert (after.revision, after.entities) == (before.revision, before.entities)
        commit(registry, entity("rider"))
        assert registry.refreshed(before).has_noted_pushes
        notes.forget_push(_pushed())
        assert not registry.refreshed(after).has_noted_pushes
        assert not registry.snapshot().has_noted_pushes
        registry.close()

    def test_projects_have_their_own_notes(self, notes: NotesPushes, registry_factory: RegistryFactory) -> None:
        other = registry_factory("other")
        assert isinstance(other, NotesPushes)
        notes.note_push(_pushed(), b"rows")
        assert other.noted_pushes() == []
        assert other.rows_of_push(_pushed()) is None
        other.note_push(_pushed(), b"other rows")
        notes.forget_push(_pushed())
        assert other.rows_of_push(_pushed()) == b"other rows"
        other.teardown()
        assert other.noted_pushes() == []
        other.close()

    def test_processes_that_note_at_once_lose_nothing(self, registry_factory: RegistryFactory) -> None:
        _in_processes(_note_many, [(registry_factory, worker, 12) for worker in range(3)])
        registry = registry_factory("shop")
        assert isinstance(registry, NotesPushes)
        kept = {push.id for push in registry.noted_pushes()}
        assert kept == {f"{i}" for i in range(1, 12, 2)} | {f"{w}-{i}" for w in range(3) for i in (2, 6, 10)}
        registry.close()
