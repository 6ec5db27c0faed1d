"""The verbs that push and write rows that a caller hands in."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from feast_assets.arguments import name_of
from feast_assets.auth.identity import acting_identity
from feast_assets.catalog import Catalog
from feast_assets.config import RepoConfig
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.sources.push_source import PushMode
from feast_assets.errors import InputError, NotSupportedError, UnfinishedPushError, shown, suggest
from feast_assets.repository.user_functions import UserFunctions

if TYPE_CHECKING:
    from feast_assets.compute.writes import Stores, Write
    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.definitions.view import BaseFeatureView
    from feast_assets.offline_stores.base import OfflineStore
    from feast_assets.online_stores.base import OnlineStore
    from feast_assets.registry.noted_pushes import NotedPush
    from feast_assets.registry.snapshot import RegistrySnapshot
    from feast_assets.streams.dead_letters import DeadLetter, DeadLetters
    from feast_assets.streams.lag import StreamLag
    from feast_assets.streams.progress import ProgressCallback, StreamProgress
    from feast_assets.streams.replaying import ReplayedLetters


_ACTIONS = {
    PushMode.ONLINE: (AuthzedAction.WRITE_ONLINE,),
    PushMode.OFFLINE: (AuthzedAction.WRITE_OFFLINE,),
    PushMode.ONLINE_AND_OFFLINE: (AuthzedAction.WRITE_OFFLINE, AuthzedAction.WRITE_ONLINE),
}
"""What a push does to the views that it is for."""


class Writing(Catalog):
    """Pushes and direct writes into a project's stores.

    Attributes:
        config: of the project.
        repo_path: the feature repository.
        _completing: held while unfinished pushes are completed.
        _completed_by: the snapshot whose unfinished pushes were completed last.
        _functions: of the project's views.
    """

    config: RepoConfig
    repo_path: Path
    _completed_by: RegistrySnapshot | None

    if TYPE_CHECKING:

        @property
        def _completing(self) -> threading.Lock: ...

        @property
        def _functions(self) -> UserFunctions: ...

        @property
        def offline_store(self) -> OfflineStore: ...

        @property
        def online_store(self) -> OnlineStore: ...

        def in_project(self, project: str | None) -> AbstractContextManager[None]: ...

    def push(
        self,
        push_source_name: str,
        df: object,
        allow_registry_cache: bool = True,
        to: PushMode = PushMode.ONLINE,
        transform_on_write: bool = True,
    ) -> None:
        """Writes rows to every view of a push source.

        All rows are checked before any is written. Then history is written, and after it the online tables, as one
        unit: a push that is killed or fails half-way is completed by the next use of the feature store. The same push
        may be repeated at any time; each row is stored once.

        Args:
            df: a DataFrame (pandas or Polars), an Arrow table, a dict of lists, or a list of dicts. Online needs
                join keys, features and event time; offline needs just the columns of the batch source. Without any
                rows, it warns and writes nothing.
            to: online, offline, or both.
            transform_on_write: whether the functions of stream feature views run over the rows that go online; if not,
                they already hold the features. It has no effect on other views.

        Raises:
            PushSourceNotFoundException: there is no such push source, or no view uses it.
            InputError: the rows do not fit; nothing was written.
            UnfinishedPushError: a store failed half-way; the rows are kept in the registry, and the push will be
                completed.
        """
        self._run(self._pushed(push_source_name, df, allow_registry_cache, to, transform_on_write))

    async def push_async(
        self,
        push_source_name: str,
        df: object,
        allow_registry_cache: bool = True,
        to: PushMode = PushMode.ONLINE,
        transform_on_write: bool = True,
    ) -> None:
        """As `push`; the online write does not block the event loop, the rest runs in a thread."""
        import asyncio

        await self._run_async(
            await asyncio.to_thread(self._pushed, push_source_name, df, allow_registry_cache, to, transform_on_write)
        )

    def write_to_online_store(
        self,
        feature_view_name: str,
        df: object = None,
        inputs: object = None,
        allow_registry_cache: bool = True,
        transform_on_write: bool = True,
    ) -> None:
        """Puts rows of one view into the online store, where newer rows stay. It is one unit, like `push`.

        Args:
            df: rows as `push` takes them.
            inputs: the same under Feast's other name; not both.
            transform_on_write: of an on-demand view that is stored online, and of a stream feature view: whether its
                function makes the rows of those given; if not, they already hold its features. Without effect for other
                views.
        """
        self._run(self._written(feature_view_name, df, inputs, allow_registry_cache, transform_on_write))

    async def write_to_online_store_async(
        self, feature_view_name: str, df: object = None, inputs: object = None, allow_registry_cache: bool = True
    ) -> None:
        """As `write_to_online_store`; the online write does not block the event loop, the rest runs in a thread."""
        import asyncio

        # In a thread: the function of an on-demand view may take long.
        await self._run_async(
            await asyncio.to_thread(self._written, feature_view_name, df, inputs, allow_registry_cache, True)
        )

    async def update_online_store(
        self,
        feature_view_name: str,
        df: object,
        update_expressions: Mapping[str, str],
        allow_registry_cache: bool = True,
    ) -> NoReturn:
        """Raises NotSupportedError: no online store here adds to stored lists; in Feast, only DynamoDB's does.

        Args:
            update_expressions: feature name -> an expression of DynamoDB.
        """
        raise NotSupportedError(
            f"update_online_store({shown(feature_view_name)}): no online store of this package evaluates expressions "
            "of DynamoDB; write whole rows with write_to_online_store."
        )

    def write_to_offline_store(
        self, feature_view_name: str, df: object, allow_registry_cache: bool = True, reorder_columns: bool = True
    ) -> None:
        """Appends rows to a view's batch source, whose columns they must have.

        The same rows may be written again after a failure; each is stored once.

        Args:
            df: rows as `push` takes them; join keys and event times must not be null.
            reorder_columns: whether the columns may come in another order than the source's.
        """
        call = f"write_to_offline_store to {name_of(feature_view_name, 'feature view')!r}"
        self._refuse_shared(call, "do so in production")
        snapshot = self._registered(allow_registry_cache)
        view = snapshot.feature_view(feature_view_name)
        self.access.check(snapshot, [view], AuthzedAction.WRITE_OFFLINE)
        write = self._write(call, df)
        self._complete_pushes_once(snapshot)
        write.add_history(view, reorder_columns=reorder_columns)
        self._run(write)

    def consume(
        self,
        views: str | Sequence[str] | None = None,
        *,
        to: PushMode = PushMode.ONLINE_AND_OFFLINE,
        start: str | datetime = "checkpoint",
        stop_at_end: bool = False,
        flush_seconds: float = 60.0,
        flush_bytes: int = 64 << 20,
        group: str = "",
        stop: threading.Event | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[StreamProgress]:
        """Consumes the streams of feature views until it is told to stop.

        Messages are put online as they arrive. At each flush they are appended to the history that the batch source
        holds, and then the position is noted. A consumer that was killed begins again at the noted position, and
        nothing is stored twice. Messages that cannot be taken are kept as dead letters.

        Args:
            views: names; left out, all views with a stream that can be consumed. Views of one stream read it together.
            to: online, history, or both. Choose ``PushMode.ONLINE`` where something else writes the batch source.
            start: ``"checkpoint"``, where it ended before, or for a new view the oldest message; ``"beginning"``, the
                oldest message; or the time when messages were written.
            stop_at_end: whether it returns when it has consumed what was there when it began.
            flush_seconds, flush_bytes: how long, and how much, is held before it is appended to history.
            group: the consumer group of Kafka, whose members divide the partitions among them; left out, one for these
                views.
            stop: ends it, after what is in hand, when it is set.
            progress: called after each flush, from a thread of each stream.

        Returns:
            what was done, by stream source. It also ends when an apply has changed or removed a view, which it notices
            after a flush.

        Raises:
            InputError: a view is disabled or has no stream that can be consumed, or an argument is wrong.
            ConfigError: a stream's settings are wrong.
            StoreUnavailableError: a stream cannot be reached. Stores that cannot be reached are waited for.
        """
        from feast_assets.streams.consuming import Consumption, checked_settings, consume, consumed_hash

        if not isinstance(to, PushMode):
            raise InputError(f"consume: to={shown(to)} is not PushMode.ONLINE, OFFLINE or ONLINE_AND_OFFLINE.")
        if to is not PushMode.ONLINE:
            self._refuse_shared("consume", "use to=PushMode.ONLINE")
        settings = checked_settings(start, flush_seconds, flush_bytes, stop_at_end)
        snapshot = self._registered(False)
        chosen = _consumed(snapshot, views)
        self.access.check(snapshot, chosen, *_ACTIONS[to])
        attached = [self._functions.attach(view) for view in chosen]
        hashes = {view.name: consumed_hash(view) for view in chosen}

        project = self.project

        def is_current() -> bool:
            with self.in_project(project):  # asked by a thread of each stream
                snapshot = self._registered(False)
            views = {view.name: view for view in snapshot.views_with_history if view.enabled}
            return all(name in views and consumed_hash(views[name]) == known for name, known in hashes.items())

        root = self.repo_path.resolve()
        consumption = Consumption(self._stores(), attached, to, group, root, settings, self.config.streams, is_current)
        return consume(consumption, stop or threading.Event(), progress)

    def stream_lags(
        self, views: str | Sequence[str] | None = None, *, to: PushMode = PushMode.ONLINE_AND_OFFLINE, group: str = ""
    ) -> list[StreamLag]:
        """Returns how far streams reach, and how far they have been consumed for feature views; changes nothing.

        The arguments are those of `consume`: they say which positions count.

        Returns:
            one of each stream source. Data streams of Kinesis do not tell where they end.

        Raises:
            InputError: a view is disabled or has no stream that can be consumed, or an argument is wrong.
            ConfigError: a stream's settings are wrong.
            StoreUnavailableError: a stream or a store cannot be reached.
        """
        from feast_assets.streams.consumer import ConsumerSettings
        from feast_assets.streams.consuming import Consumption, stream_lags

        if not isinstance(to, PushMode):
            raise InputError(f"stream_lags: to={shown(to)} is not PushMode.ONLINE, OFFLINE or ONLINE_AND_OFFLINE.")
        snapshot = self._registered(False)
        chosen = _consumed(snapshot, views)
        self.access.check(snapshot, chosen, AuthzedAction.DESCRIBE)
        root = self.repo_path.resolve()
        settings = ConsumerSettings()
        return stream_lags(Consumption(self._stores(), chosen, to, group, root, settings, self.config.streams))

    def list_dead_letters(self, source_name: str) -> list[DeadLetter]:
        """Returns the messages of a stream source that could not be taken, each with its offset and the reason."""
        return list(self._dead_letters(source_name, PushMode.ONLINE_AND_OFFLINE)[1].read())

    def replay_dead_letters(self, source_name: str, to: PushMode = PushMode.ONLINE_AND_OFFLINE) -> ReplayedLetters:
        """Takes those dead letters of a stream source that can be taken now; the others stay.

        It may be repeated after a failure; what is stored is not stored twice.

        Args:
            to: online, history, or both.
        """
        from feast_assets.streams.consumer import ConsumerSettings
        from feast_assets.streams.consuming import Consumption, stream_parts
        from feast_assets.streams.replaying import replay

        views, _ = self._dead_letters(source_name, to)
        attached = [self._functions.attach(view) for view in views]
        root = self.repo_path.resolve()
        consumption = Consumption(self._stores(), attached, to, "", root, ConsumerSettings(), self.config.streams)
        offline = None if to is PushMode.ONLINE else self.offline_store
        return replay(stream_parts(consumption, attached), offline)

    def drop_dead_letters(self, source_name: str) -> int:
        """Removes the dead letters of a stream source; returns how many there were."""
        _, letters = self._dead_letters(source_name, PushMode.ONLINE_AND_OFFLINE)
        files = letters.files()
        count = sum(1 for _ in letters.read())
        for path in files:
            letters.remove(path)
        return count

    def _dead_letters(self, source_name: str, to: PushMode) -> tuple[list[FeatureView], DeadLetters]:
        """Returns the views of a stream source, at least one, and its dead letters."""
        from feast_assets.streams.consuming import dead_letter_folder, is_consumable
        from feast_assets.streams.dead_letters import DeadLetters

        if not isinstance(to, PushMode):
            raise InputError(f"to={shown(to)} is not PushMode.ONLINE, OFFLINE or ONLINE_AND_OFFLINE.")
        snapshot = self._registered(False)
        known = [view for view in snapshot.views_with_history if is_consumable(view) and view.stream_source is not None]
        views = [v for v in known if v.stream_source is not None and v.stream_source.name == source_name]
        if not views:
            names = {v.stream_source.name for v in known if v.stream_source is not None}
            raise InputError(
                f"There is no stream source {shown(source_name)} that can be consumed. "
                f"{suggest(str(source_name), names)}"
            )
        self.access.check(snapshot, views, *_ACTIONS[to])
        return views, DeadLetters(dead_letter_folder(self.config.streams, self.repo_path.resolve()), source_name)

    def list_unfinished_pushes(self) -> list[NotedPush]:
        """Returns the pushes that failed half-way and are not complete yet, oldest first.

        This does not complete them; the next materialization, historical retrieval or audit does.
        """
        from feast_assets.registry.noted_pushes import NotesPushes

        self._check_project(AuthzedAction.DESCRIBE)
        return self.registry.noted_pushes() if isinstance(self.registry, NotesPushes) else []

    def drop_unfinished_push(self, push_id: str) -> None:
        """Discards a push that failed half-way: the rows that are stored stay, and the others are lost.

        Args:
            push_id: as `list_unfinished_pushes` shows it.

        Raises:
            InputError: there is no such push.
        """
        from feast_assets.registry.noted_pushes import NotesPushes

        self._check_project(AuthzedAction.DESCRIBE, AuthzedAction.UPDATE)
        pushes = self.list_unfinished_pushes()
        for push in pushes:
            if push.id == push_id and isinstance(self.registry, NotesPushes):
                self.registry.forget_push(push)
                return
        known = [push.id for push in pushes if isinstance(push.id, str)]
        raise InputError(f"There is no unfinished push {shown(push_id)}. {suggest(str(push_id), known)}")

    def _pushed(
        self, name: str, df: object, allow_registry_cache: bool, to: PushMode, transform_on_write: bool
    ) -> Write:
        from feast_assets.compute.write_plans import write_plan

        call = f"push to {shown(name)}"
        if not isinstance(to, PushMode):
            raise InputError(f"{call}: to={shown(to)} is not PushMode.ONLINE, OFFLINE or ONLINE_AND_OFFLINE.")
        _check_flag(call, "transform_on_write", transform_on_write)
        if to is not PushMode.ONLINE:
            self._refuse_shared(call, "use to=PushMode.ONLINE")
        snapshot = self._registered(allow_registry_cache)
        plan = write_plan(snapshot)
        views = plan.views_of_push_source(name)
        actions = _ACTIONS[to]
        self.access.check(snapshot, views, *actions)
        online = [view for view in views if view.online and to is not PushMode.OFFLINE]
        if to is PushMode.ONLINE and not online:
            raise InputError(
                f"{call}: none of its feature views is online (online=False): {', '.join(v.name for v in views)}. "
                "Use to=PushMode.OFFLINE, or declare one online."
            )
        # History is written as its source stores it, and a function takes rows as they are.
        plain = to is PushMode.ONLINE and all(view.transformation is None for view in online)
        write = self._write(call, df, online if plain else ())
        write.transforms = transform_on_write
        for view in online:
            write.add_online(view, plan.few_rows(view))
        if to is not PushMode.ONLINE:
            self._complete_pushes_once(snapshot)
            write.add_history(views[0], readers=views[1:])
        return write

    def _refuse_shared(self, subject: str, instead: str) -> None:
        if self.config.deployment:
            raise InputError(
                f"{subject}: deployment {self.config.deployment!r} reads the sources of project "
                f"{self.config.project!r} and writes none of them; {instead}."
            )

    def _written(
        self, name: str, df: object, inputs: object, allow_registry_cache: bool, transform_on_write: bool
    ) -> Write:
        from feast_assets.compute.write_plans import write_plan

        call = f"write_to_online_store to {name_of(name, 'feature view')!r}"
        if (df is None) == (inputs is None):
            raise InputError(f"{call}: give one of df and inputs.")
        _check_flag(call, "transform_on_write", transform_on_write)
        snapshot = self._registered(allow_registry_cache)
        if not self.access.is_open:
            self.access.check(snapshot, [snapshot.view(name)], AuthzedAction.WRITE_ONLINE)
        is_on_demand = name in snapshot.names(OnDemandFeatureView.object_type)
        known = None if is_on_demand else write_plan(snapshot).view(name)
        views = [known] if known is not None and known.transformation is None else []
        write = self._write(call, inputs if df is None else df, views)
        if is_on_demand:
            from feast_assets.repository.stored_on_demand import stored_rows

            rows = stored_rows(snapshot, name, write.rows, call, self._functions, transform_on_write)
            write = self._write(call, rows)
        write.transforms = transform_on_write
        plan = write_plan(snapshot)
        view = plan.view(name) or snapshot.feature_view(name)
        if view.table_of:
            from feast_assets.retrieval.versions import refuse_shared_table

            refuse_shared_table(view, snapshot)
        write.add_online(view, plan.few_rows(view))
        return write

    def _write(self, call: str, rows: object, views: Sequence[BaseFeatureView] = ()) -> Write:
        """Returns a write of rows that a caller handed in.

        Args:
            views: whose features the rows hold; left out, the types of all columns are inferred.
        """
        from feast_assets.compute.handed_in_rows import HandedInRows
        from feast_assets.compute.writes import Write

        given = HandedInRows(rows, call, views)
        if not len(given):
            warnings.warn(f"{call}: there are no rows, so nothing is written.", stacklevel=4)
        return Write(self._stores(), call, given)

    def _stores(self) -> Stores:
        from feast_assets.compute.writes import Stores

        return Stores(
            self.project, self.registry, lambda: self.offline_store, lambda: self.online_store, self._functions.attach
        )

    def _run(self, write: Write) -> None:
        from feast_assets.compute.push_runs import run

        try:
            run(write)
        except UnfinishedPushError:
            self._cache.look_again()
            raise
        self._log_write(write)

    async def _run_async(self, write: Write) -> None:
        from feast_assets.compute.push_runs import run_async

        try:
            await run_async(write)
        except UnfinishedPushError:
            self._cache.look_again()
            raise
        self._log_write(write)

    def _log_write(self, write: Write) -> None:
        if not self.access.log.is_on:
            return
        identity, rows = acting_identity(), len(write.given)
        if write.online:
            views = [view.name for view, _ in write.online]
            self.access.log.done("write_online", identity, views, rows=rows, call=write.call)
        if write.history is not None:
            self.access.log.done("write_offline", identity, [write.history.view.name], rows=rows, call=write.call)

    def _complete_pushes_once(self, snapshot: RegistrySnapshot) -> None:
        """Completes unfinished pushes in history too; once only with a cached snapshot, as other writers note pushes
        all the time."""
        if snapshot.has_noted_pushes and snapshot is not self._completed_by:
            self._complete_pushes(snapshot, True)

    def _complete_pushes(self, snapshot: RegistrySnapshot, uses_history: bool) -> bool:
        from feast_assets.compute.unfinished_pushes import complete_pushes

        # In a deployment of its own history is another's, which it only reads.
        may_append = uses_history and not self.config.deployment
        with self._completing:
            if uses_history:
                self._completed_by = snapshot
            return complete_pushes(self._stores(), snapshot, may_append=may_append)


def _check_flag(call: str, name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InputError(f"{call}: {name} must be True or False, not {shown(value)}.")


def _consumed(snapshot: RegistrySnapshot, names: str | Sequence[str] | None) -> list[FeatureView]:
    """Returns the views whose streams are to be consumed: those of some names, or all that can be."""
    from feast_assets.streams.consuming import check_consumable, is_consumable

    if names is None:
        views = [view for view in snapshot.views_with_history if view.enabled and is_consumable(view)]
    else:
        views = [snapshot.feature_view(name) for name in ([names] if isinstance(names, str) else names)]
    for view in views:
        check_consumable(view)
    if not views:
        raise InputError("consume: no enabled feature view has a stream that can be consumed.")
    return views
