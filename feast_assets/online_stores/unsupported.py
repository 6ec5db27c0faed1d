"""Settings that Feast's stores have and ours do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def refuse_unsupported(values: Any, what: str, feast_defaults: Mapping[str, object]) -> Any:
    """Returns a store's settings without those that ask for Feast's default of something that is not here.

    Args:
        values: the settings as they were written.
        what: the store, for messages, such as ``"The sqlite online store"``.
        feast_defaults: Feast's names of what is not here, and the value that leaves it off.

    Raises:
        ValueError: a setting asks for what is not here.
    """
    if not isinstance(values, Mapping):
        return values
    for name, default in feast_defaults.items():
        if name in values and values[name] != default:
            raise ValueError(f"{what} does not support {name!r}; remove it.")
    return {name: value for name, value in values.items() if name not in feast_defaults}
