"""Validation: which windows hold rows that break what their fields declare, and which columns are not as declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.field_checks import Checks, Severity
from feast_assets.definitions.spec import content_hash
from feast_assets.definitions.window import Window
from feast_assets.offline_stores.profile import ColumnProfile, WindowProfile
from feast_assets.types import FeastType
from feast_assets.types.compatibility import incompatibility

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule of a field's `Checks` that rows of a window break.

    Attributes:
        rule: its name, such as ``minimum``.
        declared: its value, as text.
        rows: how many rows break it; for ``max_null_share``, the rows without a value.
        of: how many rows the window has.
    """

    window: Window
    feature: str
    rule: str
    declared: str
    severity: Severity
    rows: int
    of: int

    def __str__(self) -> str:
        rule = self.rule if self.rule == "unique" else f"{self.rule}={self.declared}"
        return f"{self.feature} {rule}: {self.rows} of {self.of} rows from {self.window.start.isoformat()} on"


def validates(view: FeatureView, asked: bool | None = None) -> bool:
    """Whether materialization refuses windows of a view that break a check.

    Args:
        asked: what the caller says; None for as the view says.
    """
    wanted = view.enable_validation if asked is None else asked
    return wanted and any(f.checks.severity == "error" for f in view.features if f.checks is not None)


def refusal_hash(view: FeatureView) -> str:
    """Returns a hash (hex) of what decides whether rows of a view are refused; "" where none can be."""
    if not validates(view, True):
        return ""
    checks = [(f.name, f.checks.to_spec()) for f in view.features if f.checks is not None]
    return content_hash([view.enable_validation, sorted(checks, key=lambda each: each[0])])


def broken_rules(fields: Iterable[Field], profiles: Sequence[WindowProfile]) -> list[BrokenRule]:
    """Returns the rules that rows of some windows break, by window."""
    checked = [(f.name, f.checks) for f in fields if f.checks is not None]
    return [
        BrokenRule(p.window, name, rule, _declared(checks, rule), checks.severity, rows, p.rows)
        for p in profiles
        for name, checks in checked
        for rule, rows in _broken(checks, p.columns[name], p.rows)
    ]


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """A column of a source that is not as a view declares it.

    Attributes:
        declared: the type that the view declares, or which of the view's time columns it is.
        found: the type of the source's column, ``"missing"`` where there is none.
    """

    column: str
    declared: str
    found: str


def schema_problems(view: FeatureView, schema: pa.Schema) -> list[SchemaProblem]:
    """Returns what of a source's columns does not fit a view that reads its rows as they are.

    Args:
        schema: the columns of the view's batch source, as the offline store tells them. Of those that are stored as
            text, the values decide; see `OfflineStore.check_texts`.
    """
    source = view.batch_source
    assert source is not None
    there = {field.name: field.type for field in schema}
    texts = declared_texts(view, schema)
    problems = []
    for role in ("timestamp_field", "created_timestamp_column"):
        own = getattr(source, role)
        name = source.field_mapping.get(own, own)
        if name and name not in there:
            problems.append(SchemaProblem(name, role, "missing"))
    for field in view.schema:
        if field.name == DUMMY_JOIN_KEY:
            continue
        if field.name not in there:
            problems.append(SchemaProblem(field.name, str(field.dtype), "missing"))
            continue
        if field.name not in texts and incompatibility(there[field.name], field.dtype):
            problems.append(SchemaProblem(field.name, str(field.dtype), str(there[field.name])))
    return problems


def declared_texts(view: FeatureView, schema: pa.Schema) -> dict[str, FeastType]:
    """Returns the declared types of a view's columns that are stored as text.

    Args:
        schema: the columns of the view's batch source, as the offline store tells them.
    """
    from feast_assets.types.arrow import is_stored_as_text

    texts = {column.name for column in schema if is_stored_as_text(column)}
    return {field.name: field.dtype for field in view.schema if field.name in texts}


def _broken(checks: Checks, column: ColumnProfile, rows: int) -> Iterator[tuple[str, int]]:
    if not checks.nullable and column.nulls:
        yield "nullable", column.nulls
    if checks.max_null_share is not None and column.nulls > checks.max_null_share * rows:
        yield "max_null_share", column.nulls
    for rule, broken in column.broken.items():
        if broken:
            yield rule, broken


def _declared(checks: Checks, rule: str) -> str:
    return str(getattr(checks, rule))
