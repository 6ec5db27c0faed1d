"""Join keys of any column type: what is materialized, joined and asked for is one entity, or all of it is refused."""

from __future__ import annotations

import datetime as dt
import math
import tempfile
import uuid
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.window import ALWAYS
from feast_assets.errors import FeastAssetsError, SourceError
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.online_stores.rows.keys import encode_keys
from feast_assets.retrieval.columns import python_values
from feast_assets.testing.offline_store import joined
from feast_assets.types import Bool, Bytes, Int32, Int64, String, UnixTimestamp, Uuid
from feast_assets.types.canonical import to_arrow_type
from feast_assets.types.exact_keys import cast_key_column, check_key_values
from feast_assets.types.python import to_python_values

NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
REFUSED = object()

KEY_TYPES = (Int32, Int64, Bool, String, Bytes, Uuid, UnixTimestamp)
integers = st.sampled_from([0, 1, 2, -1, 2**24, 2**24 + 1, 2**31 - 1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)])
floats = st.sampled_from(
    [0.0, 1.0, 1.5, -0.0, 16777215.0, 16777216.0, 2.0**53, -(2.0**53) + 1, 1e300, math.nan, math.inf]
)
uuids = st.sampled_from(["8a2d7b6e-2b6f-4a55-9d58-0c6b7c3f7a01", "8A2D7B6E2B6F4A559D580C6B7C3F7A01", "no uuid"])
moment_texts = st.sampled_from(
    [
        "2024-01-01",
        "2024-01-01T00:00:00Z",
        "2024-01-01 02:00:00.000001+02:00",
        "2024-01-01T00:00:00.0000001Z",
        "2024-01-01T24:00",
        "2024-13-01",
    ]
)
texts = st.one_of(st.sampled_from(["", "1", "a", "007", "é", "a\x00b", "\\x41"]), uuids, moment_texts)
binaries = st.sampled_from([b"", b"a", b"\xff", b"\x01" * 16, b"\\x41"])
micros = st.sampled_from([0, 1, -1, 1_704_067_200_000_000, 253_402_300_799_999_999])
nanos = st.sampled_from([0, 1, 1000, -1000, -1, 1_704_067_200_000_000_001])
decimals = st.sampled_from(["0.00", "1.00", "2.50", "-1.00", "2147483648.00", "9007199254740993.00"]).map(Decimal)
wide = st.sampled_from(["1", "2", "9223372036854775807", "9223372036854775808", str(10**30)]).map(Decimal)


def within(low: int, high: int) -> st.SearchStrategy[int]:
    return integers.filter(lambda n: low <= n < high)


COLUMNS: dict[pa.DataType, st.SearchStrategy] = {
    pa.int8(): within(-128, 128),
    pa.int32(): within(-(2**31), 2**31),
    pa.int64(): integers,
    pa.uint32(): within(0, 2**32),
    pa.uint64(): st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1]),
    pa.float32(): floats.filter(lambda n: n in (0.0, 1.0, 1.5, 16777215.0, 16777216.0) or not math.isfinite(n)),
    pa.float64(): floats,
    pa.decimal128(20, 2): decimals,
    pa.decimal128(38, 0): wide,
    pa.bool_(): st.booleans(),
    pa.string(): texts,
    pa.dictionary(pa.int32(), pa.string()): texts,
    pa.binary(): binaries,
    pa.date32(): st.sampled_from([dt.date(2024, 1, 1), dt.date(1969, 12, 31), dt.date(1, 1, 1)]),
    pa.timestamp("ms"): micros.map(lambda n: n // 1000),
    pa.timestamp("us", "UTC"): micros,
    pa.timestamp("us", "Europe/Paris"): micros.filter(lambda n: n < 2 * 10**17),  # Python shows no later ones there
    pa.timestamp("ns"): nanos,
    pa.timestamp("ns", "UTC"): nanos,
}


@st.composite
def columns(draw):
    kind = draw(st.sampled_from(list(COLUMNS)))
    values = draw(st.lists(st.one_of(st.none(), COLUMNS[kind]), min_size=1, max_size=4))
    return pa.array(values, kind)


def expected(value, kind, dtype):
    """Returns the key that a stored value is: None for null, REFUSED where it is no such key, or not without loss."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    is_ = pa.types
    if dtype in (Int32, Int64):
        limit = 2**31 if dtype == Int32 else 2**63
        if is_.is_floating(kind):
            if not math.isfinite(value) or value % 1 or abs(value) >= (2**24 if kind.bit_width == 32 else 2**53):
                return REFUSED
        elif not (is_.is_integer(kind) or is_.is_decimal(kind)) or value != int(value):
            return REFUSED
        return int(value) if -limit <= value < limit else REFUSED
    if dtype == Bool:
        number = is_.is_integer(kind) or is_.is_floating(kind) or is_.is_boolean(kind)
        return bool(value) if number and value in (0, 1) else REFUSED
    if dtype == UnixTimestamp:
        return expected_moment(value, kind)
    text, data = isinstance(value, str), isinstance(value, bytes)
    if not (text or data):
        return REFUSED
    try:
        if dtype == String:
            return value if text else value.decode()
        if dtype == Bytes:
            return value.encode() if text else value
        return uuid.UUID(value) if text else uuid.UUID(bytes=value)
    except ValueError:
        return REFUSED


def expected_moment(value, kind):
    is_ = pa.types
    try:
        if is_.is_integer(kind) or is_.is_floating(kind):
            return EPOCH + dt.timedelta(seconds=int(value)) if math.isfinite(value) and value % 1 == 0 else REFUSED
        if is_.is_timestamp(kind):
            per_micro = {"ms": 1000, "us": 1, "ns": 0}[kind.unit]
            if not per_micro and value % 1000:
                return REFUSED
            return EPOCH + dt.timedelta(microseconds=value * per_micro if per_micro else value // 1000)
        if is_.is_date(kind):
            return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
        if isinstance(value, str) and value[:4] == "2024" and "0000001" not in value and len(value) > 9:
            moment = dt.datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        pass
    return REFUSED


def stored_values(column):
    """Returns the values as the oracle takes them; timestamps as integers of their unit."""
    return (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()


def attempt(call):
    try:
        return call()
    except FeastAssetsError:
        return REFUSED


class Source:
    """A source of one key column, whose feature is the number of its row."""

    def __init__(self, folder, column, dtype):
        rows = pa.table({"k": column, "ts": pa.array([NOON] * len(column)), "row": range(len(column))})
        pq.write_table(rows, Path(folder) / "s.parquet")
        source = FileSource(name="s", path="s.parquet", timestamp_field="ts")
        self.store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(), Path(folder))
        self.key = Field(name="k", dtype=dtype)
        self.history = History("v", (source,), (self.key,), (Field(name="row", dtype=Int64),), "ts")

    def materialized(self):
        return self.store.latest(self.history, [ALWAYS]).read_all()

    def joined(self, keys):
        spine = pa.table({"k": keys, "event_timestamp": pa.array([NOON] * len(keys), pa.timestamp("us", "UTC"))})
        join = PointInTimeJoin(self.history, {}, {}, None)
        return joined(self.store, spine, [join]).column("row").to_pylist()


@settings(max_examples=150, deadline=None)
@given(columns(), st.sampled_from(KEY_TYPES))
@example(pa.array([Decimal("1.00"), Decimal("2.50")], pa.decimal128(10, 2)), Int64)
@example(pa.array([0, 86400]), UnixTimestamp)
@example(pa.array([1], pa.timestamp("ns")), UnixTimestamp)
@example(pa.array([2]), Bool)
@example(pa.array(["\\x41"]), Bytes)
def test_materialized_rows_joins_and_handed_in_keys_agree_on_the_entity_or_all_are_refused(column, dtype):
    values = stored_values(column)
    wanted = [expected(value, column.type, dtype) for value in values]
    with tempfile.TemporaryDirectory() as folder:
        source = Source(folder, column, dtype)
        rows = attempt(source.materialized)
        handed_in = attempt(lambda: cast_key_column(column, dtype, subject="keys"))
        if REFUSED in wanted:
            assert rows is REFUSED
            assert handed_in is REFUSED
            assert attempt(lambda: source.joined(pa.nulls(1, to_arrow_type(dtype)))) is REFUSED
            return
        if rows is REFUSED:
            # A column of nothing but nulls may still be of a kind that cannot be such a key.
            assert all(value is None for value in wanted)
            return
        entities = {key for key in wanted if key is not None}
        assert set(to_python_values(rows.column("k"), dtype)) == entities
        assert rows.num_rows == len(entities)
        assert to_python_values(handed_in, dtype) == wanted
        numbers = dict(zip(to_python_values(rows.column("k"), dtype), rows.column("row").to_pylist(), strict=True))
        assert source.joined(handed_in) == [numbers.get(key) for key in wanted]
        assert source.joined(column) == [numbers.get(key) for key in wanted]
        # Online, the row is under the key that a request for the entity asks for.
        present = [key for key in wanted if key is not None]
        stored = encode_keys(["k"], [dtype], [rows.column("k")])
        assert set(encode_keys(["k"], [dtype], [python_values(present, dtype, "keys")])) == set(stored)


@settings(max_examples=100, deadline=None)
@given(columns(), st.sampled_from(KEY_TYPES))
def test_keys_handed_in_as_python_values_are_the_same_entity_or_refused(column, dtype):
    # Python's floats have 64 bits, and its decimals 0 and 1 are Bool like other numbers.
    kind = pa.float64() if pa.types.is_floating(column.type) else column.type
    kind = pa.int64() if dtype == Bool and pa.types.is_decimal(kind) else kind
    wanted = [expected(value, kind, dtype) for value in stored_values(column)]
    values = [value for value in column.to_pylist() if value is not None]

    def read():
        check_key_values(values, dtype, "keys")
        return python_values(values, dtype, "keys")

    found = attempt(read)
    if found is not REFUSED:
        assert [key for key in found if key is not None] == [key for key in wanted if key is not None]


def test_a_rounded_key_is_refused_with_its_column_its_value_and_a_remedy(tmp_path):
    source = Source(tmp_path, pa.array([Decimal("2.50")], pa.decimal128(10, 2)), Int64)
    with pytest.raises(SourceError, match=r"'k' is declared Int64 but holds 2\.50.*declare the type"):
        source.materialized()
