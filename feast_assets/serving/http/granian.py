"""Runs the application with granian, whose HTTP is in Rust and which also speaks HTTP/2."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from feast_assets.errors import ConfigError
from feast_assets.serving.http.options import ServerOptions

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore
    from feast_assets.serving.http.app import FeatureServer

_VARIABLE = "FEAST_ASSETS_GRANIAN_APP"


def serve_with_granian(store: FeatureStore, options: ServerOptions) -> None:
    """Serves until the process is told to end; each worker makes a feature store of its own.

    Raises:
        ConfigError: the settings are in no file, or an option is one that granian does not have.
    """
    try:
        from granian import Granian
        from granian.constants import Interfaces
        from granian.http import HTTP1Settings
    except ImportError as error:
        raise ImportError("This server needs granian: pip install 'feast-assets[granian]'.") from error
    settings = store.config.file
    if settings is None:
        raise ConfigError("granian's workers need a feature_store.yaml, which each of them reads.")
    if options.max_requests:
        raise ConfigError("granian does not count requests; leave --max-requests out, or use --server uvicorn.")
    if options.metrics_listener:
        raise ConfigError("With granian metrics are only at /metrics; leave --metrics out, or use --server uvicorn.")
    app = {"repo_path": str(store.repo_path.resolve()), "settings": str(settings.resolve()), "options": options}
    os.environ[_VARIABLE] = msgspec.json.encode(app).decode()
    from feast_assets.serving.http.server import announce
    from feast_assets.serving.listening import bound, metrics_directory

    # Held, and never listened on, so that nobody else takes the port before the workers do.
    with bound(options.host, options.port, is_shared=True) as holder, metrics_directory():
        port = announce(options, holder)
        Granian(
            f"{__name__}:application",
            factory=True,
            address=options.host,
            port=port,
            interface=Interfaces.ASGI,
            workers=options.worker_count,
            log_access=False,
            websockets=False,
            http1_settings=HTTP1Settings(header_read_timeout=math.ceil(1000 * options.receive_seconds)),
            workers_kill_timeout=math.ceil(options.shutdown_seconds),
            respawn_failed_workers=True,
            ssl_cert=Path(options.tls_cert_path) if options.tls_cert_path else None,
            ssl_key=Path(options.tls_key_path) if options.tls_key_path else None,
        ).serve()


def application() -> FeatureServer:
    """Returns the application of a worker, from what `serve_with_granian` left in the environment."""
    from feast_assets.serving.http.server import WorkerApp

    return msgspec.json.decode(os.environ[_VARIABLE], type=WorkerApp, dec_hook=lambda kind, text: kind(text))()
