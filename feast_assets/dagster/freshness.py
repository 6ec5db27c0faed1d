"""How recently a view should have been materialized, as Dagster's policy."""

from __future__ import annotations

import dagster as dg

from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import DefinitionError


def freshness_policy(view: FeatureView) -> dg.FreshnessPolicy | None:
    """Returns the policy by which Dagster judges when a view was last materialized; None where there is none.

    Raises:
        DefinitionError: a deadline comes more often than its materialization may be old.
    """
    freshness = view.freshness
    if freshness is None or not view.makes_something:
        return None
    try:
        if freshness.earliest is not None:
            return dg.FreshnessPolicy.cron(freshness.deadline, freshness.earliest)
        assert freshness.fail_after is not None
        return dg.FreshnessPolicy.time_window(freshness.fail_after, freshness.warn_after)
    except Exception as error:
        raise DefinitionError(f"Feature view {view.name!r}: freshness {freshness}: {error.args[0]}") from error
