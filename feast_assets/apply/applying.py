"""Bringing a project's registry and online store to what is declared: plan, apply, teardown."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from feast_assets.apply.diff import Action, RegistryDiff, diff
from feast_assets.apply.digests import InputDigests
from feast_assets.apply.inference import prepare
from feast_assets.apply.infrastructure import OnlineTables, drop_tables, set_generations, set_up_tables
from feast_assets.apply.plan import ApplyPlan, InfraDiff
from feast_assets.apply.removal import changes_of
from feast_assets.apply.store_abilities import check_abilities
from feast_assets.apply.versions import Versions
from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.view_version import ViewVersion
from feast_assets.errors import DefinitionError, SourceWithoutFilesError
from feast_assets.offline_stores.abilities import check_texts
from feast_assets.offline_stores.base import OfflineStore, whole_source
from feast_assets.offline_stores.source_changes import history_state
from feast_assets.online_stores.base import OnlineStore
from feast_assets.registry.base import Changes, Registry
from feast_assets.registry.current_user import current_user
from feast_assets.registry.snapshot import TYPES_WITH_ROWS, RegistrySnapshot, StoredObject


@dataclass
class Applier:
    """Applies definitions to one project."""

    project: str
    registry: Registry
    offline_store: OfflineStore
    online_store: OnlineStore | None
    project_description: str = ""
    own_tables: bool = False

    def plan(
        self,
        objects: Sequence[Definition],
        objects_to_delete: Sequence[Definition] = (),
        *,
        whole: bool,
        snapshot: RegistrySnapshot | None = None,
        try_functions: bool = True,
        check_sources: bool = True,
        no_promote: bool = False,
    ) -> ApplyPlan:
        """Validates and completes what is declared, and compares it with the registry. Changes nothing.

        Args:
            whole: whether ``objects`` are everything that the project is to have; the registry's other objects are
                then deleted.
            snapshot: the registry's newest revision, if the caller has it.
            try_functions: whether the functions of new and changed on-demand views are called on sample values.
            check_sources: whether declared columns are looked for in the sources.
            no_promote: whether new versions of views are only kept, and those in use stay.
        """
        for each in objects:
            if isinstance(each, FeatureView):
                check_abilities(each, self.offline_store)
        snapshot = snapshot or self.registry.snapshot()
        digests = InputDigests(snapshot, self.registry.inputs(), self._source_change_tokens)
        prepared = prepare(
            objects,
            snapshot,
            project=self.project,
            project_description=self.project_description,
            schema_of=self.offline_store.schema,
            earliest_of=self._earliest_event,
            check_texts=partial(check_texts, self.offline_store),
            partial=not whole,
            digests=digests,
            try_function=_tried if try_functions else None,
            check_sources=check_sources,
            versions=Versions(snapshot, no_promote=no_promote, own_tables=self.own_tables),
        )
        set_generations(prepared.made, snapshot, prepared.tables)
        changes = changes_of(prepared, snapshot, partial=not whole, objects_to_delete=objects_to_delete)
        before: dict[str, StoredObject | FeatureView] = {o.name: o for o in snapshot.all_stored(*TYPES_WITH_ROWS)}
        deleted = set(changes.deletes)
        after = {name: o for name, o in before.items() if (o.object_type, name) not in deleted}
        after |= {v.name: v for v in changes.upserts if isinstance(v, FeatureView)}
        tables_before, tables_after = self._tables(before, digests), self._tables(after, digests)
        if self.own_tables:
            kept = {v.name: v for v in [*_versions_in(snapshot), *_versions_of(prepared.made)]}
            standing = [v for v in kept.values() if (ViewVersion.object_type, v.name) not in deleted]
            tables_before = self._version_tables(_versions_in(snapshot)) | dict(tables_before)
            tables_after = self._version_tables(standing) | dict(tables_after)
        else:
            # They may have had tables of their own before.
            gone = (
                [v for v in _versions_in(snapshot) if (ViewVersion.object_type, v.name) in deleted] if deleted else []
            )
            tables_before = self._version_tables(gone) | dict(tables_before)
        differences = diff(snapshot, changes, prepared.standing)
        return ApplyPlan(
            declared=tuple(objects),
            changes=_only_differences(changes, differences, snapshot, digests),
            based_on=snapshot.revision,
            registry_diff=differences,
            infra_diff=InfraDiff.between(tables_before, tables_after),
            tables=tuple(sorted(tables_after)),
            obsolete=tuple(sorted(set(tables_before) - set(tables_after))),
        )

    def apply(self, plan: ApplyPlan) -> int:
        """Carries out a plan and returns the revision.

        New tables are set up first, then the registry changes in one transaction, which turns reads to them, and then
        unused tables are dropped. An interrupted apply therefore leaves the old definitions with their rows, or the new
        ones with theirs; at worst a table stays that nobody reads.

        Raises:
            ConcurrentApplyError: the registry has changed since the plan was made; nothing was changed.
        """
        set_up_tables(self.online_store, plan.tables)
        revision = self.registry.commit(plan.changes, based_on=plan.based_on, by=current_user())
        drop_tables(self.online_store, plan.obsolete)
        return revision

    def teardown(self) -> None:
        """Removes the project's online rows, then its registry.

        Raises:
            DefinitionError: the project is protected by a tag.
        """
        snapshot = self.registry.snapshot()
        declared = snapshot.project_object()
        if declared is not None and declared.protected:
            raise DefinitionError(
                f"Project {self.project!r} is protected: "
                "remove its tag feast.dev/protected-project, apply, and try again."
            )
        views = [v for v in snapshot.shared(*TYPES_WITH_ROWS) if isinstance(v, FeatureView)]
        for view in views:
            self.registry.forget(view.name)  # first, so that the ledger never lists rows that are gone
        tables = {v.online_table(self.project) for v in views if v.online}
        drop_tables(self.online_store, sorted({*tables, *self._version_tables(_versions_in(snapshot))}))
        self.registry.teardown()

    def _version_tables(self, versions: Iterable[ViewVersion]) -> dict[str, str]:
        views = [each.as_view() for each in versions]
        return {
            view.online_table(self.project): f"{self.project}.{view.name}"
            for view in views
            if isinstance(view, FeatureView) and view.online
        }

    def _tables(self, views: Mapping[str, StoredObject | FeatureView], digests: InputDigests) -> OnlineTables:
        tables = {name: digests.table(view) for name, view in views.items()}
        return {table: f"{self.project}.{name}" for name, table in tables.items() if table}

    def _source_change_tokens(self, source: DataSource) -> frozenset[str]:
        return history_state(self.offline_store, whole_source(source)).parts or frozenset()

    def _earliest_event(self, view: FeatureView) -> datetime | None:
        from feast_assets.compute.early_rows import warn_of_early_rows
        from feast_assets.compute.view_stores import history_read

        try:
            earliest = self.offline_store.oldest_event(history_read(view))
        except SourceWithoutFilesError:
            earliest = None
        if earliest is None and view.partitions is not None:
            warnings.warn(
                f"Feature view {view.name!r}: there are no rows yet that tell where its partitions start. Until then "
                "Dagster shows none of them. Declare the start: "
                f'Partitions("{view.partitions.grain}", start=...); or apply again when there are rows.',
                stacklevel=2,
            )
        if earliest is not None:
            warn_of_early_rows(view, self.offline_store, earliest)
        return earliest


def _versions_in(snapshot: RegistrySnapshot) -> list[ViewVersion]:
    return _versions_of(snapshot.shared(ViewVersion.object_type))


def _versions_of(objects: Iterable[Definition]) -> list[ViewVersion]:
    return [each for each in objects if isinstance(each, ViewVersion)]


def _tried(view: OnDemandFeatureView, sources: Mapping[str, FeatureView]) -> list[Field]:
    from feast_assets.apply.trial import tried

    assert view.udf is not None
    return tried(view, sources, view.udf)


def _only_differences(
    changes: Changes, differences: RegistryDiff, snapshot: RegistrySnapshot, digests: InputDigests
) -> Changes:
    """Returns only what differs from the registry, with the digests that are to be remembered of it."""
    unchanged = {(d.object_type, d.name) for d in differences if d.action is Action.UNCHANGED}
    upserts = {(d.object_type, d.name): d for d in changes.upserts}
    changed = {key: d for key, d in upserts.items() if key not in unchanged}
    hashes = {(o.object_type, o.name): o.content_hash for o in snapshot.all_stored()}
    hashes |= {key: definition.content_hash() for key, definition in changed.items()}
    remembered = digests.to_remember(upserts, hashes)
    return Changes(tuple(changed.values()), changes.deletes, remembered, changes.renamed_ledgers)
