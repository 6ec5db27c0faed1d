"""Describes public names as facts: kinds, base classes, parameters with their order and defaults, and members.

It needs nothing but the standard library, so the same file describes Feast under Feast's Python and this package under
its own. As a script it writes Feast's facts::

    /path/to/feast/python compat/surface.py compat/feast_surface.json
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMES: Mapping[str, str] = {
    "aggregation": "Aggregation",
    "base_feature_view": "BaseFeatureView",
    "batch_feature_view": "BatchFeatureView batch_feature_view",
    "credentials": "ConnectionRef",
    "data_format": "AvroFormat DeltaFormat FileFormat JsonFormat ParquetFormat ProtoFormat StreamFormat",
    "data_source": "DataSource KafkaSource KinesisSource PushMode PushSource RequestSource",
    "dataframe": "DataFrameEngine FeastDataFrame",
    "dqm.errors": "ValidationFailed",
    "dqm.profilers.profiler": "Profile Profiler ValidationError ValidationReport",
    "driver_test_data": (
        "EventTimestampType create_customer_daily_profile_df create_driver_hourly_stats_df create_field_mapping_df "
        "create_global_daily_stats_df create_location_stats_df create_orders_df"
    ),
    "entity": "Entity",
    "feature": "Feature",
    "feature_logging": "LoggingConfig LoggingDestination",
    "feature_service": "FeatureService",
    "feature_store": "FeatureStore",
    "feature_view": "FeatureView FeatureViewState",
    "feature_view_projection": "FeatureViewProjection",
    "field": "Field",
    "infra.offline_stores.bigquery_source": "BigQueryLoggingDestination BigQuerySource SavedDatasetBigQueryStorage",
    "infra.offline_stores.contrib.athena_offline_store.athena_source": (
        "AthenaLoggingDestination AthenaSource SavedDatasetAthenaStorage"
    ),
    "infra.offline_stores.contrib.chronon_offline_store.chronon_source": "ChrononSource",
    "infra.offline_stores.contrib.clickhouse_offline_store.clickhouse_source": "ClickhouseSource",
    "infra.offline_stores.contrib.couchbase_offline_store.couchbase_source": "CouchbaseColumnarSource",
    "infra.offline_stores.contrib.mongodb_offline_store.mongodb": "MongoDBSource",
    "infra.offline_stores.contrib.mssql_offline_store.mssqlserver_source": "MsSqlServerSource",
    "infra.offline_stores.contrib.oracle_offline_store.oracle_source": "OracleSource",
    "infra.offline_stores.contrib.postgres_offline_store.postgres_source": (
        "PostgreSQLSource SavedDatasetPostgreSQLStorage"
    ),
    "infra.offline_stores.contrib.ray_offline_store.ray_source": "RaySource",
    "infra.offline_stores.contrib.spark_offline_store.spark_source": "SavedDatasetSparkStorage SparkSource",
    "infra.offline_stores.contrib.trino_offline_store.trino_source": "SavedDatasetTrinoStorage TrinoSource",
    "infra.offline_stores.file_source": "FileLoggingDestination FileSource SavedDatasetFileStorage",
    "infra.offline_stores.offline_store": "RetrievalJob RetrievalMetadata",
    "infra.offline_stores.redshift_source": "RedshiftLoggingDestination RedshiftSource SavedDatasetRedshiftStorage",
    "infra.offline_stores.snowflake_source": "SavedDatasetSnowflakeStorage SnowflakeLoggingDestination SnowflakeSource",
    "infra.registry.base_registry": "BaseRegistry",
    "labeling": "ConflictPolicy LabelView",
    "lineage.registry_lineage": "EntityReference EntityRelation FeastObjectType",
    "on_demand_feature_view": "OnDemandFeatureView on_demand_feature_view",
    "online_response": "OnlineResponse",
    "permissions.action": "ALL_ACTIONS AuthzedAction CRUD READ WRITE",
    "permissions.permission": "Permission",
    "permissions.policy": (
        "AllowAll CombinedGroupNamespacePolicy GroupBasedPolicy NamespaceBasedPolicy Policy RoleBasedPolicy"
    ),
    "project": "Project",
    "repo_config": "FeastConfigError RegistryConfig RepoConfig load_repo_config",
    "repo_contents": "RepoContents",
    "saved_dataset": "SavedDataset SavedDatasetStorage ValidationReference",
    "stream_feature_view": "StreamFeatureView stream_feature_view",
    "table_format": "DeltaFormat HudiFormat IcebergFormat LanceFormat TableFormat TableFormatType",
    "transformation.base": "Transformation transformation",
    "transformation.mode": "TransformationMode",
    "types": (
        "Array Bool Bytes Decimal FEAST_VECTOR_TYPES FeastType Float32 Float64 ImageBytes Int32 Int64 Invalid Json Map "
        "PdfBytes ScalarMap Set String Struct TimeUuid UnixTimestamp Uuid ZonedTimestamp from_feast_to_pyarrow_type "
        "from_feast_type from_value_type"
    ),
    "value_type": "ValueType",
}
"""Module of Feast -> the names of it that users take from there; those of the package itself and all its errors are
described besides."""

Facts = dict[str, Any]


def describe(value: Any, package: str) -> Facts:
    """Returns the facts of one public object.

    Args:
        package: the package whose base classes count, beside Python's own.
    """
    if inspect.isclass(value):
        return _class_facts(value, package)
    if inspect.isfunction(value) or inspect.ismethod(value):
        return {"kind": "function", "parameters": parameters(value)}
    return {"kind": "value"}


def _class_facts(cls: type, package: str) -> Facts:
    facts: Facts = {"kind": "class", "bases": _bases(cls, package)}
    if issubclass(cls, enum.Enum):
        return {**facts, "kind": "enum", "members": {m.name: m.value for m in cls}}
    fields = getattr(cls, "model_fields", None)
    if isinstance(fields, Mapping):
        return {
            **facts,
            "kind": "settings",
            "members": {_key(name, f): {"kind": "value"} for name, f in fields.items()},
        }
    facts["parameters"] = parameters(cls)
    if issubclass(cls, BaseException):
        status = _http_status(cls)
        return facts if status is None else {**facts, "http_status_code": status}
    return {**facts, "members": _members(cls, package)}


def _key(name: str, field: Any) -> str:
    return str(field.alias or name)


def _http_status(cls: Any) -> int | None:
    """Returns the HTTP status of an error, which none of them works out from its instance."""
    method = getattr(cls, "http_status_code", None)
    return None if method is None else int(method(cls.__new__(cls)))


def _bases(cls: type, package: str) -> list[str]:
    """Returns the names of a class's base classes, near ones first."""
    return [
        base.__name__
        for base in cls.__mro__[1:]
        if base.__module__.partition(".")[0] in (package, "builtins") and base is not object and base.__name__[0] != "_"
    ]


def _members(cls: type, package: str) -> dict[str, Facts]:
    members: dict[str, Facts] = {name: {"kind": "value"} for name in _declared(cls, package)}
    for name in sorted(dir(cls)):
        if name.startswith("_") and name != "__getitem__":
            continue
        owner = next(base for base in cls.__mro__ if name in vars(base))
        if owner.__module__.partition(".")[0] != package:
            continue
        member = inspect.getattr_static(cls, name)
        if isinstance(member, (staticmethod, classmethod)) or inspect.isfunction(member):
            method = getattr(cls, name)
            members[name] = {"kind": "method", "parameters": parameters(method, skip_self=inspect.isfunction(member))}
        else:
            members[name] = {"kind": "value"}
    return dict(sorted(members.items()))


def _declared(cls: type, package: str) -> list[str]:
    """Returns the attributes that a class says its objects have: by annotation, or as part of their stored form."""
    declared: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] == package:
            declared |= {*vars(base).get("__annotations__", ()), *vars(base).get("_spec", ())}
    return sorted(name for name in declared if not name.startswith("_"))


def parameters(function: Any, skip_self: bool = False) -> list[list[str]] | None:
    """Returns name, kind and default of each parameter in order; None where Python cannot tell.

    The kind is ``""`` for one that may be given by position or name, else ``"*"`` (name only), ``"/"`` (position only),
    ``"*args"`` or ``"**kwargs"``. The default is its text; one that has none is left out.
    """
    try:
        listed = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    return [_parameter(each) for each in (listed[1:] if skip_self else listed)]


_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "/",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "",
    inspect.Parameter.VAR_POSITIONAL: "*args",
    inspect.Parameter.KEYWORD_ONLY: "*",
    inspect.Parameter.VAR_KEYWORD: "**kwargs",
}


def _parameter(parameter: inspect.Parameter) -> list[str]:
    described = [parameter.name, _KINDS[parameter.kind]]
    return described if parameter.default is parameter.empty else [*described, default_text(parameter.default)]


def default_text(value: Any) -> str:
    """Returns a default as text that is the same in both packages."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(default_text, value))}]"
    if value is None or isinstance(value, (bool, int, float, str, dict)) or type(value).__module__ == "datetime":
        return repr(value)
    return f"<{type(value).__name__}>"


def feast_surface() -> dict[str, Any]:
    """Returns the facts of the installed Feast: its version, and of each public name its modules and facts."""
    from importlib.metadata import version

    package = importlib.import_module("feast")
    errors = importlib.import_module("feast.errors")
    objects: dict[str, Facts] = {}
    for module_name, names in NAMES.items():
        for name in names.split():
            objects[f"{module_name}.{name}"] = _facts_of(f"feast.{module_name}", name)
    described = {path.rpartition(".")[2] for path in objects}
    for name in sorted(package.__all__):
        if name not in described:
            objects[name] = _facts_of("feast", name)
    for name, value in sorted(vars(errors).items()):
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__:
            objects[f"errors.{name}"] = describe(value, "feast")
    return {"feast": version("feast"), "exported": sorted(package.__all__), "objects": dict(sorted(objects.items()))}


def _facts_of(module_name: str, name: str) -> Facts:
    """Returns the facts of a name; where its module needs a package that is not installed, from the source text."""
    try:
        return describe(getattr(importlib.import_module(module_name), name), "feast")
    except ImportError:
        return _facts_in_text(module_name, name)


def _facts_in_text(module_name: str, name: str) -> Facts:
    package, _, path = module_name.partition(".")
    folder = Path(str(importlib.import_module(package).__file__)).parent
    tree = ast.parse((folder / f"{path.replace('.', '/')}.py").read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    methods = {
        node.name: {"kind": "method", "parameters": _parameters_in_text(node)}
        for node in found.body
        if isinstance(node, ast.FunctionDef) and not node.decorator_list
    }
    made = methods.pop("__init__", None)
    facts = {"kind": "class", "bases": [base.id for base in found.bases if isinstance(base, ast.Name)]}
    public = {key: facts for key, facts in sorted(methods.items()) if not key.startswith("_")}
    return {**facts, "parameters": made["parameters"] if made else None, "members": public}


def _parameters_in_text(function: ast.FunctionDef) -> list[list[str]]:
    given = function.args
    defaults: list[ast.expr | None] = [None] * (len(given.args) - len(given.defaults))
    listed: list[list[str]] = []
    for argument, default in zip(given.args[1:], [*defaults, *given.defaults][1:], strict=True):
        listed.append([argument.arg, "", *([] if default is None else [ast.unparse(default)])])
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        listed.append([argument.arg, "*", *([] if default is None else [ast.unparse(default)])])
    return listed


def as_text(surface: Mapping[str, Any]) -> str:
    """Returns facts as the text of the file that holds them: one line a name."""
    lines = [f"    {json.dumps(path)}: {json.dumps(facts)}" for path, facts in surface["objects"].items()]
    head = {key: value for key, value in surface.items() if key != "objects"}
    return json.dumps(head)[:-1] + ', "objects": {\n' + ",\n".join(lines) + "\n}}\n"


if __name__ == "__main__":
    text = as_text(feast_surface())
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
