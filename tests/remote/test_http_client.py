from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from feast_assets.errors import ConfigError, StoreUnavailableError
from feast_assets.remote.address import parse_http_address
from feast_assets.remote.http_client import HttpClient
from feast_assets.remote.settings import HEADERS_IN_CONTEXT, HttpClientSettings

sys.path.insert(0, str(Path(__file__).parent))

from scripted_server import answer, scripted


def _client(url: str, **settings: Any) -> HttpClient:
    return HttpClient(HttpClientSettings(path=url, **settings))


def _ask(client: HttpClient, *, repeatable: bool = True) -> bytes:
    try:
        return client.ask("POST", "/x", b"body", repeatable=repeatable).body
    finally:
        client.close()


MALFORMED = {
    "nothing of HTTP": [b"+OK hello\r\n\r\n"],
    "a status that is no number": [b"HTTP/1.1 abc Nope\r\n\r\n"],
    "another HTTP": [b"HTTP/2 200\r\n\r\n"],
    "a header without a colon": [b"HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n"],
    "a length that is no number": [b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"],
    "a chunk without a size": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
    "a chunk that is longer than it says": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcdef\r\n0\r\n"
    ],
    "a body that is too large": [b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"],
    "a body that grows too large": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", b"x" * 0xFFFFF],
    "a head without an end": [b"HTTP/1.1 200 OK\r\nA: " + b"x" * 200_000],
    "a body that breaks off": [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"],
    "no answer at all": [],
}


@pytest.mark.parametrize("script", list(MALFORMED.values()), ids=list(MALFORMED))
def test_a_malformed_answer_is_an_error_and_the_next_request_works(script: list[bytes | float]) -> None:
    with scripted(script, [answer(b"fine")]) as server:
        client = _client(server.url, connection_retries=0, max_answer_bytes=1000)
        with pytest.raises(StoreUnavailableError, match=server.url):
            _ask(client)
        assert _ask(client) == b"fine"


def test_a_server_that_never_answers_or_sends_too_slowly_is_given_up_in_time() -> None:
    trickle: list[bytes | float] = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"]
    for _ in range(1000):
        trickle += [b"x", 0.05]
    for script in ([60.0], trickle):
        with (
            scripted(script) as server,
            pytest.raises(StoreUnavailableError, match="did not answer within 0.3 seconds"),
        ):
            _ask(_client(server.url, timeout_seconds=0.3))


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\nTrailer: t\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nbody",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nCONTENT-LENGTH:4\r\n\r\nbody",
    ],
)
def test_every_way_to_send_a_body_is_understood_also_byte_by_byte(said: bytes) -> None:
    for script in ([said], [bytes([byte]) for byte in said]):
        with scripted(script) as server:
            assert _ask(_client(server.url, connection_retries=0)) == b"body"


def test_connections_are_used_again_and_those_that_the_server_closed_are_not() -> None:
    first = [answer(b"1"), b"NEXT", answer(b"2"), b"NEXT", answer(b"3")]
    with scripted(first, [answer(b"4", 200, "Connection: close")], [answer(b"5")]) as server:
        client = _client(server.url)
        for number in range(1, 6):
            # Not repeatable: it works at once all the same.
            got = client.ask("POST", "/x", repeatable=False)
            assert got.body == b"%d" % number
            if number == 3:
                # Until the end of the connection has arrived here.
                assert not client._idle[0]._socket.recv(1)
        assert server.connections == 3
        client.close()


def test_what_may_be_repeated_is_sent_again_and_nothing_else() -> None:
    busy = answer(b"busy", 503, "Retry-After: 0", "Connection: close")
    with scripted([], [busy], [answer(b"fine")]) as server:
        assert _ask(_client(server.url, connection_retries=2)) == b"fine"
    with scripted([], [answer(b"fine")]) as server:
        with pytest.raises(StoreUnavailableError, match="not known whether the request took effect"):
            _ask(_client(server.url), repeatable=False)
        assert len(server.requests) == 1
    with scripted([busy], [answer(b"fine")]) as server:
        client = _client(server.url)
        assert client.ask("POST", "/x", repeatable=False).status == 503
        client.close()


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(StoreUnavailableError, match=f"{url} cannot be used.*refused"):
            _ask(_client(url, connection_retries=1), repeatable=False)


def test_requests_beyond_the_pool_wait_and_are_told_if_nothing_becomes_free() -> None:
    with scripted([0.6, answer(b"slow")], [answer(b"quick")]) as server:
        client = _client(server.url, connection_pool_size=1, timeout_seconds=30)
        answers: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.ask("POST", "/x", repeatable=True).body))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(answers) == [b"quick", b"slow"]
        client.close()
    with scripted([60.0]) as server:
        client = _client(server.url, connection_pool_size=1, timeout_seconds=0.3)
        with client._connection(10**9), pytest.raises(StoreUnavailableError, match="pool"):
            client.ask("POST", "/x", repeatable=True)


def test_a_forked_child_does_not_use_its_parents_connection() -> None:
    with scripted([answer(b"parent"), b"NEXT", answer(b"parent")], [answer(b"child")]) as server:
        client = _client(server.url)
        assert client.ask("POST", "/x", repeatable=True).body == b"parent"
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if client.ask("POST", "/x", repeatable=True).body == b"child" else 1)
            except BaseException:  # noqa: BLE001 - the child must end here
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert client.ask("POST", "/x", repeatable=True).body == b"parent"
        client.close()


def test_each_request_has_the_headers_that_say_who_asks() -> None:
    tokens = iter(["Bearer one", "Bearer two", "Bearer three\r\nX-Evil: 1"])
    context = {HEADERS_IN_CONTEXT: lambda: {"Authorization": next(tokens)}}
    with scripted([answer(b""), b"NEXT", answer(b"")]) as server:
        client = HttpClient(HttpClientSettings.model_validate({"path": server.url + "/under/"}, context=context))
        for _ in range(2):
            client.ask("POST", "/x", repeatable=True)
        with pytest.raises(ConfigError, match="line break"):
            client.ask("POST", "/x", repeatable=True)
        client.close()
    assert [head.split(b"\r\n")[0] for head in server.requests] == [b"POST /under/x HTTP/1.1"] * 2
    first, second = server.requests
    assert b"Authorization: Bearer one" in first
    assert b"Authorization: Bearer two" in second


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"path": "localhost:6566"}, "must be the address of a server"),
        ({"path": "ftp://localhost"}, "must be the address of a server"),
        ({"path": "http://user:hunter2@host"}, "neither a login nor a query"),
        ({"path": "http://host?token=hunter2"}, "neither a login nor a query"),
        ({"path": "http://host", "cert": "/dev/null"}, "only for a path that begins with https"),
        ({"path": "https://host", "cert": "/no/such/file"}, "names no file"),
        ({"path": "http://host", "timeout_seconds": 0}, "greater than 0"),
        ({"path": "http://host", "conection_retries": 1}, "conection_retries"),
    ],
)
def test_wrong_settings_are_refused_without_showing_secrets(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        HttpClientSettings.model_validate(settings)
    assert "hunter2" not in str(caught.value)


def test_addresses() -> None:
    plain = parse_http_address("http://localhost:6566/")
    assert (plain.authority, plain.prefix, plain.is_tls) == ("localhost:6566", "", False)
    six = parse_http_address("https://[::1]/feast/")
    assert (six.host, six.port, six.authority, str(six)) == ("::1", 443, "[::1]:443", "https://[::1]:443/feast")
