"""The commands of Feast's remote offline store: JSON with ``api``, and no pickled bytes anywhere.

What a client names is looked up in the server's own registry. Of the older way of reading, which uploads with one call
and reads with another, nothing is here: it needs the rows of all calls in one server's memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.field import Field
from feast_assets.definitions.saved_dataset import SavedDatasetStorage
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import InputError, NotSupportedError, printable, shown
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP, History
from feast_assets.types.arrow import from_arrow_type

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore
    from feast_assets.retrieval.job import RetrievalJob
    from feast_assets.serving.flight.known_sources import KnownSources

_MARK = b'"api"'
_NO_ROWS = ["key"]
"""The columns of the table that Feast's client sends where it has no entity rows."""


class FeastCommand(msgspec.Struct):
    """A command of Feast's client; which keys it has depends on ``api``."""

    api: str
    feature_view_names: list[str] = []
    name_aliases: list[str | None] = []
    feature_refs: list[str] = []
    project: str | None = None
    full_feature_names: bool = False
    entity_df_sql: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    data_source_name: str = ""
    data_source_proto: str = ""
    join_key_columns: list[str] = []
    feature_name_columns: list[str] = []
    timestamp_field: str = ""
    created_timestamp_column: str | None = None
    feature_service_name: str = ""
    retrieve_func: str = ""
    allow_overwrite: bool = False
    timeout: float | None = None


class FeastCommands:
    """Runs the commands of Feast's clients over one feature store."""

    def __init__(self, store: FeatureStore, sources: KnownSources):
        self._store = store
        self._sources = sources

    def is_command(self, content: bytes) -> bool:
        """Whether a command is one of Feast's."""
        return _MARK in content[:4096] and b"feast_assets_format" not in content[:64]

    def read(self, content: bytes, rows: pa.Table) -> pa.RecordBatchReader:
        """Returns the rows that a command asks for.

        Args:
            rows: what came with it.
        """
        command = _decoded(content)
        if command.api == "get_table_column_names_and_types_from_data_source":
            schema = self._store.offline_store.schema(self._described(command))
            return pa.table({"name": schema.names, "type": [str(field.type) for field in schema]}).to_reader()
        if command.api == "get_historical_features":
            return self._renamed(self._job(command, rows).to_reader(), command)
        if command.api in _PULLS:
            return self._pulled(command)
        raise NotSupportedError(f"There is no command {shown(command.api)} that reads.")

    def write(self, content: bytes, rows: pa.Table) -> None:
        """Carries out a command that returns nothing.

        Args:
            rows: what came with it.
        """
        command = _decoded(content)
        if command.api == "offline_write_batch":
            for view in command.feature_view_names:
                self._store.write_to_offline_store(view, rows)
        elif command.api == "validate_data_source":
            self._store.offline_store.schema(self._described(command))
        elif command.api == "write_logged_features":
            service = self._store.get_feature_service(command.feature_service_name)
            self._store.write_logged_features(rows, service)
        elif command.api == "persist":
            self._persist(command, rows)
        elif command.api in ("get_historical_features", *_PULLS):
            raise NotSupportedError(
                "This server answers reads in one exchange, as Feast's clients ask since 0.60; this client uploads "
                "first and reads later. Use a newer Feast."
            )
        else:
            raise NotSupportedError(f"There is no command {shown(command.api)} that writes.")

    def _job(self, command: FeastCommand, rows: pa.Table) -> RetrievalJob:
        if command.project not in (None, self._store.project):
            raise InputError(
                f"This server serves project {self._store.project!r}, and the client asks for {command.project!r}."
            )
        views = {alias: view for view, alias in _aliases(command).items()}
        references = [_with_view_name(reference, views) for reference in command.feature_refs]
        has_rows = rows.column_names != _NO_ROWS
        return self._store.get_historical_features(
            _without_pandas_index(rows) if has_rows else command.entity_df_sql,
            references,
            full_feature_names=command.full_feature_names,
            start_date=_moment(command.start_date),
            end_date=_moment(command.end_date),
        )

    def _renamed(self, reader: pa.RecordBatchReader, command: FeastCommand) -> pa.RecordBatchReader:
        """Returns rows in which features have the names of the client's projections."""
        aliases = _aliases(command)
        if not aliases or not command.full_feature_names:
            return reader
        names = [_with_alias(name, aliases) for name in reader.schema.names]
        schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
        return pa.RecordBatchReader.from_batches(schema, (batch.rename_columns(names) for batch in reader))

    def _pulled(self, command: FeastCommand) -> pa.RecordBatchReader:
        """Returns rows of a source by the names that its columns have before the source's field mapping."""
        source = self._registered(command.data_source_name)
        self._sources.check_access("", source, AuthzedAction.READ_OFFLINE)
        types = {field.name: field.type for field in self._store.offline_store.schema(source)}
        mapping: Mapping[str, str] = source.field_mapping or {}

        def fields(columns: list[str]) -> tuple[Field, ...]:
            mapped = [mapping.get(column, column) for column in columns]
            if absent := [column for column, name in zip(columns, mapped, strict=True) if name not in types]:
                raise InputError(f"Data source {source.name!r} has no column {shown(absent[0])}.")
            return tuple(Field(name=name, dtype=from_arrow_type(types[name])) for name in mapped)

        history = History(
            view=source.name,
            sources=(source,),
            join_keys=fields(command.join_key_columns),
            features=fields(command.feature_name_columns),
            timestamp_field=mapping.get(command.timestamp_field, command.timestamp_field),
            created_timestamp_column=mapping.get(
                command.created_timestamp_column or "", command.created_timestamp_column or ""
            ),
        )
        start, end = _moment(command.start_date), _moment(command.end_date)
        # Feast's bounds are both inclusive.
        after = ALWAYS.end if end is None else min(end, ALWAYS.end - _MICROSECOND) + _MICROSECOND
        window = Window(ALWAYS.start if start is None else start, after)
        store = self._store.offline_store
        latest = command.api == "pull_latest_from_table_or_query"
        reader = store.latest(history, [window]) if latest else store.scan(history, window)
        names = {EVENT_TIMESTAMP: command.timestamp_field, CREATED_TIMESTAMP: command.created_timestamp_column or ""}
        own = {mapped: column for column, mapped in mapping.items()}
        kept = [name for name in reader.schema.names if names.get(name, name)]
        renamed = [names.get(name, own.get(name, name)) for name in kept]
        schema = pa.schema([reader.schema.field(name).with_name(new) for name, new in zip(kept, renamed, strict=True)])

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                yield batch.select(kept).rename_columns(renamed)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def _persist(self, command: FeastCommand, rows: pa.Table) -> None:
        if command.retrieve_func != "get_historical_features":
            raise NotSupportedError("Only results of get_historical_features can be saved.")
        target = self._registered(command.data_source_name)
        self._sources.check_access("", target, AuthzedAction.WRITE_OFFLINE)
        storage = SavedDatasetStorage.from_data_source(target)
        timeout = None if command.timeout is None else int(command.timeout)
        self._job(command, rows).persist(storage, allow_overwrite=command.allow_overwrite, timeout=timeout)

    def _registered(self, name: str) -> DataSource:
        return self._store.get_data_source(name)

    def _described(self, command: FeastCommand) -> DataSource:
        """Returns the registered source of the name in a source's JSON form."""
        try:
            name = json.loads(command.data_source_proto)["name"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise InputError("The data source that the client names is malformed.") from None
        return self._registered(name)


_PULLS = ("pull_latest_from_table_or_query", "pull_all_from_table_or_query")
_MICROSECOND = timedelta(microseconds=1)


def _decoded(content: bytes) -> FeastCommand:
    try:
        return msgspec.json.decode(content, type=FeastCommand)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"The command is malformed: {printable(error)}.") from None


def _aliases(command: FeastCommand) -> dict[str, str]:
    """Returns view -> the name that the client's projection gives it."""
    pairs = zip(command.feature_view_names, command.name_aliases, strict=False)
    return {view: alias for view, alias in pairs if alias}


def _with_view_name(reference: str, views: Mapping[str, str]) -> str:
    view, colon, feature = reference.partition(":")
    return f"{views.get(view, view)}{colon}{feature}"


def _with_alias(name: str, aliases: Mapping[str, str]) -> str:
    view, separator, feature = name.partition("__")
    return f"{aliases[view]}{separator}{feature}" if separator and view in aliases else name


def _without_pandas_index(rows: pa.Table) -> pa.Table:
    """Returns rows without the column that pandas makes of an index without a name."""
    columns = [name for name in rows.column_names if not name.startswith("__index_level_")]
    return rows.select(columns).replace_schema_metadata(None)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{shown(text)} is no time; give ISO 8601.") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
