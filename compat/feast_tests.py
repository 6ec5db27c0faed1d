"""Runs Feast's own tests with this package: a copy of them in which only the imports are rewritten.

    python -m compat.feast_tests FEAST/sdk/python/tests [unit/test_entity.py ...] [--feast-python PYTHON]

The tests are in Feast's repository, and in none of its packages on PyPI. Each file is run by a process of its own, so
that one that cannot be imported leaves the others alone. With ``--feast-python`` the unchanged files are run with Feast
first, and only what passes there counts. Prints a line for each file and one for all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from feast_assets.migration.imports import rewrite_imports

_OPTIONS = ("-q", "-rA", "--color=no", "--tb=no", "-p", "no:cacheprovider", "-p", "no:warnings", "-o", "addopts=")
_SECONDS = 900


@dataclass(frozen=True, slots=True)
class FileResult:
    """How the tests of one file ended.

    Attributes:
        file: its path below the tests.
        counted: the tests that count: those that pass with Feast, where that was run; otherwise all that ran.
        passed: those of them that pass with this package.
    """

    file: str
    counted: frozenset[str]
    passed: frozenset[str]


def run_tests(tests: Path, files: Sequence[str], feast_python: str | None = None) -> list[FileResult]:
    """Runs test files.

    Args:
        tests: the folder ``tests`` of Feast; it is not changed.
        files: paths below it; all files of ``unit`` when empty.
        feast_python: an interpreter that has Feast and pytest.
    """
    chosen = list(files) or [str(file.relative_to(tests)) for file in sorted((tests / "unit").rglob("test_*.py"))]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tests"
        shutil.copytree(tests, copy)
        if feast_python:
            of_feast = {file: _outcomes(feast_python, copy, file) for file in chosen}
        for source in copy.rglob("*.py"):
            text = source.read_text(encoding="utf-8")
            source.write_text(rewrite_imports(text).text, encoding="utf-8")
        for file in chosen:
            passed, ran = _outcomes(sys.executable, copy, file)
            counted = of_feast[file][0] if feast_python else ran
            results.append(FileResult(file, frozenset(counted), frozenset(passed & counted)))
    return results


def _outcomes(python: str, tests: Path, file: str) -> tuple[set[str], set[str]]:
    """Returns the names of the tests of a file that pass, and of all that run."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent), str(Path(__file__).parents[1])])}
    command = [python, "-m", "pytest", *_OPTIONS, "--rootdir", str(tests.parent), str(tests / file)]
    done = subprocess.run(  # noqa: S603 - tests that the caller chose
        command,
        cwd=tests.parent,
        env={**environment, "FEAST_USAGE": "False", "IS_TEST": "True"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    passed, ran = set(), set()
    for line in done.stdout.splitlines():
        outcome, _, name = line.partition(" ")
        name = name.partition(" - ")[0]
        if outcome in ("PASSED", "FAILED", "ERROR"):
            ran.add(name)
            if outcome == "PASSED":
                passed.add(name)
    return passed, ran


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tests that the command line names; returns 0, whatever they give."""
    parser = argparse.ArgumentParser(prog="python -m compat.feast_tests", description=__doc__)
    parser.add_argument("tests", type=Path)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--feast-python")
    options = parser.parse_args(arguments)
    if not options.tests.is_dir():
        parser.error(f"there is no folder {options.tests}; give sdk/python/tests of a checkout of Feast")
    results = run_tests(options.tests.resolve(), options.files, options.feast_python)
    for result in results:
        print(f"{len(result.passed):5} of {len(result.counted):5}  {result.file}")
    passed, counted = sum(len(r.passed) for r in results), sum(len(r.counted) for r in results)
    print(f"{passed:5} of {counted:5}  in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
