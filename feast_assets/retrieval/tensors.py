"""Columns as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from feast_assets.errors import InputError, NotSupportedError, shown


def tensors(columns: Mapping[str, Sequence[Any]], kind: str, default_value: Any) -> dict[str, Any]:
    """Returns numeric columns as one-dimensional torch tensors, and others as lists, as Feast does.

    As torch makes tensors of Python's values, floats become its default type, which is float32 unless changed.

    Args:
        columns: name -> Python values, None for null.
        kind: only ``"torch"``.
        default_value: what stands for null.

    Raises:
        InputError: another kind, or a column whose nulls cannot be replaced by the default value.
        NotSupportedError: torch is not installed.
    """
    if kind != "torch":
        raise InputError(f"kind={shown(kind)} is not supported; the only kind of tensor is 'torch'.")
    try:
        import torch
    except ImportError:
        raise NotSupportedError("Tensors need PyTorch, which is not installed; run `pip install torch`.") from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    made: dict[str, Any] = {}
    for name, given in columns.items():
        first = next((value for value in given if value is not None), default_value)
        values = [default_value if value is None else value for value in given]
        if not isinstance(first, (bool, int, float)):
            made[name] = values
            continue
        try:
            made[name] = torch.tensor(values, device=device)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise InputError(
                f"Column {name!r} cannot be a tensor with default_value={shown(default_value)}: {error}"
            ) from error
    return made
