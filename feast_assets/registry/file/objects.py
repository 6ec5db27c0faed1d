"""Where a file registry keeps its objects: a folder of the file system, or a bucket that fsspec reaches.

Three things are asked of a store. An object appears whole or not at all. Of several who create an object of one name
at once, exactly one succeeds. What is written is read and listed by everybody from then on. To create one, local file
systems use hard links, S3 and Azure ``If-None-Match: *``, and GCS ``ifGenerationMatch=0``.
"""

from __future__ import annotations

import os
import threading
import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from feast_assets.atomic_files import sync_folder
from feast_assets.errors import ConfigError, FeastAssetsError, StoreUnavailableError
from feast_assets.registry.file.config import FileRegistryConfig
from feast_assets.registry.file.urls import SCHEMES, scheme_of
from feast_assets.settings.redaction import without_secrets

_TEMPORARY = ".writing-"
_LARGE_BYTES = 1 << 20


class Objects(ABC):
    """Objects by name. A name has parts that are divided by ``/``.

    All methods raise `StoreUnavailableError` when the store cannot be reached, or refuses.
    """

    @property
    @abstractmethod
    def title(self) -> str:
        """Where they are, for messages."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Returns an object; None where there is none."""

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """Returns several objects, in this order; None for each that is not there."""
        return [self.read(name) for name in names]

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Creates an object unless there is one of the name, and returns whether it did."""

    @abstractmethod
    def write(self, contents: Mapping[str, bytes]) -> None:
        """Writes objects, in no particular order, and returns when all of them are there to stay."""

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """Removes objects, of which some may be gone already."""

    @abstractmethod
    def listed(self, folder: str) -> dict[str, float]:
        """Returns name -> when it was last written, in seconds by the store's clock, of a folder's own objects."""

    @abstractmethod
    def beginning_at_path(self, length: int) -> bytes:
        """Returns the first bytes of an object at the registry's path itself, which is not of this registry; or b""."""

    @abstractmethod
    def folders(self, folder: str) -> list[str]:
        """Returns the last parts of the names of a folder's own folders."""


def objects_at(config: FileRegistryConfig, root: Path) -> Objects:
    """Returns the objects of a registry, without touching disk or network.

    Args:
        root: the folder that a relative path starts from.

    Raises:
        ModuleNotFoundError: the package that reaches this store is not installed.
    """
    return LocalObjects(config.folder(root)) if config.is_local else BucketObjects(config)


class LocalObjects(Objects):
    """Objects in a folder, each a file."""

    def __init__(self, folder: Path):
        self._folder = folder

    @property
    def title(self) -> str:
        return str(self._folder)

    def read(self, name: str) -> bytes | None:
        with self._in_words():
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError:
                return None

    def create(self, name: str, content: bytes) -> bool:
        path = self._folder / name
        with self._in_words():
            written = self._written(path, content)
            try:
                # Not `publish_once`, which replaces a file where there are no links: somebody's change would be lost.
                os.link(written, path)
            except FileExistsError:
                return False
            finally:
                os.unlink(written)
            sync_folder(path.parent)
        return True

    def write(self, contents: Mapping[str, bytes]) -> None:
        with self._in_words():
            for name, content in contents.items():
                path = self._folder / name
                os.replace(self._written(path, content), path)
            for folder in {(self._folder / name).parent for name in contents}:
                sync_folder(folder)

    def remove(self, names: Iterable[str]) -> None:
        with self._in_words():
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(self._folder / name)

    def listed(self, folder: str) -> dict[str, float]:
        times = {}
        with self._in_words(), suppress(FileNotFoundError), os.scandir(self._folder / folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.is_file():
                        times[f"{folder}/{entry.name}"] = entry.stat().st_mtime
        return times

    def folders(self, folder: str) -> list[str]:
        with self._in_words(), suppress(FileNotFoundError):
            return sorted(entry.name for entry in os.scandir(self._folder / folder) if entry.is_dir())
        return []

    def beginning_at_path(self, length: int) -> bytes:
        with self._in_words():
            if not self._folder.is_file():
                return b""
            with self._folder.open("rb") as file:
                return file.read(length)

    def _written(self, path: Path, content: bytes) -> Path:
        """Returns a new file with this content in the folder of another; it does not count as an object yet."""
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
        try:
            with written.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            written.unlink(missing_ok=True)
            raise
        return written

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except FeastAssetsError:
            raise
        except NotADirectoryError as error:
            raise ConfigError(
                f"The registry path {self._folder} is, or is below, a file; a registry at file:// is a folder. Name "
                "another path."
            ) from error
        except OSError as error:
            raise StoreUnavailableError(f"Registry {self._folder} cannot be used: {error}") from error


class BucketObjects(Objects):
    """Objects in a bucket of S3 or GCS, or in a container of Azure."""

    def __init__(self, config: FileRegistryConfig):
        """Creates it without reaching the store.

        Raises:
            ModuleNotFoundError: the package that reaches it is not installed.
        """
        scheme = scheme_of(config.path) or ""
        self._protocol, package, self._extra = SCHEMES[scheme]
        for needed in ("fsspec", package):
            if find_spec(needed) is None:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        self._url = config.path
        self._options = dict(config.storage_options)
        bucket, _, self._base = config.path.partition("://")[2].partition("/")
        if self._protocol == "abfs" and "@" in bucket:
            bucket, _, host = bucket.partition("@")
            self._options.setdefault("account_name", host.partition(".")[0])
        self._base = f"{bucket}/{self._base.strip('/')}"
        if self._protocol == "s3":
            endpoint = os.environ.get("FEAST_S3_ENDPOINT_URL")
            if endpoint:
                self._options.setdefault("endpoint_url", endpoint)
            if config.s3_additional_kwargs:
                self._options.setdefault("s3_additional_kwargs", config.s3_additional_kwargs)
        self._secrets = list(_secrets_of(self._options))

    @property
    def title(self) -> str:
        return self._url

    def read(self, name: str) -> bytes | None:
        with self._in_words():
            try:
                content: bytes = self._files.cat_file(self._path(name))
            except FileNotFoundError:
                return None
        return content

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        if len(names) < 2:
            return super().read_all(names)
        paths = [self._path(name) for name in names]
        with self._in_words():
            read = self._files.cat(paths, on_error="return")
            contents: list[bytes | None] = []
            for path in paths:
                content = read.get(path)
                if isinstance(content, BaseException) and not isinstance(content, FileNotFoundError):
                    raise content
                contents.append(content if isinstance(content, bytes) else None)
        return contents

    def create(self, name: str, content: bytes) -> bool:
        with self._in_words():
            try:
                self._files.pipe_file(self._path(name), content, mode="create")
            except FileExistsError:
                return False
        return True

    def write(self, contents: Mapping[str, bytes]) -> None:
        if any(len(content) > _LARGE_BYTES for content in contents.values()):
            # Clients of GCS and Azure warn that a large body holds up the event loop; this loop is fsspec's own.
            warnings.filterwarnings("ignore", "Sending a large body directly", ResourceWarning)
        if contents:
            with self._in_words():
                self._files.pipe({self._path(name): content for name, content in contents.items()})

    def remove(self, names: Iterable[str]) -> None:
        paths = [self._path(name) for name in names]
        if not paths:
            return
        with self._in_words():
            try:
                self._files.rm(paths)
            except FileNotFoundError:
                for path in paths:
                    with suppress(FileNotFoundError):
                        self._files.rm_file(path)

    def listed(self, folder: str) -> dict[str, float]:
        entries = self._entries(folder)
        return {f"{folder}/{_last(e)}": _written_at(e) for e in entries if e["type"] == "file" and _last(e)}

    def folders(self, folder: str) -> list[str]:
        return sorted(_last(entry) for entry in self._entries(folder) if entry["type"] == "directory")

    def beginning_at_path(self, length: int) -> bytes:
        with self._in_words():
            try:
                about = self._files.info(self._base)
                end = min(length, about.get("size") or 0)
                if about["type"] != "file" or not end:
                    return b""
                beginning: bytes = self._files.cat_file(self._base, start=0, end=end)
            except FileNotFoundError:
                return b""
        return beginning

    def _entries(self, folder: str) -> list[dict[str, Any]]:
        with self._in_words():
            try:
                return list(self._files.ls(self._path(folder), detail=True))
            except FileNotFoundError:
                return []

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"

    @property
    def _files(self) -> Any:
        return _file_system(os.getpid(), self._protocol, repr(sorted(self._options.items())), self._options)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Turns the errors of fsspec and of the cloud's client into errors of this package, without secrets."""
        try:
            yield
        except FeastAssetsError:
            raise
        except Exception as error:  # noqa: BLE001 - the clients have no error class in common
            reason = without_secrets(f"{type(error).__name__}: {error}".splitlines()[0], self._secrets)
            problem = StoreUnavailableError(f"Registry {self._url} cannot be used: {reason}")
        else:
            return
        # Outside of the handler: the client's error may hold what it logged in with.
        raise problem


def _secrets_of(options: object) -> Iterator[str]:
    """Yields the texts in options that messages must not show: all but URLs, and the parts of connection strings."""
    if isinstance(options, Mapping):
        for value in options.values():
            yield from _secrets_of(value)
    elif isinstance(options, str) and "://" not in options[:8]:
        yield options
        yield from (part.partition("=")[2] for part in options.split(";") if "=" in part)


_opening = threading.Lock()
_opened: dict[tuple[int, str, str], Any] = {}


def _file_system(process: int, protocol: str, options_text: str, options: Mapping[str, Any]) -> Any:
    """Returns an fsspec file system, one for all registries of a process with the same login: making one is slow.

    A forked process gets its own, since connections belong to a thread of its parent.
    """
    key = process, protocol, options_text
    with _opening:
        if key not in _opened:
            import fsspec

            _opened[key] = fsspec.filesystem(protocol, skip_instance_cache=True, use_listings_cache=False, **options)
        return _opened[key]


def _last(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def _written_at(entry: Mapping[str, Any]) -> float:
    """Returns when an object was written, in seconds; 0 where the store does not say."""
    for key in ("LastModified", "last_modified", "updated", "mtime"):
        value = entry.get(key)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return 0.0
