"""The feature store and its parts as Dagster resources.

A part that is left out comes from ``feature_store.yaml``. Give secrets as ``dagster.EnvVar``: Dagster's pages then show
the variable's name, and its value is read when a run starts. Dagster shows other settings as they are, so a password
among those causes a warning.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, FieldSerializationInfo, PrivateAttr, field_serializer

from feast_assets.definitions.feature_view import FeatureView
from feast_assets.settings.redaction import is_type_name, masked, masked_text, secrets_in

if TYPE_CHECKING:
    from feast_assets.config import RepoConfig
    from feast_assets.dagster.check_results import Outcome
    from feast_assets.feature_store import FeatureStore
    from feast_assets.registry.base import Registry


BRANCH_VARIABLE = "FEAST_ASSETS_BRANCH"
"""Names the branch that a deployment is of; see `branch_deployment`."""


class _StoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A part of the feature store, whose text, repr and dumps hold no secrets."""

    def section(self) -> dict[str, object]:
        """Returns the section of ``feature_store.yaml`` that says the same, secrets and all."""
        raise NotImplementedError

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        for name, value in super().__repr_args__():
            yield name, _shown(value, str(name))

    @field_serializer("*", check_fields=False)
    def _without_secrets(self, value: object, info: FieldSerializationInfo) -> object:
        return _shown(value, str(info.field_name))


class RegistryResource(_StoreResource):
    """Where definitions and the ledger are: the ``registry`` section of ``feature_store.yaml``."""

    registry_type: str = Field(default="file", description="The registry's type; by default its path tells.")
    path: str = Field(
        repr=False, description="A file, relative to the repository, or a database URL; it may hold a password."
    )
    options: dict[str, Any] = Field(
        default={}, description="Further settings of this type of registry, such as cache_ttl_seconds."
    )

    def section(self) -> dict[str, object]:
        """Returns the section of ``feature_store.yaml`` that says the same."""
        return {"registry_type": self.registry_type, "path": self.path, **self.options}


class OfflineStoreResource(_StoreResource):
    """What reads history: the ``offline_store`` section of ``feature_store.yaml``."""

    type: str = Field(default="duckdb", description="The store's type.")
    options: dict[str, Any] = Field(default={}, description="Settings of this type of store, such as memory_limit.")

    def section(self) -> dict[str, object]:
        """Returns the section of ``feature_store.yaml`` that says the same."""
        return {"type": self.type, **self.options}


class OnlineStoreResource(_StoreResource):
    """Where the latest values are: the ``online_store`` section of ``feature_store.yaml``."""

    type: str = Field(default="sqlite", description="The store's type.")
    path: str | None = Field(default=None, description="A file, relative to the repository; for stores in a file.")
    connection_string: str | None = Field(
        default=None, repr=False, description="The server's address and login; for stores on a server."
    )
    options: dict[str, Any] = Field(
        default={}, description="Further settings of this type of store, such as key_ttl_seconds."
    )

    def section(self) -> dict[str, object]:
        """Returns the section of ``feature_store.yaml`` that says the same."""
        given = {"path": self.path, "connection_string": self.connection_string}
        return {"type": self.type, **{k: v for k, v in given.items() if v is not None}, **self.options}


@dataclass(frozen=True)
class DescribedStores:
    """The part of a configuration that assets show; None where the project has no such store."""

    project: str
    deployment: str
    offline_store: str | None
    online_store: str | None


class FeatureStoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A project's feature store, put together from its parts.

    Example::

        FeatureStoreResource(
            repo_path="feature_repo",
            online_store=OnlineStoreResource(type="redis", connection_string=EnvVar("REDIS")),
        )
    """

    repo_path: str = Field(description="The feature repository: definition files and feature_store.yaml.")
    project: str | None = Field(default=None, description="Left out, as feature_store.yaml says.")
    deployment: str = Field(
        default="",
        description="Such as the name of a branch: it reads the same sources, and has definitions, online rows and "
        "kept results of its own. Empty for production, or as feature_store.yaml says. See branch_deployment.",
    )
    registry: dg.ResourceDependency[RegistryResource | None] = None  # type: ignore[assignment]
    offline_store: dg.ResourceDependency[OfflineStoreResource | None] = None  # type: ignore[assignment]
    online_store: dg.ResourceDependency[OnlineStoreResource | None] = None  # type: ignore[assignment]

    _store: "FeatureStore | None" = PrivateAttr(default=None)

    @property
    def root(self) -> Path:
        """The feature repository's directory."""
        return Path(self.repo_path)

    def get_store(self) -> "FeatureStore":
        """Returns the library's feature store; one per step of a run, closed at its end.

        Raises:
            ConfigError: the configuration is missing or wrong.
        """
        if self._store is None:
            from feast_assets.feature_store import FeatureStore

            self._store = FeatureStore(repo_path=self.root, config=self.config())
        return self._store

    def config(self) -> "RepoConfig":
        """Returns the store's configuration: the given parts, and what ``feature_store.yaml`` says of the others.

        Raises:
            ConfigError: the configuration is missing or wrong.
        """
        given = {"registry": self.registry, "offline_store": self.offline_store, "online_store": self.online_store}
        return self._config({name: part.section() for name, part in given.items() if part is not None})

    def described(self) -> DescribedStores:
        """Returns what assets show of the configuration; reads no secrets.

        Warns of a password that is not given by an environment variable, because Dagster's pages show it.
        """
        for name in ("registry", "offline_store", "online_store"):
            part = getattr(self, name)
            if isinstance(part, _StoreResource) and any(secrets_in(_given(part.section()))):
                warnings.warn(
                    f"The resource {name} holds a password, which Dagster's pages show; pass it as dagster.EnvVar.",
                    stacklevel=2,
                )
        declared = self._config({}) if self._reads_file() else None
        return DescribedStores(
            project=self.project or (declared.project if declared else ""),
            deployment=self._deployment_name() or (declared.deployment if declared else ""),
            offline_store=_type(self.offline_store, declared, "offline_store"),
            online_store=_type(self.online_store, declared, "online_store"),
        )

    def registered_views(self) -> list[FeatureView]:
        """Returns the feature views that have been applied, and what is stored of on-demand views.

        It creates nothing, and needs no secrets but the registry's.

        Raises:
            StoreUnavailableError: the registry cannot be reached.
        """
        from feast_assets.config import make_registry

        if self.registry is None:
            return _views_in(make_registry(self._config({}), self.root))
        with self.registry.process_config_and_initialize_cm() as resource:
            config = self._config({"registry": resource.section()})
            return _views_in(make_registry(config, self.root))

    def _reads_file(self) -> bool:
        return not (self.project and self.registry and self.offline_store and self.online_store)

    def _config(self, sections: dict[str, dict[str, object]]) -> "RepoConfig":
        from feast_assets.config import RepoConfig, load_repo_config

        own = {k: v for k, v in {"project": self.project, "deployment": self._deployment_name()}.items() if v}
        if not self._reads_file():
            return RepoConfig(**own, **sections)
        config = load_repo_config(self.root)
        return config.with_sections(**sections).model_copy(update=own)

    def _deployment_name(self) -> str:
        # Definitions are loaded before Dagster puts the variable's value in its place.
        name = self.deployment
        return name.get_value() or "" if isinstance(name, dg.EnvVar) else name

    def materialize_views(
        self, context: dg.AssetExecutionContext, *, profile: bool = True, blocking: bool | None = None
    ) -> "Iterator[dg.MaterializeResult[None] | Outcome]":
        """Materializes the selected feature views, each once over all partitions of the run, and tells Dagster.

        Args:
            profile: whether each partition shows what its values look like, which costs two more passes over the rows.
            blocking: whether partitions with rows that break what fields declare are refused; left out, as each view's
                ``enable_validation`` says.

        Raises:
            dagster.Failure: a view is not declared as it was applied, and nothing has been run; or some views
                failed, and the others have been materialized. The error of the library is its first line and its cause.
        """
        from feast_assets.dagster.failures import told_first
        from feast_assets.dagster.materialization import materialize_views

        with told_first():
            yield from materialize_views(context, self.get_store(), profile=profile, blocking=blocking)

    def materialization_request(self, context: dg.AssetExecutionContext) -> dict[str, object]:
        """Returns what another process has to materialize for this run: arguments of ``FeatureStore.materialize``.

        Give them to the process as ``extras`` of a Dagster Pipes client. ``start_date`` and ``end_date`` are text, ISO
        8601 in UTC, both inclusive; ``feature_views`` are names; ``run_id`` tells the ledger who ran it.

        Raises:
            dagster.Failure: a view is not declared as it was applied, or has partitions and none were chosen.
        """
        from feast_assets.dagster.elsewhere import materialization_request
        from feast_assets.dagster.failures import told_first

        with told_first():
            return materialization_request(context, self.get_store())

    def record_materialized(
        self, context: dg.AssetExecutionContext, reported: Iterable[object] = ()
    ) -> "Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]":
        """Tells Dagster of what another process has materialized for this run, by the registry's ledger.

        Args:
            reported: what the process has reported: ``get_results(implicit_materializations=False)`` of the Pipes
                client's invocation. Metadata of a view's asset are added to each of its partitions.

        Raises:
            dagster.Failure: the ledger does not say of some partitions that this run has materialized them. The others
                are recorded.
        """
        from feast_assets.dagster.elsewhere import record_materialized
        from feast_assets.dagster.failures import told_first

        with told_first():
            store = self.get_store()
            store.refresh_registry()
            yield from record_materialized(context, store, reported)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Closes the feature store."""
        if self._store is not None:
            self._store.close()
            self._store = None


def branch_deployment() -> str:
    """Returns the name of the branch that this deployment is of, for `FeatureStoreResource.deployment`.

    That is ``FEAST_ASSETS_BRANCH``, or what Dagster+ says in a branch deployment; ``""`` in production.
    """
    if named := os.environ.get(BRANCH_VARIABLE):
        return named
    is_branch = os.environ.get("DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT") == "1"
    return os.environ.get("DAGSTER_CLOUD_GIT_BRANCH", "") if is_branch else ""


def _views_in(registry: "Registry") -> list[FeatureView]:
    try:
        return registry.snapshot().views_with_history
    finally:
        registry.close()


def _type(part: OfflineStoreResource | OnlineStoreResource | None, file: "RepoConfig | None", name: str) -> str | None:
    """Returns the type of a store without loading it; ``""`` for what cannot be a type, which is not shown."""
    if part is not None:
        return part.type if is_type_name(part.type) else ""
    return None if file is None else file.store_type(name)


def _given(section: dict[str, object]) -> dict[str, object]:
    """Returns the settings that are given as they are, not by an environment variable."""
    return {name: value for name, value in section.items() if not isinstance(value, dg.EnvVar)}


def _shown(value: object, name: str) -> object:
    if isinstance(value, dg.EnvVar):
        return repr(value)
    return masked_text(value) if name in ("path", "type") and isinstance(value, str) else masked(value, name)
