"""A feature repository as Dagster shows it: what its code declares, with what apply fixed, in groups of one grid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from feast_assets.dagster.applied import filled, leaves_to_apply, with_declared_keys
from feast_assets.dagster.source_assets import MadeBy, SourceAsset
from feast_assets.dagster.source_assets import source_assets as made_by_assets
from feast_assets.dagster.translator import FeastTranslator
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.branches import deployed
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.kept_results import sources_read
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import FeatureViewNotFoundException
from feast_assets.repository.loading import load_repository

if TYPE_CHECKING:
    from feast_assets.dagster.resources import FeatureStoreResource


_Bounds = tuple[datetime | None, datetime | None]


@dataclass(frozen=True)
class ViewGroup:
    """Views that one run can materialize together, as their windows are the same.

    Attributes:
        name: such as ``flights_daily`` or ``flights_without_partitions``; where the project has several grids of one
            grain, such as ``flights_daily_from_2013_01_01``.
        partitions: the grid, with its start; None for views that are materialized whole.
    """

    name: str
    partitions: Partitions | None
    views: tuple[FeatureView, ...]


@dataclass(frozen=True)
class FeatureRepository:
    """What a feature repository declares. Reading it changes nothing, in the registry or elsewhere.

    Attributes:
        views: all feature views, by name; what they leave to the first apply is filled in where it has happened. After
            that, what is stored of on-demand views is among them.
        data_sources: sources that hold history, by name.
        label_views, on_demand_feature_views, feature_services: by name.
        offline_store, online_store: types of the stores, such as "duckdb"; None where there is none.
        source_assets: the assets of the user's own that make data sources, by the sources' names.
        root: the repository's folder.
    """

    project: str
    views: tuple[FeatureView, ...]
    data_sources: tuple[DataSource, ...]
    offline_store: str | None = None
    online_store: str | None = None
    label_views: tuple[LabelView, ...] = ()
    on_demand_feature_views: tuple[OnDemandFeatureView, ...] = ()
    feature_services: tuple[FeatureService, ...] = ()
    source_assets: Mapping[str, SourceAsset] = field(default_factory=dict)
    root: Path | None = None

    @classmethod
    def load(
        cls,
        feature_store: FeatureStoreResource,
        *,
        source_assets: Mapping[str, MadeBy] | None = None,
        translator: FeastTranslator | None = None,
    ) -> FeatureRepository:
        """Reads the repository's code, and the registry if a view leaves something to it, such as its grid's start.

        Args:
            source_assets: for the names of data sources, the assets of your own that make them; a source may name its
                own by the tag ``dagster/asset``.
            translator: says it of the other sources; see `FeastTranslator.get_source_asset`.

        Raises:
            DefinitionError: what is given for a source is no asset of one key, or there is no such source.
            RepositoryError: a definition file does not import.
            StoreUnavailableError: the registry is needed and cannot be reached.
        """
        contents = load_repository(feature_store.root)
        config = feature_store.described()
        declared = deployed([*contents.feature_views, *contents.data_sources], config.project, config.deployment)
        named = sorted((v for v in declared if isinstance(v, FeatureView)), key=lambda v: v.name)
        views = [with_declared_keys(v, contents.entities) for v in named]
        written = {v.name for v in contents.on_demand_feature_views if v.write_to_online_store}
        if written or any(leaves_to_apply(v) for v in views):
            registered = {v.name: v for v in feature_store.registered_views()}
            views = [filled(v, registered.get(v.name)) for v in views]
            # What is stored of an on-demand view, apply works out.
            views += [v for v in registered.values() if v.name in written and v.makes_something]
            views.sort(key=lambda v: v.name)
        sources = _sources(views, (s for s in declared if isinstance(s, DataSource)))
        return cls(
            project=config.project,
            views=tuple(views),
            data_sources=sources,
            source_assets=made_by_assets(
                source_assets, sources, views, (translator or FeastTranslator()).get_source_asset
            ),
            offline_store=config.offline_store,
            online_store=config.online_store,
            label_views=tuple(sorted(contents.label_views, key=lambda v: v.name)),
            on_demand_feature_views=tuple(sorted(contents.on_demand_feature_views, key=lambda v: v.name)),
            feature_services=tuple(sorted(contents.feature_services, key=lambda s: s.name)),
            root=Path(feature_store.root),
        )

    def view(self, name: str) -> FeatureView:
        """Returns a feature view.

        Raises:
            FeatureViewNotFoundException: there is none.
        """
        for view in self.views:
            if view.name == name:
                return view
        raise FeatureViewNotFoundException(name, self.project, [v.name for v in self.views])

    @property
    def source_keys(self) -> dict[str, dg.AssetKey]:
        """The keys of the user's assets that make data sources, by the sources' names."""
        return {name: asset.key for name, asset in self.source_assets.items()}

    def follows_rows(self, view: FeatureView) -> bool:
        """Whether the late-data sensor runs every window of a view that is missing or whose rows have changed.

        It does so for a view on late data, and for an eager one that reads an asset without partitions: only the rows
        show which of the view's windows an update of that asset concerns.
        """
        automation = view.automation
        if automation is None or automation.when == "cron":
            return False
        if automation.when == "late_data":
            return True
        read = [self.source_assets[s.name] for s in sources_read(view) if s.name in self.source_assets]
        return view.partitions is not None and any(a.partitions_known and a.partitions_def is None for a in read)

    def materializable(self) -> list[FeatureView]:
        """Returns the views that a run can materialize: enabled, online or kept, and with a start of their grid."""
        return [v for v in self.views if v.makes_something and not awaits_apply(v)]

    def others(self) -> list[FeatureView]:
        """Returns the views that no run materializes."""
        return [v for v in self.views if not v.makes_something or awaits_apply(v)]

    def groups(self) -> list[ViewGroup]:
        """Returns the views that can be materialized, grouped by grid: grain and start."""
        by_name: dict[str, list[FeatureView]] = {}
        for view in self.materializable():
            by_name.setdefault(self.group_name(view.partitions), []).append(view)
        return [ViewGroup(name, views[0].partitions, tuple(views)) for name, views in sorted(by_name.items())]

    def group_name(self, partitions: Partitions | None) -> str:
        """Returns what a group of views of this grid is called: by its grain, and by its start and end only where the
        project has several grids of one grain."""
        project = re.sub(r"\W", "_", self.project, flags=re.ASCII)
        if partitions is None or partitions.start is None:
            return f"{project}_without_partitions"
        name = f"{project}_{partitions.grain}"
        if len(self._grids.get(partitions.grain, set()) | {_bounds(partitions)}) == 1:
            return name
        until = f"_until_{_stamp(partitions.end)}" if partitions.end is not None else ""
        return f"{name}_from_{_stamp(partitions.start)}{until}"

    @cached_property
    def _grids(self) -> dict[str, set[_Bounds]]:
        """The starts and ends of the grids of each grain."""
        bounds_by_grain: dict[str, set[_Bounds]] = {}
        for view in self.materializable():
            if view.partitions is not None:
                bounds_by_grain.setdefault(view.partitions.grain, set()).add(_bounds(view.partitions))
        return bounds_by_grain

    @cached_property
    def grids_by_source(self) -> dict[str, list[Partitions]]:
        """The grids of the views that read a source, by the source's name."""
        grids: dict[str, list[Partitions]] = {}
        for view in self.materializable():
            for source in sources_read(view):
                if view.partitions is not None:
                    grids.setdefault(source.name, []).append(view.partitions)
        return grids


def awaits_apply(view: FeatureView) -> bool:
    """Whether a view's partition keys are unknown until it is applied."""
    return view.partitions is not None and view.partitions.start is None


def _bounds(partitions: Partitions) -> _Bounds:
    return partitions.start, partitions.end


def _stamp(start: datetime) -> str:
    return f"{start:%Y_%m_%d}" if start.hour == 0 else f"{start:%Y_%m_%d_%H}"


def _sources(views: Iterable[FeatureView], declared: Iterable[DataSource]) -> tuple[DataSource, ...]:
    sources_by_name = {s.name: s for s in declared if s.holds_history}
    for view in views:
        used = [*view.sources, view.sink_source] if isinstance(view, BatchFeatureView) else [view.batch_source]
        sources_by_name |= {s.name: s for s in used if s is not None and s.name not in sources_by_name}
    return tuple(sources_by_name[name] for name in sorted(sources_by_name))
