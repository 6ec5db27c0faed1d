"""The audit of one view: which windows and entities are looked at, and which values count as different."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_project import START, SmallProject, hours, row

from feast_assets import Entity, Field, FileSource, Int64, Partitions, String
from feast_assets.audit.view_audit import ViewAuditor, audit, differing_rows, some_rows, windows_to_sample
from feast_assets.compute.source_statistics import PartStatistics
from feast_assets.definitions.window import ALWAYS, Window, until
from feast_assets.offline_stores.base import Survey
from feast_assets.registry.base import LedgerEntry

END = hours(96)
ROWS = [row(1, 1, 10), row(2, 2, 20), row(1, 30, 11), row(3, 50, 30)]


def entry(start: int, end: int, rows: int) -> LedgerEntry:
    return LedgerEntry("v", Window(hours(start), hours(end)), "f" if rows else "", 2, "d", rows, rows, START)


@st.composite
def ledgers(draw: st.DrawFn) -> list[LedgerEntry]:
    cuts = sorted(draw(st.sets(st.integers(0, 12), max_size=7)))
    return [entry(a, b, draw(st.integers(0, 2))) for a, b in itertools.pairwise(cuts) if draw(st.booleans())]


@settings(max_examples=200, deadline=None)
@given(ledger=ledgers(), at=st.integers(-1, 13), seed=st.integers(0, 3))
def test_windows_to_sample_cover_all_time_up_to_the_moment_once(ledger: list[LedgerEntry], at: int, seed: int) -> None:
    moment = hours(at)
    windows = windows_to_sample(ledger, moment, np.random.default_rng(seed))
    ordered = sorted(windows)
    assert ordered[0].start == ALWAYS.start
    assert ordered[-1].end == until(moment)
    assert all(a.end == b.start for a, b in itertools.pairwise(ordered))
    assert windows == windows_to_sample(ledger, moment, np.random.default_rng(seed))
    # The newest window with rows comes first, then the time after the last window.
    with_rows = [e.window for e in ledger if e.rows and e.window.start <= moment]
    expected = [w for w in ordered if with_rows and w.start == with_rows[-1].start]
    last = ordered[-1]
    if not any(e.window.start <= moment < e.window.end for e in ledger):
        expected.append(last)
    assert windows[: len(expected)] == expected


def test_a_sample_does_not_depend_on_the_order_of_the_rows() -> None:
    values = list(range(50))
    tables = [pa.table({"a": order, "b": [str(v) for v in order]}) for order in (values, values[::-1])]
    chosen = [some_rows(t, 7, np.random.default_rng(1)).to_pylist() for t in tables]
    assert chosen[0] == chosen[1]
    assert len({r["a"] for r in chosen[0]}) == 7
    assert some_rows(tables[0], 7, np.random.default_rng(2)).to_pylist() != chosen[0]
    assert some_rows(tables[0], 50, np.random.default_rng(1)) is tables[0]


NAN = math.nan


@pytest.mark.parametrize(
    ("online", "offline", "differing"),
    [
        ([1, 2, None], [1, 2, None], set()),
        ([1, 2, None], [1, 3, 0], {1, 2}),
        ([1.5, NAN, None], [1.5, NAN, NAN], {2}),
        ([0.0, NAN], [-0.0, 0.0], {1}),
        ([[1.0, NAN], [NAN]], [[1.0, NAN], [2.0]], {1}),
        ([], [], set()),
    ],
)
def test_values_differ_where_neither_their_value_nor_their_text_is_the_same(
    online: list[Any], offline: list[Any], differing: set[int]
) -> None:
    served = pa.array(online)
    assert differing_rows(served, pa.chunked_array([pa.array(offline, served.type)])) == differing


def auditor(project: SmallProject, sample: int = 100, name: str = "stats") -> ViewAuditor:
    store = project.store
    view = store.get_feature_view(name)
    plan = store._online_plan([f"{name}:{f.name}" for f in view.features], False)
    return ViewAuditor(store.project, view, plan, store.registry, store.offline_store, store.online_store, sample, 0)


@pytest.fixture
def served(project: SmallProject) -> SmallProject:
    project.write(ROWS)
    project.apply()
    project.store.materialize_incremental(END)
    return project


def test_all_entities_are_compared_where_the_sample_holds_them(served: SmallProject) -> None:
    this = auditor(served)
    assert this.run(END) == []
    assert this.entities == 3
    few = auditor(served, sample=2)
    assert few.run(END) == []
    assert few.entities == 2


def test_only_windows_of_differing_rows_are_looked_at_again(served: SmallProject, monkeypatch: Any) -> None:
    served.write([*ROWS, row(2, 60, 99)])
    looked_at: list[list[Window]] = []
    survey = PartStatistics.survey

    def noted(self: PartStatistics, windows: Sequence[Window]) -> Survey:
        looked_at.append(list(windows))
        return survey(self, windows)

    monkeypatch.setattr(PartStatistics, "survey", noted)
    (mismatch,) = [m for m in auditor(served).run(END) if m.feature == "trips"]
    assert (mismatch.entity, mismatch.online, mismatch.offline) == ({"driver_id": 2}, 20, 99)
    assert (mismatch.online_event_timestamp, mismatch.offline_event_timestamp) == (hours(2), hours(60))
    assert mismatch.cause == "late_row"
    assert looked_at == [[Window(hours(0), hours(24)), Window(hours(48), hours(72))]]


def test_join_keys_may_have_any_name(project: SmallProject) -> None:
    """Columns that the audit adds on its way must not meet them."""
    places = Entity(name="place", join_keys=["place"])
    source = FileSource(name="stats_file", path="places.parquet", timestamp_field="ts")
    table = pa.table(
        {"place": [1, 2, 3], "k0": [5, 6, 7], "city": ["a", "b", "c"], "ts": [hours(1), hours(2), hours(30)]}
    )
    pq.write_table(table, project.root / "places.parquet")
    fields = [Field(name="place", dtype=Int64), Field(name="k0", dtype=Int64), Field(name="city", dtype=String)]
    partitions = Partitions("daily", START)
    project.store.apply([places, project.view(entities=[places], schema=fields, source=source, partitions=partitions)])
    project.store.materialize(START, hours(23))
    report = audit([auditor(project)], END)
    assert [(m.entity, m.feature, m.cause) for m in report.mismatches] == [
        ({"place": 3}, "k0", "lag"),
        ({"place": 3}, "city", "lag"),
    ]


def test_a_view_without_entities_has_one_row(project: SmallProject) -> None:
    project.write(ROWS)
    fields = [Field(name="trips", dtype=Int64)]
    project.store.apply([project.view(entities=[], schema=fields, ttl=timedelta(0))])
    this = auditor(project)
    (mismatch,) = this.run(END)
    assert this.entities == 1
    assert (mismatch.entity, mismatch.online, mismatch.offline, mismatch.cause) == ({}, None, 30, "lag")
    project.store.materialize_incremental(END)
    assert auditor(project).run(END) == []
