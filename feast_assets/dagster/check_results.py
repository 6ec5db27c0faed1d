"""What the checks of a run say of the windows that it wrote or refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from feast_assets.compute.results import MaterializationResult, WindowResult
from feast_assets.compute.row_counts import HISTORY, expected_rows, rows_before
from feast_assets.compute.validation import BrokenRule, broken_rules, declared_texts, schema_problems
from feast_assets.dagster.check_specs import RULES, FeatureViewCheck
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.partitions import Window
from feast_assets.errors import FeastAssetsError
from feast_assets.feature_store import FeatureStore

_SHOWN = 50
"""How many of many findings are shown."""

Partitions = Mapping[Window, str] | None
"""The partition of each window; None for views without partitions."""


def looks_at_values(context: dg.AssetExecutionContext, key: dg.AssetKey) -> bool:
    """Whether a check was selected that needs the profiles of the windows."""
    return any(_is_selected(context, key, name) for name in RULES)


def schema_result(
    context: dg.AssetExecutionContext, key: dg.AssetKey, view: FeatureView, store: FeatureStore
) -> Iterator[dg.AssetCheckResult]:
    """Yields what the check ``schema`` says of a view, if it was selected; made before anything is written."""
    if not _is_selected(context, key, "schema") or view.batch_source is None:
        return
    try:
        schema = store.offline_store.schema(view.batch_source)
        store.offline_store.check_texts(view.batch_source, declared_texts(view, schema))
    except FeastAssetsError as error:
        yield _result(key, "schema", False, dg.AssetCheckSeverity.ERROR, str(error), {})
        return
    problems = schema_problems(view, schema)
    extra = sorted(set(schema.names) - _used(view))
    records = [dg.TableRecord({"column": p.column, "declared": p.declared, "found": p.found}) for p in problems]
    yield _result(
        key,
        "schema",
        not problems,
        dg.AssetCheckSeverity.ERROR,
        "; ".join(f"{p.column}: declared {p.declared}, found {p.found}" for p in problems) or None,
        {
            "feast_assets/columns": len(schema.names),
            **({"feast_assets/columns_not_used": ", ".join(extra)} if extra else {}),
            **({"feast_assets/problems": dg.MetadataValue.table(records)} if records else {}),
        },
    )


def window_results(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    view: FeatureView,
    result: MaterializationResult,
    partitions: Partitions,
    store: FeatureStore,
    refused: Sequence[BrokenRule] = (),
) -> Iterator[dg.AssetCheckResult]:
    """Yields what the selected checks say of the windows of a run.

    Args:
        view: as applied.
        result: what was done.
        partitions: of all windows of the run.
        refused: what kept windows from being written.
    """
    profiles = [w.profile for w in result.windows if w.profile is not None]
    broken = [*refused, *broken_rules(view.features, profiles)]
    rows = sum(p.rows for p in profiles) + sum({b.window: b.of for b in refused}.values())
    windows = len(profiles) + len({b.window for b in refused})
    for name, rules in RULES.items():
        if not _is_selected(context, key, name):
            continue
        found = [each for each in broken if each.rule in rules]
        hurts = any(each.severity == "error" for each in found)
        yield _result(
            key,
            name,
            not found,
            dg.AssetCheckSeverity.ERROR if hurts else dg.AssetCheckSeverity.WARN,
            _summary([str(each) for each in found]),
            {
                "feast_assets/partitions_checked": windows,
                "feast_assets/rows_checked": rows,
                "feast_assets/partitions_refused": len({b.window for b in found} & {b.window for b in refused}),
                **_table("feast_assets/broken", [_record(each, partitions) for each in found]),
            },
        )
    if _is_selected(context, key, "row_count"):
        yield _row_count(context, key, view, result.windows, partitions, store)


def _row_count(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    view: FeatureView,
    windows: Sequence[WindowResult],
    partitions: Partitions,
    store: FeatureStore,
) -> dg.AssetCheckResult:
    ledger = store.registry.ledger(view.name)
    outside = []
    compared = 0
    for window in windows:
        before = _rows_of_runs(context, key) if partitions is None else rows_before(window.window, ledger)
        expected = expected_rows(before)
        if expected is None:
            continue
        compared += 1
        if not expected[0] <= window.rows <= expected[1]:
            outside.append((window, expected))
    told = [
        f"{_partition(w.window, partitions)}: {w.rows} rows, expected {low:.0f} to {high:.0f}"
        for w, (low, high) in outside
    ]
    records = [
        dg.TableRecord(
            {"partition": _partition(w.window, partitions), "rows": w.rows, "least": round(low), "most": round(high)}
        )
        for w, (low, high) in outside
    ]
    return _result(
        key,
        "row_count",
        not outside,
        dg.AssetCheckSeverity.WARN,
        _summary(told),
        {"feast_assets/partitions_compared": compared, **_table("feast_assets/outside", records)},
    )


def _rows_of_runs(context: dg.AssetExecutionContext, key: dg.AssetKey) -> list[int]:
    """Returns the row counts of earlier materializations; the ledger remembers only the last one of the whole."""
    records = context.instance.fetch_materializations(key, limit=HISTORY).records
    found = [r.asset_materialization.metadata.get("dagster/row_count") for r in records if r.asset_materialization]
    return [value.value for value in found if value is not None and isinstance(value.value, int)]


def _used(view: FeatureView) -> set[str]:
    source = view.batch_source
    assert source is not None
    times = (source.timestamp_field, source.created_timestamp_column)
    return {f.name for f in view.schema} | {source.field_mapping.get(name, name) for name in times}


def _is_selected(context: dg.AssetExecutionContext, key: dg.AssetKey, name: FeatureViewCheck) -> bool:
    return dg.AssetCheckKey(key, name) in context.selected_asset_check_keys


def _record(broken: BrokenRule, partitions: Partitions) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "partition": _partition(broken.window, partitions),
            "feature": broken.feature,
            "rule": f"{broken.rule}={broken.declared}",
            "rows": broken.rows,
            "of": broken.of,
            "severity": broken.severity,
        }
    )


def _partition(window: Window, partitions: Partitions) -> str:
    return "all" if partitions is None else partitions[window]


def _table(name: str, records: Sequence[dg.TableRecord]) -> dict[str, Any]:
    return {name: dg.MetadataValue.table(list(records[:_SHOWN]))} if records else {}


def _summary(found: Sequence[str]) -> str | None:
    if not found:
        return None
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more


def _result(
    key: dg.AssetKey,
    name: FeatureViewCheck,
    passed: bool,
    severity: dg.AssetCheckSeverity,
    description: str | None,
    metadata: Mapping[str, Any],
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=passed,
        severity=severity,
        description=description,
        metadata=dict(metadata),
    )
