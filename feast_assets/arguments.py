"""Checks of arguments that several verbs take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from feast_assets.definitions.base import Definition
from feast_assets.definitions.window import Window
from feast_assets.errors import InputError, reason_of, shown


def name_of(value: object, subject: str) -> str:
    """Returns a name. Raises InputError if it is not text.

    Args:
        subject: whose name, such as ``"feature view"``.
    """
    if not isinstance(value, str):
        raise InputError(f"The name of a {subject} must be text, not {type(value).__name__} {shown(value)}.")
    return value


def view_names(values: object) -> Sequence[str]:
    """Returns names of feature views. Raises InputError if they are not a list of texts."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        example = shown([values]) if isinstance(values, str) else "['driver_stats']"
        raise InputError(
            f"feature_views must be a list of names, such as {example}, not {type(values).__name__} {shown(values)}."
        )
    return [name_of(value, "feature view") for value in values]


def definitions_of(objects: object) -> list[Definition]:
    """Returns one or more definitions as a list. Raises InputError if anything else is among them."""
    if isinstance(objects, Definition):
        return [objects]
    advice = "apply takes definitions such as Entity and FeatureView, or a list of them"
    if not isinstance(objects, Iterable):
        raise InputError(f"{advice}, not {type(objects).__name__} {shown(objects)}.")
    try:
        listed = list(objects)
    except Exception as error:
        raise InputError(f"{advice}; iterating over {shown(objects)} failed: {reason_of(error)}") from error
    for each in listed:
        if not isinstance(each, Definition):
            raise InputError(f"{advice}, not {type(each).__name__} {shown(each)}.")
    return listed


def windows_of(windows: object) -> Sequence[Window]:
    """Returns windows. Raises InputError unless they are a list of `Window`, each with a start before its end."""
    if not isinstance(windows, Sequence) or isinstance(windows, (str, bytes)):
        raise InputError(
            f"windows must be a list of Window(start, end), or None for the whole view, not {type(windows).__name__} "
            f"{shown(windows)}."
        )
    for each in windows:
        if not isinstance(each, Window):
            raise InputError(f"windows must hold Window(start, end), not {type(each).__name__} {shown(each)}.")
    return windows
