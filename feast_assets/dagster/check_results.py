"""What the checks of a run say of the windows that it wrote or refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import dagster as dg

from feast_assets.compute.results import MaterializationResult, WindowResult
from feast_assets.compute.schema_problems import declared_texts, schema_problems
from feast_assets.compute.validation import BrokenRule, broken_rules
from feast_assets.dagster.check_specs import RULES, FeatureViewCheck
from feast_assets.dagster.partitions import has_partition_key, partition_key
from feast_assets.dagster.row_counts import ENOUGH, HISTORY, expected_rows, rows_before
from feast_assets.dagster.verdicts import Verdict, evaluations, evaluations_of_run
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.window import MICROSECOND, Window
from feast_assets.errors import FeastAssetsError
from feast_assets.feature_store import FeatureStore
from feast_assets.offline_stores.abilities import CanProfile, check_texts

_SHOWN = 50
"""How many of many findings are shown."""

Partitions = Mapping[Window, str] | None
"""The partition of each window; None for views without partitions."""

_NOTHING = Verdict(True, dg.AssetCheckSeverity.WARN, "There was nothing to check.")
_NOT_CHECKED = Verdict(
    False, dg.AssetCheckSeverity.WARN, "Not checked: the project's offline store does not profile values (CanProfile)."
)

Outcome = dg.AssetCheckResult | dg.AssetCheckEvaluation | dg.Output[None]
"""What a step yields for a check."""


def looks_at_values(context: dg.AssetExecutionContext, key: dg.AssetKey, view: FeatureView) -> bool:
    """Whether a check was selected that needs the profiles of the windows."""
    return any(_is_selected(context, key, name) for name in RULES) or (
        view.is_computed_when_read and _is_selected(context, key, "row_count")
    )


def schema_verdict(
    context: dg.AssetExecutionContext, key: dg.AssetKey, view: FeatureView, store: FeatureStore
) -> Verdict | None:
    """Returns what the check ``schema`` says of a view, before anything is written; None if it was not selected."""
    if not _is_selected(context, key, "schema") or view.batch_source is None:
        return None
    try:
        schema = store.offline_store.schema(view.batch_source)
        check_texts(store.offline_store, view.batch_source, declared_texts(view, schema))
    except FeastAssetsError as error:
        return Verdict(False, dg.AssetCheckSeverity.ERROR, str(error))
    problems = schema_problems(view, schema)
    extra = sorted(set(schema.names) - _used(view))
    records = [dg.TableRecord({"column": p.column, "declared": p.declared, "found": p.actual}) for p in problems]
    return Verdict(
        not problems,
        dg.AssetCheckSeverity.ERROR,
        "; ".join(f"{p.column}: declared {p.declared}, found {p.actual}" for p in problems) or None,
        {
            "feast_assets/columns": len(schema.names),
            **({"feast_assets/columns_not_used": ", ".join(extra)} if extra else {}),
            **({"feast_assets/problems": dg.MetadataValue.table(records)} if records else {}),
        },
    )


def left_out_verdict(
    context: dg.AssetExecutionContext, key: dg.AssetKey, result: MaterializationResult, partitions: Partitions
) -> Verdict | None:
    """Returns what the check ``keys_and_times`` says of a run's view; None if it was not selected.

    Args:
        partitions: of all windows of the run.
    """
    if not _is_selected(context, key, "keys_and_times"):
        return None
    records = [
        dg.TableRecord({"partition": _partition(each.window, partitions), "rows": each.null_keys})
        for each in result.windows
        if each.null_keys
    ]
    metadata = {
        "feast_assets/rows_without_key": result.null_keys,
        "feast_assets/rows_without_time": result.null_times,
        **_table("feast_assets/without_key", records),
    }
    left_out = result.left_out
    return Verdict(
        not left_out,
        dg.AssetCheckSeverity.WARN,
        f"{left_out[0].upper()}{left_out[1:]}." if left_out else None,
        metadata,
    )


def outcomes(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    of_view: Mapping[FeatureViewCheck, Verdict | None],
    of_windows: Mapping[FeatureViewCheck, Mapping[Window, Verdict]],
    partitions: Partitions,
    written: Collection[Window] = (),
) -> Iterator[Outcome]:
    """Yields what a step yields for the checks of one view: for each partition, or once for a view without partitions.

    Args:
        of_view: what `schema_verdict` and `left_out_verdict` returned.
        of_windows: what `window_verdicts` returned; empty where the view's run has failed.
        written: the windows that the run has materialized.
    """
    of_run = {name: verdict for name, verdict in of_view.items() if verdict is not None}
    if partitions is None:
        for name, verdict in of_run.items():
            yield _result(key, name, verdict)
        for name, by_window in of_windows.items():
            for verdict in by_window.values() or [_NOTHING]:
                yield _result(key, name, verdict)
        return
    of_partitions: dict[str, dict[str, Verdict]] = {}
    for name, verdicts in of_windows.items():
        if name in RULES:
            of_partitions[name] = {partition: verdicts.get(w, _NOTHING) for w, partition in partitions.items()}
        else:
            of_run[name] = _together(list(verdicts.values()))
    made = [partitions[w] for w in written]
    yield from evaluations_of_run(context, key, {str(n): v for n, v in of_run.items()}, list(partitions.values()), made)
    yield from evaluations(context, key, of_partitions, made)


def window_verdicts(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    view: FeatureView,
    result: MaterializationResult,
    partitions: Partitions,
    store: FeatureStore,
    refused: Sequence[BrokenRule] = (),
) -> dict[FeatureViewCheck, dict[Window, Verdict]]:
    """Returns what each selected check says of each window of a run.

    Args:
        view: as applied.
        result: what was done.
        partitions: of all windows of the run.
        refused: what kept windows from being written.
    """
    profiles = {w.window: w.profile for w in result.windows if w.profile is not None}
    rows = {window: profile.rows for window, profile in profiles.items()} | {b.window: b.of for b in refused}
    broken: dict[Window, list[BrokenRule]] = {}
    for each in [*refused, *broken_rules(view.features, list(profiles.values()))]:
        broken.setdefault(each.window, []).append(each)
    kept_out = {each.window for each in refused}
    verdicts: dict[FeatureViewCheck, dict[Window, Verdict]] = {}
    for name, rules in RULES.items():
        if _is_selected(context, key, name):
            if not isinstance(store.offline_store, CanProfile):
                verdicts[name] = {each.window: _NOT_CHECKED for each in result.windows}
                continue
            severity = _severity(view, rules)
            verdicts[name] = {}
            for window, count in rows.items():
                breaking = [b for b in broken.get(window, ()) if b.rule in rules]
                verdicts[name][window] = _of_rules(breaking, count, severity, window in kept_out, partitions)
    if _is_selected(context, key, "row_count"):
        counted = _row_counts(context, key, view, result.windows, partitions, store)
        none = Verdict(True, dg.AssetCheckSeverity.WARN, "Refused, so not compared.", compared=False)
        left = dict.fromkeys(kept_out, none)
        verdicts["row_count"] = counted | left
    return verdicts


def _severity(view: FeatureView, rules: Sequence[str]) -> dg.AssetCheckSeverity:
    """Returns the severity of a check that passes: that of the worst problem it could have reported."""
    hurts = any(
        f.checks.severity == "error" and set(rules) & set(f.checks.rules) for f in view.features if f.checks is not None
    )
    return dg.AssetCheckSeverity.ERROR if hurts else dg.AssetCheckSeverity.WARN


def _of_rules(
    broken: Sequence[BrokenRule], rows: int, severity: dg.AssetCheckSeverity, refused: bool, partitions: Partitions
) -> Verdict:
    """Returns what a check of values says of one window.

    Args:
        severity: for a verdict that passes.
        refused: whether the window was not written, because of this check or another.
    """
    if broken:
        hurts = any(each.severity == "error" for each in broken)
        severity = dg.AssetCheckSeverity.ERROR if hurts else dg.AssetCheckSeverity.WARN
    summary = _summary([str(each) for each in broken])
    if summary and refused:
        summary += ". Refused: what was served before stays."
    metadata = {
        "feast_assets/rows_checked": rows,
        **_table("feast_assets/broken", [_record(each, partitions) for each in broken]),
    }
    return Verdict(not broken, severity, summary, metadata)


def _row_counts(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    view: FeatureView,
    windows: Sequence[WindowResult],
    partitions: Partitions,
    store: FeatureStore,
) -> dict[Window, Verdict]:
    """Returns for each window whether it has about as many rows as those before it."""
    ledger = [] if partitions is None or view.is_computed_when_read else store.registry.ledger(view.name)
    made = {} if partitions is None or not view.is_computed_when_read else _rows_made(context, key, view, windows)
    verdicts = {}
    for window in windows:
        if partitions is None:
            before = _rows_of_runs(context, key)
        elif view.is_computed_when_read:
            before = [rows for w, rows in made.items() if w < window.window and rows][-HISTORY:]
        else:
            before = rows_before(window.window, ledger)
        verdicts[window.window] = _of_count(window.made, expected_rows(before), partitions, window.window)
    return verdicts


def _of_count(
    made: int | None, expected: tuple[float, float] | None, partitions: Partitions, window: Window
) -> Verdict:
    metadata: dict[str, object] = {} if made is None else {"feast_assets/rows": made}
    if expected is None or made is None:
        few = f"Not compared: fewer than {ENOUGH} with rows before it."
        return Verdict(True, dg.AssetCheckSeverity.WARN, few, metadata, compared=False)
    low, high = expected
    if low <= made <= high:
        return Verdict(True, dg.AssetCheckSeverity.WARN, None, metadata)
    name = _partition(window, partitions)
    record = dg.TableRecord({"partition": name, "rows": made, "minimum": round(low), "maximum": round(high)})
    description = f"{name}: {made} rows, expected {low:.0f} to {high:.0f}"
    return Verdict(False, dg.AssetCheckSeverity.WARN, description, metadata | _table("feast_assets/outside", [record]))


def _together(verdicts: Sequence[Verdict]) -> Verdict:
    """Returns one verdict for several windows; a single window's verdict is returned unchanged."""
    if len(verdicts) == 1:
        return verdicts[0]
    broken = [each for each in verdicts if not each.passed]
    records = [r for each in broken for r in each.metadata["feast_assets/outside"].records]
    metadata = {
        "feast_assets/partitions_compared": sum(each.compared for each in verdicts),
        **_table("feast_assets/outside", records),
    }
    descriptions = [each.description for each in broken if each.description]
    return Verdict(not broken, dg.AssetCheckSeverity.WARN, _summary(descriptions), metadata)


def _rows_made(
    context: dg.AssetExecutionContext, key: dg.AssetKey, view: FeatureView, windows: Sequence[WindowResult]
) -> dict[Window, int]:
    """Returns how many rows a transformation made in the windows of a run and in those before it, in order of time.

    The ledger counts the rows that were read, lookback included, so the numbers are taken from the materializations.
    """
    grid, partitions_def = view.partitions, context.assets_def.partitions_def
    made = {w.window: w.made or 0 for w in windows}
    if not made or grid is None or not isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        return made
    before: dict[str, Window] = {}
    start = min(made).start
    while len(before) < HISTORY and (grid.start is None or start > grid.start):
        window = Window(grid.floor(start - MICROSECOND), start)
        if not has_partition_key(window):
            break
        before[partition_key(partitions_def, window)] = window
        start = window.start
    if before:
        asked = dg.AssetRecordsFilter(key, asset_partitions=list(before))
        for record in context.instance.fetch_materializations(asked, limit=2 * HISTORY).records:
            event = record.asset_materialization
            count = event.metadata.get("dagster/partition_row_count") if event is not None else None
            if record.partition_key in before and count is not None and isinstance(count.value, int):
                made.setdefault(before[record.partition_key], count.value)  # the newest comes first
    return dict(sorted(made.items()))


def _rows_of_runs(context: dg.AssetExecutionContext, key: dg.AssetKey) -> list[int]:
    """Returns the row counts of earlier materializations without partitions; the ledger keeps only the last one."""
    records = context.instance.fetch_materializations(key, limit=HISTORY).records
    counts = [r.asset_materialization.metadata.get("dagster/row_count") for r in records if r.asset_materialization]
    return [value.value for value in counts if value is not None and isinstance(value.value, int)]


def _used(view: FeatureView) -> set[str]:
    source = view.batch_source
    assert source is not None
    times = (source.timestamp_field, source.created_timestamp_column)
    return {f.name for f in (*view.entity_columns, *view.row_fields)} | {
        source.field_mapping.get(name, name) for name in times
    }


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


def _table(name: str, records: Sequence[dg.TableRecord]) -> dict[str, object]:
    return {name: dg.MetadataValue.table(list(records[:_SHOWN]))} if records else {}


def _summary(problems: Sequence[str]) -> str | None:
    if not problems:
        return None
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return "; ".join(problems[:3]) + more


def _result(key: dg.AssetKey, name: str, verdict: Verdict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=verdict.passed,
        severity=verdict.severity,
        description=verdict.description,
        metadata=dict(verdict.metadata),
    )
