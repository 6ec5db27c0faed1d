"""How definitions look in Dagster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feast_assets import (
    BatchFeatureView,
    Checks,
    Entity,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int64,
    Partitions,
    String,
    ValueType,
)
from feast_assets.dagster import DataSourceTranslatorData, FeastTranslator, FeatureViewTranslatorData
from feast_assets.definitions.definition_hash import definition_hash

DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
RIDES = FileSource(name="rides", path="rides.parquet", timestamp_field="at", owner="ops@example.com")


def ride(**changes: object) -> FeatureView:
    arguments = {
        "name": "ride",
        "entities": [DRIVER],
        "source": RIDES,
        "schema": [
            Field(name="driver_id", dtype=Int64),
            Field(
                name="plate", dtype=String, description="Number plate.", tags={"pii": "yes", "why": "because we can"}
            ),
        ],
        "ttl": timedelta(hours=2),
        "partitions": Partitions("daily", datetime(2024, 1, 1, tzinfo=UTC)),
    }
    return FeatureView(**{**arguments, **changes})  # type: ignore[arg-type]


def spec(view: FeatureView, project: str = "taxi") -> dg.AssetSpec:
    data = FeatureViewTranslatorData(view=view, project=project, offline_store="duckdb", online_store="redis")
    return FeastTranslator().get_asset_spec(data)


def source_spec(source: FileSource, made_by: BatchFeatureView | None = None) -> dg.AssetSpec:
    data = DataSourceTranslatorData(source=source, project="taxi", offline_store="duckdb", made_by=made_by)
    return FeastTranslator().get_asset_spec(data)


def test_a_view_is_an_asset_of_its_project_downstream_of_its_source() -> None:
    made = spec(ride(description="The last ride."))
    assert made.key == dg.AssetKey(["taxi", "ride"])
    assert [d.asset_key for d in made.deps] == [dg.AssetKey(["taxi", "sources", "rides"])]
    assert made.description == "The last ride."
    assert made.group_name == "taxi"
    assert made.kinds == {"feature_view", "duckdb", "redis"}
    assert made.metadata["feast_assets/ttl"] == "2:00:00"
    assert made.metadata["feast_assets/grain"] == "daily"
    assert made.metadata["feast_assets/entities"] == "driver"


def test_its_columns_are_its_fields() -> None:
    schema = spec(ride()).metadata["dagster/column_schema"]
    columns = {c.name: c for c in schema.columns}
    assert {n: c.type for n, c in columns.items()} == {"driver_id": "Int64", "plate": "String"}
    assert columns["plate"].description == "Number plate."
    assert columns["plate"].tags == {"pii": "yes"}


def test_what_a_field_declares_of_its_values_is_shown_with_its_column() -> None:
    checks = Checks(max_null_share=0.1, minimum=0, maximum=1.5, unique=True)
    fields = [
        Field(name="share", dtype=Float64, checks=checks),
        Field(name="plate", dtype=String, checks=Checks(nullable=False, allowed=["A", "B"])),
        Field(name="seen", dtype=Int64),
    ]
    share, plate, seen = spec(ride(schema=fields)).metadata["dagster/column_schema"].columns
    assert share.constraints == dg.TableColumnConstraints(
        unique=True, other=["minimum 0", "maximum 1.5", "null share at most 0.1"]
    )
    assert plate.constraints == dg.TableColumnConstraints(nullable=False, other=["one of A, B"])
    assert seen.constraints == dg.TableColumnConstraints()


def test_a_schema_that_is_left_to_apply_is_not_shown_as_empty() -> None:
    assert "dagster/column_schema" not in spec(ride(schema=None)).metadata


def test_a_view_that_stays_offline_is_not_of_the_online_stores_kind() -> None:
    assert spec(ride(online=False)).kinds == {"feature_view", "duckdb"}


def test_the_code_version_changes_with_what_decides_the_rows_and_with_nothing_else() -> None:
    before = spec(ride()).code_version
    assert before == definition_hash(ride())
    assert spec(ride(description="other", ttl=timedelta(days=9), tags={"a": "b"})).code_version == before
    moved = FileSource(name="rides", path="elsewhere.parquet", timestamp_field="at")
    assert spec(ride(source=moved)).code_version != before


@pytest.mark.parametrize("owner", ["rides@example.com", "team:rides"])
def test_owners_that_dagster_knows_are_owners(owner: str) -> None:
    made = spec(ride(owner=owner))
    assert made.owners == [owner]
    assert "feast_assets/owner" not in made.metadata


def test_other_owners_are_in_the_metadata() -> None:
    made = spec(ride(owner="the rides people"))
    assert made.owners == []
    assert made.metadata["feast_assets/owner"] == "the rides people"


def test_tags_that_dagster_refuses_are_in_the_metadata() -> None:
    made = spec(ride(tags={"domain": "rides", "sla": "1 day", "dagster/kind/x": "", "empty": ""}))
    assert {k: v for k, v in made.tags.items() if not k.startswith("dagster/kind")} == {"domain": "rides", "empty": ""}
    assert made.metadata["feast_assets/tags"] == {"sla": "1 day", "dagster/kind/x": ""}


def test_a_tag_names_the_group() -> None:
    made = spec(ride(tags={"dagster/group": "ride features"}))
    assert made.group_name == "ride_features"
    assert "feast_assets/tags" not in made.metadata


def test_sources_have_keys_of_their_own() -> None:
    made = source_spec(FileSource(path="s3://bucket/rides/*.parquet", timestamp_field="at"))
    assert made.key == dg.AssetKey(["taxi", "sources", "s3___bucket_rides__.parquet"])
    assert made.kinds == {"data_source", "duckdb"}


def kept_view() -> BatchFeatureView:
    def totals(rides: str) -> str:
        return f"SELECT driver_id, at, 1 AS rides FROM {rides}"

    return BatchFeatureView(
        name="totals",
        mode="sql",
        entities=[DRIVER],
        source=RIDES,
        sink_source=FileSource(name="kept", path="kept", timestamp_field="at"),
        offline=True,
        online=True,
        schema=[Field(name="rides", dtype=Int64)],
        udf=totals,
    )


def test_a_kept_result_lies_between_the_sources_and_the_view() -> None:
    view = kept_view()
    assert view.sink_source is not None
    made = spec(view)
    kept = source_spec(view.sink_source, made_by=view)
    assert [d.asset_key for d in made.deps] == [kept.key]
    assert [d.asset_key for d in kept.deps] == [dg.AssetKey(["taxi", "sources", "rides"])]
    assert kept.metadata["feast_assets/made_by"] == "totals"
    assert kept.code_version == made.code_version


def test_a_transformation_can_be_read_in_the_metadata() -> None:
    shown = spec(kept_view()).metadata["feast_assets/transformation"]
    assert isinstance(shown, dg.MarkdownMetadataValue)
    assert "SELECT driver_id, at, 1 AS rides" in (shown.md_str or "")


def test_a_subclass_decides_keys_and_what_depends_on_them() -> None:
    class Flat(FeastTranslator):
        def get_asset_spec(self, data: FeatureViewTranslatorData | DataSourceTranslatorData) -> dg.AssetSpec:
            made = super().get_asset_spec(data)
            return made.replace_attributes(key="-".join(made.key.path), group_name="all")

    made = Flat().get_asset_spec(FeatureViewTranslatorData(view=ride(), project="taxi"))
    assert made.key == dg.AssetKey("taxi-ride")
    assert [d.asset_key for d in made.deps] == [dg.AssetKey("taxi-sources-rides")]
    assert made.group_name == "all"


TEXT = st.text(max_size=70)


@settings(max_examples=100, deadline=None)
@given(
    name=st.from_regex(r"[^@:\s]{1,40}", fullmatch=True),
    tags=st.dictionaries(TEXT, TEXT, max_size=4),
    group=st.none() | TEXT,
    owner=TEXT | st.emails() | st.just("team:a"),
    source_name=st.text(min_size=1, max_size=40),
)
@example(name="0", tags={}, group=None, owner=".@0.AA", source_name="0")
@example(name="0", tags={}, group=None, owner="ml@example.photography", source_name="0")
def test_whatever_a_definition_is_called_dagster_takes_it(
    name: str, tags: dict[str, str], group: str | None, owner: str, source_name: str
) -> None:
    tags = tags if group is None else {**tags, "dagster/group": group}
    source = FileSource(name=source_name, path="x.parquet", timestamp_field="at", tags=tags, owner=owner)
    view = spec(ride(name=name, tags=tags, owner=owner, source=source))
    dg.Definitions(assets=[view, source_spec(source)]).resolve_all_asset_specs()
    shown = {**view.tags, **view.metadata.get("feast_assets/tags", {})}
    assert {k: v for k, v in tags.items() if k != "dagster/group"}.items() <= shown.items()
    assert owner in (*view.owners, view.metadata.get("feast_assets/owner", ""))
