"""Registries that Feast wrote (`feast_registry/write.py`): what is read of them, and that nothing in them is run."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from feast_assets import (
    BatchFeatureView,
    FeatureStore,
    FeatureView,
    FileSource,
    PushSource,
    SavedDataset,
    ValueType,
)
from feast_assets.cli.main import cli
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.policy import CombinedGroupNamespacePolicy, RoleBasedPolicy
from feast_assets.definitions.spec import canonical_text
from feast_assets.errors import InputError
from feast_assets.migration.feast_registry import TABLES, FeastProject, FeastRegistry
from feast_assets.migration.feast_registry_place import read_feast_registry
from feast_assets.migration.protobuf import Message, WireFormatError
from feast_assets.types import Array, Float32, Float64, Int64, String

FOLDER = Path(__file__).parent / "feast_registry"
FILE = FOLDER / "registry.pb"
SQL = FOLDER / "sql_registry.sqlite"
DEFINITIONS = """
import pandas as pd
from feast_assets import (
    BatchFeatureView, Entity, FeatureView, Field, FileSource, Float64, RequestSource, ValueType, on_demand_feature_view
)

driver = Entity(
    name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, description="Who drives.", tags={"a": "b"}
)
city = Entity(name="city", join_keys=["city"], value_type=ValueType.STRING, owner="team")
stats = FeatureView(
    name="stats",
    entities=[driver, city],
    source=FileSource(name="rides", path="stats.parquet", timestamp_field="at"),
    schema=[Field(name="fare", dtype=Float64)],
)

@on_demand_feature_view(
    sources=[stats, RequestSource(name="asked", schema=[Field(name="tip", dtype=Float64)])],
    schema=[Field(name="total", dtype=Float64)],
)
def totals(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"total": inputs["fare"] + inputs["tip"]})
"""


@pytest.fixture(params=["file", "sql"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> FeastProject:
    return _registry(request.param, tmp_path).project("shop")


def _registry(kind: str, folder: Path) -> FeastRegistry:
    repository = _repository(folder, FILE if kind == "file" else SQL)
    return read_feast_registry(FeatureStore(repo_path=repository).config, repository).registry


def _repository(folder: Path, feast_registry: Path | None, registry: object = "data/registry.db") -> Path:
    (folder / "data").mkdir()
    if feast_registry is not None:
        shutil.copy(feast_registry, folder / "data" / "registry.db")
    settings = {
        "project": "shop",
        "registry": registry,
        "online_store": {"type": "sqlite", "path": "data/online.db"},
        "enforce_online_ttl": False,
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (folder / "definitions.py").write_text(DEFINITIONS, encoding="utf-8")
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    rows = {
        "driver_id": [1, 2],
        "city": ["Bern", "Rome"],
        "at": [noon, noon],
        "known_at": [noon, noon],
        "fare_in_dollars": [1.0, 2.0],
        "rides": [3, 4],
        "vector": pd.Series([[1.0], [2.0]]),
    }
    pd.DataFrame(rows).to_parquet(folder / "stats.parquet")
    return folder


def _migrate(repository: Path, *options: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["migrate", str(repository), *options], prog_name="feast-assets")
    assert result.exit_code == exit_code, result.output + repr(result.exception)
    return result


def test_everything_that_feast_says_of_an_object_is_read(project: FeastProject) -> None:
    by_name: dict[str, Any] = {f"{type(d).__name__} {d.name}": d for d in project.definitions}
    assert sorted(by_name) == [
        "Entity city",
        "Entity driver",
        "FeatureService model",
        "FeatureView everywhere",
        "FeatureView live",
        "FeatureView stats",
        "FileSource plain",
        "FileSource pushed_history",
        "FileSource rides",
        "Permission everything",
        "Permission readers",
        "Project shop",
        "PushSource pushed",
        "SavedDataset training",
    ]
    driver, stats, rides = by_name["Entity driver"], by_name["FeatureView stats"], by_name["FileSource rides"]
    assert (driver.join_key, driver.value_type, driver.description, driver.tags) == (
        "driver_id",
        ValueType.INT64,
        "Who drives.",
        {"a": "b"},
    )
    assert by_name["Project shop"].description == "A shop."
    assert isinstance(rides, FileSource)
    assert (rides.path, rides.timestamp_field, rides.created_timestamp_column) == ("stats.parquet", "at", "known_at")
    assert (rides.field_mapping, rides.tags, rides.owner) == ({"fare_in_dollars": "fare"}, {"tier": "gold"}, "ops")
    assert isinstance(stats, FeatureView)
    assert stats.ttl == timedelta(days=3, microseconds=5)
    assert stats.batch_source == rides
    assert [(f.name, f.dtype) for f in stats.entity_columns] == [("driver_id", Int64), ("city", String)]
    assert [(f.name, f.dtype) for f in stats.features] == [
        ("fare", Float64),
        ("rides", Int64),
        ("vector", Array(Float32)),
    ]
    assert (stats.features[0].description, stats.features[0].tags) == ("Dollars.", {"unit": "usd"})
    assert (stats.features[2].vector_length, stats.features[2].vector_search_metric) == (1, "L2")
    assert isinstance(by_name["FeatureView live"].stream_source, PushSource)
    assert by_name["FeatureView everywhere"].entities == [] or not by_name["FeatureView everywhere"].online
    model = by_name["FeatureService model"]
    first, second = model.feature_view_projections
    assert (first.name, [f.name for f in first.features]) == ("stats", ["fare", "vector"])
    assert (second.name, second.name_alias, second.join_key_map) == ("live", "now", {"driver_id": "rider_id"})
    assert (model.logging_config.destination.path, model.logging_config.sample_rate) == ("logs", 0.25)
    readers, everything = by_name["Permission readers"], by_name["Permission everything"]
    assert (readers.type_names, readers.name_patterns) == (["FeatureView", "LabelView"], ["st.*"])
    assert readers.actions == [AuthzedAction.DESCRIBE, AuthzedAction.READ_ONLINE]
    assert readers.policy == CombinedGroupNamespacePolicy(groups=["team"], namespaces=["prod"])
    assert (everything.policy, everything.tags) == (RoleBasedPolicy(roles=["admin"]), {"by": "ops"})
    assert len(everything.actions) == 8
    dataset = by_name["SavedDataset training"]
    assert isinstance(dataset, SavedDataset)
    assert (dataset.features, dataset.storage.path) == (["stats:fare"], "training.parquet")  # type: ignore[attr-defined]


def test_objects_with_functions_are_left_to_the_repository(project: FeastProject) -> None:
    assert sorted(project.from_repository) == [
        ("feature service", "whole"),
        ("feature view", "transformed"),
        ("on-demand feature view", "totals"),
    ]
    assert project.problems == []
    assert not any(isinstance(d, BatchFeatureView) for d in project.definitions)


def test_intervals_that_feast_recorded_are_joined(project: FeastProject) -> None:
    day = [datetime(2024, 1, n, tzinfo=UTC) for n in range(1, 7)]
    assert project.intervals == {"stats": [(day[0], day[2]), (day[4], day[5])]}


def test_a_file_and_tables_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    of_file, of_tables = _registry("file", tmp_path / "a"), _registry("sql", tmp_path / "b")
    assert of_file.projects() == of_tables.projects() == ["other", "shop"]
    for name in of_file.projects():
        texts = [
            sorted(canonical_text(d.to_spec()) for d in registry.project(name).definitions)
            for registry in (of_file, of_tables)
        ]
        assert texts[0] == texts[1]


@pytest.mark.parametrize("kind", ["file", "sql"])
def test_an_import_takes_the_place_of_feasts_file_and_proposes_the_first_run(tmp_path: Path, kind: str) -> None:
    original = FILE if kind == "file" else SQL
    repository = _repository(tmp_path, original)
    registry_file = repository / "data" / "registry.db"
    shown = _migrate(repository, "--import-registry").output
    assert "feature view stats" in shown
    assert "on-demand feature view totals" in shown
    assert registry_file.read_bytes() == original.read_bytes()
    assert not (repository / "data" / "registry.db.feast").exists()

    output = _migrate(repository, "--import-registry", "--write").output
    assert "`feast-assets apply` removes what no file declares" in output
    assert (repository / "data" / "registry.db.feast").read_bytes() == original.read_bytes()
    assert "feature view transformed is not imported: it has a function" in output
    assert "materialize 2024-01-01T00:00:00+00:00 2024-01-03T00:00:00+00:00 --views stats" in output
    store = FeatureStore(repo_path=repository)
    assert sorted(s.name for s in store.list_feature_services()) == ["model", "whole"]
    assert store.registry.materialization_intervals("stats") == []
    assert store.get_feature_view("stats").ttl == timedelta(days=3, microseconds=5)
    store.materialize(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC), feature_views=["stats"])
    answer = store.get_online_features(
        ["stats:rides", "totals:total"], [{"driver_id": 2, "city": "Rome", "tip": 0.5}]
    ).to_dict()
    assert (answer["rides"], answer["total"]) == ([4], [2.5])
    assert not (Path.cwd() / "unpickled").exists()
    again = _migrate(repository, "--import-registry", "--write", exit_code=1)
    assert "no registry of Feast" in again.output


def test_an_import_that_fails_leaves_feasts_file_where_it_was(tmp_path: Path) -> None:
    repository = _repository(tmp_path, FILE)
    pd.DataFrame({"at": [datetime(2024, 1, 1, tzinfo=UTC)]}).to_parquet(repository / "stats.parquet")
    _migrate(repository, "--import-registry", "--write", exit_code=1)
    assert sorted(os.listdir(repository / "data")) == ["registry.db"]
    assert (repository / "data" / "registry.db").read_bytes() == FILE.read_bytes()


def test_a_registry_elsewhere_is_imported_into_a_new_one(tmp_path: Path) -> None:
    repository = _repository(tmp_path, None, "file://data/registry")
    shutil.copy(FILE, repository / "feast.db")
    _migrate(repository, "--import-registry", "--from", "feast.db", "--write")
    assert FeatureStore(repo_path=repository).registry.revision() == 1
    assert (repository / "feast.db").read_bytes() == FILE.read_bytes()
    refused = _migrate(repository, "--import-registry", "--from", "feast.db", "--write", exit_code=1)
    assert "has definitions already" in refused.output


def test_the_error_of_a_feast_file_at_the_registrys_path_says_what_imports_it(tmp_path: Path) -> None:
    for folder, registry in (("file", FILE), ("sql", SQL)):
        (tmp_path / folder).mkdir()
        repository = _repository(tmp_path / folder, registry)
        result = CliRunner().invoke(cli, ["-c", str(repository), "apply"], prog_name="feast-assets")
        assert result.exit_code == 1
        assert "feast-assets migrate" in result.output
        assert "--import-registry" in result.output


def test_what_is_no_registry_of_feast_is_refused(tmp_path: Path) -> None:
    repository = _repository(tmp_path, None)
    assert "There is no registry of Feast at" in _migrate(repository, "--import-registry", exit_code=1).output
    (repository / "data" / "registry.db").write_bytes(b"something else, of some length")
    assert "is no registry of Feast" in _migrate(repository, "--import-registry", exit_code=1).output
    assert "--from is of use" in _migrate(repository, "--from", "x", exit_code=2).output


@given(st.integers(0, len(FILE.read_bytes()) - 1), st.binary(min_size=1, max_size=3))
def test_damaged_bytes_are_refused_or_read_and_never_run(at: int, put: bytes) -> None:
    content = FILE.read_bytes()
    damaged = content[:at] + put + content[at + len(put) :]
    try:
        registry = FeastRegistry.of_file(damaged, "x")
        for name in registry.projects():
            registry.project(name)
    except (InputError, WireFormatError):
        pass


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def _bytes(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


_NAMED = _bytes(20, b"s") + _bytes(21, b"shop")
_FILE_SOURCE = _number(1, 1) + _NAMED + _bytes(3, b"at") + _bytes(11, _bytes(2, b"x.parquet"))


def _nested(depth: int) -> bytes:
    source = _FILE_SOURCE
    for _ in range(depth):
        source = _number(1, 9) + _NAMED + _bytes(26, source)
    return source


def _postgres(configuration: bytes) -> bytes:
    return _number(1, 6) + _NAMED + _bytes(17, b"x.PostgreSQLSource") + _bytes(16, _bytes(1, configuration))


_LABELS = _bytes(1, b"labels") + _bytes(2, b"shop") + _bytes(7, _FILE_SOURCE)
_VIEW = _bytes(1, b"stats") + _bytes(2, b"shop") + _bytes(7, _FILE_SOURCE)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (_bytes(12, _nested(2)), "the batch source 's' has a batch source, too"),
        (_bytes(12, _nested(3000)), "the batch source 's' has a batch source, too"),
        (_bytes(12, _postgres(b"[" * 200_000)), "the options of its source 's' are damaged"),
        (_bytes(12, _postgres(b"5")), "the options of its source 's' are damaged"),
        (_bytes(19, _bytes(1, _LABELS + _number(13, 2**64 - 7))), "it has a conflict policy of the number -7"),
        (_bytes(19, _bytes(1, _LABELS + _number(13, 3))), "it has a conflict policy of the number 3"),
        (_bytes(6, _bytes(1, _VIEW + _bytes(4, _bytes(1, b"fare")))), "its field 'fare' has no type"),
    ],
    ids=["batch", "deep batch", "deep json", "json", "negative", "unknown", "untyped"],
)
def test_an_object_with_hostile_content_is_left_out_with_the_reason(content: bytes, problem: str) -> None:
    (said,) = FeastRegistry.of_file(content, "x").project("shop").problems
    assert problem in said


@pytest.mark.parametrize("message", [10**15, "text"], ids=["number", "text"])
def test_a_row_without_bytes_is_refused(tmp_path: Path, message: object) -> None:
    repository = _repository(tmp_path, SQL)
    with closing(sqlite3.connect(repository / "data" / "registry.db")) as connection, connection:
        connection.execute("UPDATE entities SET entity_proto = ?", (message,))
    output = _migrate(repository, "--import-registry", exit_code=1).output
    assert "is damaged: a message is" in output


def test_a_proposed_command_runs_nothing_of_a_views_name(tmp_path: Path) -> None:
    moments = _bytes(1, _number(1, 1_700_000_000)) + _bytes(2, _number(1, 1_700_086_400))
    spec = _bytes(1, b"a; touch unpickled") + _bytes(2, b"shop")
    repository = _repository(tmp_path, FILE)
    with (repository / "data" / "registry.db").open("ab") as file:
        file.write(_bytes(6, _bytes(1, spec) + _bytes(2, _bytes(3, moments))))
    output = _migrate(repository, "--import-registry").output
    assert "--views 'a; touch unpickled'" in output


def test_reading_loads_neither_protobuf_nor_pickle() -> None:
    code = (
        "import sys\n"
        "import feast_assets.migration.feast_registry\n"
        "assert 'google.protobuf' not in sys.modules and 'dill' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_of_the_wire_format() -> None:
    message = Message(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x12\x02hi\x18\x96\x01")
    assert (message.number(1), message.text(2), message.number(3), message.number(9)) == (-1, "hi", 150, 0)
    for wrong in (b"\x08", b"\x12\x05hi", b"\x0b", b"\x00\x01"):
        with pytest.raises(WireFormatError):
            Message(wrong)


def test_tables_on_a_server_are_read_and_its_login_is_not_shown(tmp_path: Path, postgres_url: str) -> None:
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with closing(sqlite3.connect(SQL)) as feast, engine.begin() as server:
        for table, (_, column) in TABLES.items():
            server.execute(text(f"CREATE TABLE {table} (project_id TEXT, {column} BYTEA)"))
            for project, message in feast.execute(f"SELECT project_id, {column} FROM {table}"):
                server.execute(
                    text(f"INSERT INTO {table} VALUES (:project, :message)"), {"project": project, "message": message}
                )
        server.execute(text("CREATE TABLE feast_metadata (project_id TEXT)"))
    engine.dispose()
    repository = _repository(tmp_path, None, postgres_url)
    output = _migrate(repository, "--import-registry", "--write").output
    assert "Imported 16 objects" in output
    assert "s3cret" not in output
    store = FeatureStore(repo_path=repository)
    assert [v.name for v in store.list_feature_views()] == ["everywhere", "live", "stats"]
    store.close()
    wrong = _migrate(repository, "--import-registry", "--from", f"{postgres_url}_nowhere", exit_code=1)
    assert "cannot be read" in wrong.output
    assert "s3cret" not in wrong.output
