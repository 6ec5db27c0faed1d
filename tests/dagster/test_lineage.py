"""Column lineage, on-demand views and feature services in the graph, and where definitions are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from feast_assets import FeatureStore
from feast_assets.dagster import FeastTranslator, FeatureServiceTranslatorData, FeatureStoreResource, definitions_for

MORE = '''
    from feast_assets import FeatureService, LabelView, PushSource, RequestSource, on_demand_feature_view

    tip = RequestSource(name="tip", schema=[Field(name="tip", dtype=Float64)])

    @on_demand_feature_view(
        sources=[ride, tip], schema=[Field(name="paid", dtype=Float64)], description="Fare and tip.", owner="team:pay",
        tags={"per": "ride, not minutes"},
    )
    def paid(inputs):
        """The minutes do not count."""
        # Nor do these minutes.
        return (inputs["fare"] + inputs["tip"]).to_frame("paid")

    mapped = FileSource(
        name="mapped", path="data/rides.parquet", timestamp_field="finished_at", field_mapping={"fare": "dollars"}
    )
    renamed = FeatureView(
        name="renamed", entities=[driver], source=mapped,
        schema=[Field(name="driver_id", dtype=Int64), Field(name="dollars", dtype=Float64)],
        partitions=Partitions("daily", start=NEW_YEAR),
    )

    reviews = PushSource(name="reviews", batch_source=rides)
    review = LabelView(
        name="review", entities=[driver], source=reviews,
        schema=[Field(name="minutes", dtype=Int64), Field(name="fare", dtype=Float64)], labeler_field="fare",
    )

    pricing = FeatureService(
        name="pricing model",
        description="What the pricing model reads.",
        features=[ride[["fare"]], hourly_ride.with_name("hourly"), paid, "renamed:dollars", review[["minutes"]],
                  vehicle.with_join_key_map({"driver_id": "colleague"})],
        owner="team:pricing",
        tags={"tier": "1"},
    )
'''
SERVICE = "taxi/services/pricing_model"


@pytest.fixture
def root(write_repository: Callable[..., Path]) -> Path:
    return write_repository(MORE)


def definitions(root: Path, **options: Any) -> dg.Definitions:
    return definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))}, **options)


def specs(root: Path, **options: Any) -> dict[str, dg.AssetSpec]:
    return {s.key.to_user_string(): s for s in definitions(root, **options).resolve_all_asset_specs()}


def lineage(metadata: Mapping[str, Any]) -> dict[str, list[str]]:
    found = metadata["dagster/column_lineage"].value.deps_by_column
    return {c: [f"{d.asset_key.to_user_string()}.{d.column_name}" for d in deps] for c, deps in found.items()}


def upstream(spec: dg.AssetSpec) -> list[str]:
    return sorted(d.asset_key.to_user_string() for d in spec.deps)


def test_columns_of_a_view_come_from_its_source_under_the_sources_names(root: Path) -> None:
    found = specs(root)
    assert lineage(found["taxi/ride"].metadata) == {
        "driver_id": ["taxi/sources/rides.driver_id"],
        "fare": ["taxi/sources/rides.fare"],
        "minutes": ["taxi/sources/rides.minutes"],
    }
    assert lineage(found["taxi/renamed"].metadata)["dollars"] == ["taxi/sources/mapped.fare"]


def test_columns_of_a_kept_result_are_the_views(root: Path) -> None:
    found = specs(root)
    assert lineage(found["taxi/ride_totals"].metadata)["rides"] == ["taxi/sources/kept_totals.rides"]
    columns = found["taxi/sources/kept_totals"].metadata["dagster/column_schema"].columns
    assert [c.name for c in columns] == ["driver_id", "rides", "fares"]


def test_a_run_tells_what_a_transformation_reads_by_the_names_in_its_text(
    root: Path, instance: dg.DagsterInstance
) -> None:
    FeatureStore(root).apply_repository()
    tags = {"dagster/asset_partition_range_start": "2024-01-09", "dagster/asset_partition_range_end": "2024-01-10"}
    job = definitions(root).resolve_job_def("materialize_taxi_daily")
    assert job.execute_in_process(instance=instance, tags=tags).success
    records = instance.fetch_materializations(dg.AssetKey(["taxi", "sources", "kept_totals"]), limit=10).records
    told = {r.asset_materialization.partition: r.asset_materialization.metadata for r in records}  # type: ignore[union-attr]
    assert "dagster/column_lineage" not in told["2024-01-09"]
    # Not minutes, which the query does not name.
    read = [f"taxi/sources/rides.{c}" for c in ("driver_id", "fare", "finished_at")]
    found = {column: sorted(origins) for column, origins in lineage(told["2024-01-10"]).items()}
    assert found == {"driver_id": read[:1], "rides": read, "fares": read}


def test_an_on_demand_view_is_downstream_of_what_its_function_takes(root: Path) -> None:
    spec = specs(root)["taxi/paid"]
    assert upstream(spec) == ["taxi/ride"]
    # Not minutes, which the view offers and the function's code does not name.
    assert lineage(spec.metadata) == {"paid": ["taxi/ride.fare"]}
    assert spec.metadata["feast_assets/request_data"] == "tip Float64"
    assert "to_frame" in spec.metadata["feast_assets/transformation"].value
    assert (spec.description, spec.owners, spec.kinds) == ("Fare and tip.", ["team:pay"], {"on_demand_feature_view"})


def test_a_service_shows_what_a_model_reads_and_where_it_comes_from(root: Path) -> None:
    spec = specs(root)[SERVICE]
    assert upstream(spec) == [
        "taxi/hourly_ride",
        "taxi/paid",
        "taxi/renamed",
        "taxi/review",
        "taxi/ride",
        "taxi/vehicle",
    ]
    columns = {c.name: (c.type, c.description) for c in spec.metadata["dagster/column_schema"].columns}
    assert columns == {
        "ride__fare": ("Float64", "Dollars."),
        "hourly__fare": ("Float64", None),
        "paid": ("Float64", None),
        "dollars": ("Float64", None),
        "minutes": ("Int64", None),
        "plate": ("String", None),
    }
    assert lineage(spec.metadata) == {
        "ride__fare": ["taxi/ride.fare"],
        "hourly__fare": ["taxi/hourly_ride.fare"],
        "paid": ["taxi/paid.paid"],
        "dollars": ["taxi/renamed.dollars"],
        "minutes": ["taxi/review.minutes"],
        "plate": ["taxi/vehicle.plate"],
    }
    assert "| `plate` | `plate` of `taxi/vehicle` |" in spec.metadata["feast_assets/column_lineage"].value
    assert spec.metadata["feast_assets/join_keys"] == "driver_id, colleague"
    assert spec.metadata["feast_assets/request_data"] == "tip Float64"
    assert (spec.owners, spec.tags["tier"], spec.kinds) == (["team:pricing"], "1", {"feature_service"})


def test_columns_that_a_service_shows_are_those_it_serves(root: Path) -> None:
    store = FeatureStore(root)
    store.apply_repository()
    shown = [c.name for c in specs(root)[SERVICE].metadata["dagster/column_schema"].columns]
    service = store.get_feature_service("pricing model")
    rows = [{"driver_id": 1, "colleague": 2, "tip": 1.0}]
    served = store.get_online_features(service, rows, full_feature_names=True).feature_names
    full = {
        "dollars": "renamed__dollars",
        "plate": "vehicle__plate",
        "paid": "paid__paid",
        "minutes": "review__minutes",
    }
    assert {full.get(name, name) for name in shown} <= set(served)


def test_a_label_view_is_in_the_graph_though_nothing_materializes_it(root: Path) -> None:
    spec = specs(root)["taxi/review"]
    assert upstream(spec) == ["taxi/sources/rides"]
    assert "label_view" in spec.kinds
    assert dg.AssetKey(["taxi", "review"]) not in definitions(root).resolve_asset_graph().materializable_asset_keys


def test_every_definition_says_where_it_is_written(root: Path) -> None:
    code = (root / "taxi_features.py").read_text().splitlines()
    for key, text in {
        "taxi/ride": "ride = FeatureView(",
        "taxi/sources/rides": "rides = FileSource(",
        "taxi/ride_totals": "@batch_feature_view(",
        "taxi/paid": "@on_demand_feature_view(",
        SERVICE: "pricing = FeatureService(",
    }.items():
        (reference,) = specs(root)[key].metadata["dagster/code_references"].code_references
        assert reference.file_path == str(root / "taxi_features.py")
        assert code[reference.line_number - 1].strip() == text, key


def test_definitions_made_by_a_loop_are_found_too(write_repository: Callable[..., Path]) -> None:
    root = write_repository(
        """

    def made(name):
        return FeatureView(name=name, entities=[driver], source=rides, schema=[Field(name="fare", dtype=Float64)],
                           partitions=Partitions("daily", start=NEW_YEAR))

    for number in range(2):
        globals()[f"looped_{number}"] = made(f"looped_{number}")
    """
    )
    code = (root / "taxi_features.py").read_text().splitlines()
    (reference,) = specs(root)["taxi/looped_1"].metadata["dagster/code_references"].code_references
    assert "return FeatureView(name=name" in code[reference.line_number - 1]


def test_views_that_a_service_names_but_nobody_declares_do_not_keep_a_project_from_loading(
    write_repository: Callable[..., Path],
) -> None:
    root = write_repository(
        """
    from feast_assets import FeatureService
    odd = FeatureService(name="odd", features=["ride:fare", "ride:none", "nobody:x"])
    """
    )
    spec = specs(root)["taxi/services/odd"]
    assert upstream(spec) == ["taxi/ride"]
    assert [c.name for c in spec.metadata["dagster/column_schema"].columns] == ["fare"]


def test_a_translator_decides_how_services_look_and_what_they_are_downstream_of(root: Path) -> None:
    class Flat(FeastTranslator):
        def get_asset_spec(self, data):  # type: ignore[no-untyped-def]
            made = super().get_asset_spec(data)
            group = "models" if isinstance(data, FeatureServiceTranslatorData) else "features"
            return made.replace_attributes(key="-".join(made.key.path), group_name=group)

    spec = specs(root, translator=Flat())["taxi-services-pricing_model"]
    assert upstream(spec) == [
        "taxi-hourly_ride",
        "taxi-paid",
        "taxi-renamed",
        "taxi-review",
        "taxi-ride",
        "taxi-vehicle",
    ]
    assert lineage(spec.metadata)["paid"] == ["taxi-paid.paid"]
    assert spec.group_name == "models"
