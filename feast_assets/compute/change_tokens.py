"""Change tokens of views, by which a watcher knows when to look again for stale windows, without reading data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from feast_assets.compute.validation import refusal_hash
from feast_assets.compute.view_stores import history_read
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.definitions.spec import content_hash
from feast_assets.offline_stores.source_changes import history_state

if TYPE_CHECKING:
    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.offline_stores.base import OfflineStore
    from feast_assets.online_stores.base import OnlineStore
    from feast_assets.registry.base import Registry


UNSURE = "?"
"""How the token of a view begins that stays the same though a source of the view may have changed."""


def change_tokens(
    project: str,
    views: Sequence[FeatureView],
    registry: Registry,
    offline_store: OfflineStore,
    online_store: OnlineStore | None,
) -> dict[str, str]:
    """Returns a change token for each view: another one whenever a window may have become stale or settled.

    No data are read: the token is made of the parts of the view's sources, its definition, the mark of its online table
    and its ledger. It begins with `UNSURE` where the offline store cannot tell whether a source has changed.
    """
    ledger = registry.ledger_change_tokens([v.name for v in views])
    tables = {v.name: v.online_table(project) for v in views}
    online = [v.name for v in views if v.online and online_store is not None]
    marks = (
        {}
        if online_store is None
        else dict(zip(online, online_store.marks([tables[name] for name in online]), strict=True))
    )
    stored: dict[tuple[str, ...], str] = {}
    tokens = {}
    for view in views:
        history = history_read(view)
        key = tuple(s.content_hash() for s in history.sources)
        if key not in stored:
            stored[key] = history_state(offline_store, history).change_token
        mark = marks.get(view.name)
        table = [tables[view.name], *(() if mark is None else (mark.identity, mark.number))]
        decided_by = [definition_hash(view), table, _grid(view), ledger[view.name], stored[key]]
        decided_by += filter(None, [refusal_hash(view)])
        tokens[view.name] = ("" if stored[key] else UNSURE) + content_hash(decided_by)
    return tokens


def _grid(view: FeatureView) -> dict[str, object] | None:
    return None if view.partitions is None else view.partitions.to_spec()
