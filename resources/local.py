"""Everything on this machine, in files below feature_repo/data, as feature_repo/feature_store.yaml says."""

from pathlib import Path
from typing import Any

from feast_assets.dagster import FeatureStoreResource

FEATURE_REPO = Path(__file__).resolve().parents[1] / "feature_repo"


def resources() -> dict[str, Any]:
    return {"feature_store": FeatureStoreResource(repo_path=str(FEATURE_REPO))}
