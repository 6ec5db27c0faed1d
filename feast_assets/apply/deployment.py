"""Bringing a project's registry and online store to what is declared: plan, apply, teardown."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import cast

from feast_assets.apply.diff import Action, RegistryDiff, diff
from feast_assets.apply.inference import changes, prepare
from feast_assets.apply.inputs import Inputs
from feast_assets.apply.store_abilities import check_abilities
from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import to_micros
from feast_assets.errors import DefinitionError
from feast_assets.offline_stores.abilities import check_texts
from feast_assets.offline_stores.base import OfflineStore, history_of, whole_source
from feast_assets.offline_stores.source_changes import history_state
from feast_assets.online_stores.base import OnlineStore
from feast_assets.online_stores.rows.keys import check_key_type
from feast_assets.registry.base import Changes, Registry
from feast_assets.registry.snapshot import RegistrySnapshot, StoredObject

_WITH_ROWS = (FeatureView.object_type, LabelView.object_type)


@dataclass(frozen=True, slots=True)
class InfraDiff:
    """Online tables that an apply makes and removes."""

    created: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        if not self.created and not self.dropped:
            return "No changes to infrastructure"
        return "\n".join(
            [f"Created online table {t}" for t in self.created] + [f"Dropped online table {t}" for t in self.dropped]
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What an apply would change, and from which revision.

    Attributes:
        declared: what was handed in, as it was.
        tables: the online tables that there are to be.
        obsolete: the online tables that are used no more.
    """

    declared: tuple[Definition, ...]
    changes: Changes
    based_on: int
    registry_diff: RegistryDiff
    infra_diff: InfraDiff
    tables: tuple[str, ...]
    obsolete: tuple[str, ...]


@dataclass
class Deployment:
    """Applies definitions to one project."""

    project: str
    registry: Registry
    offline_store: OfflineStore
    online_store: OnlineStore | None
    project_description: str = ""

    def plan(
        self,
        objects: Sequence[Definition],
        objects_to_delete: Sequence[Definition] = (),
        *,
        whole: bool,
        snapshot: RegistrySnapshot | None = None,
        try_functions: bool = True,
        check_sources: bool = True,
    ) -> Plan:
        """Validates and infers what is declared, and compares it with the registry. Changes nothing.

        Args:
            whole: whether ``objects`` are all that there is to be, and anything else in the registry goes.
            snapshot: the registry's newest revision, where it is at hand.
            try_functions: whether the functions of new and changed on-demand views are called on sample values.
            check_sources: whether declared columns are looked for in the sources.
        """
        for each in objects:
            if isinstance(each, FeatureView):
                check_abilities(each, self.offline_store)
        snapshot = snapshot or self.registry.snapshot()
        inputs = Inputs(snapshot, self.registry.inputs(), self._state)
        prepared = prepare(
            objects,
            snapshot,
            project=self.project,
            project_description=self.project_description,
            schema_of=self.offline_store.schema,
            earliest_of=self._earliest,
            check_texts=partial(check_texts, self.offline_store),
            partial=not whole,
            inputs=inputs,
            try_function=_tried if try_functions else None,
            check_sources=check_sources,
        )
        before: dict[str, StoredObject | FeatureView] = {o.name: o for o in snapshot.all_stored(*_WITH_ROWS)}
        generation = f"{to_micros(datetime.now(UTC)):x}"
        for view in prepared.made:
            if isinstance(view, FeatureView) and view.online:
                _check_key_types(view)
                view.online_generation = _generation(view, _registered(view.name, snapshot), generation)
        changed = changes(prepared, snapshot, partial=not whole, objects_to_delete=objects_to_delete)
        deletes = set(changed.deletes)
        after = {n: o for n, o in before.items() if (o.object_type, n) not in deletes}
        after |= {v.name: v for v in changed.upserts if isinstance(v, FeatureView)}
        had, has = self._tables(before, inputs), self._tables(after, inputs)
        created = sorted(name for table, name in has.items() if table not in had)
        dropped = sorted(name for table, name in had.items() if table not in has)
        differences = diff(snapshot, changed, prepared.standing)
        return Plan(
            tuple(objects),
            _reduced(changed, differences, snapshot, inputs),
            snapshot.revision,
            differences,
            InfraDiff(tuple(created), tuple(dropped)),
            tuple(sorted(has)),
            tuple(sorted(set(had) - set(has))),
        )

    def apply(self, plan: Plan) -> int:
        """Carries out a plan and returns the revision.

        The registry changes in one transaction, with which reads turn to the new tables. So whatever interrupts
        this, the old definitions stand with their rows, or the new ones with theirs; at worst a table stays behind
        that nobody reads.

        Raises:
            ConcurrentApplyError: the registry has changed since the plan was made; nothing was changed.
        """
        if self.online_store is not None:
            self.online_store.setup(plan.tables)
        revision = self.registry.commit(plan.changes, based_on=plan.based_on, by=_user())
        if self.online_store is not None and plan.obsolete:
            self.online_store.drop(plan.obsolete)
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
        views = [v for v in snapshot.shared(*_WITH_ROWS) if isinstance(v, FeatureView)]
        for view in views:
            self.registry.forget(view.name)  # first, so that the ledger never speaks of rows that are gone
        if self.online_store is not None:
            self.online_store.drop([v.online_table(self.project) for v in views if v.online])
        self.registry.teardown()

    def _tables(self, views: Mapping[str, StoredObject | FeatureView], inputs: Inputs) -> dict[str, str]:
        """Returns the online tables of views, with the names that people know them by."""
        tables = {name: inputs.table(view) for name, view in views.items()}
        return {table: f"{self.project}.{name}" for name, table in tables.items() if table}

    def _state(self, source: DataSource) -> frozenset[str]:
        return history_state(self.offline_store, whole_source(source)).parts or frozenset()

    def _earliest(self, view: FeatureView) -> datetime | None:
        from feast_assets.compute.early_rows import warn_of_early_rows
        from feast_assets.compute.staleness import history_read

        earliest = self.offline_store.oldest_event(history_read(view))
        if earliest is not None:
            warn_of_early_rows(view, self.offline_store, earliest)
        return earliest


def _tried(view: OnDemandFeatureView, sources: Mapping[str, FeatureView]) -> list[Field]:
    from feast_assets.apply.trial import tried

    assert view.udf is not None
    return tried(view, sources, view.udf)


def _registered(name: str, snapshot: RegistrySnapshot) -> FeatureView | None:
    """Returns the snapshot's own view that has rows."""
    found = (snapshot.stored(object_type, name) for object_type in _WITH_ROWS)
    return next((cast(FeatureView, stored.definition()) for stored in found if stored is not None), None)


def _reduced(changes: Changes, differences: RegistryDiff, snapshot: RegistrySnapshot, inputs: Inputs) -> Changes:
    """Returns only what differs from the registry, with what is to be remembered of it."""
    unchanged = {(d.object_type, d.name) for d in differences if d.action is Action.UNCHANGED}
    upserts = {(d.object_type, d.name): d for d in changes.upserts}
    changed = {key: d for key, d in upserts.items() if key not in unchanged}
    hashes = {(o.object_type, o.name): o.content_hash for o in snapshot.all_stored()}
    hashes |= {key: definition.content_hash() for key, definition in changed.items()}
    return Changes(tuple(changed.values()), changes.deletes, inputs.news(upserts, hashes))


def _check_key_types(view: FeatureView) -> None:
    for field in view.entity_columns:
        check_key_type(field.name, field.dtype)


def _generation(view: FeatureView, before: FeatureView | None, new: str) -> str:
    """Returns the generation of a view's online table: a new one where rows of before could be taken for others."""
    if before is None or not before.online or _identity(before) != _identity(view):
        return new
    return before.online_generation


def _identity(view: FeatureView) -> tuple[object, ...]:
    """Returns what decides which row of which entity an online row is, and which of two is newer."""
    history = history_of(view) if view.batch_source is not None else None
    keys = sorted((f.name, str(f.dtype)) for f in view.entity_columns)
    return (keys, history and history.timestamp_field, history and history.created_timestamp_column)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
