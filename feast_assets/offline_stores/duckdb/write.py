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
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from feast_assets.atomic_files import locked, new_file, remove_abandoned, writing
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import (
    FeastAssetsError,
    InputError,
    NotSupportedError,
    SourceError,
    StoreUnavailableError,
    printable,
    suggest,
)
from feast_assets.offline_stores.declared_columns import check_written, like
from feast_assets.offline_stores.duckdb.engine import failure_of, literal, read_schema
from feast_assets.offline_stores.files.source_files import SourceFiles, writable_files

if TYPE_CHECKING:
    import duckdb


def append(
    cursor: duckdb.DuckDBPyConnection, source: DataSource, root: Path, rows: pa.Table, *, key: str | None = None
) -> None:
    """Appends rows to a source, whole or not at all.

    A folder (or the folder of a glob) gets a new file; a single file is written anew beside the old one, which it then
    replaces.

    Args:
        key: names the rows, which are then written at most once. In a folder it is the name of their file; in a single
            file or a Delta table a row is left out if there is one that is equal in all columns.

    Raises:
        InputError: the columns are not the source's own.
        NotSupportedError: the source cannot be appended to.
        StoreUnavailableError: the disk is full, or writing is not permitted.
    """
    files = writable_files(source, root)
    if files.format != "delta" and files.shape != "file":
        _add_file(files, source, rows, key)
        return
    path = Path(files.path)
    with writing(path):
        (path if files.format == "delta" else path.parent).mkdir(parents=True, exist_ok=True)
    with locked(path):
        rows = _fitted(cursor, files, source, rows)
        if key is not None:
            rows = _unwritten(cursor, files, source, rows)
            if not rows.num_rows:
                return
        if files.format == "delta":
            _append_delta(files, rows)
        elif files.format == "csv":
            _append_csv(path, rows)
        else:
            _append_to_parquet(path, rows)


def check_append(cursor: duckdb.DuckDBPyConnection, source: DataSource, root: Path, rows: pa.Table) -> None:
    """Raises the error that `append` would raise because of the rows or the kind of the source; writes nothing."""
    files = writable_files(source, root)
    rows = _fitted(cursor, files, source, rows)
    if files.format == "csv":
        _write_csv(rows.slice(0, 0), pa.BufferOutputStream(), files.subject, include_header=False)


def is_appended(cursor: duckdb.DuckDBPyConnection, source: DataSource, root: Path, rows: pa.Table, key: str) -> bool:
    """Says whether `append` with this key would find nothing to write. False where the source is not there."""
    files = writable_files(source, root)
    if files.format != "delta" and files.shape != "file":
        return _holds(_named_file(files, key), rows)
    if not _exists(files):
        return False
    return not _unwritten(cursor, files, source, _fitted(cursor, files, source, rows)).num_rows


def _fitted(cursor: duckdb.DuckDBPyConnection, files: SourceFiles, source: DataSource, rows: pa.Table) -> pa.Table:
    """Returns rows with the columns, their order and their types of what is stored; as they are where nothing is."""
    if files.format != "delta" and files.shape != "file":
        return fitted_to_folder(files, source, rows)
    if not _exists(files):
        check_new(rows, source, files.subject)
        return rows
    if files.format == "delta":
        return like(rows, _delta_dataset(files).schema, files.subject)
    if files.format == "csv":
        names = _csv_names(cursor, files)
        check_written(rows, names, files.subject)
        return rows.select(names)
    return like(rows, _parquet_schema(files, files.path), files.subject)


def _unwritten(cursor: duckdb.DuckDBPyConnection, files: SourceFiles, source: DataSource, rows: pa.Table) -> pa.Table:
    """Returns the fitted rows that a single file or a Delta table does not hold yet."""
    import duckdb

    from feast_assets.offline_stores.duckdb.unwritten import rows_not_in, rows_not_in_csv

    if not _exists(files):
        return rows
    try:
        if files.format == "csv":
            return rows_not_in_csv(cursor, rows, Path(files.path))
        stored = (
            _delta_dataset(files)
            if files.format == "delta"
            else ds.dataset(files.path, schema=rows.schema, format="parquet")
        )
        return rows_not_in(cursor, rows, stored, source.timestamp_field)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        if isinstance(error, FeastAssetsError):
            raise
        raise failure_of(error, files.subject, SourceError, (files.path,)) from error


def _exists(files: SourceFiles) -> bool:
    """Says whether a single file or a Delta table is there; a CSV file that is empty is not."""
    if files.format == "delta":
        return bool(_deltalake(files).DeltaTable.is_deltatable(files.path))
    path = Path(files.path)
    return path.exists() and (files.format != "csv" or path.stat().st_size > 0)


def _add_file(files: SourceFiles, source: DataSource, rows: pa.Table, key: str | None) -> None:
    folder, suffix = folder_of(files)
    rows = fitted_to_folder(files, source, rows)
    if key is None:
        path = folder / f"rows_{datetime.now(UTC):%Y%m%dT%H%M%S}_{uuid.uuid4().hex}{suffix}"
    else:
        path = _named_file(files, key)
        if _holds(path, rows):
            return
    # A file of fewer rows has lost some to a window that was replaced.
    with new_file(path, if_exists="replace" if path.exists() else "keep") as temporary:
        pq.write_table(rows, temporary)
    remove_abandoned(folder)


def fitted_to_folder(files: SourceFiles, source: DataSource, rows: pa.Table) -> pa.Table:
    """Returns rows with the columns of a folder's files; as they are where there are none yet.

    Raises:
        InputError: the columns are not the source's own, or a value does not fit.
        NotSupportedError: rows cannot be added to such a folder.
    """
    _refuse_folder(files)
    if files.paths:
        return like(rows, _parquet_schema(files, files.paths[-1]), files.subject)
    check_new(rows, source, files.subject)
    return rows


def _refuse_folder(files: SourceFiles) -> None:
    if files.format != "parquet":
        raise NotSupportedError(
            f"{files.subject}: rows can be added to a folder of Parquet files, not of {files.format}."
        )
    if files.hive_keys:
        raise NotSupportedError(
            f"{files.subject}: adding rows to a folder with {files.hive_keys[0]}=... subfolders is not supported."
        )
    folder_of(files)


def _named_file(files: SourceFiles, key: str) -> Path:
    folder, suffix = folder_of(files)
    return folder / f"push_{key}{suffix}"


def _holds(path: Path, rows: pa.Table) -> bool:
    """Says whether the file that rows are named by holds all of them."""
    try:
        return bool(pq.read_metadata(path).num_rows == rows.num_rows)
    except (pa.ArrowException, OSError):
        return False


def folder_of(files: SourceFiles) -> tuple[Path, str]:
    """Returns the folder that new files of a source go to, and how their names end.

    Raises:
        NotSupportedError: its path does not say that.
    """
    if files.shape == "folder":
        return Path(files.path), ".parquet"
    pattern = Path(files.path)
    if any(c in str(pattern.parent) for c in "*?[") or not pattern.name.startswith("*"):
        raise NotSupportedError(
            f"{files.subject}: rows can be added to a glob of one folder such as data/*.parquet, not to {files.path}."
        )
    suffix = pattern.name.lstrip("*")
    if any(c in suffix for c in "*?["):
        raise NotSupportedError(f"{files.subject}: {pattern.name} does not say how a new file would be named.")
    return pattern.parent, suffix


def _append_to_parquet(path: Path, rows: pa.Table) -> None:
    if not path.exists():
        with new_file(path) as temporary:
            pq.write_table(rows, temporary)
        return
    schema = rows.schema
    with new_file(path) as temporary, pq.ParquetFile(path) as old, pq.ParquetWriter(temporary, schema) as writer:
        for batch in old.iter_batches():
            writer.write_batch(batch.cast(schema))
        writer.write_table(rows)


def _csv_names(cursor: duckdb.DuckDBPyConnection, files: SourceFiles) -> list[str]:
    """Returns the columns of a CSV file.

    Raises:
        NotSupportedError: they are not separated by commas.
    """
    import duckdb

    path = literal(files.path)
    try:
        sniffed = cursor.execute(f"SELECT Delimiter FROM sniff_csv({path}, header = true)").fetchall()
        names: list[str] = read_schema(
            cursor, f"SELECT * FROM read_csv({path}, header = true, all_varchar = true)"
        ).names
    except duckdb.Error as error:
        raise failure_of(error, files.subject, SourceError, files.paths) from error
    if len(names) > 1 and sniffed[0][0] != ",":
        raise NotSupportedError(f"{files.subject}: rows can be added to comma-separated files only.")
    return names


def _append_csv(path: Path, rows: pa.Table) -> None:
    zipped = path.name.lower().endswith(".gz")
    opener: Any = gzip.open if zipped else open
    exists = path.exists() and path.stat().st_size > 0
    with new_file(path) as temporary:
        if exists:
            shutil.copyfile(path, temporary)
        with opener(temporary, "ab") as out:
            if exists and not _ends_with_newline(path, opener):
                out.write(b"\n")
            _write_csv(rows, out, f"File {path}", include_header=not exists)


def _write_csv(rows: pa.Table, out: object, subject: str, *, include_header: bool) -> None:
    import pyarrow.csv as csv

    try:
        csv.write_csv(rows, out, csv.WriteOptions(include_header=include_header))
    except pa.ArrowException as error:
        raise InputError(f"{subject}: these rows cannot be written as CSV: {printable(error)}") from error


def _ends_with_newline(path: Path, opener: Any) -> bool:
    last = b""
    with opener(path, "rb") as handle:
        while block := handle.read(1 << 20):
            last = block[-1:]
    return last in (b"", b"\n")


def _deltalake(files: SourceFiles) -> Any:
    try:
        import deltalake
    except ImportError as error:
        raise NotSupportedError(
            f"{files.subject}: Delta tables need the extra: pip install 'feast-assets[delta]'."
        ) from error
    return deltalake


def _delta_dataset(files: SourceFiles) -> ds.Dataset:
    deltalake = _deltalake(files)
    try:
        return deltalake.DeltaTable(files.path).to_pyarrow_dataset()
    except (deltalake.exceptions.DeltaError, OSError) as error:
        raise StoreUnavailableError(f"{files.subject}: the Delta table cannot be read: {printable(error)}") from error


def _append_delta(files: SourceFiles, rows: pa.Table) -> None:
    deltalake = _deltalake(files)
    try:
        deltalake.write_deltalake(files.path, rows, mode="append")
    except (deltalake.exceptions.DeltaError, OSError) as error:
        raise StoreUnavailableError(
            f"{files.subject}: the Delta table cannot be written: {printable(error)}"
        ) from error


def _parquet_schema(files: SourceFiles, path: str) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise failure_of(error, files.subject, SourceError, (path,)) from error


def check_new(rows: pa.Table, source: DataSource, subject: str) -> None:
    for name in (source.timestamp_field, source.created_timestamp_column):
        if name and name not in rows.column_names:
            raise InputError(f"{subject}: the rows have no column {name!r}. {suggest(name, rows.column_names)}")
