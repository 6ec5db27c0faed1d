"""How some entries of the ledger are stored as one value of bytes.

A value has a header, which is JSON, and then the columns. Of a column of numbers the lowest is in the header. Each
number is stored as the difference from the lowest, in as few bytes as the highest needs; in none where all are the
same. The lowest bytes of all numbers come first, then the next bytes of all.

Numbers that mostly follow from others are stored as the difference from these. A window's start follows from the end
of the one before, and its end from its start. When it was recorded follows from its version, and its mark from the mark
that is drawn at that time.
Fingerprints that are hex are stored as bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from feast_assets.registry.ledger_columns import LedgerColumns, TextColumn

if TYPE_CHECKING:
    import numpy.typing as npt

    from feast_assets.registry.ledger_columns import ByteTexts, Int64s

_LENGTH_BYTES = 4
_MARKS_OF_A_MICROSECOND = 1024
"""The mark that a run draws is about this number times the version that its windows get."""
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_NO_DIGIT = 255
_DIGITS = np.full(256, _NO_DIGIT, np.uint8)
_DIGITS[_HEX] = np.arange(16, dtype=np.uint8)
_PAIRS = np.array([bytes((high, low)) for high in _HEX for low in _HEX], "S2")


def encoded(columns: LedgerColumns) -> bytes:
    """Returns some entries, at least one, as one value."""
    layout: list[Sequence[int]] = []
    pieces: list[bytes] = []

    def add(values: Int64s) -> None:
        lowest = int(values.min()) if len(values) else 0
        above = values.view(np.uint64) - np.uint64(lowest % 2**64)
        width = (int(above.max()).bit_length() + 7) // 8 if len(values) else 0
        layout.append((lowest, width))
        pieces.append(above.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width].T.tobytes())

    starts = columns.starts
    add(starts - np.concatenate([starts[:1], columns.ends[:-1]]))
    add(columns.ends - starts)
    add(columns.versions)
    add(columns.at - columns.versions)
    add(columns.rows)
    add(columns.written)
    follow = bool((columns.marks != 0).all())
    add(columns.marks - columns.versions * _MARKS_OF_A_MICROSECOND if follow else columns.marks)
    texts = []
    for column in (columns.definitions, columns.runs, columns.claims):
        used, codes = np.unique(column.codes, return_inverse=True)
        texts.append([column.texts[code] for code in used.tolist()])
        add(codes.astype(np.int64))
    has_rows = columns.have_fingerprint
    add(has_rows.astype(np.int64))
    fingerprints = columns.fingerprints[has_rows]
    digits = _of_hex(fingerprints)
    if digits is None:
        lengths = np.char.str_len(fingerprints).astype(np.int64)
        add(lengths)
        pieces.append(b"".join(fingerprints.tolist()))
    else:
        pieces.append(digits.tobytes())
    header = {
        "count": len(columns),
        "start": int(starts[0]),
        "columns": layout,
        "marks_follow": follow,
        "texts": texts,
        "hex": None if digits is None else digits.shape[1],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *pieces])


def decoded(view: str, content: bytes) -> LedgerColumns:
    """Returns the entries of a value.

    Raises:
        ValueError: the value is damaged.
    """
    text_end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    header: dict[str, Any] = json.loads(content[_LENGTH_BYTES:text_end])
    count = header["count"]
    layout = iter(header["columns"])
    at = text_end

    def next_column(length: int = count) -> Int64s:
        nonlocal at
        lowest, width = next(layout)
        if not width:
            return np.full(length, lowest, np.int64)
        if width == 1:
            above = np.frombuffer(content, np.uint8, length, at).astype(np.uint64)
        else:
            parts = np.zeros((length, 8), np.uint8)
            parts[:, :width] = np.frombuffer(content, np.uint8, length * width, at).reshape(width, length).T
            above = parts.view("<u8").reshape(-1).astype(np.uint64, copy=False)
        at += length * width
        above += np.uint64(lowest % 2**64)
        values: Int64s = above.view(np.int64)
        return values

    gaps, lengths = next_column(), next_column()
    # Each window starts after the windows and the gaps before it.
    ends = header["start"] + np.cumsum(gaps + lengths)
    starts = ends - lengths
    versions = next_column()
    times = next_column() + versions
    rows, written = next_column(), next_column()
    marks = next_column()
    if header["marks_follow"]:
        marks = marks + versions * _MARKS_OF_A_MICROSECOND
    definitions, runs, claims = (TextColumn(next_column().astype(np.int32), tuple(texts)) for texts in header["texts"])
    has_rows = next_column().astype(np.bool_)
    number = int(has_rows.sum())
    some: ByteTexts | None
    if header["hex"] is None:
        some = _divided(content, next_column(number), at)
    else:
        width = header["hex"]
        some = _PAIRS[np.frombuffer(content, np.uint8, number * width, at)].view(f"S{2 * width}") if width else None
    fingerprints: ByteTexts
    if some is not None and number == count:
        fingerprints = some
    else:
        fingerprints = np.zeros(count, "S1" if some is None else some.dtype)
        if some is not None:
            fingerprints[has_rows] = some
    return LedgerColumns(
        view, starts, ends, fingerprints, versions, definitions, rows, written, times, runs, marks, claims
    )


def stamp(content: bytes) -> int:
    """Returns a number of 64 bits, with sign, that another content does not have."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little", signed=True)


def _of_hex(fingerprints: ByteTexts) -> npt.NDArray[np.uint8] | None:
    """Returns fingerprints as bytes, a row each; None where they are not all hex of the same length."""
    width = fingerprints.dtype.itemsize
    if not len(fingerprints):
        return np.zeros((0, 0), np.uint8)
    if width % 2:
        return None
    digits = _DIGITS[np.ascontiguousarray(fingerprints).view(np.uint8)].reshape(-1, width)
    if (digits == _NO_DIGIT).any():
        return None
    return (digits[:, ::2] << 4 | digits[:, 1::2]).astype(np.uint8, copy=False)


def _divided(content: bytes, lengths: Int64s, at: int) -> ByteTexts:
    texts = []
    for length in lengths.tolist():
        texts.append(content[at : at + length])
        at += length
    return np.array(texts, np.bytes_)
