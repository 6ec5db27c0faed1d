"""A feature repository as a component: what `definitions_for` does, for people who write YAML."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import dagster as dg
from pydantic import BaseModel, Field

from feast_assets.dagster.definitions import FEATURE_STORE, definitions_for
from feast_assets.dagster.resources import (
    FeatureStoreResource,
    OfflineStoreResource,
    OnlineStoreResource,
    RegistryResource,
    branch_deployment,
)
from feast_assets.dagster.scaffolder import FeatureRepoScaffolder
from feast_assets.dagster.source_assets import MadeBy
from feast_assets.dagster.translator import FeastTranslator, TranslatorData
from feast_assets.errors import ConfigError

Translation: TypeAlias = Callable[[dg.AssetSpec, TranslatorData], dg.AssetSpec]
"""Changes the asset that stands for a definition."""

_MERGED = ("metadata", "tags")
_REFUSED = ("partitions_def", "automation_condition")


def _resolve_translation(context: Any, model: str | BaseModel) -> Translation:
    """Returns what the ``translation`` of a YAML file says, with ``data`` and ``spec`` for its templates."""
    context = context.at_path("translation")

    def translated(spec: dg.AssetSpec, data: TranslatorData) -> dg.AssetSpec:
        here = context.with_scope(data=data, spec=spec)
        if isinstance(model, str):
            made = here.resolve_value(model)
            if not isinstance(made, dg.AssetSpec):
                raise ConfigError(f"translation: {model!r} must make an AssetSpec, not {made!r}.")
            return made
        given = {name: here.resolve_value(getattr(model, name)) for name in model.model_fields_set}
        if wrong := [name for name in _REFUSED if name in given]:
            raise ConfigError(f"translation: {wrong[0]} is the feature view's own; set it in its definition.")
        prefix, key = given.pop("key_prefix", None), given.pop("key", None)
        if key is not None or prefix is not None:
            made_key = spec.key if key is None else dg.AssetKey.from_user_string(str(key))
            given["key"] = made_key if prefix is None else made_key.with_prefix(prefix)
        replaced = {name: value for name, value in given.items() if name not in _MERGED}
        merged = {name: value for name, value in given.items() if name in _MERGED}
        return spec.replace_attributes(**replaced).merge_attributes(**merged)

    return translated


class _Translated(FeastTranslator):
    """The translator of a component, whose class decides how assets look."""

    def __init__(self, component: "FeatureRepoComponent"):
        self._component = component

    def get_asset_spec(self, data: TranslatorData) -> dg.AssetSpec:
        return self._component.get_asset_spec(data, super().get_asset_spec(data))


@dg.scaffold_with(FeatureRepoScaffolder)
@dataclass
class FeatureRepoComponent(dg.Component, dg.Resolvable):
    """The assets, jobs, schedules and sensors of a feature repository.

    Settings of the stores that are left out come from ``feature_store.yaml``. A setting may be ``{env: NAME}``: the
    environment variable of that name, which is read when a run starts and never shown. A code location can have one
    feature repository, because its assets use the resource ``feature_store``.

    Subclass it and override `get_asset_spec` to change how assets look, or `build_defs` to add to them.

    Example::

        type: feast_assets.dagster.FeatureRepoComponent
        attributes:
          repo_path: "{{ project_root }}/feature_repo"
          online_store: {type: redis, connection_string: {env: FEAST_ASSETS_REDIS}}
          source_assets: {orders: raw/orders}
          translation:
            group_name: features
            tags: {team: "{{ data.project }}"}
    """

    repo_path: Annotated[
        str,
        Field(description="The feature repository; a relative path starts at this component's folder."),
    ]
    project: Annotated[str | None, Field(description="Left out, as feature_store.yaml says.")] = None
    deployment: Annotated[
        str | None, Field(description="Such as the name of a branch; left out, as branch_deployment() says.")
    ] = None
    registry: Annotated[
        Mapping[str, Any] | None, Field(description="The section of feature_store.yaml of this name.")
    ] = None
    offline_store: Annotated[
        Mapping[str, Any] | None, Field(description="The section of feature_store.yaml of this name.")
    ] = None
    online_store: Annotated[
        Mapping[str, Any] | None, Field(description="The section of feature_store.yaml of this name.")
    ] = None
    source_assets: Annotated[
        Mapping[str, str | Sequence[str]] | None,
        Field(
            description="For names of data sources, the keys of the assets of your own that make them: raw/orders, or "
            "a list of the key's parts."
        ),
    ] = None
    translation: Annotated[
        Translation | None,
        dg.Resolver(
            _resolve_translation,
            model_field_type=str | dg.AssetAttributesModel,
            inject_before_resolve=False,
            description="How assets look; templates know the definition as data and its asset as spec.",
        ),
    ] = None
    max_partitions_per_run: Annotated[
        int | None, Field(description="How many partitions one run of a backfill does; left out, all of them.")
    ] = None
    pool: Annotated[
        str | None, Field(description="The concurrency pool of runs; left out, the online store's. Empty for none.")
    ] = None
    profile: Annotated[bool, Field(description="Whether partitions show what their values look like.")] = True
    checks: Annotated[
        str | Sequence[str], Field(description="Asset checks of feature views: all, none, or a list of names.")
    ] = "all"
    blocking: Annotated[
        bool | None,
        Field(description="Whether partitions that break declared checks are refused; left out, as each view says."),
    ] = None

    def get_asset_spec(self, data: TranslatorData, spec: dg.AssetSpec) -> dg.AssetSpec:
        """Returns the asset of a definition.

        Args:
            data: what there is to say of the definition.
            spec: its asset as `FeastTranslator` makes it.
        """
        return spec if self.translation is None else self.translation(spec, data)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the repository's definitions.

        Raises:
            ConfigError: the attributes or ``feature_store.yaml`` are wrong.
            RepositoryError: a definition file does not import.
        """
        resources = {FEATURE_STORE: self.resource(context.path)}
        most = self.max_partitions_per_run
        return definitions_for(
            resources,
            source_assets=None if self.source_assets is None else _keys(self.source_assets),
            translator=_Translated(self),
            backfill_policy=None if most is None else dg.BackfillPolicy.multi_run(most),
            pool=self.pool,
            profile=self.profile,
            checks=self.checks,  # type: ignore[arg-type]
            blocking=self.blocking,
        )

    def resource(self, folder: Path) -> FeatureStoreResource:
        """Returns the feature store.

        Args:
            folder: where a relative ``repo_path`` starts.
        """
        return FeatureStoreResource(
            repo_path=str((folder / self.repo_path).resolve()),
            project=self.project,
            deployment=branch_deployment() if self.deployment is None else self.deployment,
            registry=None if self.registry is None else _resource(RegistryResource, self.registry),
            offline_store=None if self.offline_store is None else _resource(OfflineStoreResource, self.offline_store),
            online_store=None if self.online_store is None else _resource(OnlineStoreResource, self.online_store),
        )


def _keys(given: Mapping[str, str | Sequence[str]]) -> dict[str, MadeBy]:
    return {name: key if isinstance(key, str) else list(key) for name, key in given.items()}


def _resource(resource: type[Any], section: Mapping[str, Any]) -> Any:
    """Returns a part of the store from its section; what is not a setting of every type goes to its options."""
    given = {name: _value(value) for name, value in section.items()}
    known = {name: given.pop(name) for name in list(given) if name in resource.model_fields and name != "options"}
    return resource(**known, options=given)


def _value(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {"env"}:
        return dg.EnvVar(str(value["env"]))
    return value
