"""Several views, one after the other: while one is written, the source of the next is looked through.

Writing waits for a server or a disk and encodes on one core, so the two together take less time than in turn. It is one
view ahead and no more: at any time there is at most one pass that looks through a source and one that writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

from feast_assets.compute.materialization import Materialization, Planned
from feast_assets.compute.results import MaterializationResult
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import FeastAssetsError, MaterializationError, StoreUnavailableError

_Ready = Callable[[], tuple[Materialization, Planned]]


def run_views(
    views: Sequence[FeatureView],
    materialization: Callable[[FeatureView], Materialization],
    plan: Callable[[Materialization], Planned],
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

    def ahead(view: FeatureView) -> _Ready | None:
        try:
            this = materialization(view)
        except FeastAssetsError:
            return None  # in its turn it fails again, and is told of
        planned = thread.submit(plan, this)

        def ready() -> tuple[Materialization, Planned]:
            # What has reached the source meanwhile is part of the run as well.
            return this, found if this.is_current(found := planned.result()) else plan(this)

        return ready

    def in_turn(view: FeatureView) -> tuple[Materialization, Planned]:
        this = materialization(view)
        return this, plan(this)

    upcoming: _Ready | None = None
    try:
        for view, following in zip_longest(views, views[1:]):
            ready, upcoming = upcoming, None
            try:
                this, planned = in_turn(view) if ready is None else ready()
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
    if len(failed) > 1:
        raise MaterializationError(failed)
    for only in failed.values():
        raise only
    return results
