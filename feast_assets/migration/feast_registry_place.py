"""Where a registry of Feast is: a file, an object in a bucket, or tables of a database; and making room for ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from feast_assets.config import RepoConfig, make_registry
from feast_assets.errors import InputError, StoreUnavailableError
from feast_assets.migration.feast_registry import TABLES, FeastRegistry
from feast_assets.registry.file.config import FileRegistryConfig
from feast_assets.registry.file.objects import objects_at
from feast_assets.registry.file.store import FileRegistry
from feast_assets.registry.foreign_file import is_feast_registry
from feast_assets.registry.sql.config import SqlRegistryConfig

ASIDE = ".feast"
"""What the name of a registry file of Feast gets at its end when the registry that takes its place is made."""

_SQLITE = b"SQLite format 3\0"
_MOST_BYTES = 1 << 30
_FEAST_TABLE = "feast_metadata"


@dataclass(frozen=True, slots=True)
class FeastRegistryPlace:
    """A registry of Feast that was read.

    Attributes:
        title: where it is, without secrets.
        registry: what it holds.
        in_the_way: the file, if it is where the new registry is to be.
    """

    title: str
    registry: FeastRegistry
    in_the_way: Path | None = None


def read_feast_registry(config: RepoConfig, root: Path, source: str | None = None) -> FeastRegistryPlace:
    """Reads the registry of Feast that is at the registry's path of a repository, or elsewhere.

    Args:
        root: the repository.
        source: a file, relative to the repository, an object's URL or a database's URL; left out, the registry's path.

    Raises:
        InputError: there is none.
        StoreUnavailableError: it cannot be reached.
    """
    settings = config.registry if source is None else config.with_sections(registry={"path": source}).registry
    own = config.registry
    if isinstance(settings, FileRegistryConfig) and not settings.is_local:
        content = objects_at(settings, root).beginning_at_path(_MOST_BYTES)
        if not is_feast_registry(content):
            raise InputError(f"There is no registry of Feast at {settings.path}.")
        return FeastRegistryPlace(settings.path, FeastRegistry.of_file(content, settings.path))
    if isinstance(settings, FileRegistryConfig):
        return _of_file(settings.folder(root), own, root)
    if not isinstance(settings, SqlRegistryConfig):
        raise InputError("A registry of this type cannot be where Feast has its registry; say where that is by --from.")
    if settings.is_file:
        return _of_file(settings.file(root), own, root)
    return FeastRegistryPlace(settings.display_path, _of_server(settings))


@contextmanager
def making_room(feast_registry: FeastRegistryPlace, config: RepoConfig, root: Path) -> Iterator[Path | None]:
    """Moves a file of Feast away while the new registry is made in its place; back again, if that fails.

    Gives:
        where the file is now; None where none was in the way.

    Raises:
        InputError: there is a registry already.
    """
    file = feast_registry.in_the_way
    if file is None:
        registry = make_registry(config, root)
        try:
            if isinstance(registry, FileRegistry):
                registry.begin()
            if registry.revision():
                raise InputError(
                    f"{registry!r} has definitions already. Import into a new registry, or apply what is missing."
                )
        finally:
            registry.close()
        yield None
        return
    aside = file.with_name(file.name + ASIDE)
    if aside.exists():
        raise InputError(f"{file} would be renamed to {aside.name}, which is there already. Move it away first.")
    file.rename(aside)
    try:
        yield aside
    except BaseException:
        _move_back(aside, file)
        raise


def _move_back(aside: Path, file: Path) -> None:
    if file.is_dir():
        return  # a registry in a folder holds what was committed; the file stays aside
    for made in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
        made.unlink(missing_ok=True)
    aside.rename(file)


def _of_file(file: Path, own: object, root: Path) -> FeastRegistryPlace:
    aside = file.with_name(file.name + ASIDE)
    # An import that was killed in the middle has moved the file.
    chosen = aside if not file.is_file() and aside.is_file() else file
    if not chosen.is_file():
        raise InputError(f"There is no registry of Feast at {file}; say where it is by --from.")
    content = chosen.read_bytes()
    if content.startswith(_SQLITE):
        registry = _of_sqlite(chosen)
    elif is_feast_registry(content):
        registry = FeastRegistry.of_file(content, str(chosen))
    else:
        raise InputError(f"{chosen} is no registry of Feast; say where it is by --from.")
    return FeastRegistryPlace(str(chosen), registry, chosen if chosen == _own_file(own, root) else None)


def _own_file(own: object, root: Path) -> Path | None:
    if isinstance(own, SqlRegistryConfig):
        return own.file(root) if own.is_file else None
    return own.folder(root) if isinstance(own, FileRegistryConfig) and own.is_local else None


def _of_sqlite(file: Path) -> FeastRegistry:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if _FEAST_TABLE not in names:
                raise InputError(f"{file} is no registry of Feast; say where it is by --from.")
            rows = [
                (table, str(project), _message(message, str(file)))
                for table, (_, column) in TABLES.items()
                if table in names
                for project, message in connection.execute(f"SELECT project_id, {column} FROM {table}")  # noqa: S608 - names of ours
            ]
    except sqlite3.Error as error:
        raise StoreUnavailableError(f"The registry of Feast {file} cannot be read: {error}") from error
    return FeastRegistry.of_tables(rows, str(file))


def _message(value: object, title: str) -> bytes:
    """Returns the message of a row; a number would be taken for a count of bytes."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise InputError(f"The registry of Feast {title} is damaged: a message is {type(value).__name__}, not bytes.")
    return bytes(value)


def _of_server(settings: SqlRegistryConfig) -> FeastRegistry:
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import SQLAlchemyError

    problem = ""
    rows: list[tuple[str, str, bytes]] = []
    engine = create_engine(settings.server_url())
    try:
        with engine.connect() as connection:
            names = set(inspect(connection).get_table_names())
            if _FEAST_TABLE not in names:
                raise InputError(f"The database {settings.display_path} has no registry of Feast.")
            for table, (_, column) in TABLES.items():
                if table in names:
                    statement = text(f"SELECT project_id, {column} FROM {table}")  # noqa: S608 - names of ours
                    rows += [
                        (table, str(project), _message(message, settings.display_path))
                        for project, message in connection.execute(statement)
                    ]
    except SQLAlchemyError as error:
        problem = type(error).__name__
    finally:
        engine.dispose()
    if problem:  # outside of the handler, since the driver's error may hold the login
        raise StoreUnavailableError(f"The registry of Feast {settings.display_path} cannot be read ({problem}).")
    return FeastRegistry.of_tables(rows, settings.display_path)
