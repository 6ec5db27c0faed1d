from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.errors import UnknownRowSchemaError
from feast_assets.online_stores.base import StoredRows
from feast_assets.online_stores.redis.values import HEADER, SIGN, StampedRows, stamps_of
from feast_assets.online_stores.rows.codec import NOT_FOUND, PRESENT, RowDecoder, RowSchema, encode_rows
from feast_assets.types import Int64, String

times = st.integers(-(2**62), 2**62)
versions = st.integers(0, 2**63 - 1)
# A ttl may reach further back than any time.
bounds = times | st.integers(-(2**65), 2**62)


@settings(deadline=None)
@given(st.lists(st.none() | st.tuples(times, times, versions, st.binary(max_size=9)), max_size=20), bounds)
def test_stored_values_come_apart_into_what_they_were_made_of(
    rows: list[tuple[int, int, int, bytes] | None], oldest: int
) -> None:
    stamped = StampedRows([r and HEADER.pack(r[0] + SIGN, r[1] + SIGN, r[2]) + r[3] for r in rows])
    plain = StoredRows(*[[r[i] if r else 0 for r in rows] for i in range(3)], [r and r[3] for r in rows])
    assert stamped.event_timestamps == plain.event_timestamps
    assert stamped.created_timestamps == plain.created_timestamps
    assert stamped.versions == plain.versions
    assert stamped.payloads == plain.payloads
    older = [index for index in plain.older_than(oldest) if rows[index] is not None]
    assert [index for index in stamped.older_than(oldest) if rows[index] is not None] == older
    assert older == [index for index, row in enumerate(rows) if row is not None and row[0] < oldest]


@given(st.binary(min_size=24, max_size=40))
def test_whatever_somebody_wrote_is_read_as_the_same_numbers_one_by_one_and_as_arrays(value: bytes) -> None:
    one_by_one, arrays = StampedRows([value]), stamps_of([b"k"], [value[:24]])
    assert one_by_one.event_timestamps == arrays.event_timestamps.tolist()
    assert one_by_one.created_timestamps == arrays.created_timestamps.tolist()
    assert one_by_one.versions == arrays.versions.tolist()


OLD = RowSchema.of({"i": Int64})
NEW = RowSchema.of({"s": String, "i": Int64})


def payloads_of(schema: RowSchema, rows: Sequence[dict[str, Any]]) -> list[bytes]:
    return encode_rows(schema, pa.Table.from_pylist(list(rows), pa.schema({"s": pa.string(), "i": pa.int64()})))


@settings(deadline=None)
@given(st.data())
def test_values_decode_in_place_as_their_payloads_do(data: st.DataObject) -> None:
    values = st.fixed_dictionaries(
        {"i": st.none() | st.integers(-(2**63), 2**63 - 1), "s": st.none() | st.text(max_size=5)}
    )
    rows = data.draw(st.lists(st.none() | st.tuples(st.sampled_from([OLD, NEW]), values), max_size=8))
    payloads = [row and payloads_of(row[0], [row[1]])[0] for row in rows]
    stamped = StampedRows([p and HEADER.pack(SIGN, SIGN, 0) + p for p in payloads])
    decoder = RowDecoder({s.schema_id: s for s in (OLD, NEW)}, [("i", Int64), ("s", String)])
    found, expected = decoder.decode_stored(stamped), decoder.decode(payloads)
    assert found.to_pylists() == expected.to_pylists()
    assert [column.statuses for column in found] == [column.statuses for column in expected]
    assert found.to_pylists()[0] == [row and row[1]["i"] for row in rows]


@pytest.mark.parametrize("value", [b"", b"short", bytes(15), bytes(16), bytes(23), bytes(24), bytes(27), b"{" * 40])
def test_values_that_are_no_rows_are_not_there(value: bytes) -> None:
    decoder = RowDecoder({OLD.schema_id: OLD}, [("i", Int64)])
    good = HEADER.pack(SIGN + 7, SIGN, 0) + payloads_of(OLD, [{"i": 1}])[0]
    for values in ([value], [good, value], [value, good], [value, None, good, value]):
        stamped = StampedRows(values)
        found = decoder.decode_stored(stamped)
        assert found.to_pylists() == [[1 if v is good else None for v in values]]
        assert found.column(0).statuses == [PRESENT if v is good else NOT_FOUND for v in values]
        assert set(found.damaged) == {place for place, v in enumerate(values) if v is value}
        if len(value) < HEADER.size:
            assert stamped.event_timestamps == [7 if v is good else 0 for v in values]
            assert [payload is None for payload in stamped.payloads] == [v is not good for v in values]


def test_a_row_of_a_schema_that_nobody_knows_stays_an_error() -> None:
    """A registry that was applied since may know it."""
    decoder = RowDecoder({OLD.schema_id: OLD}, [("i", Int64)])
    other = HEADER.pack(SIGN, SIGN, 0) + payloads_of(NEW, [{"i": 1, "s": "x"}])[0]
    with pytest.raises(UnknownRowSchemaError):
        decoder.decode_stored(StampedRows([other]))
