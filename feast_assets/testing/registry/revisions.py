"""Suite: definitions by revision."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.project import Project
from feast_assets.errors import ConcurrentApplyError, DefinitionError
from feast_assets.registry.base import (
    Changes,
    Registry,
)
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.testing.registry.objects import DAY, FIRST, RegistryFactory, commit, entity, entry, record, view
from feast_assets.types import Float64, Int64, String


def _held(snapshot: RegistrySnapshot) -> list[object]:
    """Returns all that a snapshot says."""
    objects = [(o.to_spec(), o.created_timestamp, o.last_updated_timestamp) for o in snapshot.objects()]
    lists = [
        [[f.to_spec() for f in fields] for fields in snapshot.feature_lists(v.name)] for v in snapshot.feature_views
    ]
    return [snapshot.project, snapshot.revision, objects, lists]


class Revisions:
    """Definitions by revision; the fixtures are those of `RegistryConformance`."""

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
        record(registry, entry("trips", FIRST, FIRST + DAY))
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
        feature_lists = registry.snapshot().feature_lists("trips")
        assert [[(f.name, f.dtype) for f in fields] for fields in feature_lists] == [lists[0], lists[2], lists[1]]

    def test_a_change_that_is_no_change_of_features_adds_no_list(self, registry: Registry) -> None:
        commit(registry, view("trips"))
        changed = view("trips")
        changed.ttl = DAY
        changed.features[0].description = "what it cost"
        assert commit(registry, changed) == 2
        assert len(registry.snapshot().feature_lists("trips")) == 1
        assert registry.snapshot().feature_lists("unknown") == ()
