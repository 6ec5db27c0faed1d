"""How much an incremental run reads, in a process of its own: bytes that are counted by the system, not seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import Entity, FeatureStore, FeatureView, Field, FileSource, Float64, Int64, Partitions, RepoConfig

START = datetime(2024, 1, 1, tzinfo=UTC)
FILES, ROWS = 12, 60_000
CONFIG = {"project": "p", "registry": "registry.db", "provider": "local", "online_store": "sqlite"}

_CHILD = """
import json, sys
from datetime import datetime
from pathlib import Path

from feast_assets import FeatureStore, RepoConfig
from feast_assets.offline_stores import parts

parts.SETTLED_NANOS = -(10**18)
root, end, verb = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), sys.argv[3]

def characters():
    return int(Path("/proc/self/io").read_text().split()[1])

def run(root):
    store = FeatureStore(root, RepoConfig(**json.loads(sys.argv[4])))
    store.list_feature_views()
    before = characters()
    if verb == "stale":
        count = len(store.stale_windows("v", end))
    else:
        count = len(store.materialize_incremental(end)[0].windows)
    return count, characters() - before

# What is loaded only when it is needed is no reading of the source: another project has a new file each time.
run(root / "other")
print(json.dumps(run(root)))
"""


def write_day(folder: Path, day: int, rows: int = ROWS) -> Path:
    random = np.random.default_rng(day)
    micros = 86_400_000_000
    first = np.int64((START - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) + day * micros)
    columns = {f"f{i}": random.random(rows) for i in range(3)}
    moments = pa.array(first + random.integers(0, micros, rows), pa.timestamp("us", "UTC"))
    path = folder / f"{day:03}.parquet"
    pq.write_table(pa.table({"driver_id": random.integers(0, 500, rows), **columns, "ts": moments}), path)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reading")
    make_project(root, FILES, ROWS)
    make_project(root / "other", 1, 10)
    return root


def make_project(root: Path, files: int, rows: int) -> None:
    (root / "data").mkdir(parents=True)
    for day in range(files):
        write_day(root / "data", day, rows)
    store = FeatureStore(root, RepoConfig(**CONFIG))
    driver = Entity(name="driver", join_keys=["driver_id"])
    features = [Field(name=f"f{i}", dtype=Float64) for i in range(3)]
    store.apply(
        [
            driver,
            FeatureView(
                name="v",
                entities=[driver],
                source=FileSource(name="s", path="data", timestamp_field="ts"),
                schema=[Field(name="driver_id", dtype=Int64), *features],
                partitions=Partitions("daily", START),
            ),
        ]
    )
    store.close()


def run(root: Path, verb: str = "incremental") -> tuple[int, int]:
    """Returns how many windows a fresh process ran, or found stale, and how many bytes it read meanwhile."""
    end = (START + timedelta(days=100)).isoformat()
    other = root / "other" / "data"
    write_day(other, len(list(other.iterdir())), 10)
    command = [sys.executable, "-c", _CHILD, str(root), end, verb, json.dumps(CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    windows, read = json.loads(done.stdout)
    return windows, read


def test_what_is_read_follows_what_has_changed(root: Path) -> None:
    if not Path("/proc/self/io").exists():
        pytest.skip("the system does not count what a process reads")
    size = (root / "data" / "000.parquet").stat().st_size
    windows, read = run(root)
    assert windows == FILES
    assert read > FILES * size
    for verb in ("incremental", "stale"):
        windows, read = run(root, verb)
        assert windows == 0
        assert read < 1_000_000
    added = write_day(root / "data", FILES)
    windows, read = run(root)
    assert windows == 1
    assert read < 1.3 * added.stat().st_size
    # A file that comes back as it was, but for the time of its last change, is read again, and changes nothing.
    added.rename(added.with_suffix(".away"))
    added.with_suffix(".away").rename(added)
    windows, read = run(root)
    assert windows == 0
    assert read < 1.3 * added.stat().st_size
