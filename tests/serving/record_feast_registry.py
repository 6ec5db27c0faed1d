"""Run with Feast's own Python (and grpcio): records the answers of Feast's REST registry server, without times.

FEAST_PYTHON record_feast_registry.py > feast_registry_answers.json
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PATHS = [
    "entities?project=pairs",
    "entities/driver?project=pairs",
    "data_sources?project=pairs",
    "data_sources/stats_file?project=pairs",
    "feature_views?project=pairs",
    "feature_views/totals?project=pairs",
    "feature_services?project=pairs",
    "feature_services/service?project=pairs",
    "features/stats/trips?project=pairs",
    "projects",
    "projects/pairs",
    "saved_datasets?project=pairs",
    "permissions?project=pairs",
    "label_views?project=pairs",
    "entities/nope?project=pairs",
    "entities?project=nope",
    "entities/all",
]
# Times differ from run to run; code is made for people; bodies are pickled.
LEFT_OUT = ("createdTimestamp", "lastUpdatedTimestamp", "featureDefinition", "body")


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without(inner) for key, inner in value.items() if key not in LEFT_OUT}
    return [without(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    from fastapi.testclient import TestClient
    from feast import FeatureStore
    from feast.api.registry.rest.rest_registry_server import RestRegistryServer
    from feast.repo_config import load_repo_config
    from feast.repo_operations import apply_total

    root = Path(tempfile.mkdtemp())
    (root / "feature_store.yaml").write_text("project: pairs\nregistry: registry.db\nprovider: local\n")
    (root / "definitions.py").write_text((HERE / "pairs_repository.py").read_text().replace("FEAST", "feast"))
    os.chdir(root)
    sys.path.insert(0, str(root))
    apply_total(load_repo_config(root, root / "feature_store.yaml"), root, True)
    client = TestClient(RestRegistryServer(FeatureStore(str(root))).app, raise_server_exceptions=False)
    answers = {}
    for path in PATHS:
        answer = client.get(f"/api/v1/{path}")
        answers[path] = [answer.status_code, without(answer.json())]
    json.dump(answers, sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
