"""The verbs that materialize views, say which windows are stale, and audit what is served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from feast_assets.arguments import view_names, windows_of
from feast_assets.auth.identity import acting_identity
from feast_assets.compute.results import MaterializationResult, Progress
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.kept_results import in_order
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.spec import as_utc
from feast_assets.definitions.window import Window
from feast_assets.errors import (
    InputError,
    NotSupportedError,
    shown,
)
from feast_assets.feature_logs import FeatureLogs
from feast_assets.lifecycle import check_state, check_version, may_be_materialized, of_version
from feast_assets.repository.stored_on_demand import materializable_view

if TYPE_CHECKING:
    from feast_assets.audit.report import AuditReport
    from feast_assets.compute.engines.base import ComputeEngine, RepositoryReference, WindowDone, WindowTask
    from feast_assets.compute.materialization import Materialization
    from feast_assets.compute.staleness import StaleWindow
    from feast_assets.compute.view_stores import ViewStores
    from feast_assets.online_stores.base import OnlineStore

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Materializing(FeatureLogs):
    """Materialization and audits of a project's views."""

    if TYPE_CHECKING:

        @property
        def compute_engine(self) -> ComputeEngine: ...

        def _online_or_none(self) -> OnlineStore | None: ...

    def materialize(
        self,
        start_date: datetime,
        end_date: datetime,
        feature_views: Sequence[str] | None = None,
        disable_event_timestamp: bool = False,
        full_feature_names: bool = False,
        version: str | None = None,
        force: bool = False,
        run_async: bool = False,
        *,
        progress: Progress | None = None,
        run_id: str = "",
    ) -> list[MaterializationResult]:
        """Puts the latest rows between two times into the online store, whether or not it was done before.

        Args:
            start_date, end_date: both ends are inclusive.
            feature_views: names; all that can be materialized when left out.
            disable_event_timestamp: all of history until now, whatever the dates.
            full_feature_names, force: without effect: stored features have no such names, and a run never has to wait
                for another's.
            version: of the only view that is named, such as "v1"; its rows are put into that version's table. See
                ``enable_online_feature_view_versioning`` in the section ``registry`` of ``feature_store.yaml``.
            progress: called as windows are done.
            run_id: who runs it, for the ledger.

        Raises:
            InputError: the start is after the end, or a view cannot be materialized.
            SourceError: a view's source cannot be read; the other views were materialized.
            BrokenChecksError: rows of some windows break their fields' checks; the other windows were materialized.
            MaterializationError: several views failed; the others were materialized.
        """
        _refuse_async(run_async)
        feature_views = of_version(feature_views, version, self._versions_have_tables)
        start, end = _moment("start_date", start_date), _moment("end_date", end_date)
        if disable_event_timestamp:
            start, end = _EPOCH, datetime.now(UTC)
        if start > end:
            raise InputError(f"start_date {start.isoformat()} is after end_date {end.isoformat()}; swap them.")
        return self._run_views(feature_views, progress, run_id, lambda this: this.run_between(start, end))

    def materialize_incremental(
        self,
        end_date: datetime,
        feature_views: Sequence[str] | None = None,
        full_feature_names: bool = False,
        version: str | None = None,
        force: bool = False,
        run_async: bool = False,
        *,
        progress: Progress | None = None,
        run_id: str = "",
        reread: bool = False,
    ) -> list[MaterializationResult]:
        """Puts into the online store what is missing there, or has changed in its source or definition, up to a time.

        Missing windows are found one by one: a gap or a failed window is filled, even if later windows were run. Of the
        sources only files that are new or have changed are read, see `MaterializationResult.parts`.

        Args:
            end_date: inclusive; may lie in the future.
            reread: whether all files are read, also those that seem to be the same.
            feature_views, full_feature_names, version, force, progress, run_id: as in `materialize`.
        """
        _refuse_async(run_async)
        feature_views = of_version(feature_views, version, self._versions_have_tables)
        end = _moment("end_date", end_date)
        from feast_assets.compute.view_runs import run_views

        views = self.views_to_materialize(feature_views)

        def run(view: FeatureView) -> MaterializationResult:
            return self._materialization(view, progress, run_id, reread=reread).run_stale(end)

        results = run_views(views, run)
        self._note_available(views)
        self._log_materialized(views, run_id)
        return results

    def materialize_windows(
        self,
        feature_view: str,
        windows: Sequence[Window] | None,
        *,
        run_id: str = "",
        progress: Progress | None = None,
        validate: bool | None = None,
        profile: bool = False,
    ) -> MaterializationResult:
        """Runs certain windows of one view, whether or not they were run before.

        Args:
            windows: in any order, none overlapping another; neighbouring ones run in one pass. None: the whole, for
                views without partitions.
            validate: whether windows with rows that break their fields' checks are refused; left out, as the view's
                ``enable_validation`` says.
            profile: whether the result has statistics of each window's values.

        Raises:
            BrokenChecksError: rows of some windows break their fields' checks; the other windows were run.
        """
        from feast_assets.definitions.window import ALWAYS

        (view,) = self.views_to_materialize([feature_view])
        materialization = self._materialization(view, progress, run_id, validate=validate, profile=profile)
        result = materialization.run_windows([ALWAYS] if windows is None else windows_of(windows))
        self._note_available([view])
        self._log_materialized([view], run_id)
        return result

    def run_window_task(self, task: WindowTask) -> WindowDone:
        """Runs a task of a compute engine in this process; errors are part of the answer.

        For the workers of engines that run elsewhere, see `feast_assets.task_worker`. The windows must be claimed, and
        are settled by the caller of the engine.
        """
        from feast_assets.compute.engines.local import run_elsewhere

        return run_elsewhere(task, self._stores_of_task)

    def _stores_of_task(self, task: WindowTask) -> ViewStores:
        snapshot = self._cache.get()
        if snapshot.revision != task.revision:
            snapshot = self.registry.snapshot(task.revision)
        return self._view_stores(snapshot.feature_view(task.view), task.revision)

    def stale_windows(self, feature_view: str, end_date: datetime | None = None) -> list[StaleWindow]:
        """Returns the windows that `materialize_incremental` would run, and why, in order of time.

        Reads the view's source, and changes nothing that is materialized.

        Args:
            end_date: inclusive; now when left out.
        """
        (view,) = self._materializable([feature_view], AuthzedAction.DESCRIBE)
        end = datetime.now(UTC) if end_date is None else _moment("end_date", end_date)
        return self._materialization(view, None, "").stale_windows(end)

    def change_tokens(self, feature_views: Sequence[str] | None = None) -> dict[str, str]:
        """Returns a change token for each view: another one whenever a window may have become stale or settled.

        Reads no data. If a view's token is unchanged, so is the result of `stale_windows` for the same ``end_date``.
        A token that begins with ``"?"`` may stay the same though a source has changed: the offline store cannot tell.

        Args:
            feature_views: names; all that can be materialized when left out.
        """
        from feast_assets.compute.change_tokens import change_tokens

        views = self._materializable(feature_views, AuthzedAction.DESCRIBE)
        return change_tokens(self.project, views, self.registry, self.offline_store, self._online_or_none())

    def audit(
        self,
        feature_views: Sequence[str] | None = None,
        sample: int = 1000,
        seed: int = 0,
        *,
        at: datetime | None = None,
    ) -> AuditReport:
        """Compares served values with history, for a sample of each view's entities, with the cause of each difference.

        Entities are taken from history, inside and outside of the materialized windows, and a quarter of them from the
        online store, which may have entities that history no longer has. Each is read online, and by a point-in-time
        join at the same moment. Nothing is changed.

        Args:
            feature_views: names; all that are materialized into the online store when left out.
            sample: at most so many entities of each view.
            seed: which entities; the same seed takes the same ones of the same history.
            at: the time as of which both sides are read; now when left out. The online store always has its present
                rows, so an earlier time is only useful for views whose sources get no more rows.

        Raises:
            InputError: a view is not online, or the sample is not at least one.
        """
        from feast_assets.audit.view_audit import ViewAuditor, audit

        if not isinstance(sample, int) or sample < 1:
            raise InputError(f"sample must be a whole number of at least 1, not {shown(sample)}.")
        if not isinstance(seed, int) or seed < 0:
            raise InputError(f"seed must be a whole number of at least 0, not {shown(seed)}.")
        views = self._materializable(feature_views, AuthzedAction.READ_ONLINE, AuthzedAction.READ_OFFLINE)
        for view in views:
            if feature_views is not None and not view.materializable:
                raise InputError(f"Feature view {view.name!r} is not online (online=False): nothing of it is served.")
        self.refresh_registry()
        return audit(
            [
                ViewAuditor(
                    self.project,
                    self._functions.attach(view),
                    self._online_plan([f"{view.name}:{f.name}" for f in view.features], False),
                    self.registry,
                    self.offline_store,
                    self.online_store,
                    sample,
                    seed,
                )
                for view in views
                if view.materializable
            ],
            datetime.now(UTC) if at is None else _moment("at", at),
        )

    def materialization_intervals(self, feature_view: str) -> list[tuple[datetime, datetime]]:
        """Returns the materialized intervals of event time, ``[start, end)``, in order, from the ledger."""
        return self.registry.materialization_intervals(
            self._described(self._cache.fresh().feature_view(feature_view)).name
        )

    def views_to_materialize(self, names: Sequence[str] | None) -> list[FeatureView]:
        """Returns the named views, or all; views that keep a result come before those that read it.

        Raises:
            FeatureViewNotFoundException: there is no such view.
            InputError: a view cannot be materialized.
            FeastPermissionError: the acting identity may not WRITE_ONLINE one of them.
        """
        return self._materializable(names, AuthzedAction.WRITE_ONLINE)

    def _materializable(self, names: Sequence[str] | None, *actions: AuthzedAction) -> list[FeatureView]:
        """Returns the views as `views_to_materialize` does, after checking that the acting identity may do something to
        each."""
        views = self._chosen_views(names)
        if not self.access.is_open:
            self.access.check(self._cache.get(), views, *actions)
        return views

    def _log_materialized(self, views: Sequence[FeatureView], run_id: str) -> None:
        if self.access.log.is_on:
            self.access.log.done("materialize", acting_identity(), [view.name for view in views], run_id=run_id)

    def _chosen_views(self, names: Sequence[str] | None) -> list[FeatureView]:
        snapshot = self._cache.fresh(uses_history=True)
        if snapshot.revision == 0:
            raise InputError(f"Project {self.project!r} has not been applied yet; run `feast-assets apply` first.")
        if names is None:
            return in_order([v for v in snapshot.views_with_history if v.makes_something and may_be_materialized(v)])
        names = view_names(names)
        on_demand = set(snapshot.names(OnDemandFeatureView.object_type))
        chosen = [materializable_view(snapshot, n) if n in on_demand else snapshot.feature_view(n) for n in names]
        for view in chosen:
            if isinstance(view, LabelView):
                raise InputError(f"Label view {view.name!r} cannot be materialized; its rows come by push.")
            if not view.enabled:
                raise InputError(f"Feature view {view.name!r} is disabled; enable it, or leave it out.")
            check_state(view)
            check_version(view, snapshot)
            if not view.makes_something:
                raise InputError(
                    f"Feature view {view.name!r} is not online (online=False), so there is nothing to materialize."
                )
        return in_order(chosen)

    def _run_views(
        self,
        names: Sequence[str] | None,
        progress: Progress | None,
        run_id: str,
        run: Callable[[Materialization], MaterializationResult],
    ) -> list[MaterializationResult]:
        from feast_assets.compute.view_runs import run_views

        views = self.views_to_materialize(names)
        results = run_views(views, lambda view: run(self._materialization(view, progress, run_id)))
        self._note_available(views)
        self._log_materialized(views, run_id)
        return results

    def _materialization(
        self,
        view: FeatureView,
        progress: Progress | None,
        run_id: str,
        *,
        validate: bool | None = None,
        profile: bool = False,
        reread: bool = False,
    ) -> Materialization:
        from feast_assets.compute.materialization import Materialization

        stores = self._view_stores(view, self._cache.get().revision)
        return Materialization(
            stores, self.compute_engine, self._reference(), run_id, progress, validate, profile, reread
        )

    def _view_stores(self, view: FeatureView, revision: int) -> ViewStores:
        from feast_assets.compute.view_stores import ViewStores

        return ViewStores(
            self.project,
            self._functions.attach(view),
            self.registry,
            self.offline_store,
            self._online_or_none(),
            revision,
        )

    def _reference(self) -> RepositoryReference:
        from feast_assets.compute.engines.base import RepositoryReference

        file = self.config.file
        return RepositoryReference(str(self.repo_path.resolve()), "" if file is None else str(file))


def _moment(name: str, value: object) -> datetime:
    if not isinstance(value, datetime):
        raise InputError(f"{name} must be a datetime, not {type(value).__name__} {shown(value)}.")
    return as_utc(value)


def _refuse_async(run_async: bool) -> None:
    if run_async:
        raise NotSupportedError("run_async=True is for feature servers, which are not supported here yet.")
