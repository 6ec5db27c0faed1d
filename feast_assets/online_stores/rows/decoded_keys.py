"""Entity keys back into Arrow columns; the format is `feast_assets.online_stores.rows.keys`'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feast_assets.errors import OnlineRowError
from feast_assets.online_stores.rows.keys import TAGS, VARIABLE_WIDTH
from feast_assets.types.canonical import to_arrow_type
from feast_assets.types.feast_type import Bool, FeastType

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LENGTH_WIDTH = 4
_NUMBER_WIDTH = 8


def decode_keys(names: Sequence[str], types: Sequence[FeastType], keys: Sequence[bytes]) -> pa.Table:
    """Returns what `encode_keys` was given: one column per join key, of its canonical Arrow type.

    Args:
        names: the join keys, in the order in which they were encoded.
        types: the type of each.

    Raises:
        OnlineRowError: a key is not made of these.
    """
    data = np.frombuffer(b"".join(keys), np.uint8)
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    at = np.concatenate([[0], ends[:-1]]).astype(np.int64) if keys else ends
    columns = {}
    try:
        for index, (name, feast_type) in enumerate(zip(names, types, strict=True)):
            if (data[at] != TAGS[feast_type][0]).any():
                raise OnlineRowError(f"A stored entity key does not have a {feast_type} where join key {name!r} is.")
            at = at + 1
            if feast_type in VARIABLE_WIDTH:
                if index < len(types) - 1:
                    lengths = _integers(data, at, _LENGTH_WIDTH, ">u4")
                    at = at + _LENGTH_WIDTH
                else:
                    lengths = ends - at
                if (at + lengths > ends).any():
                    raise OnlineRowError(f"A stored entity key ends before its join key {name!r} does.")
                column = _slices(data, at, lengths)
                at = at + lengths
            elif feast_type == Bool:
                column = pa.array(data[at] != 0)
                at = at + 1
            else:
                column = pa.array(_integers(data, at, _NUMBER_WIDTH, ">i8"))
                at = at + _NUMBER_WIDTH
            columns[name] = column.cast(to_arrow_type(feast_type))
    except (IndexError, pa.ArrowException) as error:
        raise OnlineRowError(f"A stored entity key cannot be read: {error}") from error
    if (at != ends).any():
        raise OnlineRowError("A stored entity key is longer or shorter than its join keys are.")
    return pa.table(columns)


def readable_keys(names: Sequence[str], types: Sequence[FeastType], keys: Sequence[bytes]) -> list[bytes]:
    """Returns those of some keys that `decode_keys` can read, in their order."""

    def readable(some: Sequence[bytes]) -> bool:
        try:
            decode_keys(names, types, some)
        except OnlineRowError:
            return False
        return True

    return list(keys) if readable(keys) else [key for key in keys if readable([key])]


def _integers(data: NDArray[np.uint8], at: NDArray[np.int64], width: int, code: str) -> NDArray[np.int64]:
    return np.ascontiguousarray(data[at[:, None] + np.arange(width)]).view(code).ravel().astype(np.int64)


def _slices(data: NDArray[np.uint8], at: NDArray[np.int64], lengths: NDArray[np.int64]) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    # For each byte of the result, where in the data it is.
    taken = data[np.repeat(at - offsets[:-1], lengths) + np.arange(offsets[-1])]
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(taken)]
    return pa.Array.from_buffers(pa.large_binary(), len(at), buffers)
