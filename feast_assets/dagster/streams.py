"""Streams: observable assets of their sources, a job that consumes what has arrived, and a sensor that asks for it."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from feast_assets.dagster.applied import check_applied
from feast_assets.dagster.asset_decorator import feature_view_keys
from feast_assets.dagster.failures import told_first
from feast_assets.dagster.pools import pool_of
from feast_assets.dagster.repository import FeatureRepository
from feast_assets.dagster.resources import FeatureStoreResource
from feast_assets.dagster.run_requests import CONTENT_TAG, RETRY_AFTER, Attempts, unfinished_runs
from feast_assets.dagster.sources import SOURCE, VERSION_TAG, observable
from feast_assets.dagster.translator import DataSourceTranslatorData, FeastTranslator
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.kinesis_source import KinesisSource
from feast_assets.definitions.sources.push_source import PushMode
from feast_assets.definitions.spec import content_hash
from feast_assets.errors import FeastAssetsError, InputError, NotAppliedError, StoreUnavailableError
from feast_assets.feature_store import FeatureStore
from feast_assets.streams.consuming import is_consumable
from feast_assets.streams.lag import StreamLag
from feast_assets.streams.progress import StreamProgress


class ConsumeConfig(dg.Config):
    """Which views a run of the job consumes for."""

    views: list[str] = Field(default=[], description="Feature views with a stream; all of them when left out.")


def consumed_views(repository: FeatureRepository) -> list[FeatureView]:
    """Returns the enabled views of a repository that have a stream that can be consumed."""
    return [v for v in repository.views if v.enabled and is_consumable(v)]


def build_stream_assets(
    repository: FeatureRepository, *, translator: FeastTranslator | None = None
) -> list[dg.AssetsDefinition]:
    """Makes observable assets of the streams that feature views consume: one multi-asset, or none without streams.

    The data version is a hash of the offsets at which the partitions of the stream end. Metadata say how far behind
    these the views are. Data streams of Kinesis do not tell where they end, so no assets are made of them.

    The assets need a `FeatureStoreResource` under the key ``feature_store``.
    """
    translator = translator or FeastTranslator()
    sources: dict[str, DataSource] = {}
    for view in consumed_views(repository):
        if view.stream_source is not None and not isinstance(view.stream_source, KinesisSource):
            sources.setdefault(view.stream_source.name, view.stream_source)
    if not sources:
        return []
    specs = [
        translator.get_asset_spec(DataSourceTranslatorData(source=source, project=repository.project)).merge_attributes(
            metadata={SOURCE: name}
        )
        for name, source in sorted(sources.items())
    ]

    def begin(context: dg.AssetExecutionContext, store: FeatureStore) -> Callable[[dg.AssetKey, str], None]:
        applied = _applied_by_source(store, repository)

        def record(key: dg.AssetKey, name: str) -> None:
            views = applied.get(name)
            if views is None:
                context.log.warning(f"{name}: no view of this stream has been applied, so it was not observed.")
                return
            (lag,) = store.stream_lags([v.name for v in views], to=_destination(store, None))
            context.log_event(_observation(key, lag))

        return record

    return [observable(f"{_in_name(repository.project)}_streams", specs, begin)]


def _observation(key: dg.AssetKey, lag: StreamLag) -> dg.AssetObservation:
    version = content_hash([lag.identity, dict(sorted((lag.ends or {}).items()))])
    return dg.AssetObservation(
        key,
        tags={VERSION_TAG: version},
        metadata={
            "feast_assets/lag": lag.total,
            "feast_assets/lag_of_views": dg.MetadataValue.json({view: lag.of_view(view) for view in lag.positions}),
            "feast_assets/end_offsets": dg.MetadataValue.json(dict(lag.ends or {})),
        },
    )


def consume_jobs(
    repository: FeatureRepository, *, translator: FeastTranslator | None = None, to: PushMode | None = None
) -> list[dg.JobDefinition]:
    """Returns a job that consumes what has arrived in the streams of feature views; none where no view has a stream.

    A run reads up to the end that the streams have when it begins. It may be run again, killed or run twice at a time:
    what is stored is not stored twice. For each view of a stream that had messages it records a materialization without
    a partition, with the range of offsets. The job is ``consume_`` and the project's name, and needs a
    `FeatureStoreResource` under the key ``feature_store``.

    Args:
        translator: that of the views' assets.
        to: online, history, or both. Left out, both; in a deployment of a branch, which shares history, online.
    """
    views = consumed_views(repository)
    if not views:
        return []
    keys = feature_view_keys(repository, translator=translator)
    name = f"consume_{_in_name(repository.project)}"

    @dg.op(name=_op_name(repository), out=dg.Out(dg.Nothing), pool=pool_of(repository, views))
    def consume(context: dg.OpExecutionContext, config: ConsumeConfig, feature_store: FeatureStoreResource) -> None:
        with told_first():
            store = feature_store.get_store()
            destination = _destination(store, to)
            failed = []
            for source, names in _chosen(store, repository, config.views).items():
                try:
                    (before,) = store.stream_lags(names, to=destination)
                    (done,) = store.consume(names, to=destination, stop_at_end=True)
                except FeastAssetsError as error:
                    context.log.error(f"{source}: {error}")
                    failed.append(f"{source}: {error}")
                    continue
                _record(context, before, done, keys)
        if failed:
            raise dg.Failure(f"Could not consume {'; '.join(failed)}")

    @dg.job(
        name=name,
        description="Consumes what has arrived in the streams of feature views, and ends.",
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        consume()

    return [job]


def _record(
    context: dg.OpExecutionContext, before: StreamLag, done: StreamProgress, keys: Mapping[str, dg.AssetKey]
) -> None:
    """Records what was consumed of one stream, once for each of its views."""
    context.log.info(
        f"{done.source}: {done.messages} messages, {done.rows} rows online, {done.history_rows} rows of history, "
        f"{done.dead_letters} dead letters."
    )
    if done.ended_by_change:
        context.log.warning(f"{done.source}: an apply has changed a view meanwhile; the rest is for the next run.")
    if not done.messages:
        return
    for view in done.views:
        begun = before.positions.get(view, {})
        ranges = {name: [begun.get(name, 0), end] for name, end in sorted(done.positions.items())}
        context.log_event(
            dg.AssetMaterialization(
                keys[view],
                description=f"Consumed from {done.source}.",
                metadata={
                    "feast_assets/stream": done.source,
                    "feast_assets/offsets": dg.MetadataValue.json(ranges),
                    "feast_assets/messages": done.messages,
                    "feast_assets/rows_online": done.rows,
                    "feast_assets/rows_of_history": done.history_rows,
                    "feast_assets/dead_letters": done.dead_letters,
                },
            )
        )


def stream_sensor(
    repository: FeatureRepository,
    job: dg.JobDefinition,
    *,
    to: PushMode | None = None,
    name: str | None = None,
    minimum_interval_seconds: int = 60,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    retry_after: timedelta = RETRY_AFTER,
) -> dg.SensorDefinition:
    """Returns a sensor that runs the job of `consume_jobs` when something has arrived, one run at a time.

    A tick asks the streams where they end, and the registry how far they have been consumed, and reads no messages. The
    run key is made of these offsets, so two ticks that see the same ask for one run. Streams that cannot be asked are
    named in the tick's log, and the others are looked at.

    Args:
        job: what `consume_jobs` made.
        to: as the job's.
        name: ``streams_`` and the project's name when left out.
        retry_after: how long after a failed run the same offsets are asked for again; after each further failure twice
            as long, up to an hour.
    """

    @dg.sensor(
        name=name or f"streams_{_in_name(repository.project)}",
        job=job,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Consumes what has arrived in streams.",
    )
    def arrived(
        context: dg.SensorEvaluationContext, feature_store: FeatureStoreResource
    ) -> dg.RunRequest | dg.SkipReason:
        if any(run.job_name == job.name for run in unfinished_runs(context.instance)):
            return dg.SkipReason("A run is consuming.")
        store = feature_store.get_store()
        store.refresh_registry()
        views: list[str] = []
        offsets: dict[str, object] = {}
        notes: list[str] = []
        for source, read in _applied_by_source(store, repository).items():
            try:
                for view in read:
                    check_applied(repository.view(view.name), view)
                (lag,) = store.stream_lags([v.name for v in read], to=_destination(store, to))
            except NotAppliedError as error:
                notes.append(f"{error} Apply, or reload the code location.")
                continue
            except StoreUnavailableError as error:
                notes.append(f"{source}: {error} The next tick asks again.")
                continue
            except FeastAssetsError as error:
                notes.append(f"{source}: {error}")
                continue
            if lag.total:
                views += lag.positions
                offsets[source] = [
                    lag.identity,
                    _sorted(lag.ends or {}),
                    {v: _sorted(p) for v, p in lag.positions.items()},
                ]
        for line in notes:
            context.log.warning(line)
        if not views:
            return dg.SkipReason(" ".join(["Nothing has arrived.", *notes]))
        content = content_hash([job.name, _sorted(offsets)])[:32]
        tried = Attempts.of(context.instance, content)
        if not tried.may_be_asked_for(datetime.now(UTC), retry_after):
            return dg.SkipReason("A run of these offsets has failed; it is asked for again later.")
        return dg.RunRequest(
            run_key=f"{job.name}:{content}:{tried.ended}",
            run_config={"ops": {_op_name(repository): {"config": {"views": sorted(views)}}}},
            tags={CONTENT_TAG: content},
        )

    return arrived


def _applied_by_source(store: FeatureStore, repository: FeatureRepository) -> dict[str, list[FeatureView]]:
    """Returns for each stream the views of the repository that consume it and have been applied."""
    declared = {v.name for v in consumed_views(repository)}
    by_source: dict[str, list[FeatureView]] = {}
    for view in store.snapshot().views_with_history:
        if view.name in declared and view.enabled and is_consumable(view) and view.stream_source is not None:
            by_source.setdefault(view.stream_source.name, []).append(view)
    return by_source


def _chosen(store: FeatureStore, repository: FeatureRepository, views: Sequence[str]) -> dict[str, list[str]]:
    """Returns the names of the chosen views, by their streams; of all views that have been applied if none are chosen.

    Raises:
        InputError: a view has no stream or has not been applied, or there is none.
        NotAppliedError: a view is not declared as it was applied.
    """
    applied = _applied_by_source(store, repository)
    known = {view.name: source for source, read in applied.items() for view in read}
    unknown = sorted(set(views) - set(known))
    if unknown or not known:
        listed = ", ".join(sorted(known)) or "none"
        subject = f"{unknown[0]!r} is no feature view" if unknown else "There is no feature view"
        raise InputError(f"{subject} that has been applied and has a stream that can be consumed. There are: {listed}.")
    for read in applied.values():
        for view in read:
            if not views or view.name in views:
                check_applied(repository.view(view.name), view)
    return {
        source: chosen
        for source, read in applied.items()
        if (chosen := [v.name for v in read if not views or v.name in views])
    }


def _destination(store: FeatureStore, to: PushMode | None) -> PushMode:
    if to is not None:
        return to
    return PushMode.ONLINE if store.config.deployment else PushMode.ONLINE_AND_OFFLINE


def _sorted(values: Mapping[str, object]) -> dict[str, object]:
    return dict(sorted(values.items()))


def _op_name(repository: FeatureRepository) -> str:
    return f"consume_{_in_name(repository.project)}_streams"


def _in_name(project: str) -> str:
    return re.sub(r"\W", "_", project, flags=re.ASCII)
