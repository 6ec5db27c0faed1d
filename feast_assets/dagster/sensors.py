"""Sensors: late and corrected data, and changed definitions, become runs of just the partitions that they concern."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import dagster as dg

from feast_assets.compute.change_tokens import UNSURE
from feast_assets.compute.staleness import StaleWindow
from feast_assets.dagster.applied import check_applied
from feast_assets.dagster.reasons import REASON_TAG, Reasons, changed_definition
from feast_assets.dagster.repository import FeatureRepository
from feast_assets.dagster.resources import FeatureStoreResource
from feast_assets.dagster.run_requests import RANGE, RETRY_AFTER, RequestedRuns, WatchedGroup, run_requests
from feast_assets.dagster.verdicts import blocking_checks, healed
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.kept_results import with_readers
from feast_assets.definitions.spec import content_hash, from_micros, to_micros
from feast_assets.definitions.window import Window
from feast_assets.errors import FeastAssetsError, NotAppliedError, SourceHeldError, StoreUnavailableError
from feast_assets.feature_store import FeatureStore
from feast_assets.lifecycle import may_be_materialized
from feast_assets.offline_stores.patience import waiting_at_most

_Why = Literal["lost", "changed", "new"]
"""Why the windows of a view may have to be run: its online table was lost, or its definition is another."""
_WHYS: tuple[_Why, ...] = get_args(_Why)
"""Of two reasons the later one counts."""

_MOST_RUNS = 25
_SHORT_WAIT = 2.0
"""Seconds that a tick waits for a source that somebody has open for writing; an instance gives ticks a minute."""
_LOOK_AGAIN = timedelta(minutes=10)
"""How often the source of a view is looked through where the offline store cannot tell whether it has changed."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REMEMBERED_WINDOWS = 200
"""Stale windows of a view that the cursor remembers; of more, the next tick reads the source again."""


def late_data_sensor(
    repository: FeatureRepository,
    assets: Sequence[dg.AssetsDefinition],
    jobs: Sequence[Any],
    *,
    name: str | None = None,
    minimum_interval_seconds: int = 60,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    max_runs: int = _MOST_RUNS,
    retry_after: timedelta = RETRY_AFTER,
) -> dg.SensorDefinition:
    """Returns a sensor that runs the partitions whose source has changed since they were materialized.

    The library's ledger says what is materialized, whoever ran it. The sensor asks for windows whose content has
    changed, whose run was killed or met another, or which were left out before later ones. It asks for windows that
    were lost when an online store was restored, and the tick says so. Of some views it asks for every missing window:
    those whose automation is on late data, or eager while they read an asset without partitions. Windows that only a
    definition makes stale are the `definition_sensor`'s.

    A tick looks at file names, sizes and times; only where these or the ledger have changed are data read. Where the
    offline store cannot tell whether a source has changed, the source is read every ten minutes. Where the ledger says
    that a refused partition has been written since, by whomever, its checks are told to pass.

    Args:
        repository: what is declared.
        assets: what `build_feature_view_assets` or `feature_view_assets` made.
        jobs: what `feature_view_jobs` made of them.
        name: ``late_data_`` and the project's name when left out.
        max_runs: how many runs one tick asks for; what is left is for later ones.
        retry_after: how long after a failed run it is asked for again; after each further failure twice as long, up to
            an hour.
    """
    groups = _groups(repository, assets, jobs)

    @dg.sensor(
        name=name or _named("late_data", repository),
        jobs=list(jobs),
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Runs the partitions whose source has changed since they were materialized.",
    )
    def late_data(context: dg.SensorEvaluationContext, feature_store: FeatureStoreResource) -> dg.SensorResult:
        store = feature_store.get_store()
        now = datetime.now(UTC)
        seen = _Seen.read(context.cursor)
        ready = _applied_views(store, groups)
        if not ready:
            return dg.SensorResult(skip_reason="None of these feature views has been applied.", cursor=context.cursor)
        tokens = store.change_tokens([v.name for v in ready])
        stale: dict[str, list[StaleWindow]] = {}
        passing: list[dg.AssetCheckEvaluation] = []
        kept = _Seen()
        for group in groups:
            end = group.last_moment(now)
            for view in (v for v in ready if v.name in group.keys):
                token = _told(tokens[view.name], now)
                if group.partitions is not None and repository.follows_rows(repository.view(view.name)):
                    # A window that has ended is late from then on only for such a view; others leave it to schedules.
                    token += end.isoformat()
                known = seen.windows(view.name, token)
                if known is None:
                    known = _read_stale(context, store, view.name, end)
                    if known is None:
                        continue
                    known = [s for s in known if _is_late(repository, repository.view(view.name), s)]
                    passing += _healed(context, store, group, view)
                kept.remember(view.name, token, known)
                stale[view.name] = known
        runnable = _runnable(context, repository, ready, stale)
        runs = run_requests(
            context.instance,
            groups,
            runnable,
            now=now,
            at_most=max_runs,
            retry_after=retry_after,
            reason_of=Reasons(store).of,
        )
        return _result(context, runs, stale, kept.text(), passing)

    return late_data


def definition_sensor(
    repository: FeatureRepository,
    assets: Sequence[dg.AssetsDefinition],
    jobs: Sequence[Any],
    *,
    name: str | None = None,
    minimum_interval_seconds: int = 60,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    max_runs: int = _MOST_RUNS,
    retry_after: timedelta = RETRY_AFTER,
) -> dg.SensorDefinition:
    """Returns a sensor that, after an apply, runs what the changed definitions have made stale, and no more.

    A description changes nothing. Of a new view, or one with other features or another source, the windows within ttl
    are run; where the result is kept, all that had been run. Views that read a result that is kept are run after it, in
    the windows that it has changed. Views that were applied before the first tick are not run.

    Of a view whose rows in the online store were lost, as after the store was emptied or exchanged for another, the
    windows within ttl are run again.

    The arguments are those of `late_data_sensor`.
    """
    groups = _groups(repository, assets, jobs)

    @dg.sensor(
        name=name or _named("definitions", repository),
        jobs=list(jobs),
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Runs the partitions that an apply has made stale.",
    )
    def changed_definitions(
        context: dg.SensorEvaluationContext, feature_store: FeatureStoreResource
    ) -> dg.SensorResult:
        store = feature_store.get_store()
        now = datetime.now(UTC)
        cursor = json.loads(context.cursor) if context.cursor else None
        revision = store.registry.revision()
        # A view that was applied before it was loaded is new when it is loaded.
        loaded = content_hash(sorted(name for group in groups for name in group.keys))[:16]
        ready = _applied_views(store, groups)
        tables = _online_tables(store, ready)
        lost = _lost(tables, cursor.get("tables", {})) if cursor is not None else set()
        if (
            cursor is not None
            and not lost
            and (cursor["revision"], cursor["loaded"], cursor["pending"]) == (revision, loaded, {})
        ):
            unchanged = json.dumps(cursor | {"tables": tables})
            return dg.SensorResult(skip_reason="No definition has changed.", cursor=unchanged)
        hashes = {v.name: _deciding(v) for v in ready}
        pending: dict[str, _Why] = {}
        if cursor is not None:
            changed = {n for n, digest in hashes.items() if cursor["hashes"].get(n) != digest}
            causes: list[dict[str, _Why]] = [
                dict.fromkeys(lost, "lost"),
                {n: "changed" if n in cursor["hashes"] else "new" for n in with_readers(changed, ready)},
                {n: known for n, known in cursor["pending"].items() if n in hashes},
            ]
            pending = {n: max((c[n] for c in causes if n in c), key=_WHYS.index) for n in set().union(*causes)}
        stale: dict[str, list[StaleWindow]] = {}
        unread: set[str] = set()
        for group in groups:
            for view in (v for v in ready if v.name in pending and v.name in group.keys):
                stale_windows = _read_stale(context, store, view.name, group.last_moment(now))
                if stale_windows is None:
                    unread.add(view.name)
                else:
                    stale[view.name] = [s for s in stale_windows if _is_to_be_rerun(view, s, now, pending[view.name])]
        runnable = _runnable(context, repository, ready, stale)
        reasons: dict[str, str] = {} if cursor is None else cursor.get("told", {})
        reasons |= _changes(
            store, 0 if cursor is None else cursor["revision"], [n for n in pending if n not in reasons]
        )
        reasons |= {n: "the online table was lost" for n, why in pending.items() if why == "lost"}
        runs = run_requests(
            context.instance,
            groups,
            runnable,
            now=now,
            at_most=max_runs,
            retry_after=retry_after,
            reason_of=Reasons(store, reasons).of,
        )
        unfinished = {n for n, windows in stale.items() if windows} | unread
        left = {n: pending[n] for n in sorted(with_readers(unfinished, ready)) if n in pending}
        known = {"revision": revision, "loaded": loaded, "hashes": hashes, "tables": tables, "pending": left}
        text = json.dumps(known | {"told": {n: reasons[n] for n in left if n in reasons}})
        return _result(context, runs, stale, text)

    return changed_definitions


class _Seen:
    """What a tick found of each view, under the token in which it found it; a sensor's cursor holds it."""

    def __init__(self, views: Mapping[str, Any] | None = None):
        self._views: dict[str, Any] = dict(views or {})

    @classmethod
    def read(cls, cursor: str | None) -> "_Seen":
        return cls(json.loads(cursor) if cursor else None)

    def text(self) -> str:
        return json.dumps(self._views, separators=(",", ":"))

    def windows(self, view: str, token: str) -> list[StaleWindow] | None:
        """Returns the stale windows of a view; None where they are not known for this token."""
        known = self._views.get(view)
        if not token or known is None or known[0] != token:
            return None
        return [
            StaleWindow(Window(from_micros(start), from_micros(end)), reason, behind, from_micros(after), *texts)
            for start, end, reason, behind, after, *texts in known[1]
        ]

    def remember(self, view: str, token: str, stale: Sequence[StaleWindow]) -> None:
        if token and len(stale) <= _REMEMBERED_WINDOWS:
            self._views[view] = [
                token,
                [
                    [
                        *map(to_micros, (s.window.start, s.window.end)),
                        s.reason,
                        s.behind,
                        to_micros(s.after),
                        s.content,
                        *([s.because] if s.because else []),
                    ]
                    for s in stale
                ],
            ]


def _told(token: str, now: datetime) -> str:
    """Returns the change token of a view, shortened; where the store cannot see all changes, a new one now and then."""
    if not token.startswith(UNSURE):
        return token[:16]
    return f"{token[:16]}{(now - _EPOCH) // _LOOK_AGAIN:x} "


def _named(subject: str, repository: FeatureRepository) -> str:
    return f"{subject}_" + re.sub(r"\W", "_", repository.project, flags=re.ASCII)


def _groups(
    repository: FeatureRepository, assets: Sequence[dg.AssetsDefinition], jobs: Sequence[Any]
) -> list[WatchedGroup]:
    groups = []
    for each, job in zip(assets, jobs, strict=True):
        view = next(iter(WatchedGroup.of(each, job.name, None).keys))
        groups.append(WatchedGroup.of(each, job.name, repository.view(view).partitions))
    return groups


def _applied_views(store: FeatureStore, groups: Iterable[WatchedGroup]) -> list[FeatureView]:
    """Returns the views of the groups that have been applied and can be materialized."""
    names = {name for group in groups for name in group.keys}
    return [
        v
        for v in store.snapshot().views_with_history
        if v.name in names and v.makes_something and may_be_materialized(v)
    ]


def _read_stale(
    context: dg.SensorEvaluationContext, store: FeatureStore, view: str, end: datetime
) -> list[StaleWindow] | None:
    """Returns a view's stale windows; None where they cannot be read, so that the other views are still looked at."""
    try:
        with waiting_at_most(_SHORT_WAIT):
            return store.stale_windows(view, end)
    except SourceHeldError as error:
        context.log.info(f"{view}: {error} The next tick looks again.")
        return None
    except StoreUnavailableError:
        raise
    except FeastAssetsError as error:
        context.log.error(f"{view}: {error}")
        return None


def _is_late(repository: FeatureRepository, view: FeatureView, stale: StaleWindow) -> bool:
    if stale.reason == "missing":
        return stale.behind or repository.follows_rows(view)
    return stale.reason != "redefined"


def _is_to_be_rerun(view: FeatureView, stale: StaleWindow, now: datetime, why: _Why) -> bool:
    """Whether an apply, or a loss, has made a window stale: of a new view any, of another those that had been run.

    What is older than the ttl is not served any more; only a result that is kept, and is another now, has to be right
    there too.
    """
    if stale.reason == "missing" and why != "new":
        return False
    if view.keeps_result and why == "changed":
        return True
    return not view.ttl or view.partitions is None or stale.window.end > now - view.ttl


def _runnable(
    context: dg.SensorEvaluationContext,
    repository: FeatureRepository,
    views: Iterable[FeatureView],
    stale: Mapping[str, list[StaleWindow]],
) -> dict[str, list[StaleWindow]]:
    """Leaves out views whose applied definition differs from this code location's: their runs would be refused."""
    runnable = {}
    for view in views:
        if not stale.get(view.name):
            continue
        try:
            check_applied(repository.view(view.name), view)
        except NotAppliedError as error:
            context.log.warning(f"{error} Apply, or reload the code location.")
        else:
            runnable[view.name] = stale[view.name]
    return runnable


def _online_tables(store: FeatureStore, views: Iterable[FeatureView]) -> dict[str, list[str]]:
    """Returns for each view that goes online the identity of its table; "" where there is none yet."""
    if store.config.online_store is None:
        return {}
    tables = {v.name: v.online_table(store.project) for v in views if v.online}
    marks = store.online_store.marks(list(tables.values()))
    return {name: [table, mark.identity] for (name, table), mark in zip(tables.items(), marks, strict=True)}


def _lost(now: Mapping[str, Sequence[str]], before: Mapping[str, Sequence[str]]) -> set[str]:
    """Returns the views whose table had rows and is not the same any more; one of another name was defined anew."""
    return {
        name
        for name, (table, identity) in now.items()
        if name in before and before[name][0] == table and before[name][1] not in ("", identity)
    }


def _deciding(view: FeatureView) -> str:
    """Returns a hash of the part of a definition that decides which rows must be online."""
    grid = None if view.partitions is None else view.partitions.to_spec()
    ttl = view.ttl.total_seconds() if view.ttl else 0
    return content_hash([definition_hash(view), view.online_generation, view.online, grid, ttl])[:16]


def _healed(
    context: dg.SensorEvaluationContext, store: FeatureStore, group: WatchedGroup, view: FeatureView
) -> list[dg.AssetCheckEvaluation]:
    """Returns passing verdicts for partitions of a view that were refused and have been written since."""
    grid = group.assets.partitions_def if group.assets is not None else None
    if group.assets is None or not isinstance(grid, dg.TimeWindowPartitionsDefinition):
        return []
    blocking = [check for key in sorted(group.keys[view.name]) for check in blocking_checks(group.assets, key)]
    return healed(context.instance, blocking, lambda: store.registry.ledger(view.name), grid) if blocking else []


def _result(
    context: dg.SensorEvaluationContext,
    runs: RequestedRuns,
    stale: Mapping[str, Sequence[StaleWindow]],
    cursor: str,
    passing: Sequence[dg.AssetCheckEvaluation] = (),
) -> dg.SensorResult:
    put_back = _put_back(stale)
    for line in put_back:
        context.log.warning(line)
    notes = []
    if runs.refused:
        notes.append(
            f"{runs.refused} stale windows are left alone: their rows broke the checks of their fields, and neither "
            "have changed since. Correct the rows, change the checks and apply, or run the partitions by hand."
        )
    if runs.no_partitions:
        notes.append(
            f"{runs.no_partitions} stale windows are no partitions of Dagster, which has none before the year 1000 "
            "and only whole ones. Run feast-assets materialize-incremental, or declare Partitions(..., start=...)."
        )
    if runs.requests:
        for request in runs.requests:
            context.log.info(_told_of(request))
        for line in notes:
            context.log.info(line)
        return dg.SensorResult(run_requests=runs.requests, cursor=cursor, asset_events=passing)
    left = sum(map(len, stale.values())) - runs.refused - runs.no_partitions
    waiting = [f"{left} stale windows are being run, or wait for the next attempt."] if left > 0 else []
    if passing:
        notes.append(f"{len(passing)} checks of refused partitions pass: the partitions have been written since.")
    summary = " ".join([*waiting, *notes, *put_back]) or "Nothing is stale."
    return dg.SensorResult(skip_reason=summary, cursor=cursor, asset_events=passing)


def _told_of(request: dg.RunRequest) -> str:
    first, last = (request.tags.get(tag) for tag in RANGE)
    span = request.partition_key or (f"{first} to {last}" if first and last else "everything")
    names = ", ".join(key.path[-1] for key in request.asset_selection or ())
    return f"{names}, {span}: {request.tags.get(REASON_TAG, 'stale')}"


def _changes(store: FeatureStore, revision: int, views: Iterable[str]) -> dict[str, str]:
    """Returns in words what has changed in views since a revision."""
    names = list(views)
    if not names:
        return {}
    try:
        before = {v.name: v for v in store.registry.snapshot(revision).views_with_history} if revision else {}
    except LookupError:
        before = {}
    now = {v.name: v for v in store.snapshot().views_with_history}
    return {n: changed_definition(before.get(n), now[n]) for n in names if n in now}


def _put_back(stale: Mapping[str, Sequence[StaleWindow]]) -> list[str]:
    """Returns for each view with windows that are stale because a store was put back how many, and why."""
    lines = []
    for view, windows in sorted(stale.items()):
        because = Counter(s.because for s in windows if s.because)
        if because:
            # The earliest of the moments shows how far the store went back.
            count = because.total()
            lines.append(
                f"{view}: {'1 window is' if count == 1 else f'{count} windows are'} run again: {min(because)}."
            )
    return lines
