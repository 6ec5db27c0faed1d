"""An offline store in plain Python, without any ability: the six verbs over tables in memory, row by row.

It passes the conformance suite, so it shows what a store has to write. Stores that break one rule are made of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import SourceError
from feast_assets.offline_stores.base import (
    CREATED_TIMESTAMP,
    EVENT_TIMESTAMP,
    History,
    OfflineStore,
    WindowStatistics,
    rows_schema,
)
from feast_assets.offline_stores.declared_columns import check_declared, like
from feast_assets.offline_stores.spine import joined_schema
from feast_assets.types.arrow import cast_column

Row = dict[str, Any]
_OLDEST = datetime.min.replace(tzinfo=UTC)


class PlainConfig(BaseModel):
    type: str = "plain"


class PlainOfflineStore(OfflineStore):
    config_class = PlainConfig

    def __init__(self, config: BaseModel | None = None, root: Path = Path()):
        self.tables: dict[str, pa.Table] = {}

    def schema(self, source):
        return self._table(source).schema

    def write(self, source, rows):
        own = self.tables[source.name]
        self.tables[source.name] = pa.concat_tables([own, like(rows, own.schema, f"Source {source.name!r}")])

    def scan(self, history, window):
        return self._reader(history, self._rows(history, [window]))

    def latest(self, history, windows, keys=None):
        rows = self._rows(history, windows)
        names = [f.name for f in history.join_keys]
        if keys is not None and names:
            asked = {tuple(row[n] for n in names) for row in keys.to_pylist()}
            rows = [row for row in rows if key_of(history, row) in asked]
        return self._reader(history, self._newest_by_key(history, rows).values())

    def join(self, spine, joins, *, filter_by_created_timestamp=False):
        asked = spine.table.to_pylist()
        columns: list[list[Any]] = []
        for join in joins:
            rows = self._rows(join.history, [ALWAYS])
            chosen = [self._newest_of(join, rows, row, filter_by_created_timestamp) for row in asked]
            columns += [[None if c is None else c[f.name] for c in chosen] for f in join.history.features]
        schema = joined_schema(joins)
        table = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)
        return table.to_reader()

    def statistics(self, history, windows):
        found = []
        for window in windows:
            rows = self._rows(history, [window])
            times = [row[EVENT_TIMESTAMP] for row in rows]
            created = [row[CREATED_TIMESTAMP] for row in rows if row[CREATED_TIMESTAMP] is not None]
            newest_created = max(created, default=None)
            oldest, newest = min(times, default=None), max(times, default=None)
            found.append(WindowStatistics(window, len(rows), oldest, newest, newest_created, self._fingerprint(rows)))
        return found

    # --- what broken stores override

    def _is_in(self, window: Window, moment: datetime) -> bool:
        return window.start <= moment and (moment < window.end or window.end >= ALWAYS.end)

    def _counts(self, join, row: Row, moment: datetime, known_only: bool) -> bool:
        if row[EVENT_TIMESTAMP] > moment:
            return False
        if join.ttl and moment - row[EVENT_TIMESTAMP] > join.ttl:
            return False
        created = row[CREATED_TIMESTAMP]
        return not (known_only and join.history.created_timestamp_column) or (created is not None and created <= moment)

    def _order(self, history: History, row: Row) -> tuple[Any, ...]:
        """Decides between rows of an entity: event time, created time, then the content of all declared features."""
        return row[EVENT_TIMESTAMP], row[CREATED_TIMESTAMP] or _OLDEST, row["content"]

    def _fingerprint(self, rows: Sequence[Row]) -> str:
        texts = sorted(repr(sorted(row.items())) for row in rows)
        return hashlib.sha256(repr(texts).encode()).hexdigest() if rows else ""

    def _newest_by_key(self, history: History, rows: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
        found: dict[tuple[Any, ...], Row] = {}
        for row in rows:
            key = key_of(history, row)
            if key not in found or self._order(history, row) > self._order(history, found[key]):
                found[key] = row
        return found

    # --- reading

    def _newest_of(self, join, rows: Sequence[Row], asked: Row, known_only: bool) -> Row | None:
        moment, key = asked[EVENT_TIMESTAMP], tuple(asked[column] for column in join.key_columns)
        if moment is None or None in key:
            return None
        counting = [
            row for row in rows if key_of(join.history, row) == key and self._counts(join, row, moment, known_only)
        ]
        return max(counting, key=lambda row: self._order(join.history, row), default=None)

    def _table(self, source) -> pa.Table:
        if source.name not in self.tables:
            raise SourceError(f"Source {source.name!r}: there is no table of this name.")
        table = self.tables[source.name]
        return table.rename_columns([source.field_mapping.get(name, name) for name in table.column_names])

    def _rows(self, history: History, windows: Sequence[Window]) -> list[Row]:
        """Returns the rows of a history in some windows, with `content`, which decides ties."""
        (source,) = history.sources
        table = self._table(source)
        if not history.all_columns:
            check_declared(
                history,
                table.schema,
                f"Source {source.name!r}",
                timestamp=history.timestamp_field,
                created=history.created_timestamp_column,
            )
        fields = [*history.join_keys, *history.features]
        columns = {f.name: cast_column(table.column(f.name), f.dtype, subject=f"Column {f.name!r}") for f in fields}
        moments = table.column(history.timestamp_field)
        columns[EVENT_TIMESTAMP] = moments.cast(pa.timestamp("us", "UTC"))
        created = history.created_timestamp_column
        columns[CREATED_TIMESTAMP] = (
            table.column(created).cast(pa.timestamp("us", "UTC")) if created else pa.nulls(table.num_rows)
        )
        every = table.to_pylist()
        declared = table.column_names if history.all_columns else history.declared or [f.name for f in history.features]
        rows = []
        for place, row in enumerate(pa.table(columns).to_pylist()):
            row["content"] = repr([every[place][name] for name in sorted(declared)])
            moment = row[EVENT_TIMESTAMP]
            if moment is None or None in key_of(history, row):
                continue
            if any(self._is_in(window, moment) for window in windows):
                rows.append(row)
        return rows

    def _reader(self, history: History, rows: Iterable[Row]) -> pa.RecordBatchReader:
        schema = rows_schema(history)
        return pa.Table.from_pylist([{n: row[n] for n in schema.names} for row in rows], schema).to_reader()


def key_of(history: History, row: Row) -> tuple[Any, ...]:
    return tuple(row[f.name] for f in history.join_keys)
