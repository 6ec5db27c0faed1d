"""The verbs of a feature server, each once, for every door: a checked request in, a response object out.

What goes wrong is raised as the library raises it; `feast_assets.serving.failures` says what a door answers then.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from feast_assets.compute.write_plans import write_plan
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.sources.push_source import PushMode
from feast_assets.errors import FeastAssetsError, InputError, NotSupportedError, StoreUnavailableError, shown
from feast_assets.serving.requests import (
    MaterializeIncrementalRequest,
    MaterializeRequest,
    OnlineFeaturesRequest,
    PushRequest,
    WriteRequest,
)
from feast_assets.serving.served_features import ServedFeatures
from feast_assets.types import Bool, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp

if TYPE_CHECKING:
    from feast_assets.audit.row_origins import RowOrigin
    from feast_assets.compute.results import MaterializationResult
    from feast_assets.feature_store import FeatureStore
    from feast_assets.registry.snapshot import RegistrySnapshot
    from feast_assets.retrieval.response import OnlineResponse

logger = logging.getLogger("feast_assets.serving")

WORKERS_VARIABLE = "FEAST_MATERIALIZE_MAX_WORKERS"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RUNS_WAITING = 16
_WRITE_THREADS = 8
PUSH_MODES = {
    "online": PushMode.ONLINE,
    "offline": PushMode.OFFLINE,
    "online_and_offline": PushMode.ONLINE_AND_OFFLINE,
}
# What Feast's remote online store calls these columns, whatever the view does.
_REMOTE_EVENT_TIMESTAMP = "event_timestamp"
_REMOTE_CREATED_TIMESTAMP = "created"


class TooBusyError(StoreUnavailableError):
    """The server has as much in hand as it takes; the same request may succeed soon."""


class AlreadyMaterializingError(FeastAssetsError, RuntimeError):
    """A run that was to begin in the background would write views that another one is writing.

    Attributes:
        feature_views: their names.
    """

    def __init__(self, feature_views: Iterable[str]):
        self.feature_views = sorted(feature_views)
        super().__init__(
            f"Cannot start async materialization: these feature views are being materialized: {self.feature_views}. "
            "Use ?force=true to override."
        )


@dataclass(frozen=True, slots=True)
class RunAccepted:
    """A materialization that goes on in the background.

    Attributes:
        feature_views: the names of its views.
    """

    feature_views: list[str]


class ServingApi:
    """What a feature server does, over one feature store."""

    def __init__(
        self,
        store: FeatureStore,
        on_materialized: Callable[[str, str, float], None] | None = None,
        on_logged: Callable[[str, int], None] | None = None,
    ):
        """Creates it.

        Args:
            on_materialized: called after each run of a view, with its name, ``"success"`` or ``"failure"``, and the
                seconds it took.
            on_logged: called with what has become of answers that were to be logged; see `ServedFeatures`.
        """
        self.store = store
        settings = store.config.feature_server.feature_logging
        self._served = ServedFeatures(store, settings, on_logged) if settings.enabled else None
        self._on_materialized = on_materialized
        # Long runs must not take the threads that writes use, nor these the threads that reads of some stores use.
        self._runs = ThreadPoolExecutor(_run_threads(), "feast-assets-materialize")
        self._writes = ThreadPoolExecutor(_WRITE_THREADS, "feast-assets-write")
        self._waiting_runs = 0
        self._running_views: dict[str, int] = {}

    def close(self) -> None:
        """Takes no more materializations; those that run come to their end. Writes logs that wait."""
        if self._served is not None:
            self._served.close()
        self._runs.shutdown(wait=False, cancel_futures=True)
        self._writes.shutdown(wait=False)

    @property
    def writers(self) -> ThreadPoolExecutor:
        """The threads that writes run in."""
        return self._writes

    async def get_online_features(self, request: OnlineFeaturesRequest) -> OnlineResponse:
        """Returns the latest features of entities; see `FeatureStore.get_online_features`."""
        features: list[str] | FeatureService = request.features
        if request.feature_service:
            # Whoever may read it need not be allowed to see its definition.
            features = self.store.snapshot().feature_service(request.feature_service)
        response = await self.store.get_online_features_async(
            features, request.entities, request.full_feature_names, request.include_feature_view_version_metadata
        )
        if self._served is not None and isinstance(features, FeatureService):
            self._served.offer(features, response)
        return response

    async def row_origins(self, response: OnlineResponse) -> list[RowOrigin]:
        """Returns where the values of an answer come from; see `FeatureStore.get_row_origins`."""
        return await asyncio.to_thread(self.store.get_row_origins, response)

    async def push(self, request: PushRequest, *, as_text: bool = False) -> None:
        """Writes rows to the views of a push source; see `FeatureStore.push`. They are stored when this returns.

        Args:
            as_text: whether numbers and booleans come as text.
        """
        mode = PUSH_MODES.get(request.to)
        if mode is None:
            raise InputError(
                f"to={shown(request.to)} is not a supported push format. Please specify one of these {[*PUSH_MODES]}."
            )
        # A name that is not there is told before what is wrong with the rows.
        views = write_plan(await self._snapshot(request.allow_registry_cache)).views_of_push_source(
            request.push_source_name
        )
        rows = _columns(request.df)
        if as_text:
            rows = _from_text(rows, views)
        rows = _with_moments(rows, views)
        await self._write(
            partial(
                self.store.push,
                request.push_source_name,
                rows,
                to=mode,
                transform_on_write=request.transform_on_write,
            )
        )

    async def write_to_online_store(self, request: WriteRequest, *, as_text: bool = False) -> None:
        """Puts rows of one view into the online store; see `FeatureStore.write_to_online_store`.

        Feast's remote online store calls the times of rows ``event_timestamp`` and ``created`` whatever the view calls
        them; these names are understood, unless the view has such columns.

        Args:
            as_text: whether numbers and booleans come as text.
        """
        snapshot = await self._snapshot(request.allow_registry_cache)
        snapshot.view(request.feature_view_name)  # as in `push`: a name that is not there comes first
        rows = _columns(request.df)
        if request.feature_view_name in snapshot.names(FeatureView.object_type, LabelView.object_type):
            view = snapshot.feature_view(request.feature_view_name)
            if as_text:
                rows = _from_text(rows, [view])
            rows = _with_moments(_with_view_names(rows, view), [view])
        await self._write(
            partial(
                self.store.write_to_online_store,
                request.feature_view_name,
                rows,
                transform_on_write=request.transform_on_write,
            )
        )

    async def materialize(
        self, request: MaterializeRequest, *, in_background: bool = False, force: bool = False
    ) -> RunAccepted | None:
        """Puts the latest rows between two times into the online store; see `FeatureStore.materialize`.

        Args:
            in_background: whether to return when the run was accepted, instead of when it ended.
            force: whether a run in the background may begin although another writes the same views.

        Raises:
            AlreadyMaterializingError: one of the views is being written by a run of this process.
        """
        if request.disable_event_timestamp:
            start, end = _EPOCH, datetime.now(UTC)
        else:
            if not request.start_ts or not request.end_ts:
                raise InputError("start_ts and end_ts are required when disable_event_timestamp is False")
            start, end = _moment("start_ts", request.start_ts), _moment("end_ts", request.end_ts)
            if start >= end:
                raise InputError(f"start_ts ({start}) must be before end_ts ({end})")

        def run(view: str) -> list[MaterializationResult]:
            return self.store.materialize(start, end, [view], version=request.version)

        return await self._run(request.feature_views, run, in_background, force)

    async def materialize_incremental(
        self, request: MaterializeIncrementalRequest, *, in_background: bool = False, force: bool = False
    ) -> RunAccepted | None:
        """Puts what is missing or has changed into the online store; see `FeatureStore.materialize_incremental`."""
        end = _moment("end_ts", request.end_ts)

        def run(view: str) -> list[MaterializationResult]:
            return self.store.materialize_incremental(end, [view], version=request.version)

        return await self._run(request.feature_views, run, in_background, force)

    async def _write(self, write: Callable[[], None]) -> None:
        # Not the verb's own async form: history, and functions of on-demand views, would hold up the event loop.
        await asyncio.get_running_loop().run_in_executor(self._writes, copy_context().run, write)

    async def _snapshot(self, allow_cache: bool) -> RegistrySnapshot:
        if not allow_cache:
            await asyncio.to_thread(self.store.refresh_registry)
        return self.store.snapshot()

    async def _run(
        self,
        names: list[str] | None,
        run: Callable[[str], list[MaterializationResult]],
        in_background: bool,
        force: bool,
    ) -> RunAccepted | None:
        loop = asyncio.get_running_loop()
        context = copy_context()  # Threads act on behalf of the caller too.
        views = await loop.run_in_executor(None, context.run, self._views, names)
        if in_background and not force and (running := [view for view in views if view in self._running_views]):
            raise AlreadyMaterializingError(running)
        if self._waiting_runs >= _RUNS_WAITING:
            raise TooBusyError(f"{self._waiting_runs} materializations are waiting or running; try again later.")
        self._waiting_runs += 1
        for view in views:
            self._running_views[view] = self._running_views.get(view, 0) + 1
        future = loop.run_in_executor(self._runs, context.run, self._materialize, views, run)
        future.add_done_callback(lambda done: self._ended(views))
        if not in_background:
            await future
            return None
        future.add_done_callback(_log_failure)
        return RunAccepted(views)

    def _ended(self, views: list[str]) -> None:
        self._waiting_runs -= 1
        for view in views:
            self._running_views[view] -= 1
            if not self._running_views[view]:
                del self._running_views[view]

    def _views(self, names: list[str] | None) -> list[str]:
        return [view.name for view in self.store.views_to_materialize(names)]

    def _materialize(self, views: list[str], run: Callable[[str], list[MaterializationResult]]) -> None:
        from feast_assets.compute.view_runs import run_views

        run_views(self.store.views_to_materialize(views), lambda view: self._timed(view.name, run))

    def _timed(self, view: str, run: Callable[[str], list[MaterializationResult]]) -> MaterializationResult:
        begin, outcome = monotonic(), "failure"
        try:
            (result,) = run(view)
            outcome = "success"
            return result
        finally:
            if self._on_materialized is not None:
                self._on_materialized(view, outcome, monotonic() - begin)


def refuse_vector_search(*_: object) -> None:
    """Raises NotSupportedError: no online store here searches vectors."""
    raise NotSupportedError(
        "Vector search is not supported yet: no online store of this server can search. Read features by their keys "
        "with /get-online-features."
    )


def _run_threads() -> int:
    text = os.environ.get(WORKERS_VARIABLE, "2")
    if text.isdecimal() and int(text) > 0:
        return int(text)
    logger.warning("%s=%r is not a positive number; 2 is used.", WORKERS_VARIABLE, text)
    return 2


def _log_failure(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        logger.error("A materialization in the background failed: %s", error, exc_info=error)


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"Invalid timestamp format: {name} is {shown(text)}; give ISO 8601, such as 2024-01-31T12:00:00."
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _columns(df: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Returns columns of rows as pandas makes them of JSON: lists, or objects that give each row a label."""
    columns: dict[str, list[Any]] = {}
    for name, values in df.items():
        if isinstance(values, list):
            columns[name] = values
        elif isinstance(values, dict):
            columns[name] = list(values.values())
        else:
            raise InputError(
                f"df should hold one list of values for each column, but column {shown(name)} is {shown(values)}."
            )
    labels = [list(values) for values in df.values() if isinstance(values, dict)]
    if any(given != labels[0] for given in labels[1:]):
        raise InputError("The columns of df label their rows otherwise from each other; give lists.")
    return columns


def _from_text(rows: dict[str, list[Any]], views: Iterable[FeatureView]) -> dict[str, list[Any]]:
    """Returns rows in which texts became numbers and booleans, where a view has such columns.

    Raises:
        InputError: a text is no value of its column's type.
    """
    types = {field.name: field.dtype for view in views for field in view.schema}
    converted = dict(rows)
    for name, texts in rows.items():
        read = _READ_TEXT.get(types.get(name, String))
        if read is None:
            continue
        try:
            converted[name] = [read(text) for text in texts]
        except (ValueError, KeyError):
            raise InputError(f"Column {shown(name)} is {types[name]}, which {shown(texts)} is not.") from None
    return converted


_READ_TEXT: dict[FeastType, Callable[[str], Any]] = {
    Int32: int,
    Int64: int,
    Float32: float,
    Float64: float,
    Bool: lambda text: {"true": True, "false": False}[text.lower()],
}


def _with_moments(rows: dict[str, list[Any]], views: Iterable[FeatureView]) -> dict[str, list[Any]]:
    """Returns rows in which texts and epoch seconds became moments, where JSON has no other way to tell moments."""
    names: set[str] = set()
    seconds: set[str] = set()
    for view in views:
        source = view.batch_source
        if source is not None:
            names.update((source.timestamp_field, source.created_timestamp_column))
        seconds.update(field.name for field in view.schema if field.dtype == UnixTimestamp)
    converted = dict(rows)
    for name in names | seconds:
        if name in rows:
            converted[name] = [_as_moment(value, name in seconds) for value in rows[name]]
    return converted


def _as_moment(value: Any, may_be_seconds: bool) -> Any:
    """Returns what JSON says of a moment as a datetime; what says nothing of one stays, for the library to refuse."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        if may_be_seconds and isinstance(value, int | float) and not isinstance(value, bool):
            return _EPOCH + timedelta(seconds=value)
    except (ValueError, OverflowError):
        pass
    return value


def _with_view_names(rows: dict[str, list[Any]], view: FeatureView) -> dict[str, list[Any]]:
    """Returns rows as Feast's remote online store sends them, with the names that the view has for their times."""
    source = view.batch_source
    if source is None:
        return rows
    known = {field.name for field in view.schema}
    renamed = dict(rows)
    for sent, own in (
        (_REMOTE_EVENT_TIMESTAMP, source.timestamp_field),
        (_REMOTE_CREATED_TIMESTAMP, source.created_timestamp_column),
    ):
        if sent in renamed and sent != own and sent not in known and own not in renamed:
            values = renamed.pop(sent)
            if own:
                renamed[own] = values
    return renamed


__all__ = [
    "PUSH_MODES",
    "AlreadyMaterializingError",
    "RunAccepted",
    "ServingApi",
    "TooBusyError",
    "refuse_vector_search",
]
