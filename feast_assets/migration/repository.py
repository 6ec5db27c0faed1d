"""The files of a Feast repository, rewritten: what changes, and what is left to do by hand."""

from __future__ import annotations

import difflib
import io
import os
import tempfile
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from feast_assets.errors import FeastAssetsError, InputError, printable
from feast_assets.migration.imports import Finding, Rewritten, rewrite_imports
from feast_assets.migration.notebooks import rewrite_notebook

_SKIPPED = frozenset((".git", ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints", "site-packages"))
_CONFIG = "feature_store.yaml"
_MOST_BYTES = {".py": 8 << 20, ".ipynb": 128 << 20}
"""How large a file may be that is looked into; a syntax tree takes a hundred times as much memory as its text."""


@dataclass(frozen=True, slots=True)
class MigratedFile:
    """One file of a repository.

    Attributes:
        path: the file.
        before, after: its text; equal where nothing changes.
        encoding: of the file.
        findings: what has to be looked at by hand.
    """

    path: Path
    before: str
    after: str
    encoding: str
    findings: tuple[Finding, ...]

    @property
    def changed(self) -> bool:
        return self.before != self.after

    def difference(self, root: Path) -> list[str]:
        """Returns the change as the lines of a unified diff; none where nothing changes."""
        name = self.path.relative_to(root).as_posix()
        return list(
            difflib.unified_diff(
                self.before.splitlines(), self.after.splitlines(), f"a/{name}", f"b/{name}", lineterm=""
            )
        )

    def write(self) -> None:
        """Puts the new text into the file, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        try:
            self._replace()
        except OSError as error:
            raise InputError(f"Cannot write {self.path}: {error.strerror}. The file is as it was.") from error

    def _replace(self) -> None:
        handle, name = tempfile.mkstemp(prefix=".feast-assets.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding=self.encoding, newline="") as file:
                file.write(self.after)
            os.chmod(name, self.path.stat().st_mode & 0o777)
            os.replace(name, self.path)
        except BaseException:
            os.unlink(name)
            raise


def migrated_files(path: Path) -> Iterator[MigratedFile]:
    """Yields the Python files and notebooks below a folder, or the one file, that import Feast or have findings.

    Virtual environments, caches and hidden folders are left alone, and so are links.

    Raises:
        InputError: there is no such path.
    """
    if not path.exists():
        raise InputError(f"There is no {path}.")
    for file in [path] if path.is_file() else _files(path):
        migrated = _migrated(file)
        if migrated.changed or migrated.findings:
            yield migrated


def configuration_findings(path: Path) -> Iterator[tuple[Path, str]]:
    """Yields for each ``feature_store.yaml`` below a folder what keeps it from being used, and what it says in vain."""
    from feast_assets.config import load_repo_config

    for file in sorted(path.rglob(_CONFIG)) if path.is_dir() else []:
        if _SKIPPED & set(file.relative_to(path).parts) or not file.is_file():
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                config = load_repo_config(file.parent, file)
                _ = config.registry, config.online_store, config.offline_store
            except FeastAssetsError as error:
                yield file, str(error).removeprefix(f"{file}: ")
        for each in caught:
            yield file, str(each.message).removeprefix(f"{file}: ")


def _files(root: Path) -> list[Path]:
    convertible: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in _SKIPPED and not f.startswith("."))
        files = (Path(folder, name) for name in sorted(names) if name.endswith((".py", ".ipynb")))
        # A pipe of such a name would be waited for.
        convertible += [file for file in files if not file.is_symlink() and file.is_file()]
    return convertible


def _migrated(file: Path) -> MigratedFile:
    text, encoding, rewritten = "", "utf-8", Rewritten("")
    try:
        data = _read(file)
        if b"feast" not in data:
            return MigratedFile(file, text, text, encoding, ())
        if file.suffix == ".ipynb":
            text = data.decode()
            rewritten = rewrite_notebook(text)
        else:
            encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
            text = data.decode(encoding)
            rewritten = rewrite_imports(text)
        rewritten.text.encode(encoding)
    except (SyntaxError, ValueError, LookupError, OSError, RecursionError, MemoryError) as error:
        line = (error.lineno if isinstance(error, SyntaxError) else None) or 1
        reason = "it is nested too deep" if isinstance(error, (RecursionError, MemoryError)) else printable(error)
        problem = Finding(line, f"Cannot be read, and was left as it is: {reason}")
        return MigratedFile(file, text, text, encoding, (problem,))
    return MigratedFile(file, text, rewritten.text, encoding, tuple(rewritten.findings))


def _read(file: Path) -> bytes:
    most = _MOST_BYTES.get(file.suffix, _MOST_BYTES[".py"])
    with file.open("rb") as opened:
        data = opened.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most >> 20} MiB")
    return data
