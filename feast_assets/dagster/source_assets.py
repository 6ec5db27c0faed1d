"""Data sources that are made by assets of the user's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import dagster as dg

from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.kept_results import kept_result
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import DefinitionError, shown, suggest

ASSET_TAG = "dagster/asset"
"""The tag of a data source that names the asset which makes it: the parts of its key, with slashes between."""

MadeBy = dg.AssetsDefinition | dg.AssetSpec | dg.AssetKey | str | list[str]
"""What can be given for a source: an asset of one key, a spec, or a key."""


@dataclass(frozen=True, slots=True)
class SourceAsset:
    """The user's asset that makes a data source.

    Attributes:
        key: of the asset.
        partitions_known: whether ``partitions_def`` is known to be the asset's; false where only its key was given.
        partitions_def: the asset's partitions; None where it has none, or they are not known.
    """

    key: dg.AssetKey
    partitions_known: bool = False
    partitions_def: dg.PartitionsDefinition[str] | None = None

    def dependency(self, view: FeatureView, windows_before: int) -> dg.AssetDep:
        """Returns how a view depends on the asset.

        Where both have time partitions, a partition of the view depends on those of the asset that lie in its window,
        also of another grid, and on those of the windows before that the view looks back on. Partitions that the asset
        does not have do not block the view.

        Args:
            windows_before: how many windows of its own grid the view looks back.
        """
        if view.partitions is None or not isinstance(self.partitions_def, dg.TimeWindowPartitionsDefinition):
            return dg.AssetDep(self.key)
        with warnings.catch_warnings():
            # Said once for each view, it would be all that a user sees of a loaded project.
            warnings.simplefilter("ignore", dg.BetaWarning)
            mapping = dg.TimeWindowPartitionMapping(
                start_offset=-windows_before, allow_nonexistent_upstream_partitions=True
            )
        return dg.AssetDep(self.key, partition_mapping=mapping)


def named_by_tag(source: DataSource) -> MadeBy | None:
    """Returns the key of the asset that a data source's tag ``dagster/asset`` names; None without one."""
    return source.tags[ASSET_TAG].split("/") if ASSET_TAG in source.tags else None


def source_assets(
    given: Mapping[str, MadeBy] | None,
    sources: Iterable[DataSource],
    views: Iterable[FeatureView],
    named_by: Callable[[DataSource], MadeBy | None] = named_by_tag,
) -> dict[str, SourceAsset]:
    """Returns the assets that make data sources, by the sources' names.

    Args:
        given: by the sources' names.
        named_by: names the asset of a source that is not among those and that no view fills.

    Raises:
        DefinitionError: there is no such source, or its rows are the kept result of a view, or what was given is no
            asset of one key.
    """
    if given is not None and not isinstance(given, Mapping):
        raise DefinitionError(
            f"source_assets must be a dict of data source names to assets, specs or keys, not {type(given).__name__}."
        )
    named = {source.name: source for source in sources}
    kept = {sink.name: view.name for view in views if (sink := kept_result(view)) is not None}
    makers = {
        name: (named_by_tag if name in kept else named_by)(source)
        for name, source in named.items()
        if name not in (given or {})
    }
    made: dict[str, MadeBy] = {name: asset for name, asset in makers.items() if asset is not None} | dict(given or {})
    for name in made:
        if name not in named:
            raise DefinitionError(f"source_assets names {shown(name)}, which is no data source. {suggest(name, named)}")
        if name in kept:
            raise DefinitionError(
                f"An asset is named for data source {name!r}, which feature view {kept[name]!r} fills with its kept "
                "result; no other asset can make it."
            )
    return {name: _source_asset(name, asset) for name, asset in made.items()}


def _source_asset(name: str, given: MadeBy) -> SourceAsset:
    if isinstance(given, dg.AssetsDefinition):
        keys = sorted(given.keys)
        if len(keys) != 1:
            listed = ", ".join(key.to_user_string() for key in keys)
            raise DefinitionError(
                f"Several assets are given for data source {name!r} ({listed}); give the spec of the one "
                "that makes it: assets.specs_by_key[key]."
            )
        (spec,) = given.specs
        return SourceAsset(spec.key, True, spec.partitions_def)
    if isinstance(given, dg.AssetSpec):
        return SourceAsset(given.key, True, given.partitions_def)
    if isinstance(given, dg.AssetKey):
        return SourceAsset(given)
    if isinstance(given, str):
        return SourceAsset(dg.AssetKey(given.split("/")))
    if isinstance(given, (list, tuple)) and given and all(isinstance(part, str) for part in given):
        return SourceAsset(dg.AssetKey(list(given)))
    raise DefinitionError(f"Give an asset, a spec or a key for data source {name!r}, not {type(given).__name__}.")
