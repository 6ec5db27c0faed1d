"""The runner of Feast's own tests, with tests written for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat.feast_tests import main

TESTS = {
    "__init__.py": "",
    "unit/__init__.py": "",
    "utils.py": "from feast import Entity\n\n\ndef driver():\n    return Entity(name='driver')\n",
    "unit/test_entity.py": (
        "import feast\n"
        "from feast.value_type import ValueType\n"
        "from tests.utils import driver\n\n\n"
        "def test_it_is_this_package():\n"
        "    assert feast.__name__ == 'feast_assets'\n\n\n"
        "def test_a_helper_of_the_tests_is_rewritten_too():\n"
        "    assert driver().join_key == 'driver'\n\n\n"
        "def test_that_fails():\n"
        "    assert ValueType.INT64.name == 'nothing'\n"
    ),
    "unit/test_missing.py": "from feast import Nothing\n\n\ndef test_nothing():\n    pass\n",
}


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout" / "tests"
    for name, text in TESTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_each_file_is_run_with_its_imports_rewritten(tests: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tests)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["2", "of", "3", "unit/test_entity.py"],
        ["0", "of", "1", "unit/test_missing.py"],
        ["2", "of", "4", "in", "all"],
    ]
    assert {name: (tests / name).read_text(encoding="utf-8") for name in TESTS} == TESTS


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path / "nowhere")])
    assert "a checkout of Feast" in capsys.readouterr().err
