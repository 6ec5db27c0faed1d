from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.errors import OnlineRowError
from feast_assets.online_stores.base import StoredRows
from feast_assets.online_stores.codec import RowDecoder, RowSchema, encode_rows
from feast_assets.online_stores.redis_values import HEADER, SIGN, StampedRows
from feast_assets.types import Int64, String

times = st.integers(-(2**62), 2**62)
# A ttl may reach further back than any time.
bounds = times | st.integers(-(2**65), 2**62)


@given(st.lists(st.none() | st.tuples(times, times, st.binary(max_size=9)), max_size=20), bounds)
def test_stored_values_come_apart_into_what_they_were_made_of(
    rows: list[tuple[int, int, bytes] | None], oldest: int
) -> None:
    stamped = StampedRows([r and HEADER.pack(r[0] + SIGN, r[1] + SIGN) + r[2] for r in rows], "host:1")
    plain = StoredRows([r[0] if r else 0 for r in rows], [r[1] if r else 0 for r in rows], [r and r[2] for r in rows])
    assert stamped.event_timestamps == plain.event_timestamps
    assert stamped.created_timestamps == plain.created_timestamps
    assert stamped.payloads == plain.payloads
    there = [place for place in plain.before(oldest) if rows[place] is not None]
    assert [place for place in stamped.before(oldest) if rows[place] is not None] == there
    assert there == [place for place, row in enumerate(rows) if row is not None and row[0] < oldest]


OLD = RowSchema.of({"i": Int64})
NEW = RowSchema.of({"s": String, "i": Int64})


def payloads_of(schema: RowSchema, rows: Sequence[dict[str, Any]]) -> list[bytes]:
    return encode_rows(schema, pa.Table.from_pylist(list(rows), pa.schema({"s": pa.string(), "i": pa.int64()})))


@given(st.data())
def test_values_decode_in_place_as_their_payloads_do(data: st.DataObject) -> None:
    values = st.fixed_dictionaries(
        {"i": st.none() | st.integers(-(2**63), 2**63 - 1), "s": st.none() | st.text(max_size=5)}
    )
    rows = data.draw(st.lists(st.none() | st.tuples(st.sampled_from([OLD, NEW]), values), max_size=8))
    payloads = [row and payloads_of(row[0], [row[1]])[0] for row in rows]
    stamped = StampedRows([p and HEADER.pack(SIGN, SIGN) + p for p in payloads], "host:1")
    decoder = RowDecoder({s.schema_id: s for s in (OLD, NEW)}, [("i", Int64), ("s", String)])
    found, expected = decoder.decode_stored(stamped), decoder.decode(payloads)
    assert found.to_pylists() == expected.to_pylists()
    assert [column.statuses for column in found] == [column.statuses for column in expected]
    assert found.to_pylists()[0] == [row and row[1]["i"] for row in rows]


@pytest.mark.parametrize("value", [b"", b"short", bytes(16), bytes(40)])
def test_values_that_are_no_rows_are_refused(value: bytes) -> None:
    decoder = RowDecoder({OLD.schema_id: OLD}, [("i", Int64)])
    good = HEADER.pack(SIGN, SIGN) + payloads_of(OLD, [{"i": 1}])[0]
    for values in ([value], [good, value], [value, good]):
        with pytest.raises((OnlineRowError, LookupError)):
            decoder.decode_stored(StampedRows(values, "host:1"))
