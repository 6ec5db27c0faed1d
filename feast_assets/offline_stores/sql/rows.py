"""The rows of a history as SQL, with names of its own, and its result in canonical form.

Inside statements the join keys are ``k0, k1, ...``, the features ``f0, ...``, the columns that decide ties ``x0, ...``,
the event time ``t`` and the created time ``c``; so no name of a user's column can meet one of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from sqlglot import exp

from feast_assets.definitions.field import Field
from feast_assets.definitions.window import Bounds
from feast_assets.errors import SourceError
from feast_assets.offline_stores.base import History, rows_schema
from feast_assets.offline_stores.declared_columns import as_kind, check_declared
from feast_assets.offline_stores.sql.dialect import as_, column, named, query
from feast_assets.offline_stores.sql.keys import exact_integer, key_expression
from feast_assets.offline_stores.sql.relation import Relation
from feast_assets.types.arrow import cast_column
from feast_assets.types.arrow_casts import is_list, is_text
from feast_assets.types.feast_type import Float32, Float64, Int32, Int64, UnixTimestamp


class SqlRows:
    """The rows of a history in a relation.

    Raises:
        SourceError: a column is missing or of another kind than declared; `TransformationError` where a transformation
            made the rows.
        DefinitionError: the history names no event time column.
    """

    def __init__(self, history: History, relation: Relation):
        self.history = history
        self.relation = relation
        check_declared(
            history,
            relation.mapped_schema(),
            relation.subject,
            timestamp=relation.timestamp,
            created=relation.created,
            error=relation.error,
        )
        columns = relation.columns
        declared = set(history.declared or [f.name for f in history.features])
        deciding = sorted(declared.intersection(columns)) or list(columns)[:1]
        self._content = [self._ordered(columns[name]) for name in deciding]

    @property
    def keys(self) -> list[str]:
        return [f"k{i}" for i in range(len(self.history.join_keys))]

    @property
    def features(self) -> list[str]:
        return [f"f{i}" for i in range(len(self.history.features))]

    @property
    def content(self) -> list[str]:
        """The columns that decide between rows that tie in event time and created time."""
        return [f"x{i}" for i in range(len(self._content))]

    def select(self, bounds: Sequence[Bounds], *, features: bool = False, content: bool = False) -> exp.Select:
        """Returns the rows with event times in any of the bounds: k0.., t, c, and what is asked for.

        Rows without an event time or a join key are left out.

        Args:
            features: whether f0.. are wanted.
            content: whether x0.. are wanted.
        """
        selected = [as_(key, name) for key, name in zip(self.key_expressions(), self.keys, strict=True)]
        if features:
            selected += [as_(self._carried(f), n) for f, n in zip(self.history.features, self.features, strict=True)]
        if content:
            selected += [as_(each.copy(), name) for each, name in zip(self._content, self.content, strict=True)]
        relation = self.relation
        selected += [as_(relation.time(relation.timestamp), "t"), as_(relation.created_time(), "c")]
        rows = query(selected, relation.table.copy(), *relation.within(bounds))
        there = [column(name).is_(exp.null()).not_() for name in (*self.keys, "t")]
        return query([exp.Star()], named(rows, "a"), *there)

    def hashed(self, bounds: Sequence[Bounds]) -> exp.Select:
        """Returns what `Relation.hashed` does; the hash covers keys, features and times."""
        relation = self.relation
        values = [*self.key_expressions(), *(relation.carried(relation.column(f.name)) for f in self.history.features)]
        values += [relation.time(relation.timestamp), relation.created_time()]
        return relation.hashed(values, self.key_expressions(), bounds)

    def key_expressions(self) -> list[exp.Expr]:
        expressions = []
        for key in self.history.join_keys:
            stored = self.relation.column(key.name)
            is_time = pa.types.is_timestamp(stored.type) or pa.types.is_date(stored.type)
            moment = self.relation.time(key.name) if is_time else None
            expressions.append(key_expression(self.relation.dialect, stored, key.dtype, moment))
        return expressions

    def schema(self) -> pa.Schema:
        """Returns the columns of what the store returns."""
        return rows_schema(self.history)

    def finish(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Returns a batch of k0.., f0.., t, c under the users' names, in canonical types."""
        fields = (*self.history.join_keys, *self.history.features)
        names = [*self.keys, *self.features]
        columns = [self.cast(batch.column(n), f) for n, f in zip(names, fields, strict=True)]
        columns.append(self._time(batch.column("t"), self.relation.timestamp))
        columns.append(self._time(batch.column("c"), self.relation.created))
        return pa.record_batch(columns, schema=self.schema())

    def cast(self, values: object, field: Field) -> Any:
        """Returns a column in the canonical type of its field."""
        try:
            return cast_column(values, field.dtype, subject=f"{self.relation.subject}, column {field.name!r}")
        except SourceError as error:
            raise as_kind(error, self.relation.error) from error

    def _time(self, values: pa.Array, name: str) -> pa.Array:
        return cast_column(values, UnixTimestamp, subject=f"{self.relation.subject}, column {name!r}")

    def _carried(self, field: Field) -> exp.Expr:
        stored = self.relation.column(field.name)
        kind, dialect = stored.type, self.relation.dialect
        if is_list(kind):
            return dialect.flat_list(column(stored.name))
        if pa.types.is_decimal(kind) and field.dtype in (Int32, Int64):
            return exact_integer(dialect, stored, field.dtype, "feature")
        if pa.types.is_decimal(kind) and field.dtype in (Float32, Float64):
            return exp.cast(column(stored.name), "DOUBLE")
        return self.relation.carried(stored)

    def _ordered(self, stored: pa.Field) -> exp.Expr:
        """Returns a column as rows are ordered by it: by value, text byte by byte."""
        kind = stored.type
        if pa.types.is_decimal(kind):
            return column(stored.name)
        value = self.relation.carried(stored)
        is_textual = is_text(kind) or isinstance(value, exp.Cast) or (is_list(kind) and is_text(kind.value_type))
        return self.relation.dialect.text_order(value) if is_textual else value
