"""Historical retrieval: what was known of each entity at each moment, for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.spec import as_utc, from_micros
from feast_assets.definitions.window import ALWAYS
from feast_assets.errors import InputError, shown
from feast_assets.offline_stores.base import History, OfflineStore, history_of
from feast_assets.retrieval.entity_df import query_rows, to_table
from feast_assets.retrieval.entity_range import EntityRange
from feast_assets.retrieval.job import Batches, RetrievalJob, RetrievalMetadata
from feast_assets.retrieval.on_demand import OnDemandFunction
from feast_assets.retrieval.point_in_time import PointInTime
from feast_assets.retrieval.references import check_names, resolve
from feast_assets.retrieval.request import FeatureRequest
from feast_assets.retrieval.spine import CheckedRows, checked_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.registry.snapshot import RegistrySnapshot

DEFAULT_RANGE = timedelta(days=30)
"""How far back entities are searched if neither the caller nor a ttl says."""


class ViewFunctions(Protocol):
    """Gives the functions that users wrote for their views; `UserFunctions` does."""

    def of(self, view: OnDemandFeatureView) -> Callable[..., object]:
        """Returns the function of an on-demand view."""

    def attach(self, view: FeatureView) -> FeatureView:
        """Returns a view that is computed from its sources with the function that does so; any other as it is."""


@dataclass(frozen=True, slots=True)
class HistoricalRetrieval:
    """Retrieves features of a project as they were known at given times.

    Attributes:
        snapshot: the definitions.
        functions: of the definitions' views.
        root: the feature repository, where relative paths of saved datasets start from.
        check_access: called with the definitions whose history is going to be read; raises if the caller may not. None
            where nothing is checked.
    """

    snapshot: RegistrySnapshot
    offline_store: OfflineStore
    functions: ViewFunctions
    root: Path = Path()
    check_access: Callable[[Sequence[Definition]], None] | None = None

    def job(
        self,
        entity_df: object,
        features: Sequence[str] | FeatureService,
        *,
        full_feature_names: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        filter_by_created_timestamp: bool = False,
        with_function_inputs: bool = False,
    ) -> RetrievalJob:
        """Returns a retrieval, checked as far as that takes no reading of sources.

        Args:
            entity_df: entities and times: a pandas or Polars DataFrame, an Arrow table, record batch or reader, a dict
                of lists, or a query in the offline store's SQL. None for all entities that have rows between the dates.
            features: references, ``"view:feature"``, or a feature service.
            full_feature_names: whether columns are named ``view__feature``.
            start_date, end_date: only without ``entity_df``: both inclusive, naive is UTC. The end is now when left
                out; the start then is the longest ttl earlier, or 30 days where there is none. The result has one row
                per entity: its newest values as of the end.
            filter_by_created_timestamp: a source row also counts only if it was created by the entity row's time.
            with_function_inputs: whether the features that on-demand functions take are columns of the result too.

        Raises:
            InputError: ``entity_df`` is of no such kind, or given together with dates, or the dates are in the wrong
                order.
            NotSupportedError: ``entity_df`` is a query, and the offline store runs none.
            As `feast_assets.retrieval.spine.checked_rows` and `feast_assets.retrieval.references.resolve`.
        """
        request = resolve(self.snapshot, features, full_feature_names=full_feature_names)
        if self.check_access is not None:
            # A query may read any source.
            sources = self.snapshot.data_sources if isinstance(entity_df, str) else []
            self.check_access([*request.views, *sources])
        if with_function_inputs:
            request = request.with_function_inputs()
            check_names(request)
        join = PointInTime(
            request,
            [self.history(read.view) for read in request.reads],
            [OnDemandFunction(run, self.functions.of(run.view)) for run in request.runs],
            self.offline_store,
            filter_by_created_timestamp,
        )
        first: datetime | None
        last: datetime | None
        if entity_df is None:
            entities = _range(request, start_date, end_date)
            run = partial(_run_range, join, entities)
            keys, first, last = list(entities.keys), entities.end, entities.end
        elif start_date is not None or end_date is not None:
            raise InputError(
                "entity_df and dates exclude each other: the rows of entity_df have their own times. Leave out "
                "start_date and end_date, or entity_df."
            )
        elif isinstance(entity_df, str):
            query = partial(query_rows, self.offline_store, entity_df, self.snapshot.data_sources)
            run = partial(_run_query, join, query)
            keys, first, last = [*request.join_keys, *request.request_fields], None, None
        else:
            rows = checked_rows(request, to_table(entity_df))
            run = partial(join.of, rows)
            keys = [name for name in rows.table.column_names if name != rows.time_column]
            first, last = _bounds(rows)
        references = [output.reference for output in request.outputs]
        return RetrievalJob(
            run,
            metadata=RetrievalMetadata(references, keys, first, last, self.snapshot.revision),
            full_feature_names=full_feature_names,
            on_demand_feature_views=request.on_demand_views,
            root=self.root,
            feature_types={output.name: output.field.dtype for output in request.outputs},
        )

    def history(self, view: FeatureView) -> History:
        """Returns the history of a view, with the function that computes it, if there is one."""
        history = history_of(view)
        return history if history.transformation is None else history_of(self.functions.attach(view))


def _run_query(join: PointInTime, query: Callable[[], pa.Table]) -> Batches:
    return join.of(checked_rows(join.request, query()))


def _run_range(join: PointInTime, entities: EntityRange) -> Batches:
    table = entities.rows(join.offline_store, join.histories)
    return join.within(entities.length).of(checked_rows(join.request, table))


def _bounds(rows: CheckedRows) -> tuple[datetime | None, datetime | None]:
    """Returns the earliest and the latest time of entity rows; None without rows."""
    span = rows.spine.span()
    return (None, None) if span is None else (from_micros(span[0]), from_micros(span[1]))


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
