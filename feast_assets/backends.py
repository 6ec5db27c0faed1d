"""Finding the class of a store by its type, among what installed packages offer as entry points."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from feast_assets.errors import ConfigError, suggest
from feast_assets.settings.redaction import shown_if_near

_EXTRAS = {"redis": "redis", "psycopg": "postgres", "deltalake": "delta", "polars": "polars"}
"""Top-level package of a driver -> the extra of this package that installs it."""

_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.[A-Z]\w*(Store|Registry)", re.ASCII)


@dataclass(frozen=True)
class Backends:
    """One kind of store.

    Attributes:
        group: its entry-point group.
        section: its key in ``feature_store.yaml``.
        key: the key in the section that says which backend.
        aliases: Feast's names -> ours.
        feast_types: what Feast has and this package does not.
    """

    group: str
    section: str
    key: str = "type"
    aliases: Mapping[str, str] = field(default_factory=dict)
    feast_types: frozenset[str] = frozenset()

    def types(self) -> list[str]:
        """Returns the types that can be used."""
        return sorted(_entry_points(self.group))

    def type_of(self, written: str, origin: str) -> str:
        """Returns the type that a written one means.

        Raises:
            ConfigError: there is none.
        """
        kind = self.aliases.get(written, written)
        known = self.types()
        if kind in known:
            return kind
        where = f"{origin}: {self.section}.{self.key}"
        if written in self.feast_types:
            raise ConfigError(
                f"{where} {written!r} is not supported. Known: {', '.join(map(repr, known))}. Name one of these as "
                f"{self.section}."
            )
        if _CLASS_PATH.fullmatch(written):
            raise ConfigError(
                f"{where} {written!r}: a class path is not supported; a package offers its store by an entry point in "
                f"the group {self.group!r}. Known: {', '.join(map(repr, known))}."
            )
        # What is like no type may be a secret that was put here by mistake.
        raise ConfigError(f"{where}{shown_if_near(written, known)} is not known. {suggest(written, known)}")

    def written(self, written: str, kind: str) -> str:
        """Returns what the backend's settings are told: the type as written, unless it is only Feast's name."""
        return written if self.key == "registry_type" else kind

    def load(self, kind: str, origin: str) -> Any:
        """Returns the class of a type.

        Raises:
            ConfigError: two packages offer the type, or a package that it needs is not installed.
        """
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

    def make(self, settings: BaseModel, origin: str, root: Path, *more: Any) -> Any:
        """Returns a store with these settings."""
        kind = self.type_of(str(getattr(settings, self.key)), origin)
        made = self.load(kind, origin)
        if lacking := sorted(getattr(made, "__abstractmethods__", ())):
            raise ConfigError(
                f"{origin}: {self.section}.{self.key} {kind!r} is {made.__module__}.{made.__qualname__}, which lacks "
                f"{', '.join(lacking)}. Use a version of {_package(_entry_points(self.group)[kind][0])} that is made "
                "for this version of feast-assets; docs/architecture.md says under 'Backends' what a backend must have."
            )
        try:
            return made(settings, Path(root), *more)
        except ModuleNotFoundError as error:
            raise self._missing(kind, error, origin) from error

    def _missing(self, kind: str, error: ModuleNotFoundError, origin: str) -> Exception:
        module = (error.name or "").partition(".")[0]
        if module == "feast_assets":
            return error
        extra = _EXTRAS.get(module)
        offered = _entry_points(self.group)[kind][0]
        how = f"pip install 'feast-assets[{extra}]'" if extra else f"see what {_package(offered)} needs"
        return ConfigError(
            f"{origin}: {self.section}.{self.key} {kind!r} needs the package {module!r}, which is not installed: {how}."
        )


ONLINE_STORES = Backends(
    "feast_assets.online_stores",
    "online_store",
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
            "remote",
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
    aliases={"file": "duckdb", "dask": "duckdb"},
    feast_types=frozenset(
        [
            "bigquery",
            "snowflake.offline",
            "redshift",
            "spark",
            "trino",
            "athena",
            "postgres",
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
REGISTRIES = Backends(
    "feast_assets.registries",
    "registry",
    key="registry_type",
    aliases={"file": "sql"},
    feast_types=frozenset(["snowflake.registry", "remote"]),
)


@cache
def _entry_points(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=group):
        # One package may be seen twice, when it is both installed and on the path.
        if not any(e.value == entry.value and _package(e) == _package(entry) for e in found.get(entry.name, ())):
            found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
