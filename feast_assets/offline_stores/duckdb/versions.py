"""Versions of a source's windows: from the files that hold them where their footers say which do, else by reading."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.duckdb_source import DuckDBSource
from feast_assets.definitions.spec import content_hash, to_micros
from feast_assets.definitions.window import ALWAYS, Bounds, Window, hull
from feast_assets.errors import SourceError, printable
from feast_assets.offline_stores.duckdb.files import open_source
from feast_assets.offline_stores.duckdb.grid import GridNumbers, joined
from feast_assets.offline_stores.duckdb.statistics import content_of, summarize_input
from feast_assets.offline_stores.files.changing_files import ReadFiles, changed_error
from feast_assets.offline_stores.files.parquet_footers import footer_of
from feast_assets.offline_stores.files.source_files import SourceFiles, find_files, stored_state

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class _StoredFile:
    """A file, the text that tells it from any other in its place, and the event times that it holds.

    Attributes:
        oldest, newest: UTC microseconds, both included; None where it has no rows with a time.
    """

    token: str
    oldest: int | None
    newest: int | None


def source_versions(
    cursor: duckdb.DuckDBPyConnection, source: DataSource, root: Path, windows: Sequence[Window]
) -> list[str]:
    """Returns a text for each window that changes when the source's rows in it do; see `OfflineStore.source_versions`.

    Args:
        windows: that do not overlap, in order of time.
    """
    # The file of a database holds other tables, too.
    in_files = not isinstance(source, DuckDBSource)
    if in_files and list(windows) == [ALWAYS] and (tokens := stored_state(source, root)):
        return [content_hash(sorted(tokens))[:32]]
    files = find_files(source, root)
    stored = _stored(files, source)
    if stored is None:
        return _read(cursor, source, root, windows)
    bounds = [Bounds.of(w) for w in windows]
    starts = [-(2**63) if b.start is None else b.start for b in bounds]
    ends = [2**63 if b.end is None else b.end for b in bounds]
    tokens_in: list[list[str]] = [[] for _ in windows]
    to_read: set[int] = set()
    for file in stored:
        if file.oldest is None or file.newest is None:
            continue
        first, last = bisect_right(ends, file.oldest), bisect_left(starts, file.newest + 1)
        if last - first > 1:
            to_read.update(range(first, last))
        elif last > first:
            tokens_in[first].append(file.token)
    versions = [content_hash(sorted(found))[:32] if found else "" for found in tokens_in]
    read = sorted(to_read)
    of_read = _read(cursor, source, root, [windows[i] for i in read])
    for place, version in zip(read, of_read, strict=True):
        versions[place] = version
    return versions


def grid_versions(
    cursor: duckdb.DuckDBPyConnection, source: DataSource, root: Path, grid: Partitions, span: Window
) -> dict[Window, str]:
    """Returns the versions of those windows of a grid that have rows; see `OfflineStore.grid_versions`."""
    numbers = GridNumbers(grid.grain, span)
    first, end = to_micros(span.start), to_micros(span.end)
    stored = _stored(find_files(source, root), source)
    tokens: dict[int, list[str]] = {}
    to_read: list[tuple[int, int]] = [(numbers.first, numbers.last)] if stored is None else []
    for file in stored or []:
        if file.oldest is None or file.newest is None or file.newest < first or file.oldest >= end:
            continue
        holds = numbers.number(max(file.oldest, first)), numbers.number(min(file.newest, end - 1))
        if holds[0] < holds[1]:
            to_read.append(holds)
        else:
            tokens.setdefault(holds[0], []).append(file.token)
    versions = {number: content_hash(sorted(found))[:32] for number, found in tokens.items()}
    for number, version in _read_grid(cursor, source, root, numbers, list(joined(to_read))):
        versions[number] = version
    return {numbers.window(number, number): versions[number] for number in sorted(versions)}


def _read_grid(
    cursor: duckdb.DuckDBPyConnection,
    source: DataSource,
    root: Path,
    numbers: GridNumbers,
    ranges: Sequence[tuple[int, int]],
) -> Iterator[tuple[int, str]]:
    """Yields the numbers of windows with rows, in some ranges of numbers, and their versions."""
    import duckdb

    if not ranges:
        return
    bounds = Bounds.of(numbers.window(ranges[0][0], ranges[-1][1]))
    table = open_source(cursor, source, root, bounds=bounds)
    if not table.known:
        return
    try:
        found, _ = numbers.grouped(cursor, content_of(cursor, table, bounds), 0)
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        raise table.failure(error) from error
    firsts = [first for first, _ in ranges]
    for each in found:
        place = bisect_right(firsts, each.first) - 1
        if place >= 0 and each.first <= ranges[place][1] and each.rows.rows:
            yield each.first, content_hash(each.rows.text())[:32]


def _read(cursor: duckdb.DuckDBPyConnection, source: DataSource, root: Path, windows: Sequence[Window]) -> list[str]:
    import duckdb

    if not windows:
        return []
    bounds = [Bounds.of(w) for w in windows]
    table = open_source(cursor, source, root, bounds=hull(bounds))
    try:
        summaries, _ = summarize_input(cursor, table, bounds)
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        raise table.failure(error) from error
    return [content_hash(s.text())[:32] if s.rows else "" for s in summaries]


def _stored(files: SourceFiles, source: DataSource) -> list[_StoredFile] | None:
    """Returns the files of a source with their times; None where they do not say."""
    if files.format != "parquet" or files.shape == "uri" or not source.timestamp_field:
        return None
    found = []
    read = ReadFiles(files.paths, pinned=False)
    for path in files.paths:
        try:
            stat = Path(path).stat()
            times = footer_of(path).times(source.timestamp_field)
        except (OSError, pa.ArrowException) as error:
            if read.have_changed():
                raise changed_error(files.what) from error
            raise SourceError(f"{files.what}: cannot read {path}: {printable(error)}") from error
        if times is None:
            return None
        token = f"{path}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"
        found.append(_StoredFile(token, *times))
    return found
