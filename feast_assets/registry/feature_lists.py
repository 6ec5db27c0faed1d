"""The lists of features that views have had, as a registry stores them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from feast_assets.definitions.field import Field


class FeatureListTexts(Mapping[str, "tuple[tuple[Field, ...], ...]"]):
    """The lists of features by view. Each is decoded when it is asked for, because few are."""

    def __init__(self, rows: Iterable[tuple[str, str]]):
        self._texts: dict[str, list[str]] = {}
        for view, fields in rows:
            self._texts.setdefault(view, []).append(fields)
        self._read: dict[str, tuple[tuple[Field, ...], ...]] = {}

    def __getitem__(self, view: str) -> tuple[tuple[Field, ...], ...]:
        if view not in self._read:
            self._read[view] = tuple(
                tuple(Field.from_spec(spec) for spec in json.loads(text)) for text in self._texts[view]
            )
        return self._read[view]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)
