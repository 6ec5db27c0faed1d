"""The feature store and its parts as Dagster resources.

A part that is left out is what ``feature_store.yaml`` says it is. Give secrets as ``dagster.EnvVar``: Dagster's pages then show the
variable's name, and its value is read when a run starts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, PrivateAttr

from feast_assets.definitions.feature_view import FeatureView

if TYPE_CHECKING:
    from feast_assets.config import RepoConfig
    from feast_assets.feature_store import FeatureStore


class RegistryResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where definitions and the ledger are: the ``registry`` section of ``feature_store.yaml``."""

    registry_type: str = Field(default="sql", description="The registry's type.")
    path: str = Field(repr=False, description="A file, relative to the repository, or a database URL; it may hold a password.")
    options: dict[str, Any] = Field(
        default={}, description="Further settings of this type of registry, such as cache_ttl_seconds."
    )

    def section(self) -> dict[str, Any]:
        """Returns the section of ``feature_store.yaml`` that says the same."""
        return {"registry_type": self.registry_type, "path": self.path, **self.options}


class OfflineStoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What reads history: the ``offline_store`` section of ``feature_store.yaml``."""

    type: str = Field(default="duckdb", description="The store's type.")
    options: dict[str, Any] = Field(default={}, description="Settings of this type of store, such as memory_limit.")

    def section(self) -> dict[str, Any]:
        """Returns the section of ``feature_store.yaml`` that says the same."""
        return {"type": self.type, **self.options}


class OnlineStoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where the latest values are: the ``online_store`` section of ``feature_store.yaml``."""

    type: str = Field(default="sqlite", description="The store's type.")
    path: str | None = Field(default=None, description="A file, relative to the repository; for stores in a file.")
    connection_string: str | None = Field(
        default=None, repr=False, description="The server's address and login; for stores on a server."
    )
    options: dict[str, Any] = Field(
        default={}, description="Further settings of this type of store, such as key_ttl_seconds."
    )

    def section(self) -> dict[str, Any]:
        """Returns the section of ``feature_store.yaml`` that says the same."""
        given = {"path": self.path, "connection_string": self.connection_string}
        return {"type": self.type, **{k: v for k, v in given.items() if v is not None}, **self.options}


@dataclass(frozen=True)
class DescribedStores:
    """What of a configuration assets show; None where the project has no such store."""

    project: str
    offline_store: str | None
    online_store: str | None


class FeatureStoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A project's feature store, put together from its parts.

    Example::

        FeatureStoreResource(repo_path="feature_repo", online_store=OnlineStoreResource(type="redis", connection_string=EnvVar("REDIS")))
    """

    repo_path: str = Field(description="The feature repository: definition files and feature_store.yaml.")
    project: str | None = Field(default=None, description="Left out, as feature_store.yaml says.")
    registry: dg.ResourceDependency[RegistryResource | None] = None
    offline_store: dg.ResourceDependency[OfflineStoreResource | None] = None
    online_store: dg.ResourceDependency[OnlineStoreResource | None] = None

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

    def materialize_views(self, context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        """Materializes the feature views of the selected assets, each once over all partitions of the run, and tells Dagster.

        Raises:
            NotAppliedError: a view is declared otherwise than it was applied; nothing has been run.
            dagster.Failure: some views failed; the others have been materialized.
        """
        from feast_assets.dagster.materialization import materialize_views

        yield from materialize_views(context, self.get_store())

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Closes the feature store."""
        if self._store is not None:
            self._store.close()
            self._store = None
