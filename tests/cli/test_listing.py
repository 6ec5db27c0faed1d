from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from feast_assets.cli.listing import KINDS

SERVED = {
    "entities": {"driver"},
    "data-sources": {
        "driver_stats_source",
        "driver_stats_push",
        "driver_reviews_source",
        "driver_reviews_push",
        "ride_request",
    },
    "feature-views": {"driver_stats", "fare_estimate"},
    "on-demand-feature-views": {"fare_estimate"},
    "stream-feature-views": set(),
    "label-views": {"driver_reviews"},
    "feature-services": {"trip_pricing_v1", "trip_pricing_v2"},
    "saved-datasets": set(),
    "validation-references": set(),
    "projects": {"taxis"},
}


@pytest.mark.parametrize("kind", [k.command for k in KINDS])
def test_list_shows_what_is_registered(run, served_repo: Path, kind) -> None:
    lines = run("-c", str(served_repo), kind, "list").output.splitlines()
    assert lines[0].startswith("NAME")
    assert {line.split()[0] for line in lines[1:]} == SERVED[kind]
    records = json.loads(run("-c", str(served_repo), kind, "list", "--output", "json").output)
    assert {r["name"] for r in records} == SERVED[kind]


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in SERVED.items() for n in sorted(names)])
def test_describe_shows_the_same_in_yaml_and_json(run, served_repo: Path, kind, name) -> None:
    text = run("-c", str(served_repo), kind, "describe", name).output
    data = json.loads(run("-c", str(served_repo), kind, "describe", name, "-o", "json").output)
    assert yaml.safe_load(text) == data
    assert data["name"] == name
    assert "$" not in "".join(data)


@pytest.mark.parametrize("kind", [k.command for k in KINDS])
def test_describe_of_an_unknown_name_is_one_line(run, served_repo: Path, kind) -> None:
    result = run("-c", str(served_repo), kind, "describe", "no_such_thing", exit_code=1)
    assert len(result.stderr.splitlines()) == 1
    assert "'no_such_thing'" in result.stderr


def test_an_entity_that_only_stands_for_none_is_not_listed(run, served_repo: Path) -> None:
    (served_repo / "more.py").write_text(
        "from feast_assets import FeatureView, Field, Float32\n"
        "from feature_definitions import driver_stats_source\n"
        "fleet = FeatureView(name='fleet', source=driver_stats_source, schema=[Field(name='rating', dtype=Float32)])\n"
    )
    run("-c", str(served_repo), "apply")
    assert "__dummy" not in run("-c", str(served_repo), "entities", "list").output
    assert "__dummy" not in run("-c", str(served_repo), "feature-views", "list").output
    assert "__dummy" not in run("-c", str(served_repo), "feature-views", "describe", "fleet").output


def test_describe_of_a_view_is_readable_and_says_what_is_materialized(run, served_repo: Path) -> None:
    view = yaml.safe_load(run("-c", str(served_repo), "feature-views", "describe", "driver_stats").output)
    assert view["ttl"] == "2 days, 0:00:00"
    assert {f["name"]: f["dtype"] for f in view["features"]}["profile"] == "Struct({name: String, age: Int64})"
    assert view["features"][0] == {
        "name": "trips_today",
        "dtype": "Int64",
        "description": "Trips since midnight, UTC.",
    }
    assert view["batch_source"]["path"] == "data/driver_stats.parquet"
    assert view["tags"] == {"team": "pricing"}
    (span,) = view["materialized"]
    assert str(span["start"]) < str(span["end"])
    assert view["created_timestamp"]


def test_describe_shows_a_function_as_it_was_written(run, served_repo: Path) -> None:
    text = run("-c", str(served_repo), "on-demand-feature-views", "describe", "fare_estimate").output
    assert "    def fare_estimate(inputs: pd.DataFrame) -> pd.DataFrame:\n" in text


def test_features_list_shows_views_and_types(run, served_repo: Path) -> None:
    found = json.loads(run("-c", str(served_repo), "features", "list", "--output", "json").output)
    rows = {(f["feature_view"], f["feature"]): f["type"] for f in found}
    assert rows["driver_stats", "vehicle"] == "Map"
    assert rows["fare_estimate", "fare"] == "Float64"
    assert rows["driver_reviews", "remark"] == "String"


def test_features_describe_shows_every_view_that_has_it(run, served_repo: Path) -> None:
    found = yaml.safe_load(run("-c", str(served_repo), "features", "describe", "rating").output)
    assert [(f["feature_view"], f["dtype"]) for f in found] == [("driver_stats", "Float32")]
    result = run("-c", str(served_repo), "features", "describe", "ratings", exit_code=1)
    assert "Did you mean 'rating'?" in result.stderr


def test_tags_filter_all_must_match(run, served_repo: Path) -> None:
    def names(*tags: str) -> set[str]:
        chosen = [word for tag in tags for word in ("--tags", tag)]
        records = json.loads(run("-c", str(served_repo), "feature-services", "list", *chosen, "-o", "json").output)
        return {r["name"] for r in records}

    assert names("team:pricing") == {"trip_pricing_v1"}
    assert names("team:pricing", "tier:gold") == set()
    assert names() == SERVED["feature-services"]
    assert "not KEY:VALUE" in run("entities", "list", "--tags", "team", exit_code=2).stderr
