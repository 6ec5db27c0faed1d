"""The ledger in segments: what is written comes back, and runs at the same time lose nothing, wherever segments end."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from feast_assets.definitions.spec import from_micros
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.registry import segments
from feast_assets.registry.base import Changes, Claim, LedgerEntry, WindowContent
from feast_assets.registry.ledger import Exchange, claimed, intervals, settled
from feast_assets.registry.ledger_columns import LedgerColumns
from feast_assets.registry.segment_codec import decoded, encoded, stamp
from feast_assets.registry.sql import store
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.schema import SEGMENTS
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.testing.registry import DAY, FIRST, entry, record, view
from tests.registry.format_1 import turn_into_format_1

HOUR = timedelta(hours=1)
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 40


def at(hour: float) -> datetime:
    return BEGIN + hour * HOUR


def sqlite(root: Path) -> SqlRegistry:
    return SqlRegistry(SqlRegistryConfig(path="registry.db"), root, "shop")


# --- one value for many entries

numbers = st.one_of(st.integers(0, 300), st.integers(-(2**63), 2**63 - 1))
texts = st.one_of(
    st.just(""),
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
)


@st.composite
def some_entries(draw: st.DrawFn) -> list[LedgerEntry]:
    edges = draw(
        st.one_of(
            st.integers(1, 12).map(lambda count: [BEGIN + i * HOUR for i in range(2 * count)]),
            st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2, max_size=16, unique=True),
            st.just([ALWAYS.start, ALWAYS.end]),
        )
    )
    ordered = sorted(edges)
    fingerprints = st.text("0123456789abcdef", min_size=32, max_size=32) if draw(st.booleans()) else texts
    common = draw(st.tuples(numbers, numbers, numbers, texts))
    entries = []
    for start, end in zip(ordered[::2], ordered[1::2], strict=False):
        version, mark, rows, run = common if draw(st.booleans()) else draw(st.tuples(numbers, numbers, numbers, texts))
        settled_by = draw(st.sampled_from([True, True, False]))
        doubt = "" if settled_by else draw(st.sampled_from(["", "restored", "unknown", "missing"]))
        fingerprint = draw(fingerprints)
        recorded = draw(st.datetimes(timezones=st.just(UTC)))
        entries.append(
            LedgerEntry(
                "v", Window(start, end), fingerprint, version, "d", rows, rows, recorded, run, settled_by, mark, doubt
            )
        )
    return entries


@settings(max_examples=150, deadline=None)
@given(entries=some_entries())
def test_entries_come_back_from_a_value_as_they_were(entries: list[LedgerEntry]) -> None:
    columns = LedgerColumns.of("v", entries)
    assert columns.entries() == entries
    value = encoded(columns)
    back = decoded("v", value)
    assert back.entries() == entries
    assert [back.entry(i) for i in range(len(entries))] == entries
    assert dict(back) == {e.window: e for e in entries}
    assert encoded(back) == value
    assert stamp(value) != stamp(value + b"x")


def test_a_window_takes_few_bytes() -> None:
    hourly = [
        replace(
            entry("v", at(i), at(i + 1), f"{hash((i, 1)) % 2**64:016x}{hash((i, 2)) % 2**64:016x}", 2 * i),
            at=from_micros(2 * i + 5),
            rows=i % 100,
            written=i % 50,
        )
        for i in range(1024)
    ]
    assert len(encoded(LedgerColumns.of("v", hourly))) < 1024 * 24


@settings(max_examples=100, deadline=None)
@given(entries=some_entries(), data=st.data())
def test_columns_answer_as_the_entries_do(entries: list[LedgerEntry], data: st.DataObject) -> None:
    columns = LedgerColumns.of("v", entries)
    assert columns.intervals() == intervals(entries)
    assert columns.held().entries() == [e for e in entries if e.fingerprint or not e.settled]
    some = data.draw(st.lists(st.sampled_from([*(e.window for e in entries), Window(at(0), at(0.5))])))
    assert [window in columns for window in some] == [window in {e.window for e in entries} for window in some]


# --- claims and settling, against a plain list


def windows(draw: Any, most: int) -> list[Window]:
    """Windows that do not overlap, from half hours to many hours long, in no order."""
    cuts = sorted(draw(st.sets(st.integers(0, 2 * HOURS), min_size=2, max_size=2 * most)))
    return draw(st.permutations([Window(at(a / 2), at(b / 2)) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]))


class LedgerMachine(RuleBasedStateMachine):
    """Runs claim, settle and forget windows in any order; a list of entries with their claims is the model."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(segments, "MOST_WINDOWS", 4)
        self.patch.setattr(segments, "_WINDOWS_OF_NEW", 3)
        self.now = 1000
        self.patch.setattr(store, "_now", lambda: self.now)
        self.registry = sqlite(Path(self.folder.name))
        self.other = sqlite(Path(self.folder.name))
        self.model: dict[Window, tuple[LedgerEntry, str]] = {}
        self.open: list[tuple[Claim, list[WindowContent]]] = []

    def standing(self) -> list[LedgerEntry]:
        return [self.model[window][0] for window in sorted(self.model)]

    def exchange(self, made: Exchange, token: str) -> None:
        for gone in made.removed:
            del self.model[gone.window]
        for e in made.added:
            self.model[e.window] = (e, "" if e.settled else token)

    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        self.now += 10
        contents = [WindowContent(w, data.draw(st.sampled_from("fg")), "d") for w in windows(data.draw, 5)]
        empty = [WindowContent(w, "", "d") for w in windows(data.draw, 3)] if data.draw(st.booleans()) else []
        claim = self.registry.claim("v", contents, empty=empty, run_id="run")
        made = claimed(self.standing(), "v", contents, empty, self.now, "run")
        assert claim.versions == made.versions
        assert claim.replaced == made.replaced
        self.exchange(made, claim.id)
        self.open.append((claim, contents))
        self.compare()

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        if not self.open:
            return
        claim, contents = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        entries = [
            replace(
                entry("v", c.window.start, c.window.end, c.fingerprint, version),
                settled=data.draw(st.sampled_from([True, True, False])),
            )
            for c, version in zip(contents, claim.versions, strict=True)
        ]
        count = data.draw(st.integers(0, len(entries)))
        self.registry.settle(claim, entries[:count])
        own = {window for window, (_, token) in self.model.items() if token == claim.id}
        self.exchange(settled(self.standing(), entries[:count], own), "conflict")
        self.compare()

    @rule()
    def forget(self) -> None:
        if len(self.open) < 3:
            return
        self.registry.forget("v")
        self.model.clear()
        self.compare()

    def compare(self) -> None:
        for registry in (self.registry, self.other):
            assert registry.ledger("v") == self.standing()
        with self.registry._reading() as reading:
            assert reading is not None
            rows = reading.query(f"SELECT first_start, last_end, content FROM {SEGMENTS} ORDER BY first_start")
        assert all(len(decoded("v", content)) <= segments.MOST_WINDOWS for *_, content in rows)
        assert all(last <= following for (_, last, _), (following, *_) in pairwise(rows))

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            self.registry.close()
            self.other.close()
            self.patch.undo()
            self.folder.cleanup()


LedgerMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRunsInAnyOrder = LedgerMachine.TestCase


# --- a long ledger


def hourly(count: int, view: str = "trips") -> list[LedgerEntry]:
    return [entry(view, at(i), at(i + 1), f"{i:032x}") for i in range(count)]


def test_a_run_of_one_window_writes_the_segment_that_it_is_in(tmp_path: Path) -> None:
    registry = sqlite(tmp_path)
    recorded = record(registry, *hourly(5000))

    def stamps() -> dict[int, int]:
        with registry._reading() as reading:
            assert reading is not None
            return dict(reading.query(f"SELECT first_start, stamp FROM {SEGMENTS}"))

    before = stamps()
    assert len(before) == 5
    (changed,) = record(registry, replace(recorded[2500], fingerprint="f"))
    after = stamps()
    assert len(before.items() - after.items()) == len(after.items() - before.items()) == 1
    assert registry.ledger("trips") == [*recorded[:2500], changed, *recorded[2501:]]
    registry.close()


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Returns the path of a registry by what it is on; a server starts when it is asked for."""
    return lambda of: "registry.db" if of == "sqlite" else request.getfixturevalue(f"{of}_url")


@pytest.mark.parametrize("of", ["sqlite", "postgres", "mariadb"])
def test_a_long_ledger_of_format_1_is_read_and_then_upgraded(
    tmp_path: Path, of: str, servers: Callable[[str], str]
) -> None:
    def handle() -> SqlRegistry:
        return SqlRegistry(SqlRegistryConfig(path=servers(of)), tmp_path, "shop")

    registry, reader = handle(), handle()
    record(registry, *hourly(2500))
    record(registry, *hourly(3, "other"))
    registry.claim("trips", [WindowContent(Window(at(7), at(8)), "g", "d")])
    entries = turn_into_format_1(registry, "trips", "other")
    registry = handle()
    for each in (registry, reader):
        assert [*each.ledger("trips"), *each.ledger("other")] == entries
        assert each.materialization_intervals("other") == [(at(0), at(3))]
    before = reader.ledger_change_tokens(["trips", "other"])
    (settled_again,) = record(registry, replace(entries[7], fingerprint="g"))
    entries[7] = settled_again
    for each in (registry, reader, handle()):
        assert [*each.ledger("trips"), *each.ledger("other")] == entries
        assert each.ledger_change_tokens(["trips", "other"])["trips"] != before["trips"]
        with each._reading() as reading:
            assert reading is not None and reading.has_segments()
        each.close()


# --- damage, and a kill in the middle


@pytest.mark.parametrize("value", [b"", b"\xff\xff\xff\xff{", "x", 1.5, 7])
@pytest.mark.parametrize("column", ["content", "stamp"])
def test_the_windows_of_a_damaged_segment_are_unsettled_and_can_be_run_again(
    tmp_path: Path, value: object, column: str
) -> None:
    registry = sqlite(tmp_path)
    recorded = record(registry, *hourly(2500))
    with closing(sqlite3.connect(tmp_path / "registry.db")) as connection, connection:
        first = "(SELECT min(first_start) FROM feast_assets_ledger_segments)"
        connection.execute(f"UPDATE {SEGMENTS} SET {column} = ? WHERE first_start = {first}", [value])
    damaged, *others = registry.ledger("trips")
    assert damaged.window == Window(at(0), at(1024)) and not damaged.settled
    assert others == recorded[1024:]
    (again,) = record(registry, recorded[10])
    left = [e for e in registry.ledger("trips") if e.window.start < at(1024)]
    assert [(e.window, e.settled) for e in left] == [
        (Window(at(0), at(10)), False),
        (Window(at(10), at(11)), True),
        (Window(at(11), at(1024)), False),
    ]
    assert again in left
    registry.close()


_KILLED = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from feast_assets.registry.base import WindowContent
from feast_assets.registry import segments
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.database import SqlTransaction
from feast_assets.registry.sql.sqlite_file import SqliteTransaction
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.testing.registry import entry

path, root, verb, deadly_at = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
registry = SqlRegistry(SqlRegistryConfig(path=path), root, "shop")
segments.MOST_WINDOWS = segments._WINDOWS_OF_NEW = 32
starts = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=30 * i) for i in range(1, 400, 4)]
entries = [entry("trips", start, start + timedelta(hours=1), "g") for start in starts]
contents = [WindowContent(e.window, e.fingerprint, "d") for e in entries]
claim = registry.claim("trips", contents) if verb == "settle" else None
count = 0

def deadly(run):
    def run_and_die(*args, **values):
        global count
        done = run(*args, **values)
        count += 1
        if count == deadly_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return run_and_die

for kind in (SqlTransaction, SqliteTransaction):
    for name in ("__call__", "each", "upsert"):
        setattr(kind, name, deadly(getattr(kind, name)))
if claim is None:
    registry.claim("trips", contents)
else:
    registry.settle(claim, entries)
"""


@pytest.mark.parametrize("verb", ["claim", "settle"])
@pytest.mark.parametrize("of", ["sqlite", "postgres"])
def test_a_kill_in_the_middle_leaves_the_ledger_before(
    tmp_path: Path, of: str, verb: str, servers: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("MOST_WINDOWS", "_WINDOWS_OF_NEW"):
        monkeypatch.setattr(segments, limit, 32)
    path = servers(of)
    registry = SqlRegistry(SqlRegistryConfig(path=path), tmp_path, "shop")
    recorded = record(registry, *hourly(200))
    before = recorded
    killed = 0
    # The statements of these transactions: one to lock, the spans, one for each of seven segments, and two to write.
    for deadly_at in (10, 11):
        command = [sys.executable, "-c", _KILLED, path, str(tmp_path), verb, str(deadly_at)]
        done = subprocess.run(command, check=False)
        if done.returncode != -signal.SIGKILL:
            assert done.returncode == 0
            break
        killed += 1
        after = registry.ledger("trips")
        if verb == "claim":
            assert after == before
        else:
            assert not any(e.settled for e in after if e.fingerprint == "g"), "nothing is settled by half"
            assert [e for e in after if e.settled] == [e for e in recorded if e in after]
    assert killed
    assert record(registry, *hourly(200)) == registry.ledger("trips")
    registry.close()


def test_the_same_windows_of_two_views_are_kept_apart(tmp_path: Path) -> None:
    registry = sqlite(tmp_path)
    days = record(registry, *(entry("a", FIRST + i * DAY, FIRST + (i + 1) * DAY) for i in range(3)))
    record(registry, *(entry("b", FIRST + i * DAY, FIRST + (i + 1) * DAY, "other") for i in range(3)))
    registry.forget("b")
    assert registry.ledger("a") == days
    assert registry.ledger("b") == []
    registry.close()


def test_entries_that_go_to_another_view_take_the_place_of_its_own(tmp_path: Path) -> None:
    registry = sqlite(tmp_path)
    record(registry, *(entry("trips", at(i), at(i + 1)) for i in range(3)))
    record(registry, entry("rides", at(1), at(5), "other"))
    moved = [replace(e, view="rides") for e in registry.ledger("trips")]
    registry.commit(Changes([view("rides")], renamed_ledgers=[("trips", "rides")]))
    assert registry.ledger("trips") == []
    assert registry.ledger("rides") == moved
    registry.close()
