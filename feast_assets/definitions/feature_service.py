"""Feature services: the features that one model reads."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from feast_assets.definitions.base import Definition, listed, spec_of
from feast_assets.definitions.feature_logging import LoggingConfig
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.projection import FeatureViewProjection
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.definitions.view_version import split_name, versioned_name
from feast_assets.errors import DefinitionError, shown


class FeatureService(Definition):
    """A named list of features.

    Args:
        features: views (whole, or projected as ``view[["a"]]``, ``view.with_name("x")``), or references as text:
            ``"view"``, ``"view:feature"``, ``"view@v1"``, ``"view@v1:feature"``. Texts are resolved at apply.
        logging_config: where served features are logged.
        precompute_online: kept, and without effect: the rows of all views of a service are read in one round trip
            anyway.
    """

    object_type = "feature service"
    _spec = spec_of(feature_view_projections=[], logging_config=None, precompute_online=False)

    feature_view_projections: list[FeatureViewProjection]
    logging_config: LoggingConfig | None
    precompute_online: bool
    _views: Sequence[BaseFeatureView] = ()

    def __init__(
        self,
        *,
        name: str,
        features: Sequence[BaseFeatureView | str],
        tags: Mapping[str, str] | None = None,
        description: str = "",
        owner: str = "",
        logging_config: LoggingConfig | None = None,
        precompute_online: bool = False,
    ):
        subject = f"FeatureService {name!r}"
        self._init_meta(name, description, tags, owner)
        if not isinstance(precompute_online, bool):
            raise DefinitionError(
                f"{subject}: precompute_online must be True or False, not {shown(precompute_online)}."
            )
        self.precompute_online = precompute_online
        if logging_config is not None and not isinstance(logging_config, LoggingConfig):
            raise DefinitionError(f"{subject}: logging_config must be a LoggingConfig, not {shown(logging_config)}.")
        self.logging_config = logging_config
        self.feature_view_projections = []
        if features is None or isinstance(features, (str, BaseFeatureView)):
            raise DefinitionError(f"{subject}: features must be a list of views or references.")
        for feature in listed(features, f"{subject}: features must be a list of views or references"):
            if isinstance(feature, BaseFeatureView):
                self.feature_view_projections.append(feature.projection)
            elif isinstance(feature, str) and feature:
                view, _, name_of_feature = feature.partition(":")
                view_name, number = split_name(view)
                view = view_name if number is None else versioned_name(view_name, number)
                desired = [name_of_feature] if name_of_feature else []
                self.feature_view_projections.append(FeatureViewProjection(name=view, desired_features=desired))
            else:
                raise DefinitionError(
                    f"{subject}: features must be views or references such as 'view:feature', found {shown(feature)}."
                )
        self._views = [each for each in features if isinstance(each, BaseFeatureView)]
        if precompute_online:
            warnings.warn(
                f"{subject}: precompute_online has no effect: the rows of all its views are read in one round trip "
                "anyway.",
                stacklevel=2,
            )

    def validate(self) -> None:
        """Checks whether the service could be computed beforehand, as Feast's method of this name does.

        Raises:
            DefinitionError: with ``precompute_online`` it has an on-demand view that is computed when it is read.
        """
        for view in self._views if self.precompute_online else ():
            if isinstance(view, OnDemandFeatureView) and not view.write_to_online_store:
                raise DefinitionError(
                    f"FeatureService {self.name!r}: with precompute_online=True it cannot have on-demand view "
                    f"{view.name!r}, which is computed when it is read. Declare that with write_to_online_store=True, "
                    "or leave precompute_online out."
                )

    def to_spec(self) -> dict[str, object]:
        spec = super().to_spec()
        # A service without it keeps the hash that it had before the attribute existed.
        if not self.precompute_online:
            del spec["precompute_online"]
        return spec
