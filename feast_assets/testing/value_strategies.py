"""Hypothesis strategies for value types and their Python values."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid

from hypothesis import strategies as st

from feast_assets.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    Map,
    PdfBytes,
    ScalarMap,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)

_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_FINITE = st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _FINITE | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
_ZONES = st.timezones() | st.integers(-840, 840).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
_YEARS = {"min_value": dt.datetime(1900, 1, 2), "max_value": dt.datetime(2100, 1, 1)}  # noqa: DTZ001 - naive bounds

_PRIMITIVES: dict[FeastType, st.SearchStrategy[object]] = {
    Bytes: st.binary(max_size=12),
    PdfBytes: st.binary(max_size=12),
    ImageBytes: st.binary(max_size=12),
    String: _TEXT,
    Bool: st.booleans(),
    Int32: st.integers(-(2**31), 2**31 - 1),
    Int64: st.integers(-(2**63), 2**63 - 1),
    Float32: st.floats(width=32, allow_nan=False),
    Float64: st.floats(allow_nan=False),
    UnixTimestamp: st.datetimes(timezones=st.just(dt.UTC)),
    Json: st.dictionaries(_TEXT, _JSON, max_size=3) | st.lists(_JSON, max_size=3) | st.integers(-9, 9),
    Map: st.dictionaries(_TEXT, _JSON, max_size=3),
    ScalarMap: st.dictionaries(st.integers(-(2**53), 2**53) | _TEXT, _JSON, max_size=3),
    Uuid: st.uuids(),
    TimeUuid: st.builds(uuid.uuid1, st.integers(0, 2**48 - 1), st.integers(0, 2**14 - 1)),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False, places=6) | st.just(decimal.Decimal("1E+400")),
    ZonedTimestamp: st.datetimes(**_YEARS, timezones=_ZONES, allow_imaginary=False),
}
_IN_SETS = [Bytes, String, Bool, Int32, Int64, Float32, Float64, UnixTimestamp, Uuid, TimeUuid, Decimal]
_NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)


def feast_types() -> st.SearchStrategy[FeastType]:
    """Types of every kind, nested a few levels deep."""
    in_arrays = st.sampled_from([t for t in _PRIMITIVES if t not in (PdfBytes, ImageBytes, ScalarMap, ZonedTimestamp)])
    sets: st.SearchStrategy[FeastType] = st.builds(Set, st.sampled_from(_IN_SETS))
    leaves: st.SearchStrategy[FeastType] = st.sampled_from(list(_PRIMITIVES)) | st.builds(Array, in_arrays) | sets

    def nested(inner: st.SearchStrategy[FeastType]) -> st.SearchStrategy[FeastType]:
        structs = st.builds(Struct, st.dictionaries(_NAMES, inner, min_size=1, max_size=3))
        collections = inner.filter(lambda t: isinstance(t, (Array, Set, Struct)))
        return structs | st.builds(Array, collections)

    return st.recursive(leaves, nested, max_leaves=3)


def values_of(feast_type: FeastType) -> st.SearchStrategy[object]:
    """Python values of a type, as they come back from a store; nulls inside collections, but not itself null."""
    if isinstance(feast_type, Struct):
        return st.fixed_dictionaries({name: st.none() | values_of(item) for name, item in feast_type.items})
    if isinstance(feast_type, Set):
        return st.sets(values_of(feast_type.base_type), max_size=4)
    if isinstance(feast_type, Array):
        return st.lists(st.none() | values_of(feast_type.base_type), max_size=4)
    return _PRIMITIVES[feast_type]
