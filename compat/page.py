"""Writes the page `docs/feast-compatibility.md`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from compat.comparison import Difference, differences, feast_facts
from compat.deviations import BEHAVIOURS, DEVIATIONS, Reason, rows_of

PAGE = Path(__file__).parents[1] / "docs" / "feast-compatibility.md"

_HEAD = """# Beside Feast's public surface

<!-- Written by `make docs` from compat/. -->

The public classes and functions that users of Feast {version} take, with their parameters, their order and defaults,
were read from the installed package. This page lists all in which this package differs; a test compares both.
`make compat` reads Feast anew.

Of {names} public names, {whole} are here and take the arguments that Feast's take, {partly} are here and take others,
and {missing} are missing. Of the classes that are here, missing methods and attributes are listed too.

Names are written with Feast's modules. Each can be imported from that module below `feast_assets`, for example
`from feast_assets.infra.offline_stores.file_source import SavedDatasetFileStorage`; most can also be imported from
`feast_assets` itself. What is missing says so when it is imported or called, and names what to do instead.

"""
_ON_PURPOSE = """## On purpose

Where Feast's way loses or leaks data, breaks or is unsafe.

"""
_BEHAVIOUR = """## What it does

Random repositories are applied, materialized, and read online and in history with both packages, and wrong calls are
made to both. All answers are equal, and where Feast raises, the error here is of the same class or a subclass, but for
the following; more is in [Migrating from Feast](migrating-from-feast.md#what-differs).

| | Feast | here | reason |
|---|---|---|---|
"""
_NOT_YET = """## Not yet

"""


def page() -> str:
    """Returns the page's text."""
    facts = feast_facts()
    found = differences(facts)
    missing, partly = _counts(facts["objects"], found)
    names = len(facts["objects"])
    head = _HEAD.format(
        version=facts["feast"], names=names, whole=names - missing - partly, partly=partly, missing=missing
    )
    rows = rows_of(found)
    purpose = [row for row in DEVIATIONS if row.reason is not Reason.NOT_YET]
    return (
        head
        + "\n".join(
            [
                _ON_PURPOSE
                + "".join(
                    f"### {row.title}\n\nReason: {row.reason.value}. {row.note}\n\n{_list(rows[row])}\n"
                    for row in purpose
                ),
                _BEHAVIOUR + "".join(f"| {b.title} | {b.feast} | {b.here} | {b.reason.value} |\n" for b in BEHAVIOURS),
                _NOT_YET
                + "".join(
                    f"### {row.title}\n\n{row.note}\n\n{_list(rows[row])}\n" for row in DEVIATIONS if row not in purpose
                ),
            ]
        ).rstrip()
        + "\n"
    )


def _counts(objects: Mapping[str, Any], found: Sequence[Difference]) -> tuple[int, int]:
    """Returns how many names are missing, and how many others differ in what they take or are."""
    missing = {each.subject for each in found if each.text == "missing"} & set(objects)
    return len(missing), len(({each.subject for each in found} & set(objects)) - missing)


def _list(found: Sequence[Difference]) -> str:
    return "".join(f"{line}\n" for line in _lines(found))


def _lines(found: Sequence[Difference]) -> Iterator[str]:
    """Yields the differences as list items, those of one name or with one text together."""
    absent: dict[str, list[str]] = {}
    for each in found:
        if each.text == "missing":
            owner, _, name = each.subject.rpartition(".")
            absent.setdefault(owner, []).append(f"`{name}`")
    owners: dict[tuple[str, ...], list[str]] = {}
    for owner, names in absent.items():
        owners.setdefault(tuple(names), []).append(f"`{owner}`" if owner else "")
    for missing, of in owners.items():
        yield f"- {', '.join(missing)}{' of ' if any(of) else ''}{', '.join(of)}"
    by_text: dict[str, list[str]] = {}
    for each in found:
        if each.text != "missing":
            by_text.setdefault(each.text, []).append(f"`{each.subject}`")
    for text, subjects in by_text.items():
        yield f"- {', '.join(subjects)}: {text}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
