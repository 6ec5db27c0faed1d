"""Which rows of a stream break the checks of a view's fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_assets.definitions.field_checks import Checks

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.definitions.feature_view import FeatureView


def first_broken_rules(view: FeatureView, rows: pa.Table) -> dict[int, str]:
    """Returns for each row that breaks a rule of severity "error" the first such rule, as a sentence.

    Rules of single values count: ``nullable``, ``minimum``, ``maximum`` and ``allowed``. What only many rows can break,
    ``max_null_share`` and ``unique``, is checked when the windows of the history are materialized.

    Args:
        rows: with the view's names of columns.
    """
    import numpy as np
    import pyarrow.compute as pc

    broken: dict[int, str] = {}
    for field in view.features:
        checks = field.checks
        if checks is None or checks.severity != "error" or field.name not in rows.column_names:
            continue
        for rule, is_broken in _masks(checks, rows.column(field.name)):
            for row in np.flatnonzero(pc.fill_null(is_broken, False).to_numpy()).tolist():
                value = rows.column(field.name)[row].as_py()
                broken.setdefault(row, f"its {field.name!r}, {value!r}, breaks the check {rule}.")
    return broken


def _masks(checks: Checks, column: pa.ChunkedArray) -> list[tuple[str, pa.ChunkedArray]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    masks = []
    if not checks.nullable:
        masks.append(("nullable=False", column.is_null()))
    is_number = pa.types.is_floating(column.type)
    if checks.minimum is not None:
        masks.append((f"minimum={checks.minimum}", pc.less(column, checks.minimum)))
    if checks.maximum is not None:
        masks.append((f"maximum={checks.maximum}", pc.greater(column, checks.maximum)))
    if is_number and (checks.minimum is not None or checks.maximum is not None):
        masks.append(("of its range", pc.is_nan(column)))
    if checks.allowed:
        allowed = pa.array(checks.allowed)
        masks.append((f"allowed={checks.allowed}", pc.and_(column.is_valid(), pc.invert(pc.is_in(column, allowed)))))
    return masks
