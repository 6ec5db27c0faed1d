"""Real servers that tests share, and what it means when one is missing."""

from __future__ import annotations

import ast
import gc
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hypothesis
import pytest

_parse = ast.parse


def _parse_without_collecting(*args: Any, **kwargs: Any) -> ast.AST:
    """Parses with the garbage collector off.

    A collection in the middle of it may end in a traceback that is formatted, which parses too. Python 3.11 then raises
    "AST constructor recursion depth mismatch" (github.com/python/cpython/issues/106905).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _parse(*args, **kwargs)
    finally:
        if was_enabled:
            gc.enable()


ast.parse = _parse_without_collecting  # type: ignore[assignment]

# A package of its own, with tests that run where it is installed.
collect_ignore = ["plugin_package"]

# A busy machine makes examples slow, which is no fault of what they test.
hypothesis.settings.register_profile(
    "any_machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any_machine")


@pytest.fixture(autouse=True)
def _files_count_as_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a test has just written count as settled, so that nothing depends on how fast the test runs."""
    monkeypatch.setattr("feast_assets.offline_stores.parts.SETTLED_NANOS", -(10**18))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a server that is not installed fails the tests that need it; elsewhere they are skipped."""
    report = yield
    if os.environ.get("CI") and report.skipped and "is not installed" in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr[2]}: scripts/install-test-servers installs it"  # type: ignore[index]
    return report


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _lasting_port() -> int:
    """Returns a port that no system gives to outgoing connections, so it stays free while its server is stopped."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port from 20000 to 32000")


@pytest.fixture
def redis_server(redis_process: tuple[str, int]) -> tuple[str, int]:
    """A Redis server of this test session: its host and port. It is empty, whatever tests came before."""
    with socket.create_connection(redis_process, timeout=20) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(5) == b"+OK\r\n"
    return redis_process


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    port = _free_port()
    directory = tmp_path_factory.mktemp("redis")
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen([*command, "--dir", str(directory)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"redis-server did not start: {(directory / 'log').read_text()}") from None
                time.sleep(0.02)
        yield "127.0.0.1", port
    finally:
        server.kill()
        server.wait()


def _as_user(user: str) -> list[str]:
    """Returns what comes before a command that must not run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


@contextmanager
def _directory_of(user: str) -> Iterator[Path]:
    """A directory for a server that runs as a user of its own."""
    # Not one of pytest's own, which another user may not enter.
    with tempfile.TemporaryDirectory(prefix=f"{user}-", ignore_cleanup_errors=True) as name:
        if os.geteuid() == 0:
            shutil.chown(name, user, user)
        yield Path(name)


@pytest.fixture(scope="session")
def _postgres_directory() -> Iterator[Path]:
    with _directory_of("postgres") as directory:
        yield directory


class PostgresServer:
    """A Postgres server that tests start and stop. Its first database and its first user are both ``postgres``.

    Args:
        directory: an empty one of its own, which the system's user postgres may enter.
        port: where it listens.
        password: what the user logs in with; without one, whoever asks is let in.
    """

    def __init__(self, directory: Path, port: int, password: str = ""):
        if shutil.which("initdb") is None or shutil.which("postgres") is None:
            pytest.skip("postgres is not installed")
        self._directory = directory
        self._environment = {**os.environ, "HOME": str(directory)}
        self._server: subprocess.Popen[bytes] | None = None
        self._port = port
        self.password = password
        login = ["-A", "trust"]
        if password:
            file = directory / "password"
            file.write_text(password, encoding="utf-8")
            login = ["-A", "scram-sha-256", f"--pwfile={file}"]
        words = ["initdb", "-D", str(directory / "data"), *login, "-U", "postgres", "-E", "UTF8", "--no-sync"]
        done = subprocess.run(
            [*_as_user("postgres"), *words], check=False, capture_output=True, env=self._environment, cwd=directory
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.decode()}")

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"postgresql://postgres:{self.password or 's3cret-word'}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Returns when it answers."""
        settings = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-k", str(self._directory)]
        words = ["postgres", "-D", str(self._directory / "data"), "-p", str(self._port), *settings]
        with (self._directory / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [*_as_user("postgres"), *words],
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._directory,
            )
        _wait_until_ready(self._server, self.url, self._directory / "log")

    def stop(self) -> None:
        """Shuts it down; it does not wait for clients."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Ends it as a crash does: nothing is written any more."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.send_signal(how)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="session")
def postgres_server(_postgres_directory: Path) -> Iterator[str]:
    """A Postgres server of this test session's own: the URL of its first database, without the database's name."""
    server = PostgresServer(_postgres_directory, _free_port())
    try:
        server.start()
        yield server.url.rpartition("/")[0]
    finally:
        server.stop()


@pytest.fixture(scope="session")
def _stopped_postgres_server() -> Iterator[PostgresServer]:
    with _directory_of("postgres") as directory:
        yield PostgresServer(directory, _lasting_port(), password="s3cret-word")


@pytest.fixture
def own_postgres_server(_stopped_postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A Postgres server that only this test uses, with a password; the test may stop and start it."""
    _stopped_postgres_server.start()
    yield _stopped_postgres_server
    _stopped_postgres_server.stop()


def _wait_until_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"postgres did not start: {log.read_text()}") from None
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield f"{postgres_server}/{name}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    """A MariaDB server of this test session's own: the URL of its databases, without a database's name."""
    if shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
        pytest.skip("mariadb is not installed")
    with _directory_of("mysql") as directory:
        data, port, log_file = directory / "data", _free_port(), directory / "log"
        done = subprocess.run(
            [
                *_as_user("mysql"),
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            check=False,
            capture_output=True,
            cwd=directory,
        )
        if done.returncode:
            raise RuntimeError(f"mariadb-install-db failed: {done.stderr.decode()}")
        settings = ["--bind-address=127.0.0.1", f"--socket={directory}/s", f"--pid-file={directory}/pid"]
        settings += ["--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0", "--innodb-buffer-pool-size=32M"]
        with log_file.open("wb") as log:
            server = subprocess.Popen(
                [*_as_user("mysql"), "mariadbd", "--no-defaults", f"--datadir={data}", f"--port={port}", *settings],
                stdout=log,
                stderr=log,
                cwd=directory,
            )
        try:
            _set_up_mariadb(server, port, log_file)
            yield f"mysql+pymysql://shop:s3cret-word@127.0.0.1:{port}"
        finally:
            server.kill()
            server.wait()


def _set_up_mariadb(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import pymysql

    deadline = time.monotonic() + 30
    while True:
        try:
            connection = pymysql.connect(host="127.0.0.1", port=port, user="root", connect_timeout=2)
        except pymysql.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mariadbd did not start: {log.read_text()}") from None
            time.sleep(0.02)
        else:
            break
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER shop@'127.0.0.1' IDENTIFIED BY 's3cret-word'")
        cursor.execute("GRANT ALL ON *.* TO shop@'127.0.0.1'")


@pytest.fixture
def mariadb_url(mariadb_server: str) -> Iterator[str]:
    """The URL of an empty database of this test's own, whose default is to compare texts loosely."""
    import pymysql
    from sqlalchemy import make_url

    url = make_url(mariadb_server)
    name = f"t{uuid.uuid4().hex}"

    def run(statement: str) -> None:
        with pymysql.connect(
            host=url.host, port=url.port or 0, user=url.username, password=url.password or ""
        ) as connection:
            connection.cursor().execute(statement)

    run(f"CREATE DATABASE {name} CHARACTER SET latin1")
    yield f"{mariadb_server}/{name}"
    run(f"DROP DATABASE {name}")


KAFKA_VERSION = "4.3.1"
_KAFKA_SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={directory}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
log.retention.hours=-1
log.message.timestamp.after.max.ms=9223372036854775807
num.network.threads=1
num.io.threads=2
background.threads=1
log.cleaner.enable=false
"""


class KafkaBroker:
    """A Kafka broker that tests start, kill and start again with what it had.

    Attributes:
        address: its host and port.
    """

    def __init__(self, directory: Path):
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = Path(os.environ.get("FEAST_ASSETS_TEST_SERVERS") or Path(cache) / "feast-assets-test-servers")
        archives = folder / f"kafka-{KAFKA_VERSION}" / "lib"
        java = shutil.which("java")
        if java is None or not archives.is_dir():
            pytest.skip("kafka is not installed")
        memory = ["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        self._java = [java, *memory, "-cp", f"{archives}/*"]
        self._directory = directory
        self._server: subprocess.Popen[bytes] | None = None
        self._settings = directory / "server.properties"
        port = _lasting_port()
        self.address = f"127.0.0.1:{port}"
        controller = port
        while controller == port:
            controller = _lasting_port()
        self._settings.write_text(_KAFKA_SETTINGS.format(broker=port, controller=controller, directory=directory))
        words = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", str(self._settings)]
        done = subprocess.run([*self._java, *words], check=False, capture_output=True, cwd=directory)
        if done.returncode:
            raise RuntimeError(f"kafka's storage was not formatted: {done.stdout.decode()}{done.stderr.decode()}")

    def start(self) -> None:
        """Returns when it answers."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        log = self._directory / "log"
        with log.open("ab") as output:
            self._server = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self._settings)], stdout=output, stderr=output, cwd=self._directory
            )
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0}, logger=_SILENT)
        deadline = time.monotonic() + 60
        while True:
            try:
                if admin.list_topics(timeout=1).brokers:
                    return
            except KafkaException:
                pass
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"kafka did not start: {log.read_text()}")

    def kill(self) -> None:
        """Ends it as a crash does."""
        server, self._server = self._server, None
        if server is not None:
            server.kill()
            server.wait()


_SILENT = logging.getLogger("tests.kafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A Kafka broker of this test session. Tests make topics of names of their own."""
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()
