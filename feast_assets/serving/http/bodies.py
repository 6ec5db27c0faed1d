"""Bodies of requests and answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from feast_assets.errors import printable
from feast_assets.retrieval.json_body import json_body
from feast_assets.serving.http.messages import ARROW, JSON, Answer, Refused, to_json

if TYPE_CHECKING:
    from feast_assets.audit.row_origins import RowOrigin
    from feast_assets.retrieval.response import OnlineResponse

_Request = TypeVar("_Request")
_LONGEST_MESSAGE = 400


class BodyReader(Generic[_Request]):
    """Reads bodies of one type."""

    def __init__(self, request: type[_Request]):
        self._type = request
        self._decode = msgspec.json.Decoder(request).decode

    def read(self, body: bytes | bytearray) -> _Request:
        """Returns the request that a body holds. NaN and infinities are taken, which Python clients send.

        Raises:
            Refused: 422; it is not JSON, or not of the type.
        """
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            raise _unprocessable(error) from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            pass
        try:
            return msgspec.convert(json.loads(body), self._type)
        except msgspec.ValidationError as error:
            raise _unprocessable(error) from None
        except (ValueError, RecursionError) as error:
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                [{"type": "json_invalid", "loc": ["body"], "msg": f"JSON decode error: {_cause(error)}"}],
            ) from None


def _unprocessable(error: msgspec.ValidationError) -> Refused:
    message, _, path = printable(error, _LONGEST_MESSAGE).partition(" - at `$")
    missing = message.startswith("Object missing required field")
    # Keys of mappings are not told: the path ends before the first.
    named = path.rstrip("`").partition("[...]")[0]
    loc: list[str | int] = ["body"]
    loc += [int(part[:-1]) if part.endswith("]") else part for part in re.split(r"[.\[]", named) if part]
    if missing:
        loc.append(message.split("`")[1])
    kind = "missing" if missing else "type_error"
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, [{"type": kind, "loc": loc, "msg": message}])


def _cause(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else printable(error, _LONGEST_MESSAGE)


def features_answer(response: OnlineResponse, accept: bytes, origins: Sequence[RowOrigin] | None = None) -> Answer:
    """Returns the answer with features: Arrow where the client accepts that, else JSON.

    Args:
        origins: what the answer tells of where its values come from; None where nobody asked. In Arrow it is JSON in
            the schema's metadata, under ``row_origins``.
    """
    rows = None if origins is None else [origin.to_json() for origin in origins]
    if accept and wants_arrow(accept):
        return Answer(200, arrow_body(response, {} if rows is None else {"row_origins": to_json(rows)}), ARROW)
    return Answer(200, json_body(response, to_json, {} if rows is None else {"row_origins": rows}), JSON)


@lru_cache(maxsize=256)
def wants_arrow(accept: bytes) -> bool:
    """Tells whether an Accept header prefers Arrow to JSON."""
    best: dict[bytes, float] = {}
    for item in accept.lower().split(b","):
        kind, *parameters = [part.strip() for part in item.split(b";")]
        best[kind] = max(best.get(kind, 0.0), _quality(parameters))
    arrow = best.get(ARROW, 0.0)
    return arrow > 0 and arrow >= best.get(JSON, 0.0)


def _quality(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def arrow_body(response: OnlineResponse, metadata: Mapping[str, bytes] | None = None) -> bytes:
    """Returns an Arrow IPC stream of one table: for each column its values, ``<column>__status`` with the names of
    statuses, and ``<column>__ts`` with event times in UTC microseconds, null where there is none."""
    import pyarrow as pa

    from feast_assets.retrieval.response import STATUS_NAMES

    columns: dict[str, Any] = {}
    names = pa.array(STATUS_NAMES)
    for column in response.columns:
        columns[column.name] = column.values.to_arrow()
        codes = pa.array(column.statuses, pa.int8())
        columns[f"{column.name}__status"] = pa.DictionaryArray.from_arrays(codes, names)
        times = [None] * len(response) if column.event_timestamps is None else column.event_timestamps
        columns[f"{column.name}__ts"] = pa.array([time or None for time in times], pa.timestamp("us", "UTC"))
    table = pa.table(columns).replace_schema_metadata(metadata or None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body
