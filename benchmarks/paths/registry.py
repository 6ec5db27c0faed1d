"""Definitions, against how many there are: applied, loaded, refreshed, and resolved for a request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.datasets import Shape
from benchmarks.feature_repository import configure, definitions, silence
from benchmarks.jobs import Job, Workplace, library_of
from benchmarks.libraries import FEAST, OURS
from benchmarks.measuring import Metrics, fastest, peak_memory, timed
from benchmarks.sizes import Size

_FEATURES = 10
_LOADS = 5
_APPLIES = 2
_PAUSE_SECONDS = 0.5


def jobs(size: Size) -> Iterator[Job]:
    for views in sorted({*size.registry_views, size.deployed_views}):
        # One small file behind all views: what is measured is the definitions.
        shape = Shape("registry", views, _FEATURES, 1_000, 100, 10, shared=True)
        for side in (OURS, FEAST):
            if side == OURS or views <= size.feast_registry_views or views == size.deployed_views:
                yield Job("registry", side, {"views": views}, shape, workspace=f"registry-{views}", verbs=6)


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    shape = job.shape
    assert shape is not None
    library = library_of(job)
    configure(place.directory, "registry", place.online_store("sqlite", job.side))

    def opened() -> Any:
        return library.FeatureStore(repo_path=str(place.directory))

    def apply(objects: list[Any]) -> Metrics:
        store = opened()
        with silence():
            return timed(lambda: store.apply(objects))[0]

    yield {"verb": "apply", **apply(definitions(library, shape, place.data))}
    # Made anew, as a repository's code does each time it is read.
    unchanged = [apply(definitions(library, shape, place.data)) for _ in range(_APPLIES)]
    yield {"verb": "apply unchanged", **min(unchanged, key=lambda run: run["seconds"])}
    changed = []
    for attempt in range(_APPLIES):
        objects = definitions(library, shape, place.data)
        objects[1].description = f"changed {attempt}"
        changed.append(apply(objects))
    yield {"verb": "apply one changed", **min(changed, key=lambda run: run["seconds"])}
    yield {"verb": "load", **fastest(lambda: _loaded(opened()), _LOADS, 2.0)}
    store = opened()
    _loaded(store)
    # A registry that was written within the last tenth of a second is opened to see what was; nobody refreshes so soon.
    time.sleep(_PAUSE_SECONDS)
    yield {"verb": "refresh", **fastest(store.refresh_registry, _LOADS, 2.0)}
    yield {"verb": "resolve", **_resolved(store, shape), "peak_mib": peak_memory()}


def _loaded(store: Any) -> Any:
    return store.get_feature_view("view_0")


def _resolved(store: Any, shape: Shape) -> Metrics:
    """Returns what the first request for certain features of three views costs more than the next."""

    def read(features: list[str]) -> Any:
        return store.get_online_features(features=features, entity_rows=[{shape.key: 1}], full_feature_names=True)

    def asked(number: int) -> list[str]:
        views = [shape.names[(3 * number + step) % shape.views] for step in range(3)]
        return [f"{view}:f0" for view in dict.fromkeys(views)]

    read(asked(0))
    firsts, nexts = [], []
    # As long as there are views that no request has asked for yet.
    for number in range(1, max(2, min(_FEATURES, shape.views // 3))):
        features = asked(number)
        firsts.append(timed(lambda f=features: read(f))[0]["seconds"])  # type: ignore[misc]
        nexts.append(timed(lambda f=features: read(f))[0]["seconds"])  # type: ignore[misc]
    return {"seconds": max(sorted(firsts)[len(firsts) // 2] - sorted(nexts)[len(nexts) // 2], 0.0)}
