"""A view's automation as Dagster's conditions."""

from __future__ import annotations

from typing import Any

import dagster as dg

from feast_assets.dagster.repository import FeatureRepository
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.kept_results import sources_read


def automation_condition(view: FeatureView, repository: FeatureRepository) -> dg.AutomationCondition[Any] | None:
    """Returns the condition under which a view's assets are materialized by themselves; None where there is none.

    On a cron, the newest partition is materialized as soon as the user's assets that make the view's
    sources have been updated since the tick. Dagster's own ``on_cron`` does the same. An eager view has its newest
    partition materialized when that has ended, and again whenever an asset that the view depends on is updated. Assets
    that were never observed do not hold it up. Views on late data, and eager ones that read an asset without
    partitions, have no condition: the `late_data_sensor` runs them. It knows from the ledger which partitions are
    missing or stale.
    """
    automation = view.automation
    if automation is None or repository.follows_rows(view):
        return None
    if automation.when == "cron":
        newest: dg.AutomationCondition[Any] = dg.AutomationCondition.in_latest_time_window()
        tick: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed(automation.cron, "UTC")
        running: dg.AutomationCondition[Any] = dg.AutomationCondition.in_progress()
        due = newest & tick.since_last_handled() & ~running
        own = sorted({repository.source_keys[s.name] for s in sources_read(view) if s.name in repository.source_keys})
        if own:
            updated = dg.AutomationCondition.all_deps_updated_since_cron(automation.cron, "UTC")
            due &= updated.allow(dg.AssetSelection.assets(*own))
        return due.with_label(str(automation))
    every_source_observed = ~dg.AutomationCondition.any_deps_missing()
    return dg.AutomationCondition.eager().without(every_source_observed).with_label(str(automation))
