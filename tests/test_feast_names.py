"""Feast's module paths and names: each works, or says what to do instead."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import feast_assets
from feast_assets.feast_names import is_feast_module, names_not_here


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("aggregation", "Entity"),
        ("batch_feature_view", "BatchFeatureView"),
        ("data_format", "ParquetFormat"),
        ("data_source", "PushMode"),
        ("entity", "Entity"),
        ("feature_logging", "LoggingConfig"),
        ("feature_view_projection", "FeatureViewProjection"),
        ("infra.offline_stores.file_source", "SavedDatasetFileStorage"),
        ("infra.offline_stores.file_source", "FileLoggingDestination"),
        ("repo_config", "RepoConfig"),
        ("saved_dataset", "SavedDataset"),
        ("transformation.mode", "TransformationMode"),
        ("value_type", "ValueType"),
    ],
)
def test_a_module_path_of_feasts_gives_the_public_names(module: str, name: str) -> None:
    stand_in = importlib.import_module(f"feast_assets.{module}")
    assert getattr(stand_in, name) is getattr(feast_assets, name)


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("from feast_assets.infra.offline_stores.offline_store import RetrievalJob", "feast_assets.retrieval.job"),
        ("from feast_assets.repo_contents import RepoContents", "feast_assets.repository.loading"),
        ("from feast_assets.online_response import OnlineResponse", "feast_assets.retrieval.response"),
        ("from feast_assets.base_feature_view import BaseFeatureView", "feast_assets.definitions.view"),
    ],
)
def test_names_that_only_feasts_module_paths_give_are_the_classes_used_here(statement: str, shown: str) -> None:
    names: dict[str, object] = {}
    exec(statement, names)
    assert getattr(names[statement.rpartition(" ")[2]], "__module__", "") == shown


@pytest.mark.parametrize("decorator", ["on_demand_feature_view", "batch_feature_view", "transformation"])
def test_a_decorator_works_before_and_after_the_module_of_its_name_is_imported(decorator: str) -> None:
    code = f"""
import feast_assets
from feast_assets import {decorator} as before
from feast_assets.{decorator} import {decorator} as inside
from feast_assets import {decorator} as after
import feast_assets.{decorator} as module
assert inside is before, (inside, before)
try:
    after(no_such_argument=1)
except TypeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"{decorator}() got an unexpected keyword argument 'no_such_argument'" in done.stdout


@pytest.mark.parametrize("name", sorted(names_not_here()))
def test_every_name_that_is_not_here_says_so_wherever_it_is_imported_from(name: str) -> None:
    for module in ("feast_assets", "feast_assets.errors", "feast_assets.infra.online_stores.online_store"):
        if module == "feast_assets" and is_feast_module(name):
            continue  # a module of Feast's too, which takes its place once it was imported
        with pytest.raises(ImportError, match=rf"^{name} is "):
            getattr(importlib.import_module(module), name)
    assert name not in feast_assets.__all__


def test_a_name_that_nobody_knows_is_refused_by_its_name() -> None:
    with pytest.raises(ImportError, match=r"Cannot import 'make_tzaware': Feast's module 'feast.utils' is not here"):
        exec("from feast_assets.utils import make_tzaware", {})


def test_a_module_that_feast_does_not_have_is_no_module() -> None:
    with pytest.raises(ModuleNotFoundError, match="feast_assets.no_such_module"):
        importlib.import_module("feast_assets.no_such_module")


def test_real_modules_are_found_before_stand_ins() -> None:
    from feast_assets import feast_names

    for module in feast_names._MODULES:
        spec = importlib.util.find_spec(f"feast_assets.{module}")
        assert spec is not None
        assert isinstance(spec.loader, feast_names._StandIns), f"{module} is a module of this package"
