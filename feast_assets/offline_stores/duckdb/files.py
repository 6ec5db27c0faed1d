"""File sources as DuckDB queries: Parquet, CSV and Delta, with the source's field mapping applied."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import glob
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.duckdb_source import DuckDBSource
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import (
    ConfigError,
    FeastAssetsError,
    NotSupportedError,
    SourceError,
    SourceWithoutFilesError,
    StoreUnavailableError,
    printable,
)
from feast_assets.offline_stores.duckdb.engine import Cursor, failure_of, literal, quote, read_all, read_schema
from feast_assets.offline_stores.duckdb.text_columns import as_declared, is_converted
from feast_assets.offline_stores.files.changing_files import ReadFiles, changed_error, have_changed
from feast_assets.offline_stores.files.parquet_footers import footer_of
from feast_assets.offline_stores.files.source_files import SourceFiles, find_files, log_files
from feast_assets.types.arrow import stored_as_text
from feast_assets.types.feast_type import FeastType
from feast_assets.types.names import repeated_names

if TYPE_CHECKING:
    import deltalake
    import duckdb
    import pyarrow.dataset as ds

    from feast_assets.definitions.window import Bounds

# Dates and times stay text, so that no reading of 01/02/2024 is ever guessed.
_CSV_TYPES = "['BOOLEAN', 'BIGINT', 'DOUBLE', 'VARCHAR']"

ISO_TIME = (
    r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|UTC|[+-]\d{2}(:?\d{2})?))?)?$"  # what is unambiguous
)
ROW_ID = "feast_assets row id"
"""The column of row ids where they are asked for."""
ROWS_PER_FILE = 2**40
"""A row id of files is this times the number of the file, and the place of the row in it."""
FILE_NUMBER = "feast_assets file"
FILE_NAME = "feast_assets file name"
PLACE = "feast_assets place"
"""The columns of a row's file and of its place in it. Conditions on them leave out files and row groups unread."""
PART = "feast_assets part"
"""The column with the number of each row's part where parts are asked for."""
_PLACES = frozenset(("file_index", "file_row_number"))
_FILE = "filename"
"""The column in which DuckDB tells the file of a row; only right beside the files."""
_ROW_IDS = (
    f', file_index::BIGINT * {ROWS_PER_FILE} + file_row_number AS "{ROW_ID}", file_index AS "{FILE_NUMBER}", '
    f'file_row_number AS "{PLACE}", {_FILE} AS "{FILE_NAME}"'
)
_PARTS = f', file_index::BIGINT AS "{PART}"'
_HIDDEN = (ROW_ID, FILE_NUMBER, PLACE, FILE_NAME)

ISO_ZONED = r"\d{2}:\d{2}.*(Z|UTC|[+-]\d{2}(:?\d{2})?)$"


@dataclass(frozen=True, slots=True)
class SourceTable:
    """Rows that DuckDB can query.

    Attributes:
        subject: what they are, for messages.
        sql: a query.
        schema: its columns.
        timestamp, created: the names of the time columns in it; "" where there is none.
        paths: the files read.
        date_partition, date_partition_slack: the column with the day of a file, and how far event times may lie from
            it; "" and None where there is none, or it is not known.
        error: the error class for data that is not as it should be.
        known: whether the columns are known; not so before the first file is written.
        columnar: whether reading some of the columns costs only these, and reading again gives the same rows.
        row_ids: whether the query also has `ROW_ID`, which is not in the schema: int64, the same whenever it is read.
        part_numbers: whether the query also has `PART`, which is not in the schema: int64.
        places: whether the query also has `FILE_NUMBER`, `FILE_NAME` and `PLACE`, of which the row ids are made.
        folders: the columns that are names of ``key=value`` folders. Conditions on them leave out files, and the other
            files are numbered without these.
        texts: the columns that are stored as text, so that what is declared decides what they hold.
        files: what the rows are read from, as it was when reading began; empty where the rows are copied, or nobody can
            tell whether it changes.
    """

    subject: str
    sql: str
    schema: pa.Schema
    timestamp: str
    created: str
    paths: tuple[str, ...] = ()
    date_partition: str = ""
    date_partition_slack: timedelta | None = None
    error: type[FeastAssetsError] = field(default=SourceError)
    known: bool = True
    columnar: bool = False
    row_ids: bool = False
    part_numbers: bool = False
    places: bool = False
    folders: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    files: tuple[ReadFiles, ...] = ()

    def failure(self, error: Exception) -> FeastAssetsError:
        """Returns the error to raise of one of DuckDB, Arrow or the file system."""
        return _failure(error, self.subject, self.error, self.files, self.paths)

    def is_named_in(self, message: str) -> bool:
        """Says whether an error's message names one of the files."""
        for files in self.files:
            message = files.in_words(message)
        return any(path in message for path in self.paths)

    def has_changed(self) -> bool:
        """Says whether files were replaced, changed or removed since reading began."""
        return have_changed(self.files)

    def is_one_state(self) -> bool:
        """Says whether all that was read is of one state of the source, also where its files were replaced since."""
        return all(files.are_one_state() for files in self.files)

    def may_be_mixed(self) -> bool:
        """Says whether what was read without an error may be of two states of a file."""
        return any(files.may_be_mixed() for files in self.files)


def open_source(
    cursor: duckdb.DuckDBPyConnection,
    source: DataSource,
    root: Path,
    declared: Mapping[str, FeastType] | None = None,
    *,
    row_ids: bool = False,
    bounds: Bounds | None = None,
    may_be_absent: bool = False,
    only: Sequence[str] | None = None,
    part_numbers: bool = False,
) -> SourceTable:
    """Returns a source's rows, columns renamed by its field mapping.

    Args:
        declared: types of columns, by their names after the mapping. Columns that are stored as text are read as them;
            of the others in CSV files only the text is to be had. Left out, types are inferred from all the values that
            there are.
        row_ids: whether rows should have ids, where their files give them some.
        bounds: event times of the rows that are needed; others may be among those returned.
        may_be_absent: whether a table of a database that is not there is one without rows, as a folder is.
        only: names of the parts to read, see `feast_assets.offline_stores.duckdb.row_parts`; all of them with None.
        part_numbers: whether rows should have the number of their part, its place in ``only``.

    Raises:
        SourceError: it does not exist, or cannot be read.
        SourceChangedError: a part is not there any more.
    """
    import duckdb

    if isinstance(source, DuckDBSource):
        from feast_assets.offline_stores.duckdb.database_tables import open_database_table

        assert isinstance(cursor, Cursor)
        return open_database_table(
            cursor, source, root, declared, row_ids=row_ids, bounds=bounds, may_be_absent=may_be_absent
        )
    files = find_files(source, root, only=only)
    mapping = source.field_mapping
    times = [n for n in (source.timestamp_field, source.created_timestamp_column) if n]
    types = {raw: (declared or {}).get(mapping.get(raw, raw)) for raw in [*mapping, *(declared or {})]}
    as_text = _TextTypes(
        None if declared is None else {n: t for n, t in types.items() if t is not None and n not in times}, times
    )
    read = _read_files(files)
    try:
        request = _Request(row_ids, only, part_numbers)
        sql, texts, known = _raw_query(cursor, files, read, source, as_text, request)
        schema = read_schema(cursor, sql) if known else pa.schema([])
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        raise _failure(error, files.subject, SourceError, (read,), files.paths) from error
    has_ids, has_parts = ROW_ID in schema.names, PART in schema.names
    hidden = (*(_HIDDEN if has_ids else ()), *((PART,) if has_parts else ()))
    schema = pa.schema([f for f in schema if f.name not in hidden])
    own = {name.lower() for name in schema.names}
    if has_ids and _PLACES & own:
        # The files have columns of these names, which are no ids.
        return open_source(cursor, source, root, declared)
    if known and mapping:
        sql, schema = renamed(sql, schema, mapping, files.subject, hidden)

    def named(column: str) -> str:
        return mapping.get(column, column)

    return SourceTable(
        subject=files.subject,
        sql=sql,
        schema=schema,
        timestamp=named(source.timestamp_field),
        created=named(source.created_timestamp_column),
        paths=files.paths,
        date_partition=named(source.date_partition_column),
        date_partition_slack=source.date_partition_slack if isinstance(source, FileSource) else None,
        known=known,
        columnar=files.format != "csv",
        row_ids=has_ids,
        part_numbers=has_parts and "file_index" not in own,
        places=has_ids and _FILE not in own,
        folders=frozenset(map(named, files.hive_keys)),
        texts=frozenset(named(n) for n in (schema.names if texts is None else texts)),
        files=(read,),
    )


@dataclass(frozen=True, slots=True)
class _TextTypes:
    """As what columns are read that are stored as text.

    Attributes:
        declared: types by the columns' own names, without the times; None where all types are to be inferred.
        times: the columns that hold event times and created times.
    """

    declared: Mapping[str, FeastType] | None
    times: Sequence[str]

    def of(self, names: Iterable[str]) -> dict[str, FeastType]:
        """Returns the declared types of those columns that have one."""
        return {n: self.declared[n] for n in names if n in self.declared} if self.declared else {}


@dataclass(frozen=True, slots=True)
class _Request:
    """What a query should have; see `open_source`."""

    row_ids: bool = False
    only: Sequence[str] | None = None
    part_numbers: bool = False


def _read_files(files: SourceFiles) -> ReadFiles:
    if files.format == "delta":
        return ReadFiles((), pinned=False, watched=log_files(files))
    if files.shape == "uri":
        return ReadFiles((), pinned=False)
    # DuckDB takes columns and compression from names, which descriptors lack.
    suffixes = {os.path.splitext(path)[1].lower() for path in files.paths}
    nameless = not files.hive_keys and (files.format == "parquet" or suffixes in ({".csv"}, {".gz"}))
    return ReadFiles(files.paths, pinned=nameless)


def _failure(
    error: Exception,
    subject: str,
    kind: type[FeastAssetsError],
    files: Sequence[ReadFiles],
    paths: tuple[str, ...],
) -> FeastAssetsError:
    failure = failure_of(error, subject, kind, paths)
    if isinstance(failure, StoreUnavailableError):
        return failure
    if have_changed(files):
        return changed_error(subject)
    text = str(failure)
    for each in files:
        text = each.in_words(text)
    return type(failure)(text)


def source_schema(
    cursor: duckdb.DuckDBPyConnection, source: DataSource, root: Path, tables: list[SourceTable]
) -> pa.Schema:
    """Returns a source's columns after its field mapping.

    Text columns of CSV that hold only ISO times are timestamps; those that hold nothing have the null type.

    Args:
        tables: what is opened is added to it, for messages.

    Raises:
        SourceWithoutFilesError: there is nothing to read columns from.
    """
    import duckdb

    if isinstance(source, DuckDBSource):
        from feast_assets.offline_stores.duckdb.database_tables import database_schema

        assert isinstance(cursor, Cursor)
        return database_schema(cursor, source, root)
    table = open_source(cursor, source, root)
    tables.append(table)
    if not table.known:
        raise SourceWithoutFilesError(f"{table.subject}: there are no files yet.")
    schema = pa.schema([stored_as_text(f) if f.name in table.texts else f for f in table.schema])
    if table.columnar:
        return schema
    texts = [f.name for f in schema if pa.types.is_string(f.type)]
    if not texts:
        return schema
    tests = ", ".join(f"bool_and(regexp_matches({quote(n)}, {literal(ISO_TIME)}))" for n in texts)
    try:
        row = read_all(cursor, f"SELECT {tests} FROM ({table.sql})").to_pydict().values()
    except duckdb.Error as error:
        raise table.failure(error) from error
    kinds = {None: pa.null(), True: pa.timestamp("us", tz="UTC"), False: pa.string()}
    text_types = {name: kinds[only_times] for name, (only_times,) in zip(texts, row, strict=True)}
    return pa.schema([f.with_type(text_types.get(f.name, f.type)) for f in schema])


def check_texts(
    cursor: duckdb.DuckDBPyConnection,
    source: DataSource,
    root: Path,
    declared: Mapping[str, FeastType],
    tables: list[SourceTable],
) -> None:
    """Checks that numbers and truth values that are stored as text can be read as declared.

    Args:
        declared: types of columns, by their names after the mapping.
        tables: what is opened is added to it, for messages.

    Raises (also where the query runs):
        SourceError: a value cannot; it is named.
    """
    table = open_source(cursor, source, root, declared)
    tables.append(table)
    converted = [n for n, dtype in declared.items() if n in table.texts and is_converted(dtype)]
    if converted:
        read_all(cursor, f"SELECT {', '.join(f'count({quote(n)})' for n in converted)} FROM ({table.sql})")


def renamed(
    sql: str, schema: pa.Schema, mapping: Mapping[str, str], subject: str, hidden: Sequence[str]
) -> tuple[str, pa.Schema]:
    """Returns a query, and its columns, under the names that a field mapping gives them.

    Args:
        hidden: columns that it has as well, which keep their names.

    Raises:
        SourceError: two columns get one name.
    """
    names = [mapping.get(n, n) for n in schema.names]
    twice = repeated_names(names)
    if twice:
        raise SourceError(
            f"{subject}: field_mapping gives two columns the name {twice[0]!r}; the source has a column of that name."
        )
    columns = ", ".join(f"{quote(raw)} AS {quote(n)}" for raw, n in zip(schema.names, names, strict=True))
    columns = ", ".join([columns, *map(quote, hidden)])
    return f"SELECT {columns} FROM ({sql})", pa.schema([f.with_name(n) for f, n in zip(schema, names, strict=True)])


def _raw_query(
    cursor: duckdb.DuckDBPyConnection,
    files: SourceFiles,
    read: ReadFiles,
    source: DataSource,
    types: _TextTypes,
    request: _Request,
) -> tuple[str, tuple[str, ...] | None, bool]:
    """Returns a query of the columns by their own names, those that are stored as text, and whether there are any.

    Of the columns that are stored as text, None stands for all.
    """
    if files.format == "delta":
        return register_parts(cursor, delta_dataset(files), request, files.subject), (), True
    if files.shape == "uri":
        return _uri_query(cursor, files, source, types, request)
    if not files.paths:
        return "", (), False
    # Each is one file, though DuckDB would take a name such as a[1].parquet for a pattern.
    listed = "[" + ", ".join(literal(glob.escape(p)) for p in read.readable) + "]"
    # To unite columns by name, DuckDB reads all footers whenever it looks at a query.
    are_alike = request.row_ids and files.format == "parquet" and _have_same_columns(read.readable)
    options = f"{listed}, union_by_name = {_flag(len(files.paths) > 1 and not are_alike)}"
    options += f", hive_partitioning = {_flag(bool(files.hive_keys))}"
    keys = types.of(files.hive_keys)
    if keys:
        options += f", hive_types = {_listed_types(dict.fromkeys(keys, 'VARCHAR'))}"
    # DuckDB shows the places of rows only where they are named, right beside the files.
    more = _PARTS if request.part_numbers else ""
    if files.format == "csv":
        sql = _csv_query(cursor, files, options, types, more)
    else:
        more += _ROW_IDS if request.row_ids else ""
        sql = as_declared(f"read_parquet({options})", keys, folders=keys, file=_FILE, more=more)
    return _without_outer_keys(cursor, sql, files), None if files.format == "csv" else files.hive_keys, True


def _have_same_columns(paths: Sequence[str]) -> bool:
    """Says whether Parquet files are known to have the same columns, of the same types."""
    try:
        footers = [footer_of(path) for path in paths]
    except (OSError, pa.ArrowException):
        return False  # the query says what is wrong with it
    return all(footer.has_columns_of(footers[0]) for footer in footers)


def _csv_query(
    cursor: duckdb.DuckDBPyConnection, files: SourceFiles, options: str, types: _TextTypes, more: str
) -> str:
    if all(path.lower().endswith(".gz") for path in files.paths):
        options += ", compression = 'gzip'"
    options += ", header = true"
    if types.declared is not None:
        relation = f"read_csv({options}, all_varchar = true)"
        names = [str(name) for name, *_ in cursor.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()]
        return as_declared(relation, types.of(names), folders=files.hive_keys, file=_FILE, more=more)
    options += f", auto_type_candidates = {_CSV_TYPES}"
    whole = f"SELECT * FROM read_csv({options}, sample_size = -1)"
    # Looking through the whole file for types is done once; the query itself is told what was found.
    column_types = {
        str(name): "VARCHAR" if name in types.times else str(kind)
        for name, kind, *_ in cursor.execute(f"DESCRIBE {whole}").fetchall()
        if name not in files.hive_keys
    }
    return f"SELECT *{more} FROM read_csv({options}, types = {_listed_types(column_types)})"


def _listed_types(types: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{literal(n)}: {literal(t)}" for n, t in types.items()) + "}"


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


def register(cursor: duckdb.DuckDBPyConnection, data: object) -> str:
    """Returns a query over an Arrow table, dataset or reader."""
    name = f"source_{uuid.uuid4().hex}"
    cursor.register(name, data)
    return f"SELECT * FROM {name}"


def register_parts(
    cursor: duckdb.DuckDBPyConnection, data: ds.FileSystemDataset, request: _Request, subject: str
) -> str:
    """Returns a query over an Arrow dataset, or those of its files that are wanted.

    Raises:
        SourceChangedError: one of them is not there any more.
    """
    if request.only is None:
        return register(cursor, data)
    import pyarrow.dataset as ds

    fragments = {fragment.path: fragment for fragment in data.get_fragments()}
    if not fragments.keys() >= set(request.only):
        raise changed_error(subject)
    queries = []
    for number, path in enumerate(request.only):
        part = ds.FileSystemDataset([fragments[path]], data.schema, data.format, data.filesystem)
        numbered = f", CAST({number} AS BIGINT) AS {quote(PART)}" if request.part_numbers else ""
        queries.append(f"SELECT *{numbered} FROM ({register(cursor, part)})")
    return " UNION ALL ".join(queries) if queries else register(cursor, data.schema.empty_table())


def delta_dataset(files: SourceFiles) -> ds.FileSystemDataset:
    """Returns the present rows of a Delta table as an Arrow dataset.

    Raises:
        ConfigError: the package deltalake is not installed.
        SourceError: there is no table, or it cannot be read.
    """
    table = delta_table(files)
    with _delta_errors(files):
        return table.to_pyarrow_dataset()


def delta_table(files: SourceFiles) -> deltalake.DeltaTable:
    """Returns a Delta table as its log is now.

    Raises:
        ConfigError: the package deltalake is not installed.
        SourceError: there is no table, or it cannot be read.
    """
    with _delta_errors(files) as package:
        table: deltalake.DeltaTable = package.DeltaTable(files.path)
        return table


@contextmanager
def _delta_errors(files: SourceFiles) -> Iterator[ModuleType]:
    """Gives the package deltalake, and turns its errors into those of this package."""
    try:
        import deltalake
    except ImportError as error:
        raise ConfigError(
            f"{files.subject}: Delta tables need the extra: pip install 'feast-assets[delta]'."
        ) from error
    try:
        yield deltalake
    except deltalake.exceptions.TableNotFoundError as error:
        raise SourceError(f"{files.subject}: there is no Delta table at {files.path}.") from error
    except deltalake.exceptions.DeltaError as error:
        raise SourceError(f"{files.subject}: the Delta table cannot be read: {printable(error)}") from error


def _uri_query(
    cursor: duckdb.DuckDBPyConnection, files: SourceFiles, source: DataSource, types: _TextTypes, request: _Request
) -> tuple[str, tuple[str, ...] | None, bool]:
    data, keys = _uri_dataset(files, source, types)
    relation = f"({register_parts(cursor, data, request, files.subject)})"
    is_csv = files.format == "csv"
    declared_columns = types.of(data.schema.names if is_csv else keys)
    return as_declared(relation, declared_columns, folders=keys, lenient=is_csv), None if is_csv else keys, True


def uri_dataset(files: SourceFiles, source: DataSource) -> ds.FileSystemDataset:
    """Returns the files of a URI as an Arrow dataset, whose columns are those of the first file."""
    return _uri_dataset(files, source, _TextTypes(None, ()))[0]


def _uri_dataset(
    files: SourceFiles, source: DataSource, types: _TextTypes
) -> tuple[ds.FileSystemDataset, tuple[str, ...]]:
    """Returns the files of a URI as an Arrow dataset, and the columns that are written as ``key=value`` folders."""
    import pyarrow.csv as csv
    import pyarrow.dataset as ds

    system, path = _file_system(files, source)
    kind: object = files.format
    if kind == "csv":
        # As text, each as it is; nothing but an empty one is missing.
        named = {*types.times, *(types.declared or {})}
        conversions = csv.ConvertOptions(column_types=dict.fromkeys(named, pa.string()), strings_can_be_null=True)
        if types.declared is not None:
            conversions.null_values = [""]
        kind = ds.CsvFileFormat(convert_options=conversions)
    data = ds.dataset(path, filesystem=system, format=kind, partitioning="hive")
    first = next(data.get_fragments(), None)
    keys = tuple(ds.get_partition_keys(first.partition_expression)) if first is not None else ()
    declared_keys = types.of(keys)
    if declared_keys:
        schema = pa.schema(
            [pa.field(k, pa.string() if k in declared_keys else data.schema.field(k).type) for k in keys]
        )
        data = ds.dataset(
            data.files,
            filesystem=system,
            format=kind,
            partitioning=ds.partitioning(schema, flavor="hive"),
            partition_base_dir=path,
        )
    return data, keys


def _file_system(files: SourceFiles, source: DataSource) -> tuple[object, str]:
    import pyarrow.fs as fs

    endpoint = source.s3_endpoint_override if isinstance(source, FileSource) else None
    try:
        if files.path.startswith("s3://") and endpoint:
            scheme = "http" if endpoint.startswith("http://") else "https"
            system = fs.S3FileSystem(endpoint_override=endpoint.split("://")[-1], scheme=scheme)
            return system, files.path.removeprefix("s3://")
        system, path = fs.FileSystem.from_uri(files.path)
        return system, path
    except pa.ArrowInvalid as error:
        raise NotSupportedError(f"{files.subject}: this kind of URI is not supported: {printable(error)}") from error


def _flag(value: bool) -> str:
    return "true" if value else "false"
