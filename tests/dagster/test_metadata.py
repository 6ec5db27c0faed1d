"""What a materialized partition shows of its values: figures, tables, pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for
from feast_assets.dagster.metadata import SHOWN, SHOWN_IN_PLACE, profile_metadata
from feast_assets.dagster.pictures import sparkline
from feast_assets.definitions.window import Window
from feast_assets.offline_stores.profile import ColumnProfile, WindowProfile

RIDE = dg.AssetKey(["taxi", "ride"])
DAY = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))


HEADER = "|feature|values|min|mean|max|null|\n|-|-|-:|-:|-:|-:|\n"


def lines(shown: Mapping[str, Any]) -> dict[str, str]:
    """Returns what the tables say of each feature: a line's cells after the first."""
    tables = [str(v.value) for k, v in shown.items() if k == "values" or k.startswith("values/")]
    assert all(t.startswith(HEADER) and len(t) < SHOWN_IN_PLACE for t in tables)
    told = [line[2:-1].split("`|", 1) for t in tables for line in t.removeprefix(HEADER).split("\n")]
    assert len({name for name, _ in told}) == len(told)
    return dict(told)


@given(counts=st.lists(st.integers(0, 10**30), min_size=1, max_size=16))
def test_bars_are_as_high_as_counts_are_many(counts: list[int]) -> None:
    drawn = sparkline(counts)
    assert len(drawn) == len(counts)
    most = max(1, *counts)
    for bar, count in zip(drawn, counts, strict=True):
        # Of equal steps up to the highest, the one that the count lies in.
        height = "\u00a0▁▂▃▄▅▆▇█".index(bar)
        assert (height - 1) * most < 8 * count <= height * most or height == count == 0


def of(columns: dict[str, ColumnProfile], rows: int = 10) -> WindowProfile:
    return WindowProfile(DAY, rows, 3, columns)


def test_a_window_without_rows_shows_nothing() -> None:
    assert profile_metadata(of({"fare": ColumnProfile()}, rows=0)) == {}


def test_each_type_of_feature_has_its_line() -> None:
    shown = profile_metadata(
        of(
            {
                "fare": ColumnProfile(5, -1.5, 2.25, 1234.5, (1, 0, 4)),
                "rides": ColumnProfile(0, 1, 2.0, 12345, (5, 5), broken={"minimum": 0}),
                "cash": ColumnProfile(0, None, 0.7, None, (), {"true": 7, "false": 3}),
                "plate": ColumnProfile(1, None, None, None, (), {"A|`1`\n": 4, "B" * 50: 3, "C": 1, "D": 1}),
                "seen": ColumnProfile(0, datetime(2024, 1, 1, 5, tzinfo=UTC), None, datetime(2024, 1, 2, tzinfo=UTC)),
                "a_b|c": ColumnProfile(10),
            }
        )
    )
    assert lines(shown) == {
        "fare": "`▂\u00a0█`|-1.5|2.25|1234.5|50.0%",
        "rides": "`██`|1|2|12,345|",
        "cash": "`true` 70.0%, `false` 30.0%||0.7||",
        "plate": f"`A¦'1' ` 40.0%, `{'B' * 23}…` 30.0%, `C` 10.0%||||10.0%",
        "seen": "|2024-01-01 05:00:00||2024-01-02 00:00:00|",
        "a_b¦c": "||||100.0%",
    }
    # Only of what is watched by checks is the mean plotted.
    assert {k: v for k, v in shown.items() if k.startswith("mean/")} == {"mean/rides": 2.0}
    shares = {k: v for k, v in shown.items() if k.startswith("null_share/")}
    assert shares == {"null_share/fare": 0.5, "null_share/plate": 0.1, "null_share/a_b|c": 1.0}


def test_what_is_said_of_features_is_short_enough_to_be_shown_in_place() -> None:
    longest = ColumnProfile(9, -1.23456789e-300, -1.23456789e-300, -1.23456789e300, (10**9, *range(1, 16)))
    told = {chr(ord("a") + i) + "_" * 200: longest for i in range(SHOWN)}
    shown = profile_metadata(of(told))
    # `lines` looks at the length of each table.
    assert len(lines(shown)) == SHOWN
    assert len([k for k in shown if k.startswith("values")]) > 3


def test_of_ten_features_of_common_names_there_is_one_table() -> None:
    shown = profile_metadata(of({f"feature_number_{i}": ColumnProfile(1, 0.5, 1.0, 1e6, (1,) * 16) for i in range(10)}))
    assert [k for k in shown if k.startswith("values")] == ["values"]


def test_of_a_wide_view_the_first_features_are_shown() -> None:
    shown = profile_metadata(of({f"f{i}": ColumnProfile(0, 0, 0.0, 1, (1,) * 16) for i in range(SHOWN + 100)}))
    assert list(lines(shown)) == [f"f{i}" for i in range(SHOWN)]


def materialize(root: Path, instance: dg.DagsterInstance, **options: bool) -> list[dg.AssetMaterialization]:
    defs = definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))}, **options)
    tags = {"dagster/asset_partition_range_start": "2024-01-09", "dagster/asset_partition_range_end": "2024-01-12"}
    assert defs.resolve_job_def("materialize_taxi_daily").execute_in_process(instance=instance, tags=tags).success
    records = instance.fetch_materializations(RIDE, limit=100).records
    return [r.asset_materialization for r in records if r.asset_materialization is not None]


def test_every_partition_of_a_range_shows_its_own_values(applied_root: Path, instance: dg.DagsterInstance) -> None:
    rides = pd.read_parquet(applied_root / "data" / "rides.parquet")
    rides.loc[rides.index % 3 == 0, "fare"] = None
    rides.to_parquet(applied_root / "data" / "rides.parquet", index=False)
    told = {e.partition: {k: v.value for k, v in e.metadata.items()} for e in materialize(applied_root, instance)}
    assert len(told) == 4
    for day, metadata in told.items():
        of_day = rides[rides.finished_at.dt.strftime("%Y-%m-%d") == day]
        assert metadata["feast_assets/entities"] == of_day.driver_id.nunique()
        assert metadata.get("null_share/fare", 0) == pytest.approx(of_day.fare.isna().mean(), abs=1e-6)
        table = {line.split("|")[1].strip("`"): line.split("|") for line in str(metadata["values"]).split("\n")}
        fare, minutes = table["fare"][3:6], table["minutes"][3:6]
        assert fare == [f"{of_day.fare.min():.5g}", f"{of_day.fare.mean():.5g}", f"{of_day.fare.max():.5g}"]
        assert minutes == [f"{of_day.minutes.min()}", f"{of_day.minutes.mean():.5g}", f"{of_day.minutes.max()}"]
        assert "█" in table["fare"][2]
        assert metadata.get("feast_assets/rows_written") == metadata.get("feast_assets/latest_entities")
        assert "feast_assets/rows_ignored" not in metadata


CHECKED = """
    checked_ride = FeatureView(
        name="checked_ride", entities=[driver], source=rides, partitions=Partitions("daily", start=NEW_YEAR),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="fare", dtype=Float64, checks=Checks(minimum=0))],
    )
"""


def test_the_figures_can_be_left_out_also_where_checks_look_at_values(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = write_repository("    from feast_assets import Checks\n" + CHECKED)
    FeatureStore(root).apply_repository()
    told = materialize(root, instance, profile=False)
    records = instance.fetch_materializations(dg.AssetKey(["taxi", "checked_ride"]), limit=100).records
    checked = [r.asset_materialization for r in records if r.asset_materialization is not None]
    assert len(told) == len(checked) == 4
    for event in (*told, *checked):
        assert "values" not in event.metadata
        assert "feast_assets/entities" not in event.metadata
        assert event.metadata["dagster/partition_row_count"].value in (6, 8)


COMPUTED = """

    @batch_feature_view(
        mode="sql", entities=[driver], source=rides, partitions=Partitions("daily", start=NEW_YEAR),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="short", dtype=Int64)],
    )
    def short_rides(rides):
        return f"SELECT driver_id, finished_at, minutes AS short FROM {rides} WHERE minutes < 10"
"""


def test_of_a_view_that_is_computed_its_own_rows_are_counted_beside_its_inputs(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = write_repository(COMPUTED)
    FeatureStore(root).apply_repository()
    materialize(root, instance)
    rides = pd.read_parquet(root / "data" / "rides.parquet")
    for record in instance.fetch_materializations(dg.AssetKey(["taxi", "short_rides"]), limit=10).records:
        event = record.asset_materialization
        assert event is not None
        of_day = rides[rides.finished_at.dt.strftime("%Y-%m-%d") == event.partition]
        assert event.metadata["feast_assets/input_rows"].value == len(of_day)
        assert event.metadata["dagster/partition_row_count"].value == (of_day.minutes < 10).sum()
