"""What all kinds of views share: features, and projections of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Self

from feast_assets.definitions.base import Definition, check_name, listed
from feast_assets.definitions.feature_view_state import FeatureViewState
from feast_assets.definitions.field import Field
from feast_assets.definitions.projection import FeatureViewProjection, feature_named
from feast_assets.errors import DefinitionError, FeatureNotFoundError, shown
from feast_assets.types.names import repeated_names


class BaseFeatureView(Definition):
    """A named set of features.

    Attributes:
        features: the features, without join key columns.
        projection: the features that this object represents, and its name in references. Projecting makes a copy and
            never changes the view.
        enabled: whether it is served and materialized.
        state: how far it is; see `FeatureStore.set_feature_view_state`.
        version: "latest", or the version that it is put back to, such as "v2".
        current_version_number: of the version in use; apply sets it.
    """

    features: list[Field]
    projection: FeatureViewProjection
    enabled: bool
    state: FeatureViewState = FeatureViewState.STATE_UNSPECIFIED
    version: str = "latest"
    current_version_number: int = 0

    def _after_decode(self) -> None:
        self.state = FeatureViewState(self.state)
        self.projection = self._whole()

    def _whole(self) -> FeatureViewProjection:
        return FeatureViewProjection(name=self.name, features=self.features)

    @property
    def row_fields(self) -> list[Field]:
        """The columns that its rows have beside the join keys; its features, unless these are computed of windows."""
        return self.features

    def feature(self, name: str) -> Field:
        """Returns a feature by name.

        Raises:
            FeatureNotFoundError: the view does not have it.
        """
        return feature_named(name, self.features, self.name)

    def __getitem__(self, item: Sequence[str]) -> Self:
        """Returns a copy that represents some of the features, by their names, in this order."""
        names = item
        if isinstance(names, str) or not all(isinstance(n, str) for n in names):
            raise DefinitionError(f"Choose features of {self.name!r} by a list of names, such as view[['a', 'b']].")
        projection = copy(self.projection)
        if self.features:
            try:
                projection.features = [self.feature(n) for n in names]
            except FeatureNotFoundError as error:
                raise DefinitionError(str(error)) from None
        else:
            projection.desired_features = list(names)
        return self.with_projection(projection)

    def with_name(self, name: str) -> Self:
        """Returns a copy that has another name in references and column names."""
        projection = copy(self.projection)
        projection.name_alias = name
        return self.with_projection(projection)

    def with_join_key_map(self, join_key_map: Mapping[str, str]) -> Self:
        """Returns a copy whose join keys are found under other names: the view's key -> the entity rows' column."""
        projection = copy(self.projection)
        projection.join_key_map = dict(join_key_map)
        return self.with_projection(projection)

    def with_projection(self, feature_view_projection: FeatureViewProjection) -> Self:
        """Returns a copy with a projection."""
        view = copy(self)
        view.set_projection(feature_view_projection)
        return view

    def set_projection(self, feature_view_projection: FeatureViewProjection) -> None:
        """Gives this object a projection; `with_projection` leaves it as it is.

        Raises:
            DefinitionError: the projection is of another view, or has features that the view lacks.
        """
        projection = feature_view_projection
        if projection.name != self.name:
            raise DefinitionError(f"A projection of {projection.name!r} cannot be put on view {self.name!r}.")
        known = {feature.name for feature in self.features}
        if self.features and (unknown := [f.name for f in projection.features if f.name not in known]):
            raise DefinitionError(f"View {self.name!r} has no feature {unknown[0]!r}, which the projection has.")
        self.projection = projection

    def ensure_valid(self) -> None:
        """Raises DefinitionError if the view has no name; all else is checked when it is made."""
        check_name(self.name, type(self).__name__)


def check_fields(schema: Sequence[Field] | None, subject: str) -> list[Field]:
    """Returns the fields as a list.

    Raises:
        DefinitionError: some are no fields, or two have one name.
    """
    fields = listed(schema, f"{subject}: schema must be a list of Field objects")
    for field in fields:
        if not isinstance(field, Field):
            raise DefinitionError(f"{subject}: schema must be a list of Field objects, found {shown(field)}.")
    names = [f.name for f in fields]
    repeated = repeated_names(names)
    if repeated:
        raise DefinitionError(f"{subject}: schema has two fields named {repeated[0]!r}.")
    return fields


def check_features(features: Sequence[Field], subject: str) -> None:
    """Raises DefinitionError for a feature whose name contains ``:``, as references are ``view:feature``."""
    for field in features:
        if ":" in field.name:
            raise DefinitionError(
                f"{subject}: feature name {shown(field.name)} may not contain ':', which references use; rename the "
                "column with the source's field_mapping, or in the function that makes it."
            )


def refuse_checks(fields: Sequence[Field], subject: str, why: str) -> None:
    """Raises DefinitionError if a field declares checks that would never be applied."""
    for field in fields:
        if field.checks is not None:
            raise DefinitionError(f"{subject}: field {field.name!r} declares checks, but {why}; leave them out.")
