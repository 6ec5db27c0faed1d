"""Rewriting the imports in the code cells of a Jupyter notebook."""

from __future__ import annotations

import json
import re
from typing import Any

from feast_assets.migration.imports import Finding, Rewritten, rewrite_imports

_MAGIC = re.compile(r"^(\s*)([%!?])", flags=re.MULTILINE)
_MASK = "# notebook magic: "


def rewrite_notebook(source: str) -> Rewritten:
    """Returns a notebook with the imports of its code cells rewritten; lines of findings count within their cell.

    Raises:
        ValueError: it is no notebook.
    """
    notebook = json.loads(source)
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError("it has no cells")
    findings: list[Finding] = []
    changed = False
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell.get("cell_type") != "code":
            continue
        text = "".join(cell["source"])
        try:
            rewritten = rewrite_imports(_MAGIC.sub(rf"\1{_MASK}\2", text))
        except SyntaxError as error:
            if "feast" in text:
                findings.append(Finding(error.lineno or 1, f"Cell {number} is not plain Python; rewrite it by hand."))
            continue
        findings += [Finding(f.line, f"Cell {number}: {f.message}") for f in rewritten.findings]
        new = rewritten.text.replace(_MASK, "")
        if new != text:
            changed = True
            cell["source"] = new if isinstance(cell["source"], str) else new.splitlines(keepends=True)
    return Rewritten(_dumped(notebook, source) if changed else source, findings)


def _dumped(notebook: Any, source: str) -> str:
    """Returns the notebook as Jupyter writes it."""
    end = "\n" if source.endswith("\n") else ""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + end
