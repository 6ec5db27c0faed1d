"""DuckDB files that others have open: who waits for whom, and who keeps which lock."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from feast_assets import DuckDBSource, Field, Float64
from feast_assets.definitions.window import ALWAYS
from feast_assets.errors import SourceError, StoreUnavailableError
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.source_changes import history_state, window_change_tokens
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store import history, hour, joined, spine, trips

ORDERS = DuckDBSource(name="orders", database="shop.duckdb", table="orders", timestamp_field="event_timestamp")
LARGE = DuckDBSource(
    name="large", database="shop.duckdb", query="SELECT * FROM orders WHERE fare > 0", timestamp_field="event_timestamp"
)
DAGSTER = {"custom_user_agent": "dagster"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT range AS driver, TIMESTAMP '2024-01-01' + to_hours(range::INT) AS "
            "event_timestamp, range * 1.0 AS fare, 'x' AS city FROM range(400000)"
        )
    return path


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path, 20)


def store_at(folder, seconds):
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2, database_wait_seconds=seconds), folder)


def count(store, source=ORDERS):
    return store.statistics(history(source), [ALWAYS])[0].rows


@contextmanager
def held_elsewhere(path, read_only=False):
    """Another process that has a file open, until it is told to end."""
    code = (
        "import sys, duckdb; c = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == 'True');"
        "print('open', flush=True); sys.stdin.read(); c.close()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path), str(read_only)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def can_be_written_elsewhere(path) -> bool:
    code = "import sys, duckdb; duckdb.connect(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert not done.returncode or "Conflicting lock" in done.stderr, done.stderr
    return not done.returncode


def test_a_file_that_another_process_writes_is_waited_for(path, store):
    with held_elsewhere(path) as process:
        answers: list[int] = []
        reader = threading.Thread(target=lambda: answers.append(count(store)))
        reader.start()
        reader.join(0.3)
        assert reader.is_alive()
        process.stdin.close()
        reader.join(30)
    assert answers == [400000]


def test_who_holds_a_file_for_too_long_is_named(path, tmp_path):
    impatient = store_at(tmp_path, 0.1)
    made = history(ORDERS)
    rows = trips([(1, hour(1), 1.0, "a")])
    calls = [
        lambda: count(impatient),
        lambda: count(impatient, LARGE),
        lambda: impatient.schema(ORDERS),
        lambda: impatient.latest(made, [ALWAYS]),
        lambda: joined(impatient, spine([(1, hour(1))]), [PointInTimeJoin(made, {}, {})]),
        lambda: impatient.write(ORDERS, rows),
        lambda: impatient.replace(
            ORDERS, made, [ALWAYS], rows.rename_columns(["driver", "__event_timestamp", "fare", "city"]).to_reader()
        ),
    ]
    with held_elsewhere(path) as process:
        for call in calls:
            with pytest.raises(
                StoreUnavailableError, match=rf"'orders'|'large'.*shop.duckdb.*process {process.pid} "
            ) as caught:
                call()
            assert f"process {process.pid} (python" in str(caught.value)
            assert "0.1 seconds (database_wait_seconds" in str(caught.value)
        # What a source is stored in can be told without opening the file.
        assert not history_state(impatient, made).gone
    assert count(impatient) == 400000


def test_processes_that_only_read_are_no_obstacle(path, store):
    with held_elsewhere(path, read_only=True):
        assert count(store) == 400000


def test_the_file_is_open_no_longer_than_the_read(path, store):
    batches = iter(store.scan(history(ORDERS), ALWAYS))
    next(batches)
    assert not can_be_written_elsewhere(path)
    for _ in batches:
        pass
    assert can_be_written_elsewhere(path)
    store.schema(ORDERS)
    count(store, LARGE)
    joined(store, spine([(1, hour(1))]), [PointInTimeJoin(history(ORDERS), {}, {})])
    assert can_be_written_elsewhere(path)


def test_a_query_s_rows_are_copied_so_its_file_is_free_at_once(path, store):
    batches = iter(store.scan(history(LARGE), ALWAYS))
    next(batches)
    assert can_be_written_elsewhere(path)
    assert sum(batch.num_rows for batch in batches) > 0


def test_a_failing_read_leaves_the_file_free(path, store):
    unfit = history(ORDERS, features=(Field(name="fair", dtype=Float64),))
    with pytest.raises(SourceError, match="'fair'.*Did you mean 'fare'") as kept:
        store.latest(unfit, [ALWAYS])
    assert can_be_written_elsewhere(path)
    assert kept


def test_a_read_that_is_given_up_leaves_the_file_free(path, store):
    batches = iter(store.scan(history(ORDERS), ALWAYS))
    next(batches)
    del batches
    assert can_be_written_elsewhere(path)


def test_a_store_that_has_read_keeps_the_lock_for_another_that_reads(path, tmp_path):
    # Closing any descriptor of a file gives up the locks that the whole process has on it.
    one, other = store_at(tmp_path, 1), store_at(tmp_path, 1)
    batches = iter(one.scan(history(ORDERS), ALWAYS))
    next(batches)
    assert count(other) == 400000
    del other
    assert not can_be_written_elsewhere(path)
    assert sum(batch.num_rows for batch in batches) > 0
    assert can_be_written_elsewhere(path)


def test_a_connection_of_the_user_s_that_reads_keeps_its_lock(path, store):
    with duckdb.connect(str(path), read_only=True) as own:
        assert count(store) == 400000
        assert count(store, LARGE) == 399999
        assert not can_be_written_elsewhere(path)
        assert own.execute("SELECT count(*) FROM orders").fetchall() == [(400000,)]
    assert can_be_written_elsewhere(path)
    assert count(store) == 400000


def test_a_connection_that_opens_while_we_read_keeps_its_lock(path, store):
    batches = iter(store.scan(history(ORDERS), ALWAYS))
    next(batches)
    with duckdb.connect(str(path), read_only=True):
        for _ in batches:
            pass
        assert not can_be_written_elsewhere(path)
        # The lock is not lost by what is read next, either.
        assert count(store) == 400000
        assert not can_be_written_elsewhere(path)
    assert count(store) == 400000
    assert can_be_written_elsewhere(path)


@pytest.mark.parametrize("config", [{}, DAGSTER])
def test_a_file_that_this_process_writes_is_read_as_committed(path, store, config):
    with duckdb.connect(str(path), config=config) as own:
        own.execute("SET TimeZone = 'Asia/Tokyo'")
        own.execute("BEGIN")
        own.execute("DELETE FROM orders WHERE driver >= 3")
        assert count(store) == 400000
        own.execute("COMMIT")
        assert count(store) == 3
        assert count(store, LARGE) == 2
        assert store.schema(ORDERS).names == ["driver", "event_timestamp", "fare", "city"]
        assert own.execute("SELECT current_setting('TimeZone')").fetchall() == [("Asia/Tokyo",)]
        # Writing joins it too.
        store.write(ORDERS, trips([(7, hour(7), 1.0, "a")]))
        assert own.execute("SELECT count(*) FROM orders").fetchall() == [(4,)]
        assert not can_be_written_elsewhere(path)
    assert can_be_written_elsewhere(path)


def test_a_connection_of_this_process_with_settings_of_its_own_is_waited_for(path, tmp_path):
    own = duckdb.connect(str(path), config={"threads": 1})
    with pytest.raises(StoreUnavailableError, match="another connection of this process"):
        count(store_at(tmp_path, 0.1))
    timer = threading.Timer(0.3, own.close)
    timer.start()
    assert count(store_at(tmp_path, 20)) == 400000
    timer.join()


def test_writing_waits_for_reads_of_this_process(path, tmp_path):
    patient, impatient = store_at(tmp_path, 20), store_at(tmp_path, 0.1)
    batches = iter(patient.scan(history(ORDERS), ALWAYS))
    next(batches)
    rows = trips([(1, hour(-1), 1.0, "a")])
    with pytest.raises(StoreUnavailableError, match="reads of this process"):
        impatient.write(ORDERS, rows)
    writer = threading.Thread(target=lambda: patient.write(ORDERS, rows))
    writer.start()
    time.sleep(0.1)
    assert writer.is_alive()
    assert sum(batch.num_rows for batch in batches) > 0
    writer.join(20)
    assert count(patient) == 400001


def test_a_file_put_in_the_place_of_one_that_is_read_is_another_file(path, tmp_path, store):
    batches = iter(store.scan(history(ORDERS), ALWAYS))
    first = next(batches).num_rows
    with duckdb.connect(str(tmp_path / "new.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT 1 AS driver, TIMESTAMP '2024-01-01' AS event_timestamp, 1.0 AS fare, "
            "'x' AS city"
        )
    (tmp_path / "new.duckdb").rename(path)
    assert count(store) == 1
    assert first + sum(batch.num_rows for batch in batches) == 400000
    assert count(store) == 1


# --- which state a source is in


def change(path, sql):
    with duckdb.connect(str(path)) as connection:
        connection.execute(sql)


@pytest.mark.parametrize("source", [ORDERS, LARGE])
def test_another_table_s_change_leaves_the_state_of_a_source(path, store, source):
    made = history(source)
    assert history_state(store, made) == history_state(store, made)
    count(store, source)
    before, versions = history_state(store, made), window_change_tokens(store, source, [ALWAYS])
    change(path, "CREATE TABLE other AS SELECT 1 AS a")
    assert history_state(store, made) == before
    assert window_change_tokens(store, source, [ALWAYS]) == versions
    change(path, "UPDATE orders SET city = 'y' WHERE driver = 7")
    after = history_state(store, made)
    assert after != before
    assert window_change_tokens(store, source, [ALWAYS]) != versions
    # The same rows again are a new state anyway: somebody may have read the others.
    change(path, "UPDATE orders SET city = 'x' WHERE driver = 7")
    assert history_state(store, made) not in (before, after)
    assert window_change_tokens(store, source, [ALWAYS]) == versions


def test_what_changed_before_it_was_read_is_another_state(path, store):
    before = history_state(store, history(ORDERS))
    change(path, "INSERT INTO orders SELECT * FROM orders LIMIT 1")
    count(store)
    assert history_state(store, history(ORDERS)) != before


def test_what_this_process_commits_is_another_state(path, store):
    before = history_state(store, history(ORDERS))
    count(store)
    with duckdb.connect(str(path)) as own:
        own.execute("CREATE TABLE other AS SELECT 1 AS a")
        assert history_state(store, history(ORDERS)) == before
        own.execute("DELETE FROM orders WHERE driver = 7")
        assert history_state(store, history(ORDERS)) != before


def test_a_file_that_is_not_there_has_no_state(tmp_path):
    assert history_state(store_at(tmp_path, 1), history(ORDERS)).gone == (ORDERS.name,)


def test_rows_are_summarized_only_where_somebody_asks_for_the_state(path, store, monkeypatch):
    from feast_assets.offline_stores.duckdb import database_tables, table_change_tokens

    summaries: list[str] = []

    def observe(source, path, summarize):
        table_change_tokens.observe(source, path, lambda: summaries.append(source.name) or summarize())

    monkeypatch.setattr(database_tables, "observe", observe)
    joined(store, spine([(1, hour(1))]), [PointInTimeJoin(history(ORDERS), {}, {})])
    assert summaries == []
    history_state(store, history(ORDERS))
    for _ in range(2):
        count(store)
    assert summaries == ["orders"]


# --- processes that end


def test_a_forked_process_reads_what_its_parent_has_attached(path):
    code = """
        import os, sys
        sys.path.insert(0, sys.argv[2])
        from pathlib import Path
        from test_held_files import ALWAYS, ORDERS, can_be_written_elsewhere, count, history, store_at

        store = store_at(Path(sys.argv[1]), 20)
        # As a read has it attached; no query runs, as its threads would be missing in the child.
        cursor = store._engine.cursor()
        cursor.attach(sys.argv[1] + "/shop.duckdb")
        child = os.fork()
        if not child:
            # It has no lock of its own yet, and takes one.
            os._exit(0 if count(store) == 400000 else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        assert not can_be_written_elsewhere(sys.argv[1] + "/shop.duckdb")
        cursor.close()
        assert can_be_written_elsewhere(sys.argv[1] + "/shop.duckdb")
    """
    words = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), str(path.parent), str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_killed_process_replaces_all_of_a_window_or_nothing(path):
    code = """
        import sys
        sys.path.insert(0, sys.argv[2])
        from pathlib import Path
        from test_held_files import ALWAYS, ORDERS, LARGE, history, store_at

        store = store_at(Path(sys.argv[1]), 5)
        for _ in range(1000):
            store.replace(ORDERS, history(LARGE), [ALWAYS], store.scan(history(LARGE), ALWAYS))
            print("done", flush=True)
    """
    # Each replacement leaves out the row of fare 0, which only the first can find.
    words = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), str(path.parent), str(Path(__file__).parent)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout.readline() == "done\n"
    process.kill()
    process.wait(30)
    process.stdout.close()
    assert count(store_at(path.parent, 5)) == 399999
