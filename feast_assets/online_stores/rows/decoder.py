"""Payloads to columns; the layout is `feast_assets.online_stores.rows.schema`'s.

Serving imports this, so nothing here needs numpy, Arrow or pandas before `Column.to_arrow` is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from feast_assets.errors import UnknownRowSchemaError
from feast_assets.online_stores.base import StoredRows
from feast_assets.online_stores.rows.column import DecodedRows
from feast_assets.online_stores.rows.foreign_values import foreign_row
from feast_assets.online_stores.rows.layout import Block, PayloadError, RowLayout, reads_as
from feast_assets.online_stores.rows.schema import ID_WIDTH, RowSchema
from feast_assets.types.feast_type import FeastType
from feast_assets.types.python import is_mutable

__all__ = ["RowDecoder", "reads_as"]


class RowDecoder:
    """Reads features out of payloads of any of several schemas. Safe to share between threads.

    The layout of a schema is compiled when its first payload is read.
    """

    def __init__(
        self,
        schemas: Mapping[int, RowSchema],
        fields: Sequence[tuple[str, FeastType]],
        *,
        subject: str = "Online rows",
    ):
        """Creates a decoder.

        Args:
            schemas: schema id to schema, all that payloads may name.
            fields: the features to read, with the types to read them as.
            subject: names the rows in messages, such as ``"Feature view 'driver_stats'"``.
        """
        self._schemas = dict(schemas)
        self._fields = tuple(fields)
        self._mutable = frozenset(index for index, (_, kind) in enumerate(self._fields) if is_mutable(kind))
        self._subject = subject
        # By the schema id as it is in a payload, and the payload's offset.
        self._layouts: dict[tuple[bytes, int], RowLayout] = {}

    def decode_stored(self, stored: StoredRows) -> DecodedRows:
        """As `decode`, for the rows that a store returned."""
        values, offset = stored.stored_values
        alike = self._alike(values, offset)
        return self._mixed(stored.payloads, stored.versions, stored.foreign()) if alike is None else alike

    def decode(self, payloads: Sequence[bytes | None]) -> DecodedRows:
        """Returns the features, each with one value and one status per payload.

        NOT_FOUND where there is no payload, or it is damaged, or its schema lacks the feature or has it in a type that
        cannot be read as the type asked for; NULL_VALUE where null was stored; else PRESENT. `DecodedRows.damaged` says
        which payloads are damaged.

        Raises:
            UnknownRowSchemaError: a payload names a schema that this decoder was not given.
        """
        alike = self._alike(payloads, 0)
        return self._mixed(payloads, [0] * len(payloads), {}) if alike is None else alike

    def _alike(self, values: Sequence[bytes | None], offset: int) -> DecodedRows | None:
        """Returns the features of rows that are all there and of one schema, as nearly always; else None.

        Args:
            offset: of the payload in each value.
        """
        first = values[0] if values else None
        if first is None:
            return None
        try:
            row_id = first[offset : offset + ID_WIDTH]
            layout = self._layouts.get((row_id, offset))
            if layout is None:
                schema = self._schemas.get(int.from_bytes(row_id, "little"))
                if schema is None or len(row_id) < ID_WIDTH:
                    return None
                layout = self._layouts[row_id, offset] = RowLayout(schema, self._fields, offset)
            block = layout.read(values)  # type: ignore[arg-type]
        except (PayloadError, TypeError):  # One is damaged, of another schema, no bytes, or None.
            return None
        return DecodedRows(self._fields, self._subject, (block,), None, block.rows, mutable=self._mutable)

    def _mixed(
        self, payloads: Sequence[bytes | None], versions: Sequence[int], foreign: Mapping[int, str]
    ) -> DecodedRows:
        """As `decode`, for payloads of any schemas.

        Args:
            foreign: rows whose stored values the store itself does not take for rows, with the reasons.
        """
        damaged = dict(foreign)
        rows_of: dict[bytes, list[int]] = {}
        for row, (payload, version) in enumerate(zip(payloads, versions, strict=True)):
            if payload is None:
                continue
            if reason := foreign_row(version, payload):
                damaged[row] = reason
            else:
                rows_of.setdefault(payload[:ID_WIDTH], []).append(row)
        self._check_known(rows_of)
        # The position of each row in the blocks, which come one schema after another; -1 where it is missing.
        positions = [-1] * len(payloads)
        blocks: list[Block] = []
        filled = 0
        for row_id, rows in rows_of.items():
            block, read = self._block(row_id, payloads, rows, damaged)
            if block is None:
                continue
            blocks.append(block)
            for position, row in enumerate(read, filled):
                positions[row] = position
            filled += len(read)
        return DecodedRows(
            self._fields, self._subject, blocks, positions, len(payloads), damaged=damaged, mutable=self._mutable
        )

    def _block(
        self, row_id: bytes, payloads: Sequence[bytes | None], rows: Sequence[int], damaged: dict[int, str]
    ) -> tuple[Block | None, Sequence[int]]:
        """Reads rows of one schema; returns what was read and of which rows, and notes those that are damaged."""
        layout = self._layouts.get((row_id, 0))
        if layout is None:
            schema = self._schemas[int.from_bytes(row_id, "little")]
            layout = self._layouts[row_id, 0] = RowLayout(schema, self._fields)
        try:
            return layout.read([payloads[row] for row in rows]), rows  # type: ignore[misc]
        except PayloadError:
            pass
        sound = []
        for row in rows:
            try:
                layout.read([payloads[row]])  # type: ignore[list-item]
            except PayloadError as error:
                damaged[row] = str(error)
            else:
                sound.append(row)
        return (layout.read([payloads[row] for row in sound]), sound) if sound else (None, ())  # type: ignore[misc]

    def _check_known(self, row_ids: Iterable[bytes]) -> None:
        ids = [int.from_bytes(row_id, "little") for row_id in row_ids]
        if unknown := [schema_id for schema_id in ids if schema_id not in self._schemas]:
            raise UnknownRowSchemaError(unknown, self._subject)
