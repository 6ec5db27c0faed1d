"""Calls that are wrong, run with Feast's package or with this one; prints what each raised.

python error_scenarios.py feast FOLDER
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd

warnings.simplefilter("ignore")

PACKAGE, FOLDER = sys.argv[1], Path(sys.argv[2])
os.chdir(FOLDER)  # the feature repository, as no other is named
NOON = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)  # noqa: UP017 - Feast runs on older Pythons too


def module(path: str) -> Any:
    return importlib.import_module(f"{PACKAGE}{path}")


feast, types = module(""), module(".types")
DataSources = module(".data_source")
on_demand_feature_view: Callable[..., Callable[[Callable[..., Any]], Any]] = module(
    ".on_demand_feature_view"
).on_demand_feature_view
SavedDatasetFileStorage = module(".infra.offline_stores.file_source").SavedDatasetFileStorage

pd.DataFrame({"driver_id": [1, 2], "at": [NOON, NOON], "fare": [2.5, None], "other": ["a", "b"]}).to_parquet(
    FOLDER / "stats.parquet"
)
pd.DataFrame({"x": [1]}).to_parquet(FOLDER / "timeless.parquet")

DRIVER = feast.Entity(name="driver", join_keys=["driver_id"], value_type=feast.ValueType.INT64)
SOURCE = feast.FileSource(name="stats_source", path=str(FOLDER / "stats.parquet"), timestamp_field="at")
PUSH = feast.PushSource(name="pushed", batch_source=SOURCE)


def field(name: str, dtype: Any = types.Float64) -> Any:
    return feast.Field(name=name, dtype=dtype)


def view(**arguments: Any) -> Any:
    given = {"name": "stats", "entities": [DRIVER], "source": SOURCE, "schema": [field("fare")], "ttl": timedelta(0)}
    return feast.FeatureView(**{**given, **arguments})


def store(name: str = "shop") -> Any:
    folder = FOLDER / name
    folder.mkdir(exist_ok=True)
    config = feast.RepoConfig(
        project="shop",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
    )
    return feast.FeatureStore(config=config)


REQUEST = feast.RequestSource(name="request", schema=[field("extra")])
STATS = view()


@on_demand_feature_view(sources=[STATS, REQUEST], schema=[field("total")], mode="pandas")
def totals(inputs: pd.DataFrame) -> pd.DataFrame:
    out = pd.DataFrame()
    out["total"] = inputs["fare"] + inputs["extra"]
    return out


APPLIED = store()
APPLIED.apply(
    [
        DRIVER,
        STATS,
        view(name="again"),
        view(name="offline_only", online=False),
        view(name="from_push", source=PUSH),
        totals,
        feast.FeatureService(name="model", features=[STATS]),
    ]
)
LABELS = feast.LabelView(
    name="labels",
    source=PUSH,
    entities=[DRIVER],
    schema=[field("fare"), field("other", types.String)],
    labeler_field="other",
)
LABELLED = store("labelled")
LABELLED.apply([DRIVER, LABELS])
ROWS = pd.DataFrame({"driver_id": [1], "event_timestamp": [NOON]})
ONE = [{"driver_id": 1}]


def history(entity_df: Any, features: Any, **arguments: Any) -> Any:
    return APPLIED.get_historical_features(entity_df=entity_df, features=features, **arguments).to_df()


def online(features: Any, rows: Any = ONE, **arguments: Any) -> Any:
    return APPLIED.get_online_features(features=features, entity_rows=rows, **arguments).to_dict()


def applied(name: str, *objects: Any) -> None:
    store(name).apply(list(objects))


def persisted_twice() -> None:
    job = APPLIED.get_historical_features(entity_df=ROWS, features=["stats:fare"])
    for _ in range(2):
        job.persist(SavedDatasetFileStorage(path=str(FOLDER / "set.parquet")))


def broken_function() -> Any:
    @on_demand_feature_view(sources=[STATS], schema=[field("missing")], mode="pandas")
    def broken(inputs: pd.DataFrame) -> pd.DataFrame:
        out = pd.DataFrame()
        out["something"] = inputs["fare"]
        return out

    return broken


CALLS: dict[str, Callable[[], Any]] = {
    # definitions
    "entity: two join keys": lambda: feast.Entity(name="e", join_keys=["a", "b"]),
    "view: no name": lambda: applied("v1", DRIVER, view(name="")),
    "view: a name with @": lambda: applied("v2", DRIVER, view(name="a@v1")),
    "view: a name with a colon": lambda: applied("v3", DRIVER, view(name="a:b")),
    "view: wrong source": lambda: view(source=5),
    "view: a push source without a batch source": lambda: view(source=feast.PushSource(name="p")),
    "view: two entities with one join key": lambda: view(
        entities=[DRIVER, feast.Entity(name="other", join_keys=["driver_id"], value_type=feast.ValueType.INT64)]
    ),
    "view: an entity column of another type": lambda: view(schema=[field("driver_id", types.String), field("fare")]),
    "view: projection of an unknown feature": lambda: view()[["nothing"]],
    "array of nothing": lambda: types.Array(5),
    "set of maps": lambda: types.Set(types.Map),
    "empty struct": lambda: types.Struct({}),
    "on-demand view: no sources": lambda: feast.OnDemandFeatureView(name="o", schema=[field("a")], udf=len),
    "label view: two entities with one join key": lambda: feast.LabelView(
        name="l",
        entities=[DRIVER, feast.Entity(name="other", join_keys=["driver_id"], value_type=feast.ValueType.INT64)],
    ),
    "label view: an entity column of another type": lambda: feast.LabelView(
        name="l", entities=[DRIVER], schema=[field("driver_id", types.String), field("fare")]
    ),
    "service: precomputed, with a view computed when read": lambda: applied(
        "s1", DRIVER, STATS, totals, feast.FeatureService(name="pre", features=[totals], precompute_online=True)
    ),
    "service: an unknown view": lambda: applied(
        "s2", DRIVER, feast.FeatureService(name="s", features=["nothing:fare"])
    ),
    "service: features of a wrong type": lambda: feast.FeatureService(name="s", features=[5]),
    "on-demand view: singleton in mode pandas": lambda: feast.OnDemandFeatureView(
        name="o", sources=[STATS], schema=[field("a")], udf=len, udf_string="len", mode="pandas", singleton=True
    ),
    "batch view: no name": lambda: applied("b1", DRIVER, feast.BatchFeatureView(name="", source=SOURCE, udf=len)),
    "field: a type that is none": lambda: feast.Field(name="f", dtype=5),
    # apply
    "apply: two views of one name": lambda: applied("a1", DRIVER, view(), view(name="STATS")),
    "apply: two projects": lambda: applied("a2", feast.Project(name="shop"), feast.Project(name="other")),
    "apply: two sources of one name": lambda: applied(
        "a3", SOURCE, feast.FileSource(name="stats_source", path=str(FOLDER / "timeless.parquet"), timestamp_field="x")
    ),
    "apply: no timestamp to infer": lambda: applied(
        "a4", DRIVER, view(source=feast.FileSource(name="t", path=str(FOLDER / "timeless.parquet")))
    ),
    "apply: a function without its output": lambda: applied("a5", DRIVER, STATS, broken_function()),
    "apply: not a definition": lambda: applied("a6", 5),
    # catalog
    "get_entity": lambda: APPLIED.get_entity("nothing"),
    "get_feature_view": lambda: APPLIED.get_feature_view("nothing"),
    "get_on_demand_feature_view": lambda: APPLIED.get_on_demand_feature_view("nothing"),
    "get_label_view": lambda: APPLIED.get_label_view("nothing"),
    "get_data_source": lambda: APPLIED.get_data_source("nothing"),
    "get_feature_service": lambda: APPLIED.get_feature_service("nothing"),
    "get_saved_dataset": lambda: APPLIED.get_saved_dataset("nothing"),
    "get_validation_reference": lambda: APPLIED.get_validation_reference("nothing"),
    "registry: get_entity": lambda: APPLIED.registry.get_entity("nothing", "shop"),
    "registry: get_feature_view": lambda: APPLIED.registry.get_feature_view("nothing", "shop"),
    "registry: get_any_feature_view": lambda: APPLIED.registry.get_any_feature_view("nothing", "shop"),
    "registry: get_data_source": lambda: APPLIED.registry.get_data_source("nothing", "shop"),
    "registry: get_feature_service": lambda: APPLIED.registry.get_feature_service("nothing", "shop"),
    "registry: get_saved_dataset": lambda: APPLIED.registry.get_saved_dataset("nothing", "shop"),
    "registry: get_validation_reference": lambda: APPLIED.registry.get_validation_reference("nothing", "shop"),
    "registry: get_project": lambda: APPLIED.registry.get_project("nothing"),
    "registry: delete_entity": lambda: APPLIED.registry.delete_entity("nothing", "shop"),
    "registry: delete_feature_view": lambda: APPLIED.registry.delete_feature_view("nothing", "shop"),
    "registry: delete_feature_service": lambda: APPLIED.registry.delete_feature_service("nothing", "shop"),
    "registry: delete_data_source": lambda: APPLIED.registry.delete_data_source("nothing", "shop"),
    "registry: lineage of an unknown type": lambda: APPLIED.registry.get_object_relationships(
        "shop", "nothing", "stats"
    ),
    "get_project": lambda: APPLIED.get_project("nothing"),
    "delete_feature_view": lambda: APPLIED.delete_feature_view("nothing"),
    "delete_feature_service": lambda: APPLIED.delete_feature_service("nothing"),
    # history
    "history: unknown view": lambda: history(ROWS, ["nothing:fare"]),
    "history: unknown feature": lambda: history(ROWS, ["stats:nothing"]),
    "history: no reference": lambda: history(ROWS, ["fare"]),
    "history: one name twice": lambda: history(ROWS, ["stats:fare", "again:fare"]),
    "history: one reference twice, full names": lambda: history(
        ROWS, ["stats:fare", "stats:fare"], full_feature_names=True
    ),
    "history: no join key": lambda: history(ROWS[["event_timestamp"]], ["stats:fare"]),
    "history: no time": lambda: history(ROWS[["driver_id"]], ["stats:fare"]),
    "history: no request data": lambda: history(ROWS, ["totals:total"]),
    "history: features of a wrong type": lambda: history(ROWS, 5),
    "history: entity_df of a wrong type": lambda: history(5, ["stats:fare"]),
    "history: entity_df with dates": lambda: history(ROWS, ["stats:fare"], start_date=NOON, end_date=NOON),
    "history: times that are texts": lambda: history(
        pd.DataFrame({"driver_id": [1], "event_timestamp": ["yesterday"]}), ["stats:fare"]
    ),
    # online
    "online: unknown view": lambda: online(["nothing:fare"]),
    "online: unknown feature": lambda: online(["stats:nothing"]),
    "online: one name twice": lambda: online(["stats:fare", "again:fare"]),
    "online: no join key": lambda: online(["stats:fare"], [{"other": 1}]),
    "online: ragged columns": lambda: online(["stats:fare"], {"driver_id": [1, 2], "extra": [1]}),
    "online: no request data": lambda: online(["totals:total"]),
    "online: features of a wrong type": lambda: online(5),
    "online: unknown service": lambda: online(feast.FeatureService(name="nothing", features=[STATS])),
    # materialization, pushes, writes
    "materialize: end before start": lambda: APPLIED.materialize(NOON, NOON - timedelta(days=1)),
    "materialize: unknown view": lambda: APPLIED.materialize(NOON, NOON, feature_views=["nothing"]),
    "materialize: not online": lambda: APPLIED.materialize(NOON, NOON, feature_views=["offline_only"]),
    "push: unknown source": lambda: APPLIED.push("nothing", ROWS),
    "write online: unknown view": lambda: APPLIED.write_to_online_store("nothing", ROWS),
    "write online: both df and inputs": lambda: APPLIED.write_to_online_store("stats", df=ROWS, inputs=ROWS),
    "write offline: other columns": lambda: APPLIED.write_to_offline_store("stats", ROWS),
    "materialize: a label view": lambda: LABELLED.materialize(NOON, NOON, feature_views=["labels"]),
    "write logs: not of a service": lambda: APPLIED.write_logged_features(None, "model"),
    "write logs: of a service without a destination": lambda: APPLIED.write_logged_features(
        None, feast.FeatureService(name="model", features=[STATS])
    ),
    "validate logs: not of a service": lambda: APPLIED.validate_logged_features("model", NOON, NOON, None),
    "saved dataset: location taken": persisted_twice,
    # settings
    "store: both config and file": lambda: feast.FeatureStore(config=APPLIED.config, fs_yaml_file=FOLDER / "x.yaml"),
    "config: unknown provider": lambda: feast.FeatureStore(
        config=feast.RepoConfig(project="shop", provider="nothing", registry=str(FOLDER / "r.db"))
    ).apply([]),
    "config: no registry": lambda: feast.FeatureStore(
        config=feast.RepoConfig(project="shop", provider="local", registry="")
    ).list_entities(),
    "config: bad project": lambda: feast.RepoConfig(project="_a b", provider="local", registry="r.db"),
    "config: unknown online store": lambda: feast.FeatureStore(
        config=feast.RepoConfig(project="shop", provider="local", registry="r.db", online_store="nothing")
    ),
    "permission: none of this name": lambda: APPLIED.get_permission("nothing"),
}


def raised(call: Callable[[], Any]) -> list[str]:
    """Returns the classes of what a call raises that are Python's or the package's, nearest first; none where it raises
    nothing."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        known = ("builtins", PACKAGE)
        return [cls.__name__ for cls in type(error).__mro__ if cls.__module__.partition(".")[0] in known]
    return []


if __name__ == "__main__":
    print(json.dumps({name: raised(call) for name, call in CALLS.items()}))
