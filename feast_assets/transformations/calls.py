"""Calling the function of a transformation that a user wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from feast_assets.definitions.transformation import Transformation
from feast_assets.errors import TransformationError


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


def called(function: Callable[..., object], arguments: Sequence[object], label: str) -> object:
    """Returns what a function returns.

    Raises:
        TransformationError: it raised an error, which is the cause.
    """
    try:
        return function(*arguments)
    except Exception as error:
        raise TransformationError(f"{label} failed: {type(error).__name__}: {error}") from error
