"""ASGI applications of this process, served on a free loopback port by a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def serving(app: Any, *, lifespan: str = "off", **settings: Any) -> Iterator[str]:
    """Serves an application while the block runs; yields its address.

    Args:
        lifespan: whether it is opened and closed: ``"on"`` or ``"off"``.
        settings: of uvicorn.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        config = uvicorn.Config(app, log_config=None, ws="none", lifespan=lifespan, access_log=False, **settings)  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        scheme = "https" if "ssl_keyfile" in settings else "http"
        try:
            yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
