"""Random labels and the policies by which one of them counts, with Feast or with this package; prints the answers.

    python label_scenarios.py feast FOLDER

Feast's training sets have the newest label under each policy, although its documentation says otherwise. What the
policies mean is in the function by which its user interface chooses labels, so that is what answers for Feast.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd

warnings.simplefilter("ignore")

PACKAGE, FOLDER = sys.argv[1], Path(sys.argv[2])
CASES = 12
START = datetime(2024, 3, 1, tzinfo=timezone.utc)  # noqa: UP017 - Feast runs on older Pythons too
LABELERS = ["expert", "crowd", "model", "guest"]
FEATURES = ["verdict", "score", "labeler"]

feast, types = importlib.import_module(PACKAGE), importlib.import_module(f"{PACKAGE}.types")


def labels(number: int) -> pd.DataFrame:
    """Returns labels of some drivers, each at a time of its own."""
    draw = random.Random(number)  # noqa: S311 - the same in both runs
    moments = draw.sample(range(500), draw.randint(4, 40))
    return pd.DataFrame(
        [
            {
                "driver_id": draw.randint(1, 4),
                "verdict": draw.choice(["good", "good", "bad", None]),
                "score": draw.choice([1, 2, 3]),
                "labeler": draw.choice(LABELERS),
                "at": START + timedelta(minutes=moment),
            }
            for moment in moments
        ]
    )


def chosen_by_feast(rows: pd.DataFrame, policy: Any, priorities: list[str]) -> pd.DataFrame:
    resolver = importlib.import_module("feast.labeling.conflict_resolver")
    chosen: pd.DataFrame = resolver.resolve_conflicts(
        rows, ["driver_id"], FEATURES, "at", "labeler", policy, labeler_priorities=priorities or None
    )
    return chosen


def chosen_here(rows: pd.DataFrame, policy: Any, priorities: list[str], folder: Path) -> pd.DataFrame:
    folder.mkdir(parents=True)
    rows.to_parquet(folder / "labels.parquet")
    driver = feast.Entity(name="driver", join_keys=["driver_id"], value_type=feast.ValueType.INT64)
    source = feast.FileSource(name="labels_file", path=str(folder / "labels.parquet"), timestamp_field="at")
    view = feast.LabelView(
        name="labels",
        source=feast.PushSource(name="pushed", batch_source=source),
        entities=[driver],
        schema=[
            feast.Field(name="verdict", dtype=types.String),
            feast.Field(name="score", dtype=types.Int64),
            feast.Field(name="labeler", dtype=types.String),
        ],
        conflict_policy=policy,
        labeler_priorities=priorities,
    )
    config = feast.RepoConfig(
        project="shop",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
    )
    store = feast.FeatureStore(config=config)
    store.apply([driver, view])
    asked = pd.DataFrame({"driver_id": sorted(set(rows["driver_id"])), "event_timestamp": START + timedelta(days=9)})
    got: pd.DataFrame = store.get_historical_features(asked, [f"labels:{name}" for name in FEATURES]).to_df()
    return got


def answers(number: int) -> dict[str, Any]:
    rows, told = labels(number), {}
    for policy in feast.ConflictPolicy:
        for priorities in [[], LABELERS[:2]] if policy.value == "labeler_priority" else [[]]:
            name = f"{policy.value} {' '.join(priorities)}".strip()
            if PACKAGE == "feast":
                chosen = chosen_by_feast(rows, policy, priorities)
            else:
                chosen = chosen_here(rows, policy, priorities, FOLDER / str(number) / name)
            told[name] = {
                str(int(row["driver_id"])): [None if pd.isna(row[feature]) else row[feature] for feature in FEATURES]
                for row in chosen.sort_values("driver_id").to_dict("records")
            }
    return told


print(json.dumps({str(number): answers(number) for number in range(CASES)}))
