"""Run as a program: a worker of a compute engine that kills itself (SIGKILL) at a named point of its first task."""

from __future__ import annotations

import sys

from killed_call import dying, dying_in_batches

from feast_assets import task_worker
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore


def arm(point: str) -> None:
    """Sets the trap."""
    if point == "in put":
        SqliteOnlineStore.put_many = dying_in_batches(SqliteOnlineStore.put_many)  # type: ignore[method-assign]
    elif point == "after put":
        SqliteOnlineStore.put_many = dying(SqliteOnlineStore.put_many, before=False)  # type: ignore[method-assign]
    elif point == "before put":
        SqliteOnlineStore.put_many = dying(SqliteOnlineStore.put_many, before=True)  # type: ignore[method-assign]
    elif point == "after replace":
        DuckDBOfflineStore.replace = dying(DuckDBOfflineStore.replace, before=False)  # type: ignore[method-assign]
    else:
        raise SystemExit(f"there is no point {point!r}")


if __name__ == "__main__":
    arm(sys.argv[1])
    task_worker.main()
