"""Calling the function of a transformation that a user wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from feast_assets.definitions.transformation import Transformation, TransformationMode
from feast_assets.errors import TransformationError

if TYPE_CHECKING:
    import pyarrow as pa


def function_of(transformation: Transformation, label: str) -> Callable[..., object]:
    """Returns the function of a transformation.

    Args:
        label: names the transformation in messages.

    Raises:
        TransformationError: it is not loaded.
    """
    if transformation.udf is None:
        raise TransformationError(
            f"{label} is not loaded; the registry keeps only its text. Its module {transformation.import_path!r} must "
            "be importable: load the feature repository, and run where it is."
        )
    function: Callable[..., object] = transformation.udf
    return function


def argument_of(transformation: Transformation, rows: pa.Table) -> object:
    """Returns the rows of one source as a function of mode pandas or python takes them."""
    if transformation.takes_tables:
        return rows
    if transformation.mode is TransformationMode.PANDAS:
        from feast_assets.types.pandas_columns import exact_frame

        return exact_frame(rows)
    return rows.to_pydict()


def called(function: Callable[..., object], arguments: Sequence[object], label: str) -> object:
    """Returns what a function returns.

    Raises:
        TransformationError: it raised an error, which is the cause.
    """
    try:
        return function(*arguments)
    except TransformationError:
        raise  # of a function within it, which it names
    except Exception as error:
        raise TransformationError(f"{label} failed: {type(error).__name__}: {error}") from error
