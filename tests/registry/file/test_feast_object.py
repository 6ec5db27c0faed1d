"""A registry file of Feast in a bucket: it is left alone, refused, and imported beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest
import yaml
from click.testing import CliRunner

from feast_assets import FeatureStore
from feast_assets.cli.main import cli
from feast_assets.errors import ConfigError

FEAST_FILE = Path(__file__).parents[2] / "migration" / "feast_registry" / "registry.pb"


def test_a_feast_registry_in_a_bucket_is_imported_and_stays(tmp_path: Path, s3_registry: dict[str, Any]) -> None:
    settings = {"project": "shop", "registry": s3_registry, "online_store": {"type": "sqlite", "path": "online.db"}}
    (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    files = fsspec.filesystem("s3", skip_instance_cache=True, **s3_registry["storage_options"])
    files.pipe_file(s3_registry["path"].removeprefix("s3://"), FEAST_FILE.read_bytes())
    with pytest.raises(ConfigError, match="feast-assets migrate REPOSITORY --import-registry"):
        FeatureStore(repo_path=tmp_path).apply([])
    for options, names in (((), []), (("--write",), ["everywhere", "live", "stats"])):
        result = CliRunner().invoke(cli, ["migrate", str(tmp_path), "--import-registry", *options])
        assert result.exit_code == 0, result.output + repr(result.exception)
        if names:
            assert [v.name for v in FeatureStore(repo_path=tmp_path).list_feature_views()] == names
    assert files.cat_file(s3_registry["path"].removeprefix("s3://")) == FEAST_FILE.read_bytes()
