"""The data that both libraries and the bare engines read: Parquet files, the same in every run.

Values are hashes of the row's number, so nothing is random. Event times rise through the file, as in a log.
"""

# ruff: noqa: S608 - every name and number in these statements is the benchmark's own

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2024, 1, 1, tzinfo=UTC)
ENTITY = "entity_id"
MANY = "user_id"
"""A second key of the big source, of which there are too many for a small memory."""
TIME = "event_timestamp"


@dataclass(frozen=True)
class Shape:
    """What a feature repository of the benchmark has, and how much data is behind it.

    Attributes:
        name: also of the project.
        views: feature views, each on a file of its own.
        features: of each view: doubles and integers by turns.
        rows: of each file.
        days: that the event times span from `START`.
        key: the column that is the entity.
        shared: whether all views read the same file.
        start_day: days from `START` to the first event.
        apart: how far the numbers of two neighbouring entities are apart.
    """

    name: str
    views: int
    features: int
    rows: int
    entities: int
    days: int
    key: str = ENTITY
    shared: bool = False
    start_day: int = 0
    apart: int = 1

    @property
    def end(self) -> datetime:
        """After the last row."""
        return START + timedelta(days=self.start_day + self.days)

    @property
    def names(self) -> list[str]:
        return [f"view_{i}" for i in range(self.views)]

    def path(self, data: Path, view: int) -> Path:
        """Returns the file behind a view."""
        return source_path(data, self, 0 if self.shared else view)


def source_path(data: Path, shape: Shape, number: int) -> Path:
    later = f"-from{shape.start_day}by{shape.apart}" if shape.start_day or shape.apart > 1 else ""
    return data / f"{shape.rows}x{shape.features}-{shape.entities}-{shape.days}d{later}-{number}.parquet"


def feature_names(count: int) -> list[str]:
    return [f"f{i}" for i in range(count)]


def is_integer(feature: int) -> bool:
    """Tells whether a feature, by its number, is an integer; the others are doubles."""
    return feature % 2 == 1


def stage(data: Path, shape: Shape) -> None:
    """Writes the files of a shape that are not there yet."""
    for number in range(1 if shape.shared else shape.views):
        _write(source_path(data, shape, number), _source_sql(shape, number))


def stage_spine(data: Path, shape: Shape, rows: int) -> Path:
    """Writes a table of entities and times to ask for training data with, in no order; returns its path."""
    path = data / f"spine-{rows}-{shape.entities}-{shape.days}d.parquet"
    span = shape.days * 86_400
    # The first tenth of the time is left out, so that most rows find features.
    sql = (
        f"SELECT (hash(i, 1) % {shape.entities})::BIGINT AS {ENTITY}, {_moment(START)} + to_microseconds("
        f"({span // 10} + hash(i, 2) % {span - span // 10})::BIGINT * 1000000) AS {TIME} FROM range({rows}) t(i)"
    )
    _write(path, sql)
    return path


def _source_sql(shape: Shape, number: int) -> str:
    step = shape.days * 86_400 * 1_000_000 // shape.rows
    seed = 1_000_000 * shape.start_day + number
    key = "i" if shape.entities == shape.rows else f"hash(i, {seed})"
    entities = shape.entities if shape.key == ENTITY else min(shape.entities, 10_000)
    columns = [
        f"({key} % {entities})::BIGINT * {shape.apart} AS {ENTITY}",
        *([f"(hash(i, 77) % {shape.entities})::BIGINT AS {MANY}"] if shape.key == MANY else []),
        f"{_moment(START + timedelta(days=shape.start_day))} + to_microseconds(i * {step}) AS {TIME}",
        *(_feature(i, seed) for i in range(shape.features)),
    ]
    return f"SELECT {', '.join(columns)} FROM range({shape.rows}) t(i)"


def _feature(feature: int, number: int) -> str:
    drawn = f"hash(i, {1000 * number + feature})"
    value = f"({drawn} % 100000)::BIGINT" if is_integer(feature) else f"({drawn} % 1000000)::DOUBLE / 1000"
    return f"{value} AS f{feature}"


def _moment(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment:%Y-%m-%d %H:%M:%S}+00'"


def _write(path: Path, sql: str) -> None:
    if path.exists():
        return
    import duckdb

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({sql}) TO '{unfinished}' (FORMAT parquet)")
    os.replace(unfinished, path)


def entity_rows(ids: Sequence[int]) -> list[dict[str, int]]:
    """Returns entities as both libraries take them."""
    return [{ENTITY: each} for each in ids]
