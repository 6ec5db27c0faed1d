"""Writes a project from a template: all of it, or nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from feast_assets.cli.example_data import first_hour, write_driver_data
from feast_assets.errors import InputError

_SUFFIX = ".tmpl"
_DATA: dict[str, Callable[[Path, datetime], None]] = {"local": write_driver_data, "dagster": write_driver_data}


def scaffold(template: str, target: Path, project: str) -> None:
    """Makes a project folder.

    Args:
        template: a folder of ``feast_assets/cli/templates``.
        target: a folder that does not exist yet, or is empty.
        project: takes the place of ``@PROJECT@`` in the template's files. ``@START@`` becomes the day of the example
            data's first row, as the arguments of ``datetime``, and ``@FIRST_DAY@`` that day as ``2024-01-31``.

    Raises:
        InputError: the folder holds something, or cannot be written.
    """
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(f"{target} already exists and is not an empty folder; choose another name, or remove it.")
        parent = target.resolve().parent
        parent.mkdir(parents=True, exist_ok=True)
        # Made beside its place and moved there as the last step, so that a half-written project is never found.
        with tempfile.TemporaryDirectory(prefix=".feast-assets-init-", dir=parent) as staging:
            made = Path(staging, "project")
            now = datetime.now(UTC)
            first = first_hour(now)
            words = {"@PROJECT@": project, "@START@": f"{first.year}, {first.month}, {first.day}"}
            words["@FIRST_DAY@"] = f"{first:%Y-%m-%d}"
            _copy(files("feast_assets.cli") / "templates" / template, made, words)
            if template in _DATA:
                _DATA[template](made / "feature_repo" / "data", now)
            os.replace(made, target)
    except OSError as error:
        raise InputError(f"The project cannot be written to {target}: {error.strerror or error}.") from error


def _copy(source: Traversable, target: Path, words: Mapping[str, str]) -> None:
    target.mkdir()
    for entry in source.iterdir():
        if entry.is_dir():
            _copy(entry, target / entry.name, words)
        elif entry.name.endswith(_SUFFIX):
            text = entry.read_text(encoding="utf-8")
            for word, value in words.items():
                text = text.replace(word, value)
            (target / entry.name.removesuffix(_SUFFIX)).write_text(text, encoding="utf-8")
