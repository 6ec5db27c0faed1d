"""A section of ``feature_store.yaml`` that was read but not yet validated as a store's settings."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from feast_assets.settings.redaction import is_type_name
from feast_assets.settings.server_url import MASK

_TYPE_KEYS = ("type", "registry_type")


class Section:
    """The settings of one store as written. They are not shown, since only the store knows which are secrets.

    Args:
        values: the settings by their names.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[object, object]):
        self._values = {str(name): value for name, value in values.items()}

    def revealed(self) -> dict[str, object]:
        """Returns the settings, secrets and all."""
        return copy.copy(self._values)

    def shown(self) -> dict[str, object]:
        """Returns the settings with all texts masked but the type; keys that are not names are masked too."""
        return {name if is_type_name(name) else MASK: _shown(name, value) for name, value in self._values.items()}

    def __repr__(self) -> str:
        return f"Section({', '.join(f'{name}={value!r}' for name, value in self.shown().items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Section) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]


def _shown(name: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return value if name in _TYPE_KEYS and is_type_name(value) else MASK
