"""A projection: some features of a view, possibly under other names, as a feature service or a request uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from feast_assets.definitions.field import Field
from feast_assets.definitions.spec import Spec
from feast_assets.errors import FeatureNotFoundError

if TYPE_CHECKING:
    from feast_assets.definitions.view import BaseFeatureView


class FeatureViewProjection(Spec):
    """Some features of one view, as a service or a request uses them.

    Attributes:
        name: the view.
        name_alias: the name of the view in the request.
        desired_features: names asked for before the view's schema was known.
        features: the features.
        join_key_map: the view's join key -> the column of the entity rows that holds it.
    """

    _spec = {"name": "", "name_alias": None, "desired_features": [], "features": [], "join_key_map": {}}

    def __init__(
        self,
        name: str,
        name_alias: str | None = None,
        desired_features: Sequence[str] = (),
        features: Sequence[Field] = (),
        join_key_map: Mapping[str, str] | None = None,
    ):
        self.name = name
        self.name_alias = name_alias
        self.desired_features = list(desired_features)
        self.features = list(features)
        self.join_key_map = dict(join_key_map or {})

    def get_feature(self, feature_name: str) -> Field:
        """Returns a feature by name.

        Raises:
            FeatureNotFoundError: the projection does not have it.
        """
        return feature_named(feature_name, self.features, self.name_to_use())

    @staticmethod
    def from_definition(base_feature_view: BaseFeatureView) -> FeatureViewProjection:
        """Returns the projection of a whole view, under its own name."""
        return FeatureViewProjection(base_feature_view.name, features=base_feature_view.features)

    @staticmethod
    def from_feature_view_definition(feature_view: BaseFeatureView) -> FeatureViewProjection:
        """Feast's older name of `from_definition`."""
        return FeatureViewProjection.from_definition(feature_view)

    def name_to_use(self) -> str:
        """Returns the alias, or the view's name without one."""
        return self.name_alias or self.name


def feature_named(name: str, features: Sequence[Field], view: str) -> Field:
    """Returns one of a view's features.

    Raises:
        FeatureNotFoundError: the view does not have it.
    """
    for field in features:
        if field.name == name:
            return field
    raise FeatureNotFoundError(name, view, [f.name for f in features])
