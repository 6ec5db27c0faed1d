"""The page of the architecture names every room, and a name of a class means one class."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import feast_assets

PACKAGE = Path(feast_assets.__file__).parent
PAGE = PACKAGE.parent / "docs" / "architecture.md"


def test_every_room_is_on_the_page_of_the_architecture() -> None:
    page = PAGE.read_text()
    folders = [f"`feast_assets/{path.parent.name}/`" for path in PACKAGE.glob("*/__init__.py")]
    modules = [path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]
    assert [room for room in folders if room not in page and room.replace("feast_assets/", "") not in page] == []
    assert [module for module in modules if f"{module}`" not in page] == []


def test_no_two_classes_share_a_name() -> None:
    modules = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].add(str(path.relative_to(PACKAGE)))
    # Each folder of suites has its base class of this name.
    shared = {name: sorted(places) for name, places in modules.items() if len(places) > 1 and name != "StoreFixtures"}
    assert shared == {}
