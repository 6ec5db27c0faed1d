"""One measurement: what is asked of a worker process, and what comes back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.datasets import Shape
from benchmarks.libraries import BARE, FEAST, OURS, Library
from benchmarks.sizes import SIZES, Size


@dataclass(frozen=True)
class Job:
    """A measurement in a process of its own.

    Attributes:
        path: the module of `benchmarks.paths` that knows how.
        side: `OURS`, `BARE` or `FEAST`.
        parameters: what tells it from others of its path; comes back with the figures.
        shape: the data it reads, staged before; None where it reads none.
        spine: rows of the table that training data is asked for; 0 for none.
        workspace: jobs that name the same one, of one side, share a directory.
        verbs: how many things it does one after the other; Feast's limit of time is for each.
        after: another job's parameters: where that was stopped at its limit, this one is not tried and counts alike.
    """

    path: str
    side: str
    parameters: dict[str, Any] = field(default_factory=dict)
    shape: Shape | None = None
    spine: int = 0
    workspace: str = ""
    verbs: int = 1
    after: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        told = " ".join(f"{v}" if isinstance(v, str) else f"{k}={v}" for k, v in self.parameters.items())
        return f"{self.path} {told} [{self.side}]"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        values = json.loads(text)
        return cls(**{**values, "shape": Shape(**values["shape"]) if values["shape"] else None})


@dataclass(frozen=True)
class Workplace:
    """Where a worker process works.

    Attributes:
        size: how much is measured.
        data: the staged files.
        directory: of the job's workspace.
        redis: ``host:port`` of the benchmark's own Redis server; empty where there is none.
    """

    size: Size
    data: Path
    directory: Path
    redis: str

    @classmethod
    def of(cls, size: str, data: str, directory: str, redis: str) -> Workplace:
        return cls(SIZES[size], Path(data), Path(directory), redis)

    def redis_seconds(self) -> float:
        """Returns the processor seconds that the Redis server has used so far; 0 where there is none."""
        if not self.redis:
            return 0.0
        import redis

        with redis.Redis.from_url(f"redis://{self.redis}") as client:
            used: Any = client.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])

    def online_store(self, kind: str, side: str) -> dict[str, Any]:
        """Returns the section of ``feature_store.yaml``; each side has a Redis database of its own."""
        if kind == "sqlite":
            return {"type": "sqlite", "path": "data/online.db"}
        return {"type": "redis", "connection_string": f'"{self.redis},db={redis_database(side)}"'}


def redis_database(side: str) -> int:
    return {OURS: 1, BARE: 2, FEAST: 3}[side]


def library_of(job: Job) -> Library:
    return Library(job.side)
