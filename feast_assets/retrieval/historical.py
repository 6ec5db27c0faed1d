"""Historical retrieval: what was known of each entity at each moment, for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.spec import as_utc
from feast_assets.definitions.window import ALWAYS
from feast_assets.errors import InputError, shown
from feast_assets.offline_stores.base import History, OfflineStore, history_of
from feast_assets.retrieval import entity_df as frames
from feast_assets.retrieval.entity_range import EntityRange
from feast_assets.retrieval.job import Batches, RetrievalJob, RetrievalMetadata
from feast_assets.retrieval.on_demand import OnDemandFunction
from feast_assets.retrieval.point_in_time import PointInTime, check_collisions
from feast_assets.retrieval.references import check_names, resolve
from feast_assets.retrieval.request import FeatureRequest

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.registry.snapshot import RegistrySnapshot

DEFAULT_RANGE = timedelta(days=30)
"""How far back entities are looked for where neither the caller nor a ttl says it."""


def historical_job(
    snapshot: RegistrySnapshot,
    offline_store: OfflineStore,
    entity_df: Any,
    features: Sequence[str] | FeatureService,
    *,
    full_feature_names: bool = False,
    start_date: datetime | None = None,
    end_date: datetime | None = None,
    filter_by_created_timestamp: bool = False,
    with_function_inputs: bool = False,
    udf_of: Callable[[OnDemandFeatureView], Callable[..., Any]],
    attach: Callable[[FeatureView], FeatureView] = lambda view: view,
    root: Path = Path(),
) -> RetrievalJob:
    """Returns a retrieval, checked as far as that takes no reading of sources.

    Args:
        entity_df: entities and times: a pandas or Polars DataFrame, an Arrow table, record batch or reader, a dict of
            lists, or a query in the offline store's SQL. None for all entities that have rows between the dates.
        features: references, ``"view:feature"``, or a feature service.
        full_feature_names: whether columns are named ``view__feature``.
        start_date, end_date: only without ``entity_df``: both inclusive, naive is UTC. The end is now when left out;
            the start then is the longest ttl earlier, or 30 days where there is none. The result has one row per
            entity: its newest values as of the end.
        filter_by_created_timestamp: a source row also counts only if it was created by the entity row's time.
        with_function_inputs: whether the features that on-demand functions take are columns of the result too.
        udf_of: gives the function of an on-demand view.
        attach: gives a view that is computed from its sources the function that does so.
        root: the feature repository, where relative paths of saved datasets start from.

    Raises:
        InputError: ``entity_df`` is of no such kind, or given together with dates, or the dates are in the wrong order.
        EntityTimestampInferenceException, EntityDFNotDateTime: its time column is not clear.
        FeastEntityDFMissingColumnsError, RequestDataNotFoundInEntityDfException: it lacks columns.
        FeatureNameCollisionError: it has a column with the name of a feature.
        As `feast_assets.retrieval.references.resolve`.
    """
    request = resolve(snapshot, features, full_feature_names=full_feature_names)
    if with_function_inputs:
        request = request.with_function_inputs()
        check_names(request)
    functions = [OnDemandFunction(run, udf_of(run.view)) for run in request.runs]
    histories = [_history(read.view, attach) for read in request.reads]
    join = PointInTime(request, histories, functions, offline_store, filter_by_created_timestamp)
    if entity_df is None:
        found = _range(request, start_date, end_date)
        run = partial(_run_range, join, found, histories, offline_store)
        first: datetime | None
        last: datetime | None
        keys, first, last = list(found.keys), found.end, found.end
    else:
        if start_date is not None or end_date is not None:
            raise InputError(
                "entity_df and dates exclude each other: the rows of entity_df have their own times. Leave out "
                "start_date and end_date, or entity_df."
            )
        if isinstance(entity_df, str):
            run = partial(join.of_query, entity_df, snapshot.data_sources)
            keys, first, last = [*request.join_keys, *request.request_fields], None, None
        else:
            table, time_column = frames.with_time(_checked(entity_df, request))
            spine = join.spine(table, time_column)
            run = partial(join.of_spine, spine)
            keys = [name for name in table.column_names if name != time_column]
            first, last = _bounds(table, time_column)
    metadata = RetrievalMetadata([output.reference for output in request.outputs], keys, first, last, snapshot.revision)
    return RetrievalJob(
        run,
        metadata=metadata,
        full_feature_names=full_feature_names,
        on_demand_feature_views=request.on_demand_views,
        root=root,
        feature_types={output.name: output.field.dtype for output in request.outputs},
    )


def _history(view: FeatureView, attach: Callable[[FeatureView], FeatureView]) -> History:
    history = history_of(view)
    return history if history.transformation is None else history_of(attach(view))


def _checked(entity_df: Any, request: FeatureRequest) -> pa.Table:
    table = frames.to_table(entity_df)
    frames.check_columns(request, table.column_names)
    check_collisions(request, table.column_names)
    return table


def _bounds(table: pa.Table, time_column: str) -> tuple[datetime | None, datetime | None]:
    import pyarrow.compute as pc

    found = pc.min_max(table.column(time_column)).as_py()
    return tuple(None if found[end] is None else as_utc(found[end]) for end in ("min", "max"))  # type: ignore[return-value]


def _range(request: FeatureRequest, start_date: datetime | None, end_date: datetime | None) -> EntityRange:
    for name, value in (("start_date", start_date), ("end_date", end_date)):
        if value is not None and not isinstance(value, datetime):
            raise InputError(f"{name} must be a datetime, not {type(value).__name__} {shown(value)}.")
    end = as_utc(end_date) if end_date is not None else datetime.now(UTC)
    if start_date is not None:
        start = as_utc(start_date)
    else:
        longest = max((read.ttl for read in request.reads if read.ttl), default=DEFAULT_RANGE)
        start = end - longest if longest <= end - ALWAYS.start else ALWAYS.start
    return EntityRange.of(request, start, end)


def _run_range(
    join: PointInTime, found: EntityRange, histories: Sequence[History], offline_store: OfflineStore
) -> Batches:
    table = found.spine(offline_store, histories)
    return join.within(found.length).of_spine(join.spine(table, frames.EVENT_TIMESTAMP_COLUMN))
