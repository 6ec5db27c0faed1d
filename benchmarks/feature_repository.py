"""Feature repositories of the benchmark: the same configuration and definitions for both libraries."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.datasets import START, TIME, Shape, feature_names, is_integer
from benchmarks.libraries import OURS, Library

SERVICE = "everything"
PUSHED = "pushed"
_TTL = timedelta(days=3650)
_MARKER = "materialized"


def configure(
    directory: Path,
    project: str,
    online_store: dict[str, Any],
    materialization: dict[str, Any] | None = None,
    **offline_store: Any,
) -> None:
    """Writes ``feature_store.yaml``, the same for both libraries but for settings that one of them does not have.

    Args:
        materialization: the section of this name, which is Feast's.
    """
    (directory / "data").mkdir(parents=True, exist_ok=True)
    lines = [
        f"project: {project}",
        "provider: local",
        "registry: data/registry.db",
        "entity_key_serialization_version: 3",
        *_section("online_store", online_store),
        *_section("offline_store", {"type": "duckdb", **offline_store}),
        *(_section("materialization", materialization) if materialization else []),
    ]
    (directory / "feature_store.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _section(name: str, values: dict[str, Any]) -> list[str]:
    return [f"{name}:", *(f"  {key}: {value}" for key, value in values.items())]


def definitions(library: Library, shape: Shape, data: Path, **of_views: Any) -> list[Any]:
    """Returns an entity, a shape's views and one service of all of them.

    Args:
        of_views: further arguments of every view.
    """
    entity = library.Entity(name="entity", join_keys=[shape.key], value_type=library.ValueType.INT64)
    views = [_view(library, shape, data, number, entity, **of_views) for number in range(shape.views)]
    return [entity, *views, library.FeatureService(name=SERVICE, features=views)]


def _view(library: Library, shape: Shape, data: Path, number: int, entity: Any, **of_view: Any) -> Any:
    source = library.FileSource(name=f"source_{number}", path=str(shape.path(data, number)), timestamp_field=TIME)
    return library.FeatureView(
        name=shape.names[number],
        entities=[entity],
        ttl=_TTL,
        schema=[library.Field(name=shape.key, dtype=library.Int64), *fields(library, shape.features)],
        source=of_view.pop("source", None) or source,
        **of_view,
    )


def fields(library: Library, count: int) -> list[Any]:
    return [
        library.Field(name=name, dtype=library.Int64 if is_integer(i) else library.Float64)
        for i, name in enumerate(feature_names(count))
    ]


def pushed_definitions(library: Library, shape: Shape, data: Path) -> list[Any]:
    """Returns one view whose rows are pushed."""
    entity = library.Entity(name="entity", join_keys=[shape.key], value_type=library.ValueType.INT64)
    batch = library.FileSource(name="batch", path=str(shape.path(data, 0)), timestamp_field=TIME)
    push = library.PushSource(name=PUSHED, batch_source=batch)
    view = _view(library, shape, data, 0, entity, source=push)
    return [entity, view, library.FeatureService(name=SERVICE, features=[view])]


def materialized(library: Library, directory: Path, shape: Shape, data: Path, online_store: dict[str, Any]) -> Any:
    """Returns a feature store whose online store holds everything of a shape; filled where it is not yet."""
    if (directory / _MARKER).exists():
        return library.FeatureStore(repo_path=str(directory))
    store = applied(library, directory, shape, data, online_store)
    with silence():
        store.materialize(START, shape.end)
    mark_materialized(directory)
    return store


def mark_materialized(directory: Path) -> None:
    """Says that the online store of a directory holds everything."""
    (directory / _MARKER).touch()


def applied(
    library: Library,
    directory: Path,
    shape: Shape,
    data: Path,
    online_store: dict[str, Any],
    *,
    project: str | None = None,
    of_views: dict[str, Any] | None = None,
    materialization: dict[str, Any] | None = None,
    **offline_store: Any,
) -> Any:
    """Returns a feature store that knows a shape's definitions.

    Args:
        materialization: settings that only Feast has.
        of_views, offline_store: what only feast_assets has; Feast is not given them.
    """
    ours = library.name == OURS
    configure(directory, project or shape.name, online_store, materialization, **(offline_store if ours else {}))
    store = library.FeatureStore(repo_path=str(directory))
    with silence():
        store.apply(definitions(library, shape, data, **((of_views or {}) if ours else {})))
    return store


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keeps progress bars out of the output; what goes wrong is raised all the same."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
