"""Historical retrieval: the entity dataframe, the join, on-demand features, and a range without entities."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drivers import DAY, DRIVER, NOW, ORDERS, PROFILE, REQUEST, STATS, WEATHER, Functions, service, snapshot, sums

from feast_assets import (
    BatchFeatureView,
    FeatureView,
    Field,
    FileSource,
    Int32,
    Int64,
    LabelView,
    PushSource,
    String,
)
from feast_assets.errors import (
    DefinitionError,
    EntityDFNotDateTime,
    EntitySQLEmptyResults,
    EntityTimestampInferenceException,
    FeastEntityDFMissingColumnsError,
    FeatureNameCollisionError,
    InputError,
    RequestDataNotFoundInEntityDfException,
    SourceError,
    TransformationError,
)
from feast_assets.retrieval.historical import HistoricalRetrieval
from feast_assets.retrieval.training_set import build_training_set

MONDAY = datetime(2024, 6, 3, tzinfo=UTC)
ROWS = [
    {"driver_id": 1, "ts": MONDAY, "trips": 5, "rate": 0.5, "city": "Rome"},
    {"driver_id": 1, "ts": MONDAY + DAY, "trips": 6, "rate": 0.6, "city": "Rome"},
    {"driver_id": 2, "ts": MONDAY, "trips": 7, "rate": None, "city": "Oslo"},
]


@pytest.fixture(autouse=True)
def _history(project):
    project.write(STATS, ROWS)


def spine(*rows, time="event_timestamp"):
    return pa.table(
        {
            "driver_id": [driver for driver, _ in rows],
            time: pa.array([moment for _, moment in rows], pa.timestamp("us", "UTC")),
        }
    )


NOON = MONDAY + DAY / 2
THREE = spine((2, NOON), (1, NOON + DAY), (1, NOON))


def test_each_row_gets_what_was_known_at_its_time(project):
    table = project.job(THREE, ["stats:trips", "stats:city"]).to_arrow()
    assert table.column_names == ["driver_id", "event_timestamp", "trips", "city"]
    assert table["trips"].to_pylist() == [7, 6, 5]
    assert table["city"].to_pylist() == ["Oslo", "Rome", "Rome"]


def test_rows_that_find_nothing_stay_with_nulls_and_repeats_stay_repeated(project):
    rows = spine((1, NOON), (9, NOON), (1, NOON), (1, MONDAY - DAY), (1, MONDAY + 9 * DAY))
    assert project.job(rows, ["stats:trips"]).to_arrow()["trips"].to_pylist() == [5, None, 5, None, None]


def test_the_job_reads_nothing_before_it_is_asked(project):
    job = project.job(THREE, ["stats:trips"])
    (project.root / "stats.parquet").unlink()
    with pytest.raises(SourceError, match="stats_file"):
        job.to_arrow()


@pytest.mark.parametrize("full", [False, True])
def test_columns_have_the_order_and_names_of_an_online_read(project, full):
    project.put(STATS, *ROWS[:1])
    asked = ["sums:share", "profile:active", "stats:trips"]
    registry = snapshot(sums())
    extra = {"bonus": [1], "asked": pa.array([NOON])}
    history = project.job(
        pa.table({"driver_id": [1], **extra, "event_timestamp": pa.array([NOON])}),
        asked,
        registry,
        full_feature_names=full,
    ).to_arrow()
    online = project.read(asked, [{"driver_id": 1, "bonus": 1, "asked": NOON}], registry, full_feature_names=full)
    given = ("event_timestamp", "bonus", "asked")  # what is handed in for functions is not given back online
    assert [n for n in history.column_names if n not in given] == online.feature_names


# --- the entity dataframe


def forms():
    frame = THREE.to_pandas()
    yield "pandas", frame
    yield "pandas index", frame.set_index(pd.Index([7, 3, 3]))
    yield "polars", pl.from_arrow(THREE)
    yield "polars lazy", pl.from_arrow(THREE).lazy()
    yield "batch", THREE.to_batches()[0]
    yield "reader", pa.RecordBatchReader.from_batches(THREE.schema, THREE.to_batches())
    yield "chunks", pa.concat_tables([THREE.slice(0, 1), THREE.slice(1)])
    yield "dict", {"driver_id": [2, 1, 1], "event_timestamp": THREE["event_timestamp"].to_pylist()}
    yield "naive", frame.assign(event_timestamp=frame["event_timestamp"].dt.tz_localize(None))
    yield "nanoseconds", frame.assign(event_timestamp=frame["event_timestamp"].astype("datetime64[ns, UTC]"))
    yield "another zone", frame.assign(event_timestamp=frame["event_timestamp"].dt.tz_convert("Asia/Tokyo"))
    yield "objects", frame.assign(event_timestamp=frame["event_timestamp"].astype(object))
    yield "another name", frame.rename(columns={"event_timestamp": "when"})
    yield "narrow keys", frame.assign(driver_id=frame["driver_id"].astype("int16"))
    yield "float keys", frame.assign(driver_id=frame["driver_id"].astype("float64"))
    yield "nullable keys", frame.assign(driver_id=frame["driver_id"].astype("Int64"))


@pytest.mark.parametrize(("form", "entity_df"), list(forms()))
def test_any_form_of_entity_dataframe_gives_the_same(project, form, entity_df):
    job = project.job(entity_df, ["stats:trips"])
    assert job.to_arrow()["trips"].to_pylist() == [7, 6, 5]
    times = job.to_arrow().column(1)
    assert times.type == pa.timestamp("us", "UTC")
    assert times.to_pylist() == THREE["event_timestamp"].to_pylist()


def test_a_query_stands_for_an_entity_dataframe(project):
    job = project.job(
        "SELECT d::BIGINT AS driver_id, TIMESTAMP '2024-06-03 12:00:00' AS event_timestamp, d + 1 AS bonus, "
        "NULL::TIMESTAMP AS asked FROM generate_series(2, 1, -1) t(d)",
        ["sums:total", "stats:city"],
        snapshot(sums()),
    )
    assert job.metadata.keys == ["driver_id", "bonus", "asked"]
    table = job.to_arrow()
    assert table.column_names == ["driver_id", "event_timestamp", "bonus", "asked", "city", "total"]
    assert table["total"].to_pylist() == [10, 7]


def test_a_query_reads_files_of_the_projects_sources_wherever_they_are(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    rows = pa.table({"driver_id": [1], "event_timestamp": [THREE["event_timestamp"][0].as_py()]})
    for name in ("asked.parquet", "other.parquet"):
        pq.write_table(rows, elsewhere / name)
    source = FileSource(name="asked", path=str(elsewhere / "asked.parquet"), timestamp_field="event_timestamp")
    registry = snapshot(source)

    def made(name):
        sql = f"SELECT * FROM '{elsewhere / name}'"
        yield project.job(sql, ["stats:trips"], registry).to_arrow()
        yield build_training_set(project.retrieval(registry), sql, ["stats:trips"]).rows

    assert [table.num_rows for table in made("asked.parquet")] == [1, 1]
    with pytest.raises(InputError, match="may not read.*readable_paths"):
        list(made("other.parquet"))


def test_a_training_set_is_pinned_to_the_packages_that_decide_its_values(project, monkeypatch):
    retrieval = project.retrieval()
    assert set(build_training_set(retrieval, THREE, ["stats:trips"]).pins.software) == {
        "duckdb",
        "feast-assets",
        "pyarrow",
    }
    monkeypatch.setattr(type(project.offline), "packages", ())
    assert set(build_training_set(retrieval, THREE, ["stats:trips"]).pins.software) == {"feast-assets", "pyarrow"}


def test_a_query_is_checked_when_it_runs(project):
    with pytest.raises(EntitySQLEmptyResults):
        project.job("SELECT 1 AS driver_id, now() AS event_timestamp WHERE false", ["stats:trips"]).to_arrow()
    with pytest.raises(InputError, match="driver_id"):
        project.job("SELECT 1 AS driver, now() AS event_timestamp", ["stats:trips"]).to_arrow()
    with pytest.raises(RequestDataNotFoundInEntityDfException, match="'bonus'"):
        project.job("SELECT 1 AS driver_id, now() AS event_timestamp", ["sums:total"], snapshot(sums())).to_arrow()
    with pytest.raises(FeatureNameCollisionError, match="'trips'"):
        project.job("SELECT 1 AS driver_id, now() AS event_timestamp, 2 AS trips", ["stats:trips"]).to_arrow()


def test_other_columns_come_back_as_they_were(project):
    frame = THREE.to_pandas().assign(
        kind=pd.Categorical(["a", "b", "a"]),
        count=pd.array([1, None, 3], dtype="Int64"),
        small=pd.Series([1, 2, 3], dtype="int8"),
        span=pd.to_timedelta([1, 2, 3], unit="s"),
        text=["x", None, "z"],
        day=[date(2024, 1, 1)] * 3,
    )
    frame = frame[["text", "event_timestamp", "kind", "count", "driver_id", "small", "span", "day"]]
    found = project.job(frame, ["stats:trips"]).to_df()
    assert list(found.columns) == [*frame.columns, "trips"]
    assert found["event_timestamp"].tolist() == frame["event_timestamp"].tolist()
    rest = [c for c in frame.columns if c != "event_timestamp"]
    pd.testing.assert_frame_equal(found[rest], frame[rest])


def test_pandas_times_are_utc_and_integers_have_one_type_with_and_without_nulls(project):
    found = project.job(spine((1, NOON), (9, NOON)), ["stats:trips"]).to_df()
    assert str(found["event_timestamp"].dtype) == "datetime64[us, UTC]"
    assert str(found["trips"].dtype) == "Int64"
    assert str(project.job(spine((1, NOON)), ["stats:trips"]).to_df()["trips"].dtype) == "Int64"


def test_an_empty_entity_dataframe_gives_an_empty_result(project):
    table = project.job(THREE.slice(0, 0), ["stats:trips"]).to_arrow()
    assert (table.num_rows, table.column_names) == (0, ["driver_id", "event_timestamp", "trips"])
    assert table.schema.field("trips").type == pa.int64()


AWARE, NAIVE = datetime(2024, 6, 3, tzinfo=UTC), datetime(2024, 6, 3)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"driver_id": [1]}, EntityTimestampInferenceException, "no datetime column.*'driver_id'"),
        (
            {"driver_id": [1], "a": [AWARE], "b": [AWARE]},
            EntityTimestampInferenceException,
            "several datetime columns, 'a', 'b'",
        ),
        ({"driver_id": [1], "event_timestamp": ["2024-06-03"]}, EntityDFNotDateTime, r"'event_timestamp'.*to_datetime"),
        ({"driver_id": [1], "event_timestamp": [1717372800]}, EntityDFNotDateTime, "'event_timestamp'.*int64"),
        ({"driver_id": [1, 2], "event_timestamp": [AWARE, None]}, InputError, "no time in 1 of 2 rows, first in row 1"),
        (
            {"drivr_id": [1], "event_timestamp": [AWARE]},
            FeastEntityDFMissingColumnsError,
            r"lacks 'driver_id'.*'stats'.*'drivr_id'\?",
        ),
        ({"driver_id": ["one"], "event_timestamp": [AWARE]}, InputError, "'driver_id' of feature view 'stats'.*Int64"),
        (
            {"driver_id": [1], "event_timestamp": [AWARE], "trips": [2]},
            FeatureNameCollisionError,
            "column 'trips'.*'stats:trips'.*full_feature_names=True",
        ),
    ],
)
def test_entity_dataframes_that_cannot_be_used_say_why(project, columns, error, message):
    with pytest.raises(error, match=message):
        project.job(columns, ["stats:trips"])
    if "trips" not in columns:
        with pytest.raises(error, match=message):
            project.job(pd.DataFrame(columns), ["stats:trips"])


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        ([AWARE, NAIVE], InputError, "mixes datetimes with and without a time zone"),
        ([AWARE, "2024-06-03"], EntityDFNotDateTime, "str '2024-06-03'.*to_datetime"),
        (["2024-06-03", "2024-06-03"], EntityDFNotDateTime, "to_datetime"),
    ],
)
def test_objects_for_times_must_be_datetimes_of_one_kind(project, times, error, message):
    frame = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": pd.Series(times, dtype=object)})
    with pytest.raises(error, match=message):
        project.job(frame, ["stats:trips"])


def test_objects_of_several_zones_are_times(project):
    tokyo = timezone(timedelta(hours=9))
    times = pd.Series([NOON, NOON.astimezone(tokyo)], dtype=object)
    frame = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": times})
    assert project.job(frame, ["stats:trips"]).to_arrow()["trips"].to_pylist() == [5, 7]


def test_dates_are_their_midnight(project):
    found = project.job({"driver_id": [1], "event_timestamp": [MONDAY.date()]}, ["stats:trips"]).to_arrow()
    assert found["trips"].to_pylist() == [5]
    assert found["event_timestamp"].to_pylist() == [MONDAY]


@pytest.mark.parametrize("entity_df", [5, ["driver_id"], object()])
def test_what_is_no_entity_dataframe_is_refused(project, entity_df):
    with pytest.raises(InputError, match="entity_df must be a pandas or Polars DataFrame"):
        project.job(entity_df, ["stats:trips"])


def test_columns_of_mixed_types_are_refused(project):
    frame = THREE.to_pandas().assign(note=[1, "x", None])
    with pytest.raises(InputError, match="note"):
        project.job(frame, ["stats:trips"])


def test_repeated_columns_are_refused(project):
    table = pa.Table.from_arrays([*THREE.columns, THREE["driver_id"]], ["driver_id", "event_timestamp", "driver_id"])
    for entity_df in (
        table,
        table.rename_columns(["driver_id", "event_timestamp", "x"])
        .to_pandas()
        .set_axis(["driver_id", "event_timestamp", "driver_id"], axis=1),
    ):
        with pytest.raises(InputError, match="several columns named 'driver_id'"):
            project.job(entity_df, ["stats:trips"])


# --- views


def test_views_of_other_keys_and_of_none_join_too(project):
    project.write(ORDERS, [{"customer_id": "c", "driver_id": 1, "ts": MONDAY, "count": 3}])
    project.write(WEATHER, [{"ts": MONDAY, "temperature": 20.5}])
    rows = pa.table({"customer_id": ["c", "d"], "driver_id": [1, 1], "event_timestamp": pa.array([NOON] * 2)})
    table = project.job(rows, ["weather:temperature", "orders:count", "stats:trips"]).to_arrow()
    assert table.select(["temperature", "count", "trips"]).to_pydict() == {
        "temperature": [20.5, 20.5],
        "count": [3, None],
        "trips": [5, 5],
    }


def test_one_view_under_two_names_with_keys_of_their_own(project):
    both = service(
        "both",
        STATS[["trips"]].with_name("first").with_join_key_map({"driver_id": "first_id"}),
        STATS[["trips"]].with_name("second").with_join_key_map({"driver_id": "second_id"}),
    )
    rows = pa.table({"first_id": [1, 2], "second_id": [2, 1], "event_timestamp": pa.array([NOON] * 2)})
    table = project.job(rows, both, snapshot(both), full_feature_names=True).to_arrow()
    assert table.column_names == ["first_id", "second_id", "event_timestamp", "first__trips", "second__trips"]
    assert table["first__trips"].to_pylist() == [5, 7]
    assert table["second__trips"].to_pylist() == [7, 5]


def test_one_column_may_be_the_key_of_views_that_type_it_differently(project):
    other = FeatureView(
        name="other",
        entities=[DRIVER],
        source=FileSource(name="other_file", path="other.parquet", timestamp_field="ts"),
        schema=[Field(name="driver_id", dtype=Int32), Field(name="note", dtype=String)],
    )
    project.write(other, [{"driver_id": 1, "ts": MONDAY, "note": "hello"}])
    table = project.job(spine((1, NOON)), ["stats:trips", "other:note"], snapshot(other)).to_arrow()
    assert (table["trips"].to_pylist(), table["note"].to_pylist()) == ([5], ["hello"])


def test_labels_are_joined_like_features(project):
    labels = LabelView(
        name="labels",
        entities=[DRIVER],
        source=PushSource(name="pushed", batch_source=STATS.batch_source),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="city", dtype=String)],
    )
    assert project.job(THREE, ["labels:city"], snapshot(labels)).to_arrow()["city"].to_pylist()[0] == "Oslo"


def test_a_view_without_history_is_refused_at_once(project):
    empty = FeatureView(name="empty", entities=[DRIVER], schema=[*STATS.entity_columns, Field(name="x", dtype=Int64)])
    with pytest.raises(DefinitionError, match="'empty' has no source"):
        project.job(THREE, ["empty:x"], snapshot(empty))


def test_a_computed_view_gets_its_function(project):
    def double(rows):
        return rows.assign(trips=rows["trips"] * 2)

    view = BatchFeatureView(
        name="doubled",
        mode="pandas",
        entities=[DRIVER],
        source=STATS.batch_source,
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
        udf=double,
    )
    asked = []

    class Noted(Functions):
        def attach(self, found):
            asked.append(found.name)
            return view

    retrieval = HistoricalRetrieval(snapshot(view), project.offline, Noted())
    table = retrieval.job(THREE, ["doubled:trips", "stats:rate"]).to_arrow()
    assert table["trips"].to_pylist() == [14, 12, 10]
    assert asked == ["doubled"]


def test_a_row_created_later_counts_only_if_that_is_not_asked_for(project):
    view = FeatureView(
        name="late",
        entities=[DRIVER],
        source=FileSource(
            name="late_file", path="stats.parquet", timestamp_field="ts", created_timestamp_column="created"
        ),
        schema=STATS.schema,
    )
    table = pq.read_table(project.root / "stats.parquet")
    created = pa.array([MONDAY, MONDAY + 3 * DAY, MONDAY], pa.timestamp("us", "UTC"))
    pq.write_table(table.append_column("created", created), project.root / "stats.parquet")
    for only_known, expected in ((False, [7, 6, 5]), (True, [7, 5, 5])):
        job = project.job(THREE, ["late:trips"], snapshot(view), filter_by_created_timestamp=only_known)
        assert job.to_arrow()["trips"].to_pylist() == expected


# --- on-demand views

REQUESTED = THREE.append_column("bonus", pa.array([1, 2, 3])).append_column("asked", pa.array([NOON] * 3))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("alias", [None, "renamed"])
@pytest.mark.parametrize(("mode", "singleton"), [("pandas", False), ("python", False), ("python", True)])
def test_on_demand_features_are_computed_whatever_the_names(project, mode, singleton, alias, full):
    view = sums(mode=mode, singleton=singleton)
    asked = service("asked", STATS[["city"]].with_name(alias) if alias else STATS[["city"]], view)
    table = project.job(REQUESTED, asked, snapshot(view, asked), full_feature_names=full).to_arrow()
    city, prefix = (f"{alias or 'stats'}__city", "sums__") if full else ("city", "")
    assert table.column_names == [*REQUESTED.column_names, city, f"{prefix}total", f"{prefix}share"]
    assert table[f"{prefix}total"].to_pylist() == [8, 8, 8]
    assert table[f"{prefix}share"].to_pylist() == [None, 1.2, 1.0]


def test_on_demand_features_need_no_stored_ones(project):
    view = sums(mode="python", sources=[REQUEST], udf=lambda i: {"total": i["bonus"], "share": [0.5] * len(i["bonus"])})
    rows = REQUESTED.drop_columns(["driver_id"])
    table = project.job(rows, ["sums:total"], snapshot(view)).to_arrow()
    assert table.column_names == ["event_timestamp", "bonus", "asked", "total"]
    assert table["total"].to_pylist() == [1, 2, 3]


def test_request_columns_must_be_there_and_of_their_type(project):
    with pytest.raises(RequestDataNotFoundInEntityDfException, match=r"lacks 'bonus'.*'sums'.*'bonu'\?"):
        project.job(REQUESTED.rename_columns({"bonus": "bonu"}), ["sums:total"], snapshot(sums()))
    wrong = REQUESTED.set_column(2, "bonus", pa.array(["a", "b", "c"]))
    with pytest.raises(InputError, match="'bonus'.*'sums'.*Int64"):
        project.job(wrong, ["sums:total"], snapshot(sums()))


def test_a_failing_function_is_a_transformation_error_also_in_a_stream(project):
    view = sums(mode="python", udf=lambda i: i["nothing"])
    job = project.job(REQUESTED, ["sums:total"], snapshot(view))
    for run in (job.to_arrow, job.to_df, lambda: job.to_reader().read_all()):
        with pytest.raises(TransformationError, match="'sums'"):
            run()


# --- without an entity dataframe


def test_a_range_gives_each_entity_once_as_of_its_end(project):
    table = project.job(None, ["stats:trips"], start_date=MONDAY, end_date=MONDAY + DAY).to_arrow()
    assert table.to_pydict() == {
        "driver_id": [1, 2],
        "event_timestamp": [MONDAY + DAY] * 2,
        "trips": [6, 7],
    }


def test_both_ends_of_a_range_count(project):
    assert project.job(None, ["stats:trips"], start_date=MONDAY, end_date=MONDAY).to_arrow()["trips"].to_pylist() == [
        5,
        7,
    ]
    later = MONDAY + timedelta(microseconds=1)
    assert project.job(None, ["stats:trips"], start_date=later, end_date=NOW).to_arrow()["trips"].to_pylist() == [6]


def test_a_range_begins_a_ttl_before_its_end_when_left_out(project):
    for end, expected in ((MONDAY + 7 * DAY, [6, 7]), (MONDAY + 8 * DAY, [6]), (MONDAY + 9 * DAY, [])):
        assert project.job(None, ["stats:trips"], end_date=end).to_arrow()["trips"].to_pylist() == expected
    project.write(PROFILE, [{"driver_id": 4, "ts": MONDAY, "active": True}])
    for days, expected in ((30, [True]), (31, [])):
        found = project.job(None, ["profile:active"], end_date=MONDAY + days * DAY).to_arrow()
        assert found["active"].to_pylist() == expected


def test_a_range_ends_now_when_left_out(project):
    now = datetime.now(UTC)
    project.write(STATS, [{**ROWS[0], "ts": now - DAY}, {**ROWS[0], "driver_id": 3, "ts": now + DAY}])
    table = project.job(None, ["stats:trips"]).to_arrow()
    assert table["driver_id"].to_pylist() == [1]
    assert now <= table["event_timestamp"].to_pylist()[0]


def test_a_range_takes_the_entities_of_all_its_views(project):
    project.write(PROFILE, [{"driver_id": 3, "ts": MONDAY, "active": True}])
    project.write(WEATHER, [{"ts": MONDAY, "temperature": 1.5}])
    view = sums(mode="python", sources=[STATS], udf=lambda i: {"total": i["trips"], "share": i["rate"]})
    table = project.job(
        None,
        ["stats:trips", "profile:active", "weather:temperature", "sums:total"],
        snapshot(view),
        start_date=MONDAY,
        end_date=NOON,
    ).to_arrow()
    assert table.drop_columns(["event_timestamp"]).to_pydict() == {
        "driver_id": [1, 2, 3],
        "trips": [5, 7, None],
        "active": [None, None, True],
        "temperature": [1.5] * 3,
        "total": [5, 7, None],
    }


def test_a_range_of_views_without_entities_is_one_row(project):
    project.write(WEATHER, [{"ts": MONDAY, "temperature": 1.5}])
    table = project.job(None, ["weather:temperature"], start_date=MONDAY, end_date=NOON).to_arrow()
    assert table.to_pydict() == {"event_timestamp": [NOON], "temperature": [1.5]}


@pytest.mark.parametrize(
    ("features", "options", "error", "message"),
    [
        (["stats:trips"], {"start_date": NOW, "end_date": MONDAY}, InputError, "start_date .* is after end_date"),
        (["stats:trips"], {"start_date": "2024-06-03"}, InputError, "start_date must be a datetime, not str"),
        (["stats:trips", "orders:count"], {}, InputError, "'stats' .*'orders' .*do not describe the same entities"),
        (["sums:total"], {}, RequestDataNotFoundInEntityDfException, "'sums' needs request data 'bonus'"),
    ],
)
def test_ranges_that_cannot_be_read_say_why(project, features, options, error, message):
    with pytest.raises(error, match=message):
        project.job(None, features, snapshot(sums()), **options)


def test_entities_and_dates_exclude_each_other(project):
    for entity_df in (THREE, "SELECT 1"):
        with pytest.raises(InputError, match="exclude each other"):
            project.job(entity_df, ["stats:trips"], end_date=NOW)


# --- training equals serving


@pytest.mark.parametrize("mode", ["pandas", "python"])
def test_an_online_read_equals_history_at_that_time(project, mode):
    project.put(STATS, *ROWS)
    registry = snapshot(sums(mode=mode))
    features = ["stats:trips", "stats:rate", "stats:city", "sums:total", "sums:share"]
    drivers = [1, 2, 3, 1]
    for now in (MONDAY + DAY, MONDAY + 7 * DAY, MONDAY + 7 * DAY + timedelta(microseconds=1), MONDAY + 9 * DAY):
        given = {"driver_id": drivers, "bonus": [1, 2, 3, 4], "asked": [NOON] * 4}
        online = project.plan(features, registry).read(project.online, given, now=now).to_arrow()
        history = (
            project.job({**given, "event_timestamp": [now] * 4}, features, registry)
            .to_arrow()
            .drop_columns(["event_timestamp", "bonus", "asked"])
        )
        assert online.to_pydict() == history.to_pydict()
        assert online.schema.remove_metadata() == history.schema.remove_metadata()


def test_maps_are_dicts_in_pandas_and_text_in_arrow(project):
    project.write(PROFILE, [{"driver_id": 1, "ts": MONDAY, "extra": '{"k":1}'}])
    job = project.job(spine((1, NOON), (9, NOON)), ["profile:extra"])
    assert job.to_df()["extra"].tolist() == [{"k": 1}, None]
    assert job.to_arrow()["extra"].to_pylist() == ['{"k":1}', None]


def test_a_missing_column_is_told_once_with_the_view_that_needs_it(project):
    friends = service("friends", STATS[["trips"]].with_name("friend").with_join_key_map({"driver_id": "friend_id"}))
    rows = pa.table({"label": [1], "event_timestamp": pa.array([NOON])})
    with pytest.raises(FeastEntityDFMissingColumnsError) as failed:
        project.job(rows, friends, snapshot(friends))
    assert str(failed.value) == (
        "The entity dataframe lacks 'friend_id'; feature view 'friend' ('stats') joins by 'friend_id'. "
        "It has 'label', 'event_timestamp'."
    )
