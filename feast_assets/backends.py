"""Finding the class of a store by its type: an entry point of an installed package, or the path of a class."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from feast_assets.class_paths import ClassPathError, load_class
from feast_assets.errors import ConfigError, suggest
from feast_assets.registry.file.urls import scheme_of
from feast_assets.settings.redaction import shown_if_near

_EXTRAS = {
    "redis": "redis",
    "psycopg": "postgres",
    "adbc_driver_postgresql": "postgres",
    "sqlglot": "postgres",
    "deltalake": "delta",
    "polars": "polars",
    "msgspec": "remote",
    "s3fs": "s3",
    "gcsfs": "gcs",
    "adlfs": "azure",
}
"""Top-level package of a driver -> the extra of this package that installs it."""

_PATHS_OF_FEAST = ("feast.", "feast_assets.infra.")
_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.(?=[A-Z])\w*(Store|Registry|Engine)", re.ASCII)


@dataclass(frozen=True)
class Backends:
    """One kind of store.

    Attributes:
        group: its entry-point group.
        section: its key in ``feature_store.yaml``.
        key: the key in the section that says which backend.
        base: the class that all its backends derive from, as ``module:class``.
        aliases: Feast's names -> ours.
        feast_classes: names of Feast's own classes -> their types.
        feast_types: what Feast has and this package does not.
    """

    group: str
    section: str
    base: str
    key: str = "type"
    aliases: Mapping[str, str] = field(default_factory=dict)
    feast_classes: Mapping[str, str] = field(default_factory=dict)
    feast_types: frozenset[str] = frozenset()

    def types(self) -> list[str]:
        """Returns the types that can be used."""
        return sorted(_entry_points(self.group))

    def type_of(self, written: str, origin: str, path: object = None) -> str:
        """Returns the type that a written one means: an entry point's name, or the path of a class.

        Args:
            path: the section's ``path``, by which Feast's ``registry_type: file`` means one of two.

        Raises:
            ConfigError: there is no such type. A class path is only checked for its form; `load` imports it.
        """
        known = self.types()
        kind = self.aliases.get(written, written)
        if self.section == "registry" and kind == "file" and scheme_of(path) is None:
            kind = "sql"  # a SQLite file, or a database's URL
        if kind in known:
            return kind
        where = f"{origin}: {self.section}.{self.key}"
        listed = f"Known: {', '.join(map(repr, known))}"
        if _CLASS_PATH.fullmatch(written):
            if not written.startswith(_PATHS_OF_FEAST):
                # A class that an entry point offers too is called by the entry point's name, as its settings expect.
                return next((kind for kind in known if written in _paths(self.group, kind)), written)
            of_feast = self.feast_classes.get(written.rpartition(".")[2])
            if of_feast is None:
                raise ConfigError(
                    f"{where} {written!r} is a class of Feast's, whose methods differ from those of stores here. "
                    f"{listed}; or write the path of a class of your own."
                )
            return self.type_of(of_feast, origin, path)
        if written in self.feast_types:
            raise ConfigError(f"{where} {written!r} is not supported. {listed}. Name one of these as {self.section}.")
        # What is like no type may be a secret that was put here by mistake.
        raise ConfigError(f"{where}{shown_if_near(written, known)} is not known. {suggest(written, known)}")

    def is_only_in_feast(self, written: str) -> bool:
        """Whether a written type means a backend that only Feast has: neither this package nor another
        installed one."""
        in_feast = written.startswith(_PATHS_OF_FEAST)
        kind = self.feast_classes.get(written.rpartition(".")[2], written) if in_feast else written
        return kind in self.feast_types and kind not in self.types()

    def written(self, written: str, kind: str) -> str:
        """Returns the type that the backend's settings get: as it was written, unless only Feast knows that name."""
        return written if self.section == "registry" and written == "file" else kind

    def load(self, kind: str, origin: str, root: Path | None = None) -> Any:
        """Returns the class of a type.

        Args:
            kind: as `type_of` returns it.
            root: the feature repository's folder, where a class may be.

        Raises:
            ConfigError: two packages offer the type, a package that it needs is not installed, or a path leads to no
                class of a store.
        """
        if is_class_path(kind):
            return self._class_at(kind, origin, root)
        offered = _entry_points(self.group)[kind]
        if len(offered) > 1:
            packages = " and ".join(sorted(_package(e) for e in offered))
            raise ConfigError(
                f"{origin}: {self.section}.{self.key} {kind!r} is offered by {packages}; uninstall all but one of them."
            )
        try:
            return offered[0].load()
        except ModuleNotFoundError as error:
            raise self._missing(kind, error, origin) from error

    def config_class(self, kind: str, origin: str, root: Path | None = None) -> type[BaseModel]:
        """Returns the class of a type's settings: its ``config_class``; of a path, also as in Feast ``<Class>Config``.

        Raises:
            ConfigError: as `load` does, or there is none.
        """
        loaded = self.load(kind, origin, root)
        config_class = getattr(loaded, "config_class", None)
        if config_class is None and is_class_path(kind):
            with suppress(ClassPathError):
                config_class = load_class(f"{kind}Config", root)
        if not (isinstance(config_class, type) and issubclass(config_class, BaseModel)):
            raise ConfigError(
                f"{origin}: {self.section}.{self.key} {kind!r}: {loaded.__module__}.{loaded.__qualname__} does not say "
                "which settings it has. Give it a config_class that derives from feast_assets.settings.model.Settings."
            )
        return config_class

    def make(self, settings: BaseModel, origin: str, root: Path, *more: object) -> Any:
        """Returns a store with these settings."""
        kind = self.type_of(str(getattr(settings, self.key)), origin, getattr(settings, "path", None))
        made = self.load(kind, origin, root)
        if lacking := sorted(getattr(made, "__abstractmethods__", ())):
            remedy = "Write them"
            if not is_class_path(kind):
                package = _package(_entry_points(self.group)[kind][0])
                remedy = f"Use a version of {package} that is made for this version of feast-assets"
            raise ConfigError(
                f"{origin}: {self.section}.{self.key} {kind!r} is {made.__module__}.{made.__qualname__}, which lacks "
                f"{', '.join(lacking)}. {remedy}; docs/write-a-backend.md says what a backend must have."
            )
        try:
            return made(settings, Path(root), *more)
        except ModuleNotFoundError as error:
            raise self._missing(kind, error, origin) from error

    def _class_at(self, path: str, origin: str, root: Path | None) -> object:
        try:
            loaded = load_class(path, root)
        except ClassPathError as error:
            raise ConfigError(f"{origin}: {self.section}.{self.key} {path!r}: {error}") from error
        module, _, name = self.base.partition(":")
        if not issubclass(loaded, getattr(importlib.import_module(module), name)):
            of_feast = any(base.__module__.startswith("feast.") for base in loaded.__mro__)
            hint = " It derives from Feast's class, which has other methods." if of_feast else ""
            raise ConfigError(
                f"{origin}: {self.section}.{self.key} {path!r} cannot be used, as it does not derive from "
                f"{module}.{name}.{hint} docs/write-a-backend.md says what a backend must have."
            )
        return loaded

    def _missing(self, kind: str, error: ModuleNotFoundError, origin: str) -> Exception:
        module = (error.name or "").partition(".")[0]
        if module == "feast_assets":
            return error
        extra = _EXTRAS.get(module)
        package = kind if is_class_path(kind) else _package(_entry_points(self.group)[kind][0])
        how = f"pip install 'feast-assets[{extra}]'" if extra else f"see what {package} needs"
        return ConfigError(
            f"{origin}: {self.section}.{self.key} {kind!r} needs the package {module!r}, which is not installed: {how}."
        )


ONLINE_STORES = Backends(
    "feast_assets.online_stores",
    "online_store",
    "feast_assets.online_stores.base:OnlineStore",
    feast_classes={
        "SqliteOnlineStore": "sqlite",
        "RedisOnlineStore": "redis",
        "PostgreSQLOnlineStore": "postgres",
        "RemoteOnlineStore": "remote",
    },
    feast_types=frozenset(
        [
            "dynamodb",
            "mysql",
            "datastore",
            "bigtable",
            "snowflake.online",
            "cassandra",
            "scylladb",
            "hbase",
            "hazelcast",
            "elasticsearch",
            "singlestore",
            "qdrant",
            "milvus",
            "mongodb",
            "couchbase.online",
            "aerospike",
            "hybrid",
            "chronon",
            "faiss",
            "ikv",
        ]
    ),
)
OFFLINE_STORES = Backends(
    "feast_assets.offline_stores",
    "offline_store",
    "feast_assets.offline_stores.base:OfflineStore",
    aliases={"file": "duckdb", "dask": "duckdb"},
    feast_classes={
        "DaskOfflineStore": "dask",
        "FileOfflineStore": "file",
        "DuckDBOfflineStore": "duckdb",
        "PostgreSQLOfflineStore": "postgres",
    },
    feast_types=frozenset(
        [
            "bigquery",
            "snowflake.offline",
            "redshift",
            "spark",
            "trino",
            "athena",
            "mssql",
            "clickhouse",
            "couchbase.offline",
            "ray",
            "oracle",
            "remote",
            "hybrid",
            "chronon",
        ]
    ),
)
COMPUTE_ENGINES = Backends(
    "feast_assets.compute_engines",
    "batch_engine",
    "feast_assets.compute.engines.base:ComputeEngine",
    feast_classes={
        "FlinkComputeEngine": "flink.engine",
        "KubernetesComputeEngine": "k8s",
        "LambdaComputeEngine": "lambda",
        "LocalComputeEngine": "local",
        "RayComputeEngine": "ray.engine",
        "SnowflakeComputeEngine": "snowflake.engine",
        "SparkComputeEngine": "spark.engine",
        "TrinoComputeEngine": "trino.engine",
    },
    feast_types=frozenset(
        [
            "bytewax",
            "flink.engine",
            "k8s",
            "lambda",
            "ray.engine",
            "snowflake.engine",
            "spark.engine",
            "spark_application",
            "trino",
            "trino.engine",
        ]
    ),
)
REGISTRIES = Backends(
    "feast_assets.registries",
    "registry",
    "feast_assets.registry.base:Registry",
    key="registry_type",
    feast_classes={"Registry": "file", "SqlRegistry": "sql"},
    feast_types=frozenset(["snowflake.registry", "remote"]),
)


def is_class_path(kind: str) -> bool:
    """Says whether a type is the path of a class, rather than a name."""
    return bool(_CLASS_PATH.fullmatch(kind))


def _paths(group: str, kind: str) -> list[str]:
    return [entry.value.replace(":", ".") for entry in _entry_points(group)[kind]]


@cache
def _entry_points(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    by_name: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=group):
        # One package may be seen twice, when it is both installed and on the path.
        if not any(e.value == entry.value and _package(e) == _package(entry) for e in by_name.get(entry.name, ())):
            by_name[entry.name] = (*by_name.get(entry.name, ()), entry)
    return by_name


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
