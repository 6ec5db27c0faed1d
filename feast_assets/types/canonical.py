"""The one Arrow type of each value type.

Inside the pipeline every type has one *canonical* Arrow type, so that no other module asks "which kind of integer":

==========================  ==============================================================================
type                        canonical Arrow
==========================  ==============================================================================
Bytes, PdfBytes, ImageBytes ``binary``
String                      ``string``
Bool, Int32 .. Float64      ``bool``, ``int32``, ``int64``, ``float``, ``double``
UnixTimestamp               ``timestamp[us, UTC]``, years 1 to 9999
Json                        ``string``: JSON text, as it came
Map                         ``string``: JSON text of an object
ScalarMap                   ``string``: JSON text of a list of ``[key, value]`` pairs
Uuid, TimeUuid              ``string``: lower case with hyphens
Decimal                     ``string``: decimal digits, trailing zeros kept
ZonedTimestamp              ``string``: ISO 8601 with offset, and the zone's name where it has one, as in
                            ``2024-07-01T12:00:00.000000+02:00[Europe/Paris]``
Array, Set                  ``list<item>``; a set's items are distinct
Struct                      ``struct``, the fields in their order
==========================  ==============================================================================
"""

from __future__ import annotations

import pyarrow as pa

from feast_assets.types.feast_type import (
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

TIMESTAMP = pa.timestamp("us", tz="UTC")

_CANONICAL: dict[FeastType, pa.DataType] = {
    Bytes: pa.binary(),
    PdfBytes: pa.binary(),
    ImageBytes: pa.binary(),
    String: pa.string(),
    Bool: pa.bool_(),
    Int32: pa.int32(),
    Int64: pa.int64(),
    Float32: pa.float32(),
    Float64: pa.float64(),
    UnixTimestamp: TIMESTAMP,
    Json: pa.string(),
    Map: pa.string(),
    ScalarMap: pa.string(),
    Uuid: pa.string(),
    TimeUuid: pa.string(),
    Decimal: pa.string(),
    ZonedTimestamp: pa.string(),
}


def to_arrow_type(feast_type: FeastType) -> pa.DataType:
    """Returns the canonical Arrow type of a value type.

    Raises:
        ValueError: the type has no values (``Invalid``).
    """
    if isinstance(feast_type, (Array, Set)):
        return pa.list_(to_arrow_type(feast_type.base_type))
    if isinstance(feast_type, Struct):
        return pa.struct([pa.field(name, to_arrow_type(item)) for name, item in feast_type.items])
    if feast_type not in _CANONICAL:
        raise ValueError(f"Type {feast_type} has no values, so it has no Arrow type.")
    return _CANONICAL[feast_type]


def is_canonical(arrow_type: pa.DataType, feast_type: FeastType) -> bool:
    """Says whether an Arrow type is the canonical one of a value type; names of list items do not matter."""
    return bool(arrow_type == to_arrow_type(feast_type))
