"""The verbs that read features: of history, and online."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from feast_assets.auth.audit_log import accesses_are_recorded
from feast_assets.auth.identity import acting_identity
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.errors import UnknownRowSchemaError
from feast_assets.lifecycle import Lifecycle
from feast_assets.project_state import ProjectStates

if TYPE_CHECKING:
    from feast_assets.audit.row_origins import RowOrigin
    from feast_assets.registry.snapshot import RegistrySnapshot
    from feast_assets.retrieval.job import RetrievalJob
    from feast_assets.retrieval.online import OnlinePlan
    from feast_assets.retrieval.response import OnlineResponse

Features = list[str] | FeatureService

_PLANS_KEPT = 256
_NAMES_REMEMBERED = 100


class Retrieving(Lifecycle):
    """Reading of a project's features.

    Attributes:
        _projects: the projects of the feature store, with the plans of their online requests.
    """

    _projects: ProjectStates

    @property
    def _versions_have_tables(self) -> bool:
        return bool(getattr(self.config.registry, "enable_online_feature_view_versioning", False))

    # --- history

    def get_historical_features(
        self,
        entity_df: object = None,
        features: Features = [],  # noqa: B006 - Feast's default; nothing changes it
        full_feature_names: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        filter_by_created_timestamp: bool = False,
    ) -> RetrievalJob:
        """Returns the features of entities as they were known at given times.

        Args:
            entity_df: join keys and a time column, one row for each row of the result: a pandas or Polars DataFrame,
                an Arrow table, or a query in the offline store's SQL. If left out, every entity with rows between the
                dates, as of the end.
            features: references such as ``"view:feature"``, or a feature service.
            full_feature_names: whether features are called ``view__feature``.
            filter_by_created_timestamp: whether rows must also have been written by the time of the entity row.

        Returns:
            a job that runs when its rows are requested; one row per row of ``entity_df``, in its order.

        Raises:
            FeastPermissionError: the acting identity may not READ_OFFLINE a view; where ``entity_df`` is a query, which
                may read any table, also a data source of the project.
        """
        from feast_assets.retrieval.historical import HistoricalRetrieval

        snapshot = self._cache.fresh(uses_history=True)
        self._check_versions(snapshot, features)

        def check(definitions: Sequence[Definition]) -> None:
            self.access.check(snapshot, definitions, AuthzedAction.READ_OFFLINE)

        retrieval = HistoricalRetrieval(snapshot, self.offline_store, self._functions, self.repo_path, check)
        job = retrieval.job(
            entity_df,
            [] if features is None else features,
            full_feature_names=full_feature_names,
            start_date=start_date,
            end_date=end_date,
            filter_by_created_timestamp=filter_by_created_timestamp,
            with_function_inputs=self.config.historical_on_demand_inputs,
        )
        if self.access.log.is_on:
            self.access.log.done(
                "read_offline", acting_identity(), _names_asked(features), columns=job.metadata.features
            )
        return job

    # --- online

    def get_online_features(
        self,
        features: Features,
        entity_rows: Sequence[Mapping[str, object]] | Mapping[str, Sequence[object]],
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:
        """Returns the latest features of entities.

        Args:
            features: references such as ``"view:feature"``, or a feature service.
            entity_rows: join keys (and request data of on-demand views), as a list of rows or a dict of columns.
            full_feature_names: whether features are called ``view__feature``.
            include_feature_view_version_metadata: whether the answer tells which versions of views were read, in
                `OnlineResponse.feature_view_metadata` and `OnlineResponse.to_json`.

        Returns:
            one row per row given, in that order. A value is null where there is none, with a status that says why.
        """
        try:
            response = self._online_plan(features, full_feature_names).read(self.online_store, entity_rows)
        except UnknownRowSchemaError:  # written under a newer revision than the cached one
            self.refresh_registry()
            response = self._online_plan(features, full_feature_names).read(self.online_store, entity_rows)
        if accesses_are_recorded():
            self._log_online(features, response)
        return response.telling_versions() if include_feature_view_version_metadata else response

    def precompute_feature_service(self, feature_service_name: str | None = None, batch_size: int = 1000) -> int:
        """Returns 0: nothing is computed beforehand, as all views of a service are read in one round trip anyway.

        Args:
            feature_service_name: which must be registered; all of them when left out.
            batch_size: of no effect.

        Raises:
            FeatureServiceNotFoundException: there is no such service.
        """
        if feature_service_name is not None:
            self.get_feature_service(feature_service_name)
        warnings.warn(
            "precompute_feature_service computes nothing: the rows of all views of a service are read in one round "
            "trip anyway.",
            stacklevel=2,
        )
        return 0

    async def get_online_features_async(
        self,
        features: Features,
        entity_rows: Sequence[Mapping[str, object]] | Mapping[str, Sequence[object]],
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:
        """As `get_online_features`, without blocking the event loop while the store is read.

        Functions of on-demand views run on the event loop.
        """
        try:
            response = await self._online_plan(features, full_feature_names).read_async(self.online_store, entity_rows)
        except UnknownRowSchemaError:
            import asyncio

            await asyncio.to_thread(self.refresh_registry)
            response = await self._online_plan(features, full_feature_names).read_async(self.online_store, entity_rows)
        if accesses_are_recorded():
            self._log_online(features, response)
        return response.telling_versions() if include_feature_view_version_metadata else response

    def get_row_origins(self, response: OnlineResponse) -> list[RowOrigin]:
        """Returns where the values of an online answer come from: the stored rows, and what wrote each of them.

        Reads the ledgers of the views from the registry.

        Args:
            response: what `get_online_features` has returned.

        Returns:
            one for each view and entity row that has a stored row, view by view.

        Raises:
            FeastPermissionError: the acting identity may not DESCRIBE a view that was read. Who may read a service need
                not be allowed to see its views, nor when they were materialized, and by which run.
        """
        from feast_assets.audit.row_origins import row_origins

        if not self.access.is_open:
            snapshot = self._cache.get()
            self.access.check(snapshot, map(snapshot.view, response.shape.views), AuthzedAction.DESCRIBE)
        return row_origins(response, self.registry)

    def _log_online(self, features: Features, response: OnlineResponse) -> None:
        # Not the names of what was given: a request may hold columns that nothing reads, by names of its own.
        keys = list(response.shape.given_names)
        self.access.log.done("read_online", acting_identity(), _names_asked(features), rows=len(response), keys=keys)

    def _check_versions(self, snapshot: RegistrySnapshot, features: Features | None) -> None:
        if not self._versions_have_tables:
            from feast_assets.retrieval.versions import refuse_versions

            refuse_versions(snapshot, [] if features is None else features)

    def _online_plan(self, features: Features, full_feature_names: bool) -> OnlinePlan:
        state = self._projects.current()
        snapshot = state.cache.get()
        asked = (FeatureService, features.name) if isinstance(features, FeatureService) else _hashable(features)
        key = (snapshot.revision, snapshot.committed, asked, full_feature_names)
        plan = state.plans.get(key) if asked is not None else None
        if plan is None:
            from feast_assets.retrieval.online import plan_online

            self._check_versions(snapshot, features)
            plan = plan_online(
                snapshot,
                features,
                project=state.project,
                full_feature_names=full_feature_names,
                udf_of=state.functions.of,
                enforce_ttl=self.config.enforce_online_ttl,
            )
            if len(state.plans) >= _PLANS_KEPT:
                state.plans.clear()
            if asked is not None:
                state.plans[key] = plan
        if not state.access.is_open:
            # Who may send requests can send as many long ones as it likes, so only short ones are remembered.
            is_short = asked is not None and len(asked) <= _NAMES_REMEMBERED
            self._check_online(snapshot, features, plan, (asked, full_feature_names) if is_short else None)
        return plan

    def _check_online(
        self, snapshot: RegistrySnapshot, features: Features, plan: OnlinePlan, request: Hashable | None
    ) -> None:
        """Checks that the acting identity may read online what a plan reads.

        Args:
            request: tells the plan; None where nothing does.
        """

        def read() -> list[Definition]:
            if isinstance(features, FeatureService):
                # As in Feast, who may read a service need not be allowed to read its views.
                return [snapshot.feature_service(features.name)]
            return list(plan.request.views)

        if request is None:
            self.access.check(snapshot, read(), AuthzedAction.READ_ONLINE)
        else:
            self.access.check_once(snapshot, request, read, AuthzedAction.READ_ONLINE)


def _names_asked(features: Features) -> list[str]:
    """Returns what is asked for, for the audit log: views by name, or a service."""
    if isinstance(features, FeatureService):
        return [features.name]
    return sorted({str(reference).partition(":")[0] for reference in features or []})


def _hashable(features: object) -> tuple[str, ...] | None:
    if not isinstance(features, (list, tuple)) or set(map(type, features)) != {str}:
        return None
    return tuple(features)
