"""Checks of what is served, which need no run of the views: freshness, and consistency with history."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from feast_assets.dagster.check_specs import CheckChoice, chosen_checks, serving_check_specs
from feast_assets.dagster.failures import told_first
from feast_assets.dagster.materialization import LATEST, PART, VIEW
from feast_assets.dagster.repository import FeatureRepository
from feast_assets.dagster.resources import FeatureStoreResource
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import FeastAssetsError, StoreUnavailableError
from feast_assets.feature_store import FeatureStore
from feast_assets.offline_stores.base import history_of
from feast_assets.registry.ledger import held

_SHOWN = 50


def feature_view_checks(
    repository: FeatureRepository,
    assets: Sequence[dg.AssetsDefinition],
    *,
    checks: CheckChoice = "all",
    sample: int = 200,
) -> list[dg.AssetChecksDefinition]:
    """Returns the checks ``freshness`` and ``consistency`` of all views, as one step of which any can be selected.

    They can be run at any time, by themselves or together with the views. `feature_view_assets` has the other checks.

    Args:
        assets: what `build_feature_view_assets` or `feature_view_assets` made.
        checks: which kinds; "all" and "none" as they say.
        sample: how many entities of each view ``consistency`` compares at most; see `FeatureStore.audit`.
    """
    chosen = chosen_checks(checks)
    views = {
        key: repository.view(metadata[VIEW])
        for each in assets
        for key, metadata in each.metadata_by_key.items()
        if metadata.get(PART) == LATEST
    }
    specs = [spec for key, view in views.items() for spec in serving_check_specs(view, key, chosen)]
    if not specs:
        return []

    @dg.multi_asset_check(specs=specs, can_subset=True, name=f"{_identifier(repository.project)}_serving_checks")
    def serving_checks(
        context: dg.AssetCheckExecutionContext, feature_store: FeatureStoreResource
    ) -> Iterator[dg.AssetCheckResult]:
        with told_first():
            yield from results(context, feature_store)

    def results(
        context: dg.AssetCheckExecutionContext, feature_store: FeatureStoreResource
    ) -> Iterator[dg.AssetCheckResult]:
        store = feature_store.get_store()
        now = datetime.now(UTC)
        for key in sorted(context.selected_asset_check_keys):
            view = views[key.asset_key]
            try:
                # A grid that has ended is judged at its end: no newer rows can come.
                end = view.partitions.end if view.partitions is not None else None
                check = _freshness if key.name == "freshness" else _consistency
                passed, severity, description, metadata = check(store, view.name, min(now, end or now), sample)
            except StoreUnavailableError:
                raise
            except FeastAssetsError as error:
                passed, severity, description, metadata = False, dg.AssetCheckSeverity.ERROR, str(error), {}
            yield dg.AssetCheckResult(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=passed,
                severity=severity,
                description=description,
                metadata=metadata,
            )

    return [serving_checks]


def serving_checks_job(checks: Sequence[dg.AssetChecksDefinition], project: str) -> list[Any]:
    """Returns the job that makes the checks of what is served, called ``audit_`` and the project's name; none where
    there are no checks."""
    if not checks:
        return []
    return [
        dg.define_asset_job(
            f"audit_{_identifier(project)}",
            selection=dg.AssetSelection.checks(*checks),
            description="Looks whether what is served is fresh, and is what history says was known.",
        )
    ]


def serving_checks_schedules(jobs: Sequence[Any]) -> list[dg.ScheduleDefinition]:
    """Returns a daily schedule for each job of `serving_checks_job`, off until somebody switches it on."""
    return [dg.ScheduleDefinition(job=job, cron_schedule="0 6 * * *", execution_timezone="UTC") for job in jobs]


_Outcome = tuple[bool, dg.AssetCheckSeverity, str | None, dict[str, Any]]


def _freshness(store: FeatureStore, name: str, at: datetime, sample: int) -> _Outcome:
    view = store.snapshot().feature_view(name)
    newest = _newest_event(store, view)
    ttl = view.ttl
    assert ttl
    metadata: dict[str, Any] = {"feast_assets/ttl": str(ttl), "feast_assets/as_of": dg.MetadataValue.timestamp(at)}
    if newest is None:
        return False, dg.AssetCheckSeverity.WARN, "Nothing is materialized.", metadata
    age = at - newest
    metadata |= {
        "feast_assets/newest_event": dg.MetadataValue.timestamp(newest),
        "feast_assets/age_seconds": round(age.total_seconds(), 3),
    }
    problem = None if age <= ttl else f"The newest row is {age} old, and the ttl is {ttl}: no value is served."
    return age <= ttl, dg.AssetCheckSeverity.WARN, problem, metadata


def _newest_event(store: FeatureStore, view: FeatureView) -> datetime | None:
    """Returns the newest event time among the windows that are materialized."""
    entries = {e.window: e for e in store.registry.ledger(view.name)}
    windows = sorted(window for window in held(entries) if entries[window].rows)
    # The last may have lost its rows since.
    for window in reversed(windows):
        newest = store.offline_store.statistics(history_of(view), [window])[0].newest_event
        if newest is not None:
            return newest
    return None


def _consistency(store: FeatureStore, name: str, at: datetime, sample: int) -> _Outcome:
    report = store.audit([name], sample=sample, at=at)
    (view,) = report.views
    causes = ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in report.causes.items())
    records = [
        dg.TableRecord(
            {
                "entity": ", ".join(f"{key}={value}" for key, value in m.entity.items()),
                "feature": m.feature,
                "online": str(m.online),
                "offline": str(m.offline),
                "status": m.status,
                "cause": m.cause,
            }
        )
        for m in sorted(report.mismatches, key=lambda m: m.cause != "unexplained")[:_SHOWN]
    ]
    metadata: dict[str, object] = {
        "feast_assets/as_of": dg.MetadataValue.timestamp(at),
        "feast_assets/entities": view.entities,
        "feast_assets/values": view.values,
        **{f"feast_assets/{cause}": count for cause, count in report.causes.items()},
    }
    if records:
        metadata["feast_assets/mismatches"] = dg.MetadataValue.table(records)
    description = f"{len(report.mismatches)} of {view.values} values differ: {causes}." if causes else None
    return not report.unexplained, dg.AssetCheckSeverity.ERROR, description, metadata


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII)
