"""Rewriting the imports in the code cells of a Jupyter notebook."""

from __future__ import annotations

import json
import re

from feast_assets.migration.imports import Finding, Rewritten, rewrite_imports

_MAGIC = re.compile(r"^(\s*)([%!?])", flags=re.MULTILINE)
_MASK = "# notebook magic"
_LINE = re.compile(r"[^\n]*\n|[^\n]+")  # as Jupyter counts them, so not at form feeds


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
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        text = _text_of(cell.get("source"))
        if "feast" not in text:
            continue
        mask = _MASK
        while mask in text:
            mask += "_"
        try:
            rewritten = rewrite_imports(_MAGIC.sub(rf"\1{mask}\2", text))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = error.lineno if isinstance(error, SyntaxError) else None
            findings.append(Finding(line or 1, f"Cell {number} is not plain Python; rewrite it by hand."))
            continue
        findings += [Finding(f.line, f"Cell {number}: {f.message}") for f in rewritten.findings]
        new = rewritten.text.replace(mask, "")
        if new != text:
            changed = True
            cell["source"] = new if isinstance(cell["source"], str) else _LINE.findall(new)
    return Rewritten(_dumped(notebook, source) if changed else source, findings)


def _text_of(source: object) -> str:
    """Returns the source of a cell, which is a text or a list of lines; "" for anything else."""
    given = source if isinstance(source, list) else [source]
    lines = [line for line in given if isinstance(line, str)]
    return "".join(lines) if len(lines) == len(given) else ""


def _dumped(notebook: object, source: str) -> str:
    """Returns the notebook as Jupyter writes it."""
    end = "\n" if source.endswith("\n") else ""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + end
