"""What was measured, and how to find a figure in it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.libraries import OURS

Record = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A measured value.

    Attributes:
        stopped: "" where what was measured came to its end; else the limit that it was stopped at, "time", so that the
            value is a lower bound, or "memory", so that it says nothing of how long the whole would have taken.
    """

    value: float
    stopped: str = ""


@dataclass(frozen=True)
class Results:
    """All records of runs of one size.

    Attributes:
        size: "full", "small" or "tiny".
        machine: what they were taken on.
    """

    size: str
    machine: dict[str, str]
    records: list[Record]

    @classmethod
    def read(cls, file: Path) -> Results:
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    def found(self, path: str, side: str, **about: Any) -> list[Record]:
        """Returns the records that agree with everything said about them."""
        return [
            r
            for r in self.records
            if r["path"] == path and r["side"] == side and all(r.get(k) == v for k, v in about.items())
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

    def failures(self) -> list[Record]:
        return [r for r in self.records if "failed" in r]

    def disagreements(self) -> list[Record]:
        """Returns the records whose answer is not the one of ours for the same question."""
        ours = {_question(r): float(r["answer"]) for r in self.records if r["side"] == OURS and "answer" in r}

        def differs(record: Record) -> bool:
            expected = ours.get(_question(record))
            return expected is not None and not math.isclose(record["answer"], expected, rel_tol=1e-9)

        return [r for r in self.records if "answer" in r and differs(r)]


def _question(record: Record) -> tuple[Any, ...]:
    return tuple(record.get(k) for k in ("path", "store", "shape", "spine", "into", "entities"))
