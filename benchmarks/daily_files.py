"""A long history as a writer appends it: a folder with a Parquet file for each day."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.datasets import START, Shape, stage
from benchmarks.feature_repository import configure, fields, silence
from benchmarks.libraries import OURS, Library

VIEW = "daily"
FEATURES = 5
APART = 2
"""Entities have even numbers, so that there are some between them without any row."""


@dataclass(frozen=True)
class DailyFiles:
    """A folder with a file for each day from `START` on.

    Attributes:
        staged: where the files of all histories are; each is written once.
        folder: of the history, where files are linked.
        rows: of each file.
        entities: of the history; each file has rows of them all, as far as it has so many rows.
    """

    staged: Path
    folder: Path
    rows: int
    entities: int

    def add(self, days: Iterable[int]) -> None:
        """Adds the files of some days, counted from 0."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for day in days:
            shape = Shape("day", 1, FEATURES, self.rows, self.entities, 1, start_day=day, apart=APART)
            stage(self.staged, shape)
            os.link(shape.path(self.staged, 0), self.folder / f"day_{day:05}.parquet")

    @property
    def path(self) -> str:
        """All files, as both libraries and DuckDB take it."""
        return f"{self.folder}/*.parquet"

    @staticmethod
    def end(days: int) -> datetime:
        """Returns the moment after so many days."""
        return START + timedelta(days=days)

    def apply(self, library: Library, directory: Path, online_store: dict[str, Any]) -> None:
        """Applies a repository with one view of the history, without a ttl."""
        configure(directory, "daily", online_store)
        entity = library.Entity(name="entity", join_keys=["entity_id"], value_type=library.ValueType.INT64)
        of_ours = {"partitions": library.Partitions("daily", START)} if library.name == OURS else {}
        view = library.FeatureView(
            name=VIEW,
            entities=[entity],
            ttl=timedelta(0),
            schema=[library.Field(name="entity_id", dtype=library.Int64), *fields(library, FEATURES)],
            source=library.FileSource(name="days", path=self.path, timestamp_field="event_timestamp"),
            **of_ours,
        )
        with silence():
            library.FeatureStore(repo_path=str(directory)).apply([entity, view])
