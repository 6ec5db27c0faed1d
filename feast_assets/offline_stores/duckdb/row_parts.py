"""The parts that hold a source's rows, and what single ones of them contribute to windows.

The hashes of rows depend on the types of columns, and these on all files that are read together: where one has
integers and another fractions, both are read as fractions. So of each part it is told how its columns are read alone,
and of some parts how they are read together.
"""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.duckdb_source import DuckDBSource
from feast_assets.definitions.spec import content_hash
from feast_assets.definitions.window import ALWAYS, Bounds, duration_micros
from feast_assets.errors import NotSupportedError, SourceError
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb.engine import literal, quote, read_all
from feast_assets.offline_stores.duckdb.extent import footers_exclude_nulls
from feast_assets.offline_stores.duckdb.files import (
    ISO_ZONED,
    SourceTable,
    delta_dataset,
    delta_table,
    open_source,
    uri_dataset,
)
from feast_assets.offline_stores.duckdb.grid import number_columns
from feast_assets.offline_stores.duckdb.read_parts import ReadParts
from feast_assets.offline_stores.duckdb.rows import declared_types, rows_of
from feast_assets.offline_stores.duckdb.statistics import Content, content_of, hashable, untimed_content_of
from feast_assets.offline_stores.files.file_parts import part_of
from feast_assets.offline_stores.files.parquet_footers import footer_of
from feast_assets.offline_stores.files.source_files import SourceFiles, find_files
from feast_assets.offline_stores.part_summaries import MOST_ROWS, NOTHING, Contributions, PartSummaries
from feast_assets.offline_stores.parts import Part
from feast_assets.offline_stores.window_numbers import FIRST_MOMENT, LAST_MOMENT, WindowNumbers

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt

_PLAIN_READER_VERSION = 2
"""Of Delta tables of which a file, once written, counts whole; newer ones name the features that a reader must know."""
_NUMBER = re.compile(r"^[0-9]{1,18}$")
_DAY = re.compile(r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$")


def row_parts(source: DataSource, root: Path) -> list[Part] | None:
    """Returns the files that hold a source's rows; of a Delta table, those that its log says count now.

    Returns:
        None of a DuckDB file, of a source that is not there, and where the system does not tell when files change.
    """
    if isinstance(source, DuckDBSource):
        return None
    try:
        files = find_files(source, root)
        if files.format == "delta":
            return _delta_parts(files)
        if files.shape == "uri":
            return _uri_parts(files, source)
        return [part_of(path) for path in files.paths]
    except (SourceError, NotSupportedError, OSError, pa.ArrowException):
        return None  # reading it tells what is wrong


def _delta_parts(files: SourceFiles) -> list[Part]:
    """Returns the files that a Delta table's log says count now.

    Raises:
        SourceError: the table has what cannot be read, such as vectors of deleted rows, which leave files as they are.
    """
    table = delta_table(files)
    if table.protocol().min_reader_version > _PLAIN_READER_VERSION:
        delta_dataset(files)
    actions = pa.table(table.get_add_actions(flatten=True)).select(["path", "size_bytes", "modification_time"])
    # Files are written once, but what of them counts changes with the table's columns.
    columns = content_hash(table.schema().to_json())[:16]
    return [
        Part(unquote(path), f"{size}:{modified}:{columns}", size=size)
        for path, size, modified in zip(*(column.to_pylist() for column in actions.columns), strict=True)
    ]


def _uri_parts(files: SourceFiles, source: DataSource) -> list[Part] | None:
    data: Any = uri_dataset(files, source)
    columns = content_hash(data.schema.to_string())[:16]
    parts = []
    for info in data.filesystem.get_file_info(data.files):
        if info.mtime_ns is None or info.size is None:
            return None
        parts.append(Part(info.path, f"{info.size}:{columns}", changed=info.mtime_ns, size=info.size))
    return parts


def read_alone(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    source: DataSource,
    root: Path,
    parts: Sequence[Part],
    tables: list[SourceTable],
) -> list[str]:
    """Returns for each part a text that tells how its columns are read if nothing else is."""
    files = find_files(source, root, only=[part.name for part in parts])
    known: dict[str, tuple[str, bool]] = {}
    texts = []
    for part in parts:
        alike = _alike(files, part)
        text, is_of_rows = known.get(alike, ("", True))
        if is_of_rows:
            text, is_of_rows = _reading(cursor, history, source, root, [part], tables)
            known[alike] = text, is_of_rows
        texts.append(text)
    return texts


def _alike(files: SourceFiles, part: Part) -> str:
    """Returns a text that only parts share whose columns have the same types, as far as these do not depend on rows."""
    if files.format == "delta" or files.shape == "uri":
        return ""  # all have the table's columns
    return part.name if files.format == "csv" else footer_of(part.name).columns + _folders(files, part)


def _folders(files: SourceFiles, part: Part) -> str:
    """Returns what of the folders of a part may decide the types of columns that are written as folders."""
    if not files.hive_keys:
        return ""
    values = [each.partition("=")[2] for each in part.name.split(os.sep)[:-1] if "=" in each]
    return "|".join("number" if _NUMBER.match(v) else "day" if _DAY.match(v) else v for v in values)


def read_together(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    source: DataSource,
    root: Path,
    parts: Sequence[Part],
    tables: list[SourceTable],
) -> str:
    """Returns a text that tells how the columns of some parts are read together."""
    return _reading(cursor, history, source, root, parts, tables)[0]


def _reading(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    source: DataSource,
    root: Path,
    parts: Sequence[Part],
    tables: list[SourceTable],
) -> tuple[str, bool]:
    """Returns how the columns of some parts are read together, and whether their rows decide that too."""
    table = _open(cursor, history, source, root, parts, tables, part_numbers=False)
    needed = None if _covers_all_columns(history) else {*declared_types(history), table.timestamp, table.created}
    columns = [
        [f.name, str(f.type), f.name in table.texts]
        for f in sorted(table.schema, key=lambda f: f.name)
        if needed is None or f.name in needed
    ]
    zones = [_zones(cursor, table, name) for name in (table.timestamp, table.created)]
    return content_hash([columns, *zones])[:16], any(zones)


def _zones(cursor: duckdb.DuckDBPyConnection, table: SourceTable, name: str) -> list[bool]:
    """Returns whether times that are texts have zones, and whether they have none; they must not be mixed."""
    if name not in table.schema.names or not pa.types.is_string(table.schema.field(name).type):
        return []
    zoned = f"regexp_matches({quote(name)}, {literal(ISO_ZONED)})"
    row = read_all(cursor, f"SELECT bool_or({zoned}) AS zoned, bool_or(NOT {zoned}) AS naive FROM ({table.sql})")
    return [bool(row.column(0)[0].as_py()), bool(row.column(1)[0].as_py())]


def summarize_parts(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    source: DataSource,
    root: Path,
    parts: Sequence[Part],
    beside: Sequence[Part],
    grid: Partitions | None,
    tables: list[SourceTable],
    read_parts: ReadParts,
) -> PartSummaries | None:
    """Returns what some parts contribute to the windows of a grid; see `SummarizesParts.summarize_parts`.

    Args:
        read_parts: keeps the rows of parts that are small.
    """
    table = _open(cursor, history, source, root, [*parts, *beside], tables, part_numbers=True)
    if not table.part_numbers:
        return None
    rows = None if _covers_all_columns(history) else read_parts.read(cursor, history, table, [*parts, *beside])
    table = table if rows is None else rows.table(cursor, [*parts, *beside])
    content = _content(cursor, history, source, root, table, parts)
    windows = {"first_window": "CAST(CASE WHEN t IS NOT NULL THEN 0 END AS BIGINT)"}
    if grid is not None and table.timestamp:
        lookback = 0 if history.transformation is None else duration_micros(history.lookback)
        windows = number_columns(WindowNumbers(grid.grain, ALWAYS), lookback)
    by = ["part", *windows, "keyless"]
    keyless = " OR ".join(f"{key} IS NULL" for key in content.keys) or "false"
    # Rows in memory have no nested values, so nobody need ask for their types.
    expressions = content.hashed if rows is not None else hashable(cursor, content.sql, content.hashed)
    hashed = ", ".join(expressions) or "1"
    hashes = f"SELECT part, t, c, ({keyless}) AS keyless, hash({hashed}) AS h FROM ({content.sql})"
    columns = ", ".join(f"{expression} AS {name}" for name, expression in windows.items())
    result = read_all(
        cursor,
        f"SELECT {', '.join(by)}, count(*) AS n, min(t) AS oldest, max(t) AS newest, max(c) AS created, "
        "CAST(sum(h & 4294967295) AS HUGEINT) AS low, CAST(sum(h >> 32) AS HUGEINT) AS high, bit_xor(h) AS mix "
        f"FROM (SELECT *, {columns} FROM ({hashes})) GROUP BY {', '.join(by)}",
    )
    summaries = _summaries(result, len(parts))
    return None if summaries is None else replace(summaries, rows=rows)


def _summaries(result: pa.Table, parts: int) -> PartSummaries | None:
    import numpy as np

    from feast_assets.types.arrow_values import flags, null_flags

    part, rows = _integers(result["part"]), _integers(result["n"])
    if rows.sum() >= MOST_ROWS:
        return None
    here = part < parts
    undated = null_flags(result["oldest"].combine_chunks())
    null_times = np.zeros(parts, np.int64)
    np.add.at(null_times, part[undated & here], rows[undated & here])
    chosen = here & ~undated
    first, oldest, newest = (_integers(result[name]) for name in ("first_window", "oldest", "newest"))
    if ((oldest < FIRST_MOMENT) | (newest > LAST_MOMENT))[chosen].any():
        return None
    keyless = flags(result["keyless"].combine_chunks())

    def of_keyed(name: str, otherwise: int) -> npt.NDArray[np.int64]:
        return np.where(keyless, otherwise, _integers(result[name], otherwise))

    last = _integers(result["last_window"]) if "last_window" in result.column_names else first
    columns = [
        part,
        first,
        last,
        np.where(keyless, 0, rows),
        np.where(keyless, rows, 0),
        oldest,
        newest,
        of_keyed("created", NOTHING),
        of_keyed("low", 0),
        of_keyed("high", 0),
        of_keyed("mix", 0),
    ]
    order = np.lexsort((first, part))[chosen[np.lexsort((first, part))]]
    return PartSummaries(Contributions(*(column[order] for column in columns)), null_times.tolist())


def _integers(column: pa.ChunkedArray, null: int = 0) -> npt.NDArray[np.int64]:
    """Returns a column as int64; unsigned numbers keep their bits."""
    import numpy as np

    from feast_assets.types.arrow_values import fixed_values, null_flags

    whole = column.combine_chunks()
    if pa.types.is_unsigned_integer(column.type):
        return np.array(fixed_values(whole, "<u8")).view(np.int64)
    return np.where(null_flags(whole), null, fixed_values(whole.cast(pa.int64()), "<i8"))


def _open(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    source: DataSource,
    root: Path,
    parts: Sequence[Part],
    tables: list[SourceTable],
    *,
    part_numbers: bool,
) -> SourceTable:
    declared = None if _covers_all_columns(history) else declared_types(history)
    names = [part.name for part in parts]
    table = open_source(cursor, source, root, declared, only=names, part_numbers=part_numbers)
    tables.append(table)
    return table


def _content(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    source: DataSource,
    root: Path,
    table: SourceTable,
    parts: Sequence[Part],
) -> Content:
    if _covers_all_columns(history):
        return content_of(cursor, table, Bounds()) if table.timestamp else untimed_content_of(table)
    rows = rows_of(cursor, history, table, Bounds())
    hashed = [*rows.keys, *rows.features, "t", "c"]
    if footers_exclude_nulls(history, root, [part.name for part in parts]):
        return Content(rows.sql, hashed)
    return Content(rows.with_nulls, hashed, rows.keys)


def _covers_all_columns(history: History) -> bool:
    return history.transformation is not None or history.all_columns
