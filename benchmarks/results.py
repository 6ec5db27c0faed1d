"""What was measured, and how to find a figure in it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.libraries import OURS

Record = dict[str, Any]
DEFAULT = "default"
"""The setting of records that name none: each library as it is without being told anything."""
TAIL_SAMPLES = 1_000
"""Fewer say nothing of the slowest in a hundred."""


@dataclass(frozen=True)
class Figure:
    """A measured value.

    Attributes:
        stopped: "" where what was measured came to its end; else the limit that it was stopped at, "time", so that the
            value is a lower bound, or "memory", so that a time says nothing of how long the whole would have taken,
            and a peak is a lower bound.
    """

    value: float
    stopped: str = ""


@dataclass(frozen=True)
class Provenance:
    """Where the figures of a path come from.

    Attributes:
        commit: that they were measured at; ends with a + where the tree had changes that no commit has.
        date: when, as YYYY-MM-DD.
        seconds: that measuring the path took.
        machine: that they were measured on.
    """

    commit: str
    date: str
    seconds: float
    machine: dict[str, str]


@dataclass(frozen=True)
class Results:
    """All records of runs of one size.

    Attributes:
        size: "full", "small" or "tiny".
        machine: what the last of them were taken on.
        measured: path -> where its records come from; results of before this was kept have none.
        feast: package -> its version in Feast's environment; empty where that is not known.
    """

    size: str
    machine: dict[str, str]
    records: list[Record]
    measured: dict[str, Provenance] = field(default_factory=dict)
    feast: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Results:
        values = json.loads(file.read_text(encoding="utf-8"))
        measured = {path: Provenance(**told) for path, told in values.pop("measured", {}).items()}
        return cls(**values, measured=measured)

    @property
    def paths(self) -> list[str]:
        """The paths that there are records of."""
        return list(dict.fromkeys(r["path"] for r in self.records))

    def found(self, path: str, side: str, *, setting: str = DEFAULT, **about: Any) -> list[Record]:
        """Returns the records that agree with everything said about them."""
        return [
            r
            for r in self.records
            if r["path"] == path
            and r["side"] == side
            and r.get("setting", DEFAULT) == setting
            and all(r.get(k) == v for k, v in about.items())
        ]

    def figure(self, path: str, side: str, metric: str, **about: Any) -> Figure | None:
        """Returns the least of a metric over repeated measurements; None where there is none.

        A measurement that was stopped at its limit counts with what it had reached.
        """
        known = [r for r in self.found(path, side, **about) if metric in r]
        if not known:
            return None
        least = min(known, key=lambda r: float(r[metric]))
        return Figure(float(least[metric]), least.get("stopped", ""))

    def tail(self, path: str, side: str, **about: Any) -> float | None:
        """Returns the 99th percentile; None where there are too few samples for one."""
        known = [r["p99"] for r in self.found(path, side, **about) if r.get("samples", 0) >= TAIL_SAMPLES]
        return min(known, default=None)

    def failures(self) -> list[Record]:
        return [r for r in self.records if "failed" in r]

    def disagreements(self) -> list[Record]:
        """Returns the records whose answer is not the one of ours for the same question."""
        ours = {_question(r): float(r["answer"]) for r in self.records if r["side"] == OURS and "answer" in r}

        def differs(record: Record) -> bool:
            expected = ours.get(_question(record))
            return expected is not None and not math.isclose(record["answer"], expected, rel_tol=1e-9)

        return [r for r in self.records if "answer" in r and differs(r)]


def processor_seconds(record: Record) -> float:
    """Returns what one call took of processors: the measuring process's, and the Redis server's where it was taken."""
    return float(record["cpu"]) + float(record.get("redis_cpu", 0.0))


def _question(record: Record) -> tuple[Any, ...]:
    return tuple(record.get(k) for k in ("path", "store", "shape", "spine", "into", "entities", "files", "rows"))
