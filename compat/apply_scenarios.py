"""Random repositories that are planned, applied, changed and applied again, with Feast's package or with this one.

    python apply_scenarios.py feast FOLDER

Prints what each plan says, what each apply raises, what is registered then (inferred schemas and times included), and
what is read online after an incremental materialization. The same numbers make the same repositories in both.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import random
import re
import sys
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

warnings.simplefilter("ignore")

PACKAGE, FOLDER = sys.argv[1], Path(sys.argv[2])
CASES = 9
STEPS = 4
DAY = timedelta(days=1)
# Feast's first incremental materialization of a view begins one ttl before now.
START = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - 6 * DAY  # noqa: UP017
TOLD = re.compile(r"(Created|Updated|Deleted) (entity|feature view|feature service) \w+")
TYPES: dict[str, tuple[Any, list[Any]]] = {
    "Int64": (pa.int64(), [1, -5, 2**40]),
    "Int32": (pa.int32(), [1, -5, 2**31 - 1]),
    "Float64": (pa.float64(), [0.5, -2.25]),
    "Float32": (pa.float32(), [0.5, -2.25]),
    "String": (pa.string(), ["a", "ß"]),
    "Bool": (pa.bool_(), [True, False]),
    "Array(Int64)": (pa.list_(pa.int64()), [[1, 2], [3]]),
    "Array(String)": (pa.list_(pa.string()), [["a"], ["b", "c"]]),
}


def module(path: str) -> Any:
    return importlib.import_module(f"{PACKAGE}{path}")


feast, types = module(""), module(".types")


def dtype_of(name: str) -> Any:
    inner = name[len("Array(") : -1]
    return types.Array(getattr(types, inner)) if name.startswith("Array(") else getattr(types, name)


class Case:
    """One repository, as numbers decide how it is changed step by step."""

    def __init__(self, number: int):
        self.draw = random.Random(number)  # noqa: S311 - the same in both runs
        self.folder = FOLDER / str(number)
        self.folder.mkdir()
        os.chdir(self.folder)
        self.views: dict[str, dict[str, Any]] = {}
        self.service: list[str] | None = None
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.columns: dict[str, dict[str, str]] = {}
        self.store = feast.FeatureStore(
            config=feast.RepoConfig(
                project="shop",
                provider="local",
                registry=str(self.folder / "registry.db"),
                online_store={"type": "sqlite", "path": str(self.folder / "online.db")},
                entity_key_serialization_version=3,
                **({} if PACKAGE == "feast" else {"enforce_online_ttl": False}),
            )
        )

    def change(self, step: int) -> None:
        """Adds, changes and removes definitions, and adds rows to what they read."""
        draw = self.draw
        for _ in range(draw.randint(1, 2) if step else 3):
            kind = draw.choice(["add", "remove", "ttl", "tags", "feature", "describe"]) if step else "add"
            if kind == "add" or not self.views:
                self._add(f"view_{len(self.rows)}")
                continue
            view = self.views[draw.choice(sorted(self.views))]
            if kind == "remove" and len(self.views) > 1:
                del self.views[view["name"]]
            elif kind == "ttl":
                view["ttl"] = draw.choice([10 * DAY, 30 * DAY])
            elif kind == "tags":
                view["tags"] = {"step": str(step)}
            elif kind == "describe":
                view["description"] = f"of step {step}"
            elif kind == "feature" and view["declared"] and len(view["features"]) > 1:
                view["features"].pop(sorted(view["features"])[0])
        named = sorted(self.views)
        self.service = draw.sample(named, k=draw.randint(1, len(named))) if draw.random() < 0.8 else None
        for name, rows in self.rows.items():
            rows += [self._row(name, step) for _ in range(draw.randint(1, 4))]
            self._write(name, rows)

    def _add(self, name: str) -> None:
        draw = self.draw
        declared = draw.random() < 0.6
        # Feast does not know the lists of present versions of Arrow, and fails when it is to infer one.
        kinds = [kind for kind in sorted(TYPES) if declared or not kind.startswith("Array(")]
        features = {f"{name}_{n}": draw.choice(kinds) for n in range(draw.randint(1, 3))}
        self.views[name] = {
            "name": name,
            "declared": declared,
            "time": draw.random() < 0.7,
            "features": features,
            "ttl": draw.choice([10 * DAY, 20 * DAY]),
            "tags": {},
            "description": "",
        }
        self.rows[name] = []
        self.columns[name] = dict(features)

    def _row(self, name: str, step: int) -> dict[str, Any]:
        draw = self.draw
        row: dict[str, Any] = {"driver_id": draw.randint(1, 3)}
        taken = {(each["driver_id"], each["at"]) for each in self.rows[name]}
        while True:
            row["at"] = START + step * DAY + timedelta(minutes=draw.randint(1, 1439))
            if (row["driver_id"], row["at"]) not in taken:
                break
        return {**row, **{n: draw.choice(TYPES[kind][1]) for n, kind in self.columns[name].items()}}

    def _write(self, name: str, rows: list[dict[str, Any]]) -> None:
        fields = {"driver_id": pa.int64(), "at": pa.timestamp("us", "UTC")}
        fields |= {n: TYPES[kind][0] for n, kind in self.columns[name].items()}
        pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(fields.items()))), self.folder / f"{name}.parquet")

    def contents(self) -> tuple[list[Any], list[Any]]:
        """Returns the definitions: entities and sources with views, and services."""
        driver = feast.Entity(name="driver", join_keys=["driver_id"], value_type=feast.ValueType.INT64)
        views = []
        for view in self.views.values():
            source = feast.FileSource(
                name=f"{view['name']}_source",
                path=str(self.folder / f"{view['name']}.parquet"),
                timestamp_field="at" if view["time"] else "",
            )
            schema = [feast.Field(name=n, dtype=dtype_of(kind)) for n, kind in view["features"].items()]
            views.append(
                feast.FeatureView(
                    name=view["name"],
                    entities=[driver],
                    source=source,
                    schema=schema if view["declared"] else [],
                    ttl=view["ttl"],
                    tags=view["tags"],
                    description=view["description"],
                )
            )
        by_name = {view.name: view for view in views}
        services = []
        if self.service is not None:
            services.append(feast.FeatureService(name="model", features=[by_name[name] for name in self.service]))
        return [driver, *views], services

    def plan(self, objects: list[Any], services: list[Any]) -> list[str]:
        """Returns what changes, one line an object, without the sources and the project."""
        kinds = {
            "projects": [],
            "data_sources": [view.batch_source for view in objects[1:]],
            "feature_views": objects[1:],
            "on_demand_feature_views": [],
            "stream_feature_views": [],
            "label_views": [],
            "entities": objects[:1],
            "feature_services": services,
            "permissions": [],
        }
        if PACKAGE == "feast":
            contents = module(".repo_contents").RepoContents(**{**kinds, "projects": [feast.Project(name="shop")]})
            diff = self.store.plan(contents)[0]
            lines = re.sub(r"\x1b\[[0-9;]*m", "", diff.to_string()).splitlines()
        else:
            del kinds["stream_feature_views"], kinds["permissions"]
            lines = str(self.store.plan(module(".repo_contents").RepoContents(**kinds))[0]).splitlines()
        return sorted(line for line in lines if TOLD.fullmatch(line))

    def truth(self, before: dict[str, Any], service_before: list[str] | None) -> list[str]:
        """Returns what a plan has to say, from what was changed."""
        views = [f"Created feature view {name}" for name in self.views if name not in before]
        views += [f"Deleted feature view {name}" for name in before if name not in self.views]
        views += [
            f"Updated feature view {name}"
            for name in self.views
            if self.views[name] != before.get(name, self.views[name])
        ]
        told = views + ([] if before else ["Created entity driver"])
        if self.service is None or service_before is None:
            told += ["Deleted feature service model"] if service_before else []
            told += ["Created feature service model"] if self.service else []
        elif self._of_service(self.service, self.views) != self._of_service(service_before, before):
            told.append("Updated feature service model")
        return sorted(told)

    @staticmethod
    def _of_service(names: list[str], views: dict[str, Any]) -> list[Any]:
        return [(name, sorted(views[name]["features"])) for name in names]

    def registered(self) -> dict[str, Any]:
        """Returns the views, services and entities that are registered."""
        return {
            "entities": sorted(entity.name for entity in self.store.list_entities()),
            "services": {
                service.name: sorted(
                    f"{p.name}:{field.name}" for p in service.feature_view_projections for field in p.features
                )
                for service in self.store.list_feature_services()
            },
            "views": {
                view.name: {
                    "features": {field.name: str(field.dtype) for field in view.features},
                    "time": view.batch_source.timestamp_field,
                    "ttl": view.ttl.total_seconds(),
                    "tags": dict(view.tags),
                    "description": view.description,
                }
                for view in self.store.list_feature_views()
            },
        }

    def online(self) -> dict[str, Any]:
        """Returns what is read of every view."""
        references = [
            f"{view.name}:{field.name}" for view in self.store.list_feature_views() for field in view.features
        ]
        rows = {"driver_id": [1, 2, 3, 4]}
        read = self.store.get_online_features(features=references, entity_rows=rows).to_dict()
        return {name: read[name] for name in sorted(read) if name != "driver_id"}

    def answers(self) -> list[dict[str, Any]]:
        told = []
        for step in range(STEPS):
            before, service_before = copy.deepcopy(self.views), self.service
            self.change(step)
            objects, services = self.contents()
            answer: dict[str, Any] = {"plan": self.plan(objects, services), "truth": self.truth(before, service_before)}
            removed = [self.store.get_feature_view(name) for name in sorted(set(before) - set(self.views))]
            services_now = [service.name for service in self.store.list_feature_services()]
            removed += [self.store.get_feature_service(name) for name in services_now if not services]
            self.store.apply([*objects, *services], objects_to_delete=removed, partial=False)
            answer["plan again"] = self.plan(*self.contents())
            answer["registered"] = self.registered()
            self.store.materialize_incremental(end_date=START + (step + 1) * DAY)
            answer["online"] = self.online()
            told.append(answer)
        return told


if __name__ == "__main__":
    print(json.dumps({str(number): Case(number).answers() for number in range(CASES)}, default=str))
