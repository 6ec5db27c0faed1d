"""The change token of one table of a DuckDB file.

All tables of a database are in one file, which changes when any of them does. Another table's change must not count as
a change of the source. So the source's content is summarized when it is read, and again when the file has changed.
While the summary is the same, so is the table's change token.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from feast_assets.definitions.sources.duckdb_source import DuckDBSource


@dataclass(frozen=True, slots=True)
class _SeenTable:
    """What was last seen of a source.

    Attributes:
        file: the change token of the file.
        table: the change token of the source.
        content: a summary of its rows; None as long as nobody has read them since the token was asked for.
    """

    file: str
    table: str
    content: str | None = None


_LOCK = threading.Lock()
_seen: dict[tuple[str, str, str], _SeenTable] = {}


def file_change_token(path: str) -> str:
    """Returns the change token of a DuckDB file; "" where there is none.

    What was committed and is not yet in the file itself is in a file beside it, which counts as well.
    """
    parts = []
    for each in (path, f"{path}.wal"):
        try:
            status = os.stat(each)
        except OSError:
            continue
        parts.append(f"{each}:{status.st_size}:{status.st_mtime_ns}:{status.st_ino}")
    return "|".join(parts) if parts and parts[0].startswith(f"{path}:") else ""


def observe(source: DuckDBSource, path: str, summarize: Callable[[], str]) -> None:
    """Notes what a source holds; called while the file is open, so that it does not change.

    Nothing is read as long as nobody has asked for the source's change token.

    Args:
        path: of the file, absolute.
        summarize: reads the rows, and returns their fingerprint. It is called only where they may have changed since
            this was last called.
    """
    file, key = file_change_token(path), _key(source, path)
    known = _seen.get(key)
    if known is None or (known.content is not None and known.file == file):
        return
    content = summarize()
    with _LOCK:
        known = _seen[key]
        # Content that comes back after another one was seen gets a new token: somebody may have read the other one.
        stays = known.file == file if known.content is None else known.content == content
        _seen[key] = _SeenTable(file, known.table if stays else file, content)


def change_token_of(source: DuckDBSource, path: str, look: Callable[[], None]) -> str:
    """Returns the change token of a source; "" where there is no file.

    It is that of the file, or the one that the file had earlier, when the source had the same rows.

    Args:
        look: opens the source so that `observe` is called; does nothing where the source cannot be opened now.
    """
    file, key = file_change_token(path), _key(source, path)
    if not file:
        return ""
    with _LOCK:
        known = _seen.get(key)
        if known is None or (known.content is None and known.file != file):
            known = _seen[key] = _SeenTable(file, file)
    if known.file != file:
        look()
        known = _seen[key]
    return known.table if known.file == file_change_token(path) else file


def _key(source: DuckDBSource, path: str) -> tuple[str, str, str]:
    return path, source.table, source.query
