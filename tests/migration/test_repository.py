"""A whole Feast repository is moved: shown first, written whole, and what is left is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from feast_assets.cli.main import cli

CONFIG = "project: taxis\nregistry: data/registry.db\nonline_store: sqlite\n"
FEATURES = """\
from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
stats = FeatureView(
    name="stats",
    entities=[driver],
    ttl=timedelta(days=1),
    schema=[Field(name="rate", dtype=Float64)],
    source=FileSource(name="source", path="data/stats.parquet", timestamp_field="event_timestamp"),
)
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    (root / "data").mkdir(parents=True)
    (root / "feature_store.yaml").write_text(CONFIG)
    (root / "features.py").write_text(FEATURES)
    return root


def migrate(repo: Path, *options: str) -> Result:
    result = CliRunner().invoke(cli, ["migrate", str(repo), *options], prog_name="feast-assets")
    assert result.exit_code == 0, result.output
    return result


def test_changes_are_shown_and_nothing_is_written(repo: Path) -> None:
    shown = migrate(repo).output
    assert "--- a/features.py" in shown
    assert "+from feast_assets import Float64" in shown
    assert "Nothing was changed. Run it again with --write to change 1 file." in shown
    assert (repo / "features.py").read_text() == FEATURES


def test_a_written_repository_is_planned_here(repo: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "driver_id": pa.array([1], pa.int64()),
        "rate": [0.5],
        "event_timestamp": pa.array([0], pa.timestamp("us")),
    }
    pq.write_table(pa.table(columns), repo / "data" / "stats.parquet")
    written = migrate(repo, "--write").output
    assert "Rewritten: features.py" in written
    assert f"Next: feast-assets -c {repo} plan" in written
    planned = CliRunner().invoke(cli, ["-c", str(repo), "plan"], prog_name="feast-assets")
    assert planned.exit_code == 0, planned.output
    assert "stats" in planned.output
    assert "Nothing in" in migrate(repo).output


def test_what_is_not_here_is_told_with_file_and_line(repo: Path) -> None:
    (repo / "streams.py").write_text("import os\nfrom feast import KafkaSource\n")
    (repo / "broken.py").write_text("from feast import (\n")
    (repo / "feature_store.yaml").write_text(CONFIG.replace("sqlite", "bigtable"))
    told = migrate(repo).output
    assert "Left to do by hand (3):" in told
    assert "streams.py:2: KafkaSource is in Feast" in told
    assert "broken.py:1: Cannot be read, and was left as it is" in told
    assert "feature_store.yaml: online_store.type 'bigtable' is not supported" in told


def test_notebooks_are_rewritten_and_stay_notebooks(repo: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["from feast import Entity"]},
        {
            "cell_type": "code",
            "source": ["%pip install feast\n", "from feast import FeatureStore\n", "!ls"],
            "outputs": [],
        },
        {"cell_type": "code", "source": "%%sql\nselect 1", "outputs": []},
    ]
    notebook = {"cells": cells, "metadata": {"name": "é"}, "nbformat": 4, "nbformat_minor": 5}
    (repo / "explore.ipynb").write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    migrate(repo, "--write")
    text = (repo / "explore.ipynb").read_text()
    after = json.loads(text)
    assert after["cells"][1]["source"] == ["%pip install feast\n", "from feast_assets import FeatureStore\n", "!ls"]
    assert [after["cells"][0], after["cells"][2], after["metadata"]] == [cells[0], cells[2], {"name": "é"}]
    assert text == json.dumps(after, indent=1, ensure_ascii=False) + "\n"


def test_environments_hidden_folders_and_links_are_left_alone(repo: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text("import feast\n")
    (repo / "linked.py").symlink_to(outside)
    for folder in (".venv", "venv", ".hidden", "node_modules"):
        (repo / folder).mkdir()
        (repo / folder / "module.py").write_text("import feast\n")
    migrate(repo, "--write")
    assert outside.read_text() == "import feast\n"
    assert (repo / ".venv" / "module.py").read_text() == "import feast\n"


def test_encoding_line_ends_and_mode_of_a_file_stay(repo: Path) -> None:
    script = repo / "script.py"
    script.write_bytes("# -*- coding: latin-1 -*-\r\nimport feast  # é\r\n".encode("latin-1"))
    script.chmod(0o755)
    migrate(repo, "--write")
    assert script.read_bytes() == "# -*- coding: latin-1 -*-\r\nimport feast_assets  # é\r\n".encode("latin-1")
    assert script.stat().st_mode & 0o777 == 0o755
    assert {path.name for path in repo.iterdir()} == {"data", "feature_store.yaml", "features.py", "script.py"}


def test_a_single_file_can_be_moved(repo: Path) -> None:
    migrate(repo / "features.py", "--write")
    assert "from feast_assets import Float64" in (repo / "features.py").read_text()
