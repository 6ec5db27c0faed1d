"""Commands of Feast's remote offline store, as its client writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast_assets.errors import InputError, NotSupportedError, SavedDatasetLocationAlreadyExists
from feast_assets.serving.flight.feast_commands import FeastCommands
from feast_assets.serving.flight.known_sources import KnownSources
from feast_assets.types import Float64, Int64

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NO_ROWS = pa.table({"key": ["mock_key"]})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    (tmp_path / "feature_store.yaml").write_text("project: shop\n")
    rows = {
        "id": [1, 1, 2],
        "fare": [1.0, 2.0, 3.0],
        "at": [FIRST, FIRST + HOUR, FIRST + 2 * HOUR],
        "made": [FIRST] * 3,
    }
    pq.write_table(pa.table(rows), tmp_path / "rides.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "taken.parquet")
    driver = Entity(name="driver", join_keys=["driver_id"])
    rides = FileSource(
        name="rides",
        path="rides.parquet",
        timestamp_field="at",
        created_timestamp_column="made",
        field_mapping={"id": "driver_id"},
    )
    view = FeatureView(
        name="stats",
        entities=[driver],
        source=rides,
        schema=[Field(name="driver_id", dtype=Int64), Field(name="fare", dtype=Float64)],
    )
    store = FeatureStore(tmp_path)
    results = [FileSource(name=name, path=f"{name}.parquet", timestamp_field="at") for name in ("result", "taken")]
    store.apply([driver, view, FeatureService(name="service", features=[view.with_name("alias")]), *results])
    yield store
    store.close()


@pytest.fixture
def commands(store: FeatureStore) -> FeastCommands:
    return FeastCommands(store, KnownSources(store, any_source=False))


def _command(api: str, **arguments: object) -> bytes:
    return json.dumps({"command_id": "1", "api": api, **arguments}).encode()


def _history(**arguments: object) -> bytes:
    command = {
        "feature_view_names": ["stats"],
        "name_aliases": [None],
        "feature_refs": ["stats:fare"],
        "project": "shop",
        "full_feature_names": False,
        **arguments,
    }
    return _command("get_historical_features", **command)


def _entities() -> pa.Table:
    frame = pa.table({"driver_id": [1, 2], "event_timestamp": [FIRST + HOUR / 2, FIRST + 5 * HOUR]}).to_pandas()
    return pa.Table.from_pandas(frame.iloc[::-1])  # with an index column, as pandas leaves one


def test_history_is_answered_in_every_way_of_asking(commands: FeastCommands) -> None:
    rows = commands.read(_history(), _entities()).read_all()
    assert rows.to_pydict()["fare"] == [3.0, 1.0]
    assert "__index_level_0__" not in rows.column_names
    aliased = _history(name_aliases=["alias"], feature_refs=["alias:fare"], full_feature_names=True)
    assert commands.read(aliased, _entities()).read_all().to_pydict()["alias__fare"] == [3.0, 1.0]
    query = _history(entity_df_sql="SELECT 2 AS driver_id, TIMESTAMPTZ '2024-01-02 00:00:00+00' AS event_timestamp")
    assert commands.read(query, NO_ROWS).read_all().to_pydict()["fare"] == [3.0]
    dates = _history(start_date=FIRST.isoformat(), end_date="2024-01-01T01:00:00")
    assert commands.read(dates, NO_ROWS).read_all().to_pydict()["fare"] == [2.0]


def test_rows_of_sources_have_the_names_that_they_have_there(commands: FeastCommands) -> None:
    arguments = {
        "data_source_name": "rides",
        "join_key_columns": ["id"],
        "feature_name_columns": ["fare"],
        "timestamp_field": "at",
        "created_timestamp_column": "made",
        "start_date": FIRST.isoformat(),
        "end_date": (FIRST + HOUR).isoformat(),
    }
    latest = commands.read(_command("pull_latest_from_table_or_query", **arguments), NO_ROWS).read_all()
    assert latest.to_pydict() == {"id": [1], "fare": [2.0], "at": [FIRST + HOUR], "made": [FIRST]}
    every = commands.read(_command("pull_all_from_table_or_query", **arguments), NO_ROWS).read_all()
    assert sorted(every.to_pydict()["fare"]) == [1.0, 2.0], "both bounds count"
    open_end = {**arguments, "start_date": None, "end_date": None, "created_timestamp_column": None}
    whole = commands.read(_command("pull_all_from_table_or_query", **open_end), NO_ROWS).read_all()
    assert whole.num_rows == 3 and whole.column_names == ["id", "fare", "at"]


def test_results_are_saved_and_rows_written(commands: FeastCommands, store: FeatureStore, tmp_path: Path) -> None:
    arguments = json.loads(_history())
    persist = {**arguments, "api": "persist", "retrieve_func": "get_historical_features", "timeout": None}
    commands.write(
        json.dumps({**persist, "data_source_name": "result", "allow_overwrite": False}).encode(), _entities()
    )
    assert pq.read_table(tmp_path / "result.parquet")["fare"].to_pylist() == [3.0, 1.0]
    taken = json.dumps({**persist, "data_source_name": "taken", "allow_overwrite": False}).encode()
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        commands.write(taken, _entities())
    rows = pa.table({"id": [9], "fare": [9.0], "at": [FIRST], "made": [FIRST]})
    write = _command("offline_write_batch", feature_view_names=["stats"], name_aliases=[None], progress=None)
    commands.write(write, rows)
    moment = pa.table({"driver_id": [9], "event_timestamp": [FIRST + HOUR]})
    assert commands.read(_history(), moment).read_all()["fare"].to_pylist() == [9.0]
    source = json.dumps({"name": "rides", "type": "BATCH_FILE", "fileOptions": {"uri": "/etc/passwd"}})
    commands.write(_command("validate_data_source", data_source_proto=source), NO_ROWS)
    described = _command("get_table_column_names_and_types_from_data_source", data_source_proto=source)
    names = commands.read(described, NO_ROWS).read_all()["name"].to_pylist()
    assert names == ["driver_id", "fare", "at", "made"], "the registered file is looked at, not the one that is named"


@pytest.mark.parametrize(
    ("command", "error", "said"),
    [
        (_history(project="another"), InputError, "serves project 'shop'"),
        (_history(start_date="soon"), InputError, "is no time"),
        (_command("drop_everything"), NotSupportedError, "no command 'drop_everything'"),
        (b'{"api": 5}', InputError, "malformed"),
        (b'{"api": "', InputError, "malformed"),
        (
            _command("pull_all_from_table_or_query", data_source_name="rides", join_key_columns=["nope"]),
            InputError,
            "has no column 'nope'",
        ),
        (
            _command("get_table_column_names_and_types_from_data_source", data_source_proto="[]"),
            InputError,
            "malformed",
        ),
    ],
)
def test_wrong_commands_are_told(commands: FeastCommands, command: bytes, error: type[Exception], said: str) -> None:
    assert commands.is_command(command)
    with pytest.raises(error, match=said):
        commands.read(command, NO_ROWS)


def test_the_older_way_of_reading_is_refused(commands: FeastCommands) -> None:
    with pytest.raises(NotSupportedError, match="Use a newer Feast"):
        commands.write(_history(), _entities())
