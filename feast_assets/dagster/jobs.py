"""Jobs: one for each group of views, and one that applies the repository."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from feast_assets.dagster.failures import told_first
from feast_assets.dagster.resources import FeatureStoreResource


def feature_view_jobs(assets: Sequence[dg.AssetsDefinition], *, tags: dict[str, str] | None = None) -> list[Any]:
    """Returns a job for each of the given groups of views, called ``materialize_`` and the group's name.

    Args:
        assets: what `build_feature_view_assets` or `feature_view_assets` made.
        tags: of every run.
    """
    return [
        dg.define_asset_job(
            f"materialize_{each.op.name}",
            selection=run_selection(each, each.keys),
            tags=tags,
            description="Puts the latest rows of feature views, of a range of partitions, into the online store.",
        )
        for each in assets
    ]


def run_selection(assets: dg.AssetsDefinition, keys: Iterable[dg.AssetKey]) -> dg.AssetSelection:
    """Returns some views of a group with the checks that their runs make, without those that need no run."""
    views = dg.AssetSelection.assets(*keys).without_checks()
    checks = [check for check in assets.check_keys if check.asset_key in set(keys)]
    return views | dg.AssetSelection.checks(*checks) if checks else views


def observe_jobs(sources: Sequence[dg.AssetsDefinition], *, tags: dict[str, str] | None = None) -> list[Any]:
    """Returns a job for each of the given groups of data sources, which notes what has changed since the last time.

    Args:
        sources: what `build_source_assets` made.
        tags: of every run.
    """
    return [
        dg.define_asset_job(
            f"observe_{each.op.name}",
            selection=dg.AssetSelection.assets(*each.keys),
            tags=tags,
            description="Notes which partitions of data sources have changed; reads no more than it has to.",
        )
        for each in sources
    ]


def apply_job(project: str) -> dg.JobDefinition:
    """Returns a job that makes the registry what the feature repository declares: the same as ``feast-assets apply``.

    What is no longer declared is removed, together with its online rows. The job needs a `FeatureStoreResource` under
    the key ``feature_store``; its run tells what changed.
    """
    name = "apply_" + re.sub(r"\W", "_", project, flags=re.ASCII)

    @dg.op(name=f"{name}_repository", out=dg.Out(dg.Nothing))
    def apply(context: dg.OpExecutionContext, feature_store: FeatureStoreResource) -> None:
        with told_first():
            store = feature_store.get_store()
            changed = store.apply_repository()
        context.log.info(str(changed))
        context.add_output_metadata(
            {"revision": store.snapshot().revision, "changes": dg.MetadataValue.md(f"```\n{changed}\n```")}
        )
        context.log.info("Reload the code location to show new views and their partitions.")

    @dg.job(
        name=name,
        description="Applies the feature repository: makes the registry and the online tables what its code declares.",
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        apply()

    return job
