"""Online reads as the store grows: in entities, in features of a view, in views of a service."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.datasets import Shape
from benchmarks.jobs import Job, Workplace
from benchmarks.libraries import FEAST, OURS
from benchmarks.measuring import Metrics
from benchmarks.paths.online_reads import reader, sample_reads
from benchmarks.sizes import Size

BATCHES = (1, 100)
_FEW_ENTITIES = 500
_FEATURES = 10
_FEATURES_OF_MANY_VIEWS = 5


def jobs(size: Size) -> Iterator[Job]:
    for store in ("sqlite", "redis"):
        for entities in size.entity_counts:
            shape = Shape(f"entities_{entities}", 1, _FEATURES, entities, entities, 1)
            yield from _jobs("entities", entities, store, shape, feast=entities <= size.feast_entities)
    for features in size.feature_counts:
        shape = Shape(f"features_{features}", 1, features, _FEW_ENTITIES, _FEW_ENTITIES, 1)
        yield from _jobs("features", features, "sqlite", shape, feast=features in size.feature_counts[::2])
    for views in size.view_counts:
        shape = Shape(f"views_{views}", views, _FEATURES_OF_MANY_VIEWS, _FEW_ENTITIES, _FEW_ENTITIES, 1, shared=True)
        for store in ("sqlite", "redis"):
            yield from _jobs("views", views, store, shape, feast=store == "sqlite" and views in size.view_counts[::2])


def _jobs(axis: str, x: int, store: str, shape: Shape, *, feast: bool) -> Iterator[Job]:
    for side in (OURS, FEAST) if feast else (OURS,):
        parameters = {"axis": axis, "x": x, "store": store}
        yield Job("scale_reads", side, parameters, shape, workspace=f"scale-{store}-{shape.name}", verbs=3)


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    shape = job.shape
    assert shape is not None
    read, as_given = reader(job, place, shape)
    for batch in BATCHES:
        yield {"entities": batch, **sample_reads(read, as_given, shape.entities, batch, place.size)}
