"""Why windows are run, in words: for run requests, ticks and materialized partitions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from feast_assets.apply.diff import property_diffs
from feast_assets.compute.staleness import StaleWindow
from feast_assets.compute.view_stores import history_read
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.transformation import TransformationMode
from feast_assets.definitions.window import Window
from feast_assets.errors import FeastAssetsError
from feast_assets.feature_store import FeatureStore
from feast_assets.offline_stores.abilities import TracksParts
from feast_assets.offline_stores.parts import Part

REASON_TAG = "feast_assets/reason"
"""The tag of a run that a sensor asked for, and the metadata of the partitions that it makes: why, in words."""

ReasonOf = Callable[[str, Sequence[StaleWindow]], str]
"""Returns why windows of a view are run, given its name; "" where nobody can say."""

_MOST_NAMED = 3
_LONGEST = 300
# Attributes of a definition that do not decide its rows.
_NOT_OF_ROWS = (
    *("description", "tags", "owner", "org", "enabled", "state", "freshness", "automation", "enable_validation"),
    *("version", "current_version_number"),
)


class Reasons:
    """Why windows are stale.

    Args:
        changes: view -> in words, the applied change or the loss that makes windows of it stale.
    """

    def __init__(self, store: FeatureStore, changes: Mapping[str, str] | None = None):
        self._store = store
        self._changes = dict(changes or {})
        self._recorded = cache(self._read_recorded)

    def of(self, view: str, windows: Sequence[StaleWindow]) -> str:
        """Returns why windows of a view are stale."""
        texts: dict[str, None] = {}
        for reason in dict.fromkeys(window.reason for window in windows):
            some = [window for window in windows if window.reason == reason]
            texts |= dict.fromkeys(self._told(view, reason, some))
        return joined(texts)

    def _told(self, view: str, reason: str, windows: Sequence[StaleWindow]) -> list[str]:
        if reason == "restored":
            return sorted({window.because for window in windows if window.because})
        if view in self._changes:
            return [self._changes[view]]
        if reason == "redefined":
            return ["definition changed"]
        if reason == "unsettled":
            return ["the last run did not finish, or its source changed meanwhile"]
        if reason == "missing":
            return ["not materialized before"]
        return self._changed_rows(view, [window.window for window in windows])

    def _changed_rows(self, view: str, windows: Sequence[Window]) -> list[str]:
        sources = history_read(self._store.snapshot().feature_view(view)).sources
        written = [self._recorded(view)[window] for window in windows if window in self._recorded(view)]
        files = self._files(sources, windows, min(written)) if written else []
        if files:
            more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
            return [f"late or corrected rows in {', '.join(files[:_MOST_NAMED])}{more}"]
        return [f"rows of {', '.join(source.name for source in sources)} were added, corrected or removed"]

    def _files(self, sources: Iterable[DataSource], windows: Sequence[Window], since: datetime) -> list[str]:
        """Returns the files of sources that were written after a moment, and may hold rows of some windows."""
        store, root = self._store.offline_store, Path(self._store.repo_path)
        if not isinstance(store, TracksParts):
            return []
        try:
            source_parts = [store.parts(source, extents=True) for source in sources]
        except FeastAssetsError:
            return []
        # The parts of a log, or of a file of several tables, do not say where rows are.
        parts = [
            part
            for each in source_parts
            if each is not None and each.hold_rows and not each.are_shared
            for part in each.parts
        ]
        names = sorted(part.name for part in parts if _may_hold(part, windows) and _was_written(part, since))
        return [os.path.relpath(name, root) if Path(name).is_relative_to(root) else name for name in names]

    def _read_recorded(self, view: str) -> dict[Window, datetime]:
        """Returns when each window of a view was last written."""
        return {entry.window: entry.at for entry in self._store.registry.ledger(view)}


def _may_hold(part: Part, windows: Sequence[Window]) -> bool:
    if part.extent is None:
        return True
    oldest, newest = part.extent.oldest, part.extent.newest
    if oldest is None or newest is None:
        return False
    return any(window.start_micros <= newest and oldest < window.end_micros for window in windows)


def _was_written(part: Part, since: datetime) -> bool:
    """Whether a part is a file that was written after a moment."""
    try:
        return os.stat(part.name).st_mtime > since.timestamp()
    except OSError:
        return False


def joined(reasons: Iterable[str]) -> str:
    """Returns several reasons as one text, which a tag can hold."""
    texts = "; ".join(reason for reason in reasons if reason)
    return texts if len(texts) <= _LONGEST else f"{texts[: _LONGEST - 3]}..."


def changed_definition(before: FeatureView | None, now: FeatureView) -> str:
    """Returns in words what has changed in a view's definition."""
    if before is None:
        return "new view"
    is_sql = now.transformation is not None and now.transformation.mode is TransformationMode.SQL
    paths = [
        ("sql" if is_sql else "code") if d.property == "feature_transformation" else d.property
        for d in property_diffs(before, now)
        if d.property.partition(".")[0] not in _NOT_OF_ROWS
    ]
    return f"definition changed: {', '.join(paths[:_MOST_NAMED])}" if paths else "a result that it reads has changed"
