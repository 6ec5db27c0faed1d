"""Why windows are run, in words: for run requests, ticks, and the partitions that are made."""

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
from feast_assets.definitions.window import Window
from feast_assets.errors import FeastAssetsError
from feast_assets.feature_store import FeatureStore
from feast_assets.offline_stores.files.source_files import written_since

REASON_TAG = "feast_assets/reason"
"""The tag of a run that a sensor asked for, and the metadata of the partitions that it makes: why, in words."""

ReasonOf = Callable[[str, Sequence[StaleWindow]], str]
"""Returns why windows of a view are run, given its name; "" where nobody can say."""

_MOST_NAMED = 3
_LONGEST = 300
# What of a definition decides no rows.
_NOT_OF_ROWS = ("description", "tags", "owner", "org", "enabled", "freshness", "automation", "enable_validation")


class Reasons:
    """Why windows are stale.

    Args:
        changes: view -> what an apply, or a loss, has done to it, in words; for windows that it makes stale.
    """

    def __init__(self, store: FeatureStore, changes: Mapping[str, str] | None = None):
        self._store = store
        self._changes = dict(changes or {})
        self._views = {view.name: view for view in store.snapshot().feature_views}
        self._recorded = cache(self._read_recorded)

    def of(self, view: str, windows: Sequence[StaleWindow]) -> str:
        """Returns why windows of a view are stale."""
        told: dict[str, None] = {}
        for reason in dict.fromkeys(window.reason for window in windows):
            some = [window for window in windows if window.reason == reason]
            told |= dict.fromkeys(self._told(view, reason, some))
        return joined(told)

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
        sources = history_read(self._views[view]).sources
        written = [self._recorded(view)[window] for window in windows if window in self._recorded(view)]
        files = self._files(sources, windows, min(written)) if written else []
        if files:
            more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
            return [f"late or corrected rows in {', '.join(files[:_MOST_NAMED])}{more}"]
        return [f"rows of {', '.join(source.name for source in sources)} were added, corrected or removed"]

    def _files(self, sources: Iterable[DataSource], windows: Sequence[Window], since: datetime) -> list[str]:
        root = Path(self._store.repo_path)
        try:
            found = [path for source in sources for path in written_since(source, root, windows, since)]
        except FeastAssetsError:
            return []
        return [os.path.relpath(path, root) if Path(path).is_relative_to(root) else path for path in found]

    def _read_recorded(self, view: str) -> dict[Window, datetime]:
        """Returns when each window of a view was last written."""
        return {entry.window: entry.at for entry in self._store.registry.ledger(view)}


def joined(reasons: Iterable[str]) -> str:
    """Returns several reasons as one text, which a tag can hold."""
    told = "; ".join(reason for reason in reasons if reason)
    return told if len(told) <= _LONGEST else f"{told[: _LONGEST - 3]}..."


def changed_definition(before: FeatureView | None, now: FeatureView) -> str:
    """Returns in words what of a view's definition has changed."""
    if before is None:
        return "new view"
    paths = [
        d.property.removeprefix("feature_transformation.")
        for d in property_diffs(before, now)
        if d.property.partition(".")[0] not in _NOT_OF_ROWS
    ]
    return f"definition changed: {', '.join(paths[:_MOST_NAMED])}" if paths else "a result that it reads has changed"
