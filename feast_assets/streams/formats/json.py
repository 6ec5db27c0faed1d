"""Messages that are JSON objects.

Many messages are parsed in one call, straight into Arrow columns. That is only done where it gives what parsing them
one by one gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from feast_assets.errors import shown
from feast_assets.streams.formats.base import Decoder, MessageError, column_array
from feast_assets.types.feast_type import (
    Array,
    Bool,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.streams.columns import StreamColumn

_NUMBERS = (Float32, Float64)
_SPARK_TYPES: dict[str, FeastType] = {
    **dict.fromkeys(("byte", "short", "int", "integer", "long", "bigint", "smallint", "tinyint", "int64"), Int64),
    **dict.fromkeys(("float", "double", "real", "float64"), Float64),
    **dict.fromkeys(("string", "str", "varchar", "text"), String),
    **dict.fromkeys(("boolean", "bool"), Bool),
    **dict.fromkeys(("timestamp", "date"), UnixTimestamp),
}


class JsonDecoder(Decoder):
    """Decodes one JSON object a message."""

    def __init__(self, columns: Sequence[StreamColumn]):
        super().__init__(columns)
        self._plain = all(_is_plain(column.dtype) for column in columns)
        fields = [column.field for column in columns]
        self._plain = self._plain and len(set(fields)) == len(fields)
        self._times: dict[str, pa.DataType] = {}

    def fields(self, value: bytes) -> Mapping[str, object]:
        try:
            fields = json.loads(value, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise MessageError(f"it is not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise MessageError(f"it is JSON, but no object: {shown(fields)}.")
        return fields

    def table(self, values: Sequence[bytes]) -> pa.Table:
        if self._plain and len(values) > 1:
            parsed = self._parsed(values)
            if parsed is not None:
                return parsed
        return super().table(values)

    def _parsed(self, values: Sequence[bytes]) -> pa.Table | None:
        """Returns messages parsed in one call; None where that fails."""
        import pyarrow as pa
        import pyarrow.json as pa_json

        # An object cannot go on in the next message if each begins and ends as one: what stands between them would be
        # missing a comma. So as many objects as messages are one object a message.
        for value in values:
            if value[:1] != b"{" or value[-1:] != b"}":
                return None
        schema = self._schema(values[0])
        if schema is None:
            return None
        joined = b"\n".join(values)
        if b"NaN" in joined or b"Inf" in joined:
            return None  # Arrow takes them for numbers, which JSON does not have
        try:
            table = pa_json.read_json(
                pa.BufferReader(joined),
                pa_json.ReadOptions(use_threads=False, block_size=len(joined) + 1),
                pa_json.ParseOptions(
                    explicit_schema=schema, newlines_in_values=True, unexpected_field_behavior="ignore"
                ),
            )
        except (pa.ArrowException, ValueError):
            return None
        if table.num_rows != len(values):
            return None
        try:
            arrays = [column_array(table.column(column.field), column) for column in self.columns]
        except Exception:  # noqa: BLE001
            return None  # the values are cast one by one, and the errors are those of that
        return pa.table(arrays, names=[column.name for column in self.columns])

    def _schema(self, sample: bytes) -> pa.Schema | None:
        """Returns what Arrow is to read; None where a time in a sample is neither text nor number."""
        import pyarrow as pa

        fields = []
        for column in self.columns:
            if column.dtype == UnixTimestamp:
                kind = self._times.get(column.field) or self._kind_of_time(column.field, sample)
                if kind is None:
                    return None
                fields.append(pa.field(column.field, kind))
            else:
                assert column.dtype is not None
                fields.append(pa.field(column.field, _arrow_type(column.dtype)))
        return pa.schema(fields)

    def _kind_of_time(self, name: str, sample: bytes) -> pa.DataType | None:
        import pyarrow as pa

        try:
            value = self.fields(sample).get(name)
        except MessageError:
            return None
        kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), type(None): pa.string()}
        kind = kinds.get(type(value))
        if value is not None and kind is not None:
            self._times[name] = kind
        return kind


def _is_plain(dtype: FeastType | None) -> bool:
    if isinstance(dtype, Array):
        return dtype.base_type in (*_NUMBERS, Int64, String, Bool)
    return dtype in (Int32, Int64, *_NUMBERS, String, Bool, UnixTimestamp)


def _arrow_type(dtype: FeastType) -> pa.DataType:
    import pyarrow as pa

    if isinstance(dtype, Array):
        return pa.list_(_arrow_type(dtype.base_type))
    # Floats are read as doubles first, as Python does, so that they are rounded in the same way.
    if dtype in _NUMBERS:
        return pa.float64()
    if dtype in (Int32, Int64):
        return pa.int64()
    return pa.string() if dtype == String else pa.bool_()


def _refuse_constant(name: str) -> NoReturn:
    raise MessageError(f"it is not JSON: {name} is no number there.")


def declared_fields(schema_json: str) -> dict[str, FeastType | None]:
    """Returns the fields that a `JsonFormat` declares: names and types as in ``a bigint, b double, at timestamp``.

    Types that are not known are None. A text of another form, such as a JSON schema, declares its ``properties``.
    """
    text = schema_json.strip()
    if text.startswith("{"):
        try:
            properties = json.loads(text).get("properties", {})
        except ValueError:
            return {}
        return dict.fromkeys(properties) if isinstance(properties, dict) else {}
    declared: dict[str, FeastType | None] = {}
    depth = 0
    part = ""
    for letter in [*text, ","]:
        depth += (letter in "<(") - (letter in ">)")
        if letter != "," or depth > 0:
            part += letter
            continue
        name, _, kind = part.strip().replace(":", " ", 1).partition(" ")
        if name:
            declared[name.strip("`")] = _SPARK_TYPES.get(kind.strip().lower())
        part = ""
    return declared
