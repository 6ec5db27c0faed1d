"""Importing the modules of one directory, apart from everything else in the process."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Self

from feast_assets.errors import RepositoryError
from feast_assets.repository.import_effects import ImportEffects

_LOADING = threading.RLock()
_PRIVATE = "_feature_repository_"


class _Here(threading.local):
    """The repository files that this thread is running, the outermost first."""

    def __init__(self) -> None:
        self.files: list[Path] = []


_HERE = _Here()


class ReentryError(RepositoryError):
    """A file of a feature repository loads the repository while it is imported as a part of it."""


def refuse_reentry() -> None:
    """Refuses to load a repository for a file that is being imported by such loading.

    Raises:
        ReentryError: names the file and its line.
    """
    if not _HERE.files:
        return
    file = _HERE.files[-1]
    lines = [f.lineno for f in traceback.extract_stack() if f.filename == str(file)]
    raise ReentryError(
        f"{file.name}:{lines[-1] if lines else 1} applies the feature repository, or reads features that need it, "
        "while the repository is importing this file. Put that below `if __name__ == '__main__':`, or name the file "
        "in .feastignore.",
        name=file.stem,
        path=str(file),
    )


def running_file() -> Path | None:
    """Returns the file of the script that runs this process; None in a notebook or at a prompt."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not file:
        return None
    # The file itself may be a link, which is then another file of the repository than what it links to.
    return Path(file).parent.resolve() / Path(file).name


class RepositoryModules(MetaPathFinder):
    """While entered, imports find the modules of a directory before all others; afterwards they are forgotten.

    A file is one module, whatever names it is imported by: in a directory with an ``__init__.py`` both ``entities`` and
    ``directory.entities``. Only one directory at a time is entered in a process; others wait.

    Args:
        running: the file of the script that runs this process, to have its module as it is instead of importing it.
        effects: watches what files do while they are imported.
    """

    def __init__(
        self, root: Path, files: Sequence[Path], running: Path | None = None, effects: ImportEffects | None = None
    ):
        self._effects = effects
        self._root = root
        self._files = {f.relative_to(root) for f in files}
        self._package = root.name if (root / "__init__.py").is_file() and root.name.isidentifier() else ""
        self._also = root.name if root.name.isidentifier() and not (root / root.name).exists() else ""
        self._by_file: dict[Path, ModuleType] = {} if running is None else {running: sys.modules["__main__"]}
        self._odd: dict[str, Path] = {}
        self._names: set[str] = set()

    def __enter__(self) -> Self:
        refuse_reentry()
        _LOADING.acquire()
        self._path, self._modules = list(sys.path), dict(sys.modules)
        tops = {entry.name.removesuffix(".py") for entry in self._root.iterdir()} | {self._root.name}
        for name in list(sys.modules):
            top = name.partition(".")[0]
            if top in tops and self.find_spec(top) is not None:
                del sys.modules[name]
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)
        for name in self._names:
            sys.modules.pop(name, None)
        for name, module in self._modules.items():
            sys.modules.setdefault(name, module)
        sys.path[:] = self._path
        _LOADING.release()

    def load(self, file: Path) -> ModuleType:
        """Returns the module of a file, importing it if no other file has."""
        if file in self._by_file:
            return self._by_file[file]
        return importlib.import_module(self._name(file))

    def file_of(self, module: str) -> Path | None:
        """Returns the file of a module that may have been imported otherwise than by this object, if there is one."""
        for file in self._files:
            if self._name(self._root / file) == module:
                return self._root / file
        parts = module.split(".")
        for above in range(len(parts)):
            # Names of the directories that lead to the root may come before the path below it.
            if tuple(parts[:above]) == self._root.parts[len(self._root.parts) - above :]:
                file = Path(*parts[above:-1], f"{parts[-1]}.py")
                if file in self._files:
                    return self._root / file
        return None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self._file(fullname)
        if file is None:
            return None
        self._names.add(fullname)
        if file.suffix != ".py":
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(file)]
            return spec
        if file in self._by_file:
            return ModuleSpec(fullname, _Again(self._by_file[file]), origin=str(file))
        package = [str(file.parent)] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            fullname,
            file,
            loader=_Source(fullname, file, self._by_file, self._effects),
            submodule_search_locations=package,
        )

    def _name(self, file: Path) -> str:
        parts = list(file.relative_to(self._root).with_suffix("").parts)
        if any("." in part for part in parts):
            name = f"{_PRIVATE}.{'_'.join(parts).replace('.', '_')}"
            self._odd[name] = file
            return name
        if self._package:
            return ".".join([self._package, *parts])
        return ".".join(parts) if self._may_take(parts[0]) else ".".join([_PRIVATE, *parts])

    def _file(self, fullname: str) -> Path | None:
        """Returns the file, or the directory of a package without ``__init__.py``, that a name stands for."""
        if fullname in self._odd:
            return self._odd[fullname]
        parts = fullname.split(".")
        if parts[0] in (self._package, _PRIVATE) or (parts[0] == self._also and self._may_take(parts[0])):
            if len(parts) == 1:
                return self._root / "__init__.py" if self._package == parts[0] else self._root
            parts = parts[1:]
        elif not self._may_take(parts[0]):
            return None
        path = self._root.joinpath(*parts)
        for file in (path / "__init__.py", path.with_name(path.name + ".py")):
            if file.is_file():
                return file
        prefix = Path(*parts)
        return path if any(f.is_relative_to(prefix) for f in self._files) else None

    def _may_take(self, top: str) -> bool:
        """Says whether a name may stand for the repository's module rather than somebody else's."""
        if top == "feast_assets" or top in sys.stdlib_module_names:
            return False
        if (self._root / f"{top}.py").is_file() or (self._root / top / "__init__.py").is_file():
            return True
        # A directory that is no package gives way to a package of that name, as it does for Python.
        elsewhere = PathFinder.find_spec(top)
        return elsewhere is None or elsewhere.origin is None or Path(elsewhere.origin).is_relative_to(self._root)


class _Source(SourceFileLoader):
    """Runs a file as it is now, without bytecode on disk."""

    def __init__(
        self, fullname: str, file: Path, by_file: dict[Path, ModuleType], effects: ImportEffects | None = None
    ):
        self._effects = effects
        super().__init__(fullname, str(file))
        self._file = file
        self._by_file = by_file

    def get_code(self, fullname: str) -> CodeType | None:
        # Source lines are asked for when a definition keeps its function's text.
        linecache.cache.pop(self.path, None)
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        self._by_file[self._file] = module
        _HERE.files.append(self._file)
        try:
            with nullcontext() if self._effects is None else self._effects.watched(self._file):
                super().exec_module(module)
        except BaseException:
            del self._by_file[self._file]
            raise
        finally:
            _HERE.files.pop()


class _Again(Loader):
    """Gives a module that was imported under another name."""

    def __init__(self, module: ModuleType):
        self._module = module
        self._spec: Any = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
