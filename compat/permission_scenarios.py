"""Decides random requests by random permissions, with Feast or with this package, and prints what was decided.

    python permission_scenarios.py feast|feast_assets FOLDER

Requests whose permissions have required tags are told apart: Feast compares these with the ``required_tags`` of an
object, which only permissions have, and so lets all other objects pass.
"""

# Both packages are imported by name, and take other arguments here and there.
# mypy: ignore-errors
from __future__ import annotations

import importlib
import json
import logging
import random
import sys
from datetime import timedelta
from typing import Any

PACKAGE = sys.argv[1]
CASES = 1500
NAMES = ["rides", "rides_eu", "users", "daily_rides"]
PATTERNS = ["rides", "rides.*", ".*eu", "daily", "(users|rides)", " users ", "[a-z]+"]
ROLES, GROUPS, NAMESPACES = ["reader", "writer"], ["pricing", "fraud"], ["prod", "test"]
TAGS = [{}, {"team": "pricing"}, {"team": "fraud"}, {"team": "pricing", "pii": "no"}]

logging.disable(logging.CRITICAL)
feast = importlib.import_module(PACKAGE)


def taken(module: str, *names: str) -> Any:
    """Returns names of one of the package's modules."""
    loaded = importlib.import_module(f"{PACKAGE}.{module}")
    found = [getattr(loaded, name) for name in names]
    return found[0] if len(found) == 1 else found


AuthzedAction = taken("permissions.action", "AuthzedAction")
Permission = taken("permissions.permission", "Permission")
AllowAll, RoleBasedPolicy, GroupBasedPolicy, NamespaceBasedPolicy, CombinedGroupNamespacePolicy = taken(
    "permissions.policy",
    "AllowAll",
    "RoleBasedPolicy",
    "GroupBasedPolicy",
    "NamespaceBasedPolicy",
    "CombinedGroupNamespacePolicy",
)
User = taken("permissions.user", "User")
SavedDataset, ValidationReference = taken("saved_dataset", "SavedDataset", "ValidationReference")
SavedDatasetFileStorage = taken("infra.offline_stores.file_source", "SavedDatasetFileStorage")
LabelView = taken("labeling", "LabelView")
DataSource, RequestSource = taken("data_source", "DataSource", "RequestSource")
OnDemandFeatureView = taken("on_demand_feature_view", "OnDemandFeatureView")
StreamFeatureView = taken("stream_feature_view", "StreamFeatureView")
TYPES = [
    feast.Project,
    feast.FeatureView,
    OnDemandFeatureView,
    feast.BatchFeatureView,
    StreamFeatureView,
    LabelView,
    feast.Entity,
    feast.FeatureService,
    DataSource,
    ValidationReference,
    SavedDataset,
    Permission,
]


def objects(name: str, tags: dict[str, str]) -> dict[str, Any]:
    """Returns an object of each kind."""
    entity = feast.Entity(name=name, join_keys=["id"], tags=tags)
    source = feast.FileSource(name=name, path="x.parquet", timestamp_field="at", tags=tags)
    given = {"name": name, "entities": [entity], "tags": tags, "ttl": timedelta(days=1)}
    schema = [feast.Field(name="id", dtype=feast.types.Int64), feast.Field(name="a", dtype=feast.types.Int64)]
    view = feast.FeatureView(source=source, schema=schema, **given)
    kafka = feast.KafkaSource(
        name=name,
        kafka_bootstrap_servers="h:1",
        message_format=taken("data_format", "JsonFormat")("id bigint, a bigint, at timestamp"),
        topic="t",
        timestamp_field="at",
        batch_source=source,
        tags=tags,
    )
    return {
        "project": feast.Project(name=name, tags=tags),
        "feature view": view,
        "on-demand view": OnDemandFeatureView(
            name=name,
            sources=[view],
            schema=[feast.Field(name="b", dtype=feast.types.Int64)],
            feature_transformation=None,
            udf=doubled,
            udf_string="",
            mode="python",
            tags=tags,
        ),
        "batch view": feast.BatchFeatureView(
            source=source, schema=schema, mode="python", udf=doubled, udf_string="", sink_source=source, **given
        ),
        "stream view": StreamFeatureView(
            source=kafka, schema=schema, mode="python", udf=doubled, timestamp_field="at", **given
        ),
        "label view": LabelView(name=name, entities=[entity], schema=schema, source=source, tags=tags),
        "entity": entity,
        "service": feast.FeatureService(name=name, features=[view], tags=tags),
        "file source": source,
        "push source": feast.PushSource(name=name, batch_source=source, tags=tags),
        "request source": RequestSource(name=name, schema=[schema[1]], tags=tags),
        "saved dataset": SavedDataset(
            name=name, features=["a"], join_keys=["id"], storage=SavedDatasetFileStorage("x.parquet"), tags=tags
        ),
        "permission": Permission(name=name, tags=tags),
    }


def doubled(inputs: dict[str, Any]) -> dict[str, Any]:
    """The function of views."""
    return {"b": [2 * value for value in inputs["a"]]}


def some(rng: random.Random, values: list[Any], most: int = 2) -> list[Any]:
    """Returns some of the values, maybe none."""
    return rng.sample(values, rng.randint(0, min(most, len(values))))


def policy(rng: random.Random) -> Any:
    """Returns a policy."""
    return rng.choice(
        [
            lambda: AllowAll,
            lambda: RoleBasedPolicy(roles=some(rng, ROLES)),
            lambda: GroupBasedPolicy(groups=some(rng, GROUPS)),
            lambda: NamespaceBasedPolicy(namespaces=some(rng, NAMESPACES)),
            lambda: CombinedGroupNamespacePolicy(groups=some(rng, GROUPS), namespaces=some(rng, NAMESPACES)),
        ]
    )()


def permission(rng: random.Random, number: int, with_tags: bool) -> Any:
    """Returns a permission."""
    return Permission(
        name=f"p{number}",
        types=some(rng, TYPES, 4),
        name_patterns=rng.choice([some(rng, PATTERNS), rng.choice(PATTERNS)]),
        actions=some(rng, list(AuthzedAction), 6) or AuthzedAction.READ_ONLINE,
        policy=policy(rng),
        required_tags=rng.choice(TAGS) if with_tags else None,
    )


def is_granted(permissions: list[Any], user: Any, resource: Any, actions: list[Any]) -> bool:
    """Returns whether the package lets a user do something."""
    if PACKAGE == "feast":
        try:
            taken("permissions.enforcer", "enforce_policy")(permissions, user, [resource], actions)
        except taken("errors", "FeastPermissionError"):
            return False
        return True
    from feast_assets.auth.access import resource_of
    from feast_assets.auth.decision import decide
    from feast_assets.registry.snapshot import RegistrySnapshot

    return decide(permissions, user, resource_of(resource, RegistrySnapshot.of("p", [])), actions).granted


def main() -> None:
    """Prints the decisions, by case."""
    rng = random.Random(20260101)  # noqa: S311 - not for secrets
    pool = [(kind, thing, tags) for name in NAMES for tags in TAGS for kind, thing in objects(name, dict(tags)).items()]
    decisions = {}
    for number in range(CASES):
        with_tags = number % 5 == 0
        permissions = [permission(rng, n, with_tags) for n in range(rng.choice([0, 1, 2, 4, 8]))]
        user = User(rng.choice(["", "ann", "bob", "eve"]), some(rng, ROLES), some(rng, GROUPS), some(rng, NAMESPACES))
        actions = rng.sample(list(AuthzedAction), rng.choice([1, 1, 1, 2]))
        kind, resource, _ = rng.choice(pool)
        tagged = " required tags" if any(p.required_tags for p in permissions) else ""
        nobody = " nobody" if not user.username else ""
        decisions[f"{number}: {kind} {resource.name}{tagged}{nobody}"] = is_granted(
            permissions, user, resource, actions
        )
    print(json.dumps(decisions))


if __name__ == "__main__":
    main()
