"""Observes the installed Feast anew: its public surface, what its wrong calls raise, what its retrievals
answer, what it plans and applies, and which labels count.

    python -m compat.refresh /path/to/feast/python

Writes the files of facts in this folder, names those that changed, and then ends with 1.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def observed(python: str, script: str, package: str) -> Any:
    """Returns what a script of scenarios prints.

    Args:
        python: the interpreter that has the package.
        package: ``feast`` or ``feast_assets``.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = [python, "-W", "ignore", str(FOLDER / script), package, folder]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)  # noqa: S603 - our own script
    if done.returncode:
        raise RuntimeError(f"{script} failed with {package}:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def facts(name: str) -> Any:
    """Returns a file of facts."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def main(python: str) -> int:
    """Writes all facts; returns 1 if some changed."""
    surface = [python, "-W", "ignore", str(FOLDER / "surface.py")]
    read = subprocess.run(surface, capture_output=True, text=True, check=True)  # noqa: S603 - our own script
    texts = {"feast_surface.json": read.stdout}
    texts["raised_by_feast.json"] = _lines(observed(python, "error_scenarios.py", "feast"))
    answers: dict[str, Any] = observed(python, "retrieval_scenarios.py", "feast")
    texts["answered_by_feast.json"] = _lines({case: _certain(told) for case, told in answers.items()})
    texts["applied_by_feast.json"] = _lines(observed(python, "apply_scenarios.py", "feast"))
    texts["labels_by_feast.json"] = _lines(observed(python, "label_scenarios.py", "feast"))
    texts["decided_by_feast.json"] = _lines(observed(python, "permission_scenarios.py", "feast"))
    changed = [name for name, text in texts.items() if _written(FOLDER / name, text)]
    for name in changed:
        print(f"compat/{name} has changed: the installed Feast is another.", file=sys.stderr)
    return 1 if changed else 0


def _certain(told: dict[str, Any]) -> dict[str, Any]:
    """Returns what Feast answers each time: of rows that differ in when they were made only, it takes now one, now
    another."""
    kept = {request: answer for request, answer in told.items() if not request.endswith((", by hand", ", ties"))}
    for request, answer in kept.items():
        for row, names in told.get(f"{request}, ties", {}).items():
            for name in names if row in answer else ():
                del answer[row][name]
    return kept


def _lines(values: dict[str, Any]) -> str:
    """Returns a JSON object with one line an entry."""
    return (
        "{\n"
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(value, sort_keys=True)}" for name, value in values.items())
        + "\n}\n"
    )


def _written(file: Path, text: str) -> bool:
    """Writes a file, and says whether it was another before."""
    same = file.exists() and file.read_text(encoding="utf-8") == text
    if not same:
        file.write_text(text, encoding="utf-8")
    return not same


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
