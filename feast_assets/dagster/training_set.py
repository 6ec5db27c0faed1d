"""Training sets as assets: rows for a model, with pins from which the same bytes can be made again."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from feast_assets.dagster.failures import told_first
from feast_assets.dagster.resources import FeatureStoreResource
from feast_assets.dagster.translator import in_key
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.branches import FOLDER
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.errors import DefinitionError, NotAppliedError
from feast_assets.feature_store import FeatureStore
from feast_assets.repository.user_functions import UserFunctions
from feast_assets.retrieval.historical import HistoricalRetrieval
from feast_assets.retrieval.training_set import (
    TrainingSet,
    TrainingSetPins,
    build_training_set,
    file_sha256,
    read_pins,
)

PINS = "feast_assets/pins"
"""Metadata of a training set: what decided its rows."""
SHA256 = "feast_assets/sha256"
"""Metadata of a training set: its file's hash."""

EntityRows = str | Callable[[dg.AssetExecutionContext], Any]
_FOLDER = "data/training_sets"


class TrainingSetConfig(dg.Config):
    """How a run makes a training set."""

    rebuild: bool = Field(
        default=False,
        description="Make it again as it was last made: with the definitions of that revision, if the sources still "
        "hold what they held. Otherwise the run fails, says what differs, and leaves the file as it is.",
    )


def training_set_asset(
    *,
    name: str,
    entity_df: EntityRows,
    feature_service: str | None = None,
    features: Sequence[str] | None = None,
    full_feature_names: bool = False,
    path: str | None = None,
    project: str | None = None,
    deps: Iterable[dg.AssetDep | dg.AssetKey | str] | None = None,
    **spec: Any,
) -> dg.AssetsDefinition:
    """Makes an asset that is a training set: a Parquet file of entity rows with their features at the rows' times.

    The file, and the asset's metadata, pin what decided the rows: the registry's revision, the fingerprints of what was
    read of each source, and the entity rows. Run with the configuration ``rebuild: true``, the asset is made again from
    its last pins, byte for byte; where that cannot be, the run fails and says what has changed, and the file stays.

    Rows are ordered by time, then by the other columns of ``entity_df``.

    Args:
        name: the asset's; with ``key_prefix`` among ``spec`` its key.
        entity_df: whose features at what times: a query in the offline store's SQL, or a function of the asset's
            context that returns a DataFrame, an Arrow table or a dict of lists. Columns beyond join keys and a time
            column, such as the label, are kept.
        feature_service, features: what to read; one of the two. Features are references, ``"view:feature"``.
        full_feature_names: whether columns are named ``view__feature``.
        path: of the file; relative to the feature repository. Left out, ``data/training_sets/<name>.parquet``. A
            deployment of a branch writes its own, in a hidden folder beside it.
        project: the feature store's project, to put the asset downstream of the service's or the views' assets; for
            keys of a `FeastTranslator` of your own give ``deps``.
        deps: what it is downstream of, beside that.
        spec: further arguments of ``dagster.asset``, such as ``group_name``, ``owners``, ``tags``, ``pool``.

    Raises:
        DefinitionError: not one of ``feature_service`` and ``features`` was given.

    The asset needs a `FeatureStoreResource` under the key ``feature_store``.

    Example::

        late_departures = training_set_asset(
            name="late_departures",
            feature_service="departure_delay",
            entity_df="SELECT origin, carrier, tailnum, event_timestamp, late FROM 'data/labels.parquet'",
            project="nyc_flights",
        )
    """
    what = f"Training set {name!r}"
    if (feature_service is None) == (features is None):
        raise DefinitionError(f"{what}: give one of feature_service and features.")
    if isinstance(features, str):
        raise DefinitionError(f"{what}: features must be a list of references, such as [{features!r}].")
    upstream = [] if project is None else _upstream(project, feature_service, features or [])

    def training_set(
        context: dg.AssetExecutionContext, config: TrainingSetConfig, feature_store: FeatureStoreResource
    ) -> dg.MaterializeResult[Any]:
        with told_first():
            return make(context, config, feature_store)

    def make(
        context: dg.AssetExecutionContext, config: TrainingSetConfig, feature_store: FeatureStoreResource
    ) -> dg.MaterializeResult[Any]:
        store = feature_store.get_store()
        target = _place(store, path or f"{_FOLDER}/{name}.parquet")
        last = _last(context, target) if config.rebuild else None
        pinned = None if last is None else last[0]
        store.refresh_registry()
        made = _build(
            store,
            entity_df if isinstance(entity_df, str) else entity_df(context),
            feature_service,
            features,
            full_feature_names,
            None if pinned is None else pinned.registry_revision,
        )
        if pinned is not None and (told := pinned.differences(made.pins)):
            raise dg.Failure(
                f"{what} cannot be made again as it was; the file was left as it is. {' '.join(told)}",
                metadata={"differences": dg.MetadataValue.md("\n".join(f"- {line}" for line in told))},
                allow_retries=False,
            )
        digest = made.write(target, sha256=None if last is None else last[1])
        return dg.MaterializeResult(metadata=_metadata(made, target, digest), data_version=dg.DataVersion(digest[:32]))

    looks = {"kinds": {"training_set", "parquet"}, "description": _described(feature_service, features), **spec}
    made: dg.AssetsDefinition = dg.asset(name=name, deps=[*upstream, *(deps or [])], **looks)(training_set)
    return made


def _build(
    store: FeatureStore,
    entity_df: Any,
    feature_service: str | None,
    features: Sequence[str] | None,
    full_feature_names: bool,
    revision: int | None,
) -> TrainingSet:
    snapshot = store.snapshot() if revision is None else store.registry.snapshot(revision)
    asked: FeatureService | list[str]
    asked = list(features or []) if feature_service is None else snapshot.feature_service(feature_service)
    retrieval = HistoricalRetrieval(snapshot, store.offline_store, _AppliedFunctions(store.repo_path), store.repo_path)
    return build_training_set(retrieval, entity_df, asked, full_feature_names=full_feature_names)


class _AppliedFunctions(UserFunctions):
    """The functions of the pinned definitions; where the repository has another one, that is an error."""

    def of(self, view: OnDemandFeatureView | BatchFeatureView) -> Callable[..., Any]:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            function = super().of(view)
        if said:
            raise NotAppliedError(view.name, "has another function in the feature repository than when it was applied")
        return function


def _place(store: FeatureStore, path: str) -> Path:
    place = store.repo_path / path
    return place.parent / FOLDER / store.project / place.name if store.config.deployment else place


def _last(context: dg.AssetExecutionContext, target: Path) -> tuple[TrainingSetPins, str]:
    """Returns the pins of the last materialization, and the hash of its file; of the file if Dagster knows none."""
    event = context.instance.get_latest_materialization_event(context.asset_key)
    metadata: Mapping[str, Any] = {} if event is None else event.asset_materialization.metadata
    if PINS in metadata:
        return TrainingSetPins.from_dict(metadata[PINS].value), str(metadata[SHA256].value)
    return read_pins(target), file_sha256(target)


def _metadata(made: TrainingSet, path: Path, digest: str) -> dict[str, Any]:
    pins = made.pins
    lines = [f"| `{s.view}` | {', '.join(s.sources)} | {s.rows:,} | `{s.fingerprint[:12]}` |" for s in pins.sources]
    return {
        "dagster/row_count": made.rows.num_rows,
        "dagster/column_schema": dg.TableSchema([dg.TableColumn(f.name, str(f.type)) for f in made.rows.schema]),
        "feast_assets/path": dg.MetadataValue.path(path),
        "feast_assets/registry_revision": pins.registry_revision,
        "feast_assets/sources_read": dg.MetadataValue.md(
            "\n".join(["| view | sources | rows that could count | fingerprint |", "|---|---|---|---|", *lines])
        ),
        PINS: dg.MetadataValue.json(pins.to_dict()),
        SHA256: digest,
    }


def _upstream(project: str, service: str | None, features: Sequence[str]) -> list[dg.AssetKey]:
    if service is not None:
        return [dg.AssetKey([in_key(project), "services", in_key(service)])]
    views = dict.fromkeys(reference.partition(":")[0] for reference in features)
    return [dg.AssetKey([in_key(project), in_key(view)]) for view in views]


def _described(service: str | None, features: Sequence[str] | None) -> str:
    read = f"feature service {service}" if service else ", ".join(features or [])
    return f"Training set: entity rows with the features of {read}, as they were known at the rows' times."
