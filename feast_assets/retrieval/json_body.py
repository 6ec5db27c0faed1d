"""The JSON body of an online answer, made column by column from what was read, without a loop over values in Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from feast_assets.online_stores.rows.codec import NULL_VALUE, PRESENT
from feast_assets.types.feast_json import feast_json_converter, is_number, timestamp_texts

if TYPE_CHECKING:
    from feast_assets.retrieval.response import OnlineResponse, ReadFeatures

_STATUS_TEXTS = tuple(f'"{name}"' for name in ("INVALID", "PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"))
_SIZES_REMEMBERED = 256
_MOST_ROWS_REMEMBERED = 1_000

Encode = Callable[[Any], bytes]
Convert = Callable[[list[Any]], list[Any]]


class JsonLayout:
    """What the bodies of all answers to one request for features have in common.

    Attributes:
        given: names of the join keys, with the converters of their values.
        of_reads: per read, the converters of its columns, with the positions of their features.
        of_numbers: per read, whether it has columns, and all are numbers or booleans.
        end: how a body ends: the names of all columns.
        end_with_versions: the same with the versions of the views that were read.
    """

    def __init__(self, response: OnlineResponse):
        """Takes it from any of the answers."""
        shape = response.shape
        self.given = [(g.name, feast_json_converter(g.dtype)) for g in shape.given if not g.request_data]
        self.of_reads: list[list[tuple[Convert | None, int]]] = []
        self.of_numbers: list[bool] = []
        for (names, positions), read in zip(shape.of_reads, response.reads, strict=True):
            indices = range(len(names)) if positions is None else positions
            fields = read.features.fields
            self.of_reads.append([(feast_json_converter(fields[index][1]), index) for index in indices])
            # A read may give no columns: it is only what functions take.
            self.of_numbers.append(bool(indices) and all(is_number(fields[index][1]) for index in indices))
        names = [*shape.given_back, *(stored.name for stored in shape.stored), *shape.computed]
        self.end = b'],"metadata":{"feature_names":%b}}' % compact_json(names)
        versions = [{"name": name, "version": version} for name, version in shape.view_versions.items()]
        self.end_with_versions = b'%b,"feature_view_metadata":%b}}' % (self.end[:-2], compact_json(versions))


def compact_json(value: Any) -> bytes:
    """Returns a value as JSON without white space, by Python's own encoder."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def json_body(response: OnlineResponse, encode: Encode, metadata: Mapping[str, object] | None = None) -> bytes:
    """Returns the body that Feast's HTTP server answers with.

    ``{"results": [{"values", "statuses", "event_timestamps"}, ...], "metadata": {"feature_names": [...]}}``, one result
    per name with one item per row. Join keys come first; they have the event time 0, as features of on-demand views
    have. Request data is not given back.

    Args:
        encode: makes JSON of lists, numbers, texts, booleans, None and dicts, without white space.
        metadata: what else ``metadata`` tells.
    """
    shape = response.shape
    layout = shape.json_layout
    if layout is None:
        layout = shape.json_layout = JsonLayout(response)
    no_time = _no_times(len(response))
    columns: list[bytes] = []
    for name, convert in layout.given:
        values = response.given(name)
        columns.append(_column(encode, values, convert, _of_nulls(values), no_time))
    read_columns = [_read_columns(response, number, layout, encode) for number in range(len(layout.of_reads))]
    if len(read_columns) == 1:
        columns += read_columns[0]
    else:
        columns += [read_columns[read][number] for read, number in shape.places_of_stored]
    for computed in response.computed:
        values = computed.to_pylist()
        columns.append(_column(encode, values, feast_json_converter(computed.type), _of_nulls(values), no_time))
    end = layout.end_with_versions if response.tells_versions else layout.end
    if metadata:
        end = b"%b,%b}" % (end[:-2], encode(metadata)[1:])
    return b'{"results":[' + b",".join(columns) + end


def _read_columns(response: OnlineResponse, number: int, layout: JsonLayout, encode: Encode) -> list[bytes]:
    read = response.reads[number]
    features = read.features
    values_of = features.to_pylists(response.shape.of_reads[number][1])
    times = _times(read)
    if not features.all_present:
        return [
            _column(encode, values, convert, _statuses(features.statuses(index)), times)
            for values, (convert, index) in zip(values_of, layout.of_reads[number], strict=True)
        ]
    end = b',"statuses":[%b],"event_timestamps":[%b]}' % (_all_present(len(response)), times)
    if layout.of_numbers[number]:
        encoded = encode(values_of)
        # Of null, NaN and Infinity, which have an n, one is what an encoder makes of numbers that JSON lacks.
        if b"n" not in encoded:
            begin, end = b'{"values":[', b"]" + end
            return [begin + values + end for values in encoded[2:-2].split(b"],[")]
    return [
        b'{"values":%b%b' % (encode(values if convert is None else convert(values)), end)
        for values, (convert, _) in zip(values_of, layout.of_reads[number], strict=True)
    ]


def _column(encode: Encode, values: list[Any], convert: Convert | None, statuses: bytes, times: bytes) -> bytes:
    return b'{"values":%b,"statuses":[%b],"event_timestamps":[%b]}' % (
        encode(values if convert is None else convert(values)),
        statuses,
        times,
    )


def _of_nulls(values: Sequence[Any]) -> bytes:
    if None not in values:
        return _all_present(len(values))
    return _statuses([NULL_VALUE if value is None else PRESENT for value in values])


def _statuses(statuses: Iterable[int]) -> bytes:
    return ",".join([_STATUS_TEXTS[status] for status in statuses]).encode()


def _all_present(rows: int) -> bytes:
    return _remembered_present(rows) if rows <= _MOST_ROWS_REMEMBERED else _present(rows)


def _no_times(rows: int) -> bytes:
    return _remembered_no_times(rows) if rows <= _MOST_ROWS_REMEMBERED else _epochs(rows)


def _present(rows: int) -> bytes:
    return _statuses([PRESENT] * rows)


def _epochs(rows: int) -> bytes:
    return _quoted(timestamp_texts([0]) * rows)


_remembered_present = lru_cache(maxsize=_SIZES_REMEMBERED)(_present)
_remembered_no_times = lru_cache(maxsize=_SIZES_REMEMBERED)(_epochs)


def _times(read: ReadFeatures) -> bytes:
    return _quoted(timestamp_texts(read.event_timestamps))


def _quoted(texts: Sequence[str]) -> bytes:
    return ('"' + '","'.join(texts) + '"').encode() if texts else b""
