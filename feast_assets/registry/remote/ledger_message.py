"""A view's ledger as a message, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from feast_assets.registry.ledger_columns import LedgerColumns, TextColumn, byte_texts
from feast_assets.registry.remote.messages import LedgerMessage, TextColumnMessage

_NUMBERS = ("starts", "ends", "versions", "rows", "written", "at", "marks")


def message_of(columns: LedgerColumns) -> LedgerMessage:
    """Returns the columns of a ledger as a message."""
    return LedgerMessage(
        [np.ascontiguousarray(getattr(columns, name), "<i8").tobytes() for name in _NUMBERS],
        columns.fingerprints.tolist(),
        _text_message(columns.definitions),
        _text_message(columns.runs),
        _text_message(columns.claims),
    )


def columns_of(view: str, message: LedgerMessage) -> LedgerColumns:
    """Returns the columns that a message describes.

    Raises:
        ValueError: they have different lengths, or a text that is not there.
    """
    if len(message.numbers) != len(_NUMBERS):
        raise ValueError("a column is missing")
    numbers = {
        name: np.frombuffer(column, "<i8").astype(np.int64)
        for name, column in zip(_NUMBERS, message.numbers, strict=True)
    }
    texts = [_text_column(each) for each in (message.definitions, message.runs, message.claims)]
    lengths = {len(column) for column in numbers.values()} | {len(message.fingerprints)}
    if len(lengths | {len(column.codes) for column in texts}) != 1:
        raise ValueError("columns have different lengths")
    definitions, runs, claims = texts
    return LedgerColumns(
        view,
        fingerprints=_byte_texts(message.fingerprints),
        definitions=definitions,
        runs=runs,
        claims=claims,
        **numbers,
    )


def _byte_texts(values: Sequence[bytes]) -> npt.NDArray[np.bytes_]:
    return np.array(values, np.bytes_) if values else byte_texts([])


def _text_message(column: TextColumn) -> TextColumnMessage:
    return TextColumnMessage(np.ascontiguousarray(column.codes, "<i4").tobytes(), list(column.texts))


def _text_column(message: TextColumnMessage) -> TextColumn:
    codes = np.frombuffer(message.codes, "<i4").astype(np.int32)
    if len(codes) and not (codes.min() >= 0 and codes.max() < len(message.texts)):
        raise ValueError("a text is missing")
    return TextColumn(codes, tuple(message.texts))
