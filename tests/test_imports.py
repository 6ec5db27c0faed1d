"""What can be imported, and what an import costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import feast_assets

HEAVY = (
    "dagster",
    "duckdb",
    "fastapi",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "pydantic",
    "redis",
    "sqlalchemy",
    "yaml",
)
DEFINITIONS = sorted(
    name
    for name, module in feast_assets._MODULE_OF.items()
    if module.startswith(("feast_assets.definitions", "feast_assets.types"))
)


def _loaded_by(code: str) -> set[str]:
    """Returns the top-level modules that a fresh interpreter has after the code."""
    probe = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_probe_sees_what_is_loaded() -> None:
    assert "yaml" in _loaded_by("import yaml")


def test_a_bare_import_loads_no_heavy_library() -> None:
    assert _loaded_by("import feast_assets").isdisjoint(HEAVY)


def test_importing_all_definition_classes_loads_no_heavy_library() -> None:
    assert _loaded_by(f"from feast_assets import {', '.join(DEFINITIONS)}").isdisjoint(HEAVY)


def test_making_definitions_loads_no_heavy_library() -> None:
    code = """
from feast_assets import Entity, FeatureService, FeatureView, Field, FileSource, Float64, ValueType
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
source = FileSource(path="x.parquet", timestamp_field="at")
view = FeatureView(name="trips", entities=[driver], source=source, schema=[Field(name="rating", dtype=Float64)])
FeatureService(name="model", features=[view[["rating"]]]).content_hash()
view.content_hash()
"""
    assert _loaded_by(code).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", feast_assets.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(feast_assets, name) is not None
    assert name in dir(feast_assets)


def test_public_names_are_sorted_and_listed_once() -> None:
    assert feast_assets.__all__ == sorted(set(feast_assets.__all__))


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'FeatureVeiw'"):
        feast_assets.FeatureVeiw  # noqa: B018


def test_type_checkers_see_every_public_name() -> None:
    source = Path(feast_assets.__file__).read_text(encoding="utf-8")
    seen = re.findall(r"^    from (\S+) import (\w+) as \2$", source, flags=re.MULTILINE)
    assert {name: module for module, name in seen} == feast_assets._MODULE_OF


def test_what_only_feast_has_says_so_when_imported() -> None:
    with pytest.raises(ImportError, match="OracleSource is in Feast, and not supported here yet"):
        from feast_assets import OracleSource  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'KafkaSauce'"):
        from feast_assets import KafkaSauce  # noqa: F401
