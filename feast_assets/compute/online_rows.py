"""A view's rows on their way from Arrow into the online store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.errors import SourceError
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from feast_assets.online_stores.base import NO_CREATED_TIME, EncodedRows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from feast_assets.online_stores.rows.codec import RowSchema


@dataclass(frozen=True)
class OnlineRows:
    """Encodes rows of one view."""

    view: FeatureView

    @cached_property
    def schema(self) -> RowSchema:
        from feast_assets.online_stores.rows.codec import RowSchema

        return RowSchema(tuple((f.name, f.dtype) for f in self.view.row_fields))

    def encode(self, rows: pa.RecordBatch | pa.Table, versions: npt.NDArray[np.int64] | int) -> EncodedRows:
        """Returns rows as the online store takes them.

        Args:
            rows: join keys and features in canonical Arrow types, EVENT_TIMESTAMP, CREATED_TIMESTAMP; one row per key.
            versions: int64[n] or one number for all; of rows with equal times the one of the higher version is kept.

        Raises:
            SourceError: a vector has another length than its field declares.
        """
        import numpy as np
        import pyarrow as pa

        from feast_assets.online_stores.rows.codec import encode_rows

        table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
        self._check_vectors(table)
        keys = self.encode_keys(table)
        payloads = encode_rows(self.schema, table.select([f.name for f in self.view.row_fields]))
        return EncodedRows(
            keys,
            np.asarray(_micros(table.column(EVENT_TIMESTAMP))),
            np.asarray(_micros(table.column(CREATED_TIMESTAMP))),
            np.broadcast_to(np.asarray(versions, np.int64), (len(table),)),
            payloads,
            of_codec=True,
        )

    def encode_keys(self, table: pa.Table) -> list[bytes]:
        """Returns the encoded entity key of each row of a table that has the join keys in canonical Arrow types."""
        import pyarrow as pa

        from feast_assets.online_stores.rows.keys import encode_keys

        fields = self._key_fields
        return encode_keys(
            [f.name for f in fields],
            [f.dtype for f in fields],
            [table.column(f.name) if f.name in table.column_names else pa.array([""] * len(table)) for f in fields],
        )

    def _check_vectors(self, rows: pa.Table) -> None:
        for field in self.view.row_fields:
            if not field.vector_length:
                continue
            import pyarrow.compute as pc

            lengths = pc.list_value_length(rows.column(field.name))
            other = lengths.filter(pc.not_equal(lengths, field.vector_length))
            if len(other):
                raise SourceError(
                    f"Feature view {self.view.name!r}: {len(other)} vectors of feature {field.name!r} have another "
                    f"length than its vector_length of {field.vector_length}, the first {other[0].as_py()}."
                )

    def decode_keys(self, keys: Sequence[bytes]) -> pa.Table:
        """Returns the join keys of encoded entity keys, in canonical Arrow types; one row per key."""
        from feast_assets.online_stores.rows.decoded_keys import decode_keys

        return decode_keys([f.name for f in self._key_fields], [f.dtype for f in self._key_fields], keys)

    def readable_keys(self, keys: Sequence[bytes]) -> list[bytes]:
        """Returns those of some keys that are encoded entity keys of the view."""
        from feast_assets.online_stores.rows.decoded_keys import readable_keys

        return readable_keys([f.name for f in self._key_fields], [f.dtype for f in self._key_fields], keys)

    @property
    def _key_fields(self) -> list[Field]:
        return sorted(self.view.entity_columns)


def newest_per_key(rows: EncodedRows) -> EncodedRows:
    """Returns at most one row per key, the one that newest-wins keeps."""
    if len(set(rows.keys)) == len(rows.keys):
        return rows
    order = sorted(
        range(len(rows)),
        key=lambda i: (rows.event_timestamps[i], rows.created_timestamps[i], rows.versions[i], rows.payloads[i]),
    )
    return rows.take(list({rows.keys[i]: i for i in order}.values()))


def _micros(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Returns timestamps as int64 microseconds, nulls as `NO_CREATED_TIME`."""
    import numpy as np
    import pyarrow as pa

    from feast_assets.types.arrow_values import fixed_values, null_flags

    whole = column.cast(pa.timestamp("us", "UTC")).combine_chunks()
    micros: npt.NDArray[np.int64] = fixed_values(whole, "<i8")
    return np.where(null_flags(whole), NO_CREATED_TIME, micros) if whole.null_count else micros
