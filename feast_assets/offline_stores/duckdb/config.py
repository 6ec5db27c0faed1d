"""Settings of the DuckDB offline store."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from feast_assets.settings.model import PlainPath, Settings


class DuckDBOfflineStoreConfig(Settings):
    """The ``offline_store`` section of ``feature_store.yaml``.

    Attributes:
        memory_limit: such as ``"4GB"``; beyond it, data spills to disk. Left out, 80 % of the machine's memory.
        threads: left out, one per core.
        temp_directory: where it spills to, relative to the repository; left out, the system's folder for temporary
            files.
        readable_paths: files, and folders with data files, that a caller's query may read beside data files of the
            repository and those of the project's data sources; relative to the repository.
        database_wait_seconds: how long to wait for a `DuckDBSource` whose file another process has open.
    """

    feast_keys: ClassVar[Mapping[str, object]] = {"staging_location": None, "staging_location_endpoint_override": None}

    type: Literal["duckdb"] = "duckdb"
    memory_limit: str | None = None
    threads: int | None = Field(default=None, ge=1)
    temp_directory: PlainPath | None = None
    readable_paths: list[PlainPath] = []
    database_wait_seconds: float = Field(default=60, ge=0, allow_inf_nan=False)

    @field_validator("readable_paths")
    @classmethod
    def _local_paths(cls, value: list[str]) -> list[str]:
        for path in value:
            if not path.strip() or "\0" in path or "://" in path or glob.has_magic(path):
                raise ValueError("must list local files and folders, without * or other wildcards")
        return value
