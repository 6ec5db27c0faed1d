"""The feature store: every verb, in a few lines that call the module which does the work."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from feast_assets.arguments import definitions_of
from feast_assets.auth.access import Access
from feast_assets.auth.identity import acting_identity
from feast_assets.config import (
    RepoConfig,
    load_repo_config,
    make_offline_store,
    make_online_store,
    make_registry,
)
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.base import Definition
from feast_assets.definitions.branches import deployed
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import (
    ConfigError,
    InputError,
    NotSupportedError,
    shown,
)
from feast_assets.materializing import Materializing
from feast_assets.project_state import CurrentProject, ProjectState, ProjectStates
from feast_assets.registry.cache import SnapshotCache
from feast_assets.registry.watch import RegistryWatch
from feast_assets.repository.user_functions import UserFunctions
from feast_assets.repository.user_profilers import UserProfilers

if TYPE_CHECKING:
    from feast_assets.apply.applying import Applier
    from feast_assets.apply.diff import RegistryDiff
    from feast_assets.apply.plan import ApplyPlan, InfraDiff
    from feast_assets.compute.engines.base import ComputeEngine
    from feast_assets.offline_stores.base import OfflineStore
    from feast_assets.online_stores.base import OnlineStore
    from feast_assets.registry.base import Registry
    from feast_assets.registry.snapshot import RegistrySnapshot
    from feast_assets.repository.loading import RepoContents

_Object = TypeVar("_Object", bound=Definition)

_NOT_YET = frozenset(
    (
        "get_feature_server_endpoint",
        "openai_search",
        "retrieve_online_documents",
        "retrieve_online_documents_v2",
        "serve_transformations",
        "serve_ui",
    )
)


class FeatureStore(Materializing):
    """A project's features: declared in a registry, with history in an offline store and the latest values in an
    online store.

    Args:
        repo_path: the feature repository; the current directory when left out. Its ``feature_store.yaml`` is the
            configuration, and relative paths start there.
        config: a configuration instead of ``feature_store.yaml``.
        fs_yaml_file: another file instead of ``feature_store.yaml``; not together with ``config``.
        embedding_provider: only None.

    Raises:
        ConfigError: the configuration is missing or wrong.

    Naive times in arguments are UTC. Safe to share between threads.
    """

    def __init__(
        self,
        repo_path: str | Path | None = None,
        config: RepoConfig | None = None,
        fs_yaml_file: str | Path | None = None,
        embedding_provider: object = None,
    ):
        if embedding_provider is not None:
            raise NotSupportedError("FeatureStore(embedding_provider=...) is for vector search, which is not here yet.")
        if config is not None and fs_yaml_file is not None:
            raise ConfigError("Give a FeatureStore config or fs_yaml_file, not both.")
        self.repo_path = Path(repo_path) if repo_path is not None else Path.cwd()
        if config is None:
            config = load_repo_config(self.repo_path, None if fs_yaml_file is None else Path(fs_yaml_file))
        self.config = config = config.of_repository(self.repo_path)
        self._offline_store: OfflineStore | None = None
        self._online_store: OnlineStore | None = None
        self._compute_engine: ComputeEngine | None = None
        self._opening = threading.Lock()
        own = self._open_project(config.namespace, make_registry(config, self.repo_path), Access(config.namespace))
        self._projects = ProjectStates(own, self._open_other_project)
        self._watch: RegistryWatch | None = None

    def _open_project(self, name: str, registry: Registry, access: Access) -> ProjectState:
        settings = self.config.registry
        registry.owner = self

        def complete_pushes(snapshot: RegistrySnapshot, uses_history: bool) -> bool:
            # A thread that refreshes the registry has no current project of its own.
            with self.in_project(name):
                return self._complete_pushes(snapshot, uses_history)

        return ProjectState.of(
            name,
            registry,
            access,
            self.repo_path,
            settings.cache_ttl_seconds,
            settings.cache_mode == "sync",
            complete_pushes,
        )

    def _open_other_project(self, name: str) -> ProjectState:
        RepoConfig(project=name)  # raises where it cannot be one
        access = self._projects.own.access.of_project(name)
        return self._open_project(name, make_registry(self.config, self.repo_path, name), access)

    @property
    def project(self) -> str:
        """The current project; see `set_current_project`."""
        return self._projects.current().project

    @property
    def registry(self) -> Registry:
        """The registry of the current project."""
        return self._projects.current().registry

    @registry.setter
    def registry(self, registry: Registry) -> None:
        self._projects.current().registry = registry

    @property
    def access(self) -> Access:
        """What the acting identity may do in the current project."""
        return self._projects.current().access

    @property
    def _cache(self) -> SnapshotCache:
        return self._projects.current().cache

    @property
    def _functions(self) -> UserFunctions:
        return self._projects.current().functions

    @property
    def _profilers(self) -> UserProfilers:
        return self._projects.current().profilers

    @property
    def _completing(self) -> threading.Lock:
        return self._projects.current().completing

    @property
    def _completed_by(self) -> RegistrySnapshot | None:
        return self._projects.current().completed_by

    @_completed_by.setter
    def _completed_by(self, snapshot: RegistrySnapshot | None) -> None:
        self._projects.current().completed_by = snapshot

    def set_current_project(self, project: str | None) -> CurrentProject:
        """Makes another project of the same registry the current one, in this thread or asynchronous task only.

        All verbs work with the current project: its definitions, and its tables in the same online store. Processes
        that an engine starts work with the project of ``feature_store.yaml``, and refuse tasks of another one.

        Args:
            project: its name; it need not be registered yet. None for the project of the configuration.

        Returns:
            what `reset_current_project` takes.

        Raises:
            ConfigError: the name cannot be that of a project, or this is a deployment of a branch.
        """
        if project not in (None, self._projects.own.project) and self.config.deployment:
            raise ConfigError(
                f"set_current_project({shown(project)}): this is the deployment {self.config.deployment!r} of project "
                f"{self.config.project!r}, which works with that project only."
            )
        return self._projects.set_current(project)

    @contextmanager
    def in_project(self, project: str | None) -> Iterator[None]:
        """Makes a project the current one for as long as a ``with`` block takes.

        Args:
            project: as `set_current_project` takes it; None for the one that is current already.
        """
        token = self.set_current_project(self.project if project is None else project)
        try:
            yield
        finally:
            self.reset_current_project(token)

    def reset_current_project(self, token: CurrentProject) -> None:
        """Makes the project current again that was so before a call of `set_current_project`.

        Args:
            token: what that call returned.
        """
        self._projects.reset(token)

    def __repr__(self) -> str:
        return f"FeatureStore(project={self.project!r}, repo_path={str(self.repo_path)!r})"

    @property
    def offline_store(self) -> OfflineStore:
        """The store of history."""
        if self._offline_store is None:
            with self._opening:
                if self._offline_store is None:
                    self._offline_store = make_offline_store(self.config, self.repo_path)
        return self._offline_store

    @property
    def compute_engine(self) -> ComputeEngine:
        """What runs materialization: ``batch_engine`` in the configuration."""
        if self._compute_engine is None:
            with self._opening:
                if self._compute_engine is None:
                    from feast_assets.compute.engines.chosen import make_compute_engine

                    self._compute_engine = make_compute_engine(self.config, self.repo_path)
        return self._compute_engine

    @property
    def online_store(self) -> OnlineStore:
        """The store of latest values.

        Raises:
            ConfigError: the project has none.
        """
        if self._online_store is None:
            with self._opening:
                if self._online_store is None:
                    self._online_store = make_online_store(self.config, self.repo_path)
        if self._online_store is None:
            raise ConfigError(
                f"Project {self.project!r} has no online store: online_store is null in its configuration."
            )
        return self._online_store

    async def initialize(self) -> None:
        """Reads the registry and opens the online store, so that the first request need not."""
        import asyncio

        await asyncio.to_thread(self.refresh_registry)
        self._online_or_none()

    def keep_registry_fresh(self, seconds: float = 60.0) -> RegistryWatch:
        """Has a thread read the registry regularly, so that no request waits for it; `close` ends that.

        If the registry cannot be read, the last definitions stay in use. A forked child goes on with a thread of its
        own.

        Args:
            seconds: the time between two looks at the registry.

        Returns:
            what tells how fresh the definitions are.
        """
        if not isinstance(seconds, (int, float)) or not seconds > 0:
            raise InputError(f"seconds must be a positive number, not {shown(seconds)}.")
        if self._watch is not None:
            self._watch.stop()
        self._watch = RegistryWatch(self._cache, seconds, self._forget_locks)
        self._watch.start()
        return self._watch

    def _forget_locks(self) -> None:
        """Makes all locks free, in a forked child: the parent's watch may have held them, completing pushes."""
        self._opening = threading.Lock()
        self._projects.forget_locks()

    def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 6566,
        type_: str = "http",
        no_access_log: bool = True,
        workers: int = 1,
        worker_connections: int = 1000,
        max_requests: int = 0,
        max_requests_jitter: int = 50,
        metrics: bool = False,
        keep_alive_timeout: int = 30,
        tls_key_path: str = "",
        tls_cert_path: str = "",
        registry_ttl_sec: int = 60,
    ) -> None:
        """Serves features by HTTP until the process is told to end (SIGTERM or SIGINT).

        Args:
            host: the address to listen on; by default only this machine can connect.
            port: 0 for any free one, which is printed.
            type_: only ``"http"``.
            no_access_log: false: one line of JSON for each request on standard output.
            workers: processes; -1 for two for each processor and one more. Several need a ``feature_store.yaml``,
                which each of them reads.
            worker_connections: how many requests each worker has in hand at most; the next are answered 503.
            max_requests: after so many requests a worker is replaced; 0 for never.
            max_requests_jitter: at most so many more, drawn at random.
            metrics: whether Prometheus metrics are also served on port 8000 of the same address, as Feast does; they
                are at ``/metrics`` in any case.
            keep_alive_timeout: seconds after which an idle connection is closed.
            tls_key_path, tls_cert_path: PEM files, both or none.
            registry_ttl_sec: seconds between two looks at the registry.
        """
        from feast_assets.serving.http.options import ServerOptions
        from feast_assets.serving.http.server import serve

        options = ServerOptions(
            host=host,
            port=port,
            kind=type_,
            access_log=not no_access_log,
            workers=workers,
            worker_connections=worker_connections,
            max_requests=max_requests,
            max_requests_jitter=max_requests_jitter,
            metrics_listener=metrics,
            keep_alive_seconds=keep_alive_timeout,
            tls_key_path=tls_key_path,
            tls_cert_path=tls_cert_path,
            registry_seconds=registry_ttl_sec,
        )
        serve(self, options)

    def serve_offline(
        self,
        host: str = "127.0.0.1",
        port: int = 8815,
        tls_key_path: str = "",
        tls_cert_path: str = "",
        tls_verify_client: bool = False,
    ) -> None:
        """Serves history by Arrow Flight until the process is told to end (SIGTERM or SIGINT).

        Args:
            host: the address to listen on; by default only this machine can connect.
            port: 0 for any free one, which is printed.
            tls_key_path, tls_cert_path: PEM files, both or none.
            tls_verify_client: true: clients need a certificate that ``tls_cert_path`` signed.
        """
        from feast_assets.serving.flight.options import OfflineServerOptions
        from feast_assets.serving.flight.server import serve_offline

        authority = tls_cert_path if tls_verify_client else ""
        serve_offline(self, OfflineServerOptions(host, port, tls_key_path, tls_cert_path, authority))

    def serve_registry(
        self,
        port: int = 6572,
        tls_key_path: str = "",
        tls_cert_path: str = "",
        rest_api: bool = True,
        host: str = "127.0.0.1",
    ) -> None:
        """Serves the registry by HTTP until the process is told to end (SIGTERM or SIGINT).

        Args:
            port: 0 for any free one, which is printed.
            tls_key_path, tls_cert_path: PEM files, both or none.
            rest_api: only true: there is no gRPC here.
            host: the address to listen on; by default only this machine can connect.
        """
        from feast_assets.serving.http.options import ServerOptions
        from feast_assets.serving.http.server import REGISTRY_SERVER, serve

        if not rest_api:
            raise NotSupportedError("serve_registry serves HTTP only; leave rest_api out, or give True.")
        options = ServerOptions(
            host, port, tls_key_path=tls_key_path, tls_cert_path=tls_cert_path, subject="the registry"
        )
        serve(self, options, REGISTRY_SERVER)

    def with_function(self, view: FeatureView) -> FeatureView:
        """Returns a view with the function of its transformation, if it has one, loaded from the repository.

        Raises:
            TransformationError: the repository does not declare it.
            NotAppliedError: the repository's function is not the one that was applied.
        """
        return self._functions.attach(view)

    def close(self) -> Awaitable[None]:
        """Releases connections. The store may be used again; it reconnects.

        Returns:
            what may be awaited, to release the connections of the running event loop as well.
        """
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        if self._online_store is not None:
            self._online_store.close()
        if self._compute_engine is not None:
            self._compute_engine.close()
        for state in self._projects.all():
            state.registry.close()
        return _Closing(self._online_store)

    def __getattr__(self, name: str) -> Any:
        if name in _NOT_YET:
            raise NotSupportedError(f"FeatureStore.{name} is in Feast, and not supported here yet.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # --- definitions

    def apply(
        self,
        objects: Definition | Iterable[Definition],
        objects_to_delete: Iterable[Definition] | None = None,
        partial: bool = True,
        skip_feature_view_validation: bool = False,
        no_promote: bool = False,
    ) -> None:
        """Registers definitions, in one transaction.

        Args:
            objects: one or more; the sources of views are registered with them.
            objects_to_delete: removed if ``partial`` is false.
            partial: whether ``objects_to_delete`` is ignored, as in Feast. Registered objects that are in neither list
                stay; `apply_repository` removes what the repository no longer declares.
            skip_feature_view_validation: true: the functions of on-demand views are not tried on sample values.
            no_promote: true: of a view whose schema or function has changed, the new version is only kept, and the
                version in use stays.

        Raises:
            DefinitionError: a definition is wrong; nothing was changed.
            ConcurrentApplyError: another process applied at the same time; nothing was changed.
        """
        to_delete = [] if partial or objects_to_delete is None else definitions_of(objects_to_delete)
        plan = self._plan(
            definitions_of(objects),
            to_delete,
            whole=False,
            try_functions=not skip_feature_view_validation,
            no_promote=no_promote,
        )
        self.apply_plan(plan)

    def apply_repository(self) -> RegistryDiff:
        """Makes the registry equal to the feature repository, including removals; returns what changed."""
        plan = self.plan_repository()
        self.apply_plan(plan)
        return plan.registry_diff

    def plan_repository(
        self,
        *,
        skip_source_validation: bool = False,
        skip_feature_view_validation: bool = False,
        no_promote: bool = False,
    ) -> ApplyPlan:
        """Returns what `apply_repository` would change, which `apply_plan` carries out.

        Args:
            skip_source_validation: true: it is not checked that the sources have the declared columns.
            skip_feature_view_validation, no_promote: as in `apply`.
        """
        from feast_assets.repository.loading import load_repository

        return self._plan(
            load_repository(self.repo_path).objects(),
            [],
            whole=True,
            try_functions=not skip_feature_view_validation,
            check_sources=not skip_source_validation,
            no_promote=no_promote,
        )

    def plan(
        self,
        desired_repo_contents: RepoContents,
        skip_feature_view_validation: bool = False,
        progress_ctx: object = None,
    ) -> tuple[RegistryDiff, InfraDiff, tuple[str, ...]]:
        """Returns what would change if the registry were made equal to the desired contents: definitions, online
        tables, and all tables afterwards."""
        objects = desired_repo_contents.objects()
        plan = self._plan(objects, [], whole=True, try_functions=not skip_feature_view_validation)
        return plan.registry_diff, plan.infra_diff, plan.tables

    def apply_plan(self, plan: ApplyPlan) -> int:
        """Carries out a plan and returns the registry's revision."""
        self._check_plan(plan)
        revision = self._applier().apply(plan)
        self._functions.remember(plan.declared)
        self._profilers.remember(plan.declared)
        self._cache.fresh()
        if self.access.log.is_on:
            changed = [f"{o.action.name.lower()} {o.object_type} {o.name}" for o in plan.registry_diff.changed]
            self.access.log.done("apply", acting_identity(), changed, revision=revision)
        return revision

    def _check_plan(self, plan: ApplyPlan) -> None:
        """Checks that the acting identity may make the changes of a plan."""
        if self.access.is_open:
            return
        from feast_assets.apply.permitted import check_changes

        check_changes(self.access, self._cache.fresh(), plan.changes)

    def delete_project(self, name: str, commit: bool = True) -> None:
        """Removes a project from the registry, and its rows from the online store; see `teardown`.

        Args:
            name: this store's project, or another one of its registry.
            commit: only true: each change of the registry is whole at once.

        Raises:
            ProjectObjectNotFoundException: the registry has no such project.
            DefinitionError: the project is protected by a tag; nothing was changed.
        """
        if commit is not True:
            raise NotSupportedError(
                f"delete_project(commit={shown(commit)}): a change of the registry cannot be kept back; leave it out."
            )
        if self.get_project(name).name == self.project:
            self.teardown()
            return
        if not self.access.is_open:
            with self.in_project(name):  # whose own permissions decide
                self._check_project(AuthzedAction.DELETE)
        other = self._applier()
        other.project = name
        other.registry = make_registry(self.config, self.repo_path, name)
        try:
            other.teardown()
        finally:
            other.registry.close()

    def teardown(self) -> None:
        """Removes the project: its online rows and its registry. Sources and kept results stay."""
        self._check_project(AuthzedAction.DELETE)
        self._applier().teardown()
        self._cache.fresh()
        self.access.log.done("delete_project", acting_identity(), [self.project])

    def _plan(
        self,
        objects: Sequence[Definition],
        to_delete: Sequence[Definition],
        *,
        whole: bool,
        try_functions: bool = True,
        check_sources: bool = True,
        no_promote: bool = False,
    ) -> ApplyPlan:
        snapshot = self._cache.fresh()
        if self.config.deployment:
            objects = deployed(objects, self.config.project, self.config.deployment, snapshot.feature_views)
        plan = self._applier().plan(
            objects,
            to_delete,
            whole=whole,
            snapshot=snapshot,
            try_functions=try_functions,
            check_sources=check_sources,
            no_promote=no_promote,
        )
        self._check_plan(plan)
        return plan

    def _applier(self) -> Applier:
        from feast_assets.apply.applying import Applier

        return Applier(
            self.project,
            self.registry,
            self.offline_store,
            self._online_or_none(),
            self.config.project_description or "",
            self._versions_have_tables,
        )

    def _online_or_none(self) -> OnlineStore | None:
        return None if self.config.online_store is None else self.online_store


class _Closing:
    """A store whose connections are released; awaited, those of the running event loop too."""

    def __init__(self, online_store: OnlineStore | None):
        self._online_store = online_store

    def __await__(self) -> Generator[Any, None, None]:
        if self._online_store is not None:
            yield from self._online_store.aclose().__await__()
