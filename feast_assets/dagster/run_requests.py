"""Stale windows as run requests: contiguous ranges of partitions, and no window asked for twice at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import dagster as dg

from feast_assets.compute.staleness import StaleWindow
from feast_assets.dagster.materialization import REFUSED_TAG, VIEW
from feast_assets.dagster.partitions import has_partition_key
from feast_assets.dagster.reasons import REASON_TAG, ReasonOf, joined
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.spec import content_hash
from feast_assets.definitions.window import Window

CONTENT_TAG = "feast_assets/content"
"""Tag of a run that a sensor asked for: what it was to write, as a hash. Runs of one content are attempts at it."""

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
"""The tags of a run of a range of partitions: the first and the last key."""
_PARTITION = "dagster/partition"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.MANAGED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
RETRY_AFTER = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=1)
_MOST_BRIDGED = 100
"""Windows with nothing to run that one run covers between others: each costs an event, and a run of its own more."""


@dataclass(frozen=True)
class WatchedGroup:
    """Views of one grid that one run can materialize together.

    Attributes:
        job: the job that materializes them.
        partitions: the grid; None for views without partitions.
        fmt: how the grid's partition keys are written, for ``strftime``.
        keys: view -> its assets.
        checks: those that its runs make; the other checks have a job of their own.
        assets: what makes them; None in tests of ranges alone.
    """

    job: str
    partitions: Partitions | None
    fmt: str
    keys: Mapping[str, frozenset[dg.AssetKey]]
    checks: frozenset[dg.AssetCheckKey] = frozenset()
    assets: dg.AssetsDefinition | None = None

    @classmethod
    def of(cls, assets: dg.AssetsDefinition, job: str, partitions: Partitions | None) -> WatchedGroup:
        """Returns the group that a multi-asset of feature views stands for."""
        keys: dict[str, set[dg.AssetKey]] = {}
        for key, metadata in assets.metadata_by_key.items():
            keys.setdefault(metadata[VIEW], set()).add(key)
        grid = assets.partitions_def
        fmt = grid.fmt if isinstance(grid, dg.TimeWindowPartitionsDefinition) else ""
        of_views = {view: frozenset(view_keys) for view, view_keys in keys.items()}
        return cls(job, partitions, fmt, of_views, frozenset(assets.check_keys), assets)

    def last_moment(self, now: datetime) -> datetime:
        """Returns the last moment, included, of the windows that have ended and so are partitions."""
        if self.partitions is None:
            return now
        return self.partitions.floor(now) - timedelta(microseconds=1)

    def is_partitions(self, window: Window) -> bool:
        """Whether a window is a partition, or several whole ones; always, where there is no grid."""
        grid = self.partitions
        if grid is None:
            return True
        return has_partition_key(window) and all(grid.floor(edge) == edge for edge in (window.start, window.end))

    def is_bridged(self, start: datetime, end: datetime) -> bool:
        """Whether so few windows lie between two moments that one run may cover these too."""
        if self.partitions is None:
            return True
        between = islice(self.partitions.windows(start, end), _MOST_BRIDGED + 1)
        return sum(1 for _ in between) <= _MOST_BRIDGED

    def key_of(self, window: Window) -> str:
        return window.start.strftime(self.fmt)

    def last_key_of(self, window: Window) -> str:
        """Returns the key of the last of a window's partitions."""
        assert self.partitions is not None
        return self.partitions.floor(window.end - timedelta(microseconds=1)).strftime(self.fmt)

    def start_of(self, key: str) -> datetime:
        return datetime.strptime(key, self.fmt).replace(tzinfo=UTC)


@dataclass(frozen=True)
class _Range:
    """Windows that one run covers, with nothing else between them: by view, with the hash of what is to be written."""

    by_view: Mapping[str, tuple[StaleWindow, ...]]
    content: str

    @property
    def windows(self) -> tuple[StaleWindow, ...]:
        """The windows of the first view, which cover what those of the others do."""
        return next(iter(self.by_view.values()))


@dataclass(frozen=True)
class RequestedRuns:
    """What a tick asks for.

    Attributes:
        refused: windows that are left alone: their rows broke the checks of their fields, and neither has changed.
        no_partitions: windows that no run can be asked for, as they are not partitions.
    """

    requests: list[dg.RunRequest]
    refused: int = 0
    no_partitions: int = 0


def run_requests(
    instance: dg.DagsterInstance,
    groups: Sequence[WatchedGroup],
    stale: Mapping[str, Sequence[StaleWindow]],
    *,
    now: datetime,
    at_most: int,
    retry_after: timedelta = RETRY_AFTER,
    reason_of: ReasonOf | None = None,
) -> RequestedRuns:
    """Returns the runs to ask for so that the stale windows are run.

    Windows that an unfinished run will write are left out, whoever asked for it; a later tick asks for those that are
    still stale then. A run key says what is to be written and which attempt it is: the same request is never launched
    twice, and after a failure it is made again, later each time. A refused window is not asked for again until its rows
    or its checks have changed. After a success there is no wait: the same content may come back.

    Args:
        stale: view -> its stale windows; views that are in none of the groups are ignored.
        at_most: how many runs; the others are asked for later.
        retry_after: how long to wait after a first failure; after each further one, twice as long, up to an hour.
        reason_of: says why windows are run, which each request then tells.
    """
    others = [s for g in groups for v in g.keys for s in stale.get(v, ()) if not g.is_partitions(s.window)]
    made = RequestedRuns([], no_partitions=len(others))
    if not any(stale.values()):
        return made
    running = unfinished_runs(instance)
    for group in groups:
        for each in _ranges(group, stale, running):
            if len(made.requests) == at_most:
                return made
            tried = Attempts.of(instance, each.content)
            if tried.refused:
                made = replace(made, refused=made.refused + sum(map(len, each.by_view.values())))
            elif tried.may_be_asked_for(now, retry_after):
                made.requests.append(_request(group, each, tried.ended, reason_of))
    return made


def unfinished_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Returns the runs that will still write. One of ours that was created and never launched is not among them:

    asking for it again, under the same run key, launches it.
    """
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED))
    return [r for r in runs if not (r.status is dg.DagsterRunStatus.NOT_STARTED and CONTENT_TAG in r.tags)]


def _ranges(
    group: WatchedGroup, stale: Mapping[str, Sequence[StaleWindow]], running: Iterable[dg.DagsterRun]
) -> Iterator[_Range]:
    """Yields the ranges to run, with all views that want the same, in order of time."""
    members_by_span: dict[Window, list[tuple[str, tuple[StaleWindow, ...]]]] = {}
    for view in sorted(group.keys):
        taken = [w for run in running if (w := _written_by(group, view, run)) is not None]
        free = [
            s
            for s in stale.get(view, ())
            if group.is_partitions(s.window)
            and not any(t.start < s.window.end and s.window.start < t.end for t in taken)
        ]
        for windows in _contiguous(group, free):
            span = Window(windows[0].window.start, windows[-1].window.end)
            members_by_span.setdefault(span, []).append((view, windows))
    for each in sorted(members_by_span):
        members = members_by_span[each]
        content = content_hash([[view, [s.content for s in windows]] for view, windows in members])
        yield _Range(dict(members), content_hash([group.job, content])[:32])


def _contiguous(group: WatchedGroup, stale: Sequence[StaleWindow]) -> list[tuple[StaleWindow, ...]]:
    runs: list[list[StaleWindow]] = []
    for each in sorted(stale, key=lambda s: s.window):
        end = runs[-1][-1].window.end if runs else None
        if end is not None and end >= each.after and group.is_bridged(end, each.window.start):
            runs[-1].append(each)
        else:
            runs.append([each])
    return [tuple(r) for r in runs]


def _written_by(group: WatchedGroup, view: str, run: dg.DagsterRun) -> Window | None:
    """Returns the time that a run will write of a view; None if nothing."""
    selected = group.keys[view] & run.asset_selection if run.asset_selection else run.job_name.startswith(group.job)
    if not selected:
        return None
    if group.partitions is None:
        return Window(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    first, last = (run.tags.get(tag, run.tags.get(_PARTITION)) for tag in RANGE)
    if first is None or last is None:
        return None
    return Window(group.start_of(first), group.partitions.next(group.start_of(last)))


@dataclass(frozen=True)
class Attempts:
    """The runs that were to write a content, and have ended.

    Attributes:
        ended: how many there are.
        failed: how many have failed since the last success.
        last: when the last one ended; None where there is none.
        refused: whether the last one failed only because rows broke their checks.
    """

    ended: int
    failed: int
    last: datetime | None
    refused: bool

    @classmethod
    def of(cls, instance: dg.DagsterInstance, content: str) -> Attempts:
        records = instance.get_run_records(filters=dg.RunsFilter(tags={CONTENT_TAG: content}))
        ended = sorted((r for r in records if r.dagster_run.is_finished), key=lambda r: r.storage_id)
        successes = [i for i, r in enumerate(ended, 1) if r.dagster_run.is_success]
        last = max((r.update_timestamp.replace(tzinfo=r.update_timestamp.tzinfo or UTC) for r in ended), default=None)
        refused = bool(ended) and not ended[-1].dagster_run.is_success and REFUSED_TAG in ended[-1].dagster_run.tags
        return cls(len(ended), len(ended) - max(successes, default=0), last, refused)

    def may_be_asked_for(self, now: datetime, retry_after: timedelta) -> bool:
        """Whether it is not too early for the next."""
        if not self.failed or self.last is None:
            return True
        return bool(now >= self.last + min(retry_after * 2 ** min(self.failed - 1, 10), _LONGEST_WAIT))


def _request(group: WatchedGroup, each: _Range, attempt: int, reason_of: ReasonOf | None) -> dg.RunRequest:
    tags = {CONTENT_TAG: each.content}
    if reason_of is not None:
        reason = joined(dict.fromkeys(reason_of(view, windows) for view, windows in each.by_view.items()))
        tags |= {REASON_TAG: reason} if reason else {}
    partition_key = None
    span = "whole"
    if group.partitions is not None:
        first, last = group.key_of(each.windows[0].window), group.last_key_of(each.windows[-1].window)
        span = first if first == last else f"{first}...{last}"
        if first == last:
            partition_key = first
        else:
            tags |= dict(zip(RANGE, (first, last), strict=True))
    selected = {key for view in each.by_view for key in group.keys[view]}
    return dg.RunRequest(
        run_key=f"{group.job}:{span}:{each.content}:{attempt}",
        job_name=group.job,
        tags=tags,
        partition_key=partition_key,
        asset_selection=sorted(selected),
        asset_check_keys=sorted(check for check in group.checks if check.asset_key in selected),
    )
