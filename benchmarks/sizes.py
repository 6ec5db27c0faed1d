"""How much is measured: in full, small for a look, tiny for the test of the benchmark itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Every number that decides how long a run takes.

    Attributes:
        rows: of one source of the narrow and of the wide shape.
        entities: of both shapes.
        days: that their event times span; a day is one partition.
        wide_views, wide_features: of the wide shape.
        spines: rows of the tables that training data is asked for.
        attempts: how often what changes a store is repeated; the fastest counts.
        single_reads: samples of reads of one entity.
        read_seconds: after which a batch read has been sampled enough, if at least ``batch_reads`` were taken.
        pushes: samples of pushes of one row.
        limit: seconds after which Feast is stopped, and its figure becomes a lower bound.
        big_rows, big_entities: of the source that does not fit in ``memory_limit``.
        memory_limit: of DuckDB in the runs that must spill.
        big_spine: rows of the table that is joined to as many rows of the big source.
        row_counts: windows of the big source, in rows.
        feast_rows: of those, what Feast is asked for at most.
        entity_counts: entities in the online store.
        feast_entities: of those, what Feast is asked for at most.
        feature_counts: features of one view.
        view_counts: views of one service.
        partition_counts: windows that the same rows are cut into.
        worker_counts: threads, and processes.
        registry_views: views in the registry.
        feast_registry_views: of those, what Feast is asked for at most.
        deployed_views: views of the comparison of applies.
        dagster_views: views whose definitions Dagster loads.
        sensor_partitions: partitions of each of these views when a sensor ticks.
        dagster_partitions: daily partitions of the run that is timed.
        day_files, day_rows: of the history with a file for each day.
        new_files: files that come before each incremental run.
        file_counts, file_rows: of the histories that differ in length.
        feast_files: of those, what Feast is asked for at most.
        ledger_views, ledger_windows: of the ledger, and of each of its views.
        shallow_rows: of a source of the wide shape whose history is short.
    """

    name: str
    rows: int
    entities: int
    days: int
    wide_views: int
    wide_features: int
    spines: tuple[int, ...]
    attempts: int
    single_reads: int
    batch_reads: int
    read_seconds: float
    pushes: int
    limit: float
    big_rows: int
    big_entities: int
    memory_limit: str
    big_spine: int
    row_counts: tuple[int, ...]
    feast_rows: int
    entity_counts: tuple[int, ...]
    feast_entities: int
    feature_counts: tuple[int, ...]
    view_counts: tuple[int, ...]
    partition_counts: tuple[int, ...]
    worker_counts: tuple[int, ...]
    registry_views: tuple[int, ...]
    feast_registry_views: int
    deployed_views: int
    dagster_views: int
    sensor_partitions: int
    dagster_partitions: int
    day_files: int
    day_rows: int
    new_files: tuple[int, ...]
    file_counts: tuple[int, ...]
    file_rows: int
    feast_files: int
    ledger_views: int
    ledger_windows: int
    shallow_rows: int


FULL = Size(
    name="full",
    rows=1_000_000,
    entities=10_000,
    days=365,
    wide_views=5,
    wide_features=50,
    spines=(100_000, 1_000_000),
    attempts=3,
    single_reads=10_000,
    batch_reads=5,
    read_seconds=3.0,
    pushes=2_000,
    limit=90.0,
    big_rows=50_000_000,
    big_entities=10_000_000,
    memory_limit="2GiB",
    big_spine=5_000_000,
    row_counts=(1_000_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000),
    feast_rows=5_000_000,
    entity_counts=(10_000, 100_000, 1_000_000, 10_000_000),
    feast_entities=10_000,
    feature_counts=(1, 10, 50, 100, 250, 500),
    view_counts=(1, 5, 10, 25, 50),
    partition_counts=(1, 10, 100, 365, 1000),
    worker_counts=(1, 2, 4),
    registry_views=(10, 100, 500, 1000, 5000),
    feast_registry_views=500,
    deployed_views=500,
    dagster_views=200,
    sensor_partitions=1000,
    dagster_partitions=365,
    day_files=100,
    day_rows=100_000,
    new_files=(1, 2, 4, 8, 16),
    file_counts=(10, 100, 300, 1000),
    file_rows=10_000,
    feast_files=100,
    ledger_views=20,
    ledger_windows=87_600,
    shallow_rows=240_000,
)

SMALL = Size(
    name="small",
    rows=100_000,
    entities=1_000,
    days=365,
    wide_views=2,
    wide_features=20,
    spines=(10_000,),
    attempts=1,
    single_reads=500,
    batch_reads=5,
    read_seconds=0.3,
    pushes=100,
    limit=60.0,
    big_rows=1_000_000,
    big_entities=200_000,
    memory_limit="200MiB",
    big_spine=200_000,
    row_counts=(100_000, 1_000_000),
    feast_rows=100_000,
    entity_counts=(1_000, 10_000),
    feast_entities=1_000,
    feature_counts=(1, 20),
    view_counts=(1, 5),
    partition_counts=(1, 30, 365),
    worker_counts=(1, 2),
    registry_views=(10, 50),
    feast_registry_views=10,
    deployed_views=50,
    dagster_views=20,
    sensor_partitions=100,
    dagster_partitions=90,
    day_files=10,
    day_rows=70_000,
    new_files=(1, 2),
    file_counts=(5, 20),
    file_rows=2_000,
    feast_files=10,
    ledger_views=2,
    ledger_windows=2_400,
    shallow_rows=24_000,
)

TINY = Size(
    name="tiny",
    rows=2_000,
    entities=100,
    days=10,
    wide_views=2,
    wide_features=3,
    spines=(100,),
    attempts=1,
    single_reads=10,
    batch_reads=2,
    read_seconds=0.01,
    pushes=5,
    limit=60.0,
    big_rows=5_000,
    big_entities=1_000,
    memory_limit="200MiB",
    big_spine=500,
    row_counts=(1_000, 5_000),
    feast_rows=1_000,
    entity_counts=(100, 200),
    feast_entities=100,
    feature_counts=(1, 3),
    view_counts=(1, 2),
    partition_counts=(1, 5),
    worker_counts=(1, 2),
    registry_views=(2, 4),
    feast_registry_views=2,
    deployed_views=4,
    dagster_views=3,
    sensor_partitions=5,
    dagster_partitions=10,
    day_files=3,
    day_rows=200,
    new_files=(1, 2),
    file_counts=(2, 4),
    file_rows=100,
    feast_files=3,
    ledger_views=2,
    ledger_windows=48,
    shallow_rows=1_000,
)

SIZES = {size.name: size for size in (FULL, SMALL, TINY)}
