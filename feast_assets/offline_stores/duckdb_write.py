"""Appending rows to a source."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import gzip
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from feast_assets.definitions.data_source import DataSource
from feast_assets.errors import InputError, NotSupportedError, SourceError, StoreUnavailableError, suggest
from feast_assets.offline_stores.atomic_files import locked, new_file, remove_abandoned, writing
from feast_assets.offline_stores.duckdb_engine import failure_of, literal, read_schema
from feast_assets.offline_stores.source_files import SourceFiles, writable_files

if TYPE_CHECKING:
    import duckdb


def append(cursor: duckdb.DuckDBPyConnection, source: DataSource, root: Path, rows: pa.Table) -> None:
    """Appends rows to a source, whole or not at all.

    A folder (or the folder of a glob) gets a new file; a single file is written anew beside the old one, which it then
    replaces.

    Raises:
        InputError: the columns are not the source's own.
        NotSupportedError: the source cannot be appended to.
        StoreUnavailableError: the disk is full, or writing is not permitted.
    """
    files = writable_files(source, root)
    if files.format == "delta":
        _append_delta(files, rows)
    elif files.shape == "file":
        path = Path(files.path)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            if files.format == "csv":
                _append_csv(cursor, files, source, rows)
            else:
                _append_to_parquet(files, source, rows)
    else:
        _add_file(cursor, files, source, rows)


def _add_file(cursor: duckdb.DuckDBPyConnection, files: SourceFiles, source: DataSource, rows: pa.Table) -> None:
    if files.format != "parquet":
        raise NotSupportedError(f"{files.what}: rows can be added to a folder of Parquet files, not of {files.format}.")
    if files.hive_keys:
        raise NotSupportedError(
            f"{files.what}: adding rows to a folder with {files.hive_keys[0]}=... subfolders is not supported."
        )
    folder, suffix = _folder_of(files)
    if files.paths:
        rows = like(rows, _parquet_schema(files, files.paths[-1]), files.what)
    else:
        _check_new(rows, source, files.what)
    name = f"rows_{datetime.now(UTC):%Y%m%dT%H%M%S}_{uuid.uuid4().hex}{suffix}"
    with new_file(folder / name) as temporary:
        pq.write_table(rows, temporary)
    remove_abandoned(folder)


def _folder_of(files: SourceFiles) -> tuple[Path, str]:
    if files.shape == "folder":
        return Path(files.path), ".parquet"
    pattern = Path(files.path)
    if any(c in str(pattern.parent) for c in "*?[") or not pattern.name.startswith("*"):
        raise NotSupportedError(
            f"{files.what}: rows can be added to a glob of one folder such as data/*.parquet, not to {files.path}."
        )
    suffix = pattern.name.lstrip("*")
    if any(c in suffix for c in "*?["):
        raise NotSupportedError(f"{files.what}: {pattern.name} does not say how a new file would be named.")
    return pattern.parent, suffix


def _append_to_parquet(files: SourceFiles, source: DataSource, rows: pa.Table) -> None:
    path = Path(files.path)
    if not path.exists():
        _check_new(rows, source, files.what)
        with new_file(path) as temporary:
            pq.write_table(rows, temporary)
        return
    schema = _parquet_schema(files, files.path)
    added = like(rows, schema, files.what)
    with new_file(path) as temporary, pq.ParquetFile(path) as old, pq.ParquetWriter(temporary, schema) as writer:
        for batch in old.iter_batches():
            writer.write_batch(batch.cast(schema))
        writer.write_table(added)


def _append_csv(cursor: duckdb.DuckDBPyConnection, files: SourceFiles, source: DataSource, rows: pa.Table) -> None:
    import duckdb
    import pyarrow.csv as csv

    path = Path(files.path)
    zipped = path.name.lower().endswith(".gz")
    opener: Any = gzip.open if zipped else open
    exists = path.exists() and path.stat().st_size > 0
    if exists:
        try:
            sniffed = cursor.execute(f"SELECT Delimiter FROM sniff_csv({literal(str(path))}, header = true)").fetchall()
            names = read_schema(
                cursor, f"SELECT * FROM read_csv({literal(str(path))}, header = true, all_varchar = true)"
            ).names
        except duckdb.Error as error:
            raise failure_of(error, files.what, SourceError, files.paths) from error
        if len(names) > 1 and sniffed[0][0] != ",":
            raise NotSupportedError(f"{files.what}: rows can be added to comma-separated files only.")
        check_columns(rows, names, files.what)
        rows = rows.select(names)
    else:
        _check_new(rows, source, files.what)
    with new_file(path) as temporary:
        if exists:
            shutil.copyfile(path, temporary)
        with opener(temporary, "ab") as out:
            if exists and not _ends_with_newline(path, opener):
                out.write(b"\n")
            try:
                csv.write_csv(rows, out, csv.WriteOptions(include_header=not exists))
            except pa.ArrowException as error:
                raise InputError(f"{files.what}: these rows cannot be written as CSV: {error}") from error


def _ends_with_newline(path: Path, opener: Any) -> bool:
    last = b""
    with opener(path, "rb") as handle:
        while block := handle.read(1 << 20):
            last = block[-1:]
    return last in (b"", b"\n")


def _append_delta(files: SourceFiles, rows: pa.Table) -> None:
    try:
        import deltalake
    except ImportError as error:
        raise NotSupportedError(
            f"{files.what}: Delta tables need the extra: pip install 'feast-assets[delta]'."
        ) from error
    try:
        if deltalake.DeltaTable.is_deltatable(files.path):
            schema = pa.schema(deltalake.DeltaTable(files.path).to_pyarrow_dataset().schema)
            rows = like(rows, schema, files.what)
        deltalake.write_deltalake(files.path, rows, mode="append")
    except (deltalake.exceptions.DeltaError, OSError) as error:
        raise StoreUnavailableError(f"{files.what}: the Delta table cannot be written: {error}") from error


def _parquet_schema(files: SourceFiles, path: str) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise failure_of(error, files.what, SourceError, (path,)) from error


def _check_new(rows: pa.Table, source: DataSource, what: str) -> None:
    for name in (source.timestamp_field, source.created_timestamp_column):
        if name and name not in rows.column_names:
            raise InputError(f"{what}: the rows have no column {name!r}. {suggest(name, rows.column_names)}")


def check_columns(rows: pa.Table, wanted: list[str], what: str) -> None:
    """Checks that rows have just these columns, in any order.

    Raises:
        InputError: names those that are missing, and those too many.
    """
    there, expected = set(rows.column_names), set(wanted)
    missing = [n for n in wanted if n not in there]
    extra = [n for n in rows.column_names if n not in expected]
    if missing or extra or len(set(rows.column_names)) != rows.num_columns:
        parts = [f"missing {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"not in it {', '.join(map(repr, extra))}"] if extra else []
        raise InputError(
            f"{what}: the rows must have the source's own columns; {'; '.join(parts) or 'one is there twice'}."
        )


def like(rows: pa.Table, schema: pa.Schema, what: str) -> pa.Table:
    """Returns rows with the columns and types of a schema.

    Raises:
        InputError: the columns are others, or a value does not fit.
    """
    check_columns(rows, schema.names, what)
    columns = []
    for wanted in schema:
        column = rows.column(wanted.name)
        try:
            columns.append(_as_type(column, wanted.type))
        except (pa.ArrowException, ValueError) as error:
            raise InputError(
                f"{what}, column {wanted.name!r} holds {wanted.type}; the rows' {column.type} does not fit: {error}"
            ) from error
    return pa.table(columns, schema=schema)


def _as_type(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if column.type == wanted:
        return column
    if pa.types.is_timestamp(column.type) and pa.types.is_timestamp(wanted):
        # A naive time is UTC; Arrow would take it for a time in the wanted zone.
        if column.type.tz is None and wanted.tz is not None:
            column = column.cast(pa.timestamp(column.type.unit, tz="UTC"))
        return column.cast(wanted, safe=column.type.unit != "ns")
    if pa.types.is_string(column.type) and not pa.types.is_string(wanted) and not pa.types.is_large_string(wanted):
        raise ValueError("text is not converted.")
    if pa.types.is_struct(column.type) and pa.types.is_map(wanted):
        # Dicts come as a struct of all their keys; a key that a row does not have is null there.
        items = [
            None if row is None else [(k, v) for k, v in row.items() if v is not None] for row in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(items, wanted)])
    return column.cast(wanted)
