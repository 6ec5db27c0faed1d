"""A few handed-in rows as a view's online table takes them, straight from Python values.

`feast_assets.compute.ingestion` does the same by way of Arrow, for any number of rows and any values that can be
converted. For one row of ten features that costs several times what the store itself does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from feast_assets.compute.online_rows import newest_per_key
from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import InputError
from feast_assets.online_stores.base import NO_CREATED_TIME, EncodedRows
from feast_assets.types.feast_type import Bool, FeastType, Int32, Int64, String

if TYPE_CHECKING:
    from feast_assets.online_stores.rows.few_rows import FewRowsEncoder
    from feast_assets.online_stores.rows.keys import KeyEncoder

MOST_ROWS = 32
"""From more rows on, Arrow is faster."""

Columns = Mapping[str, Sequence[object]]
"""Column name -> Python values, None for null; all of one length."""

_KEY_TYPES: dict[FeastType, type] = {Int32: int, Int64: int, String: str, Bool: bool}
_ABSENT = ("NaTType", "NAType")


def few_columns(rows: object) -> Columns | None:
    """Returns handed-in rows as columns of Python values; None unless they are few and simple.

    Args:
        rows: in any form; see `feast_assets.compute.handed_in_rows`. A dict of lists, a list of dicts with the same
            keys, and a pandas DataFrame are taken.
    """
    if type(rows) is dict:
        return _checked(rows)
    if type(rows) is list:
        return _of_dicts(rows)
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):
        return _of_pandas(rows)
    return None


def _checked(columns: dict[Any, Any]) -> Columns | None:
    length = None
    for name, values in columns.items():
        if type(name) is not str or type(values) is not list:
            return None
        if length is None:
            length = len(values)
        if len(values) != length:
            return None
    return columns if length is not None and 0 < length <= MOST_ROWS else None


def _of_dicts(rows: list[Any]) -> Columns | None:
    if not 0 < len(rows) <= MOST_ROWS or type(rows[0]) is not dict:
        return None
    names = list(rows[0])
    if any(type(row) is not dict or len(row) != len(names) for row in rows):
        return None
    try:
        return _checked({name: [row[name] for row in rows] for name in names})
    except KeyError:
        return None


def _of_pandas(frame: Any) -> Columns | None:
    """Returns a DataFrame's columns, in which NaN, NaT and NA are null."""
    if not 0 < len(frame) <= MOST_ROWS:
        return None
    names = frame.columns.tolist()
    if len(set(names)) < len(names) or not all(type(name) is str for name in names):
        return None
    # One call for the whole frame: column by column, pandas takes many times as long.
    rows = frame.to_numpy(dtype=object).tolist()
    columns = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    for values in columns.values():
        for row, value in enumerate(values):
            if (type(value) is float and value != value) or type(value).__name__ in _ABSENT:
                values[row] = None
            elif type(value) is list and any(item != item for item in value):
                return None  # In a DataFrame, NaN is null in a vector, too.
    return columns


class FewRows:
    """Encodes few rows of one view; made once for each revision of the registry."""

    def __init__(self, view: FeatureView):
        self._view = view
        source = view.batch_source
        mapping = {} if source is None else source.field_mapping
        self._event = "" if source is None else mapping.get(source.timestamp_field, source.timestamp_field)
        self._created = (
            "" if source is None else mapping.get(source.created_timestamp_column, source.created_timestamp_column)
        )
        self._names = {f.name for f in (*view.features, *view.entity_columns)} | {self._event, self._created}
        self._vectors = [(f.name, f.vector_length) for f in view.features if f.vector_length]

    def encode(self, columns: Columns, version: int) -> EncodedRows | None:
        """Returns the rows as `feast_assets.compute.ingestion.encode_ingested` does.

        None where a column is missing, or a value needs a conversion or is of a wrong type: then `encode_ingested` has
        to convert it, or to say what is wrong.
        """
        import numpy as np

        from feast_assets.online_stores.rows.few_rows import timestamp_micros

        source = self._view.batch_source
        if source is None or not self._view.features:
            return None
        if source.field_mapping:
            mapped = {source.field_mapping.get(name, name): values for name, values in columns.items()}
            if len(mapped) < len(columns):
                return None
            columns = mapped
        # Columns that are not stored must be readable anyway, as those of many rows.
        if not all(_is_readable(columns[name]) for name in columns.keys() - self._names):
            return None
        try:
            if any(len(v) != length for name, length in self._vectors for v in columns[name] if type(v) is list):
                return None
            keys = self._keys(columns)
            events = [timestamp_micros(value) for value in columns[self._event]]
            payloads = self._payloads.encode([columns[f.name] for f in self._view.features])
        except (KeyError, InputError):
            return None
        rows = len(events)
        if keys is None or payloads is None or None in events:
            return None
        if not self._created:
            created: list[int | None] = [NO_CREATED_TIME] * rows
        else:
            given = columns.get(self._created, [None] * rows)
            created = [version if value is None else timestamp_micros(value) for value in given]
            if None in created:
                return None
        return newest_per_key(
            EncodedRows(
                keys,
                np.array(events, np.int64),
                np.array(created, np.int64),
                np.full(rows, version, np.int64),
                payloads,
                of_codec=True,
            )
        )

    def _keys(self, columns: Columns) -> list[bytes] | None:
        """Returns the encoded entity keys; None where a value is not just of its key's type."""
        values: list[list[object]] = []
        for name, dtype in self._key_fields:
            if name == DUMMY_JOIN_KEY:
                values.append([""] * len(columns[self._event]))
                continue
            expected = _KEY_TYPES.get(dtype)
            if any(type(value) is not expected for value in columns[name]):
                return None
            values.append(list(columns[name]))
        return self._key_encoder.encode(values)

    @cached_property
    def _key_fields(self) -> list[tuple[str, FeastType]]:
        return [(f.name, f.dtype) for f in sorted(self._view.entity_columns)]

    @cached_property
    def _key_encoder(self) -> KeyEncoder:
        from feast_assets.online_stores.rows.keys import KeyEncoder

        return KeyEncoder([name for name, _ in self._key_fields], [dtype for _, dtype in self._key_fields])

    @cached_property
    def _payloads(self) -> FewRowsEncoder:
        from feast_assets.compute.online_rows import OnlineRows
        from feast_assets.online_stores.rows.few_rows import FewRowsEncoder

        return FewRowsEncoder(OnlineRows(self._view).schema)


def _is_readable(values: Sequence[Any]) -> bool:
    """Whether Arrow surely makes a column of some values."""
    types = {type(value) for value in values} - {type(None)}
    if types == {str}:
        return all(value is None or value.isascii() for value in values)
    if types == {int}:
        return all(value is None or -(2**63) <= value < 2**63 for value in values)
    return not types or types in ({float}, {bool}, {bytes}, {datetime})
