"""Validation and inference at apply."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from applied_trips import TIME, TRIPS, Sources, driver, fields, run, trips, trips_source

from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME, Entity
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.project import Project
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.sources.push_source import PushSource
from feast_assets.definitions.sources.request_source import RequestSource
from feast_assets.errors import (
    DefinitionError,
    EntityNotFoundException,
    RegistryInferenceFailure,
    SourceError,
)
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp, ValueType

# --- what is inferred


def test_what_is_left_out_is_filled_in_on_copies() -> None:
    given = FeatureView(name="rides", entities=[driver()], source=trips_source())
    found = run(driver(), given)
    view = found["rides"]
    assert fields(view) == {"fare": Float64, "kind": String}
    assert [(f.name, f.dtype) for f in view.entity_columns] == [("driver_id", Int64)]
    assert view.projection.features == view.features
    assert view.batch_source.timestamp_field == "at"
    assert view.partitions == Partitions("daily", datetime(2024, 3, 5, tzinfo=UTC))
    assert found["trips"] == view.batch_source
    assert given.features == []
    assert given.entity_columns == []
    assert given.batch_source is not None
    assert given.batch_source.timestamp_field == ""
    assert given.partitions == Partitions("daily")


def test_each_source_is_read_once() -> None:
    sources = Sources()
    run(driver(), trips("a"), trips("b"), sources=sources)
    assert sources.read == ["trips"]


@pytest.mark.parametrize(
    ("arrow", "dtype"),
    [
        (pa.int8(), Int32),
        (pa.uint64(), Int64),
        (pa.float32(), Float32),
        (pa.bool_(), Bool),
        (pa.large_string(), String),
        (pa.date32(), UnixTimestamp),
        (pa.list_(pa.int64()), Array(Int64)),
        (pa.dictionary(pa.int8(), pa.string()), String),
    ],
)
def test_types_are_inferred_from_arrow(arrow: pa.DataType, dtype: Any) -> None:
    found = run(driver(), trips(), sources=Sources(trips={"driver_id": pa.int64(), "at": TIME, "x": arrow}))
    assert fields(found["rides"]) == {"x": dtype}


def test_a_column_without_a_value_type_must_be_declared() -> None:
    sources = Sources(trips={**TRIPS, "took": pa.duration("s")})
    with pytest.raises(RegistryInferenceFailure, match=r"'rides'.*'took'.*duration"):
        run(driver(), trips(), sources=sources)
    assert fields(run(driver(), trips(schema=[Field(name="fare", dtype=Float64)]), sources=sources)["rides"])


def test_timestamp_and_partition_columns_are_no_features() -> None:
    source = trips_source(timestamp_field="at", created_timestamp_column="made", date_partition_column="day")
    columns = {**TRIPS, "made": TIME, "day": pa.date32(), "other": TIME}
    found = run(driver(), trips(source=source), sources=Sources(trips=columns))
    assert fields(found["rides"]) == {"fare": Float64, "kind": String, "other": UnixTimestamp}


def test_columns_go_by_their_mapped_names() -> None:
    source = trips_source(field_mapping={"at": "happened", "fare": "price", "driver_id": "who"})
    entity = Entity(name="driver", join_keys=["who"])
    found = run(entity, trips(source=source, entities=[entity]))
    assert fields(found["rides"]) == {"price": Float64, "kind": String}
    assert found["trips"].timestamp_field == "at"


def test_a_source_with_only_keys_and_times_has_no_features() -> None:
    with pytest.raises(RegistryInferenceFailure, match="no features to infer"):
        run(driver(), trips(), sources=Sources(trips={"driver_id": pa.int64(), "at": TIME}))


@pytest.mark.parametrize(
    ("columns", "said"),
    [({"a": TIME, "b": TIME}, "its timestamp columns are 'a', 'b'"), ({"a": pa.int64()}, "it has no timestamp column")],
)
def test_a_timestamp_that_cannot_be_inferred_names_the_candidates(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(RegistryInferenceFailure, match=f"'trips' needs a timestamp_field.*{said}"):
        run(trips_source(), sources=Sources(trips=columns))


def test_the_created_column_is_no_candidate_for_the_timestamp() -> None:
    source = trips_source(created_timestamp_column="made")
    assert run(source, sources=Sources(trips={"at": TIME, "made": TIME}))["trips"].timestamp_field == "at"


def test_the_type_of_a_join_key_comes_from_the_entity_before_the_source() -> None:
    assert run(driver(value_type=ValueType.INT32), trips())["rides"].entity_columns[0].dtype == Int32
    assert run(driver(), trips())["rides"].entity_columns[0].dtype == Int64


def test_a_view_without_entities_brings_the_entity_that_stands_in() -> None:
    found = run(FeatureView(name="rides", source=trips_source()))
    assert DUMMY_ENTITY_NAME in found
    assert fields(found["rides"]) == {"driver_id": Int64, "fare": Float64, "kind": String}


def test_sources_inside_others_are_pulled_in() -> None:
    push = PushSource(name="pushed", batch_source=trips_source())
    request = RequestSource(name="asked", schema=[Field(name="x", dtype=Int64)])
    view = trips(source=push)
    on_demand = OnDemandFeatureView(
        name="doubled", sources=[view, request], schema=[Field(name="y", dtype=Int64)], udf=lambda df: df
    )
    found = run(driver(), view, on_demand)
    assert found["pushed"].timestamp_field == "at"
    assert found["pushed"].batch_source == found["trips"]
    assert found["rides"].stream_source == found["pushed"]
    assert found["asked"] == request


def test_a_push_source_alone_brings_its_batch_source() -> None:
    found = run(PushSource(name="pushed", batch_source=trips_source()), PushSource(name="bare"))
    assert set(found) == {"shop", "pushed", "trips", "bare"}


# --- the start of partitions


def test_the_start_stays_what_the_registry_has() -> None:
    first = run(driver(), trips())
    again = run(
        driver(),
        trips(),
        snapshot=RegistrySnapshot.of("shop", first.values()),
        earliest=lambda v: datetime(1999, 1, 1, tzinfo=UTC),
    )
    assert again["rides"].partitions == first["rides"].partitions


def test_another_grain_gets_a_start_of_its_own() -> None:
    first = RegistrySnapshot.of("shop", run(driver(), trips()).values())
    monthly = run(driver(), trips(partitions=Partitions("monthly")), snapshot=first)
    assert monthly["rides"].partitions == Partitions("monthly", datetime(2024, 3, 1, tzinfo=UTC))


def test_without_rows_the_start_is_left_for_a_later_apply() -> None:
    empty = run(driver(), trips(), earliest=lambda v: None)
    assert empty["rides"].partitions == Partitions("daily")
    later = run(driver(), trips(), snapshot=RegistrySnapshot.of("shop", empty.values()))
    assert later["rides"].partitions.start == datetime(2024, 3, 5, tzinfo=UTC)


def test_a_declared_start_stands() -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    assert run(driver(), trips(partitions=Partitions("daily", start)))["rides"].partitions.start == start
    assert run(driver(), trips(partitions=None))["rides"].partitions is None


# --- what is checked


def test_a_missing_feature_names_the_nearest_column() -> None:
    with pytest.raises(SourceError, match=r"FeatureView 'rides': field 'far'.*'trips'.*Did you mean 'fare'\?"):
        run(driver(), trips(schema=[Field(name="far", dtype=Float64)]))


def test_a_missing_join_key_names_the_nearest_column() -> None:
    entity = Entity(name="driver", join_keys=["drivr_id"])
    with pytest.raises(RegistryInferenceFailure, match=r"'drivr_id'.*Did you mean 'driver_id'\?"):
        run(entity, trips(entities=[entity]))
    declared = [Field(name="drivr_id", dtype=Int64), Field(name="fare", dtype=Float64)]
    with pytest.raises(SourceError, match=r"'drivr_id'.*Did you mean 'driver_id'\?"):
        run(entity, trips(entities=[entity], schema=declared))


@pytest.mark.parametrize("option", ["timestamp_field", "created_timestamp_column"])
def test_a_missing_time_column_is_named(option: str) -> None:
    source = trips_source(**{"timestamp_field": "at", option: "att"})
    with pytest.raises(SourceError, match=rf"FileSource 'trips': {option} 'att'.*Did you mean 'at'\?"):
        run(driver(), trips(source=source))


def test_a_type_that_disagrees_names_view_column_and_both_types() -> None:
    with pytest.raises(
        SourceError, match="'rides': field 'kind' is declared Int64, but data source 'trips' has string"
    ):
        run(driver(), trips(schema=[Field(name="kind", dtype=Int64)]))
    with pytest.raises(SourceError, match=r"'driver_id' is declared Bool|'driver_id' is declared Array"):
        run(driver(), trips(schema=[Field(name="driver_id", dtype=Array(Int64)), Field(name="fare", dtype=Float64)]))


@pytest.mark.parametrize(("column", "dtype"), [("fare", Float32), ("driver_id", Int32), ("at", UnixTimestamp)])
def test_types_that_can_be_read_as_declared_pass(column: str, dtype: Any) -> None:
    view = FeatureView(
        name="rides", source=trips_source(timestamp_field="at"), schema=[Field(name=column, dtype=dtype)]
    )
    assert fields(run(view)["rides"]) == {column: dtype}


def test_sources_are_not_read_where_nothing_is_inferred_and_checks_are_off() -> None:
    sources = Sources()
    schema = [Field(name="driver_id", dtype=Int64), Field(name="nowhere", dtype=Int64)]
    run(driver(), trips(schema=schema), sources=sources, check_sources=False)
    assert sources.read == []


def test_an_entity_that_is_not_applied_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(EntityNotFoundException, match=r"'rides'.*no entity 'driver'.*Did you mean 'drivers'\?"):
        run(Entity(name="drivers", join_keys=["driver_id"]), trips())


def test_an_entity_of_the_registry_will_do_only_if_it_stays() -> None:
    snapshot = RegistrySnapshot.of("shop", [driver()])
    assert "driver" not in run(trips(), snapshot=snapshot)
    with pytest.raises(EntityNotFoundException):
        run(trips(), snapshot=snapshot, partial=False)


def test_an_entity_with_another_join_key_is_an_error() -> None:
    with pytest.raises(DefinitionError, match=r"'driver_id'.*'other_id'"):
        run(Entity(name="driver", join_keys=["other_id"]), trips())


def test_a_view_without_source_needs_types() -> None:
    with pytest.raises(RegistryInferenceFailure, match="'labels' needs a schema"):
        run(driver(), LabelView(name="labels", entities=[driver()]))
    with pytest.raises(RegistryInferenceFailure, match="'driver_id' is not known"):
        run(driver(), LabelView(name="labels", entities=[driver()], schema=[Field(name="good", dtype=Bool)]))
    schema = [Field(name="driver_id", dtype=Int64), Field(name="good", dtype=Bool), Field(name="labeler", dtype=String)]
    found = run(driver(), LabelView(name="labels", entities=[driver()], schema=schema))
    assert fields(found["labels"]) == {"good": Bool, "labeler": String}


# --- transformed views


def _transformed(**options: Any) -> BatchFeatureView:
    return BatchFeatureView(
        mode="sql",
        udf=lambda trips: f"SELECT driver_id, at, sum(fare) AS total FROM {trips} GROUP BY ALL",
        **{
            "name": "totals",
            "entities": [driver()],
            "source": trips_source(),
            "schema": [Field(name="total", dtype=Float64)],
            **options,
        },
    )


def test_a_transformed_view_is_not_compared_with_its_inputs() -> None:
    view = run(driver(), _transformed())["totals"]
    assert fields(view) == {"total": Float64}
    assert [(f.name, f.dtype) for f in view.entity_columns] == [("driver_id", Int64)]
    assert view.sources[0].timestamp_field == "at"
    assert view.batch_source.timestamp_field == "at"


def test_a_transformed_view_needs_a_schema() -> None:
    with pytest.raises(RegistryInferenceFailure, match=r"'totals' needs a schema.*transformation"):
        run(driver(), _transformed(schema=None))


def test_a_sink_that_is_not_there_yet_takes_its_times_from_the_first_source() -> None:
    sink = FileSource(name="kept", path="kept.parquet")
    sources = Sources()
    found = run(driver(), sink, _transformed(sink_source=sink, offline=True), sources=sources)
    assert found["kept"].timestamp_field == "at"
    assert found["totals"].batch_source == found["kept"]
    assert sources.read == ["trips"]


def _kept(name: str, reads: DataSource | None = None, offline: bool = True, **options: Any) -> BatchFeatureView:
    sink = FileSource(name=f"kept_{name}", path=f"kept_{name}", **options)
    source = reads or trips_source(timestamp_field="at")
    return _transformed(name=name, source=source, sink_source=sink, offline=offline)


def test_a_result_that_is_not_kept_yet_has_the_columns_of_its_view() -> None:
    maker = _kept("daily", field_mapping={"at": "moment"})
    assert maker.sink_source is not None
    prepared = run(driver(), trips("a_reader", source=maker.sink_source), maker)
    assert fields(prepared["a_reader"]) == fields(prepared["daily"])
    assert [(f.name, f.dtype) for f in prepared["a_reader"].entity_columns] == [("driver_id", Int64)]
    # The view may stand already, and the one that reads it come later.
    standing = RegistrySnapshot.of("shop", run(driver(), maker).values())
    later = run(trips("a_reader", source=maker.sink_source), snapshot=standing)
    assert fields(later["a_reader"]) == fields(prepared["daily"])


def test_the_columns_of_a_result_are_in_the_order_of_its_files() -> None:
    entities = [Entity(name=n, join_keys=[n], value_type=ValueType.INT64) for n in ("z", "driver_id", "a")]
    maker = BatchFeatureView(
        name="wide",
        mode="sql",
        udf=lambda trips: f"SELECT * FROM {trips}",
        entities=entities,
        source=trips_source(timestamp_field="at"),
        sink_source=FileSource(name="kept_wide", path="kept_wide"),
        offline=True,
        schema=[Field(name="total", dtype=Float64)],
    )
    reader = trips("reader", source=maker.sink_source)
    assert list(fields(run(*entities, driver(), maker, reader)["reader"])) == ["a", "z", "total"]


def test_a_result_without_entities_brings_no_key() -> None:
    sink = FileSource(name="kept_all", path="kept_all")
    maker = _transformed(name="all", entities=[], sink_source=sink, offline=True)
    reader = FeatureView(name="reader", source=sink)
    assert list(fields(run(maker, reader)["reader"])) == ["total"]


def test_a_disabled_view_keeps_no_result() -> None:
    maker = _kept("daily")
    maker.enabled = False
    with pytest.raises(SourceError, match="'daily', which keeps its result there, is disabled"):
        run(driver(), trips("reader", source=maker.sink_source), maker)


def test_what_reads_a_result_that_is_not_kept_yet_is_compared_with_its_view() -> None:
    maker = _kept("daily")
    reader = trips("reader", [Field(name="totals", dtype=Float64)], source=maker.sink_source)
    with pytest.raises(SourceError, match=r"'totals' is not a column of data source 'kept_daily'.*'total'"):
        run(driver(), reader, maker)


def test_a_result_that_nobody_keeps_says_so() -> None:
    maker = _kept("daily", offline=False)
    with pytest.raises(SourceError, match="sink_source of feature view 'daily', .* only with offline=True"):
        run(driver(), trips("reader", source=maker.sink_source), maker)


def test_views_that_read_each_others_results_are_refused() -> None:
    one, other = _kept("one"), _kept("other", FileSource(name="kept_one", path="kept_one", timestamp_field="at"))
    circle = _kept("one", other.sink_source)
    assert fields(run(driver(), other, one)["other"]) == {"total": Float64}
    with pytest.raises(DefinitionError, match="in a circle"):
        run(driver(), other, circle)


def test_the_code_of_a_transformation_stays_with_the_copy() -> None:
    given = _transformed()
    assert run(driver(), given)["totals"].transformation.udf is given.transformation.udf  # type: ignore[union-attr]


def test_a_feature_named_like_the_time_of_entity_dataframes_is_refused() -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    source = FileSource(name="trips", path="trips.parquet", timestamp_field="at")
    fields = [Field(name="event_timestamp", dtype=UnixTimestamp)]
    view = FeatureView(name="v", entities=[driver], source=source, schema=fields)
    with pytest.raises(DefinitionError, match="'event_timestamp'.*give it another name with the source's field_map"):
        run(driver, view, sources=Sources(trips={**TRIPS, "event_timestamp": TIME}))


# --- projects


def test_the_project_is_implied_declared_or_kept() -> None:
    assert run(project_description="sells")["shop"] == Project(name="shop", description="sells")
    assert run(Project(name="shop", tags={"a": "b"}))["shop"].tags == {"a": "b"}
    stored = RegistrySnapshot.of("shop", [Project(name="shop", tags={"a": "b"})])
    assert run(snapshot=stored)["shop"].tags == {"a": "b"}


def test_a_second_or_foreign_project_is_refused() -> None:
    with pytest.raises(DefinitionError, match="at most one Project"):
        run(Project(name="shop"), Project(name="other"))
    with pytest.raises(DefinitionError, match=r"'other'.*'shop'"):
        run(Project(name="other"))


def test_only_definitions_can_be_applied() -> None:
    with pytest.raises(DefinitionError, match="Cannot apply 7"):
        run(7)  # type: ignore[arg-type]
