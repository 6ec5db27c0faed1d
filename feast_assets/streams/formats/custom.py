"""Messages that a function of the user decodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.class_paths import ClassPathError, load_function
from feast_assets.errors import DefinitionError, shown
from feast_assets.streams.formats.base import Decoder, MessageError

if TYPE_CHECKING:
    from feast_assets.streams.columns import StreamColumn


class CustomDecoder(Decoder):
    """Calls a function with the bytes of each message."""

    def __init__(self, columns: Sequence[StreamColumn], function: str, root: Path):
        super().__init__(columns)
        try:
            self._function: Callable[[bytes], object] = load_function(function, root)
        except ClassPathError as error:
            raise DefinitionError(f"CustomFormat: function {function!r}: {error}") from error

    def fields(self, value: bytes) -> Mapping[str, object]:
        fields = self._function(value)
        if not isinstance(fields, Mapping):
            raise MessageError(f"the function of its format returned {shown(fields)} instead of a dict.")
        return fields
