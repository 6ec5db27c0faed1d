"""Loading classes and functions by path, such as ``my_stores.MyOnlineStore``: of the repository, or installed."""

from __future__ import annotations

import importlib
import sys
import threading
import traceback
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from feast_assets.errors import reason_of, suggest

_IMPORTING = threading.RLock()
_MODULES: dict[tuple[Path | None, str], ModuleType] = {}


class ClassPathError(Exception):
    """There is no class at a path; the message is the end of a sentence that begins with the path."""


def load_class(path: str, root: Path | None) -> type:
    """Returns the class of a path, importing its module: the same class for the same path and folder, each time.

    Args:
        path: names of packages and a module, then of the class, with dots between.
        root: a folder whose modules come before those that are installed. They are separate from modules of the same
            names in other folders.

    Raises:
        ClassPathError: there is no such module, it does not import, or it has no such class.
    """
    module_name, _, class_name = path.rpartition(".")
    module = _module(module_name, root)
    named = getattr(module, class_name, None)
    location = getattr(module, "__file__", None) or module_name
    if named is None:
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise ClassPathError(f"there is no {class_name} in {location}. {suggest(class_name, classes)}")
    if not isinstance(named, type):
        raise ClassPathError(f"{class_name} in {location} is not a class, but of type {type(named).__name__}.")
    return named


def load_function(path: str, root: Path | None) -> Callable[..., object]:
    """Returns the function of a path, as `load_class` does a class; the last dot may be a colon.

    Raises:
        ClassPathError: there is no such module, it does not import, or it has no such function.
    """
    module_name, _, name = path.replace(":", ".").rpartition(".")
    if not module_name:
        raise ClassPathError("it must name a module and a function, such as my_formats.decode.")
    module = _module(module_name, root)
    function = getattr(module, name, None)
    if callable(function):
        loaded: Callable[..., object] = function
        return loaded
    location = getattr(module, "__file__", None) or module_name
    functions = [known for known, value in vars(module).items() if callable(value)]
    raise ClassPathError(f"there is no function {name} in {location}. {suggest(name, functions)}")


def _module(name: str, root: Path | None) -> ModuleType:
    root = None if root is None else root.resolve()
    try:
        with _IMPORTING:
            if (root, name) not in _MODULES:
                _MODULES[root, name] = _imported(name, root)
            return _MODULES[root, name]
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            folder = "" if root is None else f" in {root} or"
            raise ClassPathError(f"there is no module {missing!r}{folder} among the installed packages.") from error
        raise ClassPathError(
            f"its module needs the package {missing.partition('.')[0]!r}, which is not installed."
        ) from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise ClassPathError(
            f"its module does not import: {type(error).__name__} at {last.filename}:{last.lineno}: {reason_of(error)}"
        ) from error


def _imported(name: str, root: Path | None) -> ModuleType:
    top = name.partition(".")[0]
    if root is not None and PathFinder.find_spec(top, [str(root)]) is None:
        root = None
    others = _others_of_that_name(top, root)
    for other in others:
        del sys.modules[other]
    path = [] if root is None else [str(root)]
    sys.path[:0] = path
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    finally:
        for folder in path:
            sys.path.remove(folder)
        if others:
            for known in [known for known in sys.modules if known.partition(".")[0] == top]:
                del sys.modules[known]
            sys.modules.update(others)


def _others_of_that_name(top: str, root: Path | None) -> dict[str, ModuleType]:
    """Returns the modules imported under a top-level name that came from another place than the wanted one."""
    same_name = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == top}
    if root is not None:
        return {name: module for name, module in same_name.items() if not _is_below(module, root)}
    folders = {folder for folder, _ in _MODULES if folder is not None}
    return {name: module for name, module in same_name.items() if any(_is_below(module, f) for f in folders)}


def _is_below(module: ModuleType, root: Path) -> bool:
    file = getattr(module, "__file__", None)
    locations = [file] if file else list(getattr(module, "__path__", ()))
    return any(Path(location).resolve().is_relative_to(root) for location in locations)
