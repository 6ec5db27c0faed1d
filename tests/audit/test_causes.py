"""Why a served value differs from history: one case for each cause, and which of two causes goes first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.audit.causes import CAUSES, Cause, EntriesByTime, Evidence, Known
from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import Window
from feast_assets.registry.base import LedgerEntry

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
AT = BEGIN + timedelta(hours=10)
VERSION = to_micros(BEGIN) // 2 * 2


def hour(count: float) -> datetime:
    return BEGIN + timedelta(hours=count)


def entry(start: float, end: float, **changes: Any) -> LedgerEntry:
    values = {"fingerprint": "f", "version": VERSION, "definition_hash": "d", "rows": 1, "written": 1, "at": BEGIN}
    return LedgerEntry("v", Window(hour(start), hour(end)), **{**values, **changes})


def known(*entries: LedgerEntry, **changes: Any) -> Known:
    return Known(**{"at": AT, "entries": EntriesByTime(entries), "changed": (), "definition_hash": "d", **changes})


def row(online: float | None, offline: float | None, version: int = VERSION, **changes: Any) -> Evidence:
    moments = [None if h is None else hour(h) for h in (online, offline)]
    return Evidence(moments[0], version, moments[1], **changes)


WHOLE = entry(0, 10)
CASES: list[tuple[Cause, Evidence, Known]] = [
    ("damaged", row(None, 1, damaged=True), known(WHOLE)),
    ("pushed", row(5, 1, VERSION + 1), known(WHOLE)),
    ("pushed", row(11, 1, VERSION + 1), known(WHOLE)),
    ("lag", row(1, 5, VERSION + 1), known(entry(0, 2))),
    ("ahead", row(11, 1), known(WHOLE)),
    ("ttl", row(1, None), known(WHOLE, ttl=timedelta(hours=2))),
    ("lag", row(None, 5), known(entry(0, 2))),
    ("lag", row(None, 5), known(entry(0, 10, settled=False))),
    ("restored", row(None, 5), known(entry(0, 10, settled=False, doubt="restored"))),
    ("code_changed", row(None, 5), known(entry(0, 10, definition_hash="other"))),
    ("late_row", row(None, 5), known(WHOLE, changed={WHOLE.window})),
    ("late_row", row(5, 3), known(WHOLE, changed={WHOLE.window})),
    ("expired", row(None, 5), known(WHOLE, key_ttl=timedelta(hours=10))),
    ("evicted", row(None, 5), known(WHOLE, key_ttl=timedelta(hours=11), evicts=True)),
    ("unexplained", row(None, 5), known(WHOLE, key_ttl=timedelta(hours=11))),
    ("unexplained", row(5, 3), known(entry(0, 2))),
    ("unexplained", row(5, 5), known(WHOLE, evicts=True)),
]


@pytest.mark.parametrize(("cause", "evidence", "knowledge"), CASES)
def test_each_cause_is_told_from_the_others(cause: Cause, evidence: Evidence, knowledge: Known) -> None:
    assert evidence.cause(knowledge) == cause


def test_every_cause_has_a_case() -> None:
    assert {cause for cause, _, _ in CASES} == set(CAUSES) == set(get_args(Cause))


@settings(max_examples=100, deadline=None)
@given(cuts=st.sets(st.integers(0, 12), max_size=6), event=st.integers(-2, 28))
def test_an_event_lies_in_the_entry_that_covers_it(cuts: set[int], event: int) -> None:
    ordered = sorted(cuts)
    entries = [entry(a, b) for a, b in zip(ordered[::2], ordered[1::2], strict=False)]
    moment = hour(event / 2)
    expected = [e for e in entries if e.window.start <= moment < e.window.end]
    found = EntriesByTime(entries[::-1]).at(moment)
    assert ([] if found is None else [found]) == expected
    assert EntriesByTime(entries).at(None) is None
