"""Loading a feature repository: every definition at the top level of its Python files.

Modules of a repository are imported under their ordinary names, but only for as long as loading takes: afterwards
``sys.modules`` and ``sys.path`` are what they were, so two repositories with equal module names in one process never
see each other's, and loading again sees changed files. Functions must therefore not import modules of the repository
when they are called; import them at the top of the file.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.project import Project
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.stream_feature_view import StreamFeatureView
from feast_assets.definitions.validation_reference import ValidationReference
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.errors import FeastAssetsError, RepositoryError
from feast_assets.repository.import_effects import REMEDY, ImportEffects
from feast_assets.repository.modules import ReentryError, RepositoryModules, running_file

IGNORE_FILE = ".feastignore"
_IGNORED = (".git", ".venv", "**/.ipynb_checkpoints", "**/.pytest_cache", "**/__pycache__")


@dataclass(frozen=True)
class RepoContents:
    """What a feature repository declares, each object once, in the order of files and then names.

    Attributes:
        feature_views: with batch feature views, without label views.
    """

    projects: list[Project]
    data_sources: list[DataSource]
    feature_views: list[FeatureView]
    on_demand_feature_views: list[OnDemandFeatureView]
    label_views: list[LabelView]
    entities: list[Entity]
    feature_services: list[FeatureService]
    validation_references: list[ValidationReference] = field(default_factory=list)
    permissions: list[Permission] = field(default_factory=list)

    @property
    def stream_feature_views(self) -> list[StreamFeatureView]:
        """Those of the feature views that are filled from streams."""
        return [view for view in self.feature_views if isinstance(view, StreamFeatureView)]

    def objects(self) -> list[Definition]:
        """Returns everything: projects and entities, then what uses them."""
        kinds = (
            self.projects,
            self.entities,
            self.data_sources,
            self.feature_views,
            self.on_demand_feature_views,
            self.label_views,
            self.feature_services,
            self.validation_references,
            self.permissions,
        )
        return [definition for kind in kinds for definition in kind]


def load_repository(repo_path: Path) -> RepoContents:
    """Imports the Python files of a feature repository and returns the definitions at their top level.

    All files below the path count, but ``__init__.py`` (which is run where a package is imported), what
    ``.feastignore`` names by globs, ``.git``, ``.venv`` and caches. A file is never run as a script. An object that
    several files import counts once; copies of a view that stand for a projection of it do not count.

    Raises:
        RepositoryError: there is no such directory, or a file does not import (or itself loads the repository, or reads
            features that need it); names file, line and error.

    Warns where a file takes long to import, or makes files meanwhile.
    """
    root = _root(repo_path)
    files = repository_files(root)
    by_identity: dict[int, Definition] = {}
    with RepositoryModules(root, files, effects=ImportEffects(root, files)) as modules:
        for file in files:
            for definition in _definitions(_imported(modules, root, file)):
                by_identity.setdefault(id(definition), definition)
    declared = list(by_identity.values())
    labels = [d for d in declared if isinstance(d, LabelView)]
    return RepoContents(
        projects=[d for d in declared if isinstance(d, Project)],
        entities=[d for d in declared if isinstance(d, Entity)],
        data_sources=[d for d in declared if isinstance(d, DataSource)],
        feature_views=[d for d in declared if isinstance(d, FeatureView) and not isinstance(d, LabelView)],
        on_demand_feature_views=[d for d in declared if isinstance(d, OnDemandFeatureView)],
        label_views=labels,
        feature_services=[d for d in declared if isinstance(d, FeatureService)],
        validation_references=[d for d in declared if isinstance(d, ValidationReference)],
        permissions=[d for d in declared if isinstance(d, Permission)],
    )


def load_until(repo_path: Path, module: str, is_wanted: Callable[[Definition], bool]) -> list[Definition]:
    """Imports the files of a feature repository one by one until one declares what is wanted.

    The file of the named module comes first, whatever name it was imported by; usually no other file is imported.
    The script that runs this process is never imported; it counts with what it has declared so far.

    Args:
        module: a module's name, as a function keeps it.

    Returns:
        the definitions of all files that were imported; none is wanted if the repository does not declare it.

    Raises:
        RepositoryError: as `load_repository`: for the file of the module that is named, or for another one where none
            of those that do import declares what is wanted.
    """
    root = _root(repo_path)
    broken: RepositoryError | None = None
    definitions: list[Definition] = []
    if module == "__main__":
        definitions.extend(_definitions(sys.modules[module]))
        if any(map(is_wanted, definitions)):
            return definitions
    files = repository_files(root)
    with RepositoryModules(root, files, running=running_file()) as modules:
        first = modules.file_of(module)
        for file in sorted(files, key=lambda f: f != first):
            try:
                declared = list(_definitions(_imported(modules, root, file)))
            except RepositoryError as error:
                if file == first or isinstance(error, ReentryError):
                    raise
                broken = broken or error
                continue
            definitions.extend(declared)
            if any(map(is_wanted, declared)):
                return definitions
    if broken is not None:
        raise broken
    return definitions


def repository_files(root: Path) -> list[Path]:
    """Returns the files that are imported, sorted."""
    ignored: set[Path] = set()
    for pattern in (*_IGNORED, *_ignore_patterns(root)):
        for path in root.glob(pattern):
            ignored |= set(path.glob("**/*.py")) if path.is_dir() else {path}
    return sorted(p for p in root.glob("**/*.py") if p.is_file() and p.name != "__init__.py" and p not in ignored)


def _root(repo_path: Path) -> Path:
    root = Path(repo_path).resolve()
    if not root.is_dir():
        raise RepositoryError(f"There is no feature repository at {root}.")
    return root


def _ignore_patterns(root: Path) -> list[str]:
    file = root / IGNORE_FILE
    if not file.is_file():
        return []
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line.strip("/") for line in lines if line.strip("/")]


def _imported(modules: RepositoryModules, root: Path, file: Path) -> ModuleType:
    try:
        return modules.load(file)
    except ReentryError:
        raise
    except (Exception, SystemExit) as error:
        location = _innermost_line(error, root, file)
        said = str(error) or "no message"
        if isinstance(error, SyntaxError):
            said = error.msg
        # A wrong definition is an error of the repository; other errors may come from a script that lies there.
        script = "" if isinstance(error, FeastAssetsError) else f" If {file.name} is a script, {REMEDY}."
        ended = "" if said.endswith((".", "!", "?")) or not script else "."
        raise RepositoryError(
            f"{location} does not import: {type(error).__name__}: {said}{ended}{script}", name=file.stem, path=str(file)
        ) from error


def _innermost_line(error: BaseException, root: Path, file: Path) -> str:
    """Returns file and line of the innermost line of the repository that led to an error."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(root):
        return f"{Path(error.filename).relative_to(root)}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(root):
            return f"{Path(frame.filename).relative_to(root)}:{frame.lineno}"
    return str(file.relative_to(root))


def _definitions(module: ModuleType) -> Iterator[Definition]:
    for name in sorted(vars(module)):
        value = vars(module)[name]
        if not isinstance(value, Definition):
            continue
        if isinstance(value, BaseFeatureView) and _is_projected(value):
            continue
        yield value


def _is_projected(view: BaseFeatureView) -> bool:
    """Returns whether a view object is a projection: some of the features, or another name."""
    projection = view.projection
    if projection.features is view.features and not (
        projection.name_alias or projection.join_key_map or projection.desired_features
    ):
        return False  # as views are made; comparing fields one by one takes longer than importing them
    return projection != view._whole()
