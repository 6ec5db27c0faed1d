"""Compares Feast's facts with this package."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compat.surface import Facts, describe

FACTS = Path(__file__).parent / "feast_surface.json"
_PACKAGE = "feast_assets"


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a public name is not Feast's.

    Attributes:
        subject: the name with its module in Feast, such as ``entity.Entity.join_key``.
        text: what differs.
    """

    subject: str
    text: str


def feast_facts() -> dict[str, Any]:
    """Returns Feast's facts as the repository has them."""
    facts: dict[str, Any] = json.loads(FACTS.read_text(encoding="utf-8"))
    return facts


def differences(facts: Mapping[str, Any]) -> list[Difference]:
    """Returns all that differs from Feast's facts, by name."""
    found: list[Difference] = []
    for path, theirs in facts["objects"].items():
        ours = our_facts(path, path.rpartition(".")[2] in facts["exported"])
        if ours is None:
            found.append(Difference(path, "missing"))
        else:
            found += _differences(path, theirs, ours)
    return found


def our_facts(path: str, exported: bool) -> Facts | None:
    """Returns the facts of this package's object of a name; None where it has none.

    Args:
        path: module and name, as in `compat.surface.NAMES`.
        exported: whether it must be importable from the package itself, too.
    """
    module, _, name = path.rpartition(".")
    try:
        value = getattr(importlib.import_module(f"{_PACKAGE}.{module}" if module else _PACKAGE), name)
        if exported and getattr(importlib.import_module(_PACKAGE), name) is not value:
            return {"kind": "another"}
    except (AttributeError, ImportError):
        return None
    return describe(value, _PACKAGE)


def _differences(path: str, theirs: Facts, ours: Facts) -> Iterator[Difference]:
    if theirs["kind"] == "value":
        return  # a constant, an attribute or a union of types; which of them does not matter
    if theirs["kind"] != ours["kind"]:
        yield Difference(path, f"is a {ours['kind']}, not a {theirs['kind']}")
        return
    if missing := [base for base in theirs.get("bases", ()) if base not in ours["bases"]]:
        yield Difference(path, f"is no {', '.join(missing)}")
    if "http_status_code" in theirs and theirs["http_status_code"] != ours.get("http_status_code"):
        yield Difference(path, f"HTTP status {ours.get('http_status_code')}, not {theirs['http_status_code']}")
    if theirs.get("parameters") is not None:
        yield from (Difference(path, text) for text in _of_parameters(theirs["parameters"], ours["parameters"] or []))
    for name, member in theirs.get("members", {}).items():
        subject = f"{path}.{name}"
        if name not in ours.get("members", {}):
            yield Difference(subject, "missing")
        elif isinstance(member, dict):
            yield from _differences(subject, member, ours["members"][name])
        elif member != ours["members"][name]:
            yield Difference(subject, f"{ours['members'][name]!r}, not {member!r}")


def _of_parameters(theirs: list[list[str]], ours: list[list[str]]) -> Iterator[str]:
    """Yields what a caller who writes to Feast's signature would notice.

    Parameters that only this package has may follow Feast's, if they have a default. One that Feast takes by name only
    may also be taken by position, and one that Feast requires may be left out.
    """
    own = {name: (kind, default) for name, kind, *default in ours}
    expected = [each[0] for each in theirs if each[1] in ("", "/", "*")]
    if missing := [name for name in expected if name not in own]:
        yield f"no parameter {', '.join(missing)}"
    known = [name for name, *_ in ours if name in expected]
    if known != [name for name in expected if name in own]:
        yield f"parameters in another order: {', '.join(known)}"
    positional = [name for name, kind, *_ in theirs if kind == "" and name in own]
    if by_name := [name for name in positional if own[name][0] == "*"]:
        yield f"by name only: {', '.join(by_name)}"
    first = [name for name, kind, *_ in ours if kind == ""][: len(positional)]
    if not by_name and not missing and known == expected and set(first) - set(expected):
        yield f"own parameters between Feast's: {', '.join(name for name in first if name not in expected)}"
    for name, kind, *default in theirs:
        if kind in ("*args", "**kwargs"):
            if not any(each[1] == kind for each in ours):
                yield f"no {kind}"
        elif name in own and default and own[name][1] != default:
            yield f"{name} {_default(own[name][1])}, not {default[0]}"
    taken = [(name, kind, default) for name, (kind, default) in own.items() if kind in ("", "/", "*")]
    if required := [name for name, _, default in taken if name not in expected and not default]:
        yield f"needs {', '.join(required)}"


def _default(default: list[str]) -> str:
    return f"defaults to {default[0]}" if default else "is required"
