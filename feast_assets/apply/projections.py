"""What feature services and on-demand views take from other views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import cast

from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.projection import FeatureViewProjection
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.errors import DefinitionError, FeatureViewNotFoundException, suggest
from feast_assets.registry.snapshot import StoredObject, copy_definition


class ViewsByName(Mapping[str, BaseFeatureView]):
    """Views by name, as they are after the apply. Unchanged ones are decoded when they are asked for.

    Attributes:
        unread: the same views, of which unchanged ones are not decoded.
    """

    def __init__(
        self,
        views: dict[str, StoredObject | BaseFeatureView],
        version_of: Callable[[str], BaseFeatureView] | None = None,
    ):
        """Takes the views.

        Args:
            version_of: gives a view in the version that a name such as ``stats@v1`` tells.
        """
        self.unread = views
        self._version_of = version_of

    def add(self, views: Iterable[StoredObject | BaseFeatureView]) -> None:
        """Adds views, which replace those with the same names."""
        self.unread |= {v.name: v for v in views}

    def with_rows(self) -> ViewsByName:
        """Returns those that are not on-demand."""
        on_demand = OnDemandFeatureView.object_type
        return ViewsByName({n: v for n, v in self.unread.items() if v.object_type != on_demand})

    def __getitem__(self, name: str) -> BaseFeatureView:
        if "@" in name and self._version_of is not None:
            return self._version_of(name)
        view = self.unread[name]
        return cast(BaseFeatureView, view.definition()) if isinstance(view, StoredObject) else view

    def __iter__(self) -> Iterator[str]:
        return iter(self.unread)

    def __len__(self) -> int:
        return len(self.unread)


def chosen_names(projection: FeatureViewProjection) -> list[str]:
    """Returns the names of the features that were chosen; none for all that the view has."""
    return projection.desired_features or [f.name for f in projection.features]


def chosen_features(
    projection: FeatureViewProjection, views: Mapping[str, BaseFeatureView], subject: str, project: str
) -> list[Field]:
    """Returns the view's own features that a projection chooses, or all of them if it chooses none.

    Raises:
        FeatureViewNotFoundException: there is no such view.
        DefinitionError: the view has no such feature, or no such join key.
    """
    view = views.get(projection.name)
    if view is None:
        error = FeatureViewNotFoundException(projection.name, project, views)
        error.args = (f"{subject}: {error}",)
        raise error
    by_name = {f.name: f for f in view.features}
    chosen = chosen_names(projection)
    for name in chosen:
        if name not in by_name:
            raise DefinitionError(f"{subject}: view {view.name!r} has no feature {name!r}. {suggest(name, by_name)}")
    keys = view.join_keys if isinstance(view, FeatureView) else []
    for key in projection.join_key_map:
        if key not in keys:
            raise DefinitionError(
                f"{subject}: join_key_map names {key!r}, which is no join key of view {view.name!r}. "
                f"{suggest(key, keys)}"
            )
    return [by_name[n] for n in (chosen or by_name)]


def resolve_projection(
    projection: FeatureViewProjection, views: Mapping[str, BaseFeatureView], subject: str, project: str
) -> FeatureViewProjection:
    """Returns a projection with copies of its features; raises as `chosen_features` does."""
    return FeatureViewProjection(
        name=projection.name,
        name_alias=projection.name_alias,
        features=[copy_definition(f) for f in chosen_features(projection, views, subject, project)],
        join_key_map=projection.join_key_map,
    )
