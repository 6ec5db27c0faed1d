from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from feast_assets.errors import ConfigError, InputError, StoreUnavailableError
from feast_assets.online_stores.base import Mark, OnlineRead
from feast_assets.online_stores.postgres import connections, puts, statements
from feast_assets.online_stores.postgres.config import PostgresOnlineStoreConfig
from feast_assets.online_stores.postgres.store import PostgresOnlineStore
from feast_assets.testing import (
    CanReplaceConformance,
    CanSampleConformance,
    CanTellRestartsConformance,
    OnlineStoreConformance,
)
from feast_assets.testing.online_store import StoreFactory, encoded, read_rows, stamps

NOWHERE = Path()


def config_of(url: str, **settings: Any) -> PostgresOnlineStoreConfig:
    return PostgresOnlineStoreConfig.model_validate({"connection_string": url, "db_schema": "online", **settings})


@pytest.fixture
def store(database: str) -> Iterator[PostgresOnlineStore]:
    store = PostgresOnlineStore(config_of(database), NOWHERE)
    yield store
    store.close()


@pytest.fixture
def admin(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


class TestPostgres(OnlineStoreConformance, CanReplaceConformance, CanSampleConformance, CanTellRestartsConformance):
    @pytest.fixture
    def store_factory(self, database: str) -> StoreFactory:
        return partial(PostgresOnlineStore, config_of(database), NOWHERE)

    @pytest.fixture
    def rows_examined(self, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
        """The rows that the server looks at for samples, by its own account of the same statements."""
        seen = 0
        execute = psycopg.Connection.execute

        def explained(self: psycopg.Connection, query: Any, parameters: Any = None, **keywords: Any) -> Any:
            nonlocal seen
            if "TABLESAMPLE" in str(query) or "md5" in str(query):
                seen += rows_scanned(admin, query, parameters)
            return execute(self, query, parameters, **keywords)

        monkeypatch.setattr(psycopg.Connection, "execute", explained)
        return lambda: seen


def rows_scanned(connection: psycopg.Connection, statement: str, parameters: list[Any]) -> int:
    """Returns how many rows a statement reads from tables."""
    with psycopg.RawCursor(connection) as cursor:
        try:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        except psycopg.errors.UndefinedTable:
            return 0
        (((explained,),),) = cursor.fetchall()
    left, rows = [explained["Plan"]], 0
    while left:
        node = left.pop()
        left += node.get("Plans", [])
        if node["Node Type"].endswith("Scan"):
            rows += node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
    return rows


@pytest.fixture
def statements_run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that connections of this process run, as they come."""
    run: list[str] = []
    execute = psycopg.Connection.execute

    def noted(self: psycopg.Connection, query: Any, *arguments: Any, **keywords: Any) -> Any:
        run.append(str(query))
        return execute(self, query, *arguments, **keywords)

    monkeypatch.setattr(psycopg.Connection, "execute", noted)
    return run


# --- what is sent


def test_a_put_is_one_statement_for_each_batch(store: PostgresOnlineStore, statements_run: list[str]) -> None:
    store.setup(["t"])
    statements_run.clear()
    rows = [(b"%05d" % i, i, 0, 0, b"x") for i in range(10_000)]
    assert store.put_many("t", [encoded(rows[:6000]), encoded(rows[6000:])]).written == 10_000
    assert [sql.partition(" ")[0] for sql in statements_run] == ["INSERT", "INSERT"]


def test_async_reads_that_begin_together_are_one_statement(
    store: PostgresOnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_many("a", [encoded([(b"%d" % i, i, 0, 0, b"a%d" % i) for i in range(64)])])
    store.put_many("b", [encoded([(b"%d" % i, i, 0, 0, b"b%d" % i) for i in range(0, 64, 2)])])
    sent: list[str] = []
    execute = psycopg.AsyncConnection.execute

    async def noted(self: psycopg.AsyncConnection, query: Any, *arguments: Any, **keywords: Any) -> Any:
        sent.append(query)
        return await execute(self, query, *arguments, **keywords)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", noted)

    async def read(number: int) -> list[bytes | None]:
        key = b"%d" % number
        a, none, b = await store.get_many_async([OnlineRead("a", [key]), OnlineRead("a", []), OnlineRead("b", [key])])
        assert none.payloads == ()
        return [*a.payloads, *b.payloads]

    async def read_all() -> list[list[bytes | None]]:
        try:
            return await asyncio.gather(*[read(number) for number in range(64)])
        finally:
            await store.aclose()

    assert asyncio.run(read_all()) == [[b"a%d" % i, None if i % 2 else b"b%d" % i] for i in range(64)]
    assert len(sent) == 1


def test_a_read_of_several_tables_is_one_statement(store: PostgresOnlineStore, statements_run: list[str]) -> None:
    store.put_many("a", [encoded([(b"k", 1, 0, 0, b"x")])])
    store.put_many("b", [encoded([(b"l", 1, 0, 0, b"y")])])
    statements_run.clear()
    a, b, again = store.get_many([OnlineRead("a", [b"k", b"l"]), OnlineRead("b", [b"l"]), OnlineRead("a", [b"k"])])
    assert (a.payloads, b.payloads, again.payloads) == ((b"x", None), (b"y",), (b"x",))
    assert len(statements_run) == 1


def test_setting_up_what_is_there_takes_one_look(store: PostgresOnlineStore, statements_run: list[str]) -> None:
    store.setup(["a", "b"])
    statements_run.clear()
    store.setup(["b", "a"])
    assert len(statements_run) == 1


# --- where rows are


def test_the_tables_of_the_database_never_change(store: PostgresOnlineStore, admin: psycopg.Connection) -> None:
    store.put_many("p.view", [encoded([(b"i\x00", 1, -1, 0, b"payload")])])
    tables = admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'online' ORDER BY 1").fetchall()
    assert tables == [("fa_p.view",), ("feast_assets_tables",)]
    assert admin.execute('SELECT * FROM online."fa_p.view"').fetchall() == [(b"i\x00", 1, -1, 0, b"payload")]
    ((name, number),) = admin.execute("SELECT name, number FROM online.feast_assets_tables").fetchall()
    assert (name, number) == ("fa_p.view", 1)


def test_long_names_that_begin_alike_are_apart(store: PostgresOnlineStore) -> None:
    names = ["x" * 63, "x" * 64, "x" * 200 + "a", "x" * 200 + "b", "ä" * 60 + "a", "ä" * 60 + "b", "\ud800", "\x00"]
    for at, name in enumerate(names):
        store.put_many(name, [encoded([(b"k", at, 0, 0, b"")])])
    assert [read_rows(store, name, [b"k"]) for name in names] == [[(at, 0, 0, b"")] for at in range(len(names))]
    assert all(len(statements.relation_name(name)) <= 63 for name in names)


def test_two_schemas_of_a_database_are_two_stores(store: PostgresOnlineStore, database: str) -> None:
    other = PostgresOnlineStore(config_of(database, db_schema='Team "B"; --'), NOWHERE)
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"ours")])])
    assert read_rows(other, "t", [b"k"]) == [None]
    other.put_many("t", [encoded([(b"k", 1, 0, 0, b"theirs")])])
    assert store.identity("t") != other.identity("t")
    other.drop(["t"])
    assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"ours")]
    other.close()


def test_other_tables_of_the_schema_are_left_alone(store: PostgresOnlineStore, admin: psycopg.Connection) -> None:
    store.setup(["t"])
    admin.execute("CREATE TABLE online.t (mine int)")
    admin.execute("CREATE TABLE online.fa_u (mine int)")
    store.drop(["t", "never set up"])
    tables = admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'online' ORDER BY 1").fetchall()
    assert tables == [("fa_u",), ("feast_assets_tables",), ("t",)]


def test_a_table_that_was_removed_by_other_means_is_set_up_anew(
    store: PostgresOnlineStore, admin: psycopg.Connection
) -> None:
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    store.advance("t", 1, 50)
    first = store.identity("t")
    admin.execute("DROP TABLE online.fa_t")
    assert store.mark("t") == Mark("", 0)
    assert store.advance("t", 50, 60) == Mark("", 0)
    assert read_rows(store, "t", [b"k"]) == [None]
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    assert store.mark("t").identity not in ("", first)
    assert store.mark("t").number == 1


# --- batches


def test_a_batch_of_many_bytes_is_whole_or_not_there(
    store: PostgresOnlineStore, statements_run: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(puts, "_MOST_BYTES", 1000)
    store.setup(["t"])
    statements_run.clear()
    rows = [(b"%03d" % i, 1, 0, 0, bytes(300)) for i in range(10)]
    assert store.put_many("t", [encoded(rows)]).written == 10
    assert sum("INSERT" in sql for sql in statements_run) == 4
    too_long = [(b"%03d" % i, 2, 0, 0, bytes(300)) for i in range(10)] + [(os.urandom(9000), 2, 0, 0, bytes(300))]
    with pytest.raises(InputError, match="cannot store a row: .*Entity keys can have about 2,700 bytes"):
        store.put_many("t", [encoded(too_long)])
    assert read_rows(store, "t", [b"000", b"009"]) == [(1, 0, 0, bytes(300))] * 2


def test_writers_of_the_same_keys_in_opposite_orders_do_not_end_each_other(database: str) -> None:
    keys = [b"%05d" % i for i in range(1_000)]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        store = PostgresOnlineStore(config_of(database), NOWHERE)
        try:
            for turn in range(8):
                rows = [(key, turn, number, 0, b"x") for key in keys[:: 1 if number % 2 else -1]]
                put = store.put_many("t", [encoded(rows)])
                assert put.written + put.ignored == len(rows)
                store.put_existing("t", [encoded(rows)])
                store.replace_many("t", stamps(rows[:500]), encoded(rows[:500]))
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            failures.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    store = PostgresOnlineStore(config_of(database), NOWHERE)
    assert read_rows(store, "t", keys) == [(7, 2, 0, b"x")] * len(keys)
    store.close()


# --- connections


def test_a_connection_that_the_server_ended_is_replaced(store: PostgresOnlineStore, admin: psycopg.Connection) -> None:
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])

    async def read() -> Any:
        (stored,) = await store.get_many_async([OnlineRead("t", [b"k"])])
        return stored.payloads

    async def read_twice() -> list[Any]:
        first = await read()
        end_all(admin)
        return [first, await read()]

    for _ in range(2):
        end_all(admin)
        assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"x")]
        end_all(admin)
        assert store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])]).ignored == 1
    assert asyncio.run(read_twice()) == [(b"x",), (b"x",)]


def end_all(admin: psycopg.Connection) -> None:
    """Ends every other connection to the database, as a restart or a proxy does."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    admin.execute(f"SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE {others}")


def test_a_child_process_opens_connections_of_its_own(store: PostgresOnlineStore) -> None:
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    before = backend_of(store)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"x")]
            store.put_many("t", [encoded([(b"child", 1, 0, 0, b"x")])])
            store.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert read_rows(store, "t", [b"k", b"child"]) == [(1, 0, 0, b"x")] * 2
    assert backend_of(store) == before


def backend_of(store: PostgresOnlineStore) -> int:
    """Returns the id of the server's process that the store's connection talks to."""
    return store._connections.run(lambda connection: connection.info.backend_pid)


def test_no_more_connections_are_opened_than_are_allowed(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    connect = psycopg.Connection.connect

    def counted(*arguments: Any, **parameters: Any) -> psycopg.Connection:
        opened.append(threading.current_thread().name)
        return connect(*arguments, **parameters)

    monkeypatch.setattr(psycopg.Connection, "connect", counted)
    store = PostgresOnlineStore(config_of(database, max_conn=2), NOWHERE)
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(30):
                assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"x")]
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert 1 <= len(opened) <= 2
    store.close()


def test_one_connection_is_enough_for_all_that_a_thread_does(database: str) -> None:
    store = PostgresOnlineStore(config_of(database, conn_type="singleton"), NOWHERE)
    store.put_many("t", [encoded([(b"%05d" % i, 1, 0, 0, b"x") for i in range(12_000)])])
    seen = 0
    for some in store.scan("t", 0, 2):
        seen += len(some)
        store.put_many("t", [encoded([(b"other", 1, 0, 0, b"x")])])
    assert seen >= 12_000
    store.close()


def test_a_call_that_finds_no_free_connection_says_so(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_WAIT_SECONDS", 0.05)
    store = PostgresOnlineStore(config_of(database, max_conn=1), NOWHERE)

    def read_while_held(_: object) -> None:
        with pytest.raises(StoreUnavailableError, match="all 1 connections of this process.*raise max_conn"):
            store.marks(["t"])

    store._connections.run(read_while_held)
    assert store.marks(["t"]) == [Mark("", 0)]
    store.close()


# --- rights and logins


@pytest.fixture
def role(admin: psycopg.Connection, database: str) -> Iterator[Callable[..., str]]:
    """Makes a user with some rights; returns the URL for it."""
    name = f"u{os.urandom(6).hex()}"
    admin.execute(f"CREATE ROLE {name} LOGIN")

    def granted(*grants: str) -> str:
        for grant in grants:
            admin.execute(f"GRANT {grant} TO {name}")
        return database.replace("postgres:", f"{name}:", 1)

    yield granted
    admin.execute(f"DROP OWNED BY {name}")
    admin.execute(f"DROP ROLE {name}")


def test_a_user_without_rights_is_told_which_are_needed(store: PostgresOnlineStore, role: Callable[..., str]) -> None:
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    other = PostgresOnlineStore(config_of(role()), NOWHERE)
    rows = encoded([(b"k", 2, 0, 0, b"y")])
    read = OnlineRead("t", [b"k"])
    for work in (
        lambda: other.setup(["u"]),
        lambda: other.marks(["t"]),
        lambda: other.put_many("t", [rows]),
        lambda: other.get_many([read]),
        lambda: asyncio.run(other.get_many_async([read])),
        lambda: other.drop(["t"]),
    ):
        with pytest.raises(
            StoreUnavailableError, match="permission denied for schema online. The user needs USAGE on"
        ) as caught:
            work()
        assert "s3cret" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"x")]
    other.close()


def test_a_user_who_may_only_read_can_serve(store: PostgresOnlineStore, role: Callable[..., str]) -> None:
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    url = role("USAGE ON SCHEMA online", "SELECT ON ALL TABLES IN SCHEMA online")
    server = PostgresOnlineStore(config_of(url), NOWHERE)
    server.setup(["t"])
    assert read_rows(server, "t", [b"k"]) == [(1, 0, 0, b"x")]
    assert server.marks(["t"]) == store.marks(["t"])
    with pytest.raises(StoreUnavailableError, match="permission denied for table fa_t"):
        server.put_many("t", [encoded([(b"k", 2, 0, 0, b"y")])])
    server.close()


def test_a_user_who_may_not_create_schemas_can_use_one_that_is_there(
    admin: psycopg.Connection, role: Callable[..., str]
) -> None:
    admin.execute("CREATE SCHEMA online")
    store = PostgresOnlineStore(config_of(role("USAGE, CREATE ON SCHEMA online")), NOWHERE)
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"x")]
    store.drop(["t"])
    store.close()


def test_a_server_that_is_not_there_is_unavailable() -> None:
    store = PostgresOnlineStore(config_of("postgresql://ann:hunter2@127.0.0.1:1/d"), NOWHERE)
    for work in (
        lambda: store.setup(["t"]),
        lambda: store.get_many([OnlineRead("t", [b"k"])]),
        lambda: asyncio.run(store.get_many_async([OnlineRead("t", [b"k"])])),
    ):
        with pytest.raises(StoreUnavailableError, match="127.0.0.1:1/d.*[Cc]onnection refused") as caught:
            work()
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


def test_a_database_that_is_not_there_is_named(database: str) -> None:
    store = PostgresOnlineStore(config_of(f"{database}_not"), NOWHERE)
    with pytest.raises(StoreUnavailableError, match="_not.* does not exist"):
        store.get_many([OnlineRead("t", [b"k"])])


def test_an_option_that_libpq_does_not_know_is_refused_when_the_store_is_made(database: str) -> None:
    with pytest.raises(ConfigError, match='invalid connection option "pasword"') as caught:
        PostgresOnlineStore(config_of(f"{database}?pasword=hunter2"), NOWHERE)
    assert "hunter2" not in str(caught.value)


# --- a server of its own


def test_a_store_outlives_a_restart_of_its_server(own_postgres_server: Any) -> None:
    store = PostgresOnlineStore(config_of(own_postgres_server.url), NOWHERE)
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    mark, restart_token = store.mark("t"), store.restart_token()

    async def reads() -> list[Any]:
        found = []
        for stop in (True, False):
            (stored,) = await store.get_many_async([OnlineRead("t", [b"k"])])
            found.append(stored.payloads)
            if stop:
                own_postgres_server.stop()
                with pytest.raises(StoreUnavailableError, match="cannot be used"):
                    await store.get_many_async([OnlineRead("t", [b"k"])])
                own_postgres_server.start()
        await store.aclose()
        return found

    own_postgres_server.stop()
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="cannot be used"):
            store.put_many("t", [encoded([(b"k", 2, 0, 0, b"y")])])
    own_postgres_server.start()
    assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"x")]
    assert store.mark("t") == mark
    assert store.restart_token() != restart_token
    assert asyncio.run(reads()) == [(b"x",), (b"x",)]
    assert store.put_many("t", [encoded([(b"k", 2, 0, 0, b"y")])]).written == 1
    store.close()


def test_a_batch_during_which_the_server_is_killed_is_whole_or_not_there(own_postgres_server: Any) -> None:
    store = PostgresOnlineStore(config_of(own_postgres_server.url, db_schema="killed"), NOWHERE)
    keys = [b"%06d" % i for i in range(20_000)]
    store.put_many("t", [encoded([(key, 1, 0, 0, bytes(100)) for key in keys])])
    killer = threading.Timer(0.05, own_postgres_server.kill)
    killer.start()
    turn = 1
    with suppress(StoreUnavailableError):
        while True:
            turn += 1
            store.put_many("t", [encoded([(key, turn, 0, 0, bytes(100)) for key in keys])])
    killer.join()
    own_postgres_server.start()
    events = {row and row[0] for row in read_rows(store, "t", keys)}
    assert len(events) == 1
    assert events <= {turn - 1, turn}
    store.close()


def test_a_wrong_password_is_in_no_message(own_postgres_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    url = own_postgres_server.url.replace(own_postgres_server.password, "hunter2-wrong")
    store = PostgresOnlineStore(config_of(url), NOWHERE)
    for work in (lambda: store.setup(["t"]), lambda: asyncio.run(store.get_many_async([OnlineRead("t", [b"k"])]))):
        with pytest.raises(StoreUnavailableError, match="password authentication failed for user") as caught:
            work()
        assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r} {store!r}"
    assert "hunter2" not in caplog.text
