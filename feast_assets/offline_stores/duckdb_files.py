"""File sources as DuckDB queries: Parquet, CSV and Delta, with the source's field mapping applied."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feast_assets.definitions.data_source import DataSource, FileSource
from feast_assets.errors import (
    ConfigError,
    FeastAssetsError,
    NotSupportedError,
    SourceError,
    SourceWithoutFilesError,
)
from feast_assets.offline_stores.duckdb_engine import failure_of, literal, quote, read_all, read_schema
from feast_assets.offline_stores.source_files import SourceFiles, find_files
from feast_assets.types.feast_type import Bool, FeastType, Float32, Float64, Int32, Int64
from feast_assets.types.names import repeated_names

if TYPE_CHECKING:
    import duckdb

# Dates and times stay text, so that no reading of 01/02/2024 is ever guessed.
_CSV_TYPES = "['BOOLEAN', 'BIGINT', 'DOUBLE', 'VARCHAR']"
_CSV_INFERRED = (Bool, Int32, Int64, Float32, Float64)

ISO_TIME = (
    r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|UTC|[+-]\d{2}(:?\d{2})?))?)?$"  # what is unambiguous
)
ROW_ID = "feast_assets row id"
"""The column of row ids where they are asked for."""
_PLACES = frozenset(("file_index", "file_row_number"))
_ROW_IDS = f', file_index::BIGINT * {2**40} + file_row_number AS "{ROW_ID}"'

ISO_ZONED = r"\d{2}:\d{2}.*(Z|UTC|[+-]\d{2}(:?\d{2})?)$"


@dataclass(frozen=True, slots=True)
class SourceTable:
    """Rows that DuckDB can query.

    Attributes:
        what: what they are, for messages.
        sql: a query.
        schema: its columns.
        timestamp, created: the names of the time columns in it; "" where there is none.
        paths: the files read.
        error: the error class for data that is not as it should be.
        known: whether the columns are known; not so before the first file is written.
        columnar: whether reading some of the columns costs only these, and reading again gives the same rows.
        row_ids: whether the query also has `ROW_ID`, which is not in the schema: int64, the same whenever it is read.
    """

    what: str
    sql: str
    schema: pa.Schema
    timestamp: str
    created: str
    paths: tuple[str, ...] = ()
    date_partition: str = ""
    error: type[FeastAssetsError] = field(default=SourceError)
    known: bool = True
    columnar: bool = False
    row_ids: bool = False

    def failure(self, error: Exception) -> FeastAssetsError:
        return failure_of(error, self.what, self.error, self.paths)


def open_source(
    cursor: duckdb.DuckDBPyConnection,
    source: DataSource,
    root: Path,
    declared: Mapping[str, FeastType] | None = None,
    *,
    row_ids: bool = False,
) -> SourceTable:
    """Returns a source's rows, columns renamed by its field mapping.

    Args:
        declared: types of columns, by their names after the mapping. Only CSV heeds them, so that "007" stays a text
            where a text is declared.
        row_ids: whether rows should have ids, where their files give them some.

    Raises:
        SourceError: it does not exist, or cannot be read.
    """
    import duckdb

    files = find_files(source, root)
    mapping = source.field_mapping
    raw_declared = {raw: (declared or {}).get(mapping.get(raw, raw)) for raw in [*mapping, *(declared or {})]}
    times = [n for n in (source.timestamp_field, source.created_timestamp_column) if n]
    texts = [*times, *(n for n, t in raw_declared.items() if t is not None and t not in _CSV_INFERRED)]
    numbers = [n for n, t in raw_declared.items() if t in _CSV_INFERRED and n not in times]
    try:
        sql, known = _raw_query(cursor, files, source, texts, numbers, row_ids)
        schema = read_schema(cursor, sql) if known else pa.schema([])
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        raise failure_of(error, files.what, SourceError, files.paths) from error
    has_ids = ROW_ID in schema.names
    if has_ids and _PLACES.intersection(schema.names):
        # The files have columns of these names, which are no ids.
        return open_source(cursor, source, root, declared)
    if has_ids:
        schema = schema.remove(schema.get_field_index(ROW_ID))
    if known and mapping:
        sql, schema = _renamed(sql, schema, mapping, files.what, has_ids)

    def named(column: str) -> str:
        return mapping.get(column, column)

    return SourceTable(
        what=files.what,
        sql=sql,
        schema=schema,
        timestamp=named(source.timestamp_field),
        created=named(source.created_timestamp_column),
        paths=files.paths,
        date_partition=named(source.date_partition_column),
        known=known,
        columnar=files.format != "csv",
        row_ids=has_ids,
    )


def source_schema(cursor: duckdb.DuckDBPyConnection, source: DataSource, root: Path) -> pa.Schema:
    """Returns a source's columns after its field mapping.

    Text columns of CSV that hold only ISO times are timestamps; those that hold nothing have the null type.

    Raises:
        SourceWithoutFilesError: there is nothing to read columns from.
    """
    import duckdb

    table = open_source(cursor, source, root)
    if not table.known:
        raise SourceWithoutFilesError(
            f"{table.what}: there are no files yet, so its columns are not known. Declare the join keys' types, the "
            "features and the timestamp_field."
        )
    if find_files(source, root).format != "csv":
        return table.schema
    texts = [f.name for f in table.schema if pa.types.is_string(f.type)]
    if not texts:
        return table.schema
    tests = ", ".join(f"bool_and(regexp_matches({quote(n)}, {literal(ISO_TIME)}))" for n in texts)
    try:
        row = read_all(cursor, f"SELECT {tests} FROM ({table.sql})").to_pydict().values()
    except duckdb.Error as error:
        raise table.failure(error) from error
    kinds = {None: pa.null(), True: pa.timestamp("us", tz="UTC"), False: pa.string()}
    found = {name: kinds[only_times] for name, (only_times,) in zip(texts, row, strict=True)}
    return pa.schema([f.with_type(found.get(f.name, f.type)) for f in table.schema])


def _renamed(
    sql: str, schema: pa.Schema, mapping: Mapping[str, str], what: str, row_ids: bool
) -> tuple[str, pa.Schema]:
    names = [mapping.get(n, n) for n in schema.names]
    twice = repeated_names(names)
    if twice:
        raise SourceError(
            f"{what}: field_mapping gives two columns the name {twice[0]!r}; the source has a column of that name."
        )
    columns = ", ".join(f"{quote(raw)} AS {quote(n)}" for raw, n in zip(schema.names, names, strict=True))
    if row_ids:
        columns += f", {quote(ROW_ID)}"
    return f"SELECT {columns} FROM ({sql})", pa.schema([f.with_name(n) for f, n in zip(schema, names, strict=True)])


def _raw_query(
    cursor: duckdb.DuckDBPyConnection,
    files: SourceFiles,
    source: DataSource,
    texts: Sequence[str],
    numbers: Sequence[str],
    row_ids: bool,
) -> tuple[str, bool]:
    if files.format == "delta":
        return register(cursor, _delta_dataset(files)), True
    if files.shape == "uri":
        return register(cursor, _uri_dataset(files, source)), True
    if not files.paths:
        return "", False
    listed = "[" + ", ".join(literal(p) for p in files.paths) + "]"
    options = f"union_by_name = {_flag(len(files.paths) > 1)}, hive_partitioning = {_flag(bool(files.hive_keys))}"
    if files.format == "csv":
        sql = _csv_query(cursor, files, listed, options, texts, numbers)
    else:
        # DuckDB shows the places of rows only where they are named, right beside the files.
        sql = f"SELECT *{_ROW_IDS if row_ids else ''} FROM read_parquet({listed}, {options})"
    return _without_outer_keys(cursor, sql, files), True


def _csv_query(
    cursor: duckdb.DuckDBPyConnection,
    files: SourceFiles,
    listed: str,
    options: str,
    texts: Sequence[str],
    numbers: Sequence[str],
) -> str:
    options += f", header = true, auto_type_candidates = {_CSV_TYPES}"
    whole = f"SELECT * FROM read_csv({listed}, {options}, sample_size = -1)"
    # Looking through the whole file for types is done once; the query itself is told what was found.
    found = {
        str(name): "VARCHAR" if name in texts else str(kind)
        for name, kind, *_ in cursor.execute(f"DESCRIBE {whole}").fetchall()
        if name not in files.hive_keys
    }
    # A column without values looks like text; where a number is declared, it is one of which there are none yet.
    doubtful = [n for n in numbers if found.get(n) == "VARCHAR"]
    if doubtful:
        counts = ", ".join(f"count({quote(n)})" for n in doubtful)
        (row,) = cursor.execute(f"SELECT {counts} FROM ({whole})").fetchall()
        found |= {n: "BIGINT" for n, count in zip(doubtful, row, strict=True) if not count}
    types = "{" + ", ".join(f"{literal(n)}: {literal(t)}" for n, t in found.items()) + "}"
    return f"SELECT * FROM read_csv({listed}, {options}, types = {types})"


def _without_outer_keys(cursor: duckdb.DuckDBPyConnection, sql: str, files: SourceFiles) -> str:
    """Takes away columns that DuckDB makes of ``key=value`` folders above the source's own path."""
    if not files.hive_keys:
        return sql
    within = set(files.hive_keys)
    parts = files.paths[0].split(os.sep)[:-1]
    outer = {p.partition("=")[0] for p in parts if "=" in p} - within
    there = set(read_schema(cursor, sql).names)
    dropped = ", ".join(quote(n) for n in sorted(outer & there))
    return f"SELECT * EXCLUDE ({dropped}) FROM ({sql})" if dropped else sql


def register(cursor: duckdb.DuckDBPyConnection, data: Any) -> str:
    """Returns a query over an Arrow table, dataset or reader."""
    name = f"source_{uuid.uuid4().hex}"
    cursor.register(name, data)
    return f"SELECT * FROM {name}"


def _delta_dataset(files: SourceFiles) -> Any:
    try:
        import deltalake
    except ImportError as error:
        raise ConfigError(f"{files.what}: Delta tables need the extra: pip install 'feast-assets[delta]'.") from error
    try:
        return deltalake.DeltaTable(files.path).to_pyarrow_dataset()
    except deltalake.exceptions.TableNotFoundError as error:
        raise SourceError(f"{files.what}: there is no Delta table at {files.path}.") from error
    except deltalake.exceptions.DeltaError as error:
        raise SourceError(f"{files.what}: the Delta table cannot be read: {error}") from error


def _uri_dataset(files: SourceFiles, source: DataSource) -> Any:
    import pyarrow.dataset as ds
    import pyarrow.fs as fs

    endpoint = source.s3_endpoint_override if isinstance(source, FileSource) else None
    try:
        if files.path.startswith("s3://") and endpoint:
            scheme = "http" if endpoint.startswith("http://") else "https"
            system = fs.S3FileSystem(endpoint_override=endpoint.split("://")[-1], scheme=scheme)
            path = files.path.removeprefix("s3://")
        else:
            system, path = fs.FileSystem.from_uri(files.path)
    except pa.ArrowInvalid as error:
        raise NotSupportedError(f"{files.what}: this kind of URI is not supported: {error}") from error
    return ds.dataset(path, filesystem=system, format=files.format, partitioning="hive")


def _flag(value: bool) -> str:
    return "true" if value else "false"
