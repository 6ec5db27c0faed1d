"""Takes one measurement: ``python -m benchmarks.worker JOB PLACE OUTPUT``, in the environment of the job's library.

JOB and PLACE are JSON; the figures are appended to OUTPUT, one JSON object a line.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import warnings
from pathlib import Path

from benchmarks.jobs import Job, Workplace


def main() -> None:
    # Feast warns of what it calls in its own dependencies.
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    job, place = Job.from_json(sys.argv[1]), Workplace.of(**json.loads(sys.argv[2]))
    path = importlib.import_module(f"benchmarks.paths.{job.path}")
    if getattr(path, "PRELOAD", True):
        # Both load these when they first need them or sooner; a path measures the work, not that.
        for module in ("duckdb", "numpy", "pandas", "pyarrow.parquet"):
            importlib.import_module(module)
    with Path(sys.argv[3]).open("a", encoding="utf-8") as output:
        for metrics in path.measure(job, place):
            output.write(json.dumps(metrics) + "\n")
            output.flush()


if __name__ == "__main__":
    main()
