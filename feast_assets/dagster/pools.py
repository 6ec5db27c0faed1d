"""Concurrency pools: of the online store, and of DuckDB files, which one process at a time can write."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.definitions.kept_results import kept_result, sources_read
from feast_assets.definitions.sources.duckdb_source import DuckDBSource

if TYPE_CHECKING:
    from feast_assets.dagster.repository import FeatureRepository
    from feast_assets.definitions.feature_view import FeatureView


def online_pool(project: str) -> str:
    """Returns the concurrency pool in which runs of a project's views are, as they write to one online store."""
    return "feast_online_" + re.sub(r"\W", "_", project, flags=re.ASCII)


def duckdb_pool(database: str | os.PathLike[str]) -> str:
    """Returns the concurrency pool of a DuckDB file, for all assets that read or write it.

    DuckDB lets one process write to a file, and nobody else open it meanwhile. Give it to assets of your own, so that
    with a limit of 1 on the Dagster instance they and the feature views over the file run in turn::

        @dg.asset(pool=duckdb_pool("data/shop.duckdb"))
        def orders(duckdb: DuckDBResource): ...

    Args:
        database: the file's path, such as ``DuckDBResource`` takes it; a relative one starts at the working directory.
    """
    path = os.path.realpath(os.path.expanduser(database))
    name = re.sub(r"\W", "_", Path(path).name.split(".")[0], flags=re.ASCII)
    return f"duckdb_{name}_{hashlib.sha256(path.encode()).hexdigest()[:6]}"


def pool_of(repository: FeatureRepository, views: Iterable[FeatureView]) -> str:
    """Returns the concurrency pool of a step that materializes some views.

    It is that of the DuckDB file that they read, or keep results in; a step can be in one pool only. If there are
    several files, one that the user's own assets fill goes first, then one that is read. Without any, it is the
    `online_pool`.
    """
    by_rank: dict[tuple[int, str], str] = {}
    for view in views:
        sink = kept_result(view)
        for source in (*sources_read(view), *([] if sink is None else [sink])):
            if isinstance(source, DuckDBSource):
                rank = 0 if source.name in repository.source_assets else 2 if source is sink else 1
                path = Path(repository.root or "", source.database)
                by_rank[rank, str(path)] = duckdb_pool(path)
    return by_rank[min(by_rank)] if by_rank else online_pool(repository.project)
