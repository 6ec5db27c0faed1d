"""Bringing a project's registry and online store to what is declared: plan, apply, teardown."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from feast_assets.compute.online_rows import online_table
from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import DefinitionError
from feast_assets.offline_stores.base import ALWAYS, OfflineStore, computation_of, history_of
from feast_assets.online_stores.base import OnlineStore
from feast_assets.online_stores.keys import check_key_type
from feast_assets.registry.base import Changes, Registry
from feast_assets.registry.diff import RegistryDiff, diff
from feast_assets.registry.inference import changes, prepare
from feast_assets.registry.snapshot import RegistrySnapshot


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
        emptied: online tables of views that are new or have other join keys than before; whatever rows they hold
            are not theirs.
    """

    changes: Changes
    based_on: int
    registry_diff: RegistryDiff
    infra_diff: InfraDiff
    tables: tuple[str, ...]
    emptied: tuple[str, ...]


@dataclass
class Deployment:
    """Applies definitions to one project."""

    project: str
    registry: Registry
    offline_store: OfflineStore
    online_store: OnlineStore | None
    project_description: str = ""

    def plan(self, objects: Sequence[Definition], objects_to_delete: Sequence[Definition] = (), *, whole: bool) -> Plan:
        """Validates and infers what is declared, and compares it with the registry. Changes nothing.

        Args:
            whole: whether ``objects`` are all that there is to be, and anything else in the registry goes.
        """
        snapshot = self.registry.snapshot()
        prepared = prepare(
            objects,
            snapshot,
            project=self.project,
            project_description=self.project_description,
            schema_of=self.offline_store.schema,
            earliest_of=self._earliest,
            partial=not whole,
        )
        _check_key_types(prepared)
        changed = changes(prepared, snapshot, partial=not whole, objects_to_delete=objects_to_delete)
        return self._plan(snapshot, changed)

    def _plan(self, snapshot: RegistrySnapshot, changed: Changes) -> Plan:
        before = {v.name: v for v in (*snapshot.feature_views, *snapshot.label_views)}
        after = {n: v for n, v in before.items() if (type(v).object_type, n) not in set(changed.deletes)}
        after |= {v.name: v for v in changed.upserts if isinstance(v, FeatureView)}
        had = {n for n, v in before.items() if v.online}
        has = {n for n, v in after.items() if v.online}
        foreign = {n for n in has if n not in had or _keys(before[n]) != _keys(after[n])}
        return Plan(
            changed,
            snapshot.revision,
            diff(snapshot, changed),
            InfraDiff(self._tables(has - had), self._tables(had - has)),
            self._tables(has),
            self._tables(foreign),
        )

    def apply(self, plan: Plan) -> int:
        """Carries out a plan and returns the revision.

        The registry changes in one transaction. Tables that may hold another view's rows are emptied before it, so
        that whatever happens in between, no read ever sees them; tables of removed views are dropped after it.

        Raises:
            ConcurrentApplyError: the registry has changed since the plan was made; nothing was changed.
        """
        if self.online_store is not None:
            if plan.emptied and self.registry.revision() == plan.based_on:
                self.online_store.drop(plan.emptied)
            self.online_store.setup(plan.tables)
        revision = self.registry.commit(plan.changes, based_on=plan.based_on, by=_user())
        if self.online_store is not None and plan.infra_diff.dropped:
            self.online_store.drop(plan.infra_diff.dropped)
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
        if self.online_store is not None:
            self.online_store.drop(self._tables(v.name for v in (*snapshot.feature_views, *snapshot.label_views)))
        self.registry.teardown()

    def _tables(self, views: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(online_table(self.project, v) for v in views))

    def _earliest(self, view: FeatureView) -> datetime | None:
        from feast_assets.definitions.batch_feature_view import BatchFeatureView

        history = computation_of(view) if isinstance(view, BatchFeatureView) and view.keeps_result else history_of(view)
        return self.offline_store.statistics(history, [ALWAYS])[0].oldest_event


def _check_key_types(objects: Iterable[Definition]) -> None:
    for view in objects:
        if isinstance(view, FeatureView) and view.online:
            for field in view.entity_columns:
                check_key_type(field.name, field.dtype)


def _keys(view: FeatureView) -> list[tuple[str, str]]:
    return sorted((f.name, str(f.dtype)) for f in view.entity_columns)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
