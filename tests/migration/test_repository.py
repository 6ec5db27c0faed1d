"""A whole Feast repository is moved: shown first, written whole, and what is left is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from feast_assets.cli.main import cli
from feast_assets.errors import InputError

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
    (repo / "streams.py").write_text("import os\nfrom feast import DocEmbedder\n")
    (repo / "broken.py").write_text("from feast import (\n")
    (repo / "feature_store.yaml").write_text(CONFIG.replace("sqlite", "bigtable"))
    told = migrate(repo).output
    assert "Left to do by hand (3):" in told
    assert "streams.py:2: DocEmbedder is in Feast" in told
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


def files_of(repo: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in repo.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "source",
    [
        b"\x00import feast\n",
        b"import feast\n\xff\xfe",
        b"# coding: no_such\nimport feast\n",
        b"# coding: hex\nimport feast\n",
        b"import feast\nx = " + b"(" * 5000,
        b"import feast\nx = " + b"-" * 200_000 + b"1\n",
        b"import feast\nx = " + b"1+" * 200_000 + b"1\n",
        b"import feast\nx" + b".a" * 200_000 + b"\n",
        b"import feast\n" + b"".join(b" " * i + b"if 1:\n" for i in range(200)),
        b"import feast\n" + b"#" * (9 << 20),
    ],
)
def test_what_is_no_sensible_python_is_told_and_left_as_it_is(repo: Path, source: bytes) -> None:
    (repo / "odd.py").write_bytes(source)
    before = files_of(repo)
    shown = migrate(repo)
    assert "odd.py:" in shown.output
    assert "was left as it is" in shown.output
    assert len(shown.output) < 10_000
    migrate(repo, "--write")
    after = files_of(repo)
    assert {name for name in before if after[name] != before[name]} == {str(repo / "features.py")}


@pytest.mark.parametrize(
    "cell",
    [
        None,
        "from feast import Entity",
        {},
        {"cell_type": "code"},
        {"cell_type": "code", "source": None},
        {"cell_type": "code", "source": {"feast": 1}},
        {"cell_type": "code", "source": ["import feast\n", 1]},
        {"cell_type": ["code"], "source": "import feast"},
        {"cell_type": "code", "source": "import feast\n\0"},
        {"cell_type": "code", "source": "import feast\nx = " + "-" * 100_000 + "1"},
        {"cell_type": "code", "source": "import feast; (((("},
    ],
)
def test_an_odd_cell_leaves_the_others_to_be_rewritten(repo: Path, cell: object) -> None:
    good = {"cell_type": "code", "source": ["from feast import Entity  # \f\n", "x = 1"]}
    (repo / "odd.ipynb").write_text(json.dumps({"cells": [cell, good]}))
    migrate(repo, "--write")
    after = json.loads((repo / "odd.ipynb").read_text())
    changed = {"cell_type": "code", "source": ["from feast_assets import Entity  # \f\n", "x = 1"]}
    assert after == {"cells": [cell, changed]}


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "1",
        "{}",
        '{"cells": 1}',
        "feast",
        '{"cells": [{"cell_type": "code", "source": "import feast\\ud800"}]}',
        "[" * 100_000 + '"feast"',
        '{"cells": [], "x": "feast\\ud800"}',
        "\ufeff{}",
        "1" * 10_000,
    ],
)
def test_a_notebook_that_is_none_is_left_as_it_is(repo: Path, text: str) -> None:
    (repo / "odd.ipynb").write_text(text)
    migrate(repo, "--write")
    assert (repo / "odd.ipynb").read_text() == text


def test_comments_that_look_like_masked_magic_stay(repo: Path) -> None:
    source = "%pip install feast\n# notebook magic: 1\n# notebook magic%\nimport feast\n"
    (repo / "x.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": source}]}))
    migrate(repo, "--write")
    (cell,) = json.loads((repo / "x.ipynb").read_text())["cells"]
    assert cell["source"] == source.replace("import feast", "import feast_assets")


def test_pipes_loops_and_odd_names_do_not_stop_it(repo: Path) -> None:
    os.mkfifo(repo / "pipe.py")
    (repo / "loop").symlink_to(repo)
    (repo / "folder.py").mkdir()
    (repo / "deep").mkdir()
    os.mkfifo(repo / "deep" / "feature_store.yaml")
    for name in (b"\xff\x1b[2J.py", b"n" * 250 + b".py"):
        (repo / os.fsdecode(name)).write_text("import feast\x0c\nx = '\x1b[2J'\n")
    shown = migrate(repo)
    assert "\x1b" not in shown.output
    migrate(repo, "--write")
    assert (repo / f"{'n' * 250}.py").read_text() == "import feast_assets\x0c\nx = '\x1b[2J'\n"
    assert not list(repo.glob(".feast*"))


def test_a_folder_that_cannot_be_written_is_an_error_and_changes_nothing(repo: Path) -> None:
    from feast_assets.migration.repository import migrated_files

    (file,) = migrated_files(repo)
    (repo / "features.py").unlink()
    (repo / "features.py").mkdir()
    with pytest.raises(InputError, match=r"Cannot write .*features\.py: Is a directory\. The file is as it was\."):
        file.write()
    assert not list(repo.glob(".feast*"))
