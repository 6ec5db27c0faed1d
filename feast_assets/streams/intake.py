"""From messages to rows, and from rows to the online tables of views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_assets.compute.ingestion import encode_ingested
from feast_assets.compute.stream_rows import is_transformed_on_write, stream_rows
from feast_assets.compute.validation import validates
from feast_assets.compute.versions import message_versions, not_from_the_future
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.stream_feature_view import StreamFeatureView
from feast_assets.offline_stores.declared_columns import like
from feast_assets.streams.formats.base import MessageError, Rejected, apart, decode
from feast_assets.streams.row_checks import first_broken_rules

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.offline_stores.base import OfflineStore
    from feast_assets.online_stores.base import EncodedRows
    from feast_assets.streams.columns import StreamColumns
    from feast_assets.streams.formats.base import Decoder


@dataclass(frozen=True, slots=True)
class StreamRows:
    """The rows of some messages.

    Attributes:
        messages: for each row the index of its message, ascending.
        rows: with the columns of the batch source.
        versions: int64[n], of the rows in online tables.
        rejected: messages that are no rows.
    """

    messages: npt.NDArray[np.int64]
    rows: pa.Table
    versions: npt.NDArray[np.int64]
    rejected: list[Rejected]

    def take(self, indices: Sequence[int]) -> StreamRows:
        """Returns the rows at some indices."""
        import numpy as np

        chosen = np.asarray(indices, np.int64)
        return StreamRows(self.messages[chosen], self.rows.take(chosen), self.versions[chosen], [])


def rows_of_messages(
    decoder: Decoder, columns: StreamColumns, values: Sequence[bytes | None], times: Sequence[int | None]
) -> StreamRows:
    """Returns the rows of messages.

    A message without a join key or an event time is rejected. Where the source has a created timestamp column and a
    message says none, it was created when the message was written.

    Args:
        times: when the messages were written, UTC microseconds; None where that is not known.

    Raises:
        StoreUnavailableError: something that decoding needs cannot be reached.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    pieces, rejected = decode(decoder, values)
    if not pieces:
        empty = pa.table({column.name: pa.array([], _arrow_type(column.dtype)) for column in columns.columns})
        return StreamRows(np.zeros(0, np.int64), empty, np.zeros(0, np.int64), rejected)
    messages = np.array([i for indices, _ in pieces for i in indices], np.int64)
    rows = pa.concat_tables([table for _, table in pieces], promote_options="permissive")
    versions = message_versions([times[i] for i in messages])
    missing = [(name, rows.column(name).is_null()) for name in columns.required if rows.column(name).null_count]
    if missing:
        is_whole = np.ones(len(messages), np.bool_)
        for name, nulls in missing:
            for row in np.flatnonzero(nulls.to_numpy()):
                if is_whole[row]:
                    role = "event time" if name == columns.timestamp else "join key"
                    rejected.append(Rejected(int(messages[row]), f"it lacks {name!r}, the {role}."))
                is_whole[row] = False
        kept = np.flatnonzero(is_whole)
        messages, rows, versions = messages[kept], rows.take(kept), versions[kept]
        rejected.sort(key=lambda each: each.index)
    if columns.stored is not None and len(columns.stored):
        fitting, failed = apart(list(range(rows.num_rows)), _fitting(rows, columns.stored))
        if failed:
            rejected += [Rejected(int(messages[each.index]), each.reason) for each in failed]
            rejected.sort(key=lambda each: each.index)
            kept = np.array([i for indices, _ in fitting for i in indices], np.int64)
            messages, rows, versions = messages[kept], rows.take(kept), versions[kept]
    if columns.created and rows.column(columns.created).null_count:
        moments = pa.array(versions & ~1, pa.int64(), mask=versions == 1).cast(pa.timestamp("us", "UTC"))
        position = rows.schema.get_field_index(columns.created)
        filled = pc.coalesce(rows.column(columns.created), moments, rows.column(columns.timestamp))
        rows = rows.set_column(position, columns.created, filled)
    return StreamRows(messages, rows, not_from_the_future(versions), rejected)


def _fitting(rows: pa.Table, stored: pa.Schema) -> Callable[[list[int]], None]:
    """Returns what raises an error where rows do not fit into the columns that history has."""

    def check(indices: list[int]) -> None:
        numbers = rows.select(stored.names)
        like(numbers if len(indices) == rows.num_rows else numbers.take(indices), stored, "its history")

    return check


@dataclass(frozen=True, slots=True)
class ViewIntake:
    """Makes one view's online rows.

    Attributes:
        view: with its function attached.
        call: names the consumer in errors.
        offline_store: runs the SQL of functions.
    """

    view: FeatureView
    call: str
    offline_store: Callable[[], OfflineStore]

    def encoded(self, decoded: StreamRows) -> tuple[list[EncodedRows], list[Rejected], npt.NDArray[np.bool_]]:
        """Returns the online rows of decoded messages.

        Returns:
            the rows; the messages that the view cannot take, as its function fails, a value does not fit or breaks a
            check; and for each decoded row whether it was taken.
        """
        import numpy as np

        count = len(decoded.messages)
        taken = np.ones(count, np.bool_)
        rejected: list[Rejected] = []
        if isinstance(self.view, BatchFeatureView) and self.view.aggregations:
            return [], [], taken  # what it serves is computed of history
        indices = list(range(count))
        is_computed = is_transformed_on_write(self.view)
        if not is_computed and validates(self.view):
            broken = first_broken_rules(self.view, _mapped(self.view, decoded.rows))
            rejected += [Rejected(int(decoded.messages[i]), reason) for i, reason in broken.items()]
            taken[list(broken)] = False
            indices = [i for i in indices if taken[i]]
        attempt = self._attempt(decoded, self._computed if is_computed else self._plain)
        pieces, failed = apart(indices, attempt)
        for each in failed:
            taken[each.index] = False
            rejected.append(Rejected(int(decoded.messages[each.index]), each.reason))
        return [rows for _, rows in pieces if len(rows)], sorted(rejected, key=lambda each: each.index), taken

    def _attempt(
        self, decoded: StreamRows, encode: Callable[[StreamRows], EncodedRows]
    ) -> Callable[[list[int]], EncodedRows]:
        def attempt(indices: list[int]) -> EncodedRows:
            return encode(decoded if len(indices) == len(decoded.messages) else decoded.take(indices))

        return attempt

    def _plain(self, decoded: StreamRows) -> EncodedRows:
        return encode_ingested(self.view, decoded.rows, decoded.versions, self.call)

    def _computed(self, decoded: StreamRows) -> EncodedRows:
        assert isinstance(self.view, StreamFeatureView)
        rows = stream_rows(self.view, decoded.rows, self.call, self.offline_store)
        if validates(self.view):
            broken = first_broken_rules(self.view, rows)
            if broken:
                raise MessageError(next(iter(broken.values())))
        # Which row a function made of which message is not known, so its rows have no version of their own.
        return encode_ingested(self.view, rows, 1, self.call)


def _mapped(view: FeatureView, rows: pa.Table) -> pa.Table:
    source = view.batch_source
    assert source is not None
    return rows.rename_columns([source.field_mapping.get(name, name) for name in rows.column_names])


def _arrow_type(dtype: object) -> pa.DataType:
    import pyarrow as pa

    from feast_assets.types.arrow import to_arrow_type

    return pa.null() if dtype is None else to_arrow_type(dtype)  # type: ignore[arg-type]
