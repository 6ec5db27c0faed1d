"""The files of a Feast repository, rewritten: what changes, and what is left to do by hand."""

from __future__ import annotations

import difflib
import os
import tempfile
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from feast_assets.errors import ConfigError, InputError
from feast_assets.migration.imports import Finding, Rewritten, rewrite_imports
from feast_assets.migration.notebooks import rewrite_notebook

_SKIPPED = frozenset((".git", ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints", "site-packages"))
_CONFIG = "feature_store.yaml"


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
        """Puts the new text into the file, whole or not at all."""
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
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
        if _SKIPPED & set(file.relative_to(path).parts):
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                config = load_repo_config(file.parent, file)
                _ = config.registry, config.online_store, config.offline_store
            except ConfigError as error:
                yield file, str(error).removeprefix(f"{file}: ")
        for each in caught:
            yield file, str(each.message).removeprefix(f"{file}: ")


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in _SKIPPED and not f.startswith("."))
        files = (Path(folder, name) for name in sorted(names) if name.endswith((".py", ".ipynb")))
        found += [file for file in files if not file.is_symlink()]
    return found


def _migrated(file: Path) -> MigratedFile:
    text, encoding, rewritten = "", "utf-8", Rewritten("")
    try:
        if file.suffix == ".ipynb":
            text = file.read_bytes().decode()
            rewritten = rewrite_notebook(text)
        else:
            with open(file, "rb") as opened:
                encoding = tokenize.detect_encoding(opened.readline)[0]
            text = file.read_bytes().decode(encoding)
            rewritten = rewrite_imports(text)
    except (SyntaxError, ValueError, OSError) as error:
        line = (error.lineno if isinstance(error, SyntaxError) else None) or 1
        problem = Finding(line, f"Cannot be read, and was left as it is: {error}")
        return MigratedFile(file, text, text, encoding, (problem,) if "feast" in text else ())
    return MigratedFile(file, text, rewritten.text, encoding, tuple(rewritten.findings))
