"""Checking data sources against their columns, and inferring what the declaration leaves out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, cast

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.stream_source import StreamSource
from feast_assets.errors import (
    DataSourceRepeatNamesException,
    DefinitionError,
    RegistryInferenceFailure,
    SourceAbsentError,
    SourceError,
    SourceWithoutFilesError,
    suggest,
)
from feast_assets.registry.snapshot import StoredObject, copy_definition
from feast_assets.types import FeastType, UnixTimestamp
from feast_assets.types.compatibility import incompatibility

if TYPE_CHECKING:
    import pyarrow as pa

_KNOWN_BY = ("name", "description", "tags", "owner")

SchemaOf = Callable[[DataSource], "pa.Schema"]
CheckTexts = Callable[[DataSource, Mapping[str, FeastType]], None]
ResultSchemaOf = Callable[[DataSource], "pa.Schema | None"]


class Sources:
    """The data sources of one apply: each is read at most once, and prepared copies stand for what was declared.

    Args:
        result_schema_of: gives the columns that a source without files yet is going to have, because a view keeps its
            result there; None where none does.
        check_texts: checks columns that are stored as text; None where that is left to whoever reads them.
    """

    def __init__(self, schema_of: SchemaOf, result_schema_of: ResultSchemaOf, check_texts: CheckTexts | None = None):
        self._schema_of = schema_of
        self._check_texts = check_texts
        self._result_schema_of = result_schema_of
        self._declared: dict[str, DataSource] = {}
        self._prepared: dict[str, DataSource | StoredObject] = {}
        self._schemas: dict[str, pa.Schema] = {}
        self._schemas_by_place: dict[str, pa.Schema] = {}
        self._warned_of: set[str] = set()

    def prepared(self) -> list[DataSource | StoredObject]:
        """Returns a complete copy of every source that was prepared, and the adopted ones as they are registered."""
        return list(self._prepared.values())

    def declare(self, source: DataSource) -> None:
        """Notes a source that is applied by itself.

        Raises:
            DataSourceRepeatNamesException: another one has the name, letter case aside.
        """
        known = self._declared.get(source.name.lower())
        if known is not None and known is not source:
            raise DataSourceRepeatNamesException(
                f"Two data sources are named {_names(known, source)}; names must differ in more than letter case. If "
                "they are the same, declare it once and import it."
            )
        self._declared[source.name.lower()] = source

    def adopt(self, source: DataSource, registered: StoredObject) -> None:
        """Notes a source whose registered form is unchanged.

        Raises:
            DataSourceRepeatNamesException: a different source has the name.
        """
        self._claim_name(source)
        self._prepared.setdefault(source.name, registered)

    def include(self, source: DataSource) -> None:
        """Prepares a source if that was not done; raises as `prepare` does."""
        if source.name not in self._prepared or self._declared.get(source.name.lower()) is not source:
            self.prepare(source)

    def schema_for(self, source: DataSource, inferred: str, declaration: str) -> pa.Schema:
        """Returns the columns of a source, after its field mapping, for something that is left out.

        Args:
            inferred: what is to be inferred, and of which definition, such as "FeatureView 'trips': its features".
            declaration: what could be declared instead.

        Raises:
            SourceWithoutFilesError: the source is not there yet.
        """
        try:
            return self.schema(source)
        except SourceWithoutFilesError as error:
            raise type(error)(
                f"{inferred} cannot be inferred. {error} Declare {declaration}, or apply when there are data."
            ) from error

    def schema(self, source: DataSource) -> pa.Schema:
        """Returns the columns of a source, after its field mapping."""
        if source.name not in self._schemas:
            stored_in = _columns_key(source)
            if stored_in not in self._schemas_by_place:
                self._schemas_by_place[stored_in] = self._read_schema(source)
            self._schemas[source.name] = self._schemas_by_place[stored_in]
        return self._schemas[source.name]

    def _read_schema(self, source: DataSource) -> pa.Schema:
        try:
            return self._schema_of(source)
        except SourceWithoutFilesError:
            expected = self._result_schema_of(source)
            if expected is None:
                raise
            return expected

    def prepare(self, source: DataSource, *, like: DataSource | None = None) -> DataSource:
        """Returns a copy of a source with its timestamp column filled in.

        Args:
            like: a prepared source whose timestamp columns a source that names none has too, without being read.

        Raises:
            DataSourceRepeatNamesException: a different source has the name.
            RegistryInferenceFailure: it names no timestamp column, and does not have exactly one.
        """
        known = self._known(source.name)
        if known is not None and (self._declared.get(source.name.lower()) is source or known == source):
            return known
        self._claim_name(source)
        if known is not None:
            return known
        copied = copy_definition(source)
        if isinstance(copied, StreamSource):
            if copied.batch_source is not None:
                copied.batch_source = self.prepare(copied.batch_source)
            if copied.batch_source is not None and not copied.timestamp_field:
                batch = copied.batch_source
                copied.timestamp_field = batch.timestamp_field
                copied.created_timestamp_column = batch.created_timestamp_column
        elif copied.holds_history and not copied.timestamp_field:
            if like is not None:
                copied.timestamp_field = like.timestamp_field
                copied.created_timestamp_column = copied.created_timestamp_column or like.created_timestamp_column
            else:
                copied.timestamp_field = self._only_timestamp(copied)
        self._prepared[source.name] = copied
        return copied

    def _known(self, name: str) -> DataSource | None:
        known = self._prepared.get(name)
        return cast(DataSource, known.definition()) if isinstance(known, StoredObject) else known

    def _claim_name(self, source: DataSource) -> None:
        known = self._declared.setdefault(source.name.lower(), source)
        if known is not source and known != source:
            raise DataSourceRepeatNamesException(
                f"Two different data sources are named {_names(known, source)}; rename one of them (names must differ "
                "in more than letter case)."
            )

    def check_columns(self, source: DataSource, fields: Iterable[Field], subject: str) -> None:
        """Checks that a source has columns, of types that can be read as declared, and its timestamp columns.

        Of a source without files yet, there is nothing to check; whatever reads it later checks again. Where a file or
        a table is missing, which may be a misspelt name, a warning says so once.

        Raises:
            SourceError: a column is missing, or has another type.
        """
        try:
            schema = self.schema(source)
        except SourceAbsentError as error:
            if source.name not in self._warned_of:
                self._warned_of.add(source.name)
                warnings.warn(f"{error} It is applied as declared, and checked when it is read.", stacklevel=2)
            return
        except SourceWithoutFilesError:
            return
        mapping = source.field_mapping
        for label, column in (
            ("timestamp_field", source.timestamp_field),
            ("created_timestamp_column", source.created_timestamp_column),
        ):
            if column:
                name = mapping.get(column, column)
                self._check(source, schema, name, UnixTimestamp, f"{type(source).__name__} {source.name!r}", label)
        texts: dict[str, FeastType] = {}
        for field in fields:
            if self._check(source, schema, field.name, field.dtype, subject, "field"):
                texts[field.name] = field.dtype
        if texts and self._check_texts is not None:
            self._check_texts(source, texts)

    def _check(
        self, source: DataSource, schema: pa.Schema, name: str, dtype: FeastType, subject: str, label: str
    ) -> bool:
        """Checks a column by its type; returns whether that is not decisive, because it is stored as text."""
        from feast_assets.types.arrow import is_stored_as_text

        if schema.get_field_index(name) < 0:
            raise SourceError(
                f"{subject}: {label} {name!r} is not a column of data source {source.name!r}. "
                f"{suggest(name, schema.names)}"
            )
        column_type = schema.field(name).type
        if is_stored_as_text(schema.field(name)):
            return True
        reason = incompatibility(column_type, dtype)
        if reason:
            raise SourceError(
                f"{subject}: {label} {name!r} is declared {dtype}, but data source {source.name!r} has {column_type}: "
                f"{reason.rstrip('.')}. Or declare the dtype that it has."
            )
        return False

    def _only_timestamp(self, source: DataSource) -> str:
        import pyarrow.types as types

        schema = self.schema_for(source, f"{type(source).__name__} {source.name!r}: its time column", "timestamp_field")
        original = {new: old for old, new in source.field_mapping.items()}
        candidates: list[str] = [
            original.get(column.name, column.name)
            for column in schema
            if types.is_timestamp(column.type) and column.name != source.created_timestamp_column
        ]
        if len(candidates) == 1:
            return candidates[0]
        reason = (
            f"its timestamp columns are {', '.join(map(repr, candidates))}"
            if candidates
            else (f"it has no timestamp column (its columns are {', '.join(map(repr, schema.names))})")
        )
        raise RegistryInferenceFailure(
            f"{type(source).__name__} {source.name!r} needs a timestamp_field, and {reason}; name one."
        )


def _columns_key(source: DataSource) -> str:
    """Returns a text of what decides a source's columns; sources that differ only in name or tags have the same."""
    return json.dumps({k: v for k, v in source.to_spec().items() if k not in _KNOWN_BY}, sort_keys=True)


def _names(one: DataSource, other: DataSource) -> str:
    return repr(one.name) if one.name == other.name else f"{one.name!r} and {other.name!r}"


def inferred_field(schema: pa.Schema, name: str, subject: str) -> Field:
    """Returns the field that a column is.

    Raises:
        RegistryInferenceFailure: no value type fits the column.
    """
    from feast_assets.types.arrow import from_arrow_type

    try:
        return Field(name=name, dtype=from_arrow_type(schema.field(name).type))
    except DefinitionError as error:
        raise RegistryInferenceFailure(f"{subject}: a column cannot become a field: {error}") from error
    except ValueError as error:
        raise RegistryInferenceFailure(
            f"{subject}: the type of column {name!r} cannot be inferred: {error} Declare the schema."
        ) from error
