"""Training sets as assets: rows for a model, with pins from which the same bytes can be made again."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg
from pydantic import Field

from feast_assets.dagster.failures import told_first
from feast_assets.dagster.partitions import partition_key, partitions_definition
from feast_assets.dagster.training_set_files import FILE, IO_MANAGER_KEY, training_set_io_manager, training_set_path
from feast_assets.dagster.translator import in_key
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.spec import as_utc
from feast_assets.errors import DefinitionError, FeastAssetsError, NotAppliedError, StoreUnavailableError
from feast_assets.feature_store import FeatureStore
from feast_assets.registry.snapshot import RegistrySnapshot
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

EntityRows = str | Callable[[dg.AssetExecutionContext], object]
_FOLDER = "data/training_sets"
_SUFFIX = ".parquet"
_MICROSECOND = timedelta(microseconds=1)


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
    partitions_def: dg.PartitionsDefinition[str] | None = None,
    deps: Iterable[dg.AssetDep | dg.AssetKey | str] | None = None,
    **spec: Any,
) -> dg.AssetsDefinition:
    """Makes an asset that is a training set: a Parquet file of entity rows with their features at the rows' times.

    The file, and the asset's metadata, pin what decided the rows: the registry's revision, the fingerprints of what was
    read of each source, and the entity rows. Run with the configuration ``rebuild: true``, the asset is made again from
    its last pins, byte for byte; where that cannot be, the run fails and says what has changed, and the file stays.

    Rows are ordered by time, then by the other columns of ``entity_df``.

    An asset downstream takes it as a parameter, as the type that its annotation says; see `TrainingSetIOManager`.

    Args:
        name: the asset's; with ``key_prefix`` among ``spec`` its key.
        entity_df: whose features at what times: a query in the offline store's SQL, or a function of the asset's
            context that returns such a query, a DataFrame, an Arrow table or a dict of lists. Columns beyond join keys
            and a time column, such as the label, are kept. With partitions it must be a function, which is called for
            each partition: its context's ``partition_key`` and ``partition_time_window`` are those of that partition,
            also in a run of several.
        feature_service, features: what to read; one of the two. Features are references, ``"view:feature"``.
        full_feature_names: whether columns are named ``view__feature``.
        path: of the file; relative to the feature repository. Left out, ``data/training_sets/<name>.parquet``. With
            partitions it is the folder of their files (without ``.parquet``), which are named by the partitions' keys.
            A deployment of a branch writes its own, in a hidden folder beside it.
        project: the feature store's project, to put the asset downstream of the service's or the views' assets; for
            keys of a `FeastTranslator` of your own give ``deps``.
        partitions_def: one file, with pins of its own, for each partition.
        deps: what it is downstream of, beside that.
        spec: further arguments of ``dagster.asset``, such as ``group_name``, ``owners``, ``tags``, ``pool``,
            ``backfill_policy``.

    Raises:
        DefinitionError: not one of ``feature_service`` and ``features`` was given, or a query for all partitions.

    The asset needs a `FeatureStoreResource` under the key ``feature_store``.

    Example::

        late_departures = training_set_asset(
            name="late_departures",
            feature_service="departure_delay",
            entity_df="SELECT origin, carrier, tailnum, event_timestamp, late FROM 'data/labels.parquet'",
            project="nyc_flights",
        )
    """
    subject = f"Training set {name!r}"
    if (feature_service is None) == (features is None):
        raise DefinitionError(f"{subject}: give one of feature_service and features.")
    if isinstance(features, str):
        raise DefinitionError(f"{subject}: features must be a list of references, such as [{features!r}].")
    if partitions_def is not None and not callable(entity_df):
        raise DefinitionError(
            f"{subject}: with partitions, entity_df must be a function of the context, such as lambda context: "
            "my_rows(context.partition_time_window); otherwise each partition would hold the same rows."
        )
    file = path or f"{_FOLDER}/{name}{_SUFFIX}"
    asked = _Asked(
        title=subject,
        entity_df=entity_df,
        features=feature_service or list(features or []),
        full_feature_names=full_feature_names,
        file=file if partitions_def is None else file.removesuffix(_SUFFIX),
    )
    upstream = [] if project is None else _upstream(project, feature_service, features or [])

    def training_set(context: dg.AssetExecutionContext, config: TrainingSetConfig) -> dg.MaterializeResult[None]:
        with told_first():
            store = context.resources.feature_store.get_store()
            store.refresh_registry()
            if partitions_def is None:
                one = _make(context, asked, store, None, rebuild=config.rebuild)
                return dg.MaterializeResult(metadata=one.metadata, data_version=one.data_version)
            return _make_partitions(context, asked, store, partitions_def, rebuild=config.rebuild)

    looks = {"kinds": {"training_set", "parquet"}, "description": _described(feature_service, features), **spec}
    if "io_manager_key" not in spec and "io_manager_def" not in spec:
        looks |= {"io_manager_key": IO_MANAGER_KEY, "resource_defs": {IO_MANAGER_KEY: training_set_io_manager}}
    with warnings.catch_warnings():
        # Said once for each training set, it would be all that a user sees of a loaded project.
        warnings.simplefilter("ignore", dg.BetaWarning)
        made: dg.AssetsDefinition = dg.asset(
            name=name,
            deps=[*upstream, *(deps or [])],
            partitions_def=partitions_def,
            required_resource_keys={"feature_store"},
            **{**looks, "metadata": {FILE: asked.file, **(spec.get("metadata") or {})}},
        )(training_set)
    return made


@dataclass(frozen=True)
class _Asked:
    """What a training set is made of.

    Attributes:
        title: for messages.
        features: of the service of this name, or references.
        file: where it goes; with partitions the folder.
    """

    title: str
    entity_df: EntityRows
    features: str | list[str]
    full_feature_names: bool
    file: str


@dataclass(frozen=True)
class _Made:
    """A file that was written, and what Dagster records of it."""

    metadata: dict[str, Any]
    data_version: dg.DataVersion


class _ContextOfPartition:
    """The context of a run of several partitions, as if it were a run of one of them."""

    def __init__(self, context: dg.AssetExecutionContext, partitions_def: dg.PartitionsDefinition[str], key: str):
        self._context = context
        self._partitions_def = partitions_def
        self.partition_key = key
        self.partition_keys = [key]
        self.partition_key_range = dg.PartitionKeyRange(key, key)
        self.has_partition_key = True
        self.has_partition_key_range = False

    @property
    def partition_time_window(self) -> dg.TimeWindow:
        if isinstance(self._partitions_def, dg.TimeWindowPartitionsDefinition):
            window: dg.TimeWindow = self._partitions_def.time_window_for_partition_key(self.partition_key)
            return window
        # Dagster says that there is none.
        of_run: dg.TimeWindow = self._context.partition_time_window
        return of_run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def _make_partitions(
    context: dg.AssetExecutionContext,
    asked: _Asked,
    store: FeatureStore,
    partitions_def: dg.PartitionsDefinition[str],
    *,
    rebuild: bool,
) -> dg.MaterializeResult[None]:
    """Makes each partition of the run. One that fails does not keep the others from being made.

    Raises:
        dagster.Failure: no partitions were chosen, or some failed; the others have been made and recorded.
    """
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure(
            f"{asked.title} has partitions, and none were chosen for this run. Choose one or a range: in the UI when "
            "materializing, or with --partition or --partition-range of `dagster asset materialize`.",
            allow_retries=False,
        )
    keys = list(context.partition_keys)
    if isinstance(partitions_def, dg.MultiPartitionsDefinition) and len(keys) > 1:
        raise dg.Failure(
            f"{asked.title} has partitions of two dimensions; run each by itself, as a backfill does unless "
            "backfill_policy says otherwise.",
            allow_retries=False,
        )
    made: dict[str, _Made] = {}
    failed: dict[str, Exception] = {}
    for key in keys:
        of_key = context if len(keys) == 1 else _ContextOfPartition(context, partitions_def, key)
        try:
            made[key] = _make(cast(dg.AssetExecutionContext, of_key), asked, store, key, rebuild=rebuild)
        except StoreUnavailableError:
            _record(context, made)
            raise
        except (FeastAssetsError, dg.Failure) as error:
            if len(keys) == 1:
                raise
            context.log.error(f"Partition {key!r}: {error}")
            failed[key] = error
        except BaseException:
            _record(context, made)
            raise
    if failed:
        _record(context, made)
        failures = "; ".join(f"partition {key!r}: {_message(error)}" for key, error in failed.items())
        raise dg.Failure(f"{asked.title} could not be made of {failures}") from next(iter(failed.values()))
    for key, one in made.items():
        context.add_asset_metadata(metadata=one.metadata, asset_key=context.asset_key, partition_key=key)
    # A result of several partitions can carry only one version for them all, which would be true of none.
    versions = [one.data_version for one in made.values()]
    return dg.MaterializeResult(data_version=versions[0] if len(versions) == 1 else None)


def _record(context: dg.AssetExecutionContext, made: Mapping[str, _Made]) -> None:
    """Tells Dagster of the partitions that were made though the step fails."""
    for key, one in made.items():
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=one.metadata))


def _message(error: Exception) -> str:
    return str(error.description if isinstance(error, dg.Failure) else error)


def _make(
    context: dg.AssetExecutionContext, asked: _Asked, store: FeatureStore, partition: str | None, *, rebuild: bool
) -> _Made:
    """Makes one file.

    Raises:
        dagster.Failure: it cannot be made again as it was; the file was left as it is.
    """
    target = training_set_path(store, asked.file, partition)
    last = _last(context, target, partition) if rebuild else None
    pinned = None if last is None else last[0]
    snapshot = store.snapshot() if pinned is None else store.registry.snapshot(pinned.registry_revision)
    given = asked.entity_df if isinstance(asked.entity_df, str) else asked.entity_df(context)
    made = _build(store, snapshot, given, asked)
    if pinned is not None and (differences := pinned.differences(made.pins)):
        raise dg.Failure(
            f"{asked.title} cannot be made again as it was; the file was left as it is. {' '.join(differences)}",
            metadata={"differences": dg.MetadataValue.md("\n".join(f"- {line}" for line in differences))},
            allow_retries=False,
        )
    digest = made.write(target, sha256=None if last is None else last[1])
    metadata = _metadata(made, snapshot, target, digest, partitioned=partition is not None)
    return _Made(metadata, dg.DataVersion(digest[:32]))


def _build(store: FeatureStore, snapshot: RegistrySnapshot, entity_df: object, asked: _Asked) -> TrainingSet:
    retrieval = HistoricalRetrieval(snapshot, store.offline_store, _AppliedFunctions(store.repo_path), store.repo_path)
    features: FeatureService | list[str]
    features = snapshot.feature_service(asked.features) if isinstance(asked.features, str) else asked.features
    return build_training_set(retrieval, entity_df, features, full_feature_names=asked.full_feature_names)


class _AppliedFunctions(UserFunctions):
    """The functions of the pinned definitions; where the repository has another one, that is an error."""

    def of(self, view: OnDemandFeatureView | BatchFeatureView) -> Callable[..., object]:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            function = super().of(view)
        if said:
            raise NotAppliedError(view.name, "has another function in the feature repository than when it was applied")
        return function


def _last(context: dg.AssetExecutionContext, target: Path, partition: str | None) -> tuple[TrainingSetPins, str]:
    """Returns the pins of the last materialization, and the hash of its file; of the file if Dagster knows none."""
    of_partition = None if partition is None else [partition]
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=context.asset_key, asset_partitions=of_partition), limit=1
    ).records
    event = records[0].asset_materialization if records else None
    metadata: Mapping[str, Any] = {} if event is None else event.metadata
    if PINS in metadata:
        return TrainingSetPins.from_dict(metadata[PINS].value), str(metadata[SHA256].value)
    return read_pins(target), file_sha256(target)


def _metadata(
    made: TrainingSet, snapshot: RegistrySnapshot, path: Path, digest: str, *, partitioned: bool
) -> dict[str, object]:
    pins = made.pins
    read = _partitions_read(snapshot, pins)
    lines = [
        f"| `{s.view}` | {', '.join(s.sources)} | {' to '.join(read.get(s.view, [])) or 'all of it'} | {s.rows:,} | "
        f"`{s.fingerprint[:12]}` |"
        for s in pins.sources
    ]
    heading = ["| view | sources | partitions | rows that could count | fingerprint |", "|---|---|---|---|---|"]
    return {
        "dagster/partition_row_count" if partitioned else "dagster/row_count": made.rows.num_rows,
        "dagster/column_schema": dg.TableSchema([dg.TableColumn(f.name, str(f.type)) for f in made.rows.schema]),
        "feast_assets/path": dg.MetadataValue.path(path),
        "feast_assets/registry_revision": pins.registry_revision,
        "feast_assets/sources_read": dg.MetadataValue.md("\n".join([*heading, *lines])),
        "feast_assets/partitions_read": dg.MetadataValue.json(read),
        PINS: dg.MetadataValue.json(pins.to_dict()),
        SHA256: digest,
    }


def _partitions_read(snapshot: RegistrySnapshot, pins: TrainingSetPins) -> dict[str, list[str]]:
    """Returns the first and the last partition of each view in which rows could count, if it has partitions."""
    read = {}
    for source in pins.sources:
        grid = snapshot.feature_view(source.view).partitions
        if grid is None or grid.start is None:
            continue
        start = max(as_utc(datetime.fromisoformat(source.start)), grid.start)
        end = as_utc(datetime.fromisoformat(source.end))
        end = end if grid.end is None else min(end, grid.end)
        if start < end:
            partitions_def = partitions_definition(grid)
            ends = (next(grid.windows(start, end)), next(grid.windows(end - _MICROSECOND, end)))
            read[source.view] = [partition_key(partitions_def, window) for window in ends]
    return read


def _upstream(project: str, service: str | None, features: Sequence[str]) -> list[dg.AssetKey]:
    if service is not None:
        return [dg.AssetKey([in_key(project), "services", in_key(service)])]
    views = dict.fromkeys(reference.partition(":")[0] for reference in features)
    return [dg.AssetKey([in_key(project), in_key(view)]) for view in views]


def _described(service: str | None, features: Sequence[str] | None) -> str:
    read = f"feature service {service}" if service else ", ".join(features or [])
    return f"Training set: entity rows with the features of {read}, as they were known at the rows' times."
