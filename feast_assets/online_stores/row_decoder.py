"""Payloads to columns; the layout is `feast_assets.online_stores.row_schema`'s.

Serving imports this, so nothing here needs Arrow or pandas before `Column.to_arrow` is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from feast_assets.errors import OnlineRowError, UnknownRowSchemaError
from feast_assets.online_stores.column import NOT_FOUND, NULL_VALUE, PRESENT, Column, FixedPart, Part, VariablePart
from feast_assets.online_stores.row_schema import FIXED_CODES, HEADER_WIDTH, ID_OFFSET, Kind, RowSchema, kind_of
from feast_assets.types.feast_type import Array, FeastType, Float32, Float64, Int32, Int64, Set

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Types whose every value another type holds exactly.
_WIDER: dict[FeastType, frozenset[FeastType]] = {
    Int32: frozenset((Int64, Float64)),
    Float32: frozenset((Float64,)),
}


def reads_as(stored: FeastType, wanted: FeastType) -> bool:
    """Says whether values stored as one type can be read as another: the same, wider, or other kinds of bytes."""
    if stored == wanted or wanted in _WIDER.get(stored, ()):
        return True
    if isinstance(stored, (Array, Set)) and isinstance(wanted, (Array, Set)) and type(stored) is type(wanted):
        return kind_of(stored) is Kind.VECTOR and wanted.base_type in _WIDER.get(stored.base_type, ())
    return kind_of(stored) is Kind.BYTES and kind_of(wanted) is Kind.BYTES


@dataclass(frozen=True, slots=True)
class _Group:
    """The payloads of one call that have the same schema.

    Attributes:
        schema: theirs.
        rows: their places in the call, or None if they are all of it.
        starts: where each begins in the joined bytes.
        records: what precedes the variable part of each.
    """

    schema: RowSchema
    rows: NDArray[np.int64] | None
    starts: NDArray[np.int64]
    records: NDArray[Any]


class RowDecoder:
    """Reads features out of payloads of any of several schemas. Holds no state between calls; safe to share."""

    def __init__(
        self,
        schemas: Mapping[int, RowSchema],
        wanted: Sequence[tuple[str, FeastType]],
        *,
        what: str = "Online rows",
    ):
        """Creates a decoder.

        Args:
            schemas: schema id to schema, all that payloads may name.
            wanted: the features to read, with the types to read them as.
            what: what the rows are, for messages, such as ``"Feature view 'driver_stats'"``.
        """
        self._schemas = dict(schemas)
        self._wanted = tuple(wanted)
        self._what = what
        self._places: dict[int, list[int | None]] = {}
        for schema_id, schema in self._schemas.items():
            self._places[schema_id] = [self._place(schema, name, t) for name, t in self._wanted]

    @staticmethod
    def _place(schema: RowSchema, name: str, wanted: FeastType) -> int | None:
        place = schema.positions.get(name)
        if place is None or not reads_as(schema.fields[place][1], wanted):
            return None
        return place

    def decode(self, payloads: Sequence[bytes | None]) -> list[Column]:
        """Returns one column per wanted feature, each with one value and one status per payload.

        NOT_FOUND where there is no payload, or its schema lacks the feature or has it in a type that cannot be read as
        the wanted one; NULL_VALUE where null was stored; else PRESENT.

        Raises:
            UnknownRowSchemaError: a payload names a schema that this decoder was not given.
            OnlineRowError: a payload is damaged.
        """
        count = len(payloads)
        rows: NDArray[np.int64] | None = None
        found: Sequence[bytes]
        if None in payloads:
            kept = [i for i, payload in enumerate(payloads) if payload is not None]
            rows = np.array(kept, np.int64)
            found = [payload for payload in payloads if payload is not None]
        else:
            found = payloads  # type: ignore[assignment]
        data = b"".join(found)
        groups = self._groups(found, data, rows) if found else []
        columns = []
        all_statuses = np.full((len(self._wanted), count), NOT_FOUND, np.uint8)
        with_nulls = [bool(group.records["nulls"].any()) for group in groups]
        for number, (name, feast_type) in enumerate(self._wanted):
            statuses = all_statuses[number]
            parts: list[Part] = []
            for group, has_nulls in zip(groups, with_nulls, strict=True):
                place = self._places[group.schema.schema_id][number]
                if place is None:
                    continue
                nulls = _nulls(group, place) if has_nulls else None
                found_status = PRESENT if nulls is None else np.where(nulls, NULL_VALUE, PRESENT)
                if group.rows is None:
                    statuses[:] = found_status
                else:
                    statuses[group.rows] = found_status
                parts.append(self._part(group, place, feast_type, data, nulls))
            columns.append(Column(name, feast_type, statuses, parts, self._what))
        return columns

    def _part(self, group: _Group, place: int, wanted: FeastType, data: bytes, nulls: NDArray[np.bool_] | None) -> Part:
        stored = group.schema.fields[place][1]
        if group.schema.kinds[place] is Kind.FIXED:
            values = group.records[str(place)]
            if stored != wanted:
                values = values.astype(FIXED_CODES[wanted])
            return FixedPart(group.rows, nulls, values)
        base = group.starts + group.schema.dtype.itemsize
        variable = group.schema.variable
        number = variable.index(place)
        start = base if number == 0 else base + group.records[str(variable[number - 1])]
        return VariablePart(group.rows, nulls, data, start, base + group.records[str(place)], stored)

    def _groups(self, found: Sequence[bytes], data: bytes, rows: NDArray[np.int64] | None) -> list[_Group]:
        raw = np.frombuffer(data, np.uint8)
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        starts = np.cumsum(lengths) - lengths
        if lengths.min() < HEADER_WIDTH:
            raise self._damaged(int(lengths.argmin()), rows, "it is too short to name its schema")
        ids = raw[starts[:, None] + np.arange(ID_OFFSET, HEADER_WIDTH)].view("<u4").ravel()
        distinct = [int(ids[0])] if (ids == ids[0]).all() else np.unique(ids).tolist()
        if unknown := [schema_id for schema_id in distinct if schema_id not in self._schemas]:
            raise UnknownRowSchemaError(unknown, self._what)
        if len(distinct) == 1:
            return [self._group(self._schemas[distinct[0]], rows, starts, lengths, raw)]
        groups = []
        for schema_id in distinct:
            chosen = np.flatnonzero(ids == schema_id)
            places = chosen if rows is None else rows[chosen]
            groups.append(self._group(self._schemas[schema_id], places, starts[chosen], lengths[chosen], raw))
        return groups

    def _group(
        self,
        schema: RowSchema,
        rows: NDArray[np.int64] | None,
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        raw: NDArray[np.uint8],
    ) -> _Group:
        width = schema.dtype.itemsize
        if lengths.min() < width:
            raise self._damaged(int(lengths.argmin()), rows, f"it has {lengths.min()} of at least {width} bytes")
        if len(raw) == width * len(starts):
            records = raw.view(schema.dtype)
        else:
            records = raw[starts[:, None] + np.arange(width)].view(schema.dtype).ravel()
        total = np.full(len(starts), width, np.int64)
        if schema.variable:
            ends = np.stack([records[str(place)] for place in schema.variable]).astype(np.int64)
            if (bad := (np.diff(ends, axis=0) < 0).any(axis=0)).any():
                raise self._damaged(int(bad.argmax()), rows, "its fields overlap")
            total += ends[-1]
        if (wrong := total != lengths).any():
            at = int(wrong.argmax())
            raise self._damaged(at, rows, f"it has {lengths[at]} bytes where its content needs {total[at]}")
        return _Group(schema, rows, starts, records)

    def _damaged(self, at: int, rows: NDArray[np.int64] | None, why: str) -> OnlineRowError:
        row = at if rows is None else int(rows[at])
        return OnlineRowError(f"{self._what}: row {row} of an online read is damaged: {why}.")


def _nulls(group: _Group, place: int) -> NDArray[np.bool_] | None:
    bits = group.records["nulls"][:, place // 8] & np.uint8(1 << place % 8)
    return bits != 0 if bits.any() else None
