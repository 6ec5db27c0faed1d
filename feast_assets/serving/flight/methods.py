"""The methods of an offline store, for clients whose offline store is ``remote``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import Window
from feast_assets.errors import DefinitionError, FeatureViewNotFoundException
from feast_assets.offline_stores.abilities import (
    CanProfile,
    CanReplaceWindows,
    ReadsQueries,
    RunsTransformations,
    SummarizesParts,
    TracksParts,
    WritesOnce,
    check_texts,
)
from feast_assets.offline_stores.base import History, OfflineStore, computation_of, history_of
from feast_assets.offline_stores.parts import Part, SourceParts
from feast_assets.offline_stores.remote.columns import statistics_message, summaries_message, windows_of
from feast_assets.offline_stores.remote.messages import (
    GridArguments,
    HistoryArguments,
    HistoryMessage,
    JoinArguments,
    Moment,
    OfSource,
    OnceArguments,
    PartsArguments,
    ProfileMessage,
    QueryArguments,
    ReadPartsArguments,
    ReplaceArguments,
    SpecData,
    StatisticsMessage,
    SummariesMessage,
    SummarizeArguments,
    TextsArguments,
    WindowsArguments,
    plain_profile,
)
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine
from feast_assets.serving.flight.known_sources import KnownSources

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.feature_store import FeatureStore


@dataclass(frozen=True, slots=True)
class Method:
    """A method that takes a message.

    Attributes:
        arguments: the message's type.
        run: takes the message, and the rows that came with it if it takes rows.
    """

    arguments: Any
    run: Callable[..., Any]


class OfflineApi:
    """What an offline server does, over the offline store of one feature store."""

    def __init__(self, store: FeatureStore, sources: KnownSources):
        self._feature_store = store
        self._sources = sources

    @property
    def _store(self) -> OfflineStore:
        return self._feature_store.offline_store

    def actions(self) -> Mapping[str, Method]:
        """Returns the methods that take and return messages."""
        return {
            "schema": Method(OfSource, self.schema),
            "statistics": Method(WindowsArguments, self.statistics),
            "survey": Method(WindowsArguments, self.survey),
            "survey-grid": Method(GridArguments, self.survey_grid),
            "oldest-event": Method(HistoryArguments, self.oldest_event),
            "profile": Method(WindowsArguments, self.profile),
            "parts": Method(PartsArguments, self.parts),
            "row-parts": Method(OfSource, self.row_parts),
            "read-alone": Method(ReadPartsArguments, self.read_alone),
            "read-together": Method(ReadPartsArguments, self.read_together),
            "summarize-parts": Method(SummarizeArguments, self.summarize_parts),
            "check-texts": Method(TextsArguments, self.check_texts),
        }

    def exchanges(self) -> Mapping[str, Method]:
        """Returns the methods that take a reader of rows, and return one or a truth value."""
        return {
            "join": Method(JoinArguments, self.join),
            "latest": Method(WindowsArguments, self.latest),
            "latest-of-keys": Method(WindowsArguments, self.latest_of_keys),
            "scan": Method(WindowsArguments, self.scan),
            "read-query": Method(QueryArguments, self.read_query),
            "write": Method(OfSource, self.write),
            "check-write": Method(OfSource, self.check_write),
            "write-once": Method(OnceArguments, self.write_once),
            "has-written": Method(OnceArguments, self.has_written),
            "replace": Method(ReplaceArguments, self.replace),
        }

    # --- messages in, messages out

    def schema(self, request: OfSource) -> bytes:
        """See `OfflineStore.schema`; as Arrow serializes it."""
        content: bytes = self._store.schema(self._source(request.source)).serialize().to_pybytes()
        return content

    def statistics(self, request: WindowsArguments) -> StatisticsMessage:
        """See `OfflineStore.statistics`."""
        return statistics_message(self._store.statistics(self._history(request.history), _windows(request)))

    def survey(self, request: WindowsArguments) -> StatisticsMessage:
        """See `OfflineStore.survey`."""
        survey = self._store.survey(self._history(request.history), _windows(request))
        return statistics_message(survey.windows, survey.null_times)

    def survey_grid(self, request: GridArguments) -> StatisticsMessage:
        """See `OfflineStore.survey_grid`."""
        span = Window(from_micros(request.start), from_micros(request.end))
        survey = self._store.survey_grid(self._history(request.history), Partitions.from_spec(request.grid), span)
        return statistics_message(survey.windows, survey.null_times)

    def oldest_event(self, request: HistoryArguments) -> Moment:
        """See `OfflineStore.oldest_event`."""
        oldest = self._store.oldest_event(self._history(request.history))
        return Moment(None if oldest is None else to_micros(oldest))

    def profile(self, request: WindowsArguments) -> list[ProfileMessage]:
        """See `CanProfile.profile`."""
        store = CanProfile.of(self._store, "Validation")
        return [
            ProfileMessage(
                to_micros(each.window.start),
                to_micros(each.window.end),
                each.rows,
                each.entities,
                {name: plain_profile(profile) for name, profile in each.columns.items()},
            )
            for each in store.profile(self._history(request.history), _windows(request))
        ]

    def parts(self, request: PartsArguments) -> SourceParts | None:
        """See `TracksParts.parts`; None where the store does not know parts."""
        source, store = self._source(request.source), self._store
        return store.parts(source, extents=request.extents) if isinstance(store, TracksParts) else None

    def row_parts(self, request: OfSource) -> list[Part] | None:
        """See `SummarizesParts.row_parts`; None where the store cannot read single parts."""
        source, store = self._source(request.source), self._store
        return store.row_parts(source) if isinstance(store, SummarizesParts) else None

    def read_alone(self, request: ReadPartsArguments) -> list[str]:
        """See `SummarizesParts.read_alone`."""
        store = SummarizesParts.of(self._store, "An incremental run")
        return store.read_alone(self._history(request.history), self._source(request.source), request.parts)

    def read_together(self, request: ReadPartsArguments) -> str:
        """See `SummarizesParts.read_together`."""
        store = SummarizesParts.of(self._store, "An incremental run")
        return store.read_together(self._history(request.history), self._source(request.source), request.parts)

    def summarize_parts(self, request: SummarizeArguments) -> SummariesMessage | None:
        """See `SummarizesParts.summarize_parts`."""
        store = SummarizesParts.of(self._store, "An incremental run")
        summaries = store.summarize_parts(
            self._history(request.history),
            self._source(request.source),
            request.parts,
            request.beside,
            None if request.grid is None else Partitions.from_spec(request.grid),
        )
        return None if summaries is None else summaries_message(summaries)

    def check_texts(self, request: TextsArguments) -> None:
        """See `ReadsTexts.check_texts`."""
        fields = map(Field.from_spec, request.declared)
        check_texts(self._store, self._source(request.source), {field.name: field.dtype for field in fields})

    # --- rows in, rows or a truth value out

    def join(self, request: JoinArguments, rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """See `OfflineStore.join`."""
        joins = [
            PointInTimeJoin(
                self._history(each.history),
                each.columns,
                each.join_keys,
                None if each.ttl_micros is None else timedelta(microseconds=each.ttl_micros),
            )
            for each in request.joins
        ]
        spine = Spine(rows.read_all())
        return self._store.join(spine, joins, filter_by_created_timestamp=request.filter_by_created_timestamp)

    def latest(self, request: WindowsArguments, rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """See `OfflineStore.latest`, of all entities."""
        rows.read_all()
        return self._store.latest(self._history(request.history), _windows(request))

    def latest_of_keys(self, request: WindowsArguments, rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """See `OfflineStore.latest`, of the entities that are given."""
        return self._store.latest(self._history(request.history), _windows(request), rows.read_all())

    def scan(self, request: WindowsArguments, rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """See `OfflineStore.scan`."""
        rows.read_all()
        (window,) = _windows(request)
        return self._store.scan(self._history(request.history), window)

    def read_query(self, request: QueryArguments, rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """See `ReadsQueries.read_query`; the project's data sources are readable."""
        rows.read_all()
        store = ReadsQueries.of(self._store, "An entity_df that is a query")
        snapshot = self._feature_store.snapshot()
        readable = snapshot.data_sources
        # A query may read all of them.
        self._feature_store.access.check(snapshot, readable, AuthzedAction.READ_OFFLINE)
        return store.read_query(request.sql, readable).to_reader()

    def write(self, request: OfSource, rows: pa.RecordBatchReader) -> bool:
        """See `OfflineStore.write`."""
        self._store.write(self._sink(request.source), rows.read_all())
        return True

    def check_write(self, request: OfSource, rows: pa.RecordBatchReader) -> bool:
        """See `WritesOnce.check_write`."""
        self._once().check_write(self._sink(request.source), rows.read_all())
        return True

    def write_once(self, request: OnceArguments, rows: pa.RecordBatchReader) -> bool:
        """See `WritesOnce.write_once`."""
        self._once().write_once(self._sink(request.source), rows.read_all(), request.key)
        return True

    def has_written(self, request: OnceArguments, rows: pa.RecordBatchReader) -> bool:
        """See `WritesOnce.has_written`."""
        return self._once().has_written(self._sink(request.source), rows.read_all(), request.key)

    def replace(self, request: ReplaceArguments, rows: pa.RecordBatchReader) -> bool:
        """See `CanReplaceWindows.replace`; the rows are not gathered."""
        store = CanReplaceWindows.of(self._store, "A view that keeps its result")
        windows = windows_of(request.starts, request.ends)
        store.replace(self._sink(request.source), self._history(request.history), windows, rows)
        return True

    def _once(self) -> WritesOnce:
        return WritesOnce.of(self._store, "A push to history through a server")

    def _source(self, spec: SpecData, action: AuthzedAction = AuthzedAction.READ_OFFLINE) -> DataSource:
        source = DataSource.from_spec(spec)
        self._sources.check(source)
        self._sources.check_access("", source, action)
        return source

    def _sink(self, spec: SpecData) -> DataSource:
        return self._source(spec, AuthzedAction.WRITE_OFFLINE)

    def _history(self, message: HistoryMessage) -> History:
        history = message.history()
        self._sources.check(*history.sources)
        # Whatever a client calls the view, it reads these sources.
        for source in history.sources:
            self._sources.check_access(history.view, source, AuthzedAction.READ_OFFLINE)
        self._check_columns(history)
        if history.transformation is None:
            return history
        RunsTransformations.of(self._store, f"Feature view {history.view!r}")
        return replace(history, transformation=self._sources.transformation(history.view, history.transformation))

    def _check_columns(self, history: History) -> None:
        """Checks that a history reads only columns that the view of its name reads; others need the right to read the
        source, in which there may be more than the view shows."""
        access = self._feature_store.access
        if access.is_open:
            return
        try:
            allowed = _columns_of_view(self._feature_store.snapshot().feature_view(history.view))
        except FeatureViewNotFoundException:
            allowed = set()
        if not _columns(history) <= allowed:
            for source in history.sources:
                self._sources.check_access("", source, AuthzedAction.READ_OFFLINE)


def _columns(history: History) -> set[str]:
    named = {field.name for field in (*history.join_keys, *history.features, *history.others)}
    return (named | {*history.declared, history.timestamp_field, history.created_timestamp_column}) - {""}


def _columns_of_view(view: FeatureView) -> set[str]:
    """Returns the columns that are read for a view; none where it has no history."""
    try:
        histories = [history_of(view)]
    except DefinitionError:
        return set()
    if isinstance(view, BatchFeatureView) and view.sources:
        histories.append(computation_of(view))
    histories += [each.tiles for each in histories if each.tiles is not None]
    return set().union(*map(_columns, histories))


def _windows(request: WindowsArguments) -> list[Window]:
    return windows_of(request.starts, request.ends)
