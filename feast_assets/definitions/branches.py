"""One project in several deployments: a branch has registry entries, tables and results of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from copy import copy
from typing import TypeVar

from feast_assets.definitions.base import Definition
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.kept_results import kept_result
from feast_assets.definitions.project import Project
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.duckdb_source import DuckDBSource, table_path
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import NotSupportedError

FOLDER = ".deployments"
"""The folder of deployments' kept results, beside production's. It is hidden, so that a source that reads the whole
folder does not read them."""

_Source = TypeVar("_Source", bound=DataSource)


def namespace(project: str, deployment: str) -> str:
    """Returns the name under which a deployment's definitions, ledger and online rows are kept.

    Args:
        deployment: such as the name of a branch; ``""`` is production, whose name is the project's.
    """
    return f"{project}__{_name(deployment)}" if deployment else project


def deployed(
    objects: Sequence[Definition], project: str, deployment: str, registered: Iterable[FeatureView] = ()
) -> list[Definition]:
    """Returns the definitions of a deployment: it reads the same sources, and keeps results in paths of its own.

    A view that reads a kept result reads the deployment's. The given objects are not changed.

    Args:
        registered: views that were applied before; the results that they keep count too.

    Raises:
        NotSupportedError: a result is kept in a source that has no separate place for each deployment.
    """
    if not deployment:
        return list(objects)
    kept = [kept_result(v) for v in (*objects, *registered) if isinstance(v, FeatureView)]
    own = _Own([s for s in kept if s is not None], deployment)
    return [_deployed(o, own, project, deployment) for o in objects]


class _Own:
    """The sources that a deployment has of its own."""

    def __init__(self, kept: Sequence[DataSource], deployment: str):
        self._deployment = _name(deployment)
        self._names = {s.name for s in kept}
        self._locations = {_location(s, self._deployment) for s in kept if isinstance(s, (FileSource, DuckDBSource))}

    def source(self, source: _Source) -> _Source:
        """Returns the deployment's own source for a source; the same one where it is shared."""
        if isinstance(source, (FileSource, DuckDBSource)) and (
            source.name in self._names or _location(source, self._deployment) in self._locations
        ):
            moved = copy(source)
            path, _ = _location(source, self._deployment)
            setattr(moved, "path" if isinstance(moved, FileSource) else "database", path)
            return moved
        if source.name in self._names:
            raise NotSupportedError(
                f"Data source {source.name!r} holds a kept result, and a {type(source).__name__} cannot be kept apart "
                f"for deployment {self._deployment!r}; only a FileSource or a DuckDBSource can."
            )
        return source


def _deployed(definition: Definition, own: _Own, project: str, deployment: str) -> Definition:
    if isinstance(definition, DataSource):
        return own.source(definition)
    if isinstance(definition, Project):
        renamed = copy(definition)
        renamed.name = namespace(project, deployment) if definition.name == project else definition.name
        return renamed
    if not isinstance(definition, FeatureView):
        return definition
    view = copy(definition)
    view.batch_source = None if view.batch_source is None else own.source(view.batch_source)
    if isinstance(view, BatchFeatureView):
        view.sources = [own.source(s) for s in view.sources]
        view.sink_source = None if view.sink_source is None else own.source(view.sink_source)
    return view


def _location(source: FileSource | DuckDBSource, deployment: str) -> tuple[str, tuple[str, ...]]:
    """Returns where a deployment has its own of a source: the path of a file in a hidden folder beside it, and what is
    read of that file."""
    if isinstance(source, FileSource):
        return _path(source.path, deployment), ()
    table = table_path(source.table.lower(), source.name) if source.table else (source.query,)
    return _path(source.database, deployment), table


def _path(path: str, deployment: str) -> str:
    folder, slash, name = path.rstrip("/").rpartition("/")
    own = f"{FOLDER}/{deployment}"
    return path if folder.endswith(own) else f"{folder}{slash}{own}/{name}"


def _name(deployment: str) -> str:
    """Returns a deployment's name in characters that are safe everywhere; different names stay different."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", deployment)
    if plain == deployment:
        return plain
    return f"{plain}_{hashlib.sha256(deployment.encode()).hexdigest()[:6]}"
