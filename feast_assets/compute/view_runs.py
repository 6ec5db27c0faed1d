"""Several views, one after the other: while one is written, the source of the next is looked through.

Writing waits for a server or a disk and encodes on one core, so the two together take less time than in turn. It is one
view ahead and no more: at any time at most one source is looked through, its newest rows perhaps read meanwhile, and
one view is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import zip_longest

from feast_assets.compute.materialization import Materialization, Planned
from feast_assets.compute.results import MaterializationResult
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import FeastAssetsError, MaterializationError, StoreUnavailableError

_Plan = Callable[[Materialization], Planned]


class _PlannedAhead:
    """A plan that is being made in a thread."""

    def __init__(self, this: Materialization, plan: _Plan, thread: ThreadPoolExecutor):
        self._this = this
        self._plan = plan
        self._planned = thread.submit(plan, this)

    def in_turn(self) -> tuple[Materialization, Planned]:
        """Returns the plan when it is made; made anew where something has reached the source meanwhile."""
        planned = self._planned.result()
        with ExitStack() as stack:
            stack.callback(planned.close)
            if self._this.is_current(planned):
                stack.pop_all()
                return self._this, planned
        return self._this, self._plan(self._this)

    def drop(self) -> None:
        """Closes the plan, which nobody is going to run, when it is made; nobody waits for it."""
        self._planned.add_done_callback(_close)


def _close(planned: Future[Planned]) -> None:
    if not planned.cancelled() and planned.exception() is None:
        planned.result().close()


def run_views(
    views: Sequence[FeatureView],
    materialization: Callable[[FeatureView], Materialization],
    plan: _Plan,
) -> list[MaterializationResult]:
    """Runs every view, and only then raises what failed; a store that cannot be reached ends it at once.

    Args:
        materialization: makes a view's; called in this thread.
        plan: calls one of its methods that plan; called in another thread while the view before is written.

    Raises:
        FeastAssetsError: the error of the only view that failed.
        MaterializationError: several views failed.
    """
    results: list[MaterializationResult] = []
    failed: dict[str, FeastAssetsError] = {}
    thread = ThreadPoolExecutor(1, "feast_assets_plan")

    def ahead(view: FeatureView) -> _PlannedAhead | None:
        try:
            return _PlannedAhead(materialization(view), plan, thread)
        except FeastAssetsError:
            return None  # in its turn it fails again, and is told of

    def in_turn(view: FeatureView) -> tuple[Materialization, Planned]:
        this = materialization(view)
        return this, plan(this)

    upcoming: _PlannedAhead | None = None
    try:
        for view, following in zip_longest(views, views[1:]):
            planned_ahead, upcoming = upcoming, None
            try:
                this, planned = in_turn(view) if planned_ahead is None else planned_ahead.in_turn()
                with closing(planned):
                    # The next view may read what this one keeps.
                    if following is not None and not view.keeps_result:
                        upcoming = ahead(following)
                    results.append(this.run(planned))
            except StoreUnavailableError:
                raise
            except FeastAssetsError as error:
                failed[view.name] = error
    finally:
        # Nobody waits for a plan that is not going to be run.
        thread.shutdown(wait=False, cancel_futures=True)
        if upcoming is not None:
            upcoming.drop()
    if len(failed) > 1:
        raise MaterializationError(failed)
    for only in failed.values():
        raise only
    return results
