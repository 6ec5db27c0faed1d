"""Which of many cells of time a row lies in, found row by row: nothing is sorted or held, however many rows come."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feast_assets.types.arrow_values import int64_array

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

_FIRST, _LAST = -(2**63), 2**63 - 1
_BUCKETS_PER_EDGE = 8


def with_cells(cursor: duckdb.DuckDBPyConnection, sql: str, edges: Sequence[int]) -> str:
    """Returns a query with the columns of another, and ``cell``: how many of the edges are not after the row's time.

    Edges cut time into cells. Those of a grid are evenly spaced, but for the first and last, where the grid was cut; so
    the cell is a division. Where they are not, time is cut once more, into buckets of equal width of which each has few
    edges; so the cell is found by a hash join on the bucket, where an ``ASOF JOIN`` would sort all rows.

    Args:
        sql: a query with a column ``t``, int64; where it is null, ``cell`` is as well.
        edges: distinct, ascending, in the unit of ``t``; may be none.
    """
    if not edges:
        return f"SELECT *, CASE WHEN t IS NOT NULL THEN 0 END AS cell FROM ({sql})"
    cuts = np.array(edges, np.int64)
    if (number := _by_division(cuts)) is not None:
        return f"SELECT *, {number} AS cell FROM ({sql})"
    base, span = int(cuts[0]), int(cuts[-1] - cuts[0])
    width = max(1, span // (_BUCKETS_PER_EDGE * len(cuts)), int(np.median(np.diff(cuts))) if span else 1)
    last = span // width
    # Part of a bucket between two edges, or whole buckets: each lies in one bucket and in one cell.
    starts = np.array(sorted({*edges, *range(base, base + span + 1, width)}), np.int64)
    buckets = (starts - base) // width
    parts = {
        "bucket": np.concatenate([[-1], buckets]),
        "part_start": np.concatenate([[_FIRST], starts]),
        "part_end": np.concatenate([starts, [_LAST]]),
        "cell": np.concatenate([[0], np.searchsorted(cuts, starts, side="right")]),
    }
    name = f"cells_{uuid.uuid4().hex}"
    cursor.register(name, pa.table([int64_array(values) for values in parts.values()], names=list(parts)))
    bucket = f"CASE WHEN r.t < {base} THEN -1 ELSE least({last}, (r.t - {base}) // {width}) END"
    return (
        f"SELECT r.*, p.cell FROM ({sql}) r LEFT JOIN {name} p "
        f"ON p.bucket = {bucket} AND p.part_start <= r.t AND r.t < p.part_end"
    )


def _by_division(cuts: NDArray[np.int64]) -> str | None:
    """Returns an expression of the cell that a time ``t`` lies in; None where the edges are unevenly spaced."""
    steps = np.diff(cuts)
    if (steps[1:-1] != (width := int(steps.max(initial=1)))).any():
        return None
    # The second edge is on the grid, the first maybe after the place before it.
    begin = int(cuts[1]) - width if len(cuts) > 1 else int(cuts[0])
    return (
        f"CASE WHEN t < {cuts[0]} THEN 0 WHEN t >= {cuts[-1]} THEN {len(cuts)} ELSE 1 + (t - ({begin})) // {width} END"
    )
