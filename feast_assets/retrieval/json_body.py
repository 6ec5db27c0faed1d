"""The JSON body of an online answer, made column by column from what was read, without a loop over values in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from feast_assets.online_stores.rows.codec import NULL_VALUE, PRESENT
from feast_assets.types.feast_json import timestamp_text, to_feast_json_values

if TYPE_CHECKING:
    from feast_assets.retrieval.response import OnlineResponse, ReadFeatures
    from feast_assets.types import FeastType

_STATUS_TEXTS = tuple(f'"{name}"' for name in ("INVALID", "PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"))
_SIZES_REMEMBERED = 256

Encode = Callable[[Any], bytes]


def json_body(response: OnlineResponse, encode: Encode) -> bytes:
    """Returns the body that Feast's HTTP server answers with.

    ``{"results": [{"values", "statuses", "event_timestamps"}, ...], "metadata": {"feature_names": [...]}}``, one result
    per name with one item per row. Join keys come first; they have the event time 0, as features of on-demand views
    have. Request data is not given back.

    Args:
        encode: makes JSON of lists, numbers, texts, booleans, None and dicts.
    """
    rows = len(response)
    shape = response.shape
    no_time = _no_times(rows)
    columns: list[bytes] = []
    for given in shape.given:
        if not given.request_data:
            values = response.given(given.name)
            columns.append(_column(encode, values, given.dtype, _of_nulls(values), no_time))
    read_columns = [_read_columns(response, number, encode) for number in range(len(shape.of_reads))]
    columns += [read_columns[read][number] for read, number in shape.places_of_stored]
    for computed in response.computed:
        values = computed.to_pylist()
        columns.append(_column(encode, values, computed.type, _of_nulls(values), no_time))
    names = [*shape.given_back, *(stored.name for stored in shape.stored), *shape.computed]
    return b'{"results":[%b],"metadata":{"feature_names":%b}}' % (b",".join(columns), encode(names))


def _read_columns(response: OnlineResponse, number: int, encode: Encode) -> list[bytes]:
    names, positions = response.shape.of_reads[number]
    read = response.reads[number]
    features = read.features
    values_of = features.to_pylists(positions)
    indices = range(len(names)) if positions is None else positions
    times = _times(read)
    fields = features.fields
    if features.all_present:
        statuses = _all_present(len(response))
        return [
            _column(encode, values, fields[index][1], statuses, times)
            for values, index in zip(values_of, indices, strict=True)
        ]
    return [
        _column(encode, values, fields[index][1], _statuses(features.statuses(index)), times)
        for values, index in zip(values_of, indices, strict=True)
    ]


def _column(encode: Encode, values: list[Any], feast_type: FeastType, statuses: bytes, times: bytes) -> bytes:
    return b'{"values":%b,"statuses":[%b],"event_timestamps":[%b]}' % (
        encode(to_feast_json_values(values, feast_type)),
        statuses,
        times,
    )


def _of_nulls(values: Sequence[Any]) -> bytes:
    if None not in values:
        return _all_present(len(values))
    return _statuses([NULL_VALUE if value is None else PRESENT for value in values])


def _statuses(statuses: Iterable[int]) -> bytes:
    return ",".join([_STATUS_TEXTS[status] for status in statuses]).encode()


@lru_cache(maxsize=_SIZES_REMEMBERED)
def _all_present(rows: int) -> bytes:
    return _statuses([PRESENT] * rows)


@lru_cache(maxsize=_SIZES_REMEMBERED)
def _no_times(rows: int) -> bytes:
    return _quoted([timestamp_text(0)] * rows)


def _times(read: ReadFeatures) -> bytes:
    return _quoted(list(map(timestamp_text, read.event_timestamps)))


def _quoted(texts: Sequence[str]) -> bytes:
    return ('"' + '","'.join(texts) + '"').encode() if texts else b""
