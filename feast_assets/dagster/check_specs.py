"""Which checks a feature view has, and how they look."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import dagster as dg

from feast_assets.compute.validation import validates
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import DefinitionError, suggest

FeatureViewCheck = Literal[
    "schema",
    "keys_and_times",
    "nulls",
    "ranges",
    "allowed_values",
    "uniqueness",
    "row_count",
    "freshness",
    "consistency",
]
FEATURE_VIEW_CHECKS: tuple[FeatureViewCheck, ...] = get_args(FeatureViewCheck)
"""All kinds of checks of a feature view; each is there where the view has something to check."""

RULES: dict[FeatureViewCheck, tuple[str, ...]] = {
    "nulls": ("nullable", "max_null_share"),
    "ranges": ("minimum", "maximum"),
    "allowed_values": ("allowed",),
    "uniqueness": ("unique",),
}
"""Which rules of a field's `Checks` each check looks at."""

_OF_RUNS: dict[FeatureViewCheck, str] = {
    "schema": "The source has the columns that the view declares, of types that fit.",
    "keys_and_times": "Every row of the source has its join keys and an event time; others are left out.",
    "row_count": "Each partition has about as many rows as those before it.",
}
_OF_SERVING: dict[FeatureViewCheck, str] = {
    "freshness": "The newest row in the online store is not older than the view's ttl, so something is served.",
    "consistency": "What is served is what history says was known, or there is a reason why not.",
}

CheckChoice = Literal["all", "none"] | Sequence[FeatureViewCheck]


def chosen_checks(checks: CheckChoice) -> frozenset[FeatureViewCheck]:
    """Returns the kinds of checks that were asked for.

    Raises:
        DefinitionError: there is no such check.
    """
    if checks == "all":
        return frozenset(FEATURE_VIEW_CHECKS)
    if checks == "none":
        return frozenset()
    if isinstance(checks, str):
        raise DefinitionError(f'checks must be "all", "none" or a list of checks, not {checks!r}.')
    for name in checks:
        if name not in FEATURE_VIEW_CHECKS:
            raise DefinitionError(f"There is no check {name!r} of feature views. {suggest(name, FEATURE_VIEW_CHECKS)}")
    return frozenset(checks)


def run_check_specs(
    view: FeatureView,
    key: dg.AssetKey,
    checks: Iterable[FeatureViewCheck],
    blocking: bool | None = None,
    partitions_def: dg.PartitionsDefinition[Any] | None = None,
) -> list[dg.AssetCheckSpec]:
    """Returns the checks that are made when a view is materialized.

    Args:
        key: the asset of its latest values.
        checks: the kinds of checks to make.
        blocking: whether windows that break what fields declare are refused; None for as the view says.
        partitions_def: of the asset. Checks of the rows' values have a verdict for each partition. Checks of the
            source's schema and of the number of rows have one verdict for the whole run, because each verdict costs
            three writes to Dagster's log.
    """
    specs = []
    for name, description in _OF_RUNS.items():
        if name in checks and not (name == "schema" and view.transformation is not None):
            specs.append(dg.AssetCheckSpec(name, asset=key, description=description, blocking=name == "schema"))
    for name, rules in RULES.items():
        declared = [_told(view, feature, rules) for feature in (f.name for f in view.features)]
        declared = [text for text in declared if text]
        if name in checks and declared:
            description = f"Every row is as declared: {'; '.join(declared)}."
            specs.append(_spec(name, key, description, validates(view, blocking), partitions_def))
    return specs


def serving_check_specs(
    view: FeatureView, key: dg.AssetKey, checks: Iterable[FeatureViewCheck]
) -> list[dg.AssetCheckSpec]:
    """Returns the checks that can be made at any time."""
    return [
        dg.AssetCheckSpec(name, asset=key, description=description)
        for name, description in _OF_SERVING.items()
        if name in checks and view.materializable and (name != "freshness" or view.ttl)
    ]


def _spec(
    name: FeatureViewCheck,
    key: dg.AssetKey,
    description: str,
    blocking: bool,
    partitions_def: dg.PartitionsDefinition[Any] | None,
) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        # Said once for each check, it would drown what matters.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name, asset=key, description=description, blocking=blocking, partitions_def=partitions_def
        )


def _told(view: FeatureView, feature: str, rules: Sequence[str]) -> str:
    checks = view.feature(feature).checks
    if checks is None:
        return ""
    declared = [f"{rule}={getattr(checks, rule)}" for rule in rules if rule in checks.rules]
    return f"{feature} {', '.join(declared)}" if declared else ""
