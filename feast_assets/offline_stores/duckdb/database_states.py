"""Which state a table of a DuckDB file is in: told by the file's identity first, then by one scan of that table.

All tables of a database are in one file, which changes when any of them does. Another table's change must not count as
a change of the source. So the source's content is summarized when it is read, and again when the file has changed.
While the summary is the same, so is the state.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from feast_assets.definitions.sources.duckdb_source import DuckDBSource


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was last seen of a source.

    Attributes:
        identity: of the file.
        state: of the source.
        content: a summary of its rows; None as long as nobody has read them since the state was asked for.
    """

    identity: str
    state: str
    content: str | None = None


_LOCK = threading.Lock()
_seen: dict[tuple[str, str, str], _Seen] = {}


def identity_of(path: str) -> str:
    """Returns a text that another file in the place of a DuckDB file would not have; "" where there is none.

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

    Nothing is read as long as nobody has asked for the source's state.

    Args:
        path: of the file, absolute.
        summarize: reads the rows, and returns a text that differs if they do. It is called only where they may be
            others than when this was last called.
    """
    identity, key = identity_of(path), _key(source, path)
    known = _seen.get(key)
    if known is None or (known.content is not None and known.identity == identity):
        return
    content = summarize()
    with _LOCK:
        known = _seen[key]
        # Content that comes back after another one was seen is a new state: somebody may have read the other one.
        stays = known.identity == identity if known.content is None else known.content == content
        _seen[key] = _Seen(identity, known.state if stays else identity, content)


def state_of(source: DuckDBSource, path: str, look: Callable[[], None]) -> str:
    """Returns the state of a source, as a text; "" where there is no file.

    It is the file's identity, or that of an earlier state of the file in which the source had the same rows.

    Args:
        look: opens the source so that `observe` is called; does nothing where the source cannot be opened now.
    """
    identity, key = identity_of(path), _key(source, path)
    if not identity:
        return ""
    with _LOCK:
        known = _seen.get(key)
        if known is None or (known.content is None and known.identity != identity):
            known = _seen[key] = _Seen(identity, identity)
    if known.identity != identity:
        look()
        known = _seen[key]
    return known.state if known.identity == identity_of(path) else identity


def _key(source: DuckDBSource, path: str) -> tuple[str, str, str]:
    return path, source.table, source.query
