"""Requests that schemathesis makes of the OpenAPI documents: all of its checks find nothing.

To look for longer, run it by hand: ``schemathesis run http://127.0.0.1:6566/openapi.json --max-examples 1000``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from served_project import made

# What no document can say: which push sources there are (Feast answers 422 for one that is not), that a time is before
# another, and that the lists of rows are of one length. Runs in the background may be as many as the server takes: 503.
SETTINGS = """
seed = 16
continue-on-failure = true
request-timeout = 30
warnings = false

[generation]
max-examples = {examples}
database = "none"
no-shrink = true

[[operations]]
include-path = ["/push", "/write-to-online-store"]
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 404, 422]

[[operations]]
include-path = ["/materialize", "/materialize-incremental"]
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 404, 409, 503]
[operations.checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", 503]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return made(tmp_path / "repository")


def assert_nothing_is_found(folder: Path, document: str, url: str, *options: str, examples: int) -> None:
    """Runs schemathesis with all of its checks."""
    settings = folder / "schemathesis.toml"
    settings.write_text(SETTINGS.format(examples=examples), encoding="utf-8")
    words = ["--config-file", str(settings), "--no-color", "run", document, "--url", url, "--checks", "all", *options]
    run = subprocess.run(
        [str(Path(sys.executable).with_name("schemathesis")), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if run.returncode:
        pytest.fail(run.stdout + run.stderr, pytrace=False)


def document_of(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=30) as answer:
        return json.load(answer)


def test_nothing_is_found_in_a_feature_server(repository: Path, tmp_path: Path, start_server: Any) -> None:
    url = start_server(repository, "--no-access-log").url
    assert_nothing_is_found(tmp_path, f"{url}/openapi.json", url, examples=10)


def test_nothing_is_found_where_requests_name_what_is_there(
    repository: Path, tmp_path: Path, start_server: Any
) -> None:
    url = start_server(repository, "--no-access-log").url
    document = document_of(url)
    schemas = document["components"]["schemas"]
    numbers = {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "items": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    }
    amounts = {**numbers, "items": {"type": ["number", "null"]}}
    texts = {**numbers, "items": {"type": ["string", "null"]}}
    times = {**numbers, "items": {"type": "string", "format": "date-time"}}
    rows: dict[str, Any] = {
        "type": "object",
        "required": ["driver_id", "trips", "rate", "city", "ts"],
        "properties": {"driver_id": numbers, "trips": numbers, "rate": amounts, "city": texts, "ts": times},
    }
    read = schemas["OnlineFeaturesRequest"]
    read["properties"] |= {
        "entities": {
            "type": "object",
            "required": ["driver_id", "bonus"],
            "properties": {"driver_id": numbers, "bonus": {**numbers, "items": {"type": "number"}}},
            "additionalProperties": False,
        },
        "features": {"type": "array", "items": {"enum": ["stats:trips", "stats:city", "totals:total", "no:feature"]}},
        "feature_service": {"enum": ["service", None]},
    }
    schemas["PushRequest"]["properties"] |= {"push_source_name": {"const": "live"}, "df": rows}
    schemas["WriteRequest"]["properties"] |= {"feature_view_name": {"const": "stats"}, "df": rows}
    for name in ("MaterializeRequest", "MaterializeIncrementalRequest"):
        schemas[name]["properties"]["feature_views"] = {"const": ["stats"]}
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    assert_nothing_is_found(tmp_path, str(file), url, "--mode", "positive", examples=10)


def test_nothing_is_found_in_a_registry_server(repository: Path, tmp_path: Path, start_server: Any) -> None:
    url = start_server(repository, "--no-access-log", command="serve_registry").url
    assert_nothing_is_found(tmp_path, f"{url}/openapi.json", url, examples=4)
