"""Random feature repositories, read online and in history with Feast's package or with this one; prints the answers.

    python retrieval_scenarios.py feast FOLDER

The same numbers make the same repositories, rows and requests in both.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import random
import sys
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")

PACKAGE, FOLDER = sys.argv[1], Path(sys.argv[2])
CASES = 16
START = datetime(2024, 3, 1, tzinfo=timezone.utc)  # noqa: UP017 - Feast runs on older Pythons too
HOUR = timedelta(hours=1)
END = START + 72 * HOUR


def module(path: str) -> Any:
    return importlib.import_module(f"{PACKAGE}{path}")


feast, types = module(""), module(".types")
OnDemandFeatureView = feast.OnDemandFeatureView

TYPES = ("Int64", "Float64", "String", "Bool", "Float32", "Int32", "Array(Float64)", "Array(String)")
KEYS: dict[str, tuple[str, list[Any]]] = {
    "driver": ("driver_id", [1, 2, 3, -7]),
    "customer": ("customer_id", ["a", "b c", "ü", ""]),
}


def dtype_of(name: str) -> Any:
    inner = name[len("Array(") : -1]
    return types.Array(getattr(types, inner)) if name.startswith("Array(") else getattr(types, name)


@dataclass
class Part:
    """A view as a request uses it.

    Attributes:
        view: its number.
        name: what it is called there.
        features: which of its features.
        key_map: its join key -> the column of the request that holds it.
    """

    view: int
    name: str
    features: list[str]
    key_map: dict[str, str]


class Case:
    """One repository with its rows and requests."""

    def __init__(self, number: int):
        self.number = number
        self.draw = random.Random(number)  # noqa: S311 - the same in both runs
        self.folder = FOLDER / str(number)
        self.folder.mkdir()
        self.entities = {
            name: feast.Entity(
                name=name,
                join_keys=[key],
                value_type=feast.ValueType.INT64 if name == "driver" else feast.ValueType.STRING,
            )
            for name, (key, _) in KEYS.items()
        }
        self.keys: list[list[str]] = []
        self.rows: list[list[dict[str, Any]]] = []
        self.ttls: list[timedelta] = []
        self.views = [self._view(n) for n in range(self.draw.randint(1, 3))]
        self.on_demand = self._on_demand() if self.draw.random() < 0.4 else []

    def _view(self, n: int) -> Any:
        draw = self.draw
        names = draw.choice([["driver"], ["driver"], ["customer"], ["driver", "customer"], []])
        dtypes = [draw.choice(TYPES) for _ in range(draw.randint(1, 3))]
        features = {f"v{n}_{i}": dtype for i, dtype in enumerate(dtypes)}
        if n == 0:
            features["v0_number"] = "Float64"
        mapping = {f"raw {name}": name for name in features} if draw.random() < 0.3 else {}
        created = draw.random() < 0.5
        self.keys.append([KEYS[name][0] for name in names])
        self.ttls.append(draw.choice([timedelta(0), timedelta(0), timedelta(days=1), timedelta(days=30)]))
        self._write(n, names, features, mapping, created)
        source = feast.FileSource(
            name=f"source_{n}",
            path=str(self.folder / f"{n}.parquet"),
            timestamp_field="at",
            created_timestamp_column="made" if created else "",
            field_mapping=mapping,
        )
        return feast.FeatureView(
            name=f"view_{n}",
            entities=[self.entities[name] for name in names],
            source=source,
            schema=[feast.Field(name=name, dtype=dtype_of(dtype)) for name, dtype in features.items()],
            ttl=self.ttls[n],
            online=True,
        )

    def _write(
        self, n: int, names: list[str], features: dict[str, str], mapping: dict[str, str], created: bool
    ) -> None:
        """Writes rows of which none ties with another: those of one entity and time differ in when they were made."""
        draw, rows, seen = self.draw, [], set()
        source_names = {name: column for column, name in mapping.items()}
        for _ in range(draw.randint(5, 40)):
            row: dict[str, Any] = {KEYS[name][0]: draw.choice(KEYS[name][1]) for name in names}
            row["at"] = START + draw.randint(0, 71) * HOUR
            made = row["at"] + draw.randint(0, 5) * HOUR if created else None
            identity = (*[row[KEYS[name][0]] for name in names], row["at"], made)
            if identity in seen:
                continue
            seen.add(identity)
            if created:
                row["made"] = made
            for name, dtype in features.items():
                row[source_names.get(name, name)] = self._value(dtype)
            rows.append(row)
        pd.DataFrame(rows).to_parquet(self.folder / f"{n}.parquet")
        self.rows.append([{mapping.get(name, name): value for name, value in row.items()} for row in rows])

    def _value(self, dtype: str) -> Any:
        draw = self.draw
        if dtype in ("Float64", "Float32", "String") and draw.random() < 0.15:
            return None
        if dtype.startswith("Array("):
            return [self._whole(dtype[len("Array(") : -1]) for _ in range(draw.randint(1, 3))]
        return self._whole(dtype)

    def _whole(self, dtype: str) -> Any:
        draw = self.draw
        return {
            "Int64": draw.choice([0, -1, 2**40, draw.randint(-99, 99)]),
            "Int32": draw.choice([0, -(2**31), 2**31 - 1, 5]),
            "Float64": draw.choice([0.0, -2.5, 1e300, 0.125]),
            "Float32": draw.choice([0.0, -2.5, 0.125]),
            "String": draw.choice(["", "x", "ß√", "two words"]),
            "Bool": draw.random() < 0.5,
        }[dtype]

    def _on_demand(self) -> list[Any]:
        request = feast.RequestSource(name="request", schema=[feast.Field(name="extra", dtype=types.Float64)])

        def summed(inputs: pd.DataFrame) -> pd.DataFrame:
            out = pd.DataFrame()
            out["sum"] = inputs["v0_number"] + inputs["extra"]
            return out

        return [
            OnDemandFeatureView(
                name="computed",
                sources=[self.views[0], request],
                schema=[feast.Field(name="sum", dtype=types.Float64)],
                mode="pandas",
                udf=summed,
                udf_string="summed",
            )
        ]

    def _whole_views(self) -> list[Part]:
        return [Part(n, view.name, [f.name for f in view.features], {}) for n, view in enumerate(self.views)]

    def _service(self) -> tuple[Any, list[Part]]:
        """Returns a service of projections: some features, another name, a key under another name."""
        draw, members, parts = self.draw, [], []
        for part, view in zip(self._whole_views(), self.views, strict=True):
            chosen = view
            if draw.random() < 0.5:
                part.features = draw.sample(part.features, k=1)
                chosen = view[part.features]
            if not self.on_demand and draw.random() < 0.4:
                part.name = f"other_{view.name}"
                chosen = chosen.with_name(part.name)
            if "driver_id" in self.keys[part.view] and not self.on_demand and draw.random() < 0.4:
                part.key_map = {"driver_id": "chauffeur"}
                chosen = chosen.with_join_key_map(part.key_map)
            members.append(chosen)
            parts.append(part)
        return feast.FeatureService(name="service", features=[*members, *self.on_demand]), parts

    def answers(self) -> dict[str, Any]:
        """Applies the repository, materializes it in two steps, and returns what is read."""
        store = self._store()
        service, parts = self._service()
        store.apply([*self.entities.values(), *self.views, *self.on_demand, service])
        references = [f"{view.name}:{f.name}" for view in self.views for f in view.features]
        references += [f"{view.name}:sum" for view in self.on_demand]
        self.draw.shuffle(references)
        middle = START + self.draw.randint(10, 60) * HOUR
        told: dict[str, Any] = {}
        for step, end in (("first", middle), ("then", END)):
            store.materialize_incremental(end_date=end) if step == "then" else store.materialize(START, end)
            for full in (False, True):
                told[f"online, {step}, {full}"] = self._online(store, references, full)
        told["service online"] = self._online(store, service, True)
        for name, features, of, full in (
            ("history", references, self._whole_views(), False),
            ("history, full names", references, self._whole_views(), True),
            ("service in history", service, parts, True),
        ):
            asked = self._entity_rows()
            told[name] = self._history(store, features, asked, full)
            told[f"{name}, by hand"] = self._by_hand(of, asked, full)
            told[f"{name}, ties"] = self._ties(of, asked, full)
        return told

    def _store(self) -> Any:
        own = {} if PACKAGE == "feast" else {"enforce_online_ttl": False}
        os.chdir(self.folder)
        return feast.FeatureStore(
            config=feast.RepoConfig(
                project="shop",
                provider="local",
                registry=str(self.folder / "registry.db"),
                online_store={"type": "sqlite", "path": str(self.folder / "online.db")},
                entity_key_serialization_version=3,
                **own,
            )
        )

    def _requests(self, rows: int) -> dict[str, list[Any]]:
        draw = self.draw
        drivers, customers = KEYS["driver"][1], KEYS["customer"][1]
        return {
            "driver_id": [draw.choice([*drivers, 99]) for _ in range(rows)],
            "customer_id": [draw.choice([*customers, "none"]) for _ in range(rows)],
            "chauffeur": [draw.choice([*drivers, 99]) for _ in range(rows)],
            "extra": [draw.choice([0.5, -1.0, 8.0]) for _ in range(rows)],
        }

    def _online(self, store: Any, features: Any, full: bool) -> dict[str, list[Any]]:
        rows = self._requests(6)
        response = store.get_online_features(features=features, entity_rows=rows, full_feature_names=full)
        return {name: plain(values) for name, values in response.to_dict().items() if name not in rows}

    def _entity_rows(self) -> pd.DataFrame:
        rows = 12
        times = [START + self.draw.randint(-5, 80) * HOUR for _ in range(rows)]
        return pd.DataFrame({**self._requests(rows), "event_timestamp": times, "row": range(rows)})

    def _history(self, store: Any, features: Any, asked: pd.DataFrame, full: bool) -> dict[str, Any]:
        """Returns the values of each row by its number, since Feast returns rows in another order, and not all."""
        got = store.get_historical_features(entity_df=asked, features=features, full_feature_names=full).to_df()
        names = sorted(set(got.columns) - set(asked.columns))
        rows = {str(int(row["row"])): row for row in _records(got)}
        return {number: {name: _plain(row[name]) for name in names} for number, row in sorted(rows.items())}

    def _by_hand(self, parts: list[Part], asked: pd.DataFrame, full: bool) -> dict[str, Any]:
        """Returns what history is, found by looking at every row."""
        answers: dict[str, Any] = {}
        for request in _records(asked):
            values: dict[str, Any] = {}
            for part in parts:
                newest = self._newest(part, request)
                for name in part.features:
                    values[f"{part.name}__{name}" if full else name] = newest.get(name)
            for view in self.on_demand:
                number = self._newest(self._whole_views()[0], request).get("v0_number")
                total = None if number is None else number + request["extra"]
                values[f"{view.name}__sum" if full else "sum"] = total
            answers[str(request["row"])] = {name: _plain(value) for name, value in sorted(values.items())}
        return answers

    def _ties(self, parts: list[Part], asked: pd.DataFrame, full: bool) -> dict[str, list[str]]:
        """Returns which values of which rows depend on when the rows of one event time were made."""
        tied: dict[str, list[str]] = {}
        for request in _records(asked):
            names = tied[str(request["row"])] = []
            for part in [*parts, *([Part(0, "computed", ["sum"], {})] if self.on_demand else [])]:
                known = self._known(part, request)
                if len([row for row in known if row["at"] == max(row["at"] for row in known)]) > 1:
                    names += [f"{part.name}__{name}" if full else name for name in part.features]
        return {row: sorted(names) for row, names in tied.items() if names}

    def _newest(self, part: Part, request: dict[str, Any]) -> dict[str, Any]:
        """Returns the newest row of a view as of a request; of rows of one time, the one made last."""
        known = self._known(part, request)
        return max(known, key=lambda row: (row["at"], row.get("made", row["at"])), default={})

    def _known(self, part: Part, request: dict[str, Any]) -> list[dict[str, Any]]:
        """Returns the rows of a view that a request may see."""
        moment, ttl = request["event_timestamp"], self.ttls[part.view]
        return [
            row
            for row in self.rows[part.view]
            if all(row[key] == request[part.key_map.get(key, key)] for key in self.keys[part.view])
            and row["at"] <= moment
            and (not ttl or row["at"] >= moment - ttl)
        ]


def _records(frame: pd.DataFrame) -> list[Any]:
    return list(frame.to_dict("records"))


def plain(values: list[Any]) -> list[Any]:
    """Returns values as JSON has them; None for null and NaN."""
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple, np.ndarray)):
        return plain(list(value))
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value


if __name__ == "__main__":
    print(json.dumps({str(number): Case(number).answers() for number in range(CASES)}))
